//! An event: a flag that many can wait for.

use mp_manager_proto::v1::{ObjectInfo, event_op::Op};

use crate::{
    call::{Answer, Applied, Call, CallId, Outcome, SessionId},
    cost::{self, Cost, times},
    machine::{Machine, deleted},
    turn::Turn,
    waiters::Waiters,
};

/// Python's `Event`.
///
/// ```text
///            ──set: everyone waiting is told──►
///   clear                                        set
///            ◄──────────────clear──────────────
/// ```
#[derive(Debug, Default, Clone)]
pub struct Event {
    set: bool,
    /// Nobody, while it is set.
    waiters: Waiters<()>,
}

impl Event {
    /// An event that has not happened.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn set(&mut self, turn: &mut Turn<'_>) -> Applied {
        self.set = true;
        // One session after the other: each hears of its calls in few frames.
        for call in self.waiters.drain_by_session() {
            turn.reply(call, Answer::flag(true));
        }
        Answer::done().into()
    }

    fn clear(&mut self) -> Applied {
        self.set = false;
        Answer::done().into()
    }

    fn wait(&mut self, call: Call) -> Applied {
        if self.set || !call.may_wait {
            return Answer::flag(self.set).into();
        }
        self.waiters.push(call.id, ());
        Ok(Outcome::Parked)
    }
}

impl Machine for Event {
    type Op = Op;

    fn apply(&mut self, call: Call, op: Op, turn: &mut Turn<'_>) -> Applied {
        match op {
            Op::Set(_) => self.set(turn),
            Op::Clear(_) => self.clear(),
            Op::IsSet(_) => Answer::flag(self.set).into(),
            Op::Wait(_) => self.wait(call),
        }
    }

    fn cancel(&mut self, call: CallId, _turn: &mut Turn<'_>) {
        self.waiters.remove(call);
    }

    fn expire(&mut self, call: CallId, turn: &mut Turn<'_>) {
        if self.waiters.remove(call).is_some() {
            turn.reply(call, Answer::flag(false));
        }
    }

    fn end_session(&mut self, session: SessionId, _turn: &mut Turn<'_>) {
        self.waiters.remove_session(session);
    }

    fn delete(&mut self, turn: &mut Turn<'_>) {
        for (call, ()) in self.waiters.drain() {
            turn.refuse(call, deleted());
        }
    }

    fn cost(&self, op: &Op) -> Cost {
        match op {
            Op::Set(_) => times(self.waiters.len(), cost::ANSWER),
            Op::Clear(_) | Op::IsSet(_) | Op::Wait(_) => 0,
        }
    }

    fn crowd(&self) -> usize {
        self.waiters.len()
    }

    fn describe(&self, info: &mut ObjectInfo) {
        info.len = self.set.into();
        info.state = if self.set { "set" } else { "clear" }.into();
        self.waiters.describe(info, |()| "wait".into());
    }

    fn bytes(&self) -> usize {
        self.waiters.bytes()
    }
}

#[cfg(test)]
mod tests {
    use mp_manager_proto::v1::{Empty, Reason, reply};
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::Fixture;

    const WAIT: Op = Op::Wait(Empty {});
    const SET: Op = Op::Set(Empty {});
    const CLEAR: Op = Op::Clear(Empty {});

    fn flag(flag: bool) -> Result<reply::Result, Reason> {
        Ok(reply::Result::Flag(flag))
    }

    #[test]
    fn setting_it_wakes_everyone_and_clearing_it_afterwards_changes_nothing_for_them() {
        let mut event = Fixture::new(Event::new());
        let (first, second) = (event.call(1, WAIT), event.call(2, WAIT));
        event.ask(3, SET).unwrap();
        event.ask(3, CLEAR).unwrap();
        assert_eq!(event.told(first), Some(flag(true)));
        assert_eq!(event.told(second), Some(flag(true)));
        let third = event.call(1, WAIT);
        assert_eq!(event.told(third), None);
    }

    #[test]
    fn a_timeout_says_that_it_is_not_set() {
        let mut event = Fixture::new(Event::new());
        let call = event.call(1, WAIT);
        event.expire(call);
        assert_eq!(event.told(call), Some(flag(false)));
        event.ask(2, SET).unwrap();
    }

    #[test]
    fn a_wake_is_final_and_cannot_be_taken_back() {
        let mut event = Fixture::new(Event::new());
        event.call(1, WAIT);
        event.ask(2, SET).unwrap();
        assert_eq!(event.open(), []);
    }

    #[test]
    fn deleting_it_refuses_those_who_wait() {
        let mut event = Fixture::new(Event::new());
        let call = event.call(1, WAIT);
        event.delete();
        assert_eq!(event.refusal(call).reason(), Reason::ObjectDeleted);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Wait(u64, bool),
        Set,
        Clear,
        Cancel(prop::sample::Index),
        Expire(prop::sample::Index),
        End(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..3_u64, any::<bool>()).prop_map(|(session, wait)| Step::Wait(session, wait)),
            1 => Just(Step::Set),
            1 => Just(Step::Clear),
            1 => any::<prop::sample::Index>().prop_map(Step::Cancel),
            1 => any::<prop::sample::Index>().prop_map(Step::Expire),
            1 => (0..3_u64).prop_map(Step::End),
        ]
    }

    proptest! {
        /// The fixture sees to it that nobody is told twice or after leaving.
        #[test]
        fn nobody_waits_while_it_is_set(steps in prop::collection::vec(step(), 0..100)) {
            let (mut event, mut set) = (Fixture::new(Event::new()), false);
            for step in steps {
                match step {
                    Step::Wait(session, true) => drop(event.call(session, WAIT)),
                    Step::Wait(session, false) => {
                        let call = event.attempt(session, WAIT);
                        prop_assert_eq!(event.told(call), Some(flag(set)));
                    }
                    Step::Set => {
                        let waiting = event.parked().clone();
                        event.ask(9, SET).unwrap();
                        set = true;
                        for call in waiting {
                            prop_assert_eq!(event.told(call), Some(flag(true)));
                        }
                    }
                    Step::Clear => {
                        event.ask(9, CLEAR).unwrap();
                        set = false;
                    }
                    Step::Cancel(at) if !event.parked().is_empty() => {
                        event.cancel(*at.get(&event.open()));
                    }
                    Step::Expire(at) if !event.parked().is_empty() => {
                        let call = *at.get(&event.open());
                        event.expire(call);
                        prop_assert_eq!(event.told(call), Some(flag(false)));
                    }
                    Step::End(session) => event.end_session(session),
                    Step::Cancel(_) | Step::Expire(_) => {}
                }
                prop_assert_eq!(event.info().len == 1, set);
                prop_assert!(!set || event.parked().is_empty());
            }
        }
    }
}
