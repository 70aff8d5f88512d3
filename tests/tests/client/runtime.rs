//! The runtime that a connection was made on is gone, or was none to make one on.

use std::{ffi::OsString, fmt::Debug, sync::mpsc, time::Duration};

use mp_manager::{ADDRESS_VARIABLE, AUTHKEY_VARIABLE, Error, Manager, Result, blocking};
use mp_manager_tests::{
    AUTHKEY, TestServer,
    daemon::{Reach, aside},
    fault_proxy::{Cut, FaultProxy},
};
use tempfile::TempDir;
use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
};

use crate::soon;

/// No test waits so long for a lease to end.
const LONG: Duration = Duration::from_secs(60);

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("no runtime")
}

fn one_thread_runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("no runtime")
}

/// A server that is not embedded in its client.
fn server(reach: Reach, directory: &TempDir) -> Option<TestServer> {
    match reach {
        Reach::Tcp => Some(TestServer::start()),
        Reach::Unix => Some(TestServer::in_directory(directory.path())),
        Reach::Embedded => None,
    }
}

/// A server, and a connection to it that was made on a runtime of its own.
async fn connected(reach: Reach) -> (Runtime, Option<TestServer>, Manager) {
    let directory = tempfile::tempdir().expect("no directory");
    let server = server(reach, &directory);
    let address = server.as_ref().map(TestServer::address);
    aside(move || {
        let runtime = runtime();
        let manager = runtime.block_on(async {
            match address {
                Some(address) => Manager::connect(&address, AUTHKEY).await,
                None => Manager::start().await,
            }
        });
        (runtime, server, manager.expect("it is there"))
    })
    .await
}

/// A connection of another process to the manager that its environment names.
async fn join(environment: Vec<(OsString, OsString)>) -> Manager {
    let [address, authkey] = [ADDRESS_VARIABLE, AUTHKEY_VARIABLE].map(|name| {
        let variable = environment.iter().find(|(known, _)| known == name);
        variable.and_then(|(_, value)| value.to_str()).expect("it is there").to_owned()
    });
    let builder = Manager::builder().authkey(authkey);
    builder.connect(&address).await.expect("it is there")
}

fn names_the_way_out<T: Debug>(what: &str, outcome: Result<T>) {
    let error = outcome.expect_err(what);
    assert!(matches!(error, Error::SessionLost(_)), "{what}: {error:?}");
    let message = error.to_string();
    assert!(message.contains("runtime") && message.contains("background_thread()"), "{message}");
}

async fn every_call_ends(reach: Reach) {
    let (runtime, _server, manager) = connected(reach).await;
    let lock = manager.lock("migrate").await.unwrap();
    let dict = manager.dict::<String, u64>("scores").await.unwrap();
    let queue = manager.queue::<u64>("jobs").await.unwrap();
    let guard = manager.lock("held").await.unwrap().acquire().await.unwrap();
    let pending = tokio::spawn({
        let queue = queue.clone();
        async move { queue.get().await }
    });
    mp_manager_tests::victim::waiters(&manager, "jobs", 1).await;
    aside(move || drop(runtime)).await;

    names_the_way_out("get", soon("get", pending).await.unwrap());
    let second = Duration::from_secs(1);
    names_the_way_out("timed", soon("timed", lock.acquire_timeout(second)).await);
    names_the_way_out("try_acquire", soon("try_acquire", lock.try_acquire()).await);
    names_the_way_out("acquire", soon("acquire", lock.acquire()).await);
    names_the_way_out("put", soon("put", queue.put(&1)).await);
    names_the_way_out("ping", soon("ping", manager.ping()).await);
    names_the_way_out("insert", soon("insert", dict.insert("alice", &3)).await);
    names_the_way_out("len", soon("len", dict.len()).await);
    names_the_way_out("open", soon("open", manager.lock("other").open()).await);
    names_the_way_out("shutdown", soon("shutdown", manager.shutdown()).await);
    soon("lost", guard.lost()).await;
    assert!(soon("release", guard.release()).await.is_err());
    drop((lock, dict, queue));
    soon("close", manager.close()).await.unwrap();
}

