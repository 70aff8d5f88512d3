//! A dict that every process can use.

use std::{
    borrow::Borrow,
    collections::{HashMap, hash_map},
    marker::PhantomData,
};

use bytes::Bytes;
use mp_manager_proto::{
    parts::Parts,
    v1::{
        DictAdd, DictAddMany, DictCompareAndSwap, DictGetMany, DictOp, DictPage, Empty, Entries,
        Entry, Keys, Kind, Page, PageRequest, Reason, Value, dict_op::Op, request,
    },
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::Result,
    objects::{
        manager::Manager,
        number::number_type,
        open::{Name, Open},
        pages::Pages,
        proxy, sealed,
    },
    rpc::{
        as_value::{AsEntry, AsValue, sealed::Here},
        codec::Detail,
        fence::fenced,
        object::Object,
        reply::Reply,
    },
};

impl Manager {
    /// A [`Dict`] of keys `K` to values `V`.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let scores = manager.dict::<String, u64>("scores").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn dict<K, V>(&self, name: impl Into<Name>) -> Open<Dict<K, V>> {
        Open::new(self, name.into(), None)
    }
}

/// A dict for processes, wherever they run. Python's `manager.dict()`.
///
/// It remembers the order of insertion. Each operation is atomic;
/// [`compare_and_swap`](Self::compare_and_swap), [`update_with`](Self::update_with) and
/// [`add`](Self::add) change a value without losing anybody else's change. Values can be proxies of
/// other shared objects.
///
/// # Keys
/// The manager does not know their type, and compares their encodings: `1` and `"1"` are different
/// keys, and so are `1` and `1.0`, or `0.1_f32` and `0.1_f64`; NaN and proxies cannot be keys. A key that
/// equals another in Rust and is encoded differently is another key here:
///
/// - The elements of a `HashSet` come in any order: use a `BTreeSet`. Maps are fine, as they are sorted.
/// - A struct with a field more than it had when the key was inserted has other bytes: encode what
///   identifies it, a `String` or a tuple.
/// - `i128` and `u128` are 16 bytes, and never the key that an equal `u64` is: use one of them throughout.
///
/// ```
/// # use mp_manager::Manager;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mp_manager::Result<()> {
/// # let manager = Manager::start().await?;
/// let scores = manager.dict::<String, u64>("scores").await?;
/// scores.insert("alice", &3).await?;
/// scores.update_with("alice", |n| n + 1).await?;
/// assert_eq!(scores.get("alice").await?, Some(4));
/// # Ok(())
/// # }
/// ```
pub struct Dict<K, V> {
    object: Object,
    types: PhantomData<fn() -> (K, V)>,
}

proxy!(Dict, K, V);
fenced!(Dict, K, V);

impl<K: 'static, V: 'static> sealed::Proxy for Dict<K, V> {
    const KIND: Kind = Kind::Dict;

    fn new(object: Object, _: Detail) -> Self {
        Self { object, types: PhantomData }
    }

    fn object(&self) -> &Object {
        &self.object
    }
}

