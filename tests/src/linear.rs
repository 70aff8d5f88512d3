//! Whether what was seen from outside could have come from one object that does one thing at a time:
//! linearizability, after Herlihy and Wing.
//!
//! ```text
//!   process 1   ├──── add 1 → 1 ────┤
//!   process 2         ├── add 1 → 2 ──┤          a point inside each interval, in an order in
//!   process 3                ├─ get → 1 ─┤       which the object would have said just that?
//! ```
//!
//! A system is linearizable if each of its objects is, so a [`History`] is about one object, or one
//! key of a dict ([`History::by_key`]). The object is the real one, from core; nobody ever waits in
//! it: a call that waited is one that happened when it could be answered.
//!
//! A call whose outcome nobody knows (its process was killed, its session lost) happened at some
//! time after it began, or never. What a call took and its caller may have lost without giving it
//! back (a lock, an item) can come back at some time or never: an [`Action::GiveBack`].

mod explain;
mod file;
mod hints;
pub mod ops;
mod search;
mod state;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use mp_manager_core::{
    CallId, Reason,
    v1::{Kind, Parameters, dict_op, reply, request},
};

pub use explain::Violation;

/// What a call came to.
pub type Told = Result<reply::Result, Reason>;

/// What was done to one object, and what came of it. Times are of one clock, in any unit.
#[derive(Debug, Clone)]
pub struct History {
    /// What to call the object.
    pub object: String,
    /// What it is.
    pub kind: Kind,
    /// What it was created with.
    pub parameters: Option<Parameters>,
    /// In any order.
    pub operations: Vec<Operation>,
}

/// One thing that was done, or may have been.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Who did it; only for people.
    pub process: u64,
    /// It did not happen before this.
    pub start: u64,
    /// `None`: it happened at some time or never.
    pub returned: Option<Returned>,
    /// What it was.
    pub action: Action,
}

/// How an operation ended.
#[derive(Debug, Clone)]
pub struct Returned {
    /// It had happened by then.
    pub at: u64,
    /// Tokens have to be the real ones; an item's ticket, and how often it was delivered, may be
    /// left at 0: not known.
    pub told: Told,
}

/// What was done.
#[derive(Debug, Clone)]
pub enum Action {
    /// A call.
    Call {
        /// Which; its session is its caller's.
        id: CallId,
        /// What was asked.
        op: request::Op,
        /// The call that leased the item that a `done` or a `reject` is about.
        lease: Option<CallId>,
    },
    /// What this call took goes back.
    GiveBack(CallId),
}

/// How long to look for an order.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Operations tried. What has been seen takes some 30 bytes a step.
    pub steps: u64,
    /// Time.
    pub time: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self { steps: 5_000_000, time: Duration::from_secs(30) }
    }
}

/// What the checker says.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// There is an order.
    Linearizable,
    /// There is none.
    Violation(Box<Violation>),
    /// The budget was used up; what stood in the way up to then, if anything did.
    Unknown(Option<Box<Violation>>),
}

impl History {
    /// Looks for an order in which the object would have said what it did.
    ///
    /// # Panics
    /// If the object cannot be created with these parameters.
    #[must_use]
    pub fn check(&self, budget: Budget) -> Verdict {
        search::Search::new(self).run(budget)
    }

    /// One history for each key of a dict, as long as every operation is about one key.
    #[must_use]
    pub fn by_key(self) -> Vec<Self> {
        if !self.operations.iter().all(|operation| operation.key().is_some()) {
            return vec![self];
        }
        let Self { object, kind, parameters, operations } = self;
        let mut keys: BTreeMap<_, Vec<Operation>> = BTreeMap::new();
        for operation in operations {
            keys.entry(operation.key().unwrap_or_default().to_vec()).or_default().push(operation);
        }
        let one = |(key, operations): (Vec<u8>, _)| Self {
            object: format!("{object}[{}]", key.escape_ascii()),
            kind,
            parameters: parameters.clone(),
            operations,
        };
        keys.into_iter().map(one).collect()
    }

    /// Calls whose object must be able to take back what they took.
    fn returnable(&self) -> BTreeSet<CallId> {
        let given_back = self.operations.iter().filter_map(|operation| match operation.action {
            Action::GiveBack(call) => Some(call),
            Action::Call { .. } => None,
        });
        given_back.collect()
    }
}

impl Operation {
    /// When it had happened at the latest.
    fn deadline(&self) -> u64 {
        self.returned.as_ref().map_or(u64::MAX, |returned| returned.at)
    }

    fn told(&self) -> Option<&Told> {
        self.returned.as_ref().map(|returned| &returned.told)
    }

    fn op(&self) -> Option<&request::Op> {
        match &self.action {
            Action::Call { op, .. } => Some(op),
            Action::GiveBack(_) => None,
        }
    }

    /// The one key of a dict that it is about.
    fn key(&self) -> Option<&[u8]> {
        use dict_op::Op as D;
        let Some(request::Op::Dict(op)) = self.op() else { return None };
        match op.op.as_ref()? {
            D::Get(key) | D::Contains(key) | D::Remove(key) => Some(key),
            D::Insert(entry) | D::GetOrInsert(entry) => Some(&entry.key),
            D::Add(op) => Some(&op.key),
            D::CompareAndSwap(op) => Some(&op.key),
            _ => None,
        }
    }
}
