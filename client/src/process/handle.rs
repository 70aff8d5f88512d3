//! A process that this one started.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::process::ExitStatusExt,
    },
    path::PathBuf,
    process::ExitStatus,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Signal, pidfd_send_signal},
};
use tokio::sync::{oneshot, watch};

use crate::{
    error::{Error, Result},
    objects::Manager,
    process::{
        arguments,
        bootstrap::{Role, nonce},
        control::{Control, FrameKind},
        failure::TaskFailure,
        identity,
        spawn::{Child, Environment, Launch, await_either, spawn},
        task::{BoxFuture, Task},
    },
    rpc::codec,
};

/// A process that runs a task of this program, or another program. Python's `multiprocessing.Process`.
///
/// It is a handle: cloning it is cheap, and dropping it does nothing to the process, which stays among the
/// [`active_children`] until it ends. The process ends when this one does, however it does; when a `main` with
/// [`#[mp_manager::main]`](crate::main) returns, it calls [`finish`] first, which terminates daemons and waits for
/// the others.
///
/// ```
/// use mp_manager::{Result, process::Process, task};
///
/// #[task]
/// fn greet(name: String) {
///     println!("hello from {}, {name}", std::process::id());
/// }
///
/// #[mp_manager::main]
/// async fn main() -> Result<()> {
///     let process = Process::new(greet, ("world".into(),)).start().await?;
///     process.join().await?;
///     assert_eq!(process.exit_code(), Some(0));
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Process {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    daemon: bool,
    pid: u32,
    pidfd: OwnedFd,
    control: Control,
    /// Whether it is another program, which has ordinary signals.
    is_program: bool,
    outcome: watch::Sender<Option<Outcome>>,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// With exit code 0.
    Succeeded,
    /// Its task returned an error, panicked, or could not be run.
    Failed {
        /// What happened to the task.
        failure: TaskFailure,
        /// 1, or 101 if it panicked.
        exit_code: i32,
    },
    /// With another exit code than 0.
    Exited(i32),
    /// By a signal of this number.
    Killed(i32),
}

impl Outcome {
    fn of(status: Option<ExitStatus>, failure: Option<TaskFailure>) -> Self {
        let code = status.and_then(|status| status.code());
        match (status.and_then(|status| status.signal()), failure) {
            (Some(signal), _) => Self::Killed(signal),
            (None, Some(failure)) => Self::Failed { failure, exit_code: code.unwrap_or(LOST) },
            (None, None) if code == Some(0) => Self::Succeeded,
            (None, None) => Self::Exited(code.unwrap_or(LOST)),
        }
    }

    /// The exit code; the signal's number, negative, if one ended it.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Succeeded => 0,
            Self::Failed { exit_code, .. } | Self::Exited(exit_code) => *exit_code,
            Self::Killed(signal) => -signal,
        }
    }
}

/// The exit code of a process whose own somebody else waited for, as in Python.
const LOST: i32 = 255;

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Succeeded => f.write_str("succeeded"),
            Self::Failed { failure: failure @ TaskFailure::Failed { .. }, .. } => {
                write!(f, "failed: {failure}")
            }
            Self::Failed { failure, .. } => write!(f, "{failure}"),
            Self::Exited(code) => write!(f, "ended with exit code {code}"),
            Self::Killed(signal) => match signal_hook::low_level::signal_name(*signal) {
                Some(name) => write!(f, "was killed by {name}"),
                None => write!(f, "was killed by signal {signal}"),
            },
        }
    }
}

impl Process {
    /// A process that will run this task with these arguments, a tuple: `(3,)` for one.
    ///
    /// Proxies may be among the arguments: the child gets proxies of its own, on a session of its own, which
    /// [`Manager::current`] returns, too. What the task returns is dropped; put results into a queue, or use a
    /// pool.
    ///
    /// ```
    /// # use mp_manager::{Manager, Queue, Result, process::Process, task};
    /// #[task]
    /// async fn square(x: i64, results: Queue<i64>) -> Result<()> {
    ///     results.put(&(x * x)).await
    /// }
    ///
    /// #[mp_manager::main]
    /// async fn main() -> Result<()> {
    ///     let manager = Manager::start().await?;
    ///     let results = manager.queue("results").await?;
    ///     let process = Process::new(square, (3, results.clone())).start().await?;
    ///     assert_eq!(results.get().await?, 9);
    ///     process.join().await
    /// }
    /// ```
    #[expect(clippy::new_ret_no_self, reason = "a process is there when it has started")]
    pub fn new<T: Task>(_: T, args: T::Args) -> ProcessBuilder {
        let kind = match codec::encode_anywhere(&args) {
            Err(error) => Kind::Unencodable(error.to_string()),
            Ok((bytes, None)) => Kind::Task { name: T::NAME, bytes },
            Ok((_, Some(link))) => Kind::WithProxies {
                name: T::NAME,
                manager: Manager::new(link),
                hold: Box::new(move |manager, key| {
                    Box::pin(async move { arguments::hold(&manager, &key, args).await })
                }),
            },
        };
        ProcessBuilder::of(kind)
    }

