//! `Semaphore` and `BoundedSemaphore`.

use std::{any::Any, sync::Arc};

use mp_manager::{
    Unnamed,
    blocking::{Manager, Permit, Semaphore},
};

use super::{Answer, Args, Failure, Patience, Shared, none, unknown};

pub(super) fn make(manager: &Manager, args: &Args<'_>) -> Result<Arc<dyn Shared>, Failure> {
    Ok(Arc::new(manager.semaphore(Unnamed, permits(args)).open()?))
}

pub(super) fn make_bounded(manager: &Manager, args: &Args<'_>) -> Result<Arc<dyn Shared>, Failure> {
    Ok(Arc::new(manager.bounded_semaphore(Unnamed, permits(args)).open()?))
}

/// How many permits: one, if nothing is said.
fn permits(args: &Args<'_>) -> usize {
    if args.len() == 0 { 1 } else { args.count(0) }
}

impl<B: Send + Sync + 'static> Shared for Semaphore<B> {
    fn call(&self, method: &str, args: &Args<'_>) -> Answer {
        Ok(match method {
            "__enter__" | "acquire" => {
                let permit = match Patience::new(args, 0) {
                    Patience::Forever => Some(self.acquire()?),
                    Patience::Never => self.try_acquire()?,
                    Patience::For(timeout) => self.acquire_timeout(timeout)?,
                };
                permit.map(Permit::leak).is_some().into()
            }
            "__exit__" => none(self.release(1))?,
            "release" => none(self.release(permits(args)))?,
            _ => unknown(method),
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
