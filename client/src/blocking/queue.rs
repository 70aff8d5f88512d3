//! A queue between processes, for threads.

use std::{ops::Deref, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    AsValue, Received,
    blocking::{Manager, Open, fenced, wait, wrapper},
    error::Result,
    objects::open::Name,
};

impl Manager {
    /// A [`Queue`] of values `T`: first in, first out, and of any length, unless told otherwise.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let jobs = manager.queue::<String>("jobs").maxsize(1_000).open()?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "Queue")]
    #[doc(alias = "JoinableQueue")]
    #[doc(alias = "SimpleQueue")]
    pub fn queue<T: 'static>(&self, name: impl Into<Name>) -> Open<Queue<T>> {
        Open::new(self.inner.queue(name))
    }
}

impl<T: 'static> Open<Queue<T>> {
    /// How many items may wait in it before a put waits; 0, as in Python, for no limit, as
    /// [`crate::Open::maxsize`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let jobs = manager.queue::<String>("jobs").maxsize(1_000).open()?;
    /// assert_eq!(jobs.maxsize()?, 1_000);
    /// # Ok(())
    /// # }
    /// ```
    pub fn maxsize(self, maxsize: usize) -> Self {
        Self { inner: self.inner.maxsize(maxsize) }
    }

    /// First in, first out, as [`crate::Open::fifo`].
    ///
    /// ```
    /// # use mp_manager::{Error, blocking::Manager};
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let stack = manager.queue::<u64>("stack").lifo().open()?;
    /// let queue = manager.queue::<u64>("stack").fifo().open();
    /// assert!(matches!(queue, Err(Error::ParametersDiffer(_))));
    /// # Ok(())
    /// # }
    /// ```
    pub fn fifo(self) -> Self {
        Self { inner: self.inner.fifo() }
    }

    /// Last in, first out, as [`crate::Open::lifo`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let stack = manager.queue::<u64>("stack").lifo().open()?;
    /// stack.put_many(&[1, 2])?;
    /// assert_eq!(stack.get()?, 2);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "LifoQueue")]
    pub fn lifo(self) -> Self {
        Self { inner: self.inner.lifo() }
    }

    /// The smallest first, as [`crate::Open::priority`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let jobs = manager.queue::<(u64, String)>("jobs").priority().open()?;
    /// jobs.put_many(&[(5, "later".into()), (1, "soon".into())])?;
    /// assert_eq!(jobs.get()?, (1, "soon".into()));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "PriorityQueue")]
    pub fn priority(self) -> Self {
        Self { inner: self.inner.priority() }
    }
}

wrapper! {
    /// A queue between processes, as [`crate::Queue`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let jobs = manager.queue::<String>("jobs").maxsize(1_000).open()?;
    /// jobs.put("resize a.png")?;
    ///
    /// let job = jobs.lease()?; // comes back if this process dies
    /// println!("{}", *job);
    /// job.done()?;
    /// jobs.join()?; // everything is done
    /// # Ok(())
    /// # }
    /// ```
    Queue, T
}

fenced!(Queue, T);

