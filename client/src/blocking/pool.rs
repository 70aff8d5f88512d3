//! A pool, for threads.

use std::{fmt, time::Duration};

use super::{Manager, block_on::wait};
use crate::{
    Result,
    process::{self, Apply, Map, PoolStatus, PoolTasks, Single, Task},
};

/// Workers that execute [tasks](macro@crate::task), for threads: as [`crate::Pool`].
///
/// Calls that are awaited there have a method `wait` here.
///
/// ```no_run
/// use mp_manager::{blocking::Pool, task};
///
/// #[task]
/// fn square(x: i64) -> i64 {
///     x * x
/// }
///
/// #[mp_manager::main]
/// fn main() -> mp_manager::Result<()> {
///     let pool = Pool::new(4)?;
///     let squares = pool.map(square, 0..10).wait()?;
///     println!("{squares:?}");
///     pool.close()?;
///     pool.join()
/// }
/// ```
#[derive(Clone)]
pub struct Pool {
    inner: crate::Pool,
}

impl Pool {
    /// A pool of so many processes of this program, as [`crate::Pool::new`].
    ///
    /// # Errors
    /// As there.
    pub fn new(processes: usize) -> Result<Self> {
        Self::start(crate::Pool::builder().processes(processes))
    }

    /// A pool with options, as [`crate::Pool::builder`].
    ///
    /// # Errors
    /// As [`crate::Pool::new`].
    pub fn start(builder: process::PoolBuilder) -> Result<Self> {
        wait(builder.start()).map(|inner| Self { inner })
    }

    /// A pool of so many threads, as [`crate::Pool::threads`].
    ///
    /// # Errors
    /// As there.
    #[doc(alias = "ThreadPool")]
    pub fn threads(threads: usize) -> Result<Self> {
        crate::Pool::threads(threads).map(|inner| Self { inner })
    }

    /// The pool of this name, as [`crate::Pool::open`].
    ///
    /// # Errors
    /// As there.
    pub fn open(manager: &Manager, name: &str) -> Result<Self> {
        wait(crate::Pool::open(&manager.inner, name)).map(|inner| Self { inner })
    }

    /// The pool of this name, if there is one, as [`crate::Pool::existing`].
    ///
    /// # Errors
    /// As there.
    pub fn existing(manager: &Manager, name: &str) -> Result<Self> {
        wait(crate::Pool::existing(&manager.inner, name)).map(|inner| Self { inner })
    }

