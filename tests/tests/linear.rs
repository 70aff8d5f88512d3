//! The linearizability checker: what it lets pass and what it does not.

use std::time::Duration;

use mp_manager_core::v1::semaphore_op;
use mp_manager_core::{
    Call, CallId, Limits, Object, Outcome, Reason, Tokens, Turn,
    v1::{
        Empty, Kind, Parameters, QueueParameters, dict_op, list_op, lock_op, parameters, queue_op,
        reply, request,
    },
};
use mp_manager_tests::linear::{
    Action, Budget, History, Operation, Returned, Told, Verdict,
    ops::{
        self, dict, done, entry, grant_or_absent, initial, item_or_absent, key, list, lock, number,
        permits, put, queue, release_permits, scalar_add, semaphore, value_or_absent,
    },
};
use proptest::{prelude::*, sample::Index};

/// A history under construction; the n-th call is session 1's request n, from 1.
struct Seen(History);

impl Seen {
    fn of(kind: Kind) -> Self {
        Self::with(kind, None)
    }

    fn with(kind: Kind, parameters: Option<Parameters>) -> Self {
        Self(History { object: "object".into(), kind, parameters, operations: Vec::new() })
    }

    fn push(&mut self, start: u64, returned: Option<Returned>, action: Action) {
        let process = self.0.operations.len() as u64;
        self.0.operations.push(Operation { process, start, returned, action });
    }

    fn next(&self) -> CallId {
        CallId { session: 1, seq: 1 + self.0.operations.len() as u64 }
    }

    /// A call from `start` to `at` that was told this.
    fn call(mut self, (start, at): (u64, u64), op: request::Op, told: reply::Result) -> Self {
        let action = Action::Call { id: self.next(), op, lease: None };
        self.push(start, Some(Returned { at, told: Ok(told) }), action);
        self
    }

    /// A call from `start` to `at` that was refused.
    fn refused(mut self, (start, at): (u64, u64), op: request::Op, why: Reason) -> Self {
        let action = Action::Call { id: self.next(), op, lease: None };
        self.push(start, Some(Returned { at, told: Err(why) }), action);
        self
    }

    /// A call that never returned.
    fn unknown(mut self, start: u64, op: request::Op) -> Self {
        let action = Action::Call { id: self.next(), op, lease: None };
        self.push(start, None, action);
        self
    }

    /// What the call with this number took may have gone back.
    fn may_go_back(mut self, start: u64, seq: u64) -> Self {
        self.push(start, None, Action::GiveBack(CallId { session: 1, seq }));
        self
    }

    fn verdict(&self) -> Verdict {
        self.0.check(Budget::default())
    }

    fn passes(self) {
        let verdict = self.verdict();
        assert!(matches!(verdict, Verdict::Linearizable), "{verdict:?}");
    }

    fn fails(self) -> String {
        let Verdict::Violation(violation) = self.verdict() else { panic!("it passed") };
        violation.to_string()
    }
}

fn add(n: u64) -> request::Op {
    ops::add("n", n)
}

fn insert(n: u64) -> request::Op {
    dict(dict_op::Op::Insert(entry("n", n)))
}

fn read() -> request::Op {
    dict(dict_op::Op::Get(key("n")))
}

fn get() -> request::Op {
    queue(queue_op::Op::Get(Empty {}))
}

fn acquire() -> request::Op {
    lock(lock_op::Op::Acquire(Empty {}))
}

fn release(token: u64) -> request::Op {
    lock(lock_op::Op::Release(token))
}

fn value(n: u64) -> reply::Result {
    value_or_absent(Some(n))
}

fn absent() -> reply::Result {
    value_or_absent(None)
}

fn item(item: u64, deliveries: u32) -> reply::Result {
    item_or_absent(Some((item, deliveries)))
}

fn grant(token: u64) -> reply::Result {
    grant_or_absent(Some(token))
}

#[test]
fn a_stale_read_is_found_and_named() {
    let stale = Seen::of(Kind::Dict)
        .call((0, 1), insert(1), absent())
        .call((2, 3), insert(2), value(1))
        .call((4, 5), read(), value(1));
    let why = stale.fails();
    assert!(why.contains("[4 … 5] process 2") && why.contains("would be told"), "{why}");
}

