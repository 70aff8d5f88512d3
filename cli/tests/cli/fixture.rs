//! A home of one's own, a daemon, and commands that use it. Every process ends with its test.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{BufRead, BufReader, Lines, Read},
    path::PathBuf,
    process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, Once},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;

/// Handles the signals that this process ignores, as its children would inherit that: a shell ignores SIGINT for commands
/// that a script runs in the background. Children do not inherit handlers.
fn hear_signals() {
    static HEARD: Once = Once::new();
    HEARD.call_once(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        for signal in [Signal::INT, Signal::QUIT, Signal::HUP] {
            if mask.unwrap_or_default() >> (signal.as_raw() - 1) & 1 == 1 {
                signal_hook::flag::register(signal.as_raw(), Arc::default()).unwrap();
            }
        }
    });
}

/// Somebody's home directory, where no key is yet, and no environment but `PATH`.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Where `serve` writes an authkey if none is given.
    pub(crate) fn authkey(&self) -> PathBuf {
        self.path("mp-manager/authkey")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        hear_signals();
        let mut command = Command::new(env!("CARGO_BIN_EXE_mp-manager"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("XDG_CONFIG_HOME", self.0.path())
            .current_dir(self.0.path())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        finish(&mut self.command(arguments))
    }
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// What a command that succeeded has printed.
    #[track_caller]
    pub(crate) fn printed(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert_eq!(self.stderr, "");
        self.stdout
    }

    /// What a command that failed with this code, and printed nothing, has complained about.
    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!((self.code, self.stdout.as_str()), (Some(code), ""), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        self.stderr
    }
}

pub(crate) fn finish(command: &mut Command) -> Finished {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Finished {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// The command by way of a program that executes its arguments, such as `env`. Only what [`Home::command`] sets is kept.
pub(crate) fn through(program: &[&str], command: &Command) -> Command {
    let mut by_way = Command::new(program[0]);
    by_way
        .args(&program[1..])
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stdin(Stdio::null());
    if let Some(directory) = command.get_current_dir() {
        by_way.current_dir(directory);
    }
    by_way
}

/// A daemon that has to refuse to start. One that serves instead fails the test.
#[track_caller]
pub(crate) fn refused(serve: &mut Command) -> Finished {
    let mut running = Running::start(serve.stderr(Stdio::piped()));
    running.wait_at_most(Duration::from_secs(30));
    running.finish()
}

/// A process that runs beside the test, and is killed if the test ends first.
pub(crate) struct Running {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Option<BufReader<ChildStderr>>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let stderr = child.stderr.take().map(BufReader::new);
        Self { child, stdout, stderr }
    }

    /// The next line it prints; `None` when nobody is left who could print one.
    pub(crate) fn line(&mut self) -> Option<String> {
        self.stdout.next().map(Result::unwrap)
    }

    /// The next line it complains with, if its standard error is a pipe.
    pub(crate) fn complaint(&mut self) -> String {
        let mut line = String::new();
        self.stderr.as_mut().unwrap().read_line(&mut line).unwrap();
        line
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The memory that it has.
    #[cfg(target_os = "linux")]
    pub(crate) fn resident_bytes(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let amount = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        amount.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
    }

    /// Ends its standard input, which is a pipe.
    pub(crate) fn end_input(&mut self) {
        drop(self.child.stdin.take().unwrap());
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Stops the process, and returns when it has stopped. SIGCONT continues it.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
        let (_, status) =
            waitpid(Some(Pid::from_child(&self.child)), WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(status.stopped(), "{status:?}");
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end, which is an event that a test of a hang must not wait for without end.
    #[track_caller]
    pub(crate) fn wait_at_most(&mut self, limit: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < limit, "it still runs after {limit:?}");
            sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the end of a process whose standard error is a pipe.
    pub(crate) fn finish(mut self) -> Finished {
        let mut stderr = String::new();
        self.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        let stdout = std::iter::from_fn(|| self.line()).collect();
        Finished { code: self.wait().code(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Over already, if the test has waited for it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A daemon, with the authkey it has written for itself.
pub(crate) struct Daemon {
    pub(crate) home: Home,
    pub(crate) address: String,
    pub(crate) process: Running,
}

impl Daemon {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(options: &[&str]) -> Self {
        Self::start_in(Home::new(), "127.0.0.1:0", options)
    }

    /// A daemon anywhere.
    pub(crate) fn start_in(home: Home, address: &str, options: &[&str]) -> Self {
        let arguments = [&["serve", "--address", address], options].concat();
        let log = fs::File::create(home.path("log")).unwrap();
        let process = Running::start(home.command(&arguments).stderr(log));
        Self::of(home, process)
    }

    /// A daemon that was started, once it listens.
    pub(crate) fn of(home: Home, mut process: Running) -> Self {
        let line = process.line().expect("the daemon ended");
        let address = line.strip_prefix("listening on ").unwrap().to_owned();
        Self { home, address, process }
    }

    /// Where it listens on this machine, without the scheme.
    pub(crate) fn place(&self) -> String {
        let (_, place) = self.address.split_once("://").unwrap();
        place.replace("0.0.0.0", "127.0.0.1")
    }

    /// Returns once it has logged this so often.
    pub(crate) fn until_logged(&self, what: &str, count: usize) {
        while self.log().matches(what).count() < count {}
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.home.path("log")).unwrap()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.home.command(arguments);
        command.env("MP_MANAGER_ADDRESS", &self.address);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        finish(&mut self.command(arguments))
    }

    pub(crate) fn start_command(&self, arguments: &[&str]) -> Running {
        Running::start(self.command(arguments).stderr(Stdio::piped()))
    }

    /// Returns once somebody waits in the object.
    pub(crate) fn until_waited_for(&self, name: &str) {
        let waiter = r#""waiters":[{"#;
        let inspect = || self.run(&["inspect", name, "--output", "json"]);
        while !inspect().stdout.contains(waiter) {}
    }
}
