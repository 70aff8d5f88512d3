//! A TCP proxy that does to connections what networks do: it delays, throttles, cuts, goes silent
//! and refuses, whenever it is told to.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

/// What is taken in at a time.
const PIECE_BYTES: usize = 16 << 10;
/// A throttled direction says something so many times a second.
const PIECES_PER_SECOND: u64 = 20;
/// How long a connection that was finished is still read from, so that its end is not a reset.
const FINISHING: Duration = Duration::from_secs(1);

/// What happens to connections from now on, also to those that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// Nothing: data passes.
    #[default]
    None,
    /// Every piece of data comes so much later.
    Delay(Duration),
    /// At most so many bytes a second in each direction.
    Throttle(u64),
    /// Half-open: what is sent in this direction is taken and never arrives, nor does its end. A
    /// connection that lost something like that stays silent until it is cut.
    Swallow(Direction),
    /// New connections are reset at once; those that are there go on.
    Refuse,
}

/// Which way data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they say it")]
pub enum Direction {
    ToServer,
    ToClient,
    Both,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// With RST, as a firewall or a crash does it.
    Reset,
    /// With FIN, in both directions: nothing more comes.
    Finish,
}

/// A proxy on a port of its own; its connections are reset when it is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    fault: watch::Sender<Fault>,
    /// Changed by each cut.
    cut: watch::Sender<Cut>,
    connections: AtomicUsize,
    swallowed_bytes: AtomicU64,
}

impl FaultProxy {
    /// A proxy on 127.0.0.1 in front of a server.
    ///
    /// # Errors
    /// If there is no port.
    pub async fn start(server: SocketAddr) -> io::Result<Self> {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), server).await
    }

    /// A proxy on another address of this machine's.
    ///
    /// # Errors
    /// If it has no such address.
    pub async fn start_at(address: IpAddr, server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((address, 0)).await?;
        let shared = Arc::new(Shared {
            fault: watch::Sender::new(Fault::None),
            cut: watch::Sender::new(Cut::Reset),
            connections: AtomicUsize::new(0),
            swallowed_bytes: AtomicU64::new(0),
        });
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(accept(listener, server, Arc::clone(&shared)));
        Ok(Self { address, shared, accepting })
    }

    /// Where clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on this happens, instead of what happened before.
    pub fn set(&self, fault: Fault) {
        self.shared.fault.send_replace(fault);
    }

    /// Cuts every connection there is; how many.
    pub fn cut_all(&self, cut: Cut) -> usize {
        self.shared.cut.send_replace(cut);
        self.connections()
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// What was taken and did not arrive.
    #[must_use]
    pub fn swallowed_bytes(&self) -> u64 {
        self.shared.swallowed_bytes.load(Ordering::SeqCst)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut_all(Cut::Reset);
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((client, _)) if *shared.fault.borrow() == Fault::Refuse => {
                drop(client.set_zero_linger());
            }
            Ok((client, _)) => {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let (cuts, shared) = (shared.cut.subscribe(), Arc::clone(&shared));
                tokio::spawn(async move {
                    let _ = serve(client, server, cuts, &shared).await;
                    shared.connections.fetch_sub(1, Ordering::SeqCst);
                });
            }
            // No descriptors are left; trying again at once would spin.
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn serve(
    mut client: TcpStream,
    server: SocketAddr,
    mut cuts: watch::Receiver<Cut>,
    shared: &Shared,
) -> io::Result<()> {
    let mut server = tokio::select! {
        server = TcpStream::connect(server) => server?,
        _ = cuts.changed() => return client.set_zero_linger(),
    };
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let how = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        let up = pump(from_client, to_server, Direction::ToServer, shared);
        let down = pump(from_server, to_client, Direction::ToClient, shared);
        tokio::select! {
            ended = async { tokio::try_join!(up, down) } => match ended {
                Ok(_) => return Ok(()),
                // What one side did, the other feels.
                Err(_) => Cut::Reset,
            },
            _ = cuts.changed() => *cuts.borrow_and_update(),
        }
    };
    match how {
        Cut::Reset => {
            client.set_zero_linger()?;
            server.set_zero_linger()
        }
        Cut::Finish => {
            let _ =
                timeout(FINISHING, async { tokio::join!(finish(client), finish(server)) }).await;
            Ok(())
        }
    }
}

/// Says that nothing more comes, and waits until the other side says it, too.
async fn finish(mut stream: TcpStream) -> io::Result<u64> {
    stream.shutdown().await?;
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
}

/// Passes on in one direction, as far as the fault of the moment lets it.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    direction: Direction,
    shared: &Shared,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut is_silent = false;
    loop {
        let fault = *shared.fault.borrow();
        let most = match fault {
            Fault::Throttle(rate) => (rate / PIECES_PER_SECOND).max(1),
            _ => u64::MAX,
        };
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let read = from.read(&mut piece[..most]).await;
        // It may have been set while nothing came.
        let fault = *shared.fault.borrow();
        is_silent |=
            matches!(fault, Fault::Swallow(d) if [direction, Direction::Both].contains(&d));
        match read {
            Ok(0) | Err(_) if is_silent => std::future::pending().await,
            Ok(0) => return to.shutdown().await,
            Ok(n) if is_silent => {
                shared.swallowed_bytes.fetch_add(n as u64, Ordering::SeqCst);
            }
            Ok(n) => {
                match fault {
                    Fault::Delay(delay) => sleep(delay).await,
                    Fault::Throttle(rate) => {
                        sleep(Duration::from_secs(1).mul_f64(n as f64 / rate.max(1) as f64)).await;
                    }
                    _ => {}
                }
                to.write_all(&piece[..n]).await?;
            }
            Err(error) => return Err(error),
        }
    }
}
