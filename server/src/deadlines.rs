//! Expires parked calls: the alarm clock for the engine's deadlines.

use std::sync::Weak;

use mp_manager_core::engine::Work;
use tokio::{task::yield_now, time::sleep_until};

use crate::host::Host;

/// Expires calls as their deadlines pass, until the server is dropped.
pub(crate) async fn run(host: Weak<Host>) {
    loop {
        let Some(host) = host.upgrade() else { return };
        let next = host.engine.next_deadline().and_then(|next| host.clock.instant(next));
        tokio::select! {
            () = sleep_until(next.unwrap_or_else(tokio::time::Instant::now)), if next.is_some() => {}
            () = host.earlier_deadline.notified() => continue,
        }
        let mut work = Work::default();
        host.engine.expire_due(&mut work);
        host.perform(&mut work);
        host.let_go(&mut work);
        yield_now().await;
    }
}
