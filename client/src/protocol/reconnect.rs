//! When to connect again, and when to stop trying.
//!
//! ```text
//!                 ┌───────────────── connected ◄────────────────┐
//!                 │ gone                                        │ in time: the session goes on
//!                 ▼                                             │ later: a new session
//!   ┌──────► trying: attempt, pause, attempt, … ────────────────┤
//!   │             │ the time to try is over, or the manager     │
//!   │ a call      │ refuses: the session is lost, calls fail    │
//!   │             ▼                                             │
//!   └────────── idle ───────────────────────────────────────────┘
//! ```
//!
//! The time to try ends calls, and not the client: the next call begins it anew.

use std::time::Duration;

use mp_manager_proto::v1::{Error as Refusal, Reason};

/// The first pause between two attempts; each is twice as long as the one before it.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A connection that has just broken comes back within that time, or is not expected to.
const MOMENT: Duration = Duration::from_millis(500);

/// How a client behaves without a connection, and what its socket's end means.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    /// For how long to try to connect again.
    pub(crate) reconnect_timeout: Duration,
    /// Whether to go on with a new session when one is lost.
    pub(crate) reopen: bool,
    /// The manager takes the end of the connection for the end of this process.
    pub(crate) end_is_death: bool,
}

/// The next step of a client without a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Try to connect now.
    Connect,
    /// Nothing before that time.
    Rest(Duration),
    /// Nothing until a call needs a connection.
    Idle,
    /// Nothing any more.
    Over,
}

/// How far the client is with connecting again.
#[derive(Default)]
pub(super) struct Reconnect {
    phase: Phase,
    /// Since when nothing was heard, if the connection is gone or nothing has come on a new one.
    away_since: Option<Duration>,
    pause: Duration,
    not_before: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connected,
    Trying {
        until: Duration,
        /// An attempt has failed since the connection broke.
        has_failed: bool,
    },
    Idle,
}

impl Default for Phase {
    /// There was no connection yet.
    fn default() -> Self {
        Self::Trying { until: Duration::MAX, has_failed: false }
    }
}

impl Reconnect {
    /// The connection is gone.
    pub(super) fn disconnected(&mut self, now: Duration, patience: Duration) {
        let is_news = self.away_since.is_none();
        let since = *self.away_since.get_or_insert(now);
        self.phase = Phase::Trying { until: since.saturating_add(patience), has_failed: !is_news };
        if is_news {
            self.pause = FIRST_PAUSE;
            self.not_before = now;
        } else {
            // The connection broke before anything was heard on it.
            self.rest(now, 1.0);
        }
    }

    fn rest(&mut self, now: Duration, jitter: f64) {
        let pause = self.pause.max(FIRST_PAUSE);
        self.not_before = now + pause / 2 + pause.mul_f64(jitter / 2.0);
        self.pause = LONGEST_PAUSE.min(pause * 2);
    }

    pub(super) fn connected(&mut self) {
        self.phase = Phase::Connected;
    }

    /// The manager was heard.
    pub(super) fn heard(&mut self) {
        self.away_since = None;
    }

    /// Nothing is tried until a call needs a connection.
    pub(super) fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    /// A call needs a connection.
    pub(super) fn wanted(&mut self, now: Duration, patience: Duration) {
        self.away_since = Some(now);
        self.phase = Phase::Trying { until: now.saturating_add(patience), has_failed: false };
    }

    /// An attempt came to nothing; whether the time to try is over. `jitter` is from 0 to 1, so that
    /// many clients do not come back at once.
    pub(super) fn failed(&mut self, now: Duration, jitter: f64) -> bool {
        let Phase::Trying { until, .. } = self.phase else { return false };
        self.phase = Phase::Trying { until, has_failed: true };
        self.rest(now, jitter);
        now >= until
    }

    /// Trying makes no sense before a call needs a connection.
    pub(super) fn give_up(&mut self) {
        self.phase = Phase::Idle;
        self.pause = FIRST_PAUSE;
        self.not_before = Duration::ZERO;
    }

    /// The manager refuses this client, which need not last: it is not asked again for a while.
    pub(super) fn refused(&mut self, now: Duration) {
        self.give_up();
        self.not_before = now + LONGEST_PAUSE;
    }

    /// How long an attempt may take before the time to try is over.
    pub(super) fn time_left(&self, now: Duration) -> Duration {
        match self.phase {
            Phase::Trying { until, .. } => until.saturating_sub(now).max(MOMENT),
            Phase::Connected | Phase::Idle => Duration::MAX,
        }
    }

    pub(super) fn step(&self, now: Duration) -> Step {
        match self.phase {
            Phase::Connected | Phase::Idle => Step::Idle,
            Phase::Trying { .. } if now >= self.not_before => Step::Connect,
            Phase::Trying { .. } => Step::Rest(self.not_before),
        }
    }

    /// Whether the manager is known not to be reachable: a connection that has just broken comes back
    /// in a moment, mostly.
    pub(super) fn is_down(&self, now: Duration) -> bool {
        match self.phase {
            Phase::Connected | Phase::Idle => false,
            Phase::Trying { has_failed, .. } => {
                has_failed || self.away_since.is_some_and(|since| now >= since + MOMENT)
            }
        }
    }
}

/// What callers are told when the time to try is over.
pub(super) fn gave_up(why: &Refusal, patience: Duration) -> Refusal {
    let message = if patience.is_zero() {
        format!("the connection is gone: {}", why.message)
    } else {
        let last = &why.message;
        format!("the connection is gone, and did not come back within {patience:?}: {last}")
    };
    let reason = match why.reason() {
        Reason::Unspecified => Reason::SessionEnded,
        reason => reason,
    };
    Refusal::new(reason, message)
        .with_hint("what the session held is released; the next call tries to connect again")
}
