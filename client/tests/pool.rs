//! Pools of processes and of threads, and what becomes of tasks when workers die.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use mp_manager::{
    Error, Fence, Manager, Pool, Result, TaskFailure,
    process::{self, fence},
    task,
};

const PATIENCE: Duration = Duration::from_secs(30);

#[task]
fn square(x: i64) -> i64 {
    x * x
}

#[task]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[task]
async fn square_later(x: i64) -> i64 {
    tokio::task::yield_now().await;
    x * x
}

#[task]
fn worker_id() -> u32 {
    std::process::id()
}

#[task]
fn even(x: i64) -> Result<i64, String> {
    match x % 2 {
        0 => Ok(x),
        _ if x == 5 => panic!("five is right out"),
        _ => Err(format!("{x} is odd")),
    }
}

/// Waits for ever, and says so first.
#[task]
fn linger(ready: PathBuf) {
    fs::write(ready, std::process::id().to_string()).expect("the directory is there");
    loop {
        std::thread::park();
    }
}

/// As [`linger`], unless somebody has lingered there before.
#[task(idempotent)]
fn linger_once(ready: PathBuf, x: i64) -> i64 {
    if !ready.exists() {
        fs::write(ready, std::process::id().to_string()).expect("the directory is there");
        loop {
            std::thread::park();
        }
    }
    x
}

#[task(idempotent)]
fn crash_at(x: i64, at: i64) -> i64 {
    if x == at {
        std::process::abort();
    }
    x
}

#[task]
fn leave(code: i32) {
    std::process::exit(code);
}

#[task]
fn refuse_to_start() -> Result<(), String> {
    Err("no disk here".into())
}

#[task]
fn note_start(directory: PathBuf) {
    fs::write(directory.join(std::process::id().to_string()), "").expect("the directory is there");
}

/// Writes under its fence, and says which that was.
#[task]
async fn write_fenced(x: i64) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let fence = fence().ok_or("it has no fence")?;
    let results = Manager::current().await?.dict::<i64, i64>("results").await?;
    results.fenced(fence).insert(&x, x * x).await?;
    Ok(fence.to_string())
}

#[task]
async fn count(n: i64) -> Result<i64> {
    let counter = Manager::current().await?.value("counter", &0_i64).await?;
    counter.add(&n).await
}

async fn soon<T>(what: &str, future: impl IntoFuture<Output = T>) -> T {
    let Ok(result) = tokio::time::timeout(PATIENCE, future.into_future()).await else {
        panic!("{what} took more than {PATIENCE:?}")
    };
    result
}

