//! The rows of the table: what is done, with whom it is compared, and what is wanted.

use serde::Serialize;

use crate::{client::Work, measured::Measured, server::Side};

/// The figure that a row compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Metric {
    /// Operations per second; the more the better. All others: the less the better.
    Rate,
    /// The middle one of what operations take, in µs.
    Latency,
    /// The server's processor time for each operation, in µs.
    ServerCpu,
    /// The server's resident bytes for each operation.
    Bytes,
    /// The time of the whole work, in ms.
    Milliseconds,
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Describes the work.
    pub(crate) what: &'static str,
    pub(crate) work: Work,
    /// Of tasks, connections, entries, bytes, as the work has it.
    pub(crate) count: u64,
    /// By so many processes at a time.
    pub(crate) processes: u32,
    /// Server and clients have one processor.
    pub(crate) is_pinned: bool,
    /// Ours, and what it is compared with; without that, ours is compared with what is wanted.
    pub(crate) sides: &'static [Side],
    pub(crate) metric: Metric,
    /// The multiple of the other that ours must reach; a line that does not says `short`.
    pub(crate) goal: f64,
    /// Where it is to go.
    pub(crate) aim: f64,
}

impl Metric {
    pub(crate) fn of(self, measured: &Measured) -> f64 {
        match self {
            Self::Rate => measured.rate,
            Self::Latency => measured.p50.unwrap_or(f64::NAN),
            Self::ServerCpu => measured.server_cpu,
            Self::Bytes => measured.bytes.unwrap_or(f64::NAN),
            Self::Milliseconds => measured.seconds * 1000.0,
        }
    }

    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Rate => "/s",
            Self::Latency => "µs",
            Self::ServerCpu => "µs CPU",
            Self::Bytes => "B",
            Self::Milliseconds => "ms",
        }
    }

    /// Whether a value is as good as another one. What is no number is not.
    pub(crate) fn reaches(self, value: f64, goal: f64) -> bool {
        if self == Self::Rate { value >= goal } else { value <= goal }
    }
}

const fn row(
    name: &'static str,
    what: &'static str,
    work: Work,
    count: u64,
    sides: &'static [Side],
) -> Row {
    Row {
        name,
        what,
        work,
        count,
        processes: 1,
        is_pinned: false,
        sides,
        metric: Metric::Rate,
        goal: 0.0,
        aim: 0.0,
    }
}

impl Row {
    const fn wants(mut self, metric: Metric, goal: f64, aim: f64) -> Self {
        (self.metric, self.goal, self.aim) = (metric, goal, aim);
        self
    }

    const fn on_one_processor(mut self) -> Self {
        self.is_pinned = true;
        self
    }

    const fn by(mut self, processes: u32) -> Self {
        self.processes = processes;
        self
    }
}

use Metric::{Bytes, Latency, Milliseconds, Rate, ServerCpu};
use Side::{Echo, Embedded, Etcd, Ours, OursTls, Python, Redis};

