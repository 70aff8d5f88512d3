//! Which sessions have not been heard of for too long.

use std::{sync::atomic::Ordering, time::Duration};

use mp_manager_proto::LEASE_RANGE_MS;

use super::{
    Engine,
    client::{Attachment, Client, ClientState},
    counters::Cause,
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
        let mut clock = lock(&self.lease_clock);
        let (now, longest) = (self.clock.boottime(), Duration::from_millis(*LEASE_RANGE_MS.end()));
        let stalled = clock.tick(now);
        if clock.now(now) >= longest {
            self.is_settled.store(true, Ordering::Relaxed);
        }
        stalled
    }

    /// Whether every session of an earlier start of the manager knows that it is over.
    pub(super) fn is_settled(&self) -> bool {
        self.is_settled.load(Ordering::Relaxed)
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

    /// Whether a session whose time has come has to be [looked after](Self::look_after) with its lock held:
    /// false if it was heard from since, and its time comes later.
    #[must_use]
    pub fn is_silent(&self, client: &Client) -> bool {
        let Some(end) = client.lease_end() else { return false };
        let is_over = end <= self.lease_time();
        if !is_over {
            lock(&self.leases).watch(client.id(), end);
        }
        is_over
    }

    /// Looks again, soon, after a session whose lock somebody holds: what has arrived from it is being
    /// processed.
    pub fn look_again(&self, due: Due) {
        lock(&self.leases).watch(due.session, self.lease_time() + DRAIN);
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
        // First: whatever is heard from here on counts.
        let last = client.pulse().last_heard()?;
        if !self.is_silent(client) {
            return None;
        }
        let now = self.lease_time();
        // After a stall nobody can say that what has arrived was processed meanwhile.
        if !due.drained || stalled {
            lock(&self.leases).drain(due.session, now + DRAIN);
            client.wake();
            return None;
        }
        if !state.session.end_if_silent_since(last) {
            // It was heard from just now.
            self.look_again(due);
            return None;
        }
        let (silence, lease) = (now.saturating_sub(last), client.lease());
        let message = format!(
            "the session has ended: nothing was heard for {silence:.1?} of its client; the lease is \
             {lease:?}"
        );
        let why = Error::new(Reason::SessionEnded, message)
            .with_hint("what it held is released; a longer lease bears longer pauses");
        self.ended(client, state, Cause::Silence, Some(why.clone()), work);
        Some(why)
    }

    /// Takes note of a sign of life, and says which frame was the last that was taken in; `None` if it did
    /// not come from the session's connection. It waits for nothing that an operation can hold.
    pub fn beat(&self, attachment: &Attachment) -> Option<u64> {
        attachment.client.pulse().beat(attachment.generation, self.lease_time())
    }
}
