//! The clients that are measured: processes of their own, one or several for a sample.
//!
//! A client connects, says `ready`, and waits for a line. It works then, prints what it measured as one line of
//! JSON, and stays until its input ends: what it holds is still there when the server is looked at.

pub(crate) mod echo;
mod etcd;
mod local;
mod ours;
mod peer;
mod pool;
mod redis;

use std::{
    io::{self, BufRead, Write},
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use self::pool::PoolWork;
use self::{echo::Echo, etcd::Etcd, ours::Ours, peer::Peer, redis::Redis};
use crate::error;

/// Keys of one caller.
const KEYS: u64 = 16;
/// Entries of one bulk call.
pub(crate) const BATCH: u64 = 500;
/// Bulk calls at a time.
const BATCHES: u64 = 4;
/// Says that nothing follows.
const LAST: u64 = u64::MAX;

/// The work of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    /// Tasks on one connection, each alternating between insert and get
    Tasks,
    /// Connections with one such caller each
    Connections,
    /// Bulk writes and reads of 500 entries, four at a time
    Bulk,
    /// An item that goes to another process through a queue, and comes back through another
    QueueRoundTrip,
    /// A lock that processes take in turns
    HandOff,
    /// Acquire and release of a lock that nobody else wants
    LockPair,
    /// Put and get of a queue that nobody else uses
    QueuePair,
    /// A million entries that stay
    Memory,
    /// Sessions that do nothing
    Idle,
    /// Calls that wait until an event is set: how long after that the last one ends
    Wake,
    /// The same, and what a call that waits takes
    Parked,
    /// 16 tasks beside so many other objects
    GrowObjects,
    /// 16 tasks beside so many other sessions
    GrowSessions,
    /// One caller, with values of so many bytes
    GrowValues,
    /// Tasks of a pool, one at a time
    PoolApply,
    /// Tasks of a pool, all begun before the first is waited for
    PoolApplyAsync,
    /// A map of a pool, each task for itself
    PoolChunk1,
    /// A map of a pool
    PoolAuto,
}

/// Whose client it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Speaks {
    /// mp-manager
    Ours,
    /// mp-manager, in this process
    Embedded,
    /// Redis, with redis-rs
    Redis,
    /// etcd
    Etcd,
    /// Sends what it is sent
    Echo,
}

/// One client of a sample.
#[derive(Debug, Clone, Args)]
pub(crate) struct Client {
    work: Work,
    #[arg(long)]
    speaks: Speaks,
    #[arg(long, default_value = "")]
    address: String,
    #[arg(long)]
    seconds: f64,
    #[arg(long)]
    count: u64,
    /// Which one it is, of those that work together.
    #[arg(long)]
    rank: u32,
    /// The server's process.
    #[arg(long)]
    server: Option<u32>,
}

/// The figures that a client prints.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Operations within the time that counts.
    pub(crate) operations: u64,
    pub(crate) seconds: f64,
    /// All operations, those to warm up as well.
    pub(crate) all: u64,
    /// The middle one of what operations took, in microseconds.
    #[serde(default)]
    pub(crate) p50: Option<f64>,
    /// Resident bytes of the server for each operation.
    #[serde(default)]
    pub(crate) bytes: Option<f64>,
}

/// The operations of all callers in one round.
#[derive(Default)]
struct Round {
    operations: u64,
    /// Each operation's time, where that is looked at.
    took: Vec<Duration>,
}

