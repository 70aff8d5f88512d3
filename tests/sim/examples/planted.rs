//! Whether the simulation finds bugs: plants each of those in `planted/bugs.txt` in a copy of the
//! tree, and runs seeds until one fails. Prints the table in `planted/README.md`.
//!
//! ```text
//! cargo run --release -p mp-manager-sim --example planted -- [--seeds N] [part of a bug's name]
//! ```

use std::{
    collections::BTreeMap,
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, ScopedJoinHandle},
};

use mp_manager_sim::planted::{Bug, bugs};

/// What the simulation is built from.
const PARTS: [&str; 11] = [
    "Cargo.toml",
    "Cargo.lock",
    "proto",
    "core",
    "server",
    "macros",
    "client",
    "cli",
    "tests",
    "bench",
    "README.md",
];

fn main() -> ExitCode {
    let (mut seeds, mut wanted) = ("1000".to_owned(), String::new());
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        match (word.as_str(), words.size_hint()) {
            ("--seeds", _) => seeds = words.next().unwrap_or(seeds),
            _ => wanted = word,
        }
    }
    match run(&seeds, &wanted) {
        Ok((found, planted)) => {
            println!("\n{found} of {planted} found within {seeds} seeds each");
            if found == planted { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(seeds: &str, wanted: &str) -> io::Result<(usize, usize)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let wanted: Vec<Bug<'_>> = bugs().filter(|bug| bug.name.contains(wanted)).collect();
    println!("| bug | file | seed | what is seen |\n|---|---|---|---|");
    // Each worker has a tree of its own, as a bug is a change of it.
    let workers = thread::available_parallelism()?.get().min(wanted.len().max(1));
    let (next, rows) = (AtomicUsize::new(0), Mutex::new(Rows::default()));
    thread::scope(|scope| {
        let work = |worker| plant_some(&root, worker, seeds, &wanted, &next, &rows);
        let workers: Vec<_> =
            (0..workers).map(|worker| scope.spawn(move || work(worker))).collect();
        let join = |worker: ScopedJoinHandle<'_, io::Result<()>>| {
            worker.join().unwrap_or_else(|_| Err(io::Error::other("a worker panicked")))
        };
        workers.into_iter().map(join).collect::<io::Result<Vec<()>>>()
    })?;
    let found = rows.into_inner().map_or(0, |rows| rows.found);
    Ok((found, wanted.len()))
}

/// Rows of the table, which are printed in the order of the bugs.
#[derive(Default)]
struct Rows {
    waiting: BTreeMap<usize, String>,
    printed: usize,
    found: usize,
}

fn plant_some(
    root: &Path,
    worker: usize,
    seeds: &str,
    bugs: &[Bug<'_>],
    next: &AtomicUsize,
    rows: &Mutex<Rows>,
) -> io::Result<()> {
    let (tree, target) = (
        root.join(format!("target/planted/{worker}/tree")),
        root.join(format!("target/planted/{worker}/target")),
    );
    drop(fs::remove_dir_all(&tree));
    for part in PARTS {
        copy(&root.join(part), &tree.join(part))?;
    }
    if worker == 0 && simulate(&tree, &target, seeds)?.is_some() {
        return Err(io::Error::other("something is wrong before any bug is planted"));
    }
    while let number = next.fetch_add(1, Ordering::Relaxed)
        && let Some(bug) = bugs.get(number)
    {
        let file = tree.join(bug.file);
        let original = fs::read_to_string(&file)?;
        let changed = bug.plant(&original).map_err(io::Error::other)?;
        fs::write(&file, changed)?;
        let seen = simulate(&tree, &target, seeds);
        fs::write(&file, original)?;
        let mut rows = rows.lock().map_err(|_| io::Error::other("a worker panicked"))?;
        rows.found += usize::from(matches!(seen, Ok(Some(_))));
        let (seed, what) = match seen {
            Ok(Some(found)) => found,
            Ok(None) => ("-".into(), "**not found**".into()),
            // The others are planted all the same.
            Err(error) => ("-".into(), format!("**{error}**")),
        };
        rows.waiting.insert(number, format!("| {} | {} | {seed} | {what} |", bug.name, bug.file));
        while let printed = rows.printed
            && let Some(row) = rows.waiting.remove(&printed)
        {
            println!("{row}");
            rows.printed += 1;
        }
    }
    Ok(())
}

/// The first seed that fails, and what it says.
fn simulate(tree: &Path, target: &Path, seeds: &str) -> io::Result<Option<(String, String)>> {
    let built = Command::new(env!("CARGO"))
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", target)
        .env("RUSTFLAGS", "-Awarnings")
        .args(["build", "--quiet", "-p", "mp-manager-sim", "--example", "simulate"])
        .status()?;
    if !built.success() {
        return Err(io::Error::other("it cannot be built"));
    }
    let simulation: PathBuf = target.join("debug/examples/simulate");
    let output = Command::new(simulation).args(["--seeds", seeds, "--first"]).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let first = said.lines().find_map(|line| line.strip_prefix("seed ")?.split_once(": "));
    Ok(first.map(|(seed, what)| (seed.to_owned(), what.replace('|', "/"))))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        return fs::copy(from, to).map(drop);
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}
