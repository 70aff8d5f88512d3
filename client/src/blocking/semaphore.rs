//! A semaphore that every process can use, for threads.

use std::time::Duration;

use crate::{
    Fence,
    blocking::{Manager, Open, wait, wrapper},
    error::Result,
    objects::{
        open::Name,
        semaphore::{Bounded, Unbounded},
    },
};

impl Manager {
    /// A [`Semaphore`] that begins with so many permits.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let downloads = manager.semaphore("downloads", 4).open()?;
    /// let permit = downloads.acquire()?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "Semaphore")]
    pub fn semaphore(&self, name: impl Into<Name>, permits: usize) -> Open<Semaphore> {
        Open::new(self.inner.semaphore(name, permits))
    }

    /// A [`BoundedSemaphore`] of so many permits.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let downloads = manager.bounded_semaphore("downloads", 4).open()?;
    /// let permit = downloads.acquire()?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "BoundedSemaphore")]
    pub fn bounded_semaphore(
        &self,
        name: impl Into<Name>,
        permits: usize,
    ) -> Open<BoundedSemaphore> {
        Open::new(self.inner.bounded_semaphore(name, permits))
    }
}

wrapper! {
    /// A semaphore for processes, as [`crate::Semaphore`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let downloads = manager.semaphore("downloads", 4).open()?;
    /// let permit = downloads.acquire()?;
    /// assert_eq!(downloads.available()?, 3);
    /// permit.release()?;
    /// # Ok(())
    /// # }
    /// ```
    Semaphore, B = Unbounded
}

/// A [`Semaphore`] that never has more permits than it began with, as [`crate::BoundedSemaphore`].
///
/// ```
/// # use mp_manager::{Error, blocking::Manager};
/// # fn main() -> mp_manager::Result<()> {
/// # let manager = Manager::start()?;
/// let downloads = manager.bounded_semaphore("downloads", 4).open()?;
/// let permit = downloads.acquire()?;
/// permit.release()?;
/// assert!(matches!(downloads.release(1), Err(Error::BoundExceeded(_))));
/// # Ok(())
/// # }
/// ```
pub type BoundedSemaphore = Semaphore<Bounded>;

impl<B> Semaphore<B> {
    /// Waits for a permit as long as it takes, as [`crate::Semaphore::acquire`].
    ///
    /// # Errors
    /// If the session is lost or the semaphore deleted meanwhile.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let downloads = manager.semaphore("downloads", 4).open()?;
    /// let permit = downloads.acquire()?;
    /// assert_eq!(downloads.available()?, 3);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__enter__")]
    pub fn acquire(&self) -> Result<Permit> {
        wait(self.inner.acquire()).map(Permit::new)
    }

    /// Waits for so many permits at once, as long as it takes, as
    /// [`crate::Semaphore::acquire_many`].
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for none, or for more than a
    /// bounded semaphore has; if the session is lost or the semaphore deleted meanwhile.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let downloads = manager.semaphore("downloads", 4).open()?;
    /// let permits = downloads.acquire_many(3)?;
    /// assert_eq!(downloads.available()?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn acquire_many(&self, permits: usize) -> Result<Permit> {
        wait(self.inner.acquire_many(permits)).map(Permit::new)
    }

    /// Takes a permit if there is one now and nobody waits for it, or `None`, as
    /// [`crate::Semaphore::try_acquire`].
    ///
    /// # Errors
    /// If the session is lost or the semaphore deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let downloads = manager.semaphore("downloads", 4).open()?;
    /// let permits = downloads.acquire_many(4)?;
    /// assert!(downloads.try_acquire()?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_acquire(&self) -> Result<Option<Permit>> {
        Ok(wait(self.inner.try_acquire())?.map(Permit::new))
    }

    /// Takes so many permits if there are as many now and nobody waits, or `None`, as
    /// [`crate::Semaphore::try_acquire_many`].
    ///
    /// # Errors
    /// As [`acquire_many`](Self::acquire_many).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let downloads = manager.semaphore("downloads", 4).open()?;
    /// assert!(downloads.try_acquire_many(5)?.is_none());
    /// let permits = downloads.try_acquire_many(4)?;
    /// assert!(permits.is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_acquire_many(&self, permits: usize) -> Result<Option<Permit>> {
        Ok(wait(self.inner.try_acquire_many(permits))?.map(Permit::new))
    }

    /// Waits for a permit, at most so long; `None` if none could be had, as
    /// [`crate::Semaphore::acquire_timeout`].
    ///
    /// # Errors
    /// If the session is lost or the semaphore deleted meanwhile.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # use std::time::Duration;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let downloads = manager.semaphore("downloads", 4).open()?;
    /// let permits = downloads.acquire_many(4)?;
    /// assert!(downloads.acquire_timeout(Duration::from_millis(1))?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Option<Permit>> {
        Ok(wait(self.inner.acquire_timeout(timeout))?.map(Permit::new))
    }

    /// Waits for so many permits at once, at most so long; `None` if they could not be had, as
    /// [`crate::Semaphore::acquire_many_timeout`].
    ///
    /// # Errors
    /// As [`acquire_many`](Self::acquire_many).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # use std::time::Duration;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let downloads = manager.semaphore("downloads", 4).open()?;
    /// let millisecond = Duration::from_millis(1);
    /// assert!(downloads.acquire_many_timeout(5, millisecond)?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn acquire_many_timeout(
        &self,
        permits: usize,
        timeout: Duration,
    ) -> Result<Option<Permit>> {
        Ok(wait(self.inner.acquire_many_timeout(permits, timeout))?.map(Permit::new))
    }

    /// Releases so many permits, this session's own before others, as
    /// [`crate::Semaphore::release`].
    ///
    /// # Errors
    /// [`Error::BoundExceeded`](crate::Error::BoundExceeded) if a bounded semaphore would have more
    /// than it began with, [`Error::InvalidArgument`](crate::Error::InvalidArgument) for none.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let downloads = manager.semaphore("downloads", 4).open()?;
    /// downloads.release(2)?;
    /// assert_eq!(downloads.available()?, 6);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__exit__")]
    pub fn release(&self, permits: usize) -> Result<()> {
        wait(self.inner.release(permits))
    }

    /// Releases the permits of the grant with this token, whoever holds it, from any process; its
    /// guard is marked as lost, as [`crate::Semaphore::release_token`].
    ///
    /// # Errors
    /// [`Error::NotHeld`](crate::Error::NotHeld) if that grant does not stand (any more).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let downloads = manager.semaphore("downloads", 4).open()?;
    /// let permit = downloads.acquire()?;
    /// downloads.release_token(permit.token())?;
    /// assert!(permit.is_lost());
    /// # Ok(())
    /// # }
    /// ```
    pub fn release_token(&self, token: u64) -> Result<()> {
        wait(self.inner.release_token(token))
    }

    /// How many permits nobody holds, as [`crate::Semaphore::available`].
    ///
    /// # Errors
    /// If the session is lost or the semaphore deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let downloads = manager.semaphore("downloads", 4).open()?;
    /// assert_eq!(downloads.available()?, 4);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "get_value")]
    pub fn available(&self) -> Result<usize> {
        wait(self.inner.available())
    }
}

