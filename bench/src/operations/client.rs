//! The client from a proxy's method to its frame and back, without a connection.

use std::{
    cell::Cell,
    future::{Future, IntoFuture},
    hint::black_box,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use mp_manager::{Dict, Manager, simulation::Wire};
use mp_manager_proto::v1::{
    Challenge, Delivery, Empty, Grant, Kind, Limits, Opened, QueueOp, Ref, Reply, Request,
    ServerFrame, Value, Welcome, dict_op, directory_op, lock_op, queue_op, reply, request,
};

/// Calls at a time of the row that has several.
const AT_A_TIME: u32 = 64;
const SERVER: u64 = 1;

pub(super) fn get(times: u32) -> io::Result<()> {
    let client = Client::connect();
    let dict = client.dict()?;
    for n in 0..times {
        black_box(client.finish(dict.get(&u64::from(n)))?);
    }
    Ok(())
}

/// The same, 64 calls at a time.
pub(super) fn get_many(times: u32) -> io::Result<()> {
    let client = Client::connect();
    let dict = client.dict()?;
    let keys: Vec<u64> = (0..AT_A_TIME.into()).collect();
    for _ in 0..times / AT_A_TIME {
        let mut calls: Vec<_> = keys.iter().map(|key| Box::pin(dict.get(key))).collect();
        for call in &mut calls {
            if poll(call.as_mut()).is_ready() {
                return Err(io::Error::other("the call ended without a reply"));
            }
        }
        client.exchange()?;
        for call in &mut calls {
            black_box(ended(poll(call.as_mut()))?);
        }
    }
    Ok(())
}

pub(super) fn insert(times: u32) -> io::Result<()> {
    let client = Client::connect();
    let dict = client.dict()?;
    for n in 0..times {
        black_box(client.finish(dict.insert(&u64::from(n), VALUE))?);
    }
    Ok(())
}

/// One operation is to acquire and to release.
pub(super) fn lock(times: u32) -> io::Result<()> {
    let client = Client::connect();
    let lock = client.finish(client.manager.lock("lock").into_future())?;
    for _ in 0..times {
        let guard = client.finish(lock.acquire())?;
        client.finish(guard.release())?;
    }
    Ok(())
}

/// One operation is to put an item and to get it.
pub(super) fn queue(times: u32) -> io::Result<()> {
    let client = Client::connect();
    let queue = client.finish(client.manager.queue::<String>("queue").into_future())?;
    for _ in 0..times {
        client.finish(queue.put(VALUE))?;
        black_box(client.finish(queue.get())?);
    }
    Ok(())
}

/// 32 characters.
const VALUE: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
/// The same, encoded.
const ENCODED: &[u8] = b"\xd9\x20xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

/// A manager whose frames are answered here.
struct Client {
    manager: Manager,
    wire: Wire,
    connection: u64,
    /// The last fencing token that was handed out.
    token: Cell<u64>,
}

impl Client {
    fn connect() -> Self {
        let now = Duration::from_secs(1);
        let (manager, wire) = Wire::new(move || now, false, Duration::from_secs(10));
        let limits = Limits {
            max_open_requests: 4096,
            max_requests_per_frame: 1024,
            max_frame_bytes: 16 << 20,
            max_value_bytes: 16 << 20,
            max_key_bytes: 64 << 10,
            max_name_bytes: 1 << 10,
            ..Limits::default()
        };
        let welcome = Welcome {
            session: 1,
            resume_secret: Bytes::from_static(&[7; 32]),
            lease_ms: 10_000,
            limits: Some(limits),
            ..Welcome::default()
        };
        let challenge = Challenge { server_id: SERVER, epoch: 1, ..Challenge::default() };
        let (_, connection) = wire.connected(&welcome, &challenge, now);
        Self { manager, wire, connection, token: Cell::new(0) }
    }

    fn dict(&self) -> io::Result<Dict<u64, String>> {
        self.finish(self.manager.dict("dict").into_future())
    }

    /// Polls a call, answers what it asks, and polls it again until it has ended.
    fn finish<T>(&self, call: impl Future<Output = mp_manager::Result<T>>) -> io::Result<T> {
        let mut call = pin!(call);
        loop {
            match poll(call.as_mut()) {
                Poll::Ready(result) => return result.map_err(io::Error::other),
                Poll::Pending => self.exchange()?,
            }
        }
    }

    /// Takes out the frame with everything there is to say, and puts in one that answers it.
    fn exchange(&self) -> io::Result<()> {
        let Poll::Ready(Some(frame)) = self.wire.poll_frame(self.connection, Waker::noop()) else {
            return Err(io::Error::other("there is nothing to send"));
        };
        let replies = frame.requests.iter().map(|request| self.reply(request));
        let replies = replies.collect::<io::Result<Vec<_>>>()?;
        let frame = ServerFrame { echo: frame.number, replies, ..ServerFrame::default() };
        match self.wire.receive(self.connection, frame) {
            None => Ok(()),
            Some(farewell) => Err(io::Error::other(farewell.message)),
        }
    }

    fn reply(&self, request: &Request) -> io::Result<Reply> {
        use request::Op;
        let Request { seq, op: Some(op), .. } = request else {
            return Err(io::Error::other("the request has no operation"));
        };
        let value = || Value { data: Bytes::from_static(ENCODED), refs: Vec::new() };
        let result = match op {
            Op::Directory(op) => match &op.op {
                Some(directory_op::Op::Open(open)) => opened(open.kind()),
                _ => reply::Result::Done(Empty {}),
            },
            Op::Dict(op) => match &op.op {
                Some(dict_op::Op::Get(_) | dict_op::Op::Insert(_)) => reply::Result::Value(value()),
                _ => reply::Result::Done(Empty {}),
            },
            Op::Lock(op) => match &op.op {
                Some(lock_op::Op::Acquire(_)) => {
                    self.token.set(self.token.get() + 1);
                    reply::Result::Grant(Grant { token: self.token.get(), depth: 1 })
                }
                _ => reply::Result::Done(Empty {}),
            },
            Op::Queue(QueueOp { op: Some(queue_op::Op::Get(_)) }) => {
                reply::Result::Delivery(Delivery {
                    ticket: *seq,
                    value: Some(value()),
                    deliveries: 1,
                    priority: None,
                })
            }
            _ => reply::Result::Done(Empty {}),
        };
        Ok(Reply { seq: *seq, result: Some(result) })
    }
}

fn opened(kind: Kind) -> reply::Result {
    let reference = Ref { server: SERVER, kind: kind.into(), object: 7 };
    reply::Result::Opened(Opened { r#ref: Some(reference), ..Opened::default() })
}

fn poll<F: Future>(call: Pin<&mut F>) -> Poll<F::Output> {
    call.poll(&mut Context::from_waker(Waker::noop()))
}

fn ended<T>(poll: Poll<mp_manager::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result.map_err(io::Error::other),
        Poll::Pending => Err(io::Error::other("the call has no reply")),
    }
}
