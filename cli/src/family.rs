//! What a process has started, also what has left its group.

use rustix::process::{Pid, Signal};

/// The descendants of processes, as they were at one time.
///
/// Where the system cannot tell (it is asked on Linux only) there are none.
#[derive(Debug, Default)]
pub(crate) struct Family(Vec<system::Process>);

impl Family {
    /// All that these have started, and they in turn.
    pub(crate) fn of(ancestors: &[Pid]) -> Self {
        Self(system::descendants(ancestors))
    }

    /// Adds those of another time.
    pub(crate) fn join(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Sends a signal to all that are still there; false if some run as another user.
    pub(crate) fn send(&self, signal: Signal) -> bool {
        self.0.iter().filter(|process| !process.send(signal)).count() == 0
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.0.iter().any(system::Process::is_alive)
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::{collections::HashMap, fs, os::fd::OwnedFd};

    use rustix::{
        event::{PollFd, PollFlags, Timespec, poll},
        io::Errno,
        process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
    };

    /// By a descriptor: its number may be another's by the time that it is sent a signal.
    #[derive(Debug)]
    pub(super) struct Process(OwnedFd);

    impl Process {
        /// Whether it may be sent one. It may have ended, which is as good.
        pub(super) fn send(&self, signal: Signal) -> bool {
            pidfd_send_signal(&self.0, signal) != Err(Errno::PERM)
        }

        pub(super) fn is_alive(&self) -> bool {
            let mut ended = [PollFd::new(&self.0, PollFlags::IN)];
            poll(&mut ended, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) == Ok(0)
        }
    }

    pub(super) fn descendants(ancestors: &[Pid]) -> Vec<Process> {
        let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let Some(number) = number
                && let Ok(stat) = fs::read(entry.path().join("stat"))
                && let Some(parent) = parent(&stat)
            {
                children.entry(parent).or_default().push(number);
            }
        }
        let mut descendants = Vec::new();
        let mut parents: Vec<i32> =
            ancestors.iter().map(|ancestor| ancestor.as_raw_nonzero().get()).collect();
        while let Some(parent) = parents.pop() {
            for child in children.remove(&parent).unwrap_or_default() {
                let pid = Pid::from_raw(child);
                descendants.extend(pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()));
                parents.push(child);
            }
        }
        descendants.into_iter().map(Process).collect()
    }

    /// The second number after the name, which is in parentheses and may have any in it.
    fn parent(stat: &[u8]) -> Option<i32> {
        let name_end = stat.iter().rposition(|&byte| byte == b')')?;
        let rest = str::from_utf8(stat.get(name_end + 1..)?).ok()?;
        rest.split_ascii_whitespace().nth(1)?.parse().ok()
    }

    #[cfg(test)]
    mod tests {
        use std::{
            io::{BufRead, BufReader},
            process::{Command, Stdio},
        };

        use super::*;
        use crate::family::Family;

        #[test]
        fn a_family_is_ended_whose_ancestor_is_gone() {
            let script = "sh -c 'echo started; exec sleep 1000' & wait";
            let mut shell =
                Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
            let mut output = BufReader::new(shell.stdout.take().unwrap());
            output.read_line(&mut String::new()).unwrap();
            let family = Family::of(&[Pid::from_child(&shell)]);
            shell.kill().unwrap();
            shell.wait().unwrap();
            assert!(family.is_alive());
            family.send(Signal::KILL);
            // It ends when all who have the other end of it have.
            assert_eq!(output.read_line(&mut String::new()).unwrap(), 0);
            while family.is_alive() {}
        }

        #[test]
        fn a_name_may_have_anything_in_it() {
            assert_eq!(parent(b"7 (a b) S 1) R 42 7 7 0"), Some(42));
            assert_eq!(parent(b"7 (a"), None);
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use rustix::process::{Pid, Signal};

    #[derive(Debug)]
    pub(super) struct Process;

    impl Process {
        pub(super) fn send(&self, _: Signal) -> bool {
            true
        }

        pub(super) fn is_alive(&self) -> bool {
            false
        }
    }

    pub(super) fn descendants(_: &[Pid]) -> Vec<Process> {
        Vec::new()
    }
}
