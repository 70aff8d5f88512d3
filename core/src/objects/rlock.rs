//! A re-entrant lock: its owner takes it as often as it likes, and gives it back as often.

use std::collections::{BTreeMap, BTreeSet};

use mp_manager_proto::v1::{Error, Holding, ObjectInfo, Reason, Woken, r_lock_op::Op};

use super::lock::not_held;
use crate::{
    call::{Answer, Applied, Call, CallId, Outcome, SessionId},
    cost::Cost,
    description::add_holders,
    machine::{Machine, deleted},
    memory::tree,
    turn::Turn,
    waiters::Waiters,
};

/// Python's `RLock`, owned by one task or thread of a session.
///
/// ```text
///   free ──acquire──► held by an owner at depth 1, 2, … under one token
///                        │    acquire by the owner: one deeper
///                        │    release, cancel before ack: one less deep
///                        │
///                        └──depth 0, release_token, end──► held by the next owner, or free
/// ```
#[derive(Debug, Default, Clone)]
pub struct RLock {
    lock: Reentrant,
}

impl RLock {
    /// A free lock.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Machine for RLock {
    type Op = Op;

    fn apply(&mut self, call: Call, op: Op, turn: &mut Turn<'_>) -> Applied {
        match op {
            Op::Acquire(owner) => self.lock.acquire(call, owner, turn),
            Op::Release(owner) => self.lock.release(Owner::of(call.id, owner), turn),
            Op::ReleaseToken(token) => {
                self.lock.release_token(call.id.session, token, turn)?;
                Answer::done().into()
            }
            Op::IsLocked(_) => Answer::flag(self.lock.is_locked()).into(),
            Op::Depth(owner) => self.lock.depth(Owner::of(call.id, owner)),
        }
    }

    fn acknowledge(&mut self, call: CallId) {
        self.lock.acknowledge(call);
    }

    fn cancel(&mut self, call: CallId, turn: &mut Turn<'_>) {
        self.lock.cancel(call, turn);
    }

    fn expire(&mut self, call: CallId, turn: &mut Turn<'_>) {
        self.lock.expire(call, turn);
    }

    fn end_session(&mut self, session: SessionId, turn: &mut Turn<'_>) {
        self.lock.end_session(session, turn);
    }

    fn delete(&mut self, turn: &mut Turn<'_>) {
        self.lock.delete(turn);
    }

    fn holds(&self, token: u64) -> bool {
        self.lock.holds(token)
    }

    fn cost(&self, op: &Op) -> Cost {
        match op {
            // Who has it gets all that it waits for at once.
            Op::Release(_) | Op::ReleaseToken(_) => 0,
            Op::Acquire(_) | Op::IsLocked(_) | Op::Depth(_) => 0,
        }
    }

    fn crowd(&self) -> usize {
        self.lock.waiting()
    }

    fn describe(&self, info: &mut ObjectInfo) {
        info.len = self.lock.holder.as_ref().map_or(0, |holder| holder.depth);
        info.state = self.lock.state().into();
        self.lock.describe(info);
    }

    fn bytes(&self) -> usize {
        self.lock.bytes()
    }
}

/// A task or thread of a session, by the number its client gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    session: SessionId,
    number: u64,
}

impl Owner {
    pub(crate) fn of(call: CallId, number: u64) -> Self {
        Self { session: call.session, number }
    }
}

/// How a `wait` on a condition ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    Notified,
    TimedOut,
}

/// What a call wants of the lock, and once granted, what it added to the depth.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    pub(crate) owner: Owner,
    pub(crate) levels: u64,
    /// Absent for an `acquire`. A `wait` takes back the levels it let go of.
    pub(crate) wake: Option<Wake>,
}

impl Claim {
    fn answer(&self, token: u64, depth: u64) -> Answer {
        match self.wake {
            None => Answer::grant(token, depth),
            Some(wake) => Answer::woken(Woken { token, depth, notified: wake == Wake::Notified }),
        }
    }

    /// The notifications it used up.
    fn wakes(&self) -> usize {
        usize::from(self.wake == Some(Wake::Notified))
    }

    fn what(&self) -> &'static str {
        match self.wake {
            None => "acquire",
            Some(Wake::Notified) => "wait, notified",
            Some(Wake::TimedOut) => "wait, timed out",
        }
    }
}

