//! Calls: taken up, answered, cancelled.

use std::{
    mem,
    task::{Poll, Waker},
    time::Duration,
};

use mp_manager_proto::{
    encoded_len,
    reply::{Payload, class, for_each_reference, hands_over},
    v1::{Ref, Request, reply},
};

use super::{Goodbye, Machine};
use crate::protocol::{
    arrived::{Arrived, Counted},
    blocked::Place,
    deadline::Deadline,
    effects::Effects,
    outbox::BYTES_WORTH_A_FRAME,
    refusals::{closed, fenced, lost_session, too_long, too_many_calls, unreachable},
    request::{Failure, Scope, Seq},
    slot::{Caller, HeldBack, Slot, Waiting, note_waker},
};

/// A call that is about to begin.
pub(crate) struct NewCall {
    pub(crate) request: Box<Request>,
    pub(crate) scope: Scope,
    pub(crate) deadline: Option<Deadline>,
    /// Where it stands, if it was blocked.
    pub(crate) place: Option<Place>,
}

/// The result of an attempt to send a request.
pub(crate) enum Begun {
    Sent(Seq),
    /// There are too many open calls; the waker is woken when there are fewer, and when the call's
    /// timeout has passed.
    Blocked(Box<Request>, Place),
    Failed(Failure),
}

/// The state of a call's reply.
pub(crate) enum Polled<H> {
    /// Nothing; its waker is woken when that changes.
    Pending,
    /// A reply that hands something over: [`hand_over`](Machine::hand_over) decides whether it may.
    HandsOver,
    Ready(Answered<H>),
}

/// The end of a call, as small as it is kept: it is taken apart where the machine is unlocked.
pub(crate) enum Answered<H> {
    Arrived(Box<Arrived<H>>),
    Failed(Box<Failure>),
}

impl<H> Answered<H> {
    /// What the caller gets.
    #[inline]
    pub(crate) fn into_result(self) -> Result<Arrived<H>, Failure> {
        match self {
            Self::Arrived(arrived) => match *arrived {
                Arrived { result: reply::Result::Error(refusal), .. } => {
                    Err(Failure::Refused(refusal))
                }
                arrived => Ok(arrived),
            },
            Self::Failed(failure) => Err(*failure),
        }
    }
}

impl<H: Counted> Machine<H> {
    /// Whether [`begin`](Self::begin) and [`give_back`](Self::give_back) have to know the time. Most
    /// calls do not need it, and reading a clock takes as long as all the rest.
    pub(crate) fn needs_time(&self, request: &Request, deadline: Option<Deadline>) -> bool {
        deadline.is_some() || request.fence.is_some() || self.reconnect.is_idle()
    }

    /// Takes a request up, to be sent. `now` is there if it [needs time](Self::needs_time).
    pub(crate) fn begin(
        &mut self,
        call: NewCall,
        now: Option<Duration>,
        waker: &Waker,
        effects: &mut Effects<H>,
    ) -> Begun {
        let NewCall { request, scope, deadline, place } = call;
        let mut request = match self.admit(scope, request) {
            Ok(request) => request,
            Err(failure) => return Begun::Failed(failure),
        };
        // Sent in a session that is over, it would fail with less certainty.
        if let Some((fence, now)) = request.fence.zip(now)
            && self.has_lost(fence, now, effects)
        {
            return Begun::Failed(Failure::Refused(fenced(fence)));
        }
        let mut has_passed = false;
        if let Some((deadline, now)) = deadline.zip(now) {
            has_passed = deadline.has_passed(now);
            if has_passed && self.reconnect.is_down(now) {
                return Begun::Failed(Failure::Refused(unreachable()));
            }
            if !deadline.is_try && request.timeout_us.is_some() {
                let left = deadline.at.saturating_sub(now).as_micros();
                request.timeout_us = Some(u64::try_from(left).unwrap_or(u64::MAX).max(1));
            }
        }
        // Before the first connection nobody knows how much may be sent.
        if !self.is_acquainted
            || self.open.count() >= self.session.limits.max_open_requests.max(1) as usize
        {
            if has_passed && self.is_acquainted {
                return Begun::Failed(Failure::Refused(too_many_calls(self.open.count())));
            }
            let passes_at = deadline.map(|deadline| deadline.at);
            effects.due = passes_at;
            return Begun::Blocked(request, self.blocked.wait(place, waker, passes_at));
        }
        let len = encoded_len(&*request);
        let max = self.longest_request();
        if len > max {
            return Begun::Failed(Failure::Refused(too_long(len, max)));
        }
        if let Some(now) = now {
            self.want_connection(now, effects);
        }
        let caller = Caller::Waits(Some(waker.clone()));
        let seq = self.enqueue(request, len, scope, deadline, caller, effects);
        effects.due = deadline.and_then(|_| self.calls.next_due());
        Begun::Sent(seq)
    }

