//! A client of an earlier build: its messages (`before/proto`), its handshake, and what it says in a session.
//! None of it changes; see `before/README.md`.
//!
//! It panics when the server does something that such a client cannot follow.

use std::collections::BTreeMap;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

use crate::{AUTHKEY, raw::RawConnection, within};

/// The messages of that build.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/mp.manager.v1.rs"));
}

use v1::{
    Beat, Challenge, ClientFrame, DirectoryOp, Empty, Error, HandshakeRequest, Hello, Process,
    Proof, Reconcile, Request, Resume, SeqRange, ServerFrame, Suite, Welcome, directory_op,
    handshake_request, handshake_response, manager_client::ManagerClient, reply, request,
};

/// The encoded `FileDescriptorSet` of that build.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/before.bin"));

/// A session of a client of that build.
pub struct Client {
    address: String,
    /// With its resume secret.
    session: (Resume, Vec<u8>),
    frames: mpsc::Sender<ClientFrame>,
    heard: Streaming<ServerFrame>,
    beats: mpsc::Sender<Beat>,
    answers: Streaming<Beat>,
    replies: BTreeMap<u64, reply::Result>,
    last_frame: u64,
    last_seq: u64,
    last_beat: u64,
}

impl Client {
    /// Connects to `HOST:PORT` or `unix:PATH`, and begins a session.
    pub async fn start(address: &str) -> Self {
        let (client, welcome) = Self::open(address, None).await;
        assert!(!welcome.resumed);
        client
    }

    /// The connection breaks, and the session is resumed on another one. The calls in `open` still wait.
    pub async fn reconnect(self, open: &[u64]) -> Self {
        let Self { address, session, last_seq, heard, answers, .. } = self;
        drop((heard, answers));
        let (mut client, welcome) = Self::open(&address, Some(session)).await;
        assert!(welcome.resumed);
        client.last_seq = last_seq;
        let reconcile = Some(Reconcile { open: open.to_vec(), cancelled: Vec::new() });
        client.send(ClientFrame { reconcile, ..ClientFrame::default() }).await;
        client
    }

    /// Somebody who has the secret of the same session resumes it.
    pub async fn resumed_by_another(&self) -> Self {
        let (client, welcome) = Self::open(&self.address, Some(self.session.clone())).await;
        assert!(welcome.resumed);
        client
    }

    async fn open(address: &str, resume: Option<(Resume, Vec<u8>)>) -> (Self, Welcome) {
        let connection = RawConnection::open(address).await;
        let binding: &[u8] = if address.starts_with("unix:") { b"unix" } else { b"none" };
        let mut client = ManagerClient::new(connection.channel());
        let (welcome, challenge) = within(shake_hands(&mut client, binding, resume)).await;
        let resume = Resume { session: welcome.session, epoch: challenge.epoch };
        let (frames, outbound) = mpsc::channel(8);
        let heard = client.session(ReceiverStream::new(outbound)).await.expect("no session");
        let (beats, outbound) = mpsc::channel(8);
        let answers = client.keep_alive(ReceiverStream::new(outbound)).await.expect("no beats");
        let client = Self {
            address: address.to_owned(),
            session: (resume, welcome.resume_secret.clone()),
            frames,
            heard: heard.into_inner(),
            beats,
            answers: answers.into_inner(),
            replies: BTreeMap::new(),
            last_frame: 0,
            last_seq: 0,
            last_beat: 0,
        };
        (client, welcome)
    }

    /// Says a beat, and hears the answer.
    pub async fn beat(&mut self) {
        self.last_beat += 1;
        let _ = self.beats.send(Beat { number: self.last_beat, ..Beat::default() }).await;
        let answer = within(self.answers.message()).await.expect("no beat").expect("no beat");
        assert_eq!(answer.number, self.last_beat);
    }

    /// Sends a frame, rightly numbered.
    pub async fn send(&mut self, frame: ClientFrame) {
        self.last_frame += 1;
        let _ = self.frames.send(ClientFrame { number: self.last_frame, ..frame }).await;
    }

    /// Sends a request as it is, but for its seq, which comes back.
    pub async fn request(&mut self, request: Request) -> u64 {
        self.last_seq += 1;
        let requests = vec![Request { seq: self.last_seq, ..request }];
        self.send(ClientFrame { requests, ..ClientFrame::default() }).await;
        self.last_seq
    }

    /// Asks something, takes the reply, and acknowledges it.
    pub async fn ask(&mut self, object: u64, op: request::Op) -> Result<reply::Result, Error> {
        self.ask_as_is(Request { object, op: Some(op), ..Request::default() }).await
    }

    /// The same with a request as it is.
    pub async fn ask_as_is(&mut self, request: Request) -> Result<reply::Result, Error> {
        let seq = self.request(request).await;
        let reply = self.reply(seq).await;
        self.acknowledge(seq).await;
        reply
    }

