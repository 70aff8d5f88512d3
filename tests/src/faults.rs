//! Real processes, and everything that can happen to them: what is promised has to hold, whoever is
//! killed or stopped and whatever connections are cut.
//!
//! ```text
//!   worker ──► fault proxy ──► daemon         each arrow a TCP connection, each name a process
//!   worker ──► fault proxy ──►   │            but the proxies: they are in the one that reads the
//!     │  └───────────────────► checking       journals, deals the blows and judges at the end
//!     └─ journal ─► judge      resource
//! ```
//!
//! Each worker writes down every call before it makes it and when it returns. At the end a client of
//! the judge's own looks at what is left. Then everything is judged: by counting, by the fencing
//! tokens that the resource saw, and by the checker of [`linear`](crate::linear).

mod audit;
mod children;
mod daemon;
mod handover;
mod histories;
mod journal;
mod nemesis;
mod netns;
mod record;
mod report;
mod tally;
mod tasks;
mod worker;
mod workloads;
mod world;

use std::{
    collections::BTreeSet,
    error::Error,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use fastrand::Rng;
use mp_manager::Manager;
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

pub use handover::{Handover, handover};
pub use report::Report;

use self::{
    children::start_daemon,
    histories::Written,
    journal::canary,
    nemesis::{Blow, Nemesis, Victim, lock},
    netns::Link,
    tasks::Tasks,
    worker::Orders,
    world::World,
};
use crate::{
    AUTHKEY,
    clock::now_ns,
    fault_proxy::{Cut, FaultProxy},
    resource::ResourceServer,
    victim::look,
};

/// So many workers share their objects.
const GROUP: u64 = 4;
/// So many workers are in a network namespace of their own, where that is possible.
const NAMESPACES: u8 = 2;
/// How long an object is used.
const SLICE_MS: u64 = 1_500;
/// How long workers have to come up.
const START: Duration = Duration::from_secs(30);

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What to do to whom.
#[derive(Debug, Clone)]
pub struct Options {
    /// This program: workers and the daemon run it with other words, see [`run_child`].
    pub program: PathBuf,
    /// What everything random is drawn from.
    pub seed: u64,
    /// The lease that workers ask for.
    pub lease: Duration,
    /// How many worker processes there are at a time.
    pub workers: u64,
    /// Whether to use network namespaces, where that is possible.
    pub namespaces: bool,
    /// What is done to them.
    pub plan: Plan,
}

/// What is done to the workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// So many blows of any kind.
    Blows(u64),
    /// All connections are cut, again and again, and nobody may notice.
    Cuts {
        /// How often.
        every: Duration,
        /// For how long.
        time: Duration,
    },
}

/// What a child process is for, if this one is one.
///
/// # Errors
/// If it could not do that.
pub async fn run_child(words: &[String]) -> Option<Result<()>> {
    let [what, how] = words else { return None };
    match what.as_str() {
        "worker" | "daemon" | "holder" => children::die_with_parent(),
        _ => return None,
    }
    Some(match what.as_str() {
        "worker" => match serde_json::from_str(how) {
            Ok(orders) => {
                worker::run(orders).await;
                Ok(())
            }
            Err(error) => Err(error.into()),
        },
        "daemon" => daemon::run(how).await,
        _ => handover::hold(how).await,
    })
}

/// Runs it all, and judges.
///
/// # Errors
/// If the machine does not let it: that says nothing about what is tested.
pub async fn run(options: &Options) -> Result<Report> {
    let began = Instant::now();
    let (mut daemon, address) = start_daemon(&options.program, "127.0.0.1:0").await?;
    let mut stage = Stage::set(options, &address).await?;
    let manager = Manager::connect(&address, AUTHKEY).await?;
    stage.wait_until_up(&manager).await?;
    let (victims, nemesis) = (std::mem::take(&mut stage.victims), &stage.nemesis);
    let workers = victims.len() as u64;
    let victims = match options.plan {
        Plan::Blows(_) => nemesis.plague_all(victims, options.seed).await?,
        Plan::Cuts { every, time } => nemesis.cut_all(victims, every, time).await,
    };
    nemesis.finish_all(victims).await;
    if !audit::alone(&manager, 5 * options.lease + START).await? {
        nemesis.problem("sessions of processes that are gone do not end".into());
    }
    manager.close().await?;

    let mut written = Written::default();
    for (process, journal) in lock(&nemesis.journals).drain(..) {
        written.add(process, record::read(&journal));
    }
    let objects: BTreeSet<_> = written.calls.iter().map(|call| call.object).collect();
    written.add(0, audit::audit(&address, &objects).await?);
    let mut tasks = Tasks::judge(&written.runs, &audit::executions(&address, &written.runs).await?);
    if let Err(why) = daemon.finish(START).await {
        nemesis.problem(format!("the daemon: {why}"));
    }
    written.problems.append(&mut lock(&nemesis.problems));
    written.problems.append(&mut tasks.problems);
    written.errors.append(&mut tasks.errors);
    let mut report = Report::judge(&written, &stage.resource.seen());
    report.workers = workers;
    report.processes = nemesis.last_process.load(Ordering::SeqCst);
    report.blows = lock(&nemesis.dealt).iter().map(|(blow, n)| (blow.name(), *n)).collect();
    report.tasks = tasks;
    report.remarks = std::mem::take(&mut stage.remarks);
    report.took = began.elapsed();
    if matches!(options.plan, Plan::Cuts { .. }) {
        report.nobody_may_notice();
    }
    Ok(report)
}

