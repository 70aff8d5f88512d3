//! Items that go through queues.

use std::time::{Duration, Instant};

use mp_manager::{Manager, Queue, Result};

use super::{Sample, connect, together, warm};

/// Producers, and consumers.
const PAIRS: usize = 8;
/// Items that producers may be ahead of consumers.
const ROOM: usize = 64;
/// Items of one call.
const BATCH: usize = 500;
/// Calls with batches at a time.
const BATCHES: u64 = 4;
/// Says that a producer has ended. Each consumer takes one and ends, so that nothing is left.
const LAST: u64 = u64::MAX;

pub(super) async fn produce(address: &str, duration: Duration) -> Result<Sample> {
    let (producers, consumers) = (connect(address).await?, connect(address).await?);
    let open = |manager: &Manager| manager.queue::<u64>("items").maxsize(ROOM);
    let (into, from) = (open(&producers).await?, open(&consumers).await?);
    warm(duration, async |end| {
        let producing = together((0..PAIRS).map(|_| put_until(into.clone(), end)));
        let consuming = together((0..PAIRS).map(|_| get_to_last(from.clone())));
        let (_, taken) = tokio::try_join!(producing, consuming)?;
        Ok(taken)
    })
    .await
}

async fn put_until(queue: Queue<u64>, end: Instant) -> Result<u64> {
    let mut put = 0;
    while Instant::now() < end {
        queue.put(put).await?;
        put += 1;
    }
    queue.put(LAST).await?;
    Ok(put)
}

async fn get_to_last(queue: Queue<u64>) -> Result<u64> {
    let mut taken = 0;
    while queue.get().await? != LAST {
        taken += 1;
    }
    Ok(taken)
}

pub(super) async fn hand_off(address: &str, duration: Duration) -> Result<Sample> {
    let (one, other) = (connect(address).await?, connect(address).await?);
    let there = (one.queue::<u64>("there").await?, other.queue::<u64>("there").await?);
    let back = (one.queue::<u64>("back").await?, other.queue::<u64>("back").await?);
    warm(duration, async |end| {
        let passing = together([pass_on(there.1.clone(), back.1.clone())]);
        let throwing = together([there_and_back(there.0.clone(), back.0.clone(), end)]);
        let (_, ways) = tokio::try_join!(passing, throwing)?;
        Ok(ways)
    })
    .await
}

async fn there_and_back(there: Queue<u64>, back: Queue<u64>, end: Instant) -> Result<u64> {
    let mut ways = 0;
    while Instant::now() < end {
        there.put(ways).await?;
        back.get().await?;
        ways += 2;
    }
    there.put(LAST).await?;
    Ok(ways)
}

async fn pass_on(from: Queue<u64>, to: Queue<u64>) -> Result<u64> {
    let mut passed = 0;
    loop {
        let item = from.get().await?;
        if item == LAST {
            return Ok(passed);
        }
        to.put(item).await?;
        passed += 1;
    }
}

pub(super) async fn put_many(address: &str, duration: Duration) -> Result<Sample> {
    let manager = connect(address).await?;
    let mut queues = Vec::new();
    for n in 0..BATCHES {
        queues.push(manager.queue::<u64>(format!("batches {n}")).await?);
    }
    warm(duration, async |end| {
        together(queues.iter().cloned().map(|queue| async move {
            let items: Vec<u64> = (0..BATCH as u64).collect();
            let mut operations = 0;
            while Instant::now() < end {
                queue.put_many(&items).await?;
                // As nobody else takes any, they come together.
                operations += queue.get_many(BATCH).await?.len() as u64;
            }
            Ok(operations)
        }))
        .await
    })
    .await
}
