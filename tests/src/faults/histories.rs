//! From what processes wrote to what the checker reads.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use mp_manager_core::{
    CallId,
    v1::{lock_op, queue_op, reply, request, semaphore_op},
};

use super::{
    record::{Called, Record, Returned, What},
    tasks::Run,
    workloads::PATIENCE,
    world::Name,
};
use crate::linear::{Action, History, Operation, Returned as Told};

/// A client ends a call itself when no answer has come for so long after its timeout.
const LATE: Duration = Duration::from_millis(100);

/// Everything that was written, by all processes.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) calls: Vec<Call>,
    /// What was submitted to pools.
    pub(crate) runs: Vec<Run>,
    /// What should not have happened.
    pub(crate) problems: Vec<String>,
    /// The errors that callers saw.
    pub(crate) errors: Vec<String>,
}

/// A call, and what is known of it.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) id: CallId,
    pub(crate) object: Name,
    pub(crate) op: request::Op,
    session: u64,
    pub(crate) about: CallId,
    start_ns: u64,
    returned: Option<(u64, Returned)>,
    /// When it was known last that what it was granted is still held.
    held_at_ns: Option<u64>,
    /// What it took may have gone back, from then on.
    may_go_back_from_ns: Option<u64>,
}

impl Call {
    /// What it was told, if that is known.
    pub(crate) fn told(&self) -> Option<&reply::Result> {
        self.returned.as_ref()?.1.reply.as_ref()?.result.as_ref()
    }

    /// It was not executed, or is as if.
    pub(crate) fn is_void(&self) -> bool {
        self.returned.as_ref().is_some_and(|(_, returned)| returned.void)
    }

    /// What it took may have gone back.
    pub(crate) fn may_go_back(&self) -> bool {
        self.may_go_back_from_ns.is_some()
    }

    /// How long it took.
    pub(crate) fn took_ns(&self) -> Option<u64> {
        Some(self.returned.as_ref()?.0 - self.start_ns)
    }
}

impl Written {
    /// Adds the records of one process.
    pub(crate) fn add(&mut self, process: u64, records: Vec<Record>) {
        let mut calls: BTreeMap<u64, Call> = BTreeMap::new();
        let mut runs: BTreeMap<u64, Run> = BTreeMap::new();
        for Record { n, at_ns, what } in records {
            match what {
                Some(What::Called(called)) => {
                    calls.extend(begun(process, n, at_ns, called).map(|call| (n, call)));
                }
                Some(What::Returned(returned)) => {
                    if !returned.error.is_empty() {
                        self.errors.push(returned.error.clone());
                    }
                    if let Some(call) = calls.get_mut(&n) {
                        call.returned = Some((at_ns, returned));
                    }
                }
                Some(What::Held(_)) => {
                    if let Some(call) = calls.get_mut(&n) {
                        call.held_at_ns = Some(at_ns);
                    }
                }
                Some(What::Problem(problem)) => {
                    self.problems.push(format!("worker {process}: {problem}"));
                }
                Some(What::Submitted(tasks)) => {
                    runs.insert(n, Run { tasks, outcomes: None });
                }
                Some(What::Settled(settled)) => {
                    if let Some(run) = runs.get_mut(&n) {
                        run.outcomes = Some(settled.outcomes);
                    }
                }
                None => {}
            }
        }
        self.runs.extend(runs.into_values());
        let mut calls: Vec<Call> = calls.into_values().collect();
        find_what_may_go_back(&mut calls);
        self.calls.append(&mut calls);
    }

    /// One history for each object.
    pub(crate) fn histories(&self) -> BTreeMap<Name, History> {
        let mut histories: BTreeMap<Name, History> = BTreeMap::new();
        for call in &self.calls {
            let history = histories.entry(call.object).or_insert_with(|| History {
                object: call.object.to_string(),
                kind: call.object.used.kind(),
                parameters: call.object.used.parameters(),
                operations: Vec::new(),
            });
            history.operations.extend(call.operations());
        }
        histories
    }
}

fn begun(process: u64, n: u64, start_ns: u64, called: Called) -> Option<Call> {
    Some(Call {
        id: CallId { session: process, seq: n },
        object: called.object.parse().ok()?,
        op: called.request?.op?,
        session: called.session,
        about: CallId { session: process, seq: called.about },
        start_ns,
        returned: None,
        held_at_ns: None,
        may_go_back_from_ns: None,
    })
}

