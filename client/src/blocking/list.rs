//! A list that every process can use, for threads.

use std::{borrow::Borrow, ops::RangeBounds};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    AsValue, Slice,
    blocking::{Manager, Open, Pages, fenced, wait, wrapper},
    error::Result,
    objects::open::Name,
};

impl Manager {
    /// A [`List`] of values `T`.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let jobs = manager.list::<String>("jobs").open()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn list<T: 'static>(&self, name: impl Into<Name>) -> Open<List<T>> {
        Open::new(self.inner.list(name))
    }
}

wrapper! {
    /// A list for processes, as [`crate::List`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let jobs = manager.list::<String>("jobs").open()?;
    /// jobs.extend(["sweep".to_owned(), "wash".to_owned()])?;
    /// jobs.insert(0, "rest")?;
    /// assert_eq!(jobs.get(-1)?, "wash");
    /// assert_eq!(jobs.slice(1..)?, ["sweep", "wash"]);
    /// # Ok(())
    /// # }
    /// ```
    List, T
}

fenced!(List, T);

impl<T> List<T>
where
    T: Serialize + DeserializeOwned + Send + 'static,
{
    /// The value at a position, as [`crate::List::get`].
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`](crate::Error::IndexOutOfRange) if there is none; or if it is not
    /// a `T`, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.list::<String>("jobs").open()?;
    /// use mp_manager::Error;
    ///
    /// jobs.push("wash")?;
    /// assert_eq!(jobs.get(0)?, "wash");
    /// assert_eq!(jobs.get(-1)?, "wash");
    /// assert!(matches!(jobs.get(1), Err(Error::IndexOutOfRange(_))));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__getitem__")]
    pub fn get(&self, index: i64) -> Result<T> {
        wait(self.inner.get(index))
    }

    /// Replaces the value at a position, as [`crate::List::set`].
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`](crate::Error::IndexOutOfRange) if there is none; or if the value
    /// cannot be encoded or is too long, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.list::<String>("jobs").open()?;
    /// jobs.push("wash")?;
    /// jobs.set(-1, "iron")?;
    /// assert_eq!(jobs.get(0)?, "iron");
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__setitem__")]
    pub fn set(&self, index: i64, value: impl AsValue<T>) -> Result<()> {
        wait(self.inner.set(index, value))
    }

    /// Adds a value at the end, as [`crate::List::push`].
    ///
    /// # Errors
    /// If the value cannot be encoded or is too long, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.list::<String>("jobs").open()?;
    /// jobs.push("wash")?;
    /// assert_eq!(jobs.copy()?, ["wash"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "append")]
    pub fn push(&self, value: impl AsValue<T>) -> Result<()> {
        wait(self.inner.push(value))
    }

    /// Adds many values at the end, next to each other, as [`crate::List::extend`].
    ///
    /// # Errors
    /// If a value cannot be encoded or is too long, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.list::<String>("jobs").open()?;
    /// jobs.extend(["sweep".to_owned(), "wash".to_owned()])?;
    /// assert_eq!(jobs.len()?, 2);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__iadd__")]
    pub fn extend(&self, values: impl IntoIterator<Item: AsValue<T>>) -> Result<()> {
        wait(self.inner.extend(values))
    }

    /// Inserts a value before a position, as [`crate::List::insert`].
    ///
    /// # Errors
    /// If the value cannot be encoded or is too long, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.list::<String>("jobs").open()?;
    /// jobs.push("wash")?;
    /// jobs.insert(0, "sweep")?;
    /// jobs.insert(100, "iron")?;
    /// assert_eq!(jobs.copy()?, ["sweep", "wash", "iron"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn insert(&self, index: i64, value: impl AsValue<T>) -> Result<()> {
        wait(self.inner.insert(index, value))
    }

    /// Removes the last value and returns it, if there is one, as [`crate::List::pop`].
    ///
    /// # Errors
    /// If it is not a `T`, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.list::<String>("jobs").open()?;
    /// jobs.push("wash")?;
    /// assert_eq!(jobs.pop()?, Some("wash".into()));
    /// assert_eq!(jobs.pop()?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn pop(&self) -> Result<Option<T>> {
        wait(self.inner.pop())
    }

    /// Removes the value at a position and returns it, as [`crate::List::pop_at`].
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`](crate::Error::IndexOutOfRange) if there is none; or if it is not
    /// a `T`, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.list::<String>("jobs").open()?;
    /// jobs.extend(["sweep".to_owned(), "wash".to_owned()])?;
    /// assert_eq!(jobs.pop_at(0)?, "sweep");
    /// assert_eq!(jobs.copy()?, ["wash"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "pop")]
    #[doc(alias = "__delitem__")]
    pub fn pop_at(&self, index: i64) -> Result<T> {
        wait(self.inner.pop_at(index))
    }

    /// Removes the first value that equals this one, as [`crate::List::remove`].
    ///
    /// # Errors
    /// [`Error::ValueNotFound`](crate::Error::ValueNotFound) if none does; or if it cannot be
    /// encoded, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.list::<String>("jobs").open()?;
    /// use mp_manager::Error;
    ///
    /// jobs.push("wash")?;
    /// jobs.remove("wash")?;
    /// assert!(matches!(jobs.remove("wash"), Err(Error::ValueNotFound(_))));
    /// # Ok(())
    /// # }
    /// ```
    pub fn remove<Q>(&self, value: &Q) -> Result<()>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        wait(self.inner.remove(value))
    }

    /// Whether some value equals this one, as [`crate::List::contains`].
    ///
    /// # Errors
    /// If it cannot be encoded, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.list::<String>("jobs").open()?;
    /// jobs.push("wash")?;
    /// assert!(jobs.contains("wash")?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__contains__")]
    pub fn contains<Q>(&self, value: &Q) -> Result<bool>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        wait(self.inner.contains(value))
    }

    /// The position of the first value that equals this one, as [`crate::List::index`].
    ///
    /// # Errors
    /// [`Error::ValueNotFound`](crate::Error::ValueNotFound) if none does; or if it cannot be
    /// encoded, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.list::<String>("jobs").open()?;
    /// jobs.extend(["sweep".to_owned(), "wash".to_owned()])?;
    /// assert_eq!(jobs.index("wash")?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn index<Q>(&self, value: &Q) -> Result<usize>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        wait(self.inner.index(value))
    }

    /// The position of the first value in a range that equals this one, counted from the start of
    /// the list, as [`crate::List::index_in`].
    ///
    /// # Errors
    /// As [`index`](Self::index).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.list::<String>("jobs").open()?;
    /// use mp_manager::Error;
    ///
    /// jobs.extend(["sweep".to_owned(), "wash".to_owned(), "sweep".to_owned()])?;
    /// assert_eq!(jobs.index_in("sweep", 1..)?, 2);
    /// assert!(matches!(jobs.index_in("wash", -1..), Err(Error::ValueNotFound(_))));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "index")]
    pub fn index_in<Q>(&self, value: &Q, range: impl RangeBounds<i64>) -> Result<usize>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        wait(self.inner.index_in(value, range))
    }

    /// How many values equal this one, as [`crate::List::count`].
    ///
    /// # Errors
    /// If it cannot be encoded, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.list::<String>("jobs").open()?;
    /// jobs.extend(["sweep".to_owned(), "sweep".to_owned()])?;
    /// assert_eq!(jobs.count("sweep")?, 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn count<Q>(&self, value: &Q) -> Result<usize>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        wait(self.inner.count(value))
    }

    /// How many values there are, as [`crate::List::len`].
    ///
    /// # Errors
    /// If the session is lost or the list deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.list::<String>("jobs").open()?;
    /// assert_eq!(jobs.len()?, 0);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__len__")]
    pub fn len(&self) -> Result<usize> {
        wait(self.inner.len())
    }

    /// Whether there are no values, as [`crate::List::is_empty`].
    ///
    /// # Errors
    /// If the session is lost or the list deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.list::<String>("jobs").open()?;
    /// assert!(jobs.is_empty()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_empty(&self) -> Result<bool> {
        wait(self.inner.is_empty())
    }

    /// Removes all values, as [`crate::List::clear`].
    ///
    /// # Errors
    /// If the session is lost or the list deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.list::<String>("jobs").open()?;
    /// jobs.push("wash")?;
    /// jobs.clear()?;
    /// assert!(jobs.is_empty()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn clear(&self) -> Result<()> {
        wait(self.inner.clear())
    }

    /// A local copy, as [`crate::List::copy`].
    ///
    /// # Errors
    /// If the session is lost, the list deleted, or a value is not a `T`.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.list::<String>("jobs").open()?;
    /// jobs.push("wash")?;
    /// assert_eq!(jobs.copy()?, ["wash"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn copy(&self) -> Result<Vec<T>> {
        wait(self.inner.copy())
    }

    /// The values of a slice, in its order, as [`crate::List::slice`].
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) if the step is 0; or if the
    /// session is lost, or a value is not a `T`.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.list::<String>("jobs").open()?;
    /// use mp_manager::Slice;
    ///
    /// jobs.extend(["sweep".to_owned(), "wash".to_owned(), "iron".to_owned()])?;
    /// assert_eq!(jobs.slice(1..)?, ["wash", "iron"]); // jobs[1:]
    /// assert_eq!(jobs.slice(..-1)?, ["sweep", "wash"]); // jobs[:-1]
    /// assert_eq!(jobs.slice(Slice::new().step(-2))?, ["iron", "sweep"]); // jobs[::-2]
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__getitem__")]
    pub fn slice(&self, slice: impl Into<Slice>) -> Result<Vec<T>> {
        wait(self.inner.slice(slice))
    }

    /// Puts values in the place of a slice, as [`crate::List::set_slice`].
    ///
    /// # Errors
    /// [`Error::SizeMismatch`](crate::Error::SizeMismatch) if the slice has a step and another
    /// length, [`Error::InvalidArgument`](crate::Error::InvalidArgument) if the step is 0; or if a
    /// value cannot be encoded or is too long, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.list::<String>("jobs").open()?;
    /// jobs.extend(["sweep".to_owned(), "wash".to_owned()])?;
    /// jobs.set_slice(..1, ["mop".to_owned(), "dust".to_owned()])?; // jobs[:1] = …
    /// assert_eq!(jobs.copy()?, ["mop", "dust", "wash"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__setitem__")]
    pub fn set_slice(
        &self,
        slice: impl Into<Slice>,
        values: impl IntoIterator<Item: AsValue<T>>,
    ) -> Result<()> {
        wait(self.inner.set_slice(slice, values))
    }

    /// Removes the values of a slice, as [`crate::List::delete_slice`].
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) if the step is 0; or if the
    /// session is lost or the list deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.list::<String>("jobs").open()?;
    /// jobs.extend(["sweep".to_owned(), "wash".to_owned(), "iron".to_owned()])?;
    /// jobs.delete_slice(-2..)?; // del jobs[-2:]
    /// assert_eq!(jobs.copy()?, ["sweep"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__delitem__")]
    pub fn delete_slice(&self, slice: impl Into<Slice>) -> Result<()> {
        wait(self.inner.delete_slice(slice))
    }

    /// Turns the list around, in place, as [`crate::List::reverse`].
    ///
    /// # Errors
    /// If the session is lost or the list deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.list::<String>("jobs").open()?;
    /// jobs.extend(["sweep".to_owned(), "wash".to_owned()])?;
    /// jobs.reverse()?;
    /// assert_eq!(jobs.copy()?, ["wash", "sweep"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn reverse(&self) -> Result<()> {
        wait(self.inner.reverse())
    }

    /// Sorts the list in place, smallest first, as [`crate::List::sort`].
    ///
    /// # Errors
    /// [`Error::TypeMismatch`](crate::Error::TypeMismatch) if two values have no order: the list
    /// stays as it was; or if the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.list::<String>("jobs").open()?;
    /// jobs.extend(["wash".to_owned(), "sweep".to_owned()])?;
    /// jobs.sort()?;
    /// assert_eq!(jobs.copy()?, ["sweep", "wash"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn sort(&self) -> Result<()> {
        wait(self.inner.sort())
    }

    /// Sorts the list in place, largest first, as [`crate::List::sort_descending`].
    ///
    /// # Errors
    /// As [`sort`](Self::sort).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.list::<String>("jobs").open()?;
    /// jobs.extend(["sweep".to_owned(), "wash".to_owned()])?;
    /// jobs.sort_descending()?;
    /// assert_eq!(jobs.copy()?, ["wash", "sweep"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "sort")]
    pub fn sort_descending(&self) -> Result<()> {
        wait(self.inner.sort_descending())
    }

    /// A local copy followed by the values of `other`, as [`crate::List::concatenate`].
    ///
    /// # Errors
    /// As [`copy`](Self::copy).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.list::<String>("jobs").open()?;
    /// jobs.push("sweep")?;
    /// assert_eq!(jobs.concatenate(["wash".to_owned()])?, ["sweep", "wash"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__add__")]
    pub fn concatenate(&self, other: impl IntoIterator<Item = T>) -> Result<Vec<T>> {
        wait(self.inner.concatenate(other))
    }

    /// A local copy, so many times over, as [`crate::List::repeat`].
    ///
    /// # Errors
    /// [`Error::LimitExceeded`](crate::Error::LimitExceeded) if that is more than memory can hold;
    /// otherwise as [`copy`](Self::copy).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.list::<String>("jobs").open()?;
    /// jobs.push("sweep")?;
    /// assert_eq!(jobs.repeat(2)?, ["sweep", "sweep"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__mul__")]
    #[doc(alias = "__rmul__")]
    pub fn repeat(&self, times: i64) -> Result<Vec<T>>
    where
        T: Clone,
    {
        wait(self.inner.repeat(times))
    }

    /// Repeats the list in place, so many times in all, as [`crate::List::repeat_in_place`].
    ///
    /// # Errors
    /// [`Error::LimitExceeded`](crate::Error::LimitExceeded) if the list would have more than 1
    /// GiB; or if the session is lost or the list deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.list::<String>("jobs").open()?;
    /// jobs.push("sweep")?;
    /// jobs.repeat_in_place(2)?;
    /// assert_eq!(jobs.copy()?, ["sweep", "sweep"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__imul__")]
    pub fn repeat_in_place(&self, times: i64) -> Result<()> {
        wait(self.inner.repeat_in_place(times))
    }

    /// The values in order, fetched a page at a time, as [`crate::List::iter`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.list::<String>("jobs").open()?;
    /// for job in jobs.iter() {
    ///     println!("{}", job?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__iter__")]
    #[must_use]
    pub fn iter(&self) -> Pages<T> {
        Pages::new(self.inner.iter())
    }

    /// The values in the opposite order, fetched a page at a time, as
    /// [`crate::List::reversed`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.list::<String>("jobs").open()?;
    /// jobs.extend(["sweep".to_owned(), "wash".to_owned()])?;
    /// assert_eq!(jobs.reversed().next().transpose()?, Some("wash".into()));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__reversed__")]
    #[must_use]
    pub fn reversed(&self) -> Pages<T> {
        Pages::new(self.inner.reversed())
    }
}
