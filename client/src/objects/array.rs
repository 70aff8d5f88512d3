//! An array of numbers that every process can use.

use std::marker::PhantomData;

use bytes::Bytes;
use mp_manager_proto::v1::{
    ArrayItem, ArrayOp, ArrayParameters, ArraySlice, ArraySliceSet, ElementType, Empty, Kind,
    array_op::Op, parameters::Parameters, request,
};

use crate::{
    error::Result,
    objects::{
        manager::Manager,
        open::{Name, Open},
        pages::Pages,
        proxy, sealed,
        slice::Slice,
    },
    rpc::{
        codec::Detail,
        fence::fenced,
        object::{self, Object},
        reply::Reply,
    },
};

impl Manager {
    /// An [`Array`] of so many zeros; one that exists already keeps its elements.
    ///
    /// One that exists with another element type or length is
    /// [`Error::ParametersDiffer`](crate::Error::ParametersDiffer); length 0 opens any length.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let weights = manager.array::<f64>("weights", 3).await?;
    /// assert_eq!(weights.copy().await?, [0.0, 0.0, 0.0]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "Array")]
    pub fn array<T: Element>(&self, name: impl Into<Name>, len: usize) -> Open<Array<T>> {
        let parameters = ArrayParameters {
            element_type: T::TYPE.into(),
            len: len as u64,
            ..ArrayParameters::default()
        };
        Open::new(self, name.into(), None).with(Ok(Parameters::Array(parameters)))
    }

    /// An [`Array`] of these elements; one that exists already keeps its own.
    ///
    /// As [`array`](Self::array) otherwise. More elements than a value may be long (16 MiB, unless
    /// the manager was told otherwise) are an error of the opening: write them into an Array of
    /// zeros with [`set_slice`](Array::set_slice).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let weights = manager.array_from("weights", &[0.5, 1.0]).await?;
    /// assert_eq!(weights.len().await?, 2);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "Array")]
    pub fn array_from<T: Element>(&self, name: impl Into<Name>, elements: &[T]) -> Open<Array<T>> {
        let name = name.into();
        let context = || self.context("open", name.0.as_deref());
        let bytes = size_of_val(elements);
        let parameters = object::check_len(bytes, self.link(), context).map(|()| {
            Parameters::Array(ArrayParameters {
                element_type: T::TYPE.into(),
                len: elements.len() as u64,
                initial: pack(elements),
            })
        });
        Open::new(self, name, None).with(parameters)
    }
}

/// Numbers of one type for processes, wherever they run. Python's `manager.Array()`.
///
/// It has as many as it was created with. They are stored packed, without anything around them.
/// Each operation is atomic; [`add`](Self::add) changes an element without losing anybody else's
/// change.
///
/// Positions are Python's: negative ones count from the end. A proxy that is read from another
/// shared object has to be of the element type that was stored there.
///
/// ```
/// # use mp_manager::Manager;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mp_manager::Result<()> {
/// # let manager = Manager::start().await?;
/// let weights = manager.array::<f64>("weights", 3).await?;
/// weights.set(-1, 2.5).await?;
/// weights.add(0, 0.5).await?;
/// assert_eq!(weights.copy().await?, [0.5, 0.0, 2.5]);
/// # Ok(())
/// # }
/// ```
pub struct Array<T> {
    object: Object,
    types: PhantomData<fn() -> T>,
}

proxy!(Array, T);
fenced!(Array, T);

impl<T: Element> sealed::Proxy for Array<T> {
    const KIND: Kind = Kind::Array;
    // Element types are few: their numbers fit.
    const DETAIL: Detail = T::TYPE as Detail;

    fn new(object: Object, _: Detail) -> Self {
        Self { object, types: PhantomData }
    }

    fn object(&self) -> &Object {
        &self.object
    }

    fn mismatch(detail: Detail) -> Option<String> {
        let found = ElementType::try_from(i32::from(detail)).unwrap_or_default();
        let (stored, wanted) = (type_name(found), type_name(T::TYPE));
        (found != T::TYPE).then(|| format!("a proxy of an Array of {stored}, not of {wanted}"))
    }
}

/// What an [`Array`] can hold: `i8`, `u8`, `i16`, `u16`, `i32`, `u32`, `i64`, `u64`, `f32`, `f64`.
///
/// This trait cannot be implemented outside this crate.
pub trait Element: element::Element {}

mod element {
    use super::ElementType;

