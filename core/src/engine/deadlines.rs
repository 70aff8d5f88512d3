//! The deadlines of parked calls, all in one place.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use super::cell::Cell;
use crate::{call::CallId, lock::lock};

/// When which call's timeout passes.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    deadlines: Mutex<BTreeMap<(Duration, CallId), Weak<Cell>>>,
}

impl Deadlines {
    /// `call`, parked in `cell`, expires at `deadline`. Whether no other one does earlier.
    pub(super) fn insert(&self, deadline: Duration, call: CallId, cell: &Arc<Cell>) -> bool {
        let mut deadlines = lock(&self.deadlines);
        let is_first = deadlines.first_key_value().is_none_or(|((first, _), _)| deadline < *first);
        deadlines.insert((deadline, call), Arc::downgrade(cell));
        is_first
    }

    /// The call is not parked any more.
    pub(super) fn remove(&self, deadline: Duration, call: CallId) {
        lock(&self.deadlines).remove(&(deadline, call));
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
        Some((call, cell))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        lock(&self.deadlines).len()
    }
}
