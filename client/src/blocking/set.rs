//! A set that every process can use, for threads.

use std::borrow::Borrow;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    SetOperand,
    blocking::{Manager, Open, Pages, fenced, wait, wrapper},
    error::Result,
    objects::open::Name,
};

impl Manager {
    /// A [`Set`] of elements `T`.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let team = manager.set::<String>("team").open()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn set<T: 'static>(&self, name: impl Into<Name>) -> Open<Set<T>> {
        Open::new(self.inner.set(name))
    }
}

wrapper! {
    /// A set for processes, as [`crate::Set`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let team = manager.set::<String>("team").open()?;
    /// let absent = manager.set::<String>("absent").open()?;
    /// team.extend(["alice".to_owned(), "bob".to_owned()])?;
    /// absent.add("bob")?;
    ///
    /// let present: Vec<String> = team.difference(&absent)?;
    /// assert_eq!(present, ["alice"]);
    /// # Ok(())
    /// # }
    /// ```
    Set, T
}

fenced!(Set, T);

impl<T> Set<T>
where
    T: Serialize + DeserializeOwned + Send + 'static,
{
    /// Adds an element; returns whether it is new, as [`crate::Set::add`].
    ///
    /// # Errors
    /// If the element cannot be encoded or is too long, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let team = manager.set::<String>("team").open()?;
    /// assert!(team.add("alice")?);
    /// assert!(!team.add("alice")?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "insert")]
    pub fn add<Q>(&self, element: &Q) -> Result<bool>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        wait(self.inner.add(element))
    }

    /// Removes an element that should be there, as [`crate::Set::remove`].
    ///
    /// # Errors
    /// [`Error::KeyNotFound`](crate::Error::KeyNotFound) if it is not there; or if it cannot be
    /// encoded, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let team = manager.set::<String>("team").open()?;
    /// use mp_manager::Error;
    ///
    /// team.add("alice")?;
    /// team.remove("alice")?;
    /// assert!(matches!(team.remove("alice"), Err(Error::KeyNotFound(_))));
    /// # Ok(())
    /// # }
    /// ```
    pub fn remove<Q>(&self, element: &Q) -> Result<()>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        wait(self.inner.remove(element))
    }

    /// Removes an element; returns whether it was there, as [`crate::Set::discard`].
    ///
    /// # Errors
    /// If it cannot be encoded, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let team = manager.set::<String>("team").open()?;
    /// team.add("alice")?;
    /// assert!(team.discard("alice")?);
    /// assert!(!team.discard("alice")?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn discard<Q>(&self, element: &Q) -> Result<bool>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        wait(self.inner.discard(element))
    }

    /// Removes the element that was added last and returns it, if there is one, as
    /// [`crate::Set::pop`].
    ///
    /// # Errors
    /// If it is not a `T`, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let team = manager.set::<String>("team").open()?;
    /// team.add("alice")?;
    /// assert_eq!(team.pop()?, Some("alice".into()));
    /// assert_eq!(team.pop()?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn pop(&self) -> Result<Option<T>> {
        wait(self.inner.pop())
    }

    /// Whether an element is there, as [`crate::Set::contains`].
    ///
    /// # Errors
    /// If it cannot be encoded, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let team = manager.set::<String>("team").open()?;
    /// team.add("alice")?;
    /// assert!(team.contains("alice")?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__contains__")]
    pub fn contains<Q>(&self, element: &Q) -> Result<bool>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        wait(self.inner.contains(element))
    }

    /// How many elements there are, as [`crate::Set::len`].
    ///
    /// # Errors
    /// If the session is lost or the set deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let team = manager.set::<String>("team").open()?;
    /// assert_eq!(team.len()?, 0);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__len__")]
    pub fn len(&self) -> Result<usize> {
        wait(self.inner.len())
    }

    /// Whether there are no elements, as [`crate::Set::is_empty`].
    ///
    /// # Errors
    /// If the session is lost or the set deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let team = manager.set::<String>("team").open()?;
    /// assert!(team.is_empty()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_empty(&self) -> Result<bool> {
        wait(self.inner.is_empty())
    }

    /// Removes all elements, as [`crate::Set::clear`].
    ///
    /// # Errors
    /// If the session is lost or the set deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let team = manager.set::<String>("team").open()?;
    /// team.add("alice")?;
    /// team.clear()?;
    /// assert!(team.is_empty()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn clear(&self) -> Result<()> {
        wait(self.inner.clear())
    }

    /// A local copy, as [`crate::Set::copy`].
    ///
    /// # Errors
    /// If the session is lost, the set deleted, or an element is not a `T`.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let team = manager.set::<String>("team").open()?;
    /// use std::collections::HashSet;
    ///
    /// team.add("alice")?;
    /// let local: HashSet<String> = team.copy()?;
    /// assert!(local.contains("alice"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn copy<C: FromIterator<T>>(&self) -> Result<C> {
        wait(self.inner.copy())
    }

    /// The elements in the order they were added, fetched a page at a time, as
    /// [`crate::Set::iter`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let team = manager.set::<String>("team").open()?;
    /// for name in team.iter() {
    ///     println!("{}", name?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__iter__")]
    #[must_use]
    pub fn iter(&self) -> Pages<T> {
        Pages::new(self.inner.iter())
    }

    /// The elements here, then those of `other` that are not, as [`crate::Set::union`].
    ///
    /// # Errors
    /// [`Error::LimitExceeded`](crate::Error::LimitExceeded) if the result is longer than a value
    /// may be, [`Error::InvalidArgument`](crate::Error::InvalidArgument) if `other` belongs to
    /// another manager; or if an element cannot be encoded or is not a `T`, or the session is
    /// lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let team = manager.set::<String>("team").open()?;
    /// use std::collections::BTreeSet;
    ///
    /// team.add("bob")?;
    /// let union: BTreeSet<String> = team.union(["alice".to_owned()])?;
    /// assert!(union.iter().eq(["alice", "bob"]));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__or__")]
    pub fn union<C>(&self, other: impl Into<SetOperand<T>>) -> Result<C>
    where
        C: FromIterator<T>,
    {
        wait(self.inner.union(other))
    }

    /// The elements that are here and in `other`, as [`crate::Set::intersection`].
    ///
    /// # Errors
    /// As [`union`](Self::union).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let team = manager.set::<String>("team").open()?;
    /// team.extend(["alice".to_owned(), "bob".to_owned()])?;
    /// let both: Vec<String> = team.intersection(["bob".to_owned(), "carol".to_owned()])?;
    /// assert_eq!(both, ["bob"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__and__")]
    pub fn intersection<C>(&self, other: impl Into<SetOperand<T>>) -> Result<C>
    where
        C: FromIterator<T>,
    {
        wait(self.inner.intersection(other))
    }

    /// The elements that are here and not in `other`, as [`crate::Set::difference`].
    ///
    /// # Errors
    /// As [`union`](Self::union).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let team = manager.set::<String>("team").open()?;
    /// team.extend(["alice".to_owned(), "bob".to_owned()])?;
    /// let others: Vec<String> = team.difference(["bob".to_owned()])?;
    /// assert_eq!(others, ["alice"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__sub__")]
    pub fn difference<C>(&self, other: impl Into<SetOperand<T>>) -> Result<C>
    where
        C: FromIterator<T>,
    {
        wait(self.inner.difference(other))
    }

    /// The elements that are either here or in `other`, not in both, as
    /// [`crate::Set::symmetric_difference`].
    ///
    /// # Errors
    /// As [`union`](Self::union).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let team = manager.set::<String>("team").open()?;
    /// team.extend(["alice".to_owned(), "bob".to_owned()])?;
    /// let changed: Vec<String> =
    ///     team.symmetric_difference(["bob".to_owned(), "carol".to_owned()])?;
    /// assert_eq!(changed, ["alice", "carol"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__xor__")]
    pub fn symmetric_difference<C>(&self, other: impl Into<SetOperand<T>>) -> Result<C>
    where
        C: FromIterator<T>,
    {
        wait(self.inner.symmetric_difference(other))
    }

    /// Adds all elements of `other`, as [`crate::Set::extend`].
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) if `other` belongs to another
    /// manager; or if an element cannot be encoded or is too long, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let team = manager.set::<String>("team").open()?;
    /// team.extend(["alice".to_owned(), "bob".to_owned()])?;
    /// assert_eq!(team.len()?, 2);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "update")]
    #[doc(alias = "union_update")]
    #[doc(alias = "__ior__")]
    pub fn extend(&self, other: impl Into<SetOperand<T>>) -> Result<()> {
        wait(self.inner.extend(other))
    }

    /// Keeps only what is in `other` too, as [`crate::Set::intersection_update`].
    ///
    /// # Errors
    /// As [`extend`](Self::extend).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let team = manager.set::<String>("team").open()?;
    /// team.extend(["alice".to_owned(), "bob".to_owned()])?;
    /// team.intersection_update(["bob".to_owned(), "carol".to_owned()])?;
    /// assert_eq!(team.copy::<Vec<_>>()?, ["bob"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__iand__")]
    pub fn intersection_update(&self, other: impl Into<SetOperand<T>>) -> Result<()> {
        wait(self.inner.intersection_update(other))
    }

    /// Removes what is in `other`, as [`crate::Set::difference_update`].
    ///
    /// # Errors
    /// As [`extend`](Self::extend).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let team = manager.set::<String>("team").open()?;
    /// team.extend(["alice".to_owned(), "bob".to_owned()])?;
    /// team.difference_update(["bob".to_owned(), "carol".to_owned()])?;
    /// assert_eq!(team.copy::<Vec<_>>()?, ["alice"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__isub__")]
    pub fn difference_update(&self, other: impl Into<SetOperand<T>>) -> Result<()> {
        wait(self.inner.difference_update(other))
    }

    /// Removes what is in `other` too, and adds what is only there, as
    /// [`crate::Set::symmetric_difference_update`].
    ///
    /// # Errors
    /// As [`extend`](Self::extend).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let team = manager.set::<String>("team").open()?;
    /// team.extend(["alice".to_owned(), "bob".to_owned()])?;
    /// team.symmetric_difference_update(["bob".to_owned(), "carol".to_owned()])?;
    /// assert_eq!(team.copy::<Vec<_>>()?, ["alice", "carol"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__ixor__")]
    pub fn symmetric_difference_update(&self, other: impl Into<SetOperand<T>>) -> Result<()> {
        wait(self.inner.symmetric_difference_update(other))
    }

    /// Whether no element is in `other`, as [`crate::Set::is_disjoint`].
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) if `other` belongs to another
    /// manager; or if an element cannot be encoded, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let team = manager.set::<String>("team").open()?;
    /// team.add("alice")?;
    /// assert!(team.is_disjoint(["bob".to_owned()])?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "isdisjoint")]
    pub fn is_disjoint(&self, other: impl Into<SetOperand<T>>) -> Result<bool> {
        wait(self.inner.is_disjoint(other))
    }

    /// Whether every element is in `other`, as [`crate::Set::is_subset`].
    ///
    /// # Errors
    /// As [`is_disjoint`](Self::is_disjoint).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let team = manager.set::<String>("team").open()?;
    /// team.add("alice")?;
    /// assert!(team.is_subset(["alice".to_owned(), "bob".to_owned()])?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "issubset")]
    #[doc(alias = "__le__")]
    pub fn is_subset(&self, other: impl Into<SetOperand<T>>) -> Result<bool> {
        wait(self.inner.is_subset(other))
    }

    /// Whether every element of `other` is here, as [`crate::Set::is_superset`].
    ///
    /// # Errors
    /// As [`is_disjoint`](Self::is_disjoint).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let team = manager.set::<String>("team").open()?;
    /// team.extend(["alice".to_owned(), "bob".to_owned()])?;
    /// assert!(team.is_superset(["alice".to_owned()])?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "issuperset")]
    #[doc(alias = "__ge__")]
    pub fn is_superset(&self, other: impl Into<SetOperand<T>>) -> Result<bool> {
        wait(self.inner.is_superset(other))
    }

    /// Whether every element is in `other`, which has more, as [`crate::Set::is_proper_subset`].
    ///
    /// # Errors
    /// As [`is_disjoint`](Self::is_disjoint).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let team = manager.set::<String>("team").open()?;
    /// team.add("alice")?;
    /// assert!(team.is_proper_subset(["alice".to_owned(), "bob".to_owned()])?);
    /// assert!(!team.is_proper_subset(&team)?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__lt__")]
    pub fn is_proper_subset(&self, other: impl Into<SetOperand<T>>) -> Result<bool> {
        wait(self.inner.is_proper_subset(other))
    }

    /// Whether every element of `other` is here, and more, as [`crate::Set::is_proper_superset`].
    ///
    /// # Errors
    /// As [`is_disjoint`](Self::is_disjoint).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let team = manager.set::<String>("team").open()?;
    /// team.extend(["alice".to_owned(), "bob".to_owned()])?;
    /// assert!(team.is_proper_superset(["alice".to_owned()])?);
    /// assert!(!team.is_proper_superset(&team)?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__gt__")]
    pub fn is_proper_superset(&self, other: impl Into<SetOperand<T>>) -> Result<bool> {
        wait(self.inner.is_proper_superset(other))
    }

    /// Whether `other` has the same elements, in whatever order, as [`crate::Set::equals`].
    ///
    /// # Errors
    /// As [`is_disjoint`](Self::is_disjoint).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let team = manager.set::<String>("team").open()?;
    /// team.extend(["alice".to_owned(), "bob".to_owned()])?;
    /// assert!(team.equals(["bob".to_owned(), "alice".to_owned()])?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__eq__")]
    #[doc(alias = "__ne__")]
    pub fn equals(&self, other: impl Into<SetOperand<T>>) -> Result<bool> {
        wait(self.inner.equals(other))
    }
}

impl<T> From<&Set<T>> for SetOperand<T> {
    fn from(set: &Set<T>) -> Self {
        (&set.inner).into()
    }
}
