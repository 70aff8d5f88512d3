//! The way in, for threads.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use mp_manager_proto::{authkey::Authkey, tls::Pem, v1::ObjectInfo};

use crate::{
    Inspection, Statistics,
    blocking::{pages::Pages, wait},
    error::Result,
};

/// A session with a manager, as [`crate::Manager`]. Its connection runs on a thread of its own.
///
/// ```
/// use mp_manager::blocking::Manager;
///
/// # fn main() -> mp_manager::Result<()> {
/// let manager = Manager::start()?;
/// let jobs = manager.dict::<u64, String>("jobs").open()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[doc(alias = "SyncManager")]
#[doc(alias = "BaseManager")]
pub struct Manager {
    pub(crate) inner: crate::Manager,
}

impl Manager {
    /// The same manager, to be awaited, and for what takes one like that, as
    /// [`PoolBuilder::manager`](crate::process::PoolBuilder::manager).
    ///
    /// ```
    /// # use mp_manager::{Result, blocking::Manager};
    /// # fn main() -> Result<()> {
    /// let manager = Manager::start()?;
    /// assert_eq!(manager.as_async().address(), manager.address());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn as_async(&self) -> &crate::Manager {
        &self.inner
    }

    /// Connects to a manager at an address such as `10.0.0.5:7117` or `unix:/run/manager.sock`, as
    /// [`crate::Manager::connect`].
    ///
    /// # Errors
    /// [`Error::Connect`](crate::Error::Connect) if nobody listens there, [`Error::AuthenticationFailed`](crate::Error::AuthenticationFailed) if the authkeys
    /// differ.
    ///
    /// ```no_run
    /// # use mp_manager::blocking::Manager;
    /// # fn example() -> mp_manager::Result<()> {
    /// let manager = Manager::connect("10.0.0.5:7117", "authkey")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect(address: &str, authkey: impl Into<Authkey>) -> Result<Self> {
        Self::builder().authkey(authkey).connect(address)
    }

    /// Connects to the manager that the environment names, as [`crate::Manager::from_env`].
    ///
    /// # Errors
    /// [`Error::Configuration`](crate::Error::Configuration) if a variable is missing; otherwise as [`connect`](Self::connect).
    ///
    /// ```no_run
    /// # use mp_manager::blocking::Manager;
    /// # fn example() -> mp_manager::Result<()> {
    /// let manager = Manager::from_env()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_env() -> Result<Self> {
        Self::builder().connect_from_env()
    }

    /// The manager that this process was given by its parent, as [`crate::Manager::current`].
    ///
    /// # Errors
    /// [`Error::Configuration`](crate::Error::Configuration) if there is none; otherwise as [`connect`](Self::connect).
    ///
    /// ```no_run
    /// # use mp_manager::blocking::Manager;
    /// # fn example() -> mp_manager::Result<()> {
    /// let manager = Manager::current()?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "process")]
    pub fn current() -> Result<Self> {
        wait(crate::Manager::current()).map(|inner| Self { inner })
    }

    /// Starts a manager inside this process, as [`crate::Manager::start`].
    ///
    /// # Errors
    /// [`Error::Configuration`](crate::Error::Configuration) if no server can be started.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// let manager = Manager::start()?;
    /// println!("others find it at {}", manager.address());
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "embedded")]
    pub fn start() -> Result<Self> {
        Self::builder().start()
    }

    /// Connects with options, as [`crate::Manager::builder`].
    pub fn builder() -> Builder {
        Builder { inner: crate::Manager::builder().background_thread() }
    }

    /// Where the manager listens, as [`crate::Manager::address`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// let manager = Manager::start()?;
    /// assert!(manager.address().starts_with("unix:"));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn address(&self) -> &str {
        self.inner.address()
    }

    /// The certificate that the manager showed on the newest connection, as
    /// [`crate::Manager::certificate`].
    ///
    /// ```no_run
    /// # use mp_manager::blocking::Manager;
    /// # fn example() -> mp_manager::Result<()> {
    /// let manager = Manager::connect("tls://10.0.0.5:7117", "authkey")?;
    /// print!("{}", manager.certificate().unwrap_or_default());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn certificate(&self) -> Option<String> {
        self.inner.certificate()
    }

    /// What a child process needs in its environment for [`from_env`](Self::from_env) to find this
    /// manager, as [`crate::Manager::environment`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # use std::process::Command;
    /// # fn main() -> mp_manager::Result<()> {
    /// let manager = Manager::start()?;
    /// let mut worker = Command::new("worker");
    /// worker.envs(manager.environment());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        self.inner.environment()
    }

    /// The simplest round trip, as [`crate::Manager::ping`].
    ///
    /// # Errors
    /// If the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// manager.ping()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn ping(&self) -> Result<()> {
        wait(self.inner.ping())
    }

    /// Whether an object with this name exists, as [`crate::Manager::exists`].
    ///
    /// # Errors
    /// If the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// assert!(!manager.exists("scores")?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn exists(&self, name: &str) -> Result<bool> {
        wait(self.inner.exists(name))
    }

    /// Deletes a named object, as [`crate::Manager::delete`].
    ///
    /// # Errors
    /// [`Error::ObjectNotFound`](crate::Error::ObjectNotFound) if there is none with this name.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// manager.lock("migrate").open()?;
    /// manager.delete("migrate")?;
    /// assert!(!manager.exists("migrate")?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn delete(&self, name: &str) -> Result<()> {
        wait(self.inner.delete(name))
    }

    /// Deletes the object with this id, whether it has a name or not, as
    /// [`crate::Manager::delete_by_id`].
    ///
    /// # Errors
    /// [`Error::ObjectNotFound`](crate::Error::ObjectNotFound) if there is none with this id.
    ///
    /// ```
    /// # use mp_manager::{Unnamed, blocking::Manager};
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let numbers = manager.list::<u64>(Unnamed).open()?;
    /// let id = manager.list_unnamed()?[0].object;
    /// manager.delete_by_id(id)?;
    /// assert!(numbers.len().is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn delete_by_id(&self, id: u64) -> Result<()> {
        wait(self.inner.delete_by_id(id))
    }

    /// The objects without a name, in the order in which they were made, as
    /// [`crate::Manager::list_unnamed`].
    ///
    /// # Errors
    /// If the session is lost.
    ///
    /// ```
    /// # use mp_manager::{Unnamed, blocking::Manager};
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let numbers = manager.list::<u64>(Unnamed).open()?;
    /// assert_eq!(manager.list_unnamed()?.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn list_unnamed(&self) -> Result<Vec<ObjectInfo>> {
        wait(self.inner.list_unnamed())
    }

    /// The objects without a name, in the order in which they were made, a page at a time, as
    /// [`crate::Manager::iter_unnamed`].
    ///
    /// ```
    /// # use mp_manager::{Unnamed, blocking::Manager};
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let numbers = manager.list::<u64>(Unnamed).open()?;
    /// for object in manager.iter_unnamed() {
    ///     println!("{}", object?.object);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn iter_unnamed(&self) -> Pages<ObjectInfo> {
        Pages::new(self.inner.iter_unnamed())
    }

    /// The named objects whose names begin with `prefix`, in the order of their names, as
    /// [`crate::Manager::list_objects`].
    ///
    /// # Errors
    /// If the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// manager.lock("migrate").open()?;
    /// assert_eq!(manager.list_objects("mig")?[0].name, "migrate");
    /// # Ok(())
    /// # }
    /// ```
    pub fn list_objects(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        wait(self.inner.list_objects(prefix))
    }

    /// The named objects whose names begin with `prefix`, a page at a time, as
    /// [`crate::Manager::iter_objects`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// manager.lock("migrate").open()?;
    /// for object in manager.iter_objects("mig") {
    ///     println!("{}", object?.name);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn iter_objects(&self, prefix: &str) -> Pages<ObjectInfo> {
        Pages::new(self.inner.iter_objects(prefix))
    }

    /// How many objects and sessions there are, and how much memory they take, as
    /// [`crate::Manager::statistics`].
    ///
    /// # Errors
    /// If the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// assert_eq!(manager.statistics()?.sessions, 1);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "_number_of_objects")]
    pub fn statistics(&self) -> Result<Statistics> {
        wait(self.inner.statistics())
    }

    /// Everything, as [`crate::Manager::inspect`].
    ///
    /// # Errors
    /// [`Error::ObjectNotFound`](crate::Error::ObjectNotFound) if there is no object with this name.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let lock = manager.lock("migrate").open()?;
    /// let guard = lock.acquire()?;
    /// let inspection = manager.inspect(Some("migrate"))?;
    /// assert_eq!(inspection.objects[0].holders[0].token, guard.token());
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "_debug_info")]
    pub fn inspect(&self, name: Option<&str>) -> Result<Inspection> {
        wait(self.inner.inspect(name))
    }

    /// Stops the manager, for everybody, as [`crate::Manager::shutdown`].
    ///
    /// # Errors
    /// As [`crate::Manager::shutdown`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// let manager = Manager::start()?;
    /// manager.shutdown()?;
    /// assert!(manager.ping().is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn shutdown(&self) -> Result<()> {
        wait(self.inner.shutdown())
    }

    /// Says goodbye and waits until the manager has taken note, as [`crate::Manager::close`].
    ///
    /// # Errors
    /// None today.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// let manager = Manager::start()?;
    /// manager.close()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn close(self) -> Result<()> {
        wait(self.inner.close())
    }
}

