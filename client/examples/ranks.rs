//! Copies of one program meet at a barrier, and add up their ranks.
//!
//! ```text
//! $ cargo build -p mp-manager --example ranks
//! $ mp-manager run -n 4 -- target/debug/examples/ranks
//! [2] rank 2 of 4: the sum of all ranks is 6
//! [0] rank 0 of 4: the sum of all ranks is 6
//! [3] rank 3 of 4: the sum of all ranks is 6
//! [1] rank 1 of 4: the sum of all ranks is 6
//! ```
//!
//! `mp-manager run` starts the manager as well, or has the copies use one that is running, with `--address`. That one
//! may have objects of other runs, so that these are called after this run. Without `mp-manager run` this is a single
//! copy, with a manager of its own.

use std::env;

use mp_manager::{Manager, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let number = |variable| env::var(variable).ok()?.parse::<u64>().ok();
    let (rank, size, manager) = match (number("MP_MANAGER_RANK"), number("MP_MANAGER_SIZE")) {
        (Some(rank), Some(size)) => (rank, size, Manager::from_env().await?),
        _ => (0, 1, Manager::start().await?),
    };
    let run = env::var("MP_MANAGER_RUN").unwrap_or_default();
    let [meeting_name, sum_name] = ["meeting", "sum"].map(|name| format!("{name}-{run}"));

    let meeting = manager.barrier(&meeting_name[..], size as usize).await?;
    let sum = manager.value(&sum_name[..], &0_u64).await?;
    sum.add(&rank).await?;
    // Breaks if one of those who wait dies: then this is an error that names it.
    meeting.wait().await?;
    println!("rank {rank} of {size}: the sum of all ranks is {}", sum.get().await?);
    meeting.wait().await?;
    if rank == 0 {
        // All have read the sum, and nobody comes to this meeting again.
        manager.delete(&sum_name[..]).await?;
        manager.delete(&meeting_name[..]).await?;
    }
    Ok(())
}
