//! What a connection may ask for. Before it has proven that it knows the authkey: one handshake of a
//! few kilobytes, health checks and reflection, and nothing else. After that everything, but neither
//! too much at a time nor too often. One that speaks plain text where TLS is spoken: nothing at all.

use std::{
    convert::Infallible,
    future::{Future, ready},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Request, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tokio::time::Instant;
use tonic::{Status, body::Body, service::Routes};

use crate::{
    admission::Cause,
    connection::Connection,
    lock::lock,
    rate::{Bucket, Rate},
};

/// All a client has to say before it is in; `Hello` and `Proof` take a few hundred bytes.
const MAX_UNAUTHENTICATED_BYTES: usize = 8 << 10;

/// Requests at a time, whose responses may have to be kept until they are read. A client of ours has
/// a session, its heartbeat, and for a moment the handshake.
const MAX_AT_A_TIME: usize = 8;
const MAX_UNAUTHENTICATED_AT_A_TIME: usize = 2;

/// How often requests may be made. Making many and giving them up at once (rapid reset) is cheap for
/// a client and not for us.
const REQUESTS: Rate = Rate { burst: 64, interval: Duration::from_millis(100) };

const MANAGER: &str = "/mp.manager.v1.Manager/";
const HANDSHAKE: &str = "/mp.manager.v1.Manager/Handshake";
const SESSION: &str = "/mp.manager.v1.Manager/Session";

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
}

impl hyper::service::Service<Request<Incoming>> for Gate {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.count();
        let path = request.uri().path();
        let is_session = path == SESSION;
        let place = Place::take(&self.at_a_time);
        if let Err(refusal) = self.check(path, place.at_a_time) {
            return Box::pin(ready(Ok(refusal.into_http())));
        }
        let mut request = if self.connection.is_authenticated() {
            request.map(Body::new)
        } else {
            request.map(|body| Body::new(Limited::new(body, MAX_UNAUTHENTICATED_BYTES)))
        };
        request.extensions_mut().insert(Arc::clone(&self.connection));
        let (mut routes, connection) = (self.routes.clone(), Arc::clone(&self.connection));
        Box::pin(async move {
            let response = tower::Service::call(&mut routes, request).await?;
            // A refusal says so in its headers.
            let begins = is_session && Status::from_header_map(response.headers()).is_none();
            let session = begins.then(|| SessionEnd(connection));
            Ok(response.map(|body| keep_with(body, (place, session))))
        })
    }
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

/// A body that takes something with it when it is over.
fn keep_with(body: Body, kept: impl Send + 'static) -> Body {
    Body::new(body.map_frame(move |frame| {
        let _ = &kept;
        frame
    }))
}
