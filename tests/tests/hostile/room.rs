//! Calls that wait in objects leave room for calls that do not: among those is what they wait for.

use std::{
    pin::Pin,
    sync::mpsc,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use mp_manager::{Error, Event, Manager, Result, blocking};
use mp_manager_proto::v1::{
    Empty, Entry, EventOp, Fence, Kind, QueueItem, QueueOp, Reason, Request, Value, dict_op,
    directory_op, event_op, lock_op, queue_op, reply, request,
};
use mp_manager_tests::{AUTHKEY, TestServer, raw::RawSession, within};
use tokio::task::JoinSet;

use crate::{dict, lock};

type Begun<T> = Pin<Box<dyn Future<Output = Result<T>>>>;

/// Calls that were sent. Nobody polls them before the test does.
fn begin<T, F>(count: usize, call: impl Fn(usize) -> F) -> Vec<Begun<T>>
where
    F: Future<Output = Result<T>> + 'static,
{
    let mut begun: Vec<Begun<T>> = Vec::new();
    for n in 0..count {
        let mut call: Begun<T> = Box::pin(call(n));
        let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Pending));
        begun.push(call);
    }
    begun
}

fn wait_for(event: &Event) -> impl Future<Output = Result<()>> + use<> {
    let event = event.clone();
    async move { event.wait().await }
}

/// How many calls ended well; the others have to name this option.
async fn count_done<T>(begun: Vec<Begun<T>>, option: &str) -> usize {
    let mut done = 0;
    for call in begun {
        match within(call).await {
            Ok(_) => done += 1,
            Err(error) => names(&error, option),
        }
    }
    done
}

fn names(error: &Error, option: &str) {
    assert!(matches!(error, Error::LimitExceeded(_)), "{error:?}");
    assert!(error.to_string().contains(option), "{error}");
}

/// Does everything that is answered at once.
async fn is_served(manager: &Manager, event: &Event) -> Result<()> {
    manager.ping().await?;
    manager.dict::<String, u8>("scores").await?.insert("alice", &1).await?;
    manager.value("total", &0_u64).await?.add(&1).await?;
    manager.delete("total").await?;
    let jobs = manager.queue::<u8>("jobs").await?;
    jobs.put(&1).await?;
    assert_eq!(jobs.get().await?, 1);
    assert_eq!(jobs.try_get().await?, None);
    let ready = manager.condition("ready").await?;
    let held = ready.acquire().await?;
    assert!(ready.try_acquire().await?.is_some(), "its owner has it");
    assert_eq!(held.notify_all().await?, 0);
    held.release().await?;
    let guard = manager.lock("migrate").await?.acquire().await?;
    manager.list::<u8>("log").await?.fenced(&guard).push(&1).await?;
    guard.release().await?;
    let start = manager.barrier("start", 2).await?;
    start.abort().await?;
    assert!(start.is_broken().await?);
    assert!(!event.is_set().await?);
    assert!(!event.wait_timeout(Duration::ZERO).await?);
    Ok(())
}

#[tokio::test]
async fn calls_that_wait_never_keep_out_the_call_that_frees_them() {
    let server = TestServer::with(|options| options.limits.max_open_requests = 100);
    let manager = Manager::connect(&server.address(), AUTHKEY).await.unwrap();
    let event = manager.event("ready").await.unwrap();
    let waiting = begin(100, |_| wait_for(&event));
    within(event.set()).await.unwrap();
    assert_eq!(count_done(waiting, "--max-open-requests").await, 90);
}

#[tokio::test]
async fn a_session_at_its_open_requests_is_served_what_does_not_wait() {
    let server = TestServer::with(|options| options.limits.max_open_requests = 100);
    let manager = Manager::connect(&server.address(), AUTHKEY).await.unwrap();
    let event = manager.event("go").await.unwrap();
    let mut waiting = JoinSet::new();
    for _ in 0..120 {
        waiting.spawn(wait_for(&event));
    }
    for _ in 0..30 {
        let refused = within(waiting.join_next()).await.unwrap().unwrap();
        names(&refused.unwrap_err(), "--max-open-requests");
    }
    within(is_served(&manager, &event)).await.unwrap();
    // Whoever leaves makes room for another one.
    waiting.abort_all();
    while waiting.join_next().await.is_some() {}
    let waiting = begin(90, |_| wait_for(&event));
    within(is_served(&manager, &event)).await.unwrap();
    within(event.set()).await.unwrap();
    assert_eq!(count_done(waiting, "").await, 90);
}

