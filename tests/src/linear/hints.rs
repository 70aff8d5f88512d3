//! What speeds the search up and never changes its verdict: what to try first, and which beginnings
//! cannot end well.
//!
//! When two puts overlap, nobody knows which came first until their items come out, perhaps
//! hundreds of operations later. A search that guesses would then try the orders of everything in
//! between. So it looks ahead: of two items that a queue holds the one in front comes out first
//! ([`FirstIn`]), and of two that a stack holds, the one on top ([`LastIn`]).

mod first_in;
mod last_in;
#[cfg(test)]
mod tests;

use mp_manager_core::v1::{Kind, QueueOrder, list_op, parameters, queue_op, reply, request};

use self::{first_in::FirstIn, last_in::LastIn};
use super::{Action, History, Operation};

/// What is known of a history's operations, by their place in the search.
pub(super) struct Hints {
    /// Among those that may have happened at the same point, the smaller is tried first.
    pub(super) ranks: Vec<u64>,
    order: Order,
}

/// How items come out, if that can be told.
enum Order {
    FirstIn(FirstIn),
    LastIn(LastIn),
    Unknown,
}

impl Hints {
    pub(super) fn new(history: &History, operations: &[&Operation]) -> Self {
        let order = Order::of(history, operations);
        let rank = |(at, operation): (usize, &&Operation)| {
            let rank = match &order {
                Order::FirstIn(items) => items.rank(at),
                Order::LastIn(items) => items.rank(at),
                Order::Unknown => None,
            };
            // What is granted first was asked first. All else at once: often it can only be here.
            rank.or_else(|| token(operation)).unwrap_or(0)
        };
        let ranks = operations.iter().enumerate().map(rank).collect();
        Self { ranks, order }
    }

    /// Nothing is known.
    #[cfg(test)]
    fn none(operations: &[&Operation]) -> Self {
        Self { ranks: vec![0; operations.len()], order: Order::Unknown }
    }

    /// By when each operation had happened; `u64::MAX` if it may never have. Nobody may have been
    /// told that an item was put in or went back, but what came out had been.
    pub(super) fn deadlines(history: &History) -> Vec<u64> {
        let operations: Vec<&Operation> = history.operations.iter().collect();
        let order = Order::of(history, &operations);
        let deadline = |(at, operation): (usize, &&Operation)| {
            let known = match &order {
                Order::FirstIn(items) => items.deadline(at),
                Order::LastIn(items) => items.deadline(at),
                Order::Unknown => u64::MAX,
            };
            operation.deadline().min(known)
        };
        operations.iter().enumerate().map(deadline).collect()
    }

    /// Whether nothing can come of this operation next, as long as these are done.
    pub(super) fn is_hopeless(&self, at: usize, is_done: impl Fn(usize) -> bool) -> bool {
        match &self.order {
            Order::FirstIn(items) => items.is_hopeless(at, is_done),
            Order::LastIn(items) => items.is_hopeless(at, is_done),
            Order::Unknown => false,
        }
    }
}

impl Order {
    /// If the operations are such that one can tell.
    fn of(history: &History, operations: &[&Operation]) -> Self {
        if !operations.iter().all(|operation| is_plain(operation)) || !is_unique(operations) {
            return Self::Unknown;
        }
        match (history.kind, history.parameters.as_ref().and_then(|p| p.parameters.as_ref())) {
            (Kind::Queue, Some(parameters::Parameters::Queue(p)))
                if ![QueueOrder::Fifo, QueueOrder::Unspecified].contains(&p.order()) =>
            {
                Self::Unknown
            }
            (Kind::Queue, _) => Self::FirstIn(FirstIn::new(operations)),
            (Kind::List, _) => Self::LastIn(LastIn::new(operations)),
            _ => Self::Unknown,
        }
    }
}

/// Whether it is about one item at most, at the end where items come out.
fn is_plain(operation: &Operation) -> bool {
    use list_op::Op as L;
    use queue_op::Op as Q;
    match op(operation) {
        Some(request::Op::Queue(op)) => match op.op {
            None | Some(Q::PutMany(_) | Q::GetMany(_) | Q::Shutdown(_)) => false,
            Some(Q::Done(_) | Q::Reject(_)) => {
                matches!(operation.action, Action::Call { lease: Some(_), .. })
            }
            _ => true,
        },
        Some(request::Op::List(op)) => matches!(
            op.op,
            Some(L::Push(_) | L::Pop(-1) | L::Get(_) | L::Len(_) | L::Contains(_) | L::Page(_))
        ),
        _ => true,
    }
}

/// Whether every item was put in once.
fn is_unique(operations: &[&Operation]) -> bool {
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

/// How often what it took had been handed out by then; 0 if that is not known.
fn delivered(operation: &Operation) -> u32 {
    match operation.told() {
        Some(Ok(reply::Result::Delivery(delivery))) => delivery.deliveries,
        _ => 0,
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
