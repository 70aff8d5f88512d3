//! Each way in which a worker can end in a task.

use std::{hint::black_box, path::PathBuf, time::Duration};

use mp_manager::{Pool, Result, TaskFailure, task};
use rustix::process::{Resource, Rlimit, Signal, getpid, getrlimit, kill_process, setrlimit};
use serde::{Deserialize, Serialize};

use crate::common::{failure, reaches, soon, square};

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Death {
    Killed,
    Segfault,
    Abort,
    Exit,
    OutOfMemory,
    StackOverflow,
}

impl Death {
    const ALL: [Self; 6] = [
        Self::Killed,
        Self::Segfault,
        Self::Abort,
        Self::Exit,
        Self::OutOfMemory,
        Self::StackOverflow,
    ];

    fn happen(self) {
        match self {
            Self::Killed => die_by(Signal::KILL),
            Self::Segfault => die_by(Signal::SEGV),
            Self::Abort => std::process::abort(),
            Self::Exit => std::process::exit(3),
            Self::OutOfMemory => {
                limit_memory(256 << 20);
                allocate(4 << 30);
            }
            Self::StackOverflow => {
                black_box(deeper(0));
            }
        }
    }

    fn exit_code(self) -> i32 {
        match self {
            Self::Killed => -9,
            Self::Segfault => -11,
            // Rust aborts where there is no memory, and where the stack is over.
            Self::Abort | Self::OutOfMemory | Self::StackOverflow => -6,
            Self::Exit => 3,
        }
    }
}

fn die_by(signal: Signal) -> ! {
    loop {
        // Rust's own handler of SIGSEGV takes the first one.
        kill_process(getpid(), signal).expect("it is this process");
    }
}

fn limit_memory(bytes: u64) {
    let limit = Rlimit { current: Some(bytes), ..getrlimit(Resource::As) };
    setrlimit(Resource::As, limit).expect("it is less than before");
}

fn allocate(bytes: usize) {
    black_box(vec![1_u8; bytes]);
}

#[expect(unconditional_recursion, reason = "it is to overflow the stack")]
fn deeper(n: u64) -> u64 {
    black_box([n; 512]);
    black_box(deeper(n + 1)) + 1
}

#[task]
fn die_at(x: i64, at: i64, death: Death) -> i64 {
    if x == at {
        death.happen();
    }
    x
}

#[task(idempotent)]
fn die_always(x: i64, at: i64, death: Death) -> i64 {
    die_at(x, at, death)
}

#[task(idempotent)]
fn die_once(x: i64, at: i64, death: Death, died: PathBuf) -> i64 {
    if x == at && !died.exists() {
        std::fs::write(died, "").expect("the directory is there");
        death.happen();
    }
    x
}

/// Dies when everything else is done.
#[task]
fn die_last(x: i64, at: i64, death: Death, others_are_done: PathBuf) -> i64 {
    if x == at {
        while !others_are_done.exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        death.happen();
    }
    x
}

#[mp_manager::test]
async fn a_task_that_ends_its_worker_is_lost_alone() -> Result<()> {
    let pool = Pool::new(2).await?;
    for death in Death::ALL {
        let directory = tempfile::tempdir().expect("a directory");
        let others_are_done = directory.path().join("done");
        let inputs: Vec<_> = (0..30).map(|x| (x, 10, death, others_are_done.clone())).collect();
        let map = pool.starmap(die_last, inputs).chunk_size(1).results();
        let map = tokio::spawn(map.into_future());
        reaches(&pool, |status| (status.queued, status.running) == (0, 1)).await?;
        std::fs::write(&others_are_done, "").expect("the directory is there");
        let outcomes = soon(&format!("{death:?}"), map).await.expect("no panic")?;
        assert_eq!(outcomes.len(), 30);
        for (x, outcome) in (0..).zip(outcomes) {
            match outcome {
                Ok(result) => assert_eq!(result, x),
                Err(TaskFailure::WorkerLost { exit_code, .. }) => {
                    assert_eq!((x, exit_code), (10, Some(death.exit_code())), "{death:?}");
                }
                Err(other) => panic!("{death:?}, task {x}: {other}"),
            }
        }
    }
    Ok(())
}

