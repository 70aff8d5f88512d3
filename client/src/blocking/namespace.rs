//! A Namespace that every process can use, for threads.

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    blocking::{Manager, Open, fenced, wait, wrapper},
    error::Result,
    objects::open::Name,
};

impl Manager {
    /// A [`Namespace`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let settings = manager.namespace("settings").open()?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "Namespace")]
    pub fn namespace(&self, name: impl Into<Name>) -> Open<Namespace> {
        Open::new(self.inner.namespace(name))
    }
}

wrapper! {
    /// Attributes by name, as [`crate::Namespace`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let settings = manager.namespace("settings").open()?;
    /// settings.set("title", "Spring")?;
    /// settings.set("depth", &3)?;
    /// assert_eq!(settings.get::<u8>("depth")?, Some(3));
    /// # Ok(())
    /// # }
    /// ```
    Namespace
}

fenced!(Namespace);

impl Namespace {
    /// The value of an attribute; `None` if there is no such attribute, as
    /// [`crate::Namespace::get`].
    ///
    /// # Errors
    /// If the value is not a `T`, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let settings = manager.namespace("settings").open()?;
    /// settings.set("depth", &3)?;
    /// let depth: Option<u8> = settings.get("depth")?;
    /// assert_eq!(depth, Some(3));
    /// assert_eq!(settings.get::<u8>("width")?, None);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__getattr__")]
    pub fn get<T: DeserializeOwned>(&self, attribute: &str) -> Result<Option<T>> {
        wait(self.inner.get(attribute))
    }

    /// Sets an attribute, as [`crate::Namespace::set`].
    ///
    /// # Errors
    /// If the name is empty or too long, or the value cannot be encoded or is too long, or the
    /// session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let settings = manager.namespace("settings").open()?;
    /// settings.set("title", "Spring")?;
    /// settings.set("sizes", &[1, 2, 3])?;
    /// assert_eq!(settings.get("sizes")?, Some(vec![1, 2, 3]));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__setattr__")]
    pub fn set(&self, attribute: &str, value: impl Serialize) -> Result<()> {
        wait(self.inner.set(attribute, value))
    }

    /// Removes an attribute; returns whether it was there, as [`crate::Namespace::delete`].
    ///
    /// # Errors
    /// If the session is lost or the Namespace deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let settings = manager.namespace("settings").open()?;
    /// settings.set("depth", &3)?;
    /// assert!(settings.delete("depth")?);
    /// assert!(!settings.delete("depth")?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__delattr__")]
    pub fn delete(&self, attribute: &str) -> Result<bool> {
        wait(self.inner.delete(attribute))
    }

    /// The names of all attributes, in the order they were first set, as
    /// [`crate::Namespace::attributes`].
    ///
    /// # Errors
    /// If the session is lost or the Namespace deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let settings = manager.namespace("settings").open()?;
    /// settings.set("title", "Spring")?;
    /// settings.set("depth", &3)?;
    /// assert_eq!(settings.attributes()?, ["title", "depth"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__dir__")]
    pub fn attributes(&self) -> Result<Vec<String>> {
        wait(self.inner.attributes())
    }

    /// All attributes at once, as a struct with fields of these names or as any map of names to
    /// values of one type, as [`crate::Namespace::snapshot`].
    ///
    /// # Errors
    /// If the attributes are not an `S`: a field is missing or of another type; or if the session
    /// is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let settings = manager.namespace("settings").open()?;
    /// use std::collections::HashMap;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Settings {
    ///     title: String,
    ///     depth: u8,
    /// }
    ///
    /// settings.set("title", "Spring")?;
    /// settings.set("depth", &3)?;
    /// let Settings { title, depth } = settings.snapshot()?;
    /// assert_eq!((title.as_str(), depth), ("Spring", 3));
    ///
    /// settings.delete("title")?;
    /// let numbers: HashMap<String, u8> = settings.snapshot()?;
    /// assert_eq!(numbers["depth"], 3);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__dict__")]
    #[doc(alias = "vars")]
    pub fn snapshot<S: DeserializeOwned>(&self) -> Result<S> {
        wait(self.inner.snapshot())
    }
}
