//! The runs of one map: submitted in order, as many at a time as keep the workers busy, and read in order or as
//! they come.

use std::{
    collections::BTreeMap,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use futures_util::stream::FuturesUnordered;

use crate::{
    error::Result,
    process::{
        pool::{
            ran::Ran,
            submissions::Active,
            submit::{Inputs, Submission, Submitted},
        },
        task::{BoxFuture, Task},
    },
};

/// How long a run should keep a worker busy.
const RUN_TIME: Duration = Duration::from_millis(10);
/// How long all that is under way should keep the workers busy.
const AHEAD: Duration = Duration::from_millis(40);
/// A first run has no more tasks than that.
const FIRST_CHUNK: usize = 64;
/// By that much a run is larger than those before it, at most.
const GROWTH: usize = 8;
/// Runs under way for each worker.
const MIN_RUNS: usize = 4;
const MAX_RUNS: usize = 1024;

/// How large runs are, and how many are under way.
#[derive(Debug)]
struct Pace {
    fixed: Option<usize>,
    workers: usize,
    size: usize,
    /// How long a task takes, in nanoseconds.
    each: Option<u128>,
}

impl Pace {
    /// `count` is how many tasks there are, if that is known.
    fn new(fixed: Option<usize>, workers: usize, count: Option<usize>) -> Self {
        let share = |count: usize| count.div_ceil(4 * workers).clamp(1, FIRST_CHUNK);
        // Of an iterator without an end, whoever reads the results should not wait for the first ones.
        Self { fixed, workers, size: count.map_or(1, share), each: None }
    }

    /// How many tasks the next run has, of as many as are left.
    fn size(&self, left: Option<usize>) -> usize {
        let share = left.map_or(usize::MAX, |left| left.div_ceil(2 * self.workers).max(1));
        self.fixed.unwrap_or(self.size.min(share))
    }

    fn max_runs(&self) -> usize {
        let runs = match self.each {
            Some(each) => {
                let run_time = each * self.fixed.unwrap_or(self.size) as u128;
                let runs = AHEAD.as_nanos() / run_time.max(1);
                usize::try_from(runs).unwrap_or(usize::MAX).clamp(MIN_RUNS, MAX_RUNS)
            }
            None => MIN_RUNS,
        };
        runs * self.workers
    }

    /// Others have come, or some have left; 0 says nothing.
    fn note_workers(&mut self, workers: usize) {
        if workers > 0 {
            self.workers = workers;
        }
    }

    fn note(&mut self, tasks: usize, elapsed: Duration) {
        let each = elapsed.as_nanos() / tasks.max(1) as u128;
        let size = usize::try_from(RUN_TIME.as_nanos() / each.max(1)).unwrap_or(usize::MAX);
        self.size = size.clamp(1, self.size.saturating_mul(GROWTH));
        self.each = Some(each);
    }
}

/// A run whose tasks all have an outcome.
pub(super) struct Done<T> {
    /// The number of its first task.
    pub(super) first: usize,
    pub(super) ran: Ran<T>,
}

/// A run that is under way: it completes with its number.
type Pending<T> = BoxFuture<Result<(usize, Done<T>)>>;

pub(super) struct Runs<T: Task> {
    submission: Submission,
    /// Until all runs are done: the pool is not closed while one of them waits to go out. At first why none is.
    active: Result<Option<Active>>,
    inputs: Inputs<T::Args>,
    pace: Pace,
    is_ordered: bool,
    /// All inputs were taken.
    is_exhausted: bool,
    pending: FuturesUnordered<Pending<T::Output>>,
    /// How many workers there are, which whoever has opened a pool may not know. What is done says so as well.
    census: Option<BoxFuture<usize>>,
    /// Runs that came before those whose turn it is.
    done: BTreeMap<usize, Done<T::Output>>,
    submitted_runs: usize,
    submitted_tasks: usize,
    read_runs: usize,
}

impl<T: Task> Runs<T> {
    pub(super) fn new(
        submission: Submission,
        inputs: Inputs<T::Args>,
        (chunk_size, workers): (Option<usize>, usize),
        is_ordered: bool,
    ) -> Self {
        let (least, most) = inputs.size_hint();
        let count = most.filter(|most| *most == least);
        // What takes too long is ended with its worker: nothing else may be with it.
        let fixed = if submission.timeout.is_some() { Some(1) } else { chunk_size };
        Self {
            active: submission.submissions.begin(submission.is_stream).map(Some),
            census: submission.census(),
            submission,
            inputs,
            pace: Pace::new(fixed, workers.max(1), count),
            is_ordered,
            is_exhausted: false,
            pending: FuturesUnordered::new(),
            done: BTreeMap::new(),
            submitted_runs: 0,
            submitted_tasks: 0,
            read_runs: 0,
        }
    }

    /// The next run; `None` after the last.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Done<T::Output>>>> {
        if let Some(census) = &mut self.census
            && let Poll::Ready(workers) = census.as_mut().poll(cx)
        {
            self.census = None;
            self.pace.note_workers(workers);
        }
        loop {
            if let Err(error) = self.submit() {
                self.is_exhausted = true;
                self.pending = FuturesUnordered::new();
                return Poll::Ready(Some(Err(error)));
            }
            if let Some(done) = self.next_done() {
                self.read_runs += 1;
                return Poll::Ready(Some(Ok(done)));
            }
            match Pin::new(&mut self.pending).poll_next(cx) {
                Poll::Ready(Some(Ok((number, done)))) => {
                    let tasks = done.ran.values.len() + done.ran.failures.len();
                    self.pace.note(tasks, done.ran.elapsed);
                    self.pace.note_workers(done.ran.workers);
                    self.done.insert(number, done);
                }
                Poll::Ready(Some(Err(error))) => {
                    self.is_exhausted = true;
                    self.pending = FuturesUnordered::new();
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => {
                    self.active = Ok(None);
                    return Poll::Ready(None);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn next_done(&mut self) -> Option<Done<T::Output>> {
        let next = self.done.first_entry()?;
        (!self.is_ordered || *next.key() == self.read_runs).then(|| next.remove())
    }

    fn submit(&mut self) -> Result<()> {
        if let Err(error) = &self.active {
            return Err(error.clone());
        }
        while !self.is_exhausted && self.pending.len() + self.done.len() < self.pace.max_runs() {
            let (least, most) = self.inputs.size_hint();
            let left = most.filter(|most| *most == least);
            let size = self.pace.size(left);
            let next = self.submission.next::<T>(&mut self.inputs, size)?;
            let Some(Submitted { count, ran }) = next else {
                self.is_exhausted = true;
                return Ok(());
            };
            let (number, first) = (self.submitted_runs, self.submitted_tasks);
            self.submitted_runs += 1;
            self.submitted_tasks += count;
            let done = async move { Ok((number, Done { first, ran: ran.await? })) };
            self.pending.push(Box::pin(done));
        }
        Ok(())
    }
}
