//! A client that says whatever it is told to: the generated stubs, and a handshake of its own.
//!
//! It panics when the server does something else than the test expects.

use std::{
    collections::BTreeMap,
    io,
    sync::{Mutex, PoisonError},
};

use bytes::{Buf, BufMut, Bytes};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use mp_manager_proto::{
    handshake::{Binding, NONCE_LEN, Transcript},
    tls::VERSIONS,
    v1::{
        Beat, Challenge, ClientFrame, DirectoryOp, Empty, Error, HandshakeRequest,
        HandshakeResponse, Hello, Kind, Lost, Open, Parameters, Proof, Reconcile, Request, Resume,
        SeqRange, ServerFrame, Suite, Welcome, directory_op, handshake_request, handshake_response,
        manager_client::ManagerClient, reply, request,
    },
    version,
};
use prost::Message;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status, Streaming,
    body::Body,
    client::Grpc,
    codec::{Codec, EncodeBuf, Encoder},
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstDecoder;

use crate::{AUTHKEY, tls};

/// As the library has them.
const CONNECTION_WINDOW: u32 = 16 << 20;
const STREAM_WINDOW: u32 = 4 << 20;

/// A connection on which nothing was said yet.
pub struct RawConnection {
    channel: Channel,
    peer: String,
    binding: Binding,
}

/// What it takes to resume a session.
#[derive(Debug, Clone)]
pub struct Ticket {
    /// Which session of which server.
    pub resume: Resume,
    /// What proves that it is one's own.
    pub secret: Bytes,
}

impl RawConnection {
    /// Connects to `HOST:PORT`, with TLS to `tls://HOST:PORT`, or over a unix socket to `unix:PATH`.
    pub async fn open(address: &str) -> Self {
        match address.strip_prefix("unix:") {
            Some(path) => {
                Self::over_unix(UnixStream::connect(path).await.expect("nobody listens")).await
            }
            None => Self::with(address, CONNECTION_WINDOW, STREAM_WINDOW).await,
        }
    }

