//! What a step does.

use super::{
    Engine,
    cell::Event,
    step::{Step, Work},
};
use crate::{
    Error,
    call::{Answer, CallId},
};

/// Expiring so many calls takes about a millisecond.
const MANY_CALLS: usize = 1000;

impl Engine {
    /// Performs a step. What it brings about is [next](Work::next_step).
    #[inline]
    pub fn perform(&self, step: Step, work: &mut Work) {
        match step {
            Step::Reply(client, seq, result, cell) => {
                if let Err(error) = &result {
                    self.counters.failed(error);
                }
                work.drop_all_later(client.reply(seq, result, cell));
            }
            Step::Deliver(call, result) => self.deliver(call, result, work),
            Step::DeliverAll(mut replies) => {
                if let Some((call, result)) = replies.next() {
                    self.deliver(call, result, work);
                }
                if !replies.as_slice().is_empty() {
                    work.then(Step::DeliverAll(replies));
                }
            }
            Step::Lose(session, object, token) => {
                if let Some(client) = self.client(session) {
                    client.lose(object, token);
                }
            }
            Step::Acknowledge(cell, call) => self.tell(cell, Event::Acknowledge(call), work),
            Step::Cancel(cell, call) => self.tell(cell, Event::Cancel(call), work),
            Step::Expire(cell, call) => self.tell(cell, Event::Expire(call), work),
            Step::EndSession(cell, session) => {
                self.tell(cell, Event::EndSession(session), work);
            }
            Step::Delete(cell) => self.tell(cell, Event::Delete, work),
            Step::End(ending) => self.go_on_ending(ending, work),
            Step::Forget(session) => self.forget(session),
            Step::Wake(session) => {
                if let Some(client) = self.client(session) {
                    client.wake();
                }
            }
            Step::Heavy(heavy) => self.go_on(heavy, work),
        }
    }

    /// Answers a parked call, unless nobody waits for it any more.
    fn deliver(&self, call: CallId, result: Result<Answer, Error>, work: &mut Work) {
        let Some(client) = self.client(call.session) else {
            return work.drop_all_later(result.map_or_else(|_| Vec::new(), |answer| answer.pins));
        };
        if let Err(error) = &result {
            self.counters.failed(error);
        }
        let (deadline, delivered) = client.deliver(call.seq, result);
        if let Some(deadline) = deadline {
            self.deadlines.remove(deadline, call);
        }
        match delivered {
            Ok(Some(parked)) => work.drop_later(parked.cell),
            Ok(None) => {}
            Err(pins) => work.drop_all_later(pins),
        }
    }

    /// When the next call expires, on the driver's [monotonic](super::Clock::monotonic) clock.
    #[must_use]
    pub fn next_deadline(&self) -> Option<std::time::Duration> {
        self.deadlines.next()
    }

    /// Takes out calls that expire now: all of them, or as many as take about a millisecond.
    pub fn expire_due(&self, work: &mut Work) {
        let now = self.clock.monotonic();
        let due = std::iter::from_fn(|| self.deadlines.due(now));
        for (call, cell) in due.take(MANY_CALLS) {
            if let Some(cell) = cell.upgrade() {
                work.then(Step::Expire(cell, call));
            }
        }
    }

    /// Whether there are contents of objects that are gone, to be [dropped](Self::drop_buried).
    #[must_use]
    #[inline]
    pub fn has_buried(&self) -> bool {
        self.objects.has_buried()
    }

    /// Drops the contents of large objects that are gone. It takes long: call it where nobody waits, with no
    /// lock held.
    pub fn drop_buried(&self) {
        self.objects.drop_buried();
    }
}
