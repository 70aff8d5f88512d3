//! The same calls on CPython's `SyncManager` and on ours: results and kinds of errors are the same,
//! or differ on purpose.
//!
//! The calls are in `scenarios/`, the differences and what has no counterpart in `deviations.rs`.
//! `cargo test -p mp-manager-tests --test parity -- --nocapture` shows what was compared.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod deviations;
mod ours;
mod python;
mod report;
mod runner;
mod scenario;

use mp_manager::blocking::Manager;
use mp_manager_tests::{
    AUTHKEY, TestServer,
    python::{NOT_FOUND, Python},
};

use crate::{report::Report, runner::Runner, scenario::Scenario};

macro_rules! scenarios {
    ($($file:literal),* $(,)?) => {
        [$(($file, include_str!(concat!("scenarios/", $file)))),*]
    };
}

fn scenarios() -> Vec<Scenario> {
    let files = scenarios![
        "array.txt",
        "barrier.txt",
        "condition.txt",
        "dict.txt",
        "event.txt",
        "list.txt",
        "lock.txt",
        "manager.txt",
        "namespace.txt",
        "pipe.txt",
        "queue.txt",
        "rlock.txt",
        "semaphore.txt",
        "set.txt",
        "value.txt",
    ];
    files.iter().flat_map(|(file, text)| scenario::parse(file, text)).collect()
}

#[test]
fn every_method_does_what_it_does_in_python() {
    let Some(python) = Python::find() else {
        println!("parity: skipped: {NOT_FOUND}");
        return;
    };
    println!("parity: with CPython {} ({})", python.version(), python.path().display());
    let scenarios = scenarios();
    let (possible, newer): (Vec<_>, Vec<_>) =
        scenarios.iter().partition(|scenario| python.is_since(scenario.since));
    let answers = python::run(&python, &possible);

    let server = TestServer::start();
    let manager = Manager::connect(&server.address(), AUTHKEY).expect("a connection");
    let mut report = Report::default();
    for (scenario, outcomes) in possible.iter().zip(answers.outcomes()) {
        let ran = Runner::new(&manager).run(scenario);
        report.compare(scenario, outcomes, ran);
    }
    report.leave_out(&newer);
    report.conclude(&python.version(), &answers);
}