impl<T> Queue<T>
where
    T: Serialize + DeserializeOwned + Send + 'static,
{
    /// Puts an item in; waits as long as there is no room, as [`crate::Queue::put`].
    ///
    /// # Errors
    /// [`Error::QueueShutDown`](crate::Error::QueueShutDown) if the queue is shut down, also
    /// meanwhile; [`Error::TypeMismatch`](crate::Error::TypeMismatch) if a priority queue has no
    /// place for it; if it cannot be encoded or is too long, the session is lost or the queue
    /// deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.queue::<String>("jobs").open()?;
    /// jobs.put("resize a.png")?;
    /// assert_eq!(jobs.len()?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn put(&self, value: impl AsValue<T>) -> Result<()> {
        wait(self.inner.put(value))
    }

    /// Puts an item in if there is room now, as [`crate::Queue::try_put`].
    ///
    /// # Errors
    /// [`Error::QueueFull`](crate::Error::QueueFull) if there is none, or others wait for it
    /// already; otherwise as [`put`](Self::put).
    ///
    /// ```
    /// # use mp_manager::{Error, blocking::Manager};
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let jobs = manager.queue::<u64>("jobs").maxsize(1).open()?;
    /// jobs.try_put(&1)?;
    /// assert!(matches!(jobs.try_put(&2), Err(Error::QueueFull(_))));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "put_nowait")]
    pub fn try_put(&self, value: impl AsValue<T>) -> Result<()> {
        wait(self.inner.try_put(value))
    }

    /// Puts an item in; waits for room at most so long, as [`crate::Queue::put_timeout`].
    ///
    /// # Errors
    /// [`Error::QueueFull`](crate::Error::QueueFull) if there was none; otherwise as
    /// [`put`](Self::put).
    ///
    /// ```
    /// # use mp_manager::{Error, blocking::Manager};
    /// # use std::time::Duration;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let jobs = manager.queue::<u64>("jobs").maxsize(1).open()?;
    /// jobs.put(&1)?;
    /// let put = jobs.put_timeout(&2, Duration::from_millis(1));
    /// assert!(matches!(put, Err(Error::QueueFull(_))));
    /// # Ok(())
    /// # }
    /// ```
    pub fn put_timeout(&self, value: impl AsValue<T>, timeout: Duration) -> Result<()> {
        wait(self.inner.put_timeout(value, timeout))
    }

    /// Puts an item in with a priority, as [`crate::Queue::put_with_priority`].
    ///
    /// # Errors
    /// As [`put`](Self::put).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let jobs = manager.queue::<String>("jobs").priority().open()?;
    /// jobs.put_with_priority("tidy up", &9)?;
    /// jobs.put_with_priority("put out the fire", &0)?;
    /// assert_eq!(jobs.get()?, "put out the fire");
    /// # Ok(())
    /// # }
    /// ```
    pub fn put_with_priority(
        &self,
        value: impl AsValue<T>,
        priority: impl Serialize,
    ) -> Result<()> {
        wait(self.inner.put_with_priority(value, priority))
    }

    /// Puts an item in with a priority if there is room now, as
    /// [`crate::Queue::try_put_with_priority`].
    ///
    /// # Errors
    /// As [`try_put`](Self::try_put).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let jobs = manager.queue::<String>("jobs").priority().open()?;
    /// jobs.try_put_with_priority("tidy up", &9)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_put_with_priority(
        &self,
        value: impl AsValue<T>,
        priority: impl Serialize,
    ) -> Result<()> {
        wait(self.inner.try_put_with_priority(value, priority))
    }

    /// Puts an item in with a priority; waits for room at most so long, as
    /// [`crate::Queue::put_with_priority_timeout`].
    ///
    /// # Errors
    /// As [`put_timeout`](Self::put_timeout).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # use std::time::Duration;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let jobs = manager.queue::<String>("jobs").priority().open()?;
    /// let second = Duration::from_secs(1);
    /// jobs.put_with_priority_timeout("tidy up", &9, second)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn put_with_priority_timeout(
        &self,
        value: impl AsValue<T>,
        priority: impl Serialize,
        timeout: Duration,
    ) -> Result<()> {
        wait(self.inner.put_with_priority_timeout(value, priority, timeout))
    }

    /// Puts many items in at once, in their order, as [`crate::Queue::put_many`].
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) if there are more than the queue
    /// can ever hold, [`Error::LimitExceeded`](crate::Error::LimitExceeded) if they are too long
    /// together; otherwise as [`put`](Self::put).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let jobs = manager.queue::<u64>("jobs").open()?;
    /// jobs.put_many(&[1, 2, 3])?;
    /// assert_eq!(jobs.get_many(10)?, [1, 2, 3]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn put_many(&self, values: impl IntoIterator<Item: AsValue<T>>) -> Result<()> {
        wait(self.inner.put_many(values))
    }

    /// Puts many items in at once, all or none, if there is room now, as
    /// [`crate::Queue::try_put_many`].
    ///
    /// # Errors
    /// [`Error::QueueFull`](crate::Error::QueueFull) if there is no room for all; otherwise as
    /// [`put_many`](Self::put_many).
    ///
    /// ```
    /// # use mp_manager::{Error, blocking::Manager};
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let jobs = manager.queue::<u64>("jobs").maxsize(3).open()?;
    /// jobs.try_put_many(&[1, 2])?;
    /// assert!(matches!(jobs.try_put_many(&[3, 4]), Err(Error::QueueFull(_))));
    /// assert_eq!(jobs.len()?, 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_put_many(&self, values: impl IntoIterator<Item: AsValue<T>>) -> Result<()> {
        wait(self.inner.try_put_many(values))
    }

    /// Puts many items in at once, all or none; waits for room at most so long, as
    /// [`crate::Queue::put_many_timeout`].
    ///
    /// # Errors
    /// [`Error::QueueFull`](crate::Error::QueueFull) if there was no room for all; otherwise as
    /// [`put_many`](Self::put_many).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # use std::time::Duration;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let jobs = manager.queue::<u64>("jobs").open()?;
    /// jobs.put_many_timeout(&[1, 2, 3], Duration::from_secs(1))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn put_many_timeout(
        &self,
        values: impl IntoIterator<Item: AsValue<T>>,
        timeout: Duration,
    ) -> Result<()> {
        wait(self.inner.put_many_timeout(values, timeout))
    }

    /// Takes the next item out; waits until there is one, as [`crate::Queue::get`].
    ///
    /// # Errors
    /// [`Error::QueueShutDown`](crate::Error::QueueShutDown) if the queue is shut down and empty,
    /// also meanwhile; [`Error::Decode`](crate::Error::Decode), with its bytes, if the item is not
    /// a `T`; if the session is lost or the queue deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.queue::<String>("jobs").open()?;
    /// jobs.put("resize a.png")?;
    /// assert_eq!(jobs.get()?, "resize a.png");
    /// # Ok(())
    /// # }
    /// ```
    pub fn get(&self) -> Result<T> {
        wait(self.inner.get())
    }

    /// Takes the next item out if there is one now, or `None`, as [`crate::Queue::try_get`].
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.queue::<String>("jobs").open()?;
    /// assert_eq!(jobs.try_get()?, None);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "get_nowait")]
    pub fn try_get(&self) -> Result<Option<T>> {
        wait(self.inner.try_get())
    }

    /// Takes the next item out; waits at most so long, `None` if none came, as
    /// [`crate::Queue::get_timeout`].
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # use std::time::Duration;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.queue::<String>("jobs").open()?;
    /// assert_eq!(jobs.get_timeout(Duration::from_millis(1))?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_timeout(&self, timeout: Duration) -> Result<Option<T>> {
        wait(self.inner.get_timeout(timeout))
    }

    /// Takes the next item out and says how often it was handed out, as
    /// [`crate::Queue::get_counted`].
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.queue::<String>("jobs").open()?;
    /// jobs.put("resize a.png")?;
    /// jobs.lease()?.reject()?;
    /// assert_eq!(jobs.get_counted()?.deliveries, 2);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "get")]
    pub fn get_counted(&self) -> Result<Received<T>> {
        wait(self.inner.get_counted())
    }

    /// Takes the next item out if there is one now, and says how often it was handed out, as
    /// [`crate::Queue::try_get_counted`].
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.queue::<String>("jobs").open()?;
    /// assert_eq!(jobs.try_get_counted()?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_get_counted(&self) -> Result<Option<Received<T>>> {
        wait(self.inner.try_get_counted())
    }

    /// Takes the next item out, waits at most so long, and says how often it was handed out, as
    /// [`crate::Queue::get_counted_timeout`].
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # use std::time::Duration;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.queue::<String>("jobs").open()?;
    /// assert_eq!(jobs.get_counted_timeout(Duration::from_millis(1))?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_counted_timeout(&self, timeout: Duration) -> Result<Option<Received<T>>> {
        wait(self.inner.get_counted_timeout(timeout))
    }

    /// Takes the next items out, at most `max` of them; waits until there is one, as
    /// [`crate::Queue::get_many`].
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) if `max` is 0;
    /// [`Error::Decode`](crate::Error::Decode) if an item is not a `T`: as all of them are taken
    /// then, its bytes are those of all, in a MessagePack array. Otherwise as [`get`](Self::get).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let jobs = manager.queue::<u64>("jobs").open()?;
    /// jobs.put_many(&[1, 2, 3])?;
    /// assert_eq!(jobs.get_many(2)?, [1, 2]);
    /// assert_eq!(jobs.get_many(2)?, [3]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_many(&self, max: usize) -> Result<Vec<T>> {
        wait(self.inner.get_many(max))
    }

    /// Takes the next items out, at most `max` of them, if there are any now, as
    /// [`crate::Queue::try_get_many`].
    ///
    /// # Errors
    /// As [`get_many`](Self::get_many).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let jobs = manager.queue::<u64>("jobs").open()?;
    /// assert!(jobs.try_get_many(10)?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_get_many(&self, max: usize) -> Result<Vec<T>> {
        wait(self.inner.try_get_many(max))
    }

    /// Takes the next items out, at most `max` of them; waits for the first at most so long, and
    /// returns none if none came, as [`crate::Queue::get_many_timeout`].
    ///
    /// # Errors
    /// As [`get_many`](Self::get_many).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # use std::time::Duration;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let jobs = manager.queue::<u64>("jobs").open()?;
    /// assert!(jobs.get_many_timeout(10, Duration::from_millis(1))?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_many_timeout(&self, max: usize, timeout: Duration) -> Result<Vec<T>> {
        wait(self.inner.get_many_timeout(max, timeout))
    }

    /// Takes the next item out for as long as this process lives; waits until there is one, as
    /// [`crate::Queue::lease`].
    ///
    /// # Errors
    /// As [`get`](Self::get). An item that is not a `T` is done: nobody could take it, and it would
    /// come back for ever.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.queue::<String>("jobs").open()?;
    /// jobs.put("resize a.png")?;
    /// let job = jobs.lease()?;
    /// assert_eq!(*job, "resize a.png");
    /// job.done()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn lease(&self) -> Result<Delivery<T>> {
        wait(self.inner.lease()).map(|inner| Delivery { inner })
    }

    /// Takes the next item out for as long as this process lives, if there is one now, as
    /// [`crate::Queue::try_lease`].
    ///
    /// # Errors
    /// As [`lease`](Self::lease).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.queue::<String>("jobs").open()?;
    /// assert!(jobs.try_lease()?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_lease(&self) -> Result<Option<Delivery<T>>> {
        Ok(wait(self.inner.try_lease())?.map(|inner| Delivery { inner }))
    }

    /// Takes the next item out for as long as this process lives; waits at most so long, as
    /// [`crate::Queue::lease_timeout`].
    ///
    /// # Errors
    /// As [`lease`](Self::lease).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # use std::time::Duration;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.queue::<String>("jobs").open()?;
    /// assert!(jobs.lease_timeout(Duration::from_millis(1))?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn lease_timeout(&self, timeout: Duration) -> Result<Option<Delivery<T>>> {
        Ok(wait(self.inner.lease_timeout(timeout))?.map(|inner| Delivery { inner }))
    }

    /// The item that [`get`](Self::get) would take now, which stays; `None` if there is none, as
    /// [`crate::Queue::peek`].
    ///
    /// # Errors
    /// [`Error::QueueShutDown`](crate::Error::QueueShutDown) if the queue is shut down and empty;
    /// if the item is not a `T`, the session is lost or the queue deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.queue::<String>("jobs").open()?;
    /// jobs.put("resize a.png")?;
    /// assert_eq!(jobs.peek()?, Some("resize a.png".into()));
    /// assert_eq!(jobs.len()?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn peek(&self) -> Result<Option<T>> {
        wait(self.inner.peek())
    }

    /// Waits at most so long until a [`get`](Self::get) would not wait; whether so, as [`crate::Queue::poll`].
    ///
    /// # Errors
    /// As [`crate::Queue::poll`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.queue::<String>("jobs").open()?;
    /// assert!(!jobs.poll(Duration::ZERO)?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn poll(&self, timeout: Duration) -> Result<bool> {
        wait(self.inner.poll(timeout))
    }

    /// How many items wait in the queue, without those on lease, as [`crate::Queue::len`].
    ///
    /// # Errors
    /// If the session is lost or the queue deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.queue::<String>("jobs").open()?;
    /// jobs.put("resize a.png")?;
    /// assert_eq!(jobs.len()?, 1);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "qsize")]
    pub fn len(&self) -> Result<usize> {
        wait(self.inner.len())
    }

    /// Whether no item waits in the queue, as [`crate::Queue::is_empty`].
    ///
    /// # Errors
    /// If the session is lost or the queue deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.queue::<String>("jobs").open()?;
    /// assert!(jobs.is_empty()?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> Result<bool> {
        wait(self.inner.is_empty())
    }

    /// Whether there is no room for another item, as [`crate::Queue::is_full`].
    ///
    /// # Errors
    /// If the session is lost or the queue deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let jobs = manager.queue::<u64>("jobs").maxsize(1).open()?;
    /// jobs.put(&1)?;
    /// assert!(jobs.is_full()?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "full")]
    pub fn is_full(&self) -> Result<bool> {
        wait(self.inner.is_full())
    }

    /// How many items may wait in the queue before a put waits; 0 for no limit, as
    /// [`crate::Queue::maxsize`].
    ///
    /// # Errors
    /// If the session is lost or the queue deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.queue::<String>("jobs").open()?;
    /// assert_eq!(jobs.maxsize()?, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn maxsize(&self) -> Result<usize> {
        wait(self.inner.maxsize())
    }

    /// Says that an item taken with a `get` is finished, as [`crate::Queue::task_done`].
    ///
    /// # Errors
    /// [`Error::BoundExceeded`](crate::Error::BoundExceeded) if it is said more often than items
    /// were taken; if the session is lost or the queue deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.queue::<String>("jobs").open()?;
    /// jobs.put("resize a.png")?;
    /// let job = jobs.get()?;
    /// jobs.task_done()?;
    /// jobs.join()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn task_done(&self) -> Result<()> {
        wait(self.inner.task_done())
    }

    /// Says that `count` items taken with a `get` are finished, as
    /// [`crate::Queue::task_done_many`].
    ///
    /// # Errors
    /// As [`task_done`](Self::task_done).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let jobs = manager.queue::<u64>("jobs").open()?;
    /// jobs.put_many(&[1, 2, 3])?;
    /// let taken = jobs.get_many(10)?;
    /// jobs.task_done_many(taken.len())?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "task_done")]
    pub fn task_done_many(&self, count: usize) -> Result<()> {
        wait(self.inner.task_done_many(count))
    }

    /// Waits until every item that was put is finished, as [`crate::Queue::join`].
    ///
    /// # Errors
    /// If the session is lost or the queue deleted meanwhile.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.queue::<String>("jobs").open()?;
    /// jobs.put("resize a.png")?;
    /// jobs.lease()?.done()?;
    /// jobs.join()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn join(&self) -> Result<()> {
        wait(self.inner.join())
    }

    /// Whether every item that was put is finished, as [`crate::Queue::try_join`].
    ///
    /// # Errors
    /// If the session is lost or the queue deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.queue::<String>("jobs").open()?;
    /// jobs.put("resize a.png")?;
    /// assert!(!jobs.try_join()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_join(&self) -> Result<bool> {
        wait(self.inner.try_join())
    }

    /// Waits at most so long until every item that was put is finished; whether they are, as
    /// [`crate::Queue::join_timeout`].
    ///
    /// # Errors
    /// As [`join`](Self::join).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # use std::time::Duration;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.queue::<String>("jobs").open()?;
    /// jobs.put("resize a.png")?;
    /// assert!(!jobs.join_timeout(Duration::from_millis(1))?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool> {
        wait(self.inner.join_timeout(timeout))
    }

    /// Shuts the queue down, for everybody, as [`crate::Queue::shutdown`].
    ///
    /// # Errors
    /// If the session is lost or the queue deleted.
    ///
    /// ```
    /// # use mp_manager::{Error, blocking::Manager};
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.queue::<String>("jobs").open()?;
    /// jobs.put("resize a.png")?;
    /// jobs.shutdown()?;
    /// assert!(matches!(jobs.put("late"), Err(Error::QueueShutDown(_))));
    /// assert_eq!(jobs.get()?, "resize a.png");
    /// assert!(matches!(jobs.get(), Err(Error::QueueShutDown(_))));
    /// # Ok(())
    /// # }
    /// ```
    pub fn shutdown(&self) -> Result<()> {
        wait(self.inner.shutdown())
    }

    /// Shuts the queue down, for everybody, and discards what is there, as
    /// [`crate::Queue::shutdown_immediate`].
    ///
    /// # Errors
    /// If the session is lost or the queue deleted.
    ///
    /// ```
    /// # use mp_manager::{Error, blocking::Manager};
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.queue::<String>("jobs").open()?;
    /// jobs.put("resize a.png")?;
    /// jobs.shutdown_immediate()?;
    /// assert!(matches!(jobs.get(), Err(Error::QueueShutDown(_))));
    /// jobs.join()?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "shutdown")]
    pub fn shutdown_immediate(&self) -> Result<()> {
        wait(self.inner.shutdown_immediate())
    }
}

