//! One object, those who call it and what they were told: for the tests of what blocks.

use std::collections::BTreeSet;

use mp_manager_proto::v1::{Error, ObjectInfo, Reason, reply};

use crate::{
    call::{Answer, Call, CallId, Outcome, SessionId},
    machine::Machine,
    turn::{Tokens, Turn, tests::with_turn},
};

/// What a call came to.
pub(crate) type Told = Result<reply::Result, Reason>;

/// Plays the sessions of one object, and panics if any call is answered that does not wait.
pub(crate) struct Fixture<M> {
    pub(crate) object: M,
    /// Grants whose holder was told that it lost them.
    pub(crate) lost: Vec<(SessionId, u64)>,
    pub(crate) tokens: Tokens,
    /// The manager has run for as long as the longest lease.
    pub(crate) is_settled: bool,
    last_seq: u64,
    parked: BTreeSet<CallId>,
    unacknowledged: BTreeSet<CallId>,
    told: Vec<(CallId, Result<reply::Result, Error>)>,
    seen: usize,
}

impl<M: Machine> Fixture<M> {
    pub(crate) fn new(object: M) -> Self {
        Self::with_tokens(object, Tokens::after(0))
    }

    /// With a source of tokens that may have an end.
    pub(crate) fn with_tokens(object: M, tokens: Tokens) -> Self {
        Self {
            object,
            lost: Vec::new(),
            tokens,
            is_settled: false,
            last_seq: 0,
            parked: BTreeSet::new(),
            unacknowledged: BTreeSet::new(),
            told: Vec::new(),
            seen: 0,
        }
    }

    /// A call that waits as long as it takes.
    pub(crate) fn call(&mut self, session: SessionId, op: M::Op) -> CallId {
        self.apply(session, true, op)
    }

    /// A call that would not wait.
    pub(crate) fn attempt(&mut self, session: SessionId, op: M::Op) -> CallId {
        self.apply(session, false, op)
    }

    /// A call that never waits, and what it came to.
    pub(crate) fn ask(&mut self, session: SessionId, op: M::Op) -> Told {
        let call = self.call(session, op);
        self.told(call).expect("the call was parked")
    }

    /// A call that hands something over, received by its caller.
    pub(crate) fn take(&mut self, session: SessionId, op: M::Op) -> reply::Result {
        let call = self.call(session, op);
        self.acknowledge(call);
        self.told(call).expect("the call was parked").expect("the call was refused")
    }

    fn apply(&mut self, session: SessionId, may_wait: bool, op: M::Op) -> CallId {
        self.last_seq += 1;
        let id = CallId { session, seq: self.last_seq };
        let applied = self.turn(|object, turn| object.apply(Call { id, may_wait }, op, turn));
        match applied {
            Ok(Outcome::Done(answer)) => self.hear(id, Ok(answer)),
            Ok(Outcome::Parked) => drop(self.parked.insert(id)),
            Err(error) => self.hear(id, Err(error)),
        }
        id
    }

    fn turn<T>(&mut self, f: impl FnOnce(&mut M, &mut Turn<'_>) -> T) -> T {
        let (result, effects) = with_turn(&self.tokens, |turn| {
            turn.is_settled = self.is_settled;
            f(&mut self.object, turn)
        });
        for (call, answer) in effects.replies {
            assert!(self.parked.remove(&call), "{call:?} does not wait, but is told {answer:?}");
            self.hear(call, answer);
        }
        self.lost.extend(effects.lost);
        result
    }

    fn hear(&mut self, call: CallId, answer: Result<Answer, Error>) {
        if answer.as_ref().is_ok_and(|answer| answer.ownership) {
            self.unacknowledged.insert(call);
        }
        self.told.push((call, answer.map(|answer| answer.result)));
    }

    /// What the call came to; `None` while it waits.
    pub(crate) fn told(&self, call: CallId) -> Option<Told> {
        let (_, told) = self.told.iter().rfind(|(id, _)| *id == call)?;
        Some(told.clone().map_err(|error| error.reason()))
    }

    /// The error the call was refused with.
    pub(crate) fn refusal(&self, call: CallId) -> &Error {
        let told = self.told.iter().rfind(|(id, _)| *id == call).expect("the call still waits");
        told.1.as_ref().expect_err("the call was not refused")
    }

    /// What was told since this was asked last, in order.
    pub(crate) fn news(&mut self) -> Vec<(CallId, Told)> {
        let news = &self.told[self.seen..];
        self.seen = self.told.len();
        news.iter().map(|(id, told)| (*id, told.clone().map_err(|error| error.reason()))).collect()
    }

    /// The caller has what an ownership answer handed over.
    pub(crate) fn acknowledge(&mut self, call: CallId) {
        if self.unacknowledged.remove(&call) {
            self.object.acknowledge(call);
        }
    }

    /// As a client's next frame does: everything the session was told, it has received.
    pub(crate) fn acknowledge_all(&mut self, session: SessionId) {
        for call in self.unacknowledged.clone() {
            if call.session == session {
                self.acknowledge(call);
            }
        }
    }

    /// The caller has gone.
    pub(crate) fn cancel(&mut self, call: CallId) {
        self.parked.remove(&call);
        self.unacknowledged.remove(&call);
        self.turn(|object, turn| object.cancel(call, turn));
    }

    pub(crate) fn expire(&mut self, call: CallId) {
        self.turn(|object, turn| object.expire(call, turn));
    }

    pub(crate) fn end_session(&mut self, session: SessionId) {
        self.parked.retain(|call| call.session != session);
        self.unacknowledged.retain(|call| call.session != session);
        self.turn(|object, turn| object.end_session(session, turn));
    }

    pub(crate) fn delete(&mut self) {
        self.turn(|object, turn| object.delete(turn));
    }

    /// The calls that wait.
    pub(crate) fn parked(&self) -> &BTreeSet<CallId> {
        &self.parked
    }

    /// The calls that can still be cancelled: they wait, or have not been acknowledged.
    pub(crate) fn open(&self) -> Vec<CallId> {
        self.parked.union(&self.unacknowledged).copied().collect()
    }

    /// What the object says of itself, which is to be about exactly those who wait.
    pub(crate) fn info(&self) -> ObjectInfo {
        let mut info = ObjectInfo::default();
        self.object.describe(&mut info);
        let waiting: BTreeSet<CallId> = info
            .waiters
            .iter()
            .map(|waiting| CallId { session: waiting.session, seq: waiting.seq })
            .collect();
        assert_eq!(waiting, self.parked);
        info
    }
}

/// The token of a grant or a wake.
pub(crate) fn token(told: &reply::Result) -> u64 {
    match told {
        reply::Result::Grant(grant) => grant.token,
        reply::Result::Woken(woken) => woken.token,
        other => panic!("expected a grant, got {other:?}"),
    }
}
