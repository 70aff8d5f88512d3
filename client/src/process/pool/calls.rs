//! What is submitted to a pool: one call, or a task for each of many inputs.

use std::{
    collections::BTreeMap,
    fmt,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
    vec,
};

use futures_core::Stream;

use crate::{
    error::{Error, Result},
    failure::{TaskError, TaskFailure},
    process::{
        pool::{
            progress::Progress,
            result::AsyncResult,
            runs::{Done, Runs},
            submit::{Inputs, Submission},
        },
        task::{BoxFuture, Task},
    },
};

fn failed<T: Task>(index: usize, succeeded: usize, failure: TaskFailure) -> Error {
    Error::TaskFailed(Box::new(TaskError { task: T::NAME, index, succeeded, failure }))
}

type Callback<T> = Box<dyn FnOnce(&T) + Send>;

/// What to call with the result.
struct Callbacks<T> {
    result: Option<Callback<T>>,
    error: Option<Callback<Error>>,
}

impl<T> Default for Callbacks<T> {
    fn default() -> Self {
        Self { result: None, error: None }
    }
}

impl<T> Callbacks<T> {
    fn call(self, result: &Result<T>) {
        // A callback that panics has said so, and the result is there all the same.
        let _ = catch_unwind(AssertUnwindSafe(|| match result {
            Ok(value) => self.result.into_iter().for_each(|callback| callback(value)),
            Err(error) => self.error.into_iter().for_each(|callback| callback(error)),
        }));
    }
}

/// The parts of a list, each with the place of its first element.
struct Parts<T>(BTreeMap<usize, Vec<T>>);

impl<T> Parts<T> {
    fn new() -> Self {
        Self(BTreeMap::new())
    }

    fn add(&mut self, first: usize, part: Vec<T>) {
        self.0.insert(first, part);
    }

    fn join(self) -> Vec<T> {
        let len = self.0.values().map(Vec::len).sum::<usize>();
        let mut parts = self.0.into_values();
        let mut all = parts.next().unwrap_or_default();
        all.reserve_exact(len - all.len());
        parts.for_each(|mut part| all.append(&mut part));
        all
    }
}

/// One call of a task, made by [`Pool::apply`](crate::Pool::apply). Await it for its result.
#[must_use = "a task is submitted when this is awaited"]
pub struct Apply<T: Task> {
    submission: Submission,
    args: T::Args,
    callbacks: Callbacks<T::Output>,
}

impl<T: Task> Apply<T> {
    pub(super) fn new(submission: Submission, args: T::Args) -> Self {
        Self { submission, args, callbacks: Callbacks::default() }
    }

    /// How long the task may run. A worker that is in a sync task 50 ms later ends, and another one takes its
    /// place. It is the worker that looks at the clock: one that is stopped ends when it goes on. In a pool of
    /// threads there is no timeout.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.submission.timeout = Some(timeout);
        self
    }

    /// Tasks of a higher priority are handed to workers first; 0 unless told otherwise.
    pub fn priority(mut self, priority: i32) -> Self {
        self.submission.priority = priority;
        self
    }

    /// Calls this with the result.
    pub fn callback(mut self, callback: impl FnOnce(&T::Output) + Send + 'static) -> Self {
        self.callbacks.result = Some(Box::new(callback));
        self
    }

    /// Calls this with the error.
    pub fn error_callback(mut self, callback: impl FnOnce(&Error) + Send + 'static) -> Self {
        self.callbacks.error = Some(Box::new(callback));
        self
    }

    /// Submits it now, and gives something to ask for the result later.
    pub fn start(mut self) -> AsyncResult<T::Output> {
        self.submission.is_awaited = false;
        AsyncResult::of(self.into_future())
    }

    async fn run(self) -> Result<T::Output> {
        let Self { submission, args, callbacks } = self;
        let result = async {
            let _active = submission.submissions.begin(false)?;
            let mut inputs = Inputs::new(std::iter::once(args));
            let next = submission.next::<T>(&mut inputs, 1)?;
            let Some(submitted) = next else { return Err(no_outcome()) };
            match submitted.ran.await?.into_outcomes().next() {
                Some(outcome) => outcome.map_err(|failure| failed::<T>(0, 0, failure)),
                None => Err(no_outcome()),
            }
        }
        .await;
        callbacks.call(&result);
        result
    }
}

fn no_outcome() -> Error {
    let message = "the pool answered without an outcome".into();
    Error::Protocol(Box::new(crate::Context { message, ..crate::Context::default() }))
}

impl<T: Task> Apply<T> {
    /// Submits it, and waits on this thread: for the [blocking](crate::blocking::Pool) interface.
    ///
    /// # Errors
    /// As awaiting it.
    pub fn wait(self) -> Result<T::Output> {
        pollster::block_on(self.into_future())
    }
}

