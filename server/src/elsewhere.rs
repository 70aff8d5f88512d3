//! Where what takes long keeps nobody waiting.

use tokio::runtime::Handle;

/// Does something on a thread that may take its time; here, if the runtime is gone and nobody is left who could
/// wait.
pub(crate) fn elsewhere(f: impl FnOnce() + Send + 'static) {
    match Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(f)),
        Err(_) => f(),
    }
}
