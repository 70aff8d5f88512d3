//! A pipe between two processes.

use std::{fmt, marker::PhantomData, ops::Deref, sync::Arc, time::Duration};

use bytes::Bytes;
use mp_manager_proto::v1::{
    Empty, Kind, Parameters, PipeMessage, PipeOp, PipeParameters, PipeReceive, parameters,
    pipe_message::Content, pipe_op::Op, request,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::Result,
    objects::{
        manager::Manager,
        open::{Name, Open},
        proxy, sealed,
    },
    rpc::{
        as_value::AsValue,
        codec::Detail,
        object::{Object, Wait},
        reply::Reply,
    },
};

/// The first end, as operations and references count them.
const FIRST: Detail = 0;
const SECOND: Detail = 1;
/// A reference to the pipe itself. Who takes it for one to an end is refused by the manager.
const NO_END: Detail = 2;

impl Manager {
    /// A [`Pipe`] whose first end sends `A` and receives `B`; the second does the opposite.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let (parent, child) = manager.pipe::<String, u64>("talk").await?.ends();
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "Pipe")]
    pub fn pipe<A, B>(&self, name: impl Into<Name>) -> Open<Pipe<A, B>> {
        let parameters = parameters::Parameters::Pipe(PipeParameters::default());
        Open::new(self, name.into(), Some(Parameters { parameters: Some(parameters) }))
    }
}

impl<A, B> Open<Pipe<A, B>> {
    /// Messages go one way only: the second end sends, the first receives, as with Python's
    /// `Pipe(duplex=False)`. Whoever opens the pipe must say so.
    ///
    /// ```
    /// # use mp_manager::{Error, Manager};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let (receiver, sender) = manager.pipe::<(), u64>("news").one_way().await?.ends();
    /// sender.send(&7).await?;
    /// assert_eq!(receiver.receive().await?, 7);
    /// assert!(matches!(receiver.send(&()).await, Err(Error::WrongDirection(_))));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "duplex")]
    pub fn one_way(self) -> Self {
        self.change(|parameters| parameters.one_way = true)
    }

    /// How many bytes may wait in each direction before a send waits; 1 MiB unless told otherwise.
    /// A message that is longer goes through alone. A pipe that exists with another capacity is an
    /// error; without this one is taken as it is.
    ///
    /// ```
    /// # use mp_manager::{Error, Manager};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let (first, second) = manager.pipe::<u64, ()>("talk").capacity(1).await?.ends();
    /// first.send(&7).await?;
    /// assert!(matches!(first.try_send(&8).await, Err(Error::QueueFull(_))));
    /// # Ok(())
    /// # }
    /// ```
    pub fn capacity(self, bytes: usize) -> Self {
        // 0 would stand for the usual one.
        self.change(|parameters| parameters.capacity = wire(bytes).max(1))
    }

    fn change(mut self, change: impl FnOnce(&mut PipeParameters)) -> Self {
        if let Ok(Some(Parameters { parameters: Some(parameters::Parameters::Pipe(parameters)) })) =
            &mut self.parameters
        {
            change(parameters);
        }
        self
    }
}

/// A pipe between two processes, wherever they run. Python's `multiprocessing.Pipe()`.
///
/// This is the pipe as a whole, from which each process takes the [end](PipeEnd) that it uses. Only
/// the ends send and receive, and only they keep the pipe open: an end is open as long as a process
/// has it, and closed once nobody has it any more; the other end then reads the end of file. One
/// that nobody has taken yet is not closed: what is sent to it waits.
///
/// So a process takes only the end that is its own. One that takes both and hands one on, as Python
/// does with a fork, must drop its own copy of that to see when the other process closes it, but
/// not before the other has it. Handing on the pipe, by name or as a value, avoids that:
///
/// ```
/// # use mp_manager::Manager;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mp_manager::Result<()> {
/// # let manager = Manager::start().await?;
/// let talk = manager.pipe::<String, u64>("talk").await?;
/// let parent = talk.first();
/// parent.send("how many?").await?;
///
/// // In the child, another process with a session of its own:
/// let child = manager.pipe::<String, u64>("talk").await?.second();
/// assert_eq!(child.receive().await?, "how many?");
/// # Ok(())
/// # }
/// ```
pub struct Pipe<A, B> {
    object: Object,
    types: PhantomData<fn() -> (A, B)>,
}

