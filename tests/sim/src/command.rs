//! The command: `sim --seeds 100000`, or one seed in detail: `sim --seed 7 --verbose`.

use std::{
    env,
    process::{self, ExitCode},
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{self as sim, Report};

const USAGE: &str = "\
usage: sim [--seeds N] [--from SEED] [--twice] [--keep-going | --first]
       sim --seed SEED [--verbose]

  --seeds N     how many seeds to run, 1000 unless said
  --from SEED   the first of them, 1 unless said
  --twice       runs each seed twice and compares everything that happened
  --keep-going  does not stop at the first violation
  --first       one seed after the other, so that the first that fails is the lowest
  --seed SEED   runs this one
  --verbose     prints everything that happens";

/// The largest crowd takes less than a second.
const LONGEST: Duration = Duration::from_secs(300);

struct Arguments {
    first: u64,
    count: u64,
    twice: bool,
    keep_going: bool,
    first_only: bool,
    verbose: bool,
}

/// Does what the arguments say.
#[must_use]
pub fn main() -> ExitCode {
    let Some(arguments) = parse(env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if arguments.verbose {
        let report = sim::run(arguments.first, true);
        println!("{report:#?}");
        return if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    run(&arguments)
}

fn parse(mut words: impl Iterator<Item = String>) -> Option<Arguments> {
    let (first, count) = (1, 1000);
    let mut arguments = Arguments {
        first,
        count,
        twice: false,
        keep_going: false,
        first_only: false,
        verbose: false,
    };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seeds" => arguments.count = words.next()?.parse().ok()?,
            "--from" => arguments.first = words.next()?.parse().ok()?,
            "--seed" => {
                arguments.first = words.next()?.parse().ok()?;
                arguments.count = 1;
            }
            "--twice" => arguments.twice = true,
            "--keep-going" => arguments.keep_going = true,
            "--first" => arguments.first_only = true,
            "--verbose" => arguments.verbose = true,
            _ => return None,
        }
    }
    Some(arguments)
}

/// What came of many seeds.
#[derive(Default)]
struct Totals {
    seeds: u64,
    failed: u64,
    events: u64,
    time: Duration,
}

fn run(arguments: &Arguments) -> ExitCode {
    let began = Instant::now();
    let next = AtomicU64::new(arguments.first);
    let end = arguments.first.saturating_add(arguments.count);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let threads = if arguments.first_only { 1 } else { threads };
    let totals = thread::scope(|scope| {
        let work = || {
            let mut totals = Totals::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= end {
                    return totals;
                }
                let watch = Watch::over(seed);
                let report = run_seed(seed);
                let is_accepted = accept(&report, arguments.twice);
                drop(watch);
                if !is_accepted {
                    totals.failed += 1;
                    if !arguments.keep_going {
                        next.store(end, Ordering::Relaxed);
                    }
                }
                totals.seeds += 1;
                totals.events += report.events;
                totals.time += report.time;
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).fold(
            Totals::default(),
            |sum, part| Totals {
                seeds: sum.seeds + part.seeds,
                failed: sum.failed + part.failed,
                events: sum.events + part.events,
                time: sum.time + part.time,
            },
        )
    });
    let took = began.elapsed();
    let Totals { seeds, failed, events, time } = totals;
    println!(
        "{seeds} seeds, {failed} with violations; {events} events in {took:.1?}; \
         {:.0} simulated seconds per second",
        time.as_secs_f64() / took.as_secs_f64()
    );
    // A worker that panicked did not count its last seed.
    if failed == 0 && seeds == arguments.count { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Ends the process if it is not dropped in time: what goes round in circles within one event cannot
/// be ended otherwise.
struct Watch {
    _is_over: Sender<()>,
}

impl Watch {
    fn over(seed: u64) -> Self {
        let (sender, is_over) = mpsc::channel();
        thread::spawn(move || {
            if is_over.recv_timeout(LONGEST) == Err(RecvTimeoutError::Timeout) {
                say(seed, &["it does not come to an end".into()]);
                process::exit(1);
            }
        });
        Self { _is_over: sender }
    }
}

/// A panic is a violation like any other.
fn run_seed(seed: u64) -> Report {
    std::panic::catch_unwind(|| sim::run(seed, false)).unwrap_or_else(|_| Report {
        seed,
        violations: vec!["it panicked".into()],
        hash: 0,
        events: 0,
        time: Duration::ZERO,
    })
}

/// Whether nothing is wrong with it; says so otherwise, and how to see it again.
fn accept(report: &Report, twice: bool) -> bool {
    let mut wrong = report.violations.clone();
    if twice && wrong.is_empty() {
        let again = sim::run(report.seed, false);
        if again.hash != report.hash {
            wrong.push(format!("it went another way the second time: {again:?}"));
        }
    }
    say(report.seed, &wrong);
    wrong.is_empty()
}

fn say(seed: u64, wrong: &[String]) {
    for what in wrong {
        println!("seed {seed}: {what}");
    }
    if !wrong.is_empty() {
        println!("again: cargo run --release -p mp-manager-sim -- --seed {seed} --verbose");
    }
}
