//! `mp-manager keygen`

use std::{io, path::PathBuf};

use clap::Args;

use crate::{authkey, error::Error, output};

/// Write a new random authkey to a file that only you can read
#[derive(Debug, Args)]
pub(crate) struct Keygen {
    /// Where to; standard output unless it is given
    path: Option<PathBuf>,
    /// Replace a file that is there already, and its authkeys
    #[arg(long, requires = "path", conflicts_with = "add")]
    force: bool,
    /// Add it above the authkeys that are in the file: it is preferred from then on, and the others
    /// are still good, until their lines are removed
    #[arg(long, requires = "path")]
    add: bool,
}

impl Keygen {
    pub(crate) fn run(self) -> Result<(), Error> {
        let key = authkey::generate()?;
        let Some(path) = self.path else { return output::print(&key) };
        let shown = path.display();
        if self.add {
            return authkey::add(&path, key);
        }
        authkey::write(&path, &key, self.force).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Error::Failed(format!(
                "{shown} exists already, and whoever uses its key would be locked out (--add puts the new one above it, --force replaces it)"
            )),
            _ => Error::io(format!("cannot write {shown}"))(error),
        })
    }
}
