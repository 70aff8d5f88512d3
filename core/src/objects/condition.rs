//! A condition variable and its re-entrant lock, as one state machine.

use mp_manager_proto::v1::{ConditionNotify, ObjectInfo, condition_op::Op};

use super::rlock::{Claim, Owner, Reentrant, Wake};
use crate::{
    call::{Answer, Applied, Call, CallId, Outcome, SessionId},
    cost::{self, Cost, times},
    machine::{Machine, deleted},
    turn::Turn,
    waiters::Waiters,
};

/// Python's `Condition`, with the `RLock` it makes for itself.
///
/// A `wait` is one call from beginning to end:
///
/// ```text
///   holds ──wait──► waiting ──notify──────────────► in the lock's line ──its turn──► holds, woken
///                      │                                ▲      │                       │
///                      └──timeout, or it would not wait─┘      └─────────┬─────────────┘
///                                                           cancel before ack, end:
///                                                           if notified, the next one is
/// ```
#[derive(Debug, Default, Clone)]
pub struct Condition {
    lock: Reentrant,
    /// Each with the levels of the lock it wants back.
    waiting: Waiters<Claim>,
}

impl Condition {
    /// A condition nobody waits for, with a free lock.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets go of the lock and waits; or, not to wait, goes to the end of the lock's line at once.
    /// That parks even a call that would not wait, as long as others are in that line, for nobody
    /// returns from here without the lock.
    fn wait(&mut self, call: Call, owner: u64, turn: &mut Turn<'_>) -> Applied {
        let owner = Owner::of(call.id, owner);
        let levels = self.lock.suspend(owner, turn)?;
        let claim = Claim { owner, levels, wake: Some(Wake::TimedOut) };
        if !call.may_wait {
            return self.lock.claim(call.id, claim, turn);
        }
        self.waiting.push(call.id, claim);
        Ok(Outcome::Parked)
    }

    fn notify(&mut self, caller: CallId, op: ConditionNotify, turn: &mut Turn<'_>) -> Applied {
        self.lock.check_owner(Owner::of(caller, op.owner))?;
        let count = op.count.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        Answer::number(self.wake(count, turn)).into()
    }

    /// Wakes those who have waited longest; how many there were to wake.
    fn wake(&mut self, count: usize, turn: &mut Turn<'_>) -> usize {
        let count = count.min(self.waiting.len());
        for _ in 0..count {
            if let Some((call, claim)) = self.waiting.pop_front() {
                self.take_lock_again(call, Claim { wake: Some(Wake::Notified), ..claim }, turn);
            }
        }
        count
    }

    fn take_lock_again(&mut self, call: CallId, claim: Claim, turn: &mut Turn<'_>) {
        match self.lock.claim(call, claim, turn) {
            Ok(Outcome::Done(answer)) => turn.reply(call, answer),
            Ok(Outcome::Parked) => {}
            // As after any error, its caller has let go of the lock.
            Err(error) => turn.refuse(call, error),
        }
    }

    fn release_token(&mut self, caller: CallId, token: u64, turn: &mut Turn<'_>) -> Applied {
        let wakes = self.lock.release_token(caller.session, token, turn)?;
        self.wake(wakes, turn);
        Answer::done().into()
    }
}

impl Machine for Condition {
    type Op = Op;

    fn apply(&mut self, call: Call, op: Op, turn: &mut Turn<'_>) -> Applied {
        match op {
            Op::Acquire(owner) => self.lock.acquire(call, owner, turn),
            Op::Release(owner) => self.lock.release(Owner::of(call.id, owner), turn),
            Op::Wait(owner) => self.wait(call, owner, turn),
            Op::Notify(notify) => self.notify(call.id, notify, turn),
            Op::IsLocked(_) => Answer::flag(self.lock.is_locked()).into(),
            Op::ReleaseToken(token) => self.release_token(call.id, token, turn),
        }
    }

    fn acknowledge(&mut self, call: CallId) {
        self.lock.acknowledge(call);
    }

    fn cancel(&mut self, call: CallId, turn: &mut Turn<'_>) {
        if self.waiting.remove(call).is_none() {
            let wakes = self.lock.cancel(call, turn);
            self.wake(wakes, turn);
        }
    }

