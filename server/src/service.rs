//! The gRPC service: opens the streams, and leaves the rest to them.

use std::{pin::Pin, sync::Arc};

use futures_core::Stream;
use mp_manager_core::v1::{
    Beat, ClientFrame, HandshakeRequest, HandshakeResponse, handshake_response,
    manager_server::Manager,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::{connection::Connection, handshake::Handshake, store::Store, stream::SessionStream};

/// The service `mp.manager.v1.Manager`.
pub(crate) struct Service {
    pub(crate) store: Arc<Store>,
}

#[tonic::async_trait]
impl Manager for Service {
    type HandshakeStream = ReceiverStream<Result<HandshakeResponse, Status>>;
    type SessionStream = SessionStream;
    type KeepAliveStream = Pin<Box<dyn Stream<Item = Result<Beat, Status>> + Send>>;

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        let connection = connection(&request)?;
        if !connection.begin_handshake() {
            return Err(Status::failed_precondition("a connection has one handshake"));
        }
        let (outbound, responses) = mpsc::channel(2);
        if let Some(refusal) = &connection.refusal {
            let step = Some(handshake_response::Step::Refused(refusal.clone()));
            let _ = outbound.send(Ok(HandshakeResponse { step })).await;
            return Ok(Response::new(ReceiverStream::new(responses)));
        }
        let inbound = request.into_inner();
        let handshake = Handshake { store: Arc::clone(&self.store), connection, inbound, outbound };
        tokio::spawn(handshake.run());
        Ok(Response::new(ReceiverStream::new(responses)))
    }

    async fn session(
        &self,
        request: Request<Streaming<ClientFrame>>,
    ) -> Result<Response<SessionStream>, Status> {
        let session = connection(&request)?
            .take_session()
            .ok_or_else(|| Status::failed_precondition("a connection has one Session stream"))?;
        let stream = SessionStream::new(Arc::clone(&self.store), session, request.into_inner());
        Ok(Response::new(stream))
    }

    async fn keep_alive(
        &self,
        request: Request<Streaming<Beat>>,
    ) -> Result<Response<Self::KeepAliveStream>, Status> {
        Ok(Response::new(Box::pin(request.into_inner())))
    }
}

fn connection<T>(request: &Request<T>) -> Result<Arc<Connection>, Status> {
    request
        .extensions()
        .get::<Arc<Connection>>()
        .cloned()
        .ok_or_else(|| Status::internal("the connection is not known"))
}
