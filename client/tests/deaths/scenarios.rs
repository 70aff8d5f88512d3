//! What went wrong in other projects, by their trackers.

use std::{
    env, fmt, fs,
    io::Read,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use mp_manager::{Error, Pool, Result, TaskFailure, process::Process, task};
use rustix::process::{Signal, kill_process_group};
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::common::{
    executor, failure, linger, pid, process_id, program, reaches, signal, soon, square, stay,
    wait_for_line, wait_until, with_environment,
};

#[task]
fn linger_at(x: i64, at: i64, ready: PathBuf) -> i64 {
    if x == at {
        stay(&ready);
    }
    x
}

/// cpython gh-66587, gh-96062.
#[mp_manager::test]
async fn a_busy_worker_that_is_killed_costs_one_task_and_an_idle_one_costs_none() -> Result<()> {
    let directory = tempfile::tempdir().expect("a directory");
    let ready = directory.path().join("ready");
    let pool = Pool::new(2).await?;
    let inputs: Vec<_> = (0..100).map(|x| (x, 50, ready.clone())).collect();
    let results = pool.starmap(linger_at, inputs).chunk_size(1).results().into_future();
    let results = tokio::spawn(results);
    let busy = executor(&ready).await;
    // Nothing that is done waits for what is not.
    reaches(&pool, |status| (status.queued, status.running) == (0, 1)).await?;
    signal(busy, Signal::KILL);
    let outcomes = soon("results", results).await.expect("no panic")?;
    for (x, outcome) in (0..).zip(outcomes) {
        match outcome {
            Ok(result) => assert_eq!(result, x),
            Err(TaskFailure::WorkerLost { exit_code, .. }) => {
                assert_eq!((x, exit_code), (50, Some(-9)));
            }
            Err(other) => panic!("{x}: {other}"),
        }
    }

    reaches(&pool, |status| status.workers == 2).await?;
    let idle = pool.pids()[0];
    let map = pool.map_async(square, 0..1000);
    signal(idle, Signal::KILL);
    match soon("map", map.get()).await {
        Ok(squares) => assert_eq!(squares.len(), 1000),
        // It was not idle any more.
        Err(error) => assert!(matches!(failure(&error), TaskFailure::WorkerLost { .. }), "{error}"),
    }
    reaches(&pool, |status| status.workers == 2).await?;
    let idle = pool.pids()[0];
    signal(idle, Signal::KILL);
    assert_eq!(soon("map", pool.map(square, 0..1000)).await?.len(), 1000);
    Ok(())
}

/// How often this process has executed it.
#[task]
fn uses() -> u64 {
    static USES: AtomicU64 = AtomicU64::new(0);
    USES.fetch_add(1, Ordering::Relaxed) + 1
}

/// gh-115634, celery#5120.
async fn workers_for_one_task_each_lose_nothing(tasks: usize) -> Result<()> {
    let pool = Pool::builder().processes(2).max_tasks_per_child(1).start().await?;
    let map = pool.starmap(uses, vec![(); tasks]).chunk_size(1).results();
    let outcomes = map.await?;
    assert_eq!(outcomes.len(), tasks);
    for (at, outcome) in outcomes.into_iter().enumerate() {
        assert_eq!(outcome, Ok(1), "task {at}");
    }
    Ok(())
}

#[mp_manager::test]
async fn two_hundred_workers_for_one_task_each_lose_nothing() -> Result<()> {
    soon("the map", workers_for_one_task_each_lose_nothing(200)).await
}

#[mp_manager::test]
#[ignore = "takes minutes"]
async fn ten_thousand_workers_for_one_task_each_lose_nothing() -> Result<()> {
    workers_for_one_task_each_lose_nothing(10_000).await
}

/// Is written and not always read.
#[derive(Debug, PartialEq, Serialize)]
struct Fickle(u8);

impl<'de> Deserialize<'de> for Fickle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            3 => Err(de::Error::custom("three is not read")),
            n => Ok(Self(n)),
        }
    }
}

#[derive(Debug)]
struct Textless;

impl fmt::Display for Textless {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("i have no text")
    }
}

impl std::error::Error for Textless {}

#[task]
fn odd(n: u8) -> std::result::Result<Fickle, Textless> {
    if n == 5 { Err(Textless) } else { Ok(Fickle(n)) }
}