    /// Takes up a request that gives something back, here and now: as it waits for nothing, it is
    /// not held up by the many calls that may. `now` is there if it [needs time](Self::needs_time).
    pub(crate) fn give_back(
        &mut self,
        request: Request,
        scope: Scope,
        now: Option<Duration>,
        effects: &mut Effects<H>,
    ) -> Result<Seq, Failure> {
        let request = self.admit(scope, Box::new(request))?;
        let len = encoded_len(&*request);
        if let Some(now) = now {
            self.want_connection(now, effects);
        }
        Ok(self.enqueue(request, len, scope, None, Caller::Waits(None), effects))
    }

    /// Takes up a request that gives something back, and whose reply nobody waits for.
    pub(crate) fn send_detached(
        &mut self,
        request: Request,
        scope: Scope,
        effects: &mut Effects<H>,
    ) {
        if let Ok(request) = self.admit(scope, Box::new(request)) {
            let len = encoded_len(&*request);
            self.enqueue(request, len, scope, None, Caller::Gone, effects);
        }
    }

    fn admit(&self, scope: Scope, request: Box<Request>) -> Result<Box<Request>, Failure> {
        if let Some(why) = &self.over {
            return Err(Failure::Refused(why.clone()));
        }
        if self.goodbye != Goodbye::No {
            return Err(Failure::Refused(closed()));
        }
        match scope {
            Scope::Server(server) if server != self.server => Err(Failure::Stale(request)),
            Scope::Session(incarnation) if incarnation != self.incarnation => {
                Err(Failure::Refused(lost_session()))
            }
            _ => Ok(request),
        }
    }

    pub(super) fn enqueue(
        &mut self,
        mut request: Box<Request>,
        len: usize,
        scope: Scope,
        deadline: Option<Deadline>,
        caller: Caller,
        effects: &mut Effects<H>,
    ) -> Seq {
        let seq = self.next_seq;
        self.next_seq += 1;
        // The number was not counted in; it takes no more than this.
        let len = len + 11;
        request.seq = seq;
        let due =
            deadline.map(|deadline| deadline.due(request.op.as_ref(), self.lease.round_trip()));
        let (sent, asked_at, open) = (false, None, self.open.clone());
        let waiting = Waiting { request, len, scope, sent, deadline, asked_at, caller, open };
        self.calls.insert(seq, Slot::Waiting(waiting), due);
        self.outbox.push(seq);
        self.wake_sender(effects);
        seq
    }

    /// A reply has arrived.
    pub(super) fn reply(
        &mut self,
        seq: Seq,
        result: reply::Result,
        hold: &mut impl FnMut(Ref) -> Option<H>,
        effects: &mut Effects<H>,
    ) {
        // Cancelled meanwhile (the cancel is on its way), or said twice.
        let Some(Slot::Waiting(_)) = self.calls.get(seq) else { return };
        let mut handles = Vec::new();
        for_each_reference(&result, |reference| handles.extend(hold(*reference)));
        let arrived = Box::new(Arrived { result, incarnation: self.incarnation, handles });
        let final_bytes = (!hands_over(&arrived.result)).then(|| weight(&arrived.result));
        if let Some(bytes) = final_bytes {
            // It is final: once it is here, the manager need not keep it.
            self.count(&arrived);
            self.outbox.acknowledge(seq, bytes);
        }
        let hold_back = final_bytes.is_none() && self.withholds();
        let Some(slot) = self.calls.get_mut(seq) else { return };
        let Slot::Waiting(Waiting { caller, deadline, open, .. }) = slot else {
            return effects.unwanted.push(*arrived);
        };
        let (deadline, open) = (*deadline, final_bytes.is_none().then(|| open.clone()));
        let waker = match mem::replace(caller, Caller::Gone) {
            Caller::Waits(waker) => waker,
            Caller::Gone => {
                self.calls.remove(seq);
                if final_bytes.is_none() {
                    self.outbox.acknowledge(seq, 0);
                }
                effects.unwanted.push(*arrived);
                return;
            }
        };
        let (woken, waker) = if hold_back { (None, waker) } else { (waker, None) };
        *slot = Slot::Replied(arrived, HeldBack { waker, deadline, _open: open });
        effects.callers.extend(woken);
    }

