//! A lock that its owner can take again, for threads.

use std::time::Duration;

use crate::{
    Fence,
    blocking::{Manager, Open, wait, wrapper},
    error::Result,
    objects::open::Name,
};

impl Manager {
    /// An [`RLock`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let lock = manager.rlock("migrate").open()?;
    /// let guard = lock.acquire()?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "RLock")]
    pub fn rlock(&self, name: impl Into<Name>) -> Open<RLock> {
        Open::new(self.inner.rlock(name))
    }
}

wrapper! {
    /// A re-entrant lock for processes, as [`crate::RLock`]. Its owner is the thread that acquires
    /// it.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let lock = manager.rlock("migrate").open()?;
    /// let outer = lock.acquire()?;
    /// let inner = lock.acquire()?;
    /// assert_eq!((outer.depth(), inner.depth()), (1, 2));
    /// # Ok(())
    /// # }
    /// ```
    RLock
}

impl RLock {
    /// Waits for the lock as long as it takes; not at all if this thread has it, as
    /// [`crate::RLock::acquire`].
    ///
    /// # Errors
    /// If the session is lost or the lock deleted meanwhile.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let lock = manager.rlock("migrate").open()?;
    /// let guard = lock.acquire()?;
    /// assert!(lock.is_locked()?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__enter__")]
    pub fn acquire(&self) -> Result<RLockGuard> {
        wait(self.inner.acquire()).map(RLockGuard::new)
    }

    /// Takes the lock if it is free now or this thread's already, or `None`, as
    /// [`crate::RLock::try_acquire`].
    ///
    /// # Errors
    /// If the session is lost or the lock deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let lock = manager.rlock("migrate").open()?;
    /// let guard = lock.try_acquire()?;
    /// assert!(guard.is_some());
    /// assert!(lock.try_acquire()?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_acquire(&self) -> Result<Option<RLockGuard>> {
        Ok(wait(self.inner.try_acquire())?.map(RLockGuard::new))
    }

    /// Waits for the lock, at most so long; `None` if it could not be had, as
    /// [`crate::RLock::acquire_timeout`].
    ///
    /// # Errors
    /// If the session is lost or the lock deleted meanwhile.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # use std::time::Duration;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let lock = manager.rlock("migrate").open()?;
    /// let guard = lock.acquire()?;
    /// let other = std::thread::spawn({
    ///     let lock = lock.clone();
    ///     move || lock.acquire_timeout(Duration::from_millis(1))
    /// });
    /// assert!(other.join().unwrap()?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Option<RLockGuard>> {
        Ok(wait(self.inner.acquire_timeout(timeout))?.map(RLockGuard::new))
    }

    /// Releases a level that this thread holds and that has no guard, as [`crate::RLock::release`].
    ///
    /// # Errors
    /// [`Error::NotOwner`](crate::Error::NotOwner) if another thread has the lock,
    /// [`Error::NotHeld`](crate::Error::NotHeld) if nobody has.
    ///
    /// ```
    /// # use mp_manager::{Error, blocking::Manager};
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let lock = manager.rlock("migrate").open()?;
    /// lock.acquire()?.leak();
    /// let other = std::thread::spawn({
    ///     let lock = lock.clone();
    ///     move || lock.release()
    /// });
    /// assert!(matches!(other.join().unwrap(), Err(Error::NotOwner(_))));
    /// lock.release()?;
    /// assert!(!lock.is_locked()?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__exit__")]
    pub fn release(&self) -> Result<()> {
        wait(self.inner.release())
    }

    /// Releases every level of the grant with this token, whoever holds it, from any process; its
    /// guards are marked as lost, as [`crate::RLock::release_token`].
    ///
    /// # Errors
    /// [`Error::NotHeld`](crate::Error::NotHeld) if that grant does not stand (any more).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let lock = manager.rlock("migrate").open()?;
    /// let guard = lock.acquire()?;
    /// lock.release_token(guard.token())?;
    /// assert!(guard.is_lost());
    /// # Ok(())
    /// # }
    /// ```
    pub fn release_token(&self, token: u64) -> Result<()> {
        wait(self.inner.release_token(token))
    }

    /// Whether somebody holds it, as [`crate::RLock::is_locked`].
    ///
    /// # Errors
    /// If the session is lost or the lock deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let lock = manager.rlock("migrate").open()?;
    /// assert!(!lock.is_locked()?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "locked")]
    pub fn is_locked(&self) -> Result<bool> {
        wait(self.inner.is_locked())
    }

    /// How many levels this thread holds, as [`crate::RLock::depth`].
    ///
    /// # Errors
    /// If the session is lost or the lock deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let lock = manager.rlock("migrate").open()?;
    /// let guard = lock.acquire()?;
    /// assert_eq!(lock.depth()?, 1);
    /// let other = std::thread::spawn({
    ///     let lock = lock.clone();
    ///     move || lock.depth()
    /// });
    /// assert_eq!(other.join().unwrap()?, 0);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "_recursion_count")]
    pub fn depth(&self) -> Result<usize> {
        wait(self.inner.depth())
    }
}

