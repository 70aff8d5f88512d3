//! A session that has as many calls wait as it may, and more.

use mp_manager::{Error, Event};

use super::{Context, SECOND};
use crate::client::Task;

pub(super) fn tasks(my: &Context, waiters: usize) -> Vec<Task> {
    let mut tasks: Vec<Task> = (0..waiters).map(|_| Box::pin(wait(my.clone())) as Task).collect();
    tasks.push(Box::pin(set(my.clone())));
    tasks
}

/// Each process has its own: nobody else lets its waiters go.
async fn event(my: &Context) -> Event {
    let name = format!("flood {}", my.process);
    my.open(|manager| manager.event(name.as_str()).open()).await
}

async fn wait(my: Context) {
    let event = event(&my).await;
    match my.patiently(event.wait()).await {
        // There was no room for it to wait.
        Some(Ok(()) | Err(Error::LimitExceeded(_))) | None => {}
        Some(result) => _ = my.expect("wait", result),
    }
}

/// What they wait for does not wait, and is never short of room.
async fn set(my: Context) {
    let event = event(&my).await;
    my.sleep(my.world.below(2 * SECOND)).await;
    while my.expect("set", event.set().await).is_none() {
        my.pause().await;
    }
}
