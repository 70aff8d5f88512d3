//! Who owns a re-entrant lock: a task or a thread, by a number of our own.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::task;

static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// The tasks that own something, by tokio's ids. Those are reused once a task has ended, so they
/// are no owners themselves: a task that owns nothing is forgotten, and the next one of its id gets
/// a number of its own.
static TASKS: Mutex<BTreeMap<task::Id, Task>> = Mutex::new(BTreeMap::new());

thread_local! {
    static THREAD: u64 = next_number();
}

struct Task {
    number: u64,
    owners: usize,
    /// Levels that it holds without a guard.
    leaked: usize,
}

/// The task that made it, or the thread if that was outside of any task. The number stays the
/// task's as long as one of these is alive.
#[derive(Debug)]
pub(crate) struct Owner {
    number: u64,
    task: Option<task::Id>,
}

impl Owner {
    /// Whoever runs this.
    pub(crate) fn current() -> Self {
        let Some(id) = task::try_id() else {
            return Self { number: THREAD.with(|number| *number), task: None };
        };
        let mut tasks = tasks();
        let task = tasks.entry(id).or_insert_with(Task::new);
        task.owners += 1;
        Self { number: task.number, task: Some(id) }
    }

    /// Unique in this process, for all time.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// It holds a level without a guard from now on.
    pub(crate) fn leak(&self) {
        self.update(|task| task.leaked += 1);
    }

    /// A level of its was released without a guard.
    pub(crate) fn unleak(&self) {
        self.update(|task| task.leaked = task.leaked.saturating_sub(1));
    }

    fn update(&self, change: impl FnOnce(&mut Task)) {
        if let Some(id) = self.task
            && let Entry::Occupied(mut task) = tasks().entry(id)
        {
            change(task.get_mut());
            if task.get().owners == 0 && task.get().leaked == 0 {
                task.remove();
            }
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.update(|task| task.owners -= 1);
    }
}

impl Task {
    fn new() -> Self {
        Self { number: next_number(), owners: 0, leaked: 0 }
    }
}

fn next_number() -> u64 {
    NUMBERS.fetch_add(1, Ordering::Relaxed)
}

fn tasks() -> MutexGuard<'static, BTreeMap<task::Id, Task>> {
    TASKS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn known(id: task::Id) -> bool {
        tasks().contains_key(&id)
    }

    #[tokio::test]
    async fn a_task_is_one_owner_as_long_as_it_owns_something() {
        let last = tokio::spawn(async {
            let first = Owner::current();
            tokio::task::yield_now().await;
            let second = Owner::current();
            assert_eq!(first.number(), second.number());
            drop(first);
            assert_eq!(Owner::current().number(), second.number());
            second
        })
        .await
        .unwrap();
        let id = last.task.unwrap();
        assert!(known(id));
        drop(last);
        assert!(!known(id));
    }

    #[tokio::test]
    async fn a_task_stays_the_owner_of_what_it_leaked() {
        tokio::spawn(async {
            let number = Owner::current().number();
            assert_ne!(number, Owner::current().number(), "it owned nothing in between");
            let leaking = Owner::current();
            let number = leaking.number();
            leaking.leak();
            drop(leaking);
            let releasing = Owner::current();
            assert_eq!(number, releasing.number());
            releasing.unleak();
            drop(releasing);
            assert!(!known(task::id()));
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn outside_of_a_task_it_is_the_thread() {
        let here = Owner::current().number();
        assert_eq!(here, Owner::current().number());
        let there = thread::spawn(|| Owner::current().number()).join().unwrap();
        let task = tokio::spawn(async { Owner::current().number() }).await.unwrap();
        assert!(here != there && here != task && there != task);
    }
}
