//! A server from its beginning to its end.

use std::{
    future::Future,
    io,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use mp_manager_proto::address::Address;
use tokio::time::timeout;

use crate::{
    acceptor::Acceptor, listener::Listener, options::Options, store::Store, timers::Timers,
};

/// A server that is bound to its address.
pub struct Server {
    store: Arc<Store>,
    listener: Listener,
    address: Address,
}

/// Why a server could not start, or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Where it was to listen.
        address: Address,
        /// What the system said.
        source: io::Error,
    },
    /// No authkey was given.
    #[error("a server needs an authkey")]
    NoAuthkey,
    /// The system has no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

impl Server {
    /// Binds to an address. Clients can connect from now on; they are served by
    /// [`run`](Self::run).
    ///
    /// # Errors
    /// If the address cannot be listened on, or there is no authkey.
    pub async fn bind(address: &Address, options: Options) -> Result<Self, ServeError> {
        if options.authkeys.is_empty() {
            return Err(ServeError::NoAuthkey);
        }
        let (listener, bound) = Listener::bind(address)
            .await
            .map_err(|source| ServeError::Bind { address: address.clone(), source })?;
        let random = || getrandom::u64().map_err(ServeError::Random);
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let epoch = u64::try_from(epoch).unwrap_or(u64::MAX / 2);
        let store = Store::new(options, random()?, epoch, random()?);
        Ok(Self { store: Arc::new(store), listener, address: bound })
    }

    /// Where it listens; a port of 0 has become the port that was picked.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Serves until `shutdown` completes or a client asks for it. Clients are told, and have
    /// [`Options::shutdown_grace`] to take note.
    ///
    /// # Errors
    /// None so far: what can go wrong is noticed by [`bind`](Self::bind).
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        let Self { store, listener, .. } = self;
        tokio::spawn(Timers::run(Arc::downgrade(&store)));
        let acceptor = Acceptor::new(listener, &store);
        tokio::select! {
            never = acceptor.accept() => match never {},
            () = shutdown => {}
            () = store.shutdown.notified() => {}
        }
        store.shut_down();
        // Whoever has not taken note by then is cut off.
        let _ = timeout(store.options.shutdown_grace, acceptor.close()).await;
        Ok(())
    }
}
