//! The blocking client: threads that share a counter under a lock.

use std::thread;

use mp_manager::{Result, blocking::Manager};

fn main() -> Result<()> {
    let manager = Manager::start()?;
    let counts = manager.dict::<String, u64>("counts").open()?;
    let lock = manager.lock("counts-lock").open()?;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    for _ in 0..25 {
                        let guard = lock.acquire()?;
                        let n = counts.get("visits")?.unwrap_or(0);
                        counts.insert("visits", n + 1)?;
                        guard.release()?;
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("it does not panic"))
    })?;
    println!("{:?}", counts.items()?);
    assert_eq!(counts.get("visits")?, Some(100));
    Ok(())
}
