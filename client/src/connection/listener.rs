//! The end that listens.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use mp_manager_proto::{
    authkey::Authkey,
    v1::{Error as Refusal, Reason},
};
use mp_manager_server::{PeerError, PeerListener, PeerOptions, ServeError};
use tokio::{runtime::Handle, time::timeout};

use super::{Builder, Connection, LOOK};
use crate::{
    error::{Context, Error, Result},
    session::fork::Home,
};

/// Listens for programs that know an authkey. Python's `multiprocessing.connection.Listener`.
///
/// Handshakes go on by themselves, each for itself, whether somebody accepts or not: who connects is not kept
/// waiting by a peer that says nothing, nor by what this program does between two calls of
/// [`accept`](Self::accept). As many as 1,024 connections may wait to be accepted; beyond that the system keeps
/// them waiting. Of those that have not proven the authkey the oldest is closed if there are more than 512, and
/// an address that fails again and again is not heard for a moment.
///
/// It stops listening when it is dropped: the file of a unix socket is removed, and the address is free at
/// once. Connections that were accepted go on.
///
/// ```
/// # use mp_manager::{Result, connection::{Client, Listener}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let listener = Listener::bind("127.0.0.1:0", "authkey").await?;
/// let address = listener.address().to_owned();
/// let client = tokio::spawn(async move {
///     let connection = Client::connect(&address, "authkey").await?;
///     connection.recv::<String>().await
/// });
/// listener.accept().await?.send("hello").await?;
/// assert_eq!(client.await.unwrap()?, "hello");
/// # Ok(())
/// # }
/// ```
pub struct Listener {
    /// Always there, until it is dropped.
    inner: Option<PeerListener>,
    address: String,
    last_accepted: Mutex<Option<String>>,
    max_message_bytes: u32,
    runtime: Handle,
    home: Home,
}

impl Listener {
    /// Listens at an address such as `127.0.0.1:0`, `0.0.0.0:7000` or `unix:/run/me.sock`; [`Address`](crate::Address) has the
    /// rules. Port 0 is any port that is free.
    ///
    /// Beyond this machine that is TLS 1.3, with a certificate that is made for it: the proof of the authkey is
    /// bound to it. The permissions of a unix socket's file are for its owner alone. A file of a socket on which
    /// nobody listens any more is replaced.
    ///
    /// It is on the tokio runtime that it is awaited on.
    ///
    /// # Errors
    /// [`Error::Configuration`] if the address cannot be listened on or is used by another program; for
    /// plain text (`tcp://`), or an authkey of less than 16 bytes, beyond this machine; or without a tokio
    /// runtime.
    ///
    /// ```
    /// # use mp_manager::{Error, Result, connection::Listener};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// let listener = Listener::bind("127.0.0.1:0", "authkey").await?;
    /// println!("others find it at {}", listener.address());
    ///
    /// let refused = Listener::bind("0.0.0.0:0", "short").await;
    /// assert!(matches!(refused, Err(Error::Configuration(_))));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "multiprocessing.connection.Listener")]
    pub async fn bind(address: &str, authkey: impl Into<Authkey>) -> Result<Self> {
        Builder::new().bind(address, authkey).await
    }

    /// Where it listens, as [`Client::connect`](super::Client::connect) takes it. Port 0 has become the port
    /// that was picked.
    ///
    /// ```
    /// # use mp_manager::{Result, connection::Listener};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// let listener = Listener::bind("127.0.0.1:0", "authkey").await?;
    /// assert!(listener.address().starts_with("tcp://127.0.0.1:"));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Accepts the next connection of a peer that has proven the authkey; waits until there is one.
    ///
    /// Several tasks may accept; which of them gets a connection is open. Cancel safe: dropping the future
    /// loses no connection.
    ///
    /// # Errors
    /// [`Error::AuthenticationFailed`] if a peer has another authkey, as Python's `AuthenticationError`. That is
    /// about this peer, which the error names: the listener goes on, and whoever accepts in a loop should, too.
    /// Peers that say nothing, or something else, are closed without an error. [`Error::SessionLost`] if the
    /// runtime that the listener was bound on is gone, or in a fork of its process.
    ///
    /// ```
    /// # use mp_manager::{Error, Result, connection::{Client, Listener}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let listener = Listener::bind("127.0.0.1:0", "authkey").await?;
    /// # let client = Client::connect(listener.address(), "authkey").await?;
    /// let connection = loop {
    ///     match listener.accept().await {
    ///         Err(Error::AuthenticationFailed(stranger)) => eprintln!("{stranger}"),
    ///         accepted => break accepted?,
    ///     }
    /// };
    /// # Ok(())
    /// # }
    /// ```
    pub async fn accept(&self) -> Result<Connection> {
        let inner = self.inner()?;
        let peer = inner.accept().await.map_err(|error| self.refused(error))?;
        let name = peer.name.clone();
        *self.last_accepted.lock().unwrap_or_else(PoisonError::into_inner) = Some(name);
        let limits = (peer.max_message_bytes, self.max_message_bytes);
        Ok(Connection::new(Box::new(peer.stream), peer.name, limits, self.runtime.clone()))
    }

