//! Starts children: this program again, with a socket pair in the place of its stdin.

use std::{
    ffi::OsString,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    path::PathBuf,
    process::{Child as StdChild, Command, ExitStatus, Stdio},
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    process::{
        bootstrap::{Bootstrap, CHILD_VARIABLE, Role, nonce},
        control::{Control, FrameKind, VERSION},
        identity,
        output::Output,
        place::Place,
    },
};

/// How long a child may take to come to `init()`.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// Another program whose processes are children that come to its `init()`.
#[derive(Debug, Clone)]
pub(crate) struct Exec {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    /// A program, and its arguments, that becomes this one: it sees to it that the process ends with the one that
    /// starts it, also before it has come to `init()`.
    pub(crate) through: Vec<OsString>,
}

/// What a child is started with.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// The program, if it is not this one.
    pub(crate) exec: Option<Exec>,
    /// It leads a process group of its own.
    pub(crate) leads_group: bool,
    pub(crate) name: String,
    pub(crate) daemon: bool,
    pub(crate) environment: Environment,
    pub(crate) current_dir: Option<PathBuf>,
    pub(crate) role: Role,
    /// A task's tuple of arguments, or what a pool tells its worker.
    pub(crate) arguments: Vec<u8>,
    /// The variables by which the child finds its manager, as `Manager::environment` has them: they go
    /// over the socket and not into the environment.
    pub(crate) manager: Vec<(OsString, OsString)>,
    /// Its output comes through this process, each line after its name.
    pub(crate) prefixes_output: bool,
}

/// Changes to the environment that a child inherits, in order.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Environment(Vec<Change>);

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Change {
    Clear,
    Set(OsString, OsString),
    Remove(OsString),
}

impl Environment {
    pub(crate) fn clear(&mut self) {
        self.0.push(Change::Clear);
    }

    pub(crate) fn set(&mut self, variable: OsString, value: OsString) {
        self.0.push(Change::Set(variable, value));
    }

    pub(crate) fn remove(&mut self, variable: OsString) {
        self.0.push(Change::Remove(variable));
    }

    fn apply(&self, command: &mut Command) {
        for change in &self.0 {
            match change {
                Change::Clear => command.env_clear(),
                Change::Set(variable, value) => command.env(variable, value),
                Change::Remove(variable) => command.env_remove(variable),
            };
        }
    }
}

/// A child that has come to `init()` and knows its role.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) pid: u32,
    /// Readable when the process has ended.
    pub(crate) pidfd: OwnedFd,
    pub(crate) control: Control,
    pub(crate) process: StdChild,
    pub(crate) output: Option<Output>,
}

impl Child {
    /// Waits until it has ended.
    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        self.process.wait()
    }

    /// Ends it at once, with what it has started if it leads a group, and waits for it.
    fn end(&mut self, leads_group: bool, ends: impl FnOnce()) {
        let _ = self.process.kill();
        if leads_group {
            // Before it is waited for: its group cannot be another one.
            kill_group(self.pid);
        }
        ends();
        let _ = self.process.wait();
        if let Some(output) = self.output.take() {
            output.finish();
        }
    }
}

/// Starts a child, and returns when it has come to `init()` and its role was sent. Blocks, for ten seconds at
/// most until the child is there, and then until it has read its arguments, or nothing of them for as long.
///
/// # Errors
/// [`Error::Configuration`] if `init()` did not run in this process; [`Error::Start`] if the child cannot be
/// started, ended before it came to `init()`, or did not come there in time.
pub(crate) fn spawn(launch: Launch) -> Result<Child> {
    spawn_known(launch, &mut Unwatched)
}

/// Can end a child that has not come to `init()`.
pub(crate) trait Watcher {
    /// Its process is there: its id, and a descriptor of it.
    fn is_there(&mut self, pid: u32, process: &OwnedFd);

    /// It was ended, as it has not come there, and is about to be waited for: its id may be another's then.
    fn ends(&mut self);
}

struct Unwatched;

impl Watcher for Unwatched {
    fn is_there(&mut self, _: u32, _: &OwnedFd) {}

    fn ends(&mut self) {}
}

