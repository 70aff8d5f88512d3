//! The first process of a container, whose own that is: `init`.
//!
//! The system makes it the parent of every process whose parent has ended, and each of those remains as a zombie until
//! it is waited for. This program waits for its own children, one by one, and if it waited for any, it would take the
//! exit codes of those from whoever asks for them: the standard library, and the client's pools. So as the first
//! process it does nothing but that, and starts itself once more for the rest, as `docker run --init` would.
//!
//! That leads a process group and, if the container has a terminal, has this in the foreground: Ctrl-C reaches it once.
//! Other signals are passed on to it. Where the session was there before the container (`unshare --pid --fork`), its
//! shell sees to the terminal, and the program stays in our group. When the program has ended this process does, and the
//! system ends all that is left in the container.

use std::{
    env,
    fs::{self, File},
    io,
    os::unix::process::CommandExt,
    process::{Child, Command, ExitCode},
    thread,
};

use rustix::{
    io::Errno,
    process::{
        Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, kill_process_group,
        wait as wait_for_any,
    },
    termios::tcsetpgrp,
};
use signal_hook::iterator::{SignalsInfo, exfiltrator::WithOrigin};

use crate::{
    error::{Error, signal_code},
    signals::{Received, heeded},
};

/// The signals that somebody may mean for this program. Those that it does not know are ignored: the system drops what
/// the first process does not handle.
const PASSED_ON: [Signal; 7] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::TERM,
    Signal::USR1,
    Signal::USR2,
    Signal::CONT,
];
/// Names the process that systemd's watchdog watches.
const WATCHED: &str = "WATCHDOG_PID";

pub(crate) fn is_this() -> bool {
    getpid().is_init()
}

/// Lives as the first process; returns the exit code of the program.
pub(crate) fn run() -> Result<ExitCode, Error> {
    // Before the program starts: from now on none is dropped.
    let signals = heeded(&PASSED_ON).into_iter().map(Signal::as_raw);
    let signals = SignalsInfo::new(signals).map_err(Error::io("cannot listen for signals"))?;
    let leads_session = leads_session();
    let program = start(leads_session)
        .map_err(Error::io("cannot start as the first process of a container"))?;
    let program = Pid::from_child(&program);
    if leads_session {
        give_terminal(program);
    }
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || pass_on(signals, program))
        .map_err(Error::io("cannot start a thread"))?;
    wait(program).map_err(|error| Error::io("cannot wait for a process")(error.into()))
}

/// Whether the session is the container's own. Asked by a system call, one of somewhere else has no number.
fn leads_session() -> bool {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let pid = stat.split(' ').next();
    // The name, which may have anything in it, is in parentheses.
    let session = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(3));
    pid.is_some() && pid == session
}

fn start(leads_group: bool) -> io::Result<Child> {
    let mut program = Command::new("/proc/self/exe");
    program.args(env::args_os().skip(1));
    if leads_group {
        program.process_group(0);
    }
    if let Some(name) = env::args_os().next() {
        program.arg0(name);
    }
    if env::var(WATCHED).is_ok_and(|watched| watched == std::process::id().to_string()) {
        // It means the program.
        program.env_remove(WATCHED);
    }
    program.spawn()
}

/// Makes the program's group the foreground of the terminal, if this process has it.
fn give_terminal(program: Pid) {
    if let Ok(terminal) = File::open("/dev/tty")
        && tcsetpgrp(terminal, program).is_ok()
    {
        // It may have read before.
        let _ = kill_process_group(program, Signal::CONT);
    }
}

fn pass_on(mut signals: SignalsInfo<WithOrigin>, program: Pid) {
    for received in signals.forever().filter_map(|origin| Received::of(&origin)) {
        if !received.is_from_terminal {
            // If it has ended, so does this process.
            let _ = kill_process(program, received.signal);
        }
    }
}

/// Waits for all children, until the program has ended.
fn wait(program: Pid) -> Result<ExitCode, Errno> {
    loop {
        match wait_for_any(WaitOptions::UNTRACED) {
            Ok(Some((pid, status))) if pid == program => {
                if let Some(code) = code(status) {
                    return Ok(code.into());
                }
                // Ctrl-Z: no shell is there that could continue it.
                if status.stopping_signal() == Some(Signal::TSTP.as_raw()) {
                    let _ = kill_process_group(program, Signal::CONT);
                }
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The exit code of a process that has ended.
fn code(status: WaitStatus) -> Option<u8> {
    let exited = status.exit_status().map(|code| u8::try_from(code).unwrap_or(u8::MAX));
    exited.or_else(|| status.terminating_signal().map(signal_code))
}
