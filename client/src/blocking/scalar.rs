//! A Value that every process can use, for threads.

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    AsValue,
    blocking::{Manager, Open, fenced, wait, wrapper},
    error::Result,
    objects::open::Name,
};

impl Manager {
    /// A [`Value`] that begins as `initial`; one that exists already stays as it is, as
    /// [`crate::Manager::value`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let hits = manager.value("hits", &0_u64).open()?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "Value")]
    pub fn value<T: Serialize + 'static>(
        &self,
        name: impl Into<Name>,
        initial: &T,
    ) -> Open<Value<T>> {
        Open::new(self.inner.value(name, initial))
    }
}

wrapper! {
    /// One value for processes, as [`crate::Value`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let hits = manager.value("hits", &0_u64).open()?;
    /// hits.add(&1)?;
    /// assert_eq!(hits.get()?, 1);
    /// # Ok(())
    /// # }
    /// ```
    Value, T
}

fenced!(Value, T);

impl<T> Value<T>
where
    T: Serialize + DeserializeOwned + Send + 'static,
{
    /// What it is now, as [`crate::Value::get`].
    ///
    /// # Errors
    /// If it is not a `T`, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let motto = manager.value("motto", &"ad astra".to_owned()).open()?;
    /// assert_eq!(motto.get()?, "ad astra");
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "value")]
    pub fn get(&self) -> Result<T> {
        wait(self.inner.get())
    }

    /// Sets it, as [`crate::Value::set`].
    ///
    /// # Errors
    /// If the value cannot be encoded or is too long, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let hits = manager.value("hits", &0).open()?;
    /// hits.set(&3)?;
    /// assert_eq!(hits.get()?, 3);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "value")]
    pub fn set(&self, value: impl AsValue<T>) -> Result<()> {
        wait(self.inner.set(value))
    }

    /// Adds to a number and returns the sum, as [`crate::Value::add`].
    ///
    /// # Errors
    /// [`Error::Overflow`](crate::Error::Overflow) if the sum does not fit,
    /// [`Error::TypeMismatch`](crate::Error::TypeMismatch) if one is no number: the value stays as it
    /// was. Or if the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let hits = manager.value("hits", &0).open()?;
    /// assert_eq!(hits.add(&3)?, 3);
    /// assert_eq!(hits.add(&-1)?, 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn add(&self, delta: impl AsValue<T>) -> Result<T> {
        wait(self.inner.add(delta))
    }

    /// Sets it and returns what it was, as [`crate::Value::swap`].
    ///
    /// # Errors
    /// If the value cannot be encoded or is too long, or what it was is not a `T`, or the session is
    /// lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let hits = manager.value("hits", &0).open()?;
    /// assert_eq!(hits.swap(&3)?, 0);
    /// assert_eq!(hits.get()?, 3);
    /// # Ok(())
    /// # }
    /// ```
    pub fn swap(&self, value: impl AsValue<T>) -> Result<T> {
        wait(self.inner.swap(value))
    }

    /// Sets it to `replacement` if it is equal to `expected`, as [`crate::Value::compare_and_swap`].
    ///
    /// # Errors
    /// If a value cannot be encoded or is too long, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let hits = manager.value("hits", &0).open()?;
    /// assert_eq!(hits.compare_and_swap(&0, &3)?, (true, 3));
    /// assert_eq!(hits.compare_and_swap(&0, &4)?, (false, 3));
    /// # Ok(())
    /// # }
    /// ```
    pub fn compare_and_swap(&self, expected: &T, replacement: impl AsValue<T>) -> Result<(bool, T)>
    where
        T: PartialEq,
    {
        wait(self.inner.compare_and_swap(expected, replacement))
    }

    /// Replaces it by what `update` makes of it, again and again until nobody else has changed it
    /// meanwhile; returns the new value, as [`crate::Value::update_with`].
    ///
    /// # Errors
    /// If a value cannot be encoded or is too long, or it is not a `T`, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let hits = manager.value("hits", &3).open()?;
    /// assert_eq!(hits.update_with(|n| n * 2)?, 6);
    /// # Ok(())
    /// # }
    /// ```
    pub fn update_with(&self, update: impl FnMut(T) -> T) -> Result<T> {
        wait(self.inner.update_with(update))
    }
}
