//! The search for an order: Wing and Gong's, with Lowe's memory of what has been tried.
//!
//! Depth first, one operation after the other. Next can only be one that began before any of those
//! left had ended. Whatever follows depends only on which operations are done and on the state they
//! led to, so no such pair is tried twice.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Instant,
    vec,
};

use mp_manager_core::CallId;

use super::{
    Action, Budget, History, Operation, Verdict,
    explain::Violation,
    hints::Hints,
    state::{Digest, State},
};

/// The clock is looked at every so many steps.
const STEPS_PER_LOOK: u64 = 256;

/// A search in a history.
pub(super) struct Search<'a> {
    /// First those that happened, then those that may have; both by their start.
    operations: Vec<&'a Operation>,
    /// By when they had.
    deadlines: Vec<u64>,
    /// How many happened.
    certain: usize,
    hints: Hints,
    /// Of operations that may have happened and are equal, the one before: which of them did makes
    /// no difference, so it is the one that began first.
    twins: Vec<Option<usize>>,
    returnable: BTreeSet<CallId>,
    first: State,
    done: Done,
    seen: HashSet<u128>,
    steps: u64,
    /// The longest order so far, with what was left over.
    longest: Option<Violation>,
    longest_len: usize,
}

/// A point of the search.
struct Node {
    state: State,
    digest: u128,
    /// What led here; nothing at the beginning.
    by: Option<usize>,
    /// What has not been tried from here.
    next: vec::IntoIter<usize>,
}

/// Which operations are done.
struct Done {
    bits: Vec<u64>,
    certain: usize,
    /// Every certain operation before this one is done.
    base: usize,
    count: usize,
}

impl<'a> Search<'a> {
    pub(super) fn new(history: &'a History) -> Self {
        Self::with(history, Hints::deadlines(history), Hints::new)
    }

    /// With what is known of the operations in advance.
    pub(super) fn with(
        history: &'a History,
        deadlines: Vec<u64>,
        hints: impl FnOnce(&History, &[&Operation]) -> Hints,
    ) -> Self {
        let mut operations: Vec<_> = history.operations.iter().zip(deadlines).collect();
        operations.sort_by_key(|(operation, deadline)| (*deadline == u64::MAX, operation.start));
        let certain = operations.iter().filter(|(_, deadline)| *deadline != u64::MAX).count();
        let (operations, deadlines): (Vec<_>, Vec<_>) = operations.into_iter().unzip();
        Self {
            hints: hints(history, &operations),
            twins: twins(&operations, certain),
            done: Done::new(operations.len(), certain),
            operations,
            deadlines,
            certain,
            returnable: history.returnable(),
            first: State::new(history),
            seen: HashSet::new(),
            steps: 0,
            longest: None,
            longest_len: 0,
        }
    }

    pub(super) fn run(mut self, budget: Budget) -> Verdict {
        let deadline = Instant::now() + budget.time;
        let (state, digest) = (self.first.clone(), self.first.digest());
        let mut path = vec![Node { state, digest, by: None, next: self.candidates().into_iter() }];
        while let Some(node) = path.last_mut() {
            if self.done.count == self.certain {
                return Verdict::Linearizable;
            }
            let Some(operation) = node.next.next() else {
                self.give_up(&path);
                self.done.remove(path.pop().and_then(|node| node.by));
                continue;
            };
            self.steps += 1;
            let out_of_time =
                self.steps.is_multiple_of(STEPS_PER_LOOK) && Instant::now() > deadline;
            if self.steps > budget.steps || out_of_time {
                return Verdict::Unknown(self.longest.map(Box::new));
            }
            if let Some(next) = self.step(node, operation) {
                path.push(next);
            }
        }
        match self.longest {
            Some(violation) => Verdict::Violation(Box::new(violation)),
            None => Verdict::Linearizable,
        }
    }

