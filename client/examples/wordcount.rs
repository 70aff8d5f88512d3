//! Counts the words of text files with several processes that share a queue, a dict and a barrier.
//!
//! ```text
//! cargo run --release -p mp-manager --example wordcount -- [PATH…] [--workers N] [--top N]
//! ```
//!
//! Without `--address` the manager lives inside this process; with it, a running daemon is used, and
//! nothing else changes. The workers are this program again, started as other processes.

use std::{
    collections::HashMap,
    env, fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode},
    time::Duration,
};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use mp_manager::{Barrier, Dict, Error, Manager, Queue};
use serde::{Deserialize, Serialize};

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// Counts the words of text files with several processes.
#[derive(Parser)]
struct Arguments {
    /// Files, or folders to search for .md and .rs files; this repository unless given.
    paths: Vec<PathBuf>,
    /// How many of the most frequent words to print.
    #[arg(long, default_value_t = 10)]
    top: usize,
    /// How many worker processes to start.
    #[arg(long, default_value_t = 4, value_parser = positive)]
    workers: usize,
    /// A running manager to use; its authkey comes from the environment.
    #[arg(long)]
    address: Option<String>,
    /// What a worker is told by the process that started it.
    #[arg(long, hide = true)]
    worker: Option<String>,
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least one is needed".into()),
        Ok(n) => Ok(n),
        Err(error) => Err(format!("{error}")),
    }
}

/// What the processes of one run share.
struct Shared {
    jobs: Queue<PathBuf>,
    reports: Queue<Report>,
    counts: Dict<String, u64>,
    /// Everyone meets here when all files are counted.
    finish: Barrier,
}

/// What became of one file.
#[derive(Serialize, Deserialize)]
struct Report {
    path: PathBuf,
    error: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.worker {
        Some(run) => work(run, arguments.workers).await,
        None => count(&arguments).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wordcount: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Shared {
    /// Opens the objects of the run, which all its processes find by the same names.
    async fn open(manager: &Manager, run: &str, workers: usize) -> Result<Self, Error> {
        Ok(Self {
            jobs: manager.queue(format!("{run}/jobs")).await?,
            reports: manager.queue(format!("{run}/reports")).await?,
            counts: manager.dict(format!("{run}/counts")).await?,
            finish: manager.barrier(format!("{run}/finish"), workers + 1).await?,
        })
    }

    /// A daemon outlives the run: nothing of it may stay there.
    async fn delete(manager: &Manager, run: &str) -> Result<(), Error> {
        for object in manager.list_objects(&format!("{run}/")).await? {
            manager.delete(&object.name).await?;
        }
        Ok(())
    }
}

/// The parent: hands out the files, waits for the workers, prints the result.
async fn count(arguments: &Arguments) -> Result<()> {
    let manager = match &arguments.address {
        Some(address) => Manager::builder().connect(address).await?,
        None => Manager::start().await?,
    };
    let started = std::time::UNIX_EPOCH.elapsed()?.as_nanos();
    let run = format!("wordcount-{}-{started}", std::process::id());
    let counted = count_in(&manager, &run, arguments).await;
    Shared::delete(&manager, &run).await?;
    print_top(counted?, arguments.top);
    manager.close().await?;
    Ok(())
}

async fn count_in(
    manager: &Manager,
    run: &str,
    arguments: &Arguments,
) -> Result<HashMap<String, u64>> {
    let shared = Shared::open(manager, run, arguments.workers).await?;
    let files = files(&arguments.paths)?;
    shared.jobs.put_many(&files).await?;
    shared.jobs.shutdown().await?;
    let mut workers = Workers::start(manager, run, arguments.workers)?;

    let progress = ProgressBar::new(files.len() as u64);
    progress.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} files {wide_msg}")?);
    for _ in &files {
        let report = loop {
            match shared.reports.get_timeout(Duration::from_millis(500)).await? {
                Some(report) => break report,
                None => workers.check()?,
            }
        };
        if let Some(error) = report.error {
            progress.suspend(|| eprintln!("skipped {}: {error}", report.path.display()));
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    shared.finish.wait().await?;
    workers.wait()?;
    Ok(shared.counts.copy().await?)
}

/// A worker: takes files until there are none left.
async fn work(run: &str, workers: usize) -> Result<()> {
    let manager = Manager::from_env().await?;
    let shared = Shared::open(&manager, run, workers).await?;
    loop {
        let job = match shared.jobs.lease().await {
            Ok(job) => job,
            // All files are taken: that is how the parent says so.
            Err(Error::QueueShutDown(_)) => break,
            Err(error) => return Err(error.into()),
        };
        let path = PathBuf::clone(&job);
        let error = match fs::read(&path) {
            Ok(text) => {
                shared.counts.add_many(words(&String::from_utf8_lossy(&text))).await?;
                None
            }
            Err(error) => Some(error.to_string()),
        };
        // If this process dies before, another one gets the file.
        job.done().await?;
        shared.reports.put(&Report { path, error }).await?;
    }
    shared.finish.wait().await?;
    manager.close().await?;
    Ok(())
}

/// The words of a text: maximal runs of alphanumeric characters, in lower case.
fn words(text: &str) -> HashMap<String, u64> {
    let mut counts = HashMap::new();
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        *counts.entry(word.to_lowercase()).or_insert(0) += 1;
    }
    counts
}

fn print_top(counts: HashMap<String, u64>, top: usize) {
    let total: u64 = counts.values().sum();
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
    for (word, count) in counts.iter().take(top) {
        println!("{count} {word}");
    }
    println!("total: {total} words, {} different", counts.len());
}

/// The worker processes; whatever happens, none is left behind.
struct Workers(Vec<Child>);

impl Workers {
    fn start(manager: &Manager, run: &str, workers: usize) -> Result<Self> {
        let program = env::current_exe()?;
        let mut started = Self(Vec::new());
        for _ in 0..workers {
            let worker = Command::new(&program)
                .args(["--worker", run, "--workers", &workers.to_string()])
                .envs(manager.environment())
                .spawn()?;
            started.0.push(worker);
        }
        Ok(started)
    }

    /// An error if one of them has failed.
    fn check(&mut self) -> Result<()> {
        for worker in &mut self.0 {
            if let Some(status) = worker.try_wait()?.filter(|status| !status.success()) {
                return Err(format!("a worker ended early: {status}").into());
            }
        }
        Ok(())
    }

    fn wait(mut self) -> Result<()> {
        for worker in &mut self.0 {
            worker.wait()?;
        }
        self.check()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in &mut self.0 {
            // Those that have ended cannot be killed, and need not be.
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }
}

/// The files to count: those given, and what the folders given have.
fn files(paths: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for path in if paths.is_empty() { std::slice::from_ref(&repository) } else { paths } {
        if path.is_dir() {
            search(path, &mut files)?;
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn search(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" {
                search(&path, files)?;
            }
        } else if name.ends_with(".md") || name.ends_with(".rs") {
            files.push(path);
        }
    }
    Ok(())
}
