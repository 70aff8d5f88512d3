//! A pool of workers: Python's `multiprocessing.Pool`.

use std::{
    ffi::OsStr, fmt, future::poll_fn, path::PathBuf, pin::pin, sync::Arc, task::Poll,
    time::Duration,
};

use mp_manager_proto::v1::PoolStatus as Status;

use crate::{
    api::Builder,
    error::{Error, Result},
    failure::TaskFailure,
    objects::{Manager, pool::SharedPool},
    process::{
        bootstrap::nonce,
        place::Place,
        start_on::Target,
        task::{BoxFuture, Single, Task},
    },
    transport::connect::host_name,
};

mod backend;
mod calls;
pub(super) mod crew;
mod current;
pub(super) mod host;
mod progress;
mod ran;
mod result;
mod runs;
mod submissions;
pub(super) mod submit;
mod threads;
mod work;

use self::{
    backend::Backend,
    calls::Many,
    crew::{Crew, Recipe},
    host::Host,
    submissions::Submissions,
    submit::Submission,
    threads::Threads,
};
pub use self::{
    calls::{Apply, Imap, Map, MapResults},
    current::fence,
    result::AsyncResult,
};

/// Workers that execute [tasks](macro@crate::task), wherever they run. Python's `multiprocessing.Pool`.
///
/// Cloning is cheap. The workers of this program end with the last clone, once what was submitted to it is done or
/// given up. A pool without a [name](PoolBuilder::name) ends with them.
///
/// ```no_run
/// use mp_manager::{Pool, task};
///
/// #[task]
/// fn square(x: i64) -> i64 {
///     x * x
/// }
///
/// #[mp_manager::main]
/// async fn main() -> mp_manager::Result<()> {
///     let pool = Pool::new(4).await?; // four processes
///     let squares = pool.map(square, 0..10).await?;
///     println!("{squares:?}");
///     Ok(())
/// }
/// ```
///
/// # When a worker dies
///
/// Another one takes its place. A task that it had not started is given to another; one that it was executing, or
/// had finished less than half a millisecond before (2 ms, of tasks that take less than 20 µs; more on a machine that is
/// overloaded), has failed with [`TaskFailure::WorkerLost`](crate::TaskFailure::WorkerLost), unless it is
/// `#[task(idempotent)]`: that is executed again, up to its `attempts`, and is then
/// [`Poisonous`](crate::TaskFailure::Poisonous).
///
/// When a whole host dies, its [`Agent`](crate::process::Agent) with it, nobody knows which tasks its workers had
/// started: all that they had in hand is as if it had been executed. That is some tens of milliseconds of work for each
/// worker, more at the beginning of a map, or as many tasks as were submitted together
/// ([`chunk_size`](crate::process::Map::chunk_size)).
///
/// A task that a worker's program does not have, or has with other types, is given to hosts with another program, if
/// there are any: so programs can be replaced host by host.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    backend: Backend,
    submissions: Arc<Submissions>,
    manager: Option<Manager>,
    /// The workers of this program.
    crew: Option<Crew>,
    workers: usize,
    name: String,
    /// Nobody else can find it.
    is_private: bool,
}

/// How far a pool is.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PoolStatus {
    /// Workers that have come to work.
    pub workers: usize,
    /// Tasks that wait for a worker.
    pub queued: usize,
    /// Tasks in the hands of workers.
    pub running: usize,
    /// Whether it is closed.
    pub is_closed: bool,
    /// Why its workers fail before they come to work, if they do.
    pub broken: Option<String>,
    /// Tasks that have had an outcome since the pool was made.
    pub done: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Runs of tasks that wait because somebody may be executing them still: the manager has started again, and not all
    /// hosts of before have come back. They wait until all have, or for 5 minutes, the longest lease that a host can
    /// have had.
    pub held: usize,
    /// Those hosts of before that are known. One that is dead is replaced by an agent of the same name.
    pub missing: Vec<String>,
    /// The hosts that keep workers, by name.
    pub hosts: Vec<PoolHost>,
}

/// A host of a pool: an [`Agent`](crate::process::Agent), or a program that has workers of its own.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PoolHost {
    /// Its name in the pool.
    pub name: String,
    /// How many workers it was started with.
    pub capacity: usize,
    /// How many it is to keep.
    pub wanted: usize,
    /// How many have come to work.
    pub workers: usize,
    /// Tasks in their hands.
    pub running: u64,
    /// How many processes of the machine run or wait to: the average of a minute.
    pub load: f64,
    /// Its workers leave, and then it does.
    pub is_drained: bool,
    /// Why its workers do not come to work, if they do not.
    pub trouble: Option<String>,
}