    pub trait Element: Copy + Send + Sync + 'static {
        #[doc(hidden)]
        const TYPE: ElementType;
        /// Little-endian, as it travels.
        #[doc(hidden)]
        fn pack(self, into: &mut Vec<u8>);
        /// `None` if there are too many bytes, or too few.
        #[doc(hidden)]
        fn unpack(bytes: &[u8]) -> Option<Self>;
    }
}

macro_rules! elements {
    ($($type:ident = $wire:ident,)*) => {$(
        impl element::Element for $type {
            const TYPE: ElementType = ElementType::$wire;

            fn pack(self, into: &mut Vec<u8>) {
                into.extend(self.to_le_bytes());
            }

            fn unpack(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self::from_le_bytes)
            }
        }

        impl Element for $type {}
    )*};
}

elements! {
    i8 = I8,
    u8 = U8,
    i16 = I16,
    u16 = U16,
    i32 = I32,
    u32 = U32,
    i64 = I64,
    u64 = U64,
    f32 = F32,
    f64 = F64,
}

impl<T: Element> Array<T> {
    /// The element at an index, which counts from the end if it is negative.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`](crate::Error::IndexOutOfRange) if there is none; or if the session
    /// is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// use mp_manager::Error;
    ///
    /// let weights = manager.array_from("weights", &[0.5, 1.0]).await?;
    /// assert_eq!(weights.get(-1).await?, 1.0);
    /// assert!(matches!(weights.get(2).await, Err(Error::IndexOutOfRange(_))));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__getitem__")]
    pub async fn get(&self, index: i64) -> Result<T> {
        unpack_one(&self.object.ask("get", op(Op::Get(index))).await?)
    }

    /// Sets the element at an index, which counts from the end if it is negative.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`](crate::Error::IndexOutOfRange) if there is none; or if the session
    /// is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let weights = manager.array::<f64>("weights", 3).await?;
    /// weights.set(0, 0.5).await?;
    /// assert_eq!(weights.get(0).await?, 0.5);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__setitem__")]
    pub async fn set(&self, index: i64, element: T) -> Result<()> {
        self.object.ask("set", op(Op::Set(item(index, element)))).await?.done()
    }

