//! What must hold, whatever happens; a file for each.

mod barrier;
mod calls;
mod dead_sessions;
mod exactly_once;
mod mutual_exclusion;
mod permits;
mod queue;
mod wakeups;

pub(super) use mutual_exclusion::{Held, Holder};

use super::plan::Plan;

/// Sees everything, and says what was wrong.
pub(super) struct Oracle {
    pub(super) mutual_exclusion: mutual_exclusion::MutualExclusion,
    pub(super) permits: permits::Permits,
    pub(super) exactly_once: exactly_once::ExactlyOnce,
    pub(super) queue: queue::Ledger,
    pub(super) barrier: barrier::Arrivals,
    pub(super) wakeups: wakeups::WakeUps,
    pub(super) dead_sessions: dead_sessions::DeadSessions,
    pub(super) calls: calls::Calls,
    epoch: u64,
}

impl Oracle {
    pub(super) fn new(_: &Plan) -> Self {
        Self {
            mutual_exclusion: Default::default(),
            permits: Default::default(),
            exactly_once: Default::default(),
            queue: Default::default(),
            barrier: Default::default(),
            wakeups: Default::default(),
            dead_sessions: Default::default(),
            calls: Default::default(),
            epoch: 1,
        }
    }

    /// The manager has forgotten everything.
    pub(super) fn restarted(&mut self, epoch: u64) {
        self.epoch = epoch;
    }

    pub(super) fn has_failed(&self) -> bool {
        !self.violations().is_empty()
    }

    /// Looks at what can be told only at the end.
    pub(super) fn finish(&mut self) {
        self.queue.finish();
        self.exactly_once.finish();
        self.permits.finish();
    }

    pub(super) fn violations(&self) -> Vec<String> {
        [
            &self.mutual_exclusion.violations,
            &self.permits.violations,
            &self.exactly_once.violations,
            &self.queue.violations,
            &self.barrier.violations,
            &self.wakeups.violations,
            &self.dead_sessions.violations,
            &self.calls.violations,
        ]
        .into_iter()
        .flatten()
        .cloned()
        .collect()
    }
}
