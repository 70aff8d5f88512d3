//! A command that runs for this process, and does not outlive it.

use std::{
    ffi::OsString,
    fs::File,
    future::Future,
    io,
    path::Path,
    pin::pin,
    process::ExitStatus,
    task::{Context, Poll},
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, getpid, kill_process, kill_process_group, test_kill_process_group},
};
use tokio::{
    process::{Child, ChildStderr, ChildStdout, Command},
    time::{Instant, sleep, timeout},
};

#[cfg(target_os = "linux")]
use crate::{descriptors, stderr};
use crate::{
    error::Error,
    family::Family,
    signals::{Received, Signals},
};

/// How often to look whether a process group is gone; the system does not tell.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A running command.
///
/// Away from a terminal it leads a process group of its own, so that signals reach all it has
/// started. With a terminal it stays in our group, which is one job of the shell: the terminal sends its signals
/// (Ctrl-C, Ctrl-Z) to all of the job, one that reads from it in the background stops with us, and `fg` and `bg`
/// continue all. As a group of its own it would be in the background for ever, and no shell would know of it. What
/// it has started is looked for when a signal has to reach that.
pub(crate) struct Running {
    child: Child,
    leads_group: bool,
}

/// Whether a command could be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With all that it had started.
    All,
    /// It goes on: it runs as another user.
    NotPermitted,
}

impl Running {
    /// Starts a command, which is a program and its arguments. `configure` sets its environment and its
    /// standard streams.
    ///
    /// On Linux a program that cannot be started ends with the exit code of that error, and with the
    /// message on its standard error; or with the [error](crate::commands::tied::start_error) in
    /// `report`, if there is such a path. It ends with the thread that calls this.
    pub(crate) fn start(
        command: &[OsString],
        report: Option<&Path>,
        configure: impl FnOnce(&mut Command),
    ) -> Result<Self, Error> {
        let leads_group = !has_terminal();
        let mut process = tied_to_us(command, report);
        configure(&mut process);
        process.kill_on_drop(true);
        if leads_group {
            process.process_group(0);
        }
        let child = process.spawn().map_err(|error| Error::start(command, error))?;
        Ok(Self { child, leads_group })
    }

    /// Waits for its end, and passes signals on to it meanwhile. Cancel safe.
    pub(crate) async fn ended(&mut self, signals: &mut Signals) -> Result<ExitStatus, Error> {
        loop {
            tokio::select! {
                status = self.child.wait() => return status.map_err(cannot_wait()),
                received = signals.next() => pass_on(&[self], received),
            }
        }
    }

    /// Its end, as [`ended`](Self::ended) waits for it.
    pub(crate) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Result<ExitStatus, Error>> {
        // The child keeps what it waits with, not the future.
        pin!(self.child.wait()).poll(cx).map_err(cannot_wait())
    }

    /// Its end, if it has come and nobody was told of it yet.
    pub(crate) fn try_ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        self.child.try_wait().map_err(cannot_wait())
    }

    /// The pipes of its standard output and error, as far as they are pipes.
    pub(crate) fn take_output(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        (self.child.stdout.take(), self.child.stderr.take())
    }

    /// Ends it and everything it has started: SIGTERM, and SIGKILL after `grace`.
    pub(crate) async fn kill(mut self, grace: Duration) -> Result<Ended, Error> {
        let pid = self.pid();
        let family = || Family::of(pid.as_slice());
        let deadline = Instant::now() + grace;
        // While it is there: those whose parent has ended are nobody's family.
        let mut members = family();
        // If some may not be sent it, that is seen when their time is over.
        let _ = self.send(Signal::TERM);
        members.send(Signal::TERM);
        if timeout(grace, self.child.wait()).await.is_err() {
            // What it has started since, to end well.
            members.join(family());
            if self.send(Signal::KILL) == Err(Errno::PERM) {
                // As much of it as can be.
                members.send(Signal::KILL);
                return Ok(Ended::NotPermitted);
            }
        }
        self.child.wait().await.map_err(cannot_wait())?;
        let group = pid.filter(|_| self.leads_group);
        Ok(end_the_rest(group.as_slice(), &members, deadline).await)
    }

    /// The group that it leads.
    pub(crate) fn group(&self) -> Option<Pid> {
        self.pid().filter(|_| self.leads_group)
    }

    /// Its process, until it has ended.
    pub(crate) fn pid(&self) -> Option<Pid> {
        self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
    }

    /// Sends a signal; a command that has ended by itself is as good.
    pub(crate) fn send(&self, signal: Signal) -> Result<(), Errno> {
        let Some(pid) = self.pid() else { return Ok(()) };
        if self.leads_group { kill_process_group(pid, signal) } else { kill_process(pid, signal) }
    }
}

