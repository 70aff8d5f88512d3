//! The calls that are open, and when the client's own clock ends them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{request::Seq, slot::Slot};

/// Each open call by its seq. A call that has a deadline stands in `due` until it is removed, so
/// the two never differ.
pub(super) struct OpenCalls<H> {
    entries: BTreeMap<Seq, Entry<H>>,
    due: BTreeSet<(Duration, Seq)>,
}

struct Entry<H> {
    slot: Slot<H>,
    due: Option<Duration>,
}

impl<H> Default for OpenCalls<H> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), due: BTreeSet::new() }
    }
}

impl<H> OpenCalls<H> {
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn insert(&mut self, seq: Seq, slot: Slot<H>, due: Option<Duration>) {
        self.due.extend(due.map(|due| (due, seq)));
        self.entries.insert(seq, Entry { slot, due });
    }

    pub(super) fn get(&self, seq: Seq) -> Option<&Slot<H>> {
        self.entries.get(&seq).map(|entry| &entry.slot)
    }

    pub(super) fn get_mut(&mut self, seq: Seq) -> Option<&mut Slot<H>> {
        self.entries.get_mut(&seq).map(|entry| &mut entry.slot)
    }

    pub(super) fn remove(&mut self, seq: Seq) -> Option<Slot<H>> {
        let Entry { slot, due } = self.entries.remove(&seq)?;
        if let Some(due) = due {
            self.due.remove(&(due, seq));
        }
        Some(slot)
    }

    /// Keeps the calls that `keep` is true of.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&mut Slot<H>) -> bool) {
        let due = &mut self.due;
        self.entries.retain(|&seq, entry| {
            let keeps = keep(&mut entry.slot);
            if !keeps && let Some(at) = entry.due {
                due.remove(&(at, seq));
            }
            keeps
        });
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Seq, &Slot<H>)> {
        self.entries.iter().map(|(seq, entry)| (*seq, &entry.slot))
    }

    pub(super) fn slots_mut(&mut self) -> impl Iterator<Item = &mut Slot<H>> {
        self.entries.values_mut().map(|entry| &mut entry.slot)
    }

    /// When the client's clock ends the next call.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Takes out the next call that is due by `now`; it is due no more unless it is postponed.
    pub(super) fn pop_due(&mut self, now: Duration) -> Option<Seq> {
        let &(_, seq) = self.due.first().filter(|(due, _)| *due <= now)?;
        self.due.pop_first();
        if let Some(entry) = self.entries.get_mut(&seq) {
            entry.due = None;
        }
        Some(seq)
    }

    /// Has the call end at `due`.
    pub(super) fn postpone(&mut self, seq: Seq, due: Duration) {
        let Some(entry) = self.entries.get_mut(&seq) else { return };
        if let Some(before) = entry.due.replace(due) {
            self.due.remove(&(before, seq));
        }
        self.due.insert((due, seq));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{refusals::closed, request::Failure};

    fn slot() -> Slot<()> {
        Slot::Failed(Box::new(Failure::Refused(closed())))
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_call_is_due_until_it_is_removed() {
        let mut calls = OpenCalls::default();
        for (seq, due) in [(1, Some(5)), (2, None), (3, Some(4)), (4, Some(6))] {
            calls.insert(seq, slot(), due.map(at));
        }
        assert_eq!(calls.next_due(), Some(at(4)));
        calls.remove(3);
        assert_eq!(calls.next_due(), Some(at(5)));
        assert_eq!(calls.pop_due(at(4)), None);
        assert_eq!(calls.pop_due(at(5)), Some(1));
        assert_eq!(calls.next_due(), Some(at(6)));
        calls.postpone(1, at(7));
        calls.postpone(1, at(8));
        let mut seen = 0;
        calls.retain(|_| {
            seen += 1;
            seen != 3
        });
        assert_eq!((seen, calls.len()), (3, 2));
        assert_eq!(calls.next_due(), Some(at(8)));
        calls.remove(1);
        assert_eq!(calls.next_due(), None);
    }
}
