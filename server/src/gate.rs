//! What a connection may ask for. Before it has proven that it knows the authkey: one handshake of a
//! few kilobytes, health checks and reflection, and nothing else. After that everything, but neither
//! too much at a time nor too often. One that speaks plain text where TLS is spoken: nothing at all.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use h2::{RecvStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body::Body as _;
use http_body_util::Limited;
use mp_manager_core::v1::Beat;
use mp_manager_proto::{
    http2::{Incoming, Messages, Outbound, send_body},
    tasks::Spawner,
};
use prost::Message;
use tokio::time::Instant;
use tokio_stream::{Stream, StreamExt, adapters::Map};
use tonic::{Status, body::Body, service::Routes};

use crate::{
    admission::Cause,
    beats::Beats,
    connection::Connection,
    host::Host,
    lock::lock,
    rate::{Bucket, Rate},
    stream::SessionStream,
};

/// All a client has to say before it is in; `Hello` and `Proof` take a few hundred bytes.
pub(crate) const MAX_UNAUTHENTICATED_BYTES: usize = 8 << 10;

/// Requests at a time, whose responses may have to be kept until they are read. A client of ours has
/// a session, its heartbeat, and for a moment the handshake.
const MAX_AT_A_TIME: usize = 8;
const MAX_UNAUTHENTICATED_AT_A_TIME: usize = 2;

/// How often requests may be made. Making many and giving them up at once (rapid reset) is cheap for
/// a client and not for us.
const REQUESTS: Rate = Rate { burst: 64, interval: Duration::from_millis(100) };

const MANAGER: &str = "/mp.manager.v1.Manager/";
const HANDSHAKE: &str = "/mp.manager.v1.Manager/Handshake";
const KEEP_ALIVE: &str = "/mp.manager.v1.Manager/KeepAlive";
const SESSION: &str = "/mp.manager.v1.Manager/Session";
/// The header that names the compression of messages.
const ENCODING: &str = "grpc-encoding";

/// Stands in front of all services, one for each connection.
pub(crate) struct Gate {
    connection: Arc<Connection>,
    routes: Routes,
    at_a_time: Arc<AtomicUsize>,
    requests: Mutex<Bucket>,
    is_cut_off: AtomicBool,
}

impl Gate {
    pub(crate) fn new(connection: Arc<Connection>, routes: Routes) -> Self {
        let (at_a_time, requests) = (Arc::default(), Mutex::default());
        Self { connection, routes, at_a_time, requests, is_cut_off: AtomicBool::new(false) }
    }

    /// Why this request cannot be served.
    fn check(&self, path: &str, at_a_time: usize) -> Result<(), Status> {
        if self.connection.binding().is_none() {
            return Err(Status::failed_precondition(
                "this manager speaks TLS: use an address that begins with tls://",
            ));
        }
        let is_in = self.connection.is_authenticated();
        if !is_in && path.starts_with(MANAGER) && path != HANDSHAKE {
            return Err(Status::unauthenticated(
                "this connection has not authenticated: complete Handshake on it first",
            ));
        }
        let max = if is_in { MAX_AT_A_TIME } else { MAX_UNAUTHENTICATED_AT_A_TIME };
        if at_a_time > max {
            return Err(Status::resource_exhausted(format!(
                "this connection has {max} requests at a time, which is the limit"
            )));
        }
        Ok(())
    }

    /// Counts a request; a connection that makes too many is closed.
    fn count(&self) {
        let now = Instant::now();
        let mut requests = lock(&self.requests);
        let is_too_often = requests.is_full(REQUESTS, now);
        requests.fill(REQUESTS, now);
        drop(requests);
        // What it has sent already may be many requests more.
        if is_too_often && !self.is_cut_off.swap(true, Ordering::Relaxed) {
            let permit = &self.connection.permit;
            permit.log_refusal(&self.connection.peer, "it makes requests too often");
            permit.failed();
            permit.count(Cause::RequestRate);
            permit.close();
        }
    }

    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Has a request answered by a task.
    pub(crate) fn answer(
        &self,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
        spawner: &Spawner,
    ) {
        self.count();
        if let Some(status) = not_grpc(&request) {
            return log_end(reject(respond, status));
        }
        let place = Place::take(&self.at_a_time);
        let answer = match self.check(request.uri().path(), place.at_a_time) {
            Err(refusal) => Answer::Refusal(refusal),
            Ok(()) => match request.uri().path() {
                SESSION => self.session(request),
                KEEP_ALIVE => Ok(Answer::Beats(request)),
                _ => Ok(Answer::Routed(self.route(request))),
            }
            .unwrap_or_else(Answer::Refusal),
        };
        match answer {
            Answer::Refusal(refusal) => log_end(refuse(respond, refusal)),
            Answer::Session(frames, end) => spawner.spawn_busy(async move {
                log_end(stream(respond, frames, SessionStream::hears_nothing).await);
                drop((end, place));
            }),
            // In its turn after the tasks that were woken before: one whose stream was reset has left its place then.
            Answer::Beats(request) => {
                let connection = Arc::clone(&self.connection);
                spawner.spawn(async move {
                    log_end(match beats(&connection, request) {
                        // They end when nothing more comes in.
                        Ok(beats) => stream(respond, beats, |_| false).await,
                        Err(refusal) => refuse(respond, refusal),
                    });
                    drop(place);
                });
            }
            Answer::Routed(response) => spawner.spawn(async move {
                log_end(serve(respond, response).await);
                drop(place);
            }),
        }
    }

