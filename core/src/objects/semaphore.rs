//! A semaphore: so many permits, each with someone who holds it.

use std::collections::{BTreeMap, BTreeSet};

use mp_manager_proto::v1::{
    Error, Holding, ObjectInfo, Reason, SemaphoreParameters, SemaphoreRelease, semaphore_op::Op,
};

use super::lock::not_held;
use crate::{
    call::{Answer, Applied, Call, CallId, Outcome, SessionId},
    cost::{self, Cost, times},
    description::add_holders,
    machine::{Machine, deleted, differs},
    memory::tree,
    turn::Turn,
    waiters::Waiters,
};

/// The most permits there can be: what the number in a reply can say.
const MAX_PERMITS: u64 = i64::MAX.unsigned_abs();

/// Python's `Semaphore` and `BoundedSemaphore`, which know who holds their permits.
///
/// ```text
///                ┌──acquire──► held by a session ──forget──► held by nobody's session
///   available ◄──┤                  │                              │
///    ▲           └── release / cancel before ack / end ◄───────────┘ release
///    │
///   minted, by a release of more than the caller holds; where there is a bound, that takes over
///   the oldest ones held instead
/// ```
#[derive(Debug, Clone)]
pub struct Semaphore {
    parameters: SemaphoreParameters,
    /// All there are, available or held.
    total: u64,
    available: u64,
    /// By token, which is from the oldest to the newest.
    grants: BTreeMap<u64, Held>,
    /// What each session holds, in the order its releases take it.
    owned: BTreeSet<Owned>,
    unacknowledged: BTreeMap<CallId, u64>,
    /// Each with how many it wants. Nobody overtakes: many would never get theirs otherwise.
    line: Waiters<u64>,
}

/// Permits that were granted together and have not been released.
#[derive(Debug, Clone)]
struct Held {
    call: CallId,
    permits: u64,
    acknowledged: bool,
    detached: bool,
}

/// What is known to have arrived comes before what is on its way and may yet be cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Owned {
    session: SessionId,
    unacknowledged: bool,
    token: u64,
}

impl Held {
    fn owned(&self, token: u64) -> Owned {
        Owned { session: self.call.session, unacknowledged: !self.acknowledged, token }
    }
}

impl Semaphore {
    /// A semaphore with all its permits available.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for more permits than can be counted.
    pub fn new(parameters: SemaphoreParameters) -> Result<Self, Error> {
        let permits = parameters.permits;
        if permits > MAX_PERMITS {
            return Err(Error::new(
                Reason::InvalidArgument,
                format!("a semaphore cannot have {permits} permits; the most is {MAX_PERMITS}"),
            ));
        }
        Ok(Self {
            parameters,
            total: permits,
            available: permits,
            grants: BTreeMap::new(),
            owned: BTreeSet::new(),
            unacknowledged: BTreeMap::new(),
            line: Waiters::default(),
        })
    }

    pub(crate) fn check_parameters(&self, asked: &SemaphoreParameters) -> Result<(), Error> {
        let there = self.parameters;
        if asked.bounded != there.bounded {
            let name = |bounded| if bounded { "BoundedSemaphore" } else { "Semaphore" };
            return Err(differs("the type", name(there.bounded), name(asked.bounded)));
        }
        if asked.permits != there.permits {
            return Err(differs("initial permits", there.permits, asked.permits));
        }
        Ok(())
    }

    pub(crate) fn parameters(&self) -> SemaphoreParameters {
        self.parameters
    }

    fn acquire(&mut self, call: Call, count: u64, turn: &mut Turn<'_>) -> Applied {
        self.check_count(count)?;
        if self.line.is_empty() && count <= self.available {
            return self.grant(call.id, count, turn)?.into();
        }
        if !call.may_wait {
            return Answer::absent().into();
        }
        self.line.push(call.id, count);
        Ok(Outcome::Parked)
    }

