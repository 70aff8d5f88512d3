//! What came of a run.

use std::time::Duration;

use crate::failure::TaskFailure;

/// What came of the tasks of a run: the results in order, but for those of tasks that failed.
#[derive(Debug)]
pub(super) struct Ran<T> {
    pub(super) values: Vec<T>,
    /// By their place in the run, ascending.
    pub(super) failures: Vec<(usize, TaskFailure)>,
    /// How long the tasks took in their worker.
    pub(super) elapsed: Duration,
    /// How many workers the pool had at their end; 0 if nobody has said so.
    pub(super) workers: usize,
}

impl<T> Ran<T> {
    /// One outcome for each task.
    pub(super) fn into_outcomes(self) -> impl Iterator<Item = Result<T, TaskFailure>> {
        let count = self.values.len() + self.failures.len();
        let mut values = self.values.into_iter();
        let mut failures = self.failures.into_iter().peekable();
        (0..count).filter_map(move |at| match failures.next_if(|(index, _)| *index == at) {
            Some((_, failure)) => Some(Err(failure)),
            None => values.next().map(Ok),
        })
    }
}
