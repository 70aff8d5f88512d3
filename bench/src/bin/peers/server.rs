//! The servers that are measured, each in a process of its own that was started for one sample.

use std::{
    io,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use mp_manager_bench::{
    daemon::{Daemon, Transport},
    process::{Process, Usage},
};
use tempfile::TempDir;

use crate::{client::Speaks, error};

/// CPython's manager and its clients.
pub(crate) const PYTHON: &str = include_str!("python.py");
/// As many objects and connections as a row has.
const MANY: [&str; 4] = ["--max-connections", "20000", "--max-objects", "2000000"];
/// By then a server listens.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server of a row: one of ours, or a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Ours,
    OursTls,
    /// Ours, in the process of its owner.
    Embedded,
    Redis,
    Etcd,
    Python,
    Echo,
}

/// The programs of the sides, as far as they are there.
pub(crate) struct Programs {
    pub(crate) daemon: PathBuf,
    redis: Option<PathBuf>,
    etcd: Option<PathBuf>,
    python: Option<PathBuf>,
}

/// One that is running. Dropping it kills it.
pub(crate) struct Server {
    running: Running,
    address: String,
    _directory: TempDir,
}

enum Running {
    /// Its client is the server.
    Nothing,
    Daemon(Daemon),
    Process(Process),
}

impl Side {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::OursTls => "ours, TLS",
            Self::Embedded => "ours, embedded",
            Self::Redis => "Redis",
            Self::Etcd => "etcd",
            Self::Python => "CPython",
            Self::Echo => "TCP echo",
        }
    }

    /// The client that speaks to it; CPython's is a program of Python.
    pub(crate) fn speaks(self) -> Option<Speaks> {
        Some(match self {
            Self::Ours | Self::OursTls => Speaks::Ours,
            Self::Embedded => Speaks::Embedded,
            Self::Redis => Speaks::Redis,
            Self::Etcd => Speaks::Etcd,
            Self::Echo => Speaks::Echo,
            Self::Python => return None,
        })
    }
}

impl Programs {
    pub(crate) fn find(daemon: PathBuf) -> Self {
        let [redis, etcd, python] = ["redis-server", "etcd", "python3"].map(find);
        Self { daemon, redis, etcd, python }
    }

    /// The program that a side lacks.
    pub(crate) fn lacks(&self, side: Side) -> Option<&'static str> {
        match side {
            Side::Redis if self.redis.is_none() => Some("redis-server"),
            Side::Etcd if self.etcd.is_none() => Some("etcd"),
            Side::Python if self.python.is_none() => Some("python3"),
            _ => None,
        }
    }

    /// The versions of those that are there.
    pub(crate) fn versions(&self) -> Vec<String> {
        let said =
            [(&self.redis, "--version"), (&self.etcd, "--version"), (&self.python, "--version")];
        said.into_iter()
            .filter_map(|(program, option)| {
                let output = Command::new(program.as_ref()?).arg(option).output().ok()?;
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                Some(text.lines().next()?.trim().to_owned())
            })
            .collect()
    }

    pub(crate) fn start(&self, side: Side) -> io::Result<Server> {
        let directory = TempDir::with_prefix("mp-manager-bench-")?;
        let of = |program: &Option<PathBuf>, name: &str| {
            program.clone().ok_or_else(|| error(format!("there is no {name}")))
        };
        let (running, address) = match side {
            Side::Embedded => (Running::Nothing, String::new()),
            Side::Ours | Side::OursTls => {
                let transport = match side {
                    Side::OursTls => Transport::Tls,
                    _ => Transport::Tcp,
                };
                let daemon = Daemon::start(&self.daemon, transport, &MANY)?;
                let address = daemon.address().to_owned();
                (Running::Daemon(daemon), address)
            }
            Side::Redis => {
                let port = free_port()?;
                let mut command = Command::new(of(&self.redis, "redis-server")?);
                command
                    .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
                    // As we keep nothing on a disk.
                    .args(["--save", "", "--appendonly", "no"])
                    .current_dir(directory.path());
                let process = silent(&mut command)?;
                wait_for(port)?;
                (Running::Process(process), format!("redis://127.0.0.1:{port}/"))
            }
            Side::Etcd => {
                let (port, peers) = (free_port()?, free_port()?);
                let (here, there) =
                    (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peers}"));
                let mut command = Command::new(of(&self.etcd, "etcd")?);
                command
                    .args(["--data-dir", "data", "--log-level", "error"])
                    .args(["--listen-client-urls", &here, "--advertise-client-urls", &here])
                    .args(["--listen-peer-urls", &there])
                    .args(["--initial-advertise-peer-urls", &there])
                    .args(["--initial-cluster", &format!("default={there}")])
                    .current_dir(directory.path());
                let process = silent(&mut command)?;
                wait_for(port)?;
                (Running::Process(process), here)
            }
            Side::Python => {
                let mut command = Command::new(of(&self.python, "python3")?);
                let mut process =
                    Process::start(command.args(["-c", PYTHON, "serve"]).stdin(Stdio::null()))?;
                let address = process.line()?;
                (Running::Process(process), address)
            }
            Side::Echo => {
                let mut command = Command::new(std::env::current_exe()?);
                let mut process =
                    Process::start(command.args(["echo", "127.0.0.1:0"]).stdin(Stdio::null()))?;
                let address = process.line()?;
                (Running::Process(process), address)
            }
        };
        Ok(Server { running, address, _directory: directory })
    }

    pub(crate) fn python(&self) -> &Path {
        self.python.as_deref().unwrap_or(Path::new("python3"))
    }
}

impl Server {
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn process(&self) -> Option<&Process> {
        match &self.running {
            Running::Nothing => None,
            Running::Daemon(daemon) => Some(daemon.process()),
            Running::Process(process) => Some(process),
        }
    }

    /// Reads the server's processor time, switches and memory.
    pub(crate) fn usage(&self) -> io::Result<Usage> {
        self.process().map_or(Ok(Usage::default()), Process::usage)
    }
}

/// Where a program is, if it is anywhere.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|path| path.is_file())
}

fn silent(command: &mut Command) -> io::Result<Process> {
    Process::start(command.stdin(Stdio::null()).stderr(Stdio::null()))
}

/// A port that nobody has at this moment.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Waits until somebody listens there.
fn wait_for(port: u16) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() >= until {
            return Err(error(format!("nobody listens on port {port}")));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
