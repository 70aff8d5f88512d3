//! The verdict, and how it came about.

use std::{
    collections::BTreeMap,
    env, fmt, fs, process, thread,
    time::{Duration, Instant},
};

use super::{histories::Written, tally::Tally, tasks::Tasks, world::Use};
use crate::{
    linear::{Budget, History, Verdict},
    resource::Resource,
};

/// So many of a kind are shown.
const SHOWN: usize = 3;

/// What a run came to.
#[derive(Debug, Default)]
pub struct Report {
    pub(super) workers: u64,
    pub(super) processes: u64,
    pub(super) blows: Vec<(&'static str, u64)>,
    pub(super) took: Duration,
    /// What this machine does not let us do.
    pub(super) remarks: Vec<String>,
    pub(super) tasks: Tasks,
    calls: usize,
    longest_call: Duration,
    errors: BTreeMap<String, u64>,
    tally: Tally,
    resource: Resource,
    checked: BTreeMap<&'static str, Checked>,
    check_took: Duration,
    problems: Vec<String>,
}

/// The histories of one kind of object.
#[derive(Debug, Default)]
struct Checked {
    histories: u64,
    operations: usize,
    longest: usize,
    violations: Vec<String>,
    unknown: Vec<String>,
}

impl Report {
    pub(super) fn judge(written: &Written, resource: &Resource) -> Self {
        let began = Instant::now();
        let histories: Vec<(Use, History)> = written
            .histories()
            .into_iter()
            .flat_map(|(name, history)| {
                history.by_key().into_iter().map(move |history| (name.used, history))
            })
            .collect();
        let longest = written.calls.iter().filter_map(|call| call.took_ns()).max();
        let mut report = Self {
            calls: written.calls.len(),
            longest_call: Duration::from_nanos(longest.unwrap_or_default()),
            tally: Tally::of(written),
            resource: resource.clone(),
            checked: check(&histories),
            problems: written.problems.clone(),
            ..Self::default()
        };
        for error in &written.errors {
            let variant = error.split(':').next().unwrap_or_default();
            *report.errors.entry(variant.to_owned()).or_default() += 1;
        }
        report.check_took = began.elapsed();
        report
    }

    /// Every error that a caller saw is a problem.
    pub(super) fn nobody_may_notice(&mut self) {
        let seen = self.errors.iter().map(|(error, n)| format!("{n} callers saw a {error}"));
        self.problems.extend(seen);
    }

    /// What is wrong, each in a text of its own; nothing, if everything held.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        let mut wrong = self.problems.clone();
        if self.tally.lost > 0 {
            wrong.push(format!("{} acknowledged operations are lost", self.tally.lost));
        }
        if self.tally.duplicated > 0 {
            wrong.push(format!("{} operations happened twice", self.tally.duplicated));
        }
        wrong.extend(self.resource.double_holders.iter().map(|double| format!("{double:?}")));
        for checked in self.checked.values() {
            wrong.extend(checked.violations.iter().cloned());
            wrong.extend(checked.unknown.iter().cloned());
        }
        wrong
    }
}

/// Checks all histories, with all processors.
fn check(histories: &[(Use, History)]) -> BTreeMap<&'static str, Checked> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let parts: Vec<BTreeMap<_, Checked>> = thread::scope(|scope| {
        let work = |n: usize| {
            let mut checked = BTreeMap::new();
            for (used, history) in histories.iter().skip(n).step_by(threads) {
                Checked::add(checked.entry(used.name()).or_default(), history);
            }
            checked
        };
        let workers: Vec<_> = (0..threads).map(|n| scope.spawn(move || work(n))).collect();
        let join = |worker: thread::ScopedJoinHandle<'_, _>| worker.join().unwrap_or_default();
        workers.into_iter().map(join).collect()
    });
    let mut all: BTreeMap<_, Checked> = BTreeMap::new();
    for (used, part) in parts.into_iter().flatten() {
        all.entry(used).or_default().merge(part);
    }
    all
}

/// Writes a history down; where, to be said.
fn keep(history: &History) -> String {
    // So that it can be given to a shell as it is.
    let object = history.object.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "_");
    let path = env::temp_dir().join(format!("{}-{object}.history", process::id()));
    match fs::write(&path, history.to_bytes()) {
        Ok(()) => format!(" (to look at it again: faults --history {})", path.display()),
        Err(_) => String::new(),
    }
}

impl Checked {
    fn add(&mut self, history: &History) {
        let (object, operations) = (&history.object, history.operations.len());
        self.histories += 1;
        self.operations += operations;
        self.longest = self.longest.max(operations);
        match history.check(Budget::default()) {
            Verdict::Linearizable => {}
            Verdict::Violation(why) => {
                let place = keep(history);
                self.violations.push(format!("{object} is not linearizable{place}: {why}"));
            }
            Verdict::Unknown(why) => {
                let why = why.map(|why| format!("; so far: {why}")).unwrap_or_default();
                let place = keep(history);
                let text = format!("nobody knows whether {object} is linearizable{place}{why}");
                self.unknown.push(text);
            }
        }
    }

    fn merge(&mut self, part: Self) {
        self.histories += part.histories;
        self.operations += part.operations;
        self.longest = self.longest.max(part.longest);
        self.violations.extend(part.violations);
        self.unknown.extend(part.unknown);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blows: u64 = self.blows.iter().map(|(_, n)| n).sum();
        let each: Vec<String> = self.blows.iter().map(|(blow, n)| format!("{n} {blow}")).collect();
        writeln!(f, "{blows} cycles in {:.1?}: {}", self.took, each.join(", "))?;
        for remark in &self.remarks {
            writeln!(f, "  {remark}")?;
        }
        let errors: Vec<String> =
            self.errors.iter().map(|(error, n)| format!("{n} {error}")).collect();
        let errors = if errors.is_empty() { "no errors".into() } else { errors.join(", ") };
        writeln!(
            f,
            "{} workers, {} processes; {} calls, the longest {:.2?}; callers saw {errors}",
            self.workers, self.processes, self.calls, self.longest_call
        )?;
        let Tally { acknowledged, unknown, lost, duplicated, redelivered } = &self.tally;
        writeln!(
            f,
            "changes: {acknowledged} acknowledged, {unknown} with an unknown outcome, \
             {redelivered} redelivered; {lost} lost, {duplicated} duplicated"
        )?;
        let Resource { accepted, refused, double_holders, .. } = &self.resource;
        writeln!(
            f,
            "resource: {accepted} accepted, {refused} refused for an old token; {} double holders",
            double_holders.len()
        )?;
        writeln!(f, "{}", self.tasks)?;
        writeln!(f, "histories, checked in {:.1?}:", self.check_took)?;
        writeln!(
            f,
            "  {:8} {:>9} {:>10} {:>8} {:>10} {:>8}",
            "object", "histories", "operations", "longest", "violations", "unknown"
        )?;
        for (used, checked) in &self.checked {
            let Checked { histories, operations, longest, violations, unknown } = checked;
            let (violations, unknown) = (violations.len(), unknown.len());
            writeln!(
                f,
                "  {used:8} {histories:>9} {operations:>10} {longest:>8} {violations:>10} {unknown:>8}"
            )?;
        }
        let wrong = self.violations();
        for what in wrong.iter().take(SHOWN) {
            writeln!(f, "VIOLATION: {what}")?;
        }
        if wrong.len() > SHOWN {
            writeln!(f, "and {} more", wrong.len() - SHOWN)?;
        }
        Ok(())
    }
}
