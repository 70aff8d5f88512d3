//! A map whose workers run anywhere. Alone it has two processes of its own; with a manager, and on each machine an
//! agent, those of all agents:
//!
//! ```text
//! mp-manager worker --address 10.0.0.5:7117 --pool cluster --exec ./cluster   # on each machine
//! MP_MANAGER_ADDRESS=10.0.0.5:7117 ./cluster 1000000                          # anywhere
//! ```
//!
//! It prints:
//!
//! ```text
//! of 1..=100000, 77031 takes the most steps to 1: 350
//! ```

use mp_manager::{Manager, Pool, Result, task};

/// How many steps it takes to 1: halving what is even, and tripling what is odd and adding 1.
#[task(idempotent)]
fn count_steps(start: u64) -> u32 {
    let mut n = start;
    let mut steps = 0;
    while n != 1 {
        n = if n.is_multiple_of(2) { n / 2 } else { 3 * n + 1 };
        steps += 1;
    }
    steps
}

#[mp_manager::main]
async fn main() -> Result<()> {
    let last = std::env::args().nth(1).and_then(|arg| arg.parse().ok()).unwrap_or(100_000);
    let pool = match std::env::var_os(mp_manager::ADDRESS_VARIABLE) {
        Some(_) => Pool::open(&Manager::from_env().await?, "cluster").await?,
        None => Pool::new(2).await?,
    };
    let steps = pool.map(count_steps, 1..=last).await?;
    let most = (1..=last).zip(steps).max_by_key(|(start, steps)| (*steps, last - start));
    if let Some((start, steps)) = most {
        println!("of 1..={last}, {start} takes the most steps to 1: {steps}");
    }
    Ok(())
}
