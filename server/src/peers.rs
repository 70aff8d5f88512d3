//! Programs that connect to each other without a manager: where they come in.
//!
//! It is as with a manager up to the proof of the authkey: addresses, TLS, admission, authkeys. What is said
//! after that is not looked at: the stream goes to whoever accepts it.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use mp_manager_proto::{
    address::Address,
    authkey::Authkey,
    connection::{
        ALPN, DEFAULT_MAX_MESSAGE_BYTES, FrameKind, HEADER_LEN, Header, MAX_HANDSHAKE_BYTES,
        handshake_frame, handshake_message,
    },
    error::{Error, Reason},
    handshake::{Binding, NONCE_LEN, Transcript},
    v1::{
        self, Challenge, HandshakeRequest, HandshakeResponse, Welcome, handshake_request,
        handshake_response::Step,
    },
    version,
};
use rustix::net::sockopt;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use crate::{
    acceptor::{BACK_OFF, dismiss, linger},
    admission::{Admission, Permit},
    authkeys::Authkeys,
    error::ServeError,
    handshake::{bound, hello, is_clients_failure, proof, random, suite, wrong_authkey},
    identity::Own,
    listener::{Accepted, Listener, Stream},
    lock::lock,
    options::Limits,
    tls::{Terminator, Tls, speaks_tls},
};

/// Connections whose handshakes go on, and those that nobody has accepted so far. Beyond it the system keeps
/// them waiting.
const MAX_WAITING: usize = 1024;

/// Those of them that have not authenticated. When there are more, the oldest has to go, so that they never
/// take up all places.
const MAX_STRANGERS: usize = 512;

/// Errors that nobody has heard of so far; beyond it they are only logged.
const MAX_ERRORS: usize = 16;

/// When a silent TCP connection is asked for a sign of life, how often, and after how many without an answer
/// it is given up: about as a manager's.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_PROBES: u32 = 2;

/// What a connection's bytes come and go by.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// How peers are let in.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PeerOptions {
    /// What peers must know. Any of them will do.
    pub authkeys: Vec<Authkey>,
    /// Maximum length of a message of theirs, which they are told.
    pub max_message_bytes: u32,
    /// How long a connection has for its handshake.
    pub handshake_timeout: Duration,
}

impl PeerOptions {
    /// The defaults, with an authkey.
    #[must_use]
    pub fn new(authkey: impl Into<Authkey>) -> Self {
        Self {
            authkeys: vec![authkey.into()],
            max_message_bytes: DEFAULT_MAX_MESSAGE_BYTES,
            handshake_timeout: Duration::from_secs(10),
        }
    }
}

/// A program that has proven the authkey.
pub struct Peer {
    /// What it says after its handshake, and is told.
    pub stream: Box<dyn Duplex>,
    /// Its address; its process, on a unix socket.
    pub name: String,
    /// Maximum length of a message that it takes.
    pub max_message_bytes: u32,
}

/// Why there is no peer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// One had another authkey.
    #[error("{name}: {error}")]
    Refused {
        /// Its address.
        name: String,
        /// What it was told.
        error: Error,
    },
    /// No more will come: the runtime that the listener was bound on is gone.
    #[error("the runtime that it was bound on is gone")]
    Stopped,
}

