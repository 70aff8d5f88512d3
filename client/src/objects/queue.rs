//! A queue between processes.

use std::{marker::PhantomData, ops::Deref, time::Duration};

use bytes::Bytes;
use mp_manager_proto::v1::{
    self, Empty, Kind, Parameters, QueueItem, QueueOp, QueueOrder, QueueParameters, QueuePutMany,
    QueueShutdown, Reason, parameters, queue_op::Op, request,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::{Error, Result},
    guards::grant::Grant,
    objects::{
        manager::Manager,
        open::{Name, Open},
        proxy, sealed,
    },
    rpc::{
        as_value::AsValue,
        codec::Detail,
        fence::fenced,
        object::{Object, Wait},
        reply::Reply,
    },
};

impl Manager {
    /// A [`Queue`] of values `T`: first in, first out, and of any length, unless told otherwise.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let jobs = manager.queue::<String>("jobs").maxsize(1_000).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "Queue")]
    #[doc(alias = "JoinableQueue")]
    #[doc(alias = "SimpleQueue")]
    pub fn queue<T>(&self, name: impl Into<Name>) -> Open<Queue<T>> {
        let parameters = parameters::Parameters::Queue(QueueParameters::default());
        Open::new(self, name.into(), Some(Parameters { parameters: Some(parameters) }))
    }
}

impl<T> Open<Queue<T>> {
    /// How many items may wait in it before a put waits; 0, as in Python, for no limit. A queue
    /// that exists with another is an error; without this one is taken as it is.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let jobs = manager.queue::<String>("jobs").maxsize(1_000).await?;
    /// assert_eq!(jobs.maxsize().await?, 1_000);
    /// # Ok(())
    /// # }
    /// ```
    pub fn maxsize(self, maxsize: usize) -> Self {
        self.change(|parameters| parameters.maxsize = Some(wire(maxsize)))
    }

    /// First in, first out. A new queue is that anyway; one that exists in another order is an
    /// error.
    ///
    /// ```
    /// # use mp_manager::{Error, Manager};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let stack = manager.queue::<u64>("stack").lifo().await?;
    /// let queue = manager.queue::<u64>("stack").fifo().await;
    /// assert!(matches!(queue, Err(Error::ParametersDiffer(_))));
    /// # Ok(())
    /// # }
    /// ```
    pub fn fifo(self) -> Self {
        self.order(QueueOrder::Fifo)
    }

    /// Last in, first out. A queue that exists in another order is an error.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let stack = manager.queue::<u64>("stack").lifo().await?;
    /// stack.put_many(&[1, 2]).await?;
    /// assert_eq!(stack.get().await?, 2);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "LifoQueue")]
    pub fn lifo(self) -> Self {
        self.order(QueueOrder::Lifo)
    }

    /// The smallest first: by the priority that [`put_with_priority`](Queue::put_with_priority)
    /// gives, else by the value itself; of equal ones the one that was put first. A queue that
    /// exists in another order is an error.
    ///
    /// Numbers are ordered by their value, strings and bytes bytewise, and arrays and tuples
    /// lexicographically; `i128` and `u128` as the 16 bytes that they are encoded in, negative ones
    /// last. What has no order against what is there is refused with
    /// [`Error::TypeMismatch`].
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let jobs = manager.queue::<(u64, String)>("jobs").priority().await?;
    /// jobs.put_many(&[(5, "later".into()), (1, "soon".into())]).await?;
    /// assert_eq!(jobs.get().await?, (1, "soon".into()));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "PriorityQueue")]
    pub fn priority(self) -> Self {
        self.order(QueueOrder::Priority)
    }

    fn order(self, order: QueueOrder) -> Self {
        self.change(|parameters| parameters.order = order.into())
    }

    fn change(mut self, change: impl FnOnce(&mut QueueParameters)) -> Self {
        if let Ok(Some(Parameters {
            parameters: Some(parameters::Parameters::Queue(parameters)),
        })) = &mut self.parameters
        {
            change(parameters);
        }
        self
    }
}

