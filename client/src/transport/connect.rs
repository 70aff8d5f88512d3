//! Getting in: a connection, the handshake on it, and the session's stream.

use std::{io, path::PathBuf, time::Duration};

use bytes::Bytes;
use mp_manager_proto::{
    address::Address,
    authkey::Authkey,
    handshake::{Binding, NONCE_LEN, Transcript},
    suite,
    tasks::{Spawner, Tasks},
    v1::{
        Challenge, Error as Refusal, HandshakeRequest, HandshakeResponse, Hello, Process, Proof,
        Reason, Resume, Suite, Welcome, handshake_request, handshake_response::Step,
        manager_client::ManagerClient,
    },
    version,
};
#[cfg(feature = "embedded")]
use mp_manager_server::Inside;
use rustls::pki_types::CertificateDer;
use tokio::{
    net::{TcpStream, UnixStream},
    sync::mpsc,
    time::timeout,
};
use tonic::{Code, Status, Streaming};

use super::{
    authkeys::Authkeys,
    channel::Channel,
    tls::{Connector, Secured, TlsFailure, Trouble},
};
use crate::{
    error::{Context, Error, Result},
    session::{
        fork::{Home, HomeBound},
        link::Session,
    },
};

/// How to connect, and how hard to try.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: Address,
    pub(crate) authkeys: Authkeys,
    pub(crate) connector: Connector,
    /// For one attempt.
    pub(crate) timeout: Duration,
    pub(crate) process_name: Option<String>,
    /// The lease to ask for; the manager's default without.
    pub(crate) lease: Option<Duration>,
    /// For how long to try again when a connection is gone.
    pub(crate) reconnect_timeout: Duration,
    /// Whether to go on with a new session when one is lost.
    pub(crate) reopen: bool,
    /// The manager is in this process: the session begins there. Another one, if it is lost, begins at the
    /// address, as anybody else's.
    #[cfg(feature = "embedded")]
    pub(crate) inside: Option<Inside>,
}

impl Target {
    /// Whether the manager is in this process.
    pub(crate) fn is_embedded(&self) -> bool {
        #[cfg(feature = "embedded")]
        return self.inside.is_some();
        #[cfg(not(feature = "embedded"))]
        false
    }
}

/// A connection that is authenticated.
pub(crate) struct Authenticated {
    pub(crate) client: ManagerClient<Channel>,
    /// What the client speaks on.
    pub(crate) channel: Channel,
    /// The channel goes on as long as these are driven.
    pub(crate) tasks: Tasks,
    pub(crate) welcome: Welcome,
    pub(crate) challenge: Challenge,
    /// When it was asked for: the manager heard of us no earlier.
    pub(crate) asked: Duration,
    /// What the manager showed with TLS. Its proof of the authkey is bound to it.
    pub(crate) certificate: Option<CertificateDer<'static>>,
}

/// Connects, and gets in: with the session of before, if there was one and the manager has it.
pub(crate) async fn authenticate(target: &Target, session: &Session) -> Result<Authenticated> {
    let began = session.now();
    let Ok(result) = timeout(target.timeout, get_in(target, session)).await else {
        let allowed = target.timeout;
        let waited = session.now().saturating_sub(began);
        let message = if waited < allowed / 2 {
            format!(
                "the runtime's clock said that {allowed:?} were over after {waited:.1?}: it is paused \
                 (use Builder::background_thread(), which gives the connection a thread and a clock of \
                 its own)"
            )
        } else {
            format!("no answer within {allowed:?} (is it a manager that listens there?)")
        };
        return Err(cannot_connect(&target.address, message));
    };
    result
}

/// Why an authkey did not get us in.
enum Failed {
    /// It is not the server's. Another one may be.
    Authkey(Error),
    Otherwise(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Otherwise(error)
    }
}

