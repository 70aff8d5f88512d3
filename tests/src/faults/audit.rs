//! What is left when everybody has gone: looked at by a client of its own, whose calls are part of
//! the histories.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use mp_manager::{Manager, Result};
use mp_manager_core::v1::{Empty, dict_op, list_op, lock_op, queue_op, scalar_op, semaphore_op};

use super::{
    journal::{Asked, Journal, Session},
    nemesis::lock,
    record::{self, Record},
    tasks::{self, Run},
    workloads::told_popped,
    world::{MAXSIZE, Name, PERMITS, Use},
};
use crate::{AUTHKEY, linear::ops};

/// Waits until there is no other session than the one that looks.
pub(crate) async fn alone(manager: &Manager, patience: Duration) -> Result<bool> {
    let deadline = Instant::now() + patience;
    while manager.statistics().await?.sessions > 1 {
        if Instant::now() > deadline {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(true)
}

/// Looks at every object, and takes out what is in there.
pub(crate) async fn audit(address: &str, objects: &BTreeSet<Name>) -> Result<Vec<Record>> {
    let written = Buffer::default();
    let journal = Journal::new(written.clone());
    let manager = Manager::connect(address, AUTHKEY).await?;
    let session = Session::begin(&journal, &manager, 0, 1).await?;
    for &object in objects {
        look(&session, object).await?;
    }
    drop(session);
    manager.close().await?;
    Ok(record::read(&lock(&written.0)))
}

/// How often each task was executed, as they have counted it.
pub(crate) async fn executions(address: &str, runs: &[Run]) -> Result<BTreeMap<u64, u64>> {
    let manager = Manager::connect(address, AUTHKEY).await?;
    let mut all = BTreeMap::new();
    let pools: BTreeSet<&str> = runs.iter().map(|run| &*run.tasks.pool).collect();
    for pool in pools {
        let dict = manager.dict::<u64, u64>(tasks::executions_of(pool)).await?;
        all.extend(dict.items().await?);
    }
    manager.close().await?;
    Ok(all)
}

async fn look(session: &Session, object: Name) -> Result<()> {
    let (manager, name) = (&session.manager, object.to_string());
    let ask = |op| Asked { object, op, about: 0 };
    match object.used {
        Use::Counts | Use::Guarded => {
            let dict = manager.dict::<String, u64>(name).await?;
            for key in ["n", "last", "owner"] {
                let get = ask(ops::dict(dict_op::Op::Get(ops::key(key))));
                let told = |n: &Option<u64>| ops::value_or_absent(*n);
                session.call(get, dict.get(key), told).await;
            }
        }
        Use::Total => {
            let value = manager.value::<u64>(name, &0).await?;
            let get = ask(ops::scalar(scalar_op::Op::Get(Empty {})));
            session.call(get, value.get(), |n| ops::value_or_absent(Some(*n))).await;
        }
        Use::Jobs => {
            let jobs = manager.queue::<u64>(name).maxsize(MAXSIZE as usize).await?;
            while let (_, Some(Some(_))) = session
                .call(
                    ask(ops::queue(queue_op::Op::Get(Empty {}))),
                    jobs.try_get_counted(),
                    |item| ops::item_or_absent(item.map(|item| (item.value, item.deliveries))),
                )
                .await
            {}
        }
        Use::Stack => {
            let stack = manager.list::<u64>(name).await?;
            while let (_, Some(Some(_))) = session
                .call(ask(ops::list(list_op::Op::Pop(-1))), stack.pop(), |item| told_popped(*item))
                .await
            {}
        }
        Use::Lock => {
            let there = manager.lock(name).await?;
            let acquire = ask(ops::lock(lock_op::Op::Acquire(Empty {})));
            let told = |guard: &Option<mp_manager::LockGuard>| {
                ops::grant_or_absent(guard.as_ref().map(mp_manager::LockGuard::token))
            };
            let (_, guard) = session.call(acquire, there.try_acquire(), told).await;
            if !matches!(guard, Some(Some(_))) {
                session.problem(format!("{object} is held by nobody who lives"));
            }
        }
        Use::Permits => {
            let semaphore = manager.semaphore(name, PERMITS as usize).await?;
            let mut permits = Vec::new();
            loop {
                let acquire = ask(ops::semaphore(semaphore_op::Op::Acquire(1)));
                let told = |permit: &Option<mp_manager::Permit>| {
                    ops::grant_or_absent(permit.as_ref().map(mp_manager::Permit::token))
                };
                match session.call(acquire, semaphore.try_acquire(), told).await {
                    (_, Some(Some(permit))) => permits.push(permit),
                    _ => break,
                }
            }
            if permits.len() as u64 != PERMITS {
                session.problem(format!("{object} has {} permits left", permits.len()));
            }
        }
    }
    Ok(())
}

/// Bytes that are kept.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
