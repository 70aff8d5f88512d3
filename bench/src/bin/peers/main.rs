//! Measures ours against what people would use instead: the same work, in turns.
//!
//! ```sh
//! cargo run --release -p mp-manager-bench
//! ```
//!
//! Servers and clients are processes of their own, started for each sample: where the system puts their memory and
//! threads is drawn anew each time. Within a round the sides follow one another at once, and every other round
//! begins with the other one, so that a machine that slows down slows down both.

mod chart;
mod client;
mod measured;
mod report;
mod rows;
mod sample;
mod server;

use std::{
    fmt::Display,
    io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use clap::{Parser, Subcommand};
use mp_manager_bench::{daemon::built_with_this, statistics::Summary};

use crate::{
    client::{Client, echo},
    measured::Measured,
    report::{Line, Report},
    rows::{ROWS, Row, SERIES},
    server::Programs,
};

/// Measures mp-manager against Redis, etcd, CPython's multiprocessing and a bare echo
///
/// A line has the median of the rounds with the least and the greatest, of both sides, their ratio, and what the
/// servers took: processor time and switches of threads for each operation, and resident memory at the end. A side
/// whose program is not on this machine is named as absent. The exit code is 1 if a row could not be measured.
#[derive(Parser)]
#[command(name = "peers", args_conflicts_with_subcommands = true)]
struct Options {
    /// Measures this row alone; may be given several times
    #[arg(long, value_name = "NAME", value_parser = names())]
    only: Vec<String>,
    /// Two short rounds, for a look: the figures say little
    #[arg(long)]
    quick: bool,
    /// Samples that are taken from each side
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// How long one sample takes
    #[arg(long, value_parser = seconds)]
    seconds: Option<f64>,
    /// Prints one JSON document at the end; progress goes to standard error
    #[arg(long)]
    json: bool,
    /// The daemon's program; by default the one beside this program, which is built if it is not there
    #[arg(long, value_name = "PATH")]
    daemon: Option<PathBuf>,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Subcommand)]
enum Part {
    /// Draws charts of what `--json` printed
    Chart {
        /// The document
        run: PathBuf,
        /// Where the charts are put
        directory: PathBuf,
    },
    #[command(hide = true)]
    Client(Client),
    #[command(hide = true)]
    Echo { address: String },
}

fn main() -> ExitCode {
    // A worker of a pool goes its own way here.
    mp_manager::init();
    let options = Options::parse();
    let result = match &options.part {
        Some(Part::Client(client)) => client.run().map(|()| true),
        Some(Part::Echo { address }) => echo::serve(address).map(|()| true),
        Some(Part::Chart { run, directory }) => chart::draw(run, directory).map(|()| true),
        None => table(&options),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::from(2)
        }
    }
}

fn names() -> clap::builder::PossibleValuesParser {
    let rows = ROWS.iter().map(|row| row.name);
    rows.chain(SERIES.iter().map(|series| series.row.name)).collect::<Vec<_>>().into()
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.01..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected a number from 0.01 to 3600".into()),
    }
}

fn error(why: impl Display) -> io::Error {
    io::Error::other(why.to_string())
}

/// The programs and the settings of a run.
struct Run {
    programs: Programs,
    rounds: u32,
    seconds: f64,
    is_quick: bool,
}

