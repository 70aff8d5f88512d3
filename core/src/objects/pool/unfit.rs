//! Programs that do not have a task: of those who ask for work only others are handed its runs.

use std::collections::{BTreeMap, BTreeSet};

use mp_manager_proto::v1::{PoolFailure, PoolFailureKind, PoolReport};

use super::{Piece, RunId, Segment, State, guardian};
use crate::{call::SessionId, memory::tree, turn::Turn};

/// For each run the guardians whose workers have said that their program does not have its task, and the workers
/// without a guardian that have.
#[derive(Debug, Clone, Default)]
pub(super) struct Unfit {
    by_run: BTreeMap<RunId, Said>,
}

#[derive(Debug, Clone)]
struct Said {
    places: BTreeSet<SessionId>,
    /// What the last one said.
    failure: PoolFailure,
}

impl Unfit {
    pub(super) fn is_empty(&self) -> bool {
        self.by_run.is_empty()
    }

    pub(super) fn contains(&self, run: RunId, place: SessionId) -> bool {
        self.by_run.get(&run).is_some_and(|said| said.places.contains(&place))
    }

    pub(super) fn forget(&mut self, run: RunId) {
        self.by_run.remove(&run);
    }

    /// The memory it takes, about.
    pub(super) fn bytes(&self) -> usize {
        let places =
            |said: &Said| tree::<SessionId, ()>(said.places.len()) + said.failure.message.len();
        tree::<RunId, Said>(self.by_run.len()) + self.by_run.values().map(places).sum::<usize>()
    }
}

/// Why none of the tasks of a report has run, if its worker's program does not have the task.
fn unknown(report: &PoolReport) -> Option<&PoolFailure> {
    let [failure] = &report.failures[..] else { return None };
    let is_unknown =
        matches!(failure.kind(), PoolFailureKind::UnknownTask | PoolFailureKind::SignatureMismatch);
    (is_unknown && report.results.is_none() && failure.count.max(1) >= report.count)
        .then_some(failure)
}

impl State {
    /// Where a worker belongs: all workers of one guardian have one program.
    pub(super) fn place(&self, worker: SessionId) -> SessionId {
        guardian(&self.workers, &self.guarded, worker).unwrap_or(worker)
    }

    /// Whether a worker's program may have the task of a run.
    pub(super) fn is_fit(&self, worker: SessionId, run: RunId) -> bool {
        self.unfit.is_empty() || !self.unfit.contains(run, self.place(worker))
    }

    /// Takes note of a worker whose program does not have the task that it was handed, and puts that in line again
    /// if another program may have it: whether it is there.
    pub(super) fn pass_on(
        &mut self,
        worker: SessionId,
        (run, start): (RunId, u32),
        report: &PoolReport,
    ) -> bool {
        let Some(failure) = unknown(report).cloned() else { return false };
        let place = self.place(worker);
        let said = Said { places: BTreeSet::new(), failure: failure.clone() };
        let said = self.unfit.by_run.entry(run).or_insert(said);
        said.places.insert(place);
        said.failure = failure;
        if self.nobody_is_fit(run) {
            return false;
        }
        self.with_run(run, |run| {
            if let Some(piece) = run.pieces.get_mut(&start) {
                *piece = Piece { ticket: None, ..*piece };
            }
        });
        self.queue(run, start);
        true
    }

    /// Whether there are workers, and none of them has a program that may have the task of a run.
    fn nobody_is_fit(&self, run: RunId) -> bool {
        let guardians = self.guarded.values().map(|guarded| guarded.guardian);
        let mut places = guardians.chain(self.workers.keys().map(|worker| self.place(*worker)));
        match places.next() {
            None => false,
            Some(first) => {
                self.unfit.contains(run, first)
                    && places.all(|place| self.unfit.contains(run, place))
            }
        }
    }

    /// Settles what is in line for nobody: workers have left, and the programs of those who are there do not have
    /// the task.
    pub(super) fn settle_unfit(&mut self, turn: &mut Turn<'_>) {
        if self.unfit.is_empty() {
            return;
        }
        let runs: Vec<RunId> = self.unfit.by_run.keys().copied().collect();
        for id in runs {
            if !self.nobody_is_fit(id) {
                continue;
            }
            let Some(failure) = self.unfit.by_run.get(&id).map(|said| said.failure.clone()) else {
                continue;
            };
            let Some(run) = self.runs.get(&id) else { continue };
            let waits = |(start, piece): (&u32, &Piece)| {
                piece.ticket.is_none().then_some((*start, piece.end))
            };
            let waiting: Vec<(u32, u32)> = run.pieces.iter().filter_map(waits).collect();
            let (priority, owner) = (run.priority, run.owner);
            for (start, end) in waiting {
                self.line.remove(priority, owner, (id, start));
                let failure = PoolFailure { index: start, count: end - start, ..failure.clone() };
                let segment = Segment { failures: vec![failure], ..Segment::none(end - start) };
                self.count_done(&segment);
                self.with_run(id, |run| {
                    run.pieces.remove(&start);
                    run.settle(start, segment);
                });
            }
            self.answer(id, turn);
        }
        self.finish(turn);
    }
}
