//! Everything that can grow has a limit, and going beyond it is an error that names it.

use mp_manager::{Error, Manager, Unnamed};
use mp_manager_proto::v1::{
    ArrayParameters, DictGetMany, DictPage, DirectoryOp, ElementType, Empty, Entry, Inspect, Keys,
    Kind, ListOp, LockOp, Open, Parameters, QueueItem, QueueOp, Reason, Ref, Value, dict_op,
    directory_op, list_op, lock_op, parameters, queue_op, reply, request,
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
    // A deleted object makes room, although its creator still refers to it, and is shown to nobody.
    session.directory(directory_op::Op::Delete("doomed".into())).await.unwrap();
    let objects = innocent.manager.inspect(None).await.unwrap().objects;
    assert!(objects.iter().all(|object| object.name != "doomed"), "{objects:?}");
    session.open(None, Kind::Dict, None).await.unwrap();
    let refusal = session.open(None, Kind::Dict, None).await.unwrap_err();
    names_limit(&refusal, "there are 4 objects", "--max-objects");
    within(session.end()).await;
    innocent.manager.dict::<u8, u8>(Unnamed).await.unwrap();
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
    session.acknowledge(1).await;
    let requests: Vec<_> = (0..7).map(|_| session.request(jobs, get())).collect();
    let seqs: Vec<u64> = requests.iter().map(|request| request.seq).collect();
    session.send_requests(requests).await;
    for &seq in &seqs[5..] {
        let refusal = within(session.reply(seq)).await.unwrap_err();
        names_limit(&refusal, "5 calls that wait", "--max-parked-calls");
    }
    // What need not wait is still welcome, and so are others.
    within(session.ask(jobs, put(1))).await.unwrap();
    innocent.is_undisturbed().await;
    let mut other = RawSession::start(&server.address()).await;
    for _ in 0..4 {
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
    for seq in 2..8 {
        session.ask(jobs, put(1)).await.unwrap();
        session.acknowledge(seq).await;
    }
    // Not one of them is acknowledged.
    for _ in 0..4 {
        assert!(matches!(session.ask(jobs, get()).await, Ok(reply::Result::Delivery(_))));
    }
    let Ok(reply::Result::Delivery(leased)) = session.ask(jobs, lease()).await else { panic!() };
    for op in [get(), put(1)] {
        let refusal = session.ask(jobs, op).await.unwrap_err();
        names_limit(&refusal, "open requests", "--max-open-requests");
    }
    // What gives something back is taken all the same, and so is the directory's business.
    let reject = QueueOp { op: Some(queue_op::Op::Reject(leased.ticket)) };
    session.ask(jobs, request::Op::Queue(reject)).await.unwrap();
    session.directory(directory_op::Op::Ping(Empty {})).await.unwrap();
    innocent.is_undisturbed().await;
    // Whoever goes on and on has to go.
    session.send_request(jobs, get()).await;
    session.send_request(jobs, get()).await;
    let ended = within(session.farewell()).await.expect("it is told why");
    names_limit(&ended, "10 requests that are not acknowledged", "--max-open-requests");
    innocent.is_undisturbed().await;
}

/// A small request for much, again and again, by a client that reads and acknowledges nothing.
#[tokio::test]
async fn what_is_not_acknowledged_has_a_limit() {
    let server = TestServer::with(|options| {
        options.limits.max_unacknowledged_bytes = 200_000;
        options.limits.max_frame_bytes = 150_000;
    });
    let innocent = Innocent::on(&server).await;
    let mut session = RawSession::start(&server.address()).await;
    let jobs = session.open(Some("jobs"), Kind::Queue, None).await.unwrap();
    for _ in 0..5 {
        session.ask(jobs, put(100_000)).await.unwrap();
    }
    session.acknowledge(6).await;
    let first = session.request(jobs, get());
    let (fits, waits) = (first.seq + 1, first.seq + 2);
    let gets = vec![first, session.request(jobs, get()), session.request(jobs, get())];
    session.send_requests(gets).await;
    assert!(matches!(within(session.reply(fits)).await, Ok(reply::Result::Delivery(_))));
    // The third waits, and so does what comes after it, but not what makes room.
    let late = session.send_request(jobs, get()).await;
    let cancelled = session.send_request(jobs, get()).await;
    session.cancel(vec![cancelled]).await;
    session.acknowledge(fits - 1).await;
    assert!(matches!(within(session.reply(waits)).await, Ok(reply::Result::Delivery(_))));
    // As many as there is room for are kept, and the oldest are refused.
    let mut puts = Vec::new();
    for _ in 0..3 {
        puts.push(session.send_request(jobs, put(100_000)).await);
    }
    for seq in [late, puts[0], puts[1]] {
        let refusal = within(session.reply(seq)).await.unwrap_err();
        names_limit(&refusal, "the limit is 200000", "--max-unacknowledged-bytes");
    }
    session.acknowledge(waits).await;
    assert!(within(session.reply(puts[2])).await.is_ok());
    // Five, less three that were taken, and one more; what was cancelled was never begun.
    let len = QueueOp { op: Some(queue_op::Op::Len(Empty {})) };
    let len = within(session.ask(jobs, request::Op::Queue(len))).await;
    assert_eq!(len, Ok(reply::Result::Number(3)));
    innocent.is_undisturbed().await;
}

/// The same value again and again: a small request for more memory than there is.
#[tokio::test]
async fn a_reply_has_a_limit() {
    let server = TestServer::with(|options| options.limits.max_value_bytes = 1 << 20);
    let innocent = Innocent::on(&server).await;
    let mut session = RawSession::start(&server.address()).await;
    let scores = session.open(Some("scores"), Kind::Dict, None).await.unwrap();
    session.ask(scores, insert(1, 1 << 20)).await.unwrap();
    let keys = |n| Keys { keys: vec![key(1).into(); n] };
    let get_many =
        |n, partial| dict_op::Op::GetMany(DictGetMany { keys: vec![key(1).into(); n], partial });
    for op in [get_many(100_000, false), dict_op::Op::RemoveMany(keys(100_000))] {
        let refusal = within(session.ask(scores, dict(op))).await.unwrap_err();
        names_limit(&refusal, "the limit is 1048576", "--max-value-bytes");
    }
    for op in [get_many(1, false), get_many(100_000, true)] {
        let one = within(session.ask(scores, dict(op))).await;
        let Ok(reply::Result::Optionals(one)) = one else { panic!("{one:?}") };
        assert_eq!(one.items.len(), 1);
    }
    innocent.is_undisturbed().await;
}

/// One small frame that asks for a thousand pages: no more of it is begun than can be sent.
#[tokio::test]
async fn requests_wait_until_there_is_room_for_replies() {
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    let scores = innocent.manager.dict::<String, u64>("scores").await.unwrap();
    let mut session = RawSession::start(&server.address()).await;
    let object = session.open(Some("scores"), Kind::Dict, None).await.unwrap();
    let large = Entry { key: b"\xa5large".to_vec().into(), value: value(1 << 20) };
    session.ask(object, dict(dict_op::Op::Insert(large))).await.unwrap();
    let page = || dict(dict_op::Op::Page(DictPage { values: true, ..DictPage::default() }));
    let mut requests: Vec<_> = (0..100).map(|_| session.request(object, page())).collect();
    let late = Entry { key: b"\xa4late".to_vec().into(), value: value(1) };
    requests.push(session.request(object, dict(dict_op::Op::Insert(late))));
    session.send_requests(requests.clone()).await;

    let first = within(session.hear()).await.unwrap();
    assert!(!first.replies.is_empty() && first.replies.len() < 10, "{}", first.replies.len());
    assert!(!scores.contains("late").await.unwrap());
    innocent.is_undisturbed().await;
    for request in &requests[first.replies.len()..] {
        assert!(within(session.reply(request.seq)).await.is_ok());
    }
    assert!(scores.contains("late").await.unwrap());
}

/// A value of one byte that refers to a million objects.
#[tokio::test]
async fn references_count_as_what_they_take() {
    let server = TestServer::with(|options| options.limits.max_value_bytes = 2100);
    let innocent = Innocent::on(&server).await;
    let mut session = RawSession::start(&server.address()).await;
    let list = session.open(Some("list"), Kind::List, None).await.unwrap();
    let server = innocent.manager.statistics().await.unwrap().server_id;
    let mut push = async |references| {
        let reference = Ref { server, kind: Kind::List.into(), object: list };
        let value = Value { data: bytes(1).into(), refs: vec![reference; references] };
        let op = Some(list_op::Op::Push(value));
        within(session.ask(list, request::Op::List(ListOp { op }))).await
    };
    assert!(push(100).await.is_ok());
    for references in [101, 1_000_000] {
        names_limit(&push(references).await.unwrap_err(), "the limit is 2100", "--max-value-bytes");
    }
    innocent.is_undisturbed().await;
}

/// Who asks how much there is must not be cut off by the answer.
#[tokio::test]
async fn a_reply_may_be_longer_than_any_value() {
    let server = TestServer::with(|options| options.limits.max_value_bytes = 1000);
    let innocent = Innocent::on(&server).await;
    let mut session = RawSession::start(&server.address()).await;
    let open = |n| {
        let open =
            Open { name: Some(format!("{n:0500}")), kind: Kind::Lock.into(), ..Open::default() };
        request::Op::Directory(DirectoryOp { op: Some(directory_op::Op::Open(open)) })
    };
    let (frames, per_frame) = (35, 1000);
    for frame in 0..frames {
        let names = frame * per_frame..(frame + 1) * per_frame;
        let opens: Vec<_> = names.map(|n| session.request(0, open(n))).collect();
        let last = opens[opens.len() - 1].seq;
        session.send_requests(opens).await;
        within(session.reply(last)).await.unwrap();
    }
    let inspection = within(innocent.manager.inspect(None)).await.unwrap();
    assert_eq!(inspection.objects.len(), frames * per_frame + 2);
    let ids = inspection.objects.iter().map(|object| object.object);
    assert!(ids.is_sorted_by(|a, b| a < b), "each once, in their order");
    assert!(inspection.statistics.is_some() && inspection.sessions.len() >= 2);
    let listed = within(innocent.manager.list_objects("0")).await.unwrap();
    assert_eq!(listed.len(), frames * per_frame);
    // Who knows of no pages has the first, and hears that there are more.
    let first = within(session.directory(directory_op::Op::Inspect(Inspect::default()))).await;
    let Ok(reply::Result::Inspection(first)) = first else { panic!("{first:?}") };
    assert_eq!(first.next, first.objects.last().map(|object| object.object));
    assert!(first.objects.len() <= 1000 && first.next.is_some());
    innocent.is_undisturbed().await;
}

/// Three thousand who wait are a line of a thousand names, and a number.
#[tokio::test]
async fn who_waits_is_named_up_to_a_thousand() {
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    let mut session = RawSession::start(&server.address()).await;
    let jobs = session.open(Some("jobs"), Kind::Queue, None).await.unwrap();
    for _ in 0..3 {
        let gets: Vec<_> = (0..1000).map(|_| session.request(jobs, get())).collect();
        session.send_requests(gets).await;
    }
    within(session.directory(directory_op::Op::Ping(Empty {}))).await.unwrap();
    let inspection = innocent.manager.inspect(Some("jobs")).await.unwrap();
    let [object] = &inspection.objects[..] else { panic!("{inspection:?}") };
    assert_eq!((object.waiters.len(), object.more_waiters), (1000, 2000));
    let seqs = object.waiters.iter().map(|waiting| waiting.seq);
    assert!(seqs.eq(2..1002), "the first in line");
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
        session.ask(scores, insert(1, 100)).await.unwrap_err(),
        session.ask(jobs, put(1)).await.unwrap_err(),
        session.open(Some("new"), Kind::Dict, None).await.unwrap_err(),
        session.open(None, Kind::Dict, None).await.unwrap_err(),
        session.open(None, Kind::Array, Some(array)).await.unwrap_err(),
    ];
    for refusal in refusals {
        assert_eq!(refusal.reason(), Reason::OutOfMemory, "{refusal}");
        assert!(refusal.hint.contains("--max-memory-bytes"), "{refusal}");
    }

    let read = session.ask(scores, dict(dict_op::Op::Get(key(1).into()))).await;
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

/// A small request may ask for a large result: it is weighed first.
#[tokio::test]
async fn nothing_is_multiplied_beyond_the_memory() {
    let server = TestServer::with(|options| options.limits.max_memory_bytes = 1 << 20);
    let manager = Manager::connect(&server.address(), AUTHKEY).await.unwrap();
    let list = manager.list::<u64>("list").await.unwrap();
    list.extend(0..100).await.unwrap();
    let error = list.repeat_in_place(1000).await.unwrap_err();
    assert!(matches!(&error, Error::OutOfMemory(_)), "{error:?}");
    assert_eq!(list.len().await.unwrap(), 100);
    list.repeat_in_place(10).await.unwrap();
    let error = manager.array::<u64>(Unnamed, 1 << 20).await.unwrap_err();
    assert!(matches!(&error, Error::OutOfMemory(_)), "{error:?}");

    let (some, others) = (manager.set("some").await.unwrap(), manager.set("others").await.unwrap());
    let key = |n: u32| format!("{n:0>1000}");
    others.extend((0..400).map(key).collect::<Vec<_>>()).await.unwrap();
    some.extend((400..700).map(key).collect::<Vec<_>>()).await.unwrap();
    let error = some.extend(&others).await.unwrap_err();
    assert!(matches!(&error, Error::OutOfMemory(_)), "{error:?}");
    assert_eq!(some.len().await.unwrap(), 300);
    some.intersection_update(&others).await.unwrap();
    assert!(some.is_empty().await.unwrap());
}

/// What takes no more than what it replaces needs no memory.
#[tokio::test]
async fn values_are_replaced_by_smaller_ones_in_a_full_memory() {
    let server = TestServer::with(|options| options.limits.max_memory_bytes = 1 << 20);
    let manager = Manager::connect(&server.address(), AUTHKEY).await.unwrap();
    let text = |len| "x".repeat(len);
    let (dict, list) =
        (manager.dict::<u8, String>("dict").await.unwrap(), manager.list("list").await.unwrap());
    let value = manager.value("value", &text(1000)).await.unwrap();
    let namespace = manager.namespace("namespace").await.unwrap();
    dict.insert(&1, text(1000)).await.unwrap();
    list.push(text(1000)).await.unwrap();
    namespace.set("attribute", text(1000)).await.unwrap();
    dict.insert(&2, text(1 << 20)).await.unwrap();

    for len in [1000, 900, 1] {
        dict.insert(&1, text(len)).await.unwrap();
        dict.extend([(1, text(len))]).await.unwrap();
        let swapped = dict.compare_and_swap(&1, Some(&text(len)), Some(&text(len))).await.unwrap();
        assert!(swapped.0);
        list.set(0, text(len)).await.unwrap();
        value.set(text(len)).await.unwrap();
        namespace.set("attribute", text(len)).await.unwrap();
    }
    let refused = [
        dict.insert(&1, text(1000)).await.unwrap_err(),
        dict.insert(&3, text(1)).await.unwrap_err(),
        list.set(0, text(1000)).await.unwrap_err(),
        value.set(text(1000)).await.unwrap_err(),
        namespace.set("attribute", text(1000)).await.unwrap_err(),
    ];
    assert!(refused.iter().all(|error| matches!(error, Error::OutOfMemory(_))), "{refused:?}");
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

/// A short string as a key of so many bytes.
fn key(len: usize) -> Vec<u8> {
    let text = len - 1;
    [vec![0xa0 | u8::try_from(text).unwrap()], vec![b'k'; text]].concat()
}

/// So many bytes that are no value.
fn bytes(len: usize) -> Vec<u8> {
    vec![0xc1; len]
}

fn value(len: usize) -> Option<Value> {
    Some(Value { data: bytes(len).into(), refs: Vec::new() })
}

fn insert(key_len: usize, value_len: usize) -> request::Op {
    dict(dict_op::Op::Insert(Entry { key: key(key_len).into(), value: value(value_len) }))
}

fn acquire() -> request::Op {
    lock(lock_op::Op::Acquire(Empty {}))
}

fn put(len: usize) -> request::Op {
    let item = QueueItem { value: value(len), priority: None };
    request::Op::Queue(QueueOp { op: Some(queue_op::Op::Put(item)) })
}

fn lease() -> request::Op {
    request::Op::Queue(QueueOp { op: Some(queue_op::Op::Lease(Empty {})) })
}

fn get() -> request::Op {
    request::Op::Queue(QueueOp { op: Some(queue_op::Op::Get(Empty {})) })
}
