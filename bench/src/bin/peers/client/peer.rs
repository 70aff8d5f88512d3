//! The operations that a row's work consists of.

use std::{future::ready, io};

use crate::error;

/// One connection to a server, or a part of it that a task has.
///
/// A server refuses the operations that it does not have; no row asks for them.
pub(super) trait Peer: Clone + Send + Sync + 'static {
    fn connect(address: &str) -> impl Future<Output = io::Result<Self>> + Send;

    /// Writes an entry of 32 bytes.
    fn insert(&mut self, _key: u64) -> impl Future<Output = io::Result<()>> + Send {
        ready(refused("insert"))
    }

    /// Reads an entry.
    fn get(&mut self, _key: u64) -> impl Future<Output = io::Result<()>> + Send {
        ready(refused("get"))
    }

    /// Writes one value of any length, as entry 0.
    fn insert_value(&mut self, _value: &str) -> impl Future<Output = io::Result<()>> + Send {
        ready(refused("insert_value"))
    }

    fn insert_many(&mut self, _keys: &[u64]) -> impl Future<Output = io::Result<()>> + Send {
        ready(refused("insert_many"))
    }

    fn get_many(&mut self, _keys: &[u64]) -> impl Future<Output = io::Result<()>> + Send {
        ready(refused("get_many"))
    }

    /// Writes entries whose keys are of 11 bytes.
    fn fill(&mut self, _keys: &[u64]) -> impl Future<Output = io::Result<()>> + Send {
        ready(refused("fill"))
    }

    fn put(&mut self, _queue: &str, _item: u64) -> impl Future<Output = io::Result<()>> + Send {
        ready(refused("put"))
    }

    /// Waits for an item.
    fn take(&mut self, _queue: &str) -> impl Future<Output = io::Result<u64>> + Send {
        ready(refused("take"))
    }

    fn acquire(&mut self) -> impl Future<Output = io::Result<()>> + Send {
        ready(refused("acquire"))
    }

    fn release(&mut self) -> impl Future<Output = io::Result<()>> + Send {
        ready(refused("release"))
    }
}

fn refused<T>(method: &str) -> io::Result<T> {
    Err(error(format!("this server has no {method}")))
}

/// The value of every entry, on all servers.
pub(super) const VALUE: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

/// A key of 11 bytes.
pub(super) fn long_key(n: u64) -> String {
    format!("key{n:08}")
}
