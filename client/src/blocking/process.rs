//! Processes that this one starts, for threads.

use std::{ffi::OsStr, fmt, path::PathBuf, time::Duration};

use crate::{
    blocking::{Manager, wait},
    error::Result,
    process::{Outcome, Sentinel, Task},
};

/// A process that runs a task of this program, or another program, as [`crate::process::Process`].
///
/// ```
/// use mp_manager::{Result, blocking::Process, task};
///
/// #[task]
/// fn greet(name: String) {
///     println!("hello from {}, {name}", std::process::id());
/// }
///
/// #[mp_manager::main]
/// fn main() -> Result<()> {
///     let process = Process::new(greet, ("world".into(),)).start()?;
///     process.join()?;
///     assert_eq!(process.exit_code(), Some(0));
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Process {
    pub(super) inner: crate::process::Process,
}

impl Process {
    /// A process that will run this task with these arguments, as [`crate::process::Process::new`]. Proxies among
    /// them may be blocking ones.
    ///
    /// ```
    /// # use mp_manager::{Result, blocking::{Manager, Process, Queue}, task};
    /// #[task]
    /// fn square(x: i64, results: Queue<i64>) -> Result<()> {
    ///     results.put(x * x)
    /// }
    ///
    /// #[mp_manager::main]
    /// fn main() -> Result<()> {
    ///     let manager = Manager::start()?;
    ///     let results = manager.queue("results").open()?;
    ///     let process = Process::new(square, (3, results.clone())).start()?;
    ///     assert_eq!(results.get()?, 9);
    ///     process.join()
    /// }
    /// ```
    #[expect(clippy::new_ret_no_self, reason = "a process is there when it has started")]
    pub fn new<T: Task>(task: T, args: T::Args) -> ProcessBuilder {
        ProcessBuilder { inner: crate::process::Process::new(task, args) }
    }

    /// A process that will run another program, as [`crate::process::Process::command`].
    ///
    /// ```no_run
    /// # use mp_manager::{Result, blocking::Process};
    /// # fn example() -> Result<()> {
    /// Process::command("./prog").arg("--fast").start()?.join()
    /// # }
    /// ```
    #[doc(alias = "Popen")]
    pub fn command(program: impl AsRef<OsStr>) -> ProcessBuilder {
        ProcessBuilder { inner: crate::process::Process::command(program) }
    }

    /// The processes that this one started and that run still, as [`crate::process::active_children`].
    ///
    /// ```
    /// assert!(mp_manager::blocking::Process::active_children().is_empty());
    /// ```
    #[must_use]
    pub fn active_children() -> Vec<Self> {
        crate::process::active_children().into_iter().map(|inner| Self { inner }).collect()
    }

    /// Its name, as [`crate::process::Process::name`].
    #[must_use]
    pub fn name(&self) -> &str {
        self.inner.name()
    }

