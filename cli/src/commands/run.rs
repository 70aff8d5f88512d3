//! `mp-manager run`

use std::{
    collections::BTreeMap,
    ffi::OsString,
    future::pending,
    io,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{ExitCode, ExitStatus, Stdio},
    thread::available_parallelism,
    time::Duration,
};

use clap::{Args, value_parser};
use mp_manager::{Address, Authkey};
use mp_manager_server::{ServeError, Server};
use rustix::process::Signal;
use tokio::{
    process::Command,
    sync::oneshot,
    time::{Instant, sleep_until},
};

use crate::{
    authkey,
    child::{Running, listen_for_stops},
    copies::Copies,
    descriptors,
    error::{Error, signal_code, status_code},
    json::hex,
    options::Options,
    parse,
    private_directory::PrivateDirectory,
    relay::{Relay, Relayed},
    signals::{Received, Signals},
    stderr::complaint,
};

const RANK_VARIABLE: &str = "MP_MANAGER_RANK";
const SIZE_VARIABLE: &str = "MP_MANAGER_SIZE";
/// A random text, the same in all copies of a run: objects of a manager that outlasts the run are named after it.
const RUN_VARIABLE: &str = "MP_MANAGER_RUN";
/// More would not have enough sessions, files and processes with the limits that there usually are.
const MAX_COPIES: u64 = 4096;
/// Files that a copy takes in this process: two pipes, a process and connections of its own.
const FILES_PER_COPY: usize = 8;
/// A longer one is one without end, and no clock can tell when it is over.
const LONGEST_GRACE: Duration = Duration::from_secs(1 << 30);

/// Run copies of a program that share a manager
///
/// Starts a manager and the copies, and ends when all copies have. Each copy finds the manager in
/// MP_MANAGER_ADDRESS and MP_MANAGER_AUTHKEY_FILE (`Manager::from_env()`), its rank, from 0 on, in
/// MP_MANAGER_RANK, and the number of copies in MP_MANAGER_SIZE. MP_MANAGER_RUN has the same random text in all
/// copies, and another one in each run: with a manager that outlasts the run, a barrier called
/// `meeting-$MP_MANAGER_RUN` is no barrier of an earlier run or of one beside it.
///
/// The manager is for this user alone: a unix socket and a random authkey in a temporary directory,
/// which is removed at the end. With --address, or with MP_MANAGER_ADDRESS set, none is started: the copies
/// use the manager there, which has to be running. (MP_MANAGER_ADDRESS= before the command unsets it.)
///
/// The manager notices at once when a copy dies: a barrier at which it waits breaks. Over a network
/// that takes until the lease of the copy has run out. A barrier that it has not come to yet does not break,
/// and the others wait on, unless --kill-others ends them.
///
/// Each line of a copy's output comes whole, after the rank: standard output on standard output, standard
/// error on standard error, in colour on a terminal unless NO_COLOR is set. A line of more than 64 KiB comes
/// in parts. The beginning of a line, such as a prompt, is shown on a terminal, or of a single copy, when nothing
/// has followed for 100 ms; if the line of another copy comes between, it is shown once more when it is whole. Copy 0
/// has the standard input, and the others have an empty one.
///
/// A slow reader slows the copies. When the reader has gone, a copy that writes ends by SIGPIPE, or has an error if
/// it ignores that signal, as programs in Rust (`println!` panics) and Python do. What a copy does then is up to
/// it, and the exit code is at least 141. With --no-prefix, where we do not notice that, it is the copies'.
///
/// SIGINT (Ctrl-C), SIGTERM, SIGHUP and SIGQUIT are passed on to all copies and what they have started, and a second
/// one of them kills all that. SIGUSR1 and SIGUSR2 are passed on, however often. SIGTSTP and SIGCONT stop and
/// continue us as well as the copies. If we are killed ourselves, with SIGKILL, the copies are too, but not what they
/// have started. What a copy leaves running when it ends by itself goes on.
///
/// On a terminal the copies are in the job of the shell that we are in: Ctrl-Z stops it, `fg` and `bg` continue it,
/// and if copy 0 reads the terminal while the job is in the background, all of it is stopped until `fg`.
///
/// A copy that fails or is killed is reported on standard error, with --log-format json as an object between the lines
/// of the copies, which stay as they are. The exit code is the highest of all
/// copies, where signal N counts as 128+N. Copies that --kill-others has ended do not count.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// How many copies to start [default: as many as there are processors]
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = value_parser!(u64).range(1..=MAX_COPIES),
    )]
    copies: Option<u64>,
    /// When a copy fails or is killed, end the others: with SIGTERM, and with SIGKILL after the grace.
    /// Only the copies that had ended before count for the exit code
    #[arg(long)]
    kill_others: bool,
    /// How long copies have to end with --kill-others, before they are killed with SIGKILL
    #[arg(long, value_name = "SECONDS", value_parser = parse::seconds, allow_negative_numbers = true, default_value = "5")]
    grace: Duration,
    /// Leave the copies our standard output and error as they are: without ranks, and lines may mix
    #[arg(long)]
    no_prefix: bool,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

