//! Starts children: this program again, with a socket pair in the place of its stdin.

use std::{
    ffi::OsString,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    process::{Child as StdChild, Command, ExitStatus, Stdio},
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

use crate::{
    error::{Error, Result},
    process::{
        bootstrap::{Bootstrap, CHILD_VARIABLE, Role, nonce},
        control::{Control, FrameKind},
        identity,
        output::Output,
        place::Place,
    },
};

/// How long a child may take to come to `init()`.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// What a child is started with.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
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
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment(Vec<Change>);

#[derive(Debug, Clone)]
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

    /// Ends it at once, and waits for it.
    fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts a child, and returns when it has come to `init()` and its role was sent. Blocks, for ten seconds at
/// most until the child is there, and then until it has read its arguments, or nothing of them for as long.
///
/// # Errors
/// [`Error::Configuration`] if `init()` did not run in this process; [`Error::Start`] if the child cannot be
/// started, ended before it came to `init()`, or did not come there in time.
pub(crate) fn spawn(launch: Launch) -> Result<Child> {
    let place = Place::known()?;
    let Launch { name, arguments, role, .. } = &launch;
    let failed = |message: String| Error::Start { name: name.clone(), message };
    let mut child = start(place, &launch).map_err(|error| failed(error.to_string()))?;
    let sent = arrive(&mut child).and_then(|()| {
        let stdout = std::io::stdout();
        let inherited = [stdout.as_fd()];
        let mut pipes = None;
        if launch.prefixes_output {
            let (output, ends) = Output::of(name).map_err(|error| error.to_string())?;
            (child.output, pipes) = (Some(output), Some(ends));
        }
        let piped = pipes.as_ref().map(|ends| ends.each_ref().map(OwnedFd::as_fd));
        let descriptors: &[BorrowedFd<'_>] = match (&piped, place) {
            (Some(pipes), _) => pipes,
            (None, Place::Main) => &[],
            (None, Place::Test(_)) => &inherited,
        };
        instruct(&child.control, role, arguments, descriptors).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => {
                format!("it read nothing of its arguments for {READY_TIMEOUT:?}: is it stopped?")
            }
            _ => format!("it went away before it had its arguments: {error}"),
        })
    });
    if let Err(message) = sent {
        child.end();
        return Err(failed(message));
    }
    Ok(child)
}

fn start(place: &Place, launch: &Launch) -> io::Result<Child> {
    let (ours, theirs) = UnixStream::pair()?;
    let control = Control::new(ours);
    let nonce = nonce().map_err(io::Error::other)?;
    let bootstrap = Bootstrap {
        name: launch.name.clone(),
        daemon: launch.daemon,
        parent_pid: std::process::id(),
        parent_name: identity::current().name().into(),
        manager: launch.manager.clone(),
    };
    // It fits into the socket's buffer: nobody reads it yet.
    let mut hello = nonce.clone().into_bytes();
    rmp_serde::encode::write(&mut hello, &bootstrap).map_err(io::Error::other)?;
    control.send(FrameKind::Hello, &hello)?;

    let mut command = place.command();
    launch.environment.apply(&mut command);
    command.env(CHILD_VARIABLE, nonce).stdin(Stdio::from(OwnedFd::from(theirs)));
    if let Place::Test(_) = place {
        // The harness announces what it runs; the child gets the real one with its role.
        command.stdout(Stdio::null());
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
        Ok(pidfd) => Ok(Child { pid, pidfd, control, process, output: None }),
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
                Ok(Some(frame)) if frame.kind == FrameKind::Ready => Ok(()),
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
    role: &Role,
    arguments: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let role = rmp_serde::to_vec(role).map_err(io::Error::other)?;
    control.set_send_timeout(Some(READY_TIMEOUT))?;
    control.send_with(FrameKind::Role, &role, descriptors)?;
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
