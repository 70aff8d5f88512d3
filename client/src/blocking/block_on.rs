//! Waits for futures on threads.

/// Waits for a future on this thread; the connection's own thread completes it.
pub(super) fn wait<F: Future>(future: F) -> F::Output {
    pollster::block_on(future)
}