/// Connects and authenticates, with one authkey after the other until the server takes one.
async fn get_in(target: &Target, session: &Session) -> Result<Authenticated> {
    let mut refused = None;
    target.authkeys.reread().await;
    for authkey in target.authkeys.in_turn() {
        // A connection has one handshake.
        let (spawner, mut tasks) = Tasks::new();
        let opened = tasks.drive(open_channel(target, session.home, spawner)).await?;
        let channel = opened.channel;
        let mut client = ManagerClient::with_origin(channel.clone(), Channel::origin())
            .max_encoding_message_size(usize::MAX);
        let asked = session.now();
        let resume = session.resume();
        let shaking = shake_hands(&mut client, target, &authkey, &opened.binding, resume);
        match tasks.drive(shaking).await {
            Ok((welcome, challenge)) => {
                target.authkeys.accept(authkey);
                // The server has proven itself, and says no more than it was asked.
                let client = client.max_decoding_message_size(usize::MAX);
                let certificate = opened.certificate;
                return Ok(Authenticated {
                    client,
                    channel,
                    tasks,
                    welcome,
                    challenge,
                    asked,
                    certificate,
                });
            }
            Err(Failed::Authkey(error)) => refused = refused.or(Some(error)),
            Err(Failed::Otherwise(error)) => {
                let cause =
                    opened.trouble.and_then(|trouble| explain_tls(&target.address, &trouble));
                return Err(cause.unwrap_or(error));
            }
        }
    }
    // There is at least one authkey.
    Err(refused.unwrap_or_else(|| Error::Configuration("no authkey".into())))
}

/// A channel that is one connection: it never connects again by itself, as another connection
/// would not be authenticated.
struct Opened {
    channel: Channel,
    binding: Binding,
    /// What goes wrong with its TLS.
    trouble: Option<Trouble>,
    certificate: Option<CertificateDer<'static>>,
}

async fn open_channel(target: &Target, home: Home, spawner: Spawner) -> Result<Opened> {
    let address = &target.address;
    let mut certificate = None;
    let (opened, binding, trouble) = match address {
        Address::Tcp { .. } if target.connector.tls.is_set() && !address.is_local() => {
            return Err(Error::Configuration(format!(
                "certificates are given, but {address} is plain text: use tls:// instead of tcp://"
            )));
        }
        Address::Tcp { host, port } => {
            let stream = connect_tcp(address, host, *port, home).await?;
            (Channel::open(stream, spawner, true).await, Binding::None, None)
        }
        Address::Tls { host, port } => {
            let stream = connect_tcp(address, host, *port, home).await?;
            let connected = target.connector.connect(host, &plain(host, *port), stream).await;
            let secured = connected.map_err(|failure| match failure {
                TlsFailure::Configuration(problem) => Error::Configuration(problem),
                TlsFailure::Connection(problem) => cannot_connect(address, problem),
            })?;
            let Secured { stream, binding, certificate: shown } = secured;
            certificate = Some(shown);
            let trouble = stream.trouble.clone();
            (Channel::open(stream, spawner, true).await, binding, Some(trouble))
        }
        Address::Unix(path) => {
            let stream = UnixStream::connect::<&PathBuf>(path)
                .await
                .map_err(|error| no_connection(address, &error))?;
            // The system says when the other end is gone; one that is silent only pauses, and closing the socket
            // would end the session.
            let stream = HomeBound::new(stream, home);
            (Channel::open(stream, spawner, false).await, Binding::Unix, None)
        }
        other => return Err(cannot_connect(other, "this kind of address is not known".into())),
    };
    match opened {
        Ok(channel) => Ok(Opened { channel, binding, trouble, certificate }),
        Err(error) => Err(cannot_connect(address, format!("{error} (is it a manager?)"))),
    }
}

async fn connect_tcp(
    address: &Address,
    host: &str,
    port: u16,
    home: Home,
) -> Result<HomeBound<TcpStream>> {
    TcpStream::connect((host, port))
        .await
        .and_then(|stream| stream.set_nodelay(true).map(|()| HomeBound::new(stream, home)))
        .map_err(|error| no_connection(address, &error))
}

