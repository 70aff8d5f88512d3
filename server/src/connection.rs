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

use mp_manager_core::session::Session;
use mp_manager_proto::handshake::Binding;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    time::Sleep,
};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::{
    lock,
    session::Seat,
    store::Store,
    tls::{Opening, Wire},
};

/// What is known of a connection.
pub(crate) struct Connection {
    pub(crate) peer: String,
    binding: OnceLock<Binding>,
    phase: Mutex<Phase>,
    store: Weak<Store>,
    /// The other end is closed; it did not only fail here.
    is_closed: AtomicBool,
}

/// ```text
///   new ──Handshake──► in handshake ──► authenticated: one Session stream, one KeepAlive stream
///                          └──────────► refused
/// ```
enum Phase {
    New,
    InHandshake,
    Refused,
    Authenticated { seat: Seat, has_stream: bool, has_beats: bool },
}

impl Connection {
    /// A connection whose binding is known, or will be once TLS is up.
    pub(crate) fn new(peer: String, binding: Option<Binding>, store: Weak<Store>) -> Self {
        Self {
            peer,
            binding: binding.map_or_else(OnceLock::new, OnceLock::from),
            phase: Mutex::new(Phase::New),
            store,
            is_closed: AtomicBool::new(false),
        }
    }

    /// TLS is up.
    pub(crate) fn bind(&self, binding: Binding) {
        // A connection opens once.
        let _ = self.binding.set(binding);
    }

    /// What a handshake is bound to; without it there is none.
    pub(crate) fn binding(&self) -> Option<&Binding> {
        self.binding.get()
    }

    /// Whether a proof has been accepted on it.
    pub(crate) fn is_authenticated(&self) -> bool {
        matches!(&*lock(&self.phase), Phase::Authenticated { .. })
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
    pub(crate) fn end_handshake(&self, seat: Option<Seat>) {
        let authenticated =
            |seat| Phase::Authenticated { seat, has_stream: false, has_beats: false };
        *lock(&self.phase) = seat.map_or(Phase::Refused, authenticated);
    }

    /// Its place in the session, for the one `Session` stream it may have.
    pub(crate) fn open_stream(&self) -> Option<Seat> {
        match &mut *lock(&self.phase) {
            Phase::Authenticated { seat, has_stream, .. } => claim(seat, has_stream),
            _ => None,
        }
    }

    /// Its place in the session, for the one `KeepAlive` stream it may have.
    pub(crate) fn open_beats(&self) -> Option<Seat> {
        match &mut *lock(&self.phase) {
            Phase::Authenticated { seat, has_beats, .. } => claim(seat, has_beats),
            _ => None,
        }
    }

    /// Whether it proves that the client has ended, or has nothing any more: the other end of a unix
    /// socket is closed. One that only failed on this side proves nothing.
    pub(crate) fn proves_death(&self) -> bool {
        self.binding() == Some(&Binding::Unix) && self.is_closed.load(Ordering::Relaxed)
    }
}

fn claim(seat: &Seat, is_taken: &mut bool) -> Option<Seat> {
    (!std::mem::replace(is_taken, true)).then(|| seat.clone())
}

impl Drop for Connection {
    /// A session whose stream was cut short has ended if the socket is closed, which may have been
    /// noticed after the stream's end. One that began here and was never used has as well; one that
    /// was resumed here and not used goes on: its client may have seen only this connection fail.
    fn drop(&mut self) {
        let proves_death = self.proves_death();
        let is_unix = self.binding() == Some(&Binding::Unix);
        let phase = self.phase.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Phase::Authenticated { seat, has_stream, .. } = phase
            && (if *has_stream {
                proves_death
            } else {
                is_unix && seat.generation == Session::FIRST
            })
            && let Some(store) = self.store.upgrade()
        {
            seat.session.end_current(&store, seat.generation, None);
        }
    }
}

/// A socket of any kind.
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    Opening(Opening),
    Tls(Box<TlsStream<Wire>>),
}

/// The bytes of a connection. They fail to come when its handshakes take too long.
pub(crate) struct Io {
    socket: Socket,
    connection: Arc<Connection>,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Io {
    pub(crate) fn new(socket: Socket, connection: Connection, deadline: Sleep) -> Self {
        Self { socket, connection: Arc::new(connection), deadline: Some(Box::pin(deadline)) }
    }

    fn check_deadline(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Some(deadline) = &mut self.deadline {
            if self.connection.is_authenticated() {
                self.deadline = None;
            } else if deadline.as_mut().poll(cx).is_ready() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no handshake in time"));
            }
        }
        Ok(())
    }

    /// A write that fails has found the other end closed.
    fn noted<T>(&self, wrote: io::Result<T>) -> io::Result<T> {
        if wrote.is_err() {
            self.connection.is_closed.store(true, Ordering::Relaxed);
        }
        wrote
    }

    /// Comes through to the bytes themselves, which under TLS takes a handshake.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.socket, Socket::Opening(_)) {
            // Whoever waits to write does not read.
            self.check_deadline(cx)?;
        }
        if let Socket::Opening(opening) = &mut self.socket {
            self.socket = ready!(opening.poll(cx, &self.connection))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl Connected for Io {
    type ConnectInfo = Arc<Connection>;

    fn connect_info(&self) -> Arc<Connection> {
        Arc::clone(&self.connection)
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
            Socket::Opening(_) => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    };
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_deadline(cx)?;
        ready!(self.poll_open(cx))?;
        let before = buffer.filled().len();
        let read = ready!(on_socket!(self.as_mut(), socket => socket.poll_read(cx, buffer)));
        if read.is_err() || (buffer.filled().len() == before && buffer.remaining() > 0) {
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
        ready!(self.poll_open(cx))?;
        let wrote = ready!(on_socket!(self.as_mut(), socket => socket.poll_write(cx, bytes)));
        Poll::Ready(self.noted(wrote))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(cx))?;
        let wrote =
            ready!(on_socket!(self.as_mut(), socket => socket.poll_write_vectored(cx, slices)));
        Poll::Ready(self.noted(wrote))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_open(cx))?;
        on_socket!(self, socket => socket.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_socket!(self, socket => socket.poll_shutdown(cx))
    }
}
