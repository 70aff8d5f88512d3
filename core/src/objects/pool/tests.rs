use mp_manager_proto::v1::{
    Empty, PoolAttend, PoolOrders, PoolPast, PoolReports, PoolResize, PoolSegment, PoolTake,
    PoolTask, PoolTasksFrom, Value, pool_op::Op, reply,
};
use proptest::prelude::*;

use super::*;
use crate::fixture::{Fixture, Told};

const CLOSE: Op = Op::Close(Empty {});
const TERMINATE: Op = Op::Terminate(Empty {});
const JOIN: Op = Op::Join(Empty {});

fn value(len: usize) -> Option<Value> {
    Some(Value { data: vec![0xc0; len].into(), refs: Vec::new() })
}

fn run_of(count: u32, attempts: u32) -> PoolRun {
    let idempotent = attempts > 0;
    let task = PoolTask { name: "square".into(), idempotent, attempts, ..PoolTask::default() };
    PoolRun { task: Some(task), args: value(count as usize), count, ..PoolRun::default() }
}

/// A run of tasks that must not be executed twice.
fn run(count: u32) -> Op {
    Op::Run(run_of(count, 0))
}

/// A run of tasks that may end two workers each.
fn idempotent(count: u32) -> Op {
    Op::Run(run_of(count, 3))
}

fn take(max: u32) -> Op {
    Op::Take(PoolTake { max })
}

fn badge(worker: u64) -> Bytes {
    vec![u8::try_from(worker).unwrap(); 16].into()
}

fn enlist(worker: u64) -> Op {
    let (badge, name) = (badge(worker), format!("w{worker}"));
    Op::Enlist(PoolEnlist { badge, name, ..PoolEnlist::default() })
}

fn report(token: u64, count: u32) -> Op {
    reports(PoolReport { token, count, results: value(1), ..PoolReport::default() })
}

fn reports(report: PoolReport) -> Op {
    Op::Report(PoolReports { reports: vec![report] })
}

fn watch(worker: u64) -> Op {
    Op::Watch(badge(worker))
}

fn bury(worker: u64, started: Option<(u64, u32, bool)>) -> Op {
    let note = |(token, index, is_exact)| PoolNote { token, index, is_exact };
    let death = PoolDeath { exit_code: Some(-9), out_of_memory: false };
    Op::Bury(PoolBury {
        badge: badge(worker),
        death: Some(death),
        started: started.map(note),
        is_known: true,
        message: String::new(),
    })
}

/// A pool with workers, whose sessions are their numbers. Their guardian is session 1.
fn with_workers(workers: &[u64]) -> Fixture<State> {
    let mut pool = Fixture::new(State::default());
    for &worker in workers {
        pool.ask(1, Op::Guard(badge(worker))).unwrap();
        pool.ask(worker, enlist(worker)).unwrap();
    }
    pool
}

fn tickets(result: reply::Result) -> Vec<PoolTicket> {
    let reply::Result::Work(work) = result else { panic!("{result:?} is no work") };
    work.tickets
}

/// Takes one ticket, which must be there.
fn take_one(pool: &mut Fixture<State>, worker: u64) -> PoolTicket {
    let result = pool.take(worker, take(1));
    let [ticket] = <[_; 1]>::try_from(tickets(result)).unwrap();
    ticket
}

fn range(ticket: &PoolTicket) -> Range<u32> {
    ticket.start..ticket.start + ticket.count
}

fn segments(pool: &Fixture<State>, call: CallId) -> Vec<PoolSegment> {
    match pool.told(call) {
        Some(Ok(reply::Result::Results(results))) => {
            assert_eq!(results.run, 0, "there is more");
            results.segments
        }
        other => panic!("{other:?} are no results"),
    }
}

/// The tasks that failed, with how.
fn failures(pool: &Fixture<State>, call: CallId) -> Vec<(Range<u32>, PoolFailureKind)> {
    let of = |failure: &PoolFailure| {
        (failure.index..failure.index + failure.count.max(1), failure.kind())
    };
    segments(pool, call).iter().flat_map(|segment| &segment.failures).map(of).collect()
}

#[test]
fn results_are_answered_once_all_are_there() {
    let mut pool = with_workers(&[2]);
    let call = pool.call(9, run(10));
    let ticket = take_one(&mut pool, 2);
    assert_eq!((range(&ticket), ticket.careful), (0..10, false));
    pool.ask(2, report(ticket.token, 4)).unwrap();
    assert_eq!(pool.told(call), None);
    assert!(pool.object.holds(ticket.token));
    pool.ask(2, report(ticket.token, 6)).unwrap();
    let places: Vec<_> = segments(&pool, call).iter().map(|s| (s.start, s.count)).collect();
    assert_eq!(places, [(0, 4), (4, 6)]);
    assert!(!pool.object.holds(ticket.token));
}

#[test]
fn a_worker_that_waits_is_handed_what_comes() {
    let mut pool = with_workers(&[2, 3]);
    let (first, second) = (pool.call(2, take(5)), pool.call(3, take(5)));
    pool.call(9, run(10));
    assert_eq!(tickets(pool.told(first).unwrap().unwrap()).len(), 1);
    assert_eq!(pool.told(second), None);
    // It has not seen it: it goes to the next.
    pool.cancel(first);
    assert_eq!(tickets(pool.told(second).unwrap().unwrap()).len(), 1);
}

#[test]
fn what_is_there_is_for_all_workers() {
    let mut pool = with_workers(&[2, 3]);
    for _ in 0..4 {
        pool.call(9, run(1));
    }
    let taken = pool.take(2, take(16));
    assert_eq!(tickets(taken).len(), 2);
}

#[test]
fn the_rest_that_a_worker_returns_goes_to_another() {
    let mut pool = with_workers(&[2, 3]);
    let call = pool.call(9, run(10));
    let token = take_one(&mut pool, 2).token;
    let returned = PoolReport { token, count: 3, returns_rest: true, ..PoolReport::default() };
    pool.ask(2, reports(returned)).unwrap();
    let rest = take_one(&mut pool, 3);
    assert_eq!(range(&rest), 3..10);
    assert!(rest.token > token && !pool.object.holds(token));
    // What its former worker says of it comes too late.
    pool.ask(2, report(token, 7)).unwrap();
    assert_eq!(pool.told(call), None);
    pool.ask(3, report(rest.token, 7)).unwrap();
    assert_eq!(failures(&pool, call), []);
}

