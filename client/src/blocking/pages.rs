//! Reading something long, a page at a time.

use crate::{blocking::wait, error::Result};

/// The elements of a shared collection, as [`crate::Pages`]: an iterator.
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
#[derive(Debug)]
pub struct Pages<T> {
    inner: crate::Pages<T>,
}

impl<T> Pages<T> {
    pub(crate) fn new(inner: crate::Pages<T>) -> Self {
        Self { inner }
    }
}

impl<T> Iterator for Pages<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        wait(self.inner.next()).transpose()
    }
}
