//! What a seed means: how many take part, in what, and how much goes wrong.

use std::time::Duration;

use fastrand::Rng;
use mp_manager_core::session::Limits;

use crate::world::{Micros, World};

const SECONDS_60: Micros = 60_000_000;
/// The longest lease that a manager grants: five minutes.
const LONGEST_LEASE: Micros = 300_000_000;

/// Drawn once, at the beginning.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) processes: usize,
    pub(crate) workloads: Vec<Workload>,
    pub(crate) lease: Duration,
    /// For how long processes try to connect again.
    pub(crate) reconnect_timeout: Micros,
    /// How long something is under way, from and to.
    pub(crate) delay: (Micros, Micros),
    pub(crate) trouble_for: Micros,
    pub(crate) trouble_every: Micros,
    troubles: Vec<Trouble>,
    /// How long a task does nothing, at most.
    pub(crate) longest_pause: Micros,
    /// How long a process that has something to do waits for a processor, at most.
    pub(crate) slowest: Micros,
    /// How much each task does.
    pub(crate) rounds: u64,
    /// What the manager takes from one session.
    pub(crate) limits: Limits,
    /// Memory for all objects.
    pub(crate) memory: usize,
    /// Whether the manager writes down how far its tokens have come, and how many it reserves.
    pub(crate) is_recorded: bool,
    pub(crate) block: u64,
    /// What takes longer than so many nanoseconds is done where nobody waits.
    pub(crate) heavy_from: u64,
    /// How long that takes there, at most.
    pub(crate) longest_heavy: Micros,
    /// Who takes part in a pool with hosts.
    pub(crate) cluster: Option<Cluster>,
}

/// A pool whose workers hosts keep, and how many processes are what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cluster {
    /// Each submits runs, and tells hosts what to do.
    pub(crate) operators: usize,
    pub(crate) hosts: usize,
    pub(crate) workers: usize,
}

impl Plan {
    pub(crate) fn draw<E>(world: &World<E>) -> Self {
        use Trouble::{Cut, DropDriver, HalfOpen, Kill, Outage, Restart, Steal, Stop, StopServer};
        let mut troubles = vec![Cut, Cut, Cut];
        for (trouble, one_in) in [
            (HalfOpen, 2),
            (Stop, 2),
            (Kill, 2),
            (StopServer, 4),
            (Restart, 6),
            (DropDriver, 6),
            (Outage, 4),
            (Steal, 8),
        ] {
            if world.one_in(one_in) {
                troubles.push(trouble);
            }
        }
        // Processes that stand still again and again, between a reply and its caller as well.
        if world.one_in(6) {
            troubles = vec![Stop, Stop, Stop, Cut];
        }
        let may_restart = troubles.contains(&Restart);
        let possible: Vec<_> =
            Workload::ALL.into_iter().filter(|w| !may_restart || w.survives_restart()).collect();
        let mut workloads: Vec<_> =
            (0..=world.below(3)).filter_map(|_| world.pick(&possible).copied()).collect();
        workloads.sort_unstable();
        workloads.dedup();
        // Where as many calls wait as may, others that would wait are refused.
        let is_flooded = workloads.contains(&Workload::Waiters);
        if is_flooded {
            workloads.retain(|workload| workload.never_waits());
        }
        let max_parked_calls =
            if is_flooded { *world.pick(&[8, 256]).unwrap_or(&256) } else { 256 };
        // A memory budget that is used up concerns everybody.
        let is_poor = !may_restart && world.one_in(24);
        if is_poor {
            workloads = vec![Workload::Hoard];
        }
        let scarce = is_poor.then(|| 80_000 + usize::try_from(world.below(20_000)).unwrap_or(0));
        let is_crowd = world.one_in(400);
        let max_open_requests =
            if is_crowd { 256 } else { *world.pick(&[16, 64, 256]).unwrap_or(&64) };
        let processes = if is_crowd { 100 + world.below(200) } else { 2 + world.below(4) };
        // Beyond what the sessions take.
        let for_sessions = 12_000 * usize::try_from(processes).unwrap_or(2);
        let memory = scarce.map_or(1 << 30, |scarce| scarce + for_sessions);
        let slowest = *world.pick(&[300, 2_000, 20_000, 250_000]).unwrap_or(&300);
        // A crowd has to wait for one another.
        let slowest = if is_crowd { 300 } else { slowest };
        let every = *world.pick(&[5_000, 50_000, 300_000, 2_000_000]).unwrap_or(&50_000);
        Self {
            processes: usize::try_from(processes).unwrap_or(2),
            workloads,
            lease: Duration::from_secs(if world.one_in(8) { 20 } else { 1 + world.below(3) }),
            reconnect_timeout: *world
                .pick(&[200_000, 2_000_000, SECONDS_60])
                .unwrap_or(&SECONDS_60),
            delay: (20, slowest),
            trouble_for: every * (8 + world.below(16)),
            trouble_every: every,
            troubles,
            slowest: if is_crowd { 50 } else { *world.pick(&[50, 2_000, 30_000]).unwrap_or(&50) },
            longest_pause: if is_crowd { 2_000 } else { 300_000 },
            rounds: if is_crowd { 2 } else { 3 + world.below(8) },
            limits: Limits {
                max_requests_per_frame: 64,
                max_open_requests,
                max_parked_calls,
                max_unacknowledged_bytes: *world.pick(&[300, 1_000, 4_000]).unwrap_or(&4_000),
                max_pending_bytes: 100_000,
            },
            memory,
            is_recorded: !world.one_in(4),
            // Enough for what is granted while the next block is written down.
            block: if is_crowd { 10_000 } else { *world.pick(&[60, 10_000]).unwrap_or(&10_000) },
            heavy_from: *world.pick(&[30, 150, 600, 3_000]).unwrap_or(&600),
            // Longer than many a lease, or not. A crowd has to wait for one another.
            longest_heavy: match *world
                .pick(&[20_000, 20_000, 20_000, 3_000_000])
                .unwrap_or(&20_000)
            {
                _ if is_crowd => 300,
                longest => longest,
            },
            cluster: None,
        }
    }