/// Holds one level of an [`RLock`], as [`crate::RLockGuard`]. Dropping it releases that level.
#[derive(Debug)]
#[must_use = "the level is released when its guard is dropped"]
pub struct RLockGuard {
    inner: crate::RLockGuard,
}

impl RLockGuard {
    fn new(inner: crate::RLockGuard) -> Self {
        Self { inner }
    }

    /// The fencing token, the same for all levels, as [`crate::RLockGuard::token`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let lock = manager.rlock("migrate").open()?;
    /// let outer = lock.acquire()?;
    /// let inner = lock.acquire()?;
    /// assert_eq!(outer.token(), inner.token());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn token(&self) -> u64 {
        self.inner.token()
    }

    /// How many levels its thread held when it had acquired this one; 1 for the first, as
    /// [`crate::RLockGuard::depth`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let lock = manager.rlock("migrate").open()?;
    /// let guard = lock.acquire()?;
    /// assert_eq!(guard.depth(), 1);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn depth(&self) -> usize {
        self.inner.depth()
    }

    /// Whether the lock is known to be lost, as [`crate::RLockGuard::is_lost`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let lock = manager.rlock("migrate").open()?;
    /// let guard = lock.acquire()?;
    /// assert!(!guard.is_lost());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.inner.is_lost()
    }

    /// Waits until the lock is lost, as [`crate::RLockGuard::lost`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let lock = manager.rlock("migrate").open()?;
    /// let guard = lock.acquire()?;
    /// lock.release_token(guard.token())?;
    /// guard.lost();
    /// assert!(guard.is_lost());
    /// # Ok(())
    /// # }
    /// ```
    pub fn lost(&self) {
        wait(self.inner.lost());
    }

    /// Releases the level and waits until the manager confirms it, as
    /// [`crate::RLockGuard::release`].
    ///
    /// # Errors
    /// If it was lost before: what it was to protect may not have been protected.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let lock = manager.rlock("migrate").open()?;
    /// let guard = lock.acquire()?;
    /// guard.release()?;
    /// assert!(!lock.is_locked()?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__exit__")]
    pub fn release(self) -> Result<()> {
        wait(self.inner.release())
    }

    /// Keeps the level without a guard, until its thread calls [`RLock::release`] or the session
    /// ends, as [`crate::RLockGuard::leak`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let lock = manager.rlock("migrate").open()?;
    /// lock.acquire()?.leak();
    /// assert!(lock.is_locked()?);
    /// lock.release()?;
    /// assert!(!lock.is_locked()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn leak(self) {
        self.inner.leak();
    }
}

impl From<&RLockGuard> for Fence {
    fn from(guard: &RLockGuard) -> Self {
        Self::from(&guard.inner)
    }
}