/// A queue between processes, wherever they run. Python's `manager.Queue()`, `JoinableQueue`,
/// `LifoQueue` and `PriorityQueue`.
///
/// Nothing is lost with a process that waits in [`get`](Self::get): the item goes to another. An
/// item taken with [`lease`](Self::lease) comes back, to its place, unless its taker says that it
/// is done before it dies.
///
/// A value that is not a `T` is taken all the same, so that it does not come again and again; the
/// [`Error::Decode`] that is returned for it carries its bytes.
///
/// ```
/// # use mp_manager::Manager;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mp_manager::Result<()> {
/// # let manager = Manager::start().await?;
/// let jobs = manager.queue::<String>("jobs").maxsize(1_000).await?;
/// jobs.put("resize a.png").await?;
///
/// let job = jobs.lease().await?; // comes back if this process dies
/// println!("{}", *job);
/// job.done().await?;
/// jobs.join().await?; // everything is done
/// # Ok(())
/// # }
/// ```
pub struct Queue<T> {
    object: Object,
    types: PhantomData<fn() -> T>,
}

proxy!(Queue, T);
fenced!(Queue, T);

impl<T: 'static> sealed::Proxy for Queue<T> {
    const KIND: Kind = Kind::Queue;

    fn new(object: Object, _: Detail) -> Self {
        Self { object, types: PhantomData }
    }

    fn object(&self) -> &Object {
        &self.object
    }
}

/// An item, and how often it was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received<T> {
    /// The item.
    pub value: T,
    /// 1 for the first time; more if it came back before: somebody took it and died or gave it
    /// back, perhaps after half the work.
    pub deliveries: u32,
}

