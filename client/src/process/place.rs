//! Where in this program its children begin.

use std::{env, ffi::OsString, process::Command, sync::OnceLock};

use crate::error::{Error, Result};

static PLACE: OnceLock<Place> = OnceLock::new();

/// The function in which a child of this program calls `init()`.
#[derive(Debug)]
pub(super) enum Place {
    /// `main`, which the arguments of this process lead to.
    Main,
    /// The test of that name, which the test harness leads to.
    Test(String),
}

impl Place {
    /// Remembers the place; the first one stays.
    pub(super) fn remember(self) {
        let _ = PLACE.set(self);
    }

    /// The place, if `init()` ran.
    ///
    /// # Errors
    /// [`Error::Configuration`] with the line to add.
    pub(super) fn known() -> Result<&'static Self> {
        PLACE.get().ok_or_else(|| {
            Error::Configuration(
                "`mp_manager::init()` did not run, and a child process, which is this program again, would \
                 not begin there: write `mp_manager::init();` as the first line of `main`, or \
                 `#[mp_manager::main]` above it; above a test, `#[mp_manager::test]` instead of `#[test]`"
                    .into(),
            )
        })
    }

    /// The command that comes to this place again.
    pub(super) fn command(&self) -> Command {
        use std::os::unix::process::CommandExt;
        // Not `current_exe`: the file may have been replaced or deleted since this process began.
        let mut command = Command::new("/proc/self/exe");
        let mut args = env::args_os();
        command.arg0(args.next().unwrap_or_else(|| OsString::from("mp-manager-child")));
        match self {
            Self::Main => command.args(args),
            Self::Test(name) => command.arg(name).args([
                "--exact",
                "--nocapture",
                "--include-ignored",
                "--test-threads=1",
                "-q",
            ]),
        };
        command
    }
}
