//! Counts the words of text files with a pool of processes.
//!
//! ```text
//! $ cargo run --release -p mp-manager --example wordcount -- [PATH…] [--workers N] [--top N]
//! 4157 the
//! …
//! total: 129563 words, 8711 different
//! ```
//!
//! Without `--address` the pool has a manager of its own, inside this process; with it, a running daemon is used, and
//! nothing else changes.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use mp_manager::{Error, Manager, Pool, task};

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
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least one is needed".into()),
        Ok(n) => Ok(n),
        Err(error) => Err(format!("{error}")),
    }
}

/// If its worker is killed, another one counts the file.
#[task(idempotent)]
fn count_words(file: PathBuf) -> io::Result<HashMap<String, u64>> {
    Ok(words(&String::from_utf8_lossy(&fs::read(file)?)))
}

#[mp_manager::main]
async fn main() -> ExitCode {
    match count(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wordcount: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn count(arguments: &Arguments) -> Result<()> {
    let files = files(&arguments.paths)?;
    let mut pool = Pool::builder().processes(arguments.workers);
    if let Some(address) = &arguments.address {
        pool = pool.manager(&Manager::builder().connect(address).await?);
    }
    let pool = pool.start().await?;
    let mut counts = HashMap::new();
    let mut counted = pool.imap_unordered(count_words, files.clone()).progress();
    while let Some(words) = counted.next().await {
        match words {
            Ok(words) => {
                words.into_iter().for_each(|(word, n)| *counts.entry(word).or_insert(0) += n)
            }
            Err(Error::TaskFailed(failed)) => {
                eprintln!("skipped {}: {}", files[failed.index()].display(), failed.failure());
            }
            Err(error) => return Err(error.into()),
        }
    }
    print_top(counts, arguments.top);
    pool.close().await?;
    Ok(pool.join().await?)
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