impl Run {
    /// The thread that calls this has to be there until all copies have ended: they end with it.
    pub(crate) async fn run(self, options: &Options) -> Result<ExitCode, Error> {
        let mut signals = Signals::ending()?;
        let directory = PrivateDirectory::create()?;
        let manager = signals.interrupt(self.manager(options, &directory)).await?;
        let mut supervision = Supervision {
            run: &self,
            size: self.size(),
            copies: Copies::default(),
            relay: Relay::start(self.size()),
            relayed: BTreeMap::new(),
            directory: &directory,
            code: 0,
            failure: None,
            is_interrupted: false,
            has_hung_up: false,
            kill_at: None,
            has_ended_others: false,
            is_killed: false,
        };
        listen_for_stops(&mut signals)?;
        supervision.start(&manager.environment);
        supervision.supervise(&mut signals).await?;
        supervision.finish(&mut signals).await
    }

    async fn manager(
        &self,
        options: &Options,
        directory: &PrivateDirectory,
    ) -> Result<Shared, Error> {
        if options.has_address {
            return self.join(options, directory).await;
        }
        if options.has_credentials {
            return Err(Error::Usage(
                "--authkey-file and the --tls options are for a manager that is running: give its \
                 --address, too"
                    .into(),
            ));
        }
        self.serve(directory).await
    }

    /// Starts a manager in this process.
    async fn serve(&self, directory: &PrivateDirectory) -> Result<Shared, Error> {
        let key = authkey::generate()?;
        let authkey_file = directory.write_authkeys(&key)?;
        let mut options = mp_manager_server::Options::default();
        options.authkeys = Authkey::from_text(key.as_bytes()).into_iter().collect();
        options.ephemeral = true;
        let files = self.size() * FILES_PER_COPY;
        descriptors::allow(
            options.limits.max_connections + files,
            files,
            "start fewer copies (-n)",
        );
        let address = Address::Unix(directory.socket());
        let server = Server::bind(&address, options).await.map_err(|error| match error {
            ServeError::Bind { .. } => {
                Error::Failed(format!("{error} (TMPDIR names another directory to listen in)"))
            }
            error => error.into(),
        })?;
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(async move {
            let served = server.run(async {
                // Dropping the sender stops it as well.
                let _ = stopped.await;
            });
            if let Err(error) = served.await {
                tracing::error!(%error, "the manager of the copies has failed");
            }
        });
        let environment = vec![
            (mp_manager::ADDRESS_VARIABLE.into(), address.to_string().into()),
            (mp_manager::AUTHKEY_FILE_VARIABLE.into(), authkey_file.into()),
            // The environment's certificates are for another manager. An empty variable is as good as none.
            (mp_manager::TLS_CA_VARIABLE.into(), OsString::new()),
            (mp_manager::TLS_CERT_VARIABLE.into(), OsString::new()),
            (mp_manager::TLS_KEY_VARIABLE.into(), OsString::new()),
        ];
        Ok(Shared { environment, _stop: Some(stop) })
    }