/// What a process took goes back if its session ends before it has given it back, or before the
/// manager knows that it has it. That it knows is certain once it answers a later call of the
/// session: the acknowledgement came before that.
fn find_what_may_go_back(calls: &mut [Call]) {
    let given_back: BTreeSet<CallId> =
        calls.iter().filter(|call| call.told() == Some(&done())).map(|call| call.about).collect();
    let mut answered: BTreeMap<u64, u64> = BTreeMap::new();
    for call in calls.iter() {
        if call.told().is_some() && call.returned.as_ref().is_some_and(|(_, r)| r.stands) {
            let last = answered.entry(call.session).or_default();
            *last = call.start_ns.max(*last);
        }
    }
    for call in calls.iter_mut().filter(|call| takes(&call.op)) {
        let handed_over = call.returned.as_ref().map(|(at, r)| (*at, r.handed_over_ns));
        call.may_go_back_from_ns = match (call.told(), handed_over) {
            (Some(reply::Result::Absent(_)), _) if call.ended_by_itself() => Some(call.start_ns),
            (Some(reply::Result::Absent(_)), _) => None,
            (Some(_), _) if given_back.contains(&call.id) => None,
            (Some(_), Some((at, from))) if is_get(&call.op) => {
                let is_final = answered.get(&call.session).is_some_and(|start| *start > at);
                (!is_final).then_some(from)
            }
            (Some(_), from) => call.held_at_ns.or(from.map(|(_, from)| from)),
            (None, _) => Some(call.start_ns),
        };
    }
}

impl Call {
    /// Whether it may have ended by its client's clock. It may have been handed something by then,
    /// which went back.
    fn ended_by_itself(&self) -> bool {
        let took_ns = self.returned.as_ref().map_or(0, |(at, _)| at.saturating_sub(self.start_ns));
        takes(&self.op)
            && matches!(self.told(), Some(reply::Result::Absent(_)))
            && u128::from(took_ns) >= (PATIENCE + LATE).as_nanos()
    }

    /// What the checker is to make of it.
    fn operations(&self) -> Vec<Operation> {
        let lease = (self.about.seq != 0).then_some(self.about);
        let action = Action::Call { id: self.id, op: self.op.clone(), lease };
        let told = self.told().filter(|_| !self.ended_by_itself()).map(|told| match told {
            reply::Result::Error(error) => Err(error.reason()),
            told => Ok(told.clone()),
        });
        let returned = match (told, &self.returned) {
            (Some(told), Some((at, _))) => Some(Told { at: *at, told }),
            // Whatever it may have given back may go back without it.
            _ if self.is_void() && !takes(&self.op) || releases(&self.op) => return Vec::new(),
            _ => None,
        };
        let process = self.id.session;
        let mut operations = vec![Operation { process, start: self.start_ns, returned, action }];
        operations.extend(self.may_go_back_from_ns.map(|start| Operation {
            process,
            start,
            returned: None,
            action: Action::GiveBack(self.id),
        }));
        operations
    }
}

fn done() -> reply::Result {
    crate::linear::ops::done()
}

/// Whether it takes something that its session's end gives back.
fn takes(op: &request::Op) -> bool {
    match op {
        request::Op::Lock(op) => matches!(op.op, Some(lock_op::Op::Acquire(_))),
        request::Op::Semaphore(op) => matches!(op.op, Some(semaphore_op::Op::Acquire(_))),
        request::Op::Queue(op) => {
            matches!(op.op, Some(queue_op::Op::Get(_) | queue_op::Op::Lease(_)))
        }
        _ => false,
    }
}

/// Takes for good, once the manager knows that it has arrived.
pub(crate) fn is_get(op: &request::Op) -> bool {
    matches!(op, request::Op::Queue(op) if matches!(op.op, Some(queue_op::Op::Get(_))))
}

/// Takes until its session ends, or says what becomes of it.
pub(crate) fn is_lease(op: &request::Op) -> bool {
    matches!(op, request::Op::Queue(op) if matches!(op.op, Some(queue_op::Op::Lease(_))))
}