    /// The peer that was accepted last, as [`Connection::peer`] names it; `None` if none was.
    ///
    /// ```
    /// # use mp_manager::{Result, connection::{Client, Listener}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let listener = Listener::bind("127.0.0.1:0", "authkey").await?;
    /// # let client = Client::connect(listener.address(), "authkey").await?;
    /// assert_eq!(listener.last_accepted(), None);
    /// let connection = listener.accept().await?;
    /// assert_eq!(listener.last_accepted().as_deref(), Some(connection.peer()));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn last_accepted(&self) -> Option<String> {
        self.last_accepted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits at most so long until [`accept`](Self::accept) would not wait; whether so. [`Duration::MAX`] waits as
    /// long as it takes. Cancel safe.
    ///
    /// # Errors
    /// [`Error::SessionLost`] in a fork of the process that the listener belongs to.
    ///
    /// ```
    /// # use mp_manager::{Result, connection::{Client, Listener}};
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let listener = Listener::bind("127.0.0.1:0", "authkey").await?;
    /// assert!(!listener.poll(Duration::ZERO).await?);
    /// let client = Client::connect(listener.address(), "authkey").await?;
    /// assert!(listener.poll(Duration::from_secs(1)).await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn poll(&self, timeout: Duration) -> Result<bool> {
        self.inner()?;
        Ok(self::timeout(timeout.max(LOOK), self.readable()).await.is_ok())
    }

    /// Completes when [`accept`](Self::accept) would not wait. Cancel safe.
    pub(crate) async fn readable(&self) {
        if let Ok(inner) = self.inner() {
            inner.readable().await;
        }
    }

    fn inner(&self) -> Result<&PeerListener> {
        match &self.inner {
            Some(inner) if self.home.is_here() => Ok(inner),
            _ => Err(Error::refused(self.home.refusal(), self.context())),
        }
    }

    fn refused(&self, error: PeerError) -> Error {
        match error {
            PeerError::Refused { name, error } => {
                Error::refused(error, Context { address: name, ..self.context() })
            }
            error => {
                let refusal = Refusal::new(Reason::SessionEnded, error.to_string())
                    .with_hint("keep the runtime for as long as the listener");
                Error::refused(refusal, self.context())
            }
        }
    }

    fn context(&self) -> Context {
        let (object, address) = ("listener".into(), self.address.clone());
        Context { operation: "accept", object, address, ..Context::default() }
    }
}

impl Builder {
    /// Listens, as [`Listener::bind`].
    ///
    /// # Errors
    /// As [`Listener::bind`].
    pub async fn bind(&self, address: &str, authkey: impl Into<Authkey>) -> Result<Listener> {
        let (address, authkey) = Self::check(address, authkey.into())?;
        let mut options = PeerOptions::new(authkey);
        options.max_message_bytes = self.max_message_bytes;
        options.handshake_timeout = self.timeout;
        let inner = PeerListener::bind(&address, options)
            .await
            .map_err(|error| Error::Configuration(explain(&error)))?;
        Ok(Listener {
            address: inner.address().to_string(),
            inner: Some(inner),
            last_accepted: Mutex::default(),
            max_message_bytes: self.max_message_bytes,
            runtime: Handle::current(),
            home: Home::here(),
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if !self.home.is_here() {
            // The socket, its file, and what the runtime knows of it are the parent's.
            std::mem::forget(self.inner.take());
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener({})", self.address)
    }
}

/// As the server has it, but for ways out that are its options.
fn explain(error: &ServeError) -> String {
    match error {
        ServeError::WeakAuthkey { address } => format!(
            "an authkey of less than 16 bytes can be guessed, and other machines can reach {address}: \
             use a longer one, such as `mp-manager keygen FILE` writes, or an address of this machine"
        ),
        error => error.to_string(),
    }
}
