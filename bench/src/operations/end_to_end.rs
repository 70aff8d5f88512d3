//! A manager and its client in one thread, over a unix socket: everything that one caller's operation
//! passes through, but for the system.

use std::{future::pending, hint::black_box, io};

use mp_manager::Manager;
use mp_manager_server::{Options, Server};

use crate::AUTHKEY;

/// Elements of a call that has many.
const MANY: u32 = 64;

/// Alternates between `insert` and `get`.
pub(super) fn dict(times: u32) -> io::Result<()> {
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

/// Extends a dict and reads it, many entries in a call. One operation is one entry.
pub(super) fn dict_many(times: u32) -> io::Result<()> {
    run(async |manager| {
        let dict = manager.dict::<u32, String>("dict").await?;
        let entries: Vec<_> = (0..MANY).map(|key| (key, "x".repeat(32))).collect();
        let keys: Vec<u32> = (0..MANY).collect();
        for n in 0..times / MANY {
            if n % 2 == 0 {
                dict.extend(entries.iter().map(|(key, value)| (key, value))).await?;
            } else {
                black_box(dict.get_many(&keys).await?);
            }
        }
        Ok(())
    })
}

/// One operation is to push an element and to take one out.
pub(super) fn list(times: u32) -> io::Result<()> {
    run(async |manager| {
        let list = manager.list::<u32>("list").await?;
        for n in 0..times {
            list.push(n).await?;
            black_box(list.pop().await?);
        }
        Ok(())
    })
}

/// One operation is to add an element and to look for it.
pub(super) fn set(times: u32) -> io::Result<()> {
    run(async |manager| {
        let set = manager.set::<u32>("set").await?;
        for n in 0..times {
            set.add(&(n % 16)).await?;
            black_box(set.contains(&(n % 16)).await?);
        }
        Ok(())
    })
}

pub(super) fn value(times: u32) -> io::Result<()> {
    run(async |manager| {
        let value = manager.value("value", &0_i64).await?;
        for _ in 0..times {
            black_box(value.add(1_i64).await?);
        }
        Ok(())
    })
}

/// One operation is to put an item and to get it.
pub(super) fn queue(times: u32) -> io::Result<()> {
    run(async |manager| {
        let queue = manager.queue::<u32>("queue").await?;
        for n in 0..times {
            queue.put(n).await?;
            black_box(queue.get().await?);
        }
        Ok(())
    })
}

/// The same, many items in a call. One operation is one item.
pub(super) fn queue_many(times: u32) -> io::Result<()> {
    run(async |manager| {
        let queue = manager.queue::<u32>("queue").await?;
        for _ in 0..times / MANY {
            queue.put_many(0..MANY).await?;
            black_box(queue.get_many(MANY as usize).await?);
        }
        Ok(())
    })
}

/// One operation is to send a message and to receive it.
pub(super) fn pipe(times: u32) -> io::Result<()> {
    run(async |manager| {
        let (sender, receiver) = manager.pipe::<u32, u32>("pipe").await?.ends();
        for n in 0..times {
            sender.send(n).await?;
            black_box(receiver.receive().await?);
        }
        Ok(())
    })
}

/// One operation is to acquire and to release.
pub(super) fn rlock(times: u32) -> io::Result<()> {
    run(async |manager| {
        let lock = manager.rlock("lock").await?;
        for _ in 0..times {
            lock.acquire().await?.release().await?;
        }
        Ok(())
    })
}

/// One operation is to acquire a permit and to release it.
pub(super) fn semaphore(times: u32) -> io::Result<()> {
    run(async |manager| {
        let semaphore = manager.semaphore("semaphore", 4).await?;
        for _ in 0..times {
            semaphore.acquire().await?.release().await?;
        }
        Ok(())
    })
}

/// One operation is to wait until it is set, to set it meanwhile, and to clear it.
pub(super) fn event(times: u32) -> io::Result<()> {
    run(async |manager| {
        let event = manager.event("event").await?;
        for _ in 0..times {
            let (waited, set) = tokio::join!(event.wait(), event.set());
            waited.and(set)?;
            event.clear().await?;
        }
        Ok(())
    })
}

/// One operation is for two to meet.
pub(super) fn barrier(times: u32) -> io::Result<()> {
    run(async |manager| {
        let barrier = manager.barrier("barrier", 2).await?;
        for _ in 0..times {
            let (one, other) = tokio::join!(barrier.wait(), barrier.wait());
            black_box((one?, other?));
        }
        Ok(())
    })
}

/// One operation is to acquire and to release.
pub(super) fn lock(times: u32) -> io::Result<()> {
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
