//! The deadlines of parked calls, all in one place.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, Weak},
};

use mp_manager_core::CallId;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::{
    lock,
    store::{Cell, Store},
};

/// Deadlines in order. One task sleeps until the first of them.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    deadlines: Mutex<BTreeMap<(Instant, CallId), Weak<Cell>>>,
    earlier: Notify,
}

impl Timers {
    /// `call`, parked in `cell`, is to be told at `deadline`.
    pub(crate) fn insert(&self, deadline: Instant, call: CallId, cell: &Arc<Cell>) {
        let mut deadlines = lock(&self.deadlines);
        let is_first = deadlines.first_key_value().is_none_or(|((first, _), _)| deadline < *first);
        deadlines.insert((deadline, call), Arc::downgrade(cell));
        drop(deadlines);
        if is_first {
            self.earlier.notify_one();
        }
    }

    /// The call is not parked any more.
    pub(crate) fn remove(&self, deadline: Instant, call: CallId) {
        lock(&self.deadlines).remove(&(deadline, call));
    }

    /// Expires calls as their time comes, until the server is dropped.
    pub(crate) async fn run(store: Weak<Store>) {
        let Some(timers) = store.upgrade().map(|store| Arc::clone(&store.timers)) else { return };
        loop {
            let first = lock(&timers.deadlines).first_key_value().map(|((at, _), _)| *at);
            let Some(first) = first else {
                timers.earlier.notified().await;
                continue;
            };
            tokio::select! {
                () = sleep_until(first) => {}
                () = timers.earlier.notified() => continue,
            }
            let Some(store) = store.upgrade() else { return };
            for (call, cell) in timers.due(Instant::now()) {
                if let Some(cell) = cell.upgrade() {
                    store.expire(&cell, call);
                }
            }
        }
    }

    fn due(&self, now: Instant) -> Vec<(CallId, Weak<Cell>)> {
        let mut deadlines = lock(&self.deadlines);
        let mut due = Vec::new();
        while let Some(entry) = deadlines.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let ((_, call), cell) = entry.remove_entry();
            due.push((call, cell));
        }
        due
    }
}
