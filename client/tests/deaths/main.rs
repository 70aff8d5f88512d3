//! Processes and pools whose processes die, in every way there is: what becomes of their tasks, and that nobody is
//! left.
//!
//! The scenarios of other projects' trackers are in `scenarios`; those that concern `Process` alone are in
//! `tests/process.rs`, and children that come late to `init()` in `tests/arrival.rs`.

mod calling;
mod common;
mod kinds;
mod parents;
mod random;
mod scenarios;
mod stopped;