    /// Asks the directory.
    pub async fn directory(&mut self, op: directory_op::Op) -> Result<reply::Result, Error> {
        self.ask(0, request::Op::Directory(DirectoryOp { op: Some(op) })).await
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
            for reply in frame.replies {
                // What it does not know it cannot use.
                let result = reply.result.expect("a reply that this client does not know");
                self.replies.insert(reply.seq, result);
            }
        }
    }

    /// Acknowledges a reply.
    pub async fn acknowledge(&mut self, seq: u64) {
        let acks = vec![SeqRange { first: seq, last: seq }];
        self.send(ClientFrame { acks, ..ClientFrame::default() }).await;
    }

    /// The next frame; `None` once the stream is over.
    pub async fn hear(&mut self) -> Option<ServerFrame> {
        within(self.heard.message()).await.expect("the stream broke")
    }

    /// Why the session ended for this client.
    pub async fn farewell(&mut self) -> Option<Error> {
        let mut ended = None;
        while let Some(frame) = self.hear().await {
            ended = frame.ended.or(ended);
        }
        ended
    }

    /// Says goodbye, and hears that it is over.
    pub async fn end(mut self) {
        self.send(ClientFrame { goodbye: Some(Empty {}), ..ClientFrame::default() }).await;
        assert_eq!(self.farewell().await, None);
    }
}

async fn shake_hands(
    client: &mut ManagerClient<Channel>,
    binding: &[u8],
    resume: Option<(Resume, Vec<u8>)>,
) -> (Welcome, Challenge) {
    use {handshake_request::Step as Say, handshake_response::Step as Heard};
    let (steps, outbound) = mpsc::channel(2);
    let say = async |step| {
        let _ = steps.send(HandshakeRequest { step: Some(step) }).await;
    };
    let hello = Hello {
        version: 1,
        suites: vec![Suite::HmacSha256.into()],
        client_nonce: vec![7; 32],
        resume: resume.as_ref().map(|(resume, _)| *resume),
        lease_ms: 300_000,
        process: Some(Process { name: "before".into(), pid: 1, host: "host".into() }),
    };
    say(Say::Hello(hello.clone())).await;
    let heard = client.handshake(ReceiverStream::new(outbound)).await.expect("no handshake");
    let mut heard = heard.into_inner();
    let Some(Heard::Challenge(challenge)) = next(&mut heard).await else { panic!("no challenge") };
    assert_eq!((challenge.suite(), challenge.server_nonce.len()), (Suite::HmacSha256, 32));
    let mut transcript = transcript(&hello, &challenge, binding);
    let proof = mac(AUTHKEY.as_bytes(), b"mp-manager v1 client proof", &transcript);
    let resume = resume.map_or_else(Vec::new, |(_, secret)| {
        mac(&secret, b"mp-manager v1 resume proof", &transcript)
    });
    say(Say::Proof(Proof { proof: proof.clone(), resume })).await;
    let Some(Heard::Welcome(welcome)) = next(&mut heard).await else { panic!("no welcome") };
    add_welcome(&mut transcript, &proof, &welcome);
    let theirs = mac(AUTHKEY.as_bytes(), b"mp-manager v1 server proof", &transcript);
    assert_eq!(welcome.proof, theirs, "the server did not prove that it knows the authkey");
    (welcome, challenge)
}

async fn next(heard: &mut Streaming<v1::HandshakeResponse>) -> Option<handshake_response::Step> {
    let heard = within(heard.message()).await.expect("the handshake broke")?;
    match heard.step {
        Some(handshake_response::Step::Refused(refusal)) => {
            panic!("it was refused: {} ({})", refusal.message, refusal.hint)
        }
        step => step,
    }
}

fn transcript(hello: &Hello, challenge: &Challenge, binding: &[u8]) -> Sha256 {
    let mut all = Sha256::new();
    part(&mut all, b"mp-manager handshake v1");
    number(&mut all, hello.version.into());
    number(&mut all, hello.suites.len() as u64);
    for &suite in &hello.suites {
        number(&mut all, suite as u64);
    }
    part(&mut all, &hello.client_nonce);
    let resume = hello.resume.unwrap_or_default();
    number(&mut all, resume.session);
    number(&mut all, resume.epoch);
    number(&mut all, hello.lease_ms);
    let process = hello.process.clone().unwrap_or_default();
    part(&mut all, process.name.as_bytes());
    number(&mut all, process.pid.into());
    part(&mut all, process.host.as_bytes());
    number(&mut all, challenge.suite as u64);
    part(&mut all, &challenge.server_nonce);
    number(&mut all, challenge.server_id);
    number(&mut all, challenge.epoch);
    part(&mut all, binding);
    all
}

fn add_welcome(all: &mut Sha256, client_proof: &[u8], welcome: &Welcome) {
    part(all, client_proof);
    number(all, welcome.session);
    part(all, &welcome.resume_secret);
    number(all, welcome.lease_ms);
    number(all, welcome.resumed.into());
    number(all, welcome.ephemeral.into());
    let limits = welcome.limits.unwrap_or_default();
    for limit in [
        limits.max_open_requests,
        limits.max_requests_per_frame,
        limits.max_frame_bytes,
        limits.max_value_bytes,
        limits.max_key_bytes,
        limits.max_name_bytes,
    ] {
        number(all, limit.into());
    }
}

fn mac(secret: &[u8], label: &[u8], transcript: &Sha256) -> Vec<u8> {
    let mut key = [0; 32];
    Hkdf::<Sha256>::new(None, secret).expand(label, &mut key).expect("32 bytes");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length");
    mac.update(&transcript.clone().finalize());
    mac.finalize().into_bytes().to_vec()
}

fn part(all: &mut Sha256, bytes: &[u8]) {
    all.update((bytes.len() as u64).to_be_bytes());
    all.update(bytes);
}

fn number(all: &mut Sha256, n: u64) {
    part(all, &n.to_be_bytes());
}