    /// Connects over what leads to a unix socket.
    pub async fn over_unix<S>(stream: S) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let windows = (CONNECTION_WINDOW, STREAM_WINDOW);
        Self::over(stream, String::new(), Binding::Unix, windows).await
    }

    /// Connects with windows of its own.
    pub async fn with(address: &str, connection_window: u32, stream_window: u32) -> Self {
        let windows = (connection_window, stream_window);
        let local = |stream: &TcpStream| stream.local_addr().expect("it is connected").to_string();
        if let Some(address) = address.strip_prefix("tls://") {
            let stream = tls::connect(address, &VERSIONS).await.expect("no TLS came about");
            let (peer, binding) = (local(stream.get_ref().0), tls::binding(&stream));
            Self::over(stream, peer, binding, windows).await
        } else {
            let stream = TcpStream::connect(address).await.expect("nobody listens");
            let peer = local(&stream);
            Self::over(stream, peer, Binding::None, windows).await
        }
    }

    async fn over<S>(
        stream: S,
        peer: String,
        binding: Binding,
        (connection_window, stream_window): (u32, u32),
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let stream = Mutex::new(Some(stream));
        let connector = tower::service_fn(move |_| {
            let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
            let gone = || io::Error::from(io::ErrorKind::NotConnected);
            std::future::ready(stream.map(TokioIo::new).ok_or_else(gone))
        });
        let channel = Endpoint::from_static("http://mp-manager")
            .initial_connection_window_size(connection_window)
            .initial_stream_window_size(stream_window)
            .connect_with_connector(connector)
            .await
            .expect("it speaks no HTTP/2");
        Self { channel, peer, binding }
    }

    /// How the server names this connection in its log.
    #[must_use]
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// What a handshake on it is bound to.
    #[must_use]
    pub fn binding(&self) -> &Binding {
        &self.binding
    }

    /// What was said on this connection.
    #[must_use]
    pub fn transcript(&self, hello: &Hello, challenge: &Challenge) -> Transcript {
        Transcript::new(hello, challenge, &self.binding)
    }

    /// What its requests go through, for those that are not the manager's.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// The generated client.
    #[must_use]
    pub fn client(&self) -> ManagerClient<Channel> {
        ManagerClient::new(self.channel.clone())
    }

    /// Begins a handshake with this step.
    ///
    /// # Errors
    /// If the call is refused.
    pub async fn handshake(&self, first: handshake_request::Step) -> Result<Handshake, Status> {
        let (requests, outbound) = mpsc::channel(8);
        let _ = requests.send(HandshakeRequest { step: Some(first) }).await;
        let responses = self.client().handshake(ReceiverStream::new(outbound)).await?.into_inner();
        Ok(Handshake { requests: Some(requests), responses })
    }

    /// Gets in as an honest client does; says what was said.
    pub async fn authenticate(&self) -> (Hello, Proof, Welcome) {
        let (hello, _, proof, welcome) = self.authenticate_aloud().await;
        (hello, proof, welcome)
    }

    /// The same, with every word.
    pub async fn authenticate_aloud(&self) -> (Hello, Challenge, Proof, Welcome) {
        let hello = hello();
        let (mut handshake, challenge, proof) = self.prove(&hello, b"").await;
        (hello, challenge, proof, handshake.welcome().await)
    }

    /// Begins a session with a lease; how to resume it.
    pub async fn begin(&self, lease_ms: u64) -> (Welcome, Ticket) {
        let hello = Hello { lease_ms, ..hello() };
        let (mut handshake, challenge, _) = self.prove(&hello, b"").await;
        let welcome = handshake.welcome().await;
        let resume = Resume { session: welcome.session, epoch: challenge.epoch };
        let secret = welcome.resume_secret.clone();
        (welcome, Ticket { resume, secret })
    }

    /// Resumes a session.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn resume(&self, ticket: &Ticket) -> Result<Welcome, Error> {
        let hello = Hello { resume: Some(ticket.resume), ..hello() };
        let (mut handshake, ..) = self.prove(&hello, &ticket.secret).await;
        handshake.outcome().await
    }

    /// Says everything there is to say for getting in.
    async fn prove(&self, hello: &Hello, resume_secret: &[u8]) -> (Handshake, Challenge, Proof) {
        let first = handshake_request::Step::Hello(hello.clone());
        let mut handshake = self.handshake(first).await.expect("no handshake");
        let challenge = handshake.challenge().await;
        let transcript = self.transcript(hello, &challenge);
        let proof = transcript.client_proof(KEY).into();
        let resume = transcript.resume_proof(resume_secret).into();
        let proof = Proof { proof, resume };
        handshake.say(handshake_request::Step::Proof(proof.clone())).await;
        (handshake, challenge, proof)
    }

    /// Opens the `KeepAlive` stream.
    ///
    /// # Errors
    /// If the call is refused.
    pub async fn keep_alive(&self) -> Result<RawBeats, Status> {
        let (beats, outbound) = mpsc::channel(8);
        let answers = self.client().keep_alive(ReceiverStream::new(outbound)).await?.into_inner();
        Ok(RawBeats { beats, answers, last_number: 0 })
    }

    /// Opens the `Session` stream.
    ///
    /// # Errors
    /// If the call is refused.
    pub async fn session(&self) -> Result<RawSession, Status> {
        let (messages, outbound) = mpsc::channel(8);
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let request = tonic::Request::new(ReceiverStream::new(outbound));
        let path = http::uri::PathAndQuery::from_static("/mp.manager.v1.Manager/Session");
        let frames = grpc.streaming(request, path, RawCodec).await?.into_inner();
        let (replies, lost) = (BTreeMap::new(), Vec::new());
        Ok(RawSession { messages, frames, replies, lost, last_number: 0, last_seq: 0 })
    }

    /// Sends `body` to the `Session` method as it is, gRPC's own framing included, and gives back
    /// what the server said.
    pub async fn post(&self, body: impl Into<Bytes>) -> Vec<ServerFrame> {
        let request = http::Request::post("/mp.manager.v1.Manager/Session")
            .header(http::header::CONTENT_TYPE, "application/grpc")
            .header(http::header::TE, "trailers")
            .body(Body::new(Full::new(body.into())))
            .expect("it is a request");
        let response =
            tower::ServiceExt::oneshot(self.channel.clone(), request).await.expect("no response");
        let decoder = ProstDecoder::<ServerFrame>::default();
        let status = response.status();
        let mut frames = Streaming::new_response(decoder, response.into_body(), status, None, None);
        let mut heard = Vec::new();
        while let Ok(Some(frame)) = frames.message().await {
            heard.push(frame);
        }
        heard
    }
}

const KEY: &[u8] = AUTHKEY.as_bytes();

/// What an honest client says first.
#[must_use]
pub fn hello() -> Hello {
    Hello {
        version: version::NEWEST,
        min_version: version::OLDEST,
        suites: vec![Suite::HmacSha256.into()],
        client_nonce: Bytes::from_static(&[7; NONCE_LEN]),
        ..Hello::default()
    }
}

/// What was said on a TCP connection.
#[must_use]
pub fn transcript(hello: &Hello, challenge: &Challenge) -> Transcript {
    Transcript::new(hello, challenge, &Binding::None)
}

