//! Ends the sessions that nothing is heard of: the alarm clock for the engine's leases.

use std::{sync::Weak, time::Duration};

use mp_manager_core::engine::Work;

use crate::host::Host;

/// Looks after sessions as their leases end, until the server is dropped.
pub(crate) async fn run(host: Weak<Host>) {
    let mut pause = Duration::ZERO;
    loop {
        // An alarm clock, and no more: the engine asks its own clock for the time.
        tokio::time::sleep(pause).await;
        let Some(host) = host.upgrade() else { return };
        let stalled = host.engine.tick();
        let mut work = Work::default();
        while let Some(due) = host.engine.next_due() {
            let Some(client) = host.engine.client(due.session) else { continue };
            let mut state = client.lock();
            let ended = host.engine.look_after(&client, &mut state, due, stalled, &mut work);
            if let Some(why) = ended {
                let (session, peer) = (client.id(), client.peer());
                tracing::info!(session, %peer, "session ended: {}", why.message);
            }
            host.perform(&mut work);
            drop(state);
            work.let_go();
        }
        pause = host.engine.next_tick();
    }
}