    /// How many elements there are; that never changes.
    ///
    /// # Errors
    /// If the session is lost or the Array deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let weights = manager.array::<f64>("weights", 3).await?;
    /// assert_eq!(weights.len().await?, 3);
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
    /// If the session is lost or the Array deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let weights = manager.array::<f64>("weights", 3).await?;
    /// assert!(!weights.is_empty().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn is_empty(&self) -> Result<bool> {
        Ok(self.len().await? == 0)
    }

    /// A local copy of all elements.
    ///
    /// Fetched in pages: what is longer than about 1 MiB may change between them.
    ///
    /// # Errors
    /// If the session is lost or the Array deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let weights = manager.array_from("weights", &[0.5, 1.0]).await?;
    /// assert_eq!(weights.copy().await?, [0.5, 1.0]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "tolist")]
    #[doc(alias = "to_vec")]
    pub async fn copy(&self) -> Result<Vec<T>> {
        self.pages("copy", Slice::new()).collect().await
    }

    /// A local copy of a part, with Python's rules for slices. Fetched in pages, as
    /// [`copy`](Self::copy).
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) if the step is 0; or if the session
    /// is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// use mp_manager::Slice;
    ///
    /// let primes = manager.array_from("primes", &[2, 3, 5, 7]).await?;
    /// assert_eq!(primes.slice(1..3).await?, [3, 5]);
    /// assert_eq!(primes.slice(-2..).await?, [5, 7]);
    /// assert_eq!(primes.slice(Slice::new().step(-2)).await?, [7, 3]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__getitem__")]
    pub async fn slice(&self, slice: impl Into<Slice>) -> Result<Vec<T>> {
        self.pages("slice", slice.into()).collect().await
    }

    /// Sets a part, with Python's rules for slices. Atomic.
    ///
    /// # Errors
    /// [`Error::SizeMismatch`](crate::Error::SizeMismatch) unless there are as many elements as the
    /// slice has: an Array keeps its length. [`Error::InvalidArgument`](crate::Error::InvalidArgument)
    /// if the step is 0, [`Error::LimitExceeded`](crate::Error::LimitExceeded) if there are more than
    /// a value may be long; or if the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// use mp_manager::{Error, Slice};
    ///
    /// let bits = manager.array::<u8>("bits", 4).await?;
    /// bits.set_slice(Slice::from(..).step(2), &[1, 1]).await?;
    /// assert_eq!(bits.copy().await?, [1, 0, 1, 0]);
    /// assert!(matches!(bits.set_slice(1.., &[1]).await, Err(Error::SizeMismatch(_))));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__setitem__")]
    pub async fn set_slice(&self, slice: impl Into<Slice>, elements: &[T]) -> Result<()> {
        let context = || self.object.context("set_slice");
        object::check_len(size_of_val(elements), self.object.link(), context)?;
        let slice = Some(slice.into().to_message());
        let set = ArraySliceSet { slice, elements: pack(elements) };
        self.object.ask("set_slice", op(Op::SliceSet(set))).await?.done()
    }

    /// Sets every element to this one. Atomic.
    ///
    /// # Errors
    /// If the session is lost or the Array deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let weights = manager.array::<f64>("weights", 3).await?;
    /// weights.fill(1.0).await?;
    /// assert_eq!(weights.copy().await?, [1.0; 3]);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn fill(&self, element: T) -> Result<()> {
        self.object.ask("fill", op(Op::Fill(pack(&[element])))).await?.done()
    }

    /// Adds to the element at an index and returns the sum. Atomic.
    ///
    /// # Errors
    /// [`Error::Overflow`](crate::Error::Overflow) if the sum is no `T`: the element stays.
    /// [`Error::IndexOutOfRange`](crate::Error::IndexOutOfRange) if there is none; or if the session
    /// is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// use mp_manager::Error;
    ///
    /// let bytes = manager.array::<u8>("bytes", 1).await?;
    /// assert_eq!(bytes.add(0, 200).await?, 200);
    /// assert!(matches!(bytes.add(0, 200).await, Err(Error::Overflow(_))));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn add(&self, index: i64, delta: T) -> Result<T> {
        unpack_one(&self.object.ask("add", op(Op::Add(item(index, delta)))).await?)
    }

    /// The elements in order, fetched a page at a time.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let weights = manager.array::<f64>("weights", 3).await?;
    /// let mut elements = weights.iter();
    /// while let Some(weight) = elements.next().await? {
    ///     println!("{weight}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__iter__")]
    #[must_use]
    pub fn iter(&self) -> Pages<T> {
        self.pages("iter", Slice::new())
    }

    fn pages(&self, operation: &'static str, slice: Slice) -> Pages<T> {
        let object = self.object.clone();
        Pages::new(move |cursor| {
            let (object, cursor) = (object.clone(), cursor.unwrap_or(0));
            let get = ArraySlice { slice: Some(slice.to_message()), cursor };
            async move {
                let elements = unpack(&object.ask(operation, op(Op::SliceGet(get))).await?)?;
                // Only an empty page tells that the one before it was the last.
                let next = (!elements.is_empty()).then_some(cursor + elements.len() as u64);
                Ok((elements, next))
            }
        })
    }
}

fn item<T: Element>(index: i64, element: T) -> ArrayItem {
    ArrayItem { index, element: pack(&[element]) }
}

fn pack<T: Element>(elements: &[T]) -> Bytes {
    let mut packed = Vec::with_capacity(size_of_val(elements));
    elements.iter().for_each(|element| element.pack(&mut packed));
    packed.into()
}

fn unpack<T: Element>(reply: &Reply) -> Result<Vec<T>> {
    let elements = reply.raw()?.chunks(size_of::<T>()).map(T::unpack);
    elements.map(|element| element.ok_or_else(|| reply.unexpected())).collect()
}

fn unpack_one<T: Element>(reply: &Reply) -> Result<T> {
    T::unpack(reply.raw()?).ok_or_else(|| reply.unexpected())
}

/// An element type's name for people.
fn type_name(element_type: ElementType) -> String {
    element_type.as_str_name().trim_start_matches("ELEMENT_TYPE_").to_lowercase()
}

fn op(op: Op) -> request::Op {
    request::Op::Array(ArrayOp { op: Some(op) })
}

#[cfg(test)]
mod tests {
    use super::{sealed::Proxy, *};

    #[test]
    fn a_proxy_of_another_element_type_is_refused() {
        let same = Array::<i64>::mismatch(Array::<i64>::DETAIL);
        assert_eq!(same, None);
        let other = Array::<i64>::mismatch(Array::<f64>::DETAIL);
        assert_eq!(other.unwrap(), "a proxy of an Array of f64, not of i64");
        assert!(Array::<i64>::mismatch(200).is_some());
    }
}
