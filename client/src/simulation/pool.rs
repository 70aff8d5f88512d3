//! What a pool's submitters, workers and guardians ask of the manager.

use std::{fmt, time::Duration};

use bytes::Bytes;
use mp_manager_proto::v1::{
    PoolBury, PoolEnlist, PoolOp, PoolOrders, PoolReport, PoolReports, PoolRun, PoolSegment,
    PoolStatus, PoolTaskPlace, PoolTasks, PoolTicket, pool_op::Op, request,
};

use crate::{
    error::Result,
    guards::grant::Grant,
    objects::{
        Manager,
        pool::{
            SharedPool,
            membership::{HostReport, Membership},
        },
    },
    protocol::Granted,
    rpc::fence::Fence,
};

/// The object behind a pool.
pub struct Pool(SharedPool);

/// A host of a pool.
pub struct Host(Membership);

/// A session, as it knows itself.
pub struct Standing(Grant);

/// Tasks in this worker's hands.
pub struct Ticket {
    /// What the manager says of them.
    pub ticket: PoolTicket,
    grant: Grant,
}

impl Pool {
    /// Opens it by its name, or creates it.
    ///
    /// # Errors
    /// If the session is lost.
    pub async fn open(manager: Manager, name: String) -> Result<Self> {
        manager.shared_pool(name).open().await.map(Self)
    }

    /// The session that there is now. Each needs a number of its own.
    #[must_use]
    pub fn standing(&self, number: u64) -> Standing {
        Standing(self.grant(number))
    }

    fn grant(&self, token: u64) -> Grant {
        self.grant_in(self.0.object().link().session.incarnation(), token)
    }

    fn grant_in(&self, incarnation: u64, token: u64) -> Grant {
        let granted = Granted { token, depth: 1, incarnation };
        Grant::new(self.0.object().clone(), granted, keep)
    }

    /// Submits a run, and waits for the outcomes of all its tasks.
    ///
    /// # Errors
    /// If the pool is closed, terminated or broken; if the session is lost.
    pub async fn run(&self, run: PoolRun) -> Result<Vec<PoolSegment>> {
        self.0.run(run).await.map(|results| results.segments)
    }

    /// Submits a run, also to a manager that has started again meanwhile, and waits for the outcomes of all its tasks.
    ///
    /// # Errors
    /// If the pool is closed, terminated or broken; if the session is lost, and the manager goes on.
    pub async fn run_across_restarts(&self, run: PoolRun) -> Result<Vec<PoolSegment>> {
        self.0.run_across_restarts(run).await.map(|results| results.segments)
    }

    /// Makes this session a host.
    ///
    /// # Errors
    /// If another session is the host of this name; if the pool is closed or broken; if the session is lost.
    pub async fn host(&self, name: String, capacity: u32) -> Result<Host> {
        let report = HostReport::default();
        Membership::begin(self.0.clone(), name, (capacity, false), report).await.map(Host)
    }

    /// Waits until there are other orders than those with this number: whether there are.
    ///
    /// # Errors
    /// If this session is no host, or is lost.
    pub async fn orders(&self, number: u64, timeout: Duration) -> Result<bool> {
        self.0.orders(number, timeout).await
    }

    /// Tells hosts how many workers to keep.
    ///
    /// # Errors
    /// If there is no such host; if the session is lost.
    pub async fn resize(&self, workers: u32, host: &str) -> Result<()> {
        self.0.resize(workers, host).await
    }

    /// Has the workers of a host leave.
    ///
    /// # Errors
    /// If there is no such host; if the session is lost.
    pub async fn drain(&self, host: &str) -> Result<()> {
        self.0.drain(host).await
    }

    /// Has a worker leave that this session guards.
    ///
    /// # Errors
    /// If the session is lost.
    pub async fn retire(&self, badge: &Bytes) -> Result<()> {
        self.0.retire(badge).await
    }

    /// A page of tasks.
    ///
    /// # Errors
    /// If the session is lost.
    pub async fn tasks(&self, failed: bool, after: Option<PoolTaskPlace>) -> Result<PoolTasks> {
        self.0.tasks(failed, after).await
    }

