//! The calls that are open, and when the client's own clock ends them.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use super::{request::Seq, slot::Slot};

/// Each open call by its seq. A call that has a deadline stands in `due` until it is removed, so
/// the two never differ.
///
/// Calls are opened in the order of their seqs, and most are closed in about that order: they stand in a row, where
/// closing one leaves a gap, and a row of too many gaps is moved together. A call that waits for long keeps those
/// gaps behind it no longer than that.
pub(super) struct OpenCalls<H> {
    /// By seq, ascending; without gaps at either end.
    row: VecDeque<(Seq, Option<Entry<H>>)>,
    len: usize,
    due: BTreeSet<(Duration, Seq)>,
}

struct Entry<H> {
    slot: Slot<H>,
    due: Option<Duration>,
}

/// A shorter row is never moved together.
const SHORT: usize = 256;
/// The memory of a row with room for more is given back when it is hardly used.
const ROOMY: usize = 1024;

impl<H> Default for OpenCalls<H> {
    fn default() -> Self {
        Self { row: VecDeque::new(), len: 0, due: BTreeSet::new() }
    }
}

impl<H> OpenCalls<H> {
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn insert(&mut self, seq: Seq, slot: Slot<H>, due: Option<Duration>) {
        self.due.extend(due.map(|due| (due, seq)));
        let entry = (seq, Some(Entry { slot, due }));
        if self.row.back().is_none_or(|(last, _)| *last < seq) {
            self.row.push_back(entry);
        } else {
            match self.find(seq) {
                Ok(at) => self.row[at] = entry,
                Err(at) => self.row.insert(at, entry),
            }
        }
        self.len += 1;
    }

    /// Where a seq stands, or would.
    fn find(&self, seq: Seq) -> Result<usize, usize> {
        // As many places behind the first as it is later, unless the row was moved together since.
        let first = self.row.front().map_or(seq, |(first, _)| *first);
        let at = usize::try_from(seq.wrapping_sub(first)).unwrap_or(usize::MAX);
        match self.row.get(at) {
            Some((there, _)) if *there == seq => Ok(at),
            _ => self.row.binary_search_by_key(&seq, |(seq, _)| *seq),
        }
    }

    pub(super) fn get(&self, seq: Seq) -> Option<&Slot<H>> {
        let (_, entry) = self.row.get(self.find(seq).ok()?)?;
        entry.as_ref().map(|entry| &entry.slot)
    }

    pub(super) fn get_mut(&mut self, seq: Seq) -> Option<&mut Slot<H>> {
        self.entry_mut(seq).map(|entry| &mut entry.slot)
    }

    fn entry_mut(&mut self, seq: Seq) -> Option<&mut Entry<H>> {
        let at = self.find(seq).ok()?;
        self.row.get_mut(at)?.1.as_mut()
    }

    pub(super) fn remove(&mut self, seq: Seq) -> Option<Slot<H>> {
        let at = self.find(seq).ok()?;
        let Entry { slot, due } = self.row.get_mut(at)?.1.take()?;
        if let Some(due) = due {
            self.due.remove(&(due, seq));
        }
        self.len -= 1;
        self.tidy();
        Some(slot)
    }

    /// Keeps the calls that `keep` is true of.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&mut Slot<H>) -> bool) {
        for (seq, place) in &mut self.row {
            let removed = place.take_if(|entry| !keep(&mut entry.slot));
            if let Some(Entry { due, .. }) = removed {
                self.len -= 1;
                if let Some(at) = due {
                    self.due.remove(&(at, *seq));
                }
            }
        }
        self.tidy();
    }

    fn tidy(&mut self) {
        while let Some((_, None)) = self.row.front() {
            self.row.pop_front();
        }
        while let Some((_, None)) = self.row.back() {
            self.row.pop_back();
        }
        if self.row.len() > SHORT && self.row.len() / 4 > self.len {
            self.row.retain(|(_, entry)| entry.is_some());
        }
        if self.row.capacity() > ROOMY && self.row.capacity() / 8 > self.row.len() {
            self.row.shrink_to(2 * self.row.len());
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Seq, &Slot<H>)> {
        self.row.iter().filter_map(|(seq, entry)| Some((*seq, &entry.as_ref()?.slot)))
    }

    pub(super) fn slots_mut(&mut self) -> impl Iterator<Item = &mut Slot<H>> {
        self.row.iter_mut().filter_map(|(_, entry)| Some(&mut entry.as_mut()?.slot))
    }

    /// When the client's clock ends the next call.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Takes out the next call that is due by `now`; it is due no more unless it is postponed.
    pub(super) fn pop_due(&mut self, now: Duration) -> Option<Seq> {
        let &(_, seq) = self.due.first().filter(|(due, _)| *due <= now)?;
        self.due.pop_first();
        if let Some(entry) = self.entry_mut(seq) {
            entry.due = None;
        }
        Some(seq)
    }

    /// Has the call end at `due`.
    pub(super) fn postpone(&mut self, seq: Seq, due: Duration) {
        let Some(entry) = self.entry_mut(seq) else { return };
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
    fn calls_are_found_beside_gaps_and_one_that_stays() {
        let mut calls = OpenCalls::default();
        for seq in 1..=5000 {
            calls.insert(seq, slot(), None);
            if seq > 1 && seq % 1000 != 0 {
                assert!(calls.remove(seq).is_some());
                assert!(calls.remove(seq).is_none() && calls.get(seq).is_none());
            }
            assert!(
                calls.get(1).is_some()
                    && calls.get_mut(seq / 1000 * 1000).is_some() == (seq >= 1000)
            );
        }
        let open: Vec<_> = calls.iter().map(|(seq, _)| seq).collect();
        assert_eq!(open, [1, 1000, 2000, 3000, 4000, 5000]);
        assert_eq!(calls.len(), 6);
        assert!(calls.row.len() <= SHORT + 1, "{}", calls.row.len());
        // Before others that are there.
        calls.insert(1500, slot(), Some(at(1)));
        calls.retain(|_| true);
        assert_eq!(calls.iter().nth(2).map(|(seq, _)| seq), Some(1500));
        assert!(calls.remove(1500).is_some() && calls.next_due().is_none());
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
