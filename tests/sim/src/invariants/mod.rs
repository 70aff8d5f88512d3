//! What must hold, whatever happens; a file for each.

mod barrier;
mod calls;
mod dead_sessions;
mod directory;
mod elements;
mod exactly_once;
mod mutual_exclusion;
pub(crate) mod objects;
mod permits;
pub(crate) mod pool;
mod queue;
mod silence;
mod wakeups;

pub(crate) use mutual_exclusion::{Held, Holder};

/// Sees everything, and says what was wrong.
#[derive(Default)]
pub(crate) struct Oracle {
    pub(crate) mutual_exclusion: mutual_exclusion::MutualExclusion,
    pub(crate) permits: permits::Permits,
    pub(crate) exactly_once: exactly_once::ExactlyOnce,
    pub(crate) queue: queue::Ledger,
    pub(crate) barrier: barrier::Arrivals,
    pub(crate) wakeups: wakeups::WakeUps,
    pub(crate) dead_sessions: dead_sessions::DeadSessions,
    pub(crate) directory: directory::Directory,
    pub(crate) elements: elements::Elements,
    pub(crate) calls: calls::Calls,
    pub(crate) objects: objects::Objects,
    pub(crate) silence: silence::Silence,
    pub(crate) pools: pool::Pools,
}

impl Oracle {
    /// The manager has started, and hands out tokens above `start`: those of an earlier one it has
    /// forgotten.
    pub(crate) fn started(&mut self, start: u64) {
        self.mutual_exclusion.started(start);
        self.permits.started(start);
        self.pools.manager_started(start);
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
            &self.directory.violations,
            &self.elements.violations,
            &self.calls.violations,
            &self.objects.violations,
            &self.silence.violations,
            &self.pools.violations,
        ]
        .into_iter()
        .flatten()
        .cloned()
        .collect()
    }
}
