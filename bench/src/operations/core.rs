//! The state machines of the server, without a server: objects alone, and with the session and outbox
//! that an operation passes through.

use std::{hint::black_box, io, time::Duration};

use bytes::Bytes;
use mp_manager_core::{
    Answer, Call, CallId, Error, Limits, Object, Outbox, Outcome, Seq, SessionId, Tokens, Turn,
    session::{self, Admission, Next, Session},
    v1::{
        ClientFrame, Delivery, DictOp, Empty, Entry, Grant, Kind, LockOp, QueueItem, QueueOp,
        Request, SeqRange, ServerFrame, Value, dict_op, lock_op, queue_op, reply, request,
    },
};
use mp_manager_proto::{operation::request_waits, value};

/// Keys of the dict.
const KEYS: u64 = 1024;
const SESSION: SessionId = 1;
const OBJECT: u64 = 7;
const NOW: Duration = Duration::from_secs(1);
const FRAME_BYTES: usize = 1 << 20;

/// An object, one session and its outbox, driven as the server drives them.
struct Server {
    object: Object,
    limits: Limits,
    tokens: Tokens,
    session: Session,
    outbox: Outbox<()>,
    session_limits: session::Limits,
    frame: u64,
    seq: Seq,
    /// The last seq that was acknowledged.
    acknowledged: Seq,
}

pub(super) fn dict_get(times: u32) -> io::Result<()> {
    let (mut server, keys) = Server::with_dict()?;
    for n in 0..times {
        server.apply(get(&keys, n))?;
    }
    Ok(())
}

pub(super) fn dict_insert(times: u32) -> io::Result<()> {
    let (mut server, keys) = Server::with_dict()?;
    for n in 0..times {
        server.apply(insert(&keys, n))?;
    }
    Ok(())
}

/// One operation is to acquire and to release.
pub(super) fn lock(times: u32) -> io::Result<()> {
    let mut server = Server::new(Kind::Lock)?;
    for _ in 0..times {
        let Grant { token, .. } = granted(server.apply(acquire())?)?;
        server.object.acknowledge(CallId { session: SESSION, seq: server.seq });
        server.apply(release(token))?;
    }
    Ok(())
}

/// One operation is to put an item and to get it.
pub(super) fn queue(times: u32) -> io::Result<()> {
    let mut server = Server::new(Kind::Queue)?;
    for _ in 0..times {
        server.apply(put())?;
        delivered(server.apply(take())?)?;
        server.object.acknowledge(CallId { session: SESSION, seq: server.seq });
    }
    Ok(())
}

pub(super) fn session_get(times: u32) -> io::Result<()> {
    let (mut server, keys) = Server::with_dict()?;
    for n in 0..times {
        server.answer([get(&keys, n)])?;
    }
    Ok(())
}

/// The same, 64 of them in a frame.
pub(super) fn session_get_many(times: u32) -> io::Result<()> {
    const PER_FRAME: u32 = 64;
    let (mut server, keys) = Server::with_dict()?;
    for frame in 0..times / PER_FRAME {
        server.answer((0..PER_FRAME).map(|n| get(&keys, frame * PER_FRAME + n)))?;
    }
    Ok(())
}

pub(super) fn session_lock(times: u32) -> io::Result<()> {
    let mut server = Server::new(Kind::Lock)?;
    for _ in 0..times {
        let Grant { token, .. } = granted(only(server.answer([acquire()])?)?)?;
        server.answer([release(token)])?;
    }
    Ok(())
}

pub(super) fn session_queue(times: u32) -> io::Result<()> {
    let mut server = Server::new(Kind::Queue)?;
    for _ in 0..times {
        server.answer([put()])?;
        delivered(only(server.answer([take()])?)?)?;
    }
    Ok(())
}

impl Server {
    fn new(kind: Kind) -> io::Result<Self> {
        let (limits, tokens) = (Limits::default(), Tokens::after(0));
        let mut turn = Turn::new(&limits, &tokens, &|_| None);
        let object = Object::create(kind, None, 7, &mut turn).map_err(refused)?;
        let session_limits = session::Limits {
            max_requests_per_frame: 1024,
            max_open_requests: 4096,
            max_parked_calls: 4096,
            max_unacknowledged_bytes: 64 << 20,
            max_pending_bytes: 64 << 20,
        };
        Ok(Self {
            object,
            limits,
            tokens,
            session: Session::new(SESSION, Duration::from_secs(10), NOW),
            outbox: Outbox::default(),
            session_limits,
            frame: 0,
            seq: 0,
            acknowledged: 0,
        })
    }

    fn with_dict() -> io::Result<(Self, Vec<Bytes>)> {
        let keys = (0..KEYS).map(|key| value::encode_key(&key).map(Bytes::from));
        let keys: Vec<Bytes> = keys.collect::<Result<_, _>>().map_err(io::Error::other)?;
        let mut server = Self::new(Kind::Dict)?;
        for n in 0..KEYS as u32 {
            server.apply(insert(&keys, n))?;
        }
        Ok((server, keys))
    }

