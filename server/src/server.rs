//! A server from its beginning to its end.

use std::{
    future::Future,
    io,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mp_manager_core::v1::manager_server::ManagerServer;
use mp_manager_proto::{FILE_DESCRIPTOR_SET, address::Address, authkey::STRONG_LEN};
use tokio::time::timeout;
use tonic::transport::server::Router;

use crate::{
    authkeys::Authkeys,
    gate::GateLayer,
    handle::Handle,
    leases::Leases,
    listener::{Incoming, Listener},
    options::Options,
    service::Service,
    store::Store,
    timers::Timers,
    tls::{Terminator, TlsError},
};

/// What one connection may have in flight towards us. Below it many small unread messages would
/// count as an attack.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Well below the connection's, so that one stream that is not read does not stop the others.
const STREAM_WINDOW: u32 = 4 << 20;
const MAX_STREAMS: u32 = 256;
const MAX_RESETS: usize = 1024;
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

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
    /// No authkey was given.
    #[error("a server needs an authkey")]
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
    /// The system has no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
    /// The transport failed.
    #[error("serving failed: {0}")]
    Transport(#[from] tonic::transport::Error),
}

impl Server {
    /// Binds to an address. Clients can connect from now on; they are served by
    /// [`run`](Self::run).
    ///
    /// # Errors
    /// If the address cannot be listened on, there is no authkey, or what is asked for is not safe
    /// there.
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
        let (listener, bound) = Listener::bind(address, terminator.clone())
            .await
            .map_err(|source| ServeError::Bind { address: address.clone(), source })?;
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let epoch = u64::try_from(epoch).unwrap_or(u64::MAX / 2);
        let store = Store::new(options, authkeys, server_id, epoch, random()?);
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
    /// If the transport fails.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        let Self { store, listener, .. } = self;
        tokio::spawn(Timers::run(Arc::downgrade(&store)));
        tokio::spawn(Leases::run(Arc::downgrade(&store)));
        let incoming =
            Incoming::new(listener, Arc::downgrade(&store), store.options.handshake_timeout);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = router(&store).serve_with_incoming_shutdown(incoming, async {
            let _ = stopped.await;
        });
        tokio::pin!(serving);
        tokio::select! {
            result = &mut serving => return Ok(result?),
            () = shutdown => {}
            () = store.shutdown.notified() => {}
        }
        store.shut_down();
        drop(stop);
        match timeout(store.options.shutdown_grace, serving).await {
            Ok(result) => Ok(result?),
            // Whoever has not taken note by now is cut off.
            Err(_) => Ok(()),
        }
    }
}

fn router(
    store: &Arc<Store>,
) -> Router<tower::layer::util::Stack<GateLayer, tower::layer::util::Identity>> {
    let limits = store.limits();
    let service = ManagerServer::new(Service { store: Arc::clone(store) })
        .max_decoding_message_size(limits.max_frame_bytes)
        .max_encoding_message_size(usize::MAX);
    let (health, health_service) = tonic_health::server::health_reporter();
    tokio::spawn(async move { health.set_serving::<ManagerServer<Service>>().await });
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        // Our own descriptors, checked by the tests: they are there or the build is broken.
        .ok();
    tonic::transport::Server::builder()
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_stream_window_size(STREAM_WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        .http2_max_local_error_reset_streams(Some(MAX_RESETS))
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .layer(GateLayer)
        .add_service(service)
        .add_service(health_service)
        .add_optional_service(reflection)
}
