//! Compares two builds of the daemon, and of its client: the same work, in turns.
//!
//! ```sh
//! cargo build --profile dist -p mp-manager-cli -p mp-manager-bench
//! target/dist/compare --ours target/dist/mp-manager --against /tmp/old/mp-manager
//! ```
//!
//! Each sample is taken from a daemon and a client that were started for it: where the system puts their
//! memory and threads is drawn anew each time, instead of once for all rounds of one side. Within a round
//! one side follows the other at once, and every other round begins with the other one, so that a machine
//! that slows down slows down both.

mod options;
mod report;
mod side;

use std::{io, process::ExitCode, time::Duration};

use clap::Parser;
use mp_manager_bench::{daemon::Transport, statistics::Summary, work::Row};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    options::Options,
    report::{Compared, Report},
    side::Side,
};

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> io::Result<ExitCode> {
    let sides = [options.ours()?, options.against()?];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut terminated = signal(SignalKind::terminate())?;
        // Whichever comes first, daemons and clients are dropped, which kills them.
        tokio::select! {
            report = compare(&sides, options) => report,
            _ = interrupted.recv() => Err(io::Error::other("interrupted")),
            _ = terminated.recv() => Err(io::Error::other("terminated")),
        }
    })?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    }
    let slow = report.below(options.at_least);
    for row in &slow {
        eprintln!("compare: below {}: {row}", options.at_least);
    }
    Ok(if slow.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn compare(sides: &[Side; 2], options: &Options) -> io::Result<Report> {
    let mut report = Report::new(sides, options.rounds, options.seconds);
    options.say(&format!("ours:    {}\nagainst: {}\n{}", sides[0], sides[1], Compared::HEADINGS));
    for row in options.rows() {
        for over in options.transports() {
            let compared = compare_row(sides, row, over, options).await?;
            options.say(&compared.to_string());
            report.rows.push(compared);
        }
    }
    Ok(report)
}

async fn compare_row(
    sides: &[Side; 2],
    row: Row,
    over: Transport,
    options: &Options,
) -> io::Result<Compared> {
    let duration = Duration::from_secs_f64(options.seconds);
    let mut rates = [Vec::new(), Vec::new()];
    for round in 0..options.rounds {
        let turns = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for side in turns {
            let sample = sides[side].measure(row, over, duration).await?;
            rates[side].push(sample.rate());
        }
    }
    let [ours, against] = rates.map(Summary::of);
    Ok(Compared::new(row, over, ours, against))
}