#[test]
fn a_worker_returns_what_waits_behind_a_long_task() {
    let mut pool = with_workers(&[2, 3]);
    let call = pool.call(9, run(10));
    let token = take_one(&mut pool, 2).token;
    let returned = PoolReport { token, keeps: 3, returns_rest: true, ..PoolReport::default() };
    pool.ask(2, reports(returned)).unwrap();
    let rest = take_one(&mut pool, 3);
    assert_eq!(range(&rest), 3..10);
    assert!(pool.object.holds(token));
    pool.ask(3, report(rest.token, 7)).unwrap();
    pool.ask(2, report(token, 3)).unwrap();
    assert_eq!(failures(&pool, call), []);
}

#[test]
fn what_a_lost_worker_had_not_started_costs_nothing() {
    let mut pool = with_workers(&[2, 3]);
    let calls = [pool.call(9, run(1)), pool.call(9, run(1))];
    let (first, second) = (take_one(&mut pool, 2), take_one(&mut pool, 2));
    pool.end_session(2);
    // It is not dead as long as its guardian does not say so.
    assert!(!pool.object.holds(first.token));
    let waiting = pool.call(3, take(1));
    assert_eq!(pool.told(waiting), None);
    pool.ask(1, bury(2, Some((first.token, 0, true)))).unwrap();
    assert_eq!(failures(&pool, calls[0]), [(0..1, PoolFailureKind::WorkerLost)]);
    let again = tickets(pool.told(waiting).unwrap().unwrap());
    assert_eq!(again.len(), 1);
    assert!(again[0].token > second.token);
    pool.ask(3, report(again[0].token, 1)).unwrap();
    assert_eq!(failures(&pool, calls[1]), []);
}

#[test]
fn a_worker_may_have_started_what_it_has_not_acknowledged() {
    for is_known in [true, false] {
        let mut pool = with_workers(&[2, 3]);
        let calls = [pool.call(9, run(1)), pool.call(9, run(1))];
        let taken = [pool.call(2, take(1)), pool.call(2, take(1))];
        let [first, second] = taken.map(|call| tickets(pool.told(call).unwrap().unwrap())[0].token);
        pool.end_session(2);
        assert!(!pool.object.holds(first) && !pool.object.holds(second));
        if is_known {
            pool.ask(1, bury(2, Some((first, 0, true)))).unwrap();
        } else {
            pool.end_session(1);
        }
        assert_eq!(failures(&pool, calls[0]), [(0..1, PoolFailureKind::WorkerLost)]);
        if is_known {
            let again = take_one(&mut pool, 3);
            pool.ask(3, report(again.token, 1)).unwrap();
            assert_eq!(failures(&pool, calls[1]), []);
        } else {
            assert_eq!(failures(&pool, calls[1]), [(0..1, PoolFailureKind::WorkerLost)]);
        }
    }
}

#[test]
fn an_idle_worker_is_lost_without_a_trace() {
    let mut pool = with_workers(&[2, 3]);
    let call = pool.call(9, run(1));
    take_one(&mut pool, 2);
    pool.ask(1, bury(2, None)).unwrap();
    pool.end_session(2);
    let ticket = take_one(&mut pool, 3);
    pool.ask(3, report(ticket.token, 1)).unwrap();
    assert_eq!(failures(&pool, call), []);
}

#[test]
fn tasks_that_must_not_run_twice_are_lost_with_their_worker() {
    let mut pool = with_workers(&[2, 3]);
    let call = pool.call(9, run(10));
    let token = take_one(&mut pool, 2).token;
    pool.ask(2, report(token, 2)).unwrap();
    pool.ask(1, bury(2, Some((token, 4, true)))).unwrap();
    // 2 and 3 were executed, 4 was being executed, the others were not started.
    let rest = take_one(&mut pool, 3);
    assert_eq!((range(&rest), rest.careful), (5..10, false));
    pool.ask(3, report(rest.token, 5)).unwrap();
    let lost = PoolFailureKind::WorkerLost;
    assert_eq!(failures(&pool, call), [(2..4, lost), (4..5, lost)]);
}

#[test]
fn a_task_that_ends_its_workers_is_isolated_and_given_up() {
    let mut pool = with_workers(&[2, 3, 4, 5]);
    let call = pool.call(9, idempotent(10));
    let first = take_one(&mut pool, 2);
    pool.ask(1, bury(2, Some((first.token, 0, false)))).unwrap();
    let second = take_one(&mut pool, 3);
    assert_eq!((range(&second), second.careful), (0..10, true));
    pool.ask(1, bury(3, Some((second.token, 6, true)))).unwrap();
    // The others are not to blame.
    for (expected, careful) in [(0..6, false), (6..7, true), (7..10, false)] {
        let ticket = take_one(&mut pool, 4);
        assert_eq!((range(&ticket), ticket.careful), (expected.clone(), careful));
        if careful {
            pool.ask(1, bury(4, Some((ticket.token, 6, true)))).unwrap();
            pool.ask(4, enlist(4)).unwrap();
        } else {
            let count = expected.end - expected.start;
            pool.ask(4, report(ticket.token, count)).unwrap();
        }
    }
    assert_eq!(failures(&pool, call), [(6..7, PoolFailureKind::Poisonous)]);
}

/// Its last worker had executed it and was lost before it had reported: then it could end as many again.
#[test]
fn an_isolated_task_keeps_the_number_of_workers_that_it_has_ended() {
    let mut pool = with_workers(&[2, 3, 4, 5]);
    let call = pool.call(9, Op::Run(run_of(1, 2)));
    let other = pool.call(9, idempotent(1));
    let (first, _) = (take_one(&mut pool, 2), take_one(&mut pool, 2));
    pool.ask(1, bury(2, Some((first.token, 0, true)))).unwrap();
    take_one(&mut pool, 3);
    let later = take_one(&mut pool, 3);
    pool.ask(1, bury(3, Some((later.token, 0, true)))).unwrap();
    let third = take_one(&mut pool, 4);
    assert!(third.careful);
    pool.ask(1, bury(4, Some((third.token, 0, true)))).unwrap();
    assert_eq!(failures(&pool, call), [(0..1, PoolFailureKind::Poisonous)]);
    let ticket = take_one(&mut pool, 5);
    pool.ask(5, report(ticket.token, 1)).unwrap();
    assert_eq!(failures(&pool, other), []);
}

#[test]
fn without_a_guardian_a_lost_worker_is_decided_at_once() {
    let mut pool = Fixture::new(State::default());
    pool.ask(2, enlist(2)).unwrap();
    let call = pool.call(9, run(3));
    take_one(&mut pool, 2);
    pool.end_session(2);
    assert_eq!(failures(&pool, call), [(0..3, PoolFailureKind::WorkerLost)]);
}

