//! A lock that is taken and given back.

use std::time::{Duration, Instant};

use mp_manager::{Lock, Result};

use super::{Sample, connect_many, together, warm};

/// Each connection has one caller, and all of them want the same lock.
pub(super) async fn alternate(
    address: &str,
    connections: usize,
    duration: Duration,
) -> Result<Sample> {
    let managers = connect_many(address, connections).await?;
    let mut locks = Vec::new();
    for manager in &managers {
        locks.push(manager.lock("lock").await?);
    }
    warm(duration, async |end| {
        together(locks.iter().cloned().map(|lock| alternate_until(lock, end))).await
    })
    .await
}

async fn alternate_until(lock: Lock, end: Instant) -> Result<u64> {
    let mut operations = 0;
    while Instant::now() < end {
        lock.acquire().await?.release().await?;
        operations += 1;
    }
    Ok(operations)
}
