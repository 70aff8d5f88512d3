//! The threads that serve connections, each by a runtime of its own.
//!
//! A connection stays on one thread. What its client says is read, done and answered there, without a word to another
//! thread; a runtime that moved connections between threads would wake one for every few requests, to take them over.

use std::{
    io,
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, available_parallelism},
};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

/// More than these get in each other's way, as all share the same objects.
const MAX_BY_DEFAULT: usize = 8;

/// A thread looks what has arrived after so many polls, however much is left to do. The runtime's own number is fifteen
/// times as high: beside one connection that keeps a thread busy, others would wait for as many of its polls.
const POLLS_UNTIL_A_LOOK: u32 = 4;

/// As many as serve connections if nobody says how many: all processors but one, which is left to what takes long, to
/// accepting, and to the system's share of the network.
pub(crate) fn default_count() -> NonZero<usize> {
    let processors = available_parallelism().map_or(1, NonZero::get);
    NonZero::new(processors.saturating_sub(1).min(MAX_BY_DEFAULT)).unwrap_or(NonZero::<usize>::MIN)
}

/// They end when this is dropped, and what is left on them with them.
pub(crate) struct Threads(Vec<Thread>);

struct Thread {
    runtime: Handle,
    tasks: Arc<AtomicUsize>,
    /// It ends when this is dropped.
    #[expect(dead_code, reason = "kept to be dropped")]
    stop: oneshot::Sender<()>,
}

/// Counts as a task of a thread until it is dropped.
pub(crate) struct Place(Arc<AtomicUsize>);

impl Threads {
    pub(crate) fn start(count: NonZero<usize>) -> io::Result<Self> {
        (0..count.get()).map(|_| Thread::start()).collect::<io::Result<_>>().map(Self)
    }

    /// Runs a task, which keeps its place to its end, on the thread that has the fewest.
    pub(crate) fn spawn<T>(&self, task: impl FnOnce(Place) -> T)
    where
        T: Future<Output = ()> + Send + 'static,
    {
        let load = |thread: &&Thread| thread.tasks.load(Ordering::Relaxed);
        let Some(thread) = self.0.iter().min_by_key(load) else { return };
        // A task around it that has the place would have room for it twice.
        thread.runtime.spawn(task(Place::take(&thread.tasks)));
    }

    /// The runtimes of the threads.
    pub(crate) fn runtimes(&self) -> impl Iterator<Item = &Handle> {
        self.0.iter().map(|thread| &thread.runtime)
    }
}

impl Thread {
    fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .thread_name("mp-manager-blocking")
            .event_interval(POLLS_UNTIL_A_LOOK)
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let handle = runtime.handle().clone();
        thread::Builder::new().name("mp-manager-serve".into()).spawn(move || {
            // It is never sent anything.
            let _ = runtime.block_on(stopped);
            // Blocking tasks go on, and nobody waits for them.
            runtime.shutdown_background();
        })?;
        Ok(Self { runtime: handle, tasks: Arc::default(), stop })
    }
}

impl Place {
    fn take(tasks: &Arc<AtomicUsize>) -> Self {
        tasks.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(tasks))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, future::pending};

    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn tasks_are_shared_out_to_the_threads_that_have_the_fewest() {
        let threads = Threads::start(NonZero::new(3).unwrap()).unwrap();
        let (running, mut ran) = mpsc::unbounded_channel();
        for _ in 0..9 {
            let running = running.clone();
            threads.spawn(async move |_place| {
                running.send(thread::current().id()).unwrap();
                pending().await
            });
        }
        let mut counts = BTreeMap::new();
        for _ in 0..9 {
            *counts.entry(format!("{:?}", ran.recv().await)).or_insert(0) += 1;
        }
        assert_eq!(counts.into_values().collect::<Vec<_>>(), [3, 3, 3]);
    }

    #[tokio::test]
    async fn a_task_that_has_ended_leaves_its_place() {
        let threads = Threads::start(NonZero::new(2).unwrap()).unwrap();
        for _ in 0..3 {
            let (end, ended) = oneshot::channel::<()>();
            threads.spawn(async move |_place| drop(end));
            let _ = ended.await;
        }
        // The last one's place is free once its task has been dropped, a moment later.
        while threads.0.iter().any(|thread| thread.tasks.load(Ordering::Relaxed) > 0) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn tasks_are_dropped_when_the_threads_end() {
        let threads = Threads::start(NonZero::<usize>::MIN).unwrap();
        let (kept, dropped) = oneshot::channel::<()>();
        threads.spawn(async move |_place| {
            let _kept = kept;
            pending().await
        });
        drop(threads);
        assert!(dropped.await.is_err());
    }
}
