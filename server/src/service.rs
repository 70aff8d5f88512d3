//! The handshake, as tonic serves it. The gate serves sessions and beats.

use std::sync::Arc;

use mp_manager_core::v1::{HandshakeRequest, HandshakeResponse, handshake_response};
use mp_manager_proto::service::manager_server::Manager;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::{connection::Connection, handshake::Handshake, host::Host};

/// The service `mp.manager.v1.Manager`.
pub(crate) struct Service {
    pub(crate) host: Arc<Host>,
}

#[tonic::async_trait]
impl Manager for Service {
    type HandshakeStream = ReceiverStream<Result<HandshakeResponse, Status>>;

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
        let handshake = Handshake { host: Arc::clone(&self.host), connection, inbound, outbound };
        tokio::spawn(handshake.run());
        Ok(Response::new(ReceiverStream::new(responses)))
    }
}

fn connection<T>(request: &Request<T>) -> Result<Arc<Connection>, Status> {
    request
        .extensions()
        .get::<Arc<Connection>>()
        .cloned()
        .ok_or_else(|| Status::internal("the connection is not known"))
}
