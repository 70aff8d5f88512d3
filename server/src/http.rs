//! HTTP/2 and the services on it.

use std::{sync::Arc, time::Duration};

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use mp_manager_core::v1::manager_server::ManagerServer;
use mp_manager_proto::FILE_DESCRIPTOR_SET;
use tonic::service::Routes;

use crate::{
    connection::{Connection, Io},
    gate::Gate,
    host::Host,
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
            .keep_alive_timeout(PING_TIMEOUT);
        Self { builder, routes: routes(host) }
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

fn routes(host: &Arc<Host>) -> Routes {
    let limits = host.limits();
    let service = ManagerServer::new(Service { host: Arc::clone(host) })
        .max_decoding_message_size(limits.max_frame_bytes)
        .max_encoding_message_size(usize::MAX);
    let (health, health_service) = tonic_health::server::health_reporter();
    tokio::spawn(async move { health.set_serving::<ManagerServer<Service>>().await });
    let routes = Routes::new(service).add_service(health_service);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1();
    match reflection {
        Ok(reflection) => routes.add_service(reflection),
        // Our own descriptors, checked by the tests: they are there or the build is broken.
        Err(_) => routes,
    }
    .prepare()
}