/// Tasks of a pool that share their fate, as operators see them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolTasks {
    /// Numbers the tasks that were submitted together.
    pub run: u64,
    /// Which of them these are.
    pub tasks: std::ops::Range<u32>,
    /// What they are of.
    pub task: String,
    /// Whose hands they are in, or were in last; empty while they wait.
    pub worker: String,
    /// The host of that worker.
    pub host: String,
    /// Why they have no result.
    pub failure: Option<TaskFailure>,
}

impl Pool {
    /// A pool of so many processes of this program, and a manager of its own, within this process.
    ///
    /// # Errors
    /// [`Error::Configuration`] if this program never came to [`init`](crate::init), with the line to add, or for 0
    /// processes; otherwise as [`Manager::start`].
    pub fn new(processes: usize) -> impl Future<Output = Result<Self>> + Send {
        Self::builder().processes(processes).start()
    }

    /// A pool with options.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::default()
    }

    /// A pool of so many threads of this process. It has the same interface, and nothing is sent anywhere.
    /// Tasks are executed in the order in which they come: there are no priorities, no timeouts, and no
    /// [`Error::Deadlock`] where they wait for each other. Python's `multiprocessing.dummy`.
    ///
    /// # Errors
    /// [`Error::Configuration`] for 0 threads, [`Error::Start`] if they cannot be started.
    #[doc(alias = "ThreadPool")]
    pub fn threads(threads: usize) -> Result<Self> {
        if threads == 0 {
            return Err(no_workers("threads"));
        }
        let threads = Arc::new(Threads::start(threads)?);
        let workers = threads.count();
        let backend = Backend::Threads(threads);
        let name = "threads".into();
        let submissions = Arc::new(Submissions::new(backend.clone()));
        let (manager, crew, is_private) = (None, None, true);
        let shared = Shared { backend, submissions, manager, crew, workers, name, is_private };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The pool of this name, whose workers run anywhere. It is made if there is none.
    ///
    /// # Errors
    /// If the name is that of something else, or the session is lost.
    pub async fn open(manager: &Manager, name: &str) -> Result<Self> {
        Self::of(manager, name, manager.shared_pool(name).await?).await
    }

    async fn of(manager: &Manager, name: &str, pool: SharedPool) -> Result<Self> {
        let workers = usize::try_from(pool.status().await?.workers).unwrap_or(1).max(1);
        let backend = Backend::Workers(pool);
        let (manager, name) = (Some(manager.clone()), name.into());
        let submissions = Arc::new(Submissions::new(backend.clone()));
        let (crew, is_private) = (None, false);
        let shared = Shared { backend, submissions, manager, crew, workers, name, is_private };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The pool of this name, if there is one.
    ///
    /// # Errors
    /// [`Error::ObjectNotFound`] if there is none; otherwise as [`open`](Self::open).
    pub async fn existing(manager: &Manager, name: &str) -> Result<Self> {
        Self::of(manager, name, manager.shared_pool(name).existing().await?).await
    }

    /// The manager of this pool, for what its tasks share; a pool of threads has none.
    #[must_use]
    pub fn manager(&self) -> Option<&Manager> {
        self.shared.manager.as_ref()
    }

    /// Executes a task once.
    ///
    /// Cancelling the call takes the task back if no worker has started it; otherwise its result is dropped.
    ///
    /// # Errors
    /// [`Error::TaskFailed`] with what became of the task; [`Error::PoolBroken`] if no worker comes to work;
    /// [`Error::PoolClosed`]; [`Error::Deadlock`] if this is a task of the same pool, and every worker waits as
    /// it does; [`Error::Encode`] if its arguments cannot be sent; otherwise the session is lost.
    pub fn apply<T: Task>(&self, _: T, args: T::Args) -> Apply<T> {
        Apply::new(self.submission(), args)
    }

    /// Submits a task now, and gives something to ask for its result later. More than the manager lets a session
    /// have open (58,000, unless it was told otherwise) are [`Error::LimitExceeded`]: map over many.
    pub fn apply_async<T: Task>(&self, task: T, args: T::Args) -> AsyncResult<T::Output> {
        self.apply(task, args).start()
    }

    /// Executes a task with each of the inputs, and returns the results in their order.
    ///
    /// # Errors
    /// As [`apply`](Self::apply): the first error ends it.
    pub fn map<T, I>(&self, task: T, inputs: I) -> Map<T>
    where
        T: Task<Args: Single>,
        I: IntoIterator<Item = <T::Args as Single>::Arg, IntoIter: Send + 'static>,
    {
        self.starmap(task, Args::<T, _>::new(inputs.into_iter()))
    }

    /// As [`map`](Self::map), for a task with several arguments: each input is a tuple of them.
    pub fn starmap<T: Task, I>(&self, _: T, inputs: I) -> Map<T>
    where
        I: IntoIterator<Item = T::Args, IntoIter: Send + 'static>,
    {
        Map::new(self.many(inputs))
    }

    /// Submits a [`map`](Self::map) now, and gives something to ask for the results later.
    pub fn map_async<T, I>(&self, task: T, inputs: I) -> AsyncResult<Vec<T::Output>>
    where
        T: Task<Args: Single>,
        I: IntoIterator<Item = <T::Args as Single>::Arg, IntoIter: Send + 'static>,
    {
        self.map(task, inputs).start()
    }

    /// Submits a [`starmap`](Self::starmap) now, and gives something to ask for the results later.
    pub fn starmap_async<T: Task, I>(&self, task: T, inputs: I) -> AsyncResult<Vec<T::Output>>
    where
        I: IntoIterator<Item = T::Args, IntoIter: Send + 'static>,
    {
        self.starmap(task, inputs).start()
    }

    /// Executes a task with each of the inputs, and yields the results in their order, as they come.
    pub fn imap<T, I>(&self, _: T, inputs: I) -> Imap<T>
    where
        T: Task<Args: Single>,
        I: IntoIterator<Item = <T::Args as Single>::Arg, IntoIter: Send + 'static>,
    {
        Imap::new(self.many(Args::<T, _>::new(inputs.into_iter())), true)
    }

    /// As [`imap`](Self::imap), in the order in which the results come.
    pub fn imap_unordered<T, I>(&self, _: T, inputs: I) -> Imap<T>
    where
        T: Task<Args: Single>,
        I: IntoIterator<Item = <T::Args as Single>::Arg, IntoIter: Send + 'static>,
    {
        Imap::new(self.many(Args::<T, _>::new(inputs.into_iter())), false)
    }

    fn many<T: Task, I>(&self, inputs: I) -> Many<T>
    where
        I: IntoIterator<Item = T::Args, IntoIter: Send + 'static>,
    {
        let workers = self.shared.crew.as_ref().map_or(self.shared.workers, Crew::count);
        Many::new(self.submission(), workers, inputs.into_iter())
    }

    fn submission(&self) -> Submission {
        let backend = self.shared.backend.clone();
        let pool = Arc::clone(&self.shared) as _;
        let submissions = Arc::clone(&self.shared.submissions);
        Submission {
            backend,
            pool,
            priority: 0,
            timeout: None,
            submissions,
            is_stream: false,
            is_awaited: true,
            is_own: self.shared.is_private,
        }
    }

    /// Takes no more tasks. Those that were submitted are executed, and then the workers end, wherever they run. A
    /// map that is under way, or a stream of results that is not at its end, is one that was submitted.
    ///
    /// # Errors
    /// If the session is lost.
    pub async fn close(&self) -> Result<()> {
        if !self.shared.submissions.end() {
            // The last of what is being submitted closes it.
            return Ok(());
        }
        match &self.shared.backend {
            Backend::Workers(pool) => pool.close().await,
            Backend::Threads(threads) => {
                threads.close();
                Ok(())
            }
        }
    }

    /// Ends it at once: what was submitted fails with [`Error::PoolClosed`], and the workers of this program are
    /// killed.
    ///
    /// # Errors
    /// If the session is lost.
    pub async fn terminate(&self) -> Result<()> {
        self.shared.submissions.give_up();
        match &self.shared.backend {
            Backend::Workers(pool) => {
                let mut terminating = pin!(pool.terminate());
                // It goes out first: what the workers have in hand is terminated, and not lost with them.
                let first = poll_fn(|cx| Poll::Ready(terminating.as_mut().poll(cx))).await;
                if let Some(crew) = &self.shared.crew {
                    crew.kill();
                }
                match first {
                    Poll::Ready(terminated) => terminated,
                    Poll::Pending => terminating.await,
                }
            }
            Backend::Threads(threads) => {
                threads.terminate();
                Ok(())
            }
        }
    }

    /// Waits until all that was submitted is done and the workers of this program have ended. Close or terminate
    /// it first. A stream of results that is not at its end takes no more inputs then. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Configuration`] if it is neither closed nor terminated; if the session is lost.
    pub async fn join(&self) -> Result<()> {
        let open = || Error::Configuration("the pool is open: close or terminate it first".into());
        match &self.shared.backend {
            Backend::Workers(pool) => {
                if !self.shared.submissions.is_closing() && !pool.status().await?.is_closed {
                    return Err(open());
                }
                self.shared.submissions.ended().await;
                // A stream that is not at its end takes no more.
                pool.close().await?;
                pool.join().await?;
            }
            Backend::Threads(threads) => {
                if !self.shared.submissions.is_closing() {
                    return Err(open());
                }
                self.shared.submissions.ended().await;
                threads.close();
                let threads = Arc::clone(threads);
                let (send, joined) = tokio::sync::oneshot::channel();
                let join = move || {
                    threads.join();
                    let _ = send.send(());
                };
                let thread = std::thread::Builder::new().name("mp-manager-join".into());
                let cannot_start =
                    |error| Error::Configuration(format!("cannot start a thread: {error}"));
                thread.spawn(join).map_err(cannot_start)?;
                let _ = joined.await;
                return Ok(());
            }
        }
        if let Some(crew) = &self.shared.crew {
            crew.ended().await;
        }
        Ok(())
    }

    /// Has as many workers in this program. What those that are too many were executing is as if they had died.
    ///
    /// # Errors
    /// [`Error::Configuration`] if its workers are not of this program, or for 0 of them.
    pub fn resize(&self, processes: usize) -> Result<()> {
        match &self.shared.crew {
            None => Err(Error::Configuration(
                "the workers of this pool are not processes of this program".into(),
            )),
            Some(_) if processes == 0 => Err(no_workers("processes")),
            Some(crew) => crew.resize(processes),
        }
    }

    /// How far it is.
    ///
    /// # Errors
    /// If the session is lost.
    pub async fn status(&self) -> Result<PoolStatus> {
        let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        match &self.shared.backend {
            Backend::Workers(pool) => {
                let Status {
                    workers,
                    queued,
                    running,
                    is_closed,
                    broken,
                    hosts,
                    done,
                    failed,
                    held,
                    missing,
                    ..
                } = pool.status().await?;
                Ok(PoolStatus {
                    done,
                    failed,
                    held: count(held),
                    missing,
                    hosts: hosts.into_iter().map(PoolHost::from).collect(),
                    workers: count(workers),
                    queued: count(queued),
                    running: count(running),
                    is_closed: is_closed || self.shared.submissions.is_closing(),
                    broken: (!broken.is_empty()).then_some(broken),
                })
            }
            Backend::Threads(threads) => {
                let (queued, running) = threads.tasks();
                Ok(PoolStatus {
                    workers: threads.count(),
                    queued,
                    running,
                    is_closed: self.shared.submissions.is_closing(),
                    broken: None,
                    done: 0,
                    failed: 0,
                    held: 0,
                    missing: Vec::new(),
                    hosts: Vec::new(),
                })
            }
        }
    }

    /// Has as many workers in all, shared among the hosts by their capacities, or on one host alone. Those that are too
    /// many finish what they have in hand. A host that comes later has as many as it was started with.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there is no such host, with the names of those there are; if the session is lost.
    ///
    /// ```no_run
    /// # async fn example(pool: mp_manager::Pool) -> mp_manager::Result<()> {
    /// pool.resize_hosts(32, None).await?;
    /// pool.resize_hosts(2, Some("node-7")).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn resize_hosts(&self, workers: usize, host: Option<&str>) -> Result<()> {
        let count = u32::try_from(workers).unwrap_or(u32::MAX);
        self.hosted()?.resize(count, host.unwrap_or_default()).await
    }

    /// Has the workers of a host finish what they have in hand, and leave; the host leaves after them. All hosts, if
    /// none is named. What is submitted waits for others.
    ///
    /// # Errors
    /// As [`resize_hosts`](Self::resize_hosts).
    pub async fn drain(&self, host: Option<&str>) -> Result<()> {
        self.hosted()?.drain(host.unwrap_or_default()).await
    }

    /// The tasks that are not done.
    ///
    /// # Errors
    /// If the session is lost.
    pub async fn tasks(&self) -> Result<Vec<PoolTasks>> {
        self.list_tasks(false).await
    }

    /// The tasks that failed last, 100 at most.
    ///
    /// # Errors
    /// If the session is lost.
    pub async fn failed_tasks(&self) -> Result<Vec<PoolTasks>> {
        self.list_tasks(true).await
    }

    async fn list_tasks(&self, failed: bool) -> Result<Vec<PoolTasks>> {
        let pool = self.hosted()?;
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = pool.tasks(failed, after).await?;
            after = page.tasks.last().and_then(|task| task.place);
            all.extend(page.tasks.into_iter().map(PoolTasks::from));
            if !page.has_more {
                return Ok(all);
            }
        }
    }

    /// A host of it, on which a process is to be started.
    pub(super) fn target(&self, host: String) -> Result<Target> {
        let pool = self.hosted()?.clone();
        let manager = self.shared.manager.clone();
        let manager =
            manager.ok_or_else(|| Error::Configuration("the pool has no manager".into()))?;
        Ok(Target { manager, pool, pool_name: self.shared.name.clone(), host })
    }

    /// The object behind it.
    fn hosted(&self) -> Result<&SharedPool> {
        match &self.shared.backend {
            Backend::Workers(pool) => Ok(pool),
            Backend::Threads(_) => Err(Error::Configuration(
                "a pool of threads has no hosts: it is in this process alone".into(),
            )),
        }
    }

    /// The ids of its workers that are processes of this program.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.shared.crew.as_ref().map(Crew::pids).unwrap_or_default()
    }
}

