//! The tasks that this program knows, by name.

use std::{
    collections::HashMap,
    sync::{OnceLock, PoisonError, RwLock},
};

use mp_manager_proto::value::CodecError;

use crate::failure::TaskFailure;
use crate::process::{
    arguments::Arguments,
    chunk::{self, Chunk, Outcomes},
    task::Task,
};

/// What this program knows of a task.
#[derive(Clone, Copy)]
pub struct Entry {
    pub(crate) name: &'static str,
    pub(crate) signature: &'static str,
    file: &'static str,
    line: u32,
    chunk: fn(&mut Chunk<'_>) -> Result<Outcomes, CodecError>,
    alone: fn(&Arguments<'_>) -> Result<(), TaskFailure>,
}

inventory::collect!(Entry);

impl Entry {
    /// The entry of a task that is written there.
    #[must_use]
    pub const fn of<T: Task>(file: &'static str, line: u32) -> Self {
        Self {
            name: T::NAME,
            signature: T::SIGNATURE,
            file,
            line,
            chunk: chunk::run::<T>,
            alone: chunk::alone::<T>,
        }
    }

    /// Runs a chunk of the task.
    pub(crate) fn run_chunk(&self, chunk: &mut Chunk<'_>) -> Result<Outcomes, CodecError> {
        (self.chunk)(chunk)
    }

    /// Runs the task once, and drops its result.
    pub(crate) fn run_alone(&self, args: &Arguments<'_>) -> Result<(), TaskFailure> {
        (self.alone)(args)
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} at {}:{}", self.name, self.signature, self.file, self.line)
    }
}

/// The tasks that this program knows. [`#[task]`](crate::task) registers each by itself.
#[derive(Debug)]
#[non_exhaustive]
pub struct Registry;

impl Registry {
    /// Makes sure that a task is known, by mentioning it: a crate that nothing mentions is not linked in,
    /// and its tasks with it. `use its_crate as _;` does the same for all of them.
    ///
    /// Call it before [`init`](crate::init) for a task whose `Task` was implemented by hand: children begin
    /// in `init()`, and know what was added before.
    ///
    /// ```
    /// # use mp_manager::{Registry, task};
    /// #[task]
    /// fn square(x: i64) -> i64 {
    ///     x * x
    /// }
    ///
    /// # fn main() {
    /// Registry::add(square);
    /// mp_manager::init();
    /// # }
    /// ```
    #[track_caller]
    pub fn add<T: Task>(_: T) {
        let place = std::panic::Location::caller();
        let entry = Entry::of::<T>(place.file(), place.line());
        if collected()
            .iter()
            .any(|known| known.name == entry.name && known.signature == entry.signature)
        {
            return;
        }
        added().write().unwrap_or_else(PoisonError::into_inner).insert(entry.name, entry);
    }
}

fn collected() -> &'static [&'static Entry] {
    static COLLECTED: OnceLock<Vec<&'static Entry>> = OnceLock::new();
    COLLECTED.get_or_init(|| inventory::iter::<Entry>.into_iter().collect())
}

fn added() -> &'static RwLock<HashMap<&'static str, Entry>> {
    static ADDED: OnceLock<RwLock<HashMap<&'static str, Entry>>> = OnceLock::new();
    ADDED.get_or_init(RwLock::default)
}

/// The task of that name.
pub(crate) fn find(name: &str) -> Option<Entry> {
    static BY_NAME: OnceLock<HashMap<&'static str, &'static Entry>> = OnceLock::new();
    let by_name =
        BY_NAME.get_or_init(|| collected().iter().map(|entry| (entry.name, *entry)).collect());
    let added = || added().read().unwrap_or_else(PoisonError::into_inner).get(name).copied();
    by_name.get(name).copied().copied().or_else(added)
}

/// All tasks, in the order of their names.
pub(crate) fn all() -> Vec<Entry> {
    let added = added().read().unwrap_or_else(PoisonError::into_inner);
    let mut all: Vec<_> = collected().iter().map(|&entry| *entry).collect();
    all.extend(added.values());
    all.sort_by_key(|entry| (entry.name, entry.file, entry.line));
    all
}

/// Why the tasks of this program cannot be told apart, if two have one name.
pub(crate) fn duplicate() -> Option<String> {
    duplicate_among(&all())
}

fn duplicate_among(sorted: &[Entry]) -> Option<String> {
    let pair = sorted.windows(2).find(|pair| pair[0].name == pair[1].name)?;
    let [one, other] = pair else { return None };
    Some(format!(
        "two tasks have the name `{}`: one at {}:{}, the other at {}:{}; give one of them another with \
         `#[task(name = \"…\")]`",
        one.name, one.file, one.line, other.file, other.line
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::task::{Running, Task};

    #[derive(Clone, Copy)]
    struct Double;

    impl Task for Double {
        type Args = (i64,);
        type Output = i64;
        const NAME: &'static str = "tests::double";
        const SIGNATURE: &'static str = "(i64)->i64";

        fn run((x,): Self::Args) -> Running<i64> {
            Running::Now(Ok(2 * x))
        }
    }

    #[test]
    fn a_task_that_was_added_is_found() {
        Registry::add(Double);
        let found = find("tests::double").expect("it was added");
        assert_eq!(found.signature, "(i64)->i64");
    }

    #[test]
    fn two_tasks_of_one_name_are_named_with_both_places() {
        let entries = [Entry::of::<Double>("a.rs", 1), Entry::of::<Double>("b.rs", 2)];
        let message = duplicate_among(&entries).expect("there are two");
        assert!(message.contains("a.rs:1") && message.contains("b.rs:2"), "{message}");
        assert_eq!(duplicate_among(&entries[..1]), None);
    }
}
