//! Peers that do not read. Many small unread messages look like an attack to HTTP/2 libraries, which
//! close the connection; here they are what a busy session is made of, and must all arrive.

use mp_manager_proto::v1::{
    DirectoryOp, Empty, Kind, QueueItem, QueueOp, Request, Value, directory_op, queue_op, reply,
    request,
};
use mp_manager_tests::{
    TestServer,
    raw::{RawConnection, RawSession},
    within,
};

use crate::Innocent;

const MESSAGES: usize = 10_000;
const PER_FRAME: usize = 1000;

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
    connection.authenticate().await;
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

#[tokio::test]
async fn a_client_that_only_talks_is_answered_later() {
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    let connection = RawConnection::with(&server.address(), 64 << 10, 64 << 10).await;
    connection.authenticate().await;
    let mut stalled = connection.session().await.unwrap();
    let mut seqs = Vec::new();
    for _ in 0..MESSAGES {
        seqs.push(within(stalled.send_request(0, ping())).await);
    }
    innocent.is_undisturbed().await;
    for seq in seqs {
        assert!(matches!(within(stalled.reply(seq)).await, Ok(reply::Result::Done(_))));
    }
    innocent.is_undisturbed().await;
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