/// Listens for programs that know an authkey. Their handshakes go on whether somebody accepts or not, each by
/// itself.
///
/// It has to be dropped, and not only its runtime, for its socket to be closed at once.
pub struct PeerListener {
    address: Address,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl PeerListener {
    /// Binds to an address.
    ///
    /// # Errors
    /// As [`Server::bind`](crate::Server::bind): if the address cannot be listened on, or what is asked for is
    /// not safe there.
    pub async fn bind(address: &Address, options: PeerOptions) -> Result<Self, ServeError> {
        let server_id = getrandom::u64().map_err(ServeError::Random)?;
        let authkeys = Authkeys::new(options.authkeys, address, false, server_id)?;
        if matches!(address, Address::Tcp { .. }) && !address.is_local() {
            return Err(ServeError::PlainText { address: address.clone() });
        }
        let terminator = match address {
            Address::Tls { .. } => {
                Some(Arc::new(Terminator::new(&Tls::default(), Own::new(None), ALPN)?))
            }
            _ => None,
        };
        let (listener, bound) = Listener::bind(address, terminator)
            .await
            .map_err(|source| ServeError::Bind { address: address.clone(), source })?;
        let limits = Limits {
            max_connections: usize::MAX,
            max_connections_per_peer: usize::MAX,
            max_unauthenticated_connections: MAX_STRANGERS,
            ..Limits::default()
        };
        let shared = Arc::new(Shared {
            listener: Mutex::new(Some(listener)),
            door: Door {
                authkeys,
                server_id,
                max_message_bytes: options.max_message_bytes,
                handshake_timeout: options.handshake_timeout,
            },
            admission: Admission::new(&limits),
            places: Arc::new(Semaphore::new(MAX_WAITING)),
            waiting: Mutex::default(),
            changed: Notify::new(),
        });
        let task = tokio::spawn(run(End(Arc::clone(&shared))));
        Ok(Self { address: bound, shared, task })
    }

    /// Where it listens; a port of 0 has become the port that was picked.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The next peer. In no order if several wait for one. Cancel safe.
    ///
    /// # Errors
    /// If one was refused; others still come. If no more will come.
    pub async fn accept(&self) -> Result<Peer, PeerError> {
        self.shared.wait_for(Waiting::take).await
    }

    /// Completes when [`accept`](Self::accept) would not wait.
    pub async fn readable(&self) {
        self.shared.wait_for(|waiting| waiting.is_ready().then_some(())).await;
    }
}

impl Drop for PeerListener {
    fn drop(&mut self) {
        // Here and not in the task, which ends some time later: whoever binds again finds the address free.
        *lock(&self.shared.listener) = None;
        self.task.abort();
    }
}

struct Shared {
    /// None once it is closed.
    listener: Mutex<Option<Listener>>,
    door: Door,
    admission: Arc<Admission>,
    places: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
    changed: Notify,
}

/// What nobody has accepted so far.
#[derive(Default)]
struct Waiting {
    peers: VecDeque<(Peer, OwnedSemaphorePermit)>,
    errors: VecDeque<PeerError>,
    is_over: bool,
}

impl Waiting {
    fn take(&mut self) -> Option<Result<Peer, PeerError>> {
        if let Some((peer, _)) = self.peers.pop_front() {
            return Some(Ok(peer));
        }
        let over = || self.is_over.then_some(PeerError::Stopped);
        self.errors.pop_front().or_else(over).map(Err)
    }

    fn is_ready(&self) -> bool {
        self.is_over || !self.peers.is_empty() || !self.errors.is_empty()
    }
}

impl Shared {
    async fn wait_for<T>(&self, take: impl Fn(&mut Waiting) -> Option<T>) -> T {
        loop {
            let mut changed = pin!(self.changed.notified());
            // First: what comes after the look wakes it.
            changed.as_mut().enable();
            let taken = take(&mut lock(&self.waiting));
            match taken {
                Some(taken) => return taken,
                None => changed.await,
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut Waiting)) {
        change(&mut lock(&self.waiting));
        self.changed.notify_waiters();
    }

    /// The next connection; `None` once the listener is closed.
    async fn connection(&self) -> Option<io::Result<Accepted>> {
        poll_fn(|cx| match &*lock(&self.listener) {
            Some(listener) => listener.poll_accept(cx).map(Some),
            None => Poll::Ready(None),
        })
        .await
    }

    /// Lets a connection in, or not.
    async fn receive(
        self: Arc<Self>,
        accepted: Accepted,
        permit: Permit,
        place: OwnedSemaphorePermit,
    ) {
        let Accepted { stream, name, .. } = accepted;
        let letting_in = timeout(self.door.handshake_timeout, self.door.let_in(stream));
        let outcome = tokio::select! {
            outcome = letting_in => outcome,
            () = permit.closed() => return,
        };
        match outcome {
            Ok(Ok((stream, max_message_bytes))) => {
                permit.authenticated();
                let peer = Peer { stream, name, max_message_bytes };
                self.change(|waiting| waiting.peers.push_back((peer, place)));
            }
            Ok(Err(error)) => {
                if is_clients_failure(&error) {
                    permit.failed();
                }
                permit.log_refusal(&name, &error.message);
                if error.reason() == Reason::AuthenticationFailed {
                    self.change(|Waiting { errors, .. }| {
                        if errors.len() < MAX_ERRORS {
                            errors.push_back(PeerError::Refused { name, error });
                        }
                    });
                }
            }
            Err(_) => tracing::debug!(peer = name, "no handshake in time"),
        }
    }
}

/// Tells those who wait that no more will come, when it is dropped: also with a task that has not begun.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.change(|waiting| waiting.is_over = true);
    }
}

