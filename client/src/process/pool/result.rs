//! What is under way and asked for later.

use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{oneshot, watch},
};

use crate::{
    error::{Context, Error, Result},
    process::task::BoxFuture,
    transport::io_thread::ProcessThread,
};

/// The result of something that was submitted and goes on by itself. Python's `AsyncResult`.
///
/// Dropping it changes nothing; [`cancel`](Self::cancel) takes the tasks back.
///
/// ```no_run
/// use mp_manager::{Pool, Result, task};
///
/// #[task]
/// fn square(x: i64) -> i64 {
///     x * x
/// }
///
/// #[mp_manager::main]
/// async fn main() -> Result<()> {
///     let pool = Pool::new(4).await?;
///     let result = pool.apply_async(square, (7,));
///     assert_eq!(result.get().await?, 49);
///     Ok(())
/// }
/// ```
pub struct AsyncResult<T> {
    shared: Arc<Shared<T>>,
    cancel: Mutex<Option<oneshot::Sender<()>>>,
}

struct Shared<T> {
    result: Mutex<Option<Result<T>>>,
    /// Whether it was successful, once that is known. Changes with the result locked.
    state: watch::Sender<Option<bool>>,
    /// The state has changed.
    arrived: Condvar,
}

impl<T: Send + 'static> AsyncResult<T> {
    /// Drives a future on the current runtime, or on one that all others share.
    pub(super) fn of(mut future: BoxFuture<Result<T>>) -> Self {
        let shared = Arc::new(Shared {
            result: Mutex::new(None),
            state: watch::Sender::new(None),
            arrived: Condvar::new(),
        });
        let (cancel, cancelled) = oneshot::channel::<()>();
        let driver = Driver(Arc::clone(&shared));
        // A first poll submits it, before this returns.
        let first =
            future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        let drive = async move {
            let result = match first {
                std::task::Poll::Ready(result) => result,
                std::task::Poll::Pending => {
                    let given_up = async {
                        // It was only dropped.
                        if cancelled.await.is_err() {
                            std::future::pending::<()>().await;
                        }
                    };
                    tokio::select! {
                        result = future => result,
                        () = given_up => Err(cancelled_error()),
                    }
                }
            };
            driver.0.arrive(result);
        };
        // Wherever it is dropped without an end, its driver says so.
        match Handle::try_current().or_else(|_| background()) {
            Ok(runtime) => drop(runtime.spawn(drive)),
            Err(_) => drop(drive),
        }
        Self { shared, cancel: Mutex::new(Some(cancel)) }
    }

    /// Waits for the result, as long as it takes. Cancelling the call loses the result, and does nothing to
    /// the tasks.
    ///
    /// # Errors
    /// The error of the call that was submitted, as documented there.
    pub async fn get(self) -> Result<T> {
        self.wait().await;
        self.take().unwrap_or_else(|| Err(lost()))
    }

    /// Waits for the result, but no longer than this; `None` if it is not there. It is handed over once.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_timeout(&mut self, timeout: Duration) -> Result<Option<T>> {
        if self.wait_timeout(timeout).await { self.take().transpose() } else { Ok(None) }
    }

    /// Waits until the result is there.
    pub async fn wait(&self) {
        let _ = self.shared.state.subscribe().wait_for(Option::is_some).await;
    }

    /// Waits until the result is there, but no longer than this: whether it is.
    pub async fn wait_timeout(&self, timeout: Duration) -> bool {
        tokio::time::timeout(timeout, self.wait()).await.is_ok()
    }

    /// Whether the result is there.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.shared.state.borrow().is_some()
    }

    /// Whether the result is there, and no error. Python raises `ValueError` before it is there; here that is
    /// `None`.
    #[must_use]
    pub fn successful(&self) -> Option<bool> {
        *self.shared.state.borrow()
    }

    /// Takes the tasks back: those that no worker has started are not executed. The result is
    /// [`Error::Cancelled`] then, unless it is there already, and callbacks are not called.
    pub fn cancel(&self) {
        if let Some(cancel) = self.cancel.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = cancel.send(());
        }
    }

    /// Waits on this thread until the result is there, but no longer than this: whether it is.
    pub(crate) fn wait_here(&self, timeout: Duration) -> bool {
        let slot = self.shared.result.lock().unwrap_or_else(PoisonError::into_inner);
        let is_missing = |_: &mut Option<Result<T>>| !self.ready();
        let waited = self.shared.arrived.wait_timeout_while(slot, timeout, is_missing);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    pub(crate) fn take(&self) -> Option<Result<T>> {
        self.shared.result.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<T> Shared<T> {
    /// The first result counts.
    fn arrive(&self, result: Result<T>) {
        let mut slot = self.result.lock().unwrap_or_else(PoisonError::into_inner);
        if self.state.borrow().is_some() {
            return;
        }
        let is_good = result.is_ok();
        *slot = Some(result);
        self.state.send_replace(Some(is_good));
        drop(slot);
        self.arrived.notify_all();
    }
}

/// Completes a result. If it is dropped before, because its runtime is or because what it polled has panicked,
/// the result is an error.
struct Driver<T>(Arc<Shared<T>>);

impl<T> Drop for Driver<T> {
    fn drop(&mut self) {
        self.0.arrive(Err(Error::Cancelled(
            "nobody completes the result any more: the runtime on which it was submitted has ended, or its \
             inputs or its decoding panicked"
                .into(),
        )));
    }
}

/// The runtime of results that are submitted outside of any. It drives nothing else: a callback may block its
/// thread.
fn background() -> Result<Handle> {
    static THREAD: ProcessThread = ProcessThread::new();
    THREAD.handle()
}

impl<T> fmt::Debug for AsyncResult<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self.shared.state.borrow() {
            None => "a result that is not there",
            Some(true) => "a result",
            Some(false) => "an error",
        })
    }
}

fn cancelled_error() -> Error {
    Error::Cancelled("the tasks were taken back".into())
}

fn lost() -> Error {
    let message = "the result was handed over before".into();
    Error::InvalidArgument(Box::new(Context { operation: "get", message, ..Context::default() }))
}