fn releases(op: &request::Op) -> bool {
    match op {
        request::Op::Lock(op) => matches!(op.op, Some(lock_op::Op::Release(_))),
        request::Op::Semaphore(op) => matches!(op.op, Some(semaphore_op::Op::Release(_))),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use mp_manager_core::v1::{Empty, Reply, Request};

    use super::*;
    use crate::{
        faults::world::Use,
        linear::{
            Budget, Verdict,
            ops::{grant_or_absent, item_or_absent, lock, put, queue},
        },
    };

    fn called(n: u64, at_ns: u64, used: Use, op: request::Op) -> Record {
        let object = Name { used, group: 0, slice: 0 }.to_string();
        let request = Some(Request { op: Some(op), ..Request::default() });
        let called = Called { object, request, about: 0, session: 1 };
        Record { n, at_ns, what: Some(What::Called(called)) }
    }

    fn returned(n: u64, at_ns: u64, told: reply::Result) -> Record {
        returned_late(n, at_ns, at_ns, told)
    }

    fn returned_late(n: u64, handed_over_ns: u64, at_ns: u64, told: reply::Result) -> Record {
        let reply = Some(Reply { seq: n, result: Some(told) });
        let returned = Returned { reply, stands: true, handed_over_ns, ..Returned::default() };
        Record { n, at_ns, what: Some(What::Returned(returned)) }
    }

    fn verdict(processes: Vec<Vec<Record>>) -> bool {
        let mut written = Written::default();
        for (process, records) in (1..).zip(processes) {
            written.add(process, records);
        }
        let histories = written.histories();
        let [history] = &histories.values().collect::<Vec<_>>()[..] else { panic!("one object") };
        match history.check(Budget::default()) {
            Verdict::Linearizable => true,
            Verdict::Violation(_) => false,
            Verdict::Unknown(_) => panic!("it is short"),
        }
    }

    fn get() -> request::Op {
        queue(queue_op::Op::Get(Empty {}))
    }

    #[test]
    fn an_item_comes_again_if_nobody_knows_that_it_arrived() {
        let item = |deliveries| item_or_absent(Some((7, deliveries)));
        let first = |more: Vec<Record>| {
            let mut records = vec![
                called(1, 0, Use::Jobs, put(7)),
                returned(1, 1, crate::linear::ops::done()),
                called(2, 2, Use::Jobs, get()),
                returned(2, 3, item(1)),
            ];
            records.extend(more);
            records
        };
        let second = || vec![called(1, 10, Use::Jobs, get()), returned(1, 11, item(2))];
        assert!(verdict(vec![first(vec![]), second()]));
        // It was killed before it could write that it had it.
        let killed = first(vec![]).into_iter().take(3).collect();
        assert!(verdict(vec![killed, second()]));
        let later = vec![called(3, 4, Use::Jobs, put(8)), returned(3, 5, done())];
        assert!(!verdict(vec![first(later), second()]));
    }

    /// It is rare, and was taken for a violation: a process was stopped after it was handed an item
    /// and before it looked at the clock, and the item went to somebody else meanwhile.
    #[test]
    fn an_item_may_be_lost_before_it_is_written_down() {
        let item = |deliveries| item_or_absent(Some((7, deliveries)));
        let lease = || queue(queue_op::Op::Lease(Empty {}));
        for op in [get, lease] {
            let stopped = |handed_over_ns| {
                vec![
                    called(1, 0, Use::Jobs, put(7)),
                    returned(1, 1, done()),
                    called(2, 2, Use::Jobs, op()),
                    returned_late(2, handed_over_ns, 50, item(1)),
                ]
            };
            let second = || vec![called(1, 10, Use::Jobs, get()), returned(1, 11, item(2))];
            assert!(verdict(vec![stopped(3), second()]));
            // Whoever is handed it that late had lost it before.
            assert!(!verdict(vec![stopped(20), second()]));
        }
    }

    #[test]
    fn a_lock_passes_on_no_earlier_than_its_holder_lost_it() {
        let acquire = || lock(lock_op::Op::Acquire(Empty {}));
        let holder = |held_at_ns| {
            vec![
                called(1, 0, Use::Lock, acquire()),
                returned(1, 1, grant_or_absent(Some(5))),
                Record { n: 1, at_ns: held_at_ns, what: Some(What::Held(Empty {})) },
            ]
        };
        let next =
            || vec![called(1, 2, Use::Lock, acquire()), returned(1, 9, grant_or_absent(Some(6)))];
        assert!(verdict(vec![holder(8), next()]));
        assert!(!verdict(vec![holder(10), next()]));
    }
}