impl From<mp_manager_proto::v1::PoolHost> for PoolHost {
    fn from(host: mp_manager_proto::v1::PoolHost) -> Self {
        Self {
            name: host.name,
            capacity: host.capacity as usize,
            wanted: host.wanted as usize,
            workers: host.workers as usize,
            running: host.running,
            load: f64::from(host.load_milli) / 1000.0,
            is_drained: host.is_drained,
            // A failure of the past, once all workers have come.
            trouble: Some(host.trouble)
                .filter(|trouble| !trouble.is_empty() && host.workers < host.wanted),
        }
    }
}

impl From<mp_manager_proto::v1::PoolTaskInfo> for PoolTasks {
    fn from(info: mp_manager_proto::v1::PoolTaskInfo) -> Self {
        Self {
            run: info.run,
            tasks: info.start..info.start.saturating_add(info.count),
            task: info.task,
            worker: info.worker,
            host: info.host,
            failure: info.failure.as_ref().map(submit::read_failure),
        }
    }
}

/// Inputs as tuples of one, with how many are left.
struct Args<T, I> {
    inputs: I,
    task: std::marker::PhantomData<fn() -> T>,
}

impl<T, I> Args<T, I> {
    fn new(inputs: I) -> Self {
        Self { inputs, task: std::marker::PhantomData }
    }
}

