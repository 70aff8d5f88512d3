//! An agent: keeps workers of a pool on its host, and does what operators and the pool tell it.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use crate::{
    error::{Error, Result},
    objects::{Manager, pool::SharedPool},
    process::{
        cpu_count,
        hosting::{Allows, Hosting},
        pool::{
            crew::{Crew, Recipe},
            host::Host,
        },
        spawn::Exec,
    },
    transport::connect::host_name,
};

/// How long an agent waits for its name: an agent of before, which was killed, has it until its lease is over.
const PATIENCE: Duration = Duration::from_secs(15);

/// Keeps workers of a pool on this host: processes of a program that calls [`init`](crate::init) and knows the pool's
/// tasks. `mp-manager worker` is one.
///
/// It starts a worker anew when one has ended, after a pause that grows from 100 ms to 30 s while they fail. When
/// the manager or the network was away for longer than the lease it kills its workers, and comes back with new ones.
/// Operators see it in [`Pool::status`](crate::Pool::status), [resize](crate::Pool::resize_hosts) it and
/// [drain](crate::Pool::drain) it.
///
/// Its workers die with it. What they have started ends with a worker that ends, if it has stayed in its process
/// group; with an agent that is killed by SIGKILL only where a service manager or a container sees to that.
///
/// ```no_run
/// use mp_manager::{Manager, Result, process::Agent};
///
/// # async fn example() -> Result<()> {
/// let manager = Manager::connect("10.0.0.5:7117", "authkey").await?;
/// let agent = Agent::of("./crunch").processes(8).start(&manager, "crunch").await?;
/// agent.ended().await; // drained, or the pool is closed
/// manager.close().await
/// # }
/// ```
pub struct Agent {
    crew: Crew,
    pool: SharedPool,
    name: String,
    hosting: Arc<Hosting>,
}

impl Agent {
    /// An agent whose workers are processes of this program: a path, or a name that is looked up in PATH.
    pub fn of(program: impl AsRef<OsStr>) -> AgentBuilder {
        AgentBuilder {
            exec: Exec {
                program: PathBuf::from(program.as_ref()),
                args: Vec::new(),
                through: Vec::new(),
            },
            processes: None,
            name: None,
            patience: PATIENCE,
            allows_commands: false,
            recipe: Recipe::default(),
        }
    }

    /// Its host's name in the pool.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Has the workers finish what they have in hand, and leave; then it has [`ended`](Self::ended). Without a
    /// manager that is when their session is over.
    pub fn drain(&self) {
        self.crew.shared().drain();
    }

    /// Kills all workers, and whatever processes these have started in their process groups.
    pub fn kill(&self) {
        self.crew.kill();
        self.hosting.end();
    }

    /// Waits until no worker is left and none will come, and no process that others have started here: it is
    /// drained, or killed, its program is not one that comes to [`init`](crate::init), or the pool is closed and
    /// done, or broken. The manager has heard of their ends then, if it can be reached. Cancel safe.
    pub async fn ended(&self) {
        self.crew.shared().over().await;
        self.crew.shared().have_left().await;
        self.hosting.are_gone().await;
        // Another agent may have its name, and that pool, meanwhile.
        if !self.crew.shared().is_paused() {
            self.hosting.leave().await;
        }
    }

    /// Why no worker comes to work, if none ever has or the pool is broken.
    ///
    /// # Errors
    /// If the session is lost.
    pub async fn broken(&self) -> Result<Option<String>> {
        if let Some(why) = self.crew.shared().gave_up() {
            return Ok(Some(why));
        }
        let status = self.pool.status().await?;
        Ok((!status.broken.is_empty()).then_some(status.broken))
    }

    /// The ids of its workers.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.crew.pids()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Agent \"{}\"", self.name)
    }
}

/// An agent that has not started, made by [`Agent::of`].
#[derive(Debug)]
#[must_use = "an agent starts when it is told to"]
pub struct AgentBuilder {
    exec: Exec,
    processes: Option<usize>,
    name: Option<String>,
    patience: Duration,
    allows_commands: bool,
    recipe: Recipe,
}

impl AgentBuilder {
    /// Arguments of the program.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.exec.args.extend(args.into_iter().map(|arg| OsString::from(arg.as_ref())));
        self
    }

    /// A program, and its arguments, that becomes the one whose path and arguments follow these: it can see to it that
    /// a worker ends with this process before it has come to [`init`](crate::init).
    #[doc(hidden)]
    pub fn through(mut self, words: impl IntoIterator<Item = OsString>) -> Self {
        self.exec.through.extend(words);
        self
    }

    /// How many workers; as many as there are [processors](crate::process::cpu_count) unless told otherwise.
    pub fn processes(self, processes: usize) -> Self {
        Self { processes: Some(processes), ..self }
    }

    /// The host's name, unique in its pool; that of the machine unless told otherwise.
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// How long it waits for its name, if another host of the pool has it; 15 s unless told otherwise. An agent that
    /// was killed keeps it until its lease is over.
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Lets whoever knows the authkey run any program here, with
    /// [`Process::command`](crate::process::Process::command). Without this the agent starts its own program alone.
    pub fn allow_commands(self) -> Self {
        Self { allows_commands: true, ..self }
    }

    /// The working directory of the workers.
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.recipe.current_dir = Some(directory.into());
        self
    }

    /// Sets a variable of the workers' environment.
    pub fn env(mut self, variable: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.recipe.environment.set(variable.as_ref().into(), value.as_ref().into());
        self
    }

    /// Removes a variable from the workers' environment.
    pub fn env_remove(mut self, variable: impl AsRef<OsStr>) -> Self {
        self.recipe.environment.remove(variable.as_ref().into());
        self
    }

    /// Has this process print what the workers print, each line after their name.
    pub fn prefix_output(mut self) -> Self {
        self.recipe.prefixes_output = true;
        self
    }

    /// Joins the pool of this name, which is made if there is none, and starts the workers.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] if another host of the pool has the name, and keeps it for longer than this one's
    /// [patience](Self::patience). [`Error::PoolBroken`], [`Error::PoolClosed`]; if the session is lost.
    pub async fn start(self, manager: &Manager, pool: &str) -> Result<Agent> {
        let processes = self.processes.unwrap_or_else(cpu_count);
        let capacity = u32::try_from(processes)
            .map_err(|_| Error::Configuration(format!("{processes} processes are too many")))?;
        let host_name = self.name.unwrap_or_else(host_name);
        if host_name.is_empty() {
            return Err(Error::Configuration("this machine has no name: give the host one".into()));
        }
        let shared: SharedPool = manager.shared_pool(pool).await?;
        let host =
            Host::join(shared.clone(), host_name.clone(), (capacity, true), self.patience).await?;
        let allows = Allows {
            exec: self.exec.clone(),
            commands: self.allows_commands,
            prefixes_output: self.recipe.prefixes_output,
        };
        let hosting = Hosting::begin(manager, (pool, &host_name), allows).await?;
        let recipe = Recipe {
            name: Some(host_name.clone()),
            exec: Some(self.exec),
            leads_groups: true,
            gives_up: true,
            ..self.recipe
        };
        let (session, workers) = (Some(host.incarnation()), host.workers());
        let crew = Crew::start(manager, shared.clone(), pool.into(), recipe, session, workers)?;
        host.stay(crew.shared())?;
        Ok(Agent { crew, pool: shared, name: host_name, hosting })
    }
}
