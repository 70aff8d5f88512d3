//! The results, as text and as JSON.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use mp_manager_bench::statistics::{Summary, median};
use serde::{Deserialize, Serialize};

use crate::{
    measured::Measured,
    rows::{Metric, Row},
};

/// All of it, for programs.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Seconds since 1970.
    pub(crate) at: u64,
    pub(crate) machine: String,
    pub(crate) versions: Vec<String>,
    pub(crate) rounds: u32,
    pub(crate) seconds: f64,
    pub(crate) lines: Vec<Line>,
    /// Rows, and the program that each lacks.
    pub(crate) absent: Vec<(String, String)>,
    /// Rows that could not be measured, and why.
    pub(crate) failed: Vec<(String, String)>,
    /// Names, and operations per second by what grows.
    pub(crate) series: Vec<(String, Vec<(u64, Summary)>)>,
}

/// One row's results.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) what: String,
    pub(crate) unit: String,
    pub(crate) sides: Vec<SideResult>,
    /// Ours as a multiple of the other; ours itself if there is none.
    pub(crate) ratio: f64,
    pub(crate) more_is_better: bool,
    pub(crate) goal: f64,
    pub(crate) aim: f64,
    pub(crate) is_ok: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SideResult {
    pub(crate) name: String,
    pub(crate) values: Summary,
    /// Of the server for each operation, in µs.
    pub(crate) cpu: f64,
    pub(crate) switches: f64,
    pub(crate) kib: f64,
}

impl Report {
    pub(crate) fn new(rounds: u32, seconds: f64, versions: Vec<String>) -> Self {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self {
            at,
            machine: machine(),
            versions,
            rounds,
            seconds,
            lines: Vec::new(),
            absent: Vec::new(),
            failed: Vec::new(),
            series: Vec::new(),
        }
    }
}

fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    format!("{cpus} × {}", model.unwrap_or(std::env::consts::ARCH))
}

impl Line {
    pub(crate) const HEADINGS: &str = "row               side            median (least … greatest)              \
         CPU µs/op  switches/op       RSS   ratio";

    pub(crate) fn new(row: &Row, samples: &[Vec<Measured>]) -> Self {
        let sides: Vec<SideResult> = row
            .sides
            .iter()
            .zip(samples)
            .map(|(side, samples)| SideResult {
                name: side.name().to_owned(),
                values: Summary::of(samples.iter().map(|sample| row.metric.of(sample)).collect()),
                cpu: median(samples.iter().map(|sample| sample.server_cpu)),
                switches: median(samples.iter().map(|sample| sample.switches)),
                kib: median(samples.iter().map(|sample| sample.server_kib as f64)),
            })
            .collect();
        let median = |at: usize| sides.get(at).map(|side| side.values.median);
        let ratio = median(0).unwrap_or(f64::NAN) / median(1).unwrap_or(1.0);
        Self {
            name: row.name.to_owned(),
            what: row.what.to_owned(),
            unit: row.metric.unit().to_owned(),
            ratio,
            more_is_better: row.metric == Metric::Rate,
            goal: row.goal,
            aim: row.aim,
            is_ok: row.metric.reaches(ratio, row.goal),
            sides,
        }
    }

    /// The line that says whether the goal is reached.
    pub(crate) fn verdict(&self) -> String {
        let Self { name, ratio, goal, is_ok, .. } = self;
        let verdict = if *is_ok { "ok" } else { "short" };
        format!("ratio {name} {ratio:.2} (goal {goal}) {verdict}")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}; {} rounds of {} s", self.machine, self.rounds, self.seconds)?;
        self.versions.iter().try_for_each(|version| writeln!(f, "{version}"))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.name, self.what)?;
        for (at, side) in self.sides.iter().enumerate() {
            let Summary { median, min, max, .. } = &side.values;
            let [median, min, max] = [median, min, max].map(|value| figure(*value));
            let values = format!("{median} {} ({min} … {max})", self.unit);
            write!(f, "{:17} {:<15} {values:<38} {:>9}", "", side.name, figure(side.cpu))?;
            write!(f, "{:>13}{:>7.1} MiB", figure(side.switches), side.kib / 1024.0)?;
            if at == 0 {
                write!(f, "{:>8.2}", self.ratio)?;
            }
            if at + 1 < self.sides.len() {
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

/// With three digits or more.
fn figure(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
