//! The server's clocks.

use std::time::Duration;

use mp_manager_core::engine::Clock;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// A clock that also runs while the machine is suspended, which the standard library's does not.
#[cfg(target_os = "linux")]
const BOOTTIME: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const BOOTTIME: ClockId = ClockId::Monotonic;

/// The clocks of one start of a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServerClock {
    started: Instant,
}

impl ServerClock {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now() }
    }

    /// When it is `time` on the monotonic clock.
    pub(crate) fn instant(&self, time: Duration) -> Option<Instant> {
        self.started.checked_add(time)
    }
}

impl Clock for ServerClock {
    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    fn boottime(&self) -> Duration {
        let now = clock_gettime(BOOTTIME);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0))
    }
}
