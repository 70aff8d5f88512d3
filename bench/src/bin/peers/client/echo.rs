//! As many bytes as a request and its reply of ours have, sent and sent back: the limit of the machine.

use std::{io, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::Mutex,
};

use super::peer::Peer;
use crate::error;

/// The bytes of a reply of ours on the wire, as `strace` shows them; requests have 38 (a get) and 78 (an insert).
const BYTES: usize = 60;

trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Socket for T {}

#[derive(Clone)]
pub(super) struct Echo(Arc<Mutex<Box<dyn Socket>>>);

impl Echo {
    async fn call(&self) -> io::Result<()> {
        let mut socket = self.0.lock().await;
        let mut bytes = [7; BYTES];
        socket.write_all(&bytes).await?;
        socket.read_exact(&mut bytes).await.map(drop)
    }
}

impl Peer for Echo {
    async fn connect(address: &str) -> io::Result<Self> {
        let socket: Box<dyn Socket> = match address.strip_prefix("unix:") {
            Some(path) => Box::new(UnixStream::connect(path).await?),
            None => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        };
        Ok(Self(Arc::new(Mutex::new(socket))))
    }

    async fn insert(&mut self, _key: u64) -> io::Result<()> {
        self.call().await
    }

    async fn get(&mut self, _key: u64) -> io::Result<()> {
        self.call().await
    }

    async fn acquire(&mut self) -> io::Result<()> {
        self.call().await
    }

    async fn release(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends back what comes, on each connection; says where it listens.
pub(crate) fn serve(address: &str) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match address.strip_prefix("unix:") {
            Some(path) => {
                let listener = UnixListener::bind(path)?;
                println!("{address}");
                loop {
                    tokio::spawn(send_back(listener.accept().await?.0));
                }
            }
            None => {
                let listener = TcpListener::bind(address).await?;
                println!("{}", listener.local_addr()?);
                loop {
                    let (stream, _) = listener.accept().await?;
                    stream.set_nodelay(true)?;
                    tokio::spawn(send_back(stream));
                }
            }
        }
    })
}

async fn send_back(mut socket: impl Socket) -> io::Result<()> {
    let mut bytes = [0; 4096];
    loop {
        let count = socket.read(&mut bytes).await?;
        if count == 0 {
            return Ok(());
        }
        socket.write_all(&bytes[..count]).await.map_err(error)?;
    }
}