    /// Announces a worker that is about to start.
    ///
    /// # Errors
    /// If nothing is left to do in the pool, or it is broken; if the session is lost.
    pub async fn guard(&self, badge: &Bytes) -> Result<()> {
        self.0.guard(badge).await
    }

    /// Says how a worker has ended.
    ///
    /// # Errors
    /// If the session is lost.
    pub async fn bury(&self, bury: PoolBury) -> Result<()> {
        self.0.bury(bury).await
    }

    /// Makes this session a worker.
    ///
    /// # Errors
    /// If the pool is broken; if the session is lost.
    pub async fn enlist(&self, enlist: PoolEnlist) -> Result<()> {
        self.0.enlist(enlist).await
    }

    /// Waits for something to do; `None` if nothing came in time.
    ///
    /// # Errors
    /// If nothing is left to do; if this session is no worker, or is lost.
    pub async fn take(&self, max: u32, timeout: Duration) -> Result<Option<Vec<Ticket>>> {
        let Some(work) = self.0.take(max, timeout).await? else { return Ok(None) };
        let ticket = |ticket: PoolTicket| Ticket { grant: self.grant(ticket.token), ticket };
        let tickets = work.tickets.into_iter().map(ticket).collect();
        // No argument refers to anything.
        drop(work.hold);
        Ok(Some(tickets))
    }

    /// Says what came of tasks; nobody waits for an answer.
    pub fn report(&self, reports: Vec<PoolReport>) {
        self.0.report(reports);
    }

    /// Says what came of tasks, and waits until the manager knows.
    ///
    /// # Errors
    /// If the session is lost.
    pub async fn report_surely(&self, reports: Vec<PoolReport>) -> Result<()> {
        self.0.report_surely(reports).await
    }

    /// Takes no more runs.
    ///
    /// # Errors
    /// If the session is lost.
    pub async fn close(&self) -> Result<()> {
        self.0.close().await
    }

    /// Refuses every run.
    ///
    /// # Errors
    /// If the session is lost.
    pub async fn terminate(&self) -> Result<()> {
        self.0.terminate().await
    }

    /// Waits until it is closed and every run has been answered.
    ///
    /// # Errors
    /// If the session is lost.
    pub async fn join(&self) -> Result<()> {
        self.0.join().await
    }

    /// What is going on in it.
    ///
    /// # Errors
    /// If the session is lost.
    pub async fn status(&self) -> Result<PoolStatus> {
        self.0.status().await
    }
}

impl Host {
    /// What it is to do.
    #[must_use]
    pub fn orders(&self) -> &PoolOrders {
        self.0.orders()
    }

    /// The session in which it attends. Each needs a number of its own.
    #[must_use]
    pub fn standing(&self, pool: &Pool, number: u64) -> Standing {
        Standing(pool.grant_in(self.0.incarnation(), number))
    }

    /// Says which orders it has carried out.
    ///
    /// # Errors
    /// If the pool is closed or broken; if the session in which it attends is lost.
    pub async fn attend(&mut self, seen: u64) -> Result<()> {
        self.0.attend(seen, HostReport::default()).await
    }

    /// Attends in another session. The workers that it had are dead.
    ///
    /// # Errors
    /// If another session is the host of this name; if the pool is closed or broken; if the session is lost.
    pub async fn come_back(&mut self) -> Result<()> {
        self.0.come_back(HostReport::default()).await
    }

    /// Announces a worker, in the session in which it attends.
    ///
    /// # Errors
    /// If nothing is left to do in the pool, or it is broken; if that session is lost.
    pub async fn guard(&self, badge: &Bytes) -> Result<()> {
        self.0.guard(badge).await
    }
}

impl Standing {
    /// Whether the session is known to be lost, or was.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.0.is_lost()
    }
}

impl Ticket {
    /// Whether it is known not to stand any more.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.grant.is_lost()
    }

    /// What makes writes depend on it.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.grant.fence()
    }
}

/// What is said of a ticket whose lease is over: nothing, as it may have been started.
fn keep(_: u64) -> request::Op {
    let reports = PoolReports::default();
    request::Op::Pool(Box::new(PoolOp { op: Some(Op::Report(reports)) }))
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a pool")
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a host")
    }
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a session")
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.ticket)
    }
}
