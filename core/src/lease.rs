//! How long a session may be silent, on a clock that stands still while the server does.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::call::SessionId;

/// What leases are measured with. It does not run while its owner does not: whoever was stopped,
/// swapped out or suspended cannot know what it was told meanwhile, so all leases grow by the stall.
///
/// Its owner looks at the real clock (`now`, since any origin) and ticks it about twice within
/// [`STEP`](Self::STEP); what goes beyond a step was a stall.
#[derive(Debug)]
pub struct LeaseClock {
    /// The time on this clock at the last tick.
    time: Duration,
    /// The time on the real clock at the last tick.
    ticked: Duration,
}

impl LeaseClock {
    /// How far it goes at most from one tick to the next.
    pub const STEP: Duration = Duration::from_millis(100);

    /// A clock that begins at zero.
    #[must_use]
    pub fn new(now: Duration) -> Self {
        Self { time: Duration::ZERO, ticked: now }
    }

    /// The time on this clock.
    #[must_use]
    pub fn now(&self, now: Duration) -> Duration {
        self.time + now.saturating_sub(self.ticked).min(Self::STEP)
    }

    /// Goes on to `now`. True if there was a stall since the last tick.
    pub fn tick(&mut self, now: Duration) -> bool {
        let stalled = now.saturating_sub(self.ticked) > Self::STEP;
        self.time = self.now(now);
        self.ticked = self.ticked.max(now);
        stalled
    }
}

/// When to look after which session: one entry each, which is not touched when a session is heard
/// from, but moved on when its time has come.
///
/// ```text
///   watched ──its time comes──► due, first ──heard from since──► watched
///                                   └──not──► draining ──► due, drained ──heard from──► watched
///                                                               └──not──► ended
/// ```
///
/// What has arrived from a session before its lease was over is processed before it is ended: that
/// is what draining is for.
#[derive(Debug, Default)]
pub struct Leases {
    order: BTreeSet<(Duration, SessionId)>,
    watched: BTreeMap<SessionId, Watch>,
}

#[derive(Debug)]
struct Watch {
    at: Duration,
    drained: bool,
}

/// A session whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Which.
    pub session: SessionId,
    /// What had arrived from it when its lease was over has been processed since.
    pub drained: bool,
}

impl Leases {
    /// Look after `session` when its lease ends, at `at`.
    pub fn watch(&mut self, session: SessionId, at: Duration) {
        self.set(session, Watch { at, drained: false });
    }

    /// Its lease is over: look again at `at`, when what has arrived from it is processed.
    pub fn drain(&mut self, session: SessionId, at: Duration) {
        self.set(session, Watch { at, drained: true });
    }

    fn set(&mut self, session: SessionId, watch: Watch) {
        self.forget(session);
        self.order.insert((watch.at, session));
        self.watched.insert(session, watch);
    }

    /// The session has ended.
    pub fn forget(&mut self, session: SessionId) {
        if let Some(watch) = self.watched.remove(&session) {
            self.order.remove(&(watch.at, session));
        }
    }

    /// When to look next.
    #[must_use]
    pub fn next(&self) -> Option<Duration> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes out a session whose time has come.
    pub fn due(&mut self, now: Duration) -> Option<Due> {
        let session = self.order.first().filter(|(at, _)| *at <= now)?.1;
        self.order.pop_first();
        let watch = self.watched.remove(&session)?;
        Some(Due { session, drained: watch.drained })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_lease_clock_runs_with_the_real_one() {
        let mut clock = LeaseClock::new(ms(1000));
        assert_eq!(clock.now(ms(1000)), ms(0));
        assert_eq!(clock.now(ms(1070)), ms(70));
        assert!(!clock.tick(ms(1050)));
        assert!(!clock.tick(ms(1150)));
        assert_eq!(clock.now(ms(1170)), ms(170));
    }

    #[test]
    fn a_stall_does_not_count() {
        let mut clock = LeaseClock::new(ms(0));
        clock.tick(ms(50));
        // Stopped for ten seconds; whoever looks first sees no more of it than the tick does.
        assert_eq!(clock.now(ms(10_050)), ms(150));
        assert!(clock.tick(ms(10_060)));
        assert_eq!(clock.now(ms(10_060)), ms(150));
        assert!(!clock.tick(ms(10_110)));
        assert_eq!(clock.now(ms(10_110)), ms(200));
    }

    #[test]
    fn the_lease_clock_never_goes_back() {
        let mut clock = LeaseClock::new(ms(500));
        clock.tick(ms(550));
        clock.tick(ms(540));
        assert_eq!(clock.now(ms(530)), ms(50));
        assert_eq!(clock.now(ms(560)), ms(60));
    }

    #[test]
    fn sessions_come_in_the_order_of_their_times() {
        let mut leases = Leases::default();
        leases.watch(1, ms(30));
        leases.watch(2, ms(10));
        leases.watch(3, ms(20));
        leases.forget(3);
        assert_eq!(leases.next(), Some(ms(10)));
        assert_eq!(leases.due(ms(9)), None);
        assert_eq!(leases.due(ms(30)), Some(Due { session: 2, drained: false }));
        leases.drain(2, ms(40));
        assert_eq!(leases.due(ms(30)), Some(Due { session: 1, drained: false }));
        assert_eq!(leases.due(ms(39)), None);
        assert_eq!(leases.due(ms(40)), Some(Due { session: 2, drained: true }));
        assert_eq!(leases.next(), None);
    }

    #[test]
    fn a_session_has_one_entry() {
        let mut leases = Leases::default();
        leases.watch(1, ms(10));
        leases.watch(1, ms(20));
        assert_eq!(leases.due(ms(15)), None);
        assert!(leases.due(ms(20)).is_some());
        assert_eq!(leases.due(ms(20)), None);
    }
}