/// [Spawns](spawn) a child whose process may be ended from when it is there.
pub(crate) fn spawn_known(launch: Launch, watcher: &mut impl Watcher) -> Result<Child> {
    let origin = match &launch.exec {
        None => Origin::Here(Place::known()?),
        Some(exec) => Origin::There(exec),
    };
    let Launch { name, arguments, .. } = &launch;
    let program = match &origin {
        Origin::Here(_) => String::new(),
        Origin::There(exec) => format!("{}: ", exec.program.display()),
    };
    let failed = |message: String| {
        let message = format!("{program}{message}");
        Error::Start { name: name.clone(), message }
    };
    let (mut child, pipes) = start(&origin, &launch).map_err(|error| failed(error.to_string()))?;
    watcher.is_there(child.pid, &child.pidfd);
    let sent = arrive(&mut child).and_then(|()| {
        let stdout = std::io::stdout();
        let inherited = [stdout.as_fd()];
        let piped = pipes.as_ref().map(|ends| ends.each_ref().map(OwnedFd::as_fd));
        let descriptors: &[BorrowedFd<'_>] = match (&piped, &origin) {
            (Some(pipes), _) => pipes,
            (None, Origin::Here(Place::Test(_))) => &inherited,
            (None, _) => &[],
        };
        let role = introduce(&launch).map_err(|error| error.to_string())?;
        instruct(&child.control, &role, arguments, descriptors).map_err(|error| {
            match error.kind() {
                io::ErrorKind::WouldBlock => {
                    format!(
                        "it read nothing of its arguments for {READY_TIMEOUT:?}: is it stopped?"
                    )
                }
                _ => format!("it went away before it had its arguments: {error}"),
            }
        })
    });
    drop(pipes);
    if let Err(message) = sent {
        child.end(launch.leads_group, || watcher.ends());
        return Err(failed(message));
    }
    Ok(child)
}

/// Encodes the child's identity and its role.
fn introduce(launch: &Launch) -> io::Result<Vec<u8>> {
    let bootstrap = Bootstrap {
        name: launch.name.clone(),
        daemon: launch.daemon,
        parent_pid: std::process::id(),
        parent_name: identity::current().name().into(),
        manager: launch.manager.clone(),
    };
    rmp_serde::to_vec(&(&bootstrap, &launch.role)).map_err(io::Error::other)
}

/// Where a child begins.
enum Origin<'a> {
    Here(&'static Place),
    There(&'a Exec),
}

impl Origin<'_> {
    fn command(&self) -> Command {
        match self {
            Self::Here(place) => place.command(),
            Self::There(Exec { program, args, through }) => {
                let mut words =
                    through.iter().map(OsString::as_os_str).chain([program.as_os_str()]);
                let mut command = Command::new(words.next().unwrap_or_default());
                command.args(words).args(args);
                command
            }
        }
    }
}

/// Kills all processes of a group.
pub(crate) fn kill_group(leader: u32) {
    if let Some(leader) = i32::try_from(leader).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(leader, Signal::KILL);
    }
}

/// The pipes take the place of the child's stdout and stderr: where the test harness prints, only with its role.
fn start(origin: &Origin<'_>, launch: &Launch) -> io::Result<(Child, Option<[OwnedFd; 2]>)> {
    let (ours, theirs) = UnixStream::pair()?;
    let control = Control::new(ours);
    let nonce = nonce().map_err(io::Error::other)?;
    // It fits into the socket's buffer: nobody reads it yet. Whoever does may not be one of ours, and print it.
    control.send(FrameKind::Hello, nonce.as_bytes())?;
    let (output, mut pipes) = match launch.prefixes_output {
        true => Output::of(&launch.name).map(|(output, pipes)| (Some(output), Some(pipes)))?,
        false => (None, None),
    };

    let mut command = origin.command();
    if launch.leads_group {
        command.process_group(0);
    }
    launch.environment.apply(&mut command);
    command.env(CHILD_VARIABLE, nonce).stdin(Stdio::from(OwnedFd::from(theirs)));
    if let Origin::Here(Place::Test(_)) = origin {
        // The harness announces what it runs; the child gets the real one with its role.
        command.stdout(Stdio::null());
    } else if let Some([stdout, stderr]) = pipes.take() {
        command.stdout(stdout).stderr(stderr);
    }
    if let Some(directory) = &launch.current_dir {
        command.current_dir(directory);
    }
    let process = on_spawner(move || command.spawn())??;
    let pid = process.id();
    // Nobody has waited for it, so the id is still its own.
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pidfd = raw.ok_or_else(|| io::Error::other("a process without an id"));
    let pidfd = pidfd.and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::empty())?));
    match pidfd {
        Ok(pidfd) => Ok((Child { pid, pidfd, control, process, output }, pipes)),
        Err(error) => {
            let mut process = process;
            let _ = process.kill();
            let _ = process.wait();
            Err(error)
        }
    }
}