    /// A process that will run another program: a path, or a name that is looked up in PATH. It starts in
    /// the place of a child of this program, so that it, too, is killed when this process ends, unless it is
    /// setuid. Its stdin is empty.
    ///
    /// ```no_run
    /// # use mp_manager::{Result, process::Process};
    /// # async fn example() -> Result<()> {
    /// let process = Process::command("./prog").arg("--fast").env("LEVEL", "3").start().await?;
    /// process.join().await
    /// # }
    /// ```
    #[doc(alias = "Popen")]
    pub fn command(program: impl AsRef<OsStr>) -> ProcessBuilder {
        ProcessBuilder::of(Kind::Program { program: program.as_ref().into(), args: Vec::new() })
    }

    /// The name it was given, or `Process-1` and so on.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Its id. The system may give it to another process when this one has ended.
    #[doc(alias = "ident")]
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.shared.pid
    }

    /// Whether [`finish`] terminates it.
    #[must_use]
    pub fn daemon(&self) -> bool {
        self.shared.daemon
    }

    /// Whether it runs still, or is stopped.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.shared.outcome.borrow().is_none()
    }

    /// Its exit code when it has ended: 0, 1 if its task returned an error, 101 if that panicked, the
    /// negative number of a signal that ended it.
    #[doc(alias = "exitcode")]
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        self.shared.outcome.borrow().as_ref().map(Outcome::exit_code)
    }

    /// How it ended, when it has.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.shared.outcome.borrow().clone()
    }

    /// Waits until it has ended. Any number of callers may wait, and all are answered. Cancelling a call does
    /// nothing to the process.
    ///
    /// # Errors
    /// [`Error::ProcessFailed`] if it ended otherwise than with exit code 0, with the error of its task, or
    /// the message and the place of its panic; [`outcome`](Self::outcome) has the parts.
    ///
    /// ```
    /// # use mp_manager::{Error, Result, process::Process, task};
    /// #[task]
    /// fn fail() {
    ///     panic!("out of luck");
    /// }
    ///
    /// #[mp_manager::main]
    /// async fn main() -> Result<()> {
    ///     let error = Process::new(fail, ()).start().await?.join().await.unwrap_err();
    ///     assert!(matches!(error, Error::ProcessFailed { exit_code: 101, .. }));
    ///     assert!(error.to_string().contains("out of luck"));
    ///     Ok(())
    /// }
    /// ```
    pub async fn join(&self) -> Result<()> {
        self.ended().await;
        self.result()
    }

    /// Waits until it has ended, but no longer than this: whether it has. Cancelling the call does nothing
    /// to the process.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use mp_manager::{Result, process::Process};
    /// # async fn example(process: Process) -> Result<()> {
    /// if !process.join_timeout(Duration::from_secs(5)).await? {
    ///     process.terminate()?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn join_timeout(&self, timeout: Duration) -> Result<bool> {
        match tokio::time::timeout(timeout, self.ended()).await {
            Ok(()) => self.result().map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// Sends it SIGTERM. A process that has ended is left alone.
    ///
    /// # Errors
    /// [`Error::Configuration`] if it has changed its user and may not be signalled.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Sends it SIGKILL, which it cannot ignore. A process that has ended is left alone.
    ///
    /// # Errors
    /// As [`terminate`](Self::terminate).
    pub fn kill(&self) -> Result<()> {
        self.signal(Signal::KILL)
    }

    /// Ends it as by SIGINT. The signal itself, as Ctrl-C sends it to every process of a terminal, is left to
    /// the parent; another program gets it as any other. A process that is stopped ends when it goes on.
    ///
    /// # Errors
    /// As [`terminate`](Self::terminate).
    pub fn interrupt(&self) -> Result<()> {
        if self.shared.is_program {
            return self.signal(Signal::INT);
        }
        // It fails if the process has ended, which is what is wanted.
        let _ = self.shared.control.send(FrameKind::Interrupt, &[]);
        Ok(())
    }

    /// Gives the handle back. Python frees resources by it; here dropping the last handle does, and this
    /// only looks whether the process has ended.
    ///
    /// # Errors
    /// [`Error::Configuration`] if it runs still.
    pub fn close(self) -> Result<()> {
        if self.is_alive() {
            return Err(Error::Configuration(format!(
                "{} (process {}) runs still: join or terminate it first",
                self.name(),
                self.pid()
            )));
        }
        Ok(())
    }

    /// Something to wait for beside other things; it becomes ready when the process ends.
    ///
    /// ```no_run
    /// # use mp_manager::{Queue, Result, process::Process};
    /// # async fn example(process: Process, results: Queue<u64>) -> Result<()> {
    /// tokio::select! {
    ///     result = results.get() => println!("{}", result?),
    ///     () = process.sentinel() => println!("it ended with {:?}", process.exit_code()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn sentinel(&self) -> Sentinel {
        Sentinel { shared: Arc::clone(&self.shared) }
    }

    async fn ended(&self) {
        self.shared.ended().await;
    }

    /// Waits on this thread: whether it has ended in time.
    pub(crate) fn wait_timeout(&self, timeout: Duration) -> bool {
        let timeout = Timespec::try_from(timeout).ok();
        let mut fds = [PollFd::new(&self.shared.pidfd, PollFlags::IN)];
        let ready = rustix::io::retry_on_intr(|| poll(&mut fds, timeout.as_ref()));
        if ready.is_ok_and(|ready| ready == 0) {
            return false;
        }
        // It has ended, and the thread that watches it is about to say how.
        pollster::block_on(self.ended());
        true
    }

    /// The error of a process that has ended with one.
    pub(crate) fn result(&self) -> Result<()> {
        match self.outcome() {
            None | Some(Outcome::Succeeded) => Ok(()),
            Some(outcome) => Err(Error::ProcessFailed {
                name: self.shared.name.clone(),
                pid: self.shared.pid,
                exit_code: outcome.exit_code(),
                message: outcome.to_string(),
            }),
        }
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        match pidfd_send_signal(&self.shared.pidfd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(Error::Configuration(format!(
                "cannot signal {} (process {}): {error}",
                self.name(),
                self.pid()
            ))),
        }
    }
}

