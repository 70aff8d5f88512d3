//! A manager in a process of its own, which can be stopped, go on, be killed and start again.

use std::{fmt, path::Path, time::Duration};

use mp_manager::{Address, Builder, Manager, blocking};
use tempfile::TempDir;

use crate::{AUTHKEY, victim::Victim, within};

/// How clients reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they say it")]
pub enum Reach {
    Tcp,
    Unix,
    /// A manager that is embedded in another program.
    Embedded,
}

/// A manager that is a process of the program `victim`.
pub struct Daemon {
    program: String,
    process: Option<Victim>,
    address: String,
    authkey: String,
    _directory: TempDir,
}

impl Daemon {
    /// Starts one; `program` is the path of `victim`.
    ///
    /// # Panics
    /// If it cannot be started.
    pub async fn start(program: &str, reach: Reach) -> Self {
        let directory = TempDir::with_prefix("daemon-").expect("there is no room for a socket");
        let (address, position) = match reach {
            Reach::Tcp => ("127.0.0.1:0".to_owned(), "serve"),
            Reach::Unix => (unix(directory.path()), "serve"),
            Reach::Embedded => ("-".to_owned(), "embed"),
        };
        let mut process = Victim::start(program, &address, position);
        let said = process.says().await;
        let (address, authkey) = said.split_once(' ').unwrap_or((&said, AUTHKEY));
        let (address, authkey) = (address.to_owned(), authkey.to_owned());
        let (program, process) = (program.to_owned(), Some(process));
        Self { program, process, address, authkey, _directory: directory }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its authkey.
    #[must_use]
    pub fn authkey(&self) -> &str {
        &self.authkey
    }

    /// Connects to it.
    ///
    /// # Panics
    /// If that fails.
    pub async fn connect(&self, options: impl FnOnce(Builder) -> Builder) -> Manager {
        let builder = options(Manager::builder()).authkey(self.authkey.as_str());
        within(builder.connect(&self.address)).await.expect("it is there")
    }

    /// Connects to it, for threads.
    ///
    /// # Panics
    /// If that fails.
    pub async fn connect_blocking(
        &self,
        options: impl FnOnce(blocking::Builder) -> blocking::Builder,
    ) -> blocking::Manager {
        let builder = options(blocking::Manager::builder()).authkey(self.authkey.as_str());
        let address = self.address.clone();
        aside(move || builder.connect(&address).expect("it is there")).await
    }

    /// The most memory that it has had at a time, in bytes. `None` where the system does not say.
    ///
    /// # Panics
    /// If it does not run.
    #[must_use]
    pub fn peak_bytes(&self) -> Option<usize> {
        self.process.as_ref().expect("it does not run").peak_bytes()
    }

    /// Stops it where it is, for so long.
    ///
    /// # Panics
    /// If it does not run.
    pub async fn pause(&self, time: Duration) {
        self.freeze().await;
        tokio::time::sleep(time).await;
        self.thaw().await;
    }

    /// Stops it where it is.
    ///
    /// # Panics
    /// If it does not run.
    pub async fn freeze(&self) {
        self.process.as_ref().expect("it does not run").freeze().await;
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// If it does not run.
    pub async fn thaw(&self) {
        self.process.as_ref().expect("it does not run").thaw().await;
    }

    /// Kills it, and waits until it is gone.
    ///
    /// # Panics
    /// If it does not run.
    pub async fn kill(&mut self) {
        self.process.take().expect("it does not run").kill().await;
    }

    /// Starts another one where it was.
    ///
    /// # Panics
    /// If that fails.
    pub async fn restart(&mut self) {
        let mut process = Victim::start(&self.program, &self.address, "serve");
        process.says().await;
        self.process = Some(process);
    }
}

impl fmt::Debug for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the manager at {}", self.address)
    }
}

impl Drop for Daemon {
    /// Nobody was left who could have done it.
    fn drop(&mut self) {
        if let Ok(Address::Unix(socket)) = self.address.parse()
            && let Some(directory) = socket.parent()
        {
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

/// Runs what waits on a thread where it is in nobody's way.
///
/// # Panics
/// If it panics.
pub async fn aside<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    within(tokio::task::spawn_blocking(f)).await.expect("it panicked")
}

fn unix(directory: &Path) -> String {
    format!("unix:{}", directory.join("socket").display())
}
