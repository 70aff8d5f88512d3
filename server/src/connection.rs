//! One connection: how far its client has come in, and the bytes themselves.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, Weak},
    task::{Context, Poll},
};

use mp_manager_core::Error;
use mp_manager_proto::handshake::Binding;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    sync::Notify,
};

use crate::{admission::Permit, lock, session::Session, store::Store};

/// All that is read from a client before it has authenticated: what is beyond waits in the system's
/// buffers. A handshake takes about a thousand bytes, and a few thousand with certificates.
const MAX_UNAUTHENTICATED_BYTES: usize = 64 << 10;

/// After so many bytes that were read at a stretch others have their turn. The smallest frames are
/// worth a few milliseconds then, and otherwise there would be eight times as many.
const MAX_BYTES_AT_A_STRETCH: usize = 128 << 10;

/// What is known of a connection.
pub(crate) struct Connection {
    pub(crate) peer: String,
    pub(crate) binding: Binding,
    pub(crate) permit: Permit,
    /// What a client is told that is not to get in, whatever it proves.
    pub(crate) refusal: Option<Error>,
    phase: Mutex<Phase>,
    session_over: Notify,
    store: Weak<Store>,
}

/// ```text
///   new ──Handshake──► in handshake ──► authenticated ──Session──► in use
///                          └──────────► refused
/// ```
enum Phase {
    New,
    InHandshake,
    Refused,
    Authenticated(Arc<Session>),
    InUse,
}

impl Connection {
    /// A connection that is served or, with a refusal, turned away.
    pub(crate) fn new(
        peer: String,
        binding: Binding,
        permit: Permit,
        refusal: Option<Error>,
        store: Weak<Store>,
    ) -> Self {
        let (phase, session_over) = (Mutex::new(Phase::New), Notify::new());
        Self { peer, binding, permit, refusal, phase, session_over, store }
    }

    /// Whether a proof has been accepted on it.
    pub(crate) fn is_authenticated(&self) -> bool {
        matches!(&*lock(&self.phase), Phase::Authenticated(_) | Phase::InUse)
    }

    /// Whether its session has been opened: from then on the connection is as good as that.
    pub(crate) fn is_in_use(&self) -> bool {
        matches!(&*lock(&self.phase), Phase::InUse)
    }

    /// Begins the one handshake it may have; false if it had it.
    pub(crate) fn begin_handshake(&self) -> bool {
        let mut phase = lock(&self.phase);
        let is_new = matches!(&*phase, Phase::New);
        if is_new {
            *phase = Phase::InHandshake;
        }
        is_new
    }

    /// Ends the handshake with a session, or without.
    pub(crate) fn end_handshake(&self, session: Option<Arc<Session>>) {
        if session.is_some() {
            self.permit.authenticated();
        }
        *lock(&self.phase) = session.map_or(Phase::Refused, Phase::Authenticated);
    }

    /// The session's stream has come to its end, and with it what the connection is for.
    pub(crate) fn session_is_over(&self) {
        self.session_over.notify_one();
    }

    /// Waits for that.
    pub(crate) async fn wait_for_end_of_session(&self) {
        self.session_over.notified().await;
    }

    /// Hands out the session, once.
    pub(crate) fn take_session(&self) -> Option<Arc<Session>> {
        let mut phase = lock(&self.phase);
        if !matches!(&*phase, Phase::Authenticated(_)) {
            return None;
        }
        match std::mem::replace(&mut *phase, Phase::InUse) {
            Phase::Authenticated(session) => Some(session),
            _ => None,
        }
    }
}

impl Drop for Connection {
    /// A session whose stream was never opened ends with its connection.
    fn drop(&mut self) {
        if let (Some(session), Some(store)) = (self.take_session(), self.store.upgrade()) {
            session.end(&store, None);
        }
    }
}

/// A socket of either kind.
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Has small frames sent without waiting for one another.
    pub(crate) fn set_nodelay(&self) {
        if let Self::Tcp(socket) = self {
            // If that fails the client has gone, which is noticed soon enough.
            let _ = socket.set_nodelay(true);
        }
    }

    /// Waits until the client has said something, or nothing will come any more. Who may use a unix
    /// socket is taken at his word that he will.
    pub(crate) async fn speaks(&self) -> io::Result<()> {
        match self {
            // That the socket is readable would not do: a new one is taken to be that.
            Self::Tcp(socket) => socket.peek(&mut [0]).await.map(drop),
            Self::Unix(_) => Ok(()),
        }
    }
}

/// The bytes of a connection. Before it has authenticated, only so many are read.
pub(crate) struct Io {
    socket: Socket,
    connection: Arc<Connection>,
    /// How many bytes may still be read; without a limit once it has authenticated.
    allowance: Option<usize>,
    /// How many bytes were read since there was nothing to read.
    stretch: usize,
}

impl Io {
    pub(crate) fn new(socket: Socket, connection: Arc<Connection>) -> Self {
        Self { socket, connection, allowance: Some(MAX_UNAUTHENTICATED_BYTES), stretch: 0 }
    }

    /// Whether nothing more may be read. Who authenticates after all is told so, which has this
    /// asked again.
    fn is_exhausted(&mut self) -> bool {
        if self.allowance.is_some() && self.connection.is_authenticated() {
            self.allowance = None;
        }
        self.allowance == Some(0)
    }
}

/// Calls the same method on whichever socket it is.
macro_rules! on_socket {
    ($self:expr, $socket:ident => $call:expr) => {
        match &mut $self.socket {
            Socket::Tcp(socket) => {
                let $socket = Pin::new(socket);
                $call
            }
            Socket::Unix(socket) => {
                let $socket = Pin::new(socket);
                $call
            }
        }
    };
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_exhausted() {
            return Poll::Pending;
        }
        if self.stretch >= MAX_BYTES_AT_A_STRETCH {
            self.stretch = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let this = &mut *self;
        let read = on_socket!(this, socket => socket.poll_read(cx, buffer));
        let count = buffer.filled().len() - before;
        self.allowance = self.allowance.map(|left| left.saturating_sub(count));
        self.stretch = if read.is_pending() { 0 } else { self.stretch + count };
        read
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        on_socket!(self, socket => socket.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_socket!(self, socket => socket.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_socket!(self, socket => socket.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_socket!(self, socket => socket.poll_shutdown(cx))
    }
}
