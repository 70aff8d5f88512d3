//! A server from its beginning to its end.

use std::{
    future::Future,
    io,
    path::PathBuf,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use mp_manager_proto::{address::Address, authkey::STRONG_LEN};
use tokio::time::timeout;

use crate::{
    acceptor::Acceptor,
    authkeys::Authkeys,
    handle::Handle,
    leases::Leases,
    listener::Listener,
    options::Options,
    reservation::Reservation,
    store::Store,
    timers::Timers,
    tls::{Terminator, TlsError},
};

/// A server that is bound to its address.
pub struct Server {
    store: Arc<Store>,
    listener: Listener,
    address: Address,
    terminator: Option<Arc<Terminator>>,
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
    /// No authkey was given, or an empty one.
    #[error("a server needs an authkey, and none that is empty")]
    NoAuthkey,
    /// More authkeys were given than can be tried for each client.
    #[error("a server takes at most {max} authkeys, and these are {count}: remove old ones")]
    TooManyAuthkeys {
        /// How many they are.
        count: usize,
        /// How many they may be.
        max: usize,
    },
    /// An authkey can be guessed, and others can reach the address.
    #[error(
        "an authkey of less than {STRONG_LEN} bytes can be guessed, and other machines can reach \
         {address}: `mp-manager keygen FILE` writes a good one, or --allow-weak-authkey takes this one"
    )]
    WeakAuthkey {
        /// Where it was to listen.
        address: Address,
    },
    /// Others could listen in.
    #[error(
        "plain text on {address} could be read and changed by others on the way: use tls:// instead \
         of tcp://, an address of this machine such as 127.0.0.1 or unix:PATH, or --insecure"
    )]
    PlainText {
        /// Where it was to listen.
        address: Address,
    },
    /// Something about TLS is set, and the address does not speak it.
    #[error(
        "certificates are given, but {address} is not served with TLS: use an address that begins \
         with tls://"
    )]
    NotTls {
        /// Where it listens, or was to.
        address: Address,
    },
    /// A certificate, private key or authority cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The state directory cannot be used.
    #[error("cannot use the state directory {}: {problem}", path.display())]
    StateDir {
        /// The directory.
        path: PathBuf,
        /// Why, and the way out.
        problem: String,
    },
    /// The system has no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

impl Server {
    /// Binds to an address. Clients can connect from now on; they are served by
    /// [`run`](Self::run).
    ///
    /// # Errors
    /// If the address cannot be listened on, the state directory cannot be used, there is no authkey, or
    /// what is asked for is not safe there.
    pub async fn bind(address: &Address, mut options: Options) -> Result<Self, ServeError> {
        let random = || getrandom::u64().map_err(ServeError::Random);
        let server_id = random()?;
        let authkeys = std::mem::take(&mut options.authkeys);
        let authkeys = Authkeys::new(authkeys, address, options.allow_weak_authkey, server_id)?;
        if matches!(address, Address::Tcp { .. }) && !address.is_local() {
            if !options.insecure {
                return Err(ServeError::PlainText { address: address.clone() });
            }
            tracing::warn!("plain text on {address}: others on the way can read and change it");
        }
        let terminator = Terminator::at(address, &options.tls)?;
        let now_us = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let now_us = u64::try_from(now_us).unwrap_or(u64::MAX / 2);
        let reservation = Reservation::new(options.state_dir.as_deref(), now_us)?;
        let (listener, bound) = Listener::bind(address, terminator.clone())
            .await
            .map_err(|source| ServeError::Bind { address: address.clone(), source })?;
        let store = Store::new(options, authkeys, server_id, reservation, random()?);
        Ok(Self { store: Arc::new(store), listener, address: bound, terminator })
    }

    /// Where it listens; a port of 0 has become the port that was picked.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What changes it while it runs.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle {
            address: self.address.clone(),
            authkeys: Arc::clone(&self.store.authkeys),
            terminator: self.terminator.clone(),
        }
    }

    /// Serves until `shutdown` completes or a client asks for it. Clients are told, and have
    /// [`Options::shutdown_grace`] to take note.
    ///
    /// # Errors
    /// None so far: what can go wrong is noticed by [`bind`](Self::bind).
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        let Self { store, listener, .. } = self;
        tokio::spawn(Timers::run(Arc::downgrade(&store)));
        tokio::spawn(Leases::run(Arc::downgrade(&store)));
        let acceptor = Acceptor::new(listener, &store);
        tokio::select! {
            never = acceptor.accept() => match never {},
            never = store.reservation.keep() => match never {},
            () = shutdown => {}
            () = store.shutdown.notified() => {}
        }
        store.shut_down();
        // Whoever has not taken note by then is cut off.
        let _ = timeout(store.options.shutdown_grace, acceptor.close()).await;
        Ok(())
    }
}
