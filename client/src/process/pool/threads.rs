//! A pool of threads of this process: Python's `multiprocessing.dummy`.

use std::{
    fmt,
    sync::{Mutex, PoisonError, mpsc},
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
    count: usize,
    ended: Mutex<mpsc::Receiver<()>>,
}

impl Threads {
    pub(super) fn start(count: usize) -> Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = std::sync::Arc::new(Mutex::new(queue));
        let (alive, ended) = mpsc::channel();
        for number in 1..=count {
            let (queue, alive) = (std::sync::Arc::clone(&queue), alive.clone());
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
        Ok(Self { jobs: Mutex::new(Some(jobs)), count, ended: Mutex::new(ended) })
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
        let job = move || {
            if send.is_closed() {
                return;
            }
            let began = Instant::now();
            let mut ran = Ran {
                values: Vec::with_capacity(args.len()),
                failures: Vec::new(),
                elapsed: began.elapsed(),
            };
            for (at, args) in args.into_iter().enumerate() {
                match chunk::direct::<T>(args) {
                    Ok(value) => ran.values.push(value),
                    Err(failure) => ran.failures.push((at, failure)),
                }
            }
            ran.elapsed = began.elapsed();
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

    pub(super) fn is_closed(&self) -> bool {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).is_none()
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