impl<T> Queue<T>
where
    T: Serialize + DeserializeOwned + Send + 'static,
{
    /// Puts an item in; waits as long as there is no room.
    ///
    /// Fair: who came first puts first. Cancel safe: dropping the future withdraws an item that
    /// still waits; one that is in the queue stays there.
    ///
    /// # Errors
    /// [`Error::QueueShutDown`] if the queue is shut down, also meanwhile; [`Error::TypeMismatch`]
    /// if a priority queue has no place for it; if it cannot be encoded or is too long, the session
    /// is lost or the queue deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.queue::<String>("jobs").await?;
    /// jobs.put("resize a.png").await?;
    /// assert_eq!(jobs.len().await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn put(&self, value: impl AsValue<T>) -> Result<()> {
        self.put_waiting(value, NO_PRIORITY, Wait::Forever).await
    }

    /// Puts an item in if there is room now.
    ///
    /// # Errors
    /// [`Error::QueueFull`] if there is none, or others wait for it already; otherwise as
    /// [`put`](Self::put).
    ///
    /// ```
    /// # use mp_manager::{Error, Manager};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let jobs = manager.queue::<u64>("jobs").maxsize(1).await?;
    /// jobs.try_put(&1).await?;
    /// assert!(matches!(jobs.try_put(&2).await, Err(Error::QueueFull(_))));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "put_nowait")]
    pub async fn try_put(&self, value: impl AsValue<T>) -> Result<()> {
        self.put_waiting(value, NO_PRIORITY, Wait::Never).await
    }

    /// Puts an item in; waits for room at most so long.
    ///
    /// Fair and cancel safe as [`put`](Self::put).
    ///
    /// # Errors
    /// [`Error::QueueFull`] if there was none; otherwise as [`put`](Self::put).
    ///
    /// ```
    /// # use mp_manager::{Error, Manager};
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let jobs = manager.queue::<u64>("jobs").maxsize(1).await?;
    /// jobs.put(&1).await?;
    /// let put = jobs.put_timeout(&2, Duration::from_millis(1)).await;
    /// assert!(matches!(put, Err(Error::QueueFull(_))));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn put_timeout(&self, value: impl AsValue<T>, timeout: Duration) -> Result<()> {
        self.put_waiting(value, NO_PRIORITY, Wait::For(timeout)).await
    }

    /// Puts an item in with a priority: in a [priority queue](Open::priority) the smallest comes
    /// first. Other queues pay no attention to it. Waits, and is fair and cancel safe, as
    /// [`put`](Self::put).
    ///
    /// # Errors
    /// As [`put`](Self::put).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let jobs = manager.queue::<String>("jobs").priority().await?;
    /// jobs.put_with_priority("tidy up", &9).await?;
    /// jobs.put_with_priority("put out the fire", &0).await?;
    /// assert_eq!(jobs.get().await?, "put out the fire");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn put_with_priority(
        &self,
        value: impl AsValue<T>,
        priority: impl Serialize,
    ) -> Result<()> {
        self.put_waiting(value, Some(priority), Wait::Forever).await
    }

    /// Puts an item in with a priority if there is room now.
    ///
    /// # Errors
    /// As [`try_put`](Self::try_put).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let jobs = manager.queue::<String>("jobs").priority().await?;
    /// jobs.try_put_with_priority("tidy up", &9).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_put_with_priority(
        &self,
        value: impl AsValue<T>,
        priority: impl Serialize,
    ) -> Result<()> {
        self.put_waiting(value, Some(priority), Wait::Never).await
    }

    /// Puts an item in with a priority; waits for room at most so long.
    ///
    /// Fair and cancel safe as [`put`](Self::put).
    ///
    /// # Errors
    /// As [`put_timeout`](Self::put_timeout).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let jobs = manager.queue::<String>("jobs").priority().await?;
    /// let second = Duration::from_secs(1);
    /// jobs.put_with_priority_timeout("tidy up", &9, second).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn put_with_priority_timeout(
        &self,
        value: impl AsValue<T>,
        priority: impl Serialize,
        timeout: Duration,
    ) -> Result<()> {
        self.put_waiting(value, Some(priority), Wait::For(timeout)).await
    }

    /// Puts many items in at once, in their order: all of them or, if it fails, none. Waits until
    /// there is room for all.
    ///
    /// Fair and cancel safe as [`put`](Self::put).
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there are more than the queue can ever hold,
    /// [`Error::LimitExceeded`] if they are too long together; otherwise as [`put`](Self::put).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let jobs = manager.queue::<u64>("jobs").await?;
    /// jobs.put_many(&[1, 2, 3]).await?;
    /// assert_eq!(jobs.get_many(10).await?, [1, 2, 3]);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn put_many(&self, values: impl IntoIterator<Item: AsValue<T>>) -> Result<()> {
        let many = self.encode_many(values)?;
        self.ask("put_many", many, Wait::Forever).await?.done()
    }

    /// Puts many items in at once, all or none, if there is room now.
    ///
    /// # Errors
    /// [`Error::QueueFull`] if there is no room for all; otherwise as [`put_many`](Self::put_many).
    ///
    /// ```
    /// # use mp_manager::{Error, Manager};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let jobs = manager.queue::<u64>("jobs").maxsize(3).await?;
    /// jobs.try_put_many(&[1, 2]).await?;
    /// assert!(matches!(jobs.try_put_many(&[3, 4]).await, Err(Error::QueueFull(_))));
    /// assert_eq!(jobs.len().await?, 2);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_put_many(&self, values: impl IntoIterator<Item: AsValue<T>>) -> Result<()> {
        let many = self.encode_many(values)?;
        self.ask("put_many", many, Wait::Never).await?.done()
    }

    /// Puts many items in at once, all or none; waits for room at most so long.
    ///
    /// Fair and cancel safe as [`put`](Self::put).
    ///
    /// # Errors
    /// [`Error::QueueFull`] if there was no room for all; otherwise as
    /// [`put_many`](Self::put_many).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let jobs = manager.queue::<u64>("jobs").await?;
    /// jobs.put_many_timeout(&[1, 2, 3], Duration::from_secs(1)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn put_many_timeout(
        &self,
        values: impl IntoIterator<Item: AsValue<T>>,
        timeout: Duration,
    ) -> Result<()> {
        let many = self.encode_many(values)?;
        self.ask("put_many", many, Wait::For(timeout)).await?.done()
    }

    /// Takes the next item out; waits until there is one.
    ///
    /// Fair: who came first takes first. Cancel safe: dropping the future leaves the line, and an
    /// item that had been handed over meanwhile goes back to its place. Once the manager knows that it
    /// was returned it is this process's alone, and would be lost with it: [`lease`](Self::lease) is for items that
    /// must not be. The manager is told right after, or [some 10 ms](crate::Manager) later if the process computes
    /// at once: if it is killed before, or exits while a handle is left, somebody else gets the item as well.
    ///
    /// # Errors
    /// [`Error::QueueShutDown`] if the queue is shut down and empty, also meanwhile;
    /// [`Error::Decode`], with its bytes, if the item is not a `T`; [`Error::Empty`] if there is
    /// none and it is [fenced](Self::fenced); if the session is lost or the queue deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.queue::<String>("jobs").await?;
    /// jobs.put("resize a.png").await?;
    /// assert_eq!(jobs.get().await?, "resize a.png");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get(&self) -> Result<T> {
        Ok(self.get_counted().await?.value)
    }

    /// Takes the next item out if there is one now, or `None`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.queue::<String>("jobs").await?;
    /// assert_eq!(jobs.try_get().await?, None);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "get_nowait")]
    pub async fn try_get(&self) -> Result<Option<T>> {
        Ok(self.try_get_counted().await?.map(|received| received.value))
    }

    /// Takes the next item out; waits at most so long, `None` if none came.
    ///
    /// Fair and cancel safe as [`get`](Self::get).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.queue::<String>("jobs").await?;
    /// assert_eq!(jobs.get_timeout(Duration::from_millis(1)).await?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_timeout(&self, timeout: Duration) -> Result<Option<T>> {
        Ok(self.get_counted_timeout(timeout).await?.map(|received| received.value))
    }

    /// Takes the next item out and says how often it was handed out; otherwise as
    /// [`get`](Self::get).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.queue::<String>("jobs").await?;
    /// jobs.put("resize a.png").await?;
    /// jobs.lease().await?.reject().await?;
    /// assert_eq!(jobs.get_counted().await?.deliveries, 2);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "get")]
    pub async fn get_counted(&self) -> Result<Received<T>> {
        let reply = self.ask("get", Op::Get(Empty {}), Wait::Forever).await?;
        received(&reply)?.ok_or_else(|| reply.unexpected())
    }

    /// Takes the next item out if there is one now, and says how often it was handed out; otherwise
    /// as [`try_get`](Self::try_get).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.queue::<String>("jobs").await?;
    /// assert_eq!(jobs.try_get_counted().await?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_get_counted(&self) -> Result<Option<Received<T>>> {
        received(&self.ask("get", Op::Get(Empty {}), Wait::Never).await?)
    }

    /// Takes the next item out, waits at most so long, and says how often it was handed out;
    /// otherwise as [`get_timeout`](Self::get_timeout).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.queue::<String>("jobs").await?;
    /// assert_eq!(jobs.get_counted_timeout(Duration::from_millis(1)).await?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_counted_timeout(&self, timeout: Duration) -> Result<Option<Received<T>>> {
        received(&self.ask("get", Op::Get(Empty {}), Wait::For(timeout)).await?)
    }

    /// Takes the next items out, at most `max` of them; waits until there is one. It does not wait
    /// for more.
    ///
    /// What it returns is no longer together than one value may be (16 MiB, unless the manager was told
    /// otherwise), or a single item: there may be more in the queue, also where it returns fewer than
    /// `max`. Only an empty result of [`try_get_many`](Self::try_get_many) says that there are none.
    ///
    /// Fair and cancel safe as [`get`](Self::get): all go back or none.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if `max` is 0; [`Error::Decode`] if an item is not a `T`: as all
    /// of them are taken then, its bytes are those of all, in a MessagePack array. Otherwise as
    /// [`get`](Self::get).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let jobs = manager.queue::<u64>("jobs").await?;
    /// jobs.put_many(&[1, 2, 3]).await?;
    /// assert_eq!(jobs.get_many(2).await?, [1, 2]);
    /// assert_eq!(jobs.get_many(2).await?, [3]);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_many(&self, max: usize) -> Result<Vec<T>> {
        self.get_many_waiting(max, Wait::Forever).await
    }

    /// Takes the next items out, at most `max` of them, if there are any now.
    ///
    /// # Errors
    /// As [`get_many`](Self::get_many).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let jobs = manager.queue::<u64>("jobs").await?;
    /// assert!(jobs.try_get_many(10).await?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_get_many(&self, max: usize) -> Result<Vec<T>> {
        self.get_many_waiting(max, Wait::Never).await
    }

    /// Takes the next items out, at most `max` of them; waits for the first at most so long, and
    /// returns none if none came.
    ///
    /// Fair and cancel safe as [`get_many`](Self::get_many).
    ///
    /// # Errors
    /// As [`get_many`](Self::get_many).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let jobs = manager.queue::<u64>("jobs").await?;
    /// assert!(jobs.get_many_timeout(10, Duration::from_millis(1)).await?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_many_timeout(&self, max: usize, timeout: Duration) -> Result<Vec<T>> {
        self.get_many_waiting(max, Wait::For(timeout)).await
    }

    /// Takes the next item out for as long as this process lives; waits until there is one.
    ///
    /// It comes back, to its place, when the delivery is dropped or its process dies before
    /// [`Delivery::done`]. There is no time limit.
    ///
    /// Fair and cancel safe as [`get`](Self::get).
    ///
    /// # Errors
    /// As [`get`](Self::get). An item that is not a `T` is done: nobody could take it, and it would
    /// come back for ever.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.queue::<String>("jobs").await?;
    /// jobs.put("resize a.png").await?;
    /// let job = jobs.lease().await?;
    /// assert_eq!(*job, "resize a.png");
    /// job.done().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn lease(&self) -> Result<Delivery<T>> {
        let reply = self.ask("lease", Op::Lease(Empty {}), Wait::Forever).await?;
        self.delivery(&reply)?.ok_or_else(|| reply.unexpected())
    }

    /// Takes the next item out for as long as this process lives, if there is one now; otherwise as
    /// [`lease`](Self::lease).
    ///
    /// # Errors
    /// As [`lease`](Self::lease).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.queue::<String>("jobs").await?;
    /// assert!(jobs.try_lease().await?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_lease(&self) -> Result<Option<Delivery<T>>> {
        self.delivery(&self.ask("lease", Op::Lease(Empty {}), Wait::Never).await?)
    }

    /// Takes the next item out for as long as this process lives; waits at most so long. Otherwise
    /// as [`lease`](Self::lease).
    ///
    /// # Errors
    /// As [`lease`](Self::lease).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.queue::<String>("jobs").await?;
    /// assert!(jobs.lease_timeout(Duration::from_millis(1)).await?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn lease_timeout(&self, timeout: Duration) -> Result<Option<Delivery<T>>> {
        self.delivery(&self.ask("lease", Op::Lease(Empty {}), Wait::For(timeout)).await?)
    }

    /// The item that [`get`](Self::get) would take now, which stays; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::QueueShutDown`] if the queue is shut down and empty; if the item is not a `T`, the
    /// session is lost or the queue deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.queue::<String>("jobs").await?;
    /// jobs.put("resize a.png").await?;
    /// assert_eq!(jobs.peek().await?, Some("resize a.png".into()));
    /// assert_eq!(jobs.len().await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn peek(&self) -> Result<Option<T>> {
        self.ask("peek", Op::Peek(Empty {}), Wait::Never).await?.value_or_absent()
    }

    /// Waits at most so long until a [`get`](Self::get) would not wait: there is an item, or the queue is shut
    /// down; whether so. [`Duration::ZERO`] looks only, [`Duration::MAX`] waits as long as it takes.
    ///
    /// Everyone who waits goes on at once; who takes first has it. Cancel safe.
    ///
    /// # Errors
    /// If the session is lost or the queue deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.queue::<String>("jobs").await?;
    /// assert!(!jobs.poll(Duration::ZERO).await?);
    /// jobs.put("resize a.png").await?;
    /// assert!(jobs.poll(Duration::from_secs(1)).await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn poll(&self, timeout: Duration) -> Result<bool> {
        self.ask("poll", Op::Poll(Empty {}), Wait::For(timeout)).await?.flag()
    }

    /// How many items wait in the queue, without those on lease. By the time you look it may have
    /// changed.
    ///
    /// # Errors
    /// If the session is lost or the queue deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.queue::<String>("jobs").await?;
    /// jobs.put("resize a.png").await?;
    /// assert_eq!(jobs.len().await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "qsize")]
    pub async fn len(&self) -> Result<usize> {
        self.ask("len", Op::Len(Empty {}), Wait::Never).await?.count()
    }

    /// Whether no item waits in the queue. By the time you look it may have changed.
    ///
    /// # Errors
    /// If the session is lost or the queue deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.queue::<String>("jobs").await?;
    /// assert!(jobs.is_empty().await?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "empty")]
    pub async fn is_empty(&self) -> Result<bool> {
        self.ask("is_empty", Op::IsEmpty(Empty {}), Wait::Never).await?.flag()
    }

    /// Whether there is no room for another item. By the time you look it may have changed.
    ///
    /// # Errors
    /// If the session is lost or the queue deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let jobs = manager.queue::<u64>("jobs").maxsize(1).await?;
    /// jobs.put(&1).await?;
    /// assert!(jobs.is_full().await?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "full")]
    pub async fn is_full(&self) -> Result<bool> {
        self.ask("is_full", Op::IsFull(Empty {}), Wait::Never).await?.flag()
    }

    /// How many items may wait in the queue before a put waits; 0 for no limit.
    ///
    /// # Errors
    /// If the session is lost or the queue deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.queue::<String>("jobs").await?;
    /// assert_eq!(jobs.maxsize().await?, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn maxsize(&self) -> Result<usize> {
        self.ask("maxsize", Op::Maxsize(Empty {}), Wait::Never).await?.count()
    }

    /// Says that an item taken with a `get` is finished: [`join`](Self::join) waits for that. A
    /// leased one is finished by its [`done`](Delivery::done).
    ///
    /// # Errors
    /// [`Error::BoundExceeded`] if it is said more often than items were taken; if the session is
    /// lost or the queue deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.queue::<String>("jobs").await?;
    /// jobs.put("resize a.png").await?;
    /// let job = jobs.get().await?;
    /// jobs.task_done().await?;
    /// jobs.join().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn task_done(&self) -> Result<()> {
        self.ask("task_done", Op::TaskDone(1), Wait::Never).await?.done()
    }

    /// Says that `count` items taken with a `get` are finished: all of them or, if it fails, none.
    ///
    /// # Errors
    /// As [`task_done`](Self::task_done).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let jobs = manager.queue::<u64>("jobs").await?;
    /// jobs.put_many(&[1, 2, 3]).await?;
    /// let taken = jobs.get_many(10).await?;
    /// jobs.task_done_many(taken.len()).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "task_done")]
    pub async fn task_done_many(&self, count: usize) -> Result<()> {
        self.ask("task_done", Op::TaskDone(wire(count)), Wait::Never).await?.done()
    }

    /// Waits until every item that was put is finished. An item taken with a `get` by a process
    /// that died before its [`task_done`](Self::task_done) never is; a leased one comes back.
    ///
    /// Everyone who waits goes on at once. Cancel safe.
    ///
    /// # Errors
    /// If the session is lost or the queue deleted meanwhile; [`Error::InvalidArgument`] if it is
    /// [fenced](Self::fenced) and would have to wait.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.queue::<String>("jobs").await?;
    /// jobs.put("resize a.png").await?;
    /// jobs.lease().await?.done().await?;
    /// jobs.join().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn join(&self) -> Result<()> {
        if self.ask("join", Op::Join(Empty {}), Wait::Forever).await?.flag()? {
            return Ok(());
        }
        let message = "the manager ended a wait that has no timeout";
        let hint = "use the same release on both sides";
        Err(self.object.refuse("join", Reason::Protocol, message, hint))
    }

    /// Whether every item that was put is finished.
    ///
    /// # Errors
    /// If the session is lost or the queue deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.queue::<String>("jobs").await?;
    /// jobs.put("resize a.png").await?;
    /// assert!(!jobs.try_join().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_join(&self) -> Result<bool> {
        self.ask("join", Op::Join(Empty {}), Wait::Never).await?.flag()
    }

    /// Waits at most so long until every item that was put is finished; whether they are. Otherwise
    /// as [`join`](Self::join).
    ///
    /// # Errors
    /// As [`join`](Self::join).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.queue::<String>("jobs").await?;
    /// jobs.put("resize a.png").await?;
    /// assert!(!jobs.join_timeout(Duration::from_millis(1)).await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn join_timeout(&self, timeout: Duration) -> Result<bool> {
        self.ask("join", Op::Join(Empty {}), Wait::For(timeout)).await?.flag()
    }

    /// Shuts the queue down, for everybody: puts fail from now on with [`Error::QueueShutDown`],
    /// also those that wait. What is there can still be taken; then gets fail in the same way.
    ///
    /// # Errors
    /// If the session is lost or the queue deleted.
    ///
    /// ```
    /// # use mp_manager::{Error, Manager};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.queue::<String>("jobs").await?;
    /// jobs.put("resize a.png").await?;
    /// jobs.shutdown().await?;
    /// assert!(matches!(jobs.put("late").await, Err(Error::QueueShutDown(_))));
    /// assert_eq!(jobs.get().await?, "resize a.png");
    /// assert!(matches!(jobs.get().await, Err(Error::QueueShutDown(_))));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn shutdown(&self) -> Result<()> {
        self.shut_down(false).await
    }

    /// Shuts the queue down, for everybody, and discards what is there: puts and gets fail from now
    /// on with [`Error::QueueShutDown`], also those that wait. What is discarded counts as
    /// finished, and so does a leased item that comes back.
    ///
    /// # Errors
    /// If the session is lost or the queue deleted.
    ///
    /// ```
    /// # use mp_manager::{Error, Manager};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.queue::<String>("jobs").await?;
    /// jobs.put("resize a.png").await?;
    /// jobs.shutdown_immediate().await?;
    /// assert!(matches!(jobs.get().await, Err(Error::QueueShutDown(_))));
    /// jobs.join().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "shutdown")]
    pub async fn shutdown_immediate(&self) -> Result<()> {
        self.shut_down(true).await
    }

    async fn put_waiting(
        &self,
        value: impl AsValue<T>,
        priority: Option<impl Serialize>,
        wait: Wait,
    ) -> Result<()> {
        let value = self.object.encode_value("put", value)?;
        let priority = priority.map(|priority| self.object.encode("put", &priority)).transpose()?;
        let item = QueueItem { value: Some(value), priority };
        self.ask("put", Op::Put(item), wait).await?.done()
    }

    fn encode_many(&self, values: impl IntoIterator<Item: AsValue<T>>) -> Result<Op> {
        let values = self.object.encode_values("put_many", values)?;
        let item = |value| QueueItem { value: Some(value), priority: None };
        let items = values.into_iter().map(item).collect();
        Ok(Op::PutMany(QueuePutMany { items }))
    }

    async fn get_many_waiting(&self, max: usize, wait: Wait) -> Result<Vec<T>> {
        let reply = self.ask("get_many", Op::GetMany(wire(max)), wait).await?;
        let deliveries = reply.deliveries()?;
        let mut values = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let value = data(&reply, delivery)?;
            values.push(reply.decode(value).map_err(|error| all_of(&reply, deliveries, &error))?);
        }
        Ok(values)
    }

    /// In the poll that took the reply: nothing may come between an item and its guard.
    fn delivery(&self, reply: &Reply) -> Result<Option<Delivery<T>>> {
        let Some(delivery) = reply.deliveries()?.first() else { return Ok(None) };
        let granted = reply.granted(delivery.ticket, 1);
        let lease = Lease { grant: Grant::new(self.object.clone(), granted, reject), over: false };
        match received(reply) {
            Ok(received) => Ok(received.map(|received| Delivery { received, lease })),
            Err(error) => {
                lease.finish();
                Err(error)
            }
        }
    }

    async fn shut_down(&self, immediate: bool) -> Result<()> {
        let shutdown = Op::Shutdown(QueueShutdown { immediate });
        self.ask("shutdown", shutdown, Wait::Never).await?.done()
    }

    async fn ask(&self, operation: &'static str, ask: Op, wait: Wait) -> Result<Reply> {
        self.object.ask_waiting(operation, op(ask), wait).await
    }
}

