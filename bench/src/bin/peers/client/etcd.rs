//! etcd's locks, by the few messages that they take.

use std::io;

use prost::Message;
use tonic::{
    Request,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use super::peer::Peer;
use crate::error;

/// In seconds.
const LEASE: i64 = 60;

#[derive(Clone, PartialEq, Message)]
struct LeaseGrant {
    #[prost(int64, tag = "1")]
    ttl: i64,
}

#[derive(Clone, PartialEq, Message)]
struct LeaseGranted {
    #[prost(int64, tag = "2")]
    id: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Acquire {
    #[prost(bytes, tag = "1")]
    name: Vec<u8>,
    #[prost(int64, tag = "2")]
    lease: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Acquired {
    #[prost(bytes, tag = "2")]
    key: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Release {
    #[prost(bytes, tag = "1")]
    key: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Released {}

#[derive(Clone)]
pub(super) struct Etcd {
    grpc: Grpc<Channel>,
    lease: i64,
    held: Vec<u8>,
}

impl Etcd {
    async fn ask<Q, A>(&mut self, path: &'static str, question: Q) -> io::Result<A>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        self.grpc.ready().await.map_err(error)?;
        let codec = ProstCodec::<Q, A>::default();
        let path = PathAndQuery::from_static(path);
        let answer = self.grpc.unary(Request::new(question), path, codec).await;
        answer.map(tonic::Response::into_inner).map_err(error)
    }
}

impl Peer for Etcd {
    async fn connect(address: &str) -> io::Result<Self> {
        let endpoint = Endpoint::from_shared(address.to_owned()).map_err(error)?;
        let channel = endpoint.tcp_nodelay(true).connect().await.map_err(error)?;
        let mut etcd = Self { grpc: Grpc::new(channel), lease: 0, held: Vec::new() };
        let granted: LeaseGranted =
            etcd.ask("/etcdserverpb.Lease/LeaseGrant", LeaseGrant { ttl: LEASE }).await?;
        etcd.lease = granted.id;
        Ok(etcd)
    }

    async fn acquire(&mut self) -> io::Result<()> {
        let question = Acquire { name: b"lock".to_vec(), lease: self.lease };
        let acquired: Acquired = self.ask("/v3lockpb.Lock/Lock", question).await?;
        self.held = acquired.key;
        Ok(())
    }

    async fn release(&mut self) -> io::Result<()> {
        let question = Release { key: std::mem::take(&mut self.held) };
        self.ask("/v3lockpb.Lock/Unlock", question).await.map(|Released {}| ())
    }
}