/// The same place, without TLS.
pub(crate) fn plain(host: &str, port: u16) -> String {
    Address::Tcp { host: host.into(), port }.to_string()
}

fn explain_tls(address: &Address, trouble: &Trouble) -> Option<Error> {
    let Address::Tls { host, port } = address else { return None };
    let cause = trouble.explain(host, &plain(host, *port))?;
    Some(cannot_connect(address, cause))
}

async fn shake_hands(
    client: &mut ManagerClient<Channel>,
    target: &Target,
    authkey: &Authkey,
    binding: &Binding,
    resume: Option<(Resume, Bytes)>,
) -> Result<(Welcome, Challenge), Failed> {
    let (requests, outbound) = mpsc::channel(2);
    let say = async |step| {
        // A server that has gone is noticed when its answer does not come.
        let _ = requests.send(HandshakeRequest { step: Some(step) }).await;
    };
    let hello =
        Hello { resume: resume.as_ref().map(|(resume, _)| *resume), ..hello(target, authkey)? };
    say(handshake_request::Step::Hello(hello.clone())).await;
    let outbound = Requests(outbound);
    let mut inbound = client
        .handshake(outbound)
        .await
        .map_err(|status| not_a_manager(&target.address, &status))?
        .into_inner();
    let Step::Challenge(challenge) = next_step(&mut inbound, target).await? else {
        return Err(authentication_failed(target, "the server sent no challenge").into());
    };
    check(&hello, &challenge, context(target))?;
    let transcript = Transcript::new(&hello, &challenge, binding);
    let secret = secret(authkey, &challenge).await?;
    let proof = transcript.client_proof(secret.secret());
    say(handshake_request::Step::Proof(Proof {
        proof: Bytes::copy_from_slice(&proof),
        resume: resume
            .map_or_else(Bytes::new, |(_, secret)| transcript.resume_proof(&secret).into()),
    }))
    .await;
    let answer = next_step(&mut inbound, target).await.map_err(|error| match error {
        Error::AuthenticationFailed(_) => Failed::Authkey(error),
        error => Failed::Otherwise(error),
    })?;
    let Step::Welcome(welcome) = answer else {
        return Err(authentication_failed(target, "the server sent no welcome").into());
    };
    if !transcript.verify_server(secret.secret(), &proof, &welcome) {
        let message = "the server did not prove that it knows the authkey; it may be an impostor";
        return Err(authentication_failed(target, message).into());
    }
    Ok((welcome, challenge))
}

/// Whether a challenge is one that we can answer.
pub(crate) fn check(hello: &Hello, challenge: &Challenge, context: Context) -> Result<()> {
    if let Err(refusal) = version::agreed(hello, challenge) {
        return Err(Error::refused(refusal, context));
    }
    let impostor = if !hello.suites.contains(&challenge.suite) {
        "the server asks for a proof that was not offered; it may be an impostor"
    } else if challenge.server_nonce.len() != NONCE_LEN {
        "the server's challenge is not acceptable"
    } else {
        return Ok(());
    };
    Err(not_authenticated(impostor, context))
}

/// What to prove: the authkey, or what it is stretched to.
pub(crate) async fn secret(authkey: &Authkey, challenge: &Challenge) -> Result<Authkey> {
    if challenge.suite() != Suite::Argon2idHmacSha256 {
        return Ok(authkey.clone());
    }
    let (authkey, server_id) = (authkey.clone(), challenge.server_id);
    tokio::task::spawn_blocking(move || authkey.stretched(server_id))
        .await
        .map_err(|error| Error::Configuration(format!("cannot stretch the authkey: {error}")))
}

/// The client's half of the handshake, as a stream.
struct Requests(mpsc::Receiver<HandshakeRequest>);

impl futures_core::Stream for Requests {
    type Item = HandshakeRequest;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<HandshakeRequest>> {
        self.0.poll_recv(cx)
    }
}

