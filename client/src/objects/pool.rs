//! A pool as the manager has it: what its submitters, its workers and their guardians ask of it.

use std::{mem, sync::Arc, time::Duration};

use bytes::Bytes;
use mp_manager_proto::v1::{
    Empty, Kind, PoolAttend, PoolBury, PoolEnlist, PoolFailure, PoolFailureKind, PoolOp,
    PoolOrders, PoolReport, PoolReports, PoolResize, PoolRun, PoolSegment, PoolStatus, PoolTake,
    PoolTaskPlace, PoolTasks, PoolTasksFrom, PoolTicket, pool_op::Op, reply, request,
};

use crate::{
    error::{Error, Result},
    objects::{
        manager::Manager,
        open::{Name, Open},
        proxy, sealed,
    },
    rpc::{
        codec::Detail,
        object::{Object, Wait},
        reply::{Held, Reply},
    },
};

#[cfg(any(feature = "process", feature = "simulation"))]
pub(crate) mod membership;

impl Manager {
    pub(crate) fn shared_pool(&self, name: impl Into<Name>) -> Open<SharedPool> {
        Open::new(self, name.into(), None)
    }
}

/// The object behind a [`Pool`](crate::Pool).
pub(crate) struct SharedPool {
    object: Object,
}

proxy!(SharedPool);

impl sealed::Proxy for SharedPool {
    const KIND: Kind = Kind::Pool;

    fn new(object: Object, _: Detail) -> Self {
        Self { object }
    }

    fn object(&self) -> &Object {
        &self.object
    }
}

/// The outcomes of the tasks of a run, in their order.
#[derive(Default)]
pub(crate) struct Results {
    pub(crate) segments: Vec<PoolSegment>,
    /// Until the results are decoded.
    pub(crate) held: Vec<Held>,
    /// How many workers the pool had then; 0 if nobody has said so.
    #[cfg(feature = "process")]
    pub(crate) workers: usize,
}

/// Tasks for a worker.
pub(crate) struct Work {
    pub(crate) tickets: Vec<PoolTicket>,
    pub(crate) hold: Arc<Hold>,
}

/// Keeps the arguments of tickets that came in one reply, and knows the session they came in.
pub(crate) struct Hold {
    /// Until the arguments are decoded.
    _held: Held,
    /// The session that they were handed to.
    #[cfg(feature = "process")]
    incarnation: u64,
}

/// The results of a run that were not asked for. They are given up with this, and the run ends.
struct Rest<'a> {
    pool: &'a SharedPool,
    run: u64,
    incarnation: u64,
}

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        self.pool.object.tell_within(op(Op::GiveUp(self.run)), self.incarnation);
    }
}

/// What a host hears.
#[cfg(any(feature = "process", feature = "simulation"))]
pub(crate) struct Attended {
    pub(crate) orders: PoolOrders,
    /// Another one when the manager has started again.
    pub(crate) server: u64,
    /// Another one in each session.
    pub(crate) incarnation: u64,
}

impl SharedPool {
    pub(crate) fn object(&self) -> &Object {
        &self.object
    }

    /// Submits a run, and waits for the results of all its tasks.
    #[cfg(feature = "simulation")]
    pub(crate) async fn run(&self, run: PoolRun) -> Result<Results> {
        self.run_somewhere(run).await.1
    }

    /// Submits a run, and waits for the results of all its tasks.
    #[cfg(feature = "process")]
    pub(crate) async fn run_once(&self, run: PoolRun) -> Result<Results> {
        self.run_somewhere(run).await.1
    }

    /// Submits a run, and waits for the results of all its tasks. If the manager starts again meanwhile, a run whose
    /// tasks may be executed twice is submitted anew, and the tasks of another one are lost.
    #[cfg(any(feature = "process", feature = "simulation"))]
    pub(crate) async fn run_across_restarts(&self, mut run: PoolRun) -> Result<Results> {
        loop {
            let (server, ran) = self.run_somewhere(run.clone()).await;
            let lost = match ran {
                Err(
                    lost @ (Error::SessionLost(_)
                    | Error::OutcomeUnknown(_)
                    | Error::ManagerRestarted(_)
                    | Error::ShuttingDown(_)),
                ) => lost,
                ran => return ran,
            };
            // An object without a name is in the old one's memory, and so is what arguments refer to.
            let is_gone = run.args.as_ref().is_some_and(|args| !args.refs.is_empty());
            if is_gone || self.status().await.is_err() || self.object.reference().server == server {
                return Err(lost);
            }
            if !run.task.as_ref().is_some_and(|task| task.idempotent) {
                return Ok(lost_with_its_manager(run.count));
            }
            run.again.push(server);
        }
    }

    async fn run_somewhere(&self, run: PoolRun) -> (u64, Result<Results>) {
        let asked = self.object.ask_somewhere("run", op(Op::Run(run)), Wait::Forever).await;
        match asked {
            (server, Ok(reply)) => (server, self.read_results(reply).await),
            (server, Err(error)) => (server, Err(error)),
        }
    }

