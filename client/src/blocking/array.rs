//! An array of numbers that every process can use, for threads.

use crate::{
    Element, Slice,
    blocking::{Manager, Open, Pages, fenced, wait, wrapper},
    error::Result,
    objects::open::Name,
};

impl Manager {
    /// An [`Array`] of so many zeros; one that exists already keeps its elements, as
    /// [`crate::Manager::array`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let weights = manager.array::<f64>("weights", 3).open()?;
    /// assert_eq!(weights.copy()?, [0.0, 0.0, 0.0]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "Array")]
    pub fn array<T: Element>(&self, name: impl Into<Name>, len: usize) -> Open<Array<T>> {
        Open::new(self.inner.array(name, len))
    }

    /// An [`Array`] of these elements; one that exists already keeps its own, as
    /// [`crate::Manager::array_from`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let weights = manager.array_from("weights", &[0.5, 1.0]).open()?;
    /// assert_eq!(weights.len()?, 2);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "Array")]
    pub fn array_from<T: Element>(&self, name: impl Into<Name>, elements: &[T]) -> Open<Array<T>> {
        Open::new(self.inner.array_from(name, elements))
    }
}

wrapper! {
    /// Numbers of one type for processes, as [`crate::Array`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let weights = manager.array::<f64>("weights", 3).open()?;
    /// weights.set(-1, 2.5)?;
    /// weights.add(0, 0.5)?;
    /// assert_eq!(weights.copy()?, [0.5, 0.0, 2.5]);
    /// # Ok(())
    /// # }
    /// ```
    Array, T
}

fenced!(Array, T);

impl<T: Element> Array<T> {
    /// The element at an index, which counts from the end if it is negative, as
    /// [`crate::Array::get`].
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`](crate::Error::IndexOutOfRange) if there is none; or if the session
    /// is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// use mp_manager::Error;
    ///
    /// let weights = manager.array_from("weights", &[0.5, 1.0]).open()?;
    /// assert_eq!(weights.get(-1)?, 1.0);
    /// assert!(matches!(weights.get(2), Err(Error::IndexOutOfRange(_))));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__getitem__")]
    pub fn get(&self, index: i64) -> Result<T> {
        wait(self.inner.get(index))
    }

    /// Sets the element at an index, which counts from the end if it is negative, as
    /// [`crate::Array::set`].
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`](crate::Error::IndexOutOfRange) if there is none; or if the session
    /// is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let weights = manager.array::<f64>("weights", 3).open()?;
    /// weights.set(0, 0.5)?;
    /// assert_eq!(weights.get(0)?, 0.5);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__setitem__")]
    pub fn set(&self, index: i64, element: T) -> Result<()> {
        wait(self.inner.set(index, element))
    }

    /// How many elements there are; that never changes, as [`crate::Array::len`].
    ///
    /// # Errors
    /// If the session is lost or the Array deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let weights = manager.array::<f64>("weights", 3).open()?;
    /// assert_eq!(weights.len()?, 3);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__len__")]
    pub fn len(&self) -> Result<usize> {
        wait(self.inner.len())
    }

    /// Whether there are no elements, as [`crate::Array::is_empty`].
    ///
    /// # Errors
    /// If the session is lost or the Array deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let weights = manager.array::<f64>("weights", 3).open()?;
    /// assert!(!weights.is_empty()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_empty(&self) -> Result<bool> {
        wait(self.inner.is_empty())
    }

    /// A local copy of all elements, as [`crate::Array::copy`].
    ///
    /// # Errors
    /// If the session is lost or the Array deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let weights = manager.array_from("weights", &[0.5, 1.0]).open()?;
    /// assert_eq!(weights.copy()?, [0.5, 1.0]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "tolist")]
    #[doc(alias = "to_vec")]
    pub fn copy(&self) -> Result<Vec<T>> {
        wait(self.inner.copy())
    }

    /// A local copy of a part, with Python's rules for slices, as [`crate::Array::slice`].
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) if the step is 0; or if the session
    /// is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// use mp_manager::Slice;
    ///
    /// let primes = manager.array_from("primes", &[2, 3, 5, 7]).open()?;
    /// assert_eq!(primes.slice(1..3)?, [3, 5]);
    /// assert_eq!(primes.slice(-2..)?, [5, 7]);
    /// assert_eq!(primes.slice(Slice::new().step(-2))?, [7, 3]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__getitem__")]
    pub fn slice(&self, slice: impl Into<Slice>) -> Result<Vec<T>> {
        wait(self.inner.slice(slice))
    }

    /// Sets a part, with Python's rules for slices, as [`crate::Array::set_slice`].
    ///
    /// # Errors
    /// [`Error::SizeMismatch`](crate::Error::SizeMismatch) unless there are as many elements as the
    /// slice has: an Array keeps its length. [`Error::InvalidArgument`](crate::Error::InvalidArgument)
    /// if the step is 0, [`Error::LimitExceeded`](crate::Error::LimitExceeded) if there are more than
    /// a value may be long; or if the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// use mp_manager::{Error, Slice};
    ///
    /// let bits = manager.array::<u8>("bits", 4).open()?;
    /// bits.set_slice(Slice::from(..).step(2), &[1, 1])?;
    /// assert_eq!(bits.copy()?, [1, 0, 1, 0]);
    /// assert!(matches!(bits.set_slice(1.., &[1]), Err(Error::SizeMismatch(_))));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__setitem__")]
    pub fn set_slice(&self, slice: impl Into<Slice>, elements: &[T]) -> Result<()> {
        wait(self.inner.set_slice(slice, elements))
    }

    /// Sets every element to this one, as [`crate::Array::fill`].
    ///
    /// # Errors
    /// If the session is lost or the Array deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let weights = manager.array::<f64>("weights", 3).open()?;
    /// weights.fill(1.0)?;
    /// assert_eq!(weights.copy()?, [1.0; 3]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn fill(&self, element: T) -> Result<()> {
        wait(self.inner.fill(element))
    }

    /// Adds to the element at an index and returns the sum, as [`crate::Array::add`].
    ///
    /// # Errors
    /// [`Error::Overflow`](crate::Error::Overflow) if the sum is no `T`: the element stays.
    /// [`Error::IndexOutOfRange`](crate::Error::IndexOutOfRange) if there is none; or if the session
    /// is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// use mp_manager::Error;
    ///
    /// let bytes = manager.array::<u8>("bytes", 1).open()?;
    /// assert_eq!(bytes.add(0, 200)?, 200);
    /// assert!(matches!(bytes.add(0, 200), Err(Error::Overflow(_))));
    /// # Ok(())
    /// # }
    /// ```
    pub fn add(&self, index: i64, delta: T) -> Result<T> {
        wait(self.inner.add(index, delta))
    }

    /// The elements in order, fetched a page at a time, as [`crate::Array::iter`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let weights = manager.array::<f64>("weights", 3).open()?;
    /// for weight in weights.iter() {
    ///     println!("{}", weight?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__iter__")]
    #[must_use]
    pub fn iter(&self) -> Pages<T> {
        Pages::new(self.inner.iter())
    }
}
