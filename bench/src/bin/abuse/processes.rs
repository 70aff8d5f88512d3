//! The daemon and the attackers, as processes that end with us.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use mp_manager_tests::AUTHKEY;

use crate::{
    attack::{self, Kind},
    sessions::Manner,
};

/// A daemon on a port of its own.
pub(crate) struct Daemon {
    process: Process,
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Daemon {
    pub(crate) fn start(program: &Path, options: &[&str]) -> io::Result<Self> {
        let mut child = Command::new(program)
            .args(["serve", "--address", "127.0.0.1:0"])
            .args(options)
            .env("MP_MANAGER_AUTHKEY", AUTHKEY)
            .env_remove("MP_MANAGER_AUTHKEY_FILE")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| {
                let message = format!("cannot start {}: {error}", program.display());
                io::Error::new(error.kind(), message)
            })?;
        let log = Arc::new(Mutex::new(String::new()));
        if let Some(stderr) = child.stderr.take() {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                    log.push_str(&line);
                    log.push('\n');
                }
            });
        }
        let mut process = Process::new(child)?;
        let line = process.line()?;
        let address = line.rsplit("tcp://").next().and_then(|address| address.parse().ok());
        let address = address.ok_or_else(|| io::Error::other(format!("the daemon says {line}")))?;
        Ok(Self { process, address, log })
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        self.process.cpu()
    }

    /// Its resident memory in KiB.
    pub(crate) fn memory_kib(&self) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok())
            .ok_or_else(|| io::Error::other("the daemon has ended"))
    }
}

/// An attacker, which stops when this is dropped.
pub(crate) struct Attacker(Process);

impl Attacker {
    /// Starts one, and waits until it is under way. Unless it may compete, it has what processor
    /// time nobody else wants.
    pub(crate) fn start(
        kind: Kind,
        target: SocketAddr,
        rate: u32,
        manners: &[Manner],
        compete: bool,
    ) -> io::Result<Self> {
        let program = std::env::current_exe()?;
        let mut command = Command::new(if compete { program.as_path() } else { "chrt".as_ref() });
        if !compete {
            command.args(["--idle", "0"]).arg(program);
        }
        let child = command
            .args(["attack", kind.name(), "--rate", &rate.to_string()])
            .args(["--target", &target.to_string()])
            .args(manners.iter().flat_map(|manner| ["--manners".to_owned(), manner.name()]))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| {
                let program = command.get_program().to_string_lossy();
                let message = format!("cannot start {program} (try --compete): {error}");
                io::Error::new(error.kind(), message)
            })?;
        let mut process = Process::new(child)?;
        process.line()?;
        Ok(Self(process))
    }

    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        self.0.cpu()
    }

    /// Has its sessions do what they do, or pause.
    pub(crate) fn tell(&mut self, word: attack::Word) -> io::Result<()> {
        match &mut self.0.child.stdin {
            Some(stdin) => writeln!(stdin, "{}", word.name()),
            None => Ok(()),
        }
    }

    /// Stops it; what it has to say of what it did.
    pub(crate) fn stop(mut self) -> io::Result<String> {
        drop(self.0.child.stdin.take());
        let mut said = String::new();
        self.0.stdout.read_to_string(&mut said)?;
        Ok(said.trim().to_owned())
    }
}

/// A process whose output is read.
struct Process {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    fn new(mut child: Child) -> io::Result<Self> {
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("it has no output"))?;
        Ok(Self { child, stdout: BufReader::new(stdout) })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            return Err(io::Error::other("it ended before it was ready"));
        }
        Ok(line.trim().to_owned())
    }

    /// The processor time it has used.
    fn cpu(&self) -> io::Result<Duration> {
        // In hundredths of a second, everywhere that matters.
        const TICK: Duration = Duration::from_millis(10);
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks =
            fields.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u32>().ok());
        Ok(TICK * ticks.sum::<u32>())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Over already, if it was stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
