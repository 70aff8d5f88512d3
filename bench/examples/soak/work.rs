//! What the clients do, in rounds that leave nothing behind.

use std::{
    fmt::Write,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use clap::ValueEnum;
use mp_manager::{Dict, Error, List, Manager, Result, Unnamed};
use mp_manager_bench::AUTHKEY;
use mp_manager_tests::fault_proxy::{Cut, FaultProxy};
use tokio::{
    sync::{RwLock, RwLockWriteGuard},
    time::{sleep, timeout},
};

use crate::expiring;

/// A moment in which a call comes to wait.
const MOMENT: Duration = Duration::from_millis(2);
/// How often connections are cut in which a session is to be resumed.
const CUT_EVERY: Duration = Duration::from_millis(500);

/// What a client does in its rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    /// Connects, and says goodbye.
    Close,
    /// Connects, and drops what it holds and itself.
    Drop,
    /// Opens objects of every kind, and deletes them.
    Open,
    /// Puts, gets and leases items, and fills and empties collections.
    Put,
    /// Waits in calls that are given up.
    Cancel,
    /// Breaks barriers in every way.
    Barrier,
    /// Has its connection cut again and again.
    Resume,
    /// Is stopped for longer than its lease.
    Expire,
}

impl Work {
    pub(crate) const ALL: &[Self] = &[
        Self::Close,
        Self::Drop,
        Self::Open,
        Self::Put,
        Self::Cancel,
        Self::Barrier,
        Self::Resume,
        Self::Expire,
    ];
}

/// What all clients share.
pub(crate) struct Soak {
    address: String,
    proxy: FaultProxy,
    /// Held for reading during a round.
    rounds: RwLock<()>,
    done: [AtomicU64; Work::ALL.len()],
    is_in_round: [AtomicBool; Work::ALL.len()],
    /// A client has met an error that it should not meet.
    pub(crate) has_failed: AtomicBool,
}

impl Soak {
    pub(crate) fn new(address: &str, proxy: FaultProxy) -> Self {
        Self {
            address: address.to_owned(),
            proxy,
            rounds: RwLock::default(),
            done: Default::default(),
            is_in_round: Default::default(),
            has_failed: AtomicBool::new(false),
        }
    }

