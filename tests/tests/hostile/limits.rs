//! Everything that can grow has a limit, and going beyond it is an error that names it.

use mp_manager::{Error, Manager, Unnamed};
use mp_manager_proto::v1::{
    ArrayParameters, ElementType, Empty, Entry, Kind, LockOp, Parameters, QueueItem, QueueOp,
    Reason, Value, dict_op, directory_op, lock_op, parameters, queue_op, reply, request,
};
use mp_manager_tests::{AUTHKEY, TestServer, raw::RawSession, within};

use crate::{Innocent, dict, lock};

#[tokio::test]
async fn names_keys_and_values_have_a_longest() {
    let server = TestServer::with(|options| {
        options.limits.max_name_bytes = 20;
        options.limits.max_key_bytes = 20;
        options.limits.max_value_bytes = 200;
    });
    let innocent = Innocent::on(&server).await;
    let mut session = RawSession::start(&server.address()).await;
    assert!(session.open(Some(&"n".repeat(20)), Kind::Dict, None).await.is_ok());
    let refusal = session.open(Some(&"n".repeat(21)), Kind::Dict, None).await.unwrap_err();
    names_limit(&refusal, "21 bytes; the limit is 20", "--max-name-bytes");
    let refusal = session.open(Some(""), Kind::Dict, None).await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::InvalidArgument);

    let scores = session.open(Some("scores"), Kind::Dict, None).await.unwrap();
    assert!(session.ask(scores, insert(20, 200)).await.is_ok());
    let refusal = session.ask(scores, insert(21, 1)).await.unwrap_err();
    names_limit(&refusal, "21 bytes; the limit is 20", "--max-key-bytes");
    let refusal = session.ask(scores, insert(1, 201)).await.unwrap_err();
    names_limit(&refusal, "201 bytes; the limit is 200", "--max-value-bytes");
    innocent.is_undisturbed().await;
}

