//! What speeds the search up and never changes its verdict: what to try first, and which beginnings
//! cannot end well.
//!
//! When two puts overlap, nobody knows which came first until their items come out, perhaps
//! hundreds of operations later. A search that guesses would then try the orders of everything in
//! between. So it looks ahead: of two items that a queue holds the one in front comes out first,
//! and of two that a stack holds, the one on top.

use std::collections::HashMap;

use mp_manager_core::v1::{Kind, QueueOrder, list_op, parameters, queue_op, reply, request};

use super::{Action, History, Operation};

/// What is known of a history's operations, by their place in the search.
pub(super) struct Hints {
    /// Among those that may have happened at the same point, the smaller is tried first.
    pub(super) ranks: Vec<u64>,
    /// How items come out, if that can be told.
    order: Option<Order>,
    /// For each operation that puts an item in: how it came out.
    out: Vec<Option<Out>>,
    /// Operations that may have taken an item out of another's way.
    takers: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    FirstIn,
    LastIn,
}

/// How an item came out, as far as that is certain: between when and when. It may have come out,
/// gone back and come out again.
#[derive(Debug, Clone, Copy)]
struct Out {
    last_start: u64,
    first_end: u64,
    /// The operation that had it last.
    by: Option<usize>,
}

impl Out {
    const NEVER: Self = Self { last_start: u64::MAX, first_end: u64::MAX, by: None };
}

impl Hints {
    pub(super) fn new(history: &History, operations: &[&Operation]) -> Self {
        let order = order(history, operations);
        let out = ways_out(operations);
        let rank = |(at, operation): (usize, &&Operation)| match (out[at], order) {
            (Some(out), Some(Order::LastIn)) => u64::MAX - out.first_end,
            (Some(out), _) => out.first_end,
            // What is granted first was asked first. All else at once: often it can only be here.
            (None, _) => token(operation).unwrap_or(0),
        };
        let ranks = operations.iter().enumerate().map(rank).collect();
        let takers = operations.iter().filter(|operation| may_take(operation)).count();
        Self { ranks, order, out, takers }
    }

    /// By when each operation had happened; `u64::MAX` if it may never have. Nobody may have been
    /// told that an item was put in, but what came out had been.
    pub(super) fn deadlines(history: &History) -> Vec<u64> {
        let operations: Vec<&Operation> = history.operations.iter().collect();
        let is_known = order(history, &operations).is_some();
        let out = ways_out(&operations);
        let deadline = |(at, operation): (usize, &&Operation)| match out[at] {
            Some(out) if is_known => operation.deadline().min(out.first_end),
            _ => operation.deadline(),
        };
        operations.iter().enumerate().map(deadline).collect()
    }

    /// Whether nothing can come of putting this item in after all that was put in before.
    pub(super) fn is_hopeless(&self, at: usize, is_done: impl Fn(usize) -> bool) -> bool {
        let (Some(order), Some(new)) = (self.order, self.out[at]) else { return false };
        let there = self.out.iter().enumerate().filter_map(|(at, out)| Some((at, (*out)?)));
        let there = there.filter(|(at, old)| is_done(*at) && !old.by.is_some_and(&is_done));
        match order {
            // Each of those in front has to be taken out of the way by somebody.
            Order::FirstIn => {
                there.filter(|(_, old)| old.last_start > new.first_end).count() > self.takers
            }
            Order::LastIn => {
                let may_vanish = new.by.is_none() && self.takers > 0;
                !may_vanish && there.into_iter().any(|(_, old)| old.first_end < new.last_start)
            }
        }
    }
}

