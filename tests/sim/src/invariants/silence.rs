//! Silence costs nothing before it has lasted for nearly a lease, and a timeout ends its call whatever
//! the connection does.

use std::time::Duration;

use crate::world::Micros;

#[derive(Default)]
pub(crate) struct Silence {
    pub(super) violations: Vec<String>,
}

impl Silence {
    /// A process gives up what it holds: it said the newest of what it knows the manager to have
    /// heard so long ago.
    pub(crate) fn gives_up(&mut self, process: usize, unheard: Micros, lease: Duration) {
        let lease = u64::try_from(lease.as_micros()).unwrap_or(u64::MAX);
        if unheard < lease / 100 * 96 {
            self.violations.push(format!(
                "process {process} gave up after {unheard} µs of silence; its lease is {lease} µs"
            ));
        }
    }

    /// A call has ended that had a timeout, after so long.
    pub(crate) fn ended(
        &mut self,
        process: usize,
        operation: &str,
        timeout: Duration,
        took: Micros,
        slack: Micros,
    ) {
        let timeout = u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX);
        // The process' clock may be slow, and the longest round trip that counts is a second.
        if took > timeout + timeout / 100 + 2_300_000 + slack {
            self.violations.push(format!(
                "process {process}: {operation} took {took} µs, its timeout is {timeout} µs"
            ));
        }
    }

    /// Calls go on of which nobody will ever hear.
    pub(crate) fn hangs(&mut self, process: usize, calls: usize) {
        self.violations.push(format!(
            "{calls} calls of process {process} go on without its connection's task"
        ));
    }
}
