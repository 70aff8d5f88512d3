//! Frames that break the protocol end their session; requests that make no sense are refused one by
//! one.

use mp_manager_proto::v1::{
    ClientFrame, DictOp, DirectoryOp, Empty, Entry, Fence, Grant, Kind, LockOp, Open, QueueOp,
    Reason, Reconcile, Request, SeqRange, Value, dict_op, directory_op, lock_op, queue_op, reply,
    request,
};
use mp_manager_tests::{TestServer, raw::RawSession, within};

use crate::{Innocent, dict, lock};

#[tokio::test]
async fn what_breaks_the_protocol_ends_the_session() {
    let server = TestServer::with(|options| options.limits.max_requests_per_frame = 3);
    let innocent = Innocent::on(&server).await;
    let ping = |seq| Request { seq, op: Some(ping()), ..Request::default() };
    let requests = |seqs: &[u64]| seqs.iter().copied().map(ping).collect();
    let frame = |requests| ClientFrame { number: 1, requests, ..ClientFrame::default() };
    let cases = [
        (ClientFrame { number: 0, ..frame(vec![]) }, "frame 0 came where 1 was expected"),
        (ClientFrame { number: 2, ..frame(vec![]) }, "frame 2 came where 1 was expected"),
        (frame(requests(&[1, 2, 3, 4])), "a frame has 4 requests; the limit is 3"),
        (frame(requests(&[0])), "request 0 came after request 0"),
        (frame(requests(&[5, 5])), "request 5 came after request 5"),
        (frame(requests(&[5, 4])), "request 4 came after request 5"),
        (frame(requests(&[u64::MAX, 1])), "request 1 came after"),
        (
            ClientFrame { reconcile: Some(Reconcile::default()), ..frame(vec![]) },
            "has nothing to reconcile",
        ),
    ];
    for (frame, message) in cases {
        let mut session = RawSession::start(&server.address()).await;
        session.send_as_is(&frame).await;
        let ended = within(session.farewell()).await.expect("it is told why");
        assert_eq!(ended.reason(), Reason::Protocol);
        assert!(ended.message.contains(message), "{ended}");
        innocent.is_undisturbed().await;
    }
}

#[tokio::test]
async fn a_request_that_makes_no_sense_is_refused_alone() {
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    let mut session = RawSession::start(&server.address()).await;
    let scores = session.open(Some("scores"), Kind::Dict, None).await.unwrap();
    let is_locked = || lock(lock_op::Op::IsLocked(Empty {}));
    let len = || dict(dict_op::Op::Len(Empty {}));
    let no_value = Entry { key: vec![1].into(), value: None };
    let cases = [
        (u64::MAX, Some(len()), Reason::ObjectNotFound),
        (scores + 1000, Some(len()), Reason::ObjectNotFound),
        (0, Some(len()), Reason::WrongKind),
        (scores, Some(is_locked()), Reason::WrongKind),
        (scores, None, Reason::Unsupported),
        (scores, Some(request::Op::Dict(DictOp { op: None })), Reason::Unsupported),
        (scores, Some(request::Op::Lock(LockOp { op: None })), Reason::WrongKind),
        (scores, Some(request::Op::Queue(QueueOp { op: None })), Reason::WrongKind),
        (0, Some(request::Op::Directory(DirectoryOp { op: None })), Reason::Unsupported),
        (scores, Some(dict(dict_op::Op::Insert(no_value))), Reason::Protocol),
        (scores, Some(dict(dict_op::Op::Insert(Entry::default()))), Reason::InvalidArgument),
    ];
    for (object, op, reason) in cases {
        let refusal = within(session.ask(object, op.clone())).await.expect_err("it is refused");
        assert_eq!(refusal.reason(), reason, "{op:?}: {refusal}");
    }
    assert!(within(session.ask(scores, len())).await.is_ok());
    innocent.is_undisturbed().await;
}

