//! The variables that stand in for options.

use std::{env, ffi::OsString, path::PathBuf};

/// A variable of the environment; one that is empty counts as unset, which is how a process takes it
/// from its children.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// A variable that names a file.
pub(crate) fn file_variable(name: &str) -> Option<PathBuf> {
    variable(name).map(PathBuf::from)
}
