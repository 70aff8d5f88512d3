//! What the page's code gives in a real CPython.

use std::{
    collections::BTreeMap,
    io::Write,
    process::{Command, Stdio},
};

use mp_manager_from_python::page::{Outcome, Page};
use mp_manager_tests::python::Python;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
pub(crate) struct Answers {
    /// What the lines gave.
    pub(crate) lines: BTreeMap<usize, Answer>,
    /// The names of the sections' subjects.
    pub(crate) subjects: BTreeMap<String, Names>,
}

#[derive(Deserialize)]
pub(crate) struct Answer {
    #[serde(default)]
    value: Value,
    error: Option<String>,
    /// Where an error comes from.
    #[serde(default)]
    pub(crate) details: String,
}

#[derive(Deserialize)]
pub(crate) struct Names {
    /// Those that must have a row.
    pub(crate) public: Vec<String>,
    /// Those that may have one.
    pub(crate) all: Vec<String>,
}

impl Answer {
    pub(crate) fn outcome(&self) -> Outcome {
        match &self.error {
            Some(error) => Outcome::Error(error.clone()),
            None => Outcome::Value(self.value.clone()),
        }
    }
}

/// Executes every line that this Python can, in one process.
pub(crate) fn run(python: &Python, page: &Page) -> Answers {
    let sections: Vec<_> = page.sections.iter().map(|section| {
        let subjects = section.subjects.iter().filter(|_| python.is_since(section.since));
        let rows = section.rows.iter().filter(|row| python.is_since(row.since));
        let lines: Vec<_> = rows
            .filter_map(|row| row.python.as_ref().map(|code| (row.line, code)))
            .collect();
        json!({ "subjects": subjects.collect::<Vec<_>>(), "setup": section.setup.python, "lines": lines })
    }).collect();
    let script = json!({ "preamble": page.preamble.python, "sections": sections });
    let driver = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/from_python/driver.py");
    let mut child = Command::new(python.path())
        .args(["-I", driver])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(script.to_string().as_bytes()).expect("Python reads");
    drop(stdin);
    let output = child.wait_with_output().expect("Python ends");
    assert!(output.status.success(), "the driver failed ({}); see stderr", output.status);
    serde_json::from_slice(&output.stdout).expect("the driver answers in JSON")
}