#[tokio::test]
async fn the_library_says_which_limit_it_was() {
    let server = TestServer::with(|options| {
        options.limits.max_key_bytes = 20;
        options.limits.max_value_bytes = 200;
    });
    let manager = Manager::connect(&server.address(), AUTHKEY).await.unwrap();
    let scores = manager.dict::<String, String>("scores").await.unwrap();
    let error = scores.insert("alice", &"x".repeat(300)).await.unwrap_err();
    assert!(matches!(error, Error::LimitExceeded(_)), "{error:?}");
    for part in ["insert", "dict \"scores\"", &server.address(), "200", "--max-value-bytes"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    let error = scores.insert(&"k".repeat(30), &String::new()).await.unwrap_err();
    assert!(matches!(error, Error::LimitExceeded(_)), "{error:?}");
    let error = manager.dict::<u8, u8>("n".repeat(513)).await.unwrap_err();
    assert!(matches!(error, Error::LimitExceeded(_)), "{error:?}");
    assert!(scores.is_empty().await.unwrap());
}

#[tokio::test]
async fn objects_have_a_limit() {
    let server = TestServer::with(|options| options.limits.max_objects = 4);
    let innocent = Innocent::on(&server).await;
    let mut session = RawSession::start(&server.address()).await;
    session.open(None, Kind::Lock, None).await.unwrap();
    session.open(Some("doomed"), Kind::List, None).await.unwrap();
    for name in [None, Some("one too many")] {
        let refusal = session.open(name, Kind::Dict, None).await.unwrap_err();
        names_limit(&refusal, "there are 4 objects", "--max-objects");
    }
    innocent.is_undisturbed().await;
    // What was deleted makes room, once nobody refers to it any more.
    session.directory(directory_op::Op::Delete("doomed".into())).await.unwrap();
    drop(session);
    within(async { while innocent.manager.dict::<u8, u8>(Unnamed).await.is_err() {} }).await;
}

#[tokio::test]
async fn sessions_have_a_limit() {
    let server = TestServer::with(|options| options.limits.max_sessions = 3);
    let innocent = Innocent::on(&server).await;
    let address = server.address();
    let second = Manager::connect(&address, AUTHKEY).await.unwrap();
    let third = Manager::connect(&address, AUTHKEY).await.unwrap();
    let error = within(Manager::connect(&address, AUTHKEY)).await.unwrap_err();
    assert!(matches!(error, Error::LimitExceeded(_)), "{error:?}");
    assert!(error.to_string().contains("--max-sessions"), "{error}");
    // Whoever leaves makes room.
    third.close().await.unwrap();
    innocent.is_undisturbed().await;
    second.ping().await.unwrap();
}

#[tokio::test]
async fn calls_that_wait_have_a_limit() {
    let server = TestServer::with(|options| options.limits.max_parked_calls = 5);
    let innocent = Innocent::on(&server).await;
    let mut session = RawSession::start(&server.address()).await;
    let jobs = session.open(Some("jobs"), Kind::Queue, None).await.unwrap();
    let requests: Vec<_> = (0..7).map(|_| session.request(jobs, get())).collect();
    let seqs: Vec<u64> = requests.iter().map(|request| request.seq).collect();
    session.send_requests(requests).await;
    for &seq in &seqs[5..] {
        let refusal = within(session.reply(seq)).await.unwrap_err();
        names_limit(&refusal, "5 open requests, 5 of them waiting", "--max-parked-calls");
    }
    // What would not wait is still welcome, and so are others.
    assert!(within(session.ask(jobs, put(1))).await.is_err());
    innocent.is_undisturbed().await;
    let mut other = RawSession::start(&server.address()).await;
    for _ in 0..5 {
        other.ask(jobs, put(1)).await.unwrap();
    }
    for &seq in &seqs[..5] {
        assert!(matches!(within(session.reply(seq)).await, Ok(reply::Result::Delivery(_))));
    }
}

#[tokio::test]
async fn open_requests_have_a_limit() {
    let server = TestServer::with(|options| options.limits.max_open_requests = 5);
    let innocent = Innocent::on(&server).await;
    let mut session = RawSession::start(&server.address()).await;
    let jobs = session.open(Some("jobs"), Kind::Queue, None).await.unwrap();
    for _ in 0..6 {
        session.ask(jobs, put(1)).await.unwrap();
    }
    // Not one of them is acknowledged.
    for _ in 0..5 {
        assert!(matches!(session.ask(jobs, get()).await, Ok(reply::Result::Delivery(_))));
    }
    let refusal = session.ask(jobs, get()).await.unwrap_err();
    names_limit(&refusal, "5 open requests", "--max-open-requests");
    innocent.is_undisturbed().await;
}

/// A client of ours waits instead of being refused.
#[tokio::test]
async fn the_library_keeps_to_the_open_requests() {
    let server = TestServer::with(|options| options.limits.max_open_requests = 4);
    let manager = Manager::connect(&server.address(), AUTHKEY).await.unwrap();
    let numbers = manager.dict::<u32, u32>("numbers").await.unwrap();
    let inserts = (0..500).map(|n| {
        let numbers = numbers.clone();
        tokio::spawn(async move { numbers.insert(&n, &n).await })
    });
    for insert in inserts.collect::<Vec<_>>() {
        within(insert).await.unwrap().unwrap();
    }
    assert_eq!(numbers.len().await.unwrap(), 500);
}

/// Beyond the memory budget nothing grows, and everything else goes on.
#[tokio::test]
async fn a_full_memory_still_gives_and_forgets() {
    let server = TestServer::with(|options| options.limits.max_memory_bytes = 1 << 20);
    let mut session = RawSession::start(&server.address()).await;
    let mut open = async |name, kind| session.open(Some(name), kind, None).await.unwrap();
    let (scores, full) = (open("scores", Kind::Dict).await, open("full", Kind::Dict).await);
    let (jobs, migrate) = (open("jobs", Kind::Queue).await, open("migrate", Kind::Lock).await);
    session.ask(scores, insert(1, 10)).await.unwrap();
    session.ask(jobs, put(10)).await.unwrap();
    let Ok(reply::Result::Grant(grant)) = session.ask(migrate, acquire()).await else { panic!() };
    // The one that goes beyond is the last.
    session.ask(full, insert(1, 1 << 20)).await.unwrap();

    let array = ArrayParameters {
        element_type: ElementType::U8.into(),
        len: 1 << 20,
        ..ArrayParameters::default()
    };
    let array = Parameters { parameters: Some(parameters::Parameters::Array(array)) };
    let refusals = [
        session.ask(full, insert(2, 1)).await.unwrap_err(),
        session.ask(scores, insert(1, 10)).await.unwrap_err(),
        session.ask(jobs, put(1)).await.unwrap_err(),
        session.open(Some("new"), Kind::Dict, None).await.unwrap_err(),
        session.open(None, Kind::Dict, None).await.unwrap_err(),
        session.open(None, Kind::Array, Some(array)).await.unwrap_err(),
    ];
    for refusal in refusals {
        assert_eq!(refusal.reason(), Reason::OutOfMemory, "{refusal}");
        assert!(refusal.hint.contains("--max-memory-bytes"), "{refusal}");
    }

    let read = session.ask(scores, dict(dict_op::Op::Get(bytes(1).into()))).await;
    assert!(matches!(read, Ok(reply::Result::Value(_))));
    let taken = session.ask(jobs, get()).await;
    assert!(matches!(taken, Ok(reply::Result::Delivery(_))));
    let release = request::Op::Lock(LockOp { op: Some(lock_op::Op::Release(grant.token)) });
    session.ask(migrate, release).await.unwrap();
    assert!(matches!(session.ask(migrate, acquire()).await, Ok(reply::Result::Grant(_))));
    session.open(Some("scores"), Kind::Dict, None).await.unwrap();
    session.directory(directory_op::Op::Delete("full".into())).await.unwrap();
    session.ask(scores, insert(2, 10)).await.unwrap();
    Innocent::on(&server).await.is_undisturbed().await;
}

/// An empty dict takes memory as well.
#[tokio::test]
async fn objects_without_a_name_count_against_the_memory() {
    let server = TestServer::with(|options| options.limits.max_memory_bytes = 1 << 20);
    let manager = Manager::connect(&server.address(), AUTHKEY).await.unwrap();
    let mut held = Vec::new();
    let error = within(async {
        loop {
            match manager.dict::<u8, u8>(Unnamed).await {
                Ok(dict) => held.push(dict),
                Err(error) => return error,
            }
        }
    })
    .await;
    assert!(matches!(error, Error::OutOfMemory(_)), "{error:?}");
    held.clear();
    within(async { while manager.dict::<u8, u8>(Unnamed).await.is_err() {} }).await;
}

fn names_limit(refusal: &mp_manager_proto::v1::Error, message: &str, flag: &str) {
    assert_eq!(refusal.reason(), Reason::LimitExceeded, "{refusal}");
    assert!(refusal.message.contains(message), "{refusal}");
    assert!(refusal.hint.contains(flag), "{refusal}");
}

/// So many bytes that are no value.
fn bytes(len: usize) -> Vec<u8> {
    vec![0xc1; len]
}

fn value(len: usize) -> Option<Value> {
    Some(Value { data: bytes(len).into(), refs: Vec::new() })
}

fn insert(key_len: usize, value_len: usize) -> request::Op {
    dict(dict_op::Op::Insert(Entry { key: bytes(key_len).into(), value: value(value_len) }))
}

fn acquire() -> request::Op {
    lock(lock_op::Op::Acquire(Empty {}))
}

fn put(len: usize) -> request::Op {
    let item = QueueItem { value: value(len), priority: None };
    request::Op::Queue(QueueOp { op: Some(queue_op::Op::Put(item)) })
}

fn get() -> request::Op {
    request::Op::Queue(QueueOp { op: Some(queue_op::Op::Get(Empty {})) })
}