impl<K, V> Dict<K, V>
where
    K: Serialize + DeserializeOwned + Send + 'static,
    V: Serialize + DeserializeOwned + Send + 'static,
{
    /// The value of a key.
    ///
    /// Keys are compared by their [encoding](Self#keys).
    ///
    /// # Errors
    /// If the key cannot be encoded, or the value there is not a `V`, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let scores = manager.dict::<String, u64>("scores").await?;
    /// assert_eq!(scores.get("alice").await?, None);
    /// scores.insert("alice", &3).await?;
    /// assert_eq!(scores.get("alice").await?, Some(3));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__getitem__")]
    pub async fn get<Q>(&self, key: &Q) -> Result<Option<V>>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        let key = self.object.encode_key("get", key)?;
        self.object.ask("get", op(Op::Get(key))).await?.value_or_absent()
    }

    /// Sets a key and returns the value it had. A key that is there keeps its place in the order.
    ///
    /// Keys are compared by their [encoding](Self#keys).
    ///
    /// # Errors
    /// If the key or value cannot be encoded or is too long, or the session is lost.
    /// [`Error::Decode`](crate::Error::Decode), with its bytes, if the value that it had is not a `V`:
    /// the new one is set all the same.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let scores = manager.dict::<String, u64>("scores").await?;
    /// assert_eq!(scores.insert("alice", &3).await?, None);
    /// assert_eq!(scores.insert("alice", &4).await?, Some(3));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__setitem__")]
    pub async fn insert<Q>(&self, key: &Q, value: impl AsValue<V>) -> Result<Option<V>>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        let entry = self.entry("insert", key, value)?;
        self.insert_entry(entry).await
    }

    pub(crate) async fn insert_entry(&self, entry: Entry) -> Result<Option<V>> {
        self.object.ask("insert", op(Op::Insert(entry))).await?.value_or_absent()
    }

    /// Whether a key is there.
    ///
    /// Keys are compared by their [encoding](Self#keys).
    ///
    /// # Errors
    /// If the key cannot be encoded, or the value there is not a `V`, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let scores = manager.dict::<String, u64>("scores").await?;
    /// assert!(!scores.contains("alice").await?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__contains__")]
    #[doc(alias = "contains_key")]
    pub async fn contains<Q>(&self, key: &Q) -> Result<bool>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        let key = self.object.encode_key("contains", key)?;
        self.object.ask("contains", op(Op::Contains(key))).await?.flag()
    }

    /// Removes a key and returns the value it had, if it was there. Final once applied.
    ///
    /// Keys are compared by their [encoding](Self#keys).
    ///
    /// # Errors
    /// If the key cannot be encoded, or the value there is not a `V`, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let scores = manager.dict::<String, u64>("scores").await?;
    /// scores.insert("alice", &3).await?;
    /// assert_eq!(scores.remove("alice").await?, Some(3));
    /// assert_eq!(scores.remove("alice").await?, None);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__delitem__")]
    pub async fn remove<Q>(&self, key: &Q) -> Result<Option<V>>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        let key = self.object.encode_key("remove", key)?;
        self.object.ask("remove", op(Op::Remove(key))).await?.value_or_absent()
    }

    /// Removes a key that should be there, and returns its value. Final once applied.
    ///
    /// # Errors
    /// [`Error::KeyNotFound`](crate::Error::KeyNotFound) if it is not there; otherwise as
    /// [`remove`](Self::remove).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let scores = manager.dict::<String, u64>("scores").await?;
    /// use mp_manager::Error;
    ///
    /// scores.insert("alice", &3).await?;
    /// assert_eq!(scores.pop("alice").await?, 3);
    /// assert!(matches!(scores.pop("alice").await, Err(Error::KeyNotFound(_))));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn pop<Q>(&self, key: &Q) -> Result<V>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        let key = self.object.encode_key("pop", key)?;
        let value = self.object.ask("pop", op(Op::Remove(key))).await?.value_or_absent()?;
        value.ok_or_else(|| {
            let hint = "pop_or takes a default, remove says whether it was there";
            self.object.refuse("pop", Reason::KeyNotFound, "the key is not in the dict", hint)
        })
    }

    /// Removes a key and returns its value, or `default` if it is not there. Final once applied.
    ///
    /// # Errors
    /// If the key cannot be encoded, or the value there is not a `V`, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let scores = manager.dict::<String, u64>("scores").await?;
    /// assert_eq!(scores.pop_or("alice", 0).await?, 0);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "pop")]
    pub async fn pop_or<Q>(&self, key: &Q, default: V) -> Result<V>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        Ok(self.remove(key).await?.unwrap_or(default))
    }

    /// Removes the entry that was inserted last, and returns it. Final once applied.
    ///
    /// # Errors
    /// If the entry is not of these types, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let scores = manager.dict::<String, u64>("scores").await?;
    /// scores.insert("alice", &3).await?;
    /// scores.insert("bob", &5).await?;
    /// assert_eq!(scores.pop_item().await?, Some(("bob".into(), 5)));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "popitem")]
    pub async fn pop_item(&self) -> Result<Option<(K, V)>> {
        self.object.ask("pop_item", op(Op::PopItem(Empty {}))).await?.entry_or_absent()
    }

    /// The value of a key, which is set to `value` first if it is not there. Atomic.
    ///
    /// # Errors
    /// If the key or value cannot be encoded or is too long, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let scores = manager.dict::<String, u64>("scores").await?;
    /// assert_eq!(scores.get_or_insert("alice", &1).await?, 1);
    /// assert_eq!(scores.get_or_insert("alice", &2).await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "setdefault")]
    pub async fn get_or_insert<Q>(&self, key: &Q, value: impl AsValue<V>) -> Result<V>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        let entry = self.entry("get_or_insert", key, value)?;
        self.object.ask("get_or_insert", op(Op::GetOrInsert(entry))).await?.value()
    }

    /// Sets many keys at once; of several values for a key the last wins. Atomic: all or, with an error,
    /// none.
    ///
    /// # Errors
    /// If a key or value cannot be encoded or is too long, or the session is lost;
    /// [`Error::LimitExceeded`](crate::Error::LimitExceeded) if they are too long together: a request is one
    /// frame, of 32 MiB unless the manager was told otherwise.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let scores = manager.dict::<String, u64>("scores").await?;
    /// scores.extend([("alice".to_owned(), 3), ("bob".to_owned(), 5)]).await?;
    /// assert_eq!(scores.len().await?, 2);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "update")]
    #[doc(alias = "insert_many")]
    #[doc(alias = "__ior__")]
    pub async fn extend(&self, entries: impl IntoIterator<Item: AsEntry<K, V>>) -> Result<()> {
        let entries = self.entries("extend", entries)?;
        self.object.ask("extend", op(Op::Extend(entries))).await?.done()
    }

    /// Sets many keys to the same value at once. Atomic, as [`extend`](Self::extend).
    ///
    /// # Errors
    /// As [`extend`](Self::extend): the request has the value once for each key.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let scores = manager.dict::<String, u64>("scores").await?;
    /// scores.from_keys(["alice".to_owned(), "bob".to_owned()], &0).await?;
    /// assert_eq!(scores.get("bob").await?, Some(0));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "fromkeys")]
    pub async fn from_keys(
        &self,
        keys: impl IntoIterator<Item: AsValue<K>>,
        value: impl AsValue<V>,
    ) -> Result<()> {
        let (value, mut parts) = (self.object.encode_value("from_keys", value)?, Parts::default());
        let entries = keys
            .into_iter()
            .map(|key| {
                let key = key.encoded(Here);
                let key = self.object.encode_key_part("from_keys", key, &mut parts)?;
                Ok(Entry { key, value: Some(value.clone()) })
            })
            .collect::<Result<_>>()?;
        self.object.ask("from_keys", op(Op::Extend(Entries { entries }))).await?.done()
    }

    /// How many entries there are.
    ///
    /// # Errors
    /// If the session is lost or the dict deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let scores = manager.dict::<String, u64>("scores").await?;
    /// assert_eq!(scores.len().await?, 0);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__len__")]
    pub async fn len(&self) -> Result<usize> {
        self.object.ask("len", op(Op::Len(Empty {}))).await?.count()
    }

    /// Whether there are no entries.
    ///
    /// # Errors
    /// If the session is lost or the dict deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let scores = manager.dict::<String, u64>("scores").await?;
    /// assert!(scores.is_empty().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn is_empty(&self) -> Result<bool> {
        Ok(self.len().await? == 0)
    }

    /// Removes all entries.
    ///
    /// # Errors
    /// If the session is lost or the dict deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let scores = manager.dict::<String, u64>("scores").await?;
    /// scores.insert("alice", &3).await?;
    /// scores.clear().await?;
    /// assert!(scores.is_empty().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn clear(&self) -> Result<()> {
        self.object.ask("clear", op(Op::Clear(Empty {}))).await?.done()
    }

    /// All keys, in the order they were first inserted.
    ///
    /// Fetched in pages: a dict of more than about 1 MiB may change between them, see [`Pages`].
    ///
    /// # Errors
    /// If the session is lost, the dict deleted, or an entry is not of these types.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let scores = manager.dict::<String, u64>("scores").await?;
    /// scores.insert("alice", &3).await?;
    /// assert_eq!(scores.keys().await?, ["alice"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__iter__")]
    pub async fn keys(&self) -> Result<Vec<K>> {
        self.pages("keys", false, Self::decode_key).collect().await
    }

    /// All values, in the order of their keys. Fetched in pages, as [`keys`](Self::keys).
    ///
    /// # Errors
    /// If the session is lost, the dict deleted, or an entry is not of these types.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let scores = manager.dict::<String, u64>("scores").await?;
    /// scores.insert("alice", &3).await?;
    /// assert_eq!(scores.values().await?, [3]);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn values(&self) -> Result<Vec<V>> {
        self.pages("values", false, Self::decode_value).collect().await
    }

    /// All entries, in the order of their keys. Fetched in pages, as [`keys`](Self::keys).
    ///
    /// # Errors
    /// If the session is lost, the dict deleted, or an entry is not of these types.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let scores = manager.dict::<String, u64>("scores").await?;
    /// scores.insert("alice", &3).await?;
    /// assert_eq!(scores.items().await?, [("alice".into(), 3)]);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn items(&self) -> Result<Vec<(K, V)>> {
        self.iter().collect().await
    }

    /// A local copy: any collection of entries. Fetched in pages, as [`keys`](Self::keys).
    ///
    /// # Errors
    /// If the session is lost, the dict deleted, or an entry is not of these types.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let scores = manager.dict::<String, u64>("scores").await?;
    /// use std::collections::HashMap;
    ///
    /// scores.insert("alice", &3).await?;
    /// let local: HashMap<String, u64> = scores.copy().await?;
    /// assert_eq!(local["alice"], 3);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn copy<C: FromIterator<(K, V)>>(&self) -> Result<C> {
        Ok(self.items().await?.into_iter().collect())
    }

    /// A local copy with the entries of `other` added, which win: Python's `|`. Every key is there once,
    /// where it came first. The dict stays as it is; [`extend`](Self::extend) is `|=`.
    ///
    /// # Errors
    /// If the session is lost, the dict deleted, an entry is not of these types, or a key of `other`
    /// cannot be encoded.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let scores = manager.dict::<String, u64>("scores").await?;
    /// scores.insert("alice", &3).await?;
    /// let other = [("bob".to_owned(), 5), ("alice".to_owned(), 4)];
    /// let merged: Vec<_> = scores.merge(other).await?;
    /// assert_eq!(merged, [("alice".into(), 4), ("bob".into(), 5)]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__or__")]
    pub async fn merge<C>(&self, other: impl IntoIterator<Item = (K, V)>) -> Result<C>
    where
        C: FromIterator<(K, V)>,
    {
        let mut merged = self.items().await?;
        let mut places = HashMap::with_capacity(merged.len());
        for (place, (key, _)) in merged.iter().enumerate() {
            places.insert(self.object.encode_key("merge", key)?, place);
        }
        for (key, value) in other {
            match places.entry(self.object.encode_key("merge", &key)?) {
                hash_map::Entry::Occupied(place) => merged[*place.get()].1 = value,
                hash_map::Entry::Vacant(place) => {
                    place.insert(merged.len());
                    merged.push((key, value));
                }
            }
        }
        Ok(merged.into_iter().collect())
    }

    /// The entries in the order of their keys, fetched a page at a time.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let scores = manager.dict::<String, u64>("scores").await?;
    /// let mut items = scores.iter();
    /// while let Some((name, score)) = items.next().await? {
    ///     println!("{name}: {score}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__iter__")]
    #[must_use]
    pub fn iter(&self) -> Pages<(K, V)> {
        self.pages("iter", false, Self::decode_item)
    }

    /// The entries in the opposite order: the one inserted last comes first.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let scores = manager.dict::<String, u64>("scores").await?;
    /// scores.extend([("alice".to_owned(), 3), ("bob".to_owned(), 5)]).await?;
    /// assert_eq!(scores.reversed().next().await?, Some(("bob".into(), 5)));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__reversed__")]
    #[must_use]
    pub fn reversed(&self) -> Pages<(K, V)> {
        self.pages("reversed", true, Self::decode_item)
    }

    /// Sets a key to `replacement` (`None` removes it) if its value is equal to `expected` (`None`: if it
    /// is not there). Returns whether it was, and what stands there now. Atomic.
    ///
    /// Equal is what `PartialEq` says, or has the same encoding (so NaN is equal to itself). The manager
    /// compares encodings; where it finds another one that is equal all the same (a set in another
    /// order, an `f32` read as `f64`, a struct without a field that came later), the swap is tried again
    /// with that. It is tried until it is done or refused: another attempt means that somebody else has
    /// changed the value in between, so that somebody always gets on.
    ///
    /// Dropping the future may leave it done or not; so does
    /// [`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown). It never happens twice.
    ///
    /// # Errors
    /// If the key or value cannot be encoded or is too long, or the value there is not a `V`, or the
    /// session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let scores = manager.dict::<String, u64>("scores").await?;
    /// assert_eq!(scores.compare_and_swap("alice", None, Some(&1)).await?, (true, Some(1)));
    /// assert_eq!(scores.compare_and_swap("alice", Some(&7), None).await?, (false, Some(1)));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn compare_and_swap<Q>(
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
        let encode = |value| self.object.encode("compare_and_swap", value);
        let key = self.object.encode_key("compare_and_swap", key)?;
        let encoded = expected.map(encode).transpose()?;
        let replacement = replacement.map(encode).transpose()?;
        let mut attempt = encoded.clone();
        loop {
            let swap = DictCompareAndSwap {
                key: key.clone(),
                expected: attempt,
                replacement: replacement.clone(),
            };
            let reply = self.object.ask("compare_and_swap", op(Op::CompareAndSwap(swap))).await?;
            let swap = reply.swap()?;
            let decode = |value: &Value| reply.decode(&value.data);
            let current: Option<V> = swap.current.as_ref().map(decode).transpose()?;
            match (&current, expected, &encoded) {
                (Some(current), Some(expected), Some(encoded))
                    if !swap.swapped && self.object.is_expected(current, expected, encoded) =>
                {
                    attempt = swap.current.clone();
                }
                _ => return Ok((swap.swapped, current)),
            }
        }
    }

    /// Replaces a value by what `update` makes of it, again and again until nobody else has changed it
    /// meanwhile; returns the new value. A key that is not there is an error: see
    /// [`get_or_insert`](Self::get_or_insert).
    ///
    /// For numbers [`add`](Self::add) does it in one step. Dropping the future may leave it done or not.
    ///
    /// # Errors
    /// If the key or value cannot be encoded or is too long, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let scores = manager.dict::<String, u64>("scores").await?;
    /// scores.insert("alice", &3).await?;
    /// assert_eq!(scores.update_with("alice", |n| n * 2).await?, 6);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn update_with<Q>(&self, key: &Q, mut update: impl FnMut(V) -> V) -> Result<V>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        let encoded = self.object.encode_key("update_with", key)?;
        loop {
            let get = op(Op::Get(encoded.clone()));
            let reply = self.object.ask("update_with", get).await?;
            let (current, value) = reply.encoded_value()?.ok_or_else(|| {
                let hint = "get_or_insert gives it a first value";
                let message = "the key is not in the dict";
                self.object.refuse("update_with", Reason::KeyNotFound, message, hint)
            })?;
            let replacement = self.object.encode("update_with", &update(value))?;
            let swap = DictCompareAndSwap {
                key: encoded.clone(),
                expected: Some(current),
                replacement: Some(replacement),
            };
            let reply = self.object.ask("update_with", op(Op::CompareAndSwap(swap))).await?;
            if let (true, Some(value)) = (reply.swap()?.swapped, &reply.swap()?.current) {
                return reply.decode(&value.data);
            }
        }
    }

    /// Adds to a number and returns the sum; a key that is not there counts as 0. Atomic.
    ///
    /// Floats add up as in Rust, to infinity if need be. A type that refuses some numbers of its width,
    /// such as `NonZeroU8`, is a number of that width here: add to those with
    /// [`update_with`](Self::update_with).
    ///
    /// # Errors
    /// The value stays as it was: [`Error::Overflow`](crate::Error::Overflow) if the sum does not fit
    /// `V`, or 64 bits if `V` takes more than numbers of one type;
    /// [`Error::TypeMismatch`](crate::Error::TypeMismatch) if one is no number (`i128` and `u128` are
    /// none to the manager), or the sum a float and `V` an integer. Or if the key or value cannot be
    /// encoded or is too long, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let scores = manager.dict::<String, u64>("scores").await?;
    /// assert_eq!(scores.add("alice", &3).await?, 3);
    /// assert_eq!(scores.add("alice", &3).await?, 6);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn add<Q>(&self, key: &Q, delta: impl AsValue<V>) -> Result<V>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        let Entry { key, value: delta } = self.entry("add", key, delta)?;
        let add = DictAdd { key, delta, sum_type: number_type::<V>().into() };
        self.object.ask("add", op(Op::Add(add))).await?.value()
    }

    /// Adds to many numbers at once; a key that is not there counts as 0. Atomic: all or, with an
    /// error, none.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let scores = manager.dict::<String, u64>("scores").await?;
    /// scores.add_many([("alice".to_owned(), 1), ("bob".to_owned(), 2)]).await?;
    /// scores.add_many([("alice".to_owned(), 3)]).await?;
    /// assert_eq!(scores.get("alice").await?, Some(4));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn add_many(&self, deltas: impl IntoIterator<Item: AsEntry<K, V>>) -> Result<()> {
        let Entries { entries } = self.entries("add_many", deltas)?;
        let add = DictAddMany { entries, sum_type: number_type::<V>().into() };
        self.object.ask("add_many", op(Op::AddMany(add))).await?.done()
    }

    /// The values of many keys at once, in the order of the keys.
    ///
    /// Atomic if the values are no longer together than one value may be (16 MiB, unless the manager was
    /// told otherwise). Longer ones are fetched in several parts, between which the dict may change.
    ///
    /// # Errors
    /// If a key cannot be encoded, or a value there is not a `V`, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let scores = manager.dict::<String, u64>("scores").await?;
    /// scores.insert("alice", &3).await?;
    /// assert_eq!(scores.get_many(["alice", "bob"]).await?, [Some(3), None]);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_many<'a, Q>(
        &self,
        keys: impl IntoIterator<Item = &'a Q>,
    ) -> Result<Vec<Option<V>>>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized + 'a,
    {
        let Keys { mut keys } = self.encode_keys("get_many", keys)?;
        let mut values = Vec::with_capacity(keys.len());
        loop {
            let get = DictGetMany { keys: keys.clone(), partial: true };
            let reply = self.object.ask("get_many", op(Op::GetMany(get))).await?;
            let found = reply.optionals()?;
            if found.len() > keys.len() || (found.is_empty() && !keys.is_empty()) {
                return Err(reply.unexpected());
            }
            keys.drain(..found.len());
            values.extend(found);
            if keys.is_empty() {
                return Ok(values);
            }
        }
    }

    /// Removes many keys at once and returns the values they had. Atomic, and final once applied.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`](crate::Error::LimitExceeded) if the values are longer together than one
    /// value may be (16 MiB, unless the manager was told otherwise): they are all still there. If a key cannot be encoded, or a value there is not a `V`, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let scores = manager.dict::<String, u64>("scores").await?;
    /// scores.insert("alice", &3).await?;
    /// assert_eq!(scores.remove_many(["alice", "bob"]).await?, [Some(3), None]);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn remove_many<'a, Q>(
        &self,
        keys: impl IntoIterator<Item = &'a Q>,
    ) -> Result<Vec<Option<V>>>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized + 'a,
    {
        let keys = self.encode_keys("remove_many", keys)?;
        self.object.ask("remove_many", op(Op::RemoveMany(keys))).await?.optionals()
    }

    pub(crate) fn entry<Q>(
        &self,
        operation: &'static str,
        key: &Q,
        value: impl AsValue<V>,
    ) -> Result<Entry>
    where
        Q: Serialize + ?Sized,
    {
        let key = self.object.encode_key(operation, key)?;
        Ok(Entry { key, value: Some(self.object.encode_value(operation, value)?) })
    }

    fn entries(
        &self,
        operation: &'static str,
        entries: impl IntoIterator<Item: AsEntry<K, V>>,
    ) -> Result<Entries> {
        let mut parts = Parts::default();
        let mut encode = |entry: &_| {
            AsEntry::with(
                entry,
                |key, value| {
                    let key = self.object.encode_key_part(operation, key, &mut parts)?;
                    let value = self.object.encode_part(operation, value, &mut parts)?;
                    Ok(Entry { key, value: Some(value) })
                },
                Here,
            )
        };
        let entries = entries.into_iter().map(|entry| encode(&entry));
        Ok(Entries { entries: entries.collect::<Result<_>>()? })
    }

    fn encode_keys<'a, Q>(
        &self,
        operation: &'static str,
        keys: impl IntoIterator<Item = &'a Q>,
    ) -> Result<Keys>
    where
        Q: Serialize + ?Sized + 'a,
    {
        let mut parts = Parts::default();
        let encode = |key| self.object.encode_key_part(operation, key, &mut parts);
        let keys = keys.into_iter().map(encode);
        Ok(Keys { keys: keys.collect::<Result<Vec<Bytes>>>()? })
    }

    fn pages<T: Send + 'static>(
        &self,
        operation: &'static str,
        reverse: bool,
        decode: fn(&Reply, &Page) -> Result<Vec<T>>,
    ) -> Pages<T> {
        let object = self.object.clone();
        Pages::new(move |cursor| {
            let object = object.clone();
            let page = PageRequest { cursor, reverse, max: 0 };
            let page = DictPage {
                page: Some(page),
                keys: operation != "values",
                values: operation != "keys",
            };
            async move {
                let reply = object.ask(operation, op(Op::Page(page))).await?;
                let page = reply.page()?;
                Ok((decode(&reply, page)?, page.next))
            }
        })
    }

    fn decode_key(reply: &Reply, page: &Page) -> Result<Vec<K>> {
        page.keys.iter().map(|key| reply.decode(key)).collect()
    }

    fn decode_value(reply: &Reply, page: &Page) -> Result<Vec<V>> {
        page.values.iter().map(|value| reply.decode(&value.data)).collect()
    }

    fn decode_item(reply: &Reply, page: &Page) -> Result<Vec<(K, V)>> {
        let items = page.keys.iter().zip(&page.values);
        items.map(|(key, value)| Ok((reply.decode(key)?, reply.decode(&value.data)?))).collect()
    }
}

fn op(op: Op) -> request::Op {
    request::Op::Dict(DictOp { op: Some(op) })
}
