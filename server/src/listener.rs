//! Where connections come from.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;
use mp_manager_proto::{address::Address, handshake::Binding};
use tokio::{
    net::{TcpListener, TcpStream, UnixListener},
    time::{Sleep, sleep},
};

use crate::{
    connection::{Connection, Io, Socket},
    store::Store,
    tls::Terminator,
};

/// How long accepting pauses when the process has no file descriptors left: trying again at once
/// would spin.
const BACK_OFF: Duration = Duration::from_millis(50);

/// How much longer a connection has than its handshake, which is refused in words when its time is
/// up: they have to get through before the connection is cut off.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A bound socket.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Tls { listener: TcpListener, terminator: Arc<Terminator> },
    Unix { listener: UnixListener, path: PathBuf },
}

impl Listener {
    /// Binds, and says where to: port 0 becomes the port that was picked.
    pub(crate) async fn bind(
        address: &Address,
        terminator: Option<Arc<Terminator>>,
    ) -> io::Result<(Self, Address)> {
        match (address, terminator) {
            (Address::Tcp { host, port }, _) => {
                let listener = TcpListener::bind((host.as_str(), *port)).await?;
                let (host, port) = host_and_port(&listener)?;
                Ok((Self::Tcp(listener), Address::Tcp { host, port }))
            }
            (Address::Tls { host, port }, Some(terminator)) => {
                let listener = TcpListener::bind((host.as_str(), *port)).await?;
                let (host, port) = host_and_port(&listener)?;
                Ok((Self::Tls { listener, terminator }, Address::Tls { host, port }))
            }
            (Address::Unix(path), _) => {
                remove_stale(path)?;
                let listener = UnixListener::bind(path)?;
                fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
                Ok((Self::Unix { listener, path: path.clone() }, address.clone()))
            }
            _ => Err(io::Error::new(io::ErrorKind::Unsupported, "unknown kind of address")),
        }
    }

    /// The next connection, whose it is, and what its handshake will be bound to, if that is known.
    fn poll_accept(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Socket, String, Option<Binding>)>> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = ready!(poll_accept_tcp(listener, cx))?;
                Poll::Ready(Ok((Socket::Tcp(stream), peer, Some(Binding::None))))
            }
            Self::Tls { listener, terminator } => {
                let (stream, peer) = ready!(poll_accept_tcp(listener, cx))?;
                Poll::Ready(Ok((Socket::Opening(terminator.open(stream)), peer, None)))
            }
            Self::Unix { listener, .. } => {
                let (stream, _) = ready!(listener.poll_accept(cx))?;
                let peer = match stream.peer_cred().ok().and_then(|peer| peer.pid()) {
                    Some(pid) => format!("unix, pid {pid}"),
                    None => "unix".into(),
                };
                Poll::Ready(Ok((Socket::Unix(stream), peer, Some(Binding::Unix))))
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix { path, .. } = self {
            // Gone already if somebody tidied up: that is as well.
            let _ = fs::remove_file(path);
        }
    }
}

fn host_and_port(listener: &TcpListener) -> io::Result<(String, u16)> {
    let bound = listener.local_addr()?;
    Ok((bound.ip().to_string(), bound.port()))
}

fn poll_accept_tcp(
    listener: &TcpListener,
    cx: &mut Context<'_>,
) -> Poll<io::Result<(TcpStream, String)>> {
    let (stream, peer) = ready!(listener.poll_accept(cx))?;
    // Small frames must not wait for one another.
    stream.set_nodelay(true)?;
    Poll::Ready(Ok((stream, peer.to_string())))
}

/// Removes a socket that nobody listens on; one in use, or a file that is no socket, is an error.
fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        let message = "a file is there that is not a socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on the socket")),
    }
}

/// The connections that come in, as tonic wants them.
pub(crate) struct Incoming {
    listener: Listener,
    store: Weak<Store>,
    handshake_timeout: Duration,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Incoming {
    pub(crate) fn new(listener: Listener, store: Weak<Store>, handshake_timeout: Duration) -> Self {
        Self { listener, store, handshake_timeout, pause: None }
    }
}

impl Stream for Incoming {
    type Item = io::Result<Io>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(pause) = &mut this.pause {
                ready!(pause.as_mut().poll(cx));
                this.pause = None;
            }
            match ready!(this.listener.poll_accept(cx)) {
                Ok((socket, peer, binding)) => {
                    let connection = Connection::new(peer, binding, Weak::clone(&this.store));
                    let deadline = sleep(this.handshake_timeout.saturating_add(LAST_WORDS));
                    return Poll::Ready(Some(Ok(Io::new(socket, connection, deadline))));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    this.pause = Some(Box::pin(sleep(BACK_OFF)));
                }
            }
        }
    }
}
