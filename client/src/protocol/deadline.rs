//! When the client's own clock ends a call, whatever its connection does.
//!
//! The manager answers a call when its timeout has passed; that answer is on its way for a round
//! trip. The client waits so much longer for it, and a moment: without an answer by then the call
//! ends here.

use std::time::Duration;

use mp_manager_proto::v1::request;

use super::outcome::{Expiry, expiry};

/// A moment for the answer to a call that takes or looks, which is not missed.
const MOMENT: Duration = Duration::from_millis(100);
/// And to one whose outcome would be unknown without it.
const LONGER_MOMENT: Duration = Duration::from_millis(250);
/// How long a call that does not wait at all waits for its answer on a connection that is open.
const TRY: Duration = Duration::from_secs(2);
/// A round trip that took longer says that the manager stalled, and not how long answers take.
const LONGEST_ROUND_TRIP: Duration = Duration::from_secs(1);

/// The time of a call that has a timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline {
    /// When its timeout has passed.
    pub(crate) at: Duration,
    /// Its timeout is zero: it does not wait at all.
    pub(crate) is_try: bool,
}

impl Deadline {
    pub(crate) fn new(now: Duration, timeout: Duration) -> Self {
        Self { at: now.saturating_add(timeout), is_try: timeout.is_zero() }
    }

    pub(crate) fn has_passed(self, now: Duration) -> bool {
        self.at <= now
    }

    /// When the call ends without an answer, on a connection with this round trip.
    pub(super) fn due(self, op: Option<&request::Op>, round_trip: Duration) -> Duration {
        let moment = match op.map(expiry) {
            _ if self.is_try => TRY,
            Some(Expiry::Outcome | Expiry::Relock) => LONGER_MOMENT,
            _ => MOMENT,
        };
        self.at.saturating_add(moment + 2 * round_trip.min(LONGEST_ROUND_TRIP))
    }
}
