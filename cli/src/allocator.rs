//! The allocator that gives memory back to the system.

use tikv_jemalloc_ctl::background_thread;
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Starts the thread that returns unused pages. Only a daemon outlives them: a command would start a thread
/// that it does not need.
pub(crate) fn return_unused_memory() {
    if let Err(error) = background_thread::write(true) {
        tracing::warn!(
            "memory is given back only while it is being allocated: cannot start a thread: {error}"
        );
    }
}
