//! mp-manager's client.

use std::{io, sync::Arc};

use mp_manager::{Dict, Lock, LockGuard, Manager, Queue};
use tokio::sync::OnceCell;

use super::peer::{Peer, VALUE, long_key};
use crate::error;

#[derive(Clone)]
pub(super) struct Ours {
    manager: Manager,
    dict: Dict<u64, String>,
    lock: Lock,
    queues: [Queue<u64>; 2],
    /// Opened where it is needed only: nobody else is measured beside it.
    strings: Arc<OnceCell<Dict<String, String>>>,
    held: Arc<tokio::sync::Mutex<Option<LockGuard>>>,
    value: String,
}

impl Ours {
    fn queue(&self, name: &str) -> &Queue<u64> {
        &self.queues[usize::from(name != "there")]
    }
}

impl Peer for Ours {
    async fn connect(address: &str) -> io::Result<Self> {
        let manager = match address {
            "" => Manager::start().await,
            address => Manager::builder().connect(address).await,
        };
        let manager = manager.map_err(error)?;
        Ok(Self {
            dict: manager.dict("mixed").await.map_err(error)?,
            lock: manager.lock("lock").await.map_err(error)?,
            queues: [
                manager.queue("there").await.map_err(error)?,
                manager.queue("back").await.map_err(error)?,
            ],
            strings: Arc::default(),
            held: Arc::default(),
            value: VALUE.to_owned(),
            manager,
        })
    }

    async fn insert(&mut self, key: u64) -> io::Result<()> {
        self.dict.insert(&key, &self.value).await.map(drop).map_err(error)
    }

    async fn get(&mut self, key: u64) -> io::Result<()> {
        match self.dict.get(&key).await.map_err(error)? {
            Some(_) => Ok(()),
            None => Err(error("it does not find what it wrote")),
        }
    }

    async fn insert_value(&mut self, value: &str) -> io::Result<()> {
        self.dict.insert(&0, value).await.map(drop).map_err(error)
    }

    async fn insert_many(&mut self, keys: &[u64]) -> io::Result<()> {
        self.dict.extend(keys.iter().map(|key| (key, &self.value))).await.map(drop).map_err(error)
    }

    async fn get_many(&mut self, keys: &[u64]) -> io::Result<()> {
        let found = self.dict.get_many(keys).await.map_err(error)?;
        if found.iter().all(Option::is_some) {
            Ok(())
        } else {
            Err(error("it does not find what it wrote"))
        }
    }

    async fn fill(&mut self, keys: &[u64]) -> io::Result<()> {
        let open = || async { self.manager.dict("strings").await };
        let strings = self.strings.get_or_try_init(open).await.map_err(error)?;
        let entries = keys.iter().map(|&key| (long_key(key), &self.value));
        strings.extend(entries).await.map(drop).map_err(error)
    }

    async fn put(&mut self, queue: &str, item: u64) -> io::Result<()> {
        self.queue(queue).put(&item).await.map_err(error)
    }

    async fn take(&mut self, queue: &str) -> io::Result<u64> {
        self.queue(queue).get().await.map_err(error)
    }

    async fn acquire(&mut self) -> io::Result<()> {
        let guard = self.lock.acquire().await.map_err(error)?;
        *self.held.lock().await = Some(guard);
        Ok(())
    }

    async fn release(&mut self) -> io::Result<()> {
        match self.held.lock().await.take() {
            Some(guard) => guard.release().await.map_err(error),
            None => Ok(()),
        }
    }
}
