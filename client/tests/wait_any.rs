//! Waiting for the first of several things.

use std::time::Duration;

use mp_manager::{
    Error, Event, Manager, Pool, Process, Waitable, blocking,
    connection::{Client, Listener},
    task, wait_any, wait_any_timeout,
};

const KEY: &str = "an authkey of more than sixteen bytes";

const LONG: Duration = Duration::from_secs(100);
const SHORT: Duration = Duration::from_millis(1);

async fn within<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(LONG, future).await.expect("it hangs")
}

#[task]
async fn wait_for(event: Event) -> mp_manager::Result<()> {
    event.wait().await
}

#[mp_manager::test]
async fn each_kind_is_ready_in_its_turn() {
    let manager = within(Manager::start()).await.unwrap();
    let go = manager.event("go").await.unwrap();
    let queue = manager.queue::<u64>("queue").await.unwrap();
    let event = manager.event("event").await.unwrap();
    let (first, second) = manager.pipe::<u64, u64>("pipe").await.unwrap().ends();
    let process = within(Process::new(wait_for, (go.clone(),)).start()).await.unwrap();
    let pool = within(Pool::builder().processes(1).manager(&manager).start()).await.unwrap();
    let result = pool.apply_async(wait_for, (go.clone(),));
    let things = [&process as &dyn Waitable, &queue, &event, &second, &result];
    assert!(within(wait_any_timeout(&things, SHORT)).await.unwrap().is_empty());
    assert!(within(wait_any_timeout(&things, Duration::ZERO)).await.unwrap().is_empty());
    queue.put(1).await.unwrap();
    assert_eq!(within(wait_any(&things)).await.unwrap(), [1]);
    // Nothing was taken.
    assert_eq!(within(wait_any(&things)).await.unwrap(), [1]);
    assert_eq!(queue.get().await.unwrap(), 1);
    first.send(2).await.unwrap();
    assert_eq!(within(wait_any(&things)).await.unwrap(), [3]);
    event.set().await.unwrap();
    let looked = within(wait_any_timeout(&things, Duration::ZERO)).await.unwrap();
    assert_eq!(looked, [2, 3]);
    go.set().await.unwrap();
    within(wait_any(&[&process])).await.unwrap();
    within(wait_any(&[&result])).await.unwrap();
    let looked = within(wait_any_timeout(&things, Duration::ZERO)).await.unwrap();
    assert_eq!(looked, [0, 2, 3, 4]);
}

#[mp_manager::test]
async fn what_is_deleted_is_an_error_that_names_it() {
    let manager = within(Manager::start()).await.unwrap();
    let queue = manager.queue::<u64>("jobs").await.unwrap();
    let waiting = tokio::spawn(async move { wait_any(&[&queue]).await });
    until(async || manager.inspect(Some("jobs")).await.unwrap().objects[0].waiters.len() == 1)
        .await;
    manager.delete("jobs").await.unwrap();
    let error = within(waiting).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::ObjectNotFound(_)), "{error}");
    assert!(error.to_string().contains("jobs"), "{error}");
}

/// Looks until something is so.
async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    within(async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[mp_manager::test]
fn a_thread_waits_as_well() {
    let manager = blocking::Manager::start().unwrap();
    let queue = manager.queue::<u64>("queue").open().unwrap();
    let event = manager.event("event").open().unwrap();
    let none = blocking::wait_any_timeout(&[&queue, &event], SHORT).unwrap();
    assert!(none.is_empty());
    std::thread::scope(|scope| {
        scope.spawn(|| event.set().unwrap());
        assert_eq!(blocking::wait_any(&[&queue, &event]).unwrap(), [1]);
    });
    queue.put(1).unwrap();
    assert_eq!(blocking::wait_any_timeout(&[&queue, &event], LONG).unwrap(), [0, 1]);
    assert_eq!(blocking::wait_any_timeout(&[&queue], Duration::ZERO).unwrap(), [0]);
}

#[mp_manager::test]
async fn a_connection_and_its_listener_are_ready_as_well() {
    let listener = Listener::bind("127.0.0.1:0", KEY).await.unwrap();
    assert!(within(wait_any_timeout(&[&listener], SHORT)).await.unwrap().is_empty());
    let client = within(Client::connect(listener.address(), KEY)).await.unwrap();
    assert_eq!(within(wait_any(&[&listener])).await.unwrap(), [0]);
    let connection = within(listener.accept()).await.unwrap();
    let things = [&listener as &dyn Waitable, &connection];
    assert!(within(wait_any_timeout(&things, Duration::ZERO)).await.unwrap().is_empty());
    client.send(&1).await.unwrap();
    assert_eq!(within(wait_any(&things)).await.unwrap(), [1]);
    assert_eq!(within(connection.recv::<u8>()).await.unwrap(), 1);
}

#[mp_manager::test]
fn a_thread_waits_for_connections() {
    let listener = blocking::connection::Listener::bind("127.0.0.1:0", KEY).unwrap();
    assert!(blocking::wait_any_timeout(&[&listener], SHORT).unwrap().is_empty());
    let client = blocking::connection::Client::connect(listener.address(), KEY).unwrap();
    assert_eq!(blocking::wait_any(&[&listener]).unwrap(), [0]);
    let connection = listener.accept().unwrap();
    client.send(&1).unwrap();
    assert_eq!(blocking::wait_any(&[&listener as &dyn Waitable, &connection]).unwrap(), [1]);
}
