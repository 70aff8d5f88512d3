//! Locks, re-entrant locks and semaphores: who may go on, and how one knows that one may no longer.

use std::time::Duration;

use mp_manager::{Manager, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let manager = Manager::start().await?;

    let lock = manager.lock("migrate").await?;
    let guard = lock.acquire().await?;
    println!("holding the lock, fencing token {}", guard.token());
    let second = lock.acquire_timeout(Duration::from_millis(10)).await?;
    println!("somebody else got it within 10 ms: {}", second.is_some());

    // Work that stops when the lock is lost: here somebody takes it away by its token.
    lock.release_token(guard.token()).await?;
    tokio::select! {
        () = guard.lost() => println!("the lock is lost: stopping"),
        () = std::future::pending() => {}
    }

    let account = manager.rlock("account").await?;
    let outer = account.acquire().await?;
    let inner = account.acquire().await?;
    println!("the same task took it {} times", account.depth().await?);
    drop((inner, outer));

    let licences = manager.semaphore("licences", 3).await?;
    let two = licences.acquire_many(2).await?;
    println!("{} taken, {} left", two.permits(), licences.available().await?);
    Ok(())
}