/// Accepts connections until the listener is closed.
async fn run(end: End) {
    let shared = &end.0;
    let mut handshakes = JoinSet::new();
    while let Ok(place) = Arc::clone(&shared.places).acquire_owned().await {
        let accepted = loop {
            tokio::select! {
                accepted = shared.connection() => match accepted {
                    Some(Ok(accepted)) => break accepted,
                    Some(Err(error)) => recover(&shared.admission, &error).await,
                    None => return,
                },
                Some(_) = handshakes.join_next() => {}
            }
        };
        match shared.admission.admit(accepted.peer) {
            Ok(permit) => {
                handshakes.spawn(Arc::clone(shared).receive(accepted, permit, place));
            }
            Err(refusal) => {
                shared.admission.log_refusal(accepted.peer, &accepted.name, &refusal.message);
                dismiss(&accepted.stream);
            }
        }
    }
}

async fn recover(admission: &Admission, error: &io::Error) {
    // What went wrong with one connection says nothing of the next one.
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        return;
    }
    tracing::warn!(%error, "cannot accept connections");
    admission.make_room();
    sleep(BACK_OFF).await;
}

/// What a handshake needs.
struct Door {
    authkeys: Authkeys,
    server_id: u64,
    max_message_bytes: u32,
    handshake_timeout: Duration,
}

impl Door {
    /// Returns what comes after the handshake, and the maximum length of what the other end takes.
    async fn let_in(&self, stream: Stream) -> Result<(Box<dyn Duplex>, u32), Error> {
        match stream {
            Stream::Unix(mut stream) => {
                let max = self.shake_hands(&mut stream, Binding::Unix).await?;
                Ok((Box::new(stream), max))
            }
            Stream::Tcp(mut stream) => {
                set_up(&stream).map_err(broken)?;
                let max = self.shake_hands(&mut stream, Binding::None).await?;
                Ok((Box::new(stream), max))
            }
            Stream::Tls(stream, terminator) => {
                set_up(&stream).map_err(broken)?;
                if !speaks_tls(&stream).await.map_err(broken)? {
                    return Err(refuse_plain_text(stream).await);
                }
                let (mut stream, binding) = match terminator.open(stream).await {
                    Ok(opened) => opened,
                    Err((error, wire)) => {
                        if let Some(wire) = wire {
                            linger(wire).await;
                        }
                        let message = format!("no TLS came about: {error}");
                        return Err(Error::new(Reason::Protocol, message));
                    }
                };
                let max = self.shake_hands(&mut stream, binding).await?;
                stream.get_mut().0.reader_mut().set_limit(u64::MAX);
                Ok((stream, max))
            }
        }
    }

