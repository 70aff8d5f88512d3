//! Servers that do not know the authkey: a client tells them nothing but its name.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use mp_manager::{Error, Manager, blocking};
use mp_manager_proto::{
    handshake::NONCE_LEN,
    v1::{
        Beat, Challenge, ClientFrame, HandshakeRequest, HandshakeResponse, Hello, Proof,
        ServerFrame, Suite, Welcome, handshake_request,
        handshake_response::Step,
        manager_server::{Manager as Service, ManagerServer},
    },
};
use mp_manager_tests::{AUTHKEY, raw::transcript, within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};
use tokio_stream::{
    Stream,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tonic::{Request, Response, Status, Streaming};

/// What a rogue makes of what it heard; `None` ends the handshake there.
#[derive(Clone, Copy)]
struct Rogue {
    challenge: fn() -> Option<Step>,
    welcome: fn(&Hello, &Challenge, &Proof) -> Option<Step>,
}

#[tokio::test]
async fn a_server_without_the_authkey_is_refused() {
    let honest = || Some(Step::Challenge(challenge()));
    let never = |_: &Hello, _: &Challenge, _: &Proof| panic!("it got a proof");
    let rogues = [
        Rogue { challenge: || None, welcome: never },
        Rogue { challenge: || Some(Step::Welcome(Welcome::default())), welcome: never },
        Rogue {
            challenge: || Some(Step::Challenge(Challenge { suite: 0, ..challenge() })),
            welcome: never,
        },
        Rogue {
            challenge: || {
                let server_nonce = Bytes::from_static(b"short");
                Some(Step::Challenge(Challenge { server_nonce, ..challenge() }))
            },
            welcome: never,
        },
        Rogue { challenge: honest, welcome: |_, _, _| None },
        Rogue { challenge: honest, welcome: |_, _, _| Some(Step::Challenge(challenge())) },
        Rogue { challenge: honest, welcome: |_, _, _| Some(Step::Welcome(Welcome::default())) },
        // The client's own proof, reflected.
        Rogue {
            challenge: honest,
            welcome: |_, _, proof| {
                let proof = proof.proof.clone();
                Some(Step::Welcome(Welcome { proof, ..Welcome::default() }))
            },
        },
        // A proof of another authkey.
        Rogue {
            challenge: honest,
            welcome: |hello, challenge, proof| {
                let mut welcome = Welcome { session: 1, ..Welcome::default() };
                let transcript = transcript(hello, challenge);
                welcome.proof =
                    transcript.server_proof(b"another authkey", &proof.proof, &welcome).into();
                Some(Step::Welcome(welcome))
            },
        },
    ];
    for (n, rogue) in rogues.into_iter().enumerate() {
        let (address, session_opened) = serve(rogue).await;
        let error = within(Manager::connect(&address, AUTHKEY)).await.unwrap_err();
        assert!(matches!(error, Error::AuthenticationFailed(_)), "rogue {n}: {error:?}");
        assert!(error.to_string().contains("authentication failed"), "rogue {n}: {error}");
        assert!(!session_opened.load(Ordering::SeqCst), "rogue {n} was trusted");
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let connecting = Manager::builder().authkey(AUTHKEY).connect_timeout(Duration::from_millis(50));
    let error = within(connecting.connect(&address)).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(error.to_string().contains("no answer within 50ms"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_manager_is_said_to_be_none() {
    let answers: [&[u8]; 4] =
        [b"", b"HTTP/1.1 200 OK\r\n\r\n", &[0xff; 100], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"];
    for answer in answers {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                // Reading first: closing with something unread would reset the connection.
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(answer).await;
            }
        });
        let error = within(Manager::connect(&address, AUTHKEY)).await.unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "{error:?}");
        assert!(error.to_string().contains("is it a manager"), "{error}");
        let blocking = move || blocking::Manager::connect(&address, AUTHKEY);
        let error = within(tokio::task::spawn_blocking(blocking)).await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    }
}

async fn serve(rogue: Rogue) -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let session_opened = Arc::new(AtomicBool::new(false));
    let service = RogueService { rogue, session_opened: Arc::clone(&session_opened) };
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(ManagerServer::new(service))
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    (address, session_opened)
}

struct RogueService {
    rogue: Rogue,
    session_opened: Arc<AtomicBool>,
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
        tokio::spawn(self.rogue.play(request.into_inner(), says));
        Ok(Response::new(ReceiverStream::new(responses)))
    }

    async fn session(
        &self,
        _: Request<Streaming<ClientFrame>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        self.session_opened.store(true, Ordering::SeqCst);
        Err(Status::unimplemented("a rogue"))
    }

    async fn keep_alive(
        &self,
        _: Request<Streaming<Beat>>,
    ) -> Result<Response<Self::KeepAliveStream>, Status> {
        Err(Status::unimplemented("a rogue"))
    }
}

impl Rogue {
    /// Ends where a step is missing.
    async fn play(
        self,
        mut hears: Streaming<HandshakeRequest>,
        says: mpsc::Sender<Result<HandshakeResponse, Status>>,
    ) -> Option<()> {
        let handshake_request::Step::Hello(hello) = hears.message().await.ok()??.step? else {
            return None;
        };
        let step = (self.challenge)()?;
        says.send(Ok(HandshakeResponse { step: Some(step) })).await.ok()?;
        let handshake_request::Step::Proof(proof) = hears.message().await.ok()??.step? else {
            return None;
        };
        let step = (self.welcome)(&hello, &challenge(), &proof)?;
        says.send(Ok(HandshakeResponse { step: Some(step) })).await.ok()
    }
}

fn challenge() -> Challenge {
    Challenge {
        suite: Suite::HmacSha256.into(),
        server_nonce: Bytes::from_static(&[9; NONCE_LEN]),
        server_id: 1,
        epoch: 1,
    }
}
