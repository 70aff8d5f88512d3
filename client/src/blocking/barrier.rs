//! A barrier that processes meet at, for threads.

use std::time::Duration;

use crate::{
    blocking::{Manager, Open, wait, wrapper},
    error::{Error, Result},
    objects::open::Name,
};

impl Manager {
    /// A [`Barrier`] for so many parties, as [`crate::Manager::barrier`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let start = manager.barrier("start", 4).open()?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "Barrier")]
    pub fn barrier(&self, name: impl Into<Name>, parties: usize) -> Open<Barrier> {
        Open::new(self.inner.barrier(name, parties))
    }
}

wrapper! {
    /// Where so many parties wait for each other, as [`crate::Barrier`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let start = manager.barrier("start", 2).open()?;
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| start.wait());
    ///     start.wait()
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    Barrier
}

impl Barrier {
    /// Waits for the other parties, as long as it takes, as [`crate::Barrier::wait`].
    ///
    /// # Errors
    /// [`Error::BarrierBroken`] if it is broken or breaks meanwhile; or if the session is lost or
    /// the barrier deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let start = manager.barrier("start", 2).open()?;
    /// let other = start.clone();
    /// std::thread::spawn(move || other.wait());
    /// if start.wait()? == 0 {
    ///     println!("came first");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait(&self) -> Result<usize> {
        wait(self.inner.wait())
    }

    /// Waits for the other parties, at most so long, as [`crate::Barrier::wait_timeout`].
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # use std::time::Duration;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// use mp_manager::Error;
    ///
    /// let start = manager.barrier("start", 2).open()?;
    /// let alone = start.wait_timeout(Duration::from_millis(1));
    /// assert!(matches!(alone, Err(Error::BarrierBroken(_))));
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Result<usize> {
        wait(self.inner.wait_timeout(timeout))
    }

    /// Waits as [`wait`](Self::wait) does, and brings an action that is to be run when all have
    /// arrived, before any is released, as [`crate::Barrier::wait_with`].
    ///
    /// # Errors
    /// The action's own; otherwise as [`wait`](Self::wait). Who ran the action, too, hears that the
    /// barrier was aborted or reset meanwhile.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let round = manager.value("round", &0).open()?;
    /// let next = manager.barrier("next", 2).open()?;
    /// let party = || next.wait_with(|| round.add(&1).map(drop));
    /// std::thread::scope(|scope| {
    ///     scope.spawn(party);
    ///     party()
    /// })?;
    /// assert_eq!(round.get()?, 1); // one of them ran it
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_with<E: From<Error>>(
        &self,
        action: impl FnOnce() -> Result<(), E>,
    ) -> Result<usize, E> {
        wait(self.inner.wait_with(async || action()))
    }

    /// Waits as [`wait_timeout`](Self::wait_timeout) does, with an action as
    /// [`wait_with`](Self::wait_with), as [`crate::Barrier::wait_timeout_with`].
    ///
    /// # Errors
    /// As [`wait_with`](Self::wait_with).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # use std::time::Duration;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let log = manager.value("log", &String::new()).open()?;
    /// let next = manager.barrier("next", 1).open()?;
    /// let write = || log.set("all are here");
    /// assert_eq!(next.wait_timeout_with(Duration::from_secs(60), write)?, 0);
    /// assert_eq!(log.get()?, "all are here");
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_timeout_with<E: From<Error>>(
        &self,
        timeout: Duration,
        action: impl FnOnce() -> Result<(), E>,
    ) -> Result<usize, E> {
        wait(self.inner.wait_timeout_with(timeout, async || action()))
    }

    /// How many parties it takes, as [`crate::Barrier::parties`].
    ///
    /// # Errors
    /// If the session is lost or the barrier deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let start = manager.barrier("start", 4).open()?;
    /// assert_eq!(start.parties()?, 4);
    /// # Ok(())
    /// # }
    /// ```
    pub fn parties(&self) -> Result<usize> {
        wait(self.inner.parties())
    }

    /// How many parties wait for the others now, as [`crate::Barrier::waiting`].
    ///
    /// # Errors
    /// If the session is lost or the barrier deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let start = manager.barrier("start", 2).open()?;
    /// assert_eq!(start.waiting()?, 0);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "n_waiting")]
    pub fn waiting(&self) -> Result<usize> {
        wait(self.inner.waiting())
    }

    /// Breaks it on purpose, also while an action runs, as [`crate::Barrier::abort`].
    ///
    /// # Errors
    /// If the session is lost or the barrier deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let start = manager.barrier("start", 2).open()?;
    /// start.abort()?;
    /// assert!(start.is_broken()?);
    /// assert!(start.wait().is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn abort(&self) -> Result<()> {
        wait(self.inner.abort())
    }

    /// Makes it as new, as [`crate::Barrier::reset`].
    ///
    /// # Errors
    /// If the session is lost or the barrier deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let start = manager.barrier("start", 2).open()?;
    /// start.abort()?;
    /// start.reset()?;
    /// assert!(!start.is_broken()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn reset(&self) -> Result<()> {
        wait(self.inner.reset())
    }

    /// Whether it is broken, as [`crate::Barrier::is_broken`].
    ///
    /// # Errors
    /// If the session is lost or the barrier deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let start = manager.barrier("start", 2).open()?;
    /// assert!(!start.is_broken()?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "broken")]
    pub fn is_broken(&self) -> Result<bool> {
        wait(self.inner.is_broken())
    }
}
