//! What a connection may do before it has proven that it knows the authkey: one handshake of a few
//! kilobytes, health checks and reflection, and nothing else. One that speaks plain text where TLS is
//! spoken may do nothing at all.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body_util::Limited;
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use crate::connection::Connection;

/// All a client has to say before it is in; `Hello` and `Proof` take a few hundred bytes.
const MAX_UNAUTHENTICATED_BYTES: usize = 8 << 10;

const MANAGER: &str = "/mp.manager.v1.Manager/";
const HANDSHAKE: &str = "/mp.manager.v1.Manager/Handshake";

/// Puts the gate in front of all services.
#[derive(Clone)]
pub(crate) struct GateLayer;

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { inner }
    }
}

#[derive(Clone)]
pub(crate) struct Gate<S> {
    inner: S,
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Send,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let connection = request.extensions().get::<Arc<Connection>>();
        if connection.is_some_and(|connection| connection.is_authenticated()) {
            return Box::pin(self.inner.call(request));
        }
        if connection.is_none_or(|connection| connection.binding().is_none()) {
            return refuse(&Status::failed_precondition(
                "this manager speaks TLS: use an address that begins with tls://",
            ));
        }
        let path = request.uri().path();
        if path.starts_with(MANAGER) && path != HANDSHAKE {
            return refuse(&Status::unauthenticated(
                "this connection has not authenticated: complete Handshake on it first",
            ));
        }
        let limited = request.map(|body| Body::new(Limited::new(body, MAX_UNAUTHENTICATED_BYTES)));
        Box::pin(self.inner.call(limited))
    }
}

fn refuse<E: Send + 'static>(
    why: &Status,
) -> Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>> {
    Box::pin(std::future::ready(Ok(why.clone().into_http())))
}