/// A newer client's request has fields that this server does not know.
#[tokio::test]
async fn what_is_not_known_is_unsupported() {
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    let mut session = RawSession::start(&server.address()).await;
    let scores = session.open(Some("scores"), Kind::Dict, None).await.unwrap();
    // Frame 2 with request 2 on the dict, whose operation is variant 99 of `Request`: `9a 06 00`,
    // and frame 3 with request 3, whose operation is variant 99 of `DictOp`.
    let object = u8::try_from(scores).unwrap();
    session.send_bytes(vec![8, 2, 0x2a, 7, 8, 2, 16, object, 0x9a, 6, 0]).await;
    session.send_bytes(vec![8, 3, 0x2a, 10, 8, 3, 16, object, 0x82, 1, 3, 0x9a, 6, 0]).await;
    for seq in [2, 3] {
        let refusal = within(session.reply(seq)).await.unwrap_err();
        assert_eq!(refusal.reason(), Reason::Unsupported);
        assert!(refusal.hint.contains("upgrade the server"), "{refusal}");
    }

    let mut session = RawSession::start(&server.address()).await;
    for kind in [0, 99, -1] {
        let open = Open { name: Some("new".into()), kind, ..Open::default() };
        let opened = within(session.directory(directory_op::Op::Open(open))).await;
        assert_eq!(opened.unwrap_err().reason(), Reason::Unsupported);
    }
    innocent.is_undisturbed().await;
}

/// Whatever a fence names, nobody waits for it.
#[tokio::test]
async fn a_fence_that_does_not_stand_stops_the_operation() {
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    let mut session = RawSession::start(&server.address()).await;
    let scores = session.open(Some("scores"), Kind::Dict, None).await.unwrap();
    let jobs = session.open(Some("jobs"), Kind::Queue, None).await.unwrap();
    let migrate = session.open(Some("migrate"), Kind::Lock, None).await.unwrap();
    let held = session.ask(migrate, lock(lock_op::Op::Acquire(Empty {}))).await;
    let Ok(reply::Result::Grant(Grant { token, .. })) = held else { panic!("{held:?}") };
    let get = || request::Op::Queue(QueueOp { op: Some(queue_op::Op::Get(Empty {})) });
    let is_locked = || lock(lock_op::Op::IsLocked(Empty {}));
    let cases = [
        (scores, insert("a"), Fence { lock: migrate, token }, None),
        (scores, insert("b"), Fence { lock: migrate, token: token + 1 }, Some(Reason::Fenced)),
        (scores, insert("b"), Fence::default(), Some(Reason::Fenced)),
        (scores, insert("b"), Fence { lock: scores, token }, Some(Reason::Fenced)),
        (scores, insert("b"), Fence { lock: u64::MAX, token: u64::MAX }, Some(Reason::Fenced)),
        // It would wait without the fence.
        (jobs, get(), Fence { lock: migrate, token }, Some(Reason::Empty)),
        (migrate, is_locked(), Fence { lock: migrate, token }, Some(Reason::Unsupported)),
    ];
    for (object, op, fence, refused) in cases {
        let request = session.request(object, op);
        let seq = request.seq;
        session.send_requests(vec![Request { fence: Some(fence), ..request }]).await;
        let reason = within(session.reply(seq)).await.err().map(|refusal| refusal.reason());
        assert_eq!(reason, refused, "{fence:?}");
    }
    innocent.is_undisturbed().await;
}

/// Acknowledging everything at once took as many steps as there are numbers in the range, which for
/// this one is for ever.
#[tokio::test]
async fn a_very_long_range_of_acks_is_short_work() {
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    let mut session = RawSession::start(&server.address()).await;
    let object = session.open(Some("migrate"), Kind::Lock, None).await.unwrap();
    let held = within(session.ask(object, lock(lock_op::Op::Acquire(Empty {})))).await;
    assert!(matches!(held, Ok(reply::Result::Grant(_))));
    let waiting = session.send_request(object, lock(lock_op::Op::Acquire(Empty {}))).await;

    let ranges = [(0, u64::MAX), (u64::MAX, 0), (u64::MAX, u64::MAX), (9, 3), (0, u64::MAX)];
    let acks = ranges.map(|(first, last)| SeqRange { first, last });
    session.send(ClientFrame { acks: acks.to_vec(), ..ClientFrame::default() }).await;
    let many = vec![SeqRange { first: 0, last: u64::MAX }; 100_000];
    session.send(ClientFrame { acks: many, ..ClientFrame::default() }).await;
    // Who waits still does: it was not given anything that could be acknowledged.
    let Ok(reply::Result::Grant(grant)) = held else { unreachable!() };
    let released = session.ask(object, lock(lock_op::Op::Release(grant.token)));
    assert!(within(released).await.is_ok());
    assert!(matches!(within(session.reply(waiting)).await, Ok(reply::Result::Grant(_))));
    innocent.is_undisturbed().await;
}

