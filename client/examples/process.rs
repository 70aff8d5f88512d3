//! Processes that run functions of this program: start, join, exit code.
//!
//! ```text
//! 10! = 3628800
//! 5! = 120
//! unlucky ended with exit code 101: panicked at client/examples/process.rs:…: out of luck
//! ```

use mp_manager::{Manager, Process, Queue, Result, process::Outcome, task};

/// The result goes through the queue; what a task of a process returns is dropped.
#[task]
async fn factorial(n: u64, results: Queue<(u64, u64)>) -> Result<()> {
    results.put((n, (1..=n).product())).await
}

#[task]
fn be_unlucky() {
    panic!("out of luck");
}

#[mp_manager::main]
async fn main() -> Result<()> {
    let manager = Manager::start().await?;
    let results = manager.queue("results").await?;
    for n in [10, 5] {
        let process = Process::new(factorial, (n, results.clone())).start().await?;
        let (n, product) = results.get().await?;
        println!("{n}! = {product}");
        process.join().await?;
    }

    let process = Process::new(be_unlucky, ()).name("unlucky").start().await?;
    process.sentinel().await;
    if let Some(Outcome::Failed { failure, exit_code }) = process.outcome() {
        println!("{} ended with exit code {exit_code}: {failure}", process.name());
    }
    Ok(())
}