/// The lock of an `RLock` and inside a `Condition`: an owner, the levels it holds, and a line.
///
/// What takes a grant back before it was acknowledged says how many notifications were used up in
/// vain, which is always 0 for an `RLock`; a `Condition` passes them on.
#[derive(Debug, Default, Clone)]
pub(crate) struct Reentrant {
    holder: Option<Holder>,
    line: Waiters<Claim>,
    /// Who is in line, by owner: an owner that gets the lock gets all it waits for, or two calls
    /// of one task would wait for each other.
    owners: BTreeSet<(Owner, CallId)>,
}

#[derive(Debug, Clone)]
struct Holder {
    owner: Owner,
    token: u64,
    depth: u64,
    /// How many of the levels are certain to have reached their caller.
    acknowledged: u64,
    /// The calls the other levels come from.
    unacknowledged: BTreeMap<CallId, Claim>,
}

impl Holder {
    fn new(owner: Owner, token: u64) -> Self {
        Self { owner, token, depth: 0, acknowledged: 0, unacknowledged: BTreeMap::new() }
    }

    fn acknowledge(&mut self, call: CallId) {
        if let Some(claim) = self.unacknowledged.remove(&call) {
            self.acknowledged += claim.levels;
        }
    }

    fn release_level(&mut self) {
        // A level that is known to have arrived goes first: one on its way may yet be cancelled.
        // If none is, the caller has one all the same, or it could not give it back.
        if self.acknowledged == 0
            && let Some((&oldest, _)) = self.unacknowledged.first_key_value()
        {
            self.acknowledge(oldest);
        }
        self.acknowledged -= 1;
        self.depth -= 1;
    }

    fn wakes(&self) -> usize {
        self.unacknowledged.values().map(Claim::wakes).sum()
    }
}

impl Reentrant {
    /// How many calls wait for it.
    pub(crate) fn waiting(&self) -> usize {
        self.line.len()
    }

    pub(crate) fn is_locked(&self) -> bool {
        self.holder.is_some()
    }

    /// Whether the grant with this token stands.
    pub(crate) fn holds(&self, token: u64) -> bool {
        self.holder.as_ref().is_some_and(|holder| holder.token == token)
    }

    /// The error unless `owner` holds it.
    pub(crate) fn check_owner(&self, owner: Owner) -> Result<(), Error> {
        match &self.holder {
            Some(holder) if holder.owner == owner => Ok(()),
            Some(holder) => Err(not_owner(owner, holder)),
            None => Err(nobody_holds()),
        }
    }

    fn depth(&self, owner: Owner) -> Applied {
        let depth = self.holder.as_ref().filter(|holder| holder.owner == owner);
        let depth = depth.map_or(0, |holder| holder.depth);
        Answer::number(usize::try_from(depth).unwrap_or(usize::MAX)).into()
    }

    pub(crate) fn acquire(&mut self, call: Call, owner: u64, turn: &mut Turn<'_>) -> Applied {
        let owner = Owner::of(call.id, owner);
        if !call.may_wait && !self.is_open_to(owner) {
            return Answer::absent().into();
        }
        self.claim(call.id, Claim { owner, levels: 1, wake: None }, turn)
    }

    /// Takes the lock, or joins its line.
    pub(crate) fn claim(&mut self, call: CallId, claim: Claim, turn: &Turn<'_>) -> Applied {
        if self.is_open_to(claim.owner) {
            return self.grant(call, claim, turn)?.into();
        }
        self.owners.insert((claim.owner, call));
        self.line.push(call, claim);
        Ok(Outcome::Parked)
    }

    fn is_open_to(&self, owner: Owner) -> bool {
        self.holder.as_ref().is_none_or(|holder| holder.owner == owner)
    }

    fn grant(&mut self, call: CallId, claim: Claim, turn: &Turn<'_>) -> Result<Answer, Error> {
        let holder = match &mut self.holder {
            Some(holder) => holder,
            none => none.insert(Holder::new(claim.owner, turn.token()?)),
        };
        holder.depth += claim.levels;
        holder.unacknowledged.insert(call, claim);
        Ok(claim.answer(holder.token, holder.depth))
    }

