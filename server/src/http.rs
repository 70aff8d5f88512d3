//! HTTP/2 and the services on it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use h2::server::{self, Handshake};
use mp_manager_proto::{
    FILE_DESCRIPTOR_SET,
    http2::{DATA_FRAME_BUDGET, keep_alive},
    service::manager_server::ManagerServer,
    tasks::{Part, Spawner, Tasks},
};
use tokio::runtime::Handle;
use tonic::{server::NamedService, service::Routes};
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};

use crate::{
    connection::{Connection, Io, Socket},
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
    routes: Routes,
    health: HealthReporter,
}

/// A connection that is served, with all its streams.
pub(crate) struct Serving {
    http: Accepting,
    streams: Tasks,
    supervision: Supervision,
}

/// Says when a connection that is served has to end.
pub(crate) type Supervision = Pin<Box<dyn Future<Output = End> + Send>>;

/// How a connection has to end that its client does not end.
pub(crate) enum End {
    /// Nothing more is said on it.
    AtOnce,
    /// It takes no more requests, and ends with those there are, or when this completes.
    Gracefully(Pin<Box<dyn Future<Output = ()> + Send>>),
}

/// HTTP/2 itself: gives away the streams that come in.
struct Accepting {
    state: State,
    gate: Gate,
    spawner: Spawner,
    is_closing: bool,
    /// Completes when the client does not answer.
    pings: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

enum State {
    Handshake(Handshake<Io, Bytes>),
    Open(server::Connection<Io, Bytes>),
}

impl Future for Serving {
    type Output = Result<(), h2::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { http, streams, supervision } = self.get_mut();
        streams.poll_with(cx, |part, cx| match part {
            Part::Future => http.poll(cx),
            Part::Side => http.poll_end(supervision, cx).map(Ok),
        })
    }
}

impl Drop for Serving {
    /// Leaves the streams that have not ended to the runtime, where they find the connection gone.
    fn drop(&mut self) {
        if !self.streams.is_empty()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(self.streams.take());
        }
    }
}

impl Accepting {
    /// Does as the supervision says, and looks whether the client is there; ready at the end.
    fn poll_end(&mut self, supervision: &mut Supervision, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pings) = &mut self.pings
            && pings.as_mut().poll(cx).is_ready()
        {
            let peer = &self.gate.connection().peer;
            tracing::debug!(peer, "connection ended: it does not answer pings");
            return Poll::Ready(());
        }
        while let End::Gracefully(rest) = ready!(supervision.as_mut().poll(cx)) {
            self.is_closing = true;
            if let State::Open(http) = &mut self.state {
                http.graceful_shutdown();
                self.spawner.wake(Part::Future);
            }
            *supervision = Box::pin(async move {
                rest.await;
                End::AtOnce
            });
        }
        Poll::Ready(())
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        loop {
            let http = match &mut self.state {
                State::Handshake(handshake) => {
                    let http = ready!(Pin::new(handshake).poll(cx))?;
                    self.state = State::Open(http);
                    self.begin();
                    continue;
                }
                State::Open(http) => http,
            };
            match ready!(http.poll_accept(cx)) {
                Some(Ok((request, respond))) => {
                    self.gate.answer(request, respond, &self.spawner);
                }
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Begins to serve a client that has completed the HTTP/2 handshake.
    fn begin(&mut self) {
        let State::Open(http) = &mut self.state else { return };
        if self.is_closing {
            http.graceful_shutdown();
        }
        // The system says when the other end of a unix socket is gone; one that is silent only pauses.
        if !self.gate.connection().is_unix() {
            let pings = http.ping_pong();
            self.pings =
                pings.map(|pings| Box::pin(keep_alive(pings, PING_INTERVAL, PING_TIMEOUT)) as _);
            self.spawner.wake(Part::Side);
        }
    }
}

impl Http {
    pub(crate) fn new(host: &Arc<Host>) -> Self {
        let health = HealthReporter::new();
        let routes = routes(host, &health);
        let serving = health.clone();
        tokio::spawn(async move { report(&serving, ServingStatus::Serving).await });
        Self { routes, health }
    }

    /// Tells whoever watches its health that nothing is served any more.
    pub(crate) async fn shut_down(&self) {
        report(&self.health, ServingStatus::NotServing).await;
    }

    /// Serves a connection until its client ends it, or its supervision.
    pub(crate) fn serve(
        &self,
        socket: Socket,
        connection: Arc<Connection>,
        supervision: Supervision,
    ) -> Serving {
        let (spawner, streams) = Tasks::new();
        let io = Io::new(socket, Arc::clone(&connection), spawner.clone());
        let gate = Gate::new(connection, self.routes.clone());
        let handshake = server::Builder::new()
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_window_size(STREAM_WINDOW)
            .max_send_buffer_size(MAX_SEND_BUFFER)
            .max_frame_size(MAX_FRAME)
            .data_frame_budget(DATA_FRAME_BUDGET)
            .max_header_list_size(MAX_HEADERS)
            .max_concurrent_streams(MAX_STREAMS)
            .max_local_error_reset_streams(Some(MAX_LOCAL_RESETS))
            .max_pending_accept_reset_streams(MAX_REMOTE_RESETS)
            .handshake(io);
        let state = State::Handshake(handshake);
        Serving {
            http: Accepting { state, gate, spawner, is_closing: false, pings: None },
            streams,
            supervision,
        }
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