#[tokio::test]
async fn every_call_ends_over_tcp_when_the_runtime_is_gone() {
    every_call_ends(Reach::Tcp).await;
}

#[tokio::test]
async fn every_call_ends_on_a_unix_socket_when_the_runtime_is_gone() {
    every_call_ends(Reach::Unix).await;
}

#[tokio::test]
async fn every_call_ends_to_an_embedded_manager_when_the_runtime_is_gone() {
    every_call_ends(Reach::Embedded).await;
}

/// As `#[tokio::test]` after `#[tokio::test]` does it with a client in a `static`.
#[tokio::test]
async fn a_runtime_that_is_shut_down_in_the_background_is_gone_as_well() {
    let (runtime, _server, manager) = connected(Reach::Tcp).await;
    runtime.shutdown_background();
    names_the_way_out("ping", soon("ping", manager.ping()).await);
}

/// A call whose answer nobody takes in has timed out, whether it was sent or not.
fn timed_out<T: Debug>(outcome: Result<Option<T>>) {
    assert!(matches!(outcome, Ok(None) | Err(Error::Unreachable(_))), "{outcome:?}");
}

/// A program that ends says goodbye by the end of its runtime at the latest: nobody waits for its lease.
#[tokio::test]
async fn what_a_session_held_is_free_when_its_runtime_has_ended() {
    let server = TestServer::start();
    let observer = Manager::connect(&server.address(), AUTHKEY).await.unwrap();
    let lock = observer.lock("migrate").await.unwrap();
    let jobs = observer.queue::<u64>("jobs").await.unwrap();
    for one_thread in [false, true] {
        for drops in [false, true] {
            jobs.put(&1).await.unwrap();
            let address = server.address();
            let kept = aside(move || {
                let runtime = if one_thread { one_thread_runtime() } else { runtime() };
                runtime.block_on(async {
                    let builder = Manager::builder().authkey(AUTHKEY).lease(LONG);
                    let manager = builder.connect(&address).await.unwrap();
                    let guard = manager.lock("migrate").await.unwrap().acquire().await.unwrap();
                    let item = manager.queue::<u64>("jobs").await.unwrap().lease().await.unwrap();
                    (!drops).then_some((guard, item, manager))
                })
            })
            .await;
            let guard = soon("acquire", lock.acquire()).await.unwrap();
            assert_eq!(soon("get", jobs.get()).await.unwrap(), 1);
            guard.release().await.unwrap();
            drop(kept);
        }
    }
}

/// The end of a runtime sends the acknowledgement that its connection had no time for, also while other calls wait.
#[tokio::test]
async fn an_item_that_a_program_got_is_not_handed_out_again_when_the_program_ends_right_after() {
    for reach in [Reach::Tcp, Reach::Unix] {
        let directory = tempfile::tempdir().unwrap();
        let server = server(reach, &directory).unwrap();
        let observer = Manager::connect(&server.address(), AUTHKEY).await.unwrap();
        let jobs = observer.queue::<u64>("jobs").await.unwrap();
        for (one_thread, others_wait) in
            [(false, false), (false, true), (true, false), (true, true)].repeat(5)
        {
            jobs.put(&1).await.unwrap();
            let address = server.address();
            aside(move || {
                let runtime = if one_thread { one_thread_runtime() } else { runtime() };
                runtime.block_on(async {
                    let builder = Manager::builder().authkey(AUTHKEY).lease(LONG);
                    let manager = builder.connect(&address).await.unwrap();
                    if others_wait {
                        let event = manager.event("never").await.unwrap();
                        tokio::spawn(async move { event.wait().await });
                        mp_manager_tests::victim::waiters(&manager, "never", 1).await;
                    }
                    let jobs = manager.queue::<u64>("jobs").await.unwrap();
                    assert_eq!(jobs.get().await.unwrap(), 1);
                });
            })
            .await;
            while observer.inspect(None).await.unwrap().sessions.len() > 1 {
                tokio::task::yield_now().await;
            }
            assert_eq!(jobs.try_get().await.unwrap(), None, "{reach:?} {one_thread} {others_wait}");
        }
    }
}