impl<T: Task> IntoFuture for Apply<T> {
    type Output = Result<T::Output>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// Options of everything that has many inputs.
pub(super) struct Many<T: Task> {
    submission: Submission,
    inputs: Inputs<T::Args>,
    chunk_size: Option<usize>,
    workers: usize,
    draws: bool,
}

impl<T: Task> Many<T> {
    pub(super) fn new(
        submission: Submission,
        workers: usize,
        inputs: impl Iterator<Item = T::Args> + Send + 'static,
    ) -> Self {
        let inputs = Inputs::new(inputs);
        Self { submission, inputs, chunk_size: None, workers, draws: false }
    }

    fn runs(self, is_ordered: bool) -> (Runs<T>, Progress) {
        let progress = Progress::new(self.draws, T::NAME, self.inputs.size_hint());
        let size = (self.chunk_size, self.workers);
        (Runs::new(self.submission, self.inputs, size, is_ordered), progress)
    }
}

macro_rules! options {
    () => {
        /// So many tasks go to a worker together; without it, as many as keep one busy for some milliseconds.
        /// Tasks of one chunk are executed one after the other, unless the first ones take long.
        #[doc(alias = "chunksize")]
        pub fn chunk_size(mut self, tasks: usize) -> Self {
            self.many.chunk_size = Some(tasks.max(1));
            self
        }

        /// How long each task may run, as [`Apply::timeout`]. Each is then handed out by itself.
        pub fn timeout(mut self, timeout: Duration) -> Self {
            self.many.submission.timeout = Some(timeout);
            self
        }

        /// Tasks of a higher priority are handed to workers first; 0 unless told otherwise.
        pub fn priority(mut self, priority: i32) -> Self {
            self.many.submission.priority = priority;
            self
        }

        /// Draws a bar on standard error, if that is a terminal.
        pub fn progress(mut self) -> Self {
            self.many.draws = true;
            self
        }
    };
}

/// A task for each of many inputs, made by [`Pool::map`](crate::Pool::map). Await it for all results, in the order
/// of the inputs.
///
/// The first error ends it, and tasks that no worker has started are taken back. [`results`](Self::results) goes
/// on instead, and tells the outcome of each.
#[must_use = "tasks are submitted when this is awaited"]
pub struct Map<T: Task> {
    many: Many<T>,
    callbacks: Callbacks<Vec<T::Output>>,
}

impl<T: Task> Map<T> {
    pub(super) fn new(many: Many<T>) -> Self {
        Self { many, callbacks: Callbacks::default() }
    }

    options!();

    /// Calls this with all results.
    pub fn callback(mut self, callback: impl FnOnce(&Vec<T::Output>) + Send + 'static) -> Self {
        self.callbacks.result = Some(Box::new(callback));
        self
    }

    /// Calls this with the error.
    pub fn error_callback(mut self, callback: impl FnOnce(&Error) + Send + 'static) -> Self {
        self.callbacks.error = Some(Box::new(callback));
        self
    }

    /// One outcome for each input, instead of the first error.
    pub fn results(self) -> MapResults<T> {
        MapResults { many: self.many }
    }

    /// Submits it now, and gives something to ask for the results later.
    pub fn start(mut self) -> AsyncResult<Vec<T::Output>> {
        self.many.submission.is_awaited = false;
        AsyncResult::of(self.into_future())
    }

    async fn run(self) -> Result<Vec<T::Output>> {
        let Self { many, callbacks } = self;
        // As they come, so that an error ends it at once, and no run holds up those that come after it.
        let (mut runs, progress) = many.runs(false);
        let mut parts = Parts::new();
        let mut succeeded = 0;
        let result = loop {
            match poll_fn(|cx| runs.poll_next(cx)).await {
                None => break Ok(parts.join()),
                Some(Err(error)) => break Err(error),
                Some(Ok(Done { first, mut ran })) => {
                    succeeded += ran.values.len();
                    if let Some((at, failure)) = ran.failures.drain(..).next() {
                        break Err(failed::<T>(first + at, succeeded, failure));
                    }
                    progress.advance(ran.values.len());
                    parts.add(first, ran.values);
                }
            }
        };
        callbacks.call(&result);
        result
    }
}

impl<T: Task> Map<T> {
    /// Submits it, and waits on this thread: for the [blocking](crate::blocking::Pool) interface.
    ///
    /// # Errors
    /// As awaiting it.
    pub fn wait(self) -> Result<Vec<T::Output>> {
        pollster::block_on(self.into_future())
    }
}

impl<T: Task> IntoFuture for Map<T> {
    type Output = Result<Vec<T::Output>>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// The outcome of each task of a [`Map`].
#[must_use = "tasks are submitted when this is awaited"]
pub struct MapResults<T: Task> {
    many: Many<T>,
}

impl<T: Task> MapResults<T> {
    options!();