impl Client {
    /// Works in a runtime of one thread, which leaves the rest of the machine to the server.
    pub(crate) fn run(&self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            match self.work {
                Work::PoolApply => pool::measure(self, PoolWork::Apply).await,
                Work::PoolApplyAsync => pool::measure(self, PoolWork::ApplyAsync).await,
                Work::PoolChunk1 => pool::measure(self, PoolWork::Chunk1).await,
                Work::PoolAuto => pool::measure(self, PoolWork::Auto).await,
                Work::Idle => local::idle(self).await,
                Work::Wake | Work::Parked => local::wake(self).await,
                Work::GrowObjects => {
                    let others = local::open_objects(self).await?;
                    let result = self.tasks::<Ours>(16).await;
                    drop(others);
                    result
                }
                Work::GrowSessions => {
                    let others = local::open_sessions(&self.address, self.count).await?;
                    let result = self.tasks::<Ours>(16).await;
                    drop(others);
                    result
                }
                _ => match self.speaks {
                    Speaks::Ours | Speaks::Embedded => self.work_with::<Ours>().await,
                    Speaks::Redis => self.work_with::<Redis>().await,
                    Speaks::Etcd => self.work_with::<Etcd>().await,
                    Speaks::Echo => self.work_with::<Echo>().await,
                },
            }
        })
    }

    async fn work_with<P: Peer>(&self) -> io::Result<()> {
        match self.work {
            Work::Tasks => self.tasks::<P>(self.count).await,
            Work::Connections => self.connections::<P>().await,
            Work::Bulk => self.bulk::<P>().await,
            Work::QueueRoundTrip if self.rank == 0 => self.there_and_back::<P>().await,
            Work::QueueRoundTrip => self.pass_on::<P>().await,
            Work::HandOff | Work::LockPair => self.lock::<P>().await,
            Work::QueuePair => self.queue::<P>().await,
            Work::Memory => self.memory::<P>().await,
            Work::GrowValues => self.values::<P>().await,
            other => Err(error(format!("{other:?} is not done like this"))),
        }
    }

    async fn connect<P: Peer>(&self) -> io::Result<P> {
        P::connect(if self.speaks == Speaks::Embedded { "" } else { &self.address }).await
    }

    async fn tasks<P: Peer>(&self, tasks: u64) -> io::Result<()> {
        let peer = self.connect::<P>().await?;
        self.mixed((0..tasks).map(|_| peer.clone()).collect()).await
    }

    async fn connections<P: Peer>(&self) -> io::Result<()> {
        let mut peers = Vec::new();
        for _ in 0..self.count {
            peers.push(self.connect::<P>().await?);
        }
        self.mixed(peers).await
    }

    /// Each caller alternates between insert and get of keys of its own.
    async fn mixed<P: Peer>(&self, callers: Vec<P>) -> io::Result<()> {
        let is_timed = callers.len() == 1;
        // As many processes do it at a time: each has its keys.
        let first = u64::from(self.rank) * callers.len() as u64;
        self.measure(async |end| {
            let callers = callers.iter().cloned().zip(first..);
            together(callers.map(move |(mut peer, caller)| async move {
                let mut round = Round::default();
                while Instant::now() < end {
                    for n in 0..KEYS {
                        let began = is_timed.then(Instant::now);
                        // Each get finds what the insert before it put there.
                        let key = caller * KEYS + n / 2;
                        if n % 2 == 0 { peer.insert(key).await } else { peer.get(key).await }?;
                        round.took.extend(began.map(|began| began.elapsed()));
                    }
                    round.operations += KEYS;
                }
                Ok(round)
            }))
            .await
        })
        .await
    }

    async fn bulk<P: Peer>(&self) -> io::Result<()> {
        let peer = self.connect::<P>().await?;
        self.measure(async |end| {
            together((0..BATCHES).map(|caller| {
                let mut peer = peer.clone();
                let keys: Vec<u64> = (caller * BATCH..(caller + 1) * BATCH).collect();
                async move {
                    let mut round = Round::default();
                    while Instant::now() < end {
                        peer.insert_many(&keys).await?;
                        peer.get_many(&keys).await?;
                        round.operations += 2 * BATCH;
                    }
                    Ok(round)
                }
            }))
            .await
        })
        .await
    }

    /// The half that sends an item, and waits until it is back.
    async fn there_and_back<P: Peer>(&self) -> io::Result<()> {
        let mut peer = self.connect::<P>().await?;
        let sample = self
            .sample(async |end| {
                let mut round = Round::default();
                while Instant::now() < end {
                    let began = Instant::now();
                    peer.put("there", round.operations).await?;
                    peer.take("back").await?;
                    round.took.push(began.elapsed());
                    round.operations += 1;
                }
                Ok(round)
            })
            .await?;
        peer.put("there", LAST).await?;
        finish(&sample)
    }

    /// The half that sends back what it gets.
    async fn pass_on<P: Peer>(&self) -> io::Result<()> {
        let mut peer = self.connect::<P>().await?;
        wait_for_start()?;
        loop {
            let item = peer.take("there").await?;
            if item == LAST {
                return finish(&Sample::default());
            }
            peer.put("back", item).await?;
        }
    }

    /// Takes the lock and gives it back. If several do that at a time, the time from one acquisition to the next of
    /// the same process is shared among them.
    async fn lock<P: Peer>(&self) -> io::Result<()> {
        let mut peer = self.connect::<P>().await?;
        let sharers =
            u32::try_from(if self.work == Work::HandOff { self.count } else { 1 }).unwrap_or(1);
        self.measure(async |end| {
            let mut round = Round::default();
            let mut acquired: Option<Instant> = None;
            while Instant::now() < end {
                peer.acquire().await?;
                let now = Instant::now();
                round.took.extend(acquired.map(|before| (now - before) / sharers));
                acquired = Some(now);
                peer.release().await?;
                round.operations += 1;
            }
            Ok(round)
        })
        .await
    }

    async fn queue<P: Peer>(&self) -> io::Result<()> {
        let mut peer = self.connect::<P>().await?;
        self.measure(async |end| {
            let mut round = Round::default();
            while Instant::now() < end {
                let began = Instant::now();
                peer.put("there", round.operations).await?;
                peer.take("there").await?;
                round.took.push(began.elapsed());
                round.operations += 1;
            }
            Ok(round)
        })
        .await
    }

    /// Entries with keys of 11 bytes and values of 32.
    async fn memory<P: Peer>(&self) -> io::Result<()> {
        let mut peer = self.connect::<P>().await?;
        wait_for_start()?;
        let before = self.resident()?;
        let began = Instant::now();
        let mut n = 0;
        while n < self.count {
            let keys: Vec<u64> = (n..self.count.min(n + BATCH)).collect();
            peer.fill(&keys).await?;
            n += BATCH;
        }
        let sample = Sample {
            operations: self.count,
            all: self.count,
            seconds: began.elapsed().as_secs_f64(),
            bytes: Some((self.resident()? - before) / self.count as f64),
            p50: None,
        };
        finish(&sample)
    }

    async fn values<P: Peer>(&self) -> io::Result<()> {
        let mut peer = self.connect::<P>().await?;
        let value = "x".repeat(usize::try_from(self.count).map_err(error)?);
        self.measure(async |end| {
            let mut round = Round::default();
            while Instant::now() < end {
                peer.insert_value(&value).await?;
                peer.get(0).await?;
                round.operations += 2;
            }
            Ok(round)
        })
        .await
    }

    /// The server's resident memory in bytes.
    fn resident(&self) -> io::Result<f64> {
        let server = self.server.ok_or_else(|| error("there is no server to look at"))?;
        Ok(mp_manager_bench::process::memory_kib_of(server)? as f64 * 1024.0)
    }

    /// Waits for the start, measures, says what was measured, and stays.
    async fn measure(
        &self,
        round: impl AsyncFnMut(Instant) -> io::Result<Round>,
    ) -> io::Result<()> {
        let sample = self.sample(round).await?;
        finish(&sample)
    }

    /// A round to warm up, of a fifth of the time, and the one that counts. They are told when to end.
    async fn sample(
        &self,
        mut round: impl AsyncFnMut(Instant) -> io::Result<Round>,
    ) -> io::Result<Sample> {
        let duration = Duration::from_secs_f64(self.seconds);
        wait_for_start()?;
        let warm = round(Instant::now() + duration / 5).await?;
        let began = Instant::now();
        let Round { operations, mut took } = round(began + duration).await?;
        let seconds = began.elapsed().as_secs_f64();
        took.sort_unstable();
        let p50 = took.get(took.len() / 2).map(|middle| middle.as_secs_f64() * 1e6);
        Ok(Sample { operations, seconds, all: operations + warm.operations, p50, bytes: None })
    }
}

/// Runs callers at the same time, each in a task.
async fn together(
    callers: impl IntoIterator<Item = impl Future<Output = io::Result<Round>> + Send + 'static>,
) -> io::Result<Round> {
    let mut tasks: JoinSet<_> = callers.into_iter().collect();
    let mut all = Round::default();
    while let Some(ended) = tasks.join_next().await {
        let round = ended.map_err(error)??;
        all.operations += round.operations;
        all.took.extend(round.took);
    }
    Ok(all)
}

fn wait_for_start() -> io::Result<()> {
    println!("ready");
    io::stdout().flush()?;
    io::stdin().lock().read_line(&mut String::new()).map(drop)
}

/// Says what was measured, and stays until nobody wants anything of it any more.
fn finish(sample: &Sample) -> io::Result<()> {
    println!("{}", serde_json::to_string(sample)?);
    io::stdout().flush()?;
    io::stdin().lock().read_line(&mut String::new()).map(drop)
}
