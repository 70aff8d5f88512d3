//! Writes that happen only while a grant stands.

use std::{fmt, str::FromStr};

use mp_manager_proto::v1::{self, Ref};

use crate::error::Error;

/// A grant, as a fence for writes: they happen only while it stands.
///
/// A process that holds a lock can be stopped for longer than the lock waits for it, and go on
/// without knowing that somebody else has it now. What it writes through a *fenced* proxy is checked
/// by the manager, in one step with the write: it fails with [`Error::Fenced`] instead of doing harm.
///
/// A fence is made from a guard, travels as text, and is good in any process.
///
/// # What is fenced does not wait
///
/// A fence stands now or not at all, so a call through a fenced [`Queue`](crate::Queue) that would have to
/// wait fails at once, whatever its timeout: a put with [`Error::QueueFull`], a get or a lease with
/// [`Error::Empty`], a join with [`Error::InvalidArgument`]. The `try_` forms answer as they always do.
///
/// ```
/// # use mp_manager::{Error, Fence, Manager};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mp_manager::Result<()> {
/// # let manager = Manager::start().await?;
/// let scores = manager.dict::<String, u64>("scores").await?;
/// let lock = manager.lock("scores-lock").await?;
///
/// let guard = lock.acquire().await?;
/// let fenced = scores.fenced(&guard);
/// fenced.insert("alice", &1).await?;
///
/// guard.release().await?;
/// assert!(matches!(fenced.insert("alice", &2).await, Err(Error::Fenced(_))));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fence {
    server: u64,
    lock: u64,
    token: u64,
}

impl Fence {
    /// A grant of `object`, under this token.
    pub(crate) fn new(object: Ref, token: u64) -> Self {
        Self { server: object.server, lock: object.object, token }
    }

    /// The fencing token of the grant.
    ///
    /// ```
    /// # use mp_manager::{Fence, Manager};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let guard = manager.lock("migrate").await?.acquire().await?;
    /// assert_eq!(Fence::from(&guard).token(), guard.token());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn token(&self) -> u64 {
        self.token
    }

    /// What the manager is told; a grant of another manager stands nowhere on this one.
    pub(crate) fn for_server(&self, server: u64) -> v1::Fence {
        let lock = if self.server == server { self.lock } else { 0 };
        v1::Fence { lock, token: self.token }
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}-{}", self.server, self.lock, self.token)
    }
}

impl FromStr for Fence {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parse = || {
            let mut parts = text.split('-');
            let server = u64::from_str_radix(parts.next()?, 16).ok()?;
            let lock = parts.next()?.parse().ok()?;
            let token = parts.next()?.parse().ok()?;
            parts.next().is_none().then_some(Self { server, lock, token })
        };
        parse().ok_or_else(|| {
            Error::Configuration(format!(
                "\"{text}\" is no fence: it is what a Fence prints, or `mp-manager lock` exports"
            ))
        })
    }
}

/// What every kind that holds data can do.
macro_rules! fenced {
    ($name:ident $(, $type:ident)*) => {
        impl<$($type),*> $name<$($type),*> {
            /// The same object, but every operation through it happens only while a grant stands,
            /// and [never waits](crate::Fence#what-is-fenced-does-not-wait). The fence is not stored
            /// with the proxy when it is a value.
            #[must_use]
            pub fn fenced(&self, fence: impl Into<$crate::Fence>) -> Self {
                let mut fenced = self.clone();
                fenced.object = self.object.fenced(fence.into());
                fenced
            }
        }
    };
}
pub(crate) use fenced;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_is_read_as_it_is_printed() {
        let fence = Fence { server: u64::MAX - 7, lock: 3, token: 9 };
        assert_eq!(fence.to_string().parse::<Fence>().unwrap(), fence);
        for text in ["", "1-2", "1-2-3-4", "x-1-2", "1--2"] {
            assert!(text.parse::<Fence>().is_err(), "{text}");
        }
    }
}