    /// Applies one operation to the object.
    fn apply(&mut self, op: request::Op) -> io::Result<reply::Result> {
        self.seq += 1;
        let call = Call { id: CallId { session: SESSION, seq: self.seq }, may_wait: true };
        let mut turn = Turn::new(&self.limits, &self.tokens, &|_| None);
        match black_box(self.object.apply(call, op, &mut turn)).map_err(refused)? {
            Outcome::Done(answer) => Ok(answer.result),
            Outcome::Parked => Err(io::Error::other("the call waits")),
        }
    }

    /// Takes in a frame that acknowledges the replies of the frame before and has these requests, and
    /// returns the frame with their replies.
    fn answer(&mut self, ops: impl IntoIterator<Item = request::Op>) -> io::Result<ServerFrame> {
        self.frame += 1;
        let acks = vec![SeqRange { first: self.acknowledged + 1, last: self.seq }];
        self.acknowledged = self.seq;
        let request = |op| {
            self.seq += 1;
            Request { seq: self.seq, object: OBJECT, op: Some(op), ..Request::default() }
        };
        let requests = ops.into_iter().map(request).collect();
        let frame = ClientFrame { number: self.frame, acks, requests, ..ClientFrame::default() };
        let settle = self
            .session
            .frame(Session::FIRST, frame, NOW, &self.session_limits)
            .map_err(refused)?
            .ok_or_else(|| io::Error::other("the frame is not taken in"))?;
        let (settled, result) = self.outbox.settle(settle);
        result.map_err(refused)?;
        for (seq, ()) in &settled.acknowledged {
            self.object.acknowledge(CallId { session: SESSION, seq: *seq });
        }
        drop(settled);
        self.start_all()?;
        let frame = self.outbox.take_frame(Session::FIRST, self.frame, FRAME_BYTES);
        black_box(frame).ok_or_else(|| io::Error::other("there is no reply"))
    }

    fn start_all(&mut self) -> io::Result<()> {
        loop {
            let load = self.outbox.load();
            match self.session.next(Session::FIRST, &load, &self.session_limits) {
                Ok(Next::Start(request)) => {
                    let admitted = self.session_limits.admit(&load, request_waits(&request));
                    let Ok(Admission::MayWait) = admitted else {
                        return Err(io::Error::other("the request is not admitted"));
                    };
                    self.start(request)?;
                }
                Ok(Next::Read) => return Ok(()),
                Ok(Next::Refuse(_, error)) | Err(error) => return Err(refused(error)),
                Ok(Next::End) => return Err(io::Error::other("the session has ended")),
            }
        }
    }

    fn start(&mut self, request: Request) -> io::Result<()> {
        let Request { seq, timeout_us, op: Some(op), .. } = request else {
            return Err(io::Error::other("the request has no operation"));
        };
        let may_wait = timeout_us != Some(0);
        let call = Call { id: CallId { session: SESSION, seq }, may_wait };
        let mut turn = Turn::new(&self.limits, &self.tokens, &|_| None);
        let result = match self.object.apply(call, op, &mut turn) {
            Ok(Outcome::Done(answer)) => Ok::<Answer, Error>(answer),
            Ok(Outcome::Parked) => return Err(io::Error::other("the call waits")),
            Err(error) => Err(error),
        };
        drop(self.outbox.reply(seq, result, || ()));
        Ok(())
    }
}

fn refused(error: Error) -> io::Error {
    io::Error::other(error.message)
}

fn only(mut frame: ServerFrame) -> io::Result<reply::Result> {
    let result = frame.replies.pop().and_then(|reply| reply.result);
    result.ok_or_else(|| io::Error::other("there is no reply"))
}

fn granted(result: reply::Result) -> io::Result<Grant> {
    match result {
        reply::Result::Grant(grant) => Ok(grant),
        other => Err(io::Error::other(format!("not granted: {other:?}"))),
    }
}

fn delivered(result: reply::Result) -> io::Result<Delivery> {
    match result {
        reply::Result::Delivery(delivery) => Ok(delivery),
        other => Err(io::Error::other(format!("not delivered: {other:?}"))),
    }
}

/// 32 characters, encoded.
fn item() -> Value {
    static DATA: [u8; 34] = {
        let mut data = [b'x'; 34];
        (data[0], data[1]) = (0xd9, 32);
        data
    };
    Value { data: Bytes::from_static(&DATA), refs: Vec::new() }
}

fn key(keys: &[Bytes], n: u32) -> Bytes {
    keys[n as usize % keys.len()].clone()
}

fn get(keys: &[Bytes], n: u32) -> request::Op {
    request::Op::Dict(DictOp { op: Some(dict_op::Op::Get(key(keys, n))) })
}

fn insert(keys: &[Bytes], n: u32) -> request::Op {
    let entry = Entry { key: key(keys, n), value: Some(item()) };
    request::Op::Dict(DictOp { op: Some(dict_op::Op::Insert(entry)) })
}

fn acquire() -> request::Op {
    request::Op::Lock(LockOp { op: Some(lock_op::Op::Acquire(Empty {})) })
}

fn release(token: u64) -> request::Op {
    request::Op::Lock(LockOp { op: Some(lock_op::Op::Release(token)) })
}

fn put() -> request::Op {
    let item = QueueItem { value: Some(item()), priority: None };
    request::Op::Queue(QueueOp { op: Some(queue_op::Op::Put(item)) })
}

fn take() -> request::Op {
    request::Op::Queue(QueueOp { op: Some(queue_op::Op::Get(Empty {})) })
}