#[test]
fn a_read_beside_a_write_may_see_either() {
    for seen in [absent(), value(1)] {
        Seen::of(Kind::Dict).call((0, 9), insert(1), absent()).call((3, 4), read(), seen).passes();
    }
    // But not first the new and then the old.
    Seen::of(Kind::Dict)
        .call((0, 9), insert(1), absent())
        .call((2, 3), read(), value(1))
        .call((4, 5), read(), absent())
        .fails();
}

#[test]
fn a_lost_update_is_found() {
    let twice = |first| Seen::of(Kind::Dict).call((0, 5), add(1), value(first));
    twice(1).call((1, 6), add(1), value(1)).fails();
    twice(2).call((1, 6), add(1), value(1)).passes();
    let counter = || Seen::with(Kind::Value, Some(initial(7)));
    let add = || scalar_add(1);
    counter().call((0, 5), add(), value(8)).call((1, 6), add(), value(9)).passes();
    counter().call((0, 5), add(), value(8)).call((1, 6), add(), value(8)).fails();
}

#[test]
fn what_nobody_knows_happened_once_or_never() {
    let one = || Seen::of(Kind::Dict).unknown(5, add(1)).call((6, 7), add(1), value(2));
    one().call((8, 9), read(), value(2)).passes();
    one().call((8, 9), read(), value(3)).fails();
    Seen::of(Kind::Dict).unknown(5, add(1)).call((6, 7), read(), absent()).passes();
    // Nor before it began.
    Seen::of(Kind::Dict).unknown(5, add(1)).call((3, 4), read(), value(1)).fails();
    // It may come late.
    Seen::of(Kind::Dict)
        .unknown(1, add(1))
        .call((6, 7), read(), absent())
        .call((8, 9), read(), value(1))
        .passes();
}

#[test]
fn a_refusal_changes_nothing_and_has_to_be_right() {
    let pop = || list(list_op::Op::Pop(-1));
    let push = list(list_op::Op::Push(number(1)));
    let none = Reason::IndexOutOfRange;
    Seen::of(Kind::List).refused((0, 1), pop(), none).call((2, 3), push.clone(), done()).passes();
    Seen::of(Kind::List).call((0, 1), push, done()).refused((2, 3), pop(), none).fails();
}

#[test]
fn a_duplicated_item_is_found() {
    let one = || Seen::of(Kind::Queue).call((0, 1), put(7), done()).call((2, 3), get(), item(7, 1));
    one().call((4, 5), get(), item_or_absent(None)).passes();
    one().call((4, 5), get(), item(7, 1)).fails();
    one().call((4, 5), get(), item(7, 2)).fails();
}

#[test]
fn a_lost_item_is_found() {
    let put = || Seen::of(Kind::Queue).call((0, 1), put(7), done());
    put().call((2, 3), get(), item_or_absent(None)).fails();
    // Somebody who was killed may have got it.
    put().unknown(1, get()).call((2, 3), get(), item_or_absent(None)).passes();
}

#[test]
fn a_reordered_queue_is_found() {
    let two =
        |second| Seen::of(Kind::Queue).call((0, 5), put(1), done()).call(second, put(2), done());
    let out = |seen: Seen| seen.call((20, 21), get(), item(2, 0)).call((22, 23), get(), item(1, 0));
    out(two((6, 9))).fails();
    out(two((4, 9))).passes();
}

/// Nobody was told that it was put in: it may have been once there was room, and not before.
#[test]
fn a_put_that_nobody_heard_of_waits_for_room() {
    let parameters = QueueParameters { maxsize: Some(1), ..QueueParameters::default() };
    let parameters = Parameters { parameters: Some(parameters::Parameters::Queue(parameters)) };
    Seen::with(Kind::Queue, Some(parameters))
        .call((0, 1), put(1), done())
        .unknown(2, put(2))
        .refused((3, 4), put(3), Reason::Full)
        .call((5, 6), get(), item(1, 1))
        .call((7, 8), get(), item(2, 1))
        .passes();
}

#[test]
fn an_item_comes_again_only_if_it_could_come_back() {
    let taken = || Seen::of(Kind::Queue).call((0, 1), put(7), done()).unknown(2, get());
    let again = |seen: Seen, deliveries| seen.call((8, 9), get(), item(7, deliveries));
    again(taken().may_go_back(2, 2), 2).passes();
    again(taken().may_go_back(2, 2), 1).passes();
    again(taken(), 2).fails();
    again(taken().may_go_back(2, 2), 3).fails();
    // Back in its place.
    let second = || taken().may_go_back(2, 2).call((3, 4), put(8), done());
    again(second(), 2).call((10, 11), get(), item(8, 1)).passes();
    second().call((8, 9), get(), item(8, 1)).call((10, 11), get(), item(7, 2)).passes();
    second().call((8, 9), get(), item(8, 2)).fails();
}