    /// Every tenth seed from 13 is about a pool as well, or about nothing else. It draws nothing: so the others
    /// mean what they meant before there were pools.
    pub(crate) fn with_pool(mut self, seed: u64) -> Self {
        let is_alone =
            |workload: &Workload| matches!(workload, Workload::Waiters | Workload::Hoard);
        if seed % 10 == 3 && seed > 10 && !self.workloads.iter().any(is_alone) {
            // A crowd has enough to do.
            if seed % 20 == 3 || self.processes >= 100 {
                self.workloads.clear();
            }
            // Workers come to an end until the last, and processes in their place would put items into a
            // queue that was drained.
            self.workloads.retain(|workload| *workload != Workload::Queue);
            self.workloads.push(Workload::Pool);
        }
        self
    }

    /// Of the seeds from 31, those that end in 1 and 9 are about a pool with hosts, and a manager that starts again and
    /// again. It draws from numbers of its own, and the other seeds mean what they meant before there were hosts.
    pub(crate) fn with_hosts(mut self, seed: u64) -> Self {
        let is_alone =
            |workload: &Workload| matches!(workload, Workload::Waiters | Workload::Hoard);
        let is_meant = seed > 30 && matches!(seed % 10, 1 | 9) && self.processes < 100;
        if !is_meant || self.workloads.iter().any(is_alone) {
            return self;
        }
        let mut rng = Rng::with_seed(!seed);
        let cluster = Cluster {
            operators: 1 + rng.usize(..2),
            hosts: 1 + rng.usize(..3),
            workers: 2 + rng.usize(..5),
        };
        self.processes = cluster.operators + cluster.hosts + cluster.workers;
        self.workloads.retain(|workload| seed % 20 == 9 && workload.survives_restart());
        self.workloads.push(Workload::Pool);
        let restarts = 1 + self.troubles.len() / (2 + rng.usize(..3));
        self.troubles.extend([Trouble::Restart, Trouble::Isolate].repeat(restarts));
        // Long enough, sometimes, for several restarts.
        self.lease = Duration::from_secs([1, 3, 10, 20][rng.usize(..4)]);
        self.cluster = Some(cluster);
        self
    }

    /// How long everything may take after the last trouble. Who waited until all was settled may once more have to wait
    /// for those that leave first, and what may be executed since an earlier start of the manager is held for as long
    /// as the longest lease.
    pub(crate) fn end_after(&self) -> Micros {
        let held = if self.cluster.is_some() { LONGEST_LEASE } else { 0 };
        held + 2 * self.settled_after()
    }

    pub(crate) fn has_pool(&self) -> bool {
        self.workloads.contains(&Workload::Pool)
    }

    /// How long an answer may be. What comes of a run comes in parts, often.
    pub(crate) fn page_bytes(&self) -> usize {
        if self.has_pool() { 300 } else { mp_manager_core::Limits::default().page_bytes }
    }

    /// How many processes are workers of the pool.
    pub(crate) fn workers(&self) -> usize {
        (self.processes / 2).max(1)
    }

    /// How long after the last trouble nobody has to wait for the dead any more: each may have held
    /// what all wait for until its lease was over, one after the other.
    pub(crate) fn settled_after(&self) -> Micros {
        let lease = u64::try_from(self.lease.as_micros()).unwrap_or(u64::MAX);
        60_000_000 + self.processes as u64 * lease
    }

    pub(crate) fn draw_trouble<E>(&self, world: &World<E>) -> Trouble {
        *world.pick(&self.troubles).unwrap_or(&Trouble::Cut)
    }
}

/// One kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Workload {
    Lock,
    RLock,
    Permits,
    Count,
    Queue,
    Barrier,
    Condition,
    Event,
    Directory,
    References,
    Busy,
    Waiters,
    /// [Not drawn](Plan::with_pool).
    Pool,
    /// Only on its own: others would be refused as well.
    Hoard,
}

impl Workload {
    pub(crate) const ALL: [Self; 12] = [
        Self::Lock,
        Self::RLock,
        Self::Permits,
        Self::Count,
        Self::Queue,
        Self::Barrier,
        Self::Condition,
        Self::Event,
        Self::Directory,
        Self::References,
        Self::Busy,
        Self::Waiters,
    ];

    /// Whether none of its calls waits in an object, but for those that are there to wait.
    pub(crate) fn never_waits(self) -> bool {
        matches!(self, Self::Waiters | Self::Count | Self::References)
    }

    /// Whether what it shows makes sense when the manager forgets everything.
    pub(crate) fn survives_restart(self) -> bool {
        matches!(self, Self::Lock | Self::RLock | Self::Permits | Self::Barrier)
    }
}

/// What may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    Cut,
    HalfOpen,
    Stop,
    Kill,
    StopServer,
    Restart,
    DropDriver,
    Outage,
    /// Somebody else resumes a process' session, and says nothing more.
    Steal,
    /// A host and its workers do not reach the manager for a while, and are not told.
    Isolate,
}