/// Holds permits of a [`Semaphore`], as [`crate::Permit`]. Dropping it releases them.
#[derive(Debug)]
#[must_use = "permits are released when they are dropped"]
pub struct Permit {
    inner: crate::Permit,
}

impl Permit {
    fn new(inner: crate::Permit) -> Self {
        Self { inner }
    }

    /// How many were acquired, as [`crate::Permit::permits`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let downloads = manager.semaphore("downloads", 4).open()?;
    /// let permits = downloads.acquire_many(3)?;
    /// assert_eq!(permits.permits(), 3);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn permits(&self) -> usize {
        self.inner.permits()
    }

    /// The fencing token of this grant, as [`crate::Permit::token`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let downloads = manager.semaphore("downloads", 4).open()?;
    /// let (first, second) = (downloads.acquire()?, downloads.acquire()?);
    /// assert!(second.token() > first.token());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn token(&self) -> u64 {
        self.inner.token()
    }

    /// Whether all of them are known to be lost, as [`crate::Permit::is_lost`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let downloads = manager.semaphore("downloads", 4).open()?;
    /// let permit = downloads.acquire()?;
    /// assert!(!permit.is_lost());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.inner.is_lost()
    }

    /// Waits until all of them are lost, as [`crate::Permit::lost`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let downloads = manager.semaphore("downloads", 4).open()?;
    /// let permit = downloads.acquire()?;
    /// downloads.release_token(permit.token())?;
    /// permit.lost();
    /// # Ok(())
    /// # }
    /// ```
    pub fn lost(&self) {
        wait(self.inner.lost());
    }

    /// Releases them and waits until the manager confirms it, as [`crate::Permit::release`].
    ///
    /// # Errors
    /// If they were lost before.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let downloads = manager.semaphore("downloads", 4).open()?;
    /// let permit = downloads.acquire()?;
    /// permit.release()?;
    /// assert_eq!(downloads.available()?, 4);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__exit__")]
    pub fn release(self) -> Result<()> {
        wait(self.inner.release())
    }

    /// Keeps the permits without a guard, until they are [released](Semaphore::release) or this
    /// session ends, as [`crate::Permit::leak`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let downloads = manager.semaphore("downloads", 4).open()?;
    /// downloads.acquire()?.leak();
    /// assert_eq!(downloads.available()?, 3);
    /// downloads.release(1)?;
    /// assert_eq!(downloads.available()?, 4);
    /// # Ok(())
    /// # }
    /// ```
    pub fn leak(self) {
        self.inner.leak();
    }

    /// Uses the permits up, as [`crate::Permit::forget`].
    ///
    /// # Errors
    /// If they were lost before.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// // One process waits for a signal, and another gives it.
    /// let signals = manager.semaphore("signals", 0).open()?;
    /// signals.release(1)?;
    /// signals.acquire()?.forget()?;
    /// assert_eq!(signals.available()?, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn forget(self) -> Result<()> {
        wait(self.inner.forget())
    }
}

impl From<&Permit> for Fence {
    fn from(guard: &Permit) -> Self {
        Self::from(&guard.inner)
    }
}
