//! A lock that every process can take, for threads.

use std::time::Duration;

use crate::{
    Fence,
    blocking::{Manager, Open, wait, wrapper},
    error::Result,
    objects::open::Name,
};

impl Manager {
    /// A [`Lock`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let lock = manager.lock("migrate").open()?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "Lock")]
    pub fn lock(&self, name: impl Into<Name>) -> Open<Lock> {
        Open::new(self.inner.lock(name))
    }
}

wrapper! {
    /// A lock for processes, as [`crate::Lock`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let lock = manager.lock("migrate").open()?;
    /// let guard = lock.acquire()?;
    /// println!("migrating, fencing token {}", guard.token());
    /// guard.release()?;
    /// # Ok(())
    /// # }
    /// ```
    Lock
}

impl Lock {
    /// Waits for the lock as long as it takes, as [`crate::Lock::acquire`].
    ///
    /// # Errors
    /// If the session is lost or the lock deleted meanwhile.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let lock = manager.lock("migrate").open()?;
    /// let guard = lock.acquire()?;
    /// assert!(lock.is_locked()?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__enter__")]
    pub fn acquire(&self) -> Result<LockGuard> {
        wait(self.inner.acquire()).map(LockGuard::new)
    }

    /// Takes the lock if it is free now, as [`crate::Lock::try_acquire`].
    ///
    /// # Errors
    /// If the session is lost or the lock deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let lock = manager.lock("migrate").open()?;
    /// let guard = lock.try_acquire()?;
    /// assert!(guard.is_some());
    /// assert!(lock.try_acquire()?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_acquire(&self) -> Result<Option<LockGuard>> {
        Ok(wait(self.inner.try_acquire())?.map(LockGuard::new))
    }

    /// Waits for the lock, at most so long, as [`crate::Lock::acquire_timeout`].
    ///
    /// # Errors
    /// If the session is lost or the lock deleted meanwhile.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # use std::time::Duration;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let lock = manager.lock("migrate").open()?;
    /// let guard = lock.acquire()?;
    /// assert!(lock.acquire_timeout(Duration::from_millis(1))?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Option<LockGuard>> {
        Ok(wait(self.inner.acquire_timeout(timeout))?.map(LockGuard::new))
    }

    /// Whether somebody holds it, as [`crate::Lock::is_locked`].
    ///
    /// # Errors
    /// If the session is lost or the lock deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let lock = manager.lock("migrate").open()?;
    /// assert!(!lock.is_locked()?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "locked")]
    pub fn is_locked(&self) -> Result<bool> {
        wait(self.inner.is_locked())
    }

    /// Releases the grant with this token, whoever holds it, as [`crate::Lock::release_token`].
    ///
    /// # Errors
    /// [`Error::NotHeld`](crate::Error::NotHeld) if that grant does not stand (any more).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let lock = manager.lock("migrate").open()?;
    /// let guard = lock.acquire()?;
    /// lock.release_token(guard.token())?;
    /// assert!(!lock.is_locked()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn release_token(&self, token: u64) -> Result<()> {
        wait(self.inner.release_token(token))
    }
}

/// Holds a [`Lock`], as [`crate::LockGuard`]. Dropping it releases the lock.
#[derive(Debug)]
#[must_use = "the lock is released when its guard is dropped"]
pub struct LockGuard {
    inner: crate::LockGuard,
}

impl LockGuard {
    fn new(inner: crate::LockGuard) -> Self {
        Self { inner }
    }

    /// The fencing token of this grant, as [`crate::LockGuard::token`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let lock = manager.lock("migrate").open()?;
    /// let first = lock.acquire()?.token();
    /// let second = lock.acquire()?.token();
    /// assert!(second > first);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn token(&self) -> u64 {
        self.inner.token()
    }

    /// Whether the lock is known to be lost, as [`crate::LockGuard::is_lost`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let lock = manager.lock("migrate").open()?;
    /// let guard = lock.acquire()?;
    /// assert!(!guard.is_lost());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.inner.is_lost()
    }

    /// Waits until the lock is lost, as [`crate::LockGuard::lost`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let lock = manager.lock("migrate").open()?;
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

    /// Releases the lock, as [`crate::LockGuard::release`].
    ///
    /// # Errors
    /// If it was lost before.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let lock = manager.lock("migrate").open()?;
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
}

impl From<&LockGuard> for Fence {
    fn from(guard: &LockGuard) -> Self {
        Self::from(&guard.inner)
    }
}
