//! The first half of a command that `lock` or `run` runs: it sees to it that it ends with its parent, and
//! becomes the command.

use std::{
    env,
    ffi::OsString,
    fs, io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use clap::Parser;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

use crate::{
    descriptors,
    error::Error,
    stderr::{self, LogFormat},
};

pub(crate) const NAME: &str = "run-tied-to-parent";

/// It is for `lock` and `run` alone. As a subcommand, even a hidden one, it would be suggested for a typo.
#[derive(Debug, Parser)]
pub(crate) struct Tied {
    parent: u32,
    /// Where to write why the command cannot be started, instead of saying it: the parent reads it with
    /// [`start_error`].
    #[arg(long)]
    report: Option<PathBuf>,
    /// The limit of open files that the command is to have.
    #[arg(long)]
    open_files: Option<u64>,
    /// How to say why the command cannot be started.
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

impl Tied {
    /// What this process was started for, if it is this.
    pub(crate) fn from_arguments() -> Option<Self> {
        let arguments = || env::args_os().skip(1);
        let is_asked_for = arguments().next().is_some_and(|first| first == NAME);
        is_asked_for.then(|| Self::try_parse_from(arguments()).ok()).flatten()
    }

    /// Returns only if the command cannot be started.
    pub(crate) fn run(self) -> Result<ExitCode, Error> {
        stderr::set_format(self.log_format);
        if let Some(limit) = self.open_files {
            descriptors::restore(limit);
        }
        let error = match self.tie() {
            Ok(()) => self.exec(),
            Err(error) => error,
        };
        ignore_broken_pipes();
        let number = error.raw_os_error();
        let error = Error::start(&self.command, error);
        match (self.report, number) {
            (Some(report), Some(number)) if fs::write(&report, number.to_string()).is_ok() => {
                Ok(error.exit_code())
            }
            _ => Err(error),
        }
    }

    fn tie(&self) -> io::Result<()> {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // It may have ended before we asked.
        match getppid() {
            Some(parent) if u32::try_from(parent.as_raw_nonzero().get()) == Ok(self.parent) => {
                Ok(())
            }
            _ => Err(io::Error::other("the process that started it has ended")),
        }
    }

    fn exec(&self) -> io::Error {
        match self.command.split_first() {
            Some((program, arguments)) => Command::new(program).args(arguments).exec(),
            None => io::ErrorKind::NotFound.into(),
        }
    }
}

/// Why a command that has ended could not be started, if that was so.
pub(crate) fn start_error(report: &Path) -> Option<io::Error> {
    let number = fs::read_to_string(report).ok()?;
    number.parse().ok().map(io::Error::from_raw_os_error)
}

/// Undoes what `exec` does before it fails: SIGPIPE would end this process, instead of the exit code,
/// when nobody reads the error.
fn ignore_broken_pipes() {
    let runtime = Builder::new_current_thread().enable_io().build();
    // Without it the exit code is the signal's.
    if let Ok(runtime) = runtime {
        let _ = runtime.block_on(async { signal(SignalKind::pipe()) });
    }
}
