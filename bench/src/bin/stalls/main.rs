//! Measures how long a bystander's pings take while another client runs long operations.
//!
//! ```sh
//! cargo build --release -p mp-manager-cli -p mp-manager-bench
//! target/release/stalls
//! ```
//!
//! Another process pings the daemon all the time, over a connection of its own. Each row is an operation: how
//! long it took, how often the bystander was answered meanwhile, and how long its pings took.

mod bystander;
mod rows;

use std::{io, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use mp_manager_bench::daemon::{Daemon, Transport};

use bystander::Bystander;
use rows::ROWS;

/// Has a daemon do what takes long, and measures how long a bystander's pings take meanwhile.
///
/// The exit code is 1 if one of them took longer than `--at-most`.
#[derive(Parser)]
struct Arguments {
    /// Only the rows with this in their names; may be given several times.
    #[arg(long)]
    only: Vec<String>,
    /// The daemon's program; by default the one beside this program.
    #[arg(long)]
    daemon: Option<PathBuf>,
    /// How long a ping may take, in milliseconds.
    #[arg(long)]
    at_most: Option<f64>,
    /// Everything in a tenth of its size.
    #[arg(long)]
    quick: bool,
    /// Is the bystander of the daemon at this address.
    #[arg(long, hide = true)]
    bystander: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.bystander {
        Some(address) => bystander::be_one(address).map(|()| true),
        None => {
            tokio::runtime::Runtime::new().and_then(|runtime| runtime.block_on(run(&arguments)))
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("stalls: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether all pings were answered in time.
async fn run(arguments: &Arguments) -> io::Result<bool> {
    let program = match &arguments.daemon {
        Some(program) => program.clone(),
        None => std::env::current_exe()?.with_file_name("mp-manager"),
    };
    println!("{:<44}{:>10}{:>8}{:>9}{:>9}{:>9}", "", "took", "pings", "p50", "p99", "longest");
    let is_wanted = |name: &str| {
        arguments.only.is_empty() || arguments.only.iter().any(|wanted| name.contains(wanted))
    };
    let size = if arguments.quick { 10 } else { 1 };
    let mut longest = Duration::ZERO;
    for (name, row) in ROWS.iter().filter(|(name, _)| is_wanted(name)) {
        // A row's own daemon: nothing of another row is there to be dropped.
        let options = ["--max-objects", "2000000", "--metrics-address", "127.0.0.1:0"];
        let mut daemon = Daemon::start(&program, Transport::Unix, &options)?;
        let line = daemon.line()?;
        let metrics = line
            .strip_prefix("metrics on http://")
            .and_then(|rest| rest.strip_suffix("/metrics"))
            .ok_or_else(|| io::Error::other(format!("the daemon says {line:?}")))?;
        let bystander = Bystander::start(daemon.address(), metrics)?;
        let (took, pings) =
            row(daemon.address().to_owned(), size, bystander).await.map_err(io::Error::other)?;
        println!("{name:<44}{:>7.1} ms{pings}", took.as_secs_f64() * 1e3);
        longest = longest.max(pings.longest);
    }
    let is_well = arguments.at_most.is_none_or(|most| longest.as_secs_f64() * 1e3 <= most);
    println!("{:<44}{:>43.1} ms", "longest of all", longest.as_secs_f64() * 1e3);
    Ok(is_well)
}
