//! What must hold, whatever happens; a file for each.

mod barrier;
mod calls;
mod dead_sessions;
mod exactly_once;
mod mutual_exclusion;
pub(crate) mod objects;
mod permits;
mod queue;
mod silence;
mod wakeups;

pub(crate) use mutual_exclusion::{Held, Holder};

use crate::plan::Plan;

/// Sees everything, and says what was wrong.
pub(crate) struct Oracle {
    pub(crate) mutual_exclusion: mutual_exclusion::MutualExclusion,
    pub(crate) permits: permits::Permits,
    pub(crate) exactly_once: exactly_once::ExactlyOnce,
    pub(crate) queue: queue::Ledger,
    pub(crate) barrier: barrier::Arrivals,
    pub(crate) wakeups: wakeups::WakeUps,
    pub(crate) dead_sessions: dead_sessions::DeadSessions,
    pub(crate) calls: calls::Calls,
    pub(crate) objects: objects::Objects,
    pub(crate) silence: silence::Silence,
    epoch: u64,
}

impl Oracle {
    pub(crate) fn new(_: &Plan) -> Self {
        Self {
            mutual_exclusion: Default::default(),
            permits: Default::default(),
            exactly_once: Default::default(),
            queue: Default::default(),
            barrier: Default::default(),
            wakeups: Default::default(),
            dead_sessions: Default::default(),
            calls: Default::default(),
            objects: Default::default(),
            silence: Default::default(),
            epoch: 1,
        }
    }

    /// The manager has forgotten everything.
    pub(crate) fn restarted(&mut self, epoch: u64) {
        self.epoch = epoch;
    }

    pub(crate) fn has_failed(&self) -> bool {
        !self.violations().is_empty()
    }

    /// Looks at what can be told only at the end.
    pub(crate) fn finish(&mut self) {
        self.queue.finish();
        self.exactly_once.finish();
        self.permits.finish();
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        [
            &self.mutual_exclusion.violations,
            &self.permits.violations,
            &self.exactly_once.violations,
            &self.queue.violations,
            &self.barrier.violations,
            &self.wakeups.violations,
            &self.dead_sessions.violations,
            &self.calls.violations,
            &self.objects.violations,
            &self.silence.violations,
        ]
        .into_iter()
        .flatten()
        .cloned()
        .collect()
    }
}
