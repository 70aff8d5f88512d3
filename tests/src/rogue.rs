//! Servers that only pretend to be managers.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use mp_manager_proto::{
    handshake::NONCE_LEN,
    v1::{
        Beat, Challenge, ClientFrame, HandshakeRequest, HandshakeResponse, Hello, Proof,
        ServerFrame, Suite, handshake_request,
        handshake_response::Step,
        manager_server::{Manager as Service, ManagerServer},
    },
    version,
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::{
    Stream,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tonic::{Request, Response, Status, Streaming};

/// What it says to a proof.
type Answer = dyn Fn(&Hello, &Challenge, &Proof) -> Option<Step> + Send + Sync;

/// What a rogue makes of what it heard; `None` ends the handshake there.
pub struct Rogue {
    challenge: Box<dyn Fn() -> Option<Step> + Send + Sync>,
    welcome: Box<Answer>,
}

impl Rogue {
    /// One that says this to a `Hello`, and that to a proof.
    pub fn new(
        challenge: impl Fn() -> Option<Step> + Send + Sync + 'static,
        welcome: impl Fn(&Hello, &Challenge, &Proof) -> Option<Step> + Send + Sync + 'static,
    ) -> Self {
        Self { challenge: Box::new(challenge), welcome: Box::new(welcome) }
    }

    /// Listens on a loopback port; its `HOST:PORT`, and what it hears.
    ///
    /// # Panics
    /// If there is no port.
    pub async fn serve(self) -> (String, Arc<Heard>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let heard = Arc::new(Heard::default());
        let service = RogueService { rogue: Arc::new(self), heard: Arc::clone(&heard) };
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(ManagerServer::new(service))
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        (address, heard)
    }

    /// Ends where a step is missing.
    async fn play(
        self: Arc<Self>,
        heard: Arc<Heard>,
        mut hears: Streaming<HandshakeRequest>,
        says: mpsc::Sender<Result<HandshakeResponse, Status>>,
    ) -> Option<()> {
        let handshake_request::Step::Hello(hello) = hears.message().await.ok()??.step? else {
            return None;
        };
        heard.hellos.lock().unwrap_or_else(PoisonError::into_inner).push(hello.clone());
        let step = (self.challenge)()?;
        says.send(Ok(HandshakeResponse { step: Some(step) })).await.ok()?;
        let handshake_request::Step::Proof(proof) = hears.message().await.ok()??.step? else {
            return None;
        };
        heard.proven.store(true, Ordering::SeqCst);
        let step = (self.welcome)(&hello, &challenge(), &proof)?;
        says.send(Ok(HandshakeResponse { step: Some(step) })).await.ok()
    }
}

/// A challenge as a server says it.
#[must_use]
pub fn challenge() -> Challenge {
    Challenge {
        suite: Suite::HmacSha256.into(),
        server_nonce: Bytes::from_static(&[9; NONCE_LEN]),
        server_id: 1,
        epoch: 1,
        version: version::NEWEST,
        ..Challenge::default()
    }
}

/// What a rogue was told.
#[derive(Debug, Default)]
pub struct Heard {
    hellos: Mutex<Vec<Hello>>,
    proven: AtomicBool,
    session_opened: AtomicBool,
}

impl Heard {
    /// What clients said first.
    #[must_use]
    pub fn hellos(&self) -> Vec<Hello> {
        self.hellos.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it got a proof.
    #[must_use]
    pub fn proven(&self) -> bool {
        self.proven.load(Ordering::SeqCst)
    }

    /// Whether somebody trusted it.
    #[must_use]
    pub fn session_opened(&self) -> bool {
        self.session_opened.load(Ordering::SeqCst)
    }
}

struct RogueService {
    rogue: Arc<Rogue>,
    heard: Arc<Heard>,
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Service for RogueService {
    type HandshakeStream = ReceiverStream<Result<HandshakeResponse, Status>>;
    type SessionStream = Responses<ServerFrame>;
    type KeepAliveStream = Responses<Beat>;

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        let (says, responses) = mpsc::channel(2);
        let (rogue, heard) = (Arc::clone(&self.rogue), Arc::clone(&self.heard));
        tokio::spawn(rogue.play(heard, request.into_inner(), says));
        Ok(Response::new(ReceiverStream::new(responses)))
    }

    async fn session(
        &self,
        _: Request<Streaming<ClientFrame>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        self.heard.session_opened.store(true, Ordering::SeqCst);
        Err(Status::unimplemented("a rogue"))
    }

    async fn keep_alive(
        &self,
        _: Request<Streaming<Beat>>,
    ) -> Result<Response<Self::KeepAliveStream>, Status> {
        Err(Status::unimplemented("a rogue"))
    }
}
