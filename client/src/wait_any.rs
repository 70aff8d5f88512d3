//! Waits for the first of several things.

use std::{future::poll_fn, task::Poll, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use self::sealed::{Ask, Ready};
use crate::{
    error::Result,
    objects::{Event, PipeEnd, Queue},
};

pub(crate) mod sealed {
    use std::pin::Pin;

    use crate::error::Result;

    /// Whether something is ready: at once, or once it is.
    pub(crate) type Ask<'a> = Pin<Box<dyn Future<Output = Result<bool>> + Send + 'a>>;

    pub trait Ready: Sync {
        fn ready(&self, looks_only: bool) -> Ask<'_>;
    }
}

/// What [`wait_any`] waits for. Nothing is taken by it.
///
/// | | is ready when |
/// |---|---|
/// | [`Queue`] | a `get` would not wait: there is an item, or the queue is shut down |
/// | [`PipeEnd`] | a `receive` would not wait: there is a message, or the other end is closed |
/// | [`Event`] | it is set |
/// | [`Connection`](crate::connection::Connection) | a `recv` would not wait: there is a message, or the end |
/// | `Listener` | an `accept` would not wait |
/// | `Process`, `Sentinel` | it has ended |
/// | `AsyncResult` | the result is there |
pub trait Waitable: Ready {}

impl<T: Ready + ?Sized> Waitable for T {}

/// Waits until one of several things is ready, as long as it takes: the places of those that are, in ascending
/// order. Python's `multiprocessing.connection.wait`.
///
/// Nothing is taken: what is ready may be taken by somebody else before the caller comes to it. There is no
/// fairness between the things. Without any it returns at once. Cancel safe.
///
/// # Errors
/// The first error of one of the things: its session is lost, or it is deleted.
///
/// ```
/// # use mp_manager::Manager;
/// use mp_manager::wait_any;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mp_manager::Result<()> {
/// # let manager = Manager::start().await?;
/// let jobs = manager.queue::<String>("jobs").await?;
/// let stop = manager.event("stop").await?;
/// jobs.put("resize a.png").await?;
/// assert_eq!(wait_any(&[&stop, &jobs]).await?, [1]);
/// # Ok(())
/// # }
/// ```
#[doc(alias = "wait")]
pub async fn wait_any(things: &[&dyn Waitable]) -> Result<Vec<usize>> {
    ready(things, false).await
}

/// Waits until one of several things is ready, at most so long: the places of those that are, and none if the time
/// has passed. [`Duration::ZERO`] looks only. Otherwise as [`wait_any`].
///
/// # Errors
/// As [`wait_any`].
///
/// ```
/// # use mp_manager::Manager;
/// use std::time::Duration;
///
/// use mp_manager::wait_any_timeout;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mp_manager::Result<()> {
/// # let manager = Manager::start().await?;
/// let stop = manager.event("stop").await?;
/// assert!(wait_any_timeout(&[&stop], Duration::from_millis(1)).await?.is_empty());
/// # Ok(())
/// # }
/// ```
pub async fn wait_any_timeout(things: &[&dyn Waitable], timeout: Duration) -> Result<Vec<usize>> {
    if timeout.is_zero() {
        return ready(things, true).await;
    }
    match tokio::time::timeout(timeout, first(things, false)).await {
        Ok(first) => Ok(with_others(things, first?).await),
        Err(_) => Ok(Vec::new()),
    }
}

pub(crate) async fn ready(things: &[&dyn Waitable], looks_only: bool) -> Result<Vec<usize>> {
    let first = first(things, looks_only).await?;
    Ok(with_others(things, first).await)
}

/// What is ready first, and the places of what has not answered by then.
pub(crate) type First = (Vec<usize>, Vec<usize>);

pub(crate) async fn first(things: &[&dyn Waitable], looks_only: bool) -> Result<First> {
    let places = things.iter().enumerate();
    answered(places.map(|(place, thing)| (place, thing.ready(looks_only))).collect(), looks_only)
        .await
}

/// Adds the others that are ready: their answers may have been on their way. A look ends by itself, whatever the
/// connection does; what cannot be asked now fails the next time.
pub(crate) async fn with_others(
    things: &[&dyn Waitable],
    (mut ready, others): First,
) -> Vec<usize> {
    let looks = others.iter().map(|&place| (place, things[place].ready(true))).collect();
    if let Ok((others, _)) = answered(looks, true).await {
        ready.extend(others);
    }
    ready.sort_unstable();
    ready
}

type Asked<'a> = Vec<(usize, Ask<'a>)>;

