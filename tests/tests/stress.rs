//! Many at once, and in a hurry: nothing is lost, nothing is done twice.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use mp_manager::{Manager, Queue};
use mp_manager_tests::{
    AUTHKEY, TestServer,
    victim::{Victim, look, until},
    within,
};
use tokio::task::{JoinSet, yield_now};

#[tokio::test]
async fn thirty_two_processes_count_to_thirty_two_thousand() {
    let server = TestServer::start();
    let counters: Vec<Victim> = (0..32)
        .map(|_| Victim::start(env!("CARGO_BIN_EXE_victim"), &server.address(), "count"))
        .collect();
    for mut counter in counters {
        // All take turns, which takes as long as it takes; they only have to go on.
        loop {
            match &*counter.says().await {
                "counting" => {}
                "counted" => break,
                other => panic!("it says {other:?}"),
            }
        }
    }
    let manager = Manager::connect(&server.address(), AUTHKEY).await.unwrap();
    let totals = manager.dict::<String, u64>("totals").await.unwrap();
    assert_eq!(totals.get("n").await.unwrap(), Some(32_000));
}

#[tokio::test]
async fn a_lock_is_held_once_in_a_storm() {
    let storm = Storm::set().await;
    let inside = Arc::new(AtomicUsize::new(0));
    let taken = storm.rage(|manager, mut dice| {
        let inside = Arc::clone(&inside);
        async move {
            let lock = manager.lock("resource").await.unwrap();
            let mut tokens = Vec::new();
            for _ in 0..ROUNDS {
                let Some(guard) = dice.impatiently(lock.acquire()).await else { continue };
                let guard = guard.unwrap();
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                tokens.push(guard.token());
                yield_now().await;
                inside.fetch_sub(1, Ordering::SeqCst);
                if dice.roll(2) == 0 {
                    dice.impatiently(guard.release()).await;
                }
            }
            tokens
        }
    });
    let mut tokens = taken.await;
    storm.settles("resource").await;
    assert!(!storm.one.lock("resource").await.unwrap().is_locked().await.unwrap());
    let taken = tokens.len();
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), taken, "a token was given twice");
}

#[tokio::test]
async fn a_semaphore_has_all_its_permits_after_a_storm() {
    let storm = Storm::set().await;
    let semaphore = storm.one.bounded_semaphore("resource", PERMITS).await.unwrap();
    let taken = Arc::new(AtomicUsize::new(0));
    let acquired = storm.rage(|manager, mut dice| {
        let taken = Arc::clone(&taken);
        async move {
            let semaphore = manager.bounded_semaphore("resource", PERMITS).await.unwrap();
            for _ in 0..ROUNDS {
                let n = 1 + usize::from(dice.roll(2) == 0);
                let acquire = semaphore.acquire_many(n);
                let Some(permit) = dice.impatiently(acquire).await else { continue };
                let permit = permit.unwrap();
                assert!(taken.fetch_add(n, Ordering::SeqCst) + n <= PERMITS);
                yield_now().await;
                taken.fetch_sub(n, Ordering::SeqCst);
                if dice.roll(2) == 0 {
                    dice.impatiently(permit.release()).await;
                }
            }
            Vec::<()>::new()
        }
    });
    acquired.await;
    storm.settles("resource").await;
    assert_eq!(semaphore.available().await.unwrap(), PERMITS);
}

const PERMITS: usize = 3;

#[tokio::test]
async fn a_condition_is_free_after_a_storm() {
    let storm = Storm::set().await;
    let inside = Arc::new(AtomicUsize::new(0));
    let waited = storm.rage(|manager, mut dice| {
        let inside = Arc::clone(&inside);
        async move {
            let condition = manager.condition("resource").await.unwrap();
            for _ in 0..ROUNDS {
                let Some(guard) = dice.impatiently(condition.acquire()).await else { continue };
                let mut guard = guard.unwrap();
                if dice.roll(2) == 0 {
                    let waited = dice.impatiently(condition.wait(guard)).await;
                    let Some(woken) = waited else { continue };
                    guard = woken.unwrap();
                }
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                dice.impatiently(guard.notify(2)).await;
                inside.fetch_sub(1, Ordering::SeqCst);
            }
            Vec::<()>::new()
        }
    });
    waited.await;
    storm.settles("resource").await;
    assert!(!storm.one.condition("resource").await.unwrap().is_locked().await.unwrap());
}

