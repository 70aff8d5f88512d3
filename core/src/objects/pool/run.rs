//! A run: which of its tasks wait, which are in a worker's hands, and what came of the others.

use std::{collections::BTreeMap, ops::Range};

use mp_manager_proto::v1::{PoolDeath, PoolFailure, PoolFailureKind, PoolSegment, PoolTask};

use crate::{
    call::{CallId, SessionId},
    memory::{block, tree},
    stored::{Pin, Stored},
};

/// How often an idempotent task may end its worker, unless it says.
const ATTEMPTS: u32 = 3;

/// Some calls of a task that came together.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) owner: SessionId,
    /// Who waits for its results: nobody between an answer that was not the last one and the call for the rest.
    pub(super) call: Option<CallId>,
    pub(super) task: PoolTask,
    pub(super) args: Stored,
    pub(super) priority: i32,
    pub(super) timeout_us: u64,
    /// Earlier starts of the manager in which somebody may be executing it.
    pub(super) again: Vec<u64>,
    /// Tasks without an outcome, by the first of each piece.
    pub(super) pieces: BTreeMap<u32, Piece>,
    /// Outcomes that were not handed over, by the first task of each.
    segments: BTreeMap<u32, Segment>,
    segment_bytes: usize,
}

/// Tasks beside each other that share their fate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) end: u32,
    /// How many workers they have ended.
    pub(super) kills: u32,
    /// In whose hands they are; `None` while they wait in line.
    pub(super) ticket: Option<u64>,
}

/// What came of some tasks beside each other.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) count: u32,
    pub(super) results: Option<Stored>,
    pub(super) failures: Vec<PoolFailure>,
    pub(super) elapsed_us: u64,
}

impl Piece {
    pub(super) fn new(end: u32) -> Self {
        Self { end, kills: 0, ticket: None }
    }

    /// Whether it has ended a worker: each of its tasks is noted before it starts.
    pub(super) fn is_careful(self) -> bool {
        self.kills > 0
    }
}

impl Segment {
    /// Nothing came of these tasks.
    pub(super) fn failed(
        tasks: Range<u32>,
        kind: PoolFailureKind,
        message: &str,
        death: Option<PoolDeath>,
    ) -> Self {
        let count = tasks.end - tasks.start;
        let failure = PoolFailure {
            index: tasks.start,
            count,
            kind: kind.into(),
            message: message.into(),
            death,
            ..PoolFailure::default()
        };
        Self { failures: vec![failure], ..Self::none(count) }
    }

    /// Tasks without results and failures.
    pub(super) fn none(count: u32) -> Self {
        Self { count, results: None, failures: Vec::new(), elapsed_us: 0 }
    }

    fn bytes(&self) -> usize {
        let failures = self.failures.iter().map(|failure| {
            let causes =
                failure.causes.iter().map(|cause| block(cause.len()) + size_of::<String>());
            block(failure.message.len()) + block(failure.location.len()) + causes.sum::<usize>()
        });
        let failures = failures.sum::<usize>() + block(size_of_val(&self.failures[..]));
        self.results.as_ref().map_or(0, Stored::bytes) + failures
    }

    fn to_wire(&self, start: u32, pins: &mut Vec<Pin>) -> PoolSegment {
        pins.extend(self.results.iter().flat_map(Stored::pins).cloned());
        PoolSegment {
            start,
            count: self.count,
            results: self.results.as_ref().map(Stored::to_wire),
            failures: self.failures.clone(),
            elapsed_us: self.elapsed_us,
        }
    }
}

impl Run {
    /// A run whose tasks all wait.
    pub(super) fn new(call: CallId, task: PoolTask, args: Stored, count: u32) -> Self {
        Self {
            owner: call.session,
            call: Some(call),
            task,
            args,
            priority: 0,
            timeout_us: 0,
            again: Vec::new(),
            pieces: BTreeMap::from([(0, Piece::new(count))]),
            segments: BTreeMap::new(),
            segment_bytes: 0,
        }
    }

    /// How many workers one of its tasks may end.
    pub(super) fn attempts(&self) -> u32 {
        match (self.task.idempotent, self.task.attempts) {
            (false, _) => 1,
            (true, 0) => ATTEMPTS,
            (true, attempts) => attempts,
        }
    }

    /// Takes note of what came of tasks from `start`.
    pub(super) fn settle(&mut self, start: u32, segment: Segment) {
        self.segment_bytes += segment.bytes();
        self.segments.insert(start, segment);
    }

    /// Whether all its tasks have an outcome.
    pub(super) fn is_done(&self) -> bool {
        self.pieces.is_empty()
    }

    /// How long the outcomes are that were not handed over.
    pub(super) fn segment_bytes(&self) -> usize {
        self.segment_bytes
    }

    /// Takes out the outcomes that were not handed over.
    pub(super) fn take_segments(&mut self) -> (Vec<PoolSegment>, Vec<Pin>) {
        self.segment_bytes = 0;
        let mut pins = Vec::new();
        let segments = std::mem::take(&mut self.segments);
        let to_wire = |(start, segment): (&u32, &Segment)| segment.to_wire(*start, &mut pins);
        (segments.iter().map(to_wire).collect(), pins)
    }

    /// Number of its tasks that have no outcome.
    pub(super) fn tasks(&self) -> u64 {
        self.pieces.iter().map(|(start, piece)| u64::from(piece.end - start)).sum()
    }

    /// The memory it takes beside itself, about.
    pub(super) fn bytes(&self) -> usize {
        let task = block(self.task.name.len()) + block(self.task.signature.len());
        let maps =
            tree::<u32, Piece>(self.pieces.len()) + tree::<u32, Segment>(self.segments.len());
        let again = block(size_of_val(&self.again[..]));
        task + self.args.bytes() + again + maps + self.segment_bytes
    }
}