/// An item on lease from a [`Queue`], and its value by [`Deref`]. Dropping it gives the item back,
/// to its place, without waiting for the manager to confirm.
///
/// The lease ends with the session, too: then the item goes to somebody else, and
/// [`lost`](Self::lost) tells.
#[derive(Debug)]
#[must_use = "the item goes back to the queue when its delivery is dropped"]
pub struct Delivery<T> {
    received: Received<T>,
    lease: Lease,
}

impl<T> Delivery<T> {
    /// How often the item was handed out: 1 for the first time, more if it came back before.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.queue::<String>("jobs").await?;
    /// jobs.put("resize a.png").await?;
    /// jobs.lease().await?.reject().await?;
    /// assert_eq!(jobs.lease().await?.deliveries(), 2);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn deliveries(&self) -> u32 {
        self.received.deliveries
    }

    /// Whether the item is known to be lost: it is, or will be, somebody else's.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.queue::<String>("jobs").await?;
    /// jobs.put("resize a.png").await?;
    /// let job = jobs.lease().await?;
    /// assert!(!job.is_lost());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lease.grant.is_lost()
    }

    /// Completes when the item is lost. Cancel safe.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.queue::<String>("jobs").await?;
    /// # async fn resize(job: &str) {}
    /// jobs.put("resize a.png").await?;
    /// let job = jobs.lease().await?;
    /// tokio::select! {
    ///     () = resize(&job) => job.done().await?,
    ///     () = job.lost() => eprintln!("lost the job: stopping"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn lost(&self) {
        self.lease.grant.lost().await;
    }

    /// Finishes the item and waits until the manager confirms it: it does not come back, and
    /// [`join`](Queue::join) does not wait for it any more.
    ///
    /// Once this was polled it is final, whether its outcome is waited for or not.
    ///
    /// # Errors
    /// If the item was lost before, or the queue deleted: somebody else may do it again.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.queue::<String>("jobs").await?;
    /// jobs.put("resize a.png").await?;
    /// let job = jobs.lease().await?;
    /// job.done().await?;
    /// assert!(jobs.try_join().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn done(self) -> Result<()> {
        self.lease.end("done", Op::Done).await
    }

    /// Gives the item back, to its place, and waits until the manager confirms it. It counts as
    /// unfinished still. In a queue that was shut down at once it is discarded.
    ///
    /// Once this was polled it is final, whether its outcome is waited for or not.
    ///
    /// # Errors
    /// If the item was lost before, or the queue deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let jobs = manager.queue::<String>("jobs").await?;
    /// jobs.put("resize a.png").await?;
    /// let job = jobs.lease().await?;
    /// job.reject().await?;
    /// assert_eq!(jobs.len().await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn reject(self) -> Result<()> {
        self.lease.end("reject", Op::Reject).await
    }
}

