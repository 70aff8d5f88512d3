//! A connection between two programs without a manager: `Listener` and `Client` of Python's
//! `multiprocessing.connection`.
//!
//! One program listens, others connect, and each proves to the other that it knows the authkey:
//!
//! ```
//! use mp_manager::{Result, connection::{Client, Listener}};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! let authkey = "a key of sixteen bytes or more";
//! let listener = Listener::bind("127.0.0.1:0", authkey).await?; // or "unix:/run/me.sock"
//!
//! // In another program, with the same authkey:
//! # let address = listener.address();
//! let client = Client::connect(address, authkey).await?;
//! client.send(&("how many?", [1, 2, 3])).await?;
//!
//! let connection = listener.accept().await?;
//! let (question, numbers): (String, Vec<u64>) = connection.recv().await?;
//! assert_eq!(question, "how many?");
//! connection.send(&numbers.len()).await?;
//!
//! assert_eq!(client.recv::<usize>().await?, 3);
//! # Ok(())
//! # }
//! ```
//!
//! An address is what it is for a [manager](crate::Address): a mere `HOST:PORT` beyond this machine is TLS 1.3
//! without certificates to manage, as the proof of the authkey is bound to the connection. Plain text there is
//! refused, at both ends. Nothing that is received is executed: values are MessagePack, and not pickles. What
//! a `Listener` speaks is not what a manager speaks, and neither takes the other's proofs: `docs/protocol.md`
//! has both.
//!
//! A connection ends with its socket, and is not made again by itself; what is to outlast that is the business
//! of a manager's [queues](crate::Queue) and [pipes](crate::Pipe). So is everything that refers to shared
//! objects: a proxy cannot be sent, but its name can.
//!
//! [`blocking::connection`](crate::blocking::connection) has the same for threads.

mod builder;
mod client;
mod errors;
#[cfg(feature = "embedded")]
mod listener;
mod reader;
mod writer;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use mp_manager_proto::{
    connection::{FrameKind, HEADER_LEN, Header},
    value,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncWrite, split},
    runtime::Handle,
    sync::Mutex,
    time::timeout,
};

pub use builder::Builder;
pub use client::Client;
#[cfg(feature = "embedded")]
pub use listener::Listener;

use crate::{
    error::{Error, Result},
    session::fork::{Home, HomeBound},
};
use errors::Peer;
use reader::Reader;
use writer::{Finishing, Writer};

/// How long a runtime is given to notice what has arrived: it asks the system only now and then.
const LOOK: Duration = Duration::from_millis(1);

/// How long closing waits for what was sent to get through.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// A stream of bytes in both directions: a socket, or TLS on one.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

type Io = HomeBound<Box<dyn Duplex>>;

/// A connection to another program. Python's `multiprocessing.connection.Connection`.
///
/// [`Client::connect`] makes one, and [`Listener::accept`] the other end of it. Each message arrives once and
/// whole, in the order in which it was sent. All methods take `&self`: one task may send while another one
/// receives, with the connection in an [`Arc`]. It is closed when it is dropped.
///
/// It belongs to the process that made it: in a fork of that every method is an error.
///
/// ```
/// # use mp_manager::{Error, Result, connection::{Client, Listener}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// # let listener = Listener::bind("127.0.0.1:0", "authkey").await?;
/// # let client = Client::connect(listener.address(), "authkey").await?;
/// # let connection = listener.accept().await?;
/// client.send("goodbye").await?;
/// drop(client);
/// assert_eq!(connection.recv::<String>().await?, "goodbye");
/// assert!(matches!(connection.recv::<String>().await, Err(Error::EndOfFile(_))));
/// # Ok(())
/// # }
/// ```
pub struct Connection {
    peer: Peer,
    reader: Mutex<Reader>,
    writer: Arc<Mutex<Writer>>,
    finishing: Finishing,
    /// Maximum length of a message that the other end takes.
    max_sent_bytes: u32,
    home: Home,
}

