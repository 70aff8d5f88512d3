//! A pool of two local workers.

use std::{io, time::Instant};

use mp_manager::{Pool, task};

use super::{Client, Sample, finish, wait_for_start};
use crate::error;

/// Worker processes of each side.
pub(crate) const WORKERS: usize = 2;

/// How tasks are given to the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PoolWork {
    Apply,
    ApplyAsync,
    Chunk1,
    Auto,
}

#[task]
fn square(x: i64) -> i64 {
    x * x
}

pub(super) async fn measure(client: &Client, work: PoolWork) -> io::Result<()> {
    let pool = Pool::new(WORKERS).await.map_err(error)?;
    // Until the workers are there.
    pool.map(square, 0..1000).chunk_size(1).await.map_err(error)?;
    wait_for_start()?;
    let tasks = i64::try_from(client.count).map_err(error)?;
    let began = Instant::now();
    match work {
        PoolWork::Apply => {
            for x in 0..tasks {
                pool.apply(square, (x,)).await.map_err(error)?;
            }
        }
        PoolWork::ApplyAsync => {
            let all: Vec<_> = (0..tasks).map(|x| pool.apply_async(square, (x,))).collect();
            for result in all {
                result.get().await.map_err(error)?;
            }
        }
        PoolWork::Chunk1 => {
            drop(pool.map(square, 0..tasks).chunk_size(1).await.map_err(error)?);
        }
        PoolWork::Auto => drop(pool.map(square, 0..tasks).await.map_err(error)?),
    }
    let seconds = began.elapsed().as_secs_f64();
    let (operations, all) = (client.count, client.count);
    finish(&Sample { operations, all, seconds, p50: None, bytes: None })?;
    pool.close().await.map_err(error)?;
    pool.join().await.map_err(error)
}
