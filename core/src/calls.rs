//! The open calls of a session.

use std::collections::VecDeque;

use crate::{call::Seq, memory::row};

/// Something for each open call, by its seq. Calls are opened in the order of their seqs, and most
/// are closed in about that order: they stand in a row, where closing one leaves a gap, and a row of
/// too many gaps is moved together. A tree of entries as large as these would be moving all the time.
#[derive(Debug)]
pub(crate) struct Calls<T> {
    /// By seq, ascending.
    row: VecDeque<(Seq, Option<T>)>,
    len: usize,
}

/// A shorter row is never moved together.
const SHORT: usize = 256;
/// The memory of a row with room for more is given back when it is hardly used.
const ROOMY: usize = 1024;

impl<T> Default for Calls<T> {
    fn default() -> Self {
        Self { row: VecDeque::new(), len: 0 }
    }
}

impl<T> Calls<T> {
    /// Opens a call. One that is open already is left as it is, and false comes back.
    pub(crate) fn open(&mut self, seq: Seq, value: T) -> bool {
        if self.row.back().is_none_or(|(last, _)| *last < seq) {
            self.row.push_back((seq, Some(value)));
        } else {
            match self.find(seq) {
                Ok(at) if self.row[at].1.is_some() => return false,
                Ok(at) => self.row[at].1 = Some(value),
                Err(at) => self.row.insert(at, (seq, Some(value))),
            }
        }
        self.len += 1;
        true
    }

    fn find(&self, seq: Seq) -> Result<usize, usize> {
        self.row.binary_search_by_key(&seq, |(seq, _)| *seq)
    }

    pub(crate) fn get(&self, seq: Seq) -> Option<&T> {
        self.get_near(seq, &mut 0)
    }

    pub(crate) fn get_mut(&mut self, seq: Seq) -> Option<&mut T> {
        let at = self.find(seq).ok()?;
        self.row.get_mut(at)?.1.as_mut()
    }

    /// As [`get`](Self::get); for whoever looks up several, mostly in their order. `near` goes from one to
    /// the next.
    pub(crate) fn get_near(&self, seq: Seq, near: &mut usize) -> Option<&T> {
        let at = match self.row.get(*near) {
            Some((there, _)) if *there == seq => *near,
            _ => self.find(seq).ok()?,
        };
        *near = at + 1;
        self.row.get(at)?.1.as_ref()
    }

    pub(crate) fn close(&mut self, seq: Seq) -> Option<T> {
        let at = self.find(seq).ok()?;
        let value = self.row.get_mut(at)?.1.take()?;
        self.len -= 1;
        self.tidy();
        Some(value)
    }

    /// Closes the calls from `first` to `last` that `which` is true of.
    pub(crate) fn close_if(
        &mut self,
        first: Seq,
        last: Seq,
        which: impl Fn(&T) -> bool,
        mut closed: impl FnMut(Seq, T),
    ) {
        let from = self.row.partition_point(|(seq, _)| *seq < first);
        for (seq, value) in self.row.range_mut(from..) {
            if *seq > last {
                break;
            }
            if let Some(value) = value.take_if(|value| which(value)) {
                self.len -= 1;
                closed(*seq, value);
            }
        }
        self.tidy();
    }

    fn tidy(&mut self) {
        while let Some((_, None)) = self.row.front() {
            self.row.pop_front();
        }
        if self.row.len() > SHORT && self.row.len() / 4 > self.len {
            self.row.retain(|(_, value)| value.is_some());
        }
        if self.row.capacity() > ROOMY && self.row.capacity() / 8 > self.row.len() {
            self.row.shrink_to(2 * self.row.len());
        }
    }

    /// The memory they take beside what they refer to, about.
    pub(crate) fn bytes(&self) -> usize {
        row::<(Seq, Option<T>)>(self.row.len(), self.row.capacity())
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Seq, &T)> {
        self.row.iter().filter_map(|(seq, value)| Some((*seq, value.as_ref()?)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Seq, &mut T)> {
        self.row.iter_mut().filter_map(|(seq, value)| Some((*seq, value.as_mut()?)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Open(Seq),
        OpenNext(Seq),
        Close(Seq),
        CloseIf(Seq, Seq),
        Get(Seq),
    }

    fn step() -> impl Strategy<Value = Step> {
        let seq = || 0..2000u64;
        prop_oneof![
            1 => seq().prop_map(Step::Open),
            8 => (1..4u64).prop_map(Step::OpenNext),
            4 => seq().prop_map(Step::Close),
            1 => (seq(), seq()).prop_map(|(first, last)| Step::CloseIf(first, last)),
            1 => seq().prop_map(Step::Get),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in prop::collection::vec(step(), 0..1500)) {
            let (mut calls, mut model) = (Calls::default(), BTreeMap::new());
            let (mut last, mut near) = (0, 0);
            for (n, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Open(seq) => {
                        let is_new = !model.contains_key(&seq);
                        model.entry(seq).or_insert(n);
                        prop_assert_eq!(calls.open(seq, n), is_new);
                    }
                    Step::OpenNext(gap) => {
                        last = last.max(model.last_key_value().map_or(0, |(last, _)| *last)) + gap;
                        model.insert(last, n);
                        prop_assert!(calls.open(last, n));
                    }
                    Step::Close(seq) => prop_assert_eq!(calls.close(seq), model.remove(&seq)),
                    Step::CloseIf(first, last) => {
                        let mut closed = Vec::new();
                        calls.close_if(first, last, |n| n % 2 == 0, |seq, n| closed.push((seq, n)));
                        let range = |seq| first <= seq && seq <= last;
                        let expected: Vec<_> =
                            model.extract_if(.., |seq, n| range(*seq) && *n % 2 == 0).collect();
                        prop_assert_eq!(closed, expected);
                    }
                    Step::Get(seq) => {
                        prop_assert_eq!(calls.get_mut(seq), model.get_mut(&seq));
                        prop_assert_eq!(calls.get_near(seq, &mut near), model.get(&seq));
                        let next = seq + 1;
                        prop_assert_eq!(calls.get_near(next, &mut near), model.get(&next));
                    }
                }
                prop_assert_eq!(calls.len(), model.len());
                prop_assert!(calls.row.len() <= SHORT.max(4 * calls.len() + 4));
            }
            prop_assert!(calls.iter().eq(model.iter().map(|(seq, n)| (*seq, n))));
        }
    }

    /// One call that waits for long, and a million that come and go meanwhile.
    #[test]
    fn gaps_do_not_pile_up() {
        let mut calls = Calls::default();
        calls.open(1, ());
        for seq in 2..1_000_000 {
            calls.open(seq, ());
            calls.close(seq);
            assert!(calls.row.len() <= SHORT + 1);
        }
        for seq in 1_000_000..1_050_000 {
            calls.open(seq, ());
        }
        calls.close_if(2, u64::MAX, |()| true, |_, ()| ());
        assert_eq!((calls.len(), calls.row.len()), (1, 1));
        assert!(calls.row.capacity() <= ROOMY);
    }
}