    /// The manager of this pool, for what its tasks share, as [`crate::Pool::manager`].
    ///
    /// ```
    /// # use mp_manager::{Result, blocking::Pool};
    /// # #[mp_manager::main]
    /// # fn main() -> Result<()> {
    /// let pool = Pool::new(2)?;
    /// let jobs = pool.manager().map(|manager| manager.queue::<String>("jobs").open()).transpose()?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn manager(&self) -> Option<Manager> {
        self.inner.manager().map(|inner| Manager { inner: inner.clone() })
    }

    /// The same pool, to be awaited.
    #[must_use]
    pub fn as_async(&self) -> &crate::Pool {
        &self.inner
    }

    /// Executes a task once: [`wait`](Apply::wait) for its result.
    pub fn apply<T: Task>(&self, task: T, args: T::Args) -> Apply<T> {
        self.inner.apply(task, args)
    }

    /// Submits a task now, and gives something to ask for its result later.
    pub fn apply_async<T: Task>(&self, task: T, args: T::Args) -> AsyncResult<T::Output> {
        AsyncResult { inner: self.inner.apply_async(task, args) }
    }

    /// Executes a task with each of the inputs: [`wait`](Map::wait) for the results.
    pub fn map<T, I>(&self, task: T, inputs: I) -> Map<T>
    where
        T: Task<Args: Single>,
        I: IntoIterator<Item = <T::Args as Single>::Arg, IntoIter: Send + 'static>,
    {
        self.inner.map(task, inputs)
    }

    /// As [`map`](Self::map), for a task with several arguments.
    pub fn starmap<T: Task, I>(&self, task: T, inputs: I) -> Map<T>
    where
        I: IntoIterator<Item = T::Args, IntoIter: Send + 'static>,
    {
        self.inner.starmap(task, inputs)
    }

    /// Submits a [`map`](Self::map) now, and gives something to ask for the results later.
    pub fn map_async<T, I>(&self, task: T, inputs: I) -> AsyncResult<Vec<T::Output>>
    where
        T: Task<Args: Single>,
        I: IntoIterator<Item = <T::Args as Single>::Arg, IntoIter: Send + 'static>,
    {
        AsyncResult { inner: self.inner.map_async(task, inputs) }
    }

    /// Submits a [`starmap`](Self::starmap) now, and gives something to ask for the results later.
    pub fn starmap_async<T: Task, I>(&self, task: T, inputs: I) -> AsyncResult<Vec<T::Output>>
    where
        I: IntoIterator<Item = T::Args, IntoIter: Send + 'static>,
    {
        AsyncResult { inner: self.inner.starmap_async(task, inputs) }
    }

    /// Executes a task with each of the inputs, and yields the results in their order, as they come.
    pub fn imap<T, I>(&self, task: T, inputs: I) -> Imap<T>
    where
        T: Task<Args: Single>,
        I: IntoIterator<Item = <T::Args as Single>::Arg, IntoIter: Send + 'static>,
    {
        Imap { inner: self.inner.imap(task, inputs) }
    }

    /// As [`imap`](Self::imap), in the order in which the results come.
    pub fn imap_unordered<T, I>(&self, task: T, inputs: I) -> Imap<T>
    where
        T: Task<Args: Single>,
        I: IntoIterator<Item = <T::Args as Single>::Arg, IntoIter: Send + 'static>,
    {
        Imap { inner: self.inner.imap_unordered(task, inputs) }
    }

    /// Takes no more tasks, as [`crate::Pool::close`].
    ///
    /// # Errors
    /// As there.
    pub fn close(&self) -> Result<()> {
        wait(self.inner.close())
    }

    /// Ends it at once, as [`crate::Pool::terminate`].
    ///
    /// # Errors
    /// As there.
    pub fn terminate(&self) -> Result<()> {
        wait(self.inner.terminate())
    }

    /// Waits until all is done, as [`crate::Pool::join`].
    ///
    /// # Errors
    /// As there.
    pub fn join(&self) -> Result<()> {
        wait(self.inner.join())
    }

    /// Has as many workers in this program, as [`crate::Pool::resize`].
    ///
    /// # Errors
    /// As there.
    pub fn resize(&self, processes: usize) -> Result<()> {
        self.inner.resize(processes)
    }

    /// How far it is.
    ///
    /// # Errors
    /// If the session is lost.
    pub fn status(&self) -> Result<PoolStatus> {
        wait(self.inner.status())
    }

    /// Has as many workers in all, or on one host, as [`crate::Pool::resize_hosts`].
    ///
    /// # Errors
    /// As there.
    pub fn resize_hosts(&self, workers: usize, host: Option<&str>) -> Result<()> {
        wait(self.inner.resize_hosts(workers, host))
    }

    /// Has the workers of a host, or of all, leave, as [`crate::Pool::drain`].
    ///
    /// # Errors
    /// As there.
    pub fn drain(&self, host: Option<&str>) -> Result<()> {
        wait(self.inner.drain(host))
    }

    /// The tasks that are not done.
    ///
    /// # Errors
    /// If the session is lost.
    pub fn tasks(&self) -> Result<Vec<PoolTasks>> {
        wait(self.inner.tasks())
    }

    /// The tasks that failed last, 100 at most.
    ///
    /// # Errors
    /// If the session is lost.
    pub fn failed_tasks(&self) -> Result<Vec<PoolTasks>> {
        wait(self.inner.failed_tasks())
    }

    /// The ids of its workers that are processes of this program.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.inner.pids()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// The result of something that was submitted and goes on by itself, as [`process::AsyncResult`].
pub struct AsyncResult<T> {
    pub(super) inner: process::AsyncResult<T>,
}

impl<T: Send + 'static> AsyncResult<T> {
    /// Waits for the result, as long as it takes.
    ///
    /// # Errors
    /// The error of the call that was submitted, as documented there.
    pub fn get(self) -> Result<T> {
        wait(self.inner.get())
    }

    /// Waits for the result, but no longer than this; `None` if it is not there. It is handed over once.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_timeout(&mut self, timeout: Duration) -> Result<Option<T>> {
        if self.wait_timeout(timeout) { self.inner.take().transpose() } else { Ok(None) }
    }

    /// Waits until the result is there.
    pub fn wait(&self) {
        wait(self.inner.wait());
    }

    /// Waits until the result is there, but no longer than this: whether it is.
    #[must_use]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.inner.wait_here(timeout)
    }

    /// Whether the result is there.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.inner.ready()
    }

    /// Whether the result is there, and no error; `None` before it is there.
    #[must_use]
    pub fn successful(&self) -> Option<bool> {
        self.inner.successful()
    }

    /// Takes the tasks back, as [`process::AsyncResult::cancel`].
    pub fn cancel(&self) {
        self.inner.cancel();
    }
}

/// A result of a call with options: `AsyncResult::from(pool.map(…).chunk_size(10).start())`.
impl<T> From<process::AsyncResult<T>> for AsyncResult<T> {
    fn from(inner: process::AsyncResult<T>) -> Self {
        Self { inner }
    }
}

impl<T> fmt::Debug for AsyncResult<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// Results one by one, as [`process::Imap`]: an iterator that blocks.
#[must_use = "tasks are submitted when this is iterated over"]
pub struct Imap<T: Task> {
    inner: process::Imap<T>,
}

impl<T: Task> Imap<T> {
    /// The options of the async form.
    pub fn with(self, options: impl FnOnce(process::Imap<T>) -> process::Imap<T>) -> Self {
        Self { inner: options(self.inner) }
    }
}

impl<T: Task> Iterator for Imap<T> {
    type Item = Result<T::Output>;

    fn next(&mut self) -> Option<Self::Item> {
        wait(self.inner.next())
    }
}

impl<T: Task> fmt::Debug for Imap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
