//! The results of a comparison, as text and as JSON.

use std::fmt;

use mp_manager_bench::{daemon::Transport, statistics::Summary, work::Row};
use serde::Serialize;

use crate::side::Side;

/// All rows, for programs.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    ours: String,
    against: String,
    rounds: u32,
    seconds: f64,
    pub(crate) rows: Vec<Compared>,
}

/// One row over one transport, in operations per second.
#[derive(Debug, Serialize)]
pub(crate) struct Compared {
    row: String,
    over: String,
    ours: Summary,
    against: Summary,
    /// Of the medians: above 1 ours is faster.
    ratio: f64,
}

impl Report {
    pub(crate) fn new([ours, against]: &[Side; 2], rounds: u32, seconds: f64) -> Self {
        let (ours, against) = (ours.to_string(), against.to_string());
        Self { ours, against, rounds, seconds, rows: Vec::new() }
    }

    /// The rows in which ours is slower than that.
    pub(crate) fn below(&self, ratio: f64) -> Vec<&Compared> {
        // Nor is a ratio good enough that is no number.
        self.rows.iter().filter(|row| row.ratio < ratio || row.ratio.is_nan()).collect()
    }
}

impl Compared {
    pub(crate) const HEADINGS: &str = "row              over  \
         ours: median, least and greatest    against: median, least and greatest  ratio";

    pub(crate) fn new(row: Row, over: Transport, ours: Summary, against: Summary) -> Self {
        let ratio = ours.median / against.median;
        Self { row: row.to_string(), over: over.to_string(), ours, against, ratio }
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { row, over, ours, against, ratio } = self;
        write!(f, "{row:<16} {over:<4}  ")?;
        for Summary { median, min, max, .. } in [ours, against] {
            let spread = format!("({min:.0} … {max:.0})");
            write!(f, "{median:>11.0} {spread:<24}")?;
        }
        write!(f, " {ratio:.3}")
    }
}