    /// The manager counts a reference when the reply that has it is acknowledged.
    fn count(&self, arrived: &Arrived<H>) {
        for handle in &arrived.handles {
            handle.count(self.incarnation);
        }
    }

    /// The reply to a call, once it is there.
    pub(crate) fn poll_reply(
        &mut self,
        seq: Seq,
        waker: &Waker,
        effects: &mut Effects<H>,
    ) -> Polled<H> {
        match self.calls.get_mut(seq) {
            Some(Slot::Waiting(Waiting { caller: Caller::Waits(place), .. })) => {
                note_waker(place, waker);
                return Polled::Pending;
            }
            Some(Slot::Replied(arrived, _)) if hands_over(&arrived.result) => {
                return Polled::HandsOver;
            }
            _ => {}
        }
        Polled::Ready(self.take_reply(seq, effects))
    }

    /// A reply that hands something over, unless the lease is lost or a goodbye is said: what was granted may be
    /// somebody else's then.
    pub(crate) fn hand_over(
        &mut self,
        seq: Seq,
        waker: &Waker,
        now: Duration,
        effects: &mut Effects<H>,
    ) -> Poll<Answered<H>> {
        self.look_at_lease(now, effects);
        if self.withholds()
            && let Some(Slot::Replied(_, held)) = self.calls.get_mut(seq)
        {
            note_waker(&mut held.waker, waker);
            return Poll::Pending;
        }
        if let Some(Slot::Replied(arrived, _)) = self.calls.get(seq) {
            self.count(arrived);
            self.outbox.acknowledge(seq, 0);
            self.outbox.urge_acks();
            self.wake_sender(effects);
        }
        Poll::Ready(self.take_reply(seq, effects))
    }

    fn take_reply(&mut self, seq: Seq, effects: &mut Effects<H>) -> Answered<H> {
        let slot = self.calls.remove(seq);
        self.unblock(effects);
        match slot {
            Some(Slot::Replied(arrived, _)) => Answered::Arrived(arrived),
            Some(Slot::Failed(failure)) => Answered::Failed(failure),
            _ => {
                let why = self.over.clone().unwrap_or_else(closed);
                Answered::Failed(Box::new(Failure::Refused(why)))
            }
        }
    }

    /// The caller of `seq` has gone. What is left of the call is dropped where the machine may be
    /// driven again.
    #[must_use]
    pub(crate) fn cancel(
        &mut self,
        seq: Seq,
        effects: &mut Effects<H>,
    ) -> Option<impl Sized + use<H>> {
        let slot = self.calls.remove(seq)?;
        match &slot {
            Slot::Waiting(waiting) => self.cancel_request(seq, waiting.sent, effects),
            Slot::Replied(arrived, _) if hands_over(&arrived.result) => {
                self.cancel_request(seq, true, effects);
            }
            Slot::Replied(..) | Slot::Failed(_) => {}
        }
        self.unblock(effects);
        Some(slot)
    }

    /// A request that was not sent yet never is; the manager hears of one that was.
    pub(super) fn cancel_request(&mut self, seq: Seq, sent: bool, effects: &mut Effects<H>) {
        if self.outbox.cancel(seq, sent) {
            self.wake_sender(effects);
        }
    }

    /// The caller of `seq` has gone, which changes nothing but that nobody waits for the reply. What
    /// is left of the call is dropped where the machine may be driven again.
    #[must_use]
    pub(crate) fn detach(&mut self, seq: Seq) -> Option<impl Sized + use<H>> {
        if let Some(Slot::Waiting(waiting)) = self.calls.get_mut(seq) {
            waiting.caller = Caller::Gone;
            return None;
        }
        self.calls.remove(seq)
    }
}

/// Approximate size of a final reply: as far as it can be long.
fn weight(result: &reply::Result) -> usize {
    match class(result).payload {
        Payload::Value(value) => value.data.len(),
        Payload::Bytes(bytes) => bytes.len(),
        Payload::Entry(entry) => entry.value.as_ref().map_or(0, |value| value.data.len()),
        Payload::Results(results) => {
            let results = results.segments.iter().filter_map(|segment| segment.results.as_ref());
            results.map(|value| value.data.len()).sum()
        }
        // A page or many values: worth a frame by themselves if they are long at all.
        Payload::Page(_) | Payload::Optionals(_) => BYTES_WORTH_A_FRAME / 4,
        Payload::None
        | Payload::Error(_)
        | Payload::Status(_)
        | Payload::Orders(_)
        | Payload::Tasks(_)
        | Payload::Work(_)
        | Payload::Deliveries(_)
        | Payload::Reference(_)
        | Payload::Listing(_)
        | Payload::Inspection(_) => 0,
    }
}
