//! Which sessions have not been heard of for too long.

use std::time::Duration;

use super::{
    Engine,
    client::{Attachment, Client, ClientState},
    step::Work,
};
use crate::{Error, Reason, lease::Due, lock::lock};

/// How often the lease clock ticks, about.
const TICK: Duration = Duration::from_millis(50);
/// How long what has arrived from a session has to be processed after its lease is over.
const DRAIN: Duration = Duration::from_millis(20);

impl Engine {
    /// The time on the lease clock.
    #[must_use]
    pub fn lease_time(&self) -> Duration {
        lock(&self.lease_clock).now(self.clock.boottime())
    }

    /// Goes on with the lease clock. True if the manager stood still since the last tick.
    pub fn tick(&self) -> bool {
        lock(&self.lease_clock).tick(self.clock.boottime())
    }

    /// A session whose time has come, to be [looked after](Self::look_after).
    pub fn next_due(&self) -> Option<Due> {
        lock(&self.leases).due(self.lease_time())
    }

    /// How long until the next [tick](Self::tick) and look.
    #[must_use]
    pub fn next_tick(&self) -> Duration {
        let next = lock(&self.leases).next();
        next.map_or(TICK, |next| next.saturating_sub(self.lease_time()).min(TICK))
    }

    /// Ends a session whose lease is over, unless it was heard since, or something may have arrived from
    /// it that was not processed. What it was ended for, if it was.
    pub fn look_after(
        &self,
        client: &Client,
        state: &mut ClientState,
        due: Due,
        stalled: bool,
        work: &mut Work,
    ) -> Option<Error> {
        let (session, now) = (client.id(), self.lease_time());
        if state.session.has_ended() {
            return None;
        }
        let end = state.session.lease_end();
        if end > now {
            lock(&self.leases).watch(session, end);
            return None;
        }
        // After a stall nobody can say that what has arrived was processed meanwhile.
        if !due.drained || stalled {
            lock(&self.leases).drain(session, now + DRAIN);
            client.wake();
            return None;
        }
        let (silence, lease) = (state.session.silence(now), state.session.lease());
        let message = format!(
            "the session has ended: nothing was heard for {silence:.1?} of its client; the lease is \
             {lease:?}"
        );
        let why = Error::new(Reason::SessionEnded, message)
            .with_hint("what it held is released; a longer lease bears longer pauses");
        self.end(client, state, Some(why.clone()), work).then_some(why)
    }

    /// Takes note of a sign of life, and says which frame was the last that was taken in; `None` if it did
    /// not come from the session's connection.
    pub fn beat(&self, attachment: &Attachment) -> Option<u64> {
        let session = &mut attachment.client.lock().session;
        session.heard(attachment.generation, self.lease_time()).then(|| session.last_frame())
    }
}