impl<T> Deref for Delivery<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.received.value
    }
}

/// The item goes back when this is dropped, unless the lease is over before.
#[derive(Debug)]
struct Lease {
    grant: Grant,
    over: bool,
}

impl Lease {
    /// Ends it once: an item that went back may be leased by another task of this process, from
    /// which a second attempt would take it.
    async fn end(mut self, operation: &'static str, how: fn(u64) -> Op) -> Result<()> {
        self.grant.check(operation)?;
        let ended = self.grant.give_back(operation, op(how(self.grant.token)));
        self.over = true;
        // A lease of the session that runs out from now on would be the second attempt.
        drop(self);
        ended.await?.done()
    }

    /// The item is done, and nobody waits for the manager to confirm it.
    fn finish(mut self) {
        self.over = true;
        self.grant.tell(op(Op::Done(self.grant.token)));
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.over && !self.grant.is_lost() {
            self.grant.tell(reject(self.grant.token));
        }
    }
}

const NO_PRIORITY: Option<()> = None;

fn reject(ticket: u64) -> request::Op {
    op(Op::Reject(ticket))
}

fn op(op: Op) -> request::Op {
    request::Op::Queue(QueueOp { op: Some(op) })
}

fn wire(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// The item of a reply; `None` when the timeout passed.
fn received<T: DeserializeOwned>(reply: &Reply) -> Result<Option<Received<T>>> {
    let Some(delivery) = reply.deliveries()?.first() else { return Ok(None) };
    let value = reply.decode(data(reply, delivery)?)?;
    Ok(Some(Received { value, deliveries: delivery.deliveries }))
}

fn data<'a>(reply: &Reply, delivery: &'a v1::Delivery) -> Result<&'a Bytes> {
    let value = delivery.value.as_ref().ok_or_else(|| reply.unexpected())?;
    Ok(&value.data)
}

/// The error for a batch of which one cannot be decoded. All of them are taken, so it carries all.
fn all_of(reply: &Reply, deliveries: &[v1::Delivery], error: &Error) -> Error {
    const ARRAY_32: u8 = 0xdd;
    let count = u32::try_from(deliveries.len()).unwrap_or(u32::MAX);
    let mut bytes = vec![ARRAY_32];
    bytes.extend(count.to_be_bytes());
    let values = deliveries.iter().filter_map(|delivery| delivery.value.as_ref());
    values.for_each(|value| bytes.extend_from_slice(&value.data));
    let why = error.context().map_or("", |context| &context.message);
    let message = format!("of {count} items taken, one cannot be decoded: {why}");
    let hint = "the error's bytes are all of them, in a MessagePack array";
    reply.undecodable(message, hint, bytes.into())
}