    fn expire(&mut self, call: CallId, turn: &mut Turn<'_>) {
        match self.waiting.remove(call) {
            Some(claim) => self.take_lock_again(call, claim, turn),
            None => self.lock.expire(call, turn),
        }
    }

    fn end_session(&mut self, session: SessionId, turn: &mut Turn<'_>) {
        // Those who wait first: none of them may get a wake that the session leaves behind.
        self.waiting.remove_session(session);
        let wakes = self.lock.end_session(session, turn);
        self.wake(wakes, turn);
    }

    fn delete(&mut self, turn: &mut Turn<'_>) {
        self.lock.delete(turn);
        for (call, _) in self.waiting.drain() {
            turn.refuse(call, deleted());
        }
    }

    fn holds(&self, token: u64) -> bool {
        self.lock.holds(token)
    }

    fn cost(&self, op: &Op) -> Cost {
        match op {
            Op::Notify(notify) => {
                let count = notify.count.and_then(|count| usize::try_from(count).ok());
                let woken = count.unwrap_or(usize::MAX).min(self.waiting.len());
                times(woken, cost::ANSWER)
            }
            Op::Acquire(_) | Op::Release(_) | Op::ReleaseToken(_) => 0,
            Op::Wait(_) | Op::IsLocked(_) => 0,
        }
    }

    fn crowd(&self) -> usize {
        self.lock.waiting() + self.waiting.len()
    }

    fn describe(&self, info: &mut ObjectInfo) {
        info.len = self.waiting.len() as u64;
        info.state = format!("{}, {} waiting", self.lock.state(), self.waiting.len());
        self.lock.describe(info);
        self.waiting.describe(info, |_| "wait".into());
    }

    fn bytes(&self) -> usize {
        self.lock.bytes() + self.waiting.bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mp_manager_proto::v1::{Empty, Reason, Woken, reply};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        fixture::{Fixture, Told, token},
        turn::Tokens,
    };

    const OWNER: u64 = 7;
    const ACQUIRE: Op = Op::Acquire(OWNER);
    const RELEASE: Op = Op::Release(OWNER);
    const WAIT: Op = Op::Wait(OWNER);
    const NOTIFY_ALL: Op = Op::Notify(ConditionNotify { owner: OWNER, count: None });

    fn notify(count: u64) -> Op {
        Op::Notify(ConditionNotify { owner: OWNER, count: Some(count) })
    }

    fn woken(token: u64, depth: u64, notified: bool) -> Option<Told> {
        Some(Ok(reply::Result::Woken(Woken { token, depth, notified })))
    }

    fn number(number: i64) -> Told {
        Ok(reply::Result::Number(number))
    }

    fn condition() -> Fixture<Condition> {
        Fixture::new(Condition::new())
    }

    /// Takes the lock and waits.
    fn waiter(condition: &mut Fixture<Condition>, session: u64) -> CallId {
        condition.take(session, ACQUIRE);
        condition.call(session, WAIT)
    }

    /// Takes the lock, notifies and releases.
    fn notify_one(condition: &mut Fixture<Condition>, session: u64) {
        condition.take(session, ACQUIRE);
        assert_eq!(condition.ask(session, notify(1)), number(1));
        condition.ask(session, RELEASE).unwrap();
    }

    #[test]
    fn a_wait_lets_go_of_every_level_and_takes_them_all_back() {
        let mut condition = condition();
        condition.take(1, ACQUIRE);
        condition.take(1, ACQUIRE);
        let wait = condition.call(1, WAIT);
        condition.take(2, ACQUIRE);
        assert_eq!(condition.ask(2, notify(1)), number(1));
        assert_eq!(condition.told(wait), None, "the notifier still holds the lock");
        condition.ask(2, RELEASE).unwrap();
        assert_eq!(condition.told(wait), woken(3, 2, true));
        condition.acknowledge(wait);
        condition.ask(1, RELEASE).unwrap();
        condition.ask(1, RELEASE).unwrap();
        assert_eq!(condition.ask(1, RELEASE), Err(Reason::NotHeld));
    }

