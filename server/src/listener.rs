//! Where connections come from.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
};

use mp_manager_proto::{address::Address, handshake::Binding};
use tokio::net::{TcpListener, TcpSocket, UnixListener, lookup_host};

use crate::{admission::Peer, connection::Socket};

/// Connections that wait to be accepted: as many as may come while we do something else, so that
/// nobody has to try again in a second. The system may allow fewer.
const BACKLOG: u32 = 4096;

/// A connection that has come in.
pub(crate) struct Accepted {
    pub(crate) socket: Socket,
    pub(crate) peer: Peer,
    /// The peer as the log names it.
    pub(crate) name: String,
    pub(crate) binding: Binding,
}

/// A bound socket.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix { listener: UnixListener, path: PathBuf },
}

impl Listener {
    /// Binds, and says where to: port 0 becomes the port that was picked.
    pub(crate) async fn bind(address: &Address) -> io::Result<(Self, Address)> {
        match address {
            Address::Tcp { host, port } => {
                let listener = listen(host, *port).await?;
                let bound = listener.local_addr()?;
                let address = Address::Tcp { host: bound.ip().to_string(), port: bound.port() };
                Ok((Self::Tcp(listener), address))
            }
            Address::Unix(path) => {
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
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok(Accepted {
                    socket: Socket::Tcp(stream),
                    peer: address.ip().into(),
                    name: address.to_string(),
                    binding: Binding::None,
                })
            }
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                let name = match stream.peer_cred().ok().and_then(|peer| peer.pid()) {
                    Some(pid) => format!("unix, pid {pid}"),
                    None => "unix".into(),
                };
                Ok(Accepted {
                    socket: Socket::Unix(stream),
                    peer: Peer::Local,
                    name,
                    binding: Binding::Unix,
                })
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
