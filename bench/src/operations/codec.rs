//! Values, and the frames they travel in.

use std::{hint::black_box, io};

use bytes::Bytes;
use mp_manager_proto::{
    frame::{EncodedFrame, Limits},
    v1::{
        ClientFrame, DictOp, Entry, Reply, Request, SeqRange, ServerFrame, Value, dict_op, reply,
        request,
    },
    value,
};
use prost::Message;
use serde::{Deserialize, Serialize};

/// Requests and replies of one frame.
const PER_FRAME: u32 = 16;

/// A value as programs have them.
#[derive(Debug, Serialize, Deserialize)]
struct Job {
    id: u64,
    name: String,
    tags: Vec<String>,
    weight: f64,
    parent: Option<u64>,
}

fn job() -> Job {
    Job {
        id: 1 << 40,
        name: "count the words of a repository".into(),
        tags: ["text", "slow", "nightly"].map(str::to_owned).into(),
        weight: 0.75,
        parent: Some(17),
    }
}

pub(super) fn value_encode(times: u32) -> io::Result<()> {
    let job = job();
    for _ in 0..times {
        black_box(value::encode(black_box(&job)).map_err(io::Error::other)?);
    }
    Ok(())
}

pub(super) fn value_decode(times: u32) -> io::Result<()> {
    let bytes = value::encode(&job()).map_err(io::Error::other)?;
    for _ in 0..times {
        let job: Job = value::decode(black_box(&bytes)).map_err(io::Error::other)?;
        black_box(job);
    }
    Ok(())
}

/// A string, which has one form, and a pair, whose canonical form has to be found.
pub(super) fn key_encode(times: u32) -> io::Result<()> {
    for n in 0..times {
        if n % 2 == 0 {
            black_box(value::encode_key(black_box("alice")).map_err(io::Error::other)?);
        } else {
            black_box(value::encode_key(black_box(&("alice", n))).map_err(io::Error::other)?);
        }
    }
    Ok(())
}

/// As the client writes a frame: request by request, and then the rest. One operation is one request.
pub(super) fn requests_encode(times: u32) -> io::Result<()> {
    let (frame, requests) = frame_and_requests();
    for _ in 0..times / PER_FRAME {
        let mut encoded = EncodedFrame::with_capacity(2048);
        requests.iter().for_each(|request| encoded.request(request));
        encoded.finish(&frame);
        black_box(encoded.into_message());
    }
    Ok(())
}

pub(super) fn requests_decode(times: u32) -> io::Result<()> {
    let (frame, requests) = frame_and_requests();
    let bytes = Bytes::from(ClientFrame { requests, ..frame }.encode_to_vec());
    for _ in 0..times / PER_FRAME {
        black_box(ClientFrame::decode(bytes.clone()).map_err(io::Error::other)?);
    }
    Ok(())
}

/// A frame that is long enough to be weighed before it is decoded. One operation is one request.
pub(super) fn requests_weigh(times: u32) -> io::Result<()> {
    const TOGETHER: u32 = 16;
    let limits = Limits { max_requests: 1024, max_open_requests: 65_536 };
    let (frame, requests) = frame_and_requests();
    let requests = (0..TOGETHER).flat_map(|_| requests.clone()).collect();
    let bytes = ClientFrame { requests, ..frame }.encode_to_vec();
    for _ in 0..times / (PER_FRAME * TOGETHER) {
        black_box(limits.look(black_box(&bytes)).map_err(io::Error::other)?);
    }
    Ok(())
}

/// One operation is one reply.
pub(super) fn replies_encode(times: u32) -> io::Result<()> {
    let frame = replies();
    for _ in 0..times / PER_FRAME {
        black_box(black_box(&frame).encode_to_vec());
    }
    Ok(())
}

pub(super) fn replies_decode(times: u32) -> io::Result<()> {
    let bytes = Bytes::from(replies().encode_to_vec());
    for _ in 0..times / PER_FRAME {
        black_box(ServerFrame::decode(bytes.clone()).map_err(io::Error::other)?);
    }
    Ok(())
}

fn data() -> Bytes {
    Bytes::from_static(b"\xd9\x20xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")
}

/// Half of them read, the other half write.
fn frame_and_requests() -> (ClientFrame, Vec<Request>) {
    let key = Bytes::from_static(b"\xa5alice");
    let requests = (0..u64::from(PER_FRAME)).map(|n| {
        let op = if n % 2 == 0 {
            dict_op::Op::Get(key.clone())
        } else {
            let value = Some(Value { data: data(), refs: Vec::new() });
            dict_op::Op::Insert(Entry { key: key.clone(), value })
        };
        let op = Some(request::Op::Dict(DictOp { op: Some(op) }));
        Request { seq: 1000 + n, object: 7, op, ..Request::default() }
    });
    let acks = vec![SeqRange { first: 984, last: 999 }];
    (ClientFrame { number: 63, acks, ..ClientFrame::default() }, requests.collect())
}

fn replies() -> ServerFrame {
    let replies = (0..u64::from(PER_FRAME)).map(|n| {
        let result = reply::Result::Value(Value { data: data(), refs: Vec::new() });
        Reply { seq: 1000 + n, result: Some(result) }
    });
    ServerFrame { echo: 63, replies: replies.collect(), ..ServerFrame::default() }
}
