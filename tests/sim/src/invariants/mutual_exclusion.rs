//! A lock has one holder at most, its tokens increase, and a fenced write of a holder that is none
//! any more does not happen.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    rc::{Rc, Weak},
};

/// Whoever holds something, as it knows itself: it looks at its own clock.
pub(crate) trait Holder {
    fn believes_to_hold(&self) -> bool;
}

/// A guard as long as its process lives.
pub(crate) type Held<G> = Rc<RefCell<Option<G>>>;

/// The starts of the manager, by the tokens that each of them hands out.
#[derive(Default)]
pub(crate) struct Starts(Vec<u64>);

impl Starts {
    /// Tokens above this one are of a new start.
    pub(crate) fn begin(&mut self, start: u64) {
        self.0.push(start);
    }

    /// Which start has handed out a token.
    pub(crate) fn of(&self, token: u64) -> usize {
        self.0.iter().filter(|start| **start < token).count()
    }
}

#[derive(Default)]
pub(crate) struct MutualExclusion {
    starts: Starts,
    highest: u64,
    locks: BTreeMap<String, Lock>,
    pub(super) violations: Vec<String>,
}

#[derive(Default)]
struct Lock {
    /// By start of the manager: what an earlier one granted may arrive after it.
    last_tokens: BTreeMap<usize, u64>,
    holders: Vec<(usize, u64, Weak<dyn Holder>)>,
}

impl MutualExclusion {
    /// The manager has started: all tokens from now on are larger, also than those of before.
    pub(crate) fn started(&mut self, start: u64) {
        let highest = self.highest;
        if start < highest {
            let what = format!("tokens begin above {start} after token {highest} was handed out");
            self.violations.push(what);
        }
        self.starts.begin(start);
    }

    /// `process` has acquired the lock.
    pub(crate) fn acquired(
        &mut self,
        lock: &str,
        process: usize,
        token: u64,
        holder: &Rc<dyn Holder>,
    ) {
        self.highest = self.highest.max(token);
        let start = self.starts.of(token);
        let state = self.locks.entry(lock.to_owned()).or_default();
        state.holders.retain(|(_, _, holder)| holder.strong_count() > 0);
        // A manager that has started again has forgotten who held what: tokens tell them apart, and
        // fences keep them apart.
        for (other, theirs, holder) in &state.holders {
            let is_held = holder.upgrade().is_some_and(|holder| holder.believes_to_hold());
            if is_held && self.starts.of(*theirs) == start {
                self.violations.push(format!(
                    "{lock}: process {process} has it with token {token} while process {other} \
                     holds it with token {theirs}"
                ));
            }
        }
        let last = state.last_tokens.entry(start).or_default();
        if token <= *last {
            self.violations.push(format!("{lock}: token {token} came after token {last}"));
        }
        *last = token.max(*last);
        state.holders.push((process, token, Rc::downgrade(holder)));
    }

    /// A write fenced by `token` was executed after its grant was released.
    pub(crate) fn wrote_late(&mut self, lock: &str, token: u64) {
        let what = format!("{lock}: a write fenced by token {token} came after its release");
        self.violations.push(what);
    }

    /// A fenced write of `token` replaced that of `previous`.
    pub(crate) fn wrote(&mut self, lock: &str, token: u64, previous: u64) {
        if previous > token {
            self.violations.push(format!(
                "{lock}: a write fenced by token {token} came after one by token {previous}"
            ));
        }
    }
}
