//! Beyond one machine: TLS, and nothing to set up for it.

use mp_manager::blocking;
use mp_manager_tests::{AUTHKEY, TestServer, raw::RawSession, within};

use crate::comes_in;

#[tokio::test]
async fn where_others_can_reach_it_a_manager_speaks_tls() {
    let server = TestServer::with_tls(|_| {});
    assert!(server.address().starts_with("tls://127.0.0.1:"), "{}", server.address());
    let one = comes_in(&server.address()).await;
    let two = comes_in(&server.address()).await;
    assert_eq!(one.address(), server.address());
    one.dict::<String, u64>("scores").await.unwrap().insert("alice", &3).await.unwrap();
    let scores = two.dict::<String, u64>("scores").await.unwrap();
    assert_eq!(scores.get("alice").await.unwrap(), Some(3));
}

#[test]
fn threads_speak_it_as_well() {
    let server = TestServer::with_tls(|_| {});
    let manager = blocking::Manager::connect(&server.address(), AUTHKEY).unwrap();
    let jobs = manager.queue::<Vec<u8>>("jobs").open().unwrap();
    // More than a record of TLS, and more than the windows of HTTP/2.
    let large = vec![7; 5 << 20];
    jobs.put(&large).unwrap();
    assert!(jobs.get().unwrap() == large);
    manager.close().unwrap();
}

#[tokio::test]
async fn any_client_that_knows_the_protocol_can() {
    let server = TestServer::with_tls(|_| {});
    let mut session = within(RawSession::start(&server.address())).await;
    let ping = mp_manager_proto::v1::directory_op::Op::Ping(mp_manager_proto::v1::Empty {});
    assert!(within(session.directory(ping)).await.is_ok());
}

#[tokio::test]
async fn on_loopback_it_speaks_tls_if_it_is_told_to() {
    let server = TestServer::at("tls://127.0.0.1:0", |_| {});
    assert!(server.address().starts_with("tls://"));
    comes_in(&server.address()).await;
}

#[tokio::test]
async fn plain_text_beyond_loopback_works_where_it_is_allowed() {
    let server = TestServer::at("tcp://0.0.0.0:0", |options| options.insecure = true);
    comes_in(&server.address()).await;
    // As from another machine.
    comes_in(&format!("tcp://{}", server.address().replace("127.0.0.1", "0.0.0.0"))).await;
}
