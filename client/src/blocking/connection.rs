//! A connection between two programs without a manager, for threads, as [`crate::connection`].
//!
//! All of them are driven by one thread of this process, which is started for the first.
//!
//! ```
//! use std::thread;
//!
//! use mp_manager::{Result, blocking::connection::{Client, Listener}};
//!
//! # fn main() -> Result<()> {
//! let listener = Listener::bind("127.0.0.1:0", "authkey")?; // or "unix:/run/me.sock"
//! let address = listener.address().to_owned();
//!
//! // In another program, with the same authkey:
//! let client = thread::spawn(move || {
//!     let client = Client::connect(&address, "authkey")?;
//!     client.send("how many?")?;
//!     client.recv::<u64>()
//! });
//!
//! let connection = listener.accept()?;
//! assert_eq!(connection.recv::<String>()?, "how many?");
//! connection.send(&3)?;
//! assert_eq!(client.join().unwrap()?, 3);
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use mp_manager_proto::authkey::Authkey;
use serde::{Serialize, de::DeserializeOwned};
use tokio::runtime::Handle;

use super::block_on;
use crate::{connection, error::Result, transport::io_thread::ProcessThread};

/// The runtime that drives the connections of this process.
fn runtime() -> Result<Handle> {
    static THREAD: ProcessThread = ProcessThread::new();
    THREAD.handle()
}

/// Waits for a future on this thread; its timers and sockets are that runtime's.
fn wait<F: Future>(runtime: &Handle, future: F) -> F::Output {
    let _entered = runtime.enter();
    block_on::wait(future)
}

/// How to listen, or to connect, with other limits than usual, as [`connection::Builder`].
///
/// ```
/// # use mp_manager::{Error, Result, blocking::connection::{Builder, Client}};
/// # fn main() -> Result<()> {
/// let listener = Builder::new().max_message_bytes(1 << 10).bind("127.0.0.1:0", "authkey")?;
/// let client = Client::connect(listener.address(), "authkey")?;
/// assert!(matches!(client.send_bytes(&[0; 2 << 10]), Err(Error::LimitExceeded(_))));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a builder listens or connects when it is told to"]
pub struct Builder {
    inner: connection::Builder,
}

impl Builder {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Maximum length of a message that this end takes, in bytes, as
    /// [`connection::Builder::max_message_bytes`].
    pub fn max_message_bytes(self, bytes: u32) -> Self {
        Self { inner: self.inner.max_message_bytes(bytes) }
    }

    /// How long connecting may take or, of a listener, how long a peer has to prove the authkey, as
    /// [`connection::Builder::timeout`].
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { inner: self.inner.timeout(timeout) }
    }

    /// Connects, as [`Client::connect`].
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn connect(&self, address: &str, authkey: impl Into<Authkey>) -> Result<Connection> {
        let runtime = runtime()?;
        let inner = wait(&runtime, self.inner.connect(address, authkey))?;
        Ok(Connection { inner, runtime })
    }

    /// Listens, as [`Listener::bind`].
    ///
    /// # Errors
    /// As [`Listener::bind`].
    #[cfg(feature = "embedded")]
    pub fn bind(&self, address: &str, authkey: impl Into<Authkey>) -> Result<Listener> {
        let runtime = runtime()?;
        let inner = wait(&runtime, self.inner.bind(address, authkey))?;
        Ok(Listener { inner, runtime })
    }
}

/// Listens for programs that know an authkey, as [`connection::Listener`].
///
/// ```
/// # use mp_manager::{Result, blocking::connection::{Client, Listener}};
/// # fn main() -> Result<()> {
/// let listener = Listener::bind("127.0.0.1:0", "authkey")?;
/// let client = Client::connect(listener.address(), "authkey")?;
/// let connection = listener.accept()?;
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "embedded")]
#[derive(Debug)]
pub struct Listener {
    pub(super) inner: connection::Listener,
    runtime: Handle,
}

