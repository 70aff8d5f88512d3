//! Values as callers have them: owned or borrowed.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Serialize;

/// What an object of `V`s takes as a value: a `V` or a `&V`, and what borrows as one.
///
/// That is `&str` for a `String`; `&[T]` and arrays for a `Vec<T>`; `&Path` for a `PathBuf`; and
/// `Box<V>`, `Arc<V>` and `Cow<str>` for what is in them. So a value need not be cloned to be sent, nor
/// borrowed to be given away.
///
/// This trait cannot be implemented outside this crate.
///
/// ```
/// # use mp_manager::Manager;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mp_manager::Result<()> {
/// # let manager = Manager::start().await?;
/// let jobs = manager.queue::<String>("jobs").await?;
/// let job = String::from("resize b.png");
/// jobs.put("resize a.png").await?;
/// jobs.put(&job).await?;
/// jobs.put(job).await?;
///
/// let waiting = vec!["resize c.png".to_owned()];
/// jobs.put_many(&waiting).await?;
/// jobs.put_many(waiting).await?;
/// jobs.put_many(["resize d.png", "resize e.png"]).await?;
/// assert_eq!(jobs.len().await?, 7);
/// # Ok(())
/// # }
/// ```
///
/// A value of another type is refused by the compiler:
///
/// ```compile_fail,E0277
/// # use mp_manager::{Queue, Result};
/// async fn put(jobs: &Queue<String>) -> Result<()> {
///     jobs.put(3).await
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not taken for a value of type `{V}`",
    label = "expected `{V}` or `&{V}`"
)]
pub trait AsValue<V> {
    #[doc(hidden)]
    type Encoded: Serialize + ?Sized;

    #[doc(hidden)]
    fn encoded(&self, _: sealed::Here) -> &Self::Encoded;
}

/// What [`Dict::extend`](crate::Dict::extend) takes as an entry: a pair of a key and a value, each owned
/// or borrowed as an [`AsValue`], or such a pair borrowed. A `HashMap<K, V>` yields these, and so does
/// a borrowed one.
///
/// This trait cannot be implemented outside this crate.
///
/// ```
/// # use mp_manager::Manager;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mp_manager::Result<()> {
/// # let manager = Manager::start().await?;
/// use std::collections::HashMap;
///
/// let scores = manager.dict::<String, u64>("scores").await?;
/// let local = HashMap::from([("alice".to_owned(), 3)]);
/// scores.extend(&local).await?;
/// scores.extend(local.iter().filter(|(_, score)| **score > 2)).await?;
/// scores.extend(local).await?;
/// scores.extend([("bob", 5), ("carol", 8)]).await?;
/// assert_eq!(scores.len().await?, 3);
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not taken for an entry of `{K}` and `{V}`",
    label = "expected a pair of a `{K}` and a `{V}`, each owned or borrowed"
)]
pub trait AsEntry<K, V> {
    #[doc(hidden)]
    type Key: Serialize + ?Sized;
    #[doc(hidden)]
    type Value: Serialize + ?Sized;

    #[doc(hidden)]
    fn with<R>(&self, f: impl FnOnce(&Self::Key, &Self::Value) -> R, _: sealed::Here) -> R;
}

pub(crate) mod sealed {
    /// Cannot be named outside this crate, and so neither can what takes it be implemented.
    #[derive(Debug, Clone, Copy)]
    pub struct Here;
}

/// The encoding of each type.
macro_rules! values {
    ($([$($generics:tt)*] $from:ty => $value:ty, as $encoded:ty;)*) => {$(
        impl<$($generics)*> AsValue<$value> for $from {
            type Encoded = $encoded;

            fn encoded(&self, _: sealed::Here) -> &$encoded {
                self
            }
        }
    )*};
}

values! {
    [V: Serialize] V => V, as V;
    [V: Serialize] &V => V, as V;
    [V: Serialize] Box<V> => V, as V;
    [V: Serialize] Arc<V> => V, as V;
    [] &str => String, as str;
    [] &&str => String, as str;
    [] Cow<'_, str> => String, as str;
    [] &Path => PathBuf, as Path;
    [T: Serialize] &[T] => Vec<T>, as [T];
    [T: Serialize, const N: usize] [T; N] => Vec<T>, as [T];
    [T: Serialize + ?Sized] &T => Box<T>, as T;
    [T: Serialize + ?Sized] &T => Arc<T>, as T;
}

impl<T: Serialize, const N: usize> AsValue<Vec<T>> for &[T; N] {
    type Encoded = [T];

    fn encoded(&self, _: sealed::Here) -> &[T] {
        self.as_slice()
    }
}

impl<K, V, A, B> AsEntry<K, V> for (A, B)
where
    A: AsValue<K>,
    B: AsValue<V>,
{
    type Key = A::Encoded;
    type Value = B::Encoded;

    fn with<R>(&self, f: impl FnOnce(&A::Encoded, &B::Encoded) -> R, here: sealed::Here) -> R {
        f(self.0.encoded(here), self.1.encoded(here))
    }
}

impl<'a, K, V, A, B> AsEntry<K, V> for &'a (A, B)
where
    &'a A: AsValue<K>,
    &'a B: AsValue<V>,
{
    type Key = <&'a A as AsValue<K>>::Encoded;
    type Value = <&'a B as AsValue<V>>::Encoded;

    fn with<R>(&self, f: impl FnOnce(&Self::Key, &Self::Value) -> R, here: sealed::Here) -> R {
        let (key, value) = (&self.0, &self.1);
        f(key.encoded(here), value.encoded(here))
    }
}
