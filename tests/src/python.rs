//! The CPython that tests compare with.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Names the Python to compare with, instead of the newest one found.
const PYTHON_VARIABLE: &str = "MP_MANAGER_PYTHON";

/// The oldest that will do: 3 and this.
const OLDEST: u32 = 11;

/// Why there may be none.
pub const NOT_FOUND: &str = "no CPython >= 3.11 on the PATH or in ~/.pyenv/versions; \
                             install one, or name one in MP_MANAGER_PYTHON";

/// An installed CPython.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Python {
    version: Vec<u32>,
    path: PathBuf,
}

impl Python {
    /// The newest CPython that is new enough, on the PATH or among pyenv's.
    ///
    /// # Panics
    /// If `MP_MANAGER_PYTHON` names one that is not new enough, or none.
    #[must_use]
    pub fn find() -> Option<Self> {
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

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its version, such as `3.13.0`.
    #[must_use]
    pub fn version(&self) -> String {
        let numbers: Vec<_> = self.version.iter().map(u32::to_string).collect();
        numbers.join(".")
    }

    /// Whether it is 3 and this, or newer.
    #[must_use]
    pub fn is_since(&self, minor: u32) -> bool {
        self.version.as_slice() >= &[3, minor][..]
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
