//! Whether the simulation finds bugs: plants each of those in `planted/bugs.txt` in a copy of the
//! tree, and runs seeds until one fails. Prints the table in `planted/README.md`.
//!
//! ```text
//! cargo run --release -p mp-manager-sim --example planted -- [--seeds N] [part of a bug's name]
//! ```

use mp_manager_sim::planted::bugs;
use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// What the simulation is built from.
const PARTS: [&str; 10] = [
    "Cargo.toml",
    "Cargo.lock",
    "proto",
    "core",
    "server",
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
            if found * 100 >= planted * 95 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(seeds: &str, wanted: &str) -> io::Result<(usize, usize)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let (tree, target) = (root.join("target/planted/tree"), root.join("target/planted/target"));
    drop(fs::remove_dir_all(&tree));
    for part in PARTS {
        copy(&root.join(part), &tree.join(part))?;
    }
    if simulate(&tree, &target, seeds)?.is_some() {
        return Err(io::Error::other("something is wrong before any bug is planted"));
    }
    println!("| bug | file | seed | what is seen |\n|---|---|---|---|");
    let (mut found, mut planted) = (0, 0);
    for bug in bugs().filter(|bug| bug.name.contains(wanted)) {
        planted += 1;
        let file = tree.join(bug.file);
        let original = fs::read_to_string(&file)?;
        let changed = bug.plant(&original).map_err(io::Error::other)?;
        fs::write(&file, changed)?;
        let seen = simulate(&tree, &target, seeds)?;
        fs::write(&file, original)?;
        found += usize::from(seen.is_some());
        let (seed, what) = seen.unwrap_or_else(|| ("-".into(), "**not found**".into()));
        println!("| {} | {} | {seed} | {what} |", bug.name, bug.file);
    }
    Ok((found, planted))
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