#[tokio::test]
async fn every_item_is_received_once_in_a_storm() {
    let storm = Storm::set().await;
    let jobs = storm.one.queue::<u64>("jobs").await.unwrap();
    let items: Vec<u64> = (0..5000).collect();
    jobs.put_many(&items).await.unwrap();
    let received = storm.rage(|manager, mut dice| async move {
        let jobs = manager.queue::<u64>("jobs").await.unwrap();
        let mut received = Vec::new();
        for _ in 0..ROUNDS {
            if dice.roll(2) == 0 {
                received.extend(dice.impatiently(jobs.get()).await.map(Result::unwrap));
            } else {
                let many = dice.impatiently(jobs.get_many(3)).await;
                received.extend(many.into_iter().flat_map(Result::unwrap));
            }
        }
        received
    });
    let mut received = received.await;
    received.extend(rest(&storm, &jobs).await);
    received.sort_unstable();
    assert_eq!(received, items);
}

#[tokio::test]
async fn every_item_is_finished_once_in_a_storm() {
    let storm = Storm::set().await;
    let jobs = storm.one.queue::<u64>("jobs").await.unwrap();
    let items: Vec<u64> = (0..2000).collect();
    jobs.put_many(&items).await.unwrap();
    let done = storm.rage(|manager, mut dice| async move {
        let jobs = manager.queue::<u64>("jobs").await.unwrap();
        let mut done = Vec::new();
        for _ in 0..ROUNDS {
            let Some(delivery) = dice.impatiently(jobs.lease()).await else { continue };
            let delivery = delivery.unwrap();
            match dice.roll(3) {
                0 => delivery.reject().await.unwrap(),
                1 => drop(delivery),
                _ => {
                    done.push(*delivery);
                    delivery.done().await.unwrap();
                }
            }
        }
        done
    });
    let mut done = done.await;
    storm.settles("jobs").await;
    while let Some(delivery) = jobs.try_lease().await.unwrap() {
        done.push(*delivery);
        delivery.done().await.unwrap();
    }
    within(jobs.join()).await.unwrap();
    done.sort_unstable();
    assert_eq!(done, items);
}

/// A put that was given up may have happened or not, but never twice; one that was not, has.
#[tokio::test]
async fn every_item_is_put_once_in_a_storm() {
    let storm = Storm::set().await;
    let jobs = storm.one.queue::<u64>("jobs").maxsize(3).await.unwrap();
    let told = storm.rage(|manager, mut dice| async move {
        let jobs = manager.queue::<u64>("jobs").await.unwrap();
        let (first, is_producer) = (dice.state * 1000, dice.state.is_multiple_of(3));
        let mut told = Vec::new();
        for n in (first..).take(ROUNDS) {
            if is_producer {
                let put = dice.impatiently(jobs.put(&n)).await;
                told.push((n, if put.is_some() { Told::Put } else { Told::Unsure }));
            } else if let Some(item) = dice.impatiently(jobs.get()).await {
                told.push((item.unwrap(), Told::Received));
            }
        }
        told
    });
    let told = told.await;
    let those = |what| told.iter().filter(move |(_, told)| *told == what).map(|(item, _)| *item);
    let mut received: Vec<u64> = those(Told::Received).collect();
    received.extend(rest(&storm, &jobs).await);
    let distinct: BTreeSet<u64> = received.iter().copied().collect();
    assert_eq!(distinct.len(), received.len(), "an item was received twice");
    assert!(those(Told::Put).all(|item| distinct.contains(&item)), "an item was lost");
    assert!(
        those(Told::Put).chain(those(Told::Unsure)).collect::<BTreeSet<_>>().is_superset(&distinct)
    );
}

