//! What a task is: a function that another process finds by its name.

use std::{error::Error, pin::Pin};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::failure::TaskFailure;

/// A future that is owned and may be sent to another thread.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A function that another process can run, made by [`#[task]`](crate::task).
///
/// ```
/// use mp_manager::{Task, task};
///
/// /// Squares.
/// #[task]
/// fn square(x: i64) -> i64 {
///     x * x
/// }
///
/// fn signature<T: Task>(_: T) -> &'static str {
///     T::SIGNATURE
/// }
///
/// # fn main() {
/// assert_eq!(square(3), 9); // an ordinary call, in this process
/// assert_eq!(signature(square), "(i64)->i64");
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a task",
    label = "another process does not know this by any name",
    note = "put `#[mp_manager::task]` above the function; a closure cannot be a task: make it a function"
)]
pub trait Task: Copy + Send + Sync + 'static {
    /// Its arguments, as a tuple.
    type Args: Transferable;
    /// What it returns, or the `Ok` of it.
    type Output: Transferable;
    /// The name by which other processes find it: its path, unless it was given another.
    const NAME: &'static str;
    /// The text of its types, without spaces. Two hosts whose texts differ do not mean the same task.
    const SIGNATURE: &'static str;
    /// Whether running it twice does no harm.
    const IDEMPOTENT: bool = false;
    /// How often a pool tries it if it is idempotent and its workers die.
    const ATTEMPTS: u32 = 3;

    /// Calls it. A future has not begun yet.
    fn run(args: Self::Args) -> Running<Self::Output>;
}

/// A task that was called.
pub enum Running<T> {
    /// It has returned.
    Now(Result<T, Failure>),
    /// It is async, and runs when this is polled.
    Later(BoxFuture<Result<T, Failure>>),
}

impl<T> std::fmt::Debug for Running<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Now(_) => "Running::Now",
            Self::Later(_) => "Running::Later",
        })
    }
}

/// The error that a task returned, as text: it and its sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The error first, then its source, the source of that, and so on.
    pub chain: Vec<String>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.chain.join(": "))
    }
}

impl From<Failure> for TaskFailure {
    fn from(failure: Failure) -> Self {
        Self::Failed { chain: failure.chain }
    }
}

/// Maximum number of errors in a chain: one may be its own source.
const CHAIN_MAX: usize = 64;

impl Failure {
    /// The texts of an error and of its sources.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let mut chain = Vec::new();
        let mut next = Some(error);
        while let Some(error) = next.filter(|_| chain.len() < CHAIN_MAX) {
            chain.push(error.to_string());
            next = error.source();
        }
        Self { chain }
    }
}

/// What can be sent to another process: implemented for everything that is owned, `Send`, and both
/// serialised and deserialised by serde.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel to another process",
    label = "this type does not travel",
    note = "arguments and results of a task need `serde::Serialize`, `serde::Deserialize` and `Send`: derive \
            them, or share the thing through the manager and pass its proxy"
)]
pub trait Transferable: Serialize + DeserializeOwned + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> Transferable for T {}

/// The arguments of a task that has exactly one.
#[diagnostic::on_unimplemented(
    message = "a task with the arguments `{Self}` cannot be mapped over single values",
    note = "`map` is for tasks with one argument; for several use `starmap` with tuples: \
            `pool.starmap(add, [(1, 2), (3, 4)])`"
)]
pub trait Single {
    /// The only argument.
    type Arg;

    /// The tuple of it.
    fn of(arg: Self::Arg) -> Self;
}

impl<A> Single for (A,) {
    type Arg = A;

    fn of(arg: A) -> Self {
        (arg,)
    }
}

/// What a task returns that may fail: a `Result` whose error is, or can become, a [`std::error::Error`].
#[diagnostic::on_unimplemented(
    message = "a task cannot return `{Self}`",
    label = "this error does not travel",
    note = "the error of a task is one that `?` turns into `Box<dyn Error + Send + Sync>`: a type that implements \
            `std::error::Error`, `anyhow::Error`, `String` or `&'static str`"
)]
pub trait Fallible {
    /// What it returns if it does not fail.
    type Ok;

    /// The error becomes its text.
    fn outcome(self) -> Result<Self::Ok, Failure>;
}

#[diagnostic::do_not_recommend]
impl<T, E: Into<Box<dyn Error + Send + Sync>>> Fallible for Result<T, E> {
    type Ok = T;

    fn outcome(self) -> Result<T, Failure> {
        self.map_err(|error| Failure::of(&*error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_becomes_its_chain() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read the page")]
        struct Outer(#[source] std::fmt::Error);

        let failed: Result<(), _> = Err(Outer(std::fmt::Error));
        let failure = failed.outcome().unwrap_err();
        assert_eq!(failure.chain, ["cannot read the page", &std::fmt::Error.to_string()]);
    }

    #[test]
    fn a_text_is_an_error() {
        let failed: Result<(), &str> = Err("no");
        assert_eq!(failed.outcome().unwrap_err().to_string(), "no");
    }
}
