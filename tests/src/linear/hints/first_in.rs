//! What is known of a queue's items in advance: in which order they came in and went.
//!
//! Each item is numbered by its deliveries, so a call that was handed one for the first time was the
//! first to have it, whatever became of calls that nobody heard of again. From when an item is there
//! (it was put, or went back) until the call that had it next, it stands in front of everything that
//! is put later: nothing of that can come out meanwhile.

use std::collections::{BTreeMap, HashMap};

use mp_manager_core::{
    CallId,
    v1::{queue_op, request},
};

use super::{Action, Operation, delivered, puts, takes};

/// The items of a history whose operations are puts, gets, leases and what ends those.
pub(super) struct FirstIn {
    items: Vec<Item>,
    /// For each operation that brings an item in or back: which.
    enters: Vec<Option<Entry>>,
    /// Calls that may have taken an item, and nobody knows which.
    takers: usize,
}

/// An item, and the operations that are about it.
#[derive(Debug, Default)]
struct Item {
    put: Option<usize>,
    takes: Vec<Take>,
}

/// A call that certainly had an item.
#[derive(Debug, Clone, Copy)]
struct Take {
    at: usize,
    start: u64,
    end: u64,
    /// How often it had been handed out by then; 0 if that is not known.
    number: u32,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    item: usize,
    /// The number of the delivery that comes next, if it is known.
    next: Option<u32>,
    /// Only this operation can have brought it back from the delivery before.
    is_the_only_way: bool,
}

impl FirstIn {
    pub(super) fn new(operations: &[&Operation]) -> Self {
        let mut numbers: HashMap<&[u8], usize> = HashMap::new();
        let mut items: Vec<Item> = Vec::new();
        let mut number = |data, items: &mut Vec<Item>| {
            *numbers.entry(data).or_insert_with(|| {
                items.push(Item::default());
                items.len() - 1
            })
        };
        // By the call that was handed it: which item, and and which delivery of it.
        let mut handed: BTreeMap<CallId, (usize, u32)> = BTreeMap::new();
        for (at, operation) in operations.iter().enumerate() {
            if let Some(item) = puts(operation) {
                let item = number(item, &mut items);
                items[item].put = Some(at);
            } else if let (Some(item), Some(id)) = (takes(operation), id(operation)) {
                let item = number(item, &mut items);
                let (start, end) = (operation.start, operation.deadline());
                let number = delivered(operation);
                items[item].takes.push(Take { at, start, end, number });
                handed.insert(id, (item, number));
            }
        }
        let mut ways_back: BTreeMap<CallId, usize> = BTreeMap::new();
        for call in operations.iter().filter_map(|operation| gives_back(operation)) {
            *ways_back.entry(call).or_default() += 1;
        }
        let enters = operations.iter().map(|operation| {
            if let Some(data) = puts(operation) {
                let item = number(data, &mut items);
                return Some(Entry { item, next: Some(1), is_the_only_way: true });
            }
            let call = gives_back(operation)?;
            let &(item, number) = handed.get(&call)?;
            let next = (number > 0).then_some(number + 1);
            Some(Entry { item, next, is_the_only_way: ways_back.get(&call) == Some(&1) })
        });
        let enters = enters.collect();
        let takers = operations.iter().filter(|operation| may_have_taken(operation)).count();
        Self { items, enters, takers }
    }

    /// By when the operation had certainly happened, because what it brought came out; `u64::MAX` if
    /// that is not certain.
    pub(super) fn deadline(&self, at: usize) -> u64 {
        let Some(entry) = self.enters[at] else { return u64::MAX };
        let item = &self.items[entry.item];
        if item.put == Some(at) {
            return item.first_end();
        }
        let next = entry.is_the_only_way.then(|| item.take(entry.next)).flatten();
        next.map_or(u64::MAX, |take| take.end)
    }

    /// When what the operation brings comes out, for those that bring something.
    pub(super) fn rank(&self, at: usize) -> Option<u64> {
        let entry = self.enters[at]?;
        let item = &self.items[entry.item];
        Some(item.take(entry.next).map_or_else(|| item.first_end(), |take| take.end))
    }

    /// Whether nothing can come of this operation next, as long as these are done: what it brings
    /// would stand in the way of something that comes out before.
    pub(super) fn is_hopeless(&self, at: usize, is_done: impl Fn(usize) -> bool) -> bool {
        let Some(entry) = self.enters[at] else { return false };
        let later = self.items.iter().enumerate().filter(|(number, item)| {
            *number != entry.item && item.put.is_some_and(|put| !is_done(put))
        });
        let Some(first_end) = later.map(|(_, item)| item.first_end()).min() else { return false };
        let item = &self.items[entry.item];
        if let Some(take) = item.take(entry.next) {
            return take.start > first_end;
        }
        if self.takers == 0 {
            return item.next_start(&is_done) > first_end;
        }
        if item.put != Some(at) {
            return false;
        }
        // Each that stands in the way was taken by another call that nobody heard of again.
        let in_the_way = self.items.iter().filter(|item| {
            item.put.is_some_and(|put| put == at || is_done(put))
                && item.take(Some(1)).is_none()
                && !item.takes.iter().any(|take| is_done(take.at))
                && item.next_start(&is_done) > first_end
        });
        in_the_way.count() > self.takers
    }
}

impl Item {
    /// The call that was handed it for the n-th time.
    fn take(&self, number: Option<u32>) -> Option<&Take> {
        self.takes.iter().find(|take| Some(take.number) == number)
    }

    /// By when it had come out; `u64::MAX` if it may never have.
    fn first_end(&self) -> u64 {
        self.takes.iter().map(|take| take.end).min().unwrap_or(u64::MAX)
    }

    /// When some call that is left and certainly had it began.
    fn next_start(&self, is_done: impl Fn(usize) -> bool) -> u64 {
        let left = self.takes.iter().filter(|take| !is_done(take.at));
        left.map(|take| take.start).min().unwrap_or(u64::MAX)
    }
}

fn id(operation: &Operation) -> Option<CallId> {
    match operation.action {
        Action::Call { id, .. } => Some(id),
        Action::GiveBack(_) => None,
    }
}

/// The call whose item it gives back, or may have given back.
fn gives_back(operation: &Operation) -> Option<CallId> {
    match &operation.action {
        Action::GiveBack(call) => Some(*call),
        Action::Call { op: request::Op::Queue(op), lease, .. }
            if matches!(op.op, Some(queue_op::Op::Reject(_)))
                && !operation.told().is_some_and(Result::is_err) =>
        {
            *lease
        }
        Action::Call { .. } => None,
    }
}

fn may_have_taken(operation: &Operation) -> bool {
    use queue_op::Op as Q;
    operation.returned.is_none()
        && matches!(
            super::op(operation),
            Some(request::Op::Queue(op)) if matches!(op.op, Some(Q::Get(_) | Q::Lease(_)))
        )
}
