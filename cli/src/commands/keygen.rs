//! `mp-manager keygen`

use std::{io, path::PathBuf};

use clap::Args;

use crate::{authkey, error::Error, output};

/// Write a new random authkey to a file that only you can read
#[derive(Debug, Args)]
pub(crate) struct Keygen {
    /// Where to; standard output unless it is given
    path: Option<PathBuf>,
    /// Replace a file that is there already
    #[arg(long, requires = "path")]
    force: bool,
}

impl Keygen {
    pub(crate) fn run(self) -> Result<(), Error> {
        let key = authkey::generate()?;
        let Some(path) = self.path else { return output::print(&key) };
        let shown = path.display();
        authkey::write(&path, &key, self.force).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Error::Failed(format!(
                "{shown} exists already, and whoever uses its key would be locked out (--force replaces it)"
            )),
            _ => Error::io(format!("cannot write {shown}"))(error),
        })
    }
}
