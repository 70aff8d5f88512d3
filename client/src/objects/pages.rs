//! Reading something long, a page at a time.

use std::{collections::vec_deque::VecDeque, fmt, pin::Pin};

use crate::error::Result;

/// Elements, and where the next page begins.
type Fetched<T, C> = Result<(Vec<T>, Option<C>)>;
type Fetch<T> = Box<
    dyn Fn(Option<Cursor>) -> Pin<Box<dyn Future<Output = Fetched<T, Cursor>> + Send>>
        + Send
        + Sync,
>;

/// Where a page begins.
#[derive(Debug, Clone)]
enum Cursor {
    At(u64),
    AfterName(String),
}

/// The elements of a shared collection, fetched a page (about 1 MiB) at a time.
///
/// What is present throughout is seen exactly once; what comes or goes meanwhile may be seen or
/// not.
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
pub struct Pages<T> {
    fetch: Fetch<T>,
    fetched: VecDeque<T>,
    next: Next,
}

#[derive(Debug)]
enum Next {
    First,
    At(Cursor),
    Over,
}

impl<T> Pages<T> {
    pub(crate) fn new<F>(fetch: impl Fn(Option<u64>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Fetched<T, u64>> + Send + 'static,
    {
        Self::fetched_by(Box::new(move |cursor| {
            let at = if let Some(Cursor::At(at)) = cursor { Some(at) } else { None };
            let fetched = fetch(at);
            Box::pin(async move {
                fetched.await.map(|(elements, next)| (elements, next.map(Cursor::At)))
            })
        }))
    }

    /// Pages that begin after a name; the first one after the empty name.
    pub(crate) fn by_name<F>(fetch: impl Fn(String) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Fetched<T, String>> + Send + 'static,
    {
        Self::fetched_by(Box::new(move |cursor| {
            let after =
                if let Some(Cursor::AfterName(name)) = cursor { name } else { String::new() };
            let fetched = fetch(after);
            Box::pin(async move {
                fetched.await.map(|(elements, next)| (elements, next.map(Cursor::AfterName)))
            })
        }))
    }

    fn fetched_by(fetch: Fetch<T>) -> Self {
        Self { fetch, fetched: VecDeque::new(), next: Next::First }
    }

    /// The next element; `None` after the last. Cancel safe: nothing is skipped.
    ///
    /// # Errors
    /// If the next page cannot be fetched, or an element is not of the type it should be.
    pub async fn next(&mut self) -> Result<Option<T>> {
        while self.fetched.is_empty() {
            let cursor = match &self.next {
                Next::First => None,
                Next::At(cursor) => Some(cursor.clone()),
                Next::Over => return Ok(None),
            };
            let (elements, next) = (self.fetch)(cursor).await?;
            self.fetched = elements.into();
            self.next = next.map_or(Next::Over, Next::At);
        }
        Ok(self.fetched.pop_front())
    }

    /// All that are left.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn collect(mut self) -> Result<Vec<T>> {
        let mut all = Vec::new();
        while let Some(element) = self.next().await? {
            all.push(element);
            all.extend(self.fetched.drain(..));
        }
        Ok(all)
    }
}

impl<T> fmt::Debug for Pages<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").field("next", &self.next).finish_non_exhaustive()
    }
}