    async fn run(self) -> Result<Vec<Result<T::Output, TaskFailure>>> {
        let (mut runs, progress) = self.many.runs(false);
        let mut parts = Parts::new();
        while let Some(next) = poll_fn(|cx| runs.poll_next(cx)).await {
            let Done { first, ran } = next?;
            let outcomes: Vec<_> = ran.into_outcomes().collect();
            progress.advance(outcomes.len());
            parts.add(first, outcomes);
        }
        Ok(parts.join())
    }
}

impl<T: Task> MapResults<T> {
    /// Submits it, and waits on this thread: for the [blocking](crate::blocking::Pool) interface.
    ///
    /// # Errors
    /// As awaiting it.
    pub fn wait(self) -> Result<Vec<Result<T::Output, TaskFailure>>> {
        pollster::block_on(self.into_future())
    }
}

impl<T: Task> IntoFuture for MapResults<T> {
    type Output = Result<Vec<Result<T::Output, TaskFailure>>>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// Results one by one, made by [`Pool::imap`](crate::Pool::imap): a [`Stream`]. Each item is a result or the error of
/// one task, after which it goes on.
///
/// Inputs are taken as workers come to them: an iterator without an end is fine. Dropping it takes back what no
/// worker has started.
#[must_use = "tasks are submitted when this is polled"]
pub struct Imap<T: Task> {
    many: Option<Many<T>>,
    is_ordered: bool,
    running: Option<Running<T>>,
}

struct Running<T: Task> {
    runs: Runs<T>,
    progress: Progress,
    ready: vec::IntoIter<(usize, Result<T::Output, TaskFailure>)>,
    succeeded: usize,
}

impl<T: Task> Imap<T> {
    pub(super) fn new(mut many: Many<T>, is_ordered: bool) -> Self {
        many.submission.is_stream = true;
        Self { many: Some(many), is_ordered, running: None }
    }

    fn with(mut self, change: impl FnOnce(&mut Many<T>)) -> Self {
        if let Some(many) = &mut self.many {
            change(many);
        }
        self
    }

    /// So many tasks go to a worker together, as [`Map::chunk_size`].
    #[doc(alias = "chunksize")]
    pub fn chunk_size(self, tasks: usize) -> Self {
        self.with(|many| many.chunk_size = Some(tasks.max(1)))
    }

    /// How long each task may run, as [`Apply::timeout`]. Each is then handed out by itself.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|many| many.submission.timeout = Some(timeout))
    }

    /// Tasks of a higher priority are handed to workers first; 0 unless told otherwise.
    pub fn priority(self, priority: i32) -> Self {
        self.with(|many| many.submission.priority = priority)
    }

    /// Draws a bar on standard error, if that is a terminal.
    pub fn progress(self) -> Self {
        self.with(|many| many.draws = true)
    }

    /// The next result; `None` after the last. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<T::Output>> {
        poll_fn(|cx| self.poll_item(cx)).await
    }

    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T::Output>>> {
        if let Some(many) = self.many.take() {
            let (runs, progress) = many.runs(self.is_ordered);
            self.running =
                Some(Running { runs, progress, ready: Vec::new().into_iter(), succeeded: 0 });
        }
        let Some(running) = &mut self.running else { return Poll::Ready(None) };
        loop {
            if let Some((index, outcome)) = running.ready.next() {
                running.progress.advance(1);
                running.succeeded += usize::from(outcome.is_ok());
                let succeeded = running.succeeded;
                return Poll::Ready(Some(
                    outcome.map_err(|failure| failed::<T>(index, succeeded, failure)),
                ));
            }
            match running.runs.poll_next(cx) {
                Poll::Ready(Some(Ok(Done { first, ran }))) => {
                    let numbered: Vec<_> = (first..).zip(ran.into_outcomes()).collect();
                    running.ready = numbered.into_iter();
                }
                Poll::Ready(Some(Err(error))) => {
                    self.running = None;
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => {
                    self.running = None;
                    return Poll::Ready(None);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl<T: Task> Unpin for Imap<T> {}

impl<T: Task> Stream for Imap<T> {
    type Item = Result<T::Output>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_item(cx)
    }
}

macro_rules! debug {
    ($($name:ident: $text:literal,)*) => {$(
        impl<T: Task> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($text, " {}"), T::NAME)
            }
        }
    )*};
}

debug! {
    Apply: "a call of",
    Map: "a map of",
    MapResults: "the results of a map of",
    Imap: "the results of",
}
