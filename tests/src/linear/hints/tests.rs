//! With hints and without, the search comes to the same verdict.

use std::{collections::BTreeMap, time::Duration};

use mp_manager_core::{
    Call, CallId, Limits, Object, Outcome, Tokens, Turn,
    v1::{Empty, Kind, Parameters, QueueParameters, list_op, parameters, queue_op, reply, request},
};
use proptest::{prelude::*, sample::Index};

use super::Hints;
use crate::linear::{
    Action, Budget, History, Operation, Returned, Told, Verdict,
    ops::{list, number, put, queue},
    search::Search,
};

/// One thing that happens in a queue.
#[derive(Debug, Clone)]
enum Event {
    Put,
    Get,
    Lease,
    /// Of something that is on lease.
    Done(Index),
    Reject(Index),
    /// Something that was taken goes back because its process was lost.
    GoesBack(Index),
}

/// An event, and how much of it is known.
#[derive(Debug, Clone)]
struct Step {
    event: Event,
    /// The call began and ended so much before and after it happened.
    before: u64,
    after: u64,
    is_known: bool,
    /// Whether deliveries say which they are.
    is_numbered: bool,
}

fn steps(known: f64, n: usize) -> impl Strategy<Value = Vec<Step>> {
    let event = prop_oneof![
        6 => Just(Event::Put),
        2 => Just(Event::Get),
        5 => Just(Event::Lease),
        1 => any::<Index>().prop_map(Event::Done),
        2 => any::<Index>().prop_map(Event::Reject),
        2 => any::<Index>().prop_map(Event::GoesBack),
    ];
    let bools = (prop::bool::weighted(known), prop::bool::weighted(0.9));
    let step = (event, 0..25_u64, 0..25_u64, bools).prop_map(
        |(event, before, after, (is_known, is_numbered))| Step {
            event,
            before,
            after,
            is_known,
            is_numbered,
        },
    );
    prop::collection::vec(step, 1..n)
}

/// A queue of two or a stack, and what is seen of it from outside.
struct Run {
    object: Object,
    history: History,
    /// What may go back: taken by these calls, at which time, and whether it is leased.
    out: BTreeMap<CallId, (u64, bool)>,
    tickets: BTreeMap<CallId, u64>,
    now: u64,
    item: u64,
}

impl Run {
    fn new(kind: Kind) -> Self {
        let two = QueueParameters { maxsize: Some(2), ..QueueParameters::default() };
        let parameters = Parameters { parameters: Some(parameters::Parameters::Queue(two)) };
        let parameters = (kind == Kind::Queue).then_some(parameters);
        let create = |turn: &mut Turn<'_>| Object::create(kind, parameters.clone(), 0, turn);
        let object = with_turn(create).unwrap();
        let history = History { object: "object".into(), kind, parameters, operations: Vec::new() };
        let (out, tickets) = Default::default();
        Self { object, history, out, tickets, now: 100, item: 0 }
    }

    fn step(&mut self, step: &Step) {
        self.now += 10;
        let is_queue = self.history.kind == Kind::Queue;
        match &step.event {
            Event::Put => {
                self.item += 1;
                let push = || list(list_op::Op::Push(number(self.item)));
                let op = if is_queue { put(self.item) } else { push() };
                self.call(step, op, None);
            }
            _ if !is_queue => self.call(step, list(list_op::Op::Pop(-1)), None),
            Event::Get => self.call(step, queue(queue_op::Op::Get(Empty {})), None),
            Event::Lease => self.call(step, queue(queue_op::Op::Lease(Empty {})), None),
            Event::Done(which) => self.end(step, which, queue_op::Op::Done),
            Event::Reject(which) => self.end(step, which, queue_op::Op::Reject),
            Event::GoesBack(which) => {
                let out: Vec<_> = self.out.iter().map(|(call, (at, _))| (*call, *at)).collect();
                if out.is_empty() {
                    return;
                }
                let &(call, at) = which.get(&out);
                self.out.remove(&call);
                self.may_go_back(call, at);
                with_turn(|turn| self.object.cancel(call, turn));
            }
        }
    }

    fn end(&mut self, step: &Step, which: &Index, how: fn(u64) -> queue_op::Op) {
        let leases: Vec<_> =
            self.out.iter().filter(|(_, (_, leased))| *leased).map(|(call, _)| *call).collect();
        if leases.is_empty() {
            return;
        }
        let &lease = which.get(&leases);
        let (at, _) = self.out.remove(&lease).unwrap();
        if !step.is_known {
            self.may_go_back(lease, at);
        }
        self.call(step, queue(how(self.tickets[&lease])), Some(lease));
    }

