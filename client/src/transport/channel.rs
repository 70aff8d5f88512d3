//! HTTP/2 on one connection, which is authenticated by its handshake: there is never another one in its place.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use h2::{Reason, client};
use http::{HeaderValue, Request, Response, header::CONTENT_TYPE};
use mp_manager_proto::{
    frame::{EncodedFrame, decode_answer},
    http2::{DATA_FRAME_BUDGET, Incoming, Messages, Outbound, keep_alive, send_body},
    tasks::Spawner,
    v1::ServerFrame,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::{Status, body::Body};

use crate::session::call::Outgoing;

/// As the server's: below it many small unread messages count as an attack.
const CONNECTION_WINDOW: u32 = 16 << 20;
const STREAM_WINDOW: u32 = 4 << 20;
/// How many bytes of a request are buffered for a manager that does not read, beyond one message.
const MAX_SEND_BUFFER: usize = 1 << 20;
const MAX_HEADERS: u32 = 16 << 10;
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// The origin of requests. Managers are known by their authkey, so any name will do.
const ORIGIN: &str = "http://mp-manager";
const SESSION: &str = "http://mp-manager/mp.manager.v1.Manager/Session";
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// Makes requests on a connection, which goes on as long as its tasks are driven.
#[derive(Clone)]
pub(crate) struct Channel {
    requests: client::SendRequest<Bytes>,
    spawner: Spawner,
}

impl Channel {
    /// Speaks HTTP/2 on `io`. With `pings` the connection ends if the other end does not answer them.
    pub(crate) async fn open(
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        spawner: Spawner,
        pings: bool,
    ) -> Result<Self, h2::Error> {
        let (requests, mut connection) = client::Builder::new()
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_window_size(STREAM_WINDOW)
            .max_send_buffer_size(MAX_SEND_BUFFER)
            .max_header_list_size(MAX_HEADERS)
            .data_frame_budget(DATA_FRAME_BUDGET)
            .enable_push(false)
            .handshake(io)
            .await?;
        let pings = if pings { connection.ping_pong() } else { None };
        // Its streams say how it ended.
        let ended = async move { _ = connection.await };
        match pings {
            None => spawner.spawn_busy(ended),
            Some(pings) => spawner.spawn_busy(async move {
                tokio::select! {
                    biased;
                    () = ended => {}
                    () = keep_alive(pings, PING_INTERVAL, PING_TIMEOUT) => {}
                }
            }),
        }
        Ok(Self { requests, spawner })
    }

    /// Where requests go.
    pub(crate) fn origin() -> http::Uri {
        http::Uri::from_static(ORIGIN)
    }

    /// Opens the session's stream: what goes out on it, and the manager's frames.
    pub(super) async fn session(mut self, outgoing: Outgoing) -> Result<Session, Status> {
        let mut request = Request::post(SESSION).body(()).map_err(failed)?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, GRPC);
        headers.insert("te", HeaderValue::from_static("trailers"));
        poll_fn(|cx| self.requests.poll_ready(cx)).await.map_err(failed)?;
        let (response, stream) = self.requests.send_request(request, false).map_err(failed)?;
        let mut said = Said { outgoing: Some(outgoing), outbound: Outbound::new(stream) };
        let mut response = pin!(response);
        let response = poll_fn(|cx| {
            said.poll(cx);
            response.as_mut().poll(cx)
        })
        .await
        .map_err(failed)?;
        if let Some(status) = Status::from_header_map(response.headers()) {
            return Err(status);
        }
        if !response.status().is_success() {
            return Err(Status::unknown(format!("the answer is {}", response.status())));
        }
        Ok(Session { said, messages: Messages::of_response(response.into_body()) })
    }
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Status {
    Status::from_error(error.into())
}

/// For what tonic asks: the handshake, and beats.
impl tower_service::Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = h2::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, h2::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        self.requests.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (head, body) = request.into_parts();
        let sent = self.requests.send_request(Request::from_parts(head, ()), false);
        let (response, stream) = match sent {
            Ok(sent) => sent,
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        };
        // The response says how it went.
        self.spawner.spawn(async move { _ = send_body(body, stream).await });
        Box::pin(async move { Ok(response.await?.map(Incoming::new)) })
    }
}

/// A session's stream: says what there is to say when it is polled, and gives what the manager says.
pub(super) struct Session {
    said: Said,
    messages: Messages,
}

impl Stream for Session {
    type Item = Result<ServerFrame, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.said.poll(cx);
        let message = ready!(Pin::new(&mut self.messages).poll_next(cx));
        Poll::Ready(message.map(|message| {
            decode_answer(message?).map_err(|error| Status::internal(error.message))
        }))
    }
}

/// The frames that go out.
struct Said {
    /// `None` once nothing is said any more.
    outgoing: Option<Outgoing>,
    outbound: Outbound,
}

impl Said {
    /// Sends frames, as long as there are any and the manager has room for them. If that fails, so does the other
    /// half of the stream, which says why.
    fn poll(&mut self, cx: &mut Context<'_>) {
        if let Poll::Ready(Err(_)) = self.poll_all(cx) {
            self.outgoing = None;
        }
    }

    fn poll_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        while let Some(outgoing) = &mut self.outgoing {
            ready!(self.outbound.poll_ready(cx))?;
            match ready!(Pin::new(outgoing).poll_next(cx)).map(EncodedFrame::into_message) {
                Some(Some(message)) => self.outbound.give(message),
                // No request is as long.
                Some(None) => self.outbound.reset(Reason::INTERNAL_ERROR),
                None => {
                    self.outgoing = None;
                    self.outbound.end(None)?;
                }
            }
        }
        Poll::Pending
    }
}
