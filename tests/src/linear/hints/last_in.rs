//! What is known of a stack's items in advance: nothing goes back, and what lies on top comes out
//! first.

use std::collections::HashMap;

use super::{Operation, is_pop, puts, takes};

/// The items of a history whose operations are pushes and pops at one end.
pub(super) struct LastIn {
    /// For each operation that puts an item in: how it came out.
    out: Vec<Option<Out>>,
    /// Pops that may have taken an item, and nobody knows which.
    takers: usize,
}

/// How an item came out: between when and when, and by which operation.
#[derive(Debug, Clone, Copy)]
struct Out {
    start: u64,
    end: u64,
    by: Option<usize>,
}

impl Out {
    const NEVER: Self = Self { start: u64::MAX, end: u64::MAX, by: None };
}

impl LastIn {
    pub(super) fn new(operations: &[&Operation]) -> Self {
        let mut out: HashMap<&[u8], Out> = HashMap::new();
        for (at, operation) in operations.iter().enumerate() {
            if let Some(item) = takes(operation) {
                let (start, end) = (operation.start, operation.deadline());
                out.insert(item, Out { start, end, by: Some(at) });
            }
        }
        let way = |operation: &&Operation| {
            puts(operation).map(|item| out.get(item).copied().unwrap_or(Out::NEVER))
        };
        let takers = operations
            .iter()
            .filter(|operation| is_pop(operation) && operation.returned.is_none())
            .count();
        Self { out: operations.iter().map(way).collect(), takers }
    }

    /// By when the operation had certainly happened, because what it brought came out.
    pub(super) fn deadline(&self, at: usize) -> u64 {
        self.out[at].map_or(u64::MAX, |out| out.end)
    }

    /// What comes out last was put in first.
    pub(super) fn rank(&self, at: usize) -> Option<u64> {
        self.out[at].map(|out| u64::MAX - out.end)
    }

    /// Whether nothing can come of putting this item on top of all that was put there before.
    pub(super) fn is_hopeless(&self, at: usize, is_done: impl Fn(usize) -> bool) -> bool {
        let Some(new) = self.out[at] else { return false };
        let may_vanish = new.by.is_none() && self.takers > 0;
        let mut there = self.out.iter().enumerate().filter_map(|(at, out)| Some((at, (*out)?)));
        !may_vanish
            && there.any(|(at, old)| {
                is_done(at) && !old.by.is_some_and(&is_done) && old.end < new.start
            })
    }
}