/// All of them, in the order in which they are measured.
pub(crate) const ROWS: &[Row] = &[
    row(
        "seq_tcp",
        "one caller, insert and get in turns, one processor",
        Work::Tasks,
        1,
        &[Ours, Echo],
    )
    .on_one_processor()
    .wants(Latency, 1.4, 1.2),
    row(
        "seq_redis",
        "one caller, insert and get in turns, one processor",
        Work::Tasks,
        1,
        &[Ours, Redis],
    )
    .on_one_processor()
    .wants(Latency, 1.05, 0.95),
    row(
        "embedded_seq",
        "an embedded manager's owner, insert and get in turns (µs)",
        Work::Tasks,
        1,
        &[Embedded],
    )
    .on_one_processor()
    .wants(Latency, 3.0, 1.0),
    row("conc16", "16 tasks on one connection", Work::Tasks, 16, &[Ours, Redis])
        .wants(Rate, 1.1, 1.4),
    row("conc64", "64 tasks on one connection", Work::Tasks, 64, &[Ours, Redis])
        .wants(Rate, 1.3, 1.8),
    row("conc256", "256 tasks on one connection", Work::Tasks, 256, &[Ours, Redis])
        .wants(Rate, 1.6, 2.3),
    row("conc1024", "1,024 tasks on one connection", Work::Tasks, 1024, &[Ours, Redis])
        .wants(Rate, 1.8, 2.7),
    row(
        "conns64",
        "64 connections, one call in flight each",
        Work::Connections,
        64,
        &[Ours, Redis],
    )
    .wants(Rate, 1.1, 1.3),
    row("cpu_op", "64 connections: CPU time of the server", Work::Connections, 64, &[Ours, Redis])
        .wants(ServerCpu, 1.1, 0.9),
    row("bulk", "500 entries in a call, 4 in flight", Work::Bulk, 0, &[Ours, Redis])
        .wants(Rate, 1.3, 1.5),
    row(
        "queue_e2e",
        "to another process by a queue, and back",
        Work::QueueRoundTrip,
        0,
        &[Ours, Redis],
    )
    .by(2)
    .wants(Latency, 0.9, 0.7),
    row("handoff", "a lock between two processes, each hand-off", Work::HandOff, 2, &[Ours, Echo])
        .by(2)
        .wants(Latency, 2.0, 1.6),
    row("handoff_etcd", "a lock between two processes, hand-offs", Work::HandOff, 2, &[Ours, Etcd])
        .by(2)
        .wants(Rate, 20.0, 50.0),
    row("py_seq", "one caller, insert and get in turns", Work::Tasks, 1, &[Ours, Python])
        .wants(Latency, 0.85, 0.75),
    row("py_16proc", "16 processes, insert and get in turns", Work::Tasks, 1, &[Ours, Python])
        .by(16)
        .wants(Rate, 5.0, 8.0),
    row("py_lock", "acquire and release by 16 processes", Work::LockPair, 0, &[Ours, Python])
        .by(16)
        .wants(Rate, 3.0, 5.0),
    row("py_queue", "put and get by 16 processes", Work::QueuePair, 0, &[Ours, Python])
        .by(16)
        .wants(Rate, 3.0, 5.0),
    row("pool_apply", "a pool's tasks, one at a time", Work::PoolApply, 5_000, &[Embedded, Python])
        .wants(Rate, 1.5, 2.0),
    row(
        "pool_apply_async",
        "a pool's tasks, all begun at once",
        Work::PoolApplyAsync,
        30_000,
        &[Embedded, Python],
    )
    .wants(Rate, 3.0, 5.0),
    row(
        "pool_chunk1",
        "a pool's map with chunks of one",
        Work::PoolChunk1,
        60_000,
        &[Embedded, Python],
    )
    .wants(Rate, 3.0, 5.0),
    row("pool_auto", "a pool's map", Work::PoolAuto, 1_000_000, &[Embedded, Python])
        .wants(Rate, 2.0, 4.0),
    row(
        "wake",
        "100,000 calls of 100 sessions that an event wakes (ms)",
        Work::Wake,
        100_000,
        &[Ours],
    )
    .wants(Milliseconds, 100.0, 60.0),
    row("wake_bytes", "what each takes that waits (bytes)", Work::Parked, 100_000, &[Ours])
        .wants(Bytes, 400.0, 400.0),
    row("idle", "an idle session (bytes)", Work::Idle, 500, &[Ours]).wants(Bytes, 24576.0, 16384.0),
    row("idle_tls", "an idle session with TLS (bytes)", Work::Idle, 500, &[OursTls])
        .wants(Bytes, 32768.0, 16384.0),
    row("mem", "10^6 entries of 11 and 32 bytes", Work::Memory, 1_000_000, &[Ours, Redis])
        .wants(Bytes, 1.2, 0.9),
    row(
        "tls",
        "256 tasks on one connection, with TLS and without",
        Work::Tasks,
        256,
        &[OursTls, Ours],
    )
    .wants(Rate, 0.75, 0.9),
];

/// A figure of ours beside more and more of something.
pub(crate) struct Series {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) row: Row,
    pub(crate) counts: &'static [u64],
}

pub(crate) const SERIES: &[Series] = &[
    Series {
        name: "grow_objects",
        what: "16 tasks beside so many other objects",
        row: row("grow_objects", "", Work::GrowObjects, 1, &[Ours]),
        counts: &[1, 10, 100, 1_000, 10_000, 100_000, 1_000_000],
    },
    Series {
        name: "grow_sessions",
        what: "16 tasks beside so many other sessions",
        row: row("grow_sessions", "", Work::GrowSessions, 1, &[Ours]),
        counts: &[1, 10, 100, 1_000, 8_000],
    },
    Series {
        name: "grow_values",
        what: "one caller with values of so many bytes",
        row: row("grow_values", "", Work::GrowValues, 1, &[Ours]),
        counts: &[10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000],
    },
];