    pub(crate) fn release(&mut self, owner: Owner, turn: &mut Turn<'_>) -> Applied {
        self.check_owner(owner)?;
        if let Some(holder) = &mut self.holder {
            holder.release_level();
        }
        self.pass_on_at_depth_zero(turn);
        Answer::done().into()
    }

    /// Ends the grant with this token. Wakes in vain are those of calls that are not acknowledged:
    /// their callers may never learn of them, and one wake too many is better than one too few.
    pub(crate) fn release_token(
        &mut self,
        caller: SessionId,
        token: u64,
        turn: &mut Turn<'_>,
    ) -> Result<usize, Error> {
        let Some(holder) = self.holder.take_if(|holder| holder.token == token) else {
            return Err(not_held(token));
        };
        // The caller may not have heard yet of levels that are on their way to it.
        if holder.owner.session != caller || !holder.unacknowledged.is_empty() {
            turn.lose(holder.owner.session, token);
        }
        self.pass_on(turn);
        Ok(holder.wakes())
    }

    /// Lets go of every level, for a `wait`; how many they were.
    pub(crate) fn suspend(&mut self, owner: Owner, turn: &mut Turn<'_>) -> Result<u64, Error> {
        self.check_owner(owner)?;
        let depth = self.holder.take().map_or(0, |holder| holder.depth);
        self.pass_on(turn);
        Ok(depth)
    }

    fn pass_on_at_depth_zero(&mut self, turn: &mut Turn<'_>) {
        if self.holder.take_if(|holder| holder.depth == 0).is_some() {
            self.pass_on(turn);
        }
    }

    /// Gives the free lock to the first in line, with all that its owner waits for. Those to whom it
    /// cannot be granted are refused.
    fn pass_on(&mut self, turn: &mut Turn<'_>) {
        while !self.is_locked()
            && let Some((_, &Claim { owner, .. })) = self.line.front()
        {
            while let Some(call) = self.first_call_of(owner) {
                if let Some(claim) = self.leave_line(owner, call) {
                    let answer = self.grant(call, claim, turn);
                    turn.answer(call, answer);
                }
            }
        }
    }

    fn first_call_of(&self, owner: Owner) -> Option<CallId> {
        let lowest = CallId { session: owner.session, seq: 0 };
        let (first, call) = self.owners.range((owner, lowest)..).next()?;
        (*first == owner).then_some(*call)
    }

    fn leave_line(&mut self, owner: Owner, call: CallId) -> Option<Claim> {
        self.owners.remove(&(owner, call));
        self.line.remove(call)
    }

    pub(crate) fn acknowledge(&mut self, call: CallId) {
        if let Some(holder) = &mut self.holder {
            holder.acknowledge(call);
        }
    }

    pub(crate) fn cancel(&mut self, call: CallId, turn: &mut Turn<'_>) -> usize {
        if let Some(claim) = self.line.remove(call) {
            self.owners.remove(&(claim.owner, call));
            return claim.wakes();
        }
        let Some(holder) = &mut self.holder else { return 0 };
        let Some(claim) = holder.unacknowledged.remove(&call) else { return 0 };
        holder.depth -= claim.levels;
        self.pass_on_at_depth_zero(turn);
        claim.wakes()
    }

    /// Only an `acquire` gives up; a `wait` has had its timeout, and needs the lock to return.
    pub(crate) fn expire(&mut self, call: CallId, turn: &mut Turn<'_>) {
        let acquires = self.line.find(call).filter(|claim| claim.wake.is_none());
        if let Some(&Claim { owner, .. }) = acquires {
            self.leave_line(owner, call);
            turn.reply(call, Answer::absent());
        }
    }

    pub(crate) fn end_session(&mut self, session: SessionId, turn: &mut Turn<'_>) -> usize {
        let mut wakes = 0;
        // Its waiters first: none of them may get the lock it lets go of.
        for (call, claim) in self.line.remove_session(session) {
            self.owners.remove(&(claim.owner, call));
            wakes += claim.wakes();
        }
        if let Some(holder) = self.holder.take_if(|holder| holder.owner.session == session) {
            wakes += holder.wakes();
            self.pass_on(turn);
        }
        wakes
    }

    pub(crate) fn delete(&mut self, turn: &mut Turn<'_>) {
        if let Some(holder) = self.holder.take() {
            turn.lose(holder.owner.session, holder.token);
        }
        self.owners.clear();
        for (call, _) in self.line.drain() {
            turn.refuse(call, deleted());
        }
    }