    #[test]
    fn without_a_token_a_wait_ends_without_the_lock() {
        let mut condition = Fixture::with_tokens(Condition::new(), Tokens::reserved(0, 2));
        let notified = waiter(&mut condition, 1);
        condition.take(2, ACQUIRE);
        condition.ask(2, notify(1)).unwrap();
        let acquires = condition.call(3, ACQUIRE);
        condition.ask(2, RELEASE).unwrap();
        for call in [notified, acquires] {
            assert_eq!(condition.told(call), Some(Err(Reason::LimitExceeded)));
        }
        condition.tokens.reserve(3);
        let waits = waiter(&mut condition, 1);
        condition.expire(waits);
        assert_eq!(condition.told(waits), Some(Err(Reason::LimitExceeded)));
        assert_eq!(condition.info().state, "free, 0 waiting");
    }

    #[test]
    fn waiting_and_notifying_need_the_lock() {
        let mut condition = condition();
        assert_eq!(condition.ask(1, WAIT), Err(Reason::NotHeld));
        assert_eq!(condition.ask(1, notify(1)), Err(Reason::NotHeld));
        condition.take(2, ACQUIRE);
        assert_eq!(condition.ask(1, WAIT), Err(Reason::NotOwner));
        assert_eq!(condition.ask(1, NOTIFY_ALL), Err(Reason::NotOwner));
    }

    #[test]
    fn notify_wakes_the_first_and_says_how_many_there_were() {
        let mut condition = condition();
        let waiters: Vec<_> = (1..=3).map(|session| waiter(&mut condition, session)).collect();
        condition.take(9, ACQUIRE);
        assert_eq!(condition.ask(9, notify(0)), number(0));
        assert_eq!(condition.ask(9, notify(2)), number(2));
        assert_eq!(condition.info().len, 1);
        assert_eq!(condition.ask(9, NOTIFY_ALL), number(1));
        assert_eq!(condition.ask(9, NOTIFY_ALL), number(0));
        condition.ask(9, RELEASE).unwrap();
        for (session, wait) in (1..=3).zip(waiters) {
            assert!(condition.told(wait).is_some(), "one after the other, in order");
            condition.acknowledge(wait);
            condition.ask(session, RELEASE).unwrap();
        }
    }

    #[test]
    fn a_timeout_takes_the_lock_again_before_it_replies() {
        let mut condition = condition();
        let wait = waiter(&mut condition, 1);
        condition.take(2, ACQUIRE);
        condition.expire(wait);
        assert_eq!(condition.told(wait), None);
        assert_eq!(condition.ask(2, notify(1)), number(0), "it does not wait for that any more");
        condition.ask(2, RELEASE).unwrap();
        assert_eq!(condition.told(wait), woken(3, 1, false));
    }

    #[test]
    fn a_timeout_after_the_notification_changes_nothing() {
        let mut condition = condition();
        let wait = waiter(&mut condition, 1);
        condition.take(2, ACQUIRE);
        condition.ask(2, notify(1)).unwrap();
        condition.expire(wait);
        condition.ask(2, RELEASE).unwrap();
        assert_eq!(condition.told(wait), woken(3, 1, true));
    }

    #[test]
    fn an_acquire_times_out_without_the_lock() {
        let mut condition = condition();
        condition.take(1, ACQUIRE);
        let tried = condition.attempt(2, ACQUIRE);
        let timed = condition.call(2, ACQUIRE);
        condition.expire(timed);
        assert_eq!(condition.told(tried), Some(Ok(reply::Result::Absent(Empty {}))));
        assert_eq!(condition.told(timed), Some(Ok(reply::Result::Absent(Empty {}))));
    }

    #[test]
    fn a_wait_of_no_time_lets_the_line_pass_and_returns() {
        let mut condition = condition();
        condition.take(1, ACQUIRE);
        let alone = condition.attempt(1, WAIT);
        assert_eq!(condition.told(alone), woken(2, 1, false));
        condition.acknowledge(alone);

        let other = condition.call(2, ACQUIRE);
        let behind = condition.attempt(1, WAIT);
        assert!(condition.told(other).is_some());
        assert_eq!(condition.told(behind), None);
        condition.ask(2, RELEASE).unwrap();
        assert_eq!(condition.told(behind), woken(4, 1, false));
    }

