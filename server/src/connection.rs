//! One connection: how far its client has come in, and the bytes themselves.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use mp_manager_core::{Error, engine::Attachment};
use mp_manager_proto::{handshake::Binding, tasks::Spawner};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    sync::Notify,
};
use tokio_rustls::server::TlsStream;

use crate::{admission::Permit, authority::Authorities, host::Host, lock::lock, tls::Wire};

/// All that is read from a client before it has authenticated: what is beyond waits in the system's
/// buffers. A handshake takes about a thousand bytes.
const MAX_UNAUTHENTICATED_BYTES: usize = 64 << 10;

/// After so many bytes that were read at a stretch others have their turn. The smallest frames are
/// worth a few milliseconds then, and otherwise there would be eight times as many.
const MAX_BYTES_AT_A_STRETCH: usize = 128 << 10;

/// What is known of a connection.
pub(crate) struct Connection {
    pub(crate) peer: String,
    pub(crate) permit: Permit,
    /// What a client is told that is not to get in, whatever it proves.
    pub(crate) refusal: Option<Error>,
    binding: OnceLock<Binding>,
    phase: Mutex<Phase>,
    session_over: Notify,
    host: Weak<Host>,
    /// There is no socket: the client is in the server's process.
    is_inside: bool,
    /// The other end is closed; it did not only fail here.
    is_closed: AtomicBool,
}

/// ```text
///   new ──Handshake──► in handshake ──► authenticated: one Session stream, one KeepAlive stream at a time
///                          └──────────► refused
/// ```
enum Phase {
    New,
    InHandshake,
    Refused,
    Authenticated { attachment: Attachment, has_stream: bool, has_beats: bool },
}

impl Connection {
    /// A connection that is served or, with a refusal, turned away.
    pub(crate) fn new(
        peer: String,
        permit: Permit,
        refusal: Option<Error>,
        host: Weak<Host>,
    ) -> Self {
        Self {
            peer,
            permit,
            refusal,
            binding: OnceLock::new(),
            phase: Mutex::new(Phase::New),
            session_over: Notify::new(),
            host,
            is_inside: false,
            is_closed: AtomicBool::new(false),
        }
    }

    /// The place of a client in the server's process.
    pub(crate) fn inside(peer: String, permit: Permit, host: Weak<Host>) -> Self {
        let mut connection = Self::new(peer, permit, None, host);
        connection.is_inside = true;
        connection
    }

    /// It is known what a handshake is bound to.
    pub(crate) fn bind(&self, binding: Binding) {
        // A connection opens once.
        let _ = self.binding.set(binding);
    }

    /// The server, as long as it is there.
    pub(crate) fn host(&self) -> Option<Arc<Host>> {
        self.host.upgrade()
    }

    /// What a handshake is bound to; without it there is none.
    pub(crate) fn binding(&self) -> Option<&Binding> {
        self.binding.get()
    }

    /// Whether it is a unix socket.
    pub(crate) fn is_unix(&self) -> bool {
        self.binding() == Some(&Binding::Unix)
    }

    /// Whether a proof has been accepted on it.
    pub(crate) fn is_authenticated(&self) -> bool {
        matches!(&*lock(&self.phase), Phase::Authenticated { .. })
    }

    /// Whether its session's stream has been opened: from then on the connection is as good as that.
    pub(crate) fn is_in_use(&self) -> bool {
        matches!(&*lock(&self.phase), Phase::Authenticated { has_stream: true, .. })
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

    /// Ends the handshake with a place in a session, or without.
    pub(crate) fn end_handshake(&self, attachment: Option<Attachment>) {
        if attachment.is_some() {
            self.permit.authenticated();
        }
        let authenticated =
            |attachment| Phase::Authenticated { attachment, has_stream: false, has_beats: false };
        *lock(&self.phase) = attachment.map_or(Phase::Refused, authenticated);
    }

    /// The session's stream has come to its end, and with it what the connection is for.
    pub(crate) fn session_is_over(&self) {
        self.session_over.notify_one();
    }

    /// Waits for that.
    pub(crate) async fn wait_for_end_of_session(&self) {
        self.session_over.notified().await;
    }

    /// Its place in the session, for the one `Session` stream it may have.
    pub(crate) fn open_stream(&self) -> Option<Attachment> {
        match &mut *lock(&self.phase) {
            Phase::Authenticated { attachment, has_stream, .. } => claim(attachment, has_stream),
            _ => None,
        }
    }

    /// Its place in the session, for the one `KeepAlive` stream it may have at a time.
    pub(crate) fn open_beats(self: &Arc<Self>) -> Option<(Attachment, BeatsPlace)> {
        match &mut *lock(&self.phase) {
            Phase::Authenticated { attachment, has_beats, .. } => claim(attachment, has_beats)
                .map(|attachment| (attachment, BeatsPlace(Arc::clone(self)))),
            _ => None,
        }
    }

    /// Whether its end proves that the client has ended, or has nothing any more: the other end of a unix
    /// socket is closed. One that only failed on this side proves nothing.
    pub(crate) fn proves_death(&self) -> bool {
        self.is_inside || (self.is_unix() && self.is_closed.load(Ordering::Relaxed))
    }
}

/// The place of a connection's `KeepAlive` stream. It is free again when this is dropped.
pub(crate) struct BeatsPlace(Arc<Connection>);

impl Drop for BeatsPlace {
    fn drop(&mut self) {
        if let Phase::Authenticated { has_beats, .. } = &mut *lock(&self.0.phase) {
            *has_beats = false;
        }
    }
}

fn claim(attachment: &Attachment, is_taken: &mut bool) -> Option<Attachment> {
    (!std::mem::replace(is_taken, true)).then(|| attachment.clone())
}

impl Drop for Connection {
    /// A session whose stream was cut short has ended if the socket is closed, which may have been
    /// noticed after the stream's end.
    fn drop(&mut self) {
        let (proves_death, is_unix) = (self.proves_death(), self.is_unix());
        let phase = self.phase.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Phase::Authenticated { attachment, has_stream, .. } = phase else { return };
        if (*has_stream && !proves_death) || !is_unix {
            return;
        }
        let Some(host) = self.host.upgrade() else { return };
        let (attachment, has_stream) = (attachment.clone(), *has_stream);
        let client = Arc::clone(&attachment.client);
        host.with_session(&client, move |engine, state, work| {
            if has_stream {
                engine.end_attached(&attachment, state, None, work);
            } else {
                engine.closed_unused(&attachment, state, is_unix, work);
            }
        });
    }
}

/// A socket of any kind.
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<Wire>>),
}

