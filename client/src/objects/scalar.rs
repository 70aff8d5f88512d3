//! A Value that every process can use.

use std::marker::PhantomData;

use mp_manager_proto::v1::{
    self, Empty, Kind, ScalarAdd, ScalarCompareAndSwap, ScalarOp, ScalarParameters,
    parameters::Parameters, request, scalar_op::Op,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::Result,
    objects::{
        manager::Manager,
        number::number_type,
        open::{Name, Open},
        proxy, sealed,
    },
    rpc::{
        as_value::AsValue,
        codec::Detail,
        fence::fenced,
        object::{self, Object},
    },
};

impl Manager {
    /// A [`Value`] that begins as `initial`; one that exists already stays as it is.
    ///
    /// That `initial` cannot be encoded is an error of the opening.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let hits = manager.value("hits", &0_u64).await?;
    /// hits.set(&3).await?;
    /// let again = manager.value("hits", &0_u64).await?;
    /// assert_eq!(again.get().await?, 3);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "Value")]
    pub fn value<T: Serialize>(&self, name: impl Into<Name>, initial: &T) -> Open<Value<T>> {
        let name = name.into();
        let context = || self.context("open", name.0.as_deref());
        let initial = object::encode(initial, None, self.link(), context);
        let parameters =
            initial.map(|initial| Parameters::Scalar(ScalarParameters { initial: Some(initial) }));
        Open::new(self, name, None).with(parameters)
    }
}

/// One value for processes, wherever they run. Python's `manager.Value()`.
///
/// It can be anything that can be encoded, also a proxy of another shared object. Each operation
/// is atomic; [`add`](Self::add), [`compare_and_swap`](Self::compare_and_swap) and
/// [`update_with`](Self::update_with) change it without losing anybody else's change, and need no
/// lock.
///
/// ```
/// # use mp_manager::Manager;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mp_manager::Result<()> {
/// # let manager = Manager::start().await?;
/// let hits = manager.value("hits", &0_u64).await?;
/// hits.add(&1).await?;
/// assert_eq!(hits.get().await?, 1);
/// # Ok(())
/// # }
/// ```
pub struct Value<T> {
    object: Object,
    types: PhantomData<fn() -> T>,
}

proxy!(Value, T);
fenced!(Value, T);

impl<T: 'static> sealed::Proxy for Value<T> {
    const KIND: Kind = Kind::Value;

    fn new(object: Object, _: Detail) -> Self {
        Self { object, types: PhantomData }
    }

    fn object(&self) -> &Object {
        &self.object
    }
}

