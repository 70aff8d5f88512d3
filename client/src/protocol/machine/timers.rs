//! What happens because of the time.

use std::{mem, time::Duration};

use mp_manager_proto::{
    reply::hands_over,
    v1::{Empty, reply},
};

use super::Machine;
use crate::protocol::{
    arrived::Counted,
    deadline::Deadline,
    effects::Effects,
    outcome::{Expiry, expiry, may_last},
    reconnect::Policy,
    refusals::{unknown_outcome, unreachable},
    request::{Failure, Seq},
    slot::Slot,
};

/// How often a call that may take longer than its timeout looks for a sign of life.
const OVERDUE_LOOK: Duration = Duration::from_secs(1);
/// How long a goodbye may take to be heard.
const FAREWELL: Duration = Duration::from_secs(2);

/// What whoever runs the connection has to do.
#[derive(Debug)]
pub(crate) struct Tick {
    /// Say this beat.
    pub(crate) beat: Option<u64>,
    /// Give the connection up: nothing is heard on it.
    pub(crate) stale: bool,
    /// When to ask again.
    pub(crate) next: Duration,
}

/// How a call ends without an answer.
struct Expired {
    /// What its caller gets in place of an answer, if that is no failure.
    answer: Option<reply::Result>,
    failure: Failure,
    sent: bool,
}

impl<H: Counted> Machine<H> {
    /// Runs the timers that are due on a connection.
    pub(crate) fn tick(&mut self, now: Duration, effects: &mut Effects<H>) -> Tick {
        self.look_at_lease(now, effects);
        let is_due = now >= self.lease.next_beat_at() || mem::take(&mut self.beat_is_urgent);
        let beat = is_due.then(|| {
            // The manager keeps replies until they are acknowledged: not for long after the last.
            if self.outbox.urge_acks() {
                self.wake_sender(effects);
            }
            self.lease.beat_sent(now)
        });
        let Policy { end_is_death, reconnect_timeout, .. } = self.policy;
        let stale_at = if end_is_death {
            self.lease.dead_at(reconnect_timeout)
        } else {
            self.lease.stale_at()
        };
        let farewell_at = self.goodbye_at.map(|at| at.saturating_add(FAREWELL));
        let stale_at = farewell_at.map_or(stale_at, |at| at.min(stale_at));
        let mut next = self.lease.next_beat_at().min(stale_at);
        if !self.lease_lost {
            next = next.min(self.lease.lost_at());
        }
        Tick { beat, stale: now >= stale_at, next }
    }

    /// Ends calls without an answer whose timeouts have passed, and says when the next one is due.
    pub(crate) fn expire_due(
        &mut self,
        now: Duration,
        effects: &mut Effects<H>,
    ) -> Option<Duration> {
        while let Some(seq) = self.calls.pop_due(now) {
            self.expire(seq, now, effects);
        }
        self.blocked.wake_late(now, &mut effects.callers);
        effects.wants_connection |= self.beat_is_urgent;
        self.next_due()
    }

    /// When the next call ends by its own timeout, if no answer comes.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        [self.calls.next_due(), self.blocked.next_due()].into_iter().flatten().min()
    }

    /// Ends calls whose timeouts have passed while the manager is known not to be reachable.
    pub(crate) fn wait_disconnected(&mut self, now: Duration, effects: &mut Effects<H>) {
        self.look_at_lease(now, effects);
        self.expire_unreachable(now, effects);
    }

    /// Ends every call whose timeout has passed, as no answer is to be expected.
    pub(super) fn expire_unreachable(&mut self, now: Duration, effects: &mut Effects<H>) {
        if !self.reconnect.is_down(now) {
            return;
        }
        let has_passed = |deadline: &Option<Deadline>| deadline.is_some_and(|d| d.has_passed(now));
        let passed: Vec<Seq> = self
            .calls
            .iter()
            .filter(|(_, slot)| match slot {
                Slot::Waiting(waiting) => has_passed(&waiting.deadline),
                Slot::Replied(_, held) => has_passed(&held.deadline),
                Slot::Failed(_) => false,
            })
            .map(|(seq, _)| seq)
            .collect();
        for seq in passed {
            self.expire(seq, now, effects);
        }
    }

    /// Ends the call without an answer: its timeout has passed, and so has the time that an answer
    /// may take.
    fn expire(&mut self, seq: Seq, now: Duration, effects: &mut Effects<H>) {
        if self.asks_for_a_sign_of_life(seq, now) {
            self.beat_is_urgent = true;
            let grace = OVERDUE_LOOK + self.lease.round_trip();
            return self.calls.postpone(seq, now + grace);
        }
        let is_down = self.reconnect.is_down(now);
        let (withholds, incarnation) = (self.withholds(), self.incarnation);
        let Some(slot) = self.calls.get_mut(seq) else { return };
        let Some(Expired { answer, failure, sent }) = expired(slot, is_down, withholds) else {
            return;
        };
        match answer {
            Some(answer) => effects.answer(slot, answer, incarnation),
            None => effects.fail(slot, failure),
        }
        self.cancel_request(seq, sent, effects);
    }

    /// Whether a call that takes a lock again after its timeout goes on, as the manager was heard
    /// since the call last asked for that.
    fn asks_for_a_sign_of_life(&mut self, seq: Seq, now: Duration) -> bool {
        let is_down = self.reconnect.is_down(now);
        let heard_at = self.heard_at;
        let Some(Slot::Waiting(waiting)) = self.calls.get_mut(seq) else { return false };
        let (Some(_), Some(op)) = (waiting.deadline, &waiting.request.op) else { return false };
        if expiry(op) != Expiry::Relock || !waiting.sent || is_down {
            return false;
        }
        let asked_at = waiting.asked_at.replace(now);
        asked_at.is_none_or(|asked_at| heard_at >= asked_at)
    }
}

/// How a call ends whose time is over; `None` if it does not end by that.
fn expired<H>(slot: &Slot<H>, is_down: bool, withholds: bool) -> Option<Expired> {
    match slot {
        Slot::Waiting(waiting) => {
            let (deadline, op) = (waiting.deadline?, waiting.request.op.as_ref()?);
            let sent = waiting.sent;
            let failure = if sent && may_last(op) {
                unknown_outcome("no answer came within the call's timeout")
            } else {
                unreachable()
            };
            let answer = match expiry(op) {
                Expiry::Answer(answer) if sent && !deadline.is_try && !is_down => Some(answer),
                _ => None,
            };
            Some(Expired { answer, failure: Failure::Refused(failure), sent })
        }
        Slot::Replied(arrived, held) if withholds && hands_over(&arrived.result) => {
            let deadline = held.deadline?;
            let answer = when_withheld(&arrived.result).filter(|_| !deadline.is_try && !is_down);
            Some(Expired { answer, failure: Failure::Refused(unreachable()), sent: true })
        }
        Slot::Replied(..) | Slot::Failed(_) => None,
    }
}

/// What a call gets whose reply handed something over that nobody took in time.
fn when_withheld(result: &reply::Result) -> Option<reply::Result> {
    use reply::Result as R;
    match result {
        R::Grant(_) | R::Delivery(_) | R::Deliveries(_) | R::Message(_) => {
            Some(R::Absent(Empty {}))
        }
        _ => None,
    }
}
