//! Where connections come from.

use std::{
    future::poll_fn,
    io,
    net::{self, SocketAddr},
    os::unix::net as net_unix,
    sync::Arc,
    task::{Context, Poll, ready},
};

use mp_manager_proto::address::Address;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream, lookup_host};

use crate::{admission::Peer, socket_file::SocketFile, tls::Terminator};

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

/// The same, while it belongs to no runtime.
pub(crate) enum Detached {
    Tcp(net::TcpStream),
    Tls(net::TcpStream, Arc<Terminator>),
    Unix(net_unix::UnixStream),
}

impl Stream {
    /// Takes it out of the current runtime.
    pub(crate) fn detach(self) -> io::Result<Detached> {
        Ok(match self {
            Self::Tcp(stream) => Detached::Tcp(stream.into_std()?),
            Self::Tls(stream, terminator) => Detached::Tls(stream.into_std()?, terminator),
            Self::Unix(stream) => Detached::Unix(stream.into_std()?),
        })
    }
}

impl Detached {
    /// Puts it into the current runtime.
    pub(crate) fn attach(self) -> io::Result<Stream> {
        Ok(match self {
            Self::Tcp(stream) => Stream::Tcp(TcpStream::from_std(stream)?),
            Self::Tls(stream, terminator) => Stream::Tls(TcpStream::from_std(stream)?, terminator),
            Self::Unix(stream) => Stream::Unix(UnixStream::from_std(stream)?),
        })
    }
}

/// A bound socket.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Tls {
        listener: TcpListener,
        terminator: Arc<Terminator>,
    },
    /// Fields are dropped in this order: the file goes while its socket is open.
    Unix {
        #[expect(dead_code, reason = "kept to be dropped")]
        file: SocketFile,
        listener: UnixListener,
    },
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
                let (file, listener) = SocketFile::listen(path).await?;
                Ok((Self::Unix { file, listener }, address.clone()))
            }
            _ => Err(io::Error::new(io::ErrorKind::Unsupported, "unknown kind of address")),
        }
    }

    /// The next connection. One task at a time.
    pub(crate) async fn accept(&self) -> io::Result<Accepted> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// The next connection, if there is one. The last who asked is woken when there is.
    pub(crate) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let (stream, address) = match self {
            Self::Tcp(listener) => {
                let (stream, address) = ready!(listener.poll_accept(cx))?;
                (Stream::Tcp(stream), address)
            }
            Self::Tls { listener, terminator } => {
                let (stream, address) = ready!(listener.poll_accept(cx))?;
                (Stream::Tls(stream, Arc::clone(terminator)), address)
            }
            Self::Unix { listener, .. } => {
                let (stream, _) = ready!(listener.poll_accept(cx))?;
                let name = match stream.peer_cred().ok().and_then(|peer| peer.pid()) {
                    Some(pid) => format!("unix, pid {pid}"),
                    None => "unix".into(),
                };
                let stream = Stream::Unix(stream);
                return Poll::Ready(Ok(Accepted { stream, peer: Peer::Local, name }));
            }
        };
        Poll::Ready(Ok(Accepted { stream, peer: address.ip().into(), name: address.to_string() }))
    }
}

pub(crate) fn host_and_port(listener: &TcpListener) -> io::Result<(String, u16)> {
    let bound = listener.local_addr()?;
    Ok((bound.ip().to_string(), bound.port()))
}

/// Listens on the first of a host's addresses that can be listened on.
pub(crate) async fn listen(host: &str, port: u16) -> io::Result<TcpListener> {
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

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Barrier, thread};

    use super::*;

    /// Listens from a thread with a runtime of its own, as another process would.
    fn listen(path: &Path, start: &Barrier) -> Option<tokio::runtime::Runtime> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let address = Address::Unix(path.into());
        start.wait();
        let (listener, _) = runtime.block_on(Listener::bind(&address, None)).ok()?;
        // It listens until its runtime is dropped.
        runtime.spawn(async move {
            let _listener = listener;
            std::future::pending::<()>().await;
        });
        Some(runtime)
    }

    #[test]
    fn one_of_those_that_start_at_once_on_a_stale_socket_listens() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        for round in 0..200 {
            // Dropping the standard library's listener leaves its file.
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
            let start = Barrier::new(4);
            let runtimes: Vec<_> = thread::scope(|scope| {
                let threads: Vec<_> =
                    (0..4).map(|_| scope.spawn(|| listen(&path, &start))).collect();
                threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(runtimes.len(), 1, "listeners in round {round}");
            assert!(std::os::unix::net::UnixStream::connect(&path).is_ok(), "round {round}");
            drop(runtimes);
            assert!(!path.exists(), "round {round}");
        }
    }
}
