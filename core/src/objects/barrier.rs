//! A barrier: so many parties wait for each other, all of them pass or none.

use mp_manager_proto::v1::{
    Arrival, BarrierActionDone, BarrierParameters, Error, ObjectInfo, Reason, barrier_op::Op,
};

use crate::{
    call::{Answer, Applied, Call, CallId, Outcome, SessionId},
    cost::{self, Cost, times},
    machine::{Machine, deleted, differs},
    turn::Turn,
    waiters::Waiters,
};

/// Python's `Barrier`, which counts nobody who is gone.
///
/// A generation of parties:
///
/// ```text
///   filling ──the last arrives──► tripped ──nobody has an action──► all are told
///      │                             │                                   ▲
///      │                             └──► the action runs ───it is done──┘
///      │                                         │
///   a party dies or gives up, abort,       it fails, its runner dies, abort,
///   reset                                  reset
///      ▼                                         ▼
///   those who wait are refused, and until it is reset whoever comes: the barrier is broken
/// ```
///
/// To trip is final: from then on a party that dies or gives up breaks nothing, unless it is the
/// one that runs the action. Who arrives while an action runs waits for the generation after it.
#[derive(Debug, Clone)]
pub struct Barrier {
    parties: u64,
    /// The one that fills.
    generation: u64,
    arrivals: Waiters<Party>,
    tripped: Option<Tripped>,
    /// Why nobody can wait.
    broken: Option<String>,
}

#[derive(Debug, Clone)]
struct Party {
    has_action: bool,
}

/// A full generation whose action runs.
#[derive(Debug, Clone)]
struct Tripped {
    generation: u64,
    runner: CallId,
    /// Whether the runner knows that it is to run.
    acknowledged: bool,
    /// The other parties, with their indices.
    waiting: Waiters<u64>,
}

impl Barrier {
    /// A barrier nobody has reached.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` without parties.
    pub fn new(parameters: BarrierParameters) -> Result<Self, Error> {
        if parameters.parties == 0 {
            return Err(Error::new(Reason::InvalidArgument, "a barrier cannot have 0 parties")
                .with_hint("create it for at least 1"));
        }
        Ok(Self {
            parties: parameters.parties,
            generation: 0,
            arrivals: Waiters::default(),
            tripped: None,
            broken: None,
        })
    }

    pub(crate) fn check_parameters(&self, asked: &BarrierParameters) -> Result<(), Error> {
        if asked.parties == self.parties {
            return Ok(());
        }
        Err(differs("parties", self.parties, asked.parties))
    }

    pub(crate) fn parameters(&self) -> BarrierParameters {
        BarrierParameters { parties: self.parties }
    }

    /// A party arrives. Refusing one that would not wait breaks the barrier, as in Python; the last
    /// one is parked even so if another runs the action, for the barrier has tripped.
    fn wait(&mut self, call: Call, has_action: bool, turn: &mut Turn<'_>) -> Applied {
        if let Some(why) = &self.broken {
            return Err(broken(why));
        }
        self.arrivals.push(call.id, Party { has_action });
        if self.is_complete() {
            return Ok(self.trip_with(call.id, turn));
        }
        if !call.may_wait {
            self.arrivals.remove(call.id);
            return Err(self.fail(gave_up(call.id), turn));
        }
        Ok(Outcome::Parked)
    }

    /// Whether those who wait can pass: they are all there, and no earlier ones are in the way.
    fn is_complete(&self) -> bool {
        self.tripped.is_none() && self.arrivals.len() as u64 >= self.parties
    }

    /// Trips the barrier with its last party's call, whose answer is not for the others' turn.
    fn trip_with(&mut self, last: CallId, turn: &mut Turn<'_>) -> Outcome {
        let mut outcome = Outcome::Parked;
        for (call, answer) in self.trip() {
            if call == last {
                outcome = Outcome::Done(answer);
            } else {
                turn.reply(call, answer);
            }
        }
        outcome
    }