impl<T> Value<T>
where
    T: Serialize + DeserializeOwned + Send + 'static,
{
    /// What it is now.
    ///
    /// # Errors
    /// If it is not a `T`, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let motto = manager.value("motto", &"ad astra".to_owned()).await?;
    /// assert_eq!(motto.get().await?, "ad astra");
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "value")]
    pub async fn get(&self) -> Result<T> {
        self.object.ask("get", op(Op::Get(Empty {}))).await?.value()
    }

    /// Sets it.
    ///
    /// # Errors
    /// If the value cannot be encoded or is too long, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let hits = manager.value("hits", &0).await?;
    /// hits.set(&3).await?;
    /// assert_eq!(hits.get().await?, 3);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "value")]
    pub async fn set(&self, value: impl AsValue<T>) -> Result<()> {
        let value = self.object.encode_value("set", value)?;
        self.object.ask("set", op(Op::Set(value))).await?.done()
    }

    /// Adds to a number and returns the sum. Atomic.
    ///
    /// Floats add up as in Rust, to infinity if need be. A type that refuses some numbers of its width,
    /// such as `NonZeroU8`, is a number of that width here: add to it with
    /// [`update_with`](Self::update_with).
    ///
    /// # Errors
    /// The value stays as it was: [`Error::Overflow`](crate::Error::Overflow) if the sum does not fit
    /// `T`, or 64 bits if `T` takes more than numbers of one type;
    /// [`Error::TypeMismatch`](crate::Error::TypeMismatch) if one is no number (`i128` and `u128` are
    /// none to the manager), or the sum a float and `T` an integer. Or if the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let hits = manager.value("hits", &0).await?;
    /// assert_eq!(hits.add(&3).await?, 3);
    /// assert_eq!(hits.add(&-1).await?, 2);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn add(&self, delta: impl AsValue<T>) -> Result<T> {
        let delta = self.object.encode_value("add", delta)?.data;
        let add = ScalarAdd { delta, sum_type: number_type::<T>().into() };
        self.object.ask("add", op(Op::Add(add))).await?.value()
    }

    /// Sets it and returns what it was. Atomic, and final once applied.
    ///
    /// # Errors
    /// If the value cannot be encoded or is too long, or what it was is not a `T`, or the session is
    /// lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let hits = manager.value("hits", &0).await?;
    /// assert_eq!(hits.swap(&3).await?, 0);
    /// assert_eq!(hits.get().await?, 3);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn swap(&self, value: impl AsValue<T>) -> Result<T> {
        let value = self.object.encode_value("swap", value)?;
        self.object.ask("swap", op(Op::Swap(value))).await?.value()
    }

    /// Sets it to `replacement` if it is equal to `expected`. Returns whether it was, and what it is now.
    /// Atomic.
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
    /// If a value cannot be encoded or is too long, or what is there is not a `T`, or the session is
    /// lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let hits = manager.value("hits", &0).await?;
    /// assert_eq!(hits.compare_and_swap(&0, &3).await?, (true, 3));
    /// assert_eq!(hits.compare_and_swap(&0, &4).await?, (false, 3));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn compare_and_swap(
        &self,
        expected: &T,
        replacement: impl AsValue<T>,
    ) -> Result<(bool, T)>
    where
        T: PartialEq,
    {
        let encoded = self.object.encode("compare_and_swap", expected)?;
        let replacement = self.object.encode_value("compare_and_swap", replacement)?;
        let mut attempt = encoded.clone();
        loop {
            let swap = ScalarCompareAndSwap {
                expected: Some(attempt),
                replacement: Some(replacement.clone()),
            };
            let (swapped, current, bytes) = self.try_swap("compare_and_swap", swap).await?;
            if swapped || !self.object.is_expected(&current, expected, &encoded) {
                return Ok((swapped, current));
            }
            attempt = bytes;
        }
    }

    /// Replaces it by what `update` makes of it, again and again until nobody else has changed it
    /// meanwhile; returns the new value.
    ///
    /// For numbers [`add`](Self::add) does it in one step. Dropping the future may leave it done or
    /// not.
    ///
    /// # Errors
    /// If a value cannot be encoded or is too long, or it is not a `T`, or the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let hits = manager.value("hits", &3).await?;
    /// assert_eq!(hits.update_with(|n| n * 2).await?, 6);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn update_with(&self, mut update: impl FnMut(T) -> T) -> Result<T> {
        loop {
            let reply = self.object.ask("update_with", op(Op::Get(Empty {}))).await?;
            let (current, value) = reply.encoded_value()?.ok_or_else(|| reply.unexpected())?;
            let swap = ScalarCompareAndSwap {
                expected: Some(current),
                replacement: Some(self.object.encode("update_with", &update(value))?),
            };
            if let (true, value, _) = self.try_swap("update_with", swap).await? {
                return Ok(value);
            }
        }
    }

    /// Whether it was swapped, and what it is now, decoded and encoded.
    async fn try_swap(
        &self,
        operation: &'static str,
        swap: ScalarCompareAndSwap,
    ) -> Result<(bool, T, v1::Value)> {
        let reply = self.object.ask(operation, op(Op::CompareAndSwap(swap))).await?;
        let swap = reply.swap()?;
        let current = swap.current.as_ref().ok_or_else(|| reply.unexpected())?;
        Ok((swap.swapped, reply.decode(&current.data)?, current.clone()))
    }
}

fn op(op: Op) -> request::Op {
    request::Op::Scalar(ScalarOp { op: Some(op) })
}
