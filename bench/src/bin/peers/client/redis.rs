//! redis-rs: a multiplexed connection, and another one for what blocks.

use std::{io, time::Duration};

use redis::{AsyncCommands, AsyncConnectionConfig, aio::MultiplexedConnection};

use super::peer::{Peer, VALUE, long_key};
use crate::error;

/// A hash, as a dict has its entries together, too.
const HASH: &str = "mixed";

#[derive(Clone)]
pub(super) struct Redis {
    connection: MultiplexedConnection,
    blocking: MultiplexedConnection,
}

impl Peer for Redis {
    async fn connect(address: &str) -> io::Result<Self> {
        let client = redis::Client::open(address).map_err(error)?;
        // A pop waits as long as it takes, and a million entries are more than the default half second.
        let config =
            AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(60)));
        let connect = || client.get_multiplexed_async_connection_with_config(&config);
        Ok(Self {
            connection: connect().await.map_err(error)?,
            blocking: connect().await.map_err(error)?,
        })
    }

    async fn insert(&mut self, key: u64) -> io::Result<()> {
        self.connection.hset::<_, _, _, ()>(HASH, key, VALUE).await.map_err(error)
    }

    async fn get(&mut self, key: u64) -> io::Result<()> {
        self.connection.hget::<_, _, String>(HASH, key).await.map(drop).map_err(error)
    }

    async fn insert_many(&mut self, keys: &[u64]) -> io::Result<()> {
        let mut pipeline = redis::pipe();
        for key in keys {
            pipeline.hset(HASH, key, VALUE).ignore();
        }
        pipeline.query_async(&mut self.connection).await.map_err(error)
    }

    async fn get_many(&mut self, keys: &[u64]) -> io::Result<()> {
        let mut pipeline = redis::pipe();
        for key in keys {
            pipeline.hget(HASH, key);
        }
        let found: Vec<String> = pipeline.query_async(&mut self.connection).await.map_err(error)?;
        if found.len() == keys.len() {
            Ok(())
        } else {
            Err(error("it does not find what it wrote"))
        }
    }

    async fn fill(&mut self, keys: &[u64]) -> io::Result<()> {
        let mut pipeline = redis::pipe();
        for &key in keys {
            pipeline.hset("strings", long_key(key), VALUE).ignore();
        }
        pipeline.query_async(&mut self.connection).await.map_err(error)
    }

    async fn put(&mut self, queue: &str, item: u64) -> io::Result<()> {
        self.connection.lpush::<_, _, ()>(queue, item).await.map_err(error)
    }

    async fn take(&mut self, queue: &str) -> io::Result<u64> {
        let popped: (String, u64) = self.blocking.brpop(queue, 0.0).await.map_err(error)?;
        Ok(popped.1)
    }
}