/// Waits until a task has said who executes it.
async fn executor(ready: &Path) -> u32 {
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

fn kill(pid: u32, signal: &str) {
    let killed =
        Command::new("kill").args([signal, &pid.to_string()]).stderr(Stdio::null()).status();
    assert!(killed.expect("there is a kill").success());
}

fn failure(error: &Error) -> &TaskFailure {
    match error {
        Error::TaskFailed(failed) => failed.failure(),
        other => panic!("{other}"),
    }
}

#[mp_manager::test]
async fn a_map_has_its_results_in_order() -> Result<()> {
    for pool in [Pool::new(2).await?, Pool::threads(2)?] {
        let squares = soon("map", pool.map(square, 0..1000)).await?;
        assert!(squares.iter().copied().eq((0..1000).map(|x| x * x)), "{pool:?}");
        assert_eq!(soon("starmap", pool.starmap(add, [(1, 2), (3, 4)])).await?, [3, 7]);
        assert_eq!(soon("apply", pool.apply(square_later, (7,))).await?, 49);
        assert_eq!(soon("map", pool.map(square_later, [1, 2]).chunk_size(1)).await?, [1, 4]);
        assert!(soon("map", pool.map(square, [])).await?.is_empty());
        let result = pool.map_async(square, 0..10);
        soon("wait", result.wait()).await;
        assert_eq!((result.ready(), result.successful()), (true, Some(true)));
        assert_eq!(result.get().await?[9], 81);
        soon("close", pool.close()).await?;
        assert!(matches!(pool.apply(square, (1,)).await, Err(Error::PoolClosed(_))));
        soon("join", pool.join()).await?;
    }
    Ok(())
}

#[mp_manager::test]
async fn an_error_names_its_input_and_the_others_are_told_apart() -> Result<()> {
    for pool in [Pool::new(2).await?, Pool::threads(2)?] {
        let error = soon("map", pool.map(even, [0, 2, 3, 4]).chunk_size(1)).await.unwrap_err();
        let Error::TaskFailed(failed) = &error else { panic!("{error}") };
        assert_eq!(failed.index(), 2);
        assert!(failed.succeeded() <= 3, "{error}");
        assert!(error.to_string().contains("3 is odd"), "{error}");

        let outcomes = soon("results", pool.map(even, 4..8).results()).await?;
        assert_eq!((&outcomes[0], &outcomes[2]), (&Ok(4), &Ok(6)));
        let Err(TaskFailure::Panicked { message, location }) = &outcomes[1] else { panic!() };
        assert_eq!(message, "five is right out");
        assert!(location.contains("pool.rs:"), "{location}");
        assert_eq!(outcomes[3], Err(TaskFailure::Failed { chain: vec!["7 is odd".into()] }));
    }
    Ok(())
}

#[mp_manager::test]
async fn an_endless_iterator_is_read_as_far_as_its_results_are() -> Result<()> {
    let pool = Pool::new(2).await?;
    let (send, taken) = std::sync::mpsc::channel();
    let inputs = (0..).inspect(move |_| {
        let _ = send.send(());
    });
    let mut squares = pool.imap(square, inputs);
    for x in 0..10_i64 {
        assert_eq!(soon("next", squares.next()).await.expect("it has no end")?, x * x);
    }
    drop(squares);
    let taken = taken.iter().count();
    assert!(taken < 100_000, "{taken} inputs were taken for 10 results");
    let mut unordered = pool.imap_unordered(square, 0..100);
    let mut all = Vec::new();
    while let Some(next) = soon("next", unordered.next()).await {
        all.push(next?);
    }
    all.sort_unstable();
    assert!(all.into_iter().eq((0..100).map(|x| x * x)));
    Ok(())
}

#[mp_manager::test]
async fn a_task_that_must_not_run_twice_is_lost_with_its_worker() -> Result<()> {
    let directory = tempfile::tempdir().expect("a directory");
    let ready = directory.path().join("ready");
    let pool = Pool::new(2).await?;
    let result = pool.apply_async(linger, (ready.clone(),));
    kill(executor(&ready).await, "-KILL");
    let error = soon("get", result.get()).await.unwrap_err();
    let TaskFailure::WorkerLost { exit_code, .. } = failure(&error) else { panic!("{error}") };
    assert_eq!(*exit_code, Some(-9));
    assert!(error.to_string().contains("signal 9"), "{error}");
    // Another worker has taken its place.
    assert_eq!(soon("map", pool.map(square, 0..10)).await?[9], 81);
    Ok(())
}

#[mp_manager::test]
async fn an_idle_worker_dies_without_a_trace() -> Result<()> {
    let pool = Pool::new(2).await?;
    soon("map", pool.map(square, 0..10)).await?;
    for pid in pool.pids() {
        kill(pid, "-KILL");
    }
    assert_eq!(soon("map", pool.map(square, 0..100)).await?.len(), 100);
    Ok(())
}

#[mp_manager::test]
async fn an_idempotent_task_runs_again() -> Result<()> {
    let directory = tempfile::tempdir().expect("a directory");
    let ready = directory.path().join("ready");
    let pool = Pool::new(2).await?;
    let inputs: Vec<_> = (0..20).map(|x| (ready.clone(), x)).collect();
    let result = pool.starmap_async(linger_once, inputs);
    kill(executor(&ready).await, "-KILL");
    assert!(soon("get", result.get()).await?.into_iter().eq(0..20));
    Ok(())
}

#[mp_manager::test]
async fn one_poisonous_task_among_a_thousand_is_set_aside() -> Result<()> {
    let pool = Pool::new(2).await?;
    let inputs: Vec<_> = (0..1000).map(|x| (x, 500)).collect();
    let outcomes = soon("results", pool.starmap(crash_at, inputs).results()).await?;
    for (x, outcome) in (0..).zip(outcomes) {
        match outcome {
            Ok(result) => assert_eq!(result, x),
            Err(TaskFailure::Poisonous { exit_code, .. }) => {
                assert_eq!((x, exit_code), (500, Some(-6)));
            }
            Err(other) => panic!("{x}: {other}"),
        }
    }
    Ok(())
}

#[mp_manager::test]
async fn a_worker_that_exits_is_named_with_its_exit_code() -> Result<()> {
    let pool = Pool::new(2).await?;
    let error = soon("apply", pool.apply(leave, (3,))).await.unwrap_err();
    let TaskFailure::WorkerLost { exit_code, .. } = failure(&error) else { panic!("{error}") };
    assert_eq!(*exit_code, Some(3));
    Ok(())
}

#[mp_manager::test]
async fn a_worker_ends_after_as_many_tasks_as_it_may() -> Result<()> {
    let pool = Pool::builder().processes(2).max_tasks_per_child(1).start().await?;
    let all = soon("map", pool.starmap(worker_id, vec![(); 20]).chunk_size(1)).await?;
    let mut pids = all.clone();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 20, "{all:?}");
    Ok(())
}

