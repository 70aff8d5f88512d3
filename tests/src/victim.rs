//! Processes that get into a position and are killed there.

use std::{fs, process::Stdio, time::Duration};

use mp_manager::{Manager, Result};
use mp_manager_proto::v1::{Holding, ObjectInfo, Waiting};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::within;

/// A process of the program `victim`; killed at the latest when this is dropped.
#[derive(Debug)]
pub struct Victim {
    process: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Victim {
    /// Starts one that connects to `address` and takes up `position`.
    ///
    /// # Panics
    /// If the program cannot be started.
    #[must_use]
    pub fn start(program: &str, address: &str, position: &str) -> Self {
        let mut process = Command::new(program)
            .args([address, position])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the victim cannot be started");
        let said = process.stdout.take().expect("its output is piped");
        Self { process, said: BufReader::new(said).lines() }
    }

    /// What it says next: it is in position.
    ///
    /// # Panics
    /// If it ends instead.
    pub async fn says(&mut self) -> String {
        let line = within(self.said.next_line()).await.expect("its output cannot be read");
        line.expect("the victim ended")
    }

    /// The most memory that it has had at a time, in bytes. `None` where the system does not say.
    #[must_use]
    pub fn peak_bytes(&self) -> Option<usize> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()?)).ok()?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: usize = peak.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kib << 10)
    }

    /// Stops it where it is, so that it takes no note of anything any more.
    ///
    /// # Panics
    /// If that fails.
    pub async fn freeze(&self) {
        let pid = self.signal("-STOP").await;
        // The signal takes its time to stop every thread.
        until(async || is_stopped(pid).then_some(())).await;
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// If that fails.
    pub async fn thaw(&self) {
        self.signal("-CONT").await;
    }

    async fn signal(&self, signal: &str) -> u32 {
        let pid = self.process.id().expect("it still runs");
        let sent = Command::new("kill").args([signal, &pid.to_string()]).status().await;
        assert!(sent.expect("there is no `kill`").success());
        pid
    }

    /// Kills it with SIGKILL, and waits until it is gone.
    ///
    /// # Panics
    /// If that fails.
    pub async fn kill(mut self) {
        within(self.process.kill()).await.expect("it cannot be killed");
    }
}

/// Whether every thread of a process is stopped.
fn is_stopped(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The state comes after the name, which is in brackets.
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    })
}

/// What an object looks like from outside.
///
/// # Errors
/// If there is no such object.
pub async fn look(manager: &Manager, name: &str) -> Result<ObjectInfo> {
    let mut inspection = manager.inspect(Some(name)).await?;
    Ok(inspection.objects.pop().expect("it was asked for one object"))
}

/// Waits until `n` calls wait inside an object, and says which; of very many, the first.
///
/// # Panics
/// If there is no such object.
pub async fn waiters(manager: &Manager, name: &str, n: usize) -> Vec<Waiting> {
    until(async || {
        // Who is to wait may be about to create it.
        let info = look(manager, name).await.unwrap_or_default();
        let count =
            info.waiters.len() + usize::try_from(info.more_waiters).expect("they are counted");
        (count == n).then_some(info.waiters)
    })
    .await
}

/// Who holds an object.
///
/// # Panics
/// If there is no such object, or not exactly one holder.
pub async fn holder(manager: &Manager, name: &str) -> Holding {
    let mut holders = look(manager, name).await.expect("there is such an object").holders;
    assert_eq!(holders.len(), 1, "{holders:?}");
    holders.remove(0)
}

/// Asks again and again until there is an answer.
pub async fn until<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    within(async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            // Only so as not to be in the way of what is waited for.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
}
