//! A pool as the manager has it: what its submitters, its workers and their guardians ask of it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use mp_manager_proto::v1::{
    Empty, Kind, PoolBury, PoolEnlist, PoolOp, PoolReport, PoolReports, PoolRun, PoolSegment,
    PoolStatus, PoolTake, PoolTicket, pool_op::Op, reply, request,
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
        reply::Held,
    },
};

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

impl SharedPool {
    pub(crate) fn object(&self) -> &Object {
        &self.object
    }

    /// Submits a run, and waits for the results of all its tasks.
    pub(crate) async fn run(&self, run: PoolRun) -> Result<Results> {
        let mut op = Op::Run(run);
        let mut all = Results::default();
        loop {
            let is_rest = matches!(op, Op::Rest(_));
            let reply = match self.object.ask("run", self::op(op)).await {
                // Its manager has started again: the run was of a session that is over.
                Err(Error::NotHeld(context)) if is_rest => return Err(Error::SessionLost(context)),
                reply => reply?,
            };
            let (results, held) = reply.read(|result| match result {
                reply::Result::Results(results) => Some(results),
                _ => None,
            })?;
            all.segments.extend(results.segments);
            all.held.push(held);
            if results.run == 0 {
                all.segments.sort_unstable_by_key(|segment| segment.start);
                return Ok(all);
            }
            op = Op::Rest(results.run);
        }
    }

    /// Announces a worker that is about to start.
    pub(crate) async fn guard(&self, badge: &Bytes) -> Result<()> {
        self.object.ask("guard", op(Op::Guard(badge.clone()))).await?.done()
    }

    /// Waits until the session of a worker that this session announced is over and nobody has buried it: `false` if
    /// that cannot come any more.
    #[cfg(feature = "process")]
    pub(crate) async fn watch(&self, badge: &Bytes) -> Result<bool> {
        self.object.ask("watch", op(Op::Watch(badge.clone()))).await?.flag()
    }

    /// Says how a worker has ended.
    pub(crate) async fn bury(&self, bury: PoolBury) -> Result<()> {
        self.object.ask("bury", op(Op::Bury(bury))).await?.done()
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

fn op(op: Op) -> request::Op {
    request::Op::Pool(Box::new(PoolOp { op: Some(op) }))
}