#[test]
fn a_lease_is_ended_once() {
    let lease = || queue(queue_op::Op::Lease(Empty {}));
    let ended = |op: fn(u64) -> queue_op::Op, told: Told| {
        let mut seen =
            Seen::of(Kind::Queue).call((0, 1), put(7), done()).call((2, 3), lease(), item(7, 1));
        let (id, lease) = (seen.next(), Some(CallId { session: 1, seq: 2 }));
        let action = Action::Call { id, op: queue(op(0)), lease };
        seen.push(4, Some(Returned { at: 5, told }), action);
        seen
    };
    ended(queue_op::Op::Done, Ok(done())).call((6, 7), get(), item_or_absent(None)).passes();
    ended(queue_op::Op::Done, Ok(done())).call((6, 7), get(), item(7, 2)).fails();
    ended(queue_op::Op::Reject, Ok(done())).call((6, 7), get(), item(7, 2)).passes();
    let lost = || ended(queue_op::Op::Done, Err(Reason::NotLeased));
    lost().call((6, 7), get(), item(7, 2)).fails();
    lost().may_go_back(3, 2).call((6, 7), get(), item(7, 2)).passes();
}

#[test]
fn two_holders_are_found() {
    let held = || Seen::of(Kind::Lock).call((0, 1), acquire(), grant(5));
    held().call((2, 3), acquire(), grant(6)).fails();
    held().call((2, 9), release(5), done()).call((3, 4), acquire(), grant(6)).passes();
    // From when on its holder may have lost it, it may be somebody else's.
    held().may_go_back(3, 1).call((2, 4), acquire(), grant(6)).passes();
    held().may_go_back(5, 1).call((2, 4), acquire(), grant(6)).fails();
    // Whoever has lost it is told so.
    let mut late = held().may_go_back(3, 1).call((2, 4), acquire(), grant(6));
    let action = Action::Call { id: late.next(), op: release(5), lease: None };
    late.push(6, Some(Returned { at: 7, told: Err(Reason::NotHeld) }), action);
    late.passes();
}

#[test]
fn tokens_that_do_not_rise_are_found() {
    let held =
        || Seen::of(Kind::Lock).call((0, 1), acquire(), grant(5)).call((2, 3), release(5), done());
    held().call((4, 5), acquire(), grant(6)).passes();
    held().call((4, 5), acquire(), grant(5)).fails();
    held().call((4, 5), acquire(), grant(4)).fails();
    // Nor is there room for a grant between two that follow one another.
    let between = |token| {
        held()
            .unknown(4, acquire())
            .may_go_back(7, 3)
            .call((5, 6), acquire(), grant_or_absent(None))
            .call((8, 9), acquire(), grant(token))
    };
    between(7).passes();
    between(6).fails();
}

#[test]
fn more_permits_than_there_are_are_found() {
    let acquire = || semaphore(semaphore_op::Op::Acquire(1));
    let two = || {
        Seen::with(Kind::Semaphore, Some(permits(2))).call((0, 9), acquire(), grant(5)).call(
            (0, 9),
            acquire(),
            grant(6),
        )
    };
    two().call((10, 11), acquire(), grant_or_absent(None)).passes();
    two().call((10, 11), acquire(), grant(7)).fails();
    two().call((10, 13), release_permits(5), done()).call((11, 12), acquire(), grant(7)).passes();
}

#[test]
fn a_budget_that_is_used_up_is_no_verdict() {
    let Seen(history) =
        (0..9).fold(Seen::of(Kind::Dict), |seen, n| seen.call((0, 100), add(1), value(9 - n)));
    let budget = Budget { steps: 3, time: Duration::from_secs(100) };
    assert!(matches!(history.check(budget), Verdict::Unknown(_)));
    assert!(matches!(history.check(Budget::default()), Verdict::Linearizable));
}

