//! A pipe between two processes, for threads.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    AsValue,
    blocking::{Manager, Open, wait, wrapper},
    error::Result,
    objects::open::Name,
};

impl Manager {
    /// A [`Pipe`] whose first end sends `A` and receives `B`; the second does the opposite.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let (parent, child) = manager.pipe::<String, u64>("talk").open()?.ends();
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "Pipe")]
    pub fn pipe<A: 'static, B: 'static>(&self, name: impl Into<Name>) -> Open<Pipe<A, B>> {
        Open::new(self.inner.pipe(name))
    }
}

impl<A: 'static, B: 'static> Open<Pipe<A, B>> {
    /// Messages go one way only: the second end sends, the first receives, as
    /// [`crate::Open::one_way`].
    ///
    /// ```
    /// # use mp_manager::{Error, blocking::Manager};
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let (receiver, sender) = manager.pipe::<(), u64>("news").one_way().open()?.ends();
    /// sender.send(&7)?;
    /// assert_eq!(receiver.receive()?, 7);
    /// assert!(matches!(receiver.send(&()), Err(Error::WrongDirection(_))));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "duplex")]
    pub fn one_way(self) -> Self {
        Self { inner: self.inner.one_way() }
    }

    /// How many bytes may wait in each direction before a send waits; 1 MiB unless told otherwise,
    /// as [`crate::Open::capacity`].
    ///
    /// ```
    /// # use mp_manager::{Error, blocking::Manager};
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let (first, second) = manager.pipe::<u64, ()>("talk").capacity(1).open()?.ends();
    /// first.send(&7)?;
    /// assert!(matches!(first.try_send(&8), Err(Error::QueueFull(_))));
    /// # Ok(())
    /// # }
    /// ```
    pub fn capacity(self, bytes: usize) -> Self {
        Self { inner: self.inner.capacity(bytes) }
    }
}

wrapper! {
    /// A pipe between two processes, as [`crate::Pipe`], where it is said which process should take
    /// which end.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let talk = manager.pipe::<String, u64>("talk").open()?;
    /// let parent = talk.first();
    /// parent.send("how many?")?;
    ///
    /// // In the child, another process with a session of its own:
    /// let child = manager.pipe::<String, u64>("talk").open()?.second();
    /// assert_eq!(child.receive()?, "how many?");
    /// # Ok(())
    /// # }
    /// ```
    Pipe, A, B
}

impl<A, B> Pipe<A, B> {
    /// Takes both ends: `(first, second)`, as [`crate::Pipe::ends`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let (parent, child) = manager.pipe::<String, u64>("talk").open()?.ends();
    /// parent.send("how many?")?;
    /// assert_eq!(child.receive()?, "how many?");
    /// child.send(&3)?;
    /// assert_eq!(parent.receive()?, 3);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "an end is closed when it is dropped"]
    pub fn ends(&self) -> (PipeEnd<A, B>, PipeEnd<B, A>) {
        (self.first(), self.second())
    }

    /// Takes the first end; an end that was closed opens again, as [`crate::Pipe::first`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let parent = manager.pipe::<String, u64>("talk").open()?.first();
    /// parent.send("how many?")?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "an end is closed when it is dropped"]
    pub fn first(&self) -> PipeEnd<A, B> {
        PipeEnd { inner: self.inner.first() }
    }

    /// Takes the second end, as [`crate::Pipe::second`].
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let child = manager.pipe::<String, u64>("talk").open()?.second();
    /// child.send(&3)?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "an end is closed when it is dropped"]
    pub fn second(&self) -> PipeEnd<B, A> {
        PipeEnd { inner: self.inner.second() }
    }
}

wrapper! {
    /// One end of a [`Pipe`], as [`crate::PipeEnd`]: it sends `S` and receives `R`.
    ///
    /// ```
    /// # use mp_manager::{Error, blocking::Manager};
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// let (first, second) = manager.pipe::<String, u64>("talk").open()?.ends();
    /// first.send("goodbye")?;
    /// drop(first);
    /// assert_eq!(second.receive()?, "goodbye");
    /// assert!(matches!(second.receive(), Err(Error::EndOfFile(_))));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "Connection")]
    PipeEnd, S, R
}

