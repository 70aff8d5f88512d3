//! A daemon and clients that come, go, break off and die, for as long as one likes.
//!
//! ```sh
//! cargo build --release -p mp-manager-cli
//! cargo run --release -p mp-manager-bench --features abuse --example soak -- --minutes 20
//! ```
//!
//! Once a minute all clients pause between two rounds of what they do, and the daemon is looked at: everything
//! that was in use is gone then, so its numbers have to be what they were a minute before.

mod expiring;
mod sample;
mod work;

use std::{
    io,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use clap::{Parser, Subcommand};
use mp_manager::Manager;
use mp_manager_bench::{
    AUTHKEY,
    daemon::{Daemon, Transport, built_with_this},
};
use mp_manager_tests::fault_proxy::FaultProxy;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use sample::{NUMBERS, Sample};
use work::{Soak, Work};

/// How long clients may take to come to the end of a round, and the daemon to forget them.
const PAUSE: Duration = Duration::from_secs(60);

/// Runs a daemon and many clients, and looks whether the daemon's memory, descriptors, threads, accounted
/// bytes, objects and sessions are flat from the second minute on.
///
/// A number is flat if the line that fits its samples best drifts from the first to the last by no more than
/// its tolerance, and the samples lie apart by no more than twice that. The tolerances: of the resident memory
/// 5 % or 4 MiB, whichever is more; 4 descriptors; 4 threads (those that perform long operations come and go);
/// 4 KiB of accounted bytes; none of objects and sessions.
///
/// The exit code is 1 if a number is not flat or a client met an error that it should not meet.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true, verbatim_doc_comment)]
struct Arguments {
    /// For how long.
    #[arg(long, default_value_t = 20.0)]
    minutes: f64,
    /// How many seconds pass between two samples; those of the first two do not count.
    #[arg(long, default_value_t = 60.0)]
    every: f64,
    /// Do only this; may be given several times.
    #[arg(long)]
    only: Vec<Work>,
    /// The daemon's program; by default the one that was built with this program.
    #[arg(long)]
    daemon: Option<PathBuf>,
    #[command(subcommand)]
    client: Option<Client>,
}

#[derive(Subcommand)]
enum Client {
    /// Is a client that is about to be stopped.
    #[command(hide = true)]
    Expire { address: String },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = runtime.and_then(|runtime| {
        runtime.block_on(async {
            match &arguments.client {
                Some(Client::Expire { address }) => expiring::be_one(address).await.map(|()| true),
                None => soak(&arguments).await,
            }
        })
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether all was well.
async fn soak(arguments: &Arguments) -> io::Result<bool> {
    let program = match &arguments.daemon {
        Some(program) => program.clone(),
        None => built_with_this()?,
    };
    let daemon = Daemon::start(&program, Transport::Tcp, &[])?;
    let proxy = FaultProxy::start(daemon.socket_address()?).await?;
    let observer = Manager::connect(daemon.address(), AUTHKEY).await.map_err(io::Error::other)?;
    let soak = Arc::new(Soak::new(daemon.address(), proxy));
    let works = if arguments.only.is_empty() { Work::ALL } else { &arguments.only[..] };
    // They end before the daemon does.
    let mut clients = JoinSet::new();
    for &work in works {
        clients.spawn(Arc::clone(&soak).repeat(work));
    }

    let every = Duration::from_secs_f64(arguments.every.max(0.1));
    let count = (arguments.minutes * 60.0 / every.as_secs_f64()).round().max(1.0);
    let began = Instant::now();
    println!("{}  rounds", Sample::headings());
    let mut samples = Vec::new();
    for n in 1..=count as u32 {
        sleep_until(began + every * n).await;
        let Ok(pause) = timeout(PAUSE, soak.pause()).await else {
            return Err(io::Error::other(format!(
                "clients that do not come to the end of their round in {PAUSE:?}: {:?}",
                soak.in_round()
            )));
        };
        let sample = Sample::of(&daemon, &observer, PAUSE).await?;
        println!("{sample}  {}", soak.take_rounds());
        samples.push(sample);
        drop(pause);
        if soak.has_failed.load(Ordering::Relaxed) {
            break;
        }
    }
    clients.shutdown().await;
    let mut is_well = !soak.has_failed.load(Ordering::Relaxed);
    for number in &NUMBERS {
        if let Some(why) = number.why_not_flat(samples.get(1..).unwrap_or_default()) {
            println!("{} is not flat: {why}", number.name);
            is_well = false;
        }
    }
    if is_well {
        println!("all is flat");
    }
    Ok(is_well)
}