    fn call(&mut self, step: &Step, mut op: request::Op, lease: Option<CallId>) {
        let id = CallId { session: 1, seq: 1 + self.history.operations.len() as u64 };
        let call = Call { id, may_wait: false };
        let applied = with_turn(|turn| self.object.apply(call, op.clone(), turn));
        let told: Told = applied.map_err(|error| error.reason()).map(|outcome| match outcome {
            Outcome::Parked => panic!("it does not wait"),
            Outcome::Done(answer) => answer.result,
        });
        let told = told.map(|result| match result {
            reply::Result::Delivery(mut delivery) => {
                let leased = matches!(step.event, Event::Lease);
                self.tickets.insert(id, delivery.ticket);
                if leased || !step.is_known {
                    self.out.insert(id, (self.now, leased));
                } else {
                    self.object.acknowledge(id);
                }
                delivery.ticket = 0;
                if !step.is_numbered {
                    delivery.deliveries = 0;
                }
                reply::Result::Delivery(delivery)
            }
            result => result,
        });
        if let request::Op::Queue(queue) = &mut op
            && let Some(queue_op::Op::Done(ticket) | queue_op::Op::Reject(ticket)) = &mut queue.op
        {
            *ticket = 0;
        }
        let returned = step.is_known.then_some(Returned { at: self.now + step.after, told });
        let action = Action::Call { id, op, lease };
        let start = self.now - step.before;
        self.history.operations.push(Operation { process: 1, start, returned, action });
    }

    fn may_go_back(&mut self, call: CallId, start: u64) {
        let action = Action::GiveBack(call);
        self.history.operations.push(Operation { process: 1, start, returned: None, action });
    }
}

fn with_turn<T>(f: impl FnOnce(&mut Turn<'_>) -> T) -> T {
    let (limits, tokens) = (Limits::default(), Tokens::after(0));
    f(&mut Turn::new(&limits, &tokens, &|_| None))
}

fn seen(kind: Kind, steps: &[Step]) -> History {
    let mut run = Run::new(kind);
    steps.iter().for_each(|step| run.step(step));
    run.history
}

fn without_hints(history: &History) -> Verdict {
    let deadlines = history.operations.iter().map(Operation::deadline).collect();
    let budget = Budget { steps: 200_000, time: Duration::from_secs(20) };
    Search::with(history, deadlines, |_, operations| Hints::none(operations)).run(budget)
}

/// Two calls are told what the other was.
fn swap(history: &mut History, (a, b): &(Index, Index)) {
    let known: Vec<usize> = (0..history.operations.len())
        .filter(|&at| history.operations[at].told().is_some_and(is_taken))
        .collect();
    if known.is_empty() {
        return;
    }
    let (a, b) = (*a.get(&known), *b.get(&known));
    let told = |at: usize| history.operations[at].returned.as_ref().unwrap().told.clone();
    let (of_a, of_b) = (told(a), told(b));
    history.operations[a].returned.as_mut().unwrap().told = of_b;
    history.operations[b].returned.as_mut().unwrap().told = of_a;
}

fn is_taken(told: &Told) -> bool {
    matches!(told, Ok(reply::Result::Delivery(_) | reply::Result::Value(_)))
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![3 => Just(Kind::Queue), 1 => Just(Kind::List)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn what_happened_is_linearizable(kind in kind(), steps in steps(0.9, 40)) {
        let history = seen(kind, &steps);
        let verdict = history.check(Budget::default());
        prop_assert!(matches!(verdict, Verdict::Linearizable), "{verdict:?}");
    }

    #[test]
    fn hints_do_not_change_the_verdict(
        kind in kind(),
        steps in prop_oneof![steps(0.8, 16), steps(1.0, 24)],
        swapped in any::<(Index, Index)>(),
    ) {
        let mut history = seen(kind, &steps);
        swap(&mut history, &swapped);
        let (with, without) = (history.check(Budget::default()), without_hints(&history));
        if matches!(without, Verdict::Unknown(_)) {
            return Ok(());
        }
        prop_assert_eq!(
            matches!(with, Verdict::Linearizable),
            matches!(without, Verdict::Linearizable),
            "with: {:?}\nwithout: {:?}", with, without
        );
    }
}