#[cfg(feature = "embedded")]
impl Listener {
    /// Listens at an address, as [`connection::Listener::bind`].
    ///
    /// # Errors
    /// [`Error::Configuration`](crate::Error::Configuration) if the address cannot be listened on or is used
    /// by another program, or for what is not safe beyond this machine.
    ///
    /// ```
    /// # use mp_manager::{Result, blocking::connection::Listener};
    /// # fn main() -> Result<()> {
    /// let listener = Listener::bind("127.0.0.1:0", "authkey")?;
    /// println!("others find it at {}", listener.address());
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "multiprocessing.connection.Listener")]
    pub fn bind(address: &str, authkey: impl Into<Authkey>) -> Result<Self> {
        Builder::new().bind(address, authkey)
    }

    /// Where it listens, as [`connection::Listener::address`].
    #[must_use]
    pub fn address(&self) -> &str {
        self.inner.address()
    }

    /// Accepts the next connection of a peer that has proven the authkey; waits until there is one, as
    /// [`connection::Listener::accept`].
    ///
    /// # Errors
    /// [`Error::AuthenticationFailed`](crate::Error::AuthenticationFailed) if a peer has another authkey: the
    /// listener goes on.
    ///
    /// ```
    /// # use mp_manager::{Error, Result, blocking::connection::{Client, Listener}};
    /// # fn main() -> Result<()> {
    /// # let listener = Listener::bind("127.0.0.1:0", "authkey")?;
    /// assert!(Client::connect(listener.address(), "another").is_err());
    /// assert!(matches!(listener.accept(), Err(Error::AuthenticationFailed(_))));
    ///
    /// let client = Client::connect(listener.address(), "authkey")?;
    /// let connection = listener.accept()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn accept(&self) -> Result<Connection> {
        let inner = wait(&self.runtime, self.inner.accept())?;
        Ok(Connection { inner, runtime: self.runtime.clone() })
    }

    /// Waits at most so long until [`accept`](Self::accept) would not wait; whether so, as
    /// [`connection::Listener::poll`].
    ///
    /// # Errors
    /// As [`connection::Listener::poll`].
    pub fn poll(&self, timeout: Duration) -> Result<bool> {
        wait(&self.runtime, self.inner.poll(timeout))
    }

    /// The peer that was accepted last, as [`connection::Listener::last_accepted`].
    #[must_use]
    pub fn last_accepted(&self) -> Option<String> {
        self.inner.last_accepted()
    }
}

/// Connects to a [`Listener`], as [`connection::Client`].
#[derive(Debug)]
pub enum Client {}

impl Client {
    /// Connects to a program that listens at an address, as [`connection::Client::connect`].
    ///
    /// # Errors
    /// [`Error::Connect`](crate::Error::Connect) if nobody listens there,
    /// [`Error::AuthenticationFailed`](crate::Error::AuthenticationFailed) if the authkeys differ,
    /// [`Error::Configuration`](crate::Error::Configuration) for plain text beyond this machine.
    ///
    /// ```
    /// # use mp_manager::{Result, blocking::connection::{Client, Listener}};
    /// # fn main() -> Result<()> {
    /// # let listener = Listener::bind("127.0.0.1:0", "authkey")?;
    /// let connection = Client::connect(listener.address(), "authkey")?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "multiprocessing.connection.Client")]
    pub fn connect(address: &str, authkey: impl Into<Authkey>) -> Result<Connection> {
        Builder::new().connect(address, authkey)
    }
}

/// A connection to another program, as [`connection::Connection`]. One thread may send while another one
/// receives.
///
/// ```
/// # use mp_manager::{Error, Result, blocking::connection::{Client, Listener}};
/// # fn main() -> Result<()> {
/// # let listener = Listener::bind("127.0.0.1:0", "authkey")?;
/// # let client = Client::connect(listener.address(), "authkey")?;
/// # let connection = listener.accept()?;
/// client.send("goodbye")?;
/// drop(client);
/// assert_eq!(connection.recv::<String>()?, "goodbye");
/// assert!(matches!(connection.recv::<String>(), Err(Error::EndOfFile(_))));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Connection {
    pub(super) inner: connection::Connection,
    runtime: Handle,
}

