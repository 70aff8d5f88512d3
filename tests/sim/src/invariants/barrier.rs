//! A barrier lets nobody pass before all of its parties are there, and counts nobody who has gone.

use std::collections::BTreeMap;

#[derive(Default)]
pub(crate) struct Arrivals {
    calls: BTreeMap<u64, Call>,
    next: u64,
    pub(super) violations: Vec<String>,
}

struct Call {
    began: u64,
    /// From then on it cannot count any more.
    over: Option<u64>,
}

impl Arrivals {
    /// A party arrives; the number of its call.
    pub(crate) fn arrives(&mut self, now: u64) -> u64 {
        self.next += 1;
        self.calls.insert(self.next, Call { began: now, over: None });
        self.next
    }

    /// It does not count from `over` on.
    pub(crate) fn leaves(&mut self, call: u64, over: u64) {
        if let Some(call) = self.calls.get_mut(&call) {
            call.over.get_or_insert(over);
        }
    }

    /// It passed, with all of `parties`.
    pub(crate) fn passes(&mut self, name: &str, call: u64, parties: usize, now: u64) {
        self.leaves(call, now);
        let Some(began) = self.calls.get(&call).map(|call| call.began) else { return };
        let there = self
            .calls
            .values()
            .filter(|call| call.began <= now && call.over.is_none_or(|over| over >= began))
            .count();
        if there < parties {
            self.violations.push(format!(
                "{name}: call {call}, begun at {began}, passed when {there} of {parties} parties \
                 can have been there"
            ));
        }
    }
}