proxy!(Pipe, A, B);

impl<A: 'static, B: 'static> sealed::Proxy for Pipe<A, B> {
    const KIND: Kind = Kind::Pipe;
    const DETAIL: Detail = NO_END;

    fn new(object: Object, _: Detail) -> Self {
        Self { object, types: PhantomData }
    }

    fn object(&self) -> &Object {
        &self.object
    }
}

impl<A, B> Pipe<A, B> {
    /// Takes both ends, as Python's `Pipe()` does: `(first, second)`.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let (parent, child) = manager.pipe::<String, u64>("talk").await?.ends();
    /// parent.send("how many?").await?;
    /// assert_eq!(child.receive().await?, "how many?");
    /// child.send(&3).await?;
    /// assert_eq!(parent.receive().await?, 3);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "an end is closed when it is dropped"]
    pub fn ends(&self) -> (PipeEnd<A, B>, PipeEnd<B, A>) {
        (self.first(), self.second())
    }

    /// Takes the first end; an end that was closed opens again. It can be taken more than once,
    /// also by several processes: each message goes to one of them.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let parent = manager.pipe::<String, u64>("talk").await?.first();
    /// parent.send("how many?").await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "an end is closed when it is dropped"]
    pub fn first(&self) -> PipeEnd<A, B> {
        PipeEnd::attach(self.object.clone(), FIRST)
    }

    /// Takes the second end; otherwise as [`first`](Self::first).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let child = manager.pipe::<String, u64>("talk").await?.second();
    /// child.send(&3).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "an end is closed when it is dropped"]
    pub fn second(&self) -> PipeEnd<B, A> {
        PipeEnd::attach(self.object.clone(), SECOND)
    }
}

/// One end of a [`Pipe`]: it sends `S` and receives `R`. Python's
/// `multiprocessing.connection.Connection`.
///
/// It is open as long as this process has it, or any clone of it; when the last one is dropped, it
/// is closed, as it is when the process ends. An end can be a value in another object: whoever
/// reads it there has it, too, from then on.
///
/// ```
/// # use mp_manager::{Error, Manager};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mp_manager::Result<()> {
/// # let manager = Manager::start().await?;
/// let (first, second) = manager.pipe::<String, u64>("talk").await?.ends();
/// first.send("goodbye").await?;
/// drop(first);
/// assert_eq!(second.receive().await?, "goodbye");
/// assert!(matches!(second.receive().await, Err(Error::EndOfFile(_))));
/// # Ok(())
/// # }
/// ```
#[doc(alias = "Connection")]
pub struct PipeEnd<S, R> {
    object: Arc<Attachment>,
    types: PhantomData<fn(S) -> R>,
}

proxy!(PipeEnd, S, R);

impl<S: 'static, R: 'static> sealed::Proxy for PipeEnd<S, R> {
    const KIND: Kind = Kind::Pipe;

    fn new(object: Object, detail: Detail) -> Self {
        Self::attach(object, detail)
    }

    fn object(&self) -> &Object {
        &self.object
    }

    fn detail(&self) -> Detail {
        self.object.end
    }
}

impl<S, R> PipeEnd<S, R> {
    fn attach(object: Object, end: Detail) -> Self {
        Self { object: Arc::new(Attachment::new(object, end)), types: PhantomData }
    }
}

