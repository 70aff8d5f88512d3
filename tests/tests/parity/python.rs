//! The other side: a real CPython.

use std::{
    collections::BTreeMap,
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::scenario::{Outcome, Scenario};

/// Names the Python to compare with, instead of the newest one found.
const PYTHON_VARIABLE: &str = "MP_MANAGER_PYTHON";

/// The oldest that will do: 3 and this.
const OLDEST: u32 = 11;

/// Why there may be none.
pub(crate) const NOT_FOUND: &str = "no CPython >= 3.11 on the PATH or in ~/.pyenv/versions; \
                                    install one, or name one in MP_MANAGER_PYTHON";

/// An installed CPython.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Python {
    version: Vec<u32>,
    path: PathBuf,
}

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

impl Python {
    /// The newest CPython that is new enough, on the PATH or among pyenv's.
    pub(crate) fn find() -> Option<Self> {
        if let Some(path) = env::var_os(PYTHON_VARIABLE) {
            let python = Self::at(Path::new(&path));
            return Some(python.unwrap_or_else(|| {
                panic!("{PYTHON_VARIABLE} is {path:?}, which is no CPython >= 3.{OLDEST}")
            }));
        }
        candidates().iter().filter_map(|path| Self::at(path)).max()
    }

    /// What is there, if it is a CPython that is new enough and runs.
    fn at(path: &Path) -> Option<Self> {
        let code = "import sys; print(sys.implementation.name, *sys.version_info[:3])";
        let output = Command::new(path).args(["-I", "-c", code]).output().ok()?;
        let output = String::from_utf8(output.stdout).ok()?;
        let numbers = output.strip_prefix("cpython ")?.split_whitespace();
        let version: Vec<u32> = numbers.map(str::parse).collect::<Result<_, _>>().ok()?;
        (version.as_slice() >= &[3, OLDEST][..]).then(|| Self { version, path: path.into() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn version(&self) -> String {
        let numbers: Vec<_> = self.version.iter().map(u32::to_string).collect();
        numbers.join(".")
    }

    /// Whether it is 3 and this, or newer.
    pub(crate) fn is_since(&self, minor: u32) -> bool {
        self.version.as_slice() >= &[3, minor][..]
    }

    /// Runs the scenarios in one process.
    pub(crate) fn run(&self, scenarios: &[&Scenario]) -> Answers {
        let script: Vec<Vec<Value>> = scenarios
            .iter()
            .map(|scenario| scenario.steps.iter().map(|step| step.action.to_json()).collect())
            .collect();
        let driver = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parity/driver.py");
        let mut child = Command::new(&self.path)
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
}

/// Everything that is called like a Python.
fn candidates() -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> =
        env::var_os("PATH").iter().flat_map(env::split_paths).collect();
    if let Some(home) = env::var_os("HOME") {
        let versions = list(&Path::new(&home).join(".pyenv/versions"));
        directories.extend(versions.iter().map(|version| version.join("bin")));
    }
    let mut paths: Vec<_> = directories.iter().flat_map(|directory| list(directory)).collect();
    paths.retain(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_python));
    paths
}

fn list(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.flatten().map(|entry| entry.path()).collect()
}

fn is_python(name: &str) -> bool {
    let minor = name.strip_prefix("python3.").and_then(|minor| minor.parse::<u32>().ok());
    name == "python3" || minor.is_some_and(|minor| minor >= OLDEST)
}
