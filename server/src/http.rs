//! HTTP/2 and the services on it.

use std::{sync::Arc, time::Duration};

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use mp_manager_proto::{FILE_DESCRIPTOR_SET, service::manager_server::ManagerServer};
use tonic::{server::NamedService, service::Routes};
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};

use crate::{
    connection::{Connection, Io},
    gate::Gate,
    host::Host,
    reflection,
    service::Service,
};

/// What one connection may have in flight towards us. Below it many small unread messages would
/// count as an attack.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Well below the connection's, so that one stream that is not read does not stop the others.
const STREAM_WINDOW: u32 = 4 << 20;
/// What of a response is kept for a client that does not read, beyond one message.
const MAX_SEND_BUFFER: usize = 64 << 10;
const MAX_FRAME: u32 = 16 << 10;
const MAX_HEADERS: u32 = 16 << 10;
/// How many requests there may be at a time; the gate admits fewer, and refuses the others in words.
const MAX_STREAMS: u32 = 256;
/// How many requests we may have to break off, and how many the client may before they were begun,
/// until it is sent away.
const MAX_LOCAL_RESETS: usize = 1024;
const MAX_REMOTE_RESETS: usize = 20;
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Serves HTTP/2 on connections.
#[derive(Clone)]
pub(crate) struct Http {
    builder: http2::Builder<TokioExecutor>,
    routes: Routes,
    health: HealthReporter,
}

/// A connection that is served.
pub(crate) type Serving = http2::Connection<TokioIo<Io>, Gate, TokioExecutor>;

impl Http {
    pub(crate) fn new(host: &Arc<Host>) -> Self {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_stream_window_size(STREAM_WINDOW)
            .max_send_buf_size(MAX_SEND_BUFFER)
            .max_frame_size(MAX_FRAME)
            .max_header_list_size(MAX_HEADERS)
            .max_concurrent_streams(MAX_STREAMS)
            .max_local_error_reset_streams(MAX_LOCAL_RESETS)
            .max_pending_accept_reset_streams(MAX_REMOTE_RESETS)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            // gRPC has no use for it, and it cannot be made while the clock is before 1970.
            .auto_date_header(false);
        let health = HealthReporter::new();
        let routes = routes(host, &health);
        let serving = health.clone();
        tokio::spawn(async move { report(&serving, ServingStatus::Serving).await });
        Self { builder, routes, health }
    }

    /// Tells whoever watches its health that nothing is served any more.
    pub(crate) async fn shut_down(&self) {
        report(&self.health, ServingStatus::NotServing).await;
    }

    pub(crate) fn serve(&self, io: Io, connection: Arc<Connection>) -> Serving {
        let mut builder = self.builder.clone();
        if connection.is_unix() {
            // The system says when its other end is gone; one that is silent only pauses.
            builder.keep_alive_interval(None);
        }
        let gate = Gate::new(connection, self.routes.clone());
        builder.serve_connection(TokioIo::new(io), gate)
    }
}

fn routes(host: &Arc<Host>, health: &HealthReporter) -> Routes {
    let limits = host.limits();
    let service = ManagerServer::new(Service { host: Arc::clone(host) })
        .max_decoding_message_size(limits.max_frame_bytes)
        .max_encoding_message_size(usize::MAX);
    let health_service = HealthServer::new(HealthService::from_health_reporter(health.clone()));
    let routes = Routes::new(service).add_service(health_service);
    let descriptions = [FILE_DESCRIPTOR_SET, tonic_health::pb::FILE_DESCRIPTOR_SET];
    match reflection::service(&descriptions) {
        Ok(v1) => routes.add_service(reflection::V1Alpha(v1.clone())).add_service(v1),
        // Our own descriptions, checked by the tests: they are there or the build is broken.
        Err(_) => routes,
    }
    .prepare()
}

/// Has health checks say `status`, of the manager and of the server as a whole.
async fn report(health: &HealthReporter, status: ServingStatus) {
    for service in ["", <ManagerServer<Service> as NamedService>::NAME] {
        health.set_service_status(service, status).await;
    }
}