    /// Reads the results of a run, and asks for the rest of them as long as there is one.
    async fn read_results(&self, mut reply: Reply) -> Result<Results> {
        let mut all = Results::default();
        loop {
            let incarnation = reply.incarnation();
            let (results, held) = reply.read(|result| match result {
                reply::Result::Results(results) => Some(results),
                _ => None,
            })?;
            all.segments.extend(results.segments);
            #[cfg(feature = "process")]
            {
                all.workers = results.workers as usize;
            }
            all.held.push(held);
            if results.run == 0 {
                all.segments.sort_unstable_by_key(|segment| segment.start);
                return Ok(all);
            }
            // The call for the rest may wait for others before it goes out, and come to nothing.
            let rest = Rest { pool: self, run: results.run, incarnation };
            // A manager that has started again may have another run of this number.
            let asked = op(Op::Rest(results.run));
            reply = match self.object.ask_within("run", asked, incarnation).await {
                Err(Error::NotHeld(context)) => return Err(Error::SessionLost(context)),
                reply => reply?,
            };
            mem::forget(rest);
        }
    }

    /// Announces a worker that is about to start.
    pub(crate) async fn guard(&self, badge: &Bytes) -> Result<()> {
        self.object.ask("guard", op(Op::Guard(badge.clone()))).await?.done()
    }

    /// Announces a worker in session `incarnation`, and in no other.
    #[cfg(any(feature = "process", feature = "simulation"))]
    pub(crate) async fn guard_within(&self, badge: &Bytes, incarnation: u64) -> Result<()> {
        let guard = op(Op::Guard(badge.clone()));
        self.object.ask_within("guard", guard, incarnation).await?.done()
    }

    /// Waits until the session of a worker that this session announced is over and nobody has buried it: `false` if
    /// that cannot come any more.
    #[cfg(feature = "process")]
    pub(crate) async fn watch(&self, badge: &Bytes) -> Result<bool> {
        self.object.ask("watch", op(Op::Watch(badge.clone()))).await?.flag()
    }

    /// Makes whichever session there is a host. Returns the manager that was asked last, too.
    #[cfg(any(feature = "process", feature = "simulation"))]
    async fn attend(&self, attend: PoolAttend) -> (u64, Result<Attended>) {
        let (server, reply) =
            self.object.ask_somewhere("attend", op(Op::Attend(attend)), Wait::Forever).await;
        let attended = reply.and_then(|reply| {
            let incarnation = reply.incarnation();
            Ok(Attended { orders: read_orders(reply)?, server, incarnation })
        });
        (server, attended)
    }

    /// Says which orders a host has carried out, in the session in which it attends: the orders there are now.
    #[cfg(any(feature = "process", feature = "simulation"))]
    async fn attend_within(&self, attend: PoolAttend, incarnation: u64) -> Result<PoolOrders> {
        let attend = op(Op::Attend(attend));
        read_orders(self.object.ask_within("attend", attend, incarnation).await?)
    }

    /// Waits until there are others than the orders with this number: whether there are.
    #[cfg(any(feature = "process", feature = "simulation"))]
    pub(crate) async fn orders(&self, number: u64, timeout: Duration) -> Result<bool> {
        let orders = op(Op::Orders(number));
        self.object.ask_waiting("orders", orders, Wait::For(timeout)).await?.flag()
    }

    /// Tells hosts how many workers to keep.
    #[cfg(any(feature = "process", feature = "simulation"))]
    pub(crate) async fn resize(&self, workers: u32, host: &str) -> Result<()> {
        let resize = PoolResize { workers, host: host.into() };
        self.object.ask("resize", op(Op::Resize(resize))).await?.done()
    }

    /// Has the workers of a host leave, of all hosts if its name is empty.
    #[cfg(any(feature = "process", feature = "simulation"))]
    pub(crate) async fn drain(&self, host: &str) -> Result<()> {
        self.object.ask("drain", op(Op::Drain(host.into()))).await?.done()
    }

    /// Has a worker leave that this session guards.
    #[cfg(feature = "simulation")]
    pub(crate) async fn retire(&self, badge: &Bytes) -> Result<()> {
        self.object.ask("retire", op(Op::Retire(badge.clone()))).await?.done()
    }

    /// Has a worker leave that this session guards; nobody waits for that.
    #[cfg(feature = "process")]
    pub(crate) fn retire_unheard(&self, badge: &Bytes) {
        self.object.tell(op(Op::Retire(badge.clone())));
    }

    /// A page of tasks: of those that failed last, or of those that are not done.
    #[cfg(any(feature = "process", feature = "simulation"))]
    pub(crate) async fn tasks(
        &self,
        failed: bool,
        after: Option<PoolTaskPlace>,
    ) -> Result<PoolTasks> {
        let from = PoolTasksFrom { failed, after };
        let reply = self.object.ask("tasks", op(Op::Tasks(from))).await?;
        let (tasks, _) = reply.read(|result| match result {
            reply::Result::PoolTasks(tasks) => Some(*tasks),
            _ => None,
        })?;
        Ok(tasks)
    }