#[test]
fn a_guardian_hears_of_a_worker_that_is_lost_and_may_not_know() {
    let mut pool = with_workers(&[2, 3]);
    let watches = [2, 3].map(|worker| pool.call(1, watch(worker)));
    let call = pool.call(9, run(1));
    take_one(&mut pool, 2);
    pool.end_session(2);
    assert_eq!(pool.told(watches[0]), Some(Ok(reply::Result::Flag(true))));
    assert_eq!(pool.ask(1, watch(2)), Ok(reply::Result::Flag(true)));
    assert_eq!(pool.told(call), None);
    pool.ask(1, bury(2, None)).unwrap();
    assert_eq!(pool.ask(1, watch(2)), Ok(reply::Result::Flag(false)));
    // Of another's worker nobody hears anything.
    assert_eq!(pool.ask(9, watch(3)), Ok(reply::Result::Flag(false)));
    pool.ask(1, bury(3, None)).unwrap();
    assert_eq!(pool.told(watches[1]), Some(Ok(reply::Result::Flag(false))));
}

#[test]
fn a_guardian_that_is_lost_leaves_nothing_undecided() {
    let mut pool = with_workers(&[2, 3]);
    let calls = [pool.call(9, run(1)), pool.call(9, run(1))];
    take_one(&mut pool, 2);
    let ticket = take_one(&mut pool, 3);
    pool.end_session(2);
    pool.end_session(1);
    assert_eq!(failures(&pool, calls[0]), [(0..1, PoolFailureKind::WorkerLost)]);
    // The other worker goes on.
    pool.ask(3, report(ticket.token, 1)).unwrap();
    assert_eq!(failures(&pool, calls[1]), []);
}

/// A task that ends its worker is quicker than the acknowledgement of its ticket: it was executed again, and
/// ended the next worker.
#[test]
fn a_ticket_that_was_not_acknowledged_may_have_been_started() {
    let mut pool = with_workers(&[2, 3]);
    let run = pool.call(9, run(2));
    let taken = pool.call(2, take(1));
    let [ticket] = <[_; 1]>::try_from(tickets(pool.told(taken).unwrap().unwrap())).unwrap();
    pool.end_session(2);
    let waiting = pool.call(3, take(1));
    assert_eq!(pool.told(waiting), None);
    pool.ask(1, bury(2, Some((ticket.token, 0, true)))).unwrap();
    let [rest] = <[_; 1]>::try_from(tickets(pool.told(waiting).unwrap().unwrap())).unwrap();
    assert_eq!(range(&rest), 1..2);
    pool.ask(3, report(rest.token, 1)).unwrap();
    assert_eq!(failures(&pool, run), [(0..1, PoolFailureKind::WorkerLost)]);
}

#[test]
fn nobody_knows_what_a_worker_without_a_guardian_has_seen() {
    let mut pool = Fixture::new(State::default());
    pool.ask(2, enlist(2)).unwrap();
    let call = pool.call(9, run(3));
    pool.call(2, take(1));
    pool.end_session(2);
    assert_eq!(failures(&pool, call), [(0..3, PoolFailureKind::WorkerLost)]);
}

#[test]
fn a_run_goes_with_its_call_and_its_session() {
    let mut pool = with_workers(&[2]);
    let (first, _second) = (pool.call(9, run(5)), pool.call(9, run(5)));
    let token = take_one(&mut pool, 2).token;
    pool.cancel(first);
    assert_eq!(pool.lost, [(2, token)]);
    assert!(!pool.object.holds(token));
    pool.end_session(9);
    pool.ask(1, CLOSE).unwrap();
    assert_eq!(pool.ask(2, take(1)), Err(Reason::PoolClosed));
    assert_eq!(pool.object.run_bytes, 0);
}

#[test]
fn what_is_not_done_in_time_is_given_up() {
    let mut pool = with_workers(&[2]);
    let call = pool.call(9, run(5));
    let token = take_one(&mut pool, 2).token;
    pool.ask(2, report(token, 2)).unwrap();
    pool.expire(call);
    assert_eq!(failures(&pool, call), [(2..5, PoolFailureKind::TimedOut)]);
    assert_eq!(pool.lost, [(2, token)]);
}

#[test]
fn a_closed_pool_finishes_what_it_has() {
    let mut pool = with_workers(&[2]);
    let call = pool.call(9, run(1));
    // Nobody would end it: a manager that has started again has an open pool in its place.
    assert_eq!(pool.ask(9, JOIN), Err(Reason::InvalidArgument));
    pool.ask(1, CLOSE).unwrap();
    let joined = pool.call(9, JOIN);
    assert_eq!(pool.ask(9, run(1)), Err(Reason::PoolClosed));
    let ticket = take_one(&mut pool, 2);
    let idle = pool.call(2, take(1));
    assert_eq!((pool.told(joined), pool.told(idle)), (None, None));
    pool.ask(2, report(ticket.token, 1)).unwrap();
    assert_eq!(failures(&pool, call), []);
    assert_eq!(pool.told(joined), Some(Ok(reply::Result::Flag(true))));
    assert_eq!(pool.told(idle), Some(Err(Reason::PoolClosed)));
}

/// A closed pool whose workers end after some tasks was never done: no new worker was let in.
#[test]
fn a_closed_pool_has_new_workers_as_long_as_it_has_runs() {
    let mut pool = with_workers(&[2]);
    let call = pool.call(9, run(1));
    pool.ask(1, CLOSE).unwrap();
    pool.ask(1, bury(2, None)).unwrap();
    pool.ask(1, Op::Guard(badge(3))).unwrap();
    pool.ask(3, enlist(3)).unwrap();
    let ticket = take_one(&mut pool, 3);
    pool.ask(3, report(ticket.token, 1)).unwrap();
    assert_eq!(failures(&pool, call), []);
    assert_eq!(pool.ask(1, Op::Guard(badge(4))), Err(Reason::PoolClosed));
}

#[test]
fn terminating_it_refuses_every_run() {
    let mut pool = with_workers(&[2]);
    let calls = [pool.call(9, run(1)), pool.call(9, run(1))];
    let token = take_one(&mut pool, 2).token;
    pool.ask(1, TERMINATE).unwrap();
    for call in calls {
        assert_eq!(pool.refusal(call).reason(), Reason::PoolClosed);
    }
    assert_eq!(pool.lost, [(2, token)]);
}

