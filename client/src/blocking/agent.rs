//! An agent that keeps workers of a pool on this host, for threads.

use std::{ffi::OsStr, fmt, path::PathBuf, time::Duration};

use crate::{
    blocking::{Manager, wait},
    error::Result,
};

/// Keeps workers of a pool on this host, as [`crate::process::Agent`].
///
/// ```no_run
/// use mp_manager::{Result, blocking::{Agent, Manager}};
///
/// # fn example() -> Result<()> {
/// let manager = Manager::connect("10.0.0.5:7117", "authkey")?;
/// let agent = Agent::of("./crunch").processes(8).start(&manager, "crunch")?;
/// agent.ended(); // drained, or the pool is closed
/// manager.close()
/// # }
/// ```
pub struct Agent {
    inner: crate::process::Agent,
}

impl Agent {
    /// An agent whose workers are processes of this program, as [`crate::process::Agent::of`].
    pub fn of(program: impl AsRef<OsStr>) -> AgentBuilder {
        AgentBuilder { inner: crate::process::Agent::of(program) }
    }

    /// Its host's name in the pool.
    #[must_use]
    pub fn name(&self) -> &str {
        self.inner.name()
    }

    /// Has the workers finish what they have in hand, and leave, as [`crate::process::Agent::drain`].
    pub fn drain(&self) {
        self.inner.drain();
    }

    /// Kills all workers, as [`crate::process::Agent::kill`].
    pub fn kill(&self) {
        self.inner.kill();
    }

    /// Waits until no worker is left and none will come, as [`crate::process::Agent::ended`].
    pub fn ended(&self) {
        wait(self.inner.ended());
    }

    /// Why no worker comes to work, as [`crate::process::Agent::broken`].
    ///
    /// # Errors
    /// As there.
    pub fn broken(&self) -> Result<Option<String>> {
        wait(self.inner.broken())
    }

    /// The ids of its workers.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.inner.pids()
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// An agent that has not started, made by [`Agent::of`].
#[derive(Debug)]
#[must_use = "an agent starts when it is told to"]
pub struct AgentBuilder {
    inner: crate::process::AgentBuilder,
}

impl AgentBuilder {
    /// Arguments of the program.
    pub fn args(self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        Self { inner: self.inner.args(args) }
    }

    /// How many workers, as [`crate::process::AgentBuilder::processes`].
    pub fn processes(self, processes: usize) -> Self {
        Self { inner: self.inner.processes(processes) }
    }

    /// The host's name, as [`crate::process::AgentBuilder::name`].
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { inner: self.inner.name(name) }
    }

    /// How long it waits for its name, as [`crate::process::AgentBuilder::patience`].
    pub fn patience(self, patience: Duration) -> Self {
        Self { inner: self.inner.patience(patience) }
    }

    /// Lets whoever knows the authkey run any program here, as [`crate::process::AgentBuilder::allow_commands`].
    pub fn allow_commands(self) -> Self {
        Self { inner: self.inner.allow_commands() }
    }

    /// The working directory of the workers.
    pub fn current_dir(self, directory: impl Into<PathBuf>) -> Self {
        Self { inner: self.inner.current_dir(directory) }
    }

    /// Sets a variable of the workers' environment.
    pub fn env(self, variable: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        Self { inner: self.inner.env(variable, value) }
    }

    /// Removes a variable from the workers' environment.
    pub fn env_remove(self, variable: impl AsRef<OsStr>) -> Self {
        Self { inner: self.inner.env_remove(variable) }
    }

    /// Has this process print what the workers print, each line after their name.
    pub fn prefix_output(self) -> Self {
        Self { inner: self.inner.prefix_output() }
    }

    /// Joins the pool and starts the workers, as [`crate::process::AgentBuilder::start`].
    ///
    /// # Errors
    /// As there.
    pub fn start(self, manager: &Manager, pool: &str) -> Result<Agent> {
        let inner = wait(self.inner.start(&manager.inner, pool))?;
        Ok(Agent { inner })
    }
}