    #[test]
    fn the_wake_of_a_call_cancelled_in_the_locks_line_passes_on() {
        let mut condition = condition();
        let (first, second) = (waiter(&mut condition, 1), waiter(&mut condition, 2));
        condition.take(3, ACQUIRE);
        condition.ask(3, notify(1)).unwrap();
        condition.cancel(first);
        condition.ask(3, RELEASE).unwrap();
        assert_eq!(condition.told(second), woken(4, 1, true));
    }

    #[test]
    fn the_wake_of_an_unacknowledged_reply_passes_on_with_the_lock() {
        let mut condition = condition();
        let (first, second) = (waiter(&mut condition, 1), waiter(&mut condition, 2));
        notify_one(&mut condition, 3);
        assert_eq!(condition.told(first), woken(4, 1, true));
        condition.cancel(first);
        assert_eq!(condition.told(second), woken(5, 1, true));
    }

    #[test]
    fn a_session_that_dies_before_it_knows_that_it_was_woken_passes_the_wake_on() {
        let mut condition = condition();
        let (first, second) = (waiter(&mut condition, 1), waiter(&mut condition, 2));
        notify_one(&mut condition, 3);
        assert!(condition.told(first).is_some());
        condition.end_session(1);
        assert_eq!(condition.told(second), woken(5, 1, true));
    }

    #[test]
    fn the_wakes_of_a_dead_session_pass_to_the_living() {
        let mut condition = condition();
        let calls = [1, 1, 1, 2, 2].map(|session| {
            condition.take(session, ACQUIRE);
            condition.call(session, WAIT)
        });
        condition.take(3, ACQUIRE);
        assert_eq!(condition.ask(3, notify(2)), number(2));
        condition.end_session(1);
        condition.ask(3, RELEASE).unwrap();
        assert_eq!(condition.told(calls[3]), woken(7, 1, true));
        condition.end_session(2);
        assert_eq!(condition.info().state, "free, 0 waiting");
    }

    #[test]
    fn a_timed_out_or_acknowledged_wake_is_not_passed_on() {
        let mut condition = condition();
        let (timed, notified) = (waiter(&mut condition, 1), waiter(&mut condition, 2));
        let last = waiter(&mut condition, 3);
        condition.expire(timed);
        condition.cancel(timed);
        notify_one(&mut condition, 9);
        condition.acknowledge(notified);
        condition.end_session(2);
        assert_eq!(condition.told(last), None);
        assert_eq!(condition.info().state, "free, 1 waiting");
    }

    #[test]
    fn cancelling_a_wait_just_leaves() {
        let mut condition = condition();
        let (first, second) = (waiter(&mut condition, 1), waiter(&mut condition, 2));
        condition.cancel(first);
        assert_eq!(condition.told(second), None);
        notify_one(&mut condition, 3);
        assert!(condition.told(second).is_some());
    }

    #[test]
    fn a_wake_whose_lock_was_taken_away_before_it_arrived_passes_on() {
        let mut condition = condition();
        let (first, second) = (waiter(&mut condition, 1), waiter(&mut condition, 2));
        notify_one(&mut condition, 3);
        let granted = token(&condition.told(first).unwrap().unwrap());
        condition.ask(3, Op::ReleaseToken(granted)).unwrap();
        assert_eq!(condition.lost, [(1, granted)]);
        assert_eq!(condition.told(second), woken(granted + 1, 1, true));
    }