impl Shared {
    async fn ended(&self) {
        // The sender lives as long as this does.
        let _ = self.outcome.subscribe().wait_for(Option::is_some).await;
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.shared.name, self.shared.pid)?;
        match self.outcome() {
            Some(outcome) => write!(f, " {outcome}"),
            None => Ok(()),
        }
    }
}

/// Becomes ready when a process ends: awaited, or polled as a descriptor that is readable then.
#[derive(Clone)]
pub struct Sentinel {
    shared: Arc<Shared>,
}

impl IntoFuture for Sentinel {
    type Output = ();
    type IntoFuture = BoxFuture<()>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.shared.ended().await })
    }
}

impl AsFd for Sentinel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.pidfd.as_fd()
    }
}

impl fmt::Debug for Sentinel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the end of {} (process {})", self.shared.name, self.shared.pid)
    }
}

/// A process that has not started, made by [`Process::new`] and [`Process::command`].
#[must_use = "a process starts when it is told to"]
pub struct ProcessBuilder {
    kind: Kind,
    name: Option<String>,
    daemon: Option<bool>,
    manager: Option<Manager>,
    environment: Environment,
    current_dir: Option<PathBuf>,
}

type Hold = Box<dyn FnOnce(Manager, String) -> BoxFuture<Result<()>> + Send>;

enum Kind {
    Task {
        name: &'static str,
        bytes: Vec<u8>,
    },
    /// A task with proxies among its arguments.
    WithProxies {
        name: &'static str,
        /// The manager of the proxies.
        manager: Manager,
        /// Has the manager hold the arguments until the child takes them.
        hold: Hold,
    },
    Program {
        program: OsString,
        args: Vec<OsString>,
    },
    Unencodable(String),
}

impl ProcessBuilder {
    fn of(kind: Kind) -> Self {
        Self {
            kind,
            name: None,
            daemon: None,
            manager: None,
            environment: Environment::default(),
            current_dir: None,
        }
    }

    /// Its name, which errors have and `inspect` shows; `Process-1` and so on unless told otherwise.
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Whether [`finish`] terminates it instead of waiting for it. As the process that starts it, unless told
    /// otherwise.
    pub fn daemon(self, daemon: bool) -> Self {
        Self { daemon: Some(daemon), ..self }
    }

