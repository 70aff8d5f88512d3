//! A daemon that is measured.

use std::{
    env, fmt,
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use clap::ValueEnum;
use tempfile::TempDir;

use crate::{AUTHKEY, process::Process};

/// The transport that a daemon listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// A unix socket in a directory of its own.
    Unix,
    /// A loopback port that the system chooses.
    Tcp,
    /// The same, with TLS.
    Tls,
}

/// The daemon's program that was built with this one. Examples are in a directory of their own.
///
/// # Errors
/// If the system does not know this program's path.
pub fn built_with_this() -> io::Result<PathBuf> {
    let program = env::current_exe()?;
    let directory = program.parent().unwrap_or(Path::new("."));
    let directory = match directory.parent() {
        Some(parent) if directory.ends_with("examples") => parent,
        _ => directory,
    };
    Ok(directory.join("mp-manager"))
}

/// A daemon in a process of its own, with [`AUTHKEY`]. Dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    process: Process,
    address: String,
    log: Arc<Mutex<String>>,
    _directory: TempDir,
}

impl Daemon {
    /// Starts a daemon, and waits until it listens. `program` is the path of `mp-manager`, `options` are
    /// added to its `serve`.
    ///
    /// # Errors
    /// If it cannot be started, or ends before it listens: with what it logged.
    pub fn start(program: &Path, transport: Transport, options: &[&str]) -> io::Result<Self> {
        let directory = TempDir::with_prefix("mp-manager-bench-")?;
        let address = match transport {
            Transport::Unix => format!("unix:{}", directory.path().join("socket").display()),
            Transport::Tcp => "127.0.0.1:0".to_owned(),
            Transport::Tls => "tls://127.0.0.1:0".to_owned(),
        };
        let mut process = Process::start(
            Command::new(program)
                .args(["serve", "--address", &address])
                .args(options)
                .env("MP_MANAGER_AUTHKEY", AUTHKEY)
                .env_remove("MP_MANAGER_AUTHKEY_FILE")
                .env_remove("STATE_DIRECTORY")
                .stdin(Stdio::null())
                .stderr(Stdio::piped()),
        )?;
        let log = Arc::new(Mutex::new(String::new()));
        let reader = process.child().stderr.take().map(|stderr| {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                    log.push_str(&line);
                    log.push('\n');
                }
            })
        });
        let Ok(line) = process.line() else {
            // Its output ends with it, and so does its log.
            drop(process);
            let _ = reader.map(thread::JoinHandle::join);
            let log = log.lock().unwrap_or_else(PoisonError::into_inner);
            let message = format!("{} serve did not start:\n{log}", program.display());
            return Err(io::Error::other(message));
        };
        let address = line.strip_prefix("listening on ").ok_or_else(|| {
            io::Error::other(format!("{} is no mp-manager: it says {line:?}", program.display()))
        })?;
        let address = address.strip_prefix("tcp://").unwrap_or(address).to_owned();
        Ok(Self { process, address, log, _directory: directory })
    }

    /// Where it listens, as `Manager::connect` takes it.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The next line that it prints.
    ///
    /// # Errors
    /// If it has ended.
    pub fn line(&mut self) -> io::Result<String> {
        self.process.line()
    }

    /// Its port on this machine.
    ///
    /// # Errors
    /// If it listens on a unix socket.
    pub fn socket_address(&self) -> io::Result<SocketAddr> {
        self.address
            .parse()
            .map_err(|_| io::Error::other(format!("{} is no port of this machine", self.address)))
    }

    /// The daemon's log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its process, to see what that uses.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unix => "unix",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        })
    }
}