#[tokio::test]
async fn acks_and_cancels_of_what_is_not_open_change_nothing() {
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    let mut session = RawSession::start(&server.address()).await;
    let object = session.open(Some("migrate"), Kind::Lock, None).await.unwrap();
    let acquire = session.send_request(object, lock(lock_op::Op::Acquire(Empty {}))).await;
    let Ok(reply::Result::Grant(_)) = within(session.reply(acquire)).await else { panic!() };
    let acks = vec![SeqRange { first: acquire, last: acquire }];
    session.send(ClientFrame { acks, ..ClientFrame::default() }).await;
    // Neither what is acknowledged, nor what was never asked, nor what cannot be taken back.
    let cancels = vec![acquire, acquire, 1, 0, 777, u64::MAX];
    session.send(ClientFrame { cancels, ..ClientFrame::default() }).await;
    let is_locked = session.ask(object, lock(lock_op::Op::IsLocked(Empty {})));
    assert_eq!(within(is_locked).await.unwrap(), reply::Result::Flag(true));
    innocent.is_undisturbed().await;
}

/// Acknowledged and cancelled in one frame: the acknowledgement came first.
#[tokio::test]
async fn what_is_acknowledged_cannot_be_cancelled() {
    let server = TestServer::start();
    let mut session = RawSession::start(&server.address()).await;
    let object = session.open(Some("migrate"), Kind::Lock, None).await.unwrap();
    let seq = session.send_request(object, lock(lock_op::Op::Acquire(Empty {}))).await;
    assert!(within(session.reply(seq)).await.is_ok());
    let acks = vec![SeqRange { first: seq, last: seq }];
    session.send(ClientFrame { acks, cancels: vec![seq], ..ClientFrame::default() }).await;
    let is_locked = session.ask(object, lock(lock_op::Op::IsLocked(Empty {})));
    assert_eq!(within(is_locked).await.unwrap(), reply::Result::Flag(true));
}

#[tokio::test]
async fn after_goodbye_nothing_is_done() {
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    let mut session = RawSession::start(&server.address()).await;
    let scores = session.open(Some("scores"), Kind::Dict, None).await.unwrap();
    let last = session.request(scores, insert("in time"));
    let goodbye = Some(Empty {});
    session.send(ClientFrame { requests: vec![last], goodbye, ..ClientFrame::default() }).await;
    session.send_request(scores, insert("too late")).await;
    session.send(ClientFrame { goodbye, ..ClientFrame::default() }).await;
    session.send_bytes(vec![0xff; 10]).await;
    assert_eq!(within(session.farewell()).await, None);

    let scores = innocent.manager.dict::<String, u64>("scores").await.unwrap();
    assert_eq!(scores.keys().await.unwrap(), ["in time"]);
    innocent.is_undisturbed().await;
}

#[tokio::test]
async fn a_timeout_may_be_as_long_as_it_likes() {
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    let mut session = RawSession::start(&server.address()).await;
    let object = session.open(Some("migrate"), Kind::Lock, None).await.unwrap();
    let held = within(session.ask(object, lock(lock_op::Op::Acquire(Empty {})))).await;
    let Ok(reply::Result::Grant(grant)) = held else { panic!("{held:?}") };
    let mut waiting = Vec::new();
    for timeout_us in [u64::MAX, u64::MAX / 2, 1 << 60] {
        let acquire = session.request(object, lock(lock_op::Op::Acquire(Empty {})));
        waiting.push(acquire.seq);
        let timeout_us = Some(timeout_us);
        session.send_requests(vec![Request { timeout_us, ..acquire }]).await;
    }
    // A shorter one is not kept waiting by them.
    let acquire = session.request(object, lock(lock_op::Op::Acquire(Empty {})));
    let short = acquire.seq;
    session.send_requests(vec![Request { timeout_us: Some(1000), ..acquire }]).await;
    assert!(matches!(within(session.reply(short)).await, Ok(reply::Result::Absent(_))));
    let release = lock(lock_op::Op::Release(grant.token));
    assert!(within(session.ask(object, release)).await.is_ok());
    assert!(matches!(within(session.reply(waiting[0])).await, Ok(reply::Result::Grant(_))));
    innocent.is_undisturbed().await;
}

fn ping() -> request::Op {
    request::Op::Directory(DirectoryOp { op: Some(directory_op::Op::Ping(Empty {})) })
}

/// Inserts a number under a text of less than 32 bytes.
fn insert(key: &str) -> request::Op {
    let length = 0xa0 | u8::try_from(key.len()).unwrap();
    let key = [&[length], key.as_bytes()].concat().into();
    let value = Value { data: vec![1].into(), refs: Vec::new() };
    dict(dict_op::Op::Insert(Entry { key, value: Some(value) }))
}