impl Connection {
    /// A connection that is authenticated, on the runtime that drives it.
    fn new(
        io: Box<dyn Duplex>,
        peer: String,
        (max_sent_bytes, max_received_bytes): (u32, u32),
        runtime: Handle,
    ) -> Self {
        let home = Home::here();
        let (read, write) = split(HomeBound::new(io, home));
        Self {
            peer: Peer::new(peer),
            reader: Mutex::new(Reader::new(read, max_received_bytes)),
            writer: Arc::new(Mutex::new(Writer::new(write))),
            finishing: Finishing::new(runtime),
            max_sent_bytes,
            home,
        }
    }

    /// The other end: its address or, on a unix socket, its process. At the end that connected, the address
    /// that it connected to.
    ///
    /// ```
    /// # use mp_manager::{Result, connection::{Client, Listener}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let listener = Listener::bind("127.0.0.1:0", "authkey").await?;
    /// # let client = Client::connect(listener.address(), "authkey").await?;
    /// let connection = listener.accept().await?;
    /// assert!(connection.peer().starts_with("127.0.0.1:"));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn peer(&self) -> &str {
        self.peer.name()
    }

    /// Sends a value; waits as long as the other end is behind.
    ///
    /// Fair: who came first sends first. When it is done the message is with the system, and not yet with the
    /// other end. Cancel safe: dropping the future withdraws a message of which nothing is on its way. One that
    /// is goes on in the background, in front of what is sent after it, as long as the connection exists: so the
    /// other end never gets a part of one.
    ///
    /// # Errors
    /// [`Error::EndOfFile`] if the other end is closed; [`Error::LimitExceeded`] if the message is longer than
    /// the other end takes, and nothing of it was sent; [`Error::Encode`] if the value cannot be encoded, as one
    /// with a proxy in it.
    ///
    /// ```
    /// # use mp_manager::{Result, connection::{Client, Listener}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let listener = Listener::bind("127.0.0.1:0", "authkey").await?;
    /// # let client = Client::connect(listener.address(), "authkey").await?;
    /// # let connection = listener.accept().await?;
    /// client.send(&("alice", 3)).await?;
    /// assert_eq!(connection.recv::<(String, u64)>().await?, ("alice".into(), 3));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send<T: Serialize + ?Sized>(&self, value: &T) -> Result<()> {
        let mut frame = vec![0; HEADER_LEN];
        value::encode_into(value, &mut frame).map_err(|error| {
            let context = self.peer.context("send", error.to_string());
            Error::Encode(Box::new(context))
        })?;
        self.transmit("send", FrameKind::Value, frame).await
    }

    /// Sends bytes as they are. Otherwise as [`send`](Self::send).
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// ```
    /// # use mp_manager::{Result, connection::{Client, Listener}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let listener = Listener::bind("127.0.0.1:0", "authkey").await?;
    /// # let client = Client::connect(listener.address(), "authkey").await?;
    /// # let connection = listener.accept().await?;
    /// client.send_bytes(b"raw").await?;
    /// assert_eq!(connection.recv_bytes().await?, b"raw");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send_bytes(&self, bytes: &[u8]) -> Result<()> {
        let mut frame = Vec::with_capacity(HEADER_LEN + bytes.len());
        frame.resize(HEADER_LEN, 0);
        frame.extend_from_slice(bytes);
        self.transmit("send_bytes", FrameKind::Bytes, frame).await
    }

    /// Receives the next value; waits until there is one.
    ///
    /// Fair: who came first receives first. Cancel safe: dropping the future loses nothing.
    ///
    /// # Errors
    /// [`Error::EndOfFile`] if the other end is closed, however that came about, and everything was received;
    /// [`Error::Decode`] if what comes is not a `T` or is raw bytes: it is received thereby, and the error
    /// carries it. [`Error::LimitExceeded`] or [`Error::Protocol`] if the other end does not keep to the
    /// [limit](Builder::max_message_bytes) or the protocol: nothing can be received any more.
    ///
    /// ```
    /// # use mp_manager::{Result, connection::{Client, Listener}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let listener = Listener::bind("127.0.0.1:0", "authkey").await?;
    /// # let client = Client::connect(listener.address(), "authkey").await?;
    /// # let connection = listener.accept().await?;
    /// client.send(&vec![1, 2, 3]).await?;
    /// let numbers: Vec<u64> = connection.recv().await?;
    /// assert_eq!(numbers, [1, 2, 3]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "receive")]
    pub async fn recv<T: DeserializeOwned>(&self) -> Result<T> {
        let (kind, payload) = self.receive("recv", |_| Ok(())).await?;
        if kind != FrameKind::Value {
            let hint = "recv_bytes receives these";
            return Err(self.undecodable("recv", "the message is raw bytes", hint, payload));
        }
        value::decode(&payload)
            .map_err(|error| self.undecodable("recv", &error.to_string(), "", payload))
    }

    /// Receives the next message, which must be one of [`send_bytes`](Self::send_bytes); waits until there is
    /// one.
    ///
    /// Fair and cancel safe as [`recv`](Self::recv).
    ///
    /// # Errors
    /// [`Error::Decode`] if it is a value: it is received thereby, and the error carries its encoding.
    /// Otherwise as [`recv`](Self::recv).
    ///
    /// ```
    /// # use mp_manager::{Result, connection::{Client, Listener}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let listener = Listener::bind("127.0.0.1:0", "authkey").await?;
    /// # let client = Client::connect(listener.address(), "authkey").await?;
    /// # let connection = listener.accept().await?;
    /// client.send_bytes(b"raw").await?;
    /// assert_eq!(connection.recv_bytes().await?, b"raw");
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "receive_bytes")]
    pub async fn recv_bytes(&self) -> Result<Vec<u8>> {
        let received = self.receive("recv_bytes", |_| Ok(())).await?;
        Ok(self.raw("recv_bytes", received)?.into())
    }

    /// As [`recv_bytes`](Self::recv_bytes), but into the head of a buffer. Returns the length of the message.
    ///
    /// # Errors
    /// [`Error::BufferTooShort`] if the message is longer than the buffer: it is still there, and the next call
    /// receives it. Otherwise as [`recv_bytes`](Self::recv_bytes).
    ///
    /// ```
    /// # use mp_manager::{Error, Result, connection::{Client, Listener}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let listener = Listener::bind("127.0.0.1:0", "authkey").await?;
    /// # let client = Client::connect(listener.address(), "authkey").await?;
    /// # let connection = listener.accept().await?;
    /// client.send_bytes(b"raw").await?;
    /// let mut buffer = [0; 8];
    /// let too_long = connection.recv_bytes_into(&mut buffer[..2]).await;
    /// assert!(matches!(too_long, Err(Error::BufferTooShort(_))));
    /// let len = connection.recv_bytes_into(&mut buffer).await?;
    /// assert_eq!(&buffer[..len], b"raw");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize> {
        const OPERATION: &str = "recv_bytes_into";
        let fits = |header: Header| match header.kind {
            FrameKind::Bytes if header.len as usize > buffer.len() => {
                Err(self.peer.too_short(OPERATION, header.len, buffer.len()))
            }
            _ => Ok(()),
        };
        let received = self.receive(OPERATION, fits).await?;
        let bytes = self.raw(OPERATION, received)?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    /// Waits at most so long until there is a whole message to receive, or the other end is closed; whether
    /// so. [`Duration::MAX`] waits as long as it takes; [`Duration::ZERO`] looks only, for which the runtime
    /// needs up to 2 ms if there is nothing.
    ///
    /// It waits behind those who receive already. Cancel safe.
    ///
    /// # Errors
    /// In a fork of the process that the connection belongs to.
    ///
    /// ```
    /// # use mp_manager::{Result, connection::{Client, Listener}};
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let listener = Listener::bind("127.0.0.1:0", "authkey").await?;
    /// # let client = Client::connect(listener.address(), "authkey").await?;
    /// # let connection = listener.accept().await?;
    /// assert!(!connection.poll(Duration::ZERO).await?);
    /// client.send("how many?").await?;
    /// assert!(connection.poll(Duration::from_secs(1)).await?);
    /// assert_eq!(connection.recv::<String>().await?, "how many?");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn poll(&self, timeout: Duration) -> Result<bool> {
        self.check_home("poll")?;
        let wait = async |time| self::timeout(time, self.readable()).await.is_ok();
        // A message that the runtime noticed just as the time was over counts.
        Ok(wait(timeout.max(LOOK)).await || wait(Duration::ZERO).await)
    }

    /// Closes the connection, once what was sent is with the system; with TLS the other end is told so.
    /// Dropping the connection closes it, too, and cuts off a message whose [sending](Self::send) was
    /// cancelled.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`] if a message whose sending was cancelled does not get through within 10 s:
    /// then it is cut off. [`Error::EndOfFile`] if the other end had closed before that.
    ///
    /// ```
    /// # use mp_manager::{Error, Result, connection::{Client, Listener}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let listener = Listener::bind("127.0.0.1:0", "authkey").await?;
    /// # let client = Client::connect(listener.address(), "authkey").await?;
    /// # let connection = listener.accept().await?;
    /// client.close().await?;
    /// assert!(matches!(connection.recv::<String>().await, Err(Error::EndOfFile(_))));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn close(self) -> Result<()> {
        self.check_home("close")?;
        let closing = async { self.writer.lock().await.close().await };
        let closed = timeout(CLOSE_TIMEOUT, closing).await;
        let closed = closed.map_err(|_| self.peer.cut_off("close", CLOSE_TIMEOUT))?;
        closed.map_err(|problem| self.peer.broken("close", &problem))
    }

    /// Completes when [`recv`](Self::recv) would not wait, as there is a whole message or none will come.
    /// Cancel safe.
    pub(crate) async fn readable(&self) {
        // Its error will be that of whoever receives.
        let _ = self.reader.lock().await.message().await;
    }

    /// The next message, if `take` has nothing against it.
    async fn receive(
        &self,
        operation: &'static str,
        take: impl FnOnce(Header) -> Result<()>,
    ) -> Result<(FrameKind, Bytes)> {
        self.check_home(operation)?;
        let mut reader = self.reader.lock().await;
        let header = reader.message().await.map_err(|end| self.peer.ended(operation, end))?;
        take(header)?;
        Ok((header.kind, reader.take(header)))
    }

    /// Sends a frame in which there is room for its header.
    async fn transmit(
        &self,
        operation: &'static str,
        kind: FrameKind,
        mut frame: Vec<u8>,
    ) -> Result<()> {
        self.check_home(operation)?;
        let bytes = frame.len() - HEADER_LEN;
        let len = u32::try_from(bytes).ok().filter(|len| *len <= self.max_sent_bytes);
        let len = len.ok_or_else(|| self.peer.too_long(operation, bytes, self.max_sent_bytes))?;
        frame[..HEADER_LEN].copy_from_slice(&Header { len, kind }.encode());
        let writer = Arc::clone(&self.writer).lock_owned().await;
        let sent = self.finishing.send(writer, frame).await;
        sent.map_err(|problem| self.peer.broken(operation, &problem))
    }

    fn raw(&self, operation: &'static str, (kind, payload): (FrameKind, Bytes)) -> Result<Bytes> {
        if kind == FrameKind::Bytes {
            return Ok(payload);
        }
        let (message, hint) = ("the message is a value, not raw bytes", "recv receives these");
        Err(self.undecodable(operation, message, hint, payload))
    }

    fn undecodable(
        &self,
        operation: &'static str,
        message: &str,
        hint: &str,
        bytes: Bytes,
    ) -> Error {
        let mut context = self.peer.context(operation, message.into());
        context.hint = hint.into();
        Error::Decode { context: Box::new(context), bytes }
    }

    fn check_home(&self, operation: &'static str) -> Result<()> {
        if self.home.is_here() {
            return Ok(());
        }
        Err(Error::refused(self.home.refusal(), self.peer.context(operation, String::new())))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({})", self.peer())
    }
}
