//! What the measurements share: daemons as processes of their own, the work that clients do with them,
//! and what is made of several rounds.

pub mod counts;
pub mod daemon;
pub mod process;
pub mod statistics;
pub mod work;

/// The authkey of every daemon that is measured.
pub const AUTHKEY: &str = "the authkey of measurements";
