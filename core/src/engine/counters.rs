//! Counts of what has happened since the engine began.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use mp_manager_proto::operation;

use crate::{Error, Reason};

/// Threads count apart from each other: on one cache line a number would go back and forth between
/// processors with each operation. More threads than this share the numbers of others, and lose time only if
/// they count the same at the same time.
const SHARDS: usize = 16;

/// Counts of operations, errors and sessions.
#[derive(Debug)]
pub(super) struct Counters {
    operations: Box<[Shard]>,
    /// By reason.
    errors: [AtomicU64; Reason::NUMBERS],
    begun: AtomicU64,
    resumed: AtomicU64,
    ended: [AtomicU64; Cause::ALL.len()],
}

/// What some threads have counted, by the number of the operation. Two cache lines at a time are fetched.
#[derive(Debug)]
#[repr(align(128))]
struct Shard([AtomicU64; operation::NUMBERS]);

/// Why a session has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Its client said goodbye, or a unix socket proved that it has ended.
    Client,
    /// Nothing was heard of its client for its lease.
    Silence,
    /// Its client broke the protocol or a limit.
    Fault,
    /// The manager shuts down.
    Shutdown,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Client, Self::Silence, Self::Fault, Self::Shutdown];

    /// The cause of an end that the driver brought about with this error, if with any.
    pub(super) fn of(why: Option<&Error>) -> Self {
        match why.map(Error::reason) {
            None => Self::Client,
            Some(Reason::ShuttingDown) => Self::Shutdown,
            Some(_) => Self::Fault,
        }
    }

    /// Its name for programs.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Silence => "lease_expired",
            Self::Fault => "fault",
            Self::Shutdown => "shutdown",
        }
    }
}

/// What an engine has counted since it began. Each number is right by itself, and may be a moment older than the
/// next one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Requests that were started, by the [number](operation::number) of their operation.
    pub operations: Vec<u64>,
    /// Requests that were answered with an error, by the number of the reason.
    pub errors: Vec<u64>,
    /// Sessions that began.
    pub sessions_begun: u64,
    /// How often a session was resumed on another connection.
    pub sessions_resumed: u64,
    /// Sessions that have ended, in the order of [`Cause::ALL`].
    pub sessions_ended: [u64; Cause::ALL.len()],
}

impl Default for Counters {
    fn default() -> Self {
        let shard = |_| Shard([const { AtomicU64::new(0) }; operation::NUMBERS]);
        Self {
            operations: (0..SHARDS).map(shard).collect(),
            errors: [const { AtomicU64::new(0) }; Reason::NUMBERS],
            begun: AtomicU64::new(0),
            resumed: AtomicU64::new(0),
            ended: Default::default(),
        }
    }
}

impl Counters {
    /// A request with the operation of this number was started.
    #[inline]
    pub(super) fn started(&self, number: usize) {
        let shard = SHARD.with(|shard| *shard);
        if let Some(count) = self.operations.get(shard).and_then(|shard| shard.0.get(number)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A request was answered with an error.
    #[cold]
    pub(super) fn failed(&self, error: &Error) {
        // A reason that this build does not know counts as none.
        let number = error.reason() as usize;
        if let Some(count) = self.errors.get(number) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn begun(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn resumed(&self) {
        self.resumed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ended(&self, cause: Cause) {
        self.ended[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn tally(&self) -> Tally {
        let mut operations = vec![0; operation::NUMBERS];
        for shard in &self.operations {
            for (sum, count) in operations.iter_mut().zip(&shard.0) {
                *sum += read(count);
            }
        }
        Tally {
            operations,
            errors: self.errors.iter().map(read).collect(),
            sessions_begun: read(&self.begun),
            sessions_resumed: read(&self.resumed),
            sessions_ended: self.ended.each_ref().map(read),
        }
    }
}

fn read(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

/// Deals shards out to threads in turn. Sums are all that anybody sees of it.
static NEXT_SHARD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static SHARD: usize = NEXT_SHARD.fetch_add(1, Ordering::Relaxed) % SHARDS;
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn what_any_number_of_threads_count_adds_up() {
        let counters = Counters::default();
        thread::scope(|scope| {
            for _ in 0..2 * SHARDS {
                scope.spawn(|| (0..1000).for_each(|n| counters.started(n % 2)));
            }
        });
        let operations = counters.tally().operations;
        assert_eq!(operations[..3], [16_000, 16_000, 0]);
        // What is no operation is nobody's.
        counters.started(usize::MAX);
        assert_eq!(operations.iter().sum::<u64>(), 32_000);
    }

    #[test]
    fn sessions_end_for_a_cause() {
        let counters = Counters::default();
        let fault = Error::new(Reason::Protocol, "");
        for cause in [Cause::of(None), Cause::of(Some(&super::super::shutting_down()))] {
            counters.ended(cause);
        }
        counters.ended(Cause::of(Some(&fault)));
        assert_eq!(counters.tally().sessions_ended, [1, 0, 1, 1]);
        counters.failed(&fault);
        assert_eq!(counters.tally().errors[Reason::Protocol as usize], 1);
    }
}
