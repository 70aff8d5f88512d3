//! `mp-manager worker`

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use mp_manager::{Manager, process::Agent};
use rustix::{
    fs::{Access, access},
    process::Signal,
};
use tokio::time::{sleep, timeout};

use crate::{
    child::tied,
    deadline::{Deadline, Passed},
    error::Error,
    options::Options,
    parse,
    signals::Signals,
};

/// Keep workers of a pool on this machine
///
/// The workers are processes of a program of yours that calls mp_manager::init() and has the pool's tasks. One that has
/// ended is started again, after a pause that grows from 100 ms to 30 s while they fail. When the manager or
/// the network was away for longer than the lease, the workers are killed, and new ones started when it is back.
///
/// The first SIGTERM, SIGINT (Ctrl-C) or SIGHUP drains: workers finish what they have in hand, and others get the rest.
/// The second kills them, and SIGQUIT, SIGUSR1 and SIGUSR2 do so at once; the exit code is 128+N then. Workers die with
/// this command, however it ends, and with a worker all that is left in its process group. What workers have started
/// outlives this command only if it is killed by SIGKILL, and no service manager or container ends that as well.
///
/// It ends with 0 when it was drained (`mp-manager pool drain`), or the pool is closed and done; and with an error when
/// the program is not one that comes to init(): the first three starts have failed. One whose workers fail later is
/// tried for ever, and `mp-manager pool status` shows why.
#[derive(Debug, Args)]
pub(crate) struct Worker {
    /// The pool, which is created if need be
    #[arg(long, value_name = "NAME")]
    pool: String,
    /// How many workers; as many as there are processors unless it is given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    processes: Option<u32>,
    /// The program that the workers run: a path, or a name that is looked up in PATH
    #[arg(long, value_name = "PROGRAM")]
    exec: PathBuf,
    /// This machine's name, which no other host of the pool has [default: its host name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The directory in which the workers run
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Pass on the workers' output as it is, without the worker's name before each line
    #[arg(long)]
    no_prefix: bool,
    /// How long to try to reach the manager at first, as long as it takes unless it is given; and how long to wait for
    /// the name, which an agent that was killed keeps until its lease is over [default: 15 s]
    #[arg(long, value_name = "SECONDS", value_parser = parse::seconds, allow_negative_numbers = true)]
    timeout: Option<Duration>,
    /// Let whoever knows the authkey run any program here, and not only this one
    #[arg(long)]
    allow_commands: bool,
    /// Arguments of the program
    #[arg(last = true)]
    args: Vec<OsString>,
}

/// The signals of which the first one drains.
const DRAINING: [Signal; 3] = [Signal::TERM, Signal::INT, Signal::HUP];
/// How often it tries to reach the manager at first.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the manager may take to hear that it leaves.
const GOODBYE: Duration = Duration::from_secs(2);

impl Worker {
    pub(crate) async fn run(self, options: &Options) -> Result<ExitCode, Error> {
        self.check_program()?;
        let mut signals = Signals::ending()?;
        let purpose = format!("worker: {}", self.pool);
        let connect = connect(options, Deadline::after(self.timeout), &purpose);
        let manager = match signals.interrupt(connect).await {
            Err(error) => return left_before_it_came(error),
            manager => manager?,
        };
        let result = self.keep(&manager, &mut signals).await;
        // Otherwise it hears it when the lease is over.
        let _ = timeout(GOODBYE, manager.close()).await;
        result
    }

    /// Says at once what no worker could say later.
    fn check_program(&self) -> Result<(), Error> {
        let is_path = self.exec.components().count() > 1;
        let found = match is_path {
            true => check_executable(&self.exec),
            false => look_up(&self.exec),
        };
        if let Err(error) = found {
            return Err(Error::start(&[self.exec.clone().into()], error));
        }
        if let Some(directory) = &self.directory
            && !directory.is_dir()
        {
            return Err(Error::Usage(format!("--directory {}: no directory", directory.display())));
        }
        Ok(())
    }

