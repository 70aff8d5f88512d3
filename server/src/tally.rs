//! Counts of what was refused.

use std::sync::atomic::{AtomicU64, Ordering};

use mp_manager_core::{Error, Reason};

/// Errors by their reason.
#[derive(Debug)]
pub(crate) struct ByReason([AtomicU64; Reason::NUMBERS]);

impl Default for ByReason {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; Reason::NUMBERS])
    }
}

impl ByReason {
    pub(crate) fn count(&self, error: &Error) {
        if let Some(count) = self.0.get(error.reason() as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// By the number of the reason.
    pub(crate) fn read(&self) -> Vec<u64> {
        self.0.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }
}