#[test]
fn three_failed_starts_break_it() {
    let mut pool = with_workers(&[]);
    let call = pool.call(9, run(1));
    let fails = || {
        let failure = PoolFailure { message: "no disk".into(), ..PoolFailure::default() };
        Op::Enlist(PoolEnlist { failure: Some(failure), ..PoolEnlist::default() })
    };
    pool.ask(2, fails()).unwrap();
    // One that somebody has killed does not count as one that cannot start.
    for _ in 0..5 {
        pool.ask(1, Op::Guard(badge(3))).unwrap();
        pool.ask(1, bury(3, None)).unwrap();
    }
    pool.ask(2, fails()).unwrap();
    assert_eq!(pool.told(call), None);
    pool.ask(2, fails()).unwrap();
    let refusal = pool.refusal(call);
    assert_eq!(refusal.reason(), Reason::PoolBroken);
    assert!(refusal.message.contains("no disk"), "{refusal}");
    assert_eq!(pool.ask(9, run(1)), Err(Reason::PoolBroken));
}

#[test]
fn long_results_are_handed_over_in_parts() {
    let mut pool = with_workers(&[2]);
    let call = pool.call(9, run(3));
    let ticket = take_one(&mut pool, 2);
    let long = |token| {
        reports(PoolReport { token, count: 1, results: value(1 << 20), ..PoolReport::default() })
    };
    pool.ask(2, long(ticket.token)).unwrap();
    let Some(Ok(reply::Result::Results(results))) = pool.told(call) else { panic!() };
    assert_eq!((results.segments.len(), results.run), (1, 1));
    pool.acknowledge(call);
    assert_eq!(pool.ask(8, Op::Rest(1)), Err(Reason::NotHeld));
    let rest = pool.call(9, Op::Rest(1));
    assert_eq!(pool.told(rest), None);
    pool.ask(2, report(ticket.token, 2)).unwrap();
    assert_eq!(segments(&pool, rest).len(), 1);
    // Whoever does not take the first part has given up the rest.
    let call = pool.call(9, run(3));
    let ticket = take_one(&mut pool, 2);
    pool.ask(2, long(ticket.token)).unwrap();
    pool.cancel(call);
    assert_eq!(pool.ask(9, Op::Rest(2)), Err(Reason::NotHeld));
    assert!(!pool.object.holds(ticket.token));
    // And so has whoever says so, before or after the call for it.
    for calls in [false, true] {
        let call = pool.call(9, run(3));
        let ticket = take_one(&mut pool, 2);
        pool.ask(2, long(ticket.token)).unwrap();
        let Some(Ok(reply::Result::Results(results))) = pool.told(call) else { panic!() };
        pool.acknowledge(call);
        let rest = calls.then(|| pool.call(9, Op::Rest(results.run)));
        pool.ask(8, Op::GiveUp(results.run)).unwrap();
        assert!(pool.object.holds(ticket.token));
        pool.ask(9, Op::GiveUp(results.run)).unwrap();
        assert!(!pool.object.holds(ticket.token));
        assert!(rest.is_none_or(|rest| pool.told(rest) == Some(Err(Reason::NotHeld))));
    }
    pool.ask(9, CLOSE).unwrap();
    assert_eq!(pool.ask(8, JOIN), Ok(reply::Result::Flag(true)));
}

#[test]
fn a_closed_pool_is_joined_once_its_last_results_are_handed_over() {
    let mut pool = with_workers(&[2]);
    let call = pool.call(9, run(2));
    let ticket = take_one(&mut pool, 2);
    let results = value(1 << 20);
    let first = PoolReport { token: ticket.token, count: 1, results, ..PoolReport::default() };
    pool.ask(2, reports(first)).unwrap();
    assert!(pool.told(call).is_some());
    pool.acknowledge(call);
    pool.ask(2, report(ticket.token, 1)).unwrap();
    pool.ask(9, CLOSE).unwrap();
    let (joined, idle) = (pool.call(8, JOIN), pool.call(2, take(1)));
    assert_eq!((pool.told(joined), pool.told(idle)), (None, None));
    let rest = pool.call(9, Op::Rest(1));
    assert_eq!(segments(&pool, rest).len(), 1);
    assert_eq!(pool.told(joined), Some(Ok(reply::Result::Flag(true))));
    assert_eq!(pool.told(idle), Some(Err(Reason::PoolClosed)));
}

#[test]
fn nobody_takes_who_is_no_worker() {
    let mut pool = with_workers(&[2]);
    pool.call(9, run(1));
    assert_eq!(pool.ask(9, take(1)), Err(Reason::NotHeld));
    let idle = with_workers(&[2]);
    assert_eq!(idle.object.status().workers, 1);
}

#[derive(Debug, Clone)]
enum Step {
    Run(u64, u32, u32),
    Take(u64, bool),
    Report(prop::sample::Index, u32, Option<u32>),
    Acknowledge(prop::sample::Index),
    Cancel(prop::sample::Index),
    Expire(prop::sample::Index),
    End(u64),
    Bury(u64, Option<prop::sample::Index>, u32, bool),
    Guard(u64),
    Watch(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        6 => (8..10_u64, 1..6_u32, 0..3_u32).prop_map(|(s, n, attempts)| Step::Run(s, n, attempts)),
        8 => (2..5_u64, any::<bool>()).prop_map(|(worker, wait)| Step::Take(worker, wait)),
        8 => (index(), 0..4_u32, proptest::option::of(0..3_u32)).prop_map(|(i, n, keeps)| Step::Report(i, n, keeps)),
        6 => index().prop_map(Step::Acknowledge),
        2 => index().prop_map(Step::Cancel),
        1 => index().prop_map(Step::Expire),
        1 => (1..10_u64).prop_map(Step::End),
        2 => (2..5_u64, proptest::option::of(index()), 0..6_u32, any::<bool>())
            .prop_map(|(worker, note, at, exact)| Step::Bury(worker, note, at, exact)),
        3 => (2..5_u64).prop_map(Step::Guard),
        2 => (2..5_u64).prop_map(Step::Watch),
    ]
}

/// No task has two tickets, none is forgotten, and nothing is in line that is in somebody's hands.
fn check(pool: &State) {
    let mut tickets = 0;
    let mut waiting = 0;
    for (id, run) in &pool.runs {
        let mut last = 0;
        for (&start, piece) in &run.pieces {
            assert!(start >= last && piece.end > start, "pieces overlap");
            last = piece.end;
            match piece.ticket {
                Some(token) => {
                    tickets += 1;
                    let ticket = pool.tickets[&token];
                    assert_eq!((ticket.run, ticket.start), (*id, start));
                }
                None => waiting += 1,
            }
        }
        assert_eq!(run.call.is_some(), pool.calls.values().any(|there| there == id));
    }
    assert_eq!((tickets, waiting), (pool.tickets.len(), pool.line.len()));
    let run_bytes: usize = pool.runs.values().map(Run::bytes).sum();
    assert_eq!(run_bytes, pool.run_bytes);
    let of_guarded =
        |(badge, guarded): (&Bytes, &Guarded)| block(badge.len()) + block(guarded.name.len());
    let of_badges: usize = pool.guarded.iter().map(of_guarded).sum();
    let of_workers: usize = pool.workers.values().map(Worker::bytes).sum();
    assert_eq!(of_badges + of_workers, pool.worker_bytes);
    assert!(pool.line.is_empty() || pool.takers.is_empty(), "somebody waits for what is there");
    let watched = pool.watchers.calls(|badge| !pool.guarded.contains_key(badge));
    assert_eq!(watched, [], "somebody waits for what cannot come");
}