#[mp_manager::test]
async fn an_initializer_that_fails_breaks_the_pool() -> Result<()> {
    let pool = Pool::builder().processes(2).initializer(refuse_to_start, ()).start().await?;
    let error = soon("apply", pool.apply(square, (1,))).await.unwrap_err();
    assert!(matches!(error, Error::PoolBroken(_)), "{error}");
    assert!(error.to_string().contains("no disk here"), "{error}");
    Ok(())
}

#[mp_manager::test]
async fn an_initializer_runs_in_each_worker() -> Result<()> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().to_owned();
    let pool = Pool::builder().processes(2).initializer(note_start, (path,)).start().await?;
    let pid = soon("apply", pool.apply(worker_id, ())).await?;
    assert!(directory.path().join(pid.to_string()).exists());
    Ok(())
}

#[mp_manager::test]
async fn a_task_that_takes_too_long_is_ended() -> Result<()> {
    let directory = tempfile::tempdir().expect("a directory");
    let ready = directory.path().join("ready");
    let pool = Pool::new(1).await?;
    let late = pool.apply(linger, (ready,)).timeout(Duration::from_millis(100));
    let error = soon("apply", late).await.unwrap_err();
    assert!(matches!(failure(&error), TaskFailure::TimedOut { after_ms: 100 }), "{error}");
    assert_eq!(soon("apply", pool.apply(square, (3,))).await?, 9);
    Ok(())
}

#[mp_manager::test]
async fn what_waits_behind_a_long_task_goes_to_others() -> Result<()> {
    let directory = tempfile::tempdir().expect("a directory");
    let ready = directory.path().join("ready");
    let pool = Pool::new(2).await?;
    // All in one chunk: the first one lingers, and the second worker does the others.
    let inputs: Vec<_> = (0..20).map(|x| (ready.clone(), x)).collect();
    let mut results = pool.starmap(linger_once, inputs).chunk_size(20).start();
    let pid = executor(&ready).await;
    let status = async {
        while pool.status().await?.running != 1 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok::<_, Error>(())
    };
    soon("status", status).await?;
    assert!(results.get_timeout(Duration::ZERO).await?.is_none());
    kill(pid, "-KILL");
    assert!(soon("get", results.get()).await?.into_iter().eq(0..20));
    Ok(())
}

#[mp_manager::test]
async fn a_task_finds_its_manager_and_its_fence() -> Result<()> {
    let pool = Pool::new(2).await?;
    soon("map", pool.map(count, 1..=10)).await?;
    let manager = pool.manager().expect("it has one");
    assert_eq!(manager.value("counter", &0_i64).await?.get().await?, 55);
    assert_eq!(process::fence(), None);

    let fence: Fence = soon("apply", pool.apply(write_fenced, (3,))).await?.parse()?;
    let results = manager.dict::<i64, i64>("results").await?;
    assert_eq!(results.get(&3).await?, Some(9));
    // The task is over.
    let late = results.fenced(fence).insert(&3, 0).await;
    assert!(matches!(late, Err(Error::Fenced(_))), "{late:?}");
    Ok(())
}

