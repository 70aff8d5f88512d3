//! Shared by the measurements: daemons as processes of their own, the work of their clients, single
//! operations, and the statistics of several rounds.

pub mod counts;
pub mod daemon;
pub mod flat;
#[cfg(feature = "instructions")]
pub mod operations;
pub mod process;
pub mod statistics;
pub mod work;

/// The authkey of every daemon that is measured.
pub const AUTHKEY: &str = "the authkey of measurements";
