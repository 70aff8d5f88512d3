//! A set that every process can use.

use std::{borrow::Borrow, marker::PhantomData};

use bytes::Bytes;
use mp_manager_proto::{
    parts::Parts,
    v1::{
        self, Combination, Empty, Kind, PageRequest, Reason, Relation, SetCombine, SetCompare,
        SetOp, request, set_op::Op,
    },
    value::CodecError,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::{Error, Result},
    objects::{
        manager::Manager,
        open::{Name, Open},
        pages::Pages,
        proxy, sealed,
    },
    rpc::{
        as_value::{AsValue, sealed::Here},
        codec::{self, Detail},
        fence::fenced,
        object::Object,
        reply::Reply,
    },
};

impl Manager {
    /// A [`Set`] of elements `T`.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let team = manager.set::<String>("team").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn set<T>(&self, name: impl Into<Name>) -> Open<Set<T>> {
        Open::new(self, name.into(), None)
    }
}

/// A set for processes, wherever they run. Python's `manager.set()`.
///
/// Unlike Python's it remembers the order of insertion. Elements are compared by their encoding, as
/// the keys of a [`Dict`](crate::Dict#keys) are: `1` and `1.0` are different, a `HashSet` has several
/// encodings and a `BTreeSet` one, and NaN cannot be an element. Each operation is atomic. Those with
/// another set take a local one or a shared one, see [`SetOperand`].
///
/// ```
/// # use mp_manager::Manager;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mp_manager::Result<()> {
/// # let manager = Manager::start().await?;
/// let team = manager.set::<String>("team").await?;
/// let absent = manager.set::<String>("absent").await?;
/// team.extend(["alice".to_owned(), "bob".to_owned()]).await?;
/// absent.add("bob").await?;
///
/// let present: Vec<String> = team.difference(&absent).await?;
/// assert_eq!(present, ["alice"]);
/// # Ok(())
/// # }
/// ```
pub struct Set<T> {
    object: Object,
    types: PhantomData<fn() -> T>,
}

proxy!(Set, T);
fenced!(Set, T);

impl<T: 'static> sealed::Proxy for Set<T> {
    const KIND: Kind = Kind::Set;

    fn new(object: Object, _: Detail) -> Self {
        Self { object, types: PhantomData }
    }

    fn object(&self) -> &Object {
        &self.object
    }
}