#[test]
fn a_dict_is_checked_key_by_key() {
    let other = || ops::add("other", 1);
    let seen = Seen::of(Kind::Dict)
        .call((0, 1), add(1), value(1))
        .call((0, 1), other(), value(1))
        .call((2, 3), other(), value(2));
    let keys = seen.0.by_key();
    assert_eq!(keys.iter().map(|key| key.operations.len()).collect::<Vec<_>>(), [1, 2]);
    assert!(keys[1].object.contains("other"), "{}", keys[1].object);
    // What is about all of them is about none.
    let len = dict(dict_op::Op::Len(Empty {}));
    let whole = Seen::of(Kind::Dict).call((0, 1), add(1), value(1)).call(
        (2, 3),
        len,
        reply::Result::Number(1),
    );
    assert_eq!(whole.0.by_key().len(), 1);
}

/// What a random client does.
#[derive(Debug, Clone, Copy)]
enum Step {
    Put,
    Take,
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![3 => Just(Step::Put), 3 => Just(Step::Take), 1 => Just(Step::Look)]
}

/// An operation of this kind; `n` is unique. `held` are the tokens that are.
fn operation(kind: Kind, step: Step, n: u64, held: &mut Vec<u64>) -> request::Op {
    match (kind, step) {
        (Kind::Dict, Step::Put) => add(1 + n % 3),
        (Kind::Dict, Step::Take) => insert(n),
        (Kind::Dict, Step::Look) => read(),
        (Kind::List, Step::Put) => list(list_op::Op::Push(number(n))),
        (Kind::List, Step::Take) => list(list_op::Op::Pop(-1)),
        (Kind::List, Step::Look) => list(list_op::Op::Len(Empty {})),
        (Kind::Queue, Step::Put) => put(n),
        (Kind::Queue, Step::Take) => get(),
        (Kind::Queue, Step::Look) => queue(queue_op::Op::Len(Empty {})),
        (Kind::Semaphore, Step::Take) => semaphore(semaphore_op::Op::Acquire(1)),
        (Kind::Semaphore, Step::Put) if !held.is_empty() => release_permits(held.remove(0)),
        (Kind::Semaphore, _) => semaphore(semaphore_op::Op::Available(Empty {})),
        (_, Step::Take) => acquire(),
        (_, Step::Put) if !held.is_empty() => release(held.remove(0)),
        (_, _) => lock(lock_op::Op::IsLocked(Empty {})),
    }
}

/// The object, which nobody waits in.
struct Run {
    object: Object,
    tokens: Tokens,
}

impl Run {
    fn new(history: &History) -> Self {
        let tokens = Tokens::after(0);
        let parameters = history.parameters.clone();
        let create = |turn: &mut Turn<'_>| Object::create(history.kind, parameters, 0, turn);
        let object = with_turn(&tokens, create).expect("the parameters are good");
        Self { object, tokens }
    }

    fn apply(&mut self, id: CallId, op: request::Op) -> Told {
        let call = Call { id, may_wait: false };
        let applied = with_turn(&self.tokens, |turn| self.object.apply(call, op, turn));
        match applied.map_err(|error| error.reason())? {
            Outcome::Parked => panic!("it does not wait"),
            Outcome::Done(mut answer) => {
                self.object.acknowledge(id);
                if let reply::Result::Delivery(delivery) = &mut answer.result {
                    delivery.ticket = 0;
                }
                Ok(answer.result)
            }
        }
    }
}