/// How to connect, as [`crate::Builder`].
///
/// ```
/// # use mp_manager::blocking::Manager;
/// # fn main() -> mp_manager::Result<()> {
/// let manager = Manager::builder().process_name("importer").start()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder connects when it is told to"]
pub struct Builder {
    inner: crate::Builder,
}

impl Builder {
    /// The authkey to prove; without one the environment's is taken, as by [`Manager::from_env`], as
    /// [`crate::Builder::authkey`].
    pub fn authkey(self, authkey: impl Into<Authkey>) -> Self {
        Self { inner: self.inner.authkey(authkey) }
    }

    /// Several authkeys, for the time in which one takes the place of another, as
    /// [`crate::Builder::authkeys`].
    pub fn authkeys(self, authkeys: impl IntoIterator<Item = impl Into<Authkey>>) -> Self {
        Self { inner: self.inner.authkeys(authkeys) }
    }

    /// The authkey from a file, such as `mp-manager keygen` writes; or several, one on each line, as
    /// [`crate::Builder::authkey_file`].
    pub fn authkey_file(self, path: impl Into<PathBuf>) -> Self {
        Self { inner: self.inner.authkey_file(path) }
    }

    /// The authorities to trust, in PEM: a path, or bytes that are the text itself, as
    /// [`crate::Builder::tls_ca`].
    pub fn tls_ca(self, authorities: impl Into<Pem>) -> Self {
        Self { inner: self.inner.tls_ca(authorities) }
    }