impl<T> Set<T>
where
    T: Serialize + DeserializeOwned + Send + 'static,
{
    /// Adds an element; returns whether it is new.
    ///
    /// Elements are compared by their [encoding](crate::Dict#keys).
    ///
    /// # Errors
    /// If the element cannot be encoded or is too long, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let team = manager.set::<String>("team").await?;
    /// assert!(team.add("alice").await?);
    /// assert!(!team.add("alice").await?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "insert")]
    pub async fn add<Q>(&self, element: &Q) -> Result<bool>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        let element = self.object.encode_key("add", element)?;
        self.object.ask("add", op(Op::Add(element))).await?.flag()
    }

    /// Removes an element that should be there. Final once applied.
    ///
    /// Elements are compared by their [encoding](crate::Dict#keys).
    ///
    /// # Errors
    /// [`Error::KeyNotFound`] if it is not there; or if it cannot be encoded, or the session is
    /// lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let team = manager.set::<String>("team").await?;
    /// use mp_manager::Error;
    ///
    /// team.add("alice").await?;
    /// team.remove("alice").await?;
    /// assert!(matches!(team.remove("alice").await, Err(Error::KeyNotFound(_))));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn remove<Q>(&self, element: &Q) -> Result<()>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        let element = self.object.encode_key("remove", element)?;
        self.object.ask("remove", op(Op::Remove(element))).await?.done()
    }

    /// Removes an element; returns whether it was there. Final once applied.
    ///
    /// Elements are compared by their [encoding](crate::Dict#keys).
    ///
    /// # Errors
    /// If it cannot be encoded, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let team = manager.set::<String>("team").await?;
    /// team.add("alice").await?;
    /// assert!(team.discard("alice").await?);
    /// assert!(!team.discard("alice").await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn discard<Q>(&self, element: &Q) -> Result<bool>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        let element = self.object.encode_key("discard", element)?;
        self.object.ask("discard", op(Op::Discard(element))).await?.flag()
    }

    /// Removes the element that was added last and returns it, if there is one. Final once applied.
    ///
    /// # Errors
    /// If it is not a `T`, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let team = manager.set::<String>("team").await?;
    /// team.add("alice").await?;
    /// assert_eq!(team.pop().await?, Some("alice".into()));
    /// assert_eq!(team.pop().await?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn pop(&self) -> Result<Option<T>> {
        match self.object.ask("pop", op(Op::Pop(Empty {}))).await {
            Err(Error::Empty(_)) => Ok(None),
            reply => reply?.key().map(Some),
        }
    }

    /// Whether an element is there.
    ///
    /// Elements are compared by their [encoding](crate::Dict#keys).
    ///
    /// # Errors
    /// If it cannot be encoded, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let team = manager.set::<String>("team").await?;
    /// team.add("alice").await?;
    /// assert!(team.contains("alice").await?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__contains__")]
    pub async fn contains<Q>(&self, element: &Q) -> Result<bool>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        let element = self.object.encode_key("contains", element)?;
        self.object.ask("contains", op(Op::Contains(element))).await?.flag()
    }

    /// How many elements there are.
    ///
    /// # Errors
    /// If the session is lost or the set deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let team = manager.set::<String>("team").await?;
    /// assert_eq!(team.len().await?, 0);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__len__")]
    pub async fn len(&self) -> Result<usize> {
        self.object.ask("len", op(Op::Len(Empty {}))).await?.count()
    }

    /// Whether there are no elements.
    ///
    /// # Errors
    /// If the session is lost or the set deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let team = manager.set::<String>("team").await?;
    /// assert!(team.is_empty().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn is_empty(&self) -> Result<bool> {
        Ok(self.len().await? == 0)
    }

    /// Removes all elements.
    ///
    /// # Errors
    /// If the session is lost or the set deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let team = manager.set::<String>("team").await?;
    /// team.add("alice").await?;
    /// team.clear().await?;
    /// assert!(team.is_empty().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn clear(&self) -> Result<()> {
        self.object.ask("clear", op(Op::Clear(Empty {}))).await?.done()
    }

    /// A local copy: any collection of elements.
    ///
    /// Fetched in pages: a set of more than about 1 MiB may change between them, see [`Pages`].
    ///
    /// # Errors
    /// If the session is lost, the set deleted, or an element is not a `T`.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let team = manager.set::<String>("team").await?;
    /// use std::collections::HashSet;
    ///
    /// team.add("alice").await?;
    /// let local: HashSet<String> = team.copy().await?;
    /// assert!(local.contains("alice"));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn copy<C: FromIterator<T>>(&self) -> Result<C> {
        Ok(self.pages("copy").collect().await?.into_iter().collect())
    }

    /// The elements in the order they were added, fetched a page at a time.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let team = manager.set::<String>("team").await?;
    /// let mut members = team.iter();
    /// while let Some(name) = members.next().await? {
    ///     println!("{name}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__iter__")]
    #[must_use]
    pub fn iter(&self) -> Pages<T> {
        self.pages("iter")
    }

    /// The elements here, then those of `other` that are not: Python's `|`. The set stays as it is;
    /// [`extend`](Self::extend) changes it.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] if the result is longer than a value may be,
    /// [`Error::InvalidArgument`] if `other` belongs to another manager; or if an element cannot be
    /// encoded or is not a `T`, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let team = manager.set::<String>("team").await?;
    /// use std::collections::BTreeSet;
    ///
    /// team.add("bob").await?;
    /// let union: BTreeSet<String> = team.union(["alice".to_owned()]).await?;
    /// assert!(union.iter().eq(["alice", "bob"]));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__or__")]
    pub async fn union<C>(&self, other: impl Into<SetOperand<T>>) -> Result<C>
    where
        C: FromIterator<T>,
    {
        self.combined("union", Combination::Union, other.into()).await
    }

    /// The elements that are here and in `other`: Python's `&`. The set stays as it is.
    ///
    /// # Errors
    /// As [`union`](Self::union).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let team = manager.set::<String>("team").await?;
    /// team.extend(["alice".to_owned(), "bob".to_owned()]).await?;
    /// let both: Vec<String> = team.intersection(["bob".to_owned(), "carol".to_owned()]).await?;
    /// assert_eq!(both, ["bob"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__and__")]
    pub async fn intersection<C>(&self, other: impl Into<SetOperand<T>>) -> Result<C>
    where
        C: FromIterator<T>,
    {
        self.combined("intersection", Combination::Intersection, other.into()).await
    }

    /// The elements that are here and not in `other`: Python's `-`. The set stays as it is.
    ///
    /// # Errors
    /// As [`union`](Self::union).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let team = manager.set::<String>("team").await?;
    /// team.extend(["alice".to_owned(), "bob".to_owned()]).await?;
    /// let others: Vec<String> = team.difference(["bob".to_owned()]).await?;
    /// assert_eq!(others, ["alice"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__sub__")]
    pub async fn difference<C>(&self, other: impl Into<SetOperand<T>>) -> Result<C>
    where
        C: FromIterator<T>,
    {
        self.combined("difference", Combination::Difference, other.into()).await
    }

    /// The elements that are either here or in `other`, not in both: Python's `^`. The set stays as
    /// it is.
    ///
    /// # Errors
    /// As [`union`](Self::union).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let team = manager.set::<String>("team").await?;
    /// team.extend(["alice".to_owned(), "bob".to_owned()]).await?;
    /// let changed: Vec<String> =
    ///     team.symmetric_difference(["bob".to_owned(), "carol".to_owned()]).await?;
    /// assert_eq!(changed, ["alice", "carol"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__xor__")]
    pub async fn symmetric_difference<C>(&self, other: impl Into<SetOperand<T>>) -> Result<C>
    where
        C: FromIterator<T>,
    {
        self.combined("symmetric_difference", Combination::SymmetricDifference, other.into()).await
    }

    /// Adds all elements of `other`: Python's `|=`. Atomic: all or, with an error, none.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if `other` belongs to another manager; or if an element cannot be
    /// encoded or is too long, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let team = manager.set::<String>("team").await?;
    /// team.extend(["alice".to_owned(), "bob".to_owned()]).await?;
    /// assert_eq!(team.len().await?, 2);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "update")]
    #[doc(alias = "union_update")]
    #[doc(alias = "__ior__")]
    pub async fn extend(&self, other: impl Into<SetOperand<T>>) -> Result<()> {
        self.combine_in_place("extend", Combination::Union, other.into()).await
    }

    /// Keeps only what is in `other` too: Python's `&=`. Atomic, and final once applied.
    ///
    /// # Errors
    /// As [`extend`](Self::extend).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let team = manager.set::<String>("team").await?;
    /// team.extend(["alice".to_owned(), "bob".to_owned()]).await?;
    /// team.intersection_update(["bob".to_owned(), "carol".to_owned()]).await?;
    /// assert_eq!(team.copy::<Vec<_>>().await?, ["bob"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__iand__")]
    pub async fn intersection_update(&self, other: impl Into<SetOperand<T>>) -> Result<()> {
        let combination = Combination::Intersection;
        self.combine_in_place("intersection_update", combination, other.into()).await
    }

    /// Removes what is in `other`: Python's `-=`. Atomic, and final once applied.
    ///
    /// # Errors
    /// As [`extend`](Self::extend).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let team = manager.set::<String>("team").await?;
    /// team.extend(["alice".to_owned(), "bob".to_owned()]).await?;
    /// team.difference_update(["bob".to_owned(), "carol".to_owned()]).await?;
    /// assert_eq!(team.copy::<Vec<_>>().await?, ["alice"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__isub__")]
    pub async fn difference_update(&self, other: impl Into<SetOperand<T>>) -> Result<()> {
        let combination = Combination::Difference;
        self.combine_in_place("difference_update", combination, other.into()).await
    }

    /// Removes what is in `other` too, and adds what is only there: Python's `^=`. Atomic, and
    /// final once applied.
    ///
    /// # Errors
    /// As [`extend`](Self::extend).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let team = manager.set::<String>("team").await?;
    /// team.extend(["alice".to_owned(), "bob".to_owned()]).await?;
    /// team.symmetric_difference_update(["bob".to_owned(), "carol".to_owned()]).await?;
    /// assert_eq!(team.copy::<Vec<_>>().await?, ["alice", "carol"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__ixor__")]
    pub async fn symmetric_difference_update(&self, other: impl Into<SetOperand<T>>) -> Result<()> {
        let combination = Combination::SymmetricDifference;
        self.combine_in_place("symmetric_difference_update", combination, other.into()).await
    }

    /// Whether no element is in `other`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if `other` belongs to another manager; or if an element cannot be
    /// encoded, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let team = manager.set::<String>("team").await?;
    /// team.add("alice").await?;
    /// assert!(team.is_disjoint(["bob".to_owned()]).await?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "isdisjoint")]
    pub async fn is_disjoint(&self, other: impl Into<SetOperand<T>>) -> Result<bool> {
        self.compare("is_disjoint", Relation::Disjoint, other.into()).await
    }

    /// Whether every element is in `other`: Python's `<=`.
    ///
    /// # Errors
    /// As [`is_disjoint`](Self::is_disjoint).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let team = manager.set::<String>("team").await?;
    /// team.add("alice").await?;
    /// assert!(team.is_subset(["alice".to_owned(), "bob".to_owned()]).await?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "issubset")]
    #[doc(alias = "__le__")]
    pub async fn is_subset(&self, other: impl Into<SetOperand<T>>) -> Result<bool> {
        self.compare("is_subset", Relation::Subset, other.into()).await
    }

    /// Whether every element of `other` is here: Python's `>=`.
    ///
    /// # Errors
    /// As [`is_disjoint`](Self::is_disjoint).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let team = manager.set::<String>("team").await?;
    /// team.extend(["alice".to_owned(), "bob".to_owned()]).await?;
    /// assert!(team.is_superset(["alice".to_owned()]).await?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "issuperset")]
    #[doc(alias = "__ge__")]
    pub async fn is_superset(&self, other: impl Into<SetOperand<T>>) -> Result<bool> {
        self.compare("is_superset", Relation::Superset, other.into()).await
    }

    /// Whether every element is in `other`, which has more: Python's `<`.
    ///
    /// # Errors
    /// As [`is_disjoint`](Self::is_disjoint).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let team = manager.set::<String>("team").await?;
    /// team.add("alice").await?;
    /// assert!(team.is_proper_subset(["alice".to_owned(), "bob".to_owned()]).await?);
    /// assert!(!team.is_proper_subset(&team).await?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__lt__")]
    pub async fn is_proper_subset(&self, other: impl Into<SetOperand<T>>) -> Result<bool> {
        self.compare("is_proper_subset", Relation::ProperSubset, other.into()).await
    }

    /// Whether every element of `other` is here, and more: Python's `>`.
    ///
    /// # Errors
    /// As [`is_disjoint`](Self::is_disjoint).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let team = manager.set::<String>("team").await?;
    /// team.extend(["alice".to_owned(), "bob".to_owned()]).await?;
    /// assert!(team.is_proper_superset(["alice".to_owned()]).await?);
    /// assert!(!team.is_proper_superset(&team).await?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__gt__")]
    pub async fn is_proper_superset(&self, other: impl Into<SetOperand<T>>) -> Result<bool> {
        self.compare("is_proper_superset", Relation::ProperSuperset, other.into()).await
    }

    /// Whether `other` has the same elements, in whatever order: Python's `==`.
    ///
    /// # Errors
    /// As [`is_disjoint`](Self::is_disjoint).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let team = manager.set::<String>("team").await?;
    /// team.extend(["alice".to_owned(), "bob".to_owned()]).await?;
    /// assert!(team.equals(["bob".to_owned(), "alice".to_owned()]).await?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__eq__")]
    #[doc(alias = "__ne__")]
    pub async fn equals(&self, other: impl Into<SetOperand<T>>) -> Result<bool> {
        self.compare("equals", Relation::Equal, other.into()).await
    }

    async fn combined<C: FromIterator<T>>(
        &self,
        operation: &'static str,
        combination: Combination,
        other: SetOperand<T>,
    ) -> Result<C> {
        let reply = self.combine(operation, combination, other, false).await?;
        reply.page()?.keys.iter().map(|element| reply.decode(element)).collect()
    }

    async fn combine_in_place(
        &self,
        operation: &'static str,
        combination: Combination,
        other: SetOperand<T>,
    ) -> Result<()> {
        self.combine(operation, combination, other, true).await?.done()
    }

    async fn combine(
        &self,
        operation: &'static str,
        combination: Combination,
        other: SetOperand<T>,
        in_place: bool,
    ) -> Result<Reply> {
        // `other` stays until the reply, and with it the hold on a shared set.
        let operand = Some(other.message(operation, &self.object)?);
        let combine = SetCombine { combination: combination.into(), other: operand, in_place };
        self.object.ask(operation, op(Op::Combine(combine))).await
    }

    async fn compare(
        &self,
        operation: &'static str,
        relation: Relation,
        other: SetOperand<T>,
    ) -> Result<bool> {
        let operand = Some(other.message(operation, &self.object)?);
        let compare = SetCompare { relation: relation.into(), other: operand };
        self.object.ask(operation, op(Op::Compare(compare))).await?.flag()
    }

    fn pages(&self, operation: &'static str) -> Pages<T> {
        let object = self.object.clone();
        Pages::new(move |cursor| {
            let object = object.clone();
            async move {
                let page = Op::Page(PageRequest { cursor, ..PageRequest::default() });
                let reply = object.ask(operation, op(page)).await?;
                let page = reply.page()?;
                let elements = page.keys.iter().map(|element| reply.decode(element));
                Ok((elements.collect::<Result<_>>()?, page.next))
            }
        })
    }
}

