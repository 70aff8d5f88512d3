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

/// Tokens of one start of the manager are below this many above those of the one before.
pub(crate) const EPOCH: u64 = 1_000_000;

#[derive(Default)]
pub(crate) struct MutualExclusion {
    locks: BTreeMap<String, Lock>,
    pub(super) violations: Vec<String>,
}

#[derive(Default)]
struct Lock {
    /// By start of the manager: what an earlier one granted may arrive after it.
    last_tokens: BTreeMap<u64, u64>,
    holders: Vec<(usize, u64, Weak<dyn Holder>)>,
}

impl MutualExclusion {
    /// `process` has acquired the lock.
    pub(crate) fn acquired(
        &mut self,
        lock: &str,
        process: usize,
        token: u64,
        holder: &Rc<dyn Holder>,
    ) {
        let state = self.locks.entry(lock.to_owned()).or_default();
        state.holders.retain(|(_, _, holder)| holder.strong_count() > 0);
        // A manager that has started again has forgotten who held what: tokens tell them apart, and
        // fences keep them apart.
        for (other, theirs, holder) in &state.holders {
            let is_held = holder.upgrade().is_some_and(|holder| holder.believes_to_hold());
            if is_held && theirs / EPOCH == token / EPOCH {
                self.violations.push(format!(
                    "{lock}: process {process} has it with token {token} while process {other} \
                     holds it with token {theirs}"
                ));
            }
        }
        let last = state.last_tokens.entry(token / EPOCH).or_default();
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