    /// A certificate and its private key, in PEM, as [`crate::Builder::tls_identity`].
    pub fn tls_identity(self, certificate: impl Into<Pem>, key: impl Into<Pem>) -> Self {
        Self { inner: self.inner.tls_identity(certificate, key) }
    }

    /// How long connecting may take; 10 s unless told otherwise, as
    /// [`crate::Builder::connect_timeout`].
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        Self { inner: self.inner.connect_timeout(timeout) }
    }

    /// How long the session lives without a word from this process; 10 s unless told otherwise, as
    /// [`crate::Builder::lease`].
    pub fn lease(self, lease: Duration) -> Self {
        Self { inner: self.inner.lease(lease) }
    }

    /// How long to try again when the connection is gone; 1 min unless told otherwise, as
    /// [`crate::Builder::reconnect_timeout`].
    pub fn reconnect_timeout(self, timeout: Duration) -> Self {
        Self { inner: self.inner.reconnect_timeout(timeout) }
    }

    /// Opens no new session when one is lost, as [`crate::Builder::session_must_last`].
    pub fn session_must_last(self) -> Self {
        Self { inner: self.inner.session_must_last() }
    }

    /// What `inspect` calls this process; the name of its program unless told otherwise, as
    /// [`crate::Builder::process_name`].
    pub fn process_name(self, name: impl Into<String>) -> Self {
        Self { inner: self.inner.process_name(name) }
    }

    /// Connects to a manager, as [`crate::Builder::connect`].
    ///
    /// # Errors
    /// As [`Manager::connect`].
    pub fn connect(self, address: &str) -> Result<Manager> {
        wait(self.inner.connect(address)).map(|inner| Manager { inner })
    }

    /// Connects to the manager that the environment names, as [`crate::Builder::connect_from_env`].
    ///
    /// # Errors
    /// As [`Manager::from_env`].
    pub fn connect_from_env(self) -> Result<Manager> {
        wait(self.inner.connect_from_env()).map(|inner| Manager { inner })
    }

    /// Starts a manager inside this process, as [`crate::Builder::start`].
    ///
    /// # Errors
    /// As [`Manager::start`].
    #[cfg(feature = "embedded")]
    pub fn start(self) -> Result<Manager> {
        wait(self.inner.start()).map(|inner| Manager { inner })
    }
}