impl<T, I> Iterator for Args<T, I>
where
    T: Task<Args: Single>,
    I: Iterator<Item = <T::Args as Single>::Arg>,
{
    type Item = T::Args;

    fn next(&mut self) -> Option<T::Args> {
        self.inputs.next().map(T::Args::of)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inputs.size_hint()
    }
}

fn no_workers(what: &str) -> Error {
    Error::Configuration(format!("a pool of 0 {what} would do nothing: give it one at least"))
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(crew) = &self.crew {
            crew.kill();
        }
        if let (true, Backend::Workers(pool)) = (self.is_private, &self.backend) {
            pool.abandon(&self.name);
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool \"{}\" of {}", self.shared.name, self.shared.workers)
    }
}

/// A pool that is not there yet, made by [`Pool::builder`].
#[derive(Debug, Default)]
#[must_use = "a pool starts when it is told to"]
pub struct PoolBuilder {
    processes: Option<usize>,
    manager: Option<Manager>,
    pool_name: Option<String>,
    recipe: Recipe,
    /// Why its initializer cannot be sent.
    problem: Option<String>,
}

impl PoolBuilder {
    /// How many workers; as many as there are [processors](crate::process::cpu_count) unless told otherwise.
    pub fn processes(self, processes: usize) -> Self {
        Self { processes: Some(processes), ..self }
    }

