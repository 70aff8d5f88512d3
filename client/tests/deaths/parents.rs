//! Programs with pools that are killed: nobody is left, and nothing.

use std::{
    env, fs, os::unix::process::ExitStatusExt, path::PathBuf, process::Child, time::Duration,
};

use mp_manager::{Pool, Result, process::Process, task};
use rustix::process::Signal;

use crate::common::{
    is_gone, linger, program, signal, square, state, wait_for_line, wait_until, with_environment,
};

#[task(idempotent)]
fn nap(x: u64) -> u64 {
    std::thread::sleep(Duration::from_micros(x * 7919 % 3000));
    x
}

/// A program with everything: a manager, a pool, processes.
#[mp_manager::test]
#[ignore = "a program for other tests"]
async fn a_parent() -> Result<()> {
    let Some(directory) = env::var_os("PARENT").map(PathBuf::from) else { return Ok(()) };
    let pool = Pool::new(3).await?;
    let _process = Process::new(linger, (directory.join("process"),)).start().await?;
    let mut naps = pool.imap(nap, 0..);
    for x in 0..20 {
        assert_eq!(naps.next().await.expect("it has no end")?, x);
    }
    println!("complete");
    while let Some(next) = naps.next().await {
        next?;
    }
    Ok(())
}

/// A program that starts and ends in good order.
#[mp_manager::test]
#[ignore = "a program for other tests"]
async fn a_successor() -> Result<()> {
    if env::var_os("PARENT").is_none() {
        return Ok(());
    }
    let pool = Pool::new(1).await?;
    assert_eq!(pool.map(square, 0..10).await?.len(), 10);
    pool.close().await?;
    pool.join().await
}

/// Where a program has its files.
struct Home {
    temporary: tempfile::TempDir,
    elsewhere: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let directory = || tempfile::tempdir().expect("a directory");
        Self { temporary: directory(), elsewhere: directory() }
    }

    fn start(&self, test: &str) -> Child {
        let mut command = program(test);
        command.env("TMPDIR", self.temporary.path()).env("PARENT", self.elsewhere.path());
        command.spawn().expect("it starts")
    }

    fn processes(&self) -> Vec<u32> {
        with_environment(&self.temporary.path().display().to_string())
    }

    /// What is in the temporary directory.
    fn files(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.temporary.path()).expect("it is there").flatten();
        files.map(|entry| entry.path()).collect()
    }
}

fn kill(parent: &mut Child) {
    parent.kill().expect("it is ours");
    assert_eq!(parent.wait().expect("it is ours").signal(), Some(9));
}

/// In its start, in the middle of its map, and whenever else: nobody is left but zombies, and the next start
/// tidies up.
fn parents_that_are_killed_leave_nothing(rounds: u64) {
    for round in 0..rounds {
        let home = Home::new();
        let mut parent = home.start("parents::a_parent");
        if round % 3 == 2 {
            wait_for_line(&mut parent, "complete");
        }
        // At another point in every round.
        std::thread::sleep(Duration::from_micros(round * 7919 % 60_000));
        kill(&mut parent);
        wait_until("nobody is left", || home.processes().is_empty());
        let before = home.files();
        let successor = home.start("parents::a_successor").wait_with_output().expect("it is ours");
        let said = String::from_utf8_lossy(&successor.stdout);
        assert!(successor.status.success() && said.contains("1 passed"), "{said}");
        let left = home.files();
        assert_eq!(left, [] as [PathBuf; 0], "{before:?} was left before");
        assert!(home.processes().is_empty());
    }
}

#[mp_manager::test]
fn five_parents_that_are_killed_leave_nothing() {
    parents_that_are_killed_leave_nothing(5);
}

#[mp_manager::test]
#[ignore = "takes a minute"]
fn a_hundred_parents_that_are_killed_leave_nothing() {
    parents_that_are_killed_leave_nothing(100);
}

#[mp_manager::test]
fn stopped_workers_die_with_their_parent() {
    let home = Home::new();
    let mut parent = home.start("parents::a_parent");
    wait_for_line(&mut parent, "complete");
    let children: Vec<u32> =
        home.processes().into_iter().filter(|pid| *pid != parent.id()).collect();
    assert_eq!(children.len(), 4);
    children.iter().for_each(|&pid| assert!(signal(pid, Signal::STOP)));
    wait_until("all are stopped", || children.iter().all(|&pid| state(pid) == Some('T')));
    kill(&mut parent);
    wait_until("nobody is left", || children.iter().all(|&pid| is_gone(pid)));
}
