//! The time that leases are about.

use std::{sync::Arc, time::Duration};

/// Time since some moment, which goes on while the machine sleeps, and never goes back. What the
/// wall clock says has no part in it.
#[derive(Clone)]
pub(crate) struct Clock(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Clock {
    /// The system's. Rust's `Instant` would not do: on Linux it stops while the machine sleeps.
    pub(crate) fn system() -> Self {
        Self::new(|| {
            use rustix::time::{ClockId, clock_gettime};
            #[cfg(target_os = "linux")]
            let now = clock_gettime(ClockId::Boottime);
            #[cfg(not(target_os = "linux"))]
            let now = clock_gettime(ClockId::Monotonic);
            let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
            Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
        })
    }

    /// Another one, for a simulation.
    pub(crate) fn new(now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub(crate) fn now(&self) -> Duration {
        (self.0)()
    }
}
