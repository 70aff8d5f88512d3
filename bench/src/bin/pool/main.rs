//! Compares a pool of processes with CPython's `multiprocessing.Pool`: the same work, in turns.
//!
//! ```sh
//! cargo run --release -p mp-manager-bench --bin pool
//! ```

use std::{
    io,
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use clap::Parser;
use mp_manager::{Pool, Result, task};

/// The program of the other side.
const PYTHON: &str = include_str!("pool.py");

/// Compares a pool of processes with CPython's, in tasks per second
#[derive(Debug, Clone, Parser)]
struct Options {
    /// How often each side is measured
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Worker processes of each side
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// By how much the work is divided, for a quick look
    #[arg(long, default_value_t = 1)]
    divide: u32,
}

/// A kind of work, and what it is to be as a multiple of CPython's.
struct Row {
    name: &'static str,
    tasks: u32,
    wanted: f64,
}

const ROWS: [Row; 4] = [
    Row { name: "map of 10^6", tasks: 1_000_000, wanted: 1.5 },
    Row { name: "map with chunk size 1", tasks: 100_000, wanted: 2.5 },
    Row { name: "apply_async", tasks: 50_000, wanted: 2.5 },
    Row { name: "apply one at a time", tasks: 10_000, wanted: 1.1 },
];

#[task]
fn square(x: i64) -> i64 {
    x * x
}

#[mp_manager::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    match compare(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pool: {error}");
            ExitCode::from(2)
        }
    }
}

async fn compare(options: &Options) -> io::Result<()> {
    let mut samples: Vec<[Vec<f64>; 2]> = vec![Default::default(); ROWS.len()];
    for round in 0..options.rounds {
        for side in [round % 2, 1 - round % 2] {
            let rates = match side {
                0 => ours(options).await.map_err(io::Error::other)?,
                _ => python(options)?,
            };
            for (row, rate) in samples.iter_mut().zip(rates) {
                row[side].push(rate);
            }
        }
    }
    println!(
        "{:<24} {:>12} {:>12} {:>7} {:>7}",
        "tasks per second", "ours", "CPython", "ratio", "wanted"
    );
    for (row, sides) in ROWS.iter().zip(samples) {
        let [ours, theirs] = sides.map(median);
        let ratio = ours / theirs;
        println!("{:<24} {ours:>12.0} {theirs:>12.0} {ratio:>7.2} {:>7.2}", row.name, row.wanted);
    }
    Ok(())
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}

async fn ours(options: &Options) -> Result<Vec<f64>> {
    let pool = Pool::new(options.workers).await?;
    // Until the workers are there.
    pool.map(square, 0..1000).chunk_size(1).await?;
    let mut rates = Vec::new();
    for (at, row) in ROWS.iter().enumerate() {
        let tasks = i64::from(row.tasks / options.divide);
        let began = Instant::now();
        match at {
            0 => drop(pool.map(square, 0..tasks).await?),
            1 => drop(pool.map(square, 0..tasks).chunk_size(1).await?),
            2 => {
                let all: Vec<_> = (0..tasks).map(|x| pool.apply_async(square, (x,))).collect();
                for result in all {
                    result.get().await?;
                }
            }
            _ => {
                for x in 0..tasks {
                    pool.apply(square, (x,)).await?;
                }
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "there are fewer tasks than that")]
        rates.push(tasks as f64 / began.elapsed().as_secs_f64());
    }
    pool.close().await?;
    pool.join().await?;
    Ok(rates)
}

fn python(options: &Options) -> io::Result<Vec<f64>> {
    let tasks = ROWS.iter().map(|row| (row.tasks / options.divide).to_string());
    let output = Command::new("python3")
        .args(["-c", PYTHON, &options.workers.to_string()])
        .args(tasks)
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let rates: Vec<f64> = text.split_whitespace().filter_map(|rate| rate.parse().ok()).collect();
    if rates.len() == ROWS.len() {
        Ok(rates)
    } else {
        Err(io::Error::other(format!("python3 said {text:?}")))
    }
}
