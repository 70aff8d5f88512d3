//! Ends the sessions that nothing is heard of: the alarm clock for the engine's leases.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use mp_manager_core::{engine::Work, lease::Due};

use tokio::task::yield_now;

use crate::host::Host;

/// Looks after sessions as their leases end, until the server is dropped.
pub(crate) async fn run(host: Weak<Host>) {
    let mut pause = Duration::ZERO;
    loop {
        // An alarm clock, and no more: the engine asks its own clock for the time.
        tokio::time::sleep(pause).await;
        let Some(host) = host.upgrade() else { return };
        let stalled = host.engine.tick();
        while let Some(due) = host.engine.next_due() {
            look_after(&host, due, stalled);
            // Many may end at once.
            yield_now().await;
        }
        pause = host.engine.next_tick();
    }
}

fn look_after(host: &Arc<Host>, due: Due, stalled: bool) {
    let Some(client) = host.engine.client(due.session) else { return };
    if !host.engine.is_silent(&client) {
        return;
    }
    let Some(mut state) = client.try_lock() else { return host.engine.look_again(due) };
    let mut work = Work::default();
    let ended = host.engine.look_after(&client, &mut state, due, stalled, &mut work);
    if let Some(why) = ended {
        let (session, peer) = (client.id(), client.peer());
        tracing::info!(session, %peer, "session ended: {}", why.message);
    }
    host.perform(&mut work);
    drop(state);
    host.let_go(&mut work);
}