    /// A generation is full. Whoever is to be told at once: the one that runs the action, or all.
    fn trip(&mut self) -> Vec<(CallId, Answer)> {
        let generation = self.generation;
        self.generation += 1;
        let (mut waiting, mut runner) = (Waiters::default(), None);
        for index in 0..self.parties {
            if let Some((call, party)) = self.arrivals.pop_front() {
                waiting.push(call, index);
                runner = if party.has_action { Some((call, index)) } else { runner };
            }
        }
        let Some((runner, index)) = runner else { return pass(generation, waiting) };
        waiting.remove(runner);
        self.tripped = Some(Tripped { generation, runner, acknowledged: false, waiting });
        let arrival = Arrival { index, generation, run_action: true };
        vec![(runner, Answer::arrival(arrival).owned())]
    }

    fn action_done(
        &mut self,
        caller: CallId,
        op: BarrierActionDone,
        turn: &mut Turn<'_>,
    ) -> Applied {
        self.check_runner(caller, op.generation)?;
        if !op.ok {
            let why = format!("session {}'s action failed", caller.session);
            self.fail_tripped(why, turn);
        } else if let Some(tripped) = self.tripped.take() {
            reply_all(pass(tripped.generation, tripped.waiting), turn);
            self.trip_those_who_came_meanwhile(turn);
        }
        Answer::done().into()
    }

    fn check_runner(&self, caller: CallId, generation: u64) -> Result<(), Error> {
        match (&self.tripped, &self.broken) {
            (Some(tripped), _) if tripped.generation == generation => {
                let runner = tripped.runner.session;
                if runner == caller.session { Ok(()) } else { Err(not_runner(runner, caller)) }
            }
            (None, Some(why)) => Err(broken(why)),
            _ => Err(no_action(generation)),
        }
    }

    fn trip_those_who_came_meanwhile(&mut self, turn: &mut Turn<'_>) {
        while self.is_complete() {
            reply_all(self.trip(), turn);
        }
    }

    /// Breaks the barrier for those who wait for it to fill; the error they get. A generation that
    /// has tripped stays as it is.
    fn fail(&mut self, why: String, turn: &mut Turn<'_>) -> Error {
        let error = broken(&why);
        for (call, _) in self.arrivals.drain() {
            turn.refuse(call, error.clone());
        }
        self.broken = Some(why);
        error
    }

    /// Breaks the barrier for everyone who waits.
    fn fail_tripped(&mut self, why: String, turn: &mut Turn<'_>) {
        let error = self.fail(why, turn);
        for (call, _) in self.tripped.take().into_iter().flat_map(|mut t| t.waiting.drain()) {
            turn.refuse(call, error.clone());
        }
    }

    fn abort(&mut self, caller: CallId, turn: &mut Turn<'_>) -> Applied {
        self.fail_tripped(format!("session {} aborted it", caller.session), turn);
        Answer::done().into()
    }

    fn reset(&mut self, caller: CallId, turn: &mut Turn<'_>) -> Applied {
        self.fail_tripped(format!("session {} reset it", caller.session), turn);
        self.broken = None;
        Answer::done().into()
    }
}

impl Machine for Barrier {
    type Op = Op;

    fn apply(&mut self, call: Call, op: Op, turn: &mut Turn<'_>) -> Applied {
        match op {
            Op::Wait(wait) => self.wait(call, wait.has_action, turn),
            Op::ActionDone(done) => self.action_done(call.id, done, turn),
            Op::Abort(_) => self.abort(call.id, turn),
            Op::Reset(_) => self.reset(call.id, turn),
            Op::Waiting(_) => Answer::number(self.arrivals.len()).into(),
            Op::IsBroken(_) => Answer::flag(self.broken.is_some()).into(),
            Op::Parties(_) => {
                Answer::number(usize::try_from(self.parties).unwrap_or(usize::MAX)).into()
            }
        }
    }

    fn acknowledge(&mut self, call: CallId) {
        if let Some(tripped) = self.tripped.as_mut().filter(|tripped| tripped.runner == call) {
            tripped.acknowledged = true;
        }
    }

    fn cancel(&mut self, call: CallId, turn: &mut Turn<'_>) {
        self.arrivals.remove(call);
        let Some(tripped) = &mut self.tripped else { return };
        tripped.waiting.remove(call);
        if tripped.runner == call && !tripped.acknowledged {
            let why = format!("session {} never ran the action it was told to run", call.session);
            self.fail_tripped(why, turn);
        }
    }

    fn expire(&mut self, call: CallId, turn: &mut Turn<'_>) {
        if self.arrivals.contains(call) {
            self.fail(gave_up(call), turn);
        }
    }

