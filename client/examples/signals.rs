//! Conditions, Events and Barriers: waiting for one another.

use mp_manager::{Manager, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let manager = Manager::start().await?;
    let ready = manager.event("ready").await?;
    let changed = manager.condition("changed").await?;
    let stock = manager.value("stock", &0_u64).await?;
    let start = manager.barrier("start", 3).await?;

    let workers: Vec<_> = (0..2)
        .map(|n| {
            let (ready, changed) = (ready.clone(), changed.clone());
            let (stock, start) = (stock.clone(), start.clone());
            tokio::spawn(async move {
                ready.wait().await?;
                let arrived = start.wait().await?;
                println!("worker {n} arrived as number {arrived}");
                // The predicate is looked at again under the lock, each time somebody notifies.
                let guard = changed.acquire().await?;
                let there_is_one = || async { Ok(stock.get().await? > 0) };
                let guard = changed.wait_for(guard, there_is_one).await?;
                let left = stock.update_with(|n| n - 1).await?;
                println!("worker {n} took one, {left} left");
                guard.release().await
            })
        })
        .collect();

    ready.set().await?;
    start.wait().await?;
    for _ in 0..2 {
        let guard = changed.acquire().await?;
        stock.add(&1).await?;
        guard.notify_one().await?;
        guard.release().await?;
    }
    for worker in workers {
        worker.await.expect("the task does not panic")?;
    }
    Ok(())
}
