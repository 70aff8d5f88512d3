//! One of the two builds.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use mp_manager_bench::{
    AUTHKEY,
    daemon::{Daemon, Transport},
    work::{Row, Sample},
};
use tokio::{process::Command, time::timeout};

/// Connecting, warming up and ending take less than this.
const MARGIN: Duration = Duration::from_secs(30);

/// A daemon's program, and the one that does the work with it.
#[derive(Debug)]
pub(crate) struct Side {
    daemon: PathBuf,
    work: PathBuf,
}

impl Side {
    /// # Errors
    /// If one of the two is no program.
    pub(crate) fn new(daemon: &Path, work: &Path) -> io::Result<Self> {
        for path in [daemon, work] {
            if !path.is_file() {
                let message = format!(
                    "there is no program {}: `cargo build --profile dist -p mp-manager-cli -p \
                     mp-manager-bench` builds both",
                    path.display()
                );
                return Err(io::Error::new(io::ErrorKind::NotFound, message));
            }
        }
        Ok(Self { daemon: daemon.to_owned(), work: work.to_owned() })
    }

    /// Does one row's work with a daemon of its own.
    pub(crate) async fn measure(
        &self,
        row: Row,
        over: Transport,
        duration: Duration,
    ) -> io::Result<Sample> {
        let daemon = Daemon::start(&self.daemon, over, &[])?;
        let work = Command::new(&self.work)
            .arg(row.to_string())
            .args(["--address", daemon.address()])
            .args(["--seconds", &duration.as_secs_f64().to_string()])
            .env("MP_MANAGER_AUTHKEY", AUTHKEY)
            .env_remove("MP_MANAGER_AUTHKEY_FILE")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let failed = |why: &dyn fmt::Display| {
            let (work, daemon) = (self.work.display(), daemon.log());
            io::Error::other(format!(
                "{work}: {row} over {over}: {why}\nthe daemon logged:\n{daemon}"
            ))
        };
        let output = match timeout(duration * 2 + MARGIN, work).await {
            Err(_) => return Err(failed(&"it hangs")),
            Ok(Err(error)) => return Err(failed(&error)),
            Ok(Ok(output)) => output,
        };
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(failed(&format_args!("{}: {}", output.status, said.trim())));
        }
        serde_json::from_slice(&output.stdout).map_err(|error| failed(&error))
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {}", self.daemon.display(), self.work.display())
    }
}
