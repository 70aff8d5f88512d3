//! Counting with valgrind.

use std::{
    fs, io,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use tempfile::TempDir;

use mp_manager_bench::operations::Row;

/// Operations of the shorter run. Rows go through 1,024 keys: both runs use each of them equally often.
const FEW: u32 = 1024;
/// And of the longer one.
const MANY: u32 = 3 * FEW;

/// The instructions per operation of each row, in their order; as many rows at a time as there are
/// processors.
pub(crate) fn count(rows: &[&Row]) -> io::Result<Vec<(String, f64)>> {
    let directory = TempDir::with_prefix("instructions-")?;
    let (next, counts) = (AtomicUsize::new(0), Mutex::new(vec![None; rows.len()]));
    thread::scope(|scope| {
        let count_rows = || {
            while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                let counted = per_operation(row, directory.path())?;
                let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
                let place = rows.iter().position(|other| other.name == row.name);
                if let Some(place) = place.and_then(|place| counts.get_mut(place)) {
                    *place = Some((row.name.to_owned(), counted));
                }
            }
            io::Result::Ok(())
        };
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..processors).map(|_| scope.spawn(count_rows)).collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result,
            Err(_) => Err(io::Error::other("a thread panicked")),
        })
    })?;
    let counts = counts.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(counts.into_iter().flatten().collect())
}

fn per_operation(row: &Row, directory: &Path) -> io::Result<f64> {
    let (few, many) = (instructions(row, FEW, directory)?, instructions(row, MANY, directory)?);
    Ok((many as f64 - few as f64) / f64::from(MANY - FEW))
}

fn instructions(row: &Row, times: u32, directory: &Path) -> io::Result<u64> {
    let name = row.name;
    let file = directory.join(format!("{}-{times:05}", name.replace('/', "-")));
    let output = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(std::env::current_exe()?)
        .args(["--work", name, "--times", &format!("{times:05}")])
        // The environment lies in memory before the stack, and moves it.
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .map_err(|error| io::Error::new(error.kind(), format!("cannot start valgrind: {error}")))?;
    let failed = |why: &str| {
        let said = String::from_utf8_lossy(&output.stderr);
        io::Error::other(format!("{name}: {why} ({}):\n{said}", output.status))
    };
    if !output.status.success() {
        return Err(failed("the work failed"));
    }
    let profile = fs::read_to_string(&file)?;
    let mut lines = profile.lines();
    let total = lines.find_map(|line| line.strip_prefix("summary: ")?.trim().parse().ok());
    total.ok_or_else(|| failed("callgrind wrote no summary"))
}