    fn check_count(&self, count: u64) -> Result<(), Error> {
        let bound = self.parameters.permits;
        if count == 0 {
            return Err(no_permits("acquire"));
        }
        if self.parameters.bounded && count > bound {
            return Err(Error::new(
                Reason::InvalidArgument,
                format!("{count} permits can never be acquired: the semaphore's bound is {bound}"),
            )
            .with_hint("acquire fewer at once, or create the semaphore with more"));
        }
        Ok(())
    }

    fn grant(&mut self, call: CallId, permits: u64, turn: &Turn<'_>) -> Result<Answer, Error> {
        let token = turn.token()?;
        let held = Held { call, permits, acknowledged: false, detached: false };
        self.available -= permits;
        self.owned.insert(held.owned(token));
        self.unacknowledged.insert(call, token);
        self.grants.insert(token, held);
        Ok(Answer::grant(token, 1))
    }

    /// Gives the first in line what they wait for, as long as there is enough. Those to whom it cannot
    /// be granted are refused.
    fn serve(&mut self, turn: &mut Turn<'_>) {
        while let Some((call, &count)) = self.line.front()
            && count <= self.available
        {
            self.line.pop_front();
            let answer = self.grant(call, count, turn);
            turn.answer(call, answer);
        }
    }

    fn release(&mut self, caller: CallId, op: SemaphoreRelease, turn: &mut Turn<'_>) -> Applied {
        if op.count == 0 {
            return Err(no_permits("release"));
        }
        match op.token {
            Some(token) => self.release_grant(caller.session, op.count, token, turn)?,
            None if self.parameters.bounded => self.release_held(caller.session, op.count, turn)?,
            None => self.release_or_mint(caller.session, op.count, turn)?,
        }
        self.serve(turn);
        Answer::done().into()
    }

    /// Releases as many as are left of this grant, and none of another: part of it may have been
    /// taken over, which its holder learns only when nothing is left.
    fn release_grant(
        &mut self,
        caller: SessionId,
        count: u64,
        token: u64,
        turn: &mut Turn<'_>,
    ) -> Result<(), Error> {
        if !self.grants.contains_key(&token) {
            return Err(not_held(token));
        }
        self.take_back(token, count, caller, turn);
        Ok(())
    }

    fn release_held(
        &mut self,
        caller: SessionId,
        count: u64,
        turn: &mut Turn<'_>,
    ) -> Result<(), Error> {
        let held = self.total - self.available;
        if count > held {
            return Err(bound_exceeded(count, held, self.total));
        }
        let mut rest = self.release_own(caller, count, turn);
        while rest > 0
            && let Some((&oldest, _)) = self.grants.first_key_value()
        {
            rest -= self.take_back(oldest, rest, caller, turn);
        }
        Ok(())
    }

    fn release_or_mint(
        &mut self,
        caller: SessionId,
        count: u64,
        turn: &mut Turn<'_>,
    ) -> Result<(), Error> {
        // What the caller holds is added up only when it matters: it may be long.
        let room = MAX_PERMITS - self.total;
        if count > room && count.saturating_sub(self.held_by(caller)) > room {
            return Err(overflow(count, self.total));
        }
        let minted = self.release_own(caller, count, turn);
        self.total += minted;
        self.available += minted;
        Ok(())
    }

    /// Takes what the caller holds, the oldest first; how many are missing.
    fn release_own(&mut self, caller: SessionId, count: u64, turn: &mut Turn<'_>) -> u64 {
        let mut rest = count;
        while rest > 0
            && let Some(token) = self.oldest_of(caller)
        {
            rest -= self.take_back(token, rest, caller, turn);
        }
        rest
    }

    /// The grants of a session, in the order its releases take them.
    fn tokens_of(&self, session: SessionId) -> impl Iterator<Item = u64> {
        let first = Owned { session, unacknowledged: false, token: 0 };
        let last = Owned { session, unacknowledged: true, token: u64::MAX };
        self.owned.range(first..=last).map(|owned| owned.token)
    }

