//! The deadlines of parked calls, all in one place.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use super::{books::Books, cell::Cell};
use crate::{call::CallId, lock::lock, memory::tree};

/// When which call's timeout passes.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    deadlines: Mutex<BTreeMap<(Duration, CallId), Weak<Cell>>>,
    books: Arc<Books>,
}

impl Deadlines {
    pub(super) fn new(books: Arc<Books>) -> Self {
        Self { deadlines: Mutex::default(), books }
    }

    /// `call`, parked in `cell`, expires at `deadline`. Whether no other one does earlier.
    pub(super) fn insert(&self, deadline: Duration, call: CallId, cell: &Arc<Cell>) -> bool {
        let mut deadlines = lock(&self.deadlines);
        let is_first = deadlines.first_key_value().is_none_or(|((first, _), _)| deadline < *first);
        let before = deadlines.len();
        deadlines.insert((deadline, call), Arc::downgrade(cell));
        self.books.account(bytes_of(deadlines.len()), bytes_of(before));
        is_first
    }

    /// The call is not parked any more.
    pub(super) fn remove(&self, deadline: Duration, call: CallId) {
        let mut deadlines = lock(&self.deadlines);
        if deadlines.remove(&(deadline, call)).is_some() {
            self.is_one_less(deadlines.len());
        }
    }

    /// When the next call expires.
    pub(super) fn next(&self) -> Option<Duration> {
        lock(&self.deadlines).first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes out a call whose deadline has passed.
    pub(super) fn due(&self, now: Duration) -> Option<(CallId, Weak<Cell>)> {
        let mut deadlines = lock(&self.deadlines);
        let first = deadlines.first_entry().filter(|entry| entry.key().0 <= now)?;
        let ((_, call), cell) = first.remove_entry();
        self.is_one_less(deadlines.len());
        Some((call, cell))
    }

    /// One was taken out, and so many are left.
    fn is_one_less(&self, left: usize) {
        self.books.account(bytes_of(left), bytes_of(left + 1));
    }

    /// The memory they take, about.
    pub(super) fn bytes(&self) -> usize {
        bytes_of(self.len())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        lock(&self.deadlines).len()
    }
}

fn bytes_of(deadlines: usize) -> usize {
    tree::<(Duration, CallId), Weak<Cell>>(deadlines)
}