#[mp_manager::test]
async fn terminating_it_ends_what_is_under_way() -> Result<()> {
    let directory = tempfile::tempdir().expect("a directory");
    let ready = directory.path().join("ready");
    let pool = Pool::new(1).await?;
    let (running, queued) =
        (pool.apply_async(linger, (ready.clone(),)), pool.apply_async(square, (1,)));
    executor(&ready).await;
    soon("terminate", pool.terminate()).await?;
    for error in [running.get().await.unwrap_err(), queued.get().await.map(drop).unwrap_err()] {
        assert!(matches!(error, Error::PoolClosed(_)), "{error}");
    }
    soon("join", pool.join()).await?;
    assert!(pool.pids().is_empty());
    Ok(())
}

#[mp_manager::test]
async fn a_pool_is_opened_by_its_name() -> Result<()> {
    let manager = Manager::start().await?;
    let pool = Pool::builder().processes(2).manager(&manager).name("crunch").start().await?;
    let other = Pool::open(&manager, "crunch").await?;
    assert_eq!(soon("map", other.map(square, 0..10)).await?[3], 9);
    // It is there as long as its manager, with whatever workers others have for it.
    drop(pool);
    let pool = Pool::builder().processes(1).manager(&manager).name("crunch").start().await?;
    assert_eq!(soon("map", other.map(square, 0..10)).await?[4], 16);
    drop(pool);
    Ok(())
}

#[mp_manager::test]
async fn results_outlive_the_handle_of_their_pool() -> Result<()> {
    let pool = Pool::new(2).await?;
    let mut squares = pool.imap(square, 0..1000);
    let cubes = pool.map_async(square, 0..1000);
    drop(pool);
    for x in 0..1000 {
        assert_eq!(soon("next", squares.next()).await.expect("there are more")?, x * x);
    }
    assert_eq!(soon("get", cubes.get()).await?.len(), 1000);
    Ok(())
}

#[mp_manager::test]
async fn a_pool_without_a_name_leaves_nothing_behind() -> Result<()> {
    let manager = Manager::start().await?;
    let pool = Pool::builder().processes(1).manager(&manager).start().await?;
    assert_eq!(soon("apply", pool.apply(square, (2,))).await?, 4);
    assert_eq!(manager.statistics().await?.named_objects, 1);
    drop(pool);
    let gone = async {
        while manager.statistics().await?.named_objects != 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok::<_, Error>(())
    };
    soon("statistics", gone).await
}

#[mp_manager::test]
async fn cancelling_a_map_takes_back_what_nobody_has_started() -> Result<()> {
    let directory = tempfile::tempdir().expect("a directory");
    let ready = directory.path().join("ready");
    let pool = Pool::new(1).await?;
    let running = pool.apply_async(linger, (ready.clone(),));
    executor(&ready).await;
    let queued = pool.map_async(square, 0..1000);
    queued.cancel();
    let error = soon("get", queued.get()).await.unwrap_err();
    assert!(matches!(error, Error::Cancelled(_)), "{error}");
    let empty = async {
        while pool.status().await?.queued != 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok::<_, Error>(())
    };
    soon("status", empty).await?;
    running.cancel();
    Ok(())
}

#[mp_manager::test]
async fn random_kills_lose_nothing_of_an_idempotent_map() -> Result<()> {
    let pool = Pool::new(4).await?;
    let inputs: Vec<(u64, u64)> = (0..4000).map(|x| (x, 500)).collect();
    let result = pool.starmap_async(work_for, inputs);
    let mut kills = 0;
    let began = Instant::now();
    while !result.ready() {
        assert!(began.elapsed() < 2 * PATIENCE, "it never ends");
        tokio::time::sleep(Duration::from_millis(50)).await;
        let pids = pool.pids();
        if let Some(pid) = pids.get(kills % pids.len().max(1)) {
            let killed = Command::new("kill")
                .args(["-KILL", &pid.to_string()])
                .stderr(Stdio::null())
                .status();
            kills += usize::from(killed.is_ok_and(|status| status.success()));
        }
    }
    assert!(result.get().await?.into_iter().eq(0..4000));
    assert!(kills > 3, "only {kills} were killed");
    Ok(())
}

#[task(idempotent, attempts = 10)]
fn work_for(x: u64, us: u64) -> u64 {
    std::thread::sleep(Duration::from_micros(us));
    x
}