    fn oldest_of(&self, session: SessionId) -> Option<u64> {
        self.tokens_of(session).next()
    }

    fn held_by(&self, session: SessionId) -> u64 {
        self.tokens_of(session).filter_map(|token| self.grants.get(&token)).map(|h| h.permits).sum()
    }

    /// Makes permits of a grant available again, at most so many; how many it did. Another session
    /// that has nothing left of the grant is told.
    fn take_back(&mut self, token: u64, at_most: u64, by: SessionId, turn: &mut Turn<'_>) -> u64 {
        let Some(held) = self.grants.get_mut(&token) else { return 0 };
        let taken = at_most.min(held.permits);
        held.permits -= taken;
        self.available += taken;
        if held.permits == 0
            && let Some(gone) = self.remove(token)
            && !gone.detached
            && gone.call.session != by
        {
            turn.lose(gone.call.session, token);
        }
        taken
    }

    fn remove(&mut self, token: u64) -> Option<Held> {
        let held = self.grants.remove(&token)?;
        self.owned.remove(&held.owned(token));
        self.unacknowledged.remove(&held.call);
        Some(held)
    }

    fn forget(&mut self, token: u64) -> Applied {
        let Some(held) = self.grants.get_mut(&token) else { return Err(not_held(token)) };
        self.owned.remove(&held.owned(token));
        held.detached = true;
        // Nobody names a grant that has not arrived.
        self.unacknowledged.remove(&held.call);
        Answer::done().into()
    }
}

impl Machine for Semaphore {
    type Op = Op;

    fn apply(&mut self, call: Call, op: Op, turn: &mut Turn<'_>) -> Applied {
        match op {
            Op::Acquire(count) => self.acquire(call, count, turn),
            Op::Release(release) => self.release(call.id, release, turn),
            Op::Available(_) => {
                Answer::number(usize::try_from(self.available).unwrap_or(usize::MAX)).into()
            }
            Op::Forget(token) => self.forget(token),
        }
    }

    fn acknowledge(&mut self, call: CallId) {
        if let Some(token) = self.unacknowledged.remove(&call)
            && let Some(held) = self.grants.get_mut(&token)
        {
            self.owned.remove(&held.owned(token));
            held.acknowledged = true;
            self.owned.insert(held.owned(token));
        }
    }

    fn cancel(&mut self, call: CallId, turn: &mut Turn<'_>) {
        if self.line.remove(call).is_none()
            && let Some(&token) = self.unacknowledged.get(&call)
        {
            self.take_back(token, u64::MAX, call.session, turn);
        }
        // Also when somebody left the line: those behind may want less.
        self.serve(turn);
    }

    fn expire(&mut self, call: CallId, turn: &mut Turn<'_>) {
        if self.line.remove(call).is_some() {
            turn.reply(call, Answer::absent());
            self.serve(turn);
        }
    }

    fn end_session(&mut self, session: SessionId, turn: &mut Turn<'_>) {
        // Its waiters first: none of them may get what it lets go of.
        self.line.remove_session(session);
        self.release_own(session, u64::MAX, turn);
        self.serve(turn);
    }

    fn delete(&mut self, turn: &mut Turn<'_>) {
        self.owned.clear();
        self.unacknowledged.clear();
        for (token, held) in std::mem::take(&mut self.grants) {
            if !held.detached {
                turn.lose(held.call.session, token);
            }
        }
        for (call, _) in self.line.drain() {
            turn.refuse(call, deleted());
        }
    }

    fn holds(&self, token: u64) -> bool {
        self.grants.contains_key(&token)
    }

    fn cost(&self, op: &Op) -> Cost {
        match op {
            Op::Acquire(_) | Op::Available(_) | Op::Forget(_) => 0,
            Op::Release(release) => {
                let count = usize::try_from(release.count).unwrap_or(usize::MAX);
                times(count.min(self.line.len().max(self.owned.len())), cost::ANSWER)
            }
        }
    }