    pub(crate) fn state(&self) -> &'static str {
        if self.is_locked() { "locked" } else { "free" }
    }

    /// Adds holder and line to an object's description.
    pub(crate) fn describe(&self, info: &mut ObjectInfo) {
        add_holders(
            info,
            self.holder.iter().map(|holder| Holding {
                session: holder.owner.session,
                token: holder.token,
                what: format!("lock, owner {}, depth {}", holder.owner.number, holder.depth),
            }),
        );
        self.line.describe(info, |claim| claim.what().into());
    }

    pub(crate) fn bytes(&self) -> usize {
        let unacknowledged = self.holder.as_ref().map_or(0, |holder| holder.unacknowledged.len());
        self.line.bytes()
            + tree::<(Owner, CallId), ()>(self.owners.len())
            + tree::<CallId, Claim>(unacknowledged)
    }
}

fn not_owner(caller: Owner, holder: &Holder) -> Error {
    let Owner { session, number } = holder.owner;
    Error::new(
        Reason::NotOwner,
        format!(
            "owner {number} of session {session} holds the lock, not owner {} of session {}",
            caller.number, caller.session
        ),
    )
    .with_hint("only the task or thread that acquired it can use it; release it by its token")
}

fn nobody_holds() -> Error {
    Error::new(Reason::NotHeld, "nobody holds the lock")
        .with_hint("acquire it first; it is lost when the session of its owner ends")
}

#[cfg(test)]
mod tests {
    use mp_manager_proto::v1::{Empty, Grant, reply};
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::{Fixture, Told};

    fn grant(token: u64, depth: u64) -> Told {
        Ok(reply::Result::Grant(Grant { token, depth }))
    }

    fn absent() -> Told {
        Ok(reply::Result::Absent(Empty {}))
    }

    fn depth(lock: &mut Fixture<RLock>, session: u64, owner: u64) -> i64 {
        match lock.ask(session, Op::Depth(owner)) {
            Ok(reply::Result::Number(depth)) => depth,
            other => panic!("expected a number, got {other:?}"),
        }
    }

    #[test]
    fn the_owner_goes_deeper_under_one_token_and_the_next_gets_a_higher_one() {
        let mut lock = Fixture::new(RLock::new());
        assert_eq!(lock.ask(1, Op::Acquire(7)), grant(1, 1));
        assert_eq!(lock.ask(1, Op::Acquire(7)), grant(1, 2));
        let other = lock.call(2, Op::Acquire(7));
        lock.ask(1, Op::Release(7)).unwrap();
        assert_eq!(lock.told(other), None);
        lock.ask(1, Op::Release(7)).unwrap();
        assert_eq!(lock.told(other), Some(grant(2, 1)));
    }

    #[test]
    fn another_task_of_the_same_session_is_another_owner() {
        let mut lock = Fixture::new(RLock::new());
        lock.take(1, Op::Acquire(7));
        let call = lock.attempt(1, Op::Acquire(8));
        assert_eq!(lock.told(call), Some(absent()));
        assert_eq!(lock.ask(1, Op::Release(8)), Err(Reason::NotOwner));
        assert_eq!((depth(&mut lock, 1, 7), depth(&mut lock, 1, 8)), (1, 0));
    }

    #[test]
    fn releasing_what_another_owns_names_it_and_what_nobody_owns_says_so() {
        let mut lock = Fixture::new(RLock::new());
        assert_eq!(lock.ask(2, Op::Release(7)), Err(Reason::NotHeld));
        lock.take(41, Op::Acquire(7));
        let call = lock.call(2, Op::Release(7));
        assert_eq!(lock.refusal(call).reason(), Reason::NotOwner);
        assert!(lock.refusal(call).message.contains("session 41"));
    }

    #[test]
    fn cancelling_an_unacknowledged_acquire_undoes_exactly_its_level() {
        let mut lock = Fixture::new(RLock::new());
        lock.take(1, Op::Acquire(7));
        let (second, third) = (lock.call(1, Op::Acquire(7)), lock.call(1, Op::Acquire(7)));
        lock.acknowledge(third);
        lock.cancel(second);
        assert_eq!(depth(&mut lock, 1, 7), 2);
        lock.cancel(third);
        assert_eq!(depth(&mut lock, 1, 7), 2);
    }

