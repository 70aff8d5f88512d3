//! Instructions per operation: the file that has them, and how others differ from it.

use std::{fmt, fs, io, path::Path, process::Command};

/// Names and versions of the tools that instruction counts depend on beside the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build(Vec<(String, String)>);

/// The instructions per operation of each row.
#[derive(Debug, Clone, PartialEq)]
pub struct Counts {
    /// The tools they were counted with.
    pub build: Build,
    /// Names and instructions per operation.
    pub rows: Vec<(String, f64)>,
}

/// One row, before and now.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    name: String,
    before: Option<f64>,
    now: Option<f64>,
    tolerance_percent: f64,
}

impl Build {
    /// The tools that this program was built with and the processor it runs on, as far as it can tell.
    ///
    /// # Errors
    /// If a program cannot be started that says it.
    pub fn current() -> io::Result<Self> {
        let facts = [
            ("rustc", said("rustc", "--version")?),
            ("libc", said("getconf", "GNU_LIBC_VERSION")?),
            ("valgrind", said("valgrind", "--version")?),
            ("processor", processor()),
        ];
        Ok(Self(facts.map(|(name, fact)| (name.to_owned(), fact)).into()))
    }
}

/// Libraries choose by the processor how they copy and search.
fn processor() -> String {
    let arch = std::env::consts::ARCH;
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        return format!("{arch} with AVX2");
    }
    arch.to_owned()
}

fn said(program: &str, argument: &str) -> io::Result<String> {
    let output = Command::new(program).arg(argument).output().map_err(|error| {
        io::Error::new(error.kind(), format!("cannot start {program}: {error}"))
    })?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

impl Counts {
    fn get(&self, name: &str) -> Option<f64> {
        self.rows.iter().find(|(row, _)| row == name).map(|(_, count)| *count)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If it is not there, or not one that [`write`](Self::write) wrote.
    pub fn read(path: &Path) -> io::Result<Self> {
        let in_file = |why: &dyn fmt::Display| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", path.display()))
        };
        let text = fs::read_to_string(path).map_err(|error| in_file(&error))?;
        Self::parse(&text).map_err(|line| in_file(&format_args!("cannot read the line {line:?}")))
    }

    /// Or the line that is in the way.
    fn parse(text: &str) -> Result<Self, &str> {
        let (mut build, mut rows) = (Vec::new(), Vec::new());
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(fact) = line.strip_prefix('#') {
                let (name, fact) = fact.split_once(':').ok_or(line)?;
                build.push((name.trim().to_owned(), fact.trim().to_owned()));
            } else {
                let (name, count) = line.split_once(' ').ok_or(line)?;
                rows.push((name.to_owned(), count.trim().parse().map_err(|_| line)?));
            }
        }
        Ok(Self { build: Build(build), rows })
    }

    /// Writes a file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        fs::write(path, self.to_string())
    }

    /// Takes those of other counts of the same rows that are less.
    pub fn take_least(&mut self, others: Vec<(String, f64)>) {
        for (name, other) in others {
            if let Some((_, count)) = self.rows.iter_mut().find(|(row, _)| *row == name) {
                *count = count.min(other);
            }
        }
    }

    /// Compares the rows that begin with `prefix`; the name of each gives its tolerance.
    #[must_use]
    pub fn changes(
        before: &Self,
        now: &Self,
        prefix: &str,
        tolerance_percent: impl Fn(&str) -> f64,
    ) -> Vec<Change> {
        let gone = before.rows.iter().filter(|(name, _)| now.get(name).is_none());
        let rows = now.rows.iter().chain(gone).filter(|(name, _)| name.starts_with(prefix));
        rows.map(|(name, _)| Change {
            name: name.clone(),
            before: before.get(name),
            now: now.get(name),
            tolerance_percent: tolerance_percent(name),
        })
        .collect()
    }
}

impl Change {
    /// The row's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn percent(&self) -> Option<f64> {
        Some(100.0 * (self.now? / self.before? - 1.0))
    }

    /// Whether it is more than counts of the same code differ by, in whichever direction; a row that is
    /// new or gone always is.
    #[must_use]
    pub fn is_beyond_tolerance(&self) -> bool {
        !self.percent().is_some_and(|percent| percent.abs() <= self.tolerance_percent)
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, fact)| writeln!(f, "# {name}: {fact}"))
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.build)?;
        self.rows.iter().try_for_each(|(name, count)| writeln!(f, "{name:<24} {count:>10.1}"))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count =
            |count: Option<f64>| count.map_or("-".to_owned(), |count| format!("{count:.1}"));
        let Self { name, before, now, tolerance_percent } = self;
        write!(f, "{name:<24} {:>10} -> {:>10}", count(*before), count(*now))?;
        match self.percent() {
            None => Ok(()),
            Some(percent) if self.is_beyond_tolerance() => {
                write!(f, "  {percent:>+7.2} %, beyond {tolerance_percent} %")
            }
            Some(percent) => write!(f, "  {percent:>+7.2} %"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(rows: &[(&str, f64)]) -> Counts {
        let build = Build(vec![("rustc".into(), "rustc 1.95.0 (59807616e 2026-04-14)".into())]);
        Counts { build, rows: rows.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect() }
    }

    #[test]
    fn what_is_written_is_read() {
        let written = counts(&[("core/dict-get", 321.5), ("a-name-longer-than-its-column", 1e6)]);
        assert_eq!(Counts::parse(&written.to_string()), Ok(written));
        assert_eq!(Counts::parse("core/dict-get many\n"), Err("core/dict-get many"));
    }

    #[test]
    fn the_least_count_of_each_row_is_taken() {
        let mut least = counts(&[("core/a", 1000.0), ("core/b", 1000.0), ("core/c", 1000.0)]);
        least.take_least(counts(&[("core/b", 1030.0), ("core/a", 990.0)]).rows);
        assert_eq!(least, counts(&[("core/a", 990.0), ("core/b", 1000.0), ("core/c", 1000.0)]));
    }

    #[test]
    fn only_changes_beyond_the_tolerance_count() {
        let before = counts(&[("core/a", 1000.0), ("core/b", 1000.0), ("core/c", 1000.0)]);
        let now = counts(&[("core/a", 1009.0), ("core/b", 1011.0), ("core/c", 989.0)]);
        let changes = Counts::changes(&before, &now, "", |_| 1.0);
        let beyond: Vec<_> = changes.iter().map(Change::is_beyond_tolerance).collect();
        assert_eq!(beyond, [false, true, true]);
        assert_eq!(
            changes[1].to_string(),
            "core/b                       1000.0 ->     1011.0    +1.10 %, beyond 1 %"
        );
    }

    #[test]
    fn rows_that_are_new_or_gone_count() {
        let before = counts(&[("core/a", 1.0), ("core/gone", 1.0), ("client/gone", 1.0)]);
        let now = counts(&[("core/a", 1.0), ("core/new", 1.0)]);
        let changes = Counts::changes(&before, &now, "core/", |_| 1.0);
        let beyond = changes.iter().filter(|change| change.is_beyond_tolerance());
        let beyond: Vec<_> = beyond.map(|change| change.name.as_str()).collect();
        assert_eq!(beyond, ["core/new", "core/gone"]);
    }
}
