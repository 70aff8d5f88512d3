//! What waits to be handed out: by priority, and within it round robin over those who submitted it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use super::RunId;
use crate::{
    call::SessionId,
    memory::{MANY, tree},
};

/// A part of a run, by its run and its first task. The older run goes first, and what comes back has its place
/// in front of what came later.
pub(super) type Part = (RunId, u32);

/// Parts of runs in the order in which they are handed out.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    levels: BTreeMap<Reverse<i32>, Level>,
    /// Number of parts.
    len: usize,
    /// Number of sessions with parts, counted in each priority.
    owners: usize,
}

/// The parts of one priority.
#[derive(Debug, Clone, Default)]
struct Level {
    sessions: BTreeMap<SessionId, BTreeSet<Part>>,
    /// Whose part was handed out last.
    last: SessionId,
}

impl Line {
    pub(super) fn insert(&mut self, priority: i32, owner: SessionId, part: Part) {
        let level = self.levels.entry(Reverse(priority)).or_default();
        let parts = level.sessions.entry(owner).or_default();
        self.owners += usize::from(parts.is_empty());
        self.len += usize::from(parts.insert(part));
    }

    pub(super) fn remove(&mut self, priority: i32, owner: SessionId, part: Part) {
        let Some(level) = self.levels.get_mut(&Reverse(priority)) else { return };
        let Some(parts) = level.sessions.get_mut(&owner) else { return };
        self.len -= usize::from(parts.remove(&part));
        if parts.is_empty() {
            level.sessions.remove(&owner);
            self.owners -= 1;
        }
        if level.sessions.is_empty() {
            self.levels.remove(&Reverse(priority));
        }
    }

    /// Takes out the part that is next of those that fit.
    pub(super) fn pop(&mut self, fits: impl Fn(Part) -> bool) -> Option<Part> {
        let (priority, owner, part) = self.next(fits)?;
        if let Some(level) = self.levels.get_mut(&Reverse(priority)) {
            level.last = owner;
        }
        self.remove(priority, owner, part);
        Some(part)
    }

    /// Whether there is a part that fits.
    pub(super) fn has(&self, fits: impl Fn(Part) -> bool) -> bool {
        self.next(fits).is_some()
    }

    fn next(&self, fits: impl Fn(Part) -> bool) -> Option<(i32, SessionId, Part)> {
        self.levels.iter().find_map(|(&Reverse(priority), level)| {
            let after = (Bound::Excluded(level.last), Bound::Unbounded);
            let upto = (Bound::Unbounded, Bound::Included(level.last));
            let in_turn = level.sessions.range(after).chain(level.sessions.range(upto));
            let first = |parts: &BTreeSet<Part>| parts.iter().copied().find(|part| fits(*part));
            in_turn
                .map(|(owner, parts)| (owner, first(parts)))
                .find_map(|(owner, part)| Some((priority, *owner, part?)))
        })
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The memory it takes, about.
    pub(super) fn bytes(&self) -> usize {
        let owners = tree::<SessionId, BTreeSet<Part>>(self.owners);
        owners + self.owners * tree::<Part, ()>(1) + self.len * (tree::<Part, ()>(MANY) / MANY)
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;

    #[test]
    fn sessions_take_turns_and_priorities_do_not() {
        let mut line = Line::default();
        for run in 1..=3 {
            line.insert(0, 7, (run, 0));
        }
        line.insert(0, 9, (4, 0));
        line.insert(5, 8, (5, 0));
        line.insert(5, 8, (5, 10));
        line.insert(0, 9, (6, 0));
        line.remove(0, 7, (2, 0));
        line.remove(3, 7, (2, 0));
        assert_eq!(line.len(), 6);
        let order: Vec<_> = iter::from_fn(|| line.pop(|_| true)).collect();
        assert_eq!(order, [(5, 0), (5, 10), (1, 0), (4, 0), (3, 0), (6, 0)]);
        assert!(line.is_empty());
    }

    #[test]
    fn what_comes_back_goes_before_what_came_later() {
        let mut line = Line::default();
        for run in 1..=3 {
            line.insert(0, 7, (run, 0));
        }
        assert_eq!(line.pop(|_| true), Some((1, 0)));
        line.insert(0, 7, (1, 5));
        assert_eq!([line.pop(|_| true), line.pop(|_| true)], [Some((1, 5)), Some((2, 0))]);
    }
}
