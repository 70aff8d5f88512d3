//! The memory that a manager says it uses is the memory that its process grows by, and gives back.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fmt, iter,
    ops::RangeInclusive,
    process::Stdio,
    time::{Duration, Instant},
};

use mp_manager::{Dict, Event, List, Manager, Pipe, Queue, Set, Unnamed};
use mp_manager_proto::v1::{DictOp, Kind, dict_op, reply, request};
use mp_manager_tests::{AUTHKEY, raw::RawSession, victim::waiters, within};
use tokio::task::JoinSet;

use crate::fixture::{Daemon, Home, Running};

/// The text that fills lists, dicts, sets, queues and pipes.
const TEXT: &str =
    "A line of text as there are many, neither long nor short: eighty-four characters, or so.";

/// For values of a few bytes: glibc's allocator leaves holes between them, where larger blocks were.
const TINY: RangeInclusive<f64> = 0.7..=1.15;

/// Both in bytes.
struct Used {
    resident: usize,
    booked: usize,
}

impl Used {
    async fn by(daemon: &Daemon, manager: &Manager) -> Self {
        let resident = daemon.process.resident_bytes();
        let statistics = manager.statistics().await.unwrap();
        Self { resident, booked: usize::try_from(statistics.bytes).unwrap() }
    }
}

impl fmt::Display for Used {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes are booked, {} resident", self.booked, self.resident)
    }
}

async fn connect(daemon: &Daemon) -> Manager {
    within(Manager::connect(&daemon.address, AUTHKEY)).await.unwrap()
}

/// Fills a daemon of its own, and compares. The result of `fill` lives until then.
async fn is_booked<T>(fill: impl AsyncFnOnce(&Manager, &Daemon) -> T) {
    is_booked_within(0.85..=1.15, "unix:memory", fill).await;
}

async fn is_booked_within<T>(
    ratios: RangeInclusive<f64>,
    address: &str,
    fill: impl AsyncFnOnce(&Manager, &Daemon) -> T,
) {
    if cfg!(feature = "jemalloc") {
        eprintln!("skipped: the figures are those of glibc's allocator");
        return;
    }
    let (daemon, manager) = serve(address).await;
    let before = Used::by(&daemon, &manager).await;
    let kept = within(fill(&manager, &daemon)).await;
    let after = Used::by(&daemon, &manager).await;
    drop(kept);
    let resident = after.resident - before.resident;
    let booked = after.booked - before.booked;
    assert!(resident > 16 << 20, "too little to compare: {before}, then {after}");
    let ratio = booked as f64 / resident as f64;
    println!("{ratio:.2}: {booked} bytes are booked for {resident}");
    assert!(ratios.contains(&ratio), "{ratio:.2}: {before}, then {after}");
}

/// Starts a daemon and warms it up, so that what it allocates only once is there.
async fn serve(address: &str) -> (Daemon, Manager) {
    let home = Home::new();
    let place = address.replace("unix:", &format!("unix:{}/", home.path("").display()));
    let mut serve = home.command(&["serve", "--address", &place]);
    let process = Running::start(serve.env("MP_MANAGER_AUTHKEY", AUTHKEY).stderr(Stdio::null()));
    let daemon = Daemon::of(home, process);
    let manager = connect(&daemon).await;
    let warm: List<String> = manager.list("warm").open().await.unwrap();
    warm.extend(iter::repeat_n(TEXT, 1000)).await.unwrap();
    warm.copy().await.unwrap();
    manager.delete("warm").await.unwrap();
    (daemon, manager)
}

#[tokio::test]
async fn objects_with_their_names() {
    is_booked(async |manager: &Manager, _: &Daemon| {
        let mut events: Vec<Event> = Vec::new();
        for n in 0..40_000 {
            events.push(manager.event(format!("events/of/{n}")).open().await.unwrap());
        }
        events
    })
    .await;
}

#[tokio::test]
async fn elements_of_a_list() {
    is_booked(async |manager: &Manager, _: &Daemon| {
        let list: List<String> = manager.list(Unnamed).open().await.unwrap();
        for _ in 0..300 {
            list.extend(iter::repeat_n(TEXT, 1000)).await.unwrap();
        }
        list
    })
    .await;
}

#[tokio::test]
async fn numbers_in_a_list() {
    is_booked_within(TINY, "unix:memory", async |manager: &Manager, _: &Daemon| {
        let list: List<u64> = manager.list(Unnamed).open().await.unwrap();
        for n in 0..500 {
            list.extend((0..1000).map(|k| 1000 * n + k)).await.unwrap();
        }
        list
    })
    .await;
}

#[tokio::test]
async fn numbers_in_a_dict() {
    is_booked_within(TINY, "unix:memory", async |manager: &Manager, _: &Daemon| {
        let dict: Dict<u64, u64> = manager.dict(Unnamed).open().await.unwrap();
        for n in 0..300 {
            dict.extend((0..1000).map(|k| (1000 * n + k, k))).await.unwrap();
        }
        dict
    })
    .await;
}

async fn filled_dict(manager: &Manager) -> Dict<u64, String> {
    let dict = manager.dict(Unnamed).open().await.unwrap();
    for n in 0..400 {
        dict.extend((0..1000_u64).map(|k| (1000 * n + k, TEXT))).await.unwrap();
    }
    dict
}

