//! `RLock`.

use std::{any::Any, sync::Arc};

use mp_manager::{
    Unnamed,
    blocking::{Manager, RLock, RLockGuard},
};

use super::{Answer, Args, Failure, Patience, Shared, none, unknown};

pub(super) fn make(manager: &Manager) -> Result<Arc<dyn Shared>, Failure> {
    Ok(Arc::new(manager.rlock(Unnamed).open()?))
}

impl Shared for RLock {
    fn call(&self, method: &str, args: &Args<'_>) -> Answer {
        Ok(match method {
            "__enter__" | "acquire" => {
                let guard = match Patience::new(args, 0) {
                    Patience::Forever => Some(self.acquire()?),
                    Patience::Never => self.try_acquire()?,
                    Patience::For(timeout) => self.acquire_timeout(timeout)?,
                };
                guard.map(RLockGuard::leak).is_some().into()
            }
            "__exit__" | "release" => none(self.release())?,
            "locked" => self.is_locked()?.into(),
            _ => unknown(method),
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
