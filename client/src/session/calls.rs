//! Calls: taken up, answered, cancelled.

use std::{task::Waker, time::Duration};

use mp_manager_proto::{
    encoded_len,
    v1::{Request, reply},
};

use super::{
    Arrived, Failure, Scope, Seq, Shared,
    refusals::{closed, fenced, lost_session, too_long, too_many_calls},
    slot::{Caller, Slot, Waiting, hands_over, note_waker},
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

/// A call that cannot be sent yet.
#[derive(Debug)]
pub(crate) struct Blocked {
    /// Among those who are woken, in their order.
    place: u64,
    deadline: Option<Duration>,
}

impl Shared {
    /// Takes a request up, to be sent.
    ///
    /// Its time and its place are those of the first attempt: `blocked` is what that came back with.
    pub(crate) fn begin(
        &self,
        request: Box<Request>,
        scope: Scope,
        blocked: Option<Box<Blocked>>,
        waker: &Waker,
    ) -> Begun {
        let timeout = request.timeout_us.map(Duration::from_micros);
        // The clock is looked at by those who need it: most do not, and it takes its time.
        let deadline = match &blocked {
            Some(blocked) => blocked.deadline,
            None => timeout
                .filter(|timeout| !timeout.is_zero())
                .map(|timeout| self.now().saturating_add(timeout)),
        };
        let mut state = self.lock();
        let mut request = match self.admit(&state, scope, request) {
            Ok(request) => request,
            Err(failure) => return Begun::Failed(failure),
        };
        // Sent in a session that is over, it would fail with less certainty.
        if let Some(fence) = request.fence
            && state.has_lost(fence, self.now())
        {
            return Begun::Failed(Failure::Refused(fenced(fence)));
        }
        // Before the first connection nobody knows how much may be sent.
        if !state.is_acquainted
            || state.calls.len() >= state.session.limits.max_open_requests.max(1) as usize
        {
            let is_over = timeout.is_some_and(|timeout| timeout.is_zero())
                || deadline.is_some_and(|deadline| deadline <= self.now());
            if is_over && state.is_acquainted {
                return Begun::Failed(Failure::Refused(too_many_calls(state.calls.len())));
            }
            let place = blocked.map_or(state.next_place, |blocked| blocked.place);
            state.next_place = state.next_place.max(place + 1);
            state.blocked.insert(place, waker.clone());
            return Begun::Later(request, Box::new(Blocked { place, deadline }));
        }
        if let Some(deadline) = deadline.filter(|_| blocked.is_some()) {
            let left = deadline.saturating_sub(self.now()).as_micros();
            request.timeout_us = Some(u64::try_from(left).unwrap_or(u64::MAX).max(1));
        }
        let len = encoded_len(&*request);
        let max = state.longest_request();
        if len > max {
            return Begun::Failed(Failure::Refused(too_long(len, max)));
        }
        let caller = Caller::Waits(Some(waker.clone()));
        Begun::Sent(state.enqueue(request, len, scope, deadline, caller))
    }

    /// Takes up a request that gives something back, here and now: as it waits for nothing, it is
    /// not held up by the many calls that may.
    pub(crate) fn give_back(&self, request: Request, scope: Scope) -> Result<Seq, Failure> {
        let mut state = self.lock();
        let request = self.admit(&state, scope, Box::new(request))?;
        let len = encoded_len(&*request);
        Ok(state.enqueue(request, len, scope, None, Caller::Waits(None)))
    }

    /// Takes up a request that gives something back, and whose reply nobody waits for.
    pub(crate) fn tell(&self, request: Request, scope: Scope) {
        let mut state = self.lock();
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
        let mut state = self.lock();
        let hands_over_now = match state.calls.get_mut(&seq) {
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
                && let Some(Slot::Replied(_, held)) = state.calls.get_mut(&seq)
            {
                note_waker(&mut held.waker, waker);
                return None;
            }
        }
        let result = match state.calls.remove(&seq) {
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
        let mut state = self.lock();
        let Some(slot) = state.calls.remove(&seq) else { return };
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
        let mut state = self.lock();
        let slot = match state.calls.get_mut(&seq) {
            Some(Slot::Waiting(waiting)) => {
                waiting.caller = Caller::Gone;
                return;
            }
            _ => state.calls.remove(&seq),
        };
        drop(state);
        drop(slot);
    }
}
