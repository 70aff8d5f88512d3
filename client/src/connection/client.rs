//! The end that connects.

use std::{io, time::Duration};

use mp_manager_proto::{
    address::Address,
    authkey::Authkey,
    connection::{
        DEFAULT_MAX_MESSAGE_BYTES, FrameKind, HEADER_LEN, Header, MAX_HANDSHAKE_BYTES,
        handshake_frame, handshake_message,
    },
    handshake::{Binding, Transcript},
    v1::{
        HandshakeRequest, HandshakeResponse, Hello, Proof, handshake_request,
        handshake_response::Step,
    },
};
use rustix::net::sockopt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    runtime::Handle,
    time::timeout,
};

use super::{Builder, Connection, Duplex};
use crate::{
    error::{Context, Error, Result},
    session::fork::{Home, HomeBound},
    transport::{
        connect::{cannot_connect, check, greeting, not_authenticated, plain, secret},
        tls::{Connector, TlsFailure},
    },
};

/// When a silent TCP connection is asked for a sign of life, how often, and after how many without an answer
/// it is given up.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_PROBES: u32 = 2;

const NO_LISTENER: &str = "is it a `connection::Listener` that listens there?";

/// Connects to a [`Listener`](super::Listener). Python's `multiprocessing.connection.Client`.
#[derive(Debug)]
pub enum Client {}

impl Client {
    /// Connects to a program that listens at an address such as `10.0.0.5:7000` or `unix:/run/me.sock`, with
    /// TLS unless it is on this machine; [`Address`] has the rules.
    ///
    /// The other end need not be waiting in [`accept`](super::Listener::accept). Cancel safe: dropping the
    /// future closes the connection.
    ///
    /// # Errors
    /// [`Error::Connect`] if nobody listens there, or it takes longer than 10 s
    /// ([`Builder::timeout`]); [`Error::AuthenticationFailed`] if the authkeys differ;
    /// [`Error::Configuration`] for plain text (`tcp://`) beyond this machine, or without a tokio runtime.
    ///
    /// ```
    /// # use mp_manager::{Error, Result, connection::{Client, Listener}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// let listener = Listener::bind("127.0.0.1:0", "authkey").await?;
    /// let connection = Client::connect(listener.address(), "authkey").await?;
    ///
    /// let refused = Client::connect(listener.address(), "another").await;
    /// assert!(matches!(refused, Err(Error::AuthenticationFailed(_))));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "multiprocessing.connection.Client")]
    pub async fn connect(address: &str, authkey: impl Into<Authkey>) -> Result<Connection> {
        Builder::new().connect(address, authkey).await
    }
}

impl Builder {
    /// Connects, as [`Client::connect`].
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect(&self, address: &str, authkey: impl Into<Authkey>) -> Result<Connection> {
        let (address, authkey) = Self::check(address, authkey.into())?;
        connect(self, &address, &authkey).await
    }
}

async fn connect(builder: &Builder, address: &Address, authkey: &Authkey) -> Result<Connection> {
    let connecting = async {
        let (mut io, binding) = open(address).await?;
        let max_sent_bytes = shake_hands(&mut io, builder, address, authkey, &binding).await?;
        let limits = (max_sent_bytes, builder.max_message_bytes);
        Ok(Connection::new(io, address.to_string(), limits, Handle::current()))
    };
    timeout(builder.timeout, connecting).await.unwrap_or_else(|_| {
        let message = format!("no answer within {:?} ({NO_LISTENER})", builder.timeout);
        Err(cannot_connect(address, message))
    })
}

/// Opens a stream to the address. A proof of the authkey is bound to the stream.
async fn open(address: &Address) -> Result<(Box<dyn Duplex>, Binding)> {
    match address {
        Address::Tcp { host, port } => {
            let stream = connect_tcp(host, *port).await.map_err(|error| nobody(address, &error))?;
            Ok((Box::new(stream), Binding::None))
        }
        Address::Tls { host, port } => {
            let stream = connect_tcp(host, *port).await.map_err(|error| nobody(address, &error))?;
            let stream = HomeBound::new(stream, Home::here());
            let secured = Connector::for_connections()
                .connect(host, &plain(host, *port), stream)
                .await
                .map_err(|failure| match failure {
                    TlsFailure::Configuration(problem) => Error::Configuration(problem),
                    TlsFailure::Connection(problem) => cannot_connect(address, problem),
                })?;
            // A failure to write must not take what is there to be read.
            Ok((Box::new(secured.stream.into_inner()), secured.binding))
        }
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).await;
            Ok((Box::new(stream.map_err(|error| nobody(address, &error))?), Binding::Unix))
        }
        other => Err(cannot_connect(other, "this kind of address is not known".into())),
    }
}

