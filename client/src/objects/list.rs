//! A list that every process can use.

use std::{borrow::Borrow, marker::PhantomData, ops::RangeBounds};

use mp_manager_proto::v1::{
    Empty, Kind, ListIndex, ListItem, ListOp, ListSlice, ListSliceSet, ListSort, PageRequest,
    Reason, Values, list_op::Op, request,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::{Error, Result},
    objects::{
        manager::Manager,
        open::{Name, Open},
        pages::Pages,
        proxy, sealed,
        slice::Slice,
    },
    rpc::{as_value::AsValue, codec::Detail, fence::fenced, object::Object},
};

impl Manager {
    /// A [`List`] of values `T`.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let jobs = manager.list::<String>("jobs").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn list<T>(&self, name: impl Into<Name>) -> Open<List<T>> {
        Open::new(self, name.into(), None)
    }
}

/// A list for processes, wherever they run. Python's `manager.list()`.
///
/// Positions are Python's: negative ones count from the end. Each operation is atomic. Values can be
/// proxies of other shared objects.
///
/// # Equality
/// [`contains`](Self::contains), [`index`](Self::index), [`count`](Self::count) and
/// [`remove`](Self::remove) look at the encodings of values, as the manager does not know their type.
/// Equal are values of the same bytes, maps in any order, and the two zeros of a float; `1` and `1.0`,
/// or `0.1_f32` and `0.1_f64`, are not. A `HashSet` in another order and a struct without a field that
/// came later are not found either: keep a `BTreeSet`, or search a [`copy`](Self::copy).
///
/// ```
/// # use mp_manager::Manager;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mp_manager::Result<()> {
/// # let manager = Manager::start().await?;
/// let jobs = manager.list::<String>("jobs").await?;
/// jobs.extend(["sweep".to_owned(), "wash".to_owned()]).await?;
/// jobs.insert(0, "rest").await?;
/// assert_eq!(jobs.get(-1).await?, "wash");
/// assert_eq!(jobs.slice(1..).await?, ["sweep", "wash"]);
/// # Ok(())
/// # }
/// ```
pub struct List<T> {
    object: Object,
    types: PhantomData<fn() -> T>,
}

proxy!(List, T);
fenced!(List, T);

impl<T: 'static> sealed::Proxy for List<T> {
    const KIND: Kind = Kind::List;

    fn new(object: Object, _: Detail) -> Self {
        Self { object, types: PhantomData }
    }

    fn object(&self) -> &Object {
        &self.object
    }
}

