//! The variables that stand in for options.

use std::{env, ffi::OsString, io::IsTerminal, path::PathBuf};

/// A variable of the environment; one that is empty counts as unset, which is how a process takes it
/// from its children.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// A variable that names a file.
pub(crate) fn file_variable(name: &str) -> Option<PathBuf> {
    variable(name).map(PathBuf::from)
}

/// Whether text on this stream may have colours: it is a terminal, and `NO_COLOR` is not set.
pub(crate) fn has_colors(stream: &impl IsTerminal) -> bool {
    variable("NO_COLOR").is_none() && stream.is_terminal()
}