    async fn shake_hands(&self, stream: &mut impl Duplex, binding: Binding) -> Result<u32, Error> {
        let exchanged = self.exchange(stream, binding).await;
        if let Err(error) = &exchanged {
            // Who has gone does not hear it.
            let _ = say(stream, Step::Refused(error.clone())).await;
        }
        exchanged
    }

    async fn exchange(&self, stream: &mut impl Duplex, binding: Binding) -> Result<u32, Error> {
        let hello = hello(hear(stream).await?)?;
        let version = version::agree(&hello)?;
        let suite = suite(&self.authkeys, &hello)?;
        let (taken, binding) = bound(binding, &hello)?;
        let challenge = Challenge {
            suite: suite.into(),
            server_nonce: random::<NONCE_LEN>()?,
            server_id: self.server_id,
            epoch: 0,
            version,
            binding: taken.into(),
        };
        let transcript = Transcript::of_connection(&hello, &challenge, &binding);
        say(stream, Step::Challenge(challenge)).await?;
        let proof = proof(hear(stream).await?)?;
        let authkey = self
            .authkeys
            .find(suite, |secret| transcript.verify_client(secret, &proof.proof))
            .await
            .map_err(|error| Error::new(Reason::Unspecified, format!("no proof: {error}")))?
            .ok_or_else(|| wrong_authkey(&binding))?;
        let max_frame_bytes = self.max_message_bytes;
        let limits = v1::Limits { max_frame_bytes, ..v1::Limits::default() };
        let mut welcome = Welcome { limits: Some(limits), ..Welcome::default() };
        welcome.proof = transcript.server_proof(authkey.secret(), &proof.proof, &welcome).into();
        say(stream, Step::Welcome(welcome)).await?;
        Ok(match hello.max_frame_bytes {
            0 => DEFAULT_MAX_MESSAGE_BYTES,
            max => max,
        })
    }
}

/// Small messages must not wait for one another, and a peer whose machine is gone must be missed.
fn set_up(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEP_ALIVE)?;
    sockopt::set_tcp_keepintvl(stream, KEEP_ALIVE)?;
    sockopt::set_tcp_keepcnt(stream, KEEP_ALIVE_PROBES)?;
    Ok(())
}

/// Tells a peer that speaks plain text that TLS is spoken here.
async fn refuse_plain_text(mut stream: TcpStream) -> Error {
    let error =
        Error::new(Reason::Protocol, "TLS is spoken here, and the client speaks plain text")
            .with_hint("connect to an address that begins with tls://");
    // What it says first is read: closing a connection with something unread would take the answer back.
    if hear(&mut stream).await.is_ok() {
        let _ = say(&mut stream, Step::Refused(error.clone())).await;
    }
    error
}

async fn hear(stream: &mut impl Duplex) -> Result<Option<handshake_request::Step>, Error> {
    let unreadable = |problem: String| {
        let message = format!("the handshake cannot be read: {problem}");
        Error::new(Reason::Protocol, message)
    };
    let mut header = [0; HEADER_LEN];
    stream.read_exact(&mut header).await.map_err(broken)?;
    let header = Header::decode(header, MAX_HANDSHAKE_BYTES)
        .map_err(|error| unreadable(error.to_string()))?;
    if header.kind != FrameKind::Handshake {
        return Err(unreadable("it has to come before any message".into()));
    }
    let mut payload = vec![0; header.len as usize];
    stream.read_exact(&mut payload).await.map_err(broken)?;
    let request: HandshakeRequest = handshake_message(&payload).map_err(unreadable)?;
    Ok(request.step)
}

async fn say(stream: &mut impl Duplex, step: Step) -> Result<(), Error> {
    let frame = handshake_frame(&HandshakeResponse { step: Some(step) });
    stream.write_all(&frame).await.map_err(broken)?;
    stream.flush().await.map_err(broken)
}

/// The connection ended before its handshake did, which is nobody's failure to authenticate.
fn broken(error: io::Error) -> Error {
    Error::new(Reason::Unspecified, format!("the connection broke off: {error}"))
}