    /// The manager that has it; one of its own, within this process, unless told otherwise.
    pub fn manager(self, manager: &Manager) -> Self {
        Self { manager: Some(manager.clone()), ..self }
    }

    /// The name by which others [open](Pool::open) it; nobody knows it unless told otherwise.
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { pool_name: Some(name.into()), ..self }
    }

    /// A task that each worker executes before any other. If it fails three times in a row, the pool is broken.
    pub fn initializer<T: Task>(mut self, _: T, args: T::Args) -> Self {
        match mp_manager_proto::value::encode(&args) {
            Ok(args) => self.recipe.initializer = Some((T::NAME.into(), args)),
            Err(error) => self.problem = Some(format!("the initializer's arguments: {error}")),
        }
        self
    }

    /// A worker ends after so many tasks, and another one takes its place.
    #[doc(alias = "maxtasksperchild")]
    pub fn max_tasks_per_child(mut self, tasks: u64) -> Self {
        self.recipe.max_tasks = Some(tasks.max(1));
        self
    }

    /// What its workers are called, followed by their numbers: `PoolWorker-1` unless told otherwise.
    pub fn worker_name(mut self, name: impl Into<String>) -> Self {
        self.recipe.name = Some(name.into());
        self
    }

    /// The working directory of its workers.
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.recipe.current_dir = Some(directory.into());
        self
    }

    /// Sets a variable of its workers' environment.
    pub fn env(mut self, variable: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.recipe.environment.set(variable.as_ref().into(), value.as_ref().into());
        self
    }

    /// Has this process print what its workers print, each line after their name, as
    /// [`ProcessBuilder::prefix_output`](crate::process::ProcessBuilder::prefix_output).
    pub fn prefix_output(mut self) -> Self {
        self.recipe.prefixes_output = true;
        self
    }

    /// Makes it. Workers start meanwhile: the first tasks wait for them.
    ///
    /// # Errors
    /// As [`Pool::new`].
    pub fn start(self) -> BoxFuture<Result<Pool>> {
        Box::pin(self.make())
    }

    async fn make(self) -> Result<Pool> {
        // Before anything is started: children would not begin there.
        Place::known()?;
        if let Some(problem) = self.problem {
            return Err(Error::Configuration(problem));
        }
        let processes = self.processes.unwrap_or_else(crate::process::cpu_count);
        if processes == 0 {
            return Err(no_workers("processes"));
        }
        let manager = match self.manager {
            Some(manager) => manager,
            None => own_manager().await?,
        };
        let is_private = self.pool_name.is_none();
        let name = match self.pool_name {
            Some(name) => name,
            None => {
                let random = nonce().map_err(|error| Error::Configuration(error.to_string()))?;
                format!("mp-manager/pool/{random}")
            }
        };
        let pool: SharedPool = manager.shared_pool(&name).await?;
        // First: what a worker of no host has would not be known after a restart of the manager.
        let host = if is_private {
            None
        } else {
            let host = format!("{}/{}", host_name(), std::process::id());
            let capacity = u32::try_from(processes).unwrap_or(u32::MAX);
            Some(Host::join(pool.clone(), host, (capacity, false), Duration::ZERO).await?)
        };
        let session = host.as_ref().map(Host::incarnation);
        let recipe = self.recipe;
        let crew = Crew::start(&manager, pool.clone(), name.clone(), recipe, session, processes)?;
        if let Some(host) = host {
            host.stay(crew.shared())?;
        }
        let backend = Backend::Workers(pool);
        let shared = Shared {
            submissions: Arc::new(Submissions::new(backend.clone())),
            backend,
            manager: Some(manager),
            crew: Some(crew),
            workers: processes,
            name,
            is_private,
        };
        Ok(Pool { shared: Arc::new(shared) })
    }
}

#[cfg(feature = "embedded")]
async fn own_manager() -> Result<Manager> {
    Builder::default().background_thread().start().await
}

#[cfg(not(feature = "embedded"))]
async fn own_manager() -> Result<Manager> {
    let _ = Builder::default();
    Err(Error::Configuration(
        "a pool needs a manager: give it one with `Pool::builder().manager(&manager)`, or depend on mp-manager \
         with its feature `embedded`"
            .into(),
    ))
}
