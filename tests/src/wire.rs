//! HTTP/2 by hand: a client that sends whatever frames it is told to, cheaply.

use std::{io, net::SocketAddr};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use mp_manager_proto::v1::{
    Error, HandshakeRequest, HandshakeResponse, Proof, Welcome, handshake_request,
    handshake_response::Step,
};
use prost::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::raw::{hello, transcript};

/// What a client says first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The kinds of frames.
pub mod kind {
    #![expect(missing_docs, reason = "they are HTTP/2's")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GO_AWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// In HEADERS and CONTINUATION: no more of them follow.
pub const END_HEADERS: u8 = 4;
/// In DATA and HEADERS: nothing more follows on this stream.
pub const END_STREAM: u8 = 1;
/// In SETTINGS and PING: it is an answer.
pub const ACK: u8 = 1;

/// The paths of the methods.
pub mod path {
    #![expect(missing_docs, reason = "they are the service's")]
    pub const HANDSHAKE: &str = "/mp.manager.v1.Manager/Handshake";
    pub const SESSION: &str = "/mp.manager.v1.Manager/Session";
    pub const KEEP_ALIVE: &str = "/mp.manager.v1.Manager/KeepAlive";
    pub const HEALTH: &str = "/grpc.health.v1.Health/Check";
    pub const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
}

/// A frame that was received.
#[derive(Debug, Clone)]
pub struct Frame {
    /// What it is.
    pub kind: u8,
    /// What its flags say.
    pub flags: u8,
    /// The stream it belongs to.
    pub stream: u32,
    /// The rest.
    pub payload: Bytes,
}

/// The bytes of a frame.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(9 + payload.len());
    bytes.put_uint(payload.len() as u64, 3);
    bytes.put_u8(kind);
    bytes.put_u8(flags);
    bytes.put_u32(stream);
    bytes.put_slice(payload);
    bytes
}

/// A header as it is packed, without any compression.
#[must_use]
pub fn header(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        bytes.push(u8::try_from(text.len()).ok().filter(|len| *len < 127).expect("it is short"));
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

/// The headers of a call, packed.
#[must_use]
pub fn header_block(path: &str) -> Vec<u8> {
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "mp-manager"),
        (":path", path),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    headers.iter().flat_map(|(name, value)| header(name, value)).collect()
}

/// Begins a call.
#[must_use]
pub fn call(stream: u32, path: &str) -> Vec<u8> {
    frame(kind::HEADERS, END_HEADERS, stream, &header_block(path))
}

/// A message, as gRPC frames it and HTTP/2 carries it; at most as long as one frame can be.
#[must_use]
pub fn message(stream: u32, message: &impl Message) -> Vec<u8> {
    let mut payload = vec![0];
    payload.put_u32(u32::try_from(message.encoded_len()).expect("it is short"));
    message.encode(&mut payload).expect("a vector grows");
    frame(kind::DATA, 0, stream, &payload)
}

/// Gives up a call.
#[must_use]
pub fn reset(stream: u32) -> Vec<u8> {
    const CANCEL: u32 = 8;
    frame(kind::RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}

/// Allows the other side to send so much more.
#[must_use]
pub fn window_update(stream: u32, bytes: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
}

/// A connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    received: BytesMut,
    /// The beginnings of messages on stream 1.
    partial: BytesMut,
}

impl Wire {
    /// Connects, perhaps from a certain address, and says nothing.
    ///
    /// # Errors
    /// As the system says.
    pub async fn connect(address: SocketAddr, source: Option<SocketAddr>) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if let Some(source) = source {
            socket.bind(source)?;
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: BytesMut::new(), partial: BytesMut::new() })
    }

    /// Says that this is HTTP/2.
    ///
    /// # Errors
    /// As the system says.
    pub async fn begin(&mut self) -> io::Result<()> {
        self.send(&[PREFACE, &frame(kind::SETTINGS, 0, 0, &[])].concat()).await
    }

    /// Gets in with an authkey, on stream 1.
    ///
    /// # Errors
    /// If the server does not let it in.
    pub async fn authenticate(&mut self, authkey: &str) -> io::Result<Welcome> {
        self.try_to_authenticate(authkey)
            .await?
            .map_err(|refusal| io::Error::other(refusal.message))
    }

    /// Tries to get in with an authkey, on stream 1; the inner error is the server's refusal.
    ///
    /// # Errors
    /// If the server breaks the connection off.
    pub async fn try_to_authenticate(
        &mut self,
        authkey: &str,
    ) -> io::Result<Result<Welcome, Error>> {
        let hello = hello();
        let step = Some(handshake_request::Step::Hello(hello.clone()));
        let first = message(1, &HandshakeRequest { step });
        self.begin().await?;
        self.send(&[call(1, path::HANDSHAKE), first].concat()).await?;
        let challenge = match self.next_step().await? {
            Step::Challenge(challenge) => challenge,
            Step::Refused(refusal) => return Ok(Err(refusal)),
            Step::Welcome(_) => return Err(unexpected()),
        };
        let proof = transcript(&hello, &challenge).client_proof(authkey.as_bytes());
        let proof = Proof { proof: Bytes::copy_from_slice(&proof), ..Proof::default() };
        let step = Some(handshake_request::Step::Proof(proof));
        self.send(&message(1, &HandshakeRequest { step })).await?;
        match self.next_step().await? {
            Step::Welcome(welcome) => Ok(Ok(welcome)),
            Step::Refused(refusal) => Ok(Err(refusal)),
            Step::Challenge(_) => Err(unexpected()),
        }
    }

    /// The next step of the handshake.
    async fn next_step(&mut self) -> io::Result<Step> {
        loop {
            if let [_, a, b, c, d, rest @ ..] = &self.partial[..] {
                let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
                if rest.len() >= length {
                    self.partial.advance(5);
                    let message = self.partial.split_to(length);
                    let response = HandshakeResponse::decode(message).map_err(io::Error::other)?;
                    return response.step.ok_or_else(unexpected);
                }
            }
            match self.next().await? {
                Some(Frame { kind: kind::DATA, stream: 1, payload, .. }) => {
                    self.partial.extend_from_slice(&payload);
                }
                Some(Frame { kind: kind::GO_AWAY, .. }) | None => return Err(unexpected()),
                Some(_) => {}
            }
        }
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// As the system says.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Sends as many of the bytes as go at once.
    ///
    /// # Errors
    /// As the system says.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.try_write(bytes)
    }

    /// The next frame; `None` once the connection is closed. Pings and settings are answered.
    ///
    /// # Errors
    /// As the system says.
    pub async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.take_frame() {
                let answer: &[u8] = match frame.kind {
                    kind::PING if frame.flags & ACK == 0 => &frame.payload,
                    kind::SETTINGS if frame.flags & ACK == 0 => &[],
                    _ => return Ok(Some(frame)),
                };
                self.send(&self::frame(frame.kind, ACK, 0, answer)).await?;
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Waits until the connection is closed, whatever comes before that.
    pub async fn closed(&mut self) {
        while let Ok(Some(_)) = self.next().await {}
    }

    /// The stream below.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn take_frame(&mut self) -> Option<Frame> {
        let mut head = self.received.get(..9)?;
        let length = usize::try_from(head.get_uint(3)).ok()?;
        if self.received.len() < 9 + length {
            return None;
        }
        let (kind, flags, stream) = (head.get_u8(), head.get_u8(), head.get_u32());
        self.received.advance(9);
        let payload = self.received.split_to(length).freeze();
        Some(Frame { kind, flags, stream, payload })
    }
}

fn unexpected() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the server did not let it in")
}