    /// Connects to a manager, so that an address or an authkey that is wrong is noticed before anything
    /// starts.
    async fn join(&self, options: &Options, directory: &PrivateDirectory) -> Result<Shared, Error> {
        let keys = options.keys().await?;
        let program = self.command.first().map(|program| program.display().to_string());
        let purpose = format!("run: {}", program.unwrap_or_default());
        let manager = options.connect_with(&keys, &purpose).await?;
        let mut environment = manager.environment();
        environment.retain(|(variable, _)| {
            variable != mp_manager::AUTHKEY_VARIABLE
                && variable != mp_manager::AUTHKEY_FILE_VARIABLE
        });
        let authkey_file = match &keys.file {
            Some(file) => std::path::absolute(file).unwrap_or_else(|_| file.clone()),
            // From a variable, which others may read, or from a pipe, which is there once.
            None => {
                let lines = keys.authkeys.iter().map(|key| format!("hex:{}\n", hex(key.secret())));
                directory.write_authkeys(&lines.collect::<String>())?
            }
        };
        environment.push((mp_manager::AUTHKEY_FILE_VARIABLE.into(), authkey_file.into()));
        // It has answered, and will miss us if it does not hear this.
        let _ = manager.close().await;
        Ok(Shared { environment, _stop: None })
    }

    fn size(&self) -> usize {
        let processors = || available_parallelism().map_or(1, usize::from);
        self.copies.map_or_else(processors, |copies| usize::try_from(copies).unwrap_or(usize::MAX))
    }
}

/// The manager that the copies share.
struct Shared {
    /// By which they find it.
    environment: Vec<(OsString, OsString)>,
    /// The manager in this process stops when this is dropped.
    _stop: Option<oneshot::Sender<()>>,
}

/// The copies from their start to the exit code.
struct Supervision<'a> {
    run: &'a Run,
    size: usize,
    copies: Copies,
    relay: Relay,
    /// By rank.
    relayed: BTreeMap<usize, Relayed>,
    directory: &'a PrivateDirectory,
    /// The highest so far.
    code: u8,
    /// Why the program cannot be started.
    failure: Option<Error>,
    /// A signal has told the copies to end.
    is_interrupted: bool,
    /// One of them was SIGHUP.
    has_hung_up: bool,
    /// When those that have not ended, though they had to, are killed.
    kill_at: Option<Instant>,
    /// Those that end from now on were ended by us, and do not count.
    has_ended_others: bool,
    is_killed: bool,
}