/// gh-79492, gh-103061.
#[mp_manager::test]
async fn what_cannot_be_read_or_said_is_the_error_of_its_task() -> Result<()> {
    let pool = Pool::new(2).await?;
    for chunk_size in [1, 4, 8] {
        let map = pool.map(odd, 0..8).chunk_size(chunk_size).results();
        let outcomes = soon("results", map).await?;
        assert_eq!(outcomes.len(), 8);
        for (n, outcome) in (0..).zip(outcomes) {
            match (n, outcome) {
                (3, Err(TaskFailure::Unserialisable { message })) => {
                    assert!(message.contains("three is not read"), "{message}");
                }
                (5, Err(TaskFailure::Panicked { message, .. })) => {
                    assert_eq!(message, "i have no text");
                }
                (_, outcome) => assert_eq!(outcome, Ok(Fickle(n))),
            }
        }
    }
    assert_eq!(soon("apply", pool.apply(square, (3,))).await?, 9);
    Ok(())
}

/// gh-84291.
#[mp_manager::test]
async fn a_slow_consumer_of_an_endless_imap_holds_it_up() -> Result<()> {
    let pool = Pool::new(2).await?;
    let (send, taken) = mpsc::channel();
    let inputs = (0..).inspect(move |_| send.send(()).expect("somebody counts"));
    let mut squares = pool.imap(square, inputs).chunk_size(1);
    for x in 0..10 {
        assert_eq!(soon("next", squares.next()).await.expect("it has no end")?, x * x);
        // As slow as can be: whatever may be done is done.
        reaches(&pool, |status| (status.queued, status.running) == (0, 0)).await?;
        let ahead = taken.try_iter().count();
        assert!(ahead <= 2 * 1024 + 1, "{ahead} inputs were taken for one result");
    }
    Ok(())
}

/// Says that it begins, and fails.
#[task]
fn begin_badly(directory: PathBuf) {
    fs::write(directory.join(std::process::id().to_string()), "").expect("the directory is there");
    panic!("no disk here");
}

/// gh-87472.
#[mp_manager::test]
async fn an_initializer_that_panics_breaks_the_pool_soon() -> Result<()> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().to_owned();
    let pool = Pool::builder().processes(2).initializer(begin_badly, (path,)).start().await?;
    let error = soon("apply", pool.apply(square, (1,))).await.unwrap_err();
    assert!(matches!(error, Error::PoolBroken(_)), "{error}");
    assert!(error.to_string().contains("no disk here"), "{error}");
    soon("terminate", pool.terminate()).await?;
    soon("join", pool.join()).await?;
    let starts = fs::read_dir(directory.path()).expect("it is there").count();
    assert!((3..=6).contains(&starts), "{starts} starts of 2 workers");
    Ok(())
}

#[task]
fn two_megabytes(_: u8) -> String {
    "x".repeat(2 << 20)
}

/// gh-87129, gh-78178, pebble#147.
#[mp_manager::test]
async fn a_callback_terminates_a_pool_that_is_full_of_results_and_tasks() -> Result<()> {
    let directory = tempfile::tempdir().expect("a directory");
    let ready = directory.path().join("ready");
    let pool = Pool::new(2).await?;
    // Eight are under way, and nobody reads them.
    let mut unread = pool.imap(two_megabytes, 0..100).chunk_size(1);
    assert!(soon("next", unread.next()).await.is_some_and(|next| next.is_ok()));
    reaches(&pool, |status| (status.queued, status.running) == (0, 0)).await?;
    let lingering = pool.apply_async(linger, (ready.clone(),));
    executor(&ready).await;
    let queued: Vec<_> = (0..500).map(|x| pool.apply_async(square, (x,))).collect();
    let (send, terminated) = mpsc::channel();
    let theirs = pool.clone();
    let callback = move |_: &i64| {
        let _ = send.send(pollster::block_on(theirs.terminate()));
    };
    let called = pool.apply(square, (7,)).priority(1).callback(callback).start();
    assert_eq!(soon("get", called.get()).await?, 49);
    terminated.try_recv().expect("the callback ran")?;
    soon("join", pool.join()).await?;
    assert!(pool.pids().is_empty());
    let error = soon("get", lingering.get()).await.unwrap_err();
    assert!(matches!(error, Error::PoolClosed(_)), "{error}");
    for (x, result) in (0..).zip(queued) {
        match soon("get", result.get()).await {
            Ok(result) => assert_eq!(result, x * x),
            Err(error) => assert!(matches!(error, Error::PoolClosed(_)), "{error}"),
        }
    }
    while let Some(next) = soon("next", unread.next()).await {
        match next {
            Ok(text) => assert_eq!(text.len(), 2 << 20),
            Err(error) => assert!(matches!(error, Error::PoolClosed(_)), "{error}"),
        }
    }
    Ok(())
}

