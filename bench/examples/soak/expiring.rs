//! A client process that is stopped for longer than its lease.

use std::{
    io::{self, Write},
    process::{Command, Stdio},
    time::Duration,
};

use mp_manager::{Manager, Unnamed};
use mp_manager_bench::{AUTHKEY, process::Process};
use tokio::time::{Instant, sleep};

/// The shortest that a manager grants.
const LEASE: Duration = Duration::from_secs(1);
/// By then a session has ended that was not heard of.
const LONGEST: Duration = Duration::from_secs(30);
/// What it holds, and by which others see when it does not any more.
const LOCK: &str = "held until it expires";

/// Holds something of every sort, says so, and waits until it is stopped.
pub(crate) async fn be_one(address: &str) -> io::Result<()> {
    let stay = async {
        let manager = Manager::builder().authkey(AUTHKEY).lease(LEASE).connect(address).await?;
        let lock = manager.lock(LOCK).await?.acquire().await?;
        let jobs = manager.queue::<u64>(Unnamed).await?;
        jobs.put_many(&[1, 2, 3]).await?;
        let lease = jobs.lease().await?;
        let permits = manager.semaphore(Unnamed, 3).await?.acquire_many(2).await?;
        let event = manager.event(Unnamed).await?;
        let waits = event.wait();
        let said = async {
            manager.ping().await?;
            println!("ready");
            let _ = io::stdout().flush();
            std::future::pending::<mp_manager::Result<()>>().await
        };
        let result = tokio::select! {
            result = waits => result,
            result = said => result,
        };
        drop((lock, lease, permits));
        result
    };
    stay.await.map_err(io::Error::other)
}

/// Starts one, stops it, and waits until its session is over.
pub(crate) async fn expire(address: &str) -> io::Result<()> {
    let program = std::env::current_exe()?;
    let address = address.to_owned();
    let start = move || {
        let mut client =
            Process::start(Command::new(program).args(["expire", &address]).stdin(Stdio::null()))?;
        client.line()?;
        let stopped = Command::new("kill").args(["-STOP", &client.id().to_string()]).status()?;
        if stopped.success() { Ok((client, address)) } else { Err(io::Error::other("no STOP")) }
    };
    let (client, address) =
        tokio::task::spawn_blocking(start).await.map_err(io::Error::other)??;
    wait_until_free(&address).await?;
    // Killed, which is what a process that is stopped takes note of.
    tokio::task::spawn_blocking(move || drop(client)).await.map_err(io::Error::other)
}

async fn wait_until_free(address: &str) -> io::Result<()> {
    let until = Instant::now() + LONGEST;
    let wait = async {
        let manager = Manager::connect(address, AUTHKEY).await?;
        let lock = manager.lock(LOCK).await?;
        while lock.is_locked().await? && Instant::now() < until {
            sleep(Duration::from_millis(50)).await;
        }
        let is_free = !lock.is_locked().await?;
        manager.delete(LOCK).await?;
        manager.close().await?;
        Ok::<_, mp_manager::Error>(is_free)
    };
    match wait.await.map_err(io::Error::other)? {
        true => Ok(()),
        false => Err(io::Error::other("a session of a stopped process does not end")),
    }
}
