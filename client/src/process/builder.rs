//! A process that has not started.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    path::PathBuf,
};

use crate::{
    error::{Error, Result},
    objects::Manager,
    process::{
        arguments::{self, Held},
        bootstrap::{Role, nonce},
        handle::Process,
        hosted::Order,
        identity,
        pool::Pool,
        spawn::{Environment, Launch},
        start::start,
        start_on,
        task::{BoxFuture, Task},
    },
    rpc::codec,
};

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
    ///     results.put(x * x).await
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
            Ok((bytes, None)) => Kind::Task { name: T::NAME, signature: T::SIGNATURE, bytes },
            Ok((_, Some(link))) => Kind::WithProxies {
                name: T::NAME,
                signature: T::SIGNATURE,
                manager: Manager::new(link),
                hold: Box::new(move |manager, key| Box::pin(arguments::hold(manager, key, args))),
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
    prefixes_output: bool,
    /// Where it is to run, if not here.
    target: Option<(Pool, String)>,
}

type Hold = Box<dyn FnOnce(Manager, String) -> BoxFuture<Result<Held>> + Send>;

enum Kind {
    Task {
        name: &'static str,
        signature: &'static str,
        bytes: Vec<u8>,
    },
    /// A task with proxies among its arguments.
    WithProxies {
        name: &'static str,
        signature: &'static str,
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
            prefixes_output: false,
            target: None,
        }
    }

    /// Has it run on a host of a pool, by the [agent](crate::process::Agent) there, which starts its own program: the
    /// task must be one of that. Another program runs only where the agent allows it (`mp-manager worker
    /// --allow-commands`). It finds the pool's manager, and the environment, the working directory and the output of
    /// the agent, unless told otherwise.
    ///
    /// It is terminated when this process ends, or loses its session; and killed with the agent, when that ends or
    /// loses its session.
    ///
    /// ```no_run
    /// # use mp_manager::{Pool, Result, process::Process, task};
    /// #[task]
    /// fn index(path: String) {
    ///     println!("indexing {path}");
    /// }
    ///
    /// # async fn example(pool: Pool) -> Result<()> {
    /// let process = Process::new(index, ("/data".into(),)).on(&pool, "node-7").start().await?;
    /// process.join().await
    /// # }
    /// ```
    pub fn on(self, pool: &Pool, host: impl Into<String>) -> Self {
        Self { target: Some((pool.clone(), host.into())), ..self }
    }

    /// Its name, which errors have and `inspect` shows; `Process-1` and so on unless told otherwise.
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Whether [`finish`](crate::process::finish) terminates it instead of waiting for it. As the process that starts it, unless told
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

    /// Has this process print what it prints, each line after its name: `[Process-1] hello`. Lines of several
    /// processes do not mix. Without this it writes to the stdout and the stderr of this process itself.
    ///
    /// ```no_run
    /// # use mp_manager::{Result, process::Process};
    /// # async fn example() -> Result<()> {
    /// let server = Process::command("./server").name("server").prefix_output().start().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn prefix_output(self) -> Self {
        Self { prefixes_output: true, ..self }
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
            Kind::Task { name, signature, bytes } => {
                arguments = bytes;
                Role::Task { name: name.into(), signature: signature.into(), held: None }
            }
            Kind::WithProxies { name: task, signature, manager: theirs, hold } => {
                let random = nonce().map_err(|error| Error::Start {
                    name: name.clone(),
                    message: error.to_string(),
                })?;
                let key = format!("mp-manager/process/{random}");
                held = Some(hold(theirs.clone(), key.clone()).await?);
                // The proxies work on no other.
                manager = Some(theirs);
                Role::Task { name: task.into(), signature: signature.into(), held: Some(key) }
            }
        };
        if let Some((pool, host)) = self.target {
            let id = nonce()
                .map_err(|error| Error::Start { name: name.clone(), message: error.to_string() })?;
            let order = Order {
                id,
                name,
                daemon: self.daemon.unwrap_or_else(|| identity::current().daemon()),
                role,
                arguments,
                environment: self.environment,
                current_dir: self.current_dir,
                prefixes_output: self.prefixes_output,
            };
            return start_on::start(pool.target(host)?, order, held).await;
        }
        let launch = Launch {
            exec: None,
            leads_group: false,
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
            prefixes_output: self.prefixes_output,
        };
        start(launch, is_program, held).await
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
