//! Operations per second of many tasks on one connection, half `get`, half `insert`.
//!
//! `cargo run --profile dist -p mp-manager-bench --bin throughput`

use std::time::{Duration, Instant};

use clap::Parser;
use mp_manager::{Dict, Manager, Result};
use mp_manager_bench::{statistics::median, work::mixed};

/// Measures a dict's throughput over one connection.
#[derive(Parser)]
struct Arguments {
    /// A running manager; without one, an embedded manager is started.
    #[arg(long)]
    address: Option<String>,
    /// Concurrent tasks, each with one call in flight.
    #[arg(long, default_value_t = 256)]
    tasks: u64,
    /// How long one round measures, in seconds.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Rounds; the median is printed last.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Worker threads of the client; 1 leaves the other core to the server.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime = if arguments.threads == 1 {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    } else {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(arguments.threads)
            .enable_all()
            .build()
    };
    match runtime {
        Ok(runtime) => runtime.block_on(measure(arguments)),
        Err(error) => Err(mp_manager::Error::Configuration(error.to_string())),
    }
}

async fn measure(arguments: Arguments) -> Result<()> {
    let manager = match &arguments.address {
        Some(address) => Manager::builder().connect(address).await?,
        None => Manager::start().await?,
    };
    let dict = manager.dict::<u64, String>("throughput").await?;
    let mut rates = Vec::new();
    for round in 1..=arguments.rounds {
        let rate = self::round(&dict, &arguments).await?;
        println!("round {round}: {rate:.0} operations/s");
        rates.push(rate);
    }
    println!("median: {:.0} operations/s", median(rates));
    manager.delete("throughput").await?;
    manager.close().await
}

async fn round(dict: &Dict<u64, String>, arguments: &Arguments) -> Result<f64> {
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(arguments.seconds);
    let tasks: Vec<_> =
        (0..arguments.tasks).map(|task| tokio::spawn(mixed(dict.clone(), task, end))).collect();
    let mut operations = 0;
    for task in tasks {
        operations += match task.await {
            Ok(done) => done?,
            Err(error) => return Err(mp_manager::Error::Configuration(error.to_string())),
        };
    }
    Ok(operations as f64 / start.elapsed().as_secs_f64())
}