    /// The manager to which [`Manager::current`] connects in the process, which is given the address and the
    /// authkey over a socket. Without it that is the manager of the proxies among the arguments, or else the
    /// one that this process itself was given. Another program finds nothing of it: use
    /// [`envs`](Self::envs) with [`Manager::environment`].
    #[doc(alias = "authkey")]
    pub fn manager(self, manager: &Manager) -> Self {
        Self { manager: Some(manager.clone()), ..self }
    }

    /// An argument of another program. A task has its arguments already, and starting one with this is
    /// an error.
    pub fn arg(self, arg: impl AsRef<OsStr>) -> Self {
        self.args([arg])
    }

    /// Arguments of another program, as [`arg`](Self::arg).
    pub fn args(mut self, more: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        match &mut self.kind {
            Kind::Program { args, .. } => {
                args.extend(more.into_iter().map(|arg| arg.as_ref().to_owned()));
            }
            kind => {
                let message =
                    "`arg` is for `Process::command`: a task has its arguments as a tuple";
                *kind = Kind::Unencodable(message.into());
            }
        }
        self
    }

    /// Sets a variable of its environment, which is this process's otherwise.
    pub fn env(mut self, variable: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.set(variable.as_ref().into(), value.as_ref().into());
        self
    }

    /// Sets variables of its environment.
    pub fn envs(
        mut self,
        variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    ) -> Self {
        for (variable, value) in variables {
            self.environment.set(variable.as_ref().into(), value.as_ref().into());
        }
        self
    }

    /// Removes a variable from its environment.
    pub fn env_remove(mut self, variable: impl AsRef<OsStr>) -> Self {
        self.environment.remove(variable.as_ref().into());
        self
    }

    /// Removes all variables from its environment, but for those that are set after this.
    pub fn env_clear(mut self) -> Self {
        self.environment.clear();
        self
    }

    /// Its working directory, from which the path of another program is looked up, too.
    #[doc(alias = "cwd")]
    pub fn current_dir(self, directory: impl Into<PathBuf>) -> Self {
        Self { current_dir: Some(directory.into()), ..self }
    }

    /// Starts it, and returns when it is there: when it has come to [`init`](crate::init) and has its
    /// arguments, or has become the other program.
    ///
    /// If the call is cancelled, the process is killed as soon as it is there.
    ///
    /// # Errors
    /// [`Error::Configuration`] if this program never called [`init`](crate::init), with the line to add;
    /// [`Error::Start`] if the process cannot be started, ends before it comes to `init()`, or has not come
    /// there within 10 s, or if its arguments cannot be encoded. With proxies among those, also what their
    /// manager refuses.
    pub async fn start(self) -> Result<Process> {
        let name = self.name.unwrap_or_else(identity::next_name);
        let is_program = matches!(self.kind, Kind::Program { .. });
        let mut manager = self.manager;
        let mut arguments = Vec::new();
        let mut held = None;
        let role = match self.kind {
            Kind::Unencodable(message) => return Err(Error::Start { name, message }),
            Kind::Program { program, args } => Role::Program { program, args },
            Kind::Task { name, bytes } => {
                arguments = bytes;
                Role::Task { name: name.into(), held: None }
            }
            Kind::WithProxies { name: task, manager: theirs, hold } => {
                let random = nonce().map_err(|error| Error::Start {
                    name: name.clone(),
                    message: error.to_string(),
                })?;
                let key = format!("mp-manager/process/{random}");
                hold(theirs.clone(), key.clone()).await?;
                held = Some((theirs.clone(), key.clone()));
                // The proxies work on no other.
                manager = Some(theirs);
                Role::Task { name: task.into(), held: Some(key) }
            }
        };
        let launch = Launch {
            name,
            daemon: self.daemon.unwrap_or_else(|| identity::current().daemon()),
            environment: self.environment,
            current_dir: self.current_dir,
            role,
            arguments,
            manager: match manager {
                Some(manager) => manager.environment(),
                None => identity::manager().unwrap_or_default().to_vec(),
            },
        };
        let started = start(launch, is_program).await;
        if let (Err(_), Some((manager, key))) = (&started, held) {
            // Nobody takes them. Named objects outlast their manager's clients.
            let _ = manager.delete(&key).await;
        }
        started
    }
}

impl fmt::Debug for ProcessBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_deref().unwrap_or("a process");
        match &self.kind {
            Kind::Task { name: task, .. } | Kind::WithProxies { name: task, .. } => {
                write!(f, "{name} that will run {task}")
            }
            Kind::Program { program, .. } => {
                write!(f, "{name} that will run {}", program.display())
            }
            Kind::Unencodable(_) => write!(f, "{name} that cannot start"),
        }
    }
}