async fn next_step(inbound: &mut Streaming<HandshakeResponse>, target: &Target) -> Result<Step> {
    match inbound.message().await {
        Ok(Some(HandshakeResponse { step: Some(Step::Refused(refusal)) })) => {
            Err(Error::refused(refusal, context(target)))
        }
        Ok(Some(HandshakeResponse { step: Some(step) })) => Ok(step),
        Ok(_) => Err(authentication_failed(target, "the server broke the handshake off")),
        Err(status) => Err(not_a_manager(&target.address, &status)),
    }
}

fn hello(target: &Target, authkey: &Authkey) -> Result<Hello> {
    Ok(Hello {
        lease_ms: lease_ms(target),
        process: Some(process(target)),
        ..greeting(authkey, &target.address)?
    })
}

/// The lease to ask for; 0 for the manager's default.
pub(crate) fn lease_ms(target: &Target) -> u64 {
    target.lease.map_or(0, |lease| u64::try_from(lease.as_millis()).unwrap_or(u64::MAX).max(1))
}

/// How this process is called.
pub(crate) fn process(target: &Target) -> Process {
    Process {
        name: target.process_name.clone().unwrap_or_else(process_name),
        pid: std::process::id(),
        host: host_name(),
    }
}

/// What every handshake begins with.
pub(crate) fn greeting(authkey: &Authkey, address: &Address) -> Result<Hello> {
    let mut nonce = [0; NONCE_LEN];
    getrandom::fill(&mut nonce).map_err(|error| {
        Error::Configuration(format!("the system gives no random numbers: {error}"))
    })?;
    let offered = suite::offered(authkey, address.is_local());
    Ok(Hello {
        version: version::NEWEST,
        min_version: version::OLDEST,
        suites: offered.into_iter().map(i32::from).collect(),
        client_nonce: Bytes::copy_from_slice(&nonce),
        ..Hello::default()
    })
}

fn process_name() -> String {
    std::env::args_os()
        .next()
        .map(PathBuf::from)
        .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        .unwrap_or_default()
}

pub(crate) fn host_name() -> String {
    // Linux only; elsewhere the name stays empty, which only `inspect` shows.
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

fn context(target: &Target) -> Context {
    Context { operation: "connect", address: target.address.to_string(), ..Context::default() }
}

fn authentication_failed(target: &Target, message: &str) -> Error {
    not_authenticated(message, context(target))
}

pub(crate) fn not_authenticated(message: &str, context: Context) -> Error {
    let refusal =
        Refusal::new(Reason::AuthenticationFailed, format!("authentication failed: {message}"))
            .with_hint("check that both sides use the same authkey");
    Error::refused(refusal, context)
}

fn no_connection(address: &Address, error: &io::Error) -> Error {
    let hint = match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
            format!(
                " (is a manager running there? `mp-manager serve --address {address}` starts one)"
            )
        }
        io::ErrorKind::ConnectionReset => format!(" ({NO_ROOM})"),
        _ => String::new(),
    };
    cannot_connect(address, format!("{error}{hint}"))
}

/// Why a manager closes connections without a word: there are too many of them to explain itself.
const NO_ROOM: &str = "a manager that has no room for more clients says so in its log";

fn not_a_manager(address: &Address, status: &Status) -> Error {
    if status.code() == Code::FailedPrecondition {
        // It says itself what is wrong: that it speaks TLS.
        return cannot_connect(address, status.message().into());
    }
    let hint = format!("is it a manager that listens there? {NO_ROOM}");
    cannot_connect(address, format!("{} ({hint})", explain(status)))
}

pub(crate) fn cannot_connect(address: &Address, message: String) -> Error {
    Error::Connect { address: address.to_string(), message }
}

/// The innermost cause of a status: the outer ones say only that there is one.
pub(crate) fn explain(status: &Status) -> String {
    let mut innermost: &dyn std::error::Error = status;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    if innermost.source().is_none() && std::error::Error::source(status).is_some() {
        innermost.to_string()
    } else {
        status.message().to_owned()
    }
}
