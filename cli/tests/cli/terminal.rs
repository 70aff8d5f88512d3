//! A terminal of the test's own, and a shell with job control that it belongs to.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    ffi::OsStr,
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::ffi::OsStrExt,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};

/// Nothing takes so long, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Terminal {
    screen: File,
    /// Output that no test has waited for yet.
    seen: String,
    shell: Child,
}

impl Terminal {
    /// Runs a script of bash, which finds the command line of `command`'s program and arguments in `"$@"`; `None`, with
    /// the reason printed, where that is not possible.
    pub(crate) fn start(script: &str, command: &Command) -> Option<Self> {
        let tried = |program: &str, argument: &str| {
            let tried = Command::new(program).arg(argument).stdout(Stdio::null()).status();
            tried.is_ok_and(|status| status.success())
        };
        if !tried("bash", "--version") || !tried("setsid", "--version") {
            println!("skipped: bash and setsid (of util-linux) are needed");
            return None;
        }
        let screen =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&screen).unwrap();
        unlockpt(&screen).unwrap();
        let name = ptsname(&screen, Vec::new()).unwrap();
        let line = || -> Stdio {
            let name = OsStr::from_bytes(name.as_bytes());
            OpenOptions::new().read(true).write(true).open(name).unwrap().into()
        };
        let script = format!("stty -echo; set -m\n{script}");
        let shell = Command::new("setsid")
            .args(["--ctty", "bash", "--noprofile", "--norc", "-c", &script, "bash"])
            .arg(command.get_program())
            .args(command.get_args())
            .env_clear()
            .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .current_dir(command.get_current_dir().unwrap())
            .stdin(line())
            .stdout(line())
            .stderr(line())
            .spawn()
            .unwrap();
        Some(Self { screen: screen.into(), seen: String::new(), shell })
    }

    /// Waits until a text appears, and returns what came before it.
    #[track_caller]
    pub(crate) fn until(&mut self, text: &str) -> String {
        let begun = Instant::now();
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                let mut before = std::mem::replace(&mut self.seen, rest);
                before.truncate(at);
                return before;
            }
            let is_open = begun.elapsed() < PATIENCE && self.read();
            assert!(is_open, "no {text:?} comes after {:?}", self.seen);
        }
    }

    /// Presses keys.
    pub(crate) fn type_in(&mut self, keys: &str) {
        self.screen.write_all(keys.as_bytes()).unwrap();
    }

    /// Takes in what appears next, if anything does soon; false when nobody is left who could write.
    fn read(&mut self) -> bool {
        let mut readable = [PollFd::new(&self.screen, PollFlags::IN)];
        let soon = Timespec { tv_sec: 1, tv_nsec: 0 };
        if poll(&mut readable, Some(&soon)).unwrap() == 0 {
            return true;
        }
        let mut bytes = [0; 4096];
        match self.screen.read(&mut bytes) {
            Ok(count) => {
                self.seen.push_str(&String::from_utf8_lossy(&bytes[..count]).replace('\r', ""));
                count > 0
            }
            Err(error) => error.kind() == ErrorKind::Interrupted,
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // With the shell the session ends, and the terminal hangs up.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