    /// A session's stream, if the connection may have one.
    fn session(&self, request: Request<RecvStream>) -> Result<Answer, Status> {
        let host = host(&self.connection)?;
        let max = host.limits().max_frame_bytes;
        let messages = messages(request, max)?;
        let attachment = self
            .connection
            .open_stream()
            .ok_or_else(|| Status::failed_precondition("a connection has one Session stream"))?;
        let frames = SessionStream::new(host, &attachment, messages, Arc::clone(&self.connection));
        Ok(Answer::Session(frames, SessionEnd(Arc::clone(&self.connection))))
    }

    /// Passes a request on to the services behind the gate.
    fn route(&self, request: Request<RecvStream>) -> Routed {
        let request = request.map(Incoming::new);
        let mut request = if self.connection.is_authenticated() {
            request.map(Body::new)
        } else {
            request.map(|body| Body::new(Limited::new(body, MAX_UNAUTHENTICATED_BYTES)))
        };
        request.extensions_mut().insert(Arc::clone(&self.connection));
        let mut routes = self.routes.clone();
        Box::pin(async move { tower::Service::call(&mut routes, request).await })
    }
}

/// How a request is answered.
enum Answer {
    Refusal(Status),
    Session(SessionStream<Messages>, SessionEnd),
    Beats(Request<RecvStream>),
    Routed(Routed),
}

/// A session's beats, if the connection may have them.
fn beats(
    connection: &Arc<Connection>,
    request: Request<RecvStream>,
) -> Result<Beats<Map<Messages, Decode>>, Status> {
    let host = host(connection)?;
    let messages = messages(request, host.limits().max_frame_bytes)?;
    let opened = connection.open_beats().ok_or_else(|| {
        Status::failed_precondition("a connection has one KeepAlive stream at a time")
    })?;
    Ok(Beats::new(host, opened, messages.map(decode as _)))
}

fn host(connection: &Connection) -> Result<Arc<Host>, Status> {
    connection.host().ok_or_else(|| Status::unavailable("the manager has ended"))
}

/// How HTTP answers a request that gRPC does not make.
fn not_grpc(request: &Request<RecvStream>) -> Option<StatusCode> {
    if request.method() != Method::POST {
        return Some(StatusCode::METHOD_NOT_ALLOWED);
    }
    let kind = request.headers().get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    match kind.strip_prefix(b"application/grpc") {
        Some([] | [b'+' | b';', ..]) => None,
        _ => Some(StatusCode::UNSUPPORTED_MEDIA_TYPE),
    }
}

fn reject(mut respond: SendResponse<Bytes>, status: StatusCode) -> Result<(), h2::Error> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    respond.send_response(response, true).map(drop)
}

type Decode = fn(Result<Bytes, Status>) -> Result<Beat, Status>;

fn decode(message: Result<Bytes, Status>) -> Result<Beat, Status> {
    Beat::decode(message?).map_err(|error| Status::internal(format!("a beat: {error}")))
}

/// The messages of a request.
fn messages(request: Request<RecvStream>, max: usize) -> Result<Messages, Status> {
    let encoding = request.headers().get(ENCODING);
    if encoding.is_some_and(|encoding| encoding.as_bytes() != b"identity") {
        return Err(Status::unimplemented("messages are not to be compressed"));
    }
    Ok(Messages::of_request(request.into_body(), max))
}

type Routed = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

fn log_end(ended: Result<(), h2::Error>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a request ended");
    }
}

fn refuse(mut respond: SendResponse<Bytes>, refusal: Status) -> Result<(), h2::Error> {
    let response = refusal.into_http::<()>();
    respond.send_response(response, true).map(drop)
}

/// Sends a response as soon as it is there, unless the client gives the request up.
async fn serve(mut respond: SendResponse<Bytes>, mut routed: Routed) -> Result<(), h2::Error> {
    let response = poll_fn(|cx| match routed.as_mut().poll(cx) {
        Poll::Ready(response) => Poll::Ready(Ok(response)),
        Poll::Pending => respond.poll_reset(cx).map(|reason| Err(h2::Error::from(reason?))),
    });
    let Ok(response) = response.await?;
    let (head, body) = response.into_parts();
    let is_over = body.is_end_stream();
    let stream = respond.send_response(Response::from_parts(head, ()), is_over)?;
    if is_over { Ok(()) } else { send_body(body, stream).await }
}

/// Sends messages until they end or the client resets the stream. Reading from the client notices a reset as well,
/// so this looks for one once the client has ended its half.
async fn stream<S, M>(
    mut respond: SendResponse<Bytes>,
    mut messages: S,
    hears_nothing: impl Fn(&S) -> bool,
) -> Result<(), h2::Error>
where
    S: Stream<Item = Result<M, Status>> + Unpin,
    M: Message,
{
    let mut response = Response::new(());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let mut outbound = Outbound::new(respond.send_response(response, false)?);
    let ended = poll_fn(|cx| {
        let ended = outbound.poll_send_all(&mut messages, cx);
        if ended.is_pending() && hears_nothing(&messages) {
            return outbound.poll_reset(cx).map(|reason| Err(reason?.into()));
        }
        ended
    });
    let status = ended.await?;
    drop(messages);
    let mut trailers = HeaderMap::new();
    // It has no metadata, which alone could not be said.
    let _ = status.add_header(&mut trailers);
    outbound.end(Some(trailers))
}

/// A request's place among those of its connection, until its response is over.
struct Place {
    counter: Arc<AtomicUsize>,
    at_a_time: usize,
}

impl Place {
    fn take(counter: &Arc<AtomicUsize>) -> Self {
        let at_a_time = counter.fetch_add(1, Ordering::Relaxed) + 1;
        Self { counter: Arc::clone(counter), at_a_time }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.counter.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Tells the connection that its session's stream is over.
struct SessionEnd(Arc<Connection>);

impl Drop for SessionEnd {
    fn drop(&mut self) {
        self.0.session_is_over();
    }
}
