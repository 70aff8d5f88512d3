//! What the attributes emit refers to. It changes without notice.

pub use inventory;

use tokio::runtime::{Builder, Runtime};

pub use crate::process::{BoxFuture, Entry, Fallible, Running, Task, Transferable};

/// The beginning of a test.
pub fn init_in_test(path: &str) {
    crate::process::init_in_test(path);
}

/// The end of `main`.
pub fn finish<T>(output: T) -> T {
    crate::process::finish();
    output
}

/// The runtime of an async `main`.
pub fn block_on<F: Future>(future: F) -> F::Output {
    run(Builder::new_multi_thread().enable_all().build(), future)
}

/// The runtime of an async test, as of `#[tokio::test]`.
pub fn block_on_current_thread<T>(future: impl Future<Output = T>) -> T {
    run(Builder::new_current_thread().enable_all().build(), future)
}

#[expect(
    clippy::panic,
    reason = "nothing can be done without a runtime; `#[tokio::main]` panics as well"
)]
fn run<F: Future>(runtime: std::io::Result<Runtime>, future: F) -> F::Output {
    match runtime {
        Ok(runtime) => runtime.block_on(future),
        Err(error) => panic!("cannot make a runtime: {error}"),
    }
}