/// A program in the middle of a map.
#[mp_manager::test]
#[ignore = "a program for other tests"]
async fn map_for_ever() -> Result<()> {
    let Some(directory) = env::var_os("TMPDIR").map(PathBuf::from) else { return Ok(()) };
    let pool = Pool::new(2).await?;
    let inputs: Vec<_> = (0..100).map(|n| (directory.join(format!("ready-{n}")),)).collect();
    let map = pool.starmap_async(linger, inputs);
    while fs::read_dir(&directory).into_iter().flatten().flatten().count() < 3 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    println!("complete");
    map.get().await.map(drop)
}

/// A shell has what a script runs in its background ignore SIGINT, and what that starts would ignore it as well. A
/// handler is no child's.
fn hear_interrupts() {
    let status = fs::read_to_string("/proc/self/status").expect("it is there");
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let number = Signal::INT.as_raw();
    if mask.expect("it is a mask") & (1 << (number - 1)) != 0 {
        signal_hook::flag::register(number, Arc::default()).expect("it can be handled");
    }
}

/// pathos#114.
#[mp_manager::test]
fn a_program_that_is_interrupted_ends_without_noise_and_leaves_nobody() {
    hear_interrupts();
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = program("scenarios::map_for_ever");
    command.process_group(0).env("TMPDIR", directory.path()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    wait_for_line(&mut child, "complete");
    kill_process_group(pid(child.id()), Signal::INT).expect("it is there");
    assert_eq!(child.wait().expect("it is ours").signal(), Some(2));
    let mut said = String::new();
    // To its end: until the last of its processes has closed it.
    child.stderr.take().expect("it is piped").read_to_string(&mut said).expect("it is text");
    assert_eq!(said, "");
    let mark = directory.path().display().to_string();
    wait_until("nobody is left", || with_environment(&mark).is_empty());
}

/// Where a worker has not been started by the thread that made the pool.
#[mp_manager::test]
fn a_pool_outlives_the_thread_that_started_it() -> Result<()> {
    let start = || pollster::block_on(Pool::new(2));
    let pool = std::thread::spawn(start).join().expect("no panic")?;
    let first = pollster::block_on(pool.apply(process_id, ()).into_future())?;
    assert!(pool.pids().contains(&first));
    Ok(())
}

/// A program that a worker starts inherits the variable that makes it a child, and a stdin that does not.
#[task]
fn start_a_program() -> String {
    let mut command = program("scenarios::a_plain_program");
    let output = command.env("PLAIN_PROGRAM", "1").output().expect("it runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[mp_manager::test]
#[ignore = "a program for other tests"]
async fn a_plain_program() -> Result<()> {
    if env::var_os("PLAIN_PROGRAM").is_some() {
        let pool = Pool::new(1).await?;
        println!("nine is {}", pool.apply(square, (3,)).await?);
    }
    Ok(())
}

/// procspawn#55.
#[mp_manager::test]
async fn what_a_worker_starts_is_a_program_of_its_own() -> Result<()> {
    let pool = Pool::new(1).await?;
    let said = soon("apply", pool.apply(start_a_program, ())).await?;
    assert!(said.contains("nine is 9"), "{said}");
    Ok(())
}

#[task]
async fn start_a_process() -> Result<Option<i32>> {
    let process = Process::new(square, (2,)).start().await?;
    process.join().await?;
    Ok(process.exit_code())
}

#[mp_manager::test]
async fn a_worker_starts_processes_of_its_own() -> Result<()> {
    let pool = Pool::new(1).await?;
    assert_eq!(soon("apply", pool.apply(start_a_process, ())).await?, Some(0));
    Ok(())
}