/// The server sees no socket close when an owner's runtime ends.
#[tokio::test]
async fn what_the_owner_of_an_embedded_manager_held_is_free_when_its_runtime_has_ended() {
    for one_thread in [false, true] {
        let (runtime, guard, manager) = aside(move || {
            let runtime = if one_thread { one_thread_runtime() } else { runtime() };
            let (guard, manager) = runtime.block_on(async {
                let manager = Manager::builder().lease(LONG).start().await.unwrap();
                let guard = manager.lock("migrate").await.unwrap().acquire().await.unwrap();
                (guard, manager)
            });
            (runtime, guard, manager)
        })
        .await;
        let other = join(manager.environment()).await;
        let lock = other.lock("migrate").await.unwrap();
        aside(move || drop(runtime)).await;
        soon("acquire", lock.acquire()).await.unwrap().release().await.unwrap();
        assert!(guard.is_lost());
    }
}

/// Over a network only a goodbye ends a session before its lease: the client sends it on another connection.
#[tokio::test]
async fn what_a_session_held_is_free_when_it_is_closed_after_its_connection_was_cut() {
    let server = TestServer::start();
    let observer = Manager::connect(&server.address(), AUTHKEY).await.unwrap();
    let lock = observer.lock("migrate").await.unwrap();
    let proxy = FaultProxy::start(server.address().parse().unwrap()).await.unwrap();
    for closes in [false, true] {
        let address = format!("tcp://{}", proxy.address());
        let (reaches, reached) = oneshot::channel();
        let (cut, was_cut) = mpsc::channel();
        let holder = aside(move || {
            let runtime = one_thread_runtime();
            runtime.block_on(async {
                let builder = Manager::builder().authkey(AUTHKEY).lease(LONG);
                let manager = builder.connect(&address).await.unwrap();
                let guard = manager.lock("migrate").await.unwrap().acquire().await.unwrap();
                reaches.send(()).unwrap();
                // Nothing runs the connection meanwhile.
                was_cut.recv_timeout(LONG).unwrap();
                if closes {
                    soon("close", manager.close()).await.unwrap();
                    assert!(guard.is_lost());
                }
            });
        });
        let cuts = async {
            reached.await.unwrap();
            assert_eq!(proxy.cut_all(Cut::Reset), 1);
            while proxy.connections() > 0 {
                tokio::task::yield_now().await;
            }
            cut.send(()).unwrap();
            soon("acquire", lock.acquire()).await.unwrap().release().await.unwrap();
        };
        tokio::join!(holder, cuts);
    }
}

#[tokio::test]
async fn what_a_session_held_is_free_when_its_connection_has_a_thread_of_its_own() {
    let server = TestServer::start();
    let observer = Manager::connect(&server.address(), AUTHKEY).await.unwrap();
    let lock = observer.lock("migrate").await.unwrap();
    for _ in 0..20 {
        let address = server.address();
        aside(move || {
            let builder = blocking::Manager::builder().authkey(AUTHKEY).lease(LONG);
            let manager = builder.connect(&address).unwrap();
            // The last of the two says goodbye, right after it has released the lock.
            let _guard = manager.lock("migrate").open().unwrap().acquire().unwrap();
            drop(manager);
        })
        .await;
        let guard = soon("acquire", lock.acquire()).await.unwrap();
        guard.release().await.unwrap();
    }
}

