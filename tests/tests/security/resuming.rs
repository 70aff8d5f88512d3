//! Sessions that go on over another connection, where others can reach the manager.

use std::sync::Arc;

use mp_manager::{Authkey, Error, Manager};
use mp_manager_proto::v1::Reason;
use mp_manager_tests::{AUTHKEY, TestServer, raw::RawConnection, within};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::Notify,
};

const NEW: &str = "the tests' new authkey";
const LONG_MS: u64 = 300_000;

/// Each connection proves the authkey anew, and is bound to its own TLS.
#[tokio::test]
async fn a_session_survives_its_connection() {
    let server = TestServer::with_tls(|_| {});
    let (wire, cut) = wire_to(server.address().strip_prefix("tls://").unwrap()).await;
    let manager = within(Manager::connect(&format!("tls://{wire}"), AUTHKEY)).await.unwrap();
    let guard = manager.lock("resource").await.unwrap().acquire().await.unwrap();
    for _ in 0..3 {
        cut.notify_waiters();
        within(manager.ping()).await.unwrap();
    }
    assert!(!guard.is_lost());
    within(guard.release()).await.unwrap();
    let sessions = within(manager.statistics()).await.unwrap().sessions;
    assert_eq!(sessions, 1);
}

#[tokio::test]
async fn who_resumes_needs_an_authkey_of_today() {
    let server = TestServer::with_tls(|_| {});
    let first = RawConnection::open(&server.address()).await;
    let (_, ticket) = within(first.begin(LONG_MS)).await;
    drop(first);
    let second = RawConnection::open(&server.address()).await;
    assert!(within(second.resume(&ticket)).await.unwrap().resumed);
    drop(second);

    server.handle().set_authkeys(vec![NEW.into()]).unwrap();
    let third = RawConnection::open(&server.address()).await;
    let refusal = within(third.resume(&ticket)).await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::AuthenticationFailed);
}

/// A client that knows both goes on with the other one.
#[tokio::test]
async fn who_knows_the_next_authkey_resumes_with_it() {
    let server = TestServer::with_tls(|_| {});
    let (wire, cut) = wire_to(server.address().strip_prefix("tls://").unwrap()).await;
    let address = format!("tls://{wire}");
    let both = [NEW, AUTHKEY].map(Authkey::from);
    let prepared = within(Manager::builder().authkeys(both).connect(&address)).await.unwrap();
    let late = within(Manager::connect(&address, AUTHKEY)).await.unwrap();
    let guard = prepared.lock("resource").await.unwrap().acquire().await.unwrap();

    server.handle().set_authkeys(vec![NEW.into()]).unwrap();
    within(prepared.ping()).await.unwrap();
    within(late.ping()).await.unwrap();
    cut.notify_waiters();
    within(prepared.ping()).await.unwrap();
    assert!(!guard.is_lost());
    let error = within(late.ping()).await.unwrap_err();
    assert!(matches!(error, Error::AuthenticationFailed(_)), "{error:?}");
}

/// So does one that is not told anything, if it has the authkey from a file.
#[tokio::test]
async fn a_new_authkey_in_the_file_is_found_when_it_is_needed() {
    let server = TestServer::with_tls(|_| {});
    let (wire, cut) = wire_to(server.address().strip_prefix("tls://").unwrap()).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, AUTHKEY).unwrap();
    let builder = Manager::builder().authkey_file(file.path());
    let manager = within(builder.connect(&format!("tls://{wire}"))).await.unwrap();
    let guard = manager.lock("resource").await.unwrap().acquire().await.unwrap();

    std::fs::write(&file, format!("{NEW}\n{AUTHKEY}\n")).unwrap();
    server.handle().set_authkeys(vec![NEW.into()]).unwrap();
    cut.notify_waiters();
    within(manager.ping()).await.unwrap();
    assert!(!guard.is_lost());
    // Children are told the one that is good.
    let environment = manager.environment();
    assert!(environment.contains(&("MP_MANAGER_AUTHKEY".into(), NEW.into())));
}

/// A wire to `HOST:PORT`, and what cuts all connections that go through it.
async fn wire_to(place: &str) -> (String, Arc<Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let cut = Arc::new(Notify::new());
    let (place, cutter) = (place.to_owned(), Arc::clone(&cut));
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(&place).await.unwrap();
            let cut = Arc::clone(&cutter).notified_owned();
            tokio::spawn(async move {
                tokio::select! {
                    _ = copy_bidirectional(&mut client, &mut server) => {}
                    () = cut => {}
                }
            });
        }
    });
    (address, cut)
}
