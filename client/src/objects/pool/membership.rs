//! A host's session in a pool, and the names of the other hosts in each start of the manager.

use std::{
    collections::{BTreeSet, VecDeque},
    mem,
};

#[cfg(feature = "simulation")]
use bytes::Bytes;
use mp_manager_proto::v1::{PoolAttend, PoolOrders, PoolPast};

use super::{Attended, SharedPool};
use crate::error::{Error, Result};

/// The number of earlier starts of the manager that a host remembers. Runs that were submitted to an older one wait for
/// the longest lease.
const MAX_STARTS: usize = 16;

/// The state that a host reports whenever it attends.
#[derive(Debug, Clone, Default)]
pub(crate) struct HostReport {
    /// Processes that run or wait to, times 1,000.
    pub(crate) load_milli: u32,
    /// Its workers leave.
    pub(crate) drains: bool,
    /// Why its workers do not come to work; empty if they do.
    pub(crate) trouble: String,
}

/// A host that attends. It guards workers in the session in which it does, and comes back in another one only when the
/// workers that it had are dead: the manager may then hand out again what they were executing.
pub(crate) struct Membership {
    pool: SharedPool,
    name: String,
    capacity: u32,
    /// Whether its workers come to work is its concern alone.
    is_agent: bool,
    last: Attended,
    /// The answer that would have told of the others in this start may have been lost: others may have come.
    is_in_doubt: bool,
    /// Other hosts of earlier starts, by the start, of which it has not heard in a later one.
    past: VecDeque<(u64, BTreeSet<String>)>,
}

impl Membership {
    /// Makes the session a host. Nothing was executed on it before.
    pub(crate) async fn begin(
        pool: SharedPool,
        name: String,
        (capacity, is_agent): (u32, bool),
        report: HostReport,
    ) -> Result<Self> {
        let attend = PoolAttend {
            name: name.clone(),
            capacity,
            is_agent,
            load_milli: report.load_milli,
            ..PoolAttend::default()
        };
        let last = pool.attend(attend).await.1?;
        let past = VecDeque::new();
        Ok(Self { pool, name, capacity, is_agent, last, is_in_doubt: false, past })
    }

    #[cfg(feature = "process")]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn orders(&self) -> &PoolOrders {
        &self.last.orders
    }

    /// The session in which it attends: workers that another one guards are not its own.
    pub(crate) fn incarnation(&self) -> u64 {
        self.last.incarnation
    }

    /// Says in its session which orders it has carried out, and hears of others.
    pub(crate) async fn attend(&mut self, seen: u64, report: HostReport) -> Result<()> {
        let attend = PoolAttend { seen, ..self.greeting(report) };
        let orders = self.pool.attend_within(attend, self.last.incarnation).await?;
        self.last.orders = orders;
        self.hear();
        Ok(())
    }

    /// Attends in another session. All workers that it had are dead.
    pub(crate) async fn come_back(&mut self, report: HostReport) -> Result<()> {
        let attend = PoolAttend { past: self.past(), ..self.greeting(report) };
        let (server, attended) = self.pool.attend(attend).await;
        match attended {
            Ok(next) => {
                let last = mem::replace(&mut self.last, next);
                if last.server != server {
                    self.leave(&last);
                }
                self.is_in_doubt = false;
                self.hear();
                Ok(())
            }
            Err(error) => {
                self.is_in_doubt |=
                    server == self.last.server && !matches!(error, Error::AlreadyExists(_));
                Err(error)
            }
        }
    }

    /// Announces a worker, in the session in which it attends.
    #[cfg(feature = "simulation")]
    pub(crate) async fn guard(&self, badge: &Bytes) -> Result<()> {
        self.pool.guard_within(badge, self.last.incarnation).await
    }

    /// The start of its last session is an earlier one.
    fn leave(&mut self, last: &Attended) {
        if !self.is_in_doubt {
            self.past.push_back((last.server, self.others(&last.orders)));
        }
        if self.past.len() > MAX_STARTS {
            self.past.pop_front();
        }
    }

    /// Hosts that attend now have no workers of earlier starts.
    fn hear(&mut self) {
        for (_, others) in &mut self.past {
            others.retain(|name| !self.last.orders.hosts.contains(name));
        }
    }

    /// The other hosts of each start before the session that it will have next.
    fn past(&self) -> Vec<PoolPast> {
        let last = (!self.is_in_doubt).then(|| (self.last.server, self.others(&self.last.orders)));
        let past = self.past.iter().cloned().chain(last);
        past.map(|(server, others)| PoolPast { server, others: others.into_iter().collect() })
            .collect()
    }

    fn others(&self, orders: &PoolOrders) -> BTreeSet<String> {
        orders.hosts.iter().filter(|name| **name != self.name).cloned().collect()
    }

    fn greeting(&self, report: HostReport) -> PoolAttend {
        let HostReport { load_milli, drains, trouble } = report;
        PoolAttend {
            name: self.name.clone(),
            capacity: self.capacity,
            workers: Some(self.last.orders.workers),
            load_milli,
            is_agent: self.is_agent,
            drains,
            trouble,
            ..PoolAttend::default()
        }
    }
}
