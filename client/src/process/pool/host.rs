//! A host of a pool: tells the manager of the workers here, and does what it is told.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    error::{Error, Result},
    objects::pool::{
        SharedPool,
        membership::{HostReport, Membership},
    },
    process::{log, pool::crew::Shared},
};
use futures_util::future::{Either, select};

/// How long it waits for other orders before it says how it is.
const LOOK: Duration = Duration::from_secs(5);
/// How often it looks whether the lease is over.
const LEASE_LOOK: Duration = Duration::from_millis(200);
/// How often it tries to come back.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A host that has joined its pool.
pub(crate) struct Host {
    pool: SharedPool,
    membership: Membership,
    /// The number of the orders of which it has said in this session that it has carried them out.
    said: u64,
    /// How many workers it was told to keep last.
    wanted: u32,
}

impl Host {
    /// Joins a pool. While another host has the name it tries again for so long: that may be the same one, of which
    /// the manager does not know yet that it has ended.
    pub(crate) async fn join(
        pool: SharedPool,
        own: String,
        (capacity, is_agent): (u32, bool),
        patience: Duration,
    ) -> Result<Self> {
        let deadline = Instant::now() + patience;
        let mut waits = false;
        loop {
            let (shared, name) = (pool.clone(), own.clone());
            let report = HostReport { load_milli: load_milli(), ..HostReport::default() };
            match Membership::begin(shared, name, (capacity, is_agent), report).await {
                Ok(membership) => {
                    let wanted = membership.orders().workers;
                    return Ok(Self { pool, membership, said: 0, wanted });
                }
                Err(error @ Error::AlreadyExists(_)) if Instant::now() < deadline => {
                    if !waits {
                        log::waits_for_name(&own, &error);
                        waits = true;
                    }
                    tokio::time::sleep(FIRST_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// How many workers it is to keep.
    pub(crate) fn workers(&self) -> usize {
        self.membership.orders().workers as usize
    }

    /// The session in which it attends.
    pub(crate) fn incarnation(&self) -> u64 {
        self.membership.incarnation()
    }

    /// Keeps doing what it is told, on a thread of its own.
    pub(crate) fn stay(self, crew: &Arc<Shared>) -> Result<()> {
        self.watch_lease(crew)?;
        let crew = Arc::clone(crew);
        let stay = move || {
            let mut host = self;
            while host.obey(&crew) {}
            pollster::block_on(crew.have_left());
            // First: the manager may end with the last hold on it.
            drop(host);
            crew.end();
        };
        start_thread("mp-manager-host", stay)
    }

    /// Kills the workers when the manager was not heard for as long as the lease: others may have their tasks by then.
    /// Calls go on waiting for longer, as the manager may come back.
    fn watch_lease(&self, crew: &Arc<Shared>) -> Result<()> {
        // The manager may end with the last hold on it.
        let (crew, name) = (Arc::downgrade(crew), self.membership.name().to_owned());
        let watch = move || {
            while let Some(crew) = crew.upgrade() {
                if crew.is_over() {
                    return;
                }
                if crew.pool.has_lost_lease() && crew.pause() {
                    log::session_lost(&name);
                }
                drop(crew);
                thread::sleep(LEASE_LOOK);
            }
        };
        start_thread("mp-manager-lease", watch)
    }

    /// Carries out its orders, and waits for others: whether there may be any.
    fn obey(&mut self, crew: &Arc<Shared>) -> bool {
        let orders = self.membership.orders();
        // Once it drains it does so whoever it is to the manager by then.
        if orders.drain && !crew.is_draining() {
            crew.drain();
        }
        // Whoever keeps the workers may have others than these meanwhile.
        if orders.workers != self.wanted && !crew.is_draining() {
            self.wanted = orders.workers;
            crew.staff_gently(orders.workers as usize);
        }
        let number = orders.number;
        if self.said < number {
            // At once: until all hosts have heard of another one it has nothing to do.
            return self.attend(crew, number);
        }
        let (pool, knows) = (self.pool.clone(), orders.drain);
        let news = async {
            let others = pin!(pool.orders(number, LOOK));
            let drains = pin!(async {
                if knows {
                    std::future::pending::<()>().await;
                }
                crew.drains().await;
            });
            match select(others, drains).await {
                Either::Left((news, _)) => news,
                Either::Right(_) => Ok(true),
            }
        };
        match until_over(crew, news) {
            None => false,
            Some(Ok(_)) => self.attend(crew, number),
            Some(Err(error)) if is_over(&error) => false,
            // Its session may be over, or only the manager away for a while: attending tells.
            Some(Err(_)) => self.attend(crew, number),
        }
    }

    /// Says that it is there, and which orders it has carried out: whether the pool is, too. In another session it
    /// says so after the workers that it had in the one before are dead.
    fn attend(&mut self, crew: &Arc<Shared>, seen: u64) -> bool {
        match until_over(crew, self.membership.attend(seen, report(crew))) {
            None => return false,
            Some(Ok(())) => {
                self.said = self.said.max(seen);
                // The manager was not heard for as long as the lease, and has kept the session.
                crew.go_on(self.membership.incarnation());
                return true;
            }
            Some(Err(error)) if is_over(&error) => return false,
            Some(Err(_)) => {}
        }
        let (mut pause, mut waits) = (FIRST_PAUSE, false);
        loop {
            if crew.pause() {
                log::session_lost(self.membership.name());
            }
            match until_over(crew, self.membership.come_back(report(crew))) {
                None => return false,
                Some(Ok(())) => {
                    self.said = 0;
                    log::rejoined(self.membership.name());
                    crew.go_on(self.membership.incarnation());
                    return true;
                }
                Some(Err(error)) if is_over(&error) => return false,
                Some(Err(error)) => {
                    // Its session may be over, or the one before it is not yet.
                    if matches!(error, Error::AlreadyExists(_)) && !waits {
                        log::waits_for_name(self.membership.name(), &error);
                        waits = true;
                    }
                    if !crew.rest(pause) {
                        return false;
                    }
                    pause = LONGEST_PAUSE.min(pause * 2);
                }
            }
        }
    }
}

fn start_thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<()> {
    let started = thread::Builder::new().name(name.into()).spawn(run);
    started
        .map(drop)
        .map_err(|error| Error::Configuration(format!("cannot start a thread: {error}")))
}

/// Whether there is nothing to come back to.
fn is_over(error: &Error) -> bool {
    matches!(error, Error::PoolClosed(_) | Error::PoolBroken(_) | Error::ObjectNotFound(_))
}

/// Waits for something; `None` if the crew is over meanwhile or, where it is to leave, has left.
fn until_over<T>(crew: &Shared, future: impl Future<Output = T>) -> Option<T> {
    let over = async {
        let left = async {
            crew.drains().await;
            crew.have_left().await;
        };
        select(pin!(crew.over()), pin!(left)).await;
    };
    match pollster::block_on(select(pin!(over), pin!(future))) {
        Either::Left(_) => None,
        Either::Right((output, _)) => Some(output),
    }
}

/// The state of the workers here.
fn report(crew: &Shared) -> HostReport {
    HostReport { load_milli: load_milli(), drains: crew.is_draining(), trouble: crew.trouble() }
}

/// How many processes run or wait to, of the last minute; 0 where that is not known.
fn load_milli() -> u32 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default();
    (load * 1000.0) as u32
}