    /// Says how a worker has ended.
    pub(crate) async fn bury(&self, bury: PoolBury) -> Result<()> {
        self.object.ask("bury", op(Op::Bury(bury))).await?.done()
    }

    /// Says how a worker has ended; nobody waits for an answer.
    #[cfg(feature = "process")]
    pub(crate) fn bury_unheard(&self, bury: PoolBury) {
        self.object.tell(op(Op::Bury(bury)));
    }

    /// Makes this session a worker.
    pub(crate) async fn enlist(&self, enlist: PoolEnlist) -> Result<()> {
        self.object.ask("enlist", op(Op::Enlist(enlist))).await?.done()
    }

    /// Waits for something to do; `None` if nothing came in time.
    pub(crate) async fn take(&self, max: u32, timeout: Duration) -> Result<Option<Work>> {
        let take = op(Op::Take(PoolTake { max }));
        let reply = self.object.ask_waiting("take", take, Wait::For(timeout)).await?;
        #[cfg(feature = "process")]
        let incarnation = reply.incarnation();
        let (tickets, held) = reply.read(|result| match result {
            reply::Result::Work(work) => Some(Some(work.tickets)),
            reply::Result::Absent(_) => Some(None),
            _ => None,
        })?;
        let hold = Hold {
            _held: held,
            #[cfg(feature = "process")]
            incarnation,
        };
        Ok(tickets.map(|tickets| Work { tickets, hold: Arc::new(hold) }))
    }

    /// Whether nobody wants to know any more what comes of a ticket: its run was cancelled, or its session is over.
    #[cfg(feature = "process")]
    pub(crate) fn is_lost(&self, ticket: &PoolTicket, hold: &Hold) -> bool {
        self.object.link().session.is_lost(hold.incarnation, (self.object.id(), ticket.token))
    }

    /// Whether the manager was not heard for as long as the lease.
    #[cfg(feature = "process")]
    pub(crate) fn has_lost_lease(&self) -> bool {
        let session = &self.object.link().session;
        session.look_at_lease();
        session.has_lost_lease()
    }

    /// Says what came of tasks; nobody waits for an answer.
    pub(crate) fn report(&self, reports: Vec<PoolReport>) {
        self.object.tell(op(Op::Report(PoolReports { reports })));
    }

    /// Says what came of tasks, and waits until the manager knows.
    pub(crate) async fn report_surely(&self, reports: Vec<PoolReport>) -> Result<()> {
        self.object.give_back("report", op(Op::Report(PoolReports { reports }))).await?.done()
    }

    pub(crate) async fn close(&self) -> Result<()> {
        self.object.ask("close", op(Op::Close(Empty {}))).await?.done()
    }

    /// Closes it, and nobody waits for that.
    #[cfg(feature = "process")]
    pub(crate) fn close_unheard(&self) {
        self.object.tell(op(Op::Close(Empty {})));
    }

    pub(crate) async fn terminate(&self) -> Result<()> {
        self.object.ask("terminate", op(Op::Terminate(Empty {}))).await?.done()
    }

    /// Terminates it and deletes it by its name, and nobody waits for that.
    #[cfg(feature = "process")]
    pub(crate) fn abandon(&self, name: &str) {
        self.object.tell(op(Op::Terminate(Empty {})));
        self.object.tell_directory(mp_manager_proto::v1::directory_op::Op::Delete(name.into()));
    }

    pub(crate) async fn join(&self) -> Result<()> {
        self.object.ask("join", op(Op::Join(Empty {}))).await?.flag().map(drop)
    }

    pub(crate) async fn status(&self) -> Result<PoolStatus> {
        let reply = self.object.ask("status", op(Op::Status(Empty {}))).await?;
        let (status, _) = reply.read(|result| match result {
            reply::Result::PoolStatus(status) => Some(*status),
            _ => None,
        })?;
        Ok(status)
    }
}

#[cfg(any(feature = "process", feature = "simulation"))]
fn read_orders(reply: Reply) -> Result<PoolOrders> {
    let (orders, _) = reply.read(|result| match result {
        reply::Result::PoolOrders(orders) => Some(*orders),
        _ => None,
    })?;
    Ok(orders)
}

/// The outcomes of tasks that may have been executed when their manager was lost.
#[cfg(any(feature = "process", feature = "simulation"))]
fn lost_with_its_manager(count: u32) -> Results {
    let failure = PoolFailure {
        count,
        kind: PoolFailureKind::WorkerLost.into(),
        message: "its manager has started again meanwhile".into(),
        ..PoolFailure::default()
    };
    let segment = PoolSegment { count, failures: vec![failure], ..PoolSegment::default() };
    Results { segments: vec![segment], ..Results::default() }
}

fn op(op: Op) -> request::Op {
    request::Op::Pool(Box::new(PoolOp { op: Some(op) }))
}
