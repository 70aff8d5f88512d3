//! What is promised when a process is killed with SIGKILL, with real processes: what it held passes
//! on, what it waited for goes to the living, and what it left behind is gone. Over a unix socket, so
//! at once; over a network all of it is when the process' lease has run out.

use std::{path::Path, time::Duration};

use mp_manager::{Error, Manager, Result, Unnamed};
use mp_manager_tests::{
    AUTHKEY, TestServer,
    victim::{Victim, holder, until, waiters},
    within,
};
use tempfile::TempDir;

struct Scene {
    server: TestServer,
    manager: Manager,
    /// Of the socket.
    _directory: TempDir,
}

impl Scene {
    async fn set() -> Self {
        let directory = tempfile::tempdir().expect("there is room for a socket");
        let server = TestServer::in_directory(directory.path());
        let manager = Manager::connect(&server.address(), AUTHKEY).await.expect("it is there");
        Self { server, manager, _directory: directory }
    }

    /// A process that is in position.
    async fn victim(&self, position: &str) -> Victim {
        let mut victim = start(&self.server.address(), position);
        let said = victim.says().await;
        assert!(["holding", "waiting"].contains(&said.as_str()), "{said}");
        victim
    }
}

/// For how long nobody need try to connect again to what is gone.
const MOMENT: Duration = Duration::from_millis(100);

fn start(address: &str, position: &str) -> Victim {
    Victim::start(env!("CARGO_BIN_EXE_victim"), address, position)
}

#[tokio::test]
async fn the_next_waiter_gets_the_lock_with_a_higher_token() {
    passes_on("hold lock", async |manager| {
        Ok(manager.lock("resource").await?.acquire().await?.token())
    })
    .await;
}

#[tokio::test]
async fn the_next_waiter_gets_the_rlock_with_a_higher_token() {
    passes_on("hold rlock", async |manager| {
        Ok(manager.rlock("resource").await?.acquire().await?.token())
    })
    .await;
}

#[tokio::test]
async fn the_next_waiter_gets_the_permits_with_a_higher_token() {
    passes_on("hold semaphore", async |manager| {
        Ok(manager.semaphore("resource", 3).await?.acquire_many(2).await?.token())
    })
    .await;
}

#[tokio::test]
async fn the_next_waiter_gets_the_condition_with_a_higher_token() {
    passes_on("hold condition", async |manager| {
        Ok(manager.condition("resource").await?.acquire().await?.token())
    })
    .await;
}

/// What the victim holds is acquired by somebody who waits while it is killed.
async fn passes_on(position: &str, acquire: impl AsyncFnOnce(Manager) -> Result<u64>) {
    let scene = Scene::set().await;
    let victim = scene.victim(position).await;
    let held = holder(&scene.manager, "resource").await.token;
    let kill = async {
        waiters(&scene.manager, "resource", 1).await;
        victim.kill().await;
    };
    let (token, ()) = within(async { tokio::join!(acquire(scene.manager.clone()), kill) }).await;
    assert!(token.expect("it is acquired") > held);
}

#[tokio::test]
async fn a_notification_wakes_the_living() {
    let scene = Scene::set().await;
    let victim = scene.victim("await notification").await;
    waiters(&scene.manager, "resource", 1).await;
    let waiter = tokio::spawn(notified(scene.manager.clone()));
    waiters(&scene.manager, "resource", 2).await;
    victim.kill().await;
    let condition = scene.manager.condition("resource").await.unwrap();
    let guard = condition.acquire().await.unwrap();
    assert_eq!(guard.notify_one().await.unwrap(), 1);
    guard.release().await.unwrap();
    within(waiter).await.unwrap().unwrap();
}

/// It went to a process that never heard of it.
#[tokio::test]
async fn a_notification_on_its_way_to_the_dead_passes_on() {
    let scene = Scene::set().await;
    let victim = scene.victim("await notification").await;
    let [first] = &waiters(&scene.manager, "resource", 1).await[..] else { unreachable!() };
    let waiter = tokio::spawn(notified(scene.manager.clone()));
    waiters(&scene.manager, "resource", 2).await;
    victim.freeze().await;
    let condition = scene.manager.condition("resource").await.unwrap();
    let guard = condition.acquire().await.unwrap();
    assert_eq!(guard.notify_one().await.unwrap(), 1);
    guard.release().await.unwrap();
    assert_eq!(holder(&scene.manager, "resource").await.session, first.session);
    victim.kill().await;
    within(waiter).await.unwrap().unwrap();
    assert!(!condition.is_locked().await.unwrap());
}