/// The connection is there, and its runtime does not run: calls may be sent, and no answer arrives.
#[tokio::test]
async fn a_timeout_ends_its_call_although_the_runtime_stands_still() {
    for reach in [Reach::Tcp, Reach::Unix] {
        let directory = tempfile::tempdir().unwrap();
        let server = server(reach, &directory).unwrap();
        let address = server.address();
        let (idle, lock, queue) = aside(move || {
            let idle = one_thread_runtime();
            let (lock, queue) = idle.block_on(async {
                let manager = Manager::connect(&address, AUTHKEY).await.unwrap();
                let lock = manager.lock("migrate").await.unwrap();
                (lock, manager.queue::<u64>("jobs").await.unwrap())
            });
            (idle, lock, queue)
        })
        .await;
        let moment = Duration::from_millis(50);
        timed_out(soon("acquire", lock.acquire_timeout(moment)).await);
        timed_out(soon("get", queue.get_timeout(moment)).await);
        let put = soon("put", queue.put_timeout(&1, moment)).await;
        assert!(
            matches!(put, Err(Error::Unreachable(_) | Error::OutcomeUnknown(_))),
            "the manager may have it: {put:?}"
        );
        timed_out(soon("try_acquire", lock.try_acquire()).await);
        idle.shutdown_background();
    }
}

#[tokio::test]
async fn the_blocking_interface_outlives_every_runtime() {
    let server = TestServer::start();
    let address = server.address();
    aside(move || {
        let runtime = runtime();
        let manager = runtime
            .block_on(async {
                tokio::task::spawn_blocking(move || blocking::Manager::connect(&address, AUTHKEY))
                    .await
            })
            .unwrap()
            .unwrap();
        drop(runtime);
        manager.ping().unwrap();
        let lock = manager.lock("migrate").open().unwrap();
        assert!(lock.acquire_timeout(Duration::from_secs(1)).unwrap().is_some());
    })
    .await;
}

fn is_a_configuration_error(outcome: Result<Manager>, what: &str) {
    let error = outcome.expect_err(what);
    assert!(matches!(error, Error::Configuration(_)), "{what}: {error:?}");
    let message = error.to_string();
    assert!(message.contains(what) && message.contains("background_thread()"), "{message}");
}

#[test]
fn connecting_outside_a_runtime_is_an_error_that_names_the_way_out() {
    let server = TestServer::start();
    is_a_configuration_error(
        pollster::block_on(Manager::connect(&server.address(), AUTHKEY)),
        "runtime",
    );
    is_a_configuration_error(pollster::block_on(Manager::start()), "runtime");
    let builder = Manager::builder().authkey(AUTHKEY).background_thread();
    let manager = pollster::block_on(builder.connect(&server.address())).unwrap();
    pollster::block_on(manager.ping()).unwrap();
}

#[test]
fn connecting_on_a_runtime_without_time_or_io_is_an_error_that_names_the_way_out() {
    let server = TestServer::start();
    for (what, runtime) in [
        ("enable_time()", Builder::new_current_thread().enable_io().build().unwrap()),
        ("enable_io()", Builder::new_current_thread().enable_time().build().unwrap()),
        ("enable_all()", Builder::new_current_thread().build().unwrap()),
    ] {
        let connected = runtime.block_on(Manager::connect(&server.address(), AUTHKEY));
        is_a_configuration_error(connected, what);
    }
}

/// A task drops its guard and computes until another client has acquired and released the lock.
async fn a_lock_is_handed_over_by_a_task_that_computes(reach: Reach, runtime: Runtime) {
    let directory = tempfile::tempdir().unwrap();
    let server = server(reach, &directory);
    let address = server.as_ref().map(TestServer::address);
    let (reached, reach) = oneshot::channel();
    let (acquired, computes) = mpsc::channel();
    let holder = aside(move || {
        let outcome = runtime.block_on(async {
            let manager = match address {
                Some(address) => Manager::connect(&address, AUTHKEY).await.unwrap(),
                None => Manager::start().await.unwrap(),
            };
            let lock = manager.lock("migrate").await.unwrap();
            let guard = lock.acquire().await.unwrap();
            let environment = manager.environment();
            let task = tokio::spawn(async move {
                let _ = reached.send(environment);
                // Nobody waits yet, or somebody does: both are right.
                drop(guard);
                computes.recv_timeout(LONG)
            });
            task.await.unwrap()
        });
        assert_eq!(outcome, Ok(()), "the lock is not handed over");
    });
    let other = async move {
        let manager = join(reach.await.unwrap()).await;
        let lock = manager.lock("migrate").await.unwrap();
        let guard = soon("acquire", lock.acquire()).await.unwrap();
        guard.release().await.unwrap();
        drop((lock, manager));
        // An embedded manager ends with its owner.
        acquired.send(()).unwrap();
    };
    tokio::join!(holder, other);
}

