//! A lock: one holder, a fencing token on every grant, first come first served.

use mp_manager_proto::v1::{Error, Holding, ObjectInfo, Reason, lock_op::Op};

use crate::{
    call::{Answer, Applied, Call, CallId, Outcome, SessionId},
    cost::Cost,
    description::add_holders,
    machine::{Machine, deleted},
    turn::Turn,
    waiters::Waiters,
};

/// Python's `Lock`, which knows who holds it.
///
/// ```text
///   free ──acquire──► held by (session, token) ──release / cancel before ack / end──► next waiter, or free
/// ```
#[derive(Debug, Default, Clone)]
pub struct Lock {
    holder: Option<Holder>,
    waiters: Waiters<()>,
}

#[derive(Debug, Clone)]
struct Holder {
    call: CallId,
    token: u64,
    acknowledged: bool,
}

impl Lock {
    /// A free lock.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn acquire(&mut self, call: Call, turn: &mut Turn<'_>) -> Applied {
        if self.holder.is_none() {
            return self.grant(call.id, turn)?.into();
        }
        if !call.may_wait {
            return Answer::absent().into();
        }
        self.waiters.push(call.id, ());
        Ok(Outcome::Parked)
    }

    fn grant(&mut self, call: CallId, turn: &mut Turn<'_>) -> Result<Answer, Error> {
        let token = turn.token()?;
        self.holder = Some(Holder { call, token, acknowledged: false });
        Ok(Answer::grant(token, 1))
    }

    fn release(&mut self, caller: CallId, token: u64, turn: &mut Turn<'_>) -> Applied {
        let Some(holder) = self.holder.as_ref().filter(|holder| holder.token == token) else {
            return Err(not_held(token));
        };
        if holder.call.session != caller.session {
            turn.lose(holder.call.session, token);
        }
        self.pass_on(turn);
        Answer::done().into()
    }

    /// Takes the lock from its holder and gives it to the next in line. Those to whom it cannot be
    /// granted are refused.
    fn pass_on(&mut self, turn: &mut Turn<'_>) {
        self.holder = None;
        while self.holder.is_none()
            && let Some((next, ())) = self.waiters.pop_front()
        {
            let answer = self.grant(next, turn);
            turn.answer(next, answer);
        }
    }
}

impl Machine for Lock {
    type Op = Op;

    fn apply(&mut self, call: Call, op: Op, turn: &mut Turn<'_>) -> Applied {
        match op {
            Op::Acquire(_) => self.acquire(call, turn),
            Op::Release(token) => self.release(call.id, token, turn),
            Op::IsLocked(_) => Answer::flag(self.holder.is_some()).into(),
        }
    }

    fn acknowledge(&mut self, call: CallId) {
        if let Some(holder) = self.holder.as_mut().filter(|holder| holder.call == call) {
            holder.acknowledged = true;
        }
    }

    fn cancel(&mut self, call: CallId, turn: &mut Turn<'_>) {
        if self.waiters.remove(call).is_none()
            && self.holder.as_ref().is_some_and(|h| h.call == call && !h.acknowledged)
        {
            self.pass_on(turn);
        }
    }

    fn expire(&mut self, call: CallId, turn: &mut Turn<'_>) {
        if self.waiters.remove(call).is_some() {
            turn.reply(call, Answer::absent());
        }
    }

    fn end_session(&mut self, session: SessionId, turn: &mut Turn<'_>) {
        // Its waiters first: none of them may get the lock it lets go of.
        self.waiters.remove_session(session);
        if self.holder.as_ref().is_some_and(|holder| holder.call.session == session) {
            self.pass_on(turn);
        }
    }

    fn delete(&mut self, turn: &mut Turn<'_>) {
        if let Some(holder) = self.holder.take() {
            turn.lose(holder.call.session, holder.token);
        }
        for (call, ()) in self.waiters.drain() {
            turn.refuse(call, deleted());
        }
    }

    fn holds(&self, token: u64) -> bool {
        self.holder.as_ref().is_some_and(|holder| holder.token == token)
    }

    fn cost(&self, op: &Op) -> Cost {
        match op {
            Op::Acquire(_) | Op::Release(_) | Op::IsLocked(_) => 0,
        }
    }

    fn crowd(&self) -> usize {
        self.waiters.len()
    }

    fn describe(&self, info: &mut ObjectInfo) {
        info.len = self.holder.is_some().into();
        info.state = if self.holder.is_some() { "locked" } else { "free" }.into();
        add_holders(
            info,
            self.holder.iter().map(|holder| Holding {
                session: holder.call.session,
                token: holder.token,
                what: "lock".into(),
            }),
        );
        self.waiters.describe(info, |()| "acquire".into());
    }

    fn bytes(&self) -> usize {
        self.waiters.bytes()
    }
}