/// How items of this object come out, if its operations are such that one can tell.
fn order(history: &History, operations: &[&Operation]) -> Option<Order> {
    use list_op::Op as L;
    use queue_op::Op as Q;
    let plain = |operation: &Operation| match op(operation) {
        Some(request::Op::Queue(op)) => {
            !matches!(op.op, None | Some(Q::PutMany(_) | Q::GetMany(_) | Q::Shutdown(_)))
        }
        Some(request::Op::List(op)) => matches!(
            op.op,
            Some(L::Push(_) | L::Pop(-1) | L::Get(_) | L::Len(_) | L::Contains(_) | L::Page(_))
        ),
        _ => true,
    };
    let is_plain = operations.iter().all(|operation| plain(operation)) && unique(operations);
    match (history.kind, history.parameters.as_ref().and_then(|p| p.parameters.as_ref())) {
        (Kind::Queue, Some(parameters::Parameters::Queue(p)))
            if ![QueueOrder::Fifo, QueueOrder::Unspecified].contains(&p.order()) =>
        {
            None
        }
        (Kind::Queue, _) if is_plain => Some(Order::FirstIn),
        (Kind::List, _) if is_plain => Some(Order::LastIn),
        _ => None,
    }
}

/// For each operation that puts an item in, how that came out.
fn ways_out(operations: &[&Operation]) -> Vec<Option<Out>> {
    let mut out: HashMap<&[u8], Out> = HashMap::new();
    for (at, operation) in operations.iter().enumerate() {
        let Some(item) = takes(operation) else { continue };
        let (start, end) = (operation.start, operation.deadline());
        let out = out.entry(item).or_insert(Out { last_start: 0, ..Out::NEVER });
        out.first_end = out.first_end.min(end);
        if start >= out.last_start {
            *out = Out { last_start: start, by: Some(at), ..*out };
        }
    }
    let way = |operation: &&Operation| {
        puts(operation).map(|item| out.get(item).copied().unwrap_or(Out::NEVER))
    };
    operations.iter().map(way).collect()
}

/// Whether every item was put in once.
fn unique(operations: &[&Operation]) -> bool {
    let mut items: Vec<&[u8]> = operations.iter().filter_map(|operation| puts(operation)).collect();
    let all = items.len();
    items.sort_unstable();
    items.dedup();
    items.len() == all
}

fn op(operation: &Operation) -> Option<&request::Op> {
    match &operation.action {
        Action::Call { op, .. } => Some(op),
        Action::GiveBack(_) => None,
    }
}

/// The item that it puts in, unless it was refused.
fn puts(operation: &Operation) -> Option<&[u8]> {
    if operation.told().is_some_and(Result::is_err) {
        return None;
    }
    match op(operation)? {
        request::Op::Queue(op) => match op.op.as_ref()? {
            queue_op::Op::Put(item) => Some(&item.value.as_ref()?.data),
            _ => None,
        },
        request::Op::List(op) => match op.op.as_ref()? {
            list_op::Op::Push(value) => Some(&value.data),
            _ => None,
        },
        _ => None,
    }
}

/// The item that it took, for certain.
fn takes(operation: &Operation) -> Option<&[u8]> {
    match operation.told()?.as_ref().ok()? {
        reply::Result::Delivery(delivery) => Some(&delivery.value.as_ref()?.data),
        reply::Result::Value(value) if is_pop(operation) => Some(&value.data),
        _ => None,
    }
}

/// Whether it may have taken an item that something else has certainly taken as well, or may have
/// brought back one.
fn may_take(operation: &Operation) -> bool {
    use queue_op::Op as Q;
    match op(operation) {
        None => true,
        Some(request::Op::Queue(op)) => match op.op {
            Some(Q::Reject(_)) => true,
            Some(Q::Get(_) | Q::Lease(_)) => operation.returned.is_none(),
            _ => false,
        },
        Some(_) => is_pop(operation) && operation.returned.is_none(),
    }
}

fn is_pop(operation: &Operation) -> bool {
    matches!(op(operation), Some(request::Op::List(op)) if matches!(op.op, Some(list_op::Op::Pop(_))))
}

/// The token that it was granted.
fn token(operation: &Operation) -> Option<u64> {
    match operation.told()?.as_ref().ok()? {
        reply::Result::Grant(grant) => Some(grant.token),
        _ => None,
    }
}