/// Waits for the first answer that something is ready, or for `all` answers: the places of what is, and those that
/// have not answered.
async fn answered(mut asked: Asked<'_>, all: bool) -> Result<First> {
    let mut ready = Vec::new();
    poll_fn(|cx| {
        let mut failed = None;
        asked.retain_mut(|(place, ask)| match ask.as_mut().poll(cx) {
            Poll::Pending => true,
            Poll::Ready(Ok(is_ready)) => {
                ready.extend(is_ready.then_some(*place));
                false
            }
            Poll::Ready(Err(error)) => {
                failed.get_or_insert(error);
                false
            }
        });
        match failed {
            Some(error) => Poll::Ready(Err(error)),
            None if !asked.is_empty() && (all || ready.is_empty()) => Poll::Pending,
            None => Poll::Ready(Ok(())),
        }
    })
    .await?;
    Ok((ready, asked.into_iter().map(|(place, _)| place).collect()))
}

/// How long a call may wait.
fn patience(looks_only: bool) -> Duration {
    if looks_only { Duration::ZERO } else { Duration::MAX }
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Ready for Queue<T> {
    fn ready(&self, looks_only: bool) -> Ask<'_> {
        Box::pin(self.poll(patience(looks_only)))
    }
}

impl<S, R> Ready for PipeEnd<S, R>
where
    S: Serialize + Send + 'static,
    R: DeserializeOwned + Send + 'static,
{
    fn ready(&self, looks_only: bool) -> Ask<'_> {
        Box::pin(self.poll(patience(looks_only)))
    }
}

impl Ready for Event {
    fn ready(&self, looks_only: bool) -> Ask<'_> {
        Box::pin(self.wait_timeout(patience(looks_only)))
    }
}

#[cfg(feature = "process")]
mod processes {
    use super::{Ask, Ready};
    use crate::process::{AsyncResult, Process, Sentinel};

    impl Ready for Process {
        fn ready(&self, looks_only: bool) -> Ask<'_> {
            Box::pin(async move {
                if !looks_only {
                    self.ended().await;
                }
                Ok(!self.is_alive())
            })
        }
    }

    impl Ready for Sentinel {
        fn ready(&self, looks_only: bool) -> Ask<'_> {
            Box::pin(async move {
                if !looks_only {
                    self.clone().await;
                }
                Ok(self.has_ended())
            })
        }
    }

    impl<T: Send + 'static> Ready for AsyncResult<T> {
        fn ready(&self, looks_only: bool) -> Ask<'_> {
            Box::pin(async move {
                if !looks_only {
                    self.wait().await;
                }
                Ok(AsyncResult::ready(self))
            })
        }
    }
}

mod connections {
    use std::time::Duration;

    use super::{Ask, Ready};
    use crate::connection::Connection;

    macro_rules! of_sockets {
        ($($(#[$attribute:meta])* $name:ty,)*) => {$(
            $(#[$attribute])*
            impl Ready for $name {
                fn ready(&self, looks_only: bool) -> Ask<'_> {
                    Box::pin(async move {
                        if looks_only {
                            return self.poll(Duration::ZERO).await;
                        }
                        self.readable().await;
                        Ok(true)
                    })
                }
            }
        )*};
    }

    of_sockets! {
        Connection,
        #[cfg(feature = "embedded")]
        crate::connection::Listener,
    }
}
