//! A thread of its own for a connection, which computing user code cannot starve.

use std::{
    future::Future,
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use tokio::{sync::oneshot, task::JoinHandle, time::timeout};

use crate::{
    error::{Error, Result},
    session::fork::Home,
};

/// How long dropping it waits for the goodbye to be heard.
const GOODBYE_TIME: Duration = Duration::from_millis(500);
/// And how long the thread does, before the goodbye is said on another connection.
const ANSWER_TIME: Duration = Duration::from_millis(200);

/// Runs a connection's tasks until it is dropped.
pub(crate) struct IoThread {
    handle: tokio::runtime::Handle,
    /// The task that runs the connection, which ends when the manager has heard the goodbye.
    driver: Option<JoinHandle<()>>,
    stop: Option<oneshot::Sender<JoinHandle<()>>>,
    stopped: Mutex<mpsc::Receiver<()>>,
    home: Home,
}

/// A thread that a process starts when it first needs it. A fork, which has none of its parent's threads,
/// starts another one.
pub(crate) struct ProcessThread(Mutex<Option<(Home, IoThread)>>);

impl ProcessThread {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// The runtime of the thread.
    pub(crate) fn handle(&self) -> Result<tokio::runtime::Handle> {
        let mut thread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*thread {
            Some((home, thread)) if home.is_here() => Ok(thread.handle().clone()),
            _ => {
                let (_, thread) = thread.insert((Home::here(), IoThread::start()?));
                Ok(thread.handle().clone())
            }
        }
    }
}

impl IoThread {
    pub(crate) fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| cannot_start(&error))?;
        let handle = runtime.handle().clone();
        let (stop, wait) = oneshot::channel::<JoinHandle<()>>();
        let (done, stopped) = mpsc::channel();
        thread::Builder::new()
            .name("mp-manager-io".into())
            .spawn(move || {
                runtime.block_on(async {
                    // Dropping the sender stops it as well.
                    if let Ok(driver) = wait.await {
                        let _ = timeout(ANSWER_TIME, driver).await;
                    }
                });
                runtime.shutdown_background();
                let _ = done.send(());
            })
            .map_err(|error| cannot_start(&error))?;
        let home = Home::here();
        Ok(Self { handle, driver: None, stop: Some(stop), stopped: Mutex::new(stopped), home })
    }

    /// The runtime of the thread.
    pub(crate) fn handle(&self) -> &tokio::runtime::Handle {
        &self.handle
    }

    /// Runs `future` on the thread.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Result<T> {
        let (send, receive) = oneshot::channel();
        self.handle.spawn(async move {
            let _ = send.send(future.await);
        });
        receive.await.map_err(|error| cannot_start(&error))
    }

    /// Lets this task, which runs on the thread, end before the thread does.
    pub(crate) fn wait_for(&mut self, driver: JoinHandle<()>) {
        self.driver = Some(driver);
    }
}

impl Drop for IoThread {
    fn drop(&mut self) {
        if !self.home.is_here() {
            // The thread is not there in a fork, nor is the task.
            return;
        }
        if let (Some(stop), Some(driver)) = (self.stop.take(), self.driver.take()) {
            let _ = stop.send(driver);
        }
        let stopped = self.stopped.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = stopped.recv_timeout(GOODBYE_TIME);
    }
}

fn cannot_start(error: &impl std::fmt::Display) -> Error {
    Error::Configuration(format!("cannot run a connection on a thread of its own: {error}"))
}

/// Refuses a runtime that cannot run a connection to a manager.
pub(crate) fn check_runtime() -> Result<()> {
    missing().map_or(Ok(()), |missing| {
        Err(Error::Configuration(format!(
            "a connection needs {missing} (or use Builder::background_thread(), which gives the \
             connection a thread and a runtime of its own, or mp_manager::blocking)"
        )))
    })
}

/// What a connection needs and the runtime here has not.
pub(crate) fn missing() -> Option<&'static str> {
    if tokio::runtime::Handle::try_current().is_err() {
        Some("a tokio runtime, and there is none here")
    } else if std::panic::catch_unwind(|| tokio::time::sleep(Duration::ZERO)).is_err() {
        Some("time, which this tokio runtime was built without: `enable_all()` or `enable_time()`")
    } else if std::panic::catch_unwind(tokio::net::UnixStream::pair).is_err() {
        Some("I/O, which this tokio runtime was built without: `enable_all()` or `enable_io()`")
    } else {
        None
    }
}