proptest! {
    /// Whatever happens, each task that is answered has one outcome.
    #[test]
    fn every_task_has_one_outcome(steps in prop::collection::vec(step(), 0..120)) {
        let mut pool = with_workers(&[2, 3, 4]);
        let mut counts = BTreeMap::new();
        for step in steps {
            let tokens: Vec<(u64, Ticket)> =
                pool.object.tickets.iter().map(|(token, ticket)| (*token, *ticket)).collect();
            match step {
                Step::Run(session, count, attempts) => {
                    counts.insert(pool.call(session, Op::Run(run_of(count, attempts))), count);
                }
                Step::Take(worker, true) => drop(pool.call(worker, take(2))),
                Step::Take(worker, false) => drop(pool.attempt(worker, take(2))),
                Step::Report(at, count, keeps) if !tokens.is_empty() => {
                    let (token, ticket) = *at.get(&tokens);
                    let report = PoolReport {
                        token,
                        count,
                        results: value(1),
                        returns_rest: keeps.is_some(),
                        keeps: keeps.unwrap_or_default(),
                        ..PoolReport::default()
                    };
                    pool.ask(ticket.worker, reports(report)).unwrap();
                }
                Step::Acknowledge(at) => {
                    let open = pool.open();
                    if !open.is_empty() {
                        pool.acknowledge(*at.get(&open));
                    }
                }
                Step::Cancel(at) => {
                    let open = pool.open();
                    if !open.is_empty() {
                        pool.cancel(*at.get(&open));
                    }
                }
                Step::Expire(at) => {
                    let parked: Vec<CallId> = pool.parked().iter().copied().collect();
                    if !parked.is_empty() {
                        pool.expire(*at.get(&parked));
                    }
                }
                Step::End(session) => pool.end_session(session),
                Step::Bury(worker, note, index, is_exact) => {
                    let noted = note.filter(|_| !tokens.is_empty()).map(|at| at.get(&tokens).0);
                    let started = noted.map(|token| (token, index, is_exact));
                    pool.ask(1, bury(worker, started)).unwrap();
                }
                Step::Guard(worker) => {
                    let _ = pool.ask(1, Op::Guard(badge(worker)));
                    let _ = pool.ask(worker, enlist(worker));
                }
                Step::Watch(worker) => drop(pool.call(1, watch(worker))),
                Step::Report(..) => {}
            }
            check(&pool.object);
        }
        for (call, count) in counts {
            if let Some(Ok(_)) = pool.told(call) {
                let segments = segments(&pool, call);
                let mut next = 0;
                for segment in &segments {
                    prop_assert_eq!(segment.start, next);
                    next += segment.count;
                }
                prop_assert_eq!(next, count);
            }
        }
        for session in 1..10 {
            pool.end_session(session);
        }
        // What failed last is remembered.
        prop_assert_eq!(pool.object.bytes(), pool.object.failed.bytes());
    }
}

/// A run that the task of this ticket waits for.
fn nested(within: u64) -> Op {
    Op::Run(PoolRun { within, ..run_of(1, 0) })
}

#[test]
fn the_last_of_the_runs_that_all_workers_wait_for_is_refused() {
    let mut pool = with_workers(&[2, 3]);
    let outer = [pool.call(9, run(1)), pool.call(9, run(1))];
    let (first, second) = (take_one(&mut pool, 2), take_one(&mut pool, 3));
    let inner = pool.call(2, nested(first.token));
    assert_eq!(pool.told(inner), None);
    let last = pool.call(3, nested(second.token));
    let refusal = pool.refusal(last);
    assert_eq!(refusal.reason(), Reason::PoolDeadlock);
    assert!(refusal.message.contains("square waits for square"), "{}", refusal.message);
    // Its task fails for it, and the worker executes what the other one waits for.
    pool.ask(3, report(second.token, 1)).unwrap();
    let ticket = take_one(&mut pool, 3);
    pool.ask(3, report(ticket.token, 1)).unwrap();
    assert_eq!(segments(&pool, inner).len(), 1);
    pool.ask(2, report(first.token, 1)).unwrap();
    assert!(outer.into_iter().all(|call| pool.told(call).is_some()));
}

#[test]
fn what_a_blocked_worker_gives_back_ends_in_a_deadlock() {
    let mut pool = with_workers(&[2]);
    pool.call(9, run(1));
    let outer = take_one(&mut pool, 2);
    // It takes ahead what it waits for itself, and gives it back, as it does not come to it.
    let ahead = pool.call(2, take(1));
    let inner = pool.call(2, nested(outer.token));
    assert_eq!(pool.told(inner), None);
    let [ticket] = <[_; 1]>::try_from(tickets(pool.told(ahead).unwrap().unwrap())).unwrap();
    let returned = PoolReport { token: ticket.token, returns_rest: true, ..PoolReport::default() };
    pool.acknowledge(ahead);
    pool.ask(2, reports(returned)).unwrap();
    assert_eq!(pool.told(inner), Some(Err(Reason::PoolDeadlock)));
    // Or it does not even look at it.
    let ahead = pool.call(2, take(1));
    let inner = pool.call(2, nested(outer.token));
    assert!(pool.told(ahead).is_some() && pool.told(inner).is_none());
    pool.cancel(ahead);
    assert_eq!(pool.told(inner), Some(Err(Reason::PoolDeadlock)));
}

#[test]
fn there_is_no_deadlock_while_a_worker_is_about_to_come() {
    let mut pool = with_workers(&[2]);
    pool.ask(1, Op::Guard(badge(3))).unwrap();
    pool.call(9, run(1));
    let outer = take_one(&mut pool, 2);
    let inner = pool.call(2, nested(outer.token));
    assert_eq!(pool.told(inner), None);
    pool.ask(3, enlist(3)).unwrap();
    let ticket = take_one(&mut pool, 3);
    pool.ask(3, report(ticket.token, 1)).unwrap();
    assert_eq!(segments(&pool, inner).len(), 1);
}