/// The other set of an operation with two: anything local that yields its elements, or a shared
/// [`Set`] of the same manager, whose elements do not travel: the manager takes a snapshot of it.
///
/// ```
/// # use mp_manager::Manager;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mp_manager::Result<()> {
/// # let manager = Manager::start().await?;
/// # let team = manager.set::<String>("team").await?;
/// use std::collections::BTreeSet;
///
/// let absent = manager.set::<String>("absent").await?;
/// let local = BTreeSet::from(["alice".to_owned()]);
/// assert!(team.is_disjoint(&local).await?);
/// assert!(team.is_disjoint(local).await?);
/// assert!(team.is_disjoint(&absent).await?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SetOperand<T>(Elements<T>);

#[derive(Debug)]
enum Elements<T> {
    /// Encoded; an error is kept for the operation, which can say where it happened.
    Local(Result<Vec<Bytes>, CodecError>),
    Shared(Set<T>),
}

impl<T> SetOperand<T> {
    /// As an operation on `object` sends it.
    fn message(&self, operation: &'static str, object: &Object) -> Result<v1::SetOperand> {
        match &self.0 {
            Elements::Local(Ok(elements)) => {
                Ok(v1::SetOperand { object: 0, elements: elements.clone() })
            }
            Elements::Local(Err(error)) => Err(object.key_error(operation, error)),
            Elements::Shared(Set { object: other, .. }) => {
                if other.link().server_id() != object.link().server_id() {
                    let message = format!("the other {other} belongs to another manager");
                    let hint = "pass a copy of it";
                    return Err(object.refuse(operation, Reason::InvalidArgument, message, hint));
                }
                Ok(v1::SetOperand { object: other.id(), elements: Vec::new() })
            }
        }
    }
}

impl<T> From<&Set<T>> for SetOperand<T> {
    fn from(set: &Set<T>) -> Self {
        Self(Elements::Shared(set.clone()))
    }
}

impl<T, I> From<I> for SetOperand<T>
where
    T: Serialize,
    I: IntoIterator<Item: AsValue<T>>,
{
    fn from(elements: I) -> Self {
        let mut parts = Parts::default();
        let elements = elements
            .into_iter()
            .map(|element| codec::encode_key(element.encoded(Here), Some(&mut parts)));
        Self(Elements::Local(elements.collect()))
    }
}

fn op(op: Op) -> request::Op {
    request::Op::Set(SetOp { op: Some(op) })
}