/// A handshake under way.
pub struct Handshake {
    requests: Option<mpsc::Sender<HandshakeRequest>>,
    responses: Streaming<HandshakeResponse>,
}

impl Handshake {
    /// Says a step.
    pub async fn say(&self, step: handshake_request::Step) {
        self.say_as_is(HandshakeRequest { step: Some(step) }).await;
    }

    /// Says something that may be no step.
    pub async fn say_as_is(&self, request: HandshakeRequest) {
        if let Some(requests) = &self.requests {
            let _ = requests.send(request).await;
        }
    }

    /// Says nothing more.
    pub fn fall_silent(&mut self) {
        self.requests = None;
    }

    /// Expects a challenge.
    pub async fn challenge(&mut self) -> Challenge {
        match self.next().await {
            Ok(Some(handshake_response::Step::Challenge(challenge))) => challenge,
            other => panic!("expected a challenge, got {other:?}"),
        }
    }

    /// Expects to be let in.
    pub async fn welcome(&mut self) -> Welcome {
        self.outcome().await.unwrap_or_else(|refusal| panic!("expected a welcome, got {refusal}"))
    }

    /// Expects to be let in or refused.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn outcome(&mut self) -> Result<Welcome, Error> {
        match self.next().await {
            Ok(Some(handshake_response::Step::Welcome(welcome))) => Ok(welcome),
            Ok(Some(handshake_response::Step::Refused(refusal))) => Err(refusal),
            other => panic!("expected an outcome, got {other:?}"),
        }
    }

    /// Expects to be refused, and the handshake to be over.
    pub async fn refusal(&mut self) -> Error {
        let refusal = match self.next().await {
            Ok(Some(handshake_response::Step::Refused(refusal))) => refusal,
            other => panic!("expected a refusal, got {other:?}"),
        };
        assert_eq!(self.next().await.expect("the stream ends well"), None);
        refusal
    }

    async fn next(&mut self) -> Result<Option<handshake_response::Step>, Status> {
        Ok(self.responses.message().await?.and_then(|response| response.step))
    }
}

/// A `KeepAlive` stream.
pub struct RawBeats {
    beats: mpsc::Sender<Beat>,
    answers: Streaming<Beat>,
    last_number: u64,
}

impl RawBeats {
    /// Sends a beat and expects the answer to it.
    ///
    /// # Errors
    /// If the stream ends instead.
    pub async fn beat(&mut self) -> Result<(), Status> {
        self.last_number += 1;
        let _ = self.beats.send(Beat { number: self.last_number, ..Beat::default() }).await;
        let answer = self.answers.message().await?;
        assert_eq!(answer.map(|beat| beat.number), Some(self.last_number));
        Ok(())
    }

    /// Says no more beats, and waits for the stream's end.
    ///
    /// # Errors
    /// With what the server says.
    pub async fn finish(self) -> Result<(), Status> {
        let Self { beats, mut answers, .. } = self;
        drop(beats);
        assert_eq!(answers.message().await?, None);
        Ok(())
    }

    /// Waits for the stream's end.
    ///
    /// # Errors
    /// With what the server says.
    pub async fn end(&mut self) -> Result<(), Status> {
        let answer = self.answers.message().await?;
        assert_eq!(answer, None);
        Ok(())
    }
}

/// A session that keeps to nothing by itself.
pub struct RawSession {
    messages: mpsc::Sender<Bytes>,
    frames: Streaming<ServerFrame>,
    replies: BTreeMap<u64, reply::Result>,
    /// Grants whose loss was told while replies were waited for.
    pub lost: Vec<Lost>,
    last_number: u64,
    last_seq: u64,
}

impl RawSession {
    /// A session that got in honestly.
    pub async fn start(address: &str) -> Self {
        let connection = RawConnection::open(address).await;
        connection.authenticate().await;
        connection.session().await.expect("no session")
    }

    /// Sends a message as it is.
    pub async fn send_bytes(&self, message: impl Into<Bytes>) {
        let _ = self.messages.send(message.into()).await;
    }

    /// Sends a frame as it is.
    pub async fn send_as_is(&self, frame: &ClientFrame) {
        self.send_bytes(frame.encode_to_vec()).await;
    }

    /// Sends a frame, rightly numbered.
    pub async fn send(&mut self, frame: ClientFrame) {
        self.last_number += 1;
        self.send_as_is(&ClientFrame { number: self.last_number, ..frame }).await;
    }

    /// Goes on after the requests of an older stream, in a session that was resumed.
    #[must_use]
    pub fn after(mut self, seq: u64) -> Self {
        self.last_seq = seq;
        self
    }

