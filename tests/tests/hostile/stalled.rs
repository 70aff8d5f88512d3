//! Peers that do not read. Many small unread messages look like an attack to HTTP/2 libraries, which
//! close the connection; here they are what a busy session is made of, and must all arrive.

use std::time::Duration;

use mp_manager::Manager;
use mp_manager_proto::v1::{
    DirectoryOp, Empty, Entry, Kind, QueueItem, QueueOp, Request, Value, dict_op, directory_op,
    queue_op, reply, request,
};
use mp_manager_tests::{
    AUTHKEY, TestServer,
    raw::{RawConnection, RawSession},
    victim::waiters,
    within,
};

use crate::{Innocent, dict};

const MESSAGES: usize = 10_000;
const PER_FRAME: usize = 1000;
/// They send no beats, and a busy machine takes its time: the longest that there is.
const LEASE_MS: u64 = 300_000;

#[tokio::test]
async fn a_client_that_does_not_read_gets_everything_later() {
    let server = TestServer::start();
    let connection = RawConnection::open(&server.address()).await;
    gets_everything_later(&server, connection).await;
}

/// Here the server has to keep what the client has no room for.
#[tokio::test]
async fn a_client_with_small_windows_gets_everything_later() {
    let server = TestServer::start();
    let connection = RawConnection::with(&server.address(), 16 << 20, 64 << 10).await;
    gets_everything_later(&server, connection).await;
}

async fn gets_everything_later(server: &TestServer, connection: RawConnection) {
    let innocent = Innocent::on(server).await;
    connection.begin(LEASE_MS).await;
    let mut stalled = connection.session().await.unwrap();
    let jobs = stalled.open(Some("jobs"), Kind::Queue, None).await.unwrap();
    let gets: Vec<Request> = (0..MESSAGES).map(|_| stalled.request(jobs, get())).collect();
    for gets in gets.chunks(PER_FRAME) {
        stalled.send_requests(gets.to_vec()).await;
    }
    let mut other = RawSession::start(&server.address()).await;
    for n in 0..MESSAGES {
        assert!(within(other.ask(jobs, put(n))).await.is_ok());
        if n % 2500 == 0 {
            innocent.is_undisturbed().await;
        }
    }
    for (n, get) in gets.iter().enumerate() {
        match within(stalled.reply(get.seq)).await {
            Ok(reply::Result::Delivery(delivery)) => assert_eq!(delivery.value, Some(value(n))),
            other => panic!("expected item {n}, got {other:?}"),
        }
    }
    assert!(within(stalled.ask(0, ping())).await.is_ok());
    innocent.is_undisturbed().await;
}

/// The server stops taking in what it cannot answer, and still holds what has come.
#[tokio::test]
async fn a_client_that_only_talks_is_answered_later() {
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    let connection = RawConnection::with(&server.address(), 64 << 10, 64 << 10).await;
    connection.begin(LEASE_MS).await;
    let mut stalled = connection.session().await.unwrap();
    let scores = stalled.open(Some("scores"), Kind::Dict, None).await.unwrap();
    let large = Value { data: vec![0xc0; 2000].into(), refs: Vec::new() };
    let entry = Entry { key: KEY.into(), value: Some(large.clone()) };
    stalled.ask(scores, dict(dict_op::Op::Insert(entry))).await.unwrap();
    let mut seqs = Vec::new();
    for _ in 0..MESSAGES {
        let get = dict(dict_op::Op::Get(KEY.into()));
        seqs.push(within(stalled.send_request(scores, get)).await);
    }
    innocent.is_undisturbed().await;
    for seq in seqs {
        let reply = within(stalled.reply(seq)).await;
        assert_eq!(reply.unwrap(), reply::Result::Value(large.clone()));
    }
    innocent.is_undisturbed().await;
}

/// `"k"`
const KEY: &[u8] = &[0xa1, b'k'];

/// The library's client in a program that computes for a while without letting its runtime run.
#[test]
fn a_busy_program_gets_everything_later() {
    let server = TestServer::start();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (busy, other) = (runtime(), runtime());
    let items = || 0..u64::try_from(MESSAGES).unwrap();
    let (manager, gets) = busy.block_on(async {
        // It does not say that it is alive, either, for as long as the puts take.
        let client = Manager::builder().authkey(AUTHKEY).lease(Duration::from_secs(300));
        let manager = client.connect(&server.address()).await.unwrap();
        let jobs = manager.queue::<u64>("jobs").await.unwrap();
        let get = |_| {
            let jobs = jobs.clone();
            tokio::spawn(async move { jobs.get().await })
        };
        let gets: Vec<_> = items().map(get).collect();
        waiters(&manager, "jobs", MESSAGES).await;
        (manager, gets)
    });
    other.block_on(async {
        let innocent = Innocent::on(&server).await;
        let jobs = innocent.manager.queue::<u64>("jobs").await.unwrap();
        for n in items() {
            within(jobs.put(&n)).await.unwrap();
        }
        innocent.is_undisturbed().await;
    });
    busy.block_on(async {
        for (n, get) in items().zip(gets) {
            assert_eq!(within(get).await.unwrap().unwrap(), n);
        }
        manager.ping().await.unwrap();
    });
}

fn get() -> request::Op {
    request::Op::Queue(QueueOp { op: Some(queue_op::Op::Get(Empty {})) })
}

fn put(n: usize) -> request::Op {
    let item = QueueItem { value: Some(value(n)), priority: None };
    request::Op::Queue(QueueOp { op: Some(queue_op::Op::Put(item)) })
}

fn value(n: usize) -> Value {
    Value { data: n.to_be_bytes().to_vec().into(), refs: Vec::new() }
}

fn ping() -> request::Op {
    request::Op::Directory(DirectoryOp { op: Some(directory_op::Op::Ping(Empty {})) })
}