    async fn keep(self, manager: &Manager, signals: &mut Signals) -> Result<ExitCode, Error> {
        let pool = self.pool.clone();
        // Where workers run in another directory, the program's path is still from this one.
        let exec = match self.exec.components().count() > 1 {
            true => std::path::absolute(&self.exec).map_err(Error::io("the program's path"))?,
            false => self.exec,
        };
        let mut agent = Agent::of(exec).args(&self.args).through(tied());
        // Workers get the authkey over their socket, and the programs that they start need none.
        agent = agent.env_remove(mp_manager::AUTHKEY_VARIABLE);
        if let Some(processes) = self.processes {
            agent = agent.processes(processes as usize);
        }
        if self.allow_commands {
            agent = agent.allow_commands();
        }
        if let Some(patience) = self.timeout {
            agent = agent.patience(patience);
        }
        if let Some(name) = self.name {
            agent = agent.name(name);
        }
        if let Some(directory) = self.directory {
            agent = agent.current_dir(directory);
        }
        if !self.no_prefix {
            agent = agent.prefix_output();
        }
        let start = async {
            agent.start(manager, &pool).await.map_err(|error| match error {
                mp_manager::Error::AlreadyExists(_) => Error::Usage(error.to_string()),
                error => error.into(),
            })
        };
        let agent = match signals.interrupt(start).await {
            Err(error) => return left_before_it_came(error),
            agent => agent?,
        };
        tracing::info!("host \"{}\" has joined pool \"{pool}\"", agent.name());
        let (mut drains, mut has_hung_up) = (false, false);
        loop {
            let signal = tokio::select! {
                () = agent.ended() => break,
                received = signals.next() => received.signal,
            };
            if signal == Signal::HUP && std::mem::replace(&mut has_hung_up, true) {
                // A terminal that closes says so, and then its shell, to each of its jobs.
                continue;
            }
            let is_kind = DRAINING.contains(&signal);
            if drains || !is_kind {
                tracing::info!("killing the workers on signal {}", signal.as_raw());
                agent.kill();
                // Otherwise the manager hears of their ends when the lease is over.
                let _ = timeout(GOODBYE, agent.ended()).await;
                tracing::info!("host \"{}\" has left pool \"{pool}\"", agent.name());
                return Err(Error::Interrupted(signal.as_raw()));
            }
            drains = true;
            tracing::info!("draining on signal {}; another one kills", signal.as_raw());
            agent.drain();
        }
        match timeout(GOODBYE, agent.broken()).await {
            Ok(Ok(Some(why))) => {
                Err(Error::Failed(format!("pool \"{pool}\": no worker comes to work: {why}")))
            }
            _ => {
                tracing::info!("host \"{}\" has left pool \"{pool}\"", agent.name());
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

/// A signal that drains has nothing to drain yet.
fn left_before_it_came(error: Error) -> Result<ExitCode, Error> {
    match error {
        Error::Interrupted(signal) if DRAINING.iter().any(|kind| kind.as_raw() == signal) => {
            tracing::info!("leaving on signal {signal}, before this host has joined the pool");
            Ok(ExitCode::SUCCESS)
        }
        error => Err(error),
    }
}

/// Whether a file is one that can be executed.
fn check_executable(path: &Path) -> io::Result<()> {
    if std::fs::metadata(path)?.is_dir() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is a directory"));
    }
    Ok(access(path, Access::EXEC_OK)?)
}

/// Whether a program is found in PATH.
fn look_up(name: &Path) -> io::Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut error = io::Error::new(io::ErrorKind::NotFound, "it is not in PATH");
    for directory in std::env::split_paths(&path) {
        match check_executable(&directory.join(name)) {
            Ok(()) => return Ok(()),
            Err(why) if why.kind() == io::ErrorKind::PermissionDenied => error = why,
            Err(_) => {}
        }
    }
    Err(error)
}

/// Connects, and tries again while there is no manager: it may be about to start.
async fn connect(options: &Options, deadline: Deadline, purpose: &str) -> Result<Manager, Error> {
    let mut said = String::new();
    loop {
        let error = match deadline.ask(options.connect(purpose)).await {
            Ok(Ok(manager)) => return Ok(manager),
            Ok(Err(error @ Error::Client(mp_manager::Error::Connect { .. }))) => error,
            Ok(Err(error)) => return Err(error),
            Err(Passed) => {
                return Err(not_in_time(deadline, &said));
            }
        };
        let text = error.to_string();
        if text != said {
            tracing::warn!("{text}; trying again");
            said = text;
        }
        match deadline.left() {
            // No time has passed.
            Some(_) if deadline.within().is_empty() => return Err(error),
            Some(left) if left < PAUSE => return Err(not_in_time(deadline, &said)),
            _ => sleep(PAUSE).await,
        }
    }
}

/// The timeout has passed: `said` is why it could not connect before, if that was tried to the end.
fn not_in_time(deadline: Deadline, said: &str) -> Error {
    let within = deadline.within();
    let why = if said.is_empty() { "the manager did not answer" } else { said };
    Error::TimedOut(format!("cannot connect{within}: {why}"))
}