/// The bytes of a connection. Before it has authenticated, only so many are read.
pub(crate) struct Io {
    socket: Socket,
    connection: Arc<Connection>,
    /// How many bytes may still be read; without a limit once it has authenticated.
    allowance: Option<usize>,
    /// How many bytes were read since there was nothing to read.
    stretch: usize,
    /// On a unix socket, whose name is a path.
    authorities: Option<Authorities>,
    /// Has the streams of the connection, which go on as soon as nothing more has to be read for them.
    streams: Spawner,
}

impl Io {
    pub(crate) fn new(socket: Socket, connection: Arc<Connection>, streams: Spawner) -> Self {
        let authorities = matches!(socket, Socket::Unix(_)).then(Authorities::default);
        let allowance = Some(MAX_UNAUTHENTICATED_BYTES);
        Self { socket, connection, allowance, stretch: 0, authorities, streams }
    }

    /// Whether nothing more may be read. Who authenticates after all is told so, which has this
    /// asked again.
    fn is_exhausted(&mut self) -> bool {
        if self.allowance.is_some() && self.connection.is_authenticated() {
            self.allowance = None;
            if let Socket::Tls(stream) = &mut self.socket {
                stream.get_mut().0.reader_mut().set_limit(u64::MAX);
            }
        }
        self.allowance == Some(0)
    }

    /// Whether its close, which has not been noticed so far, says something of a session.
    fn may_prove_death(&self) -> bool {
        matches!(self.socket, Socket::Unix(_))
            && self.connection.is_in_use()
            && !self.connection.is_closed.load(Ordering::Relaxed)
    }

    /// A write that fails has found the other end closed.
    fn noted<T>(&self, wrote: io::Result<T>) -> io::Result<T> {
        if wrote.is_err() {
            self.connection.is_closed.store(true, Ordering::Relaxed);
        }
        wrote
    }
}

/// Calls the same method on whichever socket it is.
macro_rules! on_socket {
    ($self:expr, $socket:ident => $call:expr) => {
        match &mut $self.get_mut().socket {
            Socket::Tcp(socket) => {
                let $socket = Pin::new(socket);
                $call
            }
            Socket::Unix(socket) => {
                let $socket = Pin::new(socket);
                $call
            }
            Socket::Tls(socket) => {
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
        let mut polled = on_socket!(self.as_mut(), socket => socket.poll_read(cx, buffer));
        // HTTP/2 writes once it has nothing to read: what the session says to what was read is among that.
        if polled.is_pending() && self.streams.poll_busy() {
            polled = on_socket!(self.as_mut(), socket => socket.poll_read(cx, buffer));
        }
        let Poll::Ready(read) = polled else {
            self.stretch = 0;
            return Poll::Pending;
        };
        let read_now = &mut buffer.filled_mut()[before..];
        let count = read_now.len();
        if let Some(authorities) = &mut self.authorities {
            authorities.rewrite(read_now);
        }
        self.allowance = self.allowance.map(|left| left.saturating_sub(count));
        self.stretch += count;
        if read.is_err() || (count == 0 && buffer.remaining() > 0) {
            self.connection.is_closed.store(true, Ordering::Relaxed);
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = ready!(on_socket!(self.as_mut(), socket => socket.poll_write(cx, bytes)));
        Poll::Ready(self.noted(wrote))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote =
            ready!(on_socket!(self.as_mut(), socket => socket.poll_write_vectored(cx, slices)));
        Poll::Ready(self.noted(wrote))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_socket!(self, socket => socket.poll_flush(cx))
    }

    /// On a unix socket this waits until the other end is closed, too: HTTP/2 comes to its end with
    /// what the client says of that, which may be read before the close that proves its death.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(on_socket!(self.as_mut(), socket => socket.poll_shutdown(cx)))?;
        let mut unread = [0; 1024];
        while self.may_prove_death() {
            ready!(self.as_mut().poll_read(cx, &mut ReadBuf::new(&mut unread)))?;
        }
        Poll::Ready(Ok(()))
    }
}
