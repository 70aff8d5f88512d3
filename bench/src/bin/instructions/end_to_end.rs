//! A manager and its client in one thread, over a unix socket: everything that one caller's operation
//! passes through, but for the system.

use std::{future::pending, hint::black_box, io};

use mp_manager::Manager;
use mp_manager_bench::AUTHKEY;
use mp_manager_server::{Options, Server};

/// Alternates between `insert` and `get`.
pub(crate) fn dict(times: u32) -> io::Result<()> {
    run(async |manager| {
        let dict = manager.dict::<u64, String>("dict").await?;
        let value = "x".repeat(32);
        for n in 0..times {
            let key = u64::from(n / 2 % 16);
            if n % 2 == 0 {
                dict.insert(&key, &value).await?;
            } else {
                black_box(dict.get(&key).await?);
            }
        }
        Ok(())
    })
}

/// One operation is to acquire and to release.
pub(crate) fn lock(times: u32) -> io::Result<()> {
    run(async |manager| {
        let lock = manager.lock("lock").await?;
        for _ in 0..times {
            lock.acquire().await?.release().await?;
        }
        Ok(())
    })
}

fn run(work: impl AsyncFnOnce(&Manager) -> mp_manager::Result<()>) -> io::Result<()> {
    let directory = tempfile::tempdir()?;
    let address = format!("unix:{}", directory.path().join("socket").display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listens_on = address.parse().map_err(io::Error::other)?;
        let server = Server::bind(&listens_on, Options::new(AUTHKEY)).await;
        let server = server.map_err(io::Error::other)?;
        let serving = server.run(pending());
        let working = async {
            let manager = Manager::connect(&address, AUTHKEY).await?;
            work(&manager).await
        };
        tokio::select! {
            served = serving => served.map_err(io::Error::other),
            worked = working => worked.map_err(io::Error::other),
        }
    })
}
