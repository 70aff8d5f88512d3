//! The daemon that is attacked.

use std::{io, path::PathBuf};

use clap::Args;
use mp_manager_bench::daemon::{Daemon, Transport, built_with_this};

/// Which daemon to measure, and how.
#[derive(Args)]
pub(crate) struct Measured {
    /// The daemon's program; by default the one that was built with this program.
    #[arg(long)]
    daemon: Option<PathBuf>,
    /// The attackers take their share of the processors, not only what the measured leave.
    #[arg(long)]
    pub(crate) compete: bool,
}

impl Measured {
    /// Starts the daemon on a port of its own.
    pub(crate) fn start(&self, options: &[&str]) -> io::Result<Daemon> {
        let program = match &self.daemon {
            Some(program) => program.clone(),
            None => built_with_this()?,
        };
        Daemon::start(&program, Transport::Tcp, options)
    }
}