impl<S, R> PipeEnd<S, R>
where
    S: Serialize + Send + 'static,
    R: DeserializeOwned + Send + 'static,
{
    /// Sends a value; waits as long as the pipe is full.
    ///
    /// Fair: who came first sends first. Cancel safe: dropping the future withdraws a message that
    /// still waits; one that is in the pipe stays there.
    ///
    /// # Errors
    /// [`Error::EndOfFile`](crate::Error::EndOfFile) if the other end is closed, also meanwhile;
    /// [`Error::WrongDirection`](crate::Error::WrongDirection) at the first end of a one-way pipe;
    /// if the value cannot be encoded or is too long, the session is lost or the pipe deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").await?.ends();
    /// first.send("how many?").await?;
    /// assert_eq!(second.receive().await?, "how many?");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send(&self, value: impl AsValue<S>) -> Result<()> {
        self.send_value(value, Wait::Forever).await
    }

    /// Sends a value if there is room now.
    ///
    /// # Errors
    /// [`Error::QueueFull`](crate::Error::QueueFull) if the pipe is full; otherwise as
    /// [`send`](Self::send).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").await?.ends();
    /// first.try_send("how many?").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_send(&self, value: impl AsValue<S>) -> Result<()> {
        self.send_value(value, Wait::Never).await
    }

    /// Sends a value; waits for room at most so long.
    ///
    /// Fair and cancel safe as [`send`](Self::send).
    ///
    /// # Errors
    /// [`Error::QueueFull`](crate::Error::QueueFull) if the pipe stayed full; otherwise as
    /// [`send`](Self::send).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").await?.ends();
    /// first.send_timeout("how many?", Duration::from_secs(1)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send_timeout(&self, value: impl AsValue<S>, timeout: Duration) -> Result<()> {
        self.send_value(value, Wait::For(timeout)).await
    }

    /// Receives the next value; waits until there is one.
    ///
    /// Fair: who came first receives first. Cancel safe: dropping the future leaves the line, and a
    /// message that had been handed over meanwhile goes back to its place.
    ///
    /// # Errors
    /// [`Error::EndOfFile`](crate::Error::EndOfFile) if the other end is closed, also meanwhile,
    /// and everything was received; [`Error::Decode`](crate::Error::Decode) if what comes is not an
    /// `R` or is raw bytes: it is received thereby, and the error carries it;
    /// [`Error::WrongDirection`](crate::Error::WrongDirection) at the second end of a one-way pipe;
    /// if the session is lost or the pipe deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").await?.ends();
    /// first.send("how many?").await?;
    /// assert_eq!(second.receive().await?, "how many?");
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "recv")]
    pub async fn receive(&self) -> Result<R> {
        let reply = self.receive_message("receive", None, Wait::Forever).await?;
        value(&reply)?.ok_or_else(|| reply.unexpected())
    }

    /// Receives the next value if there is one now, or `None`.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").await?.ends();
    /// assert_eq!(second.try_receive().await?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_receive(&self) -> Result<Option<R>> {
        value(&self.receive_message("receive", None, Wait::Never).await?)
    }

    /// Receives the next value; waits at most so long, `None` if none came.
    ///
    /// Fair and cancel safe as [`receive`](Self::receive).
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").await?.ends();
    /// assert_eq!(second.receive_timeout(Duration::from_millis(1)).await?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn receive_timeout(&self, timeout: Duration) -> Result<Option<R>> {
        value(&self.receive_message("receive", None, Wait::For(timeout)).await?)
    }

    /// Sends bytes as they are; waits as long as the pipe is full. Otherwise as
    /// [`send`](Self::send).
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").await?.ends();
    /// first.send_bytes(b"raw").await?;
    /// assert_eq!(second.receive_bytes().await?, b"raw");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send_bytes(&self, bytes: &[u8]) -> Result<()> {
        self.send_raw(bytes, Wait::Forever).await
    }

    /// Sends bytes as they are if there is room now.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").await?.ends();
    /// first.try_send_bytes(b"raw").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_send_bytes(&self, bytes: &[u8]) -> Result<()> {
        self.send_raw(bytes, Wait::Never).await
    }

    /// Sends bytes as they are; waits for room at most so long.
    ///
    /// Fair and cancel safe as [`send`](Self::send).
    ///
    /// # Errors
    /// As [`send_timeout`](Self::send_timeout).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").await?.ends();
    /// first.send_bytes_timeout(b"raw", Duration::from_secs(1)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send_bytes_timeout(&self, bytes: &[u8], timeout: Duration) -> Result<()> {
        self.send_raw(bytes, Wait::For(timeout)).await
    }

    /// Receives the next message, which must be one of [`send_bytes`](Self::send_bytes); waits
    /// until there is one.
    ///
    /// Fair and cancel safe as [`receive`](Self::receive).
    ///
    /// # Errors
    /// [`Error::Decode`](crate::Error::Decode) if it is a value: it is received thereby, and the
    /// error carries its encoding. Otherwise as [`receive`](Self::receive).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").await?.ends();
    /// first.send_bytes(b"raw").await?;
    /// assert_eq!(second.receive_bytes().await?, b"raw");
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "recv_bytes")]
    pub async fn receive_bytes(&self) -> Result<Vec<u8>> {
        let reply = self.receive_message("receive_bytes", None, Wait::Forever).await?;
        raw(&reply)?.ok_or_else(|| reply.unexpected())
    }

    /// Receives the next message, which must be one of [`send_bytes`](Self::send_bytes), if there
    /// is one now, or `None`.
    ///
    /// # Errors
    /// As [`receive_bytes`](Self::receive_bytes).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").await?.ends();
    /// assert_eq!(second.try_receive_bytes().await?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_receive_bytes(&self) -> Result<Option<Vec<u8>>> {
        raw(&self.receive_message("receive_bytes", None, Wait::Never).await?)
    }

    /// Receives the next message, which must be one of [`send_bytes`](Self::send_bytes); waits at
    /// most so long, `None` if none came.
    ///
    /// Fair and cancel safe as [`receive`](Self::receive).
    ///
    /// # Errors
    /// As [`receive_bytes`](Self::receive_bytes).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").await?.ends();
    /// assert_eq!(second.receive_bytes_timeout(Duration::from_millis(1)).await?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn receive_bytes_timeout(&self, timeout: Duration) -> Result<Option<Vec<u8>>> {
        raw(&self.receive_message("receive_bytes", None, Wait::For(timeout)).await?)
    }

    /// As [`receive_bytes`](Self::receive_bytes), but of a message of at most `max_len` bytes: a
    /// longer one stays where it is.
    ///
    /// # Errors
    /// [`Error::BufferTooShort`](crate::Error::BufferTooShort) if the message is longer; otherwise
    /// as [`receive_bytes`](Self::receive_bytes).
    ///
    /// ```
    /// # use mp_manager::{Error, Manager};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").await?.ends();
    /// first.send_bytes(b"raw").await?;
    /// let too_long = second.receive_bytes_max(2).await;
    /// assert!(matches!(too_long, Err(Error::BufferTooShort(_))));
    /// assert_eq!(second.receive_bytes_max(3).await?, b"raw");
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "recv_bytes")]
    #[doc(alias = "maxlength")]
    pub async fn receive_bytes_max(&self, max_len: usize) -> Result<Vec<u8>> {
        let reply = self.receive_message("receive_bytes", Some(max_len), Wait::Forever).await?;
        raw(&reply)?.ok_or_else(|| reply.unexpected())
    }

    /// As [`try_receive_bytes`](Self::try_receive_bytes), but of a message of at most `max_len`
    /// bytes: a longer one stays where it is.
    ///
    /// # Errors
    /// As [`receive_bytes_max`](Self::receive_bytes_max).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").await?.ends();
    /// assert_eq!(second.try_receive_bytes_max(3).await?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_receive_bytes_max(&self, max_len: usize) -> Result<Option<Vec<u8>>> {
        raw(&self.receive_message("receive_bytes", Some(max_len), Wait::Never).await?)
    }

    /// As [`receive_bytes_timeout`](Self::receive_bytes_timeout), but of a message of at most
    /// `max_len` bytes: a longer one stays where it is.
    ///
    /// # Errors
    /// As [`receive_bytes_max`](Self::receive_bytes_max).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").await?.ends();
    /// assert_eq!(second.receive_bytes_max_timeout(3, Duration::from_millis(1)).await?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn receive_bytes_max_timeout(
        &self,
        max_len: usize,
        timeout: Duration,
    ) -> Result<Option<Vec<u8>>> {
        raw(&self.receive_message("receive_bytes", Some(max_len), Wait::For(timeout)).await?)
    }

    /// Waits at most so long until there is something to receive or the other end is closed;
    /// whether so. [`Duration::ZERO`] looks only, [`Duration::MAX`] waits as long as it takes.
    ///
    /// Everyone who waits goes on at once; who receives first has it. Cancel safe.
    ///
    /// # Errors
    /// [`Error::WrongDirection`](crate::Error::WrongDirection) at the second end of a one-way pipe;
    /// if the session is lost or the pipe deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").await?.ends();
    /// assert!(!second.poll(Duration::ZERO).await?);
    /// first.send("how many?").await?;
    /// assert!(second.poll(Duration::from_secs(1)).await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn poll(&self, timeout: Duration) -> Result<bool> {
        self.object.ask_end("poll", Op::Poll(Empty {}), Wait::For(timeout)).await?.flag()
    }

    /// Closes the end and waits until the manager confirms it. If it has clones, it stays open for
    /// them.
    ///
    /// Once this was polled it is final, whether its outcome is waited for or not.
    ///
    /// # Errors
    /// If the session is lost or the pipe deleted: then it is closed anyway.
    ///
    /// ```
    /// # use mp_manager::{Error, Manager};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").await?.ends();
    /// first.close().await?;
    /// assert!(matches!(second.receive().await, Err(Error::EndOfFile(_))));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn close(self) -> Result<()> {
        match Arc::into_inner(self.object) {
            Some(attachment) => attachment.detach().await,
            None => Ok(()),
        }
    }

    async fn send_value(&self, value: impl AsValue<S>, wait: Wait) -> Result<()> {
        let content = Content::Value(self.object.encode_value("send", value)?);
        self.send_message("send", content, wait).await
    }

    async fn send_raw(&self, bytes: &[u8], wait: Wait) -> Result<()> {
        self.object.check_len("send_bytes", bytes.len())?;
        let content = Content::Raw(Bytes::copy_from_slice(bytes));
        self.send_message("send_bytes", content, wait).await
    }

    async fn send_message(
        &self,
        operation: &'static str,
        content: Content,
        wait: Wait,
    ) -> Result<()> {
        let send = Op::Send(PipeMessage { content: Some(content) });
        self.object.ask_end(operation, send, wait).await?.done()
    }

    async fn receive_message(
        &self,
        operation: &'static str,
        max_len: Option<usize>,
        wait: Wait,
    ) -> Result<Reply> {
        let receive = Op::Receive(PipeReceive { max_len: max_len.map(wire) });
        self.object.ask_end(operation, receive, wait).await
    }
}

