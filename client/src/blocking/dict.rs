//! A dict that every process can use, for threads.

use std::borrow::Borrow;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    AsEntry, AsValue,
    blocking::{Manager, Open, Pages, fenced, wait, wrapper},
    error::Result,
    objects::open::Name,
};

impl Manager {
    /// A [`Dict`] of keys `K` to values `V`.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let scores = manager.dict::<String, u64>("scores").open()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn dict<K: 'static, V: 'static>(&self, name: impl Into<Name>) -> Open<Dict<K, V>> {
        Open::new(self.inner.dict(name))
    }
}

wrapper! {
    /// A dict for processes, as [`crate::Dict`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let scores = manager.dict::<String, u64>("scores").open()?;
    /// scores.insert("alice", &3)?;
    /// scores.update_with("alice", |n| n + 1)?;
    /// assert_eq!(scores.get("alice")?, Some(4));
    /// # Ok(())
    /// # }
    /// ```
    Dict, K, V
}

fenced!(Dict, K, V);

impl<K, V> Dict<K, V>
where
    K: Serialize + DeserializeOwned + Send + 'static,
    V: Serialize + DeserializeOwned + Send + 'static,
{
    /// The value of a key, as [`crate::Dict::get`].
    ///
    /// # Errors
    /// If the key cannot be encoded, or the value there is not a `V`, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let scores = manager.dict::<String, u64>("scores").open()?;
    /// assert_eq!(scores.get("alice")?, None);
    /// scores.insert("alice", &3)?;
    /// assert_eq!(scores.get("alice")?, Some(3));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__getitem__")]
    pub fn get<Q>(&self, key: &Q) -> Result<Option<V>>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        wait(self.inner.get(key))
    }

    /// Sets a key and returns the value it had, as [`crate::Dict::insert`].
    ///
    /// # Errors
    /// If the key or value cannot be encoded or is too long, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let scores = manager.dict::<String, u64>("scores").open()?;
    /// assert_eq!(scores.insert("alice", &3)?, None);
    /// assert_eq!(scores.insert("alice", &4)?, Some(3));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__setitem__")]
    pub fn insert<Q>(&self, key: &Q, value: impl AsValue<V>) -> Result<Option<V>>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        wait(self.inner.insert(key, value))
    }

    /// Whether a key is there, as [`crate::Dict::contains`].
    ///
    /// # Errors
    /// If the key cannot be encoded, or the value there is not a `V`, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let scores = manager.dict::<String, u64>("scores").open()?;
    /// assert!(!scores.contains("alice")?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__contains__")]
    #[doc(alias = "contains_key")]
    pub fn contains<Q>(&self, key: &Q) -> Result<bool>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        wait(self.inner.contains(key))
    }

    /// Removes a key and returns the value it had, if it was there, as [`crate::Dict::remove`].
    ///
    /// # Errors
    /// If the key cannot be encoded, or the value there is not a `V`, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let scores = manager.dict::<String, u64>("scores").open()?;
    /// scores.insert("alice", &3)?;
    /// assert_eq!(scores.remove("alice")?, Some(3));
    /// assert_eq!(scores.remove("alice")?, None);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__delitem__")]
    pub fn remove<Q>(&self, key: &Q) -> Result<Option<V>>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        wait(self.inner.remove(key))
    }

    /// Removes a key that should be there, and returns its value, as [`crate::Dict::pop`].
    ///
    /// # Errors
    /// [`Error::KeyNotFound`](crate::Error::KeyNotFound) if it is not there; otherwise as
    /// [`remove`](Self::remove).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let scores = manager.dict::<String, u64>("scores").open()?;
    /// use mp_manager::Error;
    ///
    /// scores.insert("alice", &3)?;
    /// assert_eq!(scores.pop("alice")?, 3);
    /// assert!(matches!(scores.pop("alice"), Err(Error::KeyNotFound(_))));
    /// # Ok(())
    /// # }
    /// ```
    pub fn pop<Q>(&self, key: &Q) -> Result<V>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        wait(self.inner.pop(key))
    }

    /// Removes a key and returns its value, or `default` if it is not there, as
    /// [`crate::Dict::pop_or`].
    ///
    /// # Errors
    /// If the key cannot be encoded, or the value there is not a `V`, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let scores = manager.dict::<String, u64>("scores").open()?;
    /// assert_eq!(scores.pop_or("alice", 0)?, 0);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "pop")]
    pub fn pop_or<Q>(&self, key: &Q, default: V) -> Result<V>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        wait(self.inner.pop_or(key, default))
    }

    /// Removes the entry that was inserted last, and returns it, as [`crate::Dict::pop_item`].
    ///
    /// # Errors
    /// If the entry is not of these types, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let scores = manager.dict::<String, u64>("scores").open()?;
    /// scores.insert("alice", &3)?;
    /// scores.insert("bob", &5)?;
    /// assert_eq!(scores.pop_item()?, Some(("bob".into(), 5)));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "popitem")]
    pub fn pop_item(&self) -> Result<Option<(K, V)>> {
        wait(self.inner.pop_item())
    }

    /// The value of a key, which is set to `value` first if it is not there, as
    /// [`crate::Dict::get_or_insert`].
    ///
    /// # Errors
    /// If the key or value cannot be encoded or is too long, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let scores = manager.dict::<String, u64>("scores").open()?;
    /// assert_eq!(scores.get_or_insert("alice", &1)?, 1);
    /// assert_eq!(scores.get_or_insert("alice", &2)?, 1);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "setdefault")]
    pub fn get_or_insert<Q>(&self, key: &Q, value: impl AsValue<V>) -> Result<V>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        wait(self.inner.get_or_insert(key, value))
    }

    /// Sets many keys at once; of several values for a key the last wins, as
    /// [`crate::Dict::extend`].
    ///
    /// # Errors
    /// If the key or value cannot be encoded or is too long, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let scores = manager.dict::<String, u64>("scores").open()?;
    /// scores.extend([("alice".to_owned(), 3), ("bob".to_owned(), 5)])?;
    /// assert_eq!(scores.len()?, 2);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "update")]
    #[doc(alias = "insert_many")]
    #[doc(alias = "__ior__")]
    pub fn extend(&self, entries: impl IntoIterator<Item: AsEntry<K, V>>) -> Result<()> {
        wait(self.inner.extend(entries))
    }

    /// Sets many keys to the same value at once, as [`crate::Dict::from_keys`].
    ///
    /// # Errors
    /// If the key or value cannot be encoded or is too long, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let scores = manager.dict::<String, u64>("scores").open()?;
    /// scores.from_keys(["alice".to_owned(), "bob".to_owned()], &0)?;
    /// assert_eq!(scores.get("bob")?, Some(0));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "fromkeys")]
    pub fn from_keys(
        &self,
        keys: impl IntoIterator<Item: AsValue<K>>,
        value: impl AsValue<V>,
    ) -> Result<()> {
        wait(self.inner.from_keys(keys, value))
    }

    /// How many entries there are, as [`crate::Dict::len`].
    ///
    /// # Errors
    /// If the session is lost or the dict deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let scores = manager.dict::<String, u64>("scores").open()?;
    /// assert_eq!(scores.len()?, 0);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__len__")]
    pub fn len(&self) -> Result<usize> {
        wait(self.inner.len())
    }

    /// Whether there are no entries, as [`crate::Dict::is_empty`].
    ///
    /// # Errors
    /// If the session is lost or the dict deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let scores = manager.dict::<String, u64>("scores").open()?;
    /// assert!(scores.is_empty()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_empty(&self) -> Result<bool> {
        wait(self.inner.is_empty())
    }

    /// Removes all entries, as [`crate::Dict::clear`].
    ///
    /// # Errors
    /// If the session is lost or the dict deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let scores = manager.dict::<String, u64>("scores").open()?;
    /// scores.insert("alice", &3)?;
    /// scores.clear()?;
    /// assert!(scores.is_empty()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn clear(&self) -> Result<()> {
        wait(self.inner.clear())
    }

    /// All keys, in the order they were first inserted, as [`crate::Dict::keys`].
    ///
    /// # Errors
    /// If the session is lost, the dict deleted, or an entry is not of these types.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let scores = manager.dict::<String, u64>("scores").open()?;
    /// scores.insert("alice", &3)?;
    /// assert_eq!(scores.keys()?, ["alice"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__iter__")]
    pub fn keys(&self) -> Result<Vec<K>> {
        wait(self.inner.keys())
    }

    /// All values, in the order of their keys, as [`crate::Dict::values`].
    ///
    /// # Errors
    /// If the session is lost, the dict deleted, or an entry is not of these types.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let scores = manager.dict::<String, u64>("scores").open()?;
    /// scores.insert("alice", &3)?;
    /// assert_eq!(scores.values()?, [3]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn values(&self) -> Result<Vec<V>> {
        wait(self.inner.values())
    }

    /// All entries, in the order of their keys, as [`crate::Dict::items`].
    ///
    /// # Errors
    /// If the session is lost, the dict deleted, or an entry is not of these types.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let scores = manager.dict::<String, u64>("scores").open()?;
    /// scores.insert("alice", &3)?;
    /// assert_eq!(scores.items()?, [("alice".into(), 3)]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn items(&self) -> Result<Vec<(K, V)>> {
        wait(self.inner.items())
    }

    /// A local copy, as [`crate::Dict::copy`].
    ///
    /// # Errors
    /// If the session is lost, the dict deleted, or an entry is not of these types.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let scores = manager.dict::<String, u64>("scores").open()?;
    /// use std::collections::HashMap;
    ///
    /// scores.insert("alice", &3)?;
    /// let local: HashMap<String, u64> = scores.copy()?;
    /// assert_eq!(local["alice"], 3);
    /// # Ok(())
    /// # }
    /// ```
    pub fn copy<C: FromIterator<(K, V)>>(&self) -> Result<C> {
        wait(self.inner.copy())
    }

    /// A local copy with the entries of `other` added, which win, as [`crate::Dict::merge`].
    ///
    /// # Errors
    /// If the session is lost, the dict deleted, an entry is not of these types, or a key of `other`
    /// cannot be encoded.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let scores = manager.dict::<String, u64>("scores").open()?;
    /// scores.insert("alice", &3)?;
    /// let other = [("bob".to_owned(), 5), ("alice".to_owned(), 4)];
    /// let merged: Vec<_> = scores.merge(other)?;
    /// assert_eq!(merged, [("alice".into(), 4), ("bob".into(), 5)]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__or__")]
    pub fn merge<C>(&self, other: impl IntoIterator<Item = (K, V)>) -> Result<C>
    where
        C: FromIterator<(K, V)>,
    {
        wait(self.inner.merge(other))
    }

    /// The entries in the order of their keys, fetched a page at a time, as [`crate::Dict::iter`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let scores = manager.dict::<String, u64>("scores").open()?;
    /// for item in scores.iter() {
    ///     let (name, score) = item?;
    ///     println!("{name}: {score}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__iter__")]
    #[must_use]
    pub fn iter(&self) -> Pages<(K, V)> {
        Pages::new(self.inner.iter())
    }

    /// The entries in the opposite order, as [`crate::Dict::reversed`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let scores = manager.dict::<String, u64>("scores").open()?;
    /// scores.extend([("alice".to_owned(), 3), ("bob".to_owned(), 5)])?;
    /// assert_eq!(scores.reversed().next().transpose()?, Some(("bob".into(), 5)));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__reversed__")]
    #[must_use]
    pub fn reversed(&self) -> Pages<(K, V)> {
        Pages::new(self.inner.reversed())
    }

    /// Sets a key to `replacement` (`None` removes it) if its value is equal to `expected` (`None`: if it
    /// is not there), as [`crate::Dict::compare_and_swap`].
    ///
    /// # Errors
    /// If the key or value cannot be encoded or is too long, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let scores = manager.dict::<String, u64>("scores").open()?;
    /// assert_eq!(scores.compare_and_swap("alice", None, Some(&1))?, (true, Some(1)));
    /// assert_eq!(scores.compare_and_swap("alice", Some(&7), None)?, (false, Some(1)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn compare_and_swap<Q>(
        &self,
        key: &Q,
        expected: Option<&V>,
        replacement: Option<&V>,
    ) -> Result<(bool, Option<V>)>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
        V: PartialEq,
    {
        wait(self.inner.compare_and_swap(key, expected, replacement))
    }

    /// Replaces a value by what `update` makes of it, again and again until nobody else has changed
    /// it meanwhile; returns the new value, as [`crate::Dict::update_with`].
    ///
    /// # Errors
    /// If the key or value cannot be encoded or is too long, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let scores = manager.dict::<String, u64>("scores").open()?;
    /// scores.insert("alice", &3)?;
    /// assert_eq!(scores.update_with("alice", |n| n * 2)?, 6);
    /// # Ok(())
    /// # }
    /// ```
    pub fn update_with<Q>(&self, key: &Q, update: impl FnMut(V) -> V) -> Result<V>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        wait(self.inner.update_with(key, update))
    }

    /// Adds to a number and returns the sum; a key that is not there counts as 0, as
    /// [`crate::Dict::add`].
    ///
    /// # Errors
    /// [`Error::Overflow`](crate::Error::Overflow) if the sum does not fit,
    /// [`Error::TypeMismatch`](crate::Error::TypeMismatch) if one is no number: the value stays as it
    /// was. Or if the key or value cannot be encoded or is too long, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let scores = manager.dict::<String, u64>("scores").open()?;
    /// assert_eq!(scores.add("alice", &3)?, 3);
    /// assert_eq!(scores.add("alice", &3)?, 6);
    /// # Ok(())
    /// # }
    /// ```
    pub fn add<Q>(&self, key: &Q, delta: impl AsValue<V>) -> Result<V>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        wait(self.inner.add(key, delta))
    }

    /// Adds to many numbers at once; a key that is not there counts as 0. Atomic: all or, with an
    /// error, none, as [`crate::Dict::add_many`].
    ///
    /// # Errors
    /// As [`add`](Self::add).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let scores = manager.dict::<String, u64>("scores").open()?;
    /// scores.add_many([("alice".to_owned(), 1), ("bob".to_owned(), 2)])?;
    /// scores.add_many([("alice".to_owned(), 3)])?;
    /// assert_eq!(scores.get("alice")?, Some(4));
    /// # Ok(())
    /// # }
    /// ```
    pub fn add_many(&self, deltas: impl IntoIterator<Item: AsEntry<K, V>>) -> Result<()> {
        wait(self.inner.add_many(deltas))
    }

    /// The values of many keys at once, in the order of the keys, as [`crate::Dict::get_many`].
    ///
    /// # Errors
    /// If a key cannot be encoded, or a value there is not a `V`, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let scores = manager.dict::<String, u64>("scores").open()?;
    /// scores.insert("alice", &3)?;
    /// assert_eq!(scores.get_many(["alice", "bob"])?, [Some(3), None]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_many<'a, Q>(&self, keys: impl IntoIterator<Item = &'a Q>) -> Result<Vec<Option<V>>>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized + 'a,
    {
        wait(self.inner.get_many(keys))
    }

    /// Removes many keys at once and returns the values they had, as [`crate::Dict::remove_many`].
    ///
    /// # Errors
    /// [`Error::LimitExceeded`](crate::Error::LimitExceeded) if the values are longer together than one
    /// value may be: they are all still there. If a key cannot be encoded, or a value there is not a `V`, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let scores = manager.dict::<String, u64>("scores").open()?;
    /// scores.insert("alice", &3)?;
    /// assert_eq!(scores.remove_many(["alice", "bob"])?, [Some(3), None]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn remove_many<'a, Q>(
        &self,
        keys: impl IntoIterator<Item = &'a Q>,
    ) -> Result<Vec<Option<V>>>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized + 'a,
    {
        wait(self.inner.remove_many(keys))
    }
}
