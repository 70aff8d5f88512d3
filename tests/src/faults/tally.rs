//! What was acknowledged against what came of it: counted, without any search.

use std::collections::{BTreeMap, BTreeSet};

use mp_manager_core::{
    CallId,
    v1::{dict_op, list_op, queue_op, reply, request, scalar_op},
};
use mp_manager_proto::value;

use super::{
    histories::{Call, Written, is_get, is_lease},
    world::Name,
};
use crate::linear::ops;

/// The sums of a run.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Changes that were acknowledged.
    pub(crate) acknowledged: u64,
    /// Changes whose outcome nobody knows.
    pub(crate) unknown: u64,
    /// Acknowledged and without effect.
    pub(crate) lost: u64,
    /// Had their effect more than once.
    pub(crate) duplicated: u64,
    /// Items that came again after whoever had them was lost.
    pub(crate) redelivered: u64,
}

impl Tally {
    /// Of everything that was written, with the audit as the last to read.
    pub(crate) fn of(written: &Written) -> Self {
        let mut tally = Self::default();
        let mut counters: BTreeMap<Name, Counter> = BTreeMap::new();
        let mut items: BTreeMap<Name, BTreeMap<u64, Item>> = BTreeMap::new();
        let mut takers: BTreeMap<Name, u64> = BTreeMap::new();
        let finished: BTreeSet<CallId> = written.calls.iter().filter_map(finished).collect();
        for call in &written.calls {
            match what(call) {
                What::Add => {
                    let counter = counters.entry(call.object).or_default();
                    match call.told() {
                        Some(_) => counter.acknowledged += 1,
                        None if !call.is_void() => counter.unknown += 1,
                        None => {}
                    }
                    counter.seen(call);
                }
                What::Read => counters.entry(call.object).or_default().seen(call),
                What::Put(item) => {
                    let item = items.entry(call.object).or_default().entry(item).or_default();
                    match call.told() {
                        Some(reply::Result::Done(_)) => item.put = true,
                        None if !call.is_void() => item.may_be_put = true,
                        _ => {}
                    }
                }
                What::Took(n) => {
                    let item = items.entry(call.object).or_default().entry(n).or_default();
                    item.takes.push((deliveries(call), is_final(call, &finished)));
                }
                What::MayHaveTaken => *takers.entry(call.object).or_default() += 1,
                What::Other => {}
            }
        }
        counters.values().for_each(|counter| tally.add_counter(counter));
        for (object, items) in &items {
            tally.add_items(items, takers.get(object).copied().unwrap_or_default());
        }
        tally
    }

    fn add_counter(&mut self, counter: &Counter) {
        let &Counter { acknowledged, unknown, highest } = counter;
        self.acknowledged += acknowledged;
        self.unknown += unknown;
        self.lost += acknowledged.saturating_sub(highest);
        self.duplicated += highest.saturating_sub(acknowledged + unknown);
    }

    fn add_items(&mut self, items: &BTreeMap<u64, Item>, takers: u64) {
        let mut missing = 0;
        for item in items.values() {
            self.acknowledged += u64::from(item.put);
            self.unknown += u64::from(item.may_be_put);
            missing += u64::from(item.put && item.takes.is_empty());
            let finals = item.takes.iter().filter(|(_, is_final)| *is_final).count() as u64;
            self.duplicated += finals.saturating_sub(1);
            // The same delivery, twice.
            let mut deliveries: Vec<u32> = item.takes.iter().map(|(count, _)| *count).collect();
            deliveries.sort_unstable();
            let all = deliveries.len();
            deliveries.dedup();
            self.duplicated += (all - deliveries.len()) as u64;
            self.redelivered += all.saturating_sub(1) as u64;
        }
        // Somebody who was killed may have had them.
        self.lost += missing.saturating_sub(takers);
    }
}

/// A counter from zero, to which ones are added.
#[derive(Debug, Default)]
struct Counter {
    acknowledged: u64,
    unknown: u64,
    highest: u64,
}

impl Counter {
    fn seen(&mut self, call: &Call) {
        if let Some(reply::Result::Value(value)) = call.told() {
            self.highest = self.highest.max(number(&value.data));
        }
    }
}

/// An item that was put somewhere, once.
#[derive(Debug, Default)]
struct Item {
    put: bool,
    may_be_put: bool,
    /// How often it had been handed out, and whether that was for good.
    takes: Vec<(u32, bool)>,
}

enum What {
    Add,
    Read,
    Put(u64),
    Took(u64),
    MayHaveTaken,
    Other,
}

fn what(call: &Call) -> What {
    use request::Op;
    match &call.op {
        Op::Dict(op) => match &op.op {
            Some(dict_op::Op::Add(_)) => What::Add,
            Some(dict_op::Op::Get(key)) if *key == ops::key("n") => What::Read,
            _ => What::Other,
        },
        Op::Scalar(op) => match &op.op {
            Some(scalar_op::Op::Add(_)) => What::Add,
            _ => What::Read,
        },
        Op::Queue(op) => match &op.op {
            Some(queue_op::Op::Put(item)) => {
                What::Put(item.value.as_ref().map_or(0, |value| number(&value.data)))
            }
            Some(queue_op::Op::Get(_) | queue_op::Op::Lease(_)) => took(call),
            _ => What::Other,
        },
        Op::List(op) => match &op.op {
            Some(list_op::Op::Push(value)) => What::Put(number(&value.data)),
            Some(list_op::Op::Pop(_)) => took(call),
            _ => What::Other,
        },
        _ => What::Other,
    }
}

fn took(call: &Call) -> What {
    match call.told() {
        Some(reply::Result::Delivery(delivery)) => {
            What::Took(delivery.value.as_ref().map_or(0, |value| number(&value.data)))
        }
        Some(reply::Result::Value(value)) => What::Took(number(&value.data)),
        None if !call.is_void() && !is_lease(&call.op) => What::MayHaveTaken,
        _ => What::Other,
    }
}

fn deliveries(call: &Call) -> u32 {
    match call.told() {
        Some(reply::Result::Delivery(delivery)) => delivery.deliveries,
        _ => 1,
    }
}

/// The call whose lease was ended for good by this one.
fn finished(call: &Call) -> Option<CallId> {
    let request::Op::Queue(op) = &call.op else { return None };
    let is_done = matches!(op.op, Some(queue_op::Op::Done(_))) && call.told() == Some(&ops::done());
    is_done.then_some(call.about)
}

/// Whether what it took is gone for certain: a pop, a get that arrived, a lease that was ended.
fn is_final(call: &Call, finished: &BTreeSet<CallId>) -> bool {
    match &call.op {
        request::Op::List(_) => true,
        op => is_get(op) && !call.may_go_back() || finished.contains(&call.id),
    }
}

fn number(data: &[u8]) -> u64 {
    value::decode(data).unwrap_or_default()
}