    fn crowd(&self) -> usize {
        self.line.len() + self.grants.len()
    }

    fn describe(&self, info: &mut ObjectInfo) {
        let bound = if self.parameters.bounded { ", bounded" } else { "" };
        info.len = self.available;
        info.state = format!("{} of {} available{bound}", self.available, self.total);
        add_holders(
            info,
            self.grants.iter().map(|(&token, held)| Holding {
                session: held.call.session,
                token,
                what: format!(
                    "{}{}",
                    permits(held.permits),
                    if held.detached { ", detached" } else { "" }
                ),
            }),
        );
        self.line.describe(info, |&count| format!("acquire {}", permits(count)));
    }

    fn bytes(&self) -> usize {
        tree::<u64, Held>(self.grants.len())
            + tree::<Owned, ()>(self.owned.len())
            + tree::<CallId, u64>(self.unacknowledged.len())
            + self.line.bytes()
    }
}

fn permits(count: u64) -> String {
    if count == 1 { "1 permit".into() } else { format!("{count} permits") }
}

fn no_permits(what: &str) -> Error {
    Error::new(Reason::InvalidArgument, format!("cannot {what} 0 permits"))
        .with_hint(format!("{what} at least 1"))
}

fn bound_exceeded(count: u64, held: u64, bound: u64) -> Error {
    Error::new(
        Reason::BoundExceeded,
        format!("cannot release {}: {held} of {bound} are held", permits(count)),
    )
    .with_hint("a permit was released twice, or never acquired")
}

fn overflow(count: u64, total: u64) -> Error {
    Error::new(
        Reason::Overflow,
        format!("{total} permits and {count} more are above the most there can be, {MAX_PERMITS}"),
    )
}