/// Measures the rows that are asked for. False if one of them failed.
fn table(options: &Options) -> io::Result<bool> {
    let programs = Programs::find(match &options.daemon {
        Some(daemon) => daemon.clone(),
        None => daemon_beside()?,
    });
    let run = Run {
        programs,
        rounds: options.rounds.unwrap_or(if options.quick { 2 } else { 5 }),
        seconds: options.seconds.unwrap_or(if options.quick { 0.2 } else { 1.0 }),
        is_quick: options.quick,
    };
    let say = |text: &dyn Display| {
        if options.json { eprintln!("{text}") } else { println!("{text}") }
    };
    let mut report = Report::new(run.rounds, run.seconds, run.programs.versions());
    say(&report);
    say(&Line::HEADINGS);
    let is_wanted =
        |row: &Row| options.only.is_empty() || options.only.iter().any(|name| name == row.name);
    for row in ROWS.iter().filter(|row| is_wanted(row)) {
        if let Some(program) = row.sides.iter().find_map(|&side| run.programs.lacks(side)) {
            say(&format_args!("{:<17} absent: there is no {program} on this machine", row.name));
            report.absent.push((row.name.to_owned(), program.to_owned()));
            continue;
        }
        match run.line(row) {
            Ok(line) => {
                say(&line);
                report.lines.push(line);
            }
            Err(error) => {
                say(&format_args!("{:<17} failed: {error}", row.name));
                report.failed.push((row.name.to_owned(), error.to_string()));
            }
        }
    }
    for series in SERIES.iter().filter(|series| is_wanted(&series.row)) {
        say(&format_args!("\n{}: {} (operations per second)", series.name, series.what));
        let mut points = Vec::new();
        for &count in series.counts.iter().filter(|&&count| !run.is_quick || count <= 10_000) {
            match run.rate(&series.row, count) {
                Ok(rate) => {
                    say(&format_args!("{count:>12} {:>12.0}", rate.median));
                    points.push((count, rate));
                }
                Err(error) => {
                    say(&format_args!("{count:>12} failed: {error}"));
                    report.failed.push((format!("{} {count}", series.name), error.to_string()));
                }
            }
        }
        report.series.push((series.name.to_owned(), points));
    }
    say(&"");
    for line in &report.lines {
        say(&line.verdict());
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    }
    Ok(report.failed.is_empty())
}

impl Run {
    /// Measures the sides of a row in turns.
    fn line(&self, row: &Row) -> io::Result<Line> {
        let count = if self.is_quick { divided(row.count) } else { row.count };
        let mut samples: Vec<Vec<Measured>> = vec![Vec::new(); row.sides.len()];
        for round in 0..self.rounds as usize {
            for turn in 0..row.sides.len() {
                let at = (turn + round) % row.sides.len();
                let side = row.sides[at];
                samples[at].push(sample::measure(&self.programs, row, side, count, self.seconds)?);
            }
        }
        Ok(Line::new(row, &samples))
    }

    /// Operations per second of ours, with so many of what grows.
    fn rate(&self, row: &Row, count: u64) -> io::Result<Summary> {
        let measure = |_| sample::measure(&self.programs, row, row.sides[0], count, self.seconds);
        let samples: Vec<_> = (0..self.rounds.min(3)).map(measure).collect::<Result<_, _>>()?;
        Ok(Summary::of(samples.iter().map(|sample| sample.rate).collect()))
    }
}

/// Few enough for a look, where the number is a length of time.
fn divided(count: u64) -> u64 {
    if count >= 5_000 { count / 10 } else { count }
}

/// The daemon that is built like this program.
fn daemon_beside() -> io::Result<PathBuf> {
    let daemon = built_with_this()?;
    let profile = daemon.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    // cargo says so of itself to what it runs.
    let (Some(cargo), Some(profile)) = (std::env::var_os("CARGO"), profile) else {
        if daemon.is_file() {
            return Ok(daemon);
        }
        return Err(error(format!(
            "there is no {}: `cargo build --release -p mp-manager-cli` builds it, or --daemon says where it is",
            daemon.display()
        )));
    };
    let profile = if profile == "debug" { "dev" } else { profile };
    let built = Command::new(cargo)
        .args([
            "build",
            "--quiet",
            "--profile",
            profile,
            "-p",
            "mp-manager-cli",
            "--bin",
            "mp-manager",
        ])
        .status()?;
    if built.success() { Ok(daemon) } else { Err(error("the daemon cannot be built")) }
}