#[tokio::test]
async fn more_tasks_wait_than_requests_may_be_open() {
    let server = TestServer::start();
    let manager = Manager::connect(&server.address(), AUTHKEY).await.unwrap();
    let event = manager.event("go").await.unwrap();
    let mut waiting = JoinSet::new();
    let (tasks, may_wait) = (66_000, 58_982);
    for _ in 0..tasks {
        waiting.spawn(wait_for(&event));
    }
    for _ in may_wait..tasks {
        let refused = within(waiting.join_next()).await.unwrap().unwrap();
        names(&refused.unwrap_err(), "--max-open-requests");
    }
    within(is_served(&manager, &event)).await.unwrap();
    within(event.set()).await.unwrap();
    while let Some(woken) = within(waiting.join_next()).await {
        woken.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_session_at_its_parked_calls_is_served_what_does_not_wait() {
    let server = TestServer::with(|options| options.limits.max_parked_calls = 100);
    let manager = Manager::connect(&server.address(), AUTHKEY).await.unwrap();
    let event = manager.event("go").await.unwrap();
    let waiting = begin(100, |_| wait_for(&event));
    within(is_served(&manager, &event)).await.unwrap();
    names(&within(event.wait()).await.unwrap_err(), "--max-parked-calls");
    let full = manager.queue::<u8>("full").maxsize(1).await.unwrap();
    full.put(&1).await.unwrap();
    names(&within(full.put(&2)).await.unwrap_err(), "--max-parked-calls");
    assert!(matches!(full.try_put(&2).await, Err(Error::QueueFull(_))));
    within(event.set()).await.unwrap();
    assert_eq!(count_done(waiting, "").await, 100);
    within(event.wait()).await.unwrap();
}

/// A refused call has not happened, even where it takes effect when it arrives.
#[tokio::test]
async fn a_party_without_room_to_wait_breaks_no_barrier() {
    let server = TestServer::with(|options| options.limits.max_parked_calls = 1);
    let manager = Manager::connect(&server.address(), AUTHKEY).await.unwrap();
    let start = manager.barrier("start", 2).await.unwrap();
    let first = begin(1, |_| {
        let start = start.clone();
        async move { start.wait().await }
    });
    names(&within(start.wait()).await.unwrap_err(), "--max-parked-calls");
    names(&within(start.wait_timeout(Duration::ZERO)).await.unwrap_err(), "--max-parked-calls");
    let ready = manager.condition("ready").await.unwrap();
    let guard = ready.acquire().await.unwrap();
    names(&within(ready.wait(guard)).await.unwrap_err(), "--max-parked-calls");
    assert_eq!(start.waiting().await.unwrap(), 1);
    let other = Manager::connect(&server.address(), AUTHKEY).await.unwrap();
    within(other.barrier("start", 2).await.unwrap().wait()).await.unwrap();
    assert_eq!(count_done(first, "").await, 1);
}

/// Their replies are here, and final.
#[tokio::test]
async fn results_that_nobody_looks_at_take_up_no_room() {
    let server = TestServer::with(|options| options.limits.max_open_requests = 10);
    let manager = Manager::connect(&server.address(), AUTHKEY).await.unwrap();
    let scores = manager.dict::<usize, u8>("scores").await.unwrap();
    let event = manager.event("never").await.unwrap();
    let inserts = begin(10, |n| {
        let scores = scores.clone();
        async move { scores.insert(&n, &1).await }
    });
    within(manager.ping()).await.unwrap();
    let refused = begin(20, |_| wait_for(&event));
    within(manager.ping()).await.unwrap();
    assert_eq!(count_done(inserts, "").await, 10);
    drop(refused);
}

#[test]
fn threads_that_wait_never_keep_out_the_thread_that_frees_them() {
    let server = TestServer::with(|options| options.limits.max_open_requests = 20);
    let address = server.address();
    let (said, heard) = mpsc::channel();
    let (go, gone) = mpsc::channel();
    thread::spawn(move || {
        let manager = blocking::Manager::connect(&address, AUTHKEY).unwrap();
        let event = manager.event("go").open().unwrap();
        for _ in 0..25 {
            let (event, said) = (event.clone(), said.clone());
            thread::spawn(move || said.send(event.wait()));
        }
        gone.recv().unwrap();
        manager.ping().unwrap();
        manager.dict::<String, u8>("scores").open().unwrap().insert("alice", 1).unwrap();
        manager.queue::<u8>("jobs").open().unwrap().put(1).unwrap();
        let guard = manager.condition("ready").open().unwrap().acquire().unwrap();
        assert_eq!(guard.notify_all().unwrap(), 0);
        manager.barrier("start", 2).open().unwrap().abort().unwrap();
        manager.delete("jobs").unwrap();
        event.set().unwrap();
    });
    let hear = || heard.recv_timeout(Duration::from_secs(100)).expect("it hangs");
    for _ in 0..7 {
        names(&hear().unwrap_err(), "--max-open-requests");
    }
    go.send(()).unwrap();
    for _ in 0..18 {
        hear().unwrap();
    }
}

/// A client that does not keep to the limits either.
#[tokio::test]
async fn a_session_that_begins_too_many_waits_goes_on() {
    let server = TestServer::with(|options| options.limits.max_open_requests = 100);
    let mut session = RawSession::start(&server.address()).await;
    let event = session.open(None, Kind::Event, None).await.unwrap();
    let jobs = session.open(None, Kind::Queue, None).await.unwrap();
    let scores = session.open(None, Kind::Dict, None).await.unwrap();
    let guard = session.open(None, Kind::Lock, None).await.unwrap();
    let acquire = lock(lock_op::Op::Acquire(Empty {}));
    let Ok(reply::Result::Grant(grant)) = session.ask(guard, acquire).await else { panic!() };
    session.acknowledge(5).await;

    let waits: Vec<_> = (0..95).map(|_| session.request(event, wait())).collect();
    let seqs: Vec<u64> = waits.iter().map(|request| request.seq).collect();
    session.send_requests(waits).await;
    for &seq in &seqs[90..] {
        let refusal = within(session.reply(seq)).await.unwrap_err();
        assert_eq!(refusal.reason(), Reason::LimitExceeded, "{refusal}");
        assert!(refusal.message.contains("90 calls that wait"), "{refusal}");
        assert!(refusal.hint.contains("--max-open-requests"), "{refusal}");
    }
    session.acknowledge_only(seqs[90], seqs[94]).await;

    // A timeout of zero, and a fence.
    let attempt = Request { timeout_us: Some(0), ..session.request(event, wait()) };
    let fence = Some(Fence { lock: guard, token: grant.token });
    let fenced = Request { fence, ..session.request(scores, insert()) };
    let (attempted, inserted) = (attempt.seq, fenced.seq);
    session.send_requests(vec![attempt, fenced]).await;
    assert_eq!(within(session.reply(attempted)).await, Ok(reply::Result::Flag(false)));
    assert_eq!(within(session.reply(inserted)).await, Ok(reply::Result::Absent(Empty {})));
    assert!(within(session.ask(jobs, put())).await.is_ok(), "there is room for it");
    assert!(within(session.directory(directory_op::Op::Ping(Empty {}))).await.is_ok());
    let set = request::Op::Event(EventOp { op: Some(event_op::Op::Set(Empty {})) });
    assert!(within(session.ask(event, set)).await.is_ok());
    for &seq in &seqs[..90] {
        assert_eq!(within(session.reply(seq)).await, Ok(reply::Result::Flag(true)));
    }
}

/// As long as nobody has taken what was handed over, the calls that got it are open.
#[tokio::test]
async fn hand_overs_that_nobody_acknowledges_leave_room_as_well() {
    let server = TestServer::with(|options| options.limits.max_open_requests = 10);
    let mut session = RawSession::start(&server.address()).await;
    let jobs = session.open(None, Kind::Queue, None).await.unwrap();
    let mut last = 0;
    for _ in 0..9 {
        last = session.send_request(jobs, put()).await;
        assert!(within(session.reply(last)).await.is_ok());
        session.acknowledge(last).await;
    }
    for _ in 0..9 {
        let taken = within(session.ask(jobs, get())).await;
        assert!(matches!(taken, Ok(reply::Result::Delivery(_))), "{taken:?}");
    }
    let refusal = within(session.ask(jobs, get())).await.unwrap_err();
    assert!(refusal.hint.contains("--max-open-requests"), "{refusal}");
    session.acknowledge_only(last + 10, last + 10).await;
    assert!(within(session.ask(jobs, put())).await.is_ok());
    session.acknowledge(last + 11).await;
    let taken = within(session.ask(jobs, get())).await;
    assert!(matches!(taken, Ok(reply::Result::Delivery(_))), "{taken:?}");
    let waits = session.send_request(jobs, get()).await;
    assert!(within(session.ask(jobs, put())).await.is_ok());
    assert!(within(session.reply(waits)).await.is_ok());
}

fn wait() -> request::Op {
    request::Op::Event(EventOp { op: Some(event_op::Op::Wait(Empty {})) })
}

fn get() -> request::Op {
    request::Op::Queue(QueueOp { op: Some(queue_op::Op::Get(Empty {})) })
}

fn value() -> Value {
    Value { data: vec![1].into(), refs: Vec::new() }
}

fn put() -> request::Op {
    let item = QueueItem { value: Some(value()), priority: None };
    request::Op::Queue(QueueOp { op: Some(queue_op::Op::Put(item)) })
}

fn insert() -> request::Op {
    dict(dict_op::Op::Insert(Entry { key: vec![1].into(), value: Some(value()) }))
}