/// Releasing what is not held, or no longer.
pub(crate) fn not_held(token: u64) -> Error {
    Error::new(Reason::NotHeld, format!("the grant with token {token} does not stand"))
        .with_hint("it was released already, or lost when its session ended")
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use mp_manager_proto::v1::{Empty, reply};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        fixture::Fixture,
        turn::{Tokens, tests::with_turn},
    };

    fn call(session: u64, seq: u64) -> Call {
        Call { id: CallId { session, seq }, may_wait: true }
    }

    fn token(answer: &Answer) -> u64 {
        match &answer.result {
            reply::Result::Grant(grant) => grant.token,
            other => panic!("expected a grant, got {other:?}"),
        }
    }

    #[test]
    fn the_next_waiter_gets_it_with_a_higher_token_when_the_holder_dies() {
        let (tokens, mut lock) = (Tokens::after(0), Lock::new());
        let (first, _) = with_turn(&tokens, |t| lock.apply(call(1, 1), Op::Acquire(Empty {}), t));
        let Ok(Outcome::Done(first)) = first else { panic!("the lock was free") };
        let (second, _) = with_turn(&tokens, |t| lock.apply(call(2, 1), Op::Acquire(Empty {}), t));
        assert!(matches!(second, Ok(Outcome::Parked)));
        lock.acknowledge(call(1, 1).id);

        let ((), effects) = with_turn(&tokens, |t| lock.end_session(1, t));
        let [(to, Ok(answer))] = &effects.replies[..] else { panic!("one grant: {effects:?}") };
        assert_eq!(*to, call(2, 1).id);
        assert!(token(answer) > token(&first));
    }

    #[test]
    fn a_release_from_elsewhere_is_told_to_the_holder() {
        let (tokens, mut lock) = (Tokens::after(0), Lock::new());
        let (_, _) = with_turn(&tokens, |t| lock.apply(call(1, 1), Op::Acquire(Empty {}), t));
        let (released, effects) = with_turn(&tokens, |t| lock.apply(call(2, 1), Op::Release(1), t));
        assert!(released.is_ok());
        assert_eq!(effects.lost, [(1, 1)]);
        let (again, _) = with_turn(&tokens, |t| lock.apply(call(2, 2), Op::Release(1), t));
        assert_eq!(again.unwrap_err().reason(), Reason::NotHeld);
    }

    #[test]
    fn without_a_token_nobody_gets_it_and_nobody_waits_for_it() {
        let mut lock = Fixture::with_tokens(Lock::new(), Tokens::reserved(6, 7));
        let acquire = || Op::Acquire(Empty {});
        lock.take(1, acquire());
        let waiters = [2, 3].map(|session| lock.call(session, acquire()));
        lock.ask(1, Op::Release(7)).unwrap();
        for call in waiters {
            assert_eq!(lock.told(call), Some(Err(Reason::LimitExceeded)));
        }
        assert_eq!(lock.ask(4, acquire()), Err(Reason::LimitExceeded));
        assert_eq!(lock.info().state, "free");

        lock.tokens.reserve(8);
        assert_eq!(crate::fixture::token(&lock.take(4, acquire())), 8);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Acquire(u64, bool),
        Release,
        Acknowledge,
        Cancel(usize),
        Expire(usize),
        End(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..4_u64, any::<bool>()).prop_map(|(session, wait)| Step::Acquire(session, wait)),
            4 => Just(Step::Release),
            2 => Just(Step::Acknowledge),
            2 => (0..8_usize).prop_map(Step::Cancel),
            1 => (0..8_usize).prop_map(Step::Expire),
            1 => (0..4_u64).prop_map(Step::End),
        ]
    }

    proptest! {
        /// The model is a queue of calls: its head holds the lock.
        #[test]
        fn behaves_like_a_line_of_calls(steps in prop::collection::vec(step(), 0..200)) {
            let (tokens, mut lock) = (Tokens::after(0), Lock::new());
            let mut line: VecDeque<CallId> = VecDeque::new();
            let (mut seq, mut last_token, mut held, mut acknowledged) = (0, 0, None, false);
            for step in steps {
                let head = line.front().copied();
                let (answer, effects) = with_turn(&tokens, |turn| match step {
                    Step::Acquire(session, may_wait) => {
                        seq += 1;
                        let id = CallId { session, seq };
                        if may_wait || line.is_empty() {
                            line.push_back(id);
                        }
                        let call = Call { id, may_wait };
                        Some((id, lock.apply(call, Op::Acquire(Empty {}), turn)))
                    }
                    Step::Release => {
                        if let (Some(token), Some(id)) = (held, line.pop_front()) {
                            let call = Call { id, may_wait: true };
                            lock.apply(call, Op::Release(token), turn).unwrap();
                        }
                        None
                    }
                    Step::Acknowledge => {
                        if let Some(head) = head {
                            lock.acknowledge(head);
                            acknowledged = true;
                        }
                        None
                    }
                    Step::Cancel(at) => {
                        if let Some(&id) = line.get(at) {
                            lock.cancel(id, turn);
                            if at > 0 || !acknowledged {
                                line.remove(at);
                            }
                        }
                        None
                    }
                    Step::Expire(at) => {
                        if let Some(&id) = line.get(at) {
                            lock.expire(id, turn);
                            if at > 0 {
                                line.remove(at);
                            }
                        }
                        None
                    }
                    Step::End(session) => {
                        lock.end_session(session, turn);
                        line.retain(|id| id.session != session);
                        None
                    }
                });
                let granted: Vec<(CallId, u64)> = answer
                    .into_iter()
                    .filter_map(|(id, applied)| match applied.unwrap() {
                        Outcome::Done(answer) if answer.ownership => Some((id, token(&answer))),
                        _ => None,
                    })
                    .chain(effects.replies.iter().filter_map(|(id, answer)| {
                        let answer = answer.as_ref().unwrap();
                        answer.ownership.then(|| (*id, token(answer)))
                    }))
                    .collect();
                if line.front().copied() == head {
                    prop_assert!(granted.is_empty());
                    continue;
                }
                acknowledged = false;
                held = None;
                if let Some(&head) = line.front() {
                    let [(id, token)] = granted[..] else { panic!("one grant: {granted:?}") };
                    prop_assert_eq!(id, head);
                    prop_assert!(token > last_token);
                    last_token = token;
                    held = Some(token);
                }
            }
        }
    }
}
