//! The other side: a real CPython.

use std::{
    collections::BTreeMap,
    io::Write,
    process::{Command, Stdio},
};

use mp_manager_tests::python::Python;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::scenario::{Outcome, Scenario};

/// What the driver says.
#[derive(Deserialize)]
pub(crate) struct Answers {
    outcomes: Vec<Vec<BTreeMap<String, Value>>>,
    /// What each kind can do.
    pub(crate) methods: BTreeMap<String, Vec<String>>,
    /// What the proxies of this version leave out, so that it had to be registered.
    pub(crate) registered: BTreeMap<String, Vec<String>>,
}

impl Answers {
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = Vec<Outcome>> {
        self.outcomes.iter().map(|outcomes| outcomes.iter().map(outcome).collect())
    }
}

fn outcome(answer: &BTreeMap<String, Value>) -> Outcome {
    match (answer.get("ok"), answer.get("error").and_then(Value::as_str)) {
        (Some(value), None) => Outcome::Ok(value.clone()),
        (None, Some(name)) => Outcome::Error(name.into()),
        _ => panic!("neither value nor error: {answer:?}"),
    }
}

/// Runs the scenarios in one process.
pub(crate) fn run(python: &Python, scenarios: &[&Scenario]) -> Answers {
    let script: Vec<Vec<Value>> = scenarios
        .iter()
        .map(|scenario| scenario.steps.iter().map(|step| step.action.to_json()).collect())
        .collect();
    let driver = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parity/driver.py");
    let mut child = Command::new(python.path())
        .args(["-I", driver])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(json!(script).to_string().as_bytes()).expect("Python reads");
    drop(stdin);
    let output = child.wait_with_output().expect("Python ends");
    assert!(output.status.success(), "the driver failed ({}); see stderr", output.status);
    serde_json::from_slice(&output.stdout).expect("the driver answers in JSON")
}
