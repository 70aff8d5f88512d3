//! Frames that are small on the wire and large in memory. They are refused as they are: a frame of 31 MiB
//! of empty requests took 3 GiB before it was.

use mp_manager::Manager;
use mp_manager_proto::v1::{
    ClientFrame, Empty, Entries, Entry, Kind, QueueItem, QueueOp, QueuePutMany, Reason, SeqRange,
    Value, dict_op, queue_op, reply, request,
};
use mp_manager_tests::{
    AUTHKEY, TestServer,
    daemon::{Daemon, Reach},
    raw::RawSession,
    within,
};

use prost::encoding::WireType;

use crate::{Innocent, dict};

const MIB: usize = 1 << 20;

/// A field with this content.
fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_key(number, WireType::LengthDelimited, &mut bytes);
    prost::encoding::encode_varint(content.len() as u64, &mut bytes);
    [&bytes[..], content].concat()
}

/// Frames of 31 MiB that have nothing in them but many of something, and what that is.
fn heavy_frames() -> Vec<(&'static str, Vec<u8>)> {
    // The numbers of the fields that the elements are in, from the outside.
    let within = |fields: &[u32], element: &[u8]| {
        let elements = element.repeat(31 * MIB / element.len());
        fields.iter().rev().fold(elements, |inner, number| field(*number, &inner))
    };
    vec![
        ("requests", within(&[], &[0x2a, 0])),
        ("acks", within(&[], &[0x1a, 0])),
        ("cancels", within(&[4], &[1])),
        ("reconcile.open", within(&[2, 1], &[1])),
        ("dict.extend", within(&[5, 16, 7], &[0x0a, 0])),
        ("dict.add_many", within(&[5, 16, 15], &[0x0a, 0])),
        ("list.extend", within(&[5, 17, 4], &[0x0a, 0])),
        ("list.slice_set", within(&[5, 17, 15], &[0x12, 0])),
        ("queue.put_many", within(&[5, 28, 2], &[0x0a, 0])),
    ]
}

#[tokio::test]
async fn what_is_small_on_the_wire_and_large_in_memory_is_refused_as_it_is() {
    for (what, frame) in heavy_frames() {
        let daemon = Daemon::start(env!("CARGO_BIN_EXE_victim"), Reach::Tcp).await;
        let honest = within(Manager::connect(daemon.address(), AUTHKEY)).await.unwrap();
        let place = daemon.address().trim_start_matches("tcp://");
        let mut session = RawSession::start(place).await;
        let (len, before) = (frame.len(), daemon.peak_bytes());
        session.send_bytes(frame).await;
        let ended = within(session.farewell()).await.expect("it is told why");
        let (reason, text) = (ended.reason(), ended.to_string());
        assert!(matches!(reason, Reason::Protocol | Reason::LimitExceeded), "{what}: {text}");
        assert!(text.contains("--max-") || text.contains("times its length"), "{what}: {text}");
        if let (Some(before), Some(after)) = (before, daemon.peak_bytes()) {
            let grown = after.saturating_sub(before);
            assert!(grown <= 2 * len, "{what}: {} MiB for a frame of {}", grown / MIB, len / MIB);
        }
        within(honest.ping()).await.unwrap();
    }
}

/// Whoever refuses what is out of proportion must not refuse what is only much.
#[tokio::test]
async fn what_is_only_much_is_taken_in() {
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    let mut session = RawSession::start(&server.address()).await;
    let jobs = session.open(Some("jobs"), Kind::Queue, None).await.unwrap();
    let value = Value { data: vec![1].into(), refs: Vec::new() };
    let items = vec![QueueItem { value: Some(value), priority: None }; 300_000];
    let put = QueueOp { op: Some(queue_op::Op::PutMany(QueuePutMany { items })) };
    // What comes after it waits for it, and finds what it put in.
    let put = session.send_request(jobs, request::Op::Queue(put)).await;
    let len = QueueOp { op: Some(queue_op::Op::Len(Empty {})) };
    let len = session.ask(jobs, request::Op::Queue(len));
    assert_eq!(within(len).await, Ok(reply::Result::Number(300_000)));
    assert!(within(session.reply(put)).await.is_ok());
    let acks = vec![SeqRange { first: 1, last: put }; 100_000];
    session.send(ClientFrame { acks, ..ClientFrame::default() }).await;
    assert!(within(session.ask(jobs, None)).await.is_err(), "a request without an operation");
    innocent.is_undisturbed().await;
}

/// Frames that are decoded elsewhere, by many at a time, are taken in one after the other and all of them.
#[tokio::test]
async fn heavy_frames_of_many_sessions_have_their_turn() {
    let server = TestServer::with(|options| options.limits.max_frame_bytes = 1 << 20);
    let innocent = Innocent::on(&server).await;
    let entry = |n: u32| Entry {
        key: [&[0xce][..], &(n | 1 << 31).to_be_bytes()].concat().into(),
        value: Some(Value { data: vec![1].into(), refs: Vec::new() }),
    };
    let sessions = (0..8).map(|n| {
        let address = server.address();
        tokio::spawn(async move {
            let mut session = RawSession::start(&address).await;
            let scores = session.open(Some("scores"), Kind::Dict, None).await.unwrap();
            let entries = (n * 50_000..(n + 1) * 50_000).map(entry).collect();
            let extend = dict_op::Op::Extend(Entries { entries });
            let extend = session.request(scores, dict(extend));
            let len = session.request(scores, dict(dict_op::Op::Len(Empty {})));
            let seqs = [extend.seq, len.seq];
            session.send_requests(vec![extend]).await;
            session.send_requests(vec![len]).await;
            for seq in seqs {
                within(session.reply(seq)).await.unwrap();
            }
        })
    });
    for session in sessions.collect::<Vec<_>>() {
        within(session).await.unwrap();
    }
    let scores = innocent.manager.dict::<u32, u8>("scores").await.unwrap();
    assert_eq!(scores.len().await.unwrap(), 400_000);
    innocent.is_undisturbed().await;
}
