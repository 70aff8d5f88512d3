//! The manager pauses, for less than a lease: nothing is lost, whatever the transport.

use std::time::Duration;

use mp_manager_tests::{
    daemon::{Reach, aside},
    within,
};

use crate::daemon;

const LEASE: Duration = Duration::from_secs(3);
/// More than half of it, after which a connection on a network is given up.
const PAUSE: Duration = Duration::from_millis(2_100);

async fn a_pause_costs_nothing(reach: Reach) {
    let daemon = daemon(reach).await;
    let manager = daemon.connect(|builder| builder.lease(LEASE)).await;
    let lock = manager.lock("migrate").await.unwrap();
    let guard = lock.acquire().await.unwrap();
    let queue = manager.queue::<u64>("jobs").await.unwrap();
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { queue.get().await }
    });
    mp_manager_tests::victim::waiters(&manager, "jobs", 1).await;
    daemon.pause(PAUSE).await;
    assert!(within(lock.is_locked()).await.unwrap());
    assert!(!guard.is_lost(), "the lock is lost in a pause");
    within(queue.put(&7)).await.unwrap();
    assert_eq!(within(waiting).await.unwrap().unwrap(), 7, "what waited goes on");
    guard.release().await.unwrap();
}

#[tokio::test]
async fn a_pause_costs_nothing_over_tcp() {
    a_pause_costs_nothing(Reach::Tcp).await;
}

#[tokio::test]
async fn a_pause_costs_nothing_on_a_unix_socket() {
    a_pause_costs_nothing(Reach::Unix).await;
}

#[tokio::test]
async fn a_pause_of_an_embedded_manager_costs_nothing() {
    a_pause_costs_nothing(Reach::Embedded).await;
}

#[tokio::test]
async fn a_pause_costs_nothing_in_the_blocking_interface() {
    let daemon = daemon(Reach::Unix).await;
    let manager = daemon.connect_blocking(|builder| builder.lease(LEASE)).await;
    let (lock, guard) = aside(move || {
        let lock = manager.lock("migrate").open().unwrap();
        let guard = lock.acquire().unwrap();
        (lock, guard)
    })
    .await;
    daemon.pause(PAUSE).await;
    aside(move || {
        assert!(lock.is_locked().unwrap());
        assert!(!guard.is_lost(), "the lock is lost in a pause");
        guard.release().unwrap();
    })
    .await;
}

/// Calls that were pending when everything held was lost go on when the manager does, on every
/// transport.
#[tokio::test]
async fn a_pause_beyond_the_lease_loses_what_is_held_and_not_what_waits() {
    for reach in [Reach::Tcp, Reach::Unix, Reach::Embedded] {
        let daemon = daemon(reach).await;
        let manager = daemon.connect(|builder| builder.lease(Duration::from_secs(1))).await;
        let guard = manager.lock("migrate").await.unwrap().acquire().await.unwrap();
        let queue = manager.queue::<u64>("jobs").await.unwrap();
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.get().await }
        });
        mp_manager_tests::victim::waiters(&manager, "jobs", 1).await;
        daemon.pause(Duration::from_millis(1_500)).await;
        within(guard.lost()).await;
        if reach != Reach::Embedded {
            // Nobody waits for an embedded one to come back.
            within(queue.put(&7)).await.unwrap();
            assert_eq!(within(waiting).await.unwrap().unwrap(), 7, "over {reach:?}");
        }
    }
}
