//! Waits for futures on threads.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

/// Waits for a future on this thread; the connection's own thread completes it.
pub(super) fn wait<F: Future>(future: F) -> F::Output {
    pollster::block_on(future)
}

/// Waits for a future on this thread, but no longer than this.
pub(super) fn wait_timeout<F: Future>(future: F, timeout: Duration) -> Option<F::Output> {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let (mut cx, mut future) = (Context::from_waker(&waker), pin!(future));
    let deadline = Instant::now().checked_add(timeout);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Some(output);
        }
        match deadline {
            None => thread::park(),
            Some(deadline) => {
                thread::park_timeout(deadline.checked_duration_since(Instant::now())?);
            }
        }
    }
}