#[tokio::test]
async fn entries_of_a_dict() {
    is_booked(async |manager: &Manager, _: &Daemon| filled_dict(manager).await).await;
}

#[tokio::test]
async fn entries_of_a_dict_that_were_read() {
    is_booked(async |manager: &Manager, _: &Daemon| {
        let dict = filled_dict(manager).await;
        let mut items = 0;
        for n in 0..400 {
            let keys: Vec<u64> = (0..1000).map(|k| 1000 * n + k).collect();
            items += dict.get_many(&keys).await.unwrap().len();
        }
        assert_eq!(items, 400_000);
        dict
    })
    .await;
}

#[tokio::test]
async fn elements_of_a_set() {
    is_booked(async |manager: &Manager, _: &Daemon| {
        let set: Set<String> = manager.set(Unnamed).open().await.unwrap();
        for n in 0..200 {
            let texts: Vec<String> = (0..1000).map(|k| format!("{TEXT}{n}/{k}")).collect();
            set.extend(texts).await.unwrap();
        }
        set
    })
    .await;
}

#[tokio::test]
async fn items_of_a_queue() {
    is_booked(async |manager: &Manager, _: &Daemon| {
        let queue: Queue<String> = manager.queue(Unnamed).open().await.unwrap();
        for _ in 0..150 {
            queue.put_many(iter::repeat_n(TEXT, 1000)).await.unwrap();
        }
        queue
    })
    .await;
}

#[tokio::test]
async fn messages_in_a_pipe() {
    is_booked(async |manager: &Manager, _: &Daemon| {
        let pipe: Pipe<String, String> =
            manager.pipe(Unnamed).capacity(1 << 30).open().await.unwrap();
        let mut senders = JoinSet::new();
        for _ in 0..50 {
            let end = pipe.first();
            senders.spawn(async move {
                for _ in 0..2000 {
                    end.send(TEXT).await.unwrap();
                }
            });
        }
        senders.join_all().await;
        pipe
    })
    .await;
}

#[tokio::test]
async fn calls_that_wait() {
    is_booked(async |manager: &Manager, daemon: &Daemon| {
        let mut waiting = JoinSet::new();
        let mut count = 0;
        for manager in [manager.clone(), connect(daemon).await] {
            let event = manager.event("never").open().await.unwrap();
            // In frames of all of them, what reading those took would be measured, too.
            for _ in 0..225 {
                for _ in 0..200 {
                    let event = event.clone();
                    waiting.spawn(async move { event.wait_timeout(Duration::from_hours(1)).await });
                }
                count += 200;
                waiters(&manager, "never", count).await;
            }
        }
        waiting
    })
    .await;
}

async fn connect_often(_: &Manager, daemon: &Daemon) -> Vec<Manager> {
    let mut managers = Vec::new();
    for _ in 0..700 {
        managers.push(connect(daemon).await);
    }
    managers
}

#[tokio::test]
async fn sessions_over_unix_sockets() {
    is_booked_within(0.85..=1.15, "unix:memory", connect_often).await;
}

#[tokio::test]
async fn sessions_over_tcp() {
    is_booked_within(0.85..=1.15, "127.0.0.1:0", connect_often).await;
}

#[tokio::test]
async fn replies_that_are_not_acknowledged() {
    is_booked(async |manager: &Manager, daemon: &Daemon| {
        let dict: Dict<u8, String> = manager.dict("scores").open().await.unwrap();
        dict.insert(&1, TEXT.repeat(4)).await.unwrap();
        let mut session = RawSession::start(&daemon.address).await;
        let scores = session.open(Some("scores"), Kind::Dict, None).await.unwrap();
        for _ in 0..60_000 {
            let get = request::Op::Dict(DictOp { op: Some(dict_op::Op::Get(vec![1].into())) });
            let got = session.ask(scores, get).await;
            assert!(matches!(got, Ok(reply::Result::Value(_))));
        }
        session
    })
    .await;
}

/// With jemalloc, deleting everything returns its memory within ten seconds.
#[tokio::test]
async fn memory_that_is_free_is_given_back() {
    if !cfg!(feature = "jemalloc") {
        eprintln!("skipped: glibc keeps what small blocks took; `--features jemalloc`");
        return;
    }
    let (daemon, manager) = serve("unix:memory").await;
    let before = Used::by(&daemon, &manager).await;
    let dicts = [filled_dict(&manager).await, filled_dict(&manager).await];
    for dict in &dicts {
        assert_eq!(within(dict.items()).await.unwrap().len(), 400_000);
    }
    let mut events: Vec<Event> = Vec::new();
    for n in 0..20_000 {
        events.push(manager.event(format!("events/of/{n}")).open().await.unwrap());
    }
    let full = Used::by(&daemon, &manager).await;
    assert!(full.resident > before.resident + (90 << 20), "{before}, then {full}");
    drop(dicts);
    drop(events);
    for n in 0..20_000 {
        manager.delete(&format!("events/of/{n}")).await.unwrap();
    }
    let deleted = Instant::now();
    loop {
        let after = Used::by(&daemon, &manager).await;
        if after.resident <= before.resident + before.resident / 4 {
            break println!("{:?}: {full}, then {after}", deleted.elapsed());
        }
        assert!(deleted.elapsed() < Duration::from_secs(10), "{before}, {full}, then {after}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