/// Keeps an end of the pipe open for this process until it is dropped.
struct Attachment {
    object: Object,
    end: Detail,
    detached: bool,
}

impl Attachment {
    /// Without waiting: whatever this process asks of the pipe from now on comes after it.
    fn new(object: Object, end: Detail) -> Self {
        let attachment = Self { object, end, detached: false };
        attachment.object.tell(attachment.op(Op::Attach(Empty {})));
        attachment
    }

    async fn ask_end(&self, operation: &'static str, op: Op, wait: Wait) -> Result<Reply> {
        self.object.ask_waiting(operation, self.op(op), wait).await
    }

    /// Once: the end may be open in this process by another attachment, too.
    async fn detach(mut self) -> Result<()> {
        let detached = self.object.give_back("close", self.op(Op::Detach(Empty {})));
        self.detached = true;
        detached.await?.done()
    }

    fn op(&self, op: Op) -> request::Op {
        request::Op::Pipe(PipeOp { end: self.end.into(), op: Some(op) })
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        if !self.detached {
            self.object.tell(self.op(Op::Detach(Empty {})));
        }
    }
}

impl Deref for Attachment {
    type Target = Object;

    fn deref(&self) -> &Object {
        &self.object
    }
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "end {} of {}", self.end, self.object)
    }
}

/// The value of a reply; `None` when the timeout passed.
fn value<R: DeserializeOwned>(reply: &Reply) -> Result<Option<R>> {
    match reply.message_or_absent()? {
        Some(Content::Value(value)) => reply.decode(&value.data).map(Some),
        Some(Content::Raw(bytes)) => {
            let message = "the message is raw bytes, not a value".into();
            Err(reply.undecodable(message, "receive_bytes receives these", bytes.clone()))
        }
        None => Ok(None),
    }
}

/// The bytes of a reply; `None` when the timeout passed.
fn raw(reply: &Reply) -> Result<Option<Vec<u8>>> {
    match reply.message_or_absent()? {
        Some(Content::Raw(bytes)) => Ok(Some(bytes.to_vec())),
        Some(Content::Value(value)) => {
            let message = "the message is a value, not raw bytes".into();
            Err(reply.undecodable(message, "receive receives these", value.data.clone()))
        }
        None => Ok(None),
    }
}

fn wire(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