    /// Waits until all are between two rounds; they stay there until this is dropped.
    pub(crate) async fn pause(&self) -> RwLockWriteGuard<'_, ()> {
        self.rounds.write().await
    }

    /// Which sorts of clients are within a round.
    pub(crate) fn in_round(&self) -> Vec<Work> {
        let is_in_round = |work: &Work| self.is_in_round[*work as usize].load(Ordering::Relaxed);
        Work::ALL.iter().copied().filter(is_in_round).collect()
    }

    /// How many rounds of each sort there were since this was asked last.
    pub(crate) fn take_rounds(&self) -> String {
        let mut said = String::new();
        for (work, done) in Work::ALL.iter().zip(&self.done) {
            let _ = write!(said, "{work:?} {}, ", done.swap(0, Ordering::Relaxed));
        }
        said.trim_end_matches(", ").to_owned()
    }

    /// Does one sort of work until something goes wrong.
    pub(crate) async fn repeat(self: Arc<Self>, work: Work) {
        loop {
            let round = self.rounds.read().await;
            self.is_in_round[work as usize].store(true, Ordering::Relaxed);
            if let Err(error) = self.round(work).await {
                println!("{work:?}: {error}");
                self.has_failed.store(true, Ordering::Relaxed);
                return;
            }
            self.is_in_round[work as usize].store(false, Ordering::Relaxed);
            self.done[work as usize].fetch_add(1, Ordering::Relaxed);
            drop(round);
            // Whoever wants all of them to pause comes first.
            tokio::task::yield_now().await;
        }
    }

    async fn round(&self, work: Work) -> io::Result<()> {
        let result = match work {
            Work::Close => self.close().await,
            Work::Drop => self.drop_all().await,
            Work::Open => self.open().await,
            Work::Put => put(&self.connect().await.map_err(io::Error::other)?).await,
            Work::Cancel => self.cancel().await,
            Work::Barrier => self.barrier().await,
            Work::Resume => self.resume().await,
            Work::Expire => return expiring::expire(&self.address).await,
        };
        result.map_err(io::Error::other)
    }

    async fn connect(&self) -> Result<Manager> {
        Manager::connect(&self.address, AUTHKEY).await
    }

    async fn close(&self) -> Result<()> {
        let manager = self.connect().await?;
        manager.ping().await?;
        manager.close().await
    }

    async fn drop_all(&self) -> Result<()> {
        let manager = self.connect().await?;
        let lock = manager.lock(Unnamed).await?.acquire().await?;
        let jobs = manager.queue::<Vec<u8>>(Unnamed).await?;
        jobs.put(&vec![7; 1000]).await?;
        let lease = jobs.lease().await?;
        let talk = manager.pipe::<u64, u64>(Unnamed).await?;
        talk.first().send(&1).await?;
        drop((lock, lease, talk, jobs, manager));
        Ok(())
    }

    async fn open(&self) -> Result<()> {
        let manager = self.connect().await?;
        for n in 0..20 {
            let name = |kind: &str| format!("{kind} {n}");
            manager.dict::<u64, u64>(name("dict")).await?.insert(&n, &n).await?;
            manager.list::<u64>(name("list")).await?.push(&n).await?;
            manager.set::<u64>(name("set")).await?.add(&n).await?;
            manager.value(name("value"), &n).await?.add(&1).await?;
            manager.queue::<u64>(name("queue")).await?.put(&n).await?;
            manager.lock(name("lock")).await?.acquire().await?.release().await?;
            manager.event(name("event")).await?.set().await?;
            manager.semaphore(name("semaphore"), 2).await?;
            manager.condition(name("condition")).await?;
            manager.barrier(name("barrier"), 2).await?;
            for kind in [
                "dict",
                "list",
                "set",
                "value",
                "queue",
                "lock",
                "event",
                "semaphore",
                "condition",
                "barrier",
            ] {
                manager.delete(&name(kind)).await?;
            }
            let nested = manager.dict::<String, List<u64>>(Unnamed).await?;
            let inner = manager.list::<u64>(Unnamed).await?;
            nested.insert("inner", &inner).await?;
            drop((inner, nested.get("inner").await?));
        }
        manager.close().await
    }

    async fn cancel(&self) -> Result<()> {
        let manager = self.connect().await?;
        let jobs = manager.queue::<u64>(Unnamed).await?;
        let full = manager.queue::<u64>(Unnamed).maxsize(1).await?;
        full.put(&1).await?;
        let lock = manager.lock(Unnamed).await?;
        let event = manager.event(Unnamed).await?;
        let permits = manager.semaphore(Unnamed, 1).await?;
        let condition = manager.condition(Unnamed).await?;
        let held = (lock.acquire().await?, permits.acquire().await?);
        for _ in 0..20 {
            let _ = timeout(MOMENT, jobs.get()).await;
            let _ = timeout(MOMENT, jobs.lease()).await;
            let _ = timeout(MOMENT, full.put(&2)).await;
            let _ = timeout(MOMENT, lock.acquire()).await;
            let _ = timeout(MOMENT, event.wait()).await;
            let _ = timeout(MOMENT, permits.acquire()).await;
            let guard = condition.acquire().await?;
            let _ = timeout(MOMENT, condition.wait(guard)).await;
            // By its own clock, too.
            let _ = jobs.get_timeout(MOMENT).await?;
            let _ = lock.acquire_timeout(MOMENT).await?;
        }
        drop(held);
        manager.close().await
    }

    async fn barrier(&self) -> Result<()> {
        let (one, two) = (self.connect().await?, self.connect().await?);
        let barrier = one.barrier("soak barrier", 2).await?;
        let other = two.barrier("soak barrier", 2).await?;
        for _ in 0..20 {
            let (here, there) = tokio::join!(barrier.wait(), other.wait());
            here?;
            there?;
            // By a party whose time is over, by one that is given up, and by word.
            is_broken(barrier.wait_timeout(MOMENT).await)?;
            barrier.reset().await?;
            let _ = timeout(MOMENT, barrier.wait()).await;
            barrier.reset().await?;
            let (waited, aborted) = tokio::join!(barrier.wait(), async {
                sleep(MOMENT).await;
                other.abort().await
            });
            is_broken(waited)?;
            aborted?;
            barrier.reset().await?;
        }
        one.delete("soak barrier").await?;
        tokio::try_join!(one.close(), two.close()).map(drop)
    }

    async fn resume(&self) -> Result<()> {
        let address = self.proxy.address().to_string();
        let manager = Manager::connect(&address, AUTHKEY).await?;
        let cut = async {
            for _ in 0..4 {
                sleep(CUT_EVERY).await;
                self.proxy.cut_all(Cut::Reset);
            }
        };
        let jobs = manager.queue::<u64>(Unnamed).await?;
        let work = async {
            let mut sum = 0;
            loop {
                jobs.put(&1).await?;
                sum += jobs.get().await?;
                if sum % 64 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        };
        let parked = manager.queue::<u64>(Unnamed).await?;
        tokio::select! {
            () = cut => {}
            result = work => return result,
            got = parked.get() => return got.map(drop),
        }
        manager.close().await
    }
}

/// Whether a wait ended as it does at a barrier that somebody broke. That a timed one broke it may be heard of too
/// late on a machine that has other things to do as well.
fn is_broken<T>(waited: Result<T>) -> Result<()> {
    match waited {
        Err(Error::BarrierBroken(_) | Error::OutcomeUnknown(_)) | Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn put(manager: &Manager) -> Result<()> {
    let jobs = manager.queue::<Vec<u8>>(Unnamed).await?;
    let numbers = manager.dict::<u64, Vec<u8>>(Unnamed).await?;
    let list = manager.list::<Vec<u8>>(Unnamed).await?;
    let kilobyte = vec![7; 1000];
    for n in 0..100 {
        jobs.put(&kilobyte).await?;
        jobs.put(&kilobyte).await?;
        jobs.get().await?;
        jobs.lease().await?.done().await?;
        numbers.insert(&n, &kilobyte).await?;
        list.push(&kilobyte).await?;
    }
    fill(&numbers).await?;
    list.clear().await?;
    Ok(())
}

/// Reads it as a whole, and empties it.
async fn fill(numbers: &Dict<u64, Vec<u8>>) -> Result<()> {
    numbers.get_many(&[1, 2, 3]).await?;
    while numbers.pop_item().await?.is_some() {}
    Ok(())
}
