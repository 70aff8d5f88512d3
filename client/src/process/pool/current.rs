//! The task that this thread is executing.

use std::cell::Cell;

use mp_manager_proto::v1::Ref;

use crate::Fence;

thread_local! {
    static CURRENT: Cell<Option<(Ref, u64)>> = const { Cell::new(None) };
}

/// As long as it lives, this thread executes tasks of a ticket.
pub(super) struct Current(());

impl Current {
    pub(super) fn enter(pool: Ref, token: u64) -> Self {
        CURRENT.set(Some((pool, token)));
        Self(())
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        CURRENT.set(None);
    }
}

/// The pool and the ticket of the task that this thread is executing.
pub(super) fn ticket() -> Option<(Ref, u64)> {
    CURRENT.get()
}

/// The fence of the task that this thread is executing: what is written with it is refused once the task was
/// given up, or given to another worker. `None` outside of a task of a pool, and in a [pool of
/// threads](crate::Pool::threads).
///
/// ```no_run
/// use mp_manager::{Manager, Result, process, task};
///
/// #[task(idempotent)]
/// async fn store(n: u64) -> Result<()> {
///     let results = Manager::current().await?.dict::<u64, u64>("results").await?;
///     if let Some(fence) = process::fence() {
///         results.fenced(fence).insert(&n, n * n).await?;
///     }
///     Ok(())
/// }
/// # fn main() {}
/// ```
#[must_use]
pub fn fence() -> Option<Fence> {
    ticket().map(|(pool, token)| Fence::new(pool, token))
}
