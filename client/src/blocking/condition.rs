//! A condition variable, with the lock it goes with, for threads.

use std::{future::ready, time::Duration};

use crate::{
    Fence,
    blocking::{Manager, Open, wait, wrapper},
    error::Result,
    objects::open::Name,
};

impl Manager {
    /// A [`Condition`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let ready = manager.condition("ready").open()?;
    /// let guard = ready.acquire()?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "Condition")]
    pub fn condition(&self, name: impl Into<Name>) -> Open<Condition> {
        Open::new(self.inner.condition(name))
    }
}

wrapper! {
    /// A condition variable for processes, as [`crate::Condition`]. The owner of its lock is the
    /// thread that acquires it.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let ready = manager.condition("ready").open()?;
    /// let jobs = manager.dict::<u64, String>("jobs").open()?;
    /// let guard = ready.acquire()?;
    /// let planner = std::thread::spawn({
    ///     let (ready, jobs) = (ready.clone(), jobs.clone());
    ///     move || {
    ///         let guard = ready.acquire()?;
    ///         jobs.insert(&1, "sweep")?;
    ///         guard.notify_one()
    ///     }
    /// });
    /// let guard = ready.wait_for(guard, || Ok(!jobs.is_empty()?))?;
    /// assert_eq!(jobs.pop_item()?, Some((1, "sweep".into())));
    /// guard.release()?;
    /// planner.join().unwrap()?;
    /// # Ok(())
    /// # }
    /// ```
    Condition
}

impl Condition {
    /// Waits for the lock as long as it takes; not at all if this thread has it, as
    /// [`crate::Condition::acquire`].
    ///
    /// # Errors
    /// If the session is lost or the condition deleted meanwhile.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let ready = manager.condition("ready").open()?;
    /// let guard = ready.acquire()?;
    /// assert!(ready.is_locked()?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__enter__")]
    pub fn acquire(&self) -> Result<ConditionGuard> {
        wait(self.inner.acquire()).map(ConditionGuard::new)
    }

    /// Takes the lock if it is free now or this thread's already, or `None`, as
    /// [`crate::Condition::try_acquire`].
    ///
    /// # Errors
    /// If the session is lost or the condition deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let ready = manager.condition("ready").open()?;
    /// let guard = ready.try_acquire()?;
    /// assert!(guard.is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_acquire(&self) -> Result<Option<ConditionGuard>> {
        Ok(wait(self.inner.try_acquire())?.map(ConditionGuard::new))
    }

    /// Waits for the lock, at most so long; `None` if it could not be had, as
    /// [`crate::Condition::acquire_timeout`].
    ///
    /// # Errors
    /// If the session is lost or the condition deleted meanwhile.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # use std::time::Duration;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let ready = manager.condition("ready").open()?;
    /// let guard = ready.acquire()?;
    /// let other = std::thread::spawn({
    ///     let ready = ready.clone();
    ///     move || ready.acquire_timeout(Duration::from_millis(1))
    /// });
    /// assert!(other.join().unwrap()?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Option<ConditionGuard>> {
        Ok(wait(self.inner.acquire_timeout(timeout))?.map(ConditionGuard::new))
    }

    /// Lets go of the lock, waits to be notified, and takes the lock again, as
    /// [`crate::Condition::wait`].
    ///
    /// # Errors
    /// If the lock was lost before, the session is lost or the condition deleted meanwhile, or the
    /// guard is another condition's. After an error the owner does not hold the lock at any level,
    /// except if the guard was another condition's, which is released.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let ready = manager.condition("ready").open()?;
    /// let guard = ready.acquire()?;
    /// let other = std::thread::spawn({
    ///     let ready = ready.clone();
    ///     move || ready.acquire()?.notify_one()
    /// });
    /// let guard = ready.wait(guard)?;
    /// assert_eq!(other.join().unwrap()?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait(&self, guard: ConditionGuard) -> Result<ConditionGuard> {
        wait(self.inner.wait(guard.inner)).map(ConditionGuard::new)
    }

    /// Waits at most so long to be notified; false if it was not, as
    /// [`crate::Condition::wait_timeout`].
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # use std::time::Duration;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let ready = manager.condition("ready").open()?;
    /// let guard = ready.acquire()?;
    /// let (guard, notified) = ready.wait_timeout(guard, Duration::from_millis(1))?;
    /// assert!(!notified && !guard.is_lost());
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_timeout(
        &self,
        guard: ConditionGuard,
        timeout: Duration,
    ) -> Result<(ConditionGuard, bool)> {
        wait(self.inner.wait_timeout(guard.inner, timeout)).map(ConditionGuard::with)
    }

    /// Waits until a predicate is true, which it is asked with the lock held, as
    /// [`crate::Condition::wait_for`].
    ///
    /// # Errors
    /// As [`wait`](Self::wait). An error of the predicate's is passed on, and the guard's level
    /// released.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let ready = manager.condition("ready").open()?;
    /// # let jobs = manager.dict::<u64, String>("jobs").open()?;
    /// # jobs.insert(&1, "sweep")?;
    /// let guard = ready.acquire()?;
    /// let guard = ready.wait_for(guard, || Ok(!jobs.is_empty()?))?;
    /// assert!(jobs.pop_item()?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_for(
        &self,
        guard: ConditionGuard,
        mut predicate: impl FnMut() -> Result<bool>,
    ) -> Result<ConditionGuard> {
        wait(self.inner.wait_for(guard.inner, || ready(predicate()))).map(ConditionGuard::new)
    }

    /// Waits at most so long until a predicate is true; false if it was not then, as
    /// [`crate::Condition::wait_for_timeout`].
    ///
    /// # Errors
    /// As [`wait_for`](Self::wait_for).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # use std::time::Duration;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let ready = manager.condition("ready").open()?;
    /// # let jobs = manager.dict::<u64, String>("jobs").open()?;
    /// let guard = ready.acquire()?;
    /// let some = || Ok(!jobs.is_empty()?);
    /// let (guard, some) = ready.wait_for_timeout(guard, some, Duration::from_millis(1))?;
    /// assert!(!some);
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_for_timeout(
        &self,
        guard: ConditionGuard,
        mut predicate: impl FnMut() -> Result<bool>,
        timeout: Duration,
    ) -> Result<(ConditionGuard, bool)> {
        let waiting = self.inner.wait_for_timeout(guard.inner, || ready(predicate()), timeout);
        wait(waiting).map(ConditionGuard::with)
    }

    /// Whether somebody holds the lock, as [`crate::Condition::is_locked`].
    ///
    /// # Errors
    /// If the session is lost or the condition deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let ready = manager.condition("ready").open()?;
    /// assert!(!ready.is_locked()?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "locked")]
    pub fn is_locked(&self) -> Result<bool> {
        wait(self.inner.is_locked())
    }

    /// Releases every level of the lock's grant with this token, whoever holds it, from any
    /// process; its guards are marked as lost, as [`crate::Condition::release_token`].
    ///
    /// # Errors
    /// [`Error::NotHeld`](crate::Error::NotHeld) if that grant does not stand (any more).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let ready = manager.condition("ready").open()?;
    /// let guard = ready.acquire()?;
    /// ready.release_token(guard.token())?;
    /// assert!(guard.is_lost());
    /// # Ok(())
    /// # }
    /// ```
    pub fn release_token(&self, token: u64) -> Result<()> {
        wait(self.inner.release_token(token))
    }
}

