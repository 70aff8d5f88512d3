//! Where connections come from.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use mp_manager_proto::address::Address;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream, lookup_host};

use crate::{admission::Peer, tls::Terminator};

/// Connections that wait to be accepted: as many as may come while we do something else, so that
/// nobody has to try again in a second. The system may allow fewer.
const BACKLOG: u32 = 4096;

/// A connection that has come in.
pub(crate) struct Accepted {
    pub(crate) stream: Stream,
    pub(crate) peer: Peer,
    /// The peer as the log names it.
    pub(crate) name: String,
}

/// Its bytes, before anything was said.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Tls(TcpStream, Arc<Terminator>),
    Unix(UnixStream),
}

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
                let listener = listen(host, *port).await?;
                let (host, port) = host_and_port(&listener)?;
                Ok((Self::Tcp(listener), Address::Tcp { host, port }))
            }
            (Address::Tls { host, port }, Some(terminator)) => {
                let listener = listen(host, *port).await?;
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

    /// The next connection.
    pub(crate) async fn accept(&self) -> io::Result<Accepted> {
        let (stream, address) = match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                (Stream::Tcp(stream), address)
            }
            Self::Tls { listener, terminator } => {
                let (stream, address) = listener.accept().await?;
                (Stream::Tls(stream, Arc::clone(terminator)), address)
            }
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                let name = match stream.peer_cred().ok().and_then(|peer| peer.pid()) {
                    Some(pid) => format!("unix, pid {pid}"),
                    None => "unix".into(),
                };
                return Ok(Accepted { stream: Stream::Unix(stream), peer: Peer::Local, name });
            }
        };
        Ok(Accepted { stream, peer: address.ip().into(), name: address.to_string() })
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

/// Listens on the first of a host's addresses that can be listened on.
async fn listen(host: &str, port: u16) -> io::Result<TcpListener> {
    let mut error = io::Error::new(io::ErrorKind::AddrNotAvailable, "the host has no address");
    for address in lookup_host((host, port)).await? {
        match listen_on(address) {
            Ok(listener) => return Ok(listener),
            Err(failed) => error = failed,
        }
    }
    Err(error)
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Connections of the last server on this address may still be coming to their end.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
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