#[cfg(test)]
mod tests {
    use mp_manager_proto::v1::{Empty, Grant, reply};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        fixture::{Fixture, Told, token},
        turn::Tokens,
    };

    const AVAILABLE: Op = Op::Available(Empty {});

    #[test]
    fn without_a_token_no_permit_is_granted_or_waited_for() {
        let parameters = SemaphoreParameters { permits: 2, bounded: true };
        let semaphore = Semaphore::new(parameters).unwrap();
        let mut semaphore = Fixture::with_tokens(semaphore, Tokens::reserved(0, 1));
        semaphore.take(1, Op::Acquire(2));
        let waiters = [2, 3].map(|session| semaphore.call(session, Op::Acquire(1)));
        semaphore.end_session(1);
        for call in waiters {
            assert_eq!(semaphore.told(call), Some(Err(Reason::LimitExceeded)));
        }
        assert_eq!(semaphore.ask(4, AVAILABLE), Ok(reply::Result::Number(2)));

        semaphore.tokens.reserve(2);
        assert_eq!(token(&semaphore.take(4, Op::Acquire(1))), 2);
    }

    fn semaphore(permits: u64) -> Fixture<Semaphore> {
        Fixture::new(Semaphore::new(SemaphoreParameters { permits, bounded: false }).unwrap())
    }

    fn bounded(permits: u64) -> Fixture<Semaphore> {
        Fixture::new(Semaphore::new(SemaphoreParameters { permits, bounded: true }).unwrap())
    }

    fn release(count: u64) -> Op {
        Op::Release(SemaphoreRelease { count, token: None })
    }

    fn release_of(token: u64, count: u64) -> Op {
        Op::Release(SemaphoreRelease { count, token: Some(token) })
    }

    fn grant(token: u64) -> Option<Told> {
        Some(Ok(reply::Result::Grant(Grant { token, depth: 1 })))
    }

    fn absent() -> Option<Told> {
        Some(Ok(reply::Result::Absent(Empty {})))
    }

    fn available(semaphore: &mut Fixture<Semaphore>) -> i64 {
        match semaphore.ask(9, AVAILABLE) {
            Ok(reply::Result::Number(number)) => number,
            other => panic!("expected a number, got {other:?}"),
        }
    }

    /// Takes permits; under which token.
    fn hold(semaphore: &mut Fixture<Semaphore>, session: u64, count: u64) -> u64 {
        token(&semaphore.take(session, Op::Acquire(count)))
    }

    #[test]
    fn a_big_acquire_is_not_overtaken() {
        let mut semaphore = semaphore(2);
        hold(&mut semaphore, 1, 1);
        let big = semaphore.call(2, Op::Acquire(2));
        let small = semaphore.call(3, Op::Acquire(1));
        let tried = semaphore.attempt(3, Op::Acquire(1));
        assert_eq!((semaphore.told(small), semaphore.told(tried)), (None, absent()));
        semaphore.ask(1, release(1)).unwrap();
        assert_eq!((semaphore.told(big), semaphore.told(small)), (grant(2), None));
    }

    #[test]
    fn when_the_first_in_line_leaves_those_behind_are_served() {
        type Leave = fn(&mut Fixture<Semaphore>, CallId);
        let ways: [Leave; 3] = [Fixture::cancel, Fixture::expire, |semaphore, call| {
            semaphore.end_session(call.session)
        }];
        for leave in ways {
            let mut semaphore = semaphore(2);
            let big = semaphore.call(1, Op::Acquire(3));
            let small = [semaphore.call(2, Op::Acquire(1)), semaphore.call(3, Op::Acquire(1))];
            leave(&mut semaphore, big);
            assert_eq!(small.map(|call| semaphore.told(call)), [grant(1), grant(2)]);
        }
    }

    #[test]
    fn what_can_never_be_acquired_is_refused() {
        let mut semaphore = bounded(3);
        assert_eq!(semaphore.ask(1, Op::Acquire(0)), Err(Reason::InvalidArgument));
        assert_eq!(semaphore.ask(1, release(0)), Err(Reason::InvalidArgument));
        let call = semaphore.call(1, Op::Acquire(4));
        assert_eq!(semaphore.refusal(call).reason(), Reason::InvalidArgument);
        assert!(semaphore.refusal(call).message.contains("bound is 3"));
    }

    #[test]
    fn a_plain_release_gives_back_the_callers_own_and_mints_the_rest() {
        let mut semaphore = semaphore(3);
        let (first, second) = (hold(&mut semaphore, 1, 1), hold(&mut semaphore, 1, 1));
        let other = hold(&mut semaphore, 2, 1);
        semaphore.ask(1, release(1)).unwrap();
        assert_eq!(semaphore.ask(1, release_of(first, 1)), Err(Reason::NotHeld));
        semaphore.ask(1, release(3)).unwrap();
        assert_eq!(semaphore.ask(1, release_of(second, 1)), Err(Reason::NotHeld));
        assert_eq!((available(&mut semaphore), semaphore.lost.len()), (4, 0));
        semaphore.ask(2, release_of(other, 1)).unwrap();
        assert_eq!(available(&mut semaphore), 5);
    }

    #[test]
    fn a_bounded_release_takes_over_the_oldest_held_and_tells_whoever_has_none_left() {
        let mut semaphore = bounded(4);
        let oldest = hold(&mut semaphore, 1, 3);
        let newest = hold(&mut semaphore, 2, 1);
        semaphore.ask(3, release(2)).unwrap();
        assert_eq!((available(&mut semaphore), semaphore.lost.len()), (2, 0));
        semaphore.ask(2, release(2)).unwrap();
        assert_eq!((available(&mut semaphore), &semaphore.lost[..]), (4, &[(1, oldest)][..]));
        assert_eq!(semaphore.ask(2, release_of(newest, 1)), Err(Reason::NotHeld));
    }

    #[test]
    fn a_release_beyond_the_bound_releases_nothing() {
        let mut semaphore = bounded(3);
        hold(&mut semaphore, 1, 2);
        let call = semaphore.call(1, release(3));
        assert_eq!(semaphore.refusal(call).reason(), Reason::BoundExceeded);
        assert_eq!((available(&mut semaphore), semaphore.lost.len()), (1, 0));
    }

    #[test]
    fn a_release_that_could_not_be_counted_releases_nothing() {
        let mut semaphore = semaphore(MAX_PERMITS);
        hold(&mut semaphore, 1, 2);
        assert_eq!(semaphore.ask(1, release(3)), Err(Reason::Overflow));
        assert_eq!(semaphore.ask(2, release(u64::MAX)), Err(Reason::Overflow));
        semaphore.ask(1, release(2)).unwrap();
        assert_eq!(available(&mut semaphore), i64::MAX);
        let parameters = SemaphoreParameters { permits: MAX_PERMITS + 1, bounded: true };
        assert_eq!(Semaphore::new(parameters).unwrap_err().reason(), Reason::InvalidArgument);
    }

    #[test]
    fn a_grant_is_released_in_parts_but_never_more_than_is_left_of_it() {
        let mut semaphore = semaphore(4);
        let (token, _) = (hold(&mut semaphore, 1, 3), hold(&mut semaphore, 1, 1));
        semaphore.ask(1, release_of(token, 1)).unwrap();
        assert_eq!(available(&mut semaphore), 1);
        semaphore.ask(1, release_of(token, 3)).unwrap();
        assert_eq!(available(&mut semaphore), 3);
    }

    #[test]
    fn releasing_a_grant_from_elsewhere_tells_its_holder_once_nothing_is_left() {
        let mut semaphore = semaphore(2);
        let token = hold(&mut semaphore, 1, 2);
        semaphore.ask(2, release_of(token, 1)).unwrap();
        assert_eq!(semaphore.lost, []);
        semaphore.ask(2, release_of(token, 1)).unwrap();
        assert_eq!(semaphore.lost, [(1, token)]);
    }

    #[test]
    fn a_cancelled_acquire_gives_back_what_is_left_of_it() {
        let mut semaphore = semaphore(3);
        let call = semaphore.call(1, Op::Acquire(3));
        semaphore.ask(1, release(1)).unwrap();
        let next = semaphore.call(2, Op::Acquire(3));
        semaphore.cancel(call);
        assert_eq!(semaphore.told(next), grant(2));
        semaphore.acknowledge(next);
        semaphore.cancel(next);
        assert_eq!(available(&mut semaphore), 0);
    }

    #[test]
    fn a_release_takes_what_was_received_before_what_is_on_its_way() {
        let mut semaphore = semaphore(2);
        let dropped = semaphore.call(1, Op::Acquire(1));
        hold(&mut semaphore, 1, 1);
        semaphore.ask(1, release(1)).unwrap();
        semaphore.cancel(dropped);
        assert_eq!(semaphore.info().state, "2 of 2 available");
    }

    #[test]
    fn a_dead_session_gives_its_permits_to_those_who_wait_but_not_to_itself() {
        let mut semaphore = semaphore(2);
        hold(&mut semaphore, 1, 1);
        semaphore.call(1, Op::Acquire(1));
        semaphore.call(1, Op::Acquire(2));
        let waiting = semaphore.call(2, Op::Acquire(2));
        semaphore.end_session(1);
        assert_eq!(semaphore.told(waiting), grant(3));
    }

    #[test]
    fn a_forgotten_permit_outlives_its_session_until_somebody_releases_it() {
        for by_token in [true, false] {
            let mut semaphore = bounded(2);
            let forgotten = hold(&mut semaphore, 1, 1);
            hold(&mut semaphore, 2, 1);
            semaphore.ask(1, Op::Forget(forgotten)).unwrap();
            semaphore.ask(1, Op::Forget(forgotten)).unwrap();
            semaphore.end_session(1);
            assert_eq!(available(&mut semaphore), 0);
            let op = if by_token { release_of(forgotten, 1) } else { release(1) };
            semaphore.ask(3, op).unwrap();
            assert_eq!(semaphore.ask(1, Op::Forget(forgotten)), Err(Reason::NotHeld));
            assert_eq!((available(&mut semaphore), semaphore.lost.len()), (1, 0));
        }
    }

    #[test]
    fn opening_it_with_other_parameters_names_the_difference() {
        let semaphore = bounded(3).object;
        let asked = |permits, bounded| {
            semaphore.check_parameters(&SemaphoreParameters { permits, bounded })
        };
        assert!(asked(3, true).is_ok());
        assert!(asked(4, true).unwrap_err().message.contains("3, not 4"));
        assert_eq!(asked(3, false).unwrap_err().reason(), Reason::ParametersDiffer);
    }

    #[test]
    fn deleting_it_refuses_the_line_and_tells_the_holders() {
        let mut semaphore = semaphore(2);
        let (token, forgotten) = (hold(&mut semaphore, 1, 1), hold(&mut semaphore, 1, 1));
        semaphore.ask(1, Op::Forget(forgotten)).unwrap();
        let call = semaphore.call(2, Op::Acquire(1));
        semaphore.delete();
        assert_eq!(semaphore.refusal(call).reason(), Reason::ObjectDeleted);
        assert_eq!(semaphore.lost, [(1, token)]);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Acquire(u64, u64, bool),
        Release(u64, u64),
        ReleaseGrant(u64, u64, prop::sample::Index),
        Forget(prop::sample::Index),
        Acknowledge(prop::sample::Index),
        Cancel(prop::sample::Index),
        Expire(prop::sample::Index),
        End(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let (session, index) = (0..3_u64, any::<prop::sample::Index>);
        prop_oneof![
            8 => (session.clone(), 1..4_u64, any::<bool>())
                .prop_map(|(session, count, wait)| Step::Acquire(session, count, wait)),
            3 => (session.clone(), 1..5_u64).prop_map(|(s, count)| Step::Release(s, count)),
            3 => (session.clone(), 1..4_u64, index())
                .prop_map(|(session, count, at)| Step::ReleaseGrant(session, count, at)),
            1 => index().prop_map(Step::Forget),
            3 => index().prop_map(Step::Acknowledge),
            2 => index().prop_map(Step::Cancel),
            1 => index().prop_map(Step::Expire),
            1 => session.prop_map(Step::End),
        ]
    }

    /// Every permit that is held is one entry, the oldest first.
    struct Model {
        bounded: bool,
        available: u64,
        held: Vec<Permit>,
        line: Vec<(CallId, u64)>,
    }

    #[derive(Clone, Copy)]
    struct Permit {
        call: CallId,
        token: u64,
        acknowledged: bool,
        detached: bool,
    }

    impl Model {
        fn new(available: u64, bounded: bool) -> Self {
            Self { bounded, available, held: Vec::new(), line: Vec::new() }
        }

        fn total(&self) -> u64 {
            self.available + self.held.len() as u64
        }

        /// Takes back the first such permits; how many are missing.
        fn take(&mut self, mut count: u64, which: impl Fn(&Permit) -> bool) -> u64 {
            self.held.retain(|permit| {
                let taken = count > 0 && which(permit);
                count -= u64::from(taken);
                self.available += u64::from(taken);
                !taken
            });
            count
        }

        fn release(&mut self, session: u64, count: u64) -> Result<(), Reason> {
            if self.bounded && count > self.held.len() as u64 {
                return Err(Reason::BoundExceeded);
            }
            let own = |permit: &Permit| permit.call.session == session && !permit.detached;
            let rest = self.take(count, |permit| own(permit) && permit.acknowledged);
            let rest = self.take(rest, own);
            if self.bounded {
                self.take(rest, |_| true);
            } else {
                self.available += rest;
            }
            Ok(())
        }

        fn leave(&mut self, gone: impl Fn(CallId) -> bool) {
            self.line.retain(|(call, _)| !gone(*call));
        }

        /// Grants the first in line what they want, which is exactly what was granted.
        fn serve(&mut self, granted: &[(CallId, u64)]) {
            let mut granted = granted.iter();
            while self.line.first().is_some_and(|(_, count)| *count <= self.available) {
                let (call, count) = self.line.remove(0);
                let &(to, token) = granted.next().expect("there is enough for the first in line");
                assert_eq!(to, call);
                let permit = Permit { call, token, acknowledged: false, detached: false };
                self.held.extend((0..count).map(|_| permit));
                self.available -= count;
            }
            assert_eq!(granted.next(), None);
        }
    }

    /// Takes a step, and says what it is to come to.
    fn take(semaphore: &mut Fixture<Semaphore>, model: &mut Model, step: Step) {
        let open = semaphore.open();
        match step {
            Step::Acquire(session, count, may_wait) => {
                let enough = model.line.is_empty() && count <= model.available;
                let acquire = if may_wait { Fixture::call } else { Fixture::attempt };
                let call = acquire(semaphore, session, Op::Acquire(count));
                let possible = semaphore.told(call) != Some(Err(Reason::InvalidArgument));
                assert_eq!(possible, !model.bounded || count <= model.total());
                if possible && (may_wait || enough) {
                    model.line.push((call, count));
                }
            }
            Step::Release(session, count) => {
                let told = semaphore.ask(session, release(count));
                assert_eq!(told.map(drop), model.release(session, count));
            }
            Step::ReleaseGrant(session, count, at) if !model.held.is_empty() => {
                let token = at.get(&model.held).token;
                semaphore.ask(session, release_of(token, count)).unwrap();
                model.take(count, |permit| permit.token == token);
            }
            Step::Forget(at) if !model.held.is_empty() => {
                let token = at.get(&model.held).token;
                semaphore.ask(9, Op::Forget(token)).unwrap();
                for permit in model.held.iter_mut().filter(|permit| permit.token == token) {
                    (permit.detached, permit.acknowledged) = (true, true);
                }
            }
            Step::Acknowledge(at) if !open.is_empty() => {
                let call = *at.get(&open);
                semaphore.acknowledge(call);
                for permit in model.held.iter_mut().filter(|permit| permit.call == call) {
                    permit.acknowledged = true;
                }
            }
            Step::Cancel(at) if !open.is_empty() => {
                let call = *at.get(&open);
                semaphore.cancel(call);
                model.leave(|gone| gone == call);
                model.take(u64::MAX, |permit| permit.call == call && !permit.acknowledged);
            }
            Step::Expire(at) if !open.is_empty() => {
                let call = *at.get(&open);
                semaphore.expire(call);
                model.leave(|gone| gone == call);
            }
            Step::End(session) => {
                semaphore.end_session(session);
                model.leave(|call| call.session == session);
                model.take(u64::MAX, |p| p.call.session == session && !p.detached);
            }
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn behaves_like_a_list_of_permits(
            permits in 0..5_u64,
            bound in any::<bool>(),
            steps in prop::collection::vec(step(), 0..150),
        ) {
            let mut semaphore = if bound { bounded(permits) } else { semaphore(permits) };
            let mut model = Model::new(permits, bound);
            let mut last_token = 0;
            for step in steps {
                take(&mut semaphore, &mut model, step);
                let mut granted = Vec::new();
                for (call, told) in semaphore.news() {
                    if let Ok(reply::Result::Grant(Grant { token, .. })) = told {
                        prop_assert!(token > last_token);
                        last_token = token;
                        granted.push((call, token));
                    }
                }
                model.serve(&granted);
                prop_assert_eq!(semaphore.info().len, model.available);
                let held: u64 = semaphore.object.grants.values().map(|held| held.permits).sum();
                prop_assert_eq!(held, model.held.len() as u64);
                prop_assert_eq!(semaphore.object.total, model.total());
            }
        }
    }
}