async fn notified(manager: Manager) -> Result<()> {
    let condition = manager.condition("resource").await?;
    let guard = condition.acquire().await?;
    condition.wait(guard).await?.release().await
}

/// It was granted to a process that never heard of it.
#[tokio::test]
async fn a_grant_on_its_way_to_the_dead_passes_on() {
    let scene = Scene::set().await;
    let lock = scene.manager.lock("resource").await.unwrap();
    let guard = lock.acquire().await.unwrap();
    let victim = scene.victim("await lock").await;
    let [waiting] = &waiters(&scene.manager, "resource", 1).await[..] else { unreachable!() };
    victim.freeze().await;
    guard.release().await.unwrap();
    let held = holder(&scene.manager, "resource").await;
    assert_eq!(held.session, waiting.session);

    let next = tokio::spawn(async move { lock.acquire().await.unwrap().token() });
    waiters(&scene.manager, "resource", 1).await;
    victim.kill().await;
    assert!(within(next).await.unwrap() > held.token);
}

#[tokio::test]
async fn what_is_put_next_goes_to_a_live_consumer() {
    let scene = Scene::set().await;
    let jobs = scene.manager.queue::<u64>("jobs").await.unwrap();
    let victim = scene.victim("get").await;
    waiters(&scene.manager, "jobs", 1).await;
    let consumer = jobs.clone();
    let first_two =
        tokio::spawn(async move { [consumer.get().await.unwrap(), consumer.get().await.unwrap()] });
    waiters(&scene.manager, "jobs", 2).await;
    victim.kill().await;
    waiters(&scene.manager, "jobs", 1).await;
    jobs.put(&1).await.unwrap();
    jobs.put(&2).await.unwrap();
    assert_eq!(within(first_two).await.unwrap(), [1, 2]);
}

/// It was delivered to a process that never took it.
#[tokio::test]
async fn an_item_on_its_way_to_the_dead_comes_back_in_its_place() {
    let scene = Scene::set().await;
    let jobs = scene.manager.queue::<u64>("jobs").await.unwrap();
    let victim = scene.victim("get").await;
    waiters(&scene.manager, "jobs", 1).await;
    victim.freeze().await;
    jobs.put_many(&[1, 2, 3]).await.unwrap();
    assert_eq!(jobs.len().await.unwrap(), 2);
    victim.kill().await;
    until(async || (jobs.len().await.unwrap() == 3).then_some(())).await;
    let mut received = Vec::new();
    for _ in 0..3 {
        let item = jobs.get_counted().await.unwrap();
        received.push((item.value, item.deliveries));
    }
    assert_eq!(received, [(1, 2), (2, 1), (3, 1)]);
}

#[tokio::test]
async fn a_leased_item_comes_back_and_join_does_not_hang() {
    let scene = Scene::set().await;
    let jobs = scene.manager.queue::<u64>("jobs").await.unwrap();
    jobs.put_many(&[1, 2]).await.unwrap();
    let victim = scene.victim("lease").await;
    let joined = jobs.clone();
    let joined = tokio::spawn(async move { joined.join().await });
    waiters(&scene.manager, "jobs", 1).await;
    victim.kill().await;
    until(async || (jobs.len().await.unwrap() == 2).then_some(())).await;
    for expected in [(1, 2), (2, 1)] {
        assert!(!joined.is_finished());
        let delivery = within(jobs.lease()).await.unwrap();
        assert_eq!((*delivery, delivery.deliveries()), expected);
        delivery.done().await.unwrap();
    }
    within(joined).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_barrier_breaks_and_names_who_was_lost() {
    let scene = Scene::set().await;
    let victim = scene.victim("meet").await;
    let [lost] = &waiters(&scene.manager, "meeting", 1).await[..] else { unreachable!() };
    let barrier = scene.manager.barrier("meeting", 3).await.unwrap();
    let party = barrier.clone();
    let party = tokio::spawn(async move { party.wait().await });
    waiters(&scene.manager, "meeting", 2).await;
    victim.kill().await;
    let error = within(party).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::BarrierBroken(_)), "{error:?}");
    assert!(error.to_string().contains(&format!("session {}", lost.session)), "{error}");
    assert!(barrier.is_broken().await.unwrap());
    // Who comes later is not kept waiting for the dead either.
    assert!(matches!(within(barrier.wait()).await, Err(Error::BarrierBroken(_))));
}

#[tokio::test]
async fn the_other_end_of_a_pipe_comes_to_its_end() {
    let scene = Scene::set().await;
    let end = scene.manager.pipe::<String, String>("talk").await.unwrap().second();
    let victim = scene.victim("send").await;
    victim.kill().await;
    assert_eq!(within(end.receive()).await.unwrap(), "last words");
    assert!(matches!(within(end.receive()).await, Err(Error::EndOfFile(_))));
    assert!(matches!(end.send("hello?").await, Err(Error::EndOfFile(_))));
}

