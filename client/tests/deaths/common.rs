//! What all tests here use.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use mp_manager::{Error, Pool, Result, TaskFailure, process::PoolStatus, task};
use rustix::process::{Pid, Signal, kill_process};

/// Nothing takes so long, on any machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(100);

#[task]
pub(crate) fn square(x: i64) -> i64 {
    x * x
}

#[task]
pub(crate) fn process_id() -> u32 {
    std::process::id()
}

/// Says who executes it, and waits for ever.
#[task]
pub(crate) fn linger(ready: PathBuf) {
    stay(&ready);
}

/// Says that this process is here, and waits for ever.
pub(crate) fn stay(ready: &Path) -> ! {
    // In one step: whoever waits for it reads a whole number.
    let written = ready.with_extension("written");
    fs::write(&written, std::process::id().to_string()).expect("the directory is there");
    fs::rename(&written, ready).expect("the directory is there");
    loop {
        std::thread::park();
    }
}

pub(crate) async fn soon<T>(what: &str, future: impl IntoFuture<Output = T>) -> T {
    let Ok(result) = tokio::time::timeout(PATIENCE, future.into_future()).await else {
        panic!("{what} took more than {PATIENCE:?}")
    };
    result
}

/// Waits until a task has said who executes it.
pub(crate) async fn executor(ready: &Path) -> u32 {
    let wait = async {
        loop {
            match fs::read_to_string(ready).ok().and_then(|pid| pid.parse().ok()) {
                Some(pid) => return pid,
                None => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    };
    soon("the task", wait).await
}

/// Waits until a pool is as far as that.
pub(crate) async fn reaches(pool: &Pool, is_there: impl Fn(&PoolStatus) -> bool) -> Result<()> {
    let wait = async {
        while !is_there(&pool.status().await?) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    };
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(result) => result,
        Err(_) => panic!("the pool stays at {:?}", pool.status().await?),
    }
}

pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn failure(error: &Error) -> &TaskFailure {
    match error {
        Error::TaskFailed(failed) => failed.failure(),
        other => panic!("{other}"),
    }
}

pub(crate) fn pid(number: u32) -> Pid {
    i32::try_from(number).ok().and_then(Pid::from_raw).expect("it is the id of a process")
}

/// Sends a signal; whether the process is there.
pub(crate) fn signal(number: u32, signal: Signal) -> bool {
    kill_process(pid(number), signal).is_ok()
}

/// The state of a process: `None` when there is none, `Z` for a zombie.
pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

pub(crate) fn is_gone(pid: u32) -> bool {
    matches!(state(pid), None | Some('Z' | 'X'))
}

/// The processes whose environment has this text, but for zombies.
pub(crate) fn with_environment(text: &str) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("it is there").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        String::from_utf8_lossy(&environment).contains(text) && !is_gone(*pid)
    })
    .collect()
}

/// A test of this program that others run as a program of its own.
pub(crate) fn program(test: &str) -> Command {
    let exe = env::current_exe().expect("it is there");
    let mut command = Command::new(exe);
    command.args([test, "--exact", "--nocapture", "--ignored", "--test-threads=1"]);
    command.stdout(Stdio::piped());
    command
}

/// Waits until a program has said this; it may be cut off before.
pub(crate) fn wait_for_line(child: &mut Child, text: &str) {
    let stdout = child.stdout.as_mut().expect("it is piped");
    let mut lines = BufReader::new(stdout).lines().map_while(std::io::Result::ok);
    assert!(lines.any(|line| line.contains(text)), "it never said {text:?}");
}