/// Starts a process, on the thread that watches it from then on.
async fn start(launch: Launch, is_program: bool) -> Result<Process> {
    let (send, receive) = oneshot::channel();
    let name = launch.name.clone();
    let failed =
        |error: &dyn fmt::Display| Error::Start { name: name.clone(), message: error.to_string() };
    let life = move || {
        let (name, daemon) = (launch.name.clone(), launch.daemon);
        let child = spawn(launch)
            .and_then(|child| if is_program { has_become(&name, child) } else { Ok(child) });
        match child {
            Err(error) => {
                let _ = send.send(Err(error));
            }
            Ok(child) => {
                let Child { pid, pidfd, control, process } = child;
                let outcome = watch::Sender::new(None);
                let shared = Shared { name, daemon, pid, pidfd, control, is_program, outcome };
                let handle = Process { shared: Arc::new(shared) };
                children().push(handle.clone());
                if send.send(Ok(handle.clone())).is_err() {
                    // Whoever started it has gone.
                    let _ = handle.kill();
                }
                watch(&handle, process);
            }
        }
    };
    thread::Builder::new()
        .name("mp-manager-child".into())
        .spawn(life)
        .map_err(|error| failed(&error))?;
    receive.await.map_err(|error| failed(&error))?
}

/// Waits until a child has become the other program, which closes the control socket.
fn has_become(name: &str, mut child: Child) -> Result<Child> {
    let message = match child.control.receive() {
        Ok(None) => return Ok(child),
        Ok(Some(frame)) => failure_of(&frame.payload).map_or_else(
            || "it said what nobody understands".into(),
            |failure| failure.to_string(),
        ),
        Err(error) => error.to_string(),
    };
    let _ = child.wait();
    Err(Error::Start { name: name.into(), message })
}

fn failure_of(payload: &[u8]) -> Option<TaskFailure> {
    rmp_serde::from_slice(payload).ok()
}

/// Waits until the process has ended, and says how.
fn watch(process: &Process, mut child: std::process::Child) {
    let Shared { control, pidfd, outcome, pid, .. } = &*process.shared;
    let mut failure = None;
    let mut is_open = true;
    let mut take = |is_open: &mut bool| match control.receive() {
        Ok(Some(frame)) if frame.kind == FrameKind::Failed => failure = failure_of(&frame.payload),
        Ok(Some(_)) => {}
        Ok(None) | Err(_) => *is_open = false,
    };
    // If it cannot be watched it is only waited for.
    while is_open {
        match await_either(control, pidfd, None) {
            Ok((_, true)) | Err(_) => break,
            Ok((true, false)) => take(&mut is_open),
            Ok((false, false)) => {}
        }
    }
    let ended = child.wait();
    // What it said last; a process of its own that it left behind may keep the socket open.
    if is_open && control.set_nonblocking().is_ok() {
        while is_open {
            take(&mut is_open);
        }
    }
    children().retain(|child| child.shared.pid != *pid);
    outcome.send_replace(Some(Outcome::of(ended.ok(), failure)));
}

static CHILDREN: Mutex<Vec<Process>> = Mutex::new(Vec::new());

fn children() -> MutexGuard<'static, Vec<Process>> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The processes that this one started and that run still.
///
/// ```
/// assert!(mp_manager::process::active_children().is_empty());
/// ```
#[must_use]
pub fn active_children() -> Vec<Process> {
    children().iter().filter(|child| child.is_alive()).cloned().collect()
}

/// How long a daemon has from SIGTERM to SIGKILL.
const DAEMON_GRACE: Duration = Duration::from_secs(2);

/// Ends the daemons among the [`active_children`] and waits for the others, as Python does when it exits. A
/// daemon gets SIGTERM, and SIGKILL two seconds later. Blocks the thread.
///
/// A `main` with [`#[mp_manager::main]`](crate::main) calls it when it returns, and so does a process whose task
/// has ended. A program that calls [`init`](crate::init) by itself calls this as well, unless its children are
/// to end with it.
///
/// ```
/// mp_manager::process::finish();
/// ```
pub fn finish() {
    let (daemons, others): (Vec<_>, Vec<_>) =
        active_children().into_iter().partition(Process::daemon);
    for daemon in &daemons {
        let _ = daemon.terminate();
    }
    for daemon in &daemons {
        if !daemon.wait_timeout(DAEMON_GRACE) {
            let _ = daemon.kill();
        }
    }
    for child in daemons.iter().chain(&others) {
        pollster::block_on(child.ended());
    }
}