#[test]
fn a_run_that_no_task_waits_for_is_no_deadlock() {
    let mut pool = with_workers(&[2]);
    pool.call(9, run(1));
    let outer = take_one(&mut pool, 2);
    // Submitted by a task that goes on, and by somebody who is no worker.
    let calls = [pool.call(2, run(1)), pool.call(9, nested(outer.token))];
    assert!(calls.into_iter().all(|call| pool.told(call).is_none()));
}

#[test]
fn a_start_that_is_called_off_did_not_fail() {
    let mut pool = with_workers(&[]);
    for _ in 0..5 {
        pool.ask(1, Op::Guard(badge(2))).unwrap();
        pool.ask(1, Op::Bury(PoolBury { badge: badge(2), ..PoolBury::default() })).unwrap();
    }
    pool.ask(1, Op::Guard(badge(2))).unwrap();
    pool.ask(2, enlist(2)).unwrap();
}

fn attend(name: &str, capacity: u32) -> Op {
    Op::Attend(PoolAttend { name: name.into(), capacity, ..PoolAttend::default() })
}

/// A host that was there in these earlier starts of the manager, with these others.
fn rejoin(name: &str, past: &[(u64, &[&str])]) -> Op {
    let past = past.iter().map(|(server, others)| PoolPast {
        server: *server,
        others: others.iter().map(|name| (*name).to_owned()).collect(),
    });
    Op::Attend(PoolAttend { name: name.into(), past: past.collect(), ..PoolAttend::default() })
}

fn orders(told: Told) -> PoolOrders {
    let Ok(reply::Result::PoolOrders(orders)) = told else { panic!("{told:?} are no orders") };
    *orders
}

/// What each host is to do, as it hears it when it carries out the orders before.
fn obey(pool: &mut Fixture<State>, hosts: &[(u64, &str)]) -> Vec<(u32, bool)> {
    // Twice: that one has heard of another is known only then.
    for _ in 0..2 {
        for &(session, name) in hosts {
            let seen = orders(pool.ask(session, attend(name, 0))).number;
            let attend = PoolAttend { name: name.into(), seen, ..PoolAttend::default() };
            pool.ask(session, Op::Attend(attend)).unwrap();
        }
    }
    let told = hosts.iter().map(|&(session, name)| orders(pool.ask(session, attend(name, 0))));
    told.map(|orders| (orders.workers, orders.drain)).collect()
}

#[test]
fn a_host_hears_of_others_and_of_its_share() {
    let mut pool = Fixture::new(State::default());
    let first = orders(pool.ask(1, attend("a", 4)));
    assert_eq!((first.workers, first.drain, &first.hosts[..]), (4, false, &["a".to_owned()][..]));
    let news = pool.call(1, Op::Orders(first.number));
    assert_eq!(pool.told(news), None);
    orders(pool.ask(2, attend("b", 2)));
    assert_eq!(pool.told(news), Some(Ok(reply::Result::Flag(true))));
    assert_eq!(orders(pool.ask(1, attend("a", 4))).hosts, ["a", "b"]);
    assert_eq!(pool.ask(3, attend("a", 1)), Err(Reason::AlreadyExists));
    assert_eq!(pool.ask(1, attend("c", 1)), Err(Reason::InvalidArgument));
    assert_eq!(pool.ask(3, Op::Orders(0)), Err(Reason::NotHeld));
    for (workers, shares) in [(7, [5, 2]), (3, [2, 1]), (1, [1, 0]), (0, [0, 0]), (60, [40, 20])] {
        pool.ask(9, Op::Resize(PoolResize { workers, host: String::new() })).unwrap();
        let told = obey(&mut pool, &[(1, "a"), (2, "b")]);
        assert_eq!(told, [(shares[0], false), (shares[1], false)], "{workers}");
    }
    pool.ask(9, Op::Resize(PoolResize { workers: 3, host: "b".into() })).unwrap();
    pool.ask(9, Op::Drain("a".into())).unwrap();
    assert_eq!(obey(&mut pool, &[(1, "a"), (2, "b")]), [(40, true), (3, false)]);
    let unknown = Op::Resize(PoolResize { workers: 3, host: "z".into() });
    assert_eq!(pool.ask(9, unknown), Err(Reason::InvalidArgument));
    // Its name is free when its session is over.
    pool.end_session(1);
    orders(pool.ask(3, attend("a", 1)));
}

#[test]
fn workers_of_a_drained_host_finish_and_leave() {
    let mut pool = with_workers(&[2, 3]);
    pool.ask(8, Op::Guard(badge(4))).unwrap();
    pool.ask(4, enlist(4)).unwrap();
    pool.ask(1, attend("a", 2)).unwrap();
    pool.ask(8, attend("b", 1)).unwrap();
    obey(&mut pool, &[(1, "a"), (8, "b")]);
    let run = pool.call(9, run(2));
    let ticket = take_one(&mut pool, 2);
    let waits = pool.call(3, take(1));
    pool.ask(9, Op::Drain("a".into())).unwrap();
    assert_eq!(pool.told(waits), Some(Err(Reason::PoolClosed)));
    assert_eq!(pool.ask(2, take(1)), Err(Reason::PoolClosed));
    pool.ask(2, report(ticket.token, 2)).unwrap();
    assert_eq!(segments(&pool, run).len(), 1);
    let other = pool.call(4, take(1));
    assert_eq!(pool.told(other), None);
    // One worker alone, and only its guardian says so.
    pool.ask(1, Op::Retire(badge(4))).unwrap();
    assert_eq!(pool.told(other), None);
    pool.ask(8, Op::Retire(badge(4))).unwrap();
    assert_eq!(pool.told(other), Some(Err(Reason::PoolClosed)));
}

/// A run that was submitted to these earlier starts of the manager.
fn again(starts: &[u64]) -> Op {
    Op::Run(PoolRun { again: starts.to_vec(), ..run_of(1, 3) })
}