    fn end_session(&mut self, session: SessionId, turn: &mut Turn<'_>) {
        let lost = !self.arrivals.remove_session(session).is_empty();
        if let Some(tripped) = &mut self.tripped {
            tripped.waiting.remove_session(session);
            if tripped.runner.session == session {
                return self.fail_tripped(format!("session {session} ended in the action"), turn);
            }
        }
        if lost {
            self.fail(format!("session {session} ended while it waited"), turn);
        }
    }

    fn delete(&mut self, turn: &mut Turn<'_>) {
        for (call, _) in self.arrivals.drain() {
            turn.refuse(call, deleted());
        }
        for (call, _) in self.tripped.take().into_iter().flat_map(|mut t| t.waiting.drain()) {
            turn.refuse(call, deleted());
        }
    }

    fn cost(&self, op: &Op) -> Cost {
        match op {
            // The last to come lets everybody go.
            Op::Wait(_) if self.arrivals.len() as u64 + 1 < self.parties => 0,
            Op::Wait(_) | Op::ActionDone(_) | Op::Abort(_) | Op::Reset(_) => {
                times(self.crowd(), cost::ANSWER)
            }
            Op::Waiting(_) | Op::IsBroken(_) | Op::Parties(_) => 0,
        }
    }

    fn cost_of_settling(&self, _call: CallId) -> Cost {
        times(self.crowd(), cost::ANSWER)
    }

    fn crowd(&self) -> usize {
        self.arrivals.len() + self.tripped.as_ref().map_or(0, |tripped| tripped.waiting.len())
    }

    fn describe(&self, info: &mut ObjectInfo) {
        info.len = self.arrivals.len() as u64;
        let runs = self.tripped.as_ref().map(|tripped| {
            tripped.waiting.describe(info, |index| format!("wait, {index}, for the action"));
            format!("session {} runs the action", tripped.runner.session)
        });
        let filling = match &self.broken {
            Some(why) => format!("broken: {why}"),
            None => format!("{} of {} waiting", self.arrivals.len(), self.parties),
        };
        info.state = runs.into_iter().chain([filling]).collect::<Vec<_>>().join("; ");
        self.arrivals.describe(info, |_| "wait".into());
    }

    fn bytes(&self) -> usize {
        self.arrivals.bytes()
            + self.tripped.as_ref().map_or(0, |tripped| tripped.waiting.bytes())
            + self.broken.as_ref().map_or(0, String::len)
    }
}

/// Everybody passes.
fn pass(generation: u64, mut waiting: Waiters<u64>) -> Vec<(CallId, Answer)> {
    let arrival = |index| Answer::arrival(Arrival { index, generation, run_action: false });
    waiting.drain().map(|(call, index)| (call, arrival(index))).collect()
}

fn reply_all(answers: Vec<(CallId, Answer)>, turn: &mut Turn<'_>) {
    for (call, answer) in answers {
        turn.reply(call, answer);
    }
}

fn gave_up(call: CallId) -> String {
    format!("a party timed out (session {})", call.session)
}

fn broken(why: &str) -> Error {
    Error::new(Reason::BarrierBroken, format!("the barrier is broken: {why}"))
        .with_hint("once it has been reset, wait again")
}

fn not_runner(runner: SessionId, caller: CallId) -> Error {
    Error::new(
        Reason::NotOwner,
        format!("session {runner} runs the action, not session {}", caller.session),
    )
    .with_hint("only the party that was told to run it says how it went")
}

