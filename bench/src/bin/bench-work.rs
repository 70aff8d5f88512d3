//! One row's work as a process, so that a comparison can run the client of another build.
//!
//! It prints how much it did as one line of JSON. `compare` of any build reads that: what changes here
//! has to go on being understood.

use std::time::Duration;

use clap::Parser;
use mp_manager::{Error, Result};
use mp_manager_bench::work::Row;

/// Does one row's work at a manager, whose authkey is in the environment.
#[derive(Parser)]
struct Arguments {
    row: Row,
    /// Where the manager is
    #[arg(long)]
    address: String,
    /// How long to work, in seconds
    #[arg(long)]
    seconds: f64,
}

fn main() -> Result<()> {
    let Arguments { row, address, seconds } = Arguments::parse();
    let failed = |error: &dyn std::fmt::Display| Error::Configuration(error.to_string());
    let duration = Duration::try_from_secs_f64(seconds).map_err(|error| failed(&error))?;
    // One thread, which leaves the rest of the machine to the manager.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(&error))?;
    let sample = runtime.block_on(row.measure(&address, duration))?;
    println!("{}", serde_json::to_string(&sample).map_err(|error| failed(&error))?);
    Ok(())
}
