//! A worker that is stopped for longer than its session lasts, and then goes on.

use std::{
    fs,
    path::{Path, PathBuf},
};

use mp_manager::{
    Error, Manager, Pool, Result,
    process::{self, fence},
    task,
};
use rustix::process::Signal;

use crate::common::{executor, is_gone, signal, soon, square, state, wait_until};

/// Says who executes it, waits until it may go on, and writes that into the dict `results`, and what came of that
/// into a file.
#[task(idempotent)]
async fn write_late(directory: PathBuf) -> Result<u32> {
    let pid = std::process::id();
    let results = Manager::current().await?.dict::<String, u32>("results").await?;
    let fence = fence().expect("it is a task of a pool");
    let is_first = !directory.join("first").exists();
    let me = directory.join(if is_first { "first" } else { "second" });
    fs::write(me.with_extension("new"), pid.to_string()).expect("the directory is there");
    fs::rename(me.with_extension("new"), me).expect("the directory is there");
    while is_first && !directory.join("second").exists() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let written = results.fenced(fence).insert("who", &pid).await;
    let outcome = match &written {
        Ok(_) => "written",
        Err(Error::Fenced(_)) => "fenced",
        Err(_) => "lost",
    };
    fs::write(directory.join(pid.to_string()), outcome).expect("the directory is there");
    written.map(|_| pid)
}

fn outcome(directory: &Path, pid: u32) -> Option<String> {
    fs::read_to_string(directory.join(pid.to_string())).ok()
}

#[mp_manager::test]
async fn a_worker_that_was_stopped_beyond_its_session_writes_nothing() -> Result<()> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().to_owned();
    let pool = Pool::new(2).await?;
    assert_eq!(process::fence(), None);
    let map = pool.map_async(write_late, [path.clone()]);
    let first = executor(&path.join("first")).await;
    assert!(signal(first, Signal::STOP));
    wait_until("it is stopped", || state(first) == Some('T'));
    // Its session ends with its lease, and another worker executes the task.
    let second = soon("get", map.get()).await?[0];
    assert_ne!(first, second);
    // Gone already, unless the manager was quicker than its guardian.
    signal(first, Signal::CONT);
    wait_until("it has ended", || is_gone(first) || outcome(&path, first).is_some());
    assert!(matches!(outcome(&path, first).as_deref(), None | Some("fenced")));
    let manager = pool.manager().expect("it has one");
    let results = manager.dict::<String, u32>("results").await?;
    assert_eq!(results.get("who").await?, Some(second));
    assert_eq!(soon("apply", pool.apply(square, (3,))).await?, 9);
    Ok(())
}