#[test]
fn what_may_be_executed_since_an_earlier_start_waits_until_all_its_hosts_are_back() {
    let mut pool = with_workers(&[2]);
    pool.call(9, again(&[1]));
    let tried = pool.attempt(2, take(1));
    assert!(matches!(pool.told(tried), Some(Ok(reply::Result::Absent(_)))));
    pool.call(9, run(1));
    // What is new does not wait.
    assert_eq!(range(&take_one(&mut pool, 2)), 0..1);
    let waits = pool.call(2, take(1));
    pool.ask(7, attend("new", 1)).unwrap();
    assert_eq!(pool.told(waits), None);
    pool.ask(1, rejoin("a", &[(1, &["b", "new"])])).unwrap();
    assert_eq!(pool.told(waits), None);
    obey(&mut pool, &[(1, "a"), (7, "new")]);
    assert_eq!(pool.told(waits), None);
    pool.ask(8, rejoin("b", &[(1, &["a"])])).unwrap();
    obey(&mut pool, &[(1, "a"), (7, "new"), (8, "b")]);
    assert_eq!(tickets(pool.told(waits).unwrap().unwrap()).len(), 1);
    // Later ones find nobody who could have it.
    let later = pool.call(9, again(&[1]));
    take_one(&mut pool, 2);
    assert_eq!(pool.told(later), None);
}

#[test]
fn what_may_be_executed_since_an_earlier_start_waits_for_no_longer_than_the_longest_lease() {
    let mut pool = with_workers(&[2]);
    pool.call(9, again(&[1]));
    let waits = pool.call(2, take(1));
    pool.cancel(waits);
    pool.is_settled = true;
    take_one(&mut pool, 2);
}

#[test]
fn each_earlier_start_has_hosts_of_its_own() {
    let mut pool = with_workers(&[2]);
    pool.call(9, again(&[1, 2]));
    let waits = pool.call(2, take(1));
    // It was not there in the first one, and knows nothing of its hosts.
    pool.ask(1, rejoin("c", &[(2, &[])])).unwrap();
    assert_eq!(pool.told(waits), None);
    let once = pool.call(9, again(&[2]));
    assert_eq!(tickets(pool.told(waits).unwrap().unwrap()).len(), 1);
    assert_eq!(pool.told(once), None);
    let waits = pool.call(2, take(1));
    pool.ask(7, rejoin("b", &[(1, &["a"]), (2, &["c"])])).unwrap();
    obey(&mut pool, &[(1, "c"), (7, "b")]);
    assert_eq!(pool.told(waits), None);
    pool.ask(8, rejoin("a", &[(1, &["b"])])).unwrap();
    obey(&mut pool, &[(1, "c"), (7, "b"), (8, "a")]);
    assert_eq!(tickets(pool.told(waits).unwrap().unwrap()).len(), 1);
}

#[test]
fn workers_whose_host_is_lost_finish_what_they_have_and_hosts_know_of_them() {
    let mut pool = with_workers(&[2, 3]);
    pool.ask(1, attend("a", 2)).unwrap();
    pool.ask(8, attend("b", 1)).unwrap();
    obey(&mut pool, &[(1, "a"), (8, "b")]);
    let run = pool.call(9, run(1));
    let ticket = take_one(&mut pool, 2);
    let waits = pool.call(3, take(1));
    pool.end_session(1);
    assert_eq!(pool.told(waits), Some(Err(Reason::PoolClosed)));
    assert_eq!(pool.ask(2, take(1)), Err(Reason::PoolClosed));
    assert_eq!(orders(pool.ask(7, attend("c", 1))).hosts, ["a", "b", "c"]);
    pool.ask(2, report(ticket.token, 1)).unwrap();
    assert_eq!(segments(&pool, run).len(), 1);
    pool.end_session(2);
    pool.end_session(3);
    assert_eq!(orders(pool.ask(8, attend("b", 1))).hosts, ["b", "c"]);
}

#[test]
fn a_worker_that_was_announced_to_an_earlier_start_is_none() {
    let mut pool = with_workers(&[2]);
    let late = |worker| {
        let badge = badge(worker);
        Op::Enlist(PoolEnlist { badge, announced: true, ..PoolEnlist::default() })
    };
    assert_eq!(pool.ask(3, late(3)), Err(Reason::NotHeld));
    pool.ask(1, Op::Guard(badge(3))).unwrap();
    pool.ask(3, late(3)).unwrap();
}

#[test]
fn a_host_of_which_not_all_have_heard_is_handed_nothing() {
    let mut pool = with_workers(&[2]);
    pool.ask(1, attend("a", 1)).unwrap();
    pool.ask(8, attend("b", 1)).unwrap();
    pool.ask(8, Op::Guard(badge(4))).unwrap();
    pool.ask(4, enlist(4)).unwrap();
    pool.call(9, run(1));
    let waits = pool.call(4, take(1));
    assert_eq!(pool.told(waits), None);
    // Nobody keeps back what the others may have.
    take_one(&mut pool, 2);
    pool.call(9, run(1));
    assert_eq!(pool.told(waits), None);
    obey(&mut pool, &[(1, "a")]);
    assert_eq!(tickets(pool.told(waits).unwrap().unwrap()).len(), 1);
}

#[test]
fn tasks_are_listed_with_their_hosts_and_failures_are_remembered() {
    let mut pool = with_workers(&[2]);
    pool.ask(1, attend("a", 1)).unwrap();
    pool.call(9, run(3));
    pool.call(9, run(1));
    let ticket = take_one(&mut pool, 2);
    let list = |pool: &mut Fixture<State>, failed, after| match pool
        .ask(9, Op::Tasks(PoolTasksFrom { failed, after }))
    {
        Ok(reply::Result::PoolTasks(tasks)) => tasks.tasks,
        other => panic!("{other:?}"),
    };
    let tasks = list(&mut pool, false, None);
    let all: Vec<_> = tasks.iter().map(|t| (t.run, t.count, &*t.worker, &*t.host)).collect();
    assert_eq!(all, [(1, 3, "w2", "a"), (2, 1, "", "")]);
    assert_eq!(list(&mut pool, false, tasks[0].place).len(), 1);
    let failure = PoolFailure { index: 1, message: "x".repeat(3000), ..PoolFailure::default() };
    let (token, results) = (ticket.token, value(2));
    let failed =
        PoolReport { token, count: 3, results, failures: vec![failure], ..PoolReport::default() };
    pool.ask(2, reports(failed)).unwrap();
    let failed = list(&mut pool, true, None);
    assert_eq!((failed.len(), &*failed[0].host, failed[0].start), (1, "a", 1));
    assert!(failed[0].failure.as_ref().unwrap().message.len() <= 1024);
    // Also of one that is lost.
    let lost = take_one(&mut pool, 2);
    pool.end_session(2);
    pool.ask(1, bury(2, Some((lost.token, 0, true)))).unwrap();
    let last = list(&mut pool, true, failed[0].place);
    assert_eq!((&*last[0].worker, &*last[0].host), ("w2", "a"));
    assert!(list(&mut pool, true, last[0].place).is_empty());
    let Ok(reply::Result::PoolStatus(status)) = pool.ask(9, Op::Status(Empty {})) else { panic!() };
    assert_eq!((status.done, status.failed, status.held), (4, 2, 0));
    let host = &status.hosts[0];
    assert_eq!((host.workers, host.running, host.wanted), (0, 0, 1));
}