/// Sends commands, and what they have started, a signal that this process has received. If it asks to stop, this
/// process stops with them, until it is continued.
pub(crate) fn pass_on(commands: &[&Running], received: Received) {
    let Received { signal, is_from_terminal } = received;
    // Otherwise they have it.
    if !is_from_terminal {
        let members = commands.iter().filter(|command| !command.leads_group);
        let pids: Vec<Pid> = members.filter_map(|command| command.pid()).collect();
        // While they are there: those whose parent has ended are nobody's family.
        let family = if pids.is_empty() { Family::default() } else { Family::of(&pids) };
        for command in commands {
            // A command that may not be sent it goes on, as it would without us.
            let _ = command.send(signal);
        }
        family.send(signal);
    }
    if signal == Signal::TSTP {
        // The default action of SIGTSTP, which our handler has replaced.
        let _ = kill_process(getpid(), Signal::STOP);
    }
}

/// Signals that stop and continue a process are from now on for its commands, too, where they lead groups. With a
/// terminal the whole group gets them.
pub(crate) fn listen_for_stops(signals: &mut Signals) -> Result<(), Error> {
    if has_terminal() { Ok(()) } else { signals.add(&[Signal::TSTP, Signal::CONT]) }
}

/// Waits until what commands that have ended had started is gone, and ends it at the deadline.
pub(crate) async fn end_the_rest(groups: &[Pid], family: &Family, deadline: Instant) -> Ended {
    while groups.iter().any(|group| test_kill_process_group(*group).is_ok()) || family.is_alive() {
        if Instant::now() >= deadline {
            for group in groups {
                let _ = kill_process_group(*group, Signal::KILL);
            }
            let permitted = family.send(Signal::KILL);
            return if permitted { Ended::All } else { Ended::NotPermitted };
        }
        sleep(POLL_INTERVAL).await;
    }
    Ended::All
}

/// A process for the command that ends when we do, even by SIGKILL: what runs without its lock does
/// harm, and what runs without its manager is of no use. A process can ask for that only itself, so it is
/// this program first and the command then.
#[cfg(target_os = "linux")]
fn tied_to_us(command: &[OsString], report: Option<&Path>) -> Command {
    let mut words = tied().into_iter();
    let mut process = Command::new(words.next().unwrap_or_default());
    let separator = words.next_back();
    process.args(words);
    if let Some(report) = report {
        process.arg("--report").arg(report);
    }
    process.args(separator).args(command);
    process
}

/// The words that go before a command, so that its process ends with this one.
#[cfg(target_os = "linux")]
pub(crate) fn tied() -> Vec<OsString> {
    use crate::commands::tied;
    // The file itself, even if its name is another's by now.
    let own = std::process::id().to_string();
    let mut words = vec!["/proc/self/exe".into(), tied::NAME.into(), own.into()];
    if let Some(limit) = descriptors::inherited() {
        words.extend(["--open-files".into(), limit.to_string().into()]);
    }
    words.extend(["--log-format".into(), stderr::format().name().into(), "--".into()]);
    words
}

/// The words that go before a command: none, as only Linux can tie a process to its parent.
#[cfg(not(target_os = "linux"))]
pub(crate) fn tied() -> Vec<OsString> {
    Vec::new()
}

#[cfg(not(target_os = "linux"))]
fn tied_to_us(command: &[OsString], _: Option<&Path>) -> Command {
    let mut process = Command::new(command.first().map_or_else(OsString::new, OsString::clone));
    process.args(command.iter().skip(1));
    process
}

fn cannot_wait() -> impl FnOnce(io::Error) -> Error {
    Error::io("cannot wait for the command")
}

/// The terminal that controls this process, if any does.
fn terminal() -> Option<File> {
    File::open("/dev/tty").ok()
}

fn has_terminal() -> bool {
    terminal().is_some()
}