/// An item on lease from a [`Queue`], as [`crate::Delivery`]. Dropping it gives the item back.
#[derive(Debug)]
#[must_use = "the item goes back to the queue when its delivery is dropped"]
pub struct Delivery<T> {
    inner: crate::Delivery<T>,
}

impl<T> Delivery<T> {
    /// How often the item was handed out, as [`crate::Delivery::deliveries`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.queue::<String>("jobs").open()?;
    /// jobs.put("resize a.png")?;
    /// jobs.lease()?.reject()?;
    /// assert_eq!(jobs.lease()?.deliveries(), 2);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn deliveries(&self) -> u32 {
        self.inner.deliveries()
    }

    /// Whether the item is known to be lost, as [`crate::Delivery::is_lost`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.queue::<String>("jobs").open()?;
    /// jobs.put("resize a.png")?;
    /// let job = jobs.lease()?;
    /// assert!(!job.is_lost());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.inner.is_lost()
    }

    /// Waits until the item is lost, as [`crate::Delivery::lost`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.queue::<String>("jobs").open()?;
    /// jobs.put("resize a.png")?;
    /// let job = jobs.lease()?;
    /// manager.close()?;
    /// job.lost();
    /// assert!(job.is_lost());
    /// # Ok(())
    /// # }
    /// ```
    pub fn lost(&self) {
        wait(self.inner.lost());
    }

    /// Finishes the item and waits until the manager confirms it, as [`crate::Delivery::done`].
    ///
    /// # Errors
    /// If the item was lost before, or the queue deleted: somebody else may do it again.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.queue::<String>("jobs").open()?;
    /// jobs.put("resize a.png")?;
    /// let job = jobs.lease()?;
    /// job.done()?;
    /// assert!(jobs.try_join()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn done(self) -> Result<()> {
        wait(self.inner.done())
    }

    /// Gives the item back, to its place, and waits until the manager confirms it, as
    /// [`crate::Delivery::reject`].
    ///
    /// # Errors
    /// If the item was lost before, or the queue deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let jobs = manager.queue::<String>("jobs").open()?;
    /// jobs.put("resize a.png")?;
    /// let job = jobs.lease()?;
    /// job.reject()?;
    /// assert_eq!(jobs.len()?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn reject(self) -> Result<()> {
        wait(self.inner.reject())
    }
}

impl<T> Deref for Delivery<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}
