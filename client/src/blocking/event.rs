//! An event that every process can wait for, for threads.

use std::time::Duration;

use crate::{
    blocking::{Manager, Open, wait, wrapper},
    error::Result,
    objects::open::Name,
};

impl Manager {
    /// An [`Event`], which begins clear.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let ready = manager.event("ready").open()?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "Event")]
    pub fn event(&self, name: impl Into<Name>) -> Open<Event> {
        Open::new(self.inner.event(name))
    }
}

wrapper! {
    /// A flag that processes wait for, as [`crate::Event`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let ready = manager.event("ready").open()?;
    /// ready.set()?; // in one process
    /// ready.wait()?; // in the others
    /// # Ok(())
    /// # }
    /// ```
    Event
}

impl Event {
    /// Sets it, as [`crate::Event::set`].
    ///
    /// # Errors
    /// If the session is lost or the event deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let ready = manager.event("ready").open()?;
    /// ready.set()?;
    /// assert!(ready.is_set()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set(&self) -> Result<()> {
        wait(self.inner.set())
    }

    /// Clears it, as [`crate::Event::clear`].
    ///
    /// # Errors
    /// If the session is lost or the event deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let ready = manager.event("ready").open()?;
    /// ready.set()?;
    /// ready.clear()?;
    /// assert!(!ready.is_set()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn clear(&self) -> Result<()> {
        wait(self.inner.clear())
    }

    /// Whether it is set, without waiting, as [`crate::Event::is_set`].
    ///
    /// # Errors
    /// If the session is lost or the event deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let ready = manager.event("ready").open()?;
    /// assert!(!ready.is_set()?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "try_wait")]
    pub fn is_set(&self) -> Result<bool> {
        wait(self.inner.is_set())
    }

    /// Waits until it is set, as long as it takes, as [`crate::Event::wait`].
    ///
    /// # Errors
    /// If the session is lost or the event deleted meanwhile.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let ready = manager.event("ready").open()?;
    /// let setter = ready.clone();
    /// std::thread::spawn(move || setter.set());
    /// ready.wait()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait(&self) -> Result<()> {
        wait(self.inner.wait())
    }

    /// Waits until it is set, at most so long; whether it was, as [`crate::Event::wait_timeout`].
    ///
    /// # Errors
    /// If the session is lost or the event deleted meanwhile.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # use std::time::Duration;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let ready = manager.event("ready").open()?;
    /// assert!(!ready.wait_timeout(Duration::from_millis(1))?);
    /// ready.set()?;
    /// assert!(ready.wait_timeout(Duration::from_secs(60))?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool> {
        wait(self.inner.wait_timeout(timeout))
    }
}