/// Everything that is there before the first blow.
struct Stage {
    resource: ResourceServer,
    nemesis: Arc<Nemesis>,
    victims: Vec<Victim>,
    remarks: Vec<String>,
}

impl Stage {
    async fn set(options: &Options, daemon: &str) -> Result<Self> {
        let daemon: SocketAddr = daemon.strip_prefix("tcp://").unwrap_or(daemon).parse()?;
        let blows = if let Plan::Blows(blows) = options.plan { blows } else { 0 };
        let nemesis = Nemesis {
            program: options.program.clone(),
            lease: options.lease,
            left: AtomicU64::new(blows),
            last_process: AtomicU64::new(0),
            dealt: Mutex::default(),
            journals: Mutex::default(),
            problems: Mutex::default(),
        };
        let (resource, nemesis) = (ResourceServer::new(), Arc::new(nemesis));
        let mut stage = Self { resource, nemesis, victims: Vec::new(), remarks: Vec::new() };
        let mut links = if options.namespaces { stage.links().await } else { Vec::new() };
        let local = stage.resource.listen((Ipv4Addr::LOCALHOST, 0).into()).await?;
        let epoch_ns = now_ns();
        for n in 0..options.workers {
            let link = links.pop();
            let (here, resource) = match &link {
                Some(link) => (link.here, stage.resource.listen((link.here, 0).into()).await?),
                None => (Ipv4Addr::LOCALHOST.into(), local),
            };
            let proxy = FaultProxy::start_at(here, daemon).await?;
            let orders = Orders {
                address: format!("tcp://{}", proxy.address()),
                resource,
                process: 0,
                world: World { group: n / GROUP, epoch_ns, slice_ms: SLICE_MS },
                lease_ms: u64::try_from(options.lease.as_millis())?,
                seed: options.seed,
            };
            stage.victims.push(stage.nemesis.victim(orders, proxy, link)?);
        }
        Ok(stage)
    }

    /// Network namespaces, as far as that is possible here.
    async fn links(&mut self) -> Vec<Link> {
        let mut links = Vec::new();
        for n in 0..NAMESPACES {
            match Link::create(n).await {
                Ok(link) => links.push(link),
                Err(error) => {
                    self.remarks.push(format!("no network namespaces: {error}"));
                    break;
                }
            }
        }
        links
    }

    async fn wait_until_up(&self, manager: &Manager) -> Result<()> {
        let deadline = Instant::now() + START;
        for process in 1..=self.victims.len() as u64 {
            let canary = canary(process, 1);
            while !matches!(look(manager, &canary).await, Ok(lock) if !lock.holders.is_empty()) {
                if Instant::now() > deadline {
                    return Err(io::Error::other("the workers do not come up").into());
                }
                sleep(Duration::from_millis(10)).await;
            }
        }
        Ok(())
    }
}

impl Nemesis {
    /// Deals blows to all victims at the same time.
    async fn plague_all(self: &Arc<Self>, victims: Vec<Victim>, seed: u64) -> Result<Vec<Victim>> {
        let (mut plagues, mut dice) = (JoinSet::new(), Rng::with_seed(seed));
        for victim in victims {
            plagues.spawn(Arc::clone(self).plague(victim, dice.fork()));
        }
        Ok(plagues.join_all().await.into_iter().collect::<io::Result<_>>()?)
    }

    /// Cuts every connection there is, again and again.
    async fn cut_all(&self, victims: Vec<Victim>, every: Duration, time: Duration) -> Vec<Victim> {
        let end = Instant::now() + time;
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for (cut, blow) in [(Cut::Reset, Blow::Reset), (Cut::Finish, Blow::Finish)].iter().cycle() {
            ticks.tick().await;
            if Instant::now() > end {
                break;
            }
            for victim in &victims {
                if victim.proxy.cut_all(*cut) > 0 {
                    self.dealt(*blow);
                }
            }
        }
        victims
    }

    async fn finish_all(self: &Arc<Self>, victims: Vec<Victim>) {
        let mut ends = JoinSet::new();
        for victim in victims {
            ends.spawn(Arc::clone(self).finish(victim));
        }
        ends.join_all().await;
    }
}