#[derive(Clone, Copy, PartialEq)]
enum Told {
    Put,
    Unsure,
    Received,
}

#[tokio::test]
async fn every_message_is_received_once_in_a_storm() {
    let storm = Storm::set().await;
    let pipe = storm.one.pipe::<u64, ()>("talk").await.unwrap();
    let (first, second) = pipe.ends();
    let messages: Vec<u64> = (0..5000).collect();
    for message in &messages {
        first.send(message).await.unwrap();
    }
    let received = storm.rage(|manager, mut dice| async move {
        let end = manager.pipe::<u64, ()>("talk").await.unwrap().second();
        let mut received = Vec::new();
        for _ in 0..ROUNDS {
            received.extend(dice.impatiently(end.receive()).await.map(Result::unwrap));
        }
        received
    });
    let mut received = received.await;
    while received.len() < messages.len() {
        received.push(within(second.receive()).await.unwrap());
    }
    received.sort_unstable();
    assert_eq!(received, messages);
    assert_eq!(second.try_receive().await.unwrap(), None);
}

/// What is left in a queue once everything that was given up has come back.
async fn rest(storm: &Storm, jobs: &Queue<u64>) -> Vec<u64> {
    storm.settles("jobs").await;
    let mut rest = Vec::new();
    while let Some(item) = jobs.try_get().await.unwrap() {
        rest.push(item);
    }
    rest
}

const TASKS: u64 = 16;
const ROUNDS: usize = 200;

/// Tasks of two sessions that give up most of what they begin. The sessions outlive them, so that
/// nothing is cleaned up by their end.
struct Storm {
    one: Manager,
    two: Manager,
    _server: TestServer,
}

impl Storm {
    async fn set() -> Self {
        let server = TestServer::start();
        let one = Manager::connect(&server.address(), AUTHKEY).await.unwrap();
        let two = Manager::connect(&server.address(), AUTHKEY).await.unwrap();
        Self { one, two, _server: server }
    }

    /// Runs all tasks; everything they brought.
    async fn rage<T, F>(&self, task: impl Fn(Manager, Dice) -> F) -> Vec<T>
    where
        T: Send + 'static,
        F: Future<Output = Vec<T>> + Send + 'static,
    {
        let (mut tasks, outcomes) = (JoinSet::new(), Arc::<Outcomes>::default());
        for seed in 1..=TASKS {
            let manager = if seed % 2 == 0 { &self.one } else { &self.two };
            let dice = Dice { state: seed, outcomes: Arc::clone(&outcomes) };
            tasks.spawn(task(manager.clone(), dice));
        }
        let brought = within(tasks.join_all()).await;
        let [awaited, given_up] =
            [&outcomes.awaited, &outcomes.given_up].map(|count| count.load(Ordering::Relaxed));
        assert!(awaited > 0 && given_up > 0, "{awaited} awaited, {given_up} given up");
        brought.into_iter().flatten().collect()
    }

    /// Waits until nobody holds the object or waits for it.
    async fn settles(&self, name: &str) {
        until(async || {
            let info = look(&self.one, name).await.unwrap();
            (info.waiters.is_empty() && info.holders.is_empty()).then_some(())
        })
        .await;
    }
}

/// Makes a task's decisions: xorshift, the same numbers in every run.
struct Dice {
    state: u64,
    outcomes: Arc<Outcomes>,
}

/// What became of all calls.
#[derive(Default)]
struct Outcomes {
    awaited: AtomicUsize,
    given_up: AtomicUsize,
}

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % sides
    }

    /// Gives up on a call after it was polled for a while.
    async fn impatiently<T>(&mut self, call: impl Future<Output = T>) -> Option<T> {
        let magnitude = self.roll(13);
        let patience = self.roll(1 << magnitude);
        let (count, result) = tokio::select! {
            biased;
            result = call => (&self.outcomes.awaited, Some(result)),
            () = async { for _ in 0..patience { yield_now().await } } => {
                (&self.outcomes.given_up, None)
            }
        };
        count.fetch_add(1, Ordering::Relaxed);
        result
    }
}