/// Waits until the child says that it has come to `init()`.
fn arrive(child: &mut Child) -> Result<(), String> {
    let deadline = Instant::now() + READY_TIMEOUT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let (readable, ended) = await_either(&child.control, &child.pidfd, Some(left))
            .map_err(|error| error.to_string())?;
        if readable {
            return match child.control.receive() {
                Ok(Some(frame)) if frame.kind == FrameKind::Ready => match frame.payload[..] {
                    [VERSION] => Ok(()),
                    _ => Err("it was built with another version of mp-manager than this program, \
                              which starts it: build both with the same one"
                        .into()),
                },
                Ok(Some(_)) => Err("it said something else than that it is there".into()),
                Ok(None) | Err(_) => Err(gone_early(child)),
            };
        }
        if ended {
            return Err(gone_early(child));
        }
        if left.is_zero() {
            return Err(format!(
                "it did not come to `mp_manager::init()` within {READY_TIMEOUT:?}; {HINT}"
            ));
        }
    }
}

const HINT: &str =
    "call `mp_manager::init()` first in `main`, before anything that may end or take long";
/// How long a process may take from closing its descriptors to its end.
const ENDING_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a child is not there whose end of the socket is closed.
fn gone_early(child: &mut Child) -> String {
    let timeout = Timespec::try_from(ENDING_TIMEOUT).ok();
    let mut fds = [PollFd::new(&child.pidfd, PollFlags::IN)];
    let ended = rustix::io::retry_on_intr(|| poll(&mut fds, timeout.as_ref()));
    if ended.is_ok_and(|ready| ready == 0) {
        return format!("it closed its stdin before it came to `mp_manager::init()`; {HINT}");
    }
    match child.wait() {
        Ok(status) => format!("it ended before it came to `mp_manager::init()`: {status}; {HINT}"),
        Err(error) => error.to_string(),
    }
}

/// Tells the child what it is for. The descriptors take the place of its stdout and its stderr.
fn instruct(
    control: &Control,
    role: &[u8],
    arguments: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    control.set_send_timeout(Some(READY_TIMEOUT))?;
    control.send_with(FrameKind::Role, role, descriptors)?;
    control.send(FrameKind::Arguments, arguments)?;
    control.set_send_timeout(None)
}

/// Waits until a frame can be received, or the process has ended, or the time is over: which of the first two
/// is so.
pub(crate) fn await_either(
    control: &Control,
    pidfd: &OwnedFd,
    timeout: Option<Duration>,
) -> io::Result<(bool, bool)> {
    let timeout = timeout.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
    let mut fds = [PollFd::new(control, PollFlags::IN), PollFd::new(pidfd, PollFlags::IN)];
    rustix::io::retry_on_intr(|| poll(&mut fds, timeout.as_ref()))?;
    Ok((!fds[0].revents().is_empty(), !fds[1].revents().is_empty()))
}

/// Waits until a process has ended.
pub(crate) fn await_end(pidfd: &OwnedFd) -> io::Result<()> {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
    Ok(())
}

type Job = Box<dyn FnOnce() + Send>;

/// The thread that starts all children. The signal that a child gets at its parent's death follows the thread
/// that started it, and this one lasts as long as the process.
struct Spawner {
    /// A fork of the process does not have the thread.
    process: u32,
    jobs: mpsc::Sender<Job>,
}

impl Spawner {
    fn start() -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        thread::Builder::new()
            .name("mp-manager-spawn".into())
            .spawn(move || queue.into_iter().for_each(|job| job()))?;
        Ok(Self { process: std::process::id(), jobs })
    }
}

fn on_spawner<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    static SPAWNER: Mutex<Option<Spawner>> = Mutex::new(None);
    let (send, receive) = mpsc::channel();
    {
        let mut spawner = SPAWNER.lock().unwrap_or_else(PoisonError::into_inner);
        if spawner.as_ref().is_none_or(|spawner| spawner.process != std::process::id()) {
            *spawner = Some(Spawner::start()?);
        }
        let job = Box::new(move || {
            let _ = send.send(job());
        });
        if let Some(spawner) = &*spawner {
            spawner.jobs.send(job).map_err(|_| gone())?;
        }
    }
    receive.recv().map_err(|_| gone())
}

fn gone() -> io::Error {
    io::Error::other("the thread that starts processes is gone")
}
