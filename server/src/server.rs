//! A server from its beginning to its end.

use std::{
    future::Future,
    io,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mp_manager_core::v1::manager_server::ManagerServer;
use mp_manager_proto::{FILE_DESCRIPTOR_SET, address::Address};
use tokio::time::timeout;
use tonic::transport::server::Router;

use crate::{
    gate::GateLayer,
    leases::Leases,
    listener::{Incoming, Listener},
    options::Options,
    service::Service,
    store::Store,
    timers::Timers,
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
    /// The transport failed.
    #[error("serving failed: {0}")]
    Transport(#[from] tonic::transport::Error),
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
