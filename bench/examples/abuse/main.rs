//! What hostile clients do to the others.
//!
//! ```sh
//! cargo build --release -p mp-manager-cli
//! cargo build --release -p mp-manager-bench --features abuse --example abuse
//! target/release/examples/abuse latency       # strangers: half-open connections, and wrong logins
//! target/release/examples/abuse memory        # what an unauthenticated connection costs
//! target/release/examples/abuse throughput    # hostile sessions
//! ```
//!
//! The daemon and the attackers are processes of their own. Attackers have machines of their own, too,
//! but not here: so they have what processor time the measured leave (`chrt --idle`), and what they
//! did is printed, as an attack that comes to nothing proves nothing. With `--compete` they take their
//! share from the measured. Each attack is measured a second time with another, idle daemon as its
//! target: that is what it costs the machine, and not the server's doing.

mod attack;
mod attacker;
mod kind;
mod latency;
mod measured;
mod memory;
mod processes;
mod sessions;
mod strangers;
mod throughput;

use std::io;

use clap::{Parser, Subcommand};

/// Measures what hostile clients do to the others.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// An ordinary client's latency, quiet and under attack by strangers.
    Latency(latency::Latency),
    /// The server's memory for connections that have not authenticated.
    Memory(memory::Memory),
    /// Ordinary clients' throughput, alone and among hostile sessions.
    Throughput(throughput::Throughput),
    /// Is an attacker.
    #[command(hide = true)]
    Attack(attack::Attack),
}

fn main() -> io::Result<()> {
    let command = Arguments::parse().command;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Latency(latency) => latency.measure().await,
            Command::Memory(memory) => memory.measure().await,
            Command::Throughput(throughput) => throughput.measure().await,
            Command::Attack(attack) => attack.run().await,
        }
    })
}
