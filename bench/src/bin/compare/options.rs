//! The command line of `compare`.

use std::{io, path::PathBuf};

use clap::{Parser, ValueEnum};
use mp_manager_bench::{daemon::Transport, work::Row};

use crate::side::Side;

/// Compares two builds of the daemon, and of its client.
///
/// Prints operations per second: the median of the rounds, the least and the greatest, and the ratio of
/// the medians.
#[derive(Debug, Parser)]
#[command(name = "compare")]
pub(crate) struct Options {
    /// The daemon (`mp-manager`) that is measured
    #[arg(long, value_name = "DAEMON")]
    ours: PathBuf,
    /// The daemon that it is compared with
    #[arg(long, value_name = "DAEMON")]
    against: PathBuf,
    /// The client (`bench-work`) that works with ours; by default the one beside this program
    #[arg(long, value_name = "CLIENT")]
    ours_work: Option<PathBuf>,
    /// The client that works with the other daemon; by default the same as with ours
    #[arg(long, value_name = "CLIENT")]
    against_work: Option<PathBuf>,
    /// Measures this row alone; may be given several times
    #[arg(long, value_name = "ROW")]
    only: Vec<Row>,
    /// Measures over this transport alone; by default over unix and tcp
    #[arg(long, value_name = "TRANSPORT")]
    over: Option<Transport>,
    /// Samples that are taken from each side
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// How long one sample takes
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    pub(crate) seconds: f64,
    /// Prints one JSON document at the end; progress goes to standard error
    #[arg(long)]
    pub(crate) json: bool,
    /// Exits with 1 if a ratio is below this, and names the rows
    #[arg(long, value_name = "RATIO", default_value_t = 0.0)]
    pub(crate) at_least: f64,
}

impl Options {
    pub(crate) fn ours(&self) -> io::Result<Side> {
        Side::new(&self.ours, &self.ours_work()?)
    }

    pub(crate) fn against(&self) -> io::Result<Side> {
        let work = match &self.against_work {
            Some(work) => work.clone(),
            None => self.ours_work()?,
        };
        Side::new(&self.against, &work)
    }

    fn ours_work(&self) -> io::Result<PathBuf> {
        match &self.ours_work {
            Some(work) => Ok(work.clone()),
            None => Ok(std::env::current_exe()?.with_file_name("bench-work")),
        }
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        let is_wanted = |row: &Row| self.only.is_empty() || self.only.contains(row);
        Row::value_variants().iter().copied().filter(is_wanted).collect()
    }

    pub(crate) fn transports(&self) -> Vec<Transport> {
        match self.over {
            Some(over) => vec![over],
            None => vec![Transport::Unix, Transport::Tcp],
        }
    }

    /// Says how far it has come; standard output is for the document if one was asked for.
    pub(crate) fn say(&self, line: &str) {
        if self.json {
            eprintln!("{line}");
        } else {
            println!("{line}");
        }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.01..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected a number from 0.01 to 3600".into()),
    }
}
