//! Calls: taken up, answered, cancelled.

use std::task::Waker;

use mp_manager_proto::{
    encoded_len,
    reply::hands_over,
    v1::{Request, reply},
};

use super::{
    Arrived, Failure, Scope, Seq, Shared,
    deadline::Deadline,
    refusals::{closed, fenced, lost_session, too_long, too_many_calls, unreachable},
    slot::{Caller, Slot, Waiting, note_waker},
    state::{Goodbye, State},
};

/// What became of the attempt to send a request.
pub(crate) enum Begun {
    Sent(Seq),
    /// There are too many open calls; the waker is woken when there are fewer, and now and then, as the
    /// call may have a deadline.
    Later(Box<Request>, Box<Blocked>),
    Failed(Failure),
}

/// A call that cannot be sent yet: its place among those that are woken in their order.
#[derive(Debug)]
pub(crate) struct Blocked(u64);

impl Shared {
    /// Takes a request up, to be sent.
    ///
    /// Its place is that of the first attempt: `blocked` is what that came back with.
    pub(crate) fn begin(
        &self,
        mut request: Box<Request>,
        scope: Scope,
        deadline: Option<Deadline>,
        blocked: Option<Box<Blocked>>,
        waker: &Waker,
    ) -> Begun {
        // The clock is looked at by those who need it: most do not, and it takes its time.
        let now = deadline.map(|_| self.now());
        let mut state = match self.enter() {
            Ok(state) => state,
            Err(failure) => return Begun::Failed(failure),
        };
        request = match self.admit(&state, scope, request) {
            Ok(request) => request,
            Err(failure) => return Begun::Failed(failure),
        };
        // Sent in a session that is over, it would fail with less certainty.
        if let Some(fence) = request.fence
            && state.has_lost(fence, self.now())
        {
            return Begun::Failed(Failure::Refused(fenced(fence)));
        }
        let has_passed = deadline.zip(now).is_some_and(|(deadline, now)| deadline.has_passed(now));
        if let Some((deadline, now)) = deadline.zip(now) {
            if has_passed && state.reconnect.is_down(now) {
                return Begun::Failed(Failure::Refused(unreachable()));
            }
            if !deadline.is_try && request.timeout_us.is_some() {
                let left = deadline.at.saturating_sub(now).as_micros();
                request.timeout_us = Some(u64::try_from(left).unwrap_or(u64::MAX).max(1));
            }
        }
        // Before the first connection nobody knows how much may be sent.
        if !state.is_acquainted
            || state.open.count() >= state.session.limits.max_open_requests.max(1) as usize
        {
            if has_passed && state.is_acquainted {
                return Begun::Failed(Failure::Refused(too_many_calls(state.open.count())));
            }
            let place = blocked.map_or(state.next_place, |blocked| blocked.0);
            state.next_place = state.next_place.max(place + 1);
            let passes_at = deadline.map(|deadline| deadline.at);
            state.blocked.insert(place, (waker.clone(), passes_at));
            drop(state);
            self.wake_timer_at(passes_at);
            return Begun::Later(request, Box::new(Blocked(place)));
        }
        let len = encoded_len(&*request);
        let max = state.longest_request();
        if len > max {
            return Begun::Failed(Failure::Refused(too_long(len, max)));
        }
        self.want_connection(&mut state);
        let caller = Caller::Waits(Some(waker.clone()));
        let seq = state.enqueue(request, len, scope, deadline, caller);
        let due = deadline.and_then(|_| state.calls.next_due());
        drop(state);
        self.wake_timer_at(due);
        Begun::Sent(seq)
    }

    /// Takes up a request that gives something back, here and now: as it waits for nothing, it is
    /// not held up by the many calls that may.
    pub(crate) fn give_back(&self, request: Request, scope: Scope) -> Result<Seq, Failure> {
        let mut state = self.enter()?;
        let request = self.admit(&state, scope, Box::new(request))?;
        let len = encoded_len(&*request);
        self.want_connection(&mut state);
        Ok(state.enqueue(request, len, scope, None, Caller::Waits(None)))
    }

