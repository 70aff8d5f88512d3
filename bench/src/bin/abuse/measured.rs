//! The daemon that is attacked.

use std::{io, path::PathBuf};

use clap::Args;
use mp_manager_bench::daemon::{Daemon, Transport};

/// Which daemon to measure, and how.
#[derive(Args)]
pub(crate) struct Measured {
    /// The daemon's program; by default the one beside this program.
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
            None => std::env::current_exe()?.with_file_name("mp-manager"),
        };
        Daemon::start(&program, Transport::Tcp, options)
    }
}
