//! Reads and writes of a dict, one by one and in batches.

use std::time::{Duration, Instant};

use mp_manager::{Dict, Result};

use super::{Sample, connect, connect_many, together, warm};

/// Keys of one caller.
const KEYS: u64 = 16;
/// Entries of one call.
const BATCH: u64 = 500;
/// Calls with batches at a time.
const BATCHES: u64 = 4;

fn value() -> String {
    "x".repeat(32)
}

/// Alternates between `insert` and `get` of the caller's own keys until `end`; how many calls that were.
///
/// # Errors
/// If a call fails.
pub async fn mixed(dict: Dict<u64, String>, caller: u64, end: Instant) -> Result<u64> {
    let value = value();
    let mut operations = 0;
    while Instant::now() < end {
        for n in 0..KEYS {
            let key = caller * KEYS + n;
            if n % 2 == 0 {
                dict.insert(&key, &value).await?;
            } else {
                dict.get(&key).await?;
            }
            operations += 1;
        }
    }
    Ok(operations)
}

pub(super) async fn mixed_on(
    address: &str,
    connections: usize,
    tasks: u64,
    duration: Duration,
) -> Result<Sample> {
    let managers = connect_many(address, connections).await?;
    let mut dicts = Vec::new();
    for manager in &managers {
        dicts.push(manager.dict::<u64, String>("mixed").await?);
    }
    let all = dicts.len() as u64 * tasks * KEYS;
    dicts[0].extend((0..all).map(|key| (key, value()))).await?;
    warm(duration, async |end| {
        let callers = dicts.iter().flat_map(|dict| (0..tasks).map(move |_| dict.clone()));
        together(callers.zip(0..).map(|(dict, caller)| mixed(dict, caller, end))).await
    })
    .await
}

pub(super) async fn extend(address: &str, duration: Duration) -> Result<Sample> {
    let manager = connect(address).await?;
    let dict = manager.dict::<u64, String>("batches").await?;
    warm(duration, async |end| {
        together((0..BATCHES).map(|caller| {
            let dict = dict.clone();
            let entries: Vec<_> = batch(caller).map(|key| (key, value())).collect();
            async move {
                let mut operations = 0;
                while Instant::now() < end {
                    dict.extend(&entries).await?;
                    operations += BATCH;
                }
                Ok(operations)
            }
        }))
        .await
    })
    .await
}

pub(super) async fn get_many(address: &str, duration: Duration) -> Result<Sample> {
    let manager = connect(address).await?;
    let dict = manager.dict::<u64, String>("batches").await?;
    dict.extend((0..BATCHES).flat_map(batch).map(|key| (key, value()))).await?;
    warm(duration, async |end| {
        together((0..BATCHES).map(|caller| {
            let dict = dict.clone();
            let keys: Vec<_> = batch(caller).collect();
            async move {
                let mut operations = 0;
                while Instant::now() < end {
                    operations += dict.get_many(&keys).await?.into_iter().flatten().count() as u64;
                }
                Ok(operations)
            }
        }))
        .await
    })
    .await
}

fn batch(caller: u64) -> std::ops::Range<u64> {
    caller * BATCH..(caller + 1) * BATCH
}