    /// Takes up a request that gives something back, and whose reply nobody waits for.
    pub(crate) fn tell(&self, request: Request, scope: Scope) {
        let Ok(mut state) = self.enter() else { return };
        if let Ok(request) = self.admit(&state, scope, Box::new(request)) {
            let len = encoded_len(&*request);
            state.enqueue(request, len, scope, None, Caller::Gone);
        }
    }

    fn admit(
        &self,
        state: &State,
        scope: Scope,
        request: Box<Request>,
    ) -> Result<Box<Request>, Failure> {
        if let Some(why) = &state.over {
            return Err(Failure::Refused(why.clone()));
        }
        if state.goodbye != Goodbye::No {
            return Err(Failure::Refused(closed()));
        }
        match scope {
            Scope::Server(server) if server != self.server() => Err(Failure::Stale(request)),
            Scope::Session(incarnation) if incarnation != state.incarnation => {
                Err(Failure::Refused(lost_session()))
            }
            _ => Ok(request),
        }
    }

    /// The reply to a call, once it is there.
    pub(crate) fn poll_reply(&self, seq: Seq, waker: &Waker) -> Option<Result<Arrived, Failure>> {
        let mut state = match self.enter_at_leisure() {
            Ok(state) => state,
            Err(failure) => return Some(Err(failure)),
        };
        let hands_over_now = match state.calls.get_mut(seq) {
            Some(Slot::Waiting(Waiting { caller: Caller::Waits(place), .. })) => {
                note_waker(place, waker);
                return None;
            }
            Some(Slot::Replied(arrived, _)) => hands_over(&arrived.result),
            _ => false,
        };
        if hands_over_now {
            state.look_at_lease(self.now());
            if state.lease_lost
                && let Some(Slot::Replied(_, held)) = state.calls.get_mut(seq)
            {
                note_waker(&mut held.waker, waker);
                return None;
            }
        }
        let result = match state.calls.remove(seq) {
            Some(Slot::Replied(arrived, _)) => {
                if hands_over_now {
                    state.count(&arrived);
                    state.acknowledge(seq, 0);
                    state.acks_are_urgent = true;
                    state.wake_sender();
                }
                Ok(*arrived)
            }
            Some(Slot::Failed(failure)) => Err(*failure),
            _ => Err(Failure::Refused(state.over.clone().unwrap_or_else(closed))),
        };
        let unblocked = state.unblock();
        drop(state);
        unblocked.into_iter().for_each(Waker::wake);
        Some(match result {
            Ok(Arrived { result: reply::Result::Error(refusal), .. }) => {
                Err(Failure::Refused(refusal))
            }
            result => result,
        })
    }

    /// The caller of `seq` has gone.
    pub(crate) fn cancel(&self, seq: Seq) {
        let Ok(mut state) = self.enter_at_leisure() else { return };
        let Some(slot) = state.calls.remove(seq) else { return };
        match &slot {
            Slot::Waiting(waiting) => state.cancel(seq, waiting.sent),
            Slot::Replied(arrived, _) if hands_over(&arrived.result) => state.cancel(seq, true),
            Slot::Replied(..) | Slot::Failed(_) => {}
        }
        let unblocked = state.unblock();
        drop(state);
        unblocked.into_iter().for_each(Waker::wake);
        // A reply's handles lock the state when they go.
        drop(slot);
    }

    /// The caller of `seq` has gone, which changes nothing but that nobody waits for the reply.
    pub(crate) fn detach(&self, seq: Seq) {
        let Ok(mut state) = self.enter_at_leisure() else { return };
        let slot = match state.calls.get_mut(seq) {
            Some(Slot::Waiting(waiting)) => {
                waiting.caller = Caller::Gone;
                return;
            }
            _ => state.calls.remove(seq),
        };
        drop(state);
        drop(slot);
    }
}