async fn connect_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    // Small messages must not wait for one another, and a peer whose machine is gone must be missed.
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(&stream, true)?;
    sockopt::set_tcp_keepidle(&stream, KEEP_ALIVE)?;
    sockopt::set_tcp_keepintvl(&stream, KEEP_ALIVE)?;
    sockopt::set_tcp_keepcnt(&stream, KEEP_ALIVE_PROBES)?;
    Ok(stream)
}

/// Proves the authkey, and has the other end prove it. Returns the maximum length of a message that it takes.
async fn shake_hands(
    io: &mut Box<dyn Duplex>,
    builder: &Builder,
    address: &Address,
    authkey: &Authkey,
    binding: &Binding,
) -> Result<u32> {
    let context =
        || Context { operation: "connect", address: address.to_string(), ..Context::default() };
    let max_frame_bytes = builder.max_message_bytes;
    let hello = Hello { max_frame_bytes, ..greeting(authkey, address)? };
    say(io, address, handshake_request::Step::Hello(hello.clone())).await?;
    let Step::Challenge(challenge) = hear(io, address).await? else {
        return Err(not_authenticated("the other end sent no challenge", context()));
    };
    check(&hello, &challenge, context())?;
    let transcript = Transcript::of_connection(&hello, &challenge, binding);
    let secret = secret(authkey, &challenge).await?;
    let proof = transcript.client_proof(secret.secret());
    let said = Proof { proof: proof.clone().into(), ..Proof::default() };
    say(io, address, handshake_request::Step::Proof(said)).await?;
    let Step::Welcome(welcome) = hear(io, address).await? else {
        return Err(not_authenticated("the other end sent no welcome", context()));
    };
    if !transcript.verify_server(secret.secret(), &proof, &welcome) {
        let message =
            "the other end did not prove that it knows the authkey; it may be an impostor";
        return Err(not_authenticated(message, context()));
    }
    Ok(match welcome.limits.unwrap_or_default().max_frame_bytes {
        0 => DEFAULT_MAX_MESSAGE_BYTES,
        max => max,
    })
}

async fn say(
    io: &mut Box<dyn Duplex>,
    address: &Address,
    step: handshake_request::Step,
) -> Result<()> {
    let frame = handshake_frame(&HandshakeRequest { step: Some(step) });
    let said = async {
        io.write_all(&frame).await?;
        io.flush().await
    };
    said.await.map_err(|error| broke_off(address, &error))
}

async fn hear(io: &mut Box<dyn Duplex>, address: &Address) -> Result<Step> {
    let mut header = [0; HEADER_LEN];
    io.read_exact(&mut header).await.map_err(|error| broke_off(address, &error))?;
    let stranger = |problem: &dyn std::fmt::Display| {
        cannot_connect(address, format!("it answers otherwise: {problem} ({NO_LISTENER})"))
    };
    let header = Header::decode(header, MAX_HANDSHAKE_BYTES).map_err(|error| stranger(&error))?;
    if header.kind != FrameKind::Handshake {
        return Err(stranger(&"a message before the handshake"));
    }
    let mut payload = vec![0; header.len as usize];
    io.read_exact(&mut payload).await.map_err(|error| broke_off(address, &error))?;
    let response = handshake_message::<HandshakeResponse>(&payload);
    match response.map_err(|problem| stranger(&problem))?.step {
        Some(Step::Refused(refusal)) => {
            let (operation, address) = ("connect", address.to_string());
            Err(Error::refused(refusal, Context { operation, address, ..Context::default() }))
        }
        Some(step) => Ok(step),
        None => Err(stranger(&"a step of the handshake that is not known")),
    }
}

fn nobody(address: &Address, error: &io::Error) -> Error {
    let hint = match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
            " (nobody listens there: is the other program running, and bound to this address?)"
        }
        _ => "",
    };
    cannot_connect(address, format!("{error}{hint}"))
}

fn broke_off(address: &Address, error: &io::Error) -> Error {
    let hint = "one that was tried with wrong authkeys too often hears nobody from that address for a moment";
    cannot_connect(address, format!("the handshake broke off: {error} ({NO_LISTENER} {hint})"))
}