    /// Its id, as [`crate::process::Process::pid`].
    #[doc(alias = "ident")]
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.inner.pid()
    }

    /// Whether [`finish`](crate::process::finish) terminates it.
    #[must_use]
    pub fn daemon(&self) -> bool {
        self.inner.daemon()
    }

    /// Whether it runs still, as [`crate::process::Process::is_alive`].
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.inner.is_alive()
    }

    /// Its exit code when it has ended, as [`crate::process::Process::exit_code`].
    #[doc(alias = "exitcode")]
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        self.inner.exit_code()
    }

    /// How it ended, when it has, as [`crate::process::Process::outcome`].
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.inner.outcome()
    }

    /// Waits until it has ended, as [`crate::process::Process::join`].
    ///
    /// # Errors
    /// [`Error::ProcessFailed`](crate::Error::ProcessFailed) if it ended otherwise than with exit code 0.
    ///
    /// ```no_run
    /// # use mp_manager::{Result, blocking::Process};
    /// # fn example(process: Process) -> Result<()> {
    /// process.join()
    /// # }
    /// ```
    pub fn join(&self) -> Result<()> {
        wait(self.inner.join())
    }

    /// Waits until it has ended, but no longer than this: whether it has, as
    /// [`crate::process::Process::join_timeout`].
    ///
    /// # Errors
    /// As [`join`](Self::join).
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use mp_manager::{Result, blocking::Process};
    /// # fn example(process: Process) -> Result<()> {
    /// if !process.join_timeout(Duration::from_secs(5))? {
    ///     process.terminate()?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool> {
        if self.inner.wait_timeout(timeout) {
            self.inner.result().map(|()| true)
        } else {
            Ok(false)
        }
    }

    /// Sends it SIGTERM, as [`crate::process::Process::terminate`].
    ///
    /// # Errors
    /// [`Error::Configuration`](crate::Error::Configuration) if it may not be signalled.
    pub fn terminate(&self) -> Result<()> {
        self.inner.terminate()
    }

    /// Sends it SIGKILL, as [`crate::process::Process::kill`].
    ///
    /// # Errors
    /// As [`terminate`](Self::terminate).
    pub fn kill(&self) -> Result<()> {
        self.inner.kill()
    }

    /// Ends it as by SIGINT, as [`crate::process::Process::interrupt`].
    ///
    /// # Errors
    /// As [`terminate`](Self::terminate).
    pub fn interrupt(&self) -> Result<()> {
        self.inner.interrupt()
    }

    /// Gives the handle back, as [`crate::process::Process::close`].
    ///
    /// # Errors
    /// [`Error::Configuration`](crate::Error::Configuration) if it runs still.
    pub fn close(self) -> Result<()> {
        self.inner.close()
    }

    /// A descriptor that is readable when the process has ended, as [`crate::process::Process::sentinel`].
    #[must_use]
    pub fn sentinel(&self) -> Sentinel {
        self.inner.sentinel()
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// A process that has not started, as [`crate::process::ProcessBuilder`].
#[must_use = "a process starts when it is told to"]
#[derive(Debug)]
pub struct ProcessBuilder {
    inner: crate::process::ProcessBuilder,
}

impl ProcessBuilder {
    /// Its name, as [`crate::process::ProcessBuilder::name`].
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { inner: self.inner.name(name) }
    }

    /// Whether it is a daemon, as [`crate::process::ProcessBuilder::daemon`].
    pub fn daemon(self, daemon: bool) -> Self {
        Self { inner: self.inner.daemon(daemon) }
    }

    /// Has this process print what it prints, as [`crate::process::ProcessBuilder::prefix_output`].
    pub fn prefix_output(self) -> Self {
        Self { inner: self.inner.prefix_output() }
    }

    /// The manager that it finds, as [`crate::process::ProcessBuilder::manager`].
    #[doc(alias = "authkey")]
    pub fn manager(self, manager: &Manager) -> Self {
        Self { inner: self.inner.manager(&manager.inner) }
    }

    /// An argument of another program, as [`crate::process::ProcessBuilder::arg`].
    pub fn arg(self, arg: impl AsRef<OsStr>) -> Self {
        Self { inner: self.inner.arg(arg) }
    }

    /// Arguments of another program, as [`crate::process::ProcessBuilder::args`].
    pub fn args(self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        Self { inner: self.inner.args(args) }
    }

    /// Sets a variable of its environment, as [`crate::process::ProcessBuilder::env`].
    pub fn env(self, variable: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        Self { inner: self.inner.env(variable, value) }
    }

    /// Sets variables of its environment, as [`crate::process::ProcessBuilder::envs`].
    pub fn envs(
        self,
        variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    ) -> Self {
        Self { inner: self.inner.envs(variables) }
    }

    /// Removes a variable from its environment, as [`crate::process::ProcessBuilder::env_remove`].
    pub fn env_remove(self, variable: impl AsRef<OsStr>) -> Self {
        Self { inner: self.inner.env_remove(variable) }
    }

    /// Removes all variables from its environment, as [`crate::process::ProcessBuilder::env_clear`].
    pub fn env_clear(self) -> Self {
        Self { inner: self.inner.env_clear() }
    }

    /// Its working directory, as [`crate::process::ProcessBuilder::current_dir`].
    #[doc(alias = "cwd")]
    pub fn current_dir(self, directory: impl Into<PathBuf>) -> Self {
        Self { inner: self.inner.current_dir(directory) }
    }

    /// Starts it, as [`crate::process::ProcessBuilder::start`].
    ///
    /// # Errors
    /// [`Error::Configuration`](crate::Error::Configuration) if this program never called
    /// [`init`](crate::init); [`Error::Start`](crate::Error::Start) if it does not start.
    ///
    /// ```no_run
    /// # use mp_manager::{Result, blocking::Process};
    /// # fn example() -> Result<()> {
    /// Process::command("./prog").start()?.join()
    /// # }
    /// ```
    pub fn start(self) -> Result<Process> {
        Ok(Process { inner: wait(self.inner.start())? })
    }
}
