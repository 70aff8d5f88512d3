//! Four processes increment a counter that a lock protects.
//!
//! ```text
//! $ cargo run --example shared_state
//! 4 processes have counted to 400
//! ```

use mp_manager::{Lock, Manager, Process, Result, Value, task};

#[task]
async fn increment(counter: Value<u64>, lock: Lock) -> Result<()> {
    for _ in 0..100 {
        let _guard = lock.acquire().await?; // also released if this process is killed
        let n = counter.get().await?;
        counter.set(n + 1).await?;
    }
    Ok(())
}

#[mp_manager::main]
async fn main() -> Result<()> {
    let manager = Manager::start().await?;
    let (counter, lock) = (manager.value("counter", &0).await?, manager.lock("lock").await?);
    let mut processes = Vec::new();
    for _ in 0..4 {
        processes.push(Process::new(increment, (counter.clone(), lock.clone())).start().await?);
    }
    for process in processes {
        process.join().await?;
    }
    println!("4 processes have counted to {}", counter.get().await?);
    Ok(())
}