impl<T> List<T>
where
    T: Serialize + DeserializeOwned + Send + 'static,
{
    /// The value at a position.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`] if there is none; or if it is not a `T`, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.list::<String>("jobs").await?;
    /// use mp_manager::Error;
    ///
    /// jobs.push("wash").await?;
    /// assert_eq!(jobs.get(0).await?, "wash");
    /// assert_eq!(jobs.get(-1).await?, "wash");
    /// assert!(matches!(jobs.get(1).await, Err(Error::IndexOutOfRange(_))));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__getitem__")]
    pub async fn get(&self, index: i64) -> Result<T> {
        self.object.ask("get", op(Op::Get(index))).await?.value()
    }

    /// Replaces the value at a position.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`] if there is none; or if the value cannot be encoded or is too
    /// long, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.list::<String>("jobs").await?;
    /// jobs.push("wash").await?;
    /// jobs.set(-1, "iron").await?;
    /// assert_eq!(jobs.get(0).await?, "iron");
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__setitem__")]
    pub async fn set(&self, index: i64, value: impl AsValue<T>) -> Result<()> {
        let value = Some(self.object.encode_value("set", value)?);
        self.object.ask("set", op(Op::Set(ListItem { index, value }))).await?.done()
    }

    /// Adds a value at the end.
    ///
    /// # Errors
    /// If the value cannot be encoded or is too long, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.list::<String>("jobs").await?;
    /// jobs.push("wash").await?;
    /// assert_eq!(jobs.copy().await?, ["wash"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "append")]
    pub async fn push(&self, value: impl AsValue<T>) -> Result<()> {
        let value = self.object.encode_value("push", value)?;
        self.object.ask("push", op(Op::Push(value))).await?.done()
    }

    /// Adds many values at the end, next to each other. Atomic: all or, with an error, none.
    ///
    /// # Errors
    /// If a value cannot be encoded or is too long, or the session is lost;
    /// [`Error::LimitExceeded`] if they are too long together: a request is one frame, of 32 MiB unless the
    /// manager was told otherwise.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.list::<String>("jobs").await?;
    /// jobs.extend(["sweep".to_owned(), "wash".to_owned()]).await?;
    /// assert_eq!(jobs.len().await?, 2);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__iadd__")]
    pub async fn extend(&self, values: impl IntoIterator<Item: AsValue<T>>) -> Result<()> {
        let values = self.object.encode_values("extend", values)?;
        self.object.ask("extend", op(Op::Extend(Values { values }))).await?.done()
    }

    /// Inserts a value before a position. Beyond an end means at that end, as in Python.
    ///
    /// # Errors
    /// If the value cannot be encoded or is too long, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.list::<String>("jobs").await?;
    /// jobs.push("wash").await?;
    /// jobs.insert(0, "sweep").await?;
    /// jobs.insert(100, "iron").await?;
    /// assert_eq!(jobs.copy().await?, ["sweep", "wash", "iron"]);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn insert(&self, index: i64, value: impl AsValue<T>) -> Result<()> {
        let value = Some(self.object.encode_value("insert", value)?);
        self.object.ask("insert", op(Op::Insert(ListItem { index, value }))).await?.done()
    }

    /// Removes the last value and returns it, if there is one. Final once applied.
    ///
    /// # Errors
    /// If it is not a `T`, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.list::<String>("jobs").await?;
    /// jobs.push("wash").await?;
    /// assert_eq!(jobs.pop().await?, Some("wash".into()));
    /// assert_eq!(jobs.pop().await?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn pop(&self) -> Result<Option<T>> {
        match self.object.ask("pop", op(Op::Pop(-1))).await {
            Err(Error::IndexOutOfRange(_)) => Ok(None),
            reply => reply?.value().map(Some),
        }
    }

    /// Removes the value at a position and returns it. Final once applied.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`] if there is none; or if it is not a `T`, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.list::<String>("jobs").await?;
    /// jobs.extend(["sweep".to_owned(), "wash".to_owned()]).await?;
    /// assert_eq!(jobs.pop_at(0).await?, "sweep");
    /// assert_eq!(jobs.copy().await?, ["wash"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "pop")]
    #[doc(alias = "__delitem__")]
    pub async fn pop_at(&self, index: i64) -> Result<T> {
        self.object.ask("pop_at", op(Op::Pop(index))).await?.value()
    }

    /// Removes the first value that equals this one.
    ///
    /// The manager compares [encodings](Self#equality).
    ///
    /// # Errors
    /// [`Error::ValueNotFound`] if none does; or if it cannot be encoded, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.list::<String>("jobs").await?;
    /// use mp_manager::Error;
    ///
    /// jobs.push("wash").await?;
    /// jobs.remove("wash").await?;
    /// assert!(matches!(jobs.remove("wash").await, Err(Error::ValueNotFound(_))));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn remove<Q>(&self, value: &Q) -> Result<()>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        let value = self.object.encode("remove", value)?;
        self.object.ask("remove", op(Op::Remove(value))).await?.done()
    }

    /// Whether some value equals this one.
    ///
    /// The manager compares [encodings](Self#equality).
    ///
    /// # Errors
    /// If it cannot be encoded, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.list::<String>("jobs").await?;
    /// jobs.push("wash").await?;
    /// assert!(jobs.contains("wash").await?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__contains__")]
    pub async fn contains<Q>(&self, value: &Q) -> Result<bool>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        let value = self.object.encode("contains", value)?;
        self.object.ask("contains", op(Op::Contains(value))).await?.flag()
    }

    /// The position of the first value that equals this one.
    ///
    /// The manager compares [encodings](Self#equality).
    ///
    /// # Errors
    /// [`Error::ValueNotFound`] if none does; or if it cannot be encoded, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.list::<String>("jobs").await?;
    /// jobs.extend(["sweep".to_owned(), "wash".to_owned()]).await?;
    /// assert_eq!(jobs.index("wash").await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn index<Q>(&self, value: &Q) -> Result<usize>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.find("index", value, Slice::new()).await
    }

    /// The position of the first value in a range that equals this one, counted from the start of
    /// the list.
    ///
    /// The manager compares [encodings](Self#equality).
    ///
    /// # Errors
    /// As [`index`](Self::index).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.list::<String>("jobs").await?;
    /// use mp_manager::Error;
    ///
    /// jobs.extend(["sweep".to_owned(), "wash".to_owned(), "sweep".to_owned()]).await?;
    /// assert_eq!(jobs.index_in("sweep", 1..).await?, 2);
    /// assert!(matches!(jobs.index_in("wash", -1..).await, Err(Error::ValueNotFound(_))));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "index")]
    pub async fn index_in<Q>(&self, value: &Q, range: impl RangeBounds<i64>) -> Result<usize>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.find("index_in", value, range.into()).await
    }

    /// How many values equal this one.
    ///
    /// The manager compares [encodings](Self#equality).
    ///
    /// # Errors
    /// If it cannot be encoded, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.list::<String>("jobs").await?;
    /// jobs.extend(["sweep".to_owned(), "sweep".to_owned()]).await?;
    /// assert_eq!(jobs.count("sweep").await?, 2);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn count<Q>(&self, value: &Q) -> Result<usize>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        let value = self.object.encode("count", value)?;
        self.object.ask("count", op(Op::Count(value))).await?.count()
    }

    /// How many values there are.
    ///
    /// # Errors
    /// If the session is lost or the list deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.list::<String>("jobs").await?;
    /// assert_eq!(jobs.len().await?, 0);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__len__")]
    pub async fn len(&self) -> Result<usize> {
        self.object.ask("len", op(Op::Len(Empty {}))).await?.count()
    }

    /// Whether there are no values.
    ///
    /// # Errors
    /// If the session is lost or the list deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.list::<String>("jobs").await?;
    /// assert!(jobs.is_empty().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn is_empty(&self) -> Result<bool> {
        Ok(self.len().await? == 0)
    }

    /// Removes all values.
    ///
    /// # Errors
    /// If the session is lost or the list deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.list::<String>("jobs").await?;
    /// jobs.push("wash").await?;
    /// jobs.clear().await?;
    /// assert!(jobs.is_empty().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn clear(&self) -> Result<()> {
        self.object.ask("clear", op(Op::Clear(Empty {}))).await?.done()
    }

    /// A local copy. Fetched in pages: a list of more than about 1 MiB may change between them, see
    /// [`iter`](Self::iter).
    ///
    /// # Errors
    /// If the session is lost, the list deleted, or a value is not a `T`.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.list::<String>("jobs").await?;
    /// jobs.push("wash").await?;
    /// assert_eq!(jobs.copy().await?, ["wash"]);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn copy(&self) -> Result<Vec<T>> {
        self.all_pages("copy", false).collect().await
    }

    /// The values of a slice, in its order. Fetched in pages, as [`copy`](Self::copy).
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the step is 0; or if the session is lost, or a value is not a
    /// `T`.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.list::<String>("jobs").await?;
    /// use mp_manager::Slice;
    ///
    /// jobs.extend(["sweep".to_owned(), "wash".to_owned(), "iron".to_owned()]).await?;
    /// assert_eq!(jobs.slice(1..).await?, ["wash", "iron"]); // jobs[1:]
    /// assert_eq!(jobs.slice(..-1).await?, ["sweep", "wash"]); // jobs[:-1]
    /// assert_eq!(jobs.slice(Slice::new().step(-2)).await?, ["iron", "sweep"]); // jobs[::-2]
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__getitem__")]
    pub async fn slice(&self, slice: impl Into<Slice>) -> Result<Vec<T>> {
        let slice = slice.into().to_message();
        let page = move |cursor| Op::SliceGet(ListSlice { slice: Some(slice), cursor });
        self.pages("slice", page).collect().await
    }

    /// Puts values in the place of a slice. Without a step there may be more or fewer of them than
    /// the slice has. Atomic.
    ///
    /// # Errors
    /// [`Error::SizeMismatch`] if the slice has a step and another length,
    /// [`Error::InvalidArgument`] if the step is 0; or if a value cannot be encoded or is too long,
    /// or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.list::<String>("jobs").await?;
    /// jobs.extend(["sweep".to_owned(), "wash".to_owned()]).await?;
    /// jobs.set_slice(..1, ["mop".to_owned(), "dust".to_owned()]).await?; // jobs[:1] = …
    /// assert_eq!(jobs.copy().await?, ["mop", "dust", "wash"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__setitem__")]
    pub async fn set_slice(
        &self,
        slice: impl Into<Slice>,
        values: impl IntoIterator<Item: AsValue<T>>,
    ) -> Result<()> {
        let values = self.object.encode_values("set_slice", values)?;
        let set = ListSliceSet { slice: Some(slice.into().to_message()), values };
        self.object.ask("set_slice", op(Op::SliceSet(set))).await?.done()
    }

    /// Removes the values of a slice. Atomic.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the step is 0; or if the session is lost or the list deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.list::<String>("jobs").await?;
    /// jobs.extend(["sweep".to_owned(), "wash".to_owned(), "iron".to_owned()]).await?;
    /// jobs.delete_slice(-2..).await?; // del jobs[-2:]
    /// assert_eq!(jobs.copy().await?, ["sweep"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__delitem__")]
    pub async fn delete_slice(&self, slice: impl Into<Slice>) -> Result<()> {
        let slice = slice.into().to_message();
        self.object.ask("delete_slice", op(Op::SliceDelete(slice))).await?.done()
    }

    /// Turns the list around, in place.
    ///
    /// # Errors
    /// If the session is lost or the list deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.list::<String>("jobs").await?;
    /// jobs.extend(["sweep".to_owned(), "wash".to_owned()]).await?;
    /// jobs.reverse().await?;
    /// assert_eq!(jobs.copy().await?, ["wash", "sweep"]);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn reverse(&self) -> Result<()> {
        self.object.ask("reverse", op(Op::Reverse(Empty {}))).await?.done()
    }

    /// Sorts the list in place, smallest first. Stable.
    ///
    /// Numbers are ordered by their value, text and bytes bytewise, arrays and tuples element by
    /// element. `i128` and `u128` are ordered as the 16 bytes that they are encoded in: negative ones
    /// come last.
    ///
    /// # Errors
    /// [`Error::TypeMismatch`] if two values have no order: the list stays as it was; or if the
    /// session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.list::<String>("jobs").await?;
    /// jobs.extend(["wash".to_owned(), "sweep".to_owned()]).await?;
    /// jobs.sort().await?;
    /// assert_eq!(jobs.copy().await?, ["sweep", "wash"]);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn sort(&self) -> Result<()> {
        self.object.ask("sort", op(Op::Sort(ListSort { descending: false }))).await?.done()
    }

    /// Sorts the list in place, largest first: Python's `sort(reverse=True)`. Stable, so equal
    /// values keep their order.
    ///
    /// # Errors
    /// As [`sort`](Self::sort).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.list::<String>("jobs").await?;
    /// jobs.extend(["sweep".to_owned(), "wash".to_owned()]).await?;
    /// jobs.sort_descending().await?;
    /// assert_eq!(jobs.copy().await?, ["wash", "sweep"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "sort")]
    pub async fn sort_descending(&self) -> Result<()> {
        let sort = op(Op::Sort(ListSort { descending: true }));
        self.object.ask("sort_descending", sort).await?.done()
    }

    /// A local copy followed by the values of `other`: Python's `+`. The list stays as it is;
    /// [`extend`](Self::extend) is `+=`.
    ///
    /// # Errors
    /// As [`copy`](Self::copy).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.list::<String>("jobs").await?;
    /// jobs.push("sweep").await?;
    /// assert_eq!(jobs.concatenate(["wash".to_owned()]).await?, ["sweep", "wash"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__add__")]
    pub async fn concatenate(&self, other: impl IntoIterator<Item = T>) -> Result<Vec<T>> {
        let mut all = self.copy().await?;
        all.extend(other);
        Ok(all)
    }

    /// A local copy, so many times over: Python's `*`. None at all if `times` is negative.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] if that is more than memory can hold; otherwise as
    /// [`copy`](Self::copy).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.list::<String>("jobs").await?;
    /// jobs.push("sweep").await?;
    /// assert_eq!(jobs.repeat(2).await?, ["sweep", "sweep"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__mul__")]
    #[doc(alias = "__rmul__")]
    pub async fn repeat(&self, times: i64) -> Result<Vec<T>>
    where
        T: Clone,
    {
        let once = self.copy().await?;
        let times = usize::try_from(times.max(0)).unwrap_or(usize::MAX);
        let mut all = Vec::new();
        let len = once.len().saturating_mul(times);
        all.try_reserve_exact(len).map_err(|_| {
            let message = format!("{} elements {times} times do not fit in memory", once.len());
            self.object.refuse("repeat", Reason::LimitExceeded, message, "repeat it fewer times")
        })?;
        all.extend(once.iter().cycle().take(len).cloned());
        Ok(all)
    }

    /// Repeats the list in place, so many times in all: Python's `*=`. Emptied if `times` is 0 or
    /// negative.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] if the list would have more than 1 GiB; or if the session is lost
    /// or the list deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.list::<String>("jobs").await?;
    /// jobs.push("sweep").await?;
    /// jobs.repeat_in_place(2).await?;
    /// assert_eq!(jobs.copy().await?, ["sweep", "sweep"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__imul__")]
    pub async fn repeat_in_place(&self, times: i64) -> Result<()> {
        self.object.ask("repeat_in_place", op(Op::Repeat(times))).await?.done()
    }

    /// The values in order, fetched a page at a time.
    ///
    /// Pages go by position: if values are inserted or removed meanwhile before the one reached,
    /// some are seen twice or not at all.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.list::<String>("jobs").await?;
    /// let mut values = jobs.iter();
    /// while let Some(job) = values.next().await? {
    ///     println!("{job}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__iter__")]
    #[must_use]
    pub fn iter(&self) -> Pages<T> {
        self.all_pages("iter", false)
    }

    /// The values in the opposite order, fetched a page at a time, as [`iter`](Self::iter).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.list::<String>("jobs").await?;
    /// jobs.extend(["sweep".to_owned(), "wash".to_owned()]).await?;
    /// assert_eq!(jobs.reversed().next().await?, Some("wash".into()));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__reversed__")]
    #[must_use]
    pub fn reversed(&self) -> Pages<T> {
        self.all_pages("reversed", true)
    }

    async fn find<Q>(&self, operation: &'static str, value: &Q, within: Slice) -> Result<usize>
    where
        Q: Serialize + ?Sized,
    {
        let value = Some(self.object.encode(operation, value)?);
        let index = ListIndex { value, start: within.start, stop: within.stop };
        self.object.ask(operation, op(Op::Index(index))).await?.count()
    }

    fn all_pages(&self, operation: &'static str, reverse: bool) -> Pages<T> {
        self.pages(operation, move |cursor| Op::Page(PageRequest { cursor, reverse, max: 0 }))
    }

    fn pages(
        &self,
        operation: &'static str,
        page: impl Fn(Option<u64>) -> Op + Send + Sync + 'static,
    ) -> Pages<T> {
        let object = self.object.clone();
        Pages::new(move |cursor| {
            let object = object.clone();
            let page = op(page(cursor));
            async move {
                let reply = object.ask(operation, page).await?;
                let page = reply.page()?;
                let values = page.values.iter().map(|value| reply.decode(&value.data));
                Ok((values.collect::<Result<_>>()?, page.next))
            }
        })
    }
}

fn op(op: Op) -> request::Op {
    request::Op::List(ListOp { op: Some(op) })
}
