//! Processes of this program, and what can be done to them.

use std::{io, path::Path, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    task::JoinHandle,
    time::timeout,
};

use super::worker::Orders;

/// What a holder is told on its command line.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) address: String,
    pub(crate) lock: String,
    pub(crate) lease_ms: u64,
}

/// A child process with a lifeline; killed at the latest when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Its end says that the work is over.
    lifeline: Option<ChildStdin>,
}

impl Process {
    /// Starts `program` with these words, in a network namespace if there is one.
    fn start(
        program: &Path,
        words: &[&str],
        namespace: Option<&str>,
    ) -> io::Result<(Self, ChildStdout)> {
        let mut command = match namespace {
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(program);
                command
            }
            None => Command::new(program),
        };
        let mut child = command
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let lifeline = child.stdin.take();
        Ok((Self { child, lifeline }, stdout))
    }

    /// Sends it a signal, if it is still there.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        if let Some(pid) = pid {
            let _ = kill_process(pid, signal);
        }
    }

    /// Says something on its lifeline.
    pub(crate) async fn say(&mut self, text: &str) -> io::Result<()> {
        match &mut self.lifeline {
            Some(lifeline) => lifeline.write_all(text.as_bytes()).await,
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) async fn kill(&mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// Lets go of the lifeline, and waits until it has ended well; what went wrong otherwise.
    pub(crate) async fn finish(&mut self, patience: Duration) -> Result<(), String> {
        drop(self.lifeline.take());
        match timeout(patience, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(format!("it ended with {status}")),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => {
                let _ = self.kill().await;
                Err(format!("it has not ended after {patience:?}: something hangs"))
            }
        }
    }

    /// Why it ended, if it did.
    pub(crate) fn has_ended(&mut self) -> Option<String> {
        self.child.try_wait().ok().flatten().map(|status| format!("it ended with {status}"))
    }
}

/// A process that serves; where.
pub(crate) async fn start_daemon(program: &Path, address: &str) -> io::Result<(Process, String)> {
    let (process, stdout) = Process::start(program, &["daemon", address], None)?;
    let said = BufReader::new(stdout).lines().next_line().await?;
    Ok((process, said.ok_or_else(|| io::Error::other("the daemon did not start"))?))
}

/// A process that holds a lock, and what it says.
pub(crate) fn start_holder(
    program: &Path,
    position: &Position,
) -> io::Result<(Process, ChildStdout)> {
    let text = serde_json::to_string(position).map_err(io::Error::other)?;
    Process::start(program, &["holder", &text], None)
}

/// A worker process, and everything it has written.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) number: u64,
    pub(crate) process: Process,
    journal: JoinHandle<Vec<u8>>,
}

impl Worker {
    pub(crate) fn start(
        program: &Path,
        orders: &Orders,
        namespace: Option<&str>,
    ) -> io::Result<Self> {
        let text = serde_json::to_string(orders).map_err(io::Error::other)?;
        let (process, mut stdout) = Process::start(program, &["worker", &text], namespace)?;
        let journal = tokio::spawn(async move {
            let mut bytes = Vec::new();
            let _ = stdout.read_to_end(&mut bytes).await;
            bytes
        });
        Ok(Self { number: orders.process, process, journal })
    }

    /// Everything it wrote; waits until it has ended.
    pub(crate) async fn journal(self) -> (u64, Vec<u8>) {
        let Self { number, process: _process, journal } = self;
        (number, journal.await.unwrap_or_default())
    }
}

/// Ends with its parent, however that ends: a child that is stopped does not notice by itself.
pub(crate) fn die_with_parent() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
}
