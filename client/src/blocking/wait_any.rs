//! Waits on this thread for the first of several things.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Waitable,
    blocking::{
        Event, PipeEnd, Queue,
        block_on::{wait, wait_timeout},
    },
    error::Result,
    wait_any::{
        first, ready,
        sealed::{Ask, Ready},
        with_others,
    },
};

/// Waits until one of several things is ready, as [`crate::wait_any`].
///
/// # Errors
/// As [`crate::wait_any`].
///
/// ```
/// use mp_manager::blocking::{Manager, wait_any};
///
/// # fn main() -> mp_manager::Result<()> {
/// # let manager = Manager::start()?;
/// let jobs = manager.queue::<String>("jobs").open()?;
/// let stop = manager.event("stop").open()?;
/// jobs.put("resize a.png")?;
/// assert_eq!(wait_any(&[&stop, &jobs])?, [1]);
/// # Ok(())
/// # }
/// ```
#[doc(alias = "wait")]
pub fn wait_any(things: &[&dyn Waitable]) -> Result<Vec<usize>> {
    wait(ready(things, false))
}

/// Waits until one of several things is ready, at most so long, as [`crate::wait_any_timeout`].
///
/// # Errors
/// As [`crate::wait_any`].
///
/// ```
/// use std::time::Duration;
///
/// use mp_manager::blocking::{Manager, wait_any_timeout};
///
/// # fn main() -> mp_manager::Result<()> {
/// # let manager = Manager::start()?;
/// let stop = manager.event("stop").open()?;
/// assert!(wait_any_timeout(&[&stop], Duration::from_millis(1))?.is_empty());
/// # Ok(())
/// # }
/// ```
pub fn wait_any_timeout(things: &[&dyn Waitable], timeout: Duration) -> Result<Vec<usize>> {
    if timeout.is_zero() {
        return wait(ready(things, true));
    }
    match wait_timeout(first(things, false), timeout) {
        Some(first) => Ok(wait(with_others(things, first?))),
        None => Ok(Vec::new()),
    }
}

macro_rules! delegate {
    ($([$($bounds:tt)*] $name:ty,)*) => {$(
        impl<$($bounds)*> Ready for $name {
            fn ready(&self, looks_only: bool) -> Ask<'_> {
                Ready::ready(&self.inner, looks_only)
            }
        }
    )*};
}

delegate! {
    [T: Serialize + DeserializeOwned + Send + 'static] Queue<T>,
    [
        S: Serialize + Send + 'static,
        R: DeserializeOwned + Send + 'static,
    ] PipeEnd<S, R>,
    [] Event,
}

#[cfg(feature = "process")]
delegate! {
    [] crate::blocking::Process,
    [T: Send + 'static] crate::blocking::AsyncResult<T>,
}

macro_rules! of_a_runtime {
    ($($(#[$attribute:meta])* $name:ty,)*) => {$(
        $(#[$attribute])*
        impl Ready for $name {
            fn ready(&self, looks_only: bool) -> Ask<'_> {
                if looks_only {
                    // Its own runtime looks.
                    let looked = self.poll(Duration::ZERO);
                    return Box::pin(std::future::ready(looked));
                }
                Ready::ready(&self.inner, false)
            }
        }
    )*};
}

of_a_runtime! {
    crate::blocking::connection::Connection,
    #[cfg(feature = "embedded")]
    crate::blocking::connection::Listener,
}
