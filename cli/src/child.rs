//! A command that runs on behalf of a lock, and does not outlive it.

use std::{ffi::OsString, fs::File, io, process::ExitStatus, time::Duration};

use rustix::{
    io::Errno,
    process::{Pid, Signal, getpgrp, kill_process, kill_process_group, test_kill_process_group},
    termios::tcgetpgrp,
};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use crate::{error::Error, family::Family, signals::Signals};

/// How often to look whether a process group is gone; the system does not tell.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A running command.
///
/// Away from a terminal it leads a process group of its own, so that signals reach all it has
/// started. In the foreground of a terminal it stays in our group, as it could not read from the
/// terminal otherwise; there Ctrl-C reaches it without us. What it has started is looked for when it
/// has to end.
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
    /// Starts a command, which is a program and its arguments.
    pub(crate) fn start(
        command: &[OsString],
        environment: Vec<(OsString, OsString)>,
    ) -> Result<Self, Error> {
        let leads_group = !is_in_foreground();
        let mut process = tied_to_us(command);
        process.envs(environment).kill_on_drop(true);
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
                signal = signals.next() => self.pass_on(signal),
            }
        }
    }

    /// Ends it and everything it has started: SIGTERM, and SIGKILL after `grace`.
    pub(crate) async fn kill(mut self, grace: Duration) -> Result<Ended, Error> {
        let pid = self.pid();
        let family = || pid.map_or_else(Family::default, Family::of);
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
        Ok(end_the_rest(pid.filter(|_| self.leads_group), &members, deadline).await)
    }

    fn pass_on(&self, signal: Signal) {
        let from_terminal = [Signal::INT, Signal::QUIT].contains(&signal);
        if self.leads_group || !from_terminal {
            // A command that may not be sent it goes on, as it would without us.
            let _ = self.send(signal);
        }
    }

    fn pid(&self) -> Option<Pid> {
        self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
    }

    /// Sends a signal; a command that has ended by itself is as good.
    fn send(&self, signal: Signal) -> Result<(), Errno> {
        let Some(pid) = self.pid() else { return Ok(()) };
        if self.leads_group { kill_process_group(pid, signal) } else { kill_process(pid, signal) }
    }
}

/// Waits until what a command that has ended had started is gone, and ends it at the deadline.
async fn end_the_rest(group: Option<Pid>, family: &Family, deadline: Instant) -> Ended {
    while group.is_some_and(|group| test_kill_process_group(group).is_ok()) || family.is_alive() {
        if Instant::now() >= deadline {
            let _ = group.map(|group| kill_process_group(group, Signal::KILL));
            let permitted = family.send(Signal::KILL);
            return if permitted { Ended::All } else { Ended::NotPermitted };
        }
        sleep(POLL_INTERVAL).await;
    }
    Ended::All
}

/// A process for the command that ends when we do, even by SIGKILL: what runs without its lock does
/// harm. A process can ask for that only itself, so it is this program first and the command then.
#[cfg(target_os = "linux")]
fn tied_to_us(command: &[OsString]) -> Command {
    use crate::commands::tied;
    // The file itself, even if its name is another's by now.
    let mut process = Command::new("/proc/self/exe");
    process.arg(tied::NAME).arg(std::process::id().to_string()).arg("--").args(command);
    process
}

#[cfg(not(target_os = "linux"))]
fn tied_to_us(command: &[OsString]) -> Command {
    let mut process = Command::new(command.first().map_or_else(OsString::new, OsString::clone));
    process.args(command.iter().skip(1));
    process
}

fn cannot_wait() -> impl FnOnce(io::Error) -> Error {
    Error::io("cannot wait for the command")
}

fn is_in_foreground() -> bool {
    File::open("/dev/tty")
        .is_ok_and(|terminal| tcgetpgrp(terminal).is_ok_and(|group| group == getpgrp()))
}