impl Supervision<'_> {
    /// Rank 0 comes last, as it may read from the terminal: in the background that stops our group. A process that is
    /// about to start would stop in it, and this one, which waits for its start, would never come to its own stop:
    /// the shell would not hear of any.
    fn start(&mut self, environment: &[(OsString, OsString)]) {
        for rank in (1..self.size).chain([0]) {
            match self.start_copy(rank, environment) {
                Ok(mut copy) => {
                    self.relayed.insert(rank, self.relay.attach(rank, copy.take_output()));
                    self.copies.insert(rank, copy);
                }
                Err(error) => {
                    self.fail(error);
                    break;
                }
            }
        }
    }

    fn start_copy(
        &self,
        rank: usize,
        environment: &[(OsString, OsString)],
    ) -> Result<Running, Error> {
        let stream = || if self.run.no_prefix { Stdio::inherit() } else { Stdio::piped() };
        let report = self.directory.report(rank);
        Running::start(&self.run.command, Some(&report), |process: &mut Command| {
            process
                .env_remove(mp_manager::AUTHKEY_VARIABLE)
                .envs(environment.iter().map(|(variable, value)| (variable, value)))
                .env(RANK_VARIABLE, rank.to_string())
                .env(SIZE_VARIABLE, self.size.to_string())
                .env(RUN_VARIABLE, self.directory.id())
                .stdin(if rank == 0 { Stdio::inherit() } else { Stdio::null() })
                .stdout(stream())
                .stderr(stream());
        })
    }

    /// Returns when all copies have ended.
    async fn supervise(&mut self, signals: &mut Signals) -> Result<(), Error> {
        loop {
            let kill_at = self.kill_at.filter(|_| !self.is_killed);
            let grace = async {
                match kill_at {
                    Some(kill_at) => sleep_until(kill_at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                ended = self.copies.next_end() => match ended? {
                    Some((rank, status)) => self.ended(rank, status)?,
                    None => return Ok(()),
                },
                received = signals.next() => self.signal(received),
                () = grace => {
                    self.has_ended_others = true;
                    self.kill();
                }
            }
        }
    }

    fn ended(&mut self, rank: usize, status: ExitStatus) -> Result<(), Error> {
        self.note(rank, status);
        let has_failed = self.failure.is_none() && !status.success();
        if has_failed && self.run.kill_others && self.kill_at.is_none() {
            // They have ended by themselves: only what is told to end from here on was ended by us.
            for (rank, status) in self.copies.ended_by_now()? {
                self.note(rank, status);
            }
            self.end_others();
        }
        Ok(())
    }

    /// Takes note of how a copy has ended.
    fn note(&mut self, rank: usize, status: ExitStatus) {
        if self.failure.is_some() || status.success() {
            return;
        }
        if let Some(error) = start_error(&self.directory.report(rank)) {
            return self.fail(Error::start(&self.run.command, error));
        }
        if !self.has_ended_others {
            self.code = self.code.max(status_code(status));
        }
        self.print_after(rank, &format!("copy {rank} {}", end(status)));
    }

    /// A copy has failed: the others are told to end, and have their grace.
    fn end_others(&mut self) {
        if self.failure.is_some() || !self.copies.is_any_running() {
            return;
        }
        self.kill_at = Some(Instant::now() + self.run.grace.min(LONGEST_GRACE));
        // Otherwise they have been told to end, and may be about to.
        if !self.is_interrupted {
            self.has_ended_others = true;
            self.copies.terminate();
        }
    }

    fn print_after(&mut self, rank: usize, problem: &str) {
        if let Some(relayed) = self.relayed.get_mut(&rank) {
            self.relay.print_after(relayed, complaint(problem));
        }
    }

    fn signal(&mut self, received: Received) {
        let signal = received.signal;
        if signal == Signal::HUP && std::mem::replace(&mut self.has_hung_up, true) {
            // A terminal that closes says so, and then its shell, to each of its jobs.
            return;
        }
        let ends = is_ending(signal);
        if ends && self.is_interrupted {
            return self.kill();
        }
        self.is_interrupted |= ends;
        self.copies.pass_on(received);
    }

    /// The program cannot be started: that is said once, and nothing of it goes on.
    fn fail(&mut self, error: Error) {
        self.failure = Some(error);
        self.kill();
    }

    fn kill(&mut self) {
        self.kill_at = Some(Instant::now());
        self.is_killed = true;
        for rank in self.copies.kill() {
            let problem = format!(
                "copy {rank} is STILL RUNNING: it may not be killed by this user, so end it otherwise"
            );
            self.print_after(rank, &problem);
            self.code = self.code.max(1);
        }
    }

    async fn finish(self, signals: &mut Signals) -> Result<ExitCode, Error> {
        let mut heard = self.is_interrupted;
        if let Some(kill_at) = self.kill_at {
            tokio::select! {
                () = self.copies.end_the_rest(kill_at) => {}
                _ = next_ending(signals, &mut heard) => self.copies.end_the_rest(Instant::now()).await,
            }
        }
        let mut code = self.code;
        tokio::select! {
            printed = self.relay.finish(self.relayed.into_values()) => {
                code = code.max(printed.map_or_else(|error| error.code(), |()| 0));
            }
            // Nobody waits for what a slow reader has not read.
            signal = next_ending(signals, &mut heard) => code = code.max(signal_code(signal.as_raw())),
        }
        self.failure.map_or(Ok(code.into()), Err)
    }
}

/// The next signal that asks this process to end, after the copies have. The terminal sends its signals to them as well,
/// and they may have ended by one before we hear of it: if none was `heard` by then, the first was theirs.
async fn next_ending(signals: &mut Signals, heard: &mut bool) -> Signal {
    loop {
        let Received { signal, is_from_terminal } = signals.next().await;
        let was_theirs = is_from_terminal && !*heard;
        *heard |= is_ending(signal);
        if is_ending(signal) && !was_theirs {
            return signal;
        }
    }
}

/// Whether a signal asks a process to end.
fn is_ending(signal: Signal) -> bool {
    [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT].contains(&signal)
}

#[cfg(target_os = "linux")]
fn start_error(report: &Path) -> Option<io::Error> {
    super::tied::start_error(report)
}

/// Elsewhere that is known at once.
#[cfg(not(target_os = "linux"))]
fn start_error(_: &Path) -> Option<io::Error> {
    None
}

/// How a copy has ended.
fn end(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => match signal_hook::low_level::signal_name(signal) {
            Some(name) => format!("was killed by signal {signal} ({name})"),
            None => format!("was killed by signal {signal}"),
        },
        (None, None) => format!("has ended: {status}"),
    }
}