    #[test]
    fn deleting_it_refuses_everyone_in_it() {
        let mut condition = condition();
        let waiting = waiter(&mut condition, 1);
        let granted = token(&condition.take(2, ACQUIRE));
        let acquiring = condition.call(3, ACQUIRE);
        condition.delete();
        assert_eq!(condition.refusal(waiting).reason(), Reason::ObjectDeleted);
        assert_eq!(condition.refusal(acquiring).reason(), Reason::ObjectDeleted);
        assert_eq!(condition.lost, [(2, granted)]);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Acquire(u64, bool),
        Release(u64),
        Wait(u64, bool),
        Notify(u64, u64),
        Acknowledge(prop::sample::Index),
        Cancel(prop::sample::Index),
        Expire(prop::sample::Index),
        End(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let (session, index) = (0..5_u64, any::<prop::sample::Index>);
        prop_oneof![
            6 => (session.clone(), any::<bool>()).prop_map(|(s, wait)| Step::Acquire(s, wait)),
            6 => session.clone().prop_map(Step::Release),
            8 => (session.clone(), prop::bool::weighted(0.9)).prop_map(|(s, w)| Step::Wait(s, w)),
            4 => (session.clone(), 0..3_u64).prop_map(|(session, n)| Step::Notify(session, n)),
            3 => index().prop_map(Step::Acknowledge),
            2 => index().prop_map(Step::Cancel),
            2 => index().prop_map(Step::Expire),
            1 => session.prop_map(Step::End),
        ]
    }

    /// Calls that wait for a notification.
    fn waiting(condition: &Condition) -> BTreeSet<CallId> {
        condition.waiting.iter().map(|(call, _)| call).collect()
    }

    /// Calls that have been notified, as far as anyone can tell who does not know if it arrived.
    fn notified(condition: &Fixture<Condition>) -> BTreeSet<CallId> {
        let in_line = condition.info().waiters.into_iter().filter(|w| w.what == "wait, notified");
        let told = condition.open().into_iter().filter(
            |call| matches!(condition.told(*call), Some(Ok(reply::Result::Woken(w))) if w.notified),
        );
        in_line.map(|w| CallId { session: w.session, seq: w.seq }).chain(told).collect()
    }

    /// Takes a step and says how many it asked to notify. A session that acts on the lock has
    /// received what it was told before.
    fn take(condition: &mut Fixture<Condition>, step: &Step) -> usize {
        let open = condition.open();
        match *step {
            Step::Acquire(session, true) => drop(condition.call(session, ACQUIRE)),
            Step::Acquire(session, false) => drop(condition.attempt(session, ACQUIRE)),
            Step::Release(session) => {
                condition.acknowledge_all(session);
                condition.call(session, RELEASE);
            }
            Step::Wait(session, may_wait) => {
                condition.acknowledge_all(session);
                let wait = if may_wait { Fixture::call } else { Fixture::attempt };
                wait(condition, session, WAIT);
            }
            Step::Notify(session, count) => {
                condition.acknowledge_all(session);
                if let Ok(reply::Result::Number(woken)) = condition.ask(session, notify(count)) {
                    return usize::try_from(woken).unwrap();
                }
            }
            Step::Acknowledge(at) if !open.is_empty() => condition.acknowledge(*at.get(&open)),
            Step::Cancel(at) if !open.is_empty() => condition.cancel(*at.get(&open)),
            Step::Expire(at) if !open.is_empty() => condition.expire(*at.get(&open)),
            Step::End(session) => condition.end_session(session),
            Step::Acknowledge(_) | Step::Cancel(_) | Step::Expire(_) => {}
        }
        0
    }

    proptest! {
        /// Every wake is received, is on its way, or found nobody waiting; nobody is in the lock's
        /// line while it is free; tokens ascend.
        #[test]
        fn no_wake_is_lost(steps in prop::collection::vec(step(), 0..200)) {
            let (mut condition, mut last_token) = (condition(), 0);
            for step in steps {
                let (waited, had) = (waiting(&condition.object), notified(&condition));
                let asked = take(&mut condition, &step);
                let (waits, has) = (waiting(&condition.object), notified(&condition));

                // Only these leave without having been woken, or give back a wake.
                let leaves = matches!(step, Step::Cancel(_) | Step::End(_));
                let left = waited.difference(&waits).filter(|call| !has.contains(call)).count();
                let in_vain = had.difference(&has).count();
                let (left, in_vain) = if leaves { (left, in_vain) } else { (0, 0) };
                let fresh = has.difference(&had).count();
                prop_assert_eq!(fresh, (asked + in_vain).min(waited.len() - left));

                let info = condition.info();
                let locked = !info.holders.is_empty();
                prop_assert!(locked || info.waiters.len() == waits.len());
                for (_, told) in condition.news() {
                    if let Ok(told @ (reply::Result::Grant(_) | reply::Result::Woken(_))) = told {
                        prop_assert!(token(&told) >= last_token);
                        last_token = token(&told);
                    }
                }
            }
        }
    }
}