/// A worker says that its program does not have the task.
fn unknown(ticket: &PoolTicket) -> Op {
    let kind = PoolFailureKind::UnknownTask.into();
    let (index, count) = (ticket.start, ticket.count);
    let failure = PoolFailure { index, count, kind, ..PoolFailure::default() };
    let (token, failures) = (ticket.token, vec![failure]);
    reports(PoolReport { token, count, failures, ..PoolReport::default() })
}

/// Workers 2 and 3 of session 1, and worker 4 of session 8.
fn with_two_guardians() -> Fixture<State> {
    let mut pool = with_workers(&[2, 3]);
    pool.ask(8, Op::Guard(badge(4))).unwrap();
    pool.ask(4, enlist(4)).unwrap();
    pool
}

#[test]
fn a_task_that_one_program_does_not_have_goes_to_another() {
    let mut pool = with_two_guardians();
    let call = pool.call(9, run(2));
    let ticket = take_one(&mut pool, 2);
    let waits = pool.call(3, take(1));
    pool.ask(2, unknown(&ticket)).unwrap();
    // Nor to another worker of the same program.
    assert_eq!((pool.told(call), pool.told(waits)), (None, None));
    let tried = pool.attempt(2, take(1));
    assert!(matches!(pool.told(tried), Some(Ok(reply::Result::Absent(_)))));
    // Which gets what it may have.
    pool.call(9, run(1));
    assert_eq!(tickets(pool.told(waits).unwrap().unwrap()).len(), 1);
    let ticket = take_one(&mut pool, 4);
    assert_eq!(range(&ticket), 0..2);
    pool.ask(4, report(ticket.token, 2)).unwrap();
    assert_eq!(failures(&pool, call), []);
    assert!(pool.object.unfit.is_empty());
}

#[test]
fn a_task_that_no_program_has_fails_at_once() {
    let mut pool = with_two_guardians();
    let call = pool.call(9, run(2));
    for worker in [2, 4] {
        let ticket = take_one(&mut pool, worker);
        pool.ask(worker, unknown(&ticket)).unwrap();
    }
    assert_eq!(failures(&pool, call), [(0..2, PoolFailureKind::UnknownTask)]);
}

#[test]
fn a_task_fails_when_those_have_left_whose_program_has_it() {
    let mut pool = with_two_guardians();
    let call = pool.call(9, run(2));
    let ticket = take_one(&mut pool, 2);
    pool.ask(2, unknown(&ticket)).unwrap();
    pool.end_session(4);
    // Its guardian may start another one.
    pool.ask(8, Op::Guard(badge(5))).unwrap();
    pool.ask(8, bury(4, None)).unwrap();
    assert_eq!(pool.told(call), None);
    pool.end_session(8);
    assert_eq!(failures(&pool, call), [(0..2, PoolFailureKind::UnknownTask)]);
    // Where nobody is at all it waits for whoever comes.
    let call = pool.call(9, run(1));
    let ticket = take_one(&mut pool, 2);
    pool.ask(2, unknown(&ticket)).unwrap();
    assert_eq!(failures(&pool, call), [(0..1, PoolFailureKind::UnknownTask)]);
}

#[test]
fn an_agent_whose_workers_do_not_come_breaks_nothing() {
    let mut pool = Fixture::new(State::default());
    let trouble = "no such program".repeat(100);
    let is_agent = true;
    let attend =
        PoolAttend { name: "a".into(), is_agent, trouble, capacity: 1, ..PoolAttend::default() };
    pool.ask(1, Op::Attend(attend)).unwrap();
    let call = pool.call(9, run(1));
    for _ in 0..40 {
        pool.ask(1, Op::Guard(badge(2))).unwrap();
        pool.ask(1, bury(2, None)).unwrap();
        pool.ask(1, Op::Guard(badge(2))).unwrap();
        let death = Some(PoolDeath::default());
        pool.ask(1, Op::Bury(PoolBury { badge: badge(2), death, ..PoolBury::default() })).unwrap();
    }
    assert_eq!(pool.told(call), None);
    let Ok(reply::Result::PoolStatus(status)) = pool.ask(9, Op::Status(Empty {})) else { panic!() };
    assert_eq!((&*status.broken, status.hosts[0].trouble.len()), ("", 1024));
}

#[test]
fn a_host_drains_itself_and_not_whoever_has_its_name() {
    let mut pool = with_workers(&[2]);
    let drains = |name: &str| {
        Op::Attend(PoolAttend { name: name.into(), drains: true, ..PoolAttend::default() })
    };
    pool.ask(1, attend("a", 1)).unwrap();
    assert_eq!(pool.ask(7, drains("a")), Err(Reason::AlreadyExists));
    let waits = pool.call(2, take(1));
    assert_eq!(pool.told(waits), None);
    assert!(orders(pool.ask(1, drains("a"))).drain);
    assert_eq!(pool.told(waits), Some(Err(Reason::PoolClosed)));
    // It says so again each time, and nobody hears of it again.
    let number = orders(pool.ask(1, drains("a"))).number;
    assert_eq!(orders(pool.ask(1, drains("a"))).number, number);
}

fn status(pool: &mut Fixture<State>) -> PoolStatus {
    match pool.ask(9, Op::Status(Empty {})) {
        Ok(reply::Result::PoolStatus(status)) => *status,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_task_that_is_lost_with_its_host_has_the_name_of_that() {
    let mut pool = with_workers(&[2]);
    pool.ask(1, attend("a", 1)).unwrap();
    pool.call(9, run(1));
    take_one(&mut pool, 2);
    // The agent's session is over first.
    pool.end_session(1);
    pool.end_session(2);
    let from = PoolTasksFrom { failed: true, after: None };
    let Ok(reply::Result::PoolTasks(failed)) = pool.ask(9, Op::Tasks(from)) else { panic!() };
    assert_eq!((&*failed.tasks[0].host, &*failed.tasks[0].worker), ("a", "w2"));
}

#[test]
fn hosts_that_have_not_come_back_are_named() {
    let mut pool = with_workers(&[2]);
    pool.ask(1, rejoin("a", &[(7, &["b", "c"])])).unwrap();
    assert_eq!(status(&mut pool).missing, ["b", "c"]);
    pool.ask(8, rejoin("b", &[(7, &["a"])])).unwrap();
    assert_eq!(status(&mut pool).missing, ["c"]);
}