/// What a worker did and did not say yet is lost with it; what it had not started is executed by another.
#[mp_manager::test]
async fn a_task_that_ends_its_worker_costs_no_task_behind_it() -> Result<()> {
    for (death, chunk_size) in Death::ALL.into_iter().flat_map(|death| [(death, 1), (death, 30)]) {
        // Of tasks that it does not know yet, a worker notes each; later the short ones of a chunk once.
        let pool = Pool::new(1).await?;
        let inputs: Vec<_> = (0..30).map(|x| (x, 10, death)).collect();
        let map = pool.starmap(die_at, inputs).chunk_size(chunk_size).results();
        let outcomes = soon(&format!("{death:?}"), map).await?;
        assert_eq!(outcomes.len(), 30);
        for (x, outcome) in (0..).zip(outcomes) {
            match outcome {
                Ok(result) => assert!(result == x && x != 10, "{death:?}, task {x}"),
                Err(TaskFailure::WorkerLost { exit_code, .. }) => {
                    assert!(x <= 10 && exit_code == Some(death.exit_code()), "{death:?}, task {x}");
                }
                Err(other) => panic!("{death:?}, task {x}: {other}"),
            }
        }
    }
    Ok(())
}

#[mp_manager::test]
async fn an_idempotent_task_that_ends_its_worker_once_is_executed_again() -> Result<()> {
    let pool = Pool::new(2).await?;
    for death in Death::ALL {
        let directory = tempfile::tempdir().expect("a directory");
        let died = directory.path().join("died");
        let inputs: Vec<_> = (0..30).map(|x| (x, 10, death, died.clone())).collect();
        let all = soon(&format!("{death:?}"), pool.starmap(die_once, inputs)).await?;
        assert!(all.into_iter().eq(0..30), "{death:?}");
        assert!(died.exists());
    }
    Ok(())
}

#[mp_manager::test]
async fn an_idempotent_task_that_ends_every_worker_is_set_aside_alone() -> Result<()> {
    let pool = Pool::new(2).await?;
    for death in Death::ALL {
        let inputs: Vec<_> = (0..1000).map(|x| (x, 500, death)).collect();
        let outcomes =
            soon(&format!("{death:?}"), pool.starmap(die_always, inputs).results()).await?;
        assert_eq!(outcomes.len(), 1000);
        for (x, outcome) in (0..).zip(outcomes) {
            match outcome {
                Ok(result) => assert_eq!(result, x),
                Err(TaskFailure::Poisonous { exit_code, .. }) => {
                    assert_eq!((x, exit_code), (500, Some(death.exit_code())), "{death:?}");
                }
                Err(other) => panic!("{death:?}, task {x}: {other}"),
            }
        }
    }
    Ok(())
}

#[task]
fn panic_at(x: i64, at: i64) -> i64 {
    assert_ne!(x, at, "not this one");
    x
}

#[mp_manager::test]
async fn a_panic_costs_no_worker() -> Result<()> {
    let pool = Pool::new(1).await?;
    soon("apply", pool.apply(square, (1,))).await?;
    let before = pool.pids();
    let inputs: Vec<_> = (0..30).map(|x| (x, 10)).collect();
    let outcomes = soon("results", pool.starmap(panic_at, inputs).results()).await?;
    for (x, outcome) in (0..).zip(outcomes) {
        match outcome {
            Ok(result) => assert_eq!(result, x),
            Err(TaskFailure::Panicked { message, .. }) => {
                assert!(x == 10 && message.contains("not this one"), "task {x}: {message}");
            }
            Err(other) => panic!("task {x}: {other}"),
        }
    }
    assert_eq!(pool.pids(), before);
    Ok(())
}

#[task]
fn live_within(bytes: u64) {
    limit_memory(bytes);
}

#[task]
fn use_memory(bytes: usize) {
    allocate(bytes);
}

#[mp_manager::test]
async fn a_task_beyond_the_memory_of_its_worker_is_lost_and_the_pool_goes_on() -> Result<()> {
    let builder = Pool::builder().processes(2).initializer(live_within, (4 << 30,));
    let pool = builder.start().await?;
    for _ in 0..3 {
        soon("apply", pool.apply(use_memory, (1 << 20,))).await?;
        let error = soon("apply", pool.apply(use_memory, (8 << 30,))).await.unwrap_err();
        let TaskFailure::WorkerLost { exit_code, .. } = failure(&error) else { panic!("{error}") };
        assert_eq!(*exit_code, Some(-6));
    }
    Ok(())
}
