//! Instructions per operation, counted by callgrind: what a change costs, on a machine too noisy to
//! measure time.
//!
//! ```sh
//! .ci/instructions                # counts, and compares with bench/instructions.txt
//! .ci/instructions --write        # counts, and writes that file
//! .ci/instructions --only client  # the rows whose name begins like that
//! ```
//!
//! Each row runs twice under callgrind, once with more operations than the other. The difference is what
//! the operations take; what it takes to start is in both and cancels out.

mod callgrind;

use std::{io, path::PathBuf, process::ExitCode};

use clap::Parser;
use mp_manager_bench::{
    counts::{Build, Change, Counts},
    operations::{ROWS, Row},
};

/// A row is counted so often before it is said to differ, or written, and its least count is taken: a system that
/// has other things to do as well only adds to it.
const TRIES: usize = 3;

/// Counts instructions per operation and compares them with a file.
#[derive(Debug, Parser)]
#[command(name = "instructions")]
struct Options {
    /// The file with the counts of before
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.txt"))]
    file: PathBuf,
    /// Writes the counts into the file
    #[arg(long, conflicts_with = "only")]
    write: bool,
    /// Counts rows that begin with this
    #[arg(long, value_name = "PREFIX", default_value = "")]
    only: String,
    /// Does a row's work, which callgrind watches
    #[arg(long, hide = true, value_name = "ROW", requires = "times")]
    work: Option<String>,
    #[arg(long, hide = true)]
    times: Option<u32>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> io::Result<ExitCode> {
    if let (Some(name), Some(times)) = (&options.work, options.times) {
        let row = ROWS.iter().find(|row| row.name == *name);
        let row = row.ok_or_else(|| io::Error::other(format!("there is no row {name}")))?;
        (row.work)(times)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<&Row> = ROWS.iter().filter(|row| row.name.starts_with(&options.only)).collect();
    if rows.is_empty() {
        let names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        let message = format!("no row begins with {:?}: {}", options.only, names.join(", "));
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let mut counts = Counts { build: Build::current()?, rows: callgrind::count(&rows)? };
    if options.write {
        for _ in 1..TRIES {
            counts.take_least(callgrind::count(&rows)?);
        }
        counts.write(&options.file)?;
        print!("{counts}");
        return Ok(ExitCode::SUCCESS);
    }
    let before = Counts::read(&options.file)?;
    for _ in 1..TRIES {
        let changes = compare(&before, &counts, &options.only);
        let beyond: Vec<_> = changes.iter().filter(|change| change.is_beyond_tolerance()).collect();
        let is_beyond = |row: &Row| beyond.iter().any(|change| change.name() == row.name);
        let again: Vec<&Row> = rows.iter().copied().filter(|row| is_beyond(row)).collect();
        if again.is_empty() {
            break;
        }
        counts.take_least(callgrind::count(&again)?);
    }
    Ok(report(&before, &counts, options))
}

fn compare(before: &Counts, now: &Counts, prefix: &str) -> Vec<Change> {
    let tolerance = |name: &str| {
        ROWS.iter().find(|row| row.name == name).map_or(0.0, |row| row.tolerance_percent)
    };
    Counts::changes(before, now, prefix, tolerance)
}

/// Says what has changed. Other compilers and libraries need other numbers of instructions: with them a
/// difference is a warning.
fn report(before: &Counts, now: &Counts, options: &Options) -> ExitCode {
    let changes = compare(before, now, &options.only);
    changes.iter().for_each(|change| println!("{change}"));
    let beyond: Vec<_> = changes.iter().filter(|change| change.is_beyond_tolerance()).collect();
    let file = options.file.display();
    if beyond.is_empty() {
        return ExitCode::SUCCESS;
    }
    if before.build != now.build {
        eprintln!(
            "instructions: not compared with {file}, which was counted with\n{}and not with\n{}",
            before.build, now.build
        );
        return ExitCode::SUCCESS;
    }
    eprintln!("\ninstructions: these differ from {file} by more than they may:");
    beyond.iter().for_each(|change| eprintln!("    {change}"));
    eprintln!("if that is meant to be, `.ci/instructions --write` takes the new counts");
    ExitCode::FAILURE
}
