//! Workers that are killed at any moment of a map.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use mp_manager::{Pool, Result, task};
use rustix::process::Signal;

use crate::common::{PATIENCE, signal, soon, state};

/// How much time is between two kills, at least.
const KILL_EVERY: Duration = Duration::from_millis(50);

/// Notes that it is in `x`, takes a while, and notes that it is in none.
#[task(idempotent, attempts = 10)]
fn work_noted((x, notes): (u64, PathBuf)) -> u64 {
    static NOTE: OnceLock<File> = OnceLock::new();
    let note = NOTE.get_or_init(|| {
        File::create(notes.join(std::process::id().to_string())).expect("the directory is there")
    });
    note.write_all_at(&(x + 1).to_le_bytes(), 0).expect("there is room");
    std::thread::sleep(Duration::from_micros(x * 7919 % 5000));
    note.write_all_at(&0_u64.to_le_bytes(), 0).expect("there is room");
    x
}

/// What a process is in the middle of.
fn started(notes: &Path, pid: u32) -> Option<u64> {
    let bytes = fs::read(notes.join(pid.to_string())).ok()?;
    u64::from_le_bytes(bytes.try_into().ok()?).checked_sub(1)
}

/// Kills a worker that is in the middle of a task: which one.
fn kill_in_a_task(pool: &Pool, notes: &Path, kills: usize) -> Option<u64> {
    let pids = pool.pids();
    let pid = *pids.get(kills % pids.len().max(1))?;
    // It cannot start or finish anything meanwhile.
    signal(pid, Signal::STOP);
    let deadline = Instant::now() + PATIENCE;
    while state(pid).is_some_and(|state| !"TZX".contains(state)) {
        assert!(Instant::now() < deadline, "it does not stop");
        std::thread::yield_now();
    }
    let hit = started(notes, pid);
    signal(pid, if hit.is_some() { Signal::KILL } else { Signal::CONT });
    hit
}

/// Kills workers while a map goes on that lasts as long as that takes.
async fn kills_lose_nothing_of_a_map(count: usize) -> Result<()> {
    let directory = tempfile::tempdir().expect("a directory");
    let notes = directory.path().to_owned();
    let pool = Pool::new(4).await?;
    let is_over = Arc::new(AtomicBool::new(false));
    let goes_on = Arc::clone(&is_over);
    let theirs = notes.clone();
    let inputs = (0..).take_while(move |_| !goes_on.load(Ordering::Relaxed));
    let mut results = pool.imap_unordered(work_noted, inputs.map(move |x| (x, theirs.clone())));
    let (killed, kills) = (pool.clone(), Arc::clone(&is_over));
    let killer = tokio::task::spawn_blocking(move || {
        let hits = kill_in_tasks(&killed, &notes, count);
        kills.store(true, Ordering::Relaxed);
        hits
    });
    let mut seen = BTreeMap::new();
    while let Some(result) = results.next().await {
        *seen.entry(result?).or_insert(0) += 1;
    }
    let hits = killer.await.expect("no panic");
    println!("{} tasks and {} kills", seen.len(), hits.len());
    assert_eq!(hits.len(), count);
    assert!(seen.keys().copied().eq(0..seen.len() as u64), "results are missing");
    assert!(seen.values().all(|&times| times == 1), "results came twice");
    assert!(hits.iter().all(|x| seen.contains_key(x)));
    Ok(())
}

/// The tasks in which workers were killed.
fn kill_in_tasks(pool: &Pool, notes: &Path, count: usize) -> Vec<u64> {
    let (mut hits, began) = (Vec::new(), Instant::now());
    while hits.len() < count {
        assert!(began.elapsed() < PATIENCE + count as u32 * KILL_EVERY, "nobody is in a task");
        match kill_in_a_task(pool, notes, hits.len()) {
            Some(hit) => {
                hits.push(hit);
                std::thread::sleep(KILL_EVERY);
            }
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    hits
}

#[mp_manager::test]
async fn twenty_kills_lose_nothing_of_an_idempotent_map() -> Result<()> {
    soon("the map", kills_lose_nothing_of_a_map(20)).await
}

#[mp_manager::test]
#[ignore = "takes a minute"]
async fn five_hundred_kills_lose_nothing_of_an_idempotent_map() -> Result<()> {
    kills_lose_nothing_of_a_map(500).await
}