    /// Says what is known, as the first frame of a resumed session has to.
    pub async fn reconcile(&mut self, open: &[u64], cancelled: &[u64]) {
        let reconcile = Reconcile { open: open.to_vec(), cancelled: cancelled.to_vec() };
        self.send(ClientFrame { reconcile: Some(reconcile), ..ClientFrame::default() }).await;
    }

    /// Acknowledges everything up to `seq`.
    pub async fn acknowledge(&mut self, seq: u64) {
        self.acknowledge_only(0, seq).await;
    }

    /// Acknowledges the replies from `first` to `last`.
    pub async fn acknowledge_only(&mut self, first: u64, last: u64) {
        let acks = vec![SeqRange { first, last }];
        self.send(ClientFrame { acks, ..ClientFrame::default() }).await;
    }

    /// Says goodbye, and hears that it is over.
    pub async fn end(mut self) {
        self.send(ClientFrame { goodbye: Some(Empty {}), ..ClientFrame::default() }).await;
        assert_eq!(self.farewell().await, None);
    }

    /// Gives up calls.
    pub async fn cancel(&mut self, cancels: Vec<u64>) {
        self.send(ClientFrame { cancels, ..ClientFrame::default() }).await;
    }

    /// A request with the next seq, which waits as long as it takes.
    pub fn request(&mut self, object: u64, op: impl Into<Option<request::Op>>) -> Request {
        self.last_seq += 1;
        Request { seq: self.last_seq, object, op: op.into(), ..Request::default() }
    }

    /// Sends requests in one frame.
    pub async fn send_requests(&mut self, requests: Vec<Request>) {
        self.send(ClientFrame { requests, ..ClientFrame::default() }).await;
    }

    /// Sends one request; its seq.
    pub async fn send_request(&mut self, object: u64, op: impl Into<Option<request::Op>>) -> u64 {
        let request = self.request(object, op);
        let seq = request.seq;
        self.send_requests(vec![request]).await;
        seq
    }

    /// Sends a request and waits for its reply.
    pub async fn ask(
        &mut self,
        object: u64,
        op: impl Into<Option<request::Op>>,
    ) -> Result<reply::Result, Error> {
        let seq = self.send_request(object, op).await;
        self.reply(seq).await
    }

    /// The reply to a request.
    pub async fn reply(&mut self, seq: u64) -> Result<reply::Result, Error> {
        loop {
            match self.replies.remove(&seq) {
                Some(reply::Result::Error(error)) => return Err(error),
                Some(result) => return Ok(result),
                None => {}
            }
            let frame = self.hear().await.expect("the session ended before the reply");
            assert_eq!(frame.ended, None);
            self.lost.extend(frame.lost);
            for reply in frame.replies {
                let result = reply.result.expect("a reply is not empty");
                self.replies.insert(reply.seq, result);
            }
        }
    }

    /// Asks the directory.
    pub async fn directory(&mut self, op: directory_op::Op) -> Result<reply::Result, Error> {
        self.ask(0, request::Op::Directory(DirectoryOp { op: Some(op) })).await
    }

    /// Opens an object, or creates one without a name; its id.
    ///
    /// # Errors
    /// As the server says.
    pub async fn open(
        &mut self,
        name: Option<&str>,
        kind: Kind,
        parameters: Option<Parameters>,
    ) -> Result<u64, Error> {
        let name = name.map(str::to_owned);
        let open = Open { name, kind: kind.into(), parameters, ..Open::default() };
        match self.directory(directory_op::Op::Open(open)).await? {
            reply::Result::Opened(opened) => Ok(opened.r#ref.expect("it has a reference").object),
            other => panic!("expected an object, got {other:?}"),
        }
    }

    /// The next frame; `None` once the stream is over.
    pub async fn hear(&mut self) -> Option<ServerFrame> {
        self.frames.message().await.unwrap_or_else(|status| panic!("the stream broke: {status}"))
    }

    /// Why the server ended the session; `None` if it does not say.
    pub async fn farewell(&mut self) -> Option<Error> {
        let mut ended = None;
        while let Some(frame) = self.hear().await {
            ended = frame.ended.or(ended);
        }
        ended
    }
}

/// Sends bytes as messages, and receives the server's frames.
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = ServerFrame;
    type Encoder = RawEncoder;
    type Decoder = ProstDecoder<ServerFrame>;

    fn encoder(&mut self) -> RawEncoder {
        RawEncoder
    }

    fn decoder(&mut self) -> ProstDecoder<ServerFrame> {
        ProstDecoder::default()
    }
}

struct RawEncoder;

impl Encoder for RawEncoder {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message.chunk());
        Ok(())
    }
}