#[tokio::test]
async fn a_lock_is_handed_over_although_the_only_thread_of_its_runtime_computes() {
    for reach in [Reach::Tcp, Reach::Unix, Reach::Embedded] {
        let one_thread = one_thread_runtime();
        a_lock_is_handed_over_by_a_task_that_computes(reach, one_thread).await;
    }
}

#[tokio::test]
async fn a_lock_is_handed_over_although_a_thread_of_its_runtime_computes() {
    for reach in [Reach::Tcp, Reach::Unix, Reach::Embedded] {
        let threads = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        a_lock_is_handed_over_by_a_task_that_computes(reach, threads).await;
    }
}

/// The connection's task waits for the thread that computes, and so does the runtime's driver.
#[tokio::test]
async fn calls_of_other_tasks_end_although_one_computes_after_a_call() {
    let server = TestServer::start();
    let address = server.address();
    let (puts, put) = oneshot::channel();
    let holder = aside(move || {
        let threads = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let outcome = threads.block_on(async {
            let manager = Manager::connect(&address, AUTHKEY).await.unwrap();
            let guard = manager.lock("migrate").await.unwrap().acquire().await.unwrap();
            let jobs = manager.queue::<u64>("jobs").await.unwrap();
            let (got, computes) = mpsc::channel();
            tokio::spawn(async move {
                for _ in 0..3 {
                    got.send(jobs.get().await).unwrap();
                }
            });
            mp_manager_tests::victim::waiters(&manager, "jobs", 1).await;
            let task = tokio::spawn(async move {
                // The thread that runs it next has waited for sockets and timers, and does so no more.
                tokio::time::sleep(Duration::from_millis(1)).await;
                puts.send(()).unwrap();
                drop(guard);
                [(); 3].map(|()| computes.recv_timeout(LONG))
            });
            task.await.unwrap()
        });
        for (got, expected) in outcome.into_iter().zip(1..) {
            assert_eq!(got.expect("the call does not end").unwrap(), expected);
        }
    });
    let other = async {
        let manager = Manager::connect(&server.address(), AUTHKEY).await.unwrap();
        let jobs = manager.queue::<u64>("jobs").await.unwrap();
        put.await.unwrap();
        for item in 1..=3 {
            jobs.put(&item).await.unwrap();
        }
    };
    tokio::join!(holder, other);
}

/// The thread that computes is the one that waited for sockets and timers, and no call makes another one take its
/// place.
#[tokio::test]
async fn a_session_goes_on_although_a_task_computes_for_longer_than_its_lease() {
    const LEASE: Duration = Duration::from_secs(3);
    let server = TestServer::start();
    let address = server.address();
    let (reaches, reached) = oneshot::channel();
    let (waited, computes) = mpsc::channel();
    let holder = aside(move || {
        let threads = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        threads.block_on(async {
            let builder = Manager::builder().authkey(AUTHKEY).lease(LEASE);
            let manager = builder.connect(&address).await.unwrap();
            let guard = manager.lock("migrate").await.unwrap().acquire().await.unwrap();
            let task = tokio::spawn(async move {
                // Long after the call, and run by the thread that has waited for that timer.
                tokio::time::sleep(Duration::from_millis(100)).await;
                reaches.send(()).unwrap();
                computes.recv_timeout(LONG).unwrap();
                assert!(!guard.is_lost());
            });
            task.await.unwrap();
        });
    });
    let other = async {
        let manager = Manager::connect(&server.address(), AUTHKEY).await.unwrap();
        let lock = manager.lock("migrate").await.unwrap();
        reached.await.unwrap();
        assert!(lock.acquire_timeout(2 * LEASE).await.unwrap().is_none());
        waited.send(()).unwrap();
    };
    tokio::join!(holder, other);
}
