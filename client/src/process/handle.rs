//! A process that this one started.

use std::{
    fmt,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Signal, pidfd_send_signal},
};
use tokio::sync::watch;

use crate::{
    error::{Error, Result},
    process::{
        control::{Control, FrameKind},
        hosted::Signalled,
        outcome::Outcome,
        remote::Remote,
        task::BoxFuture,
    },
};

/// A process that runs a task of this program, or another program. Python's `multiprocessing.Process`.
///
/// It is a handle: cloning it is cheap, and dropping it does nothing to the process, which stays among the
/// [`active_children`](crate::process::active_children) until it ends. The process ends when this one does, however it does; when a `main` with
/// [`#[mp_manager::main]`](crate::main) returns, it calls
/// [`finish`](crate::process::finish) first, which terminates daemons and waits for
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

/// What all handles of one process share.
pub(super) struct Shared {
    pub(super) name: String,
    pub(super) daemon: bool,
    pub(super) pid: u32,
    /// Readable when it has ended.
    pub(super) pidfd: OwnedFd,
    pub(super) body: Body,
    /// Set once, by the thread that watches the process.
    pub(super) outcome: watch::Sender<Option<Outcome>>,
}

/// How a process is reached.
pub(super) enum Body {
    /// A child of this process.
    Here {
        control: Control,
        /// Whether it is another program, which has ordinary signals.
        is_program: bool,
    },
    /// One on another host.
    There(Arc<Remote>),
}

impl Process {
    pub(super) fn of(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Whether both are handles of one process.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
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

    /// The host of a pool that it was [started on](crate::process::ProcessBuilder::on); `None` for a child of this
    /// process.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        match &self.shared.body {
            Body::Here { .. } => None,
            Body::There(remote) => Some(&remote.host),
        }
    }

    /// Whether [`finish`](crate::process::finish) terminates it.
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
        self.signal(Signal::TERM, Signalled::Terminate)
    }

    /// Sends it SIGKILL, which it cannot ignore. A process that has ended is left alone.
    ///
    /// # Errors
    /// As [`terminate`](Self::terminate).
    pub fn kill(&self) -> Result<()> {
        self.signal(Signal::KILL, Signalled::Kill)
    }

    /// Ends it as by SIGINT. The signal itself, as Ctrl-C sends it to every process of a terminal, is left to
    /// the parent; another program gets it as any other. A process that is stopped ends when it goes on.
    ///
    /// # Errors
    /// As [`terminate`](Self::terminate).
    pub fn interrupt(&self) -> Result<()> {
        match &self.shared.body {
            Body::Here { control, is_program: false } => {
                // It fails if the process has ended, which is what is wanted.
                let _ = control.send(FrameKind::Interrupt, &[]);
                Ok(())
            }
            _ => self.signal(Signal::INT, Signalled::Interrupt),
        }
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

    pub(crate) async fn ended(&self) {
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

    fn signal(&self, signal: Signal, signalled: Signalled) -> Result<()> {
        if let Body::There(remote) = &self.shared.body {
            return if self.is_alive() { remote.send(signalled) } else { Ok(()) };
        }
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

impl Sentinel {
    pub(crate) fn has_ended(&self) -> bool {
        self.shared.outcome.borrow().is_some()
    }
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
