//! `Lock`.

use std::{
    any::Any,
    sync::{Arc, Mutex},
};

use mp_manager::{
    Unnamed,
    blocking::{Lock, LockGuard, Manager},
};

use super::{Answer, Args, Failure, Patience, Shared, none, unknown};

/// The token of no grant: whoever releases it holds nothing.
const NO_TOKEN: u64 = 0;

struct Held {
    lock: Lock,
    guard: Mutex<Option<LockGuard>>,
}

pub(super) fn make(manager: &Manager) -> Result<Arc<dyn Shared>, Failure> {
    let lock = manager.lock(Unnamed).open()?;
    Ok(Arc::new(Held { lock, guard: Mutex::new(None) }))
}

impl Shared for Held {
    fn call(&self, method: &str, args: &Args<'_>) -> Answer {
        Ok(match method {
            "__enter__" | "acquire" => {
                let guard = match Patience::new(args, 0) {
                    Patience::Forever => Some(self.lock.acquire()?),
                    Patience::Never => self.lock.try_acquire()?,
                    Patience::For(timeout) => self.lock.acquire_timeout(timeout)?,
                };
                let acquired = guard.is_some();
                if acquired {
                    *self.guard.lock().unwrap() = guard;
                }
                acquired.into()
            }
            "__exit__" | "release" => none(match self.guard.lock().unwrap().take() {
                Some(guard) => guard.release(),
                None => self.lock.release_token(NO_TOKEN),
            })?,
            "locked" => self.lock.is_locked()?.into(),
            _ => unknown(method),
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
