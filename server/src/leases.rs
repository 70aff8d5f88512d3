//! Ends the sessions that nothing is heard of, all in one place.

use std::{
    sync::{Mutex, Weak},
    time::Duration,
};

use mp_manager_core::{
    SessionId,
    lease::{self, Due, LeaseClock},
};

use crate::{clock, lock, store::Store};

/// How often the lease clock ticks, about.
const TICK: Duration = Duration::from_millis(50);
/// How long what has arrived from a session has to be processed after its lease is over.
const DRAIN: Duration = Duration::from_millis(20);

/// When which session ends, if nothing is heard of it. One task looks after all of them.
#[derive(Debug)]
pub(crate) struct Leases {
    clock: Mutex<LeaseClock>,
    watched: Mutex<lease::Leases>,
}

impl Leases {
    pub(crate) fn new() -> Self {
        let clock = Mutex::new(LeaseClock::new(clock::now()));
        Self { clock, watched: Mutex::default() }
    }

    /// The time on the lease clock.
    pub(crate) fn now(&self) -> Duration {
        lock(&self.clock).now(clock::now())
    }

    /// `session` begins; its lease ends at `at`.
    pub(crate) fn watch(&self, session: SessionId, at: Duration) {
        lock(&self.watched).watch(session, at);
    }

    /// The session has ended.
    pub(crate) fn forget(&self, session: SessionId) {
        lock(&self.watched).forget(session);
    }

    /// Ends sessions as their leases end, until the server is dropped.
    pub(crate) async fn run(store: Weak<Store>) {
        let mut pause = TICK;
        loop {
            // An alarm clock, and no more: what time it is is asked of the clock.
            tokio::time::sleep(pause).await;
            let Some(store) = store.upgrade() else { return };
            let stalled = lock(&store.leases.clock).tick(clock::now());
            pause = store.leases.check(&store, stalled);
        }
    }

    /// Looks after those whose time has come; how long until the next look.
    fn check(&self, store: &Store, stalled: bool) -> Duration {
        let now = self.now();
        loop {
            let due = lock(&self.watched).due(now);
            let Some(Due { session: id, drained }) = due else { break };
            let Some(session) = store.session(id) else { continue };
            // After a stall nobody can say that what has arrived was processed meanwhile.
            if drained && !stalled && session.end_for_silence(store, now) {
                continue;
            }
            let Some(end) = session.lease_end() else { continue };
            if end > now {
                self.watch(id, end);
            } else {
                session.wake();
                lock(&self.watched).drain(id, now + DRAIN);
            }
        }
        let next = lock(&self.watched).next();
        next.map_or(TICK, |next| next.saturating_sub(now).min(TICK))
    }
}