impl<S, R> PipeEnd<S, R>
where
    S: Serialize + Send + 'static,
    R: DeserializeOwned + Send + 'static,
{
    /// Sends a value; waits as long as the pipe is full, as [`crate::PipeEnd::send`].
    ///
    /// # Errors
    /// [`Error::EndOfFile`](crate::Error::EndOfFile) if the other end is closed, also meanwhile;
    /// [`Error::WrongDirection`](crate::Error::WrongDirection) at the first end of a one-way pipe;
    /// if the value cannot be encoded or is too long, the session is lost or the pipe deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").open()?.ends();
    /// first.send("how many?")?;
    /// assert_eq!(second.receive()?, "how many?");
    /// # Ok(())
    /// # }
    /// ```
    pub fn send(&self, value: impl AsValue<S>) -> Result<()> {
        wait(self.inner.send(value))
    }

    /// Sends a value if there is room now, as [`crate::PipeEnd::try_send`].
    ///
    /// # Errors
    /// [`Error::QueueFull`](crate::Error::QueueFull) if the pipe is full; otherwise as
    /// [`send`](Self::send).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").open()?.ends();
    /// first.try_send("how many?")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_send(&self, value: impl AsValue<S>) -> Result<()> {
        wait(self.inner.try_send(value))
    }

    /// Sends a value; waits for room at most so long, as [`crate::PipeEnd::send_timeout`].
    ///
    /// # Errors
    /// [`Error::QueueFull`](crate::Error::QueueFull) if the pipe stayed full; otherwise as
    /// [`send`](Self::send).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # use std::time::Duration;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").open()?.ends();
    /// first.send_timeout("how many?", Duration::from_secs(1))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn send_timeout(&self, value: impl AsValue<S>, timeout: Duration) -> Result<()> {
        wait(self.inner.send_timeout(value, timeout))
    }

    /// Receives the next value; waits until there is one, as [`crate::PipeEnd::receive`].
    ///
    /// # Errors
    /// [`Error::EndOfFile`](crate::Error::EndOfFile) if the other end is closed, also meanwhile,
    /// and everything was received; [`Error::Decode`](crate::Error::Decode) if what comes is not an
    /// `R` or is raw bytes: it is received thereby, and the error carries it;
    /// [`Error::WrongDirection`](crate::Error::WrongDirection) at the second end of a one-way pipe;
    /// if the session is lost or the pipe deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").open()?.ends();
    /// first.send("how many?")?;
    /// assert_eq!(second.receive()?, "how many?");
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "recv")]
    pub fn receive(&self) -> Result<R> {
        wait(self.inner.receive())
    }

    /// Receives the next value if there is one now, or `None`, as [`crate::PipeEnd::try_receive`].
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").open()?.ends();
    /// assert_eq!(second.try_receive()?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_receive(&self) -> Result<Option<R>> {
        wait(self.inner.try_receive())
    }

    /// Receives the next value; waits at most so long, `None` if none came, as
    /// [`crate::PipeEnd::receive_timeout`].
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # use std::time::Duration;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").open()?.ends();
    /// assert_eq!(second.receive_timeout(Duration::from_millis(1))?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn receive_timeout(&self, timeout: Duration) -> Result<Option<R>> {
        wait(self.inner.receive_timeout(timeout))
    }

    /// Sends bytes as they are; waits as long as the pipe is full, as
    /// [`crate::PipeEnd::send_bytes`].
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").open()?.ends();
    /// first.send_bytes(b"raw")?;
    /// assert_eq!(second.receive_bytes()?, b"raw");
    /// # Ok(())
    /// # }
    /// ```
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<()> {
        wait(self.inner.send_bytes(bytes))
    }

    /// Sends bytes as they are if there is room now, as [`crate::PipeEnd::try_send_bytes`].
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").open()?.ends();
    /// first.try_send_bytes(b"raw")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_send_bytes(&self, bytes: &[u8]) -> Result<()> {
        wait(self.inner.try_send_bytes(bytes))
    }

    /// Sends bytes as they are; waits for room at most so long, as
    /// [`crate::PipeEnd::send_bytes_timeout`].
    ///
    /// # Errors
    /// As [`send_timeout`](Self::send_timeout).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # use std::time::Duration;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").open()?.ends();
    /// first.send_bytes_timeout(b"raw", Duration::from_secs(1))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn send_bytes_timeout(&self, bytes: &[u8], timeout: Duration) -> Result<()> {
        wait(self.inner.send_bytes_timeout(bytes, timeout))
    }

    /// Receives the next message, which must be one of [`send_bytes`](Self::send_bytes); waits
    /// until there is one, as [`crate::PipeEnd::receive_bytes`].
    ///
    /// # Errors
    /// [`Error::Decode`](crate::Error::Decode) if it is a value: it is received thereby, and the
    /// error carries its encoding. Otherwise as [`receive`](Self::receive).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").open()?.ends();
    /// first.send_bytes(b"raw")?;
    /// assert_eq!(second.receive_bytes()?, b"raw");
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "recv_bytes")]
    pub fn receive_bytes(&self) -> Result<Vec<u8>> {
        wait(self.inner.receive_bytes())
    }

    /// Receives the next message, which must be one of [`send_bytes`](Self::send_bytes), if there
    /// is one now, or `None`, as [`crate::PipeEnd::try_receive_bytes`].
    ///
    /// # Errors
    /// As [`receive_bytes`](Self::receive_bytes).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").open()?.ends();
    /// assert_eq!(second.try_receive_bytes()?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_receive_bytes(&self) -> Result<Option<Vec<u8>>> {
        wait(self.inner.try_receive_bytes())
    }

    /// Receives the next message, which must be one of [`send_bytes`](Self::send_bytes); waits at
    /// most so long, `None` if none came, as [`crate::PipeEnd::receive_bytes_timeout`].
    ///
    /// # Errors
    /// As [`receive_bytes`](Self::receive_bytes).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # use std::time::Duration;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").open()?.ends();
    /// assert_eq!(second.receive_bytes_timeout(Duration::from_millis(1))?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn receive_bytes_timeout(&self, timeout: Duration) -> Result<Option<Vec<u8>>> {
        wait(self.inner.receive_bytes_timeout(timeout))
    }

    /// Receives the next message of raw bytes, of at most `max_len`; a longer one stays, as
    /// [`crate::PipeEnd::receive_bytes_max`].
    ///
    /// # Errors
    /// [`Error::BufferTooShort`](crate::Error::BufferTooShort) if the message is longer; otherwise
    /// as [`receive_bytes`](Self::receive_bytes).
    ///
    /// ```
    /// # use mp_manager::{Error, blocking::Manager};
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").open()?.ends();
    /// first.send_bytes(b"raw")?;
    /// let too_long = second.receive_bytes_max(2);
    /// assert!(matches!(too_long, Err(Error::BufferTooShort(_))));
    /// assert_eq!(second.receive_bytes_max(3)?, b"raw");
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "recv_bytes")]
    #[doc(alias = "maxlength")]
    pub fn receive_bytes_max(&self, max_len: usize) -> Result<Vec<u8>> {
        wait(self.inner.receive_bytes_max(max_len))
    }

    /// Receives the next message of raw bytes, of at most `max_len`, if there is one now; a longer
    /// one stays, as [`crate::PipeEnd::try_receive_bytes_max`].
    ///
    /// # Errors
    /// As [`receive_bytes_max`](Self::receive_bytes_max).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").open()?.ends();
    /// assert_eq!(second.try_receive_bytes_max(3)?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_receive_bytes_max(&self, max_len: usize) -> Result<Option<Vec<u8>>> {
        wait(self.inner.try_receive_bytes_max(max_len))
    }

    /// Receives the next message of raw bytes, of at most `max_len`; waits at most so long, and a
    /// longer one stays, as [`crate::PipeEnd::receive_bytes_max_timeout`].
    ///
    /// # Errors
    /// As [`receive_bytes_max`](Self::receive_bytes_max).
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # use std::time::Duration;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").open()?.ends();
    /// assert_eq!(second.receive_bytes_max_timeout(3, Duration::from_millis(1))?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn receive_bytes_max_timeout(
        &self,
        max_len: usize,
        timeout: Duration,
    ) -> Result<Option<Vec<u8>>> {
        wait(self.inner.receive_bytes_max_timeout(max_len, timeout))
    }

    /// Waits at most so long until there is something to receive or the other end is closed;
    /// whether so, as [`crate::PipeEnd::poll`].
    ///
    /// # Errors
    /// [`Error::WrongDirection`](crate::Error::WrongDirection) at the second end of a one-way pipe;
    /// if the session is lost or the pipe deleted.
    ///
    /// ```
    /// # use mp_manager::blocking::Manager;
    /// # use std::time::Duration;
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").open()?.ends();
    /// assert!(!second.poll(Duration::ZERO)?);
    /// first.send("how many?")?;
    /// assert!(second.poll(Duration::from_secs(1))?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn poll(&self, timeout: Duration) -> Result<bool> {
        wait(self.inner.poll(timeout))
    }

    /// Closes the end and waits until the manager confirms it, as [`crate::PipeEnd::close`].
    ///
    /// # Errors
    /// If the session is lost or the pipe deleted: then it is closed anyway.
    ///
    /// ```
    /// # use mp_manager::{Error, blocking::Manager};
    /// # fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start()?;
    /// # let (first, second) = manager.pipe::<String, u64>("talk").open()?.ends();
    /// first.close()?;
    /// assert!(matches!(second.receive(), Err(Error::EndOfFile(_))));
    /// # Ok(())
    /// # }
    /// ```
    pub fn close(self) -> Result<()> {
        wait(self.inner.close())
    }
}