fn no_action(generation: u64) -> Error {
    Error::new(Reason::InvalidArgument, format!("no action of generation {generation} is running"))
        .with_hint("it has been said to be done, or the barrier was reset meanwhile")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use mp_manager_proto::v1::{BarrierWait, Empty, reply};
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::{Fixture, Told};

    const WAIT: Op = Op::Wait(BarrierWait { has_action: false });
    const WAIT_WITH_ACTION: Op = Op::Wait(BarrierWait { has_action: true });
    const ABORT: Op = Op::Abort(Empty {});
    const RESET: Op = Op::Reset(Empty {});

    fn barrier(parties: u64) -> Fixture<Barrier> {
        Fixture::new(Barrier::new(BarrierParameters { parties }).unwrap())
    }

    fn done(generation: u64, ok: bool) -> Op {
        Op::ActionDone(BarrierActionDone { generation, ok })
    }

    fn passed(index: u64, generation: u64) -> Option<Told> {
        Some(Ok(reply::Result::Arrival(Arrival { index, generation, run_action: false })))
    }

    fn runs(index: u64, generation: u64) -> Option<Told> {
        Some(Ok(reply::Result::Arrival(Arrival { index, generation, run_action: true })))
    }

    fn refused() -> Option<Told> {
        Some(Err(Reason::BarrierBroken))
    }

    fn is_broken(barrier: &mut Fixture<Barrier>) -> bool {
        barrier.ask(9, Op::IsBroken(Empty {})) == Ok(reply::Result::Flag(true))
    }

    fn waiting(barrier: &mut Fixture<Barrier>) -> Told {
        barrier.ask(9, Op::Waiting(Empty {}))
    }

    /// Two parties of which the second, session 2, runs the action.
    fn acting() -> (Fixture<Barrier>, CallId, CallId) {
        let mut barrier = barrier(2);
        let (other, runner) = (barrier.call(1, WAIT), barrier.call(2, WAIT_WITH_ACTION));
        assert_eq!((barrier.told(other), barrier.told(runner)), (None, runs(1, 0)));
        (barrier, other, runner)
    }

    #[test]
    fn all_pass_when_the_last_one_arrives_and_again_the_next_time() {
        let mut barrier = barrier(3);
        for generation in 0..2 {
            let (first, second) = (barrier.call(1, WAIT), barrier.call(2, WAIT));
            assert_eq!(waiting(&mut barrier), Ok(reply::Result::Number(2)));
            let third = barrier.attempt(3, WAIT);
            let told = [first, second, third].map(|call| barrier.told(call));
            assert_eq!(told, [0, 1, 2].map(|index| passed(index, generation)));
            assert_eq!(waiting(&mut barrier), Ok(reply::Result::Number(0)));
        }
        assert_eq!(barrier.open(), [], "to pass is final");
    }

    #[test]
    fn the_action_runs_before_anyone_passes() {
        let (mut barrier, other, runner) = acting();
        barrier.acknowledge(runner);
        barrier.cancel(runner);
        barrier.ask(2, done(0, true)).unwrap();
        assert_eq!(barrier.told(other), passed(0, 0));
        assert_eq!(barrier.told(runner), runs(1, 0));
        assert_eq!(barrier.ask(2, done(0, true)), Err(Reason::InvalidArgument));
    }

    #[test]
    fn the_latest_with_an_action_runs_it_and_the_last_party_waits() {
        let mut barrier = barrier(3);
        let calls = [
            barrier.call(1, WAIT_WITH_ACTION),
            barrier.call(2, WAIT_WITH_ACTION),
            barrier.attempt(3, WAIT),
        ];
        assert_eq!(calls.map(|call| barrier.told(call)), [None, runs(1, 0), None]);
        barrier.expire(calls[0]);
        barrier.ask(2, done(0, true)).unwrap();
        let told = calls.map(|call| barrier.told(call));
        assert_eq!(told, [passed(0, 0), runs(1, 0), passed(2, 0)]);
    }

    #[test]
    fn a_failed_action_breaks_the_barrier() {
        let (mut barrier, other, _) = acting();
        barrier.ask(2, done(0, false)).unwrap();
        assert_eq!(barrier.told(other), refused());
        assert!(is_broken(&mut barrier));
    }

    #[test]
    fn a_runner_that_dies_breaks_the_barrier_and_is_named() {
        for acknowledged in [true, false] {
            let (mut barrier, other, runner) = acting();
            if acknowledged {
                barrier.acknowledge(runner);
            }
            barrier.end_session(2);
            assert_eq!(barrier.told(other), refused());
            assert!(barrier.refusal(other).message.contains("session 2 "));
        }
    }

    #[test]
    fn a_runner_that_is_cancelled_before_it_knows_breaks_the_barrier() {
        let (mut barrier, other, runner) = acting();
        barrier.cancel(runner);
        assert_eq!(barrier.told(other), refused());
        assert_eq!(barrier.ask(2, done(0, true)), Err(Reason::BarrierBroken));
    }

    #[test]
    fn only_the_runner_says_that_the_action_is_done() {
        let (mut barrier, other, _) = acting();
        assert_eq!(barrier.ask(1, done(0, true)), Err(Reason::NotOwner));
        assert_eq!(barrier.ask(2, done(1, true)), Err(Reason::InvalidArgument));
        assert_eq!(barrier.told(other), None);
    }

    #[test]
    fn having_tripped_it_passes_whoever_is_left() {
        let mut barrier = barrier(4);
        let calls = [1, 2, 3].map(|session| barrier.call(session, WAIT));
        barrier.call(4, WAIT_WITH_ACTION);
        barrier.cancel(calls[0]);
        barrier.end_session(2);
        barrier.expire(calls[2]);
        barrier.ask(4, done(0, true)).unwrap();
        assert_eq!(barrier.told(calls[2]), passed(2, 0));
        assert!(!is_broken(&mut barrier));
    }

    #[test]
    fn who_comes_while_the_action_runs_is_of_the_next_generation() {
        let (mut barrier, other, _) = acting();
        let later = [3, 4, 5].map(|session| barrier.call(session, WAIT));
        assert_eq!(later.map(|call| barrier.told(call)), [None, None, None]);
        barrier.ask(2, done(0, true)).unwrap();
        assert_eq!(barrier.told(other), passed(0, 0));
        assert_eq!(later.map(|call| barrier.told(call)), [passed(0, 1), passed(1, 1), None]);
    }

    #[test]
    fn breaking_the_next_generation_leaves_the_one_that_has_tripped() {
        let (mut barrier, other, _) = acting();
        let later = barrier.call(3, WAIT);
        barrier.expire(later);
        assert_eq!((barrier.told(other), barrier.told(later)), (None, refused()));
        barrier.ask(2, done(0, true)).unwrap();
        assert_eq!(barrier.told(other), passed(0, 0));
        assert!(is_broken(&mut barrier));
    }

    #[test]
    fn a_party_that_dies_breaks_the_barrier_and_is_named() {
        let mut barrier = barrier(3);
        let call = barrier.call(1, WAIT);
        barrier.call(42, WAIT);
        barrier.end_session(42);
        assert_eq!(barrier.told(call), refused());
        assert!(barrier.refusal(call).message.contains("session 42 "));
        assert!(is_broken(&mut barrier));
    }

    #[test]
    fn a_session_that_is_no_party_dies_unnoticed() {
        let mut barrier = barrier(2);
        let call = barrier.call(1, WAIT);
        barrier.end_session(2);
        assert_eq!((barrier.told(call), is_broken(&mut barrier)), (None, false));
    }

    #[test]
    fn a_party_that_gives_up_breaks_the_barrier_for_all_and_itself() {
        for at_once in [false, true] {
            let mut barrier = barrier(3);
            let first = barrier.call(1, WAIT);
            let second = if at_once { barrier.attempt(2, WAIT) } else { barrier.call(2, WAIT) };
            barrier.expire(second);
            assert_eq!([first, second].map(|call| barrier.told(call)), [refused(), refused()]);
            assert!(barrier.refusal(first).message.contains("a party timed out"));
        }
    }

    #[test]
    fn cancelling_withdraws_and_the_indices_close_up() {
        let mut barrier = barrier(3);
        let withdrawn = barrier.call(1, WAIT);
        let first = barrier.call(2, WAIT);
        barrier.cancel(withdrawn);
        let others = [barrier.call(1, WAIT), barrier.call(3, WAIT)];
        assert_eq!(barrier.told(first), passed(0, 0));
        assert_eq!(others.map(|call| barrier.told(call)), [passed(1, 0), passed(2, 0)]);
    }

    #[test]
    fn aborted_it_stays_broken_until_it_is_reset() {
        let mut barrier = barrier(2);
        let first = barrier.call(1, WAIT);
        barrier.ask(3, ABORT).unwrap();
        let second = barrier.call(2, WAIT);
        assert_eq!([first, second].map(|call| barrier.told(call)), [refused(), refused()]);
        assert!(barrier.refusal(second).hint.contains("reset"));
        barrier.ask(3, RESET).unwrap();
        let (first, second) = (barrier.call(1, WAIT), barrier.call(2, WAIT));
        assert_eq!([first, second].map(|call| barrier.told(call)), [passed(0, 0), passed(1, 0)]);
    }

    #[test]
    fn a_reset_refuses_those_who_wait_and_leaves_it_fresh() {
        let mut barrier = barrier(2);
        let call = barrier.call(1, WAIT);
        barrier.ask(3, RESET).unwrap();
        assert_eq!((barrier.told(call), is_broken(&mut barrier)), (refused(), false));
    }

    #[test]
    fn aborting_or_resetting_does_not_wait_for_the_action() {
        for (op, late) in [(ABORT, Reason::BarrierBroken), (RESET, Reason::InvalidArgument)] {
            let (mut barrier, other, runner) = acting();
            barrier.acknowledge(runner);
            barrier.ask(3, op).unwrap();
            assert_eq!(barrier.told(other), refused());
            assert_eq!(barrier.ask(2, done(0, true)), Err(late));
        }
    }

    #[test]
    fn it_needs_a_party_and_one_is_enough() {
        let none = Barrier::new(BarrierParameters { parties: 0 });
        assert_eq!(none.unwrap_err().reason(), Reason::InvalidArgument);
        let mut barrier = barrier(1);
        let plain = barrier.attempt(1, WAIT);
        let acting = barrier.attempt(1, WAIT_WITH_ACTION);
        let told = [plain, acting].map(|call| barrier.told(call));
        assert_eq!(told, [passed(0, 0), runs(0, 1)]);
    }

    #[test]
    fn opening_it_for_other_parties_names_the_difference() {
        let barrier = barrier(2).object;
        assert!(barrier.check_parameters(&barrier.parameters()).is_ok());
        let differs = barrier.check_parameters(&BarrierParameters { parties: 3 }).unwrap_err();
        assert_eq!(differs.reason(), Reason::ParametersDiffer);
        assert!(differs.message.contains("2, not 3"));
    }

    #[test]
    fn deleting_it_refuses_everyone_in_it() {
        let (mut barrier, other, _) = acting();
        let later = barrier.call(3, WAIT);
        barrier.delete();
        for call in [other, later] {
            assert_eq!(barrier.refusal(call).reason(), Reason::ObjectDeleted);
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Wait { session: u64, has_action: bool, may_wait: bool },
        Done(bool),
        Abort,
        Reset,
        Acknowledge(prop::sample::Index),
        Cancel(prop::sample::Index),
        Expire(prop::sample::Index),
        End(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let index = any::<prop::sample::Index>;
        let wait = (0..6_u64, prop::bool::weighted(0.2), prop::bool::weighted(0.95)).prop_map(
            |(session, has_action, may_wait)| Step::Wait { session, has_action, may_wait },
        );
        prop_oneof![
            20 => wait,
            3 => prop::bool::weighted(0.8).prop_map(Step::Done),
            1 => Just(Step::Abort),
            4 => Just(Step::Reset),
            2 => index().prop_map(Step::Acknowledge),
            2 => index().prop_map(Step::Cancel),
            1 => index().prop_map(Step::Expire),
            1 => (0..6_u64).prop_map(Step::End),
        ]
    }

    /// What the calls were told in one step.
    struct News {
        refused: BTreeSet<CallId>,
        arrived: BTreeMap<CallId, Arrival>,
    }

    impl News {
        fn of(barrier: &mut Fixture<Barrier>) -> Self {
            let mut news = Self { refused: BTreeSet::new(), arrived: BTreeMap::new() };
            for (call, told) in barrier.news() {
                match told {
                    Ok(reply::Result::Arrival(arrival)) => drop(news.arrived.insert(call, arrival)),
                    Err(Reason::BarrierBroken) => drop(news.refused.insert(call)),
                    _ => {}
                }
            }
            news
        }
    }

    /// Who waits in which generation.
    struct Model {
        parties: usize,
        generation: u64,
        filling: Vec<CallId>,
        tripped: Option<Acting>,
    }

    /// Who runs the action, and who waits for it with which index.
    struct Acting {
        generation: u64,
        runner: CallId,
        waiting: Vec<(CallId, u64)>,
    }

    impl Model {
        fn depart(&mut self, gone: impl Fn(CallId) -> bool) {
            self.filling.retain(|call| !gone(*call));
            if let Some(acting) = &mut self.tripped {
                acting.waiting.retain(|(call, _)| !gone(*call));
            }
        }

        /// A generation that has tripped ends as one: all of it passes, or all of it is refused.
        fn end_tripped(&mut self, passed: bool, news: &mut News) {
            let Some(Acting { generation, waiting, .. }) = self.tripped.take() else { return };
            for (call, index) in waiting {
                let arrival = Arrival { index, generation, run_action: false };
                assert_eq!(news.arrived.remove(&call), passed.then_some(arrival));
                assert!(passed || news.refused.contains(&call));
            }
        }

        /// So does one that fills.
        fn fail(&mut self, news: &News) {
            if self.filling.iter().any(|call| news.refused.contains(call)) {
                assert!(self.filling.drain(..).all(|call| news.refused.contains(&call)));
            }
        }

        /// One that is full passes, or has one runner.
        fn trip(&mut self, news: &mut News) {
            let (full, generation) = (self.filling.drain(..self.parties), self.generation);
            let mut waiting: Vec<(CallId, u64)> = full.zip(0..).collect();
            self.generation += 1;
            let told = waiting.iter().filter_map(|&(call, index)| {
                let arrival = news.arrived.remove(&call)?;
                assert_eq!((arrival.index, arrival.generation), (index, generation));
                Some((call, arrival.run_action))
            });
            let told: Vec<_> = told.collect();
            if let [(runner, true)] = told[..] {
                waiting.retain(|(call, _)| *call != runner);
                self.tripped = Some(Acting { generation, runner, waiting });
            } else {
                assert_eq!(told, waiting.iter().map(|w| (w.0, false)).collect::<Vec<_>>());
            }
        }

        fn waiting(&self) -> BTreeSet<CallId> {
            let tripped = self.tripped.iter().flat_map(|acting| &acting.waiting);
            self.filling.iter().copied().chain(tripped.map(|(call, _)| *call)).collect()
        }
    }

    /// Takes a step; whether it was to say that the action has been run.
    fn take(barrier: &mut Fixture<Barrier>, model: &mut Model, step: Step) -> bool {
        let open = barrier.open();
        match step {
            Step::Wait { session, has_action, may_wait } => {
                let arrive = if may_wait { Fixture::call } else { Fixture::attempt };
                let call = arrive(barrier, session, Op::Wait(BarrierWait { has_action }));
                if barrier.told(call) != refused() {
                    model.filling.push(call);
                }
            }
            Step::Done(ok) => {
                if let Some(Acting { runner, generation, .. }) = &model.tripped {
                    barrier.ask(runner.session, done(*generation, ok)).unwrap();
                    return ok;
                }
            }
            Step::Abort => drop(barrier.ask(9, ABORT)),
            Step::Reset => drop(barrier.ask(9, RESET)),
            Step::Acknowledge(at) if !open.is_empty() => barrier.acknowledge(*at.get(&open)),
            Step::Cancel(at) if !open.is_empty() => {
                let call = *at.get(&open);
                barrier.cancel(call);
                model.depart(|gone| gone == call);
            }
            Step::Expire(at) if !open.is_empty() => barrier.expire(*at.get(&open)),
            Step::End(session) => {
                barrier.end_session(session);
                model.depart(|call| call.session == session);
            }
            Step::Acknowledge(_) | Step::Cancel(_) | Step::Expire(_) => {}
        }
        false
    }

    proptest! {
        /// Of a generation either everyone who is still there passes, each with the index of its
        /// arrival, after the one action there may be; or nobody passes, and whoever waited is
        /// refused.
        #[test]
        fn all_pass_or_it_breaks(
            parties in 1..4_usize,
            steps in prop::collection::vec(step(), 0..150),
        ) {
            let mut barrier = barrier(parties as u64);
            let mut model = Model { parties, generation: 0, filling: Vec::new(), tripped: None };
            for step in steps {
                let was_run = take(&mut barrier, &mut model, step);
                let mut news = News::of(&mut barrier);
                if was_run || barrier.object.tripped.is_none() {
                    model.end_tripped(was_run, &mut news);
                }
                model.fail(&news);
                while model.tripped.is_none() && model.filling.len() >= parties {
                    model.trip(&mut news);
                }
                prop_assert!(news.arrived.is_empty());
                prop_assert_eq!(&model.waiting(), barrier.parked());
                prop_assert!(!is_broken(&mut barrier) || model.filling.is_empty());
                barrier.info();
            }
        }
    }
}
