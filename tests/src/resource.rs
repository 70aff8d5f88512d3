//! A resource that is guarded by locks and trusts nobody's word: it looks at the fencing tokens, as
//! a disk or a database would, and refuses whoever has been overtaken.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::clock::now_ns;

/// Something that a client does to the resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// The lock that guards it.
    pub lock: u64,
    /// The token of the client's grant.
    pub token: u64,
    /// Who it is.
    pub client: u64,
    /// When the client looked last whether it holds the lock, and did: [`now_ns`].
    pub held_at_ns: u64,
}

/// Two clients that held one lock at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoubleHolder {
    /// What the client did.
    pub access: Access,
    /// The token of the other one.
    pub token: u64,
    /// Who the other one is.
    pub client: u64,
    /// When the resource saw the other's token first.
    pub since_ns: u64,
}

/// What was done to the resource.
#[derive(Debug, Clone, Default)]
pub struct Resource {
    locks: BTreeMap<u64, Tenure>,
    /// Everything that a lock must never let happen.
    pub double_holders: Vec<DoubleHolder>,
    /// Accesses that took place.
    pub accepted: u64,
    /// Accesses of those who had been overtaken.
    pub refused: u64,
}

/// The highest token seen of a lock.
#[derive(Debug, Clone, Copy)]
struct Tenure {
    token: u64,
    client: u64,
    since_ns: u64,
}

impl Resource {
    /// Whether the access may take place, now.
    pub fn access(&mut self, access: Access, now_ns: u64) -> bool {
        let Access { lock, token, client, held_at_ns } = access;
        let new = Tenure { token, client, since_ns: now_ns };
        let tenure = self.locks.entry(lock).or_insert(new);
        if token > tenure.token {
            *tenure = new;
        }
        let Tenure { token: highest, client: holder, since_ns } = *tenure;
        let overtaken = token < highest;
        // Nobody holds a lock by another's token, nor still holds it when another's has been seen.
        if (!overtaken && client != holder) || (overtaken && held_at_ns > since_ns) {
            let double = DoubleHolder { access, token: highest, client: holder, since_ns };
            self.double_holders.push(double);
        }
        *(if overtaken { &mut self.refused } else { &mut self.accepted }) += 1;
        !overtaken
    }
}

/// A [`Resource`] that clients reach over TCP.
#[derive(Debug)]
pub struct ResourceServer {
    resource: Arc<Mutex<Resource>>,
    listening: Vec<JoinHandle<()>>,
}

impl ResourceServer {
    /// One that nobody reaches yet.
    #[must_use]
    pub fn new() -> Self {
        Self { resource: Arc::default(), listening: Vec::new() }
    }

    /// Listens on an address as well; port 0 lets the system pick one. Where it does.
    ///
    /// # Errors
    /// If it cannot.
    pub async fn listen(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let resource = Arc::clone(&self.resource);
        self.listening.push(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&resource)));
            }
        }));
        Ok(address)
    }

    /// What was done so far.
    #[must_use]
    pub fn seen(&self) -> Resource {
        self.resource.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Default for ResourceServer {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for ResourceServer {
    fn drop(&mut self) {
        self.listening.iter().for_each(JoinHandle::abort);
    }
}

async fn serve(mut stream: TcpStream, resource: Arc<Mutex<Resource>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let access = Access {
            lock: stream.read_u64().await?,
            token: stream.read_u64().await?,
            client: stream.read_u64().await?,
            held_at_ns: stream.read_u64().await?,
        };
        let accepted = {
            let mut resource = resource.lock().unwrap_or_else(PoisonError::into_inner);
            resource.access(access, now_ns())
        };
        stream.write_u8(accepted.into()).await?;
    }
}

/// A client's connection to a [`ResourceServer`].
#[derive(Debug)]
pub struct ResourceClient {
    stream: TcpStream,
}

impl ResourceClient {
    /// Connects.
    ///
    /// # Errors
    /// If nobody listens there.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    /// Whether the access took place.
    ///
    /// # Errors
    /// If the connection breaks: nobody knows, then.
    pub async fn access(&mut self, access: Access) -> io::Result<bool> {
        let Access { lock, token, client, held_at_ns } = access;
        let mut request = [0; 32];
        for (place, n) in request.chunks_mut(8).zip([lock, token, client, held_at_ns]) {
            place.copy_from_slice(&n.to_be_bytes());
        }
        self.stream.write_all(&request).await?;
        Ok(self.stream.read_u8().await? == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(token: u64, client: u64, held_at_ns: u64) -> Access {
        Access { lock: 1, token, client, held_at_ns }
    }

    #[test]
    fn who_was_overtaken_is_refused() {
        let mut resource = Resource::default();
        assert!(resource.access(access(5, 1, 10), 11));
        assert!(resource.access(access(5, 1, 12), 13));
        assert!(resource.access(access(6, 2, 20), 21));
        // It was stopped after it had looked.
        assert!(!resource.access(access(5, 1, 19), 22));
        assert!(resource.access(Access { lock: 2, ..access(1, 1, 22) }, 23));
        assert_eq!((resource.accepted, resource.refused), (4, 1));
        assert_eq!(resource.double_holders, []);
    }

    #[test]
    fn two_who_hold_at_the_same_time_are_found() {
        let mut resource = Resource::default();
        assert!(resource.access(access(6, 2, 20), 21));
        assert!(!resource.access(access(5, 1, 22), 23));
        let Some(double) = resource.double_holders.pop() else { panic!("it was not found") };
        assert_eq!((double.access.client, double.client, double.since_ns), (1, 2, 21));
        // Nor does anybody have another's token.
        resource.access(access(6, 3, 24), 25);
        assert_eq!(resource.double_holders.len(), 1);
    }

    #[tokio::test]
    async fn it_is_reached_over_tcp() -> io::Result<()> {
        let mut server = ResourceServer::new();
        let address = server.listen("127.0.0.1:0".parse().unwrap()).await?;
        let (mut one, mut two) =
            (ResourceClient::connect(address).await?, ResourceClient::connect(address).await?);
        assert!(one.access(access(5, 1, 0)).await?);
        assert!(two.access(access(6, 2, 0)).await?);
        assert!(!one.access(access(5, 1, 0)).await?);
        assert_eq!(server.seen().refused, 1);
        Ok(())
    }
}
