//! A pool of threads of this process: Python's `multiprocessing.dummy`.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Instant,
};

use tokio::sync::oneshot;

use crate::{
    error::{Error, Result},
    process::{chunk, pool::ran::Ran, task::Task},
};

type Job = Box<dyn FnOnce() + Send>;

/// Threads that take jobs from one queue, and end with it.
pub(super) struct Threads {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    is_terminated: Arc<AtomicBool>,
    tasks: Arc<Tasks>,
    count: usize,
    ended: Mutex<mpsc::Receiver<()>>,
}

/// How many tasks there are.
#[derive(Default)]
struct Tasks {
    queued: AtomicUsize,
    running: AtomicUsize,
}

impl Threads {
    pub(super) fn start(count: usize) -> Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let (alive, ended) = mpsc::channel();
        for number in 1..=count {
            let (queue, alive) = (Arc::clone(&queue), alive.clone());
            let work = move || {
                let _alive = alive;
                loop {
                    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(job) = job else { return };
                    job();
                }
            };
            thread::Builder::new().name(format!("Thread-{number}")).spawn(work).map_err(
                |error| Error::Start {
                    name: format!("Thread-{number}"),
                    message: error.to_string(),
                },
            )?;
        }
        Ok(Self {
            jobs: Mutex::new(Some(jobs)),
            is_terminated: Arc::default(),
            tasks: Arc::default(),
            count,
            ended: Mutex::new(ended),
        })
    }

    /// How many tasks wait, and how many are executed.
    pub(super) fn tasks(&self) -> (usize, usize) {
        let Tasks { queued, running } = &*self.tasks;
        (queued.load(Ordering::Relaxed), running.load(Ordering::Relaxed))
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Executes tasks one after the other on one of the threads, unless nobody waits for them by then.
    pub(super) fn run<T: Task>(
        &self,
        args: Vec<T::Args>,
    ) -> impl Future<Output = Result<Ran<T::Output>>> + Send + use<T> {
        let (send, receive) = oneshot::channel();
        let (tasks, is_terminated) = (Arc::clone(&self.tasks), Arc::clone(&self.is_terminated));
        let count = args.len();
        tasks.queued.fetch_add(count, Ordering::Relaxed);
        let job = move || {
            tasks.queued.fetch_sub(count, Ordering::Relaxed);
            if send.is_closed() || is_terminated.load(Ordering::Relaxed) {
                return;
            }
            tasks.running.fetch_add(count, Ordering::Relaxed);
            let began = Instant::now();
            let mut ran = Ran {
                values: Vec::with_capacity(args.len()),
                failures: Vec::new(),
                elapsed: began.elapsed(),
                workers: 0,
            };
            for (at, args) in args.into_iter().enumerate() {
                match chunk::direct::<T>(args) {
                    Ok(value) => ran.values.push(value),
                    Err(failure) => ran.failures.push((at, failure)),
                }
            }
            ran.elapsed = began.elapsed();
            tasks.running.fetch_sub(count, Ordering::Relaxed);
            let _ = send.send(ran);
        };
        if let Some(jobs) = &*self.jobs.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = jobs.send(Box::new(job));
        }
        async move { receive.await.map_err(|_| closed()) }
    }

    /// Takes no more jobs. Those that were taken are executed.
    pub(super) fn close(&self) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Takes no more jobs, and executes none that has not begun.
    pub(super) fn terminate(&self) {
        self.is_terminated.store(true, Ordering::Relaxed);
        self.close();
    }

    /// Waits until all threads have ended. Blocks.
    pub(super) fn join(&self) {
        let _ = self.ended.lock().unwrap_or_else(PoisonError::into_inner).recv();
    }
}

pub(super) fn closed() -> Error {
    Error::PoolClosed(Box::new(crate::Context {
        operation: "run",
        object: "Pool".into(),
        message: "the pool is closed".into(),
        hint: "open another pool".into(),
        ..crate::Context::default()
    }))
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} threads", self.count)
    }
}
