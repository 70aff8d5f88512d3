//! The manager is silent on a connection that is there: a timeout ends its call by the client's clock.

use std::time::{Duration, Instant};

use mp_manager::{Builder, Error, blocking};
use mp_manager_tests::{
    daemon::{Daemon, Reach, aside},
    within,
};

use crate::{daemon, soon};

/// Long enough for the connection not to be given up meanwhile.
fn long(builder: Builder) -> Builder {
    builder.lease(Duration::from_secs(60))
}

fn long_blocking(builder: blocking::Builder) -> blocking::Builder {
    builder.lease(Duration::from_secs(60))
}

const TIMEOUT: Duration = Duration::from_millis(200);

async fn timed_calls_end_in_time(reach: Reach) {
    let daemon = daemon(reach).await;
    let manager = daemon.connect(long).await;
    let lock = manager.lock("lock").await.unwrap();
    let rlock = manager.rlock("rlock").await.unwrap();
    let semaphore = manager.semaphore("semaphore", 1).await.unwrap();
    let condition = manager.condition("condition").await.unwrap();
    let event = manager.event("event").await.unwrap();
    let barrier = manager.barrier("barrier", 2).await.unwrap();
    let queue = manager.queue::<u64>("queue").await.unwrap();
    let pipe = manager.pipe::<u64, u64>("pipe").await.unwrap().first();
    daemon.freeze().await;

    // What only takes or looks has timed out.
    assert!(soon("lock", lock.acquire_timeout(TIMEOUT)).await.unwrap().is_none());
    assert!(soon("rlock", rlock.acquire_timeout(TIMEOUT)).await.unwrap().is_none());
    assert!(soon("semaphore", semaphore.acquire_timeout(TIMEOUT)).await.unwrap().is_none());
    assert!(soon("condition", condition.acquire_timeout(TIMEOUT)).await.unwrap().is_none());
    assert!(!soon("event", event.wait_timeout(TIMEOUT)).await.unwrap());
    assert!(soon("get", queue.get_timeout(TIMEOUT)).await.unwrap().is_none());
    assert!(soon("lease", queue.lease_timeout(TIMEOUT)).await.unwrap().is_none());
    assert!(!soon("join", queue.join_timeout(TIMEOUT)).await.unwrap());
    assert!(soon("receive", pipe.receive_timeout(TIMEOUT)).await.unwrap().is_none());
    assert!(!soon("poll", pipe.poll(TIMEOUT)).await.unwrap());
    // Nobody knows what became of the rest.
    let unknown = |outcome: Result<(), Error>, what: &str| {
        assert!(matches!(outcome, Err(Error::OutcomeUnknown(_))), "{what}: {outcome:?}");
    };
    unknown(soon("put", queue.put_timeout(&1, TIMEOUT)).await, "put");
    unknown(soon("send", pipe.send_timeout(&1, TIMEOUT)).await, "send");
    unknown(soon("barrier", barrier.wait_timeout(TIMEOUT)).await.map(drop), "barrier");
    // And who does not wait at all does not wait for a lease either.
    let tried = soon("try_acquire", lock.try_acquire()).await;
    assert!(matches!(tried, Err(Error::Unreachable(_))), "{tried:?}");
    daemon.thaw().await;

    what_was_handed_over_goes_back(&daemon).await;
}

/// To whoever asks when the manager goes on.
async fn what_was_handed_over_goes_back(daemon: &Daemon) {
    let manager = daemon.connect(|builder| builder).await;
    let lock = manager.lock("lock").await.unwrap();
    drop(within(lock.acquire()).await.unwrap());
    drop(within(manager.rlock("rlock").await.unwrap().acquire()).await.unwrap());
    drop(within(manager.semaphore("semaphore", 1).await.unwrap().acquire()).await.unwrap());
    drop(within(manager.condition("condition").await.unwrap().acquire()).await.unwrap());
    let queue = manager.queue::<u64>("queue").await.unwrap();
    within(queue.put(&2)).await.unwrap();
    // Nobody knows whether the first one was put in.
    while within(queue.get()).await.unwrap() != 2 {}
}

#[tokio::test]
async fn timed_calls_end_in_time_over_tcp() {
    timed_calls_end_in_time(Reach::Tcp).await;
}

#[tokio::test]
async fn timed_calls_end_in_time_on_a_unix_socket() {
    timed_calls_end_in_time(Reach::Unix).await;
}

#[tokio::test]
async fn timed_calls_end_in_time_to_an_embedded_manager() {
    timed_calls_end_in_time(Reach::Embedded).await;
}

#[tokio::test]
async fn timed_calls_end_in_time_in_the_blocking_interface() {
    let daemon = daemon(Reach::Tcp).await;
    let manager = daemon.connect_blocking(long_blocking).await;
    let queue = aside(move || manager.queue::<u64>("jobs").open().unwrap()).await;
    daemon.freeze().await;
    let got = soon("get", aside(move || queue.get_timeout(TIMEOUT))).await;
    assert_eq!(got.unwrap(), None);
    daemon.thaw().await;
}

/// It takes the lock again after its timeout, as long as that takes; but not from a manager that says
/// nothing.
#[tokio::test]
async fn a_wait_for_a_condition_ends_when_nothing_is_heard() {
    for reach in [Reach::Tcp, Reach::Unix] {
        let daemon = daemon(reach).await;
        let manager = daemon.connect(long).await;
        let condition = manager.condition("ready").await.unwrap();
        let guard = condition.acquire().await.unwrap();
        daemon.freeze().await;
        let waited = soon("wait", condition.wait_timeout(guard, TIMEOUT)).await;
        assert!(matches!(waited, Err(Error::Unreachable(_))), "{waited:?}");
        daemon.thaw().await;
        assert!(!within(condition.is_locked()).await.unwrap(), "it is held by nobody");
    }
}

/// Somebody else has the lock meanwhile: the manager is there, and is heard.
#[tokio::test]
async fn a_wait_for_a_condition_takes_the_lock_again_however_long_that_takes() {
    let daemon = daemon(Reach::Tcp).await;
    let manager = daemon.connect(long).await;
    let condition = manager.condition("ready").await.unwrap();
    let guard = condition.acquire().await.unwrap();
    let began = Instant::now();
    let holder = {
        let condition = daemon.connect(|builder| builder).await.condition("ready").await.unwrap();
        tokio::spawn(async move {
            let held = condition.acquire().await.unwrap();
            tokio::time::sleep(Duration::from_millis(2_500)).await;
            held.release().await.unwrap();
        })
    };
    let (guard, notified) = within(condition.wait_timeout(guard, TIMEOUT)).await.unwrap();
    assert!(!notified && !guard.is_lost());
    assert!(began.elapsed() > TIMEOUT);
    within(holder).await.unwrap();
}
