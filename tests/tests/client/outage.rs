//! The manager is away for longer than a client tries to connect again: calls end, and the client does
//! not.

use std::time::Duration;

use mp_manager::Error;
use mp_manager_tests::{
    daemon::{Reach, aside},
    within,
};

use crate::{daemon, soon};

const PATIENCE: Duration = Duration::from_millis(300);

async fn a_later_call_tries_again(reach: Reach, patience: Duration) {
    let mut daemon = daemon(reach).await;
    let manager = daemon.connect(|builder| builder.reconnect_timeout(patience)).await;
    let dict = manager.dict::<String, u64>("scores").await.unwrap();
    let lock = manager.lock("migrate").await.unwrap();
    let guard = lock.acquire().await.unwrap();
    daemon.kill().await;
    // Until it has noticed, the call may have been sent.
    let ended = soon("insert", dict.insert("alice", &3)).await.unwrap_err();
    assert!(matches!(ended, Error::SessionLost(_) | Error::OutcomeUnknown(_)), "{ended:?}");
    let ended = soon("insert", dict.insert("alice", &3)).await.unwrap_err();
    assert!(matches!(ended, Error::SessionLost(_)), "{ended:?}");
    soon("lost", guard.lost()).await;
    daemon.restart().await;

    within(dict.insert("alice", &4)).await.expect("the manager is back");
    assert_eq!(within(dict.get("alice")).await.unwrap(), Some(4));
    assert!(within(lock.acquire_timeout(Duration::from_secs(5))).await.unwrap().is_some());
    within(manager.ping()).await.unwrap();
    assert!(guard.release().await.is_err(), "it was lost");
    // And once more.
    daemon.kill().await;
    while soon("ping", manager.ping()).await.is_ok() {}
    daemon.restart().await;
    within(manager.ping()).await.expect("the manager is back again");
}

#[tokio::test]
async fn a_later_call_tries_again_over_tcp() {
    a_later_call_tries_again(Reach::Tcp, PATIENCE).await;
}

#[tokio::test]
async fn a_later_call_tries_again_on_a_unix_socket() {
    a_later_call_tries_again(Reach::Unix, PATIENCE).await;
}

#[tokio::test]
async fn a_later_call_tries_again_of_a_client_that_does_not_wait_for_the_manager() {
    a_later_call_tries_again(Reach::Tcp, Duration::ZERO).await;
}

/// Even if it is one that does not wait at all.
#[tokio::test]
async fn a_call_that_does_not_wait_finds_the_manager_that_is_back() {
    for reach in [Reach::Tcp, Reach::Unix] {
        let mut daemon = daemon(reach).await;
        let manager = daemon.connect(|builder| builder.reconnect_timeout(PATIENCE)).await;
        let lock = manager.lock("migrate").await.unwrap();
        daemon.kill().await;
        while soon("ping", manager.ping()).await.is_ok() {}
        // That one may have been on its way, and lost with the connection; this one ends when the client gives up.
        assert!(soon("ping", manager.ping()).await.is_err());
        daemon.restart().await;
        let guard = within(lock.try_acquire()).await.expect("the manager is back");
        assert!(guard.is_some());
    }
}

/// Its socket is there again, with the same process behind it.
#[tokio::test]
async fn a_later_call_tries_again_after_a_long_pause_of_an_embedded_manager() {
    let daemon = daemon(Reach::Embedded).await;
    let options = |builder: mp_manager::Builder| {
        builder.reconnect_timeout(PATIENCE).lease(Duration::from_secs(1))
    };
    let manager = daemon.connect(options).await;
    let dict = manager.dict::<String, u64>("scores").await.unwrap();
    daemon.freeze().await;
    soon("insert", dict.insert("alice", &3)).await.unwrap_err();
    daemon.thaw().await;
    within(async { while dict.insert("alice", &4).await.is_err() {} }).await;
    assert_eq!(within(dict.get("alice")).await.unwrap(), Some(4));
}

#[tokio::test]
async fn a_later_call_tries_again_in_the_blocking_interface() {
    let mut daemon = daemon(Reach::Tcp).await;
    let manager = daemon.connect_blocking(|builder| builder.reconnect_timeout(PATIENCE)).await;
    let dict = aside(move || manager.dict::<String, u64>("scores").open().unwrap()).await;
    daemon.kill().await;
    let same = dict.clone();
    aside(move || same.insert("alice", 3).unwrap_err()).await;
    daemon.restart().await;
    aside(move || {
        while dict.insert("alice", 4).is_err() {}
        assert_eq!(dict.get("alice").unwrap(), Some(4));
    })
    .await;
}

/// It asked for that.
#[tokio::test]
async fn a_session_that_must_last_is_over_after_an_outage() {
    let mut daemon = daemon(Reach::Tcp).await;
    let manager =
        daemon.connect(|builder| builder.reconnect_timeout(PATIENCE).session_must_last()).await;
    daemon.kill().await;
    soon("ping", manager.ping()).await.unwrap_err();
    daemon.restart().await;
    let after = soon("ping", manager.ping()).await;
    assert!(matches!(after, Err(Error::SessionLost(_))), "{after:?}");
}
