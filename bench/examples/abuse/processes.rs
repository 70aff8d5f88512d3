//! Attackers as processes that end with us.

use std::{
    io,
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use mp_manager_bench::process::Process;

use crate::{attacker::Word, kind::Kind, sessions::Manner};

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
        command
            .args(["attack", kind.name(), "--rate", &rate.to_string()])
            .args(["--target", &target.to_string()])
            .args(manners.iter().flat_map(|manner| ["--manners".to_owned(), manner.name()]))
            .stdin(Stdio::piped());
        let mut process = Process::start(&mut command)
            .map_err(|error| io::Error::new(error.kind(), format!("{error} (try --compete)")))?;
        process.line()?;
        Ok(Self(process))
    }

    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        self.0.cpu()
    }

    /// Has its sessions do what they do, or pause.
    pub(crate) fn tell(&mut self, word: Word) -> io::Result<()> {
        self.0.tell(word.name())
    }

    /// Stops it; what it has to say of what it did.
    pub(crate) fn stop(self) -> io::Result<String> {
        self.0.finish()
    }
}
