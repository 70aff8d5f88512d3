//! Opening an object by name, or creating one without.

use std::fmt;

use super::block_on::wait;
use crate::error::Result;

/// A typed handle on a shared object, as [`crate::Proxy`].
///
/// This trait cannot be implemented outside this crate.
pub trait Proxy: sealed::Proxy {
    /// The name the object was opened by, if it was.
    fn name(&self) -> Option<&str> {
        crate::Proxy::name(sealed::Proxy::inner(self))
    }
}

impl<P: sealed::Proxy> Proxy for P {}

pub(crate) mod sealed {
    pub trait Proxy: Sized {
        #[doc(hidden)]
        type Inner: crate::Proxy;
        #[doc(hidden)]
        fn wrap(inner: Self::Inner) -> Self;
        #[doc(hidden)]
        fn inner(&self) -> &Self::Inner;
    }
}

/// An object about to be opened, as [`crate::Open`]; [`open`](Self::open) opens it.
///
/// ```
/// # use mp_manager::{Error, blocking::Manager};
/// # fn main() -> mp_manager::Result<()> {
/// # let manager = Manager::start()?;
/// let missing = manager.dict::<String, u64>("scores").existing().open();
/// assert!(matches!(missing, Err(Error::ObjectNotFound(_))));
/// # Ok(())
/// # }
/// ```
#[must_use = "an object is opened by open()"]
pub struct Open<P: Proxy> {
    pub(crate) inner: crate::Open<P::Inner>,
}

impl<P: Proxy> Open<P> {
    pub(crate) fn new(inner: crate::Open<P::Inner>) -> Self {
        Self { inner }
    }

    /// Only opens, as [`crate::Open::existing`].
    pub fn existing(self) -> Self {
        Self { inner: self.inner.existing() }
    }

    /// Only creates, as [`crate::Open::create_new`].
    pub fn create_new(self) -> Self {
        Self { inner: self.inner.create_new() }
    }

    /// Opens it.
    ///
    /// # Errors
    /// As [`crate::Open::open`].
    pub fn open(self) -> Result<P> {
        wait(self.inner.open()).map(P::wrap)
    }
}

impl<P: Proxy> fmt::Debug for Open<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
