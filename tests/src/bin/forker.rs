//! A process that forks while it uses a manager: `forker INTERFACE ADDRESS AUTHKEY`. Its child tries to
//! use what its parent has, and drops it; neither may hurt the parent.

use std::{
    env,
    error::Error,
    path::Path,
    process::{ExitCode, exit},
    time::Duration,
};

use fork::{Fork, waitpid};
use mp_manager::{Manager, blocking};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let result = match &arguments[..] {
        [interface, address, authkey] => run(interface, address, authkey),
        _ => Err("usage: forker INTERFACE ADDRESS AUTHKEY".into()),
    };
    match result {
        Ok(()) => {
            println!("the child fails, and its parent goes on");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("process {}: {error}", std::process::id());
            ExitCode::FAILURE
        }
    }
}

fn run(interface: &str, address: &str, authkey: &str) -> Result {
    match interface {
        "current-thread" => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(with_tasks(address, authkey))
        }
        "multi-thread" => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(with_tasks(address, authkey))
        }
        "blocking" => with_threads(address, authkey),
        other => Err(format!("no such interface: {other}").into()),
    }
}

async fn with_tasks(address: &str, authkey: &str) -> Result {
    let manager = match address {
        "embedded" => Manager::start().await?,
        address => Manager::connect(address, authkey).await?,
    };
    let scores = manager.dict::<String, u64>("scores").await?;
    let jobs = manager.queue::<u64>("jobs").await?;
    let lock = manager.lock("migrate").await?;
    let guard = lock.acquire().await?;
    scores.insert("alice", &1).await?;
    let socket = manager.address().strip_prefix("unix:").map(str::to_owned);
    match fork::fork()? {
        Fork::Child => {
            let child = async {
                says_so("insert", scores.insert("bob", &2).await)?;
                says_so("ping", manager.ping().await)?;
                says_so("get", jobs.get().await)?;
                says_so("get_timeout", jobs.get_timeout(Duration::from_secs(1)).await)?;
                says_so("try_acquire", lock.try_acquire().await)?;
                says_so("open", manager.lock("other").open().await)?;
                if !guard.is_lost() {
                    return Err("the guard seems to hold in the child".into());
                }
                guard.lost().await;
                says_so("release", guard.release().await)?;
                says_so("shutdown", manager.shutdown().await)?;
                manager.clone().close().await?;
                drop((scores, jobs, lock, manager));
                Ok(())
            };
            end_child(child.await);
        }
        Fork::Parent(child) => {
            // It shares nothing with the child that waiting here could hold up.
            let ended = tokio::task::spawn_blocking(move || waitpid(child)).await??;
            check_child(ended)?;
        }
    }
    still_there(socket.as_deref())?;
    for n in 0..100 {
        scores.insert("alice", &n).await?;
    }
    jobs.put(&7).await?;
    if jobs.get().await? != 7 || guard.is_lost() || !lock.is_locked().await? {
        return Err("the parent has lost something".into());
    }
    guard.release().await?;
    manager.close().await?;
    Ok(())
}

fn with_threads(address: &str, authkey: &str) -> Result {
    let manager = match address {
        "embedded" => blocking::Manager::start()?,
        address => blocking::Manager::connect(address, authkey)?,
    };
    let scores = manager.dict::<String, u64>("scores").open()?;
    let jobs = manager.queue::<u64>("jobs").open()?;
    let lock = manager.lock("migrate").open()?;
    let guard = lock.acquire()?;
    scores.insert("alice", 1)?;
    let socket = manager.address().strip_prefix("unix:").map(str::to_owned);
    match fork::fork()? {
        Fork::Child => {
            let child = || {
                says_so("insert", scores.insert("bob", 2))?;
                says_so("ping", manager.ping())?;
                says_so("get", jobs.get())?;
                says_so("get_timeout", jobs.get_timeout(Duration::from_secs(1)))?;
                says_so("try_acquire", lock.try_acquire())?;
                says_so("open", manager.lock("other").open())?;
                if !guard.is_lost() {
                    return Err("the guard seems to hold in the child".into());
                }
                says_so("release", guard.release())?;
                says_so("shutdown", manager.shutdown())?;
                manager.clone().close()?;
                drop((scores, jobs, lock, manager));
                Ok(())
            };
            end_child(child());
        }
        Fork::Parent(child) => check_child(waitpid(child)?)?,
    }
    still_there(socket.as_deref())?;
    for n in 0..100 {
        scores.insert("alice", n)?;
    }
    jobs.put(7)?;
    if jobs.get()? != 7 || guard.is_lost() || !lock.is_locked()? {
        return Err("the parent has lost something".into());
    }
    guard.release()?;
    Ok(manager.close()?)
}

/// A call in the child is an error that says why.
fn says_so<T>(what: &str, outcome: mp_manager::Result<T>) -> Result {
    match outcome {
        Ok(_) => Err(format!("{what} succeeded in the child").into()),
        Err(error) if error.to_string().contains("fork") => Ok(()),
        Err(error) => Err(format!("{what} does not say that this is a fork: {error}").into()),
    }
}

fn end_child(result: Result) -> ! {
    if let Err(error) = &result {
        eprintln!("child: {error}");
    }
    exit(i32::from(result.is_err()))
}

fn check_child(status: i32) -> Result {
    if status == 0 { Ok(()) } else { Err(format!("the child's status is {status}").into()) }
}

/// The manager's socket is its parent's.
fn still_there(socket: Option<&str>) -> Result {
    match socket {
        Some(socket) if !Path::new(socket).exists() => Err(format!("{socket} is gone").into()),
        _ => Ok(()),
    }
}