    /// Where an operation leads, if anywhere new.
    fn step(&mut self, here: &mut Node, at: usize) -> Option<Node> {
        if self.hints.is_hopeless(at, |at| self.done.contains(at)) {
            return None;
        }
        let state = here.state.after(self.operations[at], &self.returnable)?;
        let digest = state.digest();
        if digest == here.digest {
            // If nobody knows: it may as well not have happened; or, if its item came out, it did not
            // happen here, for there was no room, or nothing to give back.
            self.operations[at].returned.as_ref()?;
            // What changes nothing and can be here is as well here as anywhere later.
            here.next = Vec::new().into_iter();
        }
        self.done.insert(at);
        if !self.seen.insert(self.done.key(digest)) {
            self.done.remove(Some(at));
            return None;
        }
        Some(Node { state, digest, by: Some(at), next: self.candidates().into_iter() })
    }

    /// What may have happened next, in the order in which to try.
    fn candidates(&self) -> Vec<usize> {
        let mut deadline = u64::MAX;
        let mut found = Vec::new();
        for at in self.done.base..self.certain {
            if self.operations[at].start > deadline {
                break;
            }
            if !self.done.contains(at) {
                deadline = deadline.min(self.deadlines[at]);
                found.push(at);
            }
        }
        found.sort_by_key(|&at| (self.hints.ranks[at], self.deadlines[at]));
        let may = self.certain..self.operations.len();
        found.extend(may.filter(|&at| {
            !self.done.contains(at)
                && self.operations[at].start <= deadline
                && self.twins[at].is_none_or(|twin| self.done.contains(twin))
        }));
        found
    }

    /// Nothing more can happen at the end of this path.
    fn give_up(&mut self, path: &[Node]) {
        let Some(node) = path.last() else { return };
        if self.longest.is_some() && self.done.count <= self.longest_len {
            return;
        }
        self.longest_len = self.done.count;
        let order: Vec<_> =
            path.iter().filter_map(|node| node.by).map(|at| self.operations[at]).collect();
        let stuck = self.candidates().into_iter().filter(|&at| at < self.certain);
        let stuck = stuck.map(|at| self.operations[at]);
        self.longest = Some(Violation::new(&node.state, &order, stuck, self.certain));
    }
}

/// For each operation that may have happened, the one before that is equal to it. Those that take
/// something are not: it matters who has it.
fn twins(operations: &[&Operation], certain: usize) -> Vec<Option<usize>> {
    let mut last = BTreeMap::new();
    let mut twins = vec![None; operations.len()];
    for (at, operation) in operations.iter().enumerate().skip(certain) {
        if let Action::Call { op, lease: None, .. } = &operation.action
            && !takes(op)
        {
            twins[at] = last.insert(format!("{op:?}"), at);
        }
    }
    twins
}

/// Whether an operation of this kind may take something.
fn takes(op: &mp_manager_core::v1::request::Op) -> bool {
    use mp_manager_core::v1::{queue_op::Op as Queue, request::Op};
    match op {
        Op::Dict(_) | Op::List(_) | Op::Set(_) | Op::Namespace(_) | Op::Scalar(_) => false,
        Op::Queue(op) => !matches!(op.op, Some(Queue::Put(_) | Queue::PutMany(_))),
        _ => true,
    }
}

impl Done {
    fn new(operations: usize, certain: usize) -> Self {
        Self { bits: vec![0; operations.div_ceil(64)], certain, base: 0, count: 0 }
    }

    fn contains(&self, at: usize) -> bool {
        self.bits[at / 64] >> (at % 64) & 1 == 1
    }

    fn insert(&mut self, at: usize) {
        self.bits[at / 64] |= 1 << (at % 64);
        self.count += usize::from(at < self.certain);
        while self.base < self.certain && self.contains(self.base) {
            self.base += 1;
        }
    }

    fn remove(&mut self, at: Option<usize>) {
        let Some(at) = at else { return };
        self.bits[at / 64] &= !(1 << (at % 64));
        self.count -= usize::from(at < self.certain);
        self.base = self.base.min(at);
    }

    /// Names this set of operations with the state they led to. Words without a bit after `base`
    /// are left out, so that a long history costs no more a step than a short one.
    fn key(&self, state: u128) -> u128 {
        let mut digest = Digest::default();
        digest.word(self.base as u64);
        for (at, &word) in self.bits.iter().enumerate().skip(self.base / 64) {
            if word != 0 {
                digest.word(at as u64);
                digest.word(word);
            }
        }
        digest.word((state >> 64) as u64);
        digest.word(state as u64);
        digest.finish()
    }
}