/// Holds one level of a [`Condition`]'s lock, as [`crate::ConditionGuard`]. Dropping it releases
/// that level.
#[derive(Debug)]
#[must_use = "the level is released when its guard is dropped"]
pub struct ConditionGuard {
    inner: crate::ConditionGuard,
}

impl ConditionGuard {
    fn new(inner: crate::ConditionGuard) -> Self {
        Self { inner }
    }

    fn with((inner, is_true): (crate::ConditionGuard, bool)) -> (Self, bool) {
        (Self { inner }, is_true)
    }

    /// Wakes the one who has waited longest; how many there were to wake, 0 or 1, as
    /// [`crate::ConditionGuard::notify_one`].
    ///
    /// # Errors
    /// If the lock was lost before.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let ready = manager.condition("ready").open()?;
    /// let guard = ready.acquire()?;
    /// assert_eq!(guard.notify_one()?, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn notify_one(&self) -> Result<usize> {
        wait(self.inner.notify_one())
    }

    /// Wakes so many of those who wait, the ones who have waited longest; how many there were to
    /// wake, as [`crate::ConditionGuard::notify`].
    ///
    /// # Errors
    /// If the lock was lost before.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let ready = manager.condition("ready").open()?;
    /// let guard = ready.acquire()?;
    /// assert_eq!(guard.notify(2)?, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn notify(&self, waiters: usize) -> Result<usize> {
        wait(self.inner.notify(waiters))
    }

    /// Wakes all who wait; how many there were, as [`crate::ConditionGuard::notify_all`].
    ///
    /// # Errors
    /// If the lock was lost before.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let ready = manager.condition("ready").open()?;
    /// let guard = ready.acquire()?;
    /// assert_eq!(guard.notify_all()?, 0);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "notifyAll")]
    pub fn notify_all(&self) -> Result<usize> {
        wait(self.inner.notify_all())
    }

    /// The fencing token, the same for all levels, as [`crate::ConditionGuard::token`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # use std::time::Duration;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let ready = manager.condition("ready").open()?;
    /// let guard = ready.acquire()?;
    /// let before = guard.token();
    /// let (guard, _) = ready.wait_timeout(guard, Duration::ZERO)?;
    /// assert!(guard.token() > before);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn token(&self) -> u64 {
        self.inner.token()
    }

    /// Whether the lock is known to be lost, as [`crate::ConditionGuard::is_lost`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let ready = manager.condition("ready").open()?;
    /// let guard = ready.acquire()?;
    /// assert!(!guard.is_lost());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.inner.is_lost()
    }

    /// Waits until the lock is lost, as [`crate::ConditionGuard::lost`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let ready = manager.condition("ready").open()?;
    /// let guard = ready.acquire()?;
    /// ready.release_token(guard.token())?;
    /// guard.lost();
    /// # Ok(())
    /// # }
    /// ```
    pub fn lost(&self) {
        wait(self.inner.lost());
    }

    /// Releases the level and waits until the manager confirms it, as
    /// [`crate::ConditionGuard::release`].
    ///
    /// # Errors
    /// If it was lost before: what it was to protect may not have been protected.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let ready = manager.condition("ready").open()?;
    /// let guard = ready.acquire()?;
    /// guard.release()?;
    /// assert!(!ready.is_locked()?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__exit__")]
    pub fn release(self) -> Result<()> {
        wait(self.inner.release())
    }
}

impl From<&ConditionGuard> for Fence {
    fn from(guard: &ConditionGuard) -> Self {
        Self::from(&guard.inner)
    }
}