impl Connection {
    /// The other end, as [`connection::Connection::peer`].
    #[must_use]
    pub fn peer(&self) -> &str {
        self.inner.peer()
    }

    /// Sends a value; waits as long as the other end is behind, as [`connection::Connection::send`].
    ///
    /// # Errors
    /// [`Error::EndOfFile`](crate::Error::EndOfFile) if the other end is closed;
    /// [`Error::LimitExceeded`](crate::Error::LimitExceeded) if the message is longer than the other end
    /// takes; [`Error::Encode`](crate::Error::Encode) if the value cannot be encoded.
    pub fn send<T: Serialize + ?Sized>(&self, value: &T) -> Result<()> {
        wait(&self.runtime, self.inner.send(value))
    }

    /// Sends bytes as they are, as [`connection::Connection::send_bytes`].
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<()> {
        wait(&self.runtime, self.inner.send_bytes(bytes))
    }

    /// Receives the next value; waits until there is one, as [`connection::Connection::recv`].
    ///
    /// # Errors
    /// [`Error::EndOfFile`](crate::Error::EndOfFile) if the other end is closed and everything was received;
    /// [`Error::Decode`](crate::Error::Decode) if what comes is not a `T`, which is received thereby;
    /// otherwise as [`connection::Connection::recv`].
    #[doc(alias = "receive")]
    pub fn recv<T: DeserializeOwned>(&self) -> Result<T> {
        wait(&self.runtime, self.inner.recv())
    }

    /// Receives the next message, which must be one of [`send_bytes`](Self::send_bytes), as
    /// [`connection::Connection::recv_bytes`].
    ///
    /// # Errors
    /// As [`connection::Connection::recv_bytes`].
    #[doc(alias = "receive_bytes")]
    pub fn recv_bytes(&self) -> Result<Vec<u8>> {
        wait(&self.runtime, self.inner.recv_bytes())
    }

    /// As [`recv_bytes`](Self::recv_bytes), but into the head of a buffer; returns the length of the message.
    ///
    /// # Errors
    /// [`Error::BufferTooShort`](crate::Error::BufferTooShort) if the message is longer than the buffer: it is
    /// still there. Otherwise as [`recv_bytes`](Self::recv_bytes).
    ///
    /// ```
    /// # use mp_manager::{Error, Result, blocking::connection::{Client, Listener}};
    /// # fn main() -> Result<()> {
    /// # let listener = Listener::bind("127.0.0.1:0", "authkey")?;
    /// # let client = Client::connect(listener.address(), "authkey")?;
    /// # let connection = listener.accept()?;
    /// client.send_bytes(b"raw")?;
    /// let mut buffer = [0; 8];
    /// let len = connection.recv_bytes_into(&mut buffer)?;
    /// assert_eq!(&buffer[..len], b"raw");
    /// # Ok(())
    /// # }
    /// ```
    pub fn recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize> {
        wait(&self.runtime, self.inner.recv_bytes_into(buffer))
    }

    /// Waits at most so long until there is a whole message to receive, or the other end is closed; whether
    /// so, as [`connection::Connection::poll`].
    ///
    /// # Errors
    /// As [`connection::Connection::poll`].
    ///
    /// ```
    /// # use mp_manager::{Result, blocking::connection::{Client, Listener}};
    /// # use std::time::Duration;
    /// # fn main() -> Result<()> {
    /// # let listener = Listener::bind("127.0.0.1:0", "authkey")?;
    /// # let client = Client::connect(listener.address(), "authkey")?;
    /// # let connection = listener.accept()?;
    /// assert!(!connection.poll(Duration::ZERO)?);
    /// client.send("how many?")?;
    /// assert!(connection.poll(Duration::from_secs(1))?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn poll(&self, timeout: Duration) -> Result<bool> {
        wait(&self.runtime, self.inner.poll(timeout))
    }

    /// Closes the connection, as [`connection::Connection::close`].
    ///
    /// # Errors
    /// As [`connection::Connection::close`].
    pub fn close(self) -> Result<()> {
        wait(&self.runtime, self.inner.close())
    }
}
