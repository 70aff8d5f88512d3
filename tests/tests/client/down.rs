//! The manager is down, and is known to be.

use std::{fmt::Debug, time::Duration};

use mp_manager::{Error, Result};
use mp_manager_tests::{
    daemon::{Reach, aside},
    within,
};

use crate::{daemon, soon};

fn is_unreachable<T: Debug>(what: &str, outcome: Result<T>) {
    assert!(matches!(outcome, Err(Error::Unreachable(_))), "{what}: {outcome:?}");
}

async fn no_timeout_is_exceeded(reach: Reach) {
    let mut daemon = daemon(reach).await;
    let manager = daemon.connect(|builder| builder).await;
    let lock = manager.lock("lock").await.unwrap();
    let rlock = manager.rlock("rlock").await.unwrap();
    let semaphore = manager.semaphore("semaphore", 1).await.unwrap();
    let condition = manager.condition("condition").await.unwrap();
    let event = manager.event("event").await.unwrap();
    let barrier = manager.barrier("barrier", 2).await.unwrap();
    let queue = manager.queue::<u64>("queue").maxsize(1).await.unwrap();
    let pipe = manager.pipe::<u64, u64>("pipe").await.unwrap().first();
    let guard = manager.lock("held").await.unwrap().acquire().await.unwrap();
    daemon.kill().await;
    if reach != Reach::Tcp {
        // A unix socket's end is noticed at once; what was sent before fails with its session.
        within(guard.lost()).await;
    }

    is_unreachable("lock", soon("lock", lock.try_acquire()).await);
    is_unreachable("rlock", soon("rlock", rlock.try_acquire()).await);
    is_unreachable("semaphore", soon("semaphore", semaphore.try_acquire()).await);
    is_unreachable("condition", soon("condition", condition.try_acquire()).await);
    is_unreachable("try_get", soon("try_get", queue.try_get()).await);
    is_unreachable("try_put", soon("try_put", queue.try_put(&1)).await);
    is_unreachable("try_put_many", soon("try_put_many", queue.try_put_many(&[1, 2])).await);
    is_unreachable("try_lease", soon("try_lease", queue.try_lease()).await);
    is_unreachable("try_get_many", soon("try_get_many", queue.try_get_many(3)).await);
    is_unreachable("try_join", soon("try_join", queue.try_join()).await);
    is_unreachable("try_send", soon("try_send", pipe.try_send(&1)).await);
    is_unreachable("try_receive", soon("try_receive", pipe.try_receive()).await);
    let timeouts = [Duration::ZERO, Duration::from_nanos(1), Duration::from_millis(100)];
    // Nobody waits at all for an embedded manager to come back.
    let timeouts = if reach == Reach::Embedded { &timeouts[..1] } else { &timeouts[..] };
    for &timeout in timeouts {
        is_unreachable("lock", soon("lock", lock.acquire_timeout(timeout)).await);
        is_unreachable("rlock", soon("rlock", rlock.acquire_timeout(timeout)).await);
        is_unreachable("semaphore", soon("semaphore", semaphore.acquire_timeout(timeout)).await);
        is_unreachable("condition", soon("condition", condition.acquire_timeout(timeout)).await);
        is_unreachable("event", soon("event", event.wait_timeout(timeout)).await);
        is_unreachable("barrier", soon("barrier", barrier.wait_timeout(timeout)).await);
        is_unreachable("get", soon("get", queue.get_timeout(timeout)).await);
        is_unreachable("put", soon("put", queue.put_timeout(&1, timeout)).await);
        is_unreachable("lease", soon("lease", queue.lease_timeout(timeout)).await);
        is_unreachable("join", soon("join", queue.join_timeout(timeout)).await);
        is_unreachable("poll", soon("poll", pipe.poll(timeout)).await);
    }
}

#[tokio::test]
async fn no_timeout_is_exceeded_over_tcp() {
    no_timeout_is_exceeded(Reach::Tcp).await;
}

#[tokio::test]
async fn no_timeout_is_exceeded_on_a_unix_socket() {
    no_timeout_is_exceeded(Reach::Unix).await;
}

#[tokio::test]
async fn no_timeout_is_exceeded_when_an_embedded_manager_is_gone() {
    no_timeout_is_exceeded(Reach::Embedded).await;
}

#[tokio::test]
async fn no_timeout_is_exceeded_in_the_blocking_interface() {
    let mut daemon = daemon(Reach::Tcp).await;
    let manager = daemon.connect_blocking(|builder| builder).await;
    let lock = aside(move || manager.lock("lock").open().unwrap()).await;
    daemon.kill().await;
    let tried = soon("try_acquire", aside(move || lock.try_acquire())).await;
    is_unreachable("try_acquire", tried);
}
