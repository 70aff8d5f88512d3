//! The work that clients are measured at: a row of a comparison is one kind of it.

mod dict;
mod lock;
mod queue;

use std::{
    fmt,
    future::Future,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use mp_manager::{Error, Manager, Result};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

pub use dict::mixed;

/// A kind of work. What counts as an operation is said with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Row {
    /// One caller that alternates between `insert` and `get`
    OneCaller,
    /// 16 tasks on one connection, each as the one caller
    #[value(name = "tasks-16")]
    Tasks16,
    /// 256 tasks on one connection
    #[value(name = "tasks-256")]
    Tasks256,
    /// 64 connections with one caller each
    #[value(name = "connections-64")]
    Connections64,
    /// `extend` with 500 entries, four calls at a time; each entry counts
    Extend,
    /// `get_many` of 500 keys, four calls at a time; each key counts
    GetMany,
    /// `put_many` of 500 items and `get_many` of as many, four at a time; each item counts
    PutMany,
    /// Eight producers on one connection and eight consumers on another; each item counts
    Queue,
    /// One item that goes to and fro between two connections; each way counts
    HandOff,
    /// `acquire` and `release` of a lock nobody else wants; both count as one
    Lock,
    /// The same on eight connections, all of which want the lock
    ContendedLock,
}

/// How much was done.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Operations that were completed.
    pub operations: u64,
    /// How long they took.
    pub seconds: f64,
}

impl Sample {
    /// Operations per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.operations as f64 / self.seconds
    }
}

impl Row {
    /// Does the work for so long, after a fifth of that which does not count. The authkey comes from the
    /// environment.
    ///
    /// # Errors
    /// If a call fails.
    pub async fn measure(self, address: &str, duration: Duration) -> Result<Sample> {
        match self {
            Self::OneCaller => dict::mixed_on(address, 1, 1, duration).await,
            Self::Tasks16 => dict::mixed_on(address, 1, 16, duration).await,
            Self::Tasks256 => dict::mixed_on(address, 1, 256, duration).await,
            Self::Connections64 => dict::mixed_on(address, 64, 1, duration).await,
            Self::Extend => dict::extend(address, duration).await,
            Self::GetMany => dict::get_many(address, duration).await,
            Self::PutMany => queue::put_many(address, duration).await,
            Self::Queue => queue::produce(address, duration).await,
            Self::HandOff => queue::hand_off(address, duration).await,
            Self::Lock => lock::alternate(address, 1, duration).await,
            Self::ContendedLock => lock::alternate(address, 8, duration).await,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.pad(value.as_ref().map_or("", |value| value.get_name()))
    }
}

async fn connect(address: &str) -> Result<Manager> {
    Manager::builder().connect(address).await
}

async fn connect_many(address: &str, count: usize) -> Result<Vec<Manager>> {
    let mut managers = Vec::with_capacity(count);
    for _ in 0..count {
        managers.push(connect(address).await?);
    }
    Ok(managers)
}

/// Runs a round that warms up, and the one that counts. `round` is told when it has to end.
async fn warm(
    duration: Duration,
    mut round: impl AsyncFnMut(Instant) -> Result<u64>,
) -> Result<Sample> {
    round(Instant::now() + duration / 5).await?;
    let begin = Instant::now();
    let operations = round(begin + duration).await?;
    Ok(Sample { operations, seconds: begin.elapsed().as_secs_f64() })
}

/// Runs callers at the same time, each in a task; the operations of all of them.
async fn together(
    callers: impl IntoIterator<Item = impl Future<Output = Result<u64>> + Send + 'static>,
) -> Result<u64> {
    let mut tasks: JoinSet<_> = callers.into_iter().collect();
    let mut operations = 0;
    while let Some(ended) = tasks.join_next().await {
        operations += ended.map_err(|error| Error::Configuration(error.to_string()))??;
    }
    Ok(operations)
}