    #[test]
    fn cancelling_the_only_level_passes_the_lock_on() {
        let mut lock = Fixture::new(RLock::new());
        let first = lock.call(1, Op::Acquire(7));
        let second = lock.call(2, Op::Acquire(7));
        lock.cancel(first);
        assert_eq!(lock.told(second), Some(grant(2, 1)));
    }

    #[test]
    fn a_release_gives_back_a_level_that_was_received_before_one_on_its_way() {
        let mut lock = Fixture::new(RLock::new());
        lock.take(1, Op::Acquire(7));
        let dropped = lock.call(1, Op::Acquire(7));
        lock.ask(1, Op::Release(7)).unwrap();
        lock.cancel(dropped);
        assert_eq!(lock.ask(1, Op::IsLocked(Empty {})), Ok(reply::Result::Flag(false)));
    }

    #[test]
    fn releasing_the_token_ends_every_level_and_tells_the_holder() {
        let mut lock = Fixture::new(RLock::new());
        lock.take(1, Op::Acquire(7));
        lock.take(1, Op::Acquire(7));
        assert_eq!(lock.ask(2, Op::ReleaseToken(2)), Err(Reason::NotHeld));
        lock.ask(2, Op::ReleaseToken(1)).unwrap();
        assert_eq!(lock.lost, [(1, 1)]);
        assert_eq!(lock.ask(1, Op::Release(7)), Err(Reason::NotHeld));
        lock.take(1, Op::Acquire(7));
        lock.ask(1, Op::ReleaseToken(2)).unwrap();
        assert_eq!(lock.lost, [(1, 1)], "whoever releases its own need not be told");
    }

    #[test]
    fn a_timeout_leaves_the_line_but_not_the_lock() {
        let mut lock = Fixture::new(RLock::new());
        let first = lock.call(1, Op::Acquire(7));
        let second = lock.call(2, Op::Acquire(7));
        lock.expire(first);
        lock.expire(second);
        assert_eq!(lock.told(first), Some(grant(1, 1)));
        assert_eq!(lock.told(second), Some(absent()));
        lock.ask(1, Op::Release(7)).unwrap();
        assert_eq!(lock.info().state, "free");
    }

    #[test]
    fn a_dead_session_loses_its_lock_and_its_place_in_the_line() {
        let mut lock = Fixture::new(RLock::new());
        lock.take(1, Op::Acquire(7));
        lock.take(1, Op::Acquire(7));
        lock.call(1, Op::Acquire(8));
        let next = lock.call(2, Op::Acquire(7));
        lock.end_session(1);
        assert_eq!(lock.told(next), Some(grant(2, 1)));
    }

    #[test]
    fn two_calls_of_one_task_do_not_wait_for_each_other() {
        let mut lock = Fixture::new(RLock::new());
        lock.take(1, Op::Acquire(7));
        let first = lock.call(2, Op::Acquire(7));
        let between = lock.call(3, Op::Acquire(7));
        let second = lock.call(2, Op::Acquire(7));
        lock.ask(1, Op::Release(7)).unwrap();
        assert_eq!(lock.told(first), Some(grant(2, 1)));
        assert_eq!(lock.told(second), Some(grant(2, 2)));
        assert_eq!(lock.told(between), None);
    }