fn with_turn<T>(tokens: &Tokens, f: impl FnOnce(&mut Turn<'_>) -> T) -> T {
    let limits = Limits::default();
    f(&mut Turn::new(&limits, tokens, &|_| None))
}

const KINDS: [Kind; 5] = [Kind::Dict, Kind::List, Kind::Queue, Kind::Lock, Kind::Semaphore];

/// A run of one operation after the other, seen by clients whose calls took longer than that: each
/// began and ended so many operations before and after it happened.
fn jittered(kind: Kind, steps: &[(Step, u64, u64)]) -> Seen {
    let parameters = (kind == Kind::Semaphore).then(|| permits(3));
    let mut seen = Seen::with(kind, parameters);
    let mut run = Run::new(&seen.0);
    let mut held = Vec::new();
    for (n, &(step, before, after)) in (1..).zip(steps) {
        let op = operation(kind, step, n, &mut held);
        let id = seen.next();
        let told = run.apply(id, op.clone());
        if let Ok(reply::Result::Grant(grant)) = &told {
            held.push(grant.token);
        }
        let at = 1_000 + 10 * n;
        let returned = Some(Returned { at: at + 10 * after, told });
        seen.push(at - 10 * before, returned, Action::Call { id, op, lease: None });
    }
    seen
}

fn steps(n: usize, jitter: u64) -> impl Strategy<Value = Vec<(Step, u64, u64)>> {
    prop::collection::vec((step(), 0..=jitter, 0..=jitter), 1..n)
}

/// Whether some order explains what was seen: all orders, one after the other.
fn any_order(history: &History, order: &mut Vec<usize>) -> bool {
    let operations = &history.operations;
    if order.len() == operations.len() {
        let mut run = Run::new(history);
        return order.iter().all(|&at| {
            let Action::Call { id, op, .. } = &operations[at].action else { return false };
            let told = operations[at].returned.as_ref().map(|returned| &returned.told);
            Some(&run.apply(*id, op.clone())) == told
        });
    }
    let left: Vec<usize> = (0..operations.len()).filter(|at| !order.contains(at)).collect();
    let end = |at: usize| operations[at].returned.as_ref().map_or(u64::MAX, |returned| returned.at);
    left.iter().any(|&at| {
        if left.iter().any(|&other| end(other) < operations[at].start) {
            return false;
        }
        order.push(at);
        let explains = any_order(history, order);
        order.pop();
        explains
    })
}

/// So many orders, however slow the machine is.
const BUDGET: Budget = Budget { steps: 500_000, time: Duration::from_secs(1000) };

proptest! {
    #[test]
    fn what_happened_in_order_passes_however_long_it_took(
        kind in prop::sample::select(&KINDS[..]), steps in steps(80, 4),
    ) {
        let seen = jittered(kind, &steps);
        prop_assert!(matches!(seen.verdict(), Verdict::Linearizable), "{:?}", seen.verdict());
    }

    #[test]
    fn it_passes_also_if_some_outcomes_are_not_known(
        kind in prop::sample::select(&KINDS[..]), steps in steps(60, 3),
        lost in prop::collection::vec(any::<Index>(), 0..4),
    ) {
        let Seen(mut history) = jittered(kind, &steps);
        for lost in lost {
            let at = lost.index(history.operations.len());
            history.operations[at].returned = None;
        }
        let verdict = history.check(BUDGET);
        prop_assume!(!matches!(verdict, Verdict::Unknown(_)));
        prop_assert!(matches!(verdict, Verdict::Linearizable), "{verdict:?}");
    }

    /// The same sum, item or token twice is never right.
    #[test]
    fn what_was_told_twice_is_found(
        kind in prop::sample::select(&KINDS[2..]), steps in steps(30, 3),
        which in any::<(Index, Index)>(),
    ) {
        let Seen(mut history) = jittered(kind, &steps);
        let taken: Vec<usize> = (0..history.operations.len())
            .filter(|&at| matches!(
                history.operations[at].returned.as_ref().unwrap().told,
                Ok(reply::Result::Delivery(_) | reply::Result::Grant(_))
            ))
            .collect();
        if taken.len() < 2 {
            return Ok(());
        }
        let first = which.0.index(taken.len());
        let other = (first + 1 + which.1.index(taken.len() - 1)) % taken.len();
        let (a, b) = (taken[first], taken[other]);
        history.operations[a].returned.as_mut().unwrap().told =
            history.operations[b].returned.as_ref().unwrap().told.clone();
        let verdict = history.check(BUDGET);
        // Now and then there are too many orders to try.
        prop_assume!(!matches!(verdict, Verdict::Unknown(_)));
        prop_assert!(matches!(verdict, Verdict::Violation(_)), "{verdict:?}");
    }

    #[test]
    fn it_says_what_trying_all_orders_says(
        kind in prop::sample::select(&KINDS[..3]), steps in steps(7, 3),
        swap in prop::option::of(any::<(Index, Index)>()),
    ) {
        let Seen(mut history) = jittered(kind, &steps);
        if let Some((a, b)) = swap {
            let told = |history: &History, at: &Index| {
                at.get(&history.operations).returned.as_ref().unwrap().told.clone()
            };
            let (of_a, of_b) = (told(&history, &a), told(&history, &b));
            let n = history.operations.len();
            history.operations[a.index(n)].returned.as_mut().unwrap().told = of_b;
            history.operations[b.index(n)].returned.as_mut().unwrap().told = of_a;
        }
        let expected = any_order(&history, &mut Vec::new());
        let verdict = history.check(Budget::default());
        prop_assert_eq!(matches!(verdict, Verdict::Linearizable), expected, "{:?}", verdict);
    }
}