#[tokio::test]
async fn a_message_on_its_way_to_the_dead_is_not_lost() {
    let scene = Scene::set().await;
    let end = scene.manager.pipe::<String, String>("talk").await.unwrap().second();
    let victim = scene.victim("receive").await;
    waiters(&scene.manager, "talk", 1).await;
    victim.freeze().await;
    end.send("hello?").await.unwrap();
    victim.kill().await;
    let closed = async || matches!(end.poll(Duration::ZERO).await, Ok(true)).then_some(());
    until(closed).await;
    // Whoever opens the end again finds it.
    let again = scene.manager.pipe::<String, String>("talk").await.unwrap().first();
    assert_eq!(within(again.receive()).await.unwrap(), "hello?");
}

#[tokio::test]
async fn nothing_is_left_of_what_only_the_dead_referred_to() {
    let scene = Scene::set().await;
    let kept = scene.manager.dict::<u64, u64>(Unnamed).await.unwrap();
    let before = scene.manager.statistics().await.unwrap();
    let victim = scene.victim("hold unnamed").await;
    let with_victim = scene.manager.statistics().await.unwrap();
    assert_eq!(with_victim.objects, before.objects + 20);
    assert_eq!(with_victim.sessions, before.sessions + 1);
    victim.kill().await;
    let after = until(async || {
        let now = scene.manager.statistics().await.unwrap();
        (now.sessions == before.sessions && now.objects == before.objects).then_some(now)
    })
    .await;
    assert_eq!(after.bytes, before.bytes);
    assert!(kept.is_empty().await.unwrap());
}

#[tokio::test]
async fn an_embedded_manager_dies_with_its_process() {
    let mut victim = start("-", "embed");
    let said = victim.says().await;
    let (address, authkey) = said.split_once(' ').unwrap();
    let manager = within(Manager::connect(address, authkey)).await.unwrap();
    let guard = manager.lock("resource").await.unwrap().acquire().await.unwrap();
    victim.kill().await;
    within(guard.lost()).await;
    assert!(matches!(manager.ping().await, Err(Error::SessionLost(_))));
    let error = within(Manager::connect(address, authkey)).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    // Nobody was left who could have done it.
    if let Some(socket) = address.strip_prefix("unix:") {
        std::fs::remove_dir_all(Path::new(socket).parent().unwrap()).unwrap();
    }
}

#[tokio::test]
async fn a_killed_daemon_is_noticed_by_all() {
    let mut daemon = start("127.0.0.1:0", "serve");
    let address = daemon.says().await;
    let impatient = Manager::builder().authkey(AUTHKEY).reconnect_timeout(MOMENT);
    let manager = within(impatient.connect(&address)).await.unwrap();
    let lock = manager.lock("resource").await.unwrap();
    let guard = lock.acquire().await.unwrap();
    let waiting = tokio::spawn(async move { lock.acquire().await });
    waiters(&manager, "resource", 1).await;
    daemon.kill().await;
    let error = within(waiting).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::SessionLost(_)), "{error:?}");
    assert!(error.to_string().contains("connect again"), "{error}");
    within(guard.lost()).await;
    assert!(matches!(guard.release().await, Err(Error::SessionLost(_))));
    assert!(matches!(manager.ping().await, Err(Error::SessionLost(_))));
}

#[tokio::test]
async fn a_daemon_that_stops_says_so() {
    let server = TestServer::with(|options| options.shutdown_grace = Duration::from_secs(10));
    let impatient = Manager::builder().authkey(AUTHKEY).reconnect_timeout(MOMENT);
    let manager = impatient.connect(&server.address()).await.unwrap();
    let lock = manager.lock("resource").await.unwrap();
    let guard = lock.acquire().await.unwrap();
    let waiting = tokio::spawn(async move { lock.acquire().await });
    waiters(&manager, "resource", 1).await;
    let other = Manager::connect(&server.address(), AUTHKEY).await.unwrap();
    within(other.shutdown()).await.unwrap();
    let error = within(waiting).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::ShuttingDown(_)), "{error:?}");
    within(guard.lost()).await;
    assert!(guard.is_lost());
    assert!(guard.release().await.is_err());
    assert!(matches!(manager.ping().await, Err(Error::ShuttingDown(_))));
    assert!(matches!(
        within(Manager::connect(&server.address(), AUTHKEY)).await,
        Err(Error::Connect { .. } | Error::ShuttingDown(_))
    ));
}