    #[test]
    fn deleting_it_refuses_the_line_and_tells_the_holder() {
        let mut lock = Fixture::new(RLock::new());
        lock.take(1, Op::Acquire(7));
        let call = lock.call(2, Op::Acquire(7));
        lock.delete();
        assert_eq!(lock.refusal(call).reason(), Reason::ObjectDeleted);
        assert_eq!(lock.lost, [(1, 1)]);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Acquire(u64, u64, bool),
        Release(u64, u64),
        ReleaseToken,
        Acknowledge(prop::sample::Index),
        Cancel(prop::sample::Index),
        Expire(prop::sample::Index),
        End(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let index = any::<prop::sample::Index>;
        prop_oneof![
            8 => (0..3_u64, 0..2_u64, any::<bool>()).prop_map(|(s, o, w)| Step::Acquire(s, o, w)),
            8 => (0..3_u64, 0..2_u64).prop_map(|(session, owner)| Step::Release(session, owner)),
            1 => Just(Step::ReleaseToken),
            3 => index().prop_map(Step::Acknowledge),
            2 => index().prop_map(Step::Cancel),
            1 => index().prop_map(Step::Expire),
            1 => (0..3_u64).prop_map(Step::End),
        ]
    }

    /// Every level that is held and every call in line, in a plain list each.
    #[derive(Default)]
    struct Model {
        levels: Vec<(CallId, u64, bool)>,
        line: Vec<(CallId, u64)>,
        token: Option<u64>,
    }

    impl Model {
        fn owner(&self) -> Option<(u64, u64)> {
            self.levels.first().map(|(call, owner, _)| (call.session, *owner))
        }

        fn release(&mut self) {
            let at = self.levels.iter().position(|(_, _, acknowledged)| *acknowledged);
            self.levels.remove(at.unwrap_or(0));
        }

        fn leave(&mut self, gone: impl Fn(CallId) -> bool) {
            self.levels.retain(|(call, _, acknowledged)| *acknowledged || !gone(*call));
            self.line.retain(|(call, _)| !gone(*call));
        }

        /// Moves the calls that now have the lock out of the line.
        fn settle(&mut self) -> Vec<CallId> {
            let next = self.line.first().map(|(call, owner)| (call.session, *owner));
            let Some(owner) = self.owner().or(next) else { return Vec::new() };
            let mut granted = Vec::new();
            self.line.retain(|&(call, number)| {
                let enters = (call.session, number) == owner;
                if enters {
                    self.levels.push((call, number, false));
                    granted.push(call);
                }
                !enters
            });
            granted
        }
    }

    /// Takes a step, and says what it is to come to.
    fn take(lock: &mut Fixture<RLock>, model: &mut Model, step: Step) {
        let open = lock.open();
        match step {
            Step::Acquire(session, owner, true) => {
                model.line.push((lock.call(session, Op::Acquire(owner)), owner));
            }
            Step::Acquire(session, owner, false) => {
                let call = lock.attempt(session, Op::Acquire(owner));
                if model.owner().is_none_or(|holder| holder == (session, owner)) {
                    model.line.push((call, owner));
                }
            }
            Step::Release(session, owner) => {
                let released = lock.ask(session, Op::Release(owner));
                match model.owner() {
                    Some(holder) if holder == (session, owner) => model.release(),
                    Some(_) => assert_eq!(released, Err(Reason::NotOwner)),
                    None => assert_eq!(released, Err(Reason::NotHeld)),
                }
            }
            Step::ReleaseToken => {
                if let Some(token) = model.token {
                    lock.ask(9, Op::ReleaseToken(token)).unwrap();
                    model.levels.clear();
                }
            }
            Step::Acknowledge(at) if !open.is_empty() => {
                let call = *at.get(&open);
                lock.acknowledge(call);
                for level in &mut model.levels {
                    level.2 |= level.0 == call;
                }
            }
            Step::Cancel(at) if !open.is_empty() => {
                let call = *at.get(&open);
                lock.cancel(call);
                model.leave(|gone| gone == call);
            }
            Step::Expire(at) if !open.is_empty() => {
                let call = *at.get(&open);
                lock.expire(call);
                model.line.retain(|(waiting, _)| *waiting != call);
            }
            Step::End(session) => {
                lock.end_session(session);
                model.leave(|call| call.session == session);
                model.levels.retain(|(call, ..)| call.session != session);
            }
            Step::Acknowledge(_) | Step::Cancel(_) | Step::Expire(_) => {}
        }
    }

    proptest! {
        #[test]
        fn behaves_like_a_list_of_levels(steps in prop::collection::vec(step(), 0..150)) {
            let (mut lock, mut model) = (Fixture::new(RLock::new()), Model::default());
            let mut last_token = 0;
            for step in steps {
                take(&mut lock, &mut model, step);
                let mut granted = Vec::new();
                if model.levels.is_empty() {
                    model.token = None;
                }
                for (call, told) in lock.news() {
                    if let Ok(reply::Result::Grant(Grant { token, .. })) = told {
                        prop_assert!(model.token.map_or(token > last_token, |t| t == token));
                        (last_token, model.token) = (token, Some(token));
                        granted.push(call);
                    }
                }
                prop_assert_eq!(granted, model.settle());
                prop_assert_eq!(lock.info().len, model.levels.len() as u64);
            }
        }
    }
}
