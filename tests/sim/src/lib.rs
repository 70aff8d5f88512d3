//! A simulation of many processes, a manager and the network between them, in one thread and in
//! virtual time: the objects, the sessions and the client are the real ones, and one seed decides
//! everything that happens.

mod client;
pub mod command;
mod event;
mod invariants;
mod network;
mod plan;
pub mod planted;
mod run;
mod server;
mod trace;
mod workloads;
mod world;

use std::time::Duration;

/// What became of one seed.
#[derive(Debug, Clone)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What went wrong that must not.
    pub violations: Vec<String>,
    /// Of everything that happened: equal for equal seeds.
    pub hash: u64,
    /// How much happened.
    pub events: u64,
    /// How long it took, in the simulation.
    pub time: Duration,
}

/// Runs one seed, and prints everything that happens if `verbose`.
#[must_use]
pub fn run(seed: u64, verbose: bool) -> Report {
    run::run(seed, verbose)
}
