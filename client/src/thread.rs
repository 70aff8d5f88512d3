//! A thread of its own for a connection, which computing user code cannot starve.

use std::{
    future::Future,
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use tokio::sync::oneshot;

use crate::error::{Error, Result};

/// How long dropping it waits for the goodbye to be sent.
const GOODBYE_TIME: Duration = Duration::from_millis(100);

/// Runs a connection's tasks until it is dropped.
pub(crate) struct IoThread {
    handle: tokio::runtime::Handle,
    stop: Option<oneshot::Sender<()>>,
    stopped: Mutex<mpsc::Receiver<()>>,
}

impl IoThread {
    pub(crate) fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| cannot_start(&error))?;
        let handle = runtime.handle().clone();
        let (stop, wait) = oneshot::channel();
        let (done, stopped) = mpsc::channel();
        thread::Builder::new()
            .name("mp-manager-io".into())
            .spawn(move || {
                runtime.block_on(async {
                    // Dropping the sender stops it as well.
                    let _ = wait.await;
                    linger().await;
                });
                runtime.shutdown_background();
                let _ = done.send(());
            })
            .map_err(|error| cannot_start(&error))?;
        Ok(Self { handle, stop: Some(stop), stopped: Mutex::new(stopped) })
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
}

/// Lets what is ready to be sent be sent.
async fn linger() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

impl Drop for IoThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        let stopped = self.stopped.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = stopped.recv_timeout(GOODBYE_TIME);
    }
}

fn cannot_start(error: &impl std::fmt::Display) -> Error {
    Error::Configuration(format!("cannot run a connection on a thread of its own: {error}"))
}
