//! What a connection may do before it has proven that it knows the authkey: one handshake of a few
//! kilobytes, health checks and reflection, and nothing else.

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
        let is_in = request
            .extensions()
            .get::<Arc<Connection>>()
            .is_some_and(|connection| connection.is_authenticated());
        if is_in {
            return Box::pin(self.inner.call(request));
        }
        let path = request.uri().path();
        if path.starts_with(MANAGER) && path != HANDSHAKE {
            let refusal = Status::unauthenticated(
                "this connection has not authenticated: complete Handshake on it first",
            );
            return Box::pin(std::future::ready(Ok(refusal.into_http())));
        }
        let limited = request.map(|body| Body::new(Limited::new(body, MAX_UNAUTHENTICATED_BYTES)));
        Box::pin(self.inner.call(limited))
    }
}
