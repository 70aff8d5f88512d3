//! A pool: tasks that some sessions submit and others execute. What a lost worker had is decided once.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    ops::Range,
};

use bytes::Bytes;
use mp_manager_proto::v1::{
    Error, Holding, ObjectInfo, PoolBury, PoolDeath, PoolEnlist, PoolFailure, PoolFailureKind,
    PoolNote, PoolReport, PoolResults, PoolRun, PoolStatus, PoolTicket, PoolWork, Reason, Waiting,
    pool_op::Op, reply,
};

use self::{
    hosts::Hosts,
    line::Line,
    run::{Piece, Run, Segment},
    tasks::{Failed, Hands},
    unfit::Unfit,
};
use crate::{
    call::{Answer, Applied, Call, CallId, Outcome, SessionId},
    cost::{self, Cost, times},
    description::{add_holders, add_waiters},
    machine::{Machine, deleted},
    memory::{block, tree},
    turn::Turn,
    waiters::Waiters,
};

mod hosts;
mod line;
mod run;
mod tasks;
#[cfg(test)]
mod tests;
mod unfit;

/// Numbers the runs of a pool, in the order they came.
type RunId = u64;

/// At so many failed starts in a row the pool is broken.
const MAX_FAILED_STARTS: u32 = 3;
/// At so many starts in a row that ended with SIGKILL it is, too: somebody else has done that, or the system for
/// want of memory.
const MAX_KILLED_STARTS: u32 = 30;
/// The exit code of a process that SIGKILL has ended.
const SIGKILL: i32 = -9;
/// The number of missing hosts that a status names at most.
const MAX_NAMED: usize = 100;
/// A badge is 16 random bytes; nobody guesses one.
const BADGE_LEN: Range<usize> = 8..65;

/// Python's `Pool`, as what its submitters and its workers share.
///
/// What becomes of the tasks of a run, which may part on the way:
///
/// ```text
///   run ──► queued ──take──► handed ──ack──► leased ──report──► settled ──all of them──► answered
///             ▲  ▲             │              │  │ │               ▲
///             │  └─── undo ────┘              │  │ │ worker lost   │ not idempotent: WORKER_LOST
///             │                               │  │ └──► orphaned ──┤ too many kills: POISONOUS
///             ├─────── rest returned ─────────┘  │         │       │
///             └─ not started, or idempotent ─────┼─────────┘       │
///                                                └─────────────────┘
/// ```
///
/// A ticket is a fencing token, and stands from when it is handed out until its tasks are settled, its run is
/// cancelled, or its worker is lost. Tasks are handed out again only when nobody can execute them any more:
/// a guarded worker whose session is over keeps them until its guardian has buried it, or is lost as well.
///
/// Boxed, as every object takes the room of the largest kind.
#[derive(Debug, Clone, Default)]
pub struct Pool(Box<State>);

#[derive(Debug, Clone, Default)]
struct State {
    runs: BTreeMap<RunId, Run>,
    last_run: RunId,
    /// The runs for which a task of this pool waits, with its ticket.
    nested: BTreeMap<RunId, u64>,
    /// The runs whose results somebody waits for.
    calls: BTreeMap<CallId, RunId>,
    /// Runs whose first results were handed over, and may come back unread.
    partial: BTreeMap<CallId, RunId>,
    line: Line,
    tickets: BTreeMap<u64, Ticket>,
    /// Tickets that were handed out, and may come back unseen.
    handed: BTreeMap<CallId, Vec<u64>>,
    workers: BTreeMap<SessionId, Worker>,
    /// Workers by their badges, from when they are announced until they are buried.
    guarded: BTreeMap<Bytes, Guarded>,
    takers: Waiters<usize>,
    /// Guardians that wait for the session of a worker to end, by its badge.
    watchers: Waiters<Bytes>,
    joiners: Waiters<()>,
    hosts: Hosts,
    /// Runs that somebody may be executing since an earlier start of the manager.
    held: BTreeSet<RunId>,
    unfit: Unfit,
    failed: Failed,
    /// Tasks that have had an outcome, and those of them that failed.
    done_tasks: u64,
    failed_tasks: u64,
    failed_starts: u32,
    killed_starts: u32,
    broken: Option<String>,
    is_closed: bool,
    run_bytes: usize,
    worker_bytes: usize,
}

/// Where the tasks of a ticket are.
#[derive(Debug, Clone, Copy)]
struct Ticket {
    run: RunId,
    /// The first of its piece.
    start: u32,
    worker: SessionId,
    /// The worker knows of it, and may have started.
    is_seen: bool,
    /// Its worker's session is over, and what it has started is not known yet.
    is_orphan: bool,
}

#[derive(Debug, Clone)]
struct Worker {
    badge: Bytes,
    name: String,
}

#[derive(Debug, Clone)]
struct Guarded {
    guardian: SessionId,
    worker: Option<SessionId>,
    /// The worker's name, which outlasts its session.
    name: String,
    /// It is handed nothing more, and leaves.
    is_retired: bool,
}

/// What is known of the tasks of a lost worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    NotStarted,
    /// All of them may have been executed, and one has ended the worker.
    MayHaveRun,
    /// All of them were executed, and their outcome is lost.
    HaveRun,
    /// This one has ended the worker; those before it were executed.
    Killed(u32),
}

impl Pool {
    /// A pool without workers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many workers and tasks there are, and whether it goes on.
    pub(crate) fn status(&self) -> PoolStatus {
        self.0.status()
    }
}

impl State {
    fn run(&mut self, call: Call, op: PoolRun, turn: &mut Turn<'_>) -> Applied {
        self.check_open()?;
        let task = op.task.filter(|task| !task.name.is_empty());
        let task = task.ok_or_else(|| invalid("the run names no task"))?;
        let args = turn.store_required(op.args)?;
        if op.count == 0 || op.count as usize > args.data().len() {
            return Err(invalid(format!(
                "{} tasks cannot have their arguments in {} bytes",
                op.count,
                args.data().len()
            )));
        }
        if !call.may_wait {
            return Err(invalid("a run waits for its results: its timeout cannot be 0"));
        }
        let mut run = Run::new(call.id, task, args, op.count);
        (run.priority, run.timeout_us, run.again) = (op.priority, op.timeout_us, op.again);
        let is_clear = self.is_clear(&run.again, turn);
        self.last_run += 1;
        self.run_bytes += run.bytes();
        self.runs.insert(self.last_run, run);
        self.calls.insert(call.id, self.last_run);
        if is_clear {
            self.line.insert(op.priority, call.id.session, (self.last_run, 0));
        } else {
            self.held.insert(self.last_run);
        }
        if op.within > 0 && self.workers.contains_key(&call.id.session) {
            self.nested.insert(self.last_run, op.within);
        }
        self.serve(turn);
        match self.end_deadlock(turn) {
            Some((refused, error)) if refused == call.id => return Err(error),
            Some((refused, error)) => turn.refuse(refused, error),
            None => {}
        }
        Ok(Outcome::Parked)
    }

    fn rest(&mut self, call: Call, id: RunId, turn: &Turn<'_>) -> Applied {
        let run = self.runs.get_mut(&id).filter(|run| run.owner == call.id.session);
        let Some(run) = run else {
            return Err(match &self.broken {
                Some(why) => broken(why),
                None if self.is_closed => terminated(),
                None => no_run(id),
            });
        };
        if run.call.is_some() {
            return Err(invalid(format!("run {id} has a call that waits for its results")));
        }
        run.call = Some(call.id);
        self.calls.insert(call.id, id);
        match self.results(id, turn) {
            Some((_, answer)) => answer.into(),
            None if call.may_wait => Ok(Outcome::Parked),
            None => {
                self.calls.remove(&call.id);
                self.with_run(id, |run| run.call = None);
                Answer::absent().into()
            }
        }
    }

    fn give_up(&mut self, session: SessionId, id: RunId, turn: &mut Turn<'_>) {
        if self.runs.get(&id).is_none_or(|run| run.owner != session) {
            return;
        }
        if let Some(call) = self.drop_run(id, turn).and_then(|run| run.call) {
            turn.refuse(call, no_run(id));
        }
        self.finish(turn);
    }

    fn guard(&mut self, session: SessionId, badge: Bytes) -> Applied {
        if let Some(why) = &self.broken {
            return Err(broken(why));
        }
        // One that is closed needs workers as long as it has runs.
        if self.is_finished() {
            return Err(closed());
        }
        if !BADGE_LEN.contains(&badge.len()) {
            return Err(invalid(format!("a badge has {} bytes: use 16", badge.len())));
        }
        if self.guarded.contains_key(&badge) {
            return Err(invalid("a worker with this badge was announced before"));
        }
        self.worker_bytes += block(badge.len());
        let badge = Bytes::copy_from_slice(&badge);
        self.guarded.insert(
            badge,
            Guarded { guardian: session, worker: None, name: String::new(), is_retired: false },
        );
        Answer::done().into()
    }

    /// Waits until a worker is lost to the manager, and may not be to itself.
    fn watch(&mut self, call: Call, badge: &Bytes) -> Applied {
        let guarded = self.guarded.get_key_value(badge);
        let Some((badge, guarded)) =
            guarded.filter(|(_, guarded)| guarded.guardian == call.id.session)
        else {
            return Answer::flag(false).into();
        };
        let is_lost = guarded.worker.is_some_and(|worker| !self.workers.contains_key(&worker));
        if is_lost || !call.may_wait {
            return Answer::flag(is_lost).into();
        }
        self.watchers.push(call.id, badge.clone());
        Ok(Outcome::Parked)
    }

    /// Answers the guardians that watch a worker: whether its session is over and its process may not be.
    fn tell_watchers(&mut self, badge: &Bytes, is_lost: bool, turn: &mut Turn<'_>) {
        for call in self.watchers.calls(|watched| watched == badge) {
            self.watchers.remove(call);
            turn.reply(call, Answer::flag(is_lost));
        }
    }

    /// Nobody guards a worker with this badge any more.
    fn unguard(&mut self, badge: &Bytes, turn: &mut Turn<'_>) -> Option<Guarded> {
        let guarded = self.guarded.remove(badge)?;
        self.worker_bytes -= block(badge.len()) + block(guarded.name.len());
        self.tell_watchers(badge, false, turn);
        Some(guarded)
    }

    fn enlist(&mut self, session: SessionId, op: PoolEnlist, turn: &mut Turn<'_>) -> Applied {
        if let Some(failure) = op.failure {
            // Its end is nothing new.
            self.unguard(&op.badge, turn);
            self.failed_starts += 1;
            self.start_failed(&failure.message, turn);
            return Answer::done().into();
        }
        if let Some(why) = &self.broken {
            return Err(broken(why));
        }
        if self.workers.contains_key(&session) {
            return Err(invalid("this session is a worker already"));
        }
        if op.announced && !self.guarded.contains_key(&op.badge) {
            return Err(unknown_badge());
        }
        if let Some(guarded) = self.guarded.get_mut(&op.badge) {
            if guarded.worker.is_some() {
                return Err(invalid("another worker has this badge"));
            }
            guarded.worker = Some(session);
            guarded.name.clone_from(&op.name);
            self.worker_bytes += block(guarded.name.len());
        }
        (self.failed_starts, self.killed_starts) = (0, 0);
        let worker = Worker { badge: Bytes::copy_from_slice(&op.badge), name: op.name };
        self.worker_bytes += worker.bytes();
        self.workers.insert(session, worker);
        Answer::done().into()
    }

    /// A worker did not come to work. At the third in a row nobody is waited for any more, unless others work.
    fn start_failed(&mut self, why: &str, turn: &mut Turn<'_>) {
        let is_enough =
            self.failed_starts >= MAX_FAILED_STARTS || self.killed_starts >= MAX_KILLED_STARTS;
        if self.is_closed || self.broken.is_some() || !is_enough || !self.workers.is_empty() {
            return;
        }
        self.broken = Some(why.to_owned());
        self.hosts.tell(turn);
        self.refuse_runs(|| broken(why), turn);
    }

    fn take(&mut self, call: Call, max: u32, turn: &mut Turn<'_>) -> Applied {
        if !self.workers.contains_key(&call.id.session) {
            return Err(no_worker());
        }
        if self.is_retired(call.id.session) {
            return Err(retired());
        }
        if turn.is_settled {
            self.hand_out_held(turn);
        }
        let max = max.max(1) as usize;
        if self.has_work_for(call.id.session) && !self.is_stranger(call.id.session) {
            return self.hand_out(call.id, max.min(self.share()), turn).map(Outcome::Done);
        }
        if self.is_finished() {
            return Err(closed());
        }
        if !call.may_wait {
            return Answer::absent().into();
        }
        self.takers.push(call.id, max);
        Ok(Outcome::Parked)
    }

    /// Hands queued tasks to workers that wait.
    fn serve(&mut self, turn: &mut Turn<'_>) {
        while !self.line.is_empty() {
            let next = if self.hosts.are_equal() && self.unfit.is_empty() {
                self.takers.pop_front()
            } else {
                let mut takers = mem::take(&mut self.takers);
                let next = takers.pop_first(|call| {
                    !self.is_stranger(call.session) && self.has_work_for(call.session)
                });
                self.takers = takers;
                next
            };
            let Some((call, max)) = next else { return };
            let work = self.hand_out(call, max.min(self.share()), turn);
            turn.answer(call, work);
        }
    }

    /// Whether there is something in line for a worker.
    fn has_work_for(&self, worker: SessionId) -> bool {
        match self.unfit.is_empty() {
            true => !self.line.is_empty(),
            false => self.line.has(|(run, _)| self.is_fit(worker, run)),
        }
    }

    /// Puts in line what nobody can be executing any more.
    fn hand_out_held(&mut self, turn: &mut Turn<'_>) {
        let held = mem::take(&mut self.held);
        let is_clear =
            |id: &RunId| self.runs.get(id).is_none_or(|run| self.is_clear(&run.again, turn));
        let (clear, held): (BTreeSet<RunId>, _) = held.into_iter().partition(is_clear);
        self.held = held;
        if clear.is_empty() {
            return;
        }
        for id in clear {
            self.queue(id, 0);
        }
        self.serve(turn);
    }

    /// Who keeps a worker.
    fn guardian(&self, worker: SessionId) -> Option<SessionId> {
        guardian(&self.workers, &self.guarded, worker)
    }

    /// Whether a worker is handed nothing yet.
    fn is_stranger(&self, worker: SessionId) -> bool {
        !self.hosts.are_equal()
            && self.guardian(worker).is_some_and(|guardian| self.hosts.is_stranger(guardian))
    }

    /// Whether a worker is handed nothing more.
    fn is_retired(&self, worker: SessionId) -> bool {
        let badge = self.workers.get(&worker).map(|worker| &worker.badge);
        self.hosts.is_left(worker)
            || badge.and_then(|badge| self.guarded.get(badge)).is_some_and(|guarded| {
                guarded.is_retired || self.hosts.is_drained(guarded.guardian)
            })
    }

    /// A worker is handed nothing more.
    fn retire(&mut self, session: SessionId, badge: &Bytes, turn: &mut Turn<'_>) {
        let guarded = self.guarded.get_mut(badge).filter(|guarded| guarded.guardian == session);
        if let Some(guarded) = guarded {
            guarded.is_retired = true;
            self.dismiss_takers(turn);
        }
    }

    /// Lets those go who are handed nothing more.
    fn dismiss_takers(&mut self, turn: &mut Turn<'_>) {
        let leavers = self.workers.keys().copied().filter(|worker| self.is_retired(*worker));
        for session in leavers.collect::<Vec<_>>() {
            for (call, _) in self.takers.remove_session(session) {
                turn.refuse(call, retired());
            }
        }
    }

    /// Drops the last run that a worker waits for, if all of them do and nobody is about to come: what is in
    /// line would wait for ever. Returns its call, and what to refuse it with.
    fn end_deadlock(&mut self, turn: &mut Turn<'_>) -> Option<(CallId, Error)> {
        if self.line.is_empty() || self.nested.len() < self.workers.len() {
            return None;
        }
        let is_at_work = |guarded: &Guarded| {
            guarded.worker.is_some_and(|worker| self.workers.contains_key(&worker))
        };
        let owner = |id: &RunId| self.runs.get(id).map(|run| run.owner);
        let waiting: BTreeSet<SessionId> = self.nested.keys().filter_map(owner).collect();
        if !self.workers.keys().all(|worker| waiting.contains(worker))
            || !self.guarded.values().all(is_at_work)
        {
            return None;
        }
        let last = self.nested.iter().rev().find_map(|(id, token)| {
            let run = self.runs.get(id)?;
            let is_queued = run.pieces.values().any(|piece| piece.ticket.is_none());
            (is_queued && run.call.is_some()).then_some((*id, *token))
        });
        let (id, token) = last?;
        let outer = self.tickets.get(&token).and_then(|ticket| self.runs.get(&ticket.run));
        let outer = outer.map_or("a task", |run| &run.task.name).to_owned();
        let run = self.drop_run(id, turn)?;
        Some((run.call?, deadlock(&outer, &run.task.name)))
    }

    /// What one worker takes of what is there for all.
    fn share(&self) -> usize {
        self.line.len().div_ceil(self.workers.len().max(1))
    }

    /// Hands out parts of runs, `max` at most and no more than a reply has room for. There must be one.
    fn hand_out(&mut self, call: CallId, max: usize, turn: &Turn<'_>) -> Result<Answer, Error> {
        let (mut tickets, mut tokens, mut pins) = (Vec::new(), Vec::new(), Vec::new());
        let mut room = turn.limits().page_bytes;
        while tickets.len() < max && (room > 0 || tickets.is_empty()) && !self.line.is_empty() {
            let token = match turn.token() {
                Ok(token) => token,
                Err(error) if tickets.is_empty() => return Err(error),
                Err(_) => break,
            };
            let mut line = mem::take(&mut self.line);
            let next = line.pop(|(run, _)| self.is_fit(call.session, run));
            self.line = line;
            let Some((run_id, start)) = next else { break };
            let Some(run) = self.runs.get_mut(&run_id) else { continue };
            let Some(piece) = run.pieces.get_mut(&start) else { continue };
            piece.ticket = Some(token);
            room = room.saturating_sub(run.args.length());
            pins.extend(run.args.pins().iter().cloned());
            tickets.push(PoolTicket {
                token,
                task: Some(run.task.clone()),
                args: Some(run.args.to_wire()),
                start,
                count: piece.end - start,
                timeout_us: run.timeout_us,
                careful: piece.is_careful(),
            });
            let worker = call.session;
            let ticket = Ticket { run: run_id, start, worker, is_seen: false, is_orphan: false };
            self.tickets.insert(token, ticket);
            tokens.push(token);
        }
        self.handed.insert(call, tokens);
        let work = Answer::new(reply::Result::Work(PoolWork { tickets }));
        Ok(Answer { pins, ..work }.owned())
    }

    fn report(&mut self, session: SessionId, report: PoolReport, turn: &mut Turn<'_>) {
        let Some(ticket) = self.tickets.get_mut(&report.token) else { return };
        if ticket.worker != session || ticket.is_orphan {
            return;
        }
        ticket.is_seen = true;
        let ticket = *ticket;
        let Some(piece) = self.runs.get(&ticket.run).and_then(|run| run.pieces.get(&ticket.start))
        else {
            return;
        };
        let (start, piece) = (ticket.start, *piece);
        if self.pass_on(session, (ticket.run, start), &report) {
            self.tickets.remove(&report.token);
            return;
        }
        let end = start.saturating_add(report.count).min(piece.end);
        // What the worker has no outcome for and keeps, and what it gives back.
        let kept = if report.returns_rest {
            end.saturating_add(report.keeps).min(piece.end)
        } else {
            piece.end
        };
        let settled = (end > start)
            .then(|| segment(start..end, report.results, report.failures, report.elapsed_us, turn));
        if let Some(segment) = &settled {
            self.count_done(segment);
            if !segment.failures.is_empty() {
                let hands = self.hands(session);
                self.note_failures(ticket.run, &hands, &segment.failures);
            }
        }
        self.with_run(ticket.run, |run| {
            run.pieces.remove(&start);
            if let Some(segment) = settled {
                run.settle(start, segment);
            }
            if end < kept {
                run.pieces.insert(end, Piece { end: kept, ..piece });
            }
            if kept < piece.end {
                run.pieces.insert(kept, Piece { ticket: None, ..piece });
            }
        });
        if kept < piece.end {
            self.queue(ticket.run, kept);
        }
        if end == kept {
            self.tickets.remove(&report.token);
        } else if let Some(ticket) = self.tickets.get_mut(&report.token) {
            ticket.start = end;
        }
        self.answer(ticket.run, turn);
    }

    /// Counts tasks that have an outcome.
    fn count_done(&mut self, segment: &Segment) {
        let failed = segment.failures.iter().map(|failure| u64::from(failure.count.max(1)));
        self.done_tasks += u64::from(segment.count);
        self.failed_tasks += failed.sum::<u64>();
    }

    /// Puts a piece in line.
    fn queue(&mut self, id: RunId, start: u32) {
        if let Some(run) = self.runs.get(&id) {
            self.line.insert(run.priority, run.owner, (id, start));
        }
    }

    /// Answers the call that waits for a run's results, once all are there or they have become long.
    fn answer(&mut self, id: RunId, turn: &mut Turn<'_>) {
        if let Some((call, answer)) = self.results(id, turn) {
            turn.reply(call, answer);
        }
    }

    fn results(&mut self, id: RunId, turn: &Turn<'_>) -> Option<(CallId, Answer)> {
        let run = self.runs.get(&id)?;
        let call = run.call?;
        let is_done = run.is_done();
        if !is_done && run.segment_bytes() < turn.limits().page_bytes {
            return None;
        }
        self.calls.remove(&call);
        let (segments, pins) = self.with_run(id, Run::take_segments)?;
        if is_done {
            self.forget(id);
        } else {
            self.with_run(id, |run| run.call = None);
            self.partial.insert(call, id);
        }
        let workers = u32::try_from(self.workers.len()).unwrap_or(u32::MAX);
        let results = PoolResults { segments, run: if is_done { 0 } else { id }, workers };
        let answer = Answer { pins, ..Answer::new(reply::Result::Results(results)) };
        Some((call, if is_done { answer } else { answer.owned() }))
    }

    /// Does something with a run, and keeps count of its memory.
    fn with_run<T>(&mut self, id: RunId, f: impl FnOnce(&mut Run) -> T) -> Option<T> {
        let run = self.runs.get_mut(&id)?;
        self.run_bytes -= run.bytes();
        let result = f(run);
        self.run_bytes += run.bytes();
        Some(result)
    }

    /// Removes a run that nothing of is in line or in a worker's hands.
    fn forget(&mut self, id: RunId) -> Option<Run> {
        let run = self.runs.remove(&id)?;
        self.run_bytes -= run.bytes();
        self.nested.remove(&id);
        self.held.remove(&id);
        self.unfit.forget(id);
        Some(run)
    }

    /// Removes a run. Workers that have some of it learn that their tickets do not stand any more.
    fn drop_run(&mut self, id: RunId, turn: &mut Turn<'_>) -> Option<Run> {
        let run = self.forget(id)?;
        if let Some(call) = run.call {
            self.calls.remove(&call);
        }
        for (&start, piece) in &run.pieces {
            match piece.ticket {
                None => self.line.remove(run.priority, run.owner, (id, start)),
                Some(token) => self.lose(token, turn),
            }
        }
        Some(run)
    }

    fn lose(&mut self, token: u64, turn: &mut Turn<'_>) {
        if let Some(ticket) = self.tickets.remove(&token)
            && !ticket.is_orphan
        {
            turn.lose(ticket.worker, token);
        }
    }

    /// Refuses all runs.
    fn refuse_runs(&mut self, why: impl Fn() -> Error, turn: &mut Turn<'_>) {
        let ids: Vec<RunId> = self.runs.keys().copied().collect();
        for id in ids {
            if let Some(call) = self.drop_run(id, turn).and_then(|run| run.call) {
                turn.refuse(call, why());
            }
        }
    }

    fn bury(&mut self, op: &PoolBury, turn: &mut Turn<'_>) {
        let Some(guarded) = self.unguard(&op.badge, turn) else { return };
        let Some(session) = guarded.worker else {
            let says_nothing = op.death.is_none() && op.message.is_empty();
            if says_nothing || self.hosts.is_agent(guarded.guardian) {
                return;
            }
            let how = how_it_ended(op.death.as_ref());
            match op.death.and_then(|death| death.exit_code) {
                Some(SIGKILL) => self.killed_starts += 1,
                _ => self.failed_starts += 1,
            }
            return match op.message.as_str() {
                "" => self.start_failed(&format!("the worker {how} before it was ready"), turn),
                message => self.start_failed(message, turn),
            };
        };
        self.dismiss(session);
        for (call, _) in self.takers.remove_session(session) {
            turn.refuse(call, no_worker());
        }
        let note = op.started;
        let hands = self.hands_of(&guarded);
        self.decide((session, hands), op.death, turn, |token| match (op.is_known, note) {
            (false, _) => Fate::MayHaveRun,
            (true, None) => Fate::NotStarted,
            (true, Some(PoolNote { token: noted, .. })) if token > noted => Fate::NotStarted,
            (true, Some(PoolNote { token: noted, .. })) if token < noted => Fate::HaveRun,
            (true, Some(PoolNote { index, is_exact: true, .. })) => Fate::Killed(index),
            (true, Some(_)) => Fate::MayHaveRun,
        });
    }

    /// The session is no worker any more.
    fn dismiss(&mut self, session: SessionId) -> Option<Worker> {
        let worker = self.workers.remove(&session)?;
        self.worker_bytes -= worker.bytes();
        self.hosts.worker_ends(session);
        Some(worker)
    }

    /// Decides what becomes of the tasks that a lost worker had.
    fn decide(
        &mut self,
        (session, hands): (SessionId, Hands),
        death: Option<PoolDeath>,
        turn: &mut Turn<'_>,
        fate: impl Fn(u64) -> Fate,
    ) {
        let of_worker = |(token, ticket): (&u64, &Ticket)| {
            (ticket.worker == session).then_some((*token, *ticket))
        };
        let tickets: Vec<_> = self.tickets.iter().filter_map(of_worker).collect();
        for (token, ticket) in tickets {
            self.tickets.remove(&token);
            // Also if it was not seen: the worker may have died before its acknowledgement was on its way.
            self.settle_lost(ticket, fate(token), death, &hands);
            self.answer(ticket.run, turn);
        }
        self.serve(turn);
        self.finish(turn);
    }

    fn settle_lost(&mut self, ticket: Ticket, fate: Fate, death: Option<PoolDeath>, hands: &Hands) {
        let Ticket { run: id, start, .. } = ticket;
        let Some(run) = self.runs.get(&id) else { return };
        let Some(&piece) = run.pieces.get(&start) else { return };
        let (attempts, is_idempotent) = (run.attempts(), run.task.idempotent);
        let end = piece.end;
        let killed = match fate {
            Fate::NotStarted | Fate::HaveRun => start..start,
            Fate::MayHaveRun => start..end,
            Fate::Killed(at) => {
                let at = at.clamp(start, end - 1);
                at..at + 1
            }
        };
        // Those before it have been executed, those after it have not been started.
        let have_run = start..if fate == Fate::HaveRun { end } else { killed.start };
        let mut waiting: Vec<(Range<u32>, u32)> = Vec::new();
        let mut settled: Vec<(Range<u32>, Segment)> = Vec::new();
        let lost = |tasks: Range<u32>| {
            let message = format!("its worker {}", how_it_ended(death.as_ref()));
            let kind = PoolFailureKind::WorkerLost;
            (tasks.clone(), Segment::failed(tasks, kind, &message, death))
        };
        // One that was isolated keeps what is known of it.
        let kills = if end - start == 1 { piece.kills } else { 0 };
        match is_idempotent {
            true => waiting.push((have_run.clone(), kills)),
            false => settled.push(lost(have_run.clone())),
        }
        let kills = piece.kills + 1;
        if is_idempotent && kills < attempts {
            waiting.push((killed.clone(), kills));
        } else if is_idempotent {
            let message = format!(
                "it has ended {kills} workers; the last one {}",
                how_it_ended(death.as_ref())
            );
            let kind = PoolFailureKind::Poisonous;
            settled.push((killed.clone(), Segment::failed(killed.clone(), kind, &message, death)));
        } else {
            settled.push(lost(killed.clone()));
        }
        let rest = have_run.end.max(killed.end)..end;
        // What was not started keeps what is known of it.
        let kills = if fate == Fate::NotStarted { piece.kills } else { 0 };
        waiting.push((rest, kills));
        waiting.retain(|(tasks, _)| !tasks.is_empty());
        settled.retain(|(tasks, _)| !tasks.is_empty());
        for (_, segment) in &settled {
            self.count_done(segment);
            self.note_failures(id, hands, &segment.failures);
        }
        self.with_run(id, |run| {
            run.pieces.remove(&start);
            for (tasks, kills) in &waiting {
                run.pieces.insert(tasks.start, Piece { kills: *kills, ..Piece::new(tasks.end) });
            }
            for (tasks, segment) in settled {
                run.settle(tasks.start, segment);
            }
        });
        for (tasks, _) in waiting {
            self.queue(id, tasks.start);
        }
    }

    fn close(&mut self, turn: &mut Turn<'_>) {
        self.is_closed = true;
        self.finish(turn);
    }

    /// Nothing is left to do, and nothing comes.
    fn is_finished(&self) -> bool {
        self.is_closed && self.runs.is_empty()
    }

    /// Lets those go who wait for more, or for the end, once there is no more.
    fn finish(&mut self, turn: &mut Turn<'_>) {
        if !self.is_finished() {
            return;
        }
        for (call, _) in self.takers.drain() {
            turn.refuse(call, closed());
        }
        for (call, ()) in self.joiners.drain() {
            turn.reply(call, Answer::flag(true));
        }
        // They find it closed.
        self.hosts.tell(turn);
    }

    fn join(&mut self, call: Call) -> Applied {
        if !self.is_closed {
            return Err(invalid("the pool is open, and its end would be waited for in vain")
                .with_hint("close or terminate it first"));
        }
        if self.is_finished() || !call.may_wait {
            return Answer::flag(self.is_finished()).into();
        }
        self.joiners.push(call.id, ());
        Ok(Outcome::Parked)
    }

    fn status(&self) -> PoolStatus {
        let waits = |run: &Run| {
            run.pieces
                .iter()
                .filter(|(_, piece)| piece.ticket.is_none())
                .map(|(start, piece)| u64::from(piece.end - start))
                .sum::<u64>()
        };
        let queued = self.runs.values().map(waits).sum();
        let left: u64 = self.runs.values().map(Run::tasks).sum();
        PoolStatus {
            workers: self.workers.len() as u64,
            queued,
            running: left - queued,
            runs: self.runs.len() as u64,
            is_closed: self.is_closed,
            broken: self.broken.clone().unwrap_or_default(),
            hosts: self.host_status(),
            done: self.done_tasks,
            failed: self.failed_tasks,
            held: self.held.len() as u64,
            missing: self.hosts.missing().into_iter().take(MAX_NAMED).cloned().collect(),
        }
    }

    fn check_open(&self) -> Result<(), Error> {
        match &self.broken {
            Some(why) => Err(broken(why)),
            None if self.is_closed => Err(closed()),
            None => Ok(()),
        }
    }

    /// Takes back tickets that nobody has seen.
    fn take_back(&mut self, tokens: &[u64]) {
        for token in tokens {
            let unseen = |ticket: &Ticket| !ticket.is_seen;
            let Some(ticket) = self.tickets.get(token).copied().filter(unseen) else { continue };
            self.tickets.remove(token);
            self.settle_lost(ticket, Fate::NotStarted, None, &Hands::default());
        }
    }
}

impl Machine for Pool {
    type Op = Op;

    fn apply(&mut self, call: Call, op: Op, turn: &mut Turn<'_>) -> Applied {
        self.0.apply(call, op, turn)
    }

    fn cost(&self, op: &Op) -> Cost {
        self.0.cost(op)
    }

    fn crowd(&self) -> usize {
        self.0.crowd()
    }

    fn elements(&self) -> usize {
        self.0.elements()
    }

    fn acknowledge(&mut self, call: CallId) {
        self.0.acknowledge(call);
    }

    fn cancel(&mut self, call: CallId, turn: &mut Turn<'_>) {
        self.0.cancel(call, turn);
    }

    fn expire(&mut self, call: CallId, turn: &mut Turn<'_>) {
        self.0.expire(call, turn);
    }

    fn end_session(&mut self, session: SessionId, turn: &mut Turn<'_>) {
        self.0.end_session(session, turn);
    }

    fn delete(&mut self, turn: &mut Turn<'_>) {
        self.0.delete(turn);
    }

    fn holds(&self, token: u64) -> bool {
        self.0.holds(token)
    }

    fn describe(&self, info: &mut ObjectInfo) {
        self.0.describe(info);
    }

    fn bytes(&self) -> usize {
        block(size_of::<State>()) + self.0.bytes()
    }
}

impl Worker {
    fn bytes(&self) -> usize {
        block(self.badge.len()) + block(self.name.len())
    }
}

/// What a worker says of some tasks. What cannot be kept has failed.
fn segment(
    tasks: Range<u32>,
    results: Option<mp_manager_proto::v1::Value>,
    mut failures: Vec<PoolFailure>,
    elapsed_us: u64,
    turn: &Turn<'_>,
) -> Segment {
    let count = tasks.end - tasks.start;
    let stored = match results.map(|results| turn.store(results)).transpose() {
        Ok(stored) => stored,
        Err(error) => {
            let kind = PoolFailureKind::ResultTooLarge;
            return Segment::failed(tasks, kind, &error.message, None);
        }
    };
    failures.retain(|failure| tasks.contains(&failure.index));
    Segment { count, results: stored, failures, elapsed_us }
}

/// How a worker's process ended, to go on after "the worker".
fn how_it_ended(death: Option<&PoolDeath>) -> String {
    let memory = match death {
        Some(death) if death.out_of_memory => ", probably for want of memory",
        _ => "",
    };
    match death.and_then(|death| death.exit_code) {
        Some(code) if code < 0 => format!("was ended by signal {}{memory}", code.unsigned_abs()),
        Some(code) => format!("exited with code {code}{memory}"),
        None => format!("was lost{memory}"),
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Reason::InvalidArgument, message)
}

fn closed() -> Error {
    Error::new(Reason::PoolClosed, "the pool is closed").with_hint("open another pool")
}

fn terminated() -> Error {
    Error::new(Reason::PoolClosed, "the pool was terminated").with_hint("open another pool")
}

fn broken(why: &str) -> Error {
    Error::new(Reason::PoolBroken, format!("no worker comes to work: {why}"))
        .with_hint(
            "mend what its workers do when they start, and open another pool, or this one again once it was deleted \
             (`mp-manager rm NAME`, or `Manager::delete`)",
        )
}

fn deadlock(outer: &str, inner: &str) -> Error {
    Error::new(
        Reason::PoolDeadlock,
        format!(
            "every worker of the pool waits for a task of the same pool: {outer} waits for {inner}, which \
             nobody is left to execute"
        ),
    )
    .with_hint("use a second pool for the inner tasks, or submit them from outside of the pool")
}

fn no_run(id: RunId) -> Error {
    Error::new(Reason::NotHeld, format!("this session has no run {id} that is not answered"))
}

/// Who keeps a worker.
fn guardian(
    workers: &BTreeMap<SessionId, Worker>,
    guarded: &BTreeMap<Bytes, Guarded>,
    worker: SessionId,
) -> Option<SessionId> {
    let badge = &workers.get(&worker)?.badge;
    guarded.get(badge).map(|guarded| guarded.guardian)
}

fn retired() -> Error {
    Error::new(
        Reason::PoolClosed,
        "the worker is to leave: its host is drained or lost, or has fewer workers",
    )
}

fn unknown_badge() -> Error {
    Error::new(Reason::NotHeld, "no session guards a worker with this badge")
        .with_hint("the manager has started again, or its guardian has left: start another worker")
}

fn no_worker() -> Error {
    Error::new(Reason::NotHeld, "this session is no worker of the pool")
        .with_hint("enlist it first")
}

impl Machine for State {
    type Op = Op;

    fn apply(&mut self, call: Call, op: Op, turn: &mut Turn<'_>) -> Applied {
        let session = call.id.session;
        match op {
            Op::Run(run) => self.run(call, run, turn),
            Op::Rest(run) => {
                let rest = self.rest(call, run, turn);
                // It may have been the last thing that the pool had.
                self.finish(turn);
                rest
            }
            Op::GiveUp(run) => {
                self.give_up(session, run, turn);
                Answer::done().into()
            }
            Op::Guard(badge) => self.guard(session, badge),
            Op::Enlist(enlist) => self.enlist(session, enlist, turn),
            Op::Take(take) => self.take(call, take.max, turn),
            Op::Report(reports) => {
                for report in reports.reports {
                    self.report(session, report, turn);
                }
                self.settle_unfit(turn);
                self.serve(turn);
                if let Some((refused, error)) = self.end_deadlock(turn) {
                    turn.refuse(refused, error);
                }
                self.finish(turn);
                Answer::done().into()
            }
            Op::Bury(bury) => {
                self.bury(&bury, turn);
                self.settle_unfit(turn);
                Answer::done().into()
            }
            Op::Close(_) => {
                self.close(turn);
                Answer::done().into()
            }
            Op::Terminate(_) => {
                self.refuse_runs(terminated, turn);
                self.close(turn);
                Answer::done().into()
            }
            Op::Join(_) => self.join(call),
            Op::Watch(badge) => self.watch(call, &badge),
            Op::Attend(attend) => self.attend(session, attend, turn),
            Op::Orders(number) => self.orders(call, number),
            Op::Resize(resize) => self.resize(&resize, turn),
            Op::Drain(host) => self.drain(&host, turn),
            Op::Retire(badge) => {
                self.retire(session, &badge, turn);
                Answer::done().into()
            }
            Op::Tasks(from) => {
                let tasks = self.list_tasks(&from);
                Answer::new(reply::Result::PoolTasks(Box::new(tasks))).into()
            }
            Op::Status(_) => Answer::new(reply::Result::PoolStatus(Box::new(self.status()))).into(),
        }
    }

    fn acknowledge(&mut self, call: CallId) {
        self.partial.remove(&call);
        for token in self.handed.remove(&call).unwrap_or_default() {
            if let Some(ticket) = self.tickets.get_mut(&token) {
                ticket.is_seen = true;
            }
        }
    }

    fn cancel(&mut self, call: CallId, turn: &mut Turn<'_>) {
        if let Some(tokens) = self.handed.remove(&call) {
            self.take_back(&tokens);
            self.serve(turn);
            if let Some((refused, error)) = self.end_deadlock(turn) {
                turn.refuse(refused, error);
            }
        } else if let Some(id) = self.calls.remove(&call).or_else(|| self.partial.remove(&call)) {
            self.drop_run(id, turn);
            self.finish(turn);
        } else if self.takers.remove(call).is_none()
            && self.watchers.remove(call).is_none()
            && !self.hosts.forget(call)
        {
            self.joiners.remove(call);
        }
    }

    fn expire(&mut self, call: CallId, turn: &mut Turn<'_>) {
        if self.takers.remove(call).is_some() {
            turn.reply(call, Answer::absent());
        } else if self.joiners.remove(call).is_some()
            || self.watchers.remove(call).is_some()
            || self.hosts.forget(call)
        {
            turn.reply(call, Answer::flag(false));
        } else if let Some(&id) = self.calls.get(&call) {
            // What was not done in time is given up.
            let pieces: Vec<(u32, Piece)> = self
                .runs
                .get(&id)
                .map(|run| run.pieces.iter().map(|(at, piece)| (*at, *piece)).collect())
                .unwrap_or_default();
            for (start, piece) in pieces {
                match (piece.ticket, self.runs.get(&id)) {
                    (None, Some(run)) => self.line.remove(run.priority, run.owner, (id, start)),
                    (Some(token), _) => self.lose(token, turn),
                    (None, None) => {}
                }
                let tasks = start..piece.end;
                let kind = PoolFailureKind::TimedOut;
                let segment = Segment::failed(tasks, kind, "it was not done in time", None);
                self.with_run(id, |run| {
                    run.pieces.remove(&start);
                    run.settle(start, segment);
                });
            }
            self.answer(id, turn);
            self.finish(turn);
        }
    }

    fn end_session(&mut self, session: SessionId, turn: &mut Turn<'_>) {
        self.takers.remove_session(session);
        self.watchers.remove_session(session);
        self.joiners.remove_session(session);
        let own: Vec<RunId> =
            self.runs.iter().filter(|(_, run)| run.owner == session).map(|(id, _)| *id).collect();
        for id in own {
            self.drop_run(id, turn);
        }
        let all = CallId { session, seq: 0 }..=CallId { session, seq: u64::MAX };
        let calls: Vec<CallId> = self.partial.range(all).map(|(call, _)| *call).collect();
        for call in calls {
            self.partial.remove(&call);
        }
        self.end_guardian(session, turn);
        self.end_host(session, turn);
        self.end_worker(session, turn);
        self.settle_unfit(turn);
        self.serve(turn);
        self.finish(turn);
    }

    fn delete(&mut self, turn: &mut Turn<'_>) {
        self.refuse_runs(deleted, turn);
        for (call, _) in self.takers.drain() {
            turn.refuse(call, deleted());
        }
        for (call, ()) in self.joiners.drain() {
            turn.refuse(call, deleted());
        }
        for (call, _) in self.watchers.drain() {
            turn.refuse(call, deleted());
        }
        self.hosts.delete(deleted, turn);
    }

    /// A worker whose session is over writes nothing any more.
    fn holds(&self, token: u64) -> bool {
        self.tickets.get(&token).is_some_and(|ticket| !ticket.is_orphan)
    }

    fn cost(&self, op: &Op) -> Cost {
        match op {
            Op::Run(_) => times(self.nested.len() + self.guarded.len(), cost::VISIT),
            Op::Rest(_) | Op::GiveUp(_) | Op::Guard(_) | Op::Enlist(_) => 0,
            Op::Take(take) => {
                let count = (take.max as usize).min(self.line.len());
                times(count, cost::STORE + cost::FIND)
            }
            Op::Report(op) => {
                let failures = op.reports.iter().map(|report| report.failures.len()).sum();
                times(op.reports.len(), cost::ANSWER).saturating_add(times(failures, cost::STORE))
            }
            Op::Bury(_) => times(self.tickets.len() + self.watchers.len(), cost::VISIT),
            Op::Close(_) => times(self.takers.len() + self.joiners.len(), cost::ANSWER),
            Op::Terminate(_) => times(self.crowd(), cost::ANSWER),
            Op::Join(_) | Op::Watch(_) | Op::Orders(_) => 0,
            Op::Attend(_) => {
                // Each host is compared with each; what was held comes into line.
                let pairs = self.hosts.len().saturating_mul(self.hosts.len());
                times(pairs.saturating_add(self.held.len()), cost::VISIT)
            }
            Op::Resize(_) | Op::Drain(_) => {
                times(self.hosts.len() + self.workers.len() + self.takers.len(), cost::ANSWER)
            }
            Op::Retire(_) => times(self.workers.len(), cost::FIND),
            Op::Tasks(_) => times(self.tickets.len().min(1000), cost::STORE),
            Op::Status(_) => {
                times(self.runs.len() + self.workers.len() + self.tickets.len(), cost::FIND)
            }
        }
    }

    fn crowd(&self) -> usize {
        let waiters = self.takers.len()
            + self.watchers.len()
            + self.joiners.len()
            + self.hosts.waiting().len();
        self.runs.len() + self.tickets.len() + waiters
    }

    fn elements(&self) -> usize {
        self.runs.len()
    }

    fn describe(&self, info: &mut ObjectInfo) {
        let PoolStatus { workers, queued, running, .. } = self.status();
        let held: u64 = self.held.iter().filter_map(|id| self.runs.get(id)).map(Run::tasks).sum();
        info.len = queued - held;
        info.state = format!("{workers} workers, {} tasks queued, {running} running", info.len);
        if held > 0 {
            info.state += &format!(", {held} held");
        }
        if let Some(why) = &self.broken {
            info.state += &format!(", broken: {why}");
        } else if self.is_closed {
            info.state += ", closed";
        }
        let holding = |(token, ticket): (&u64, &Ticket)| Holding {
            session: ticket.worker,
            token: *token,
            what: match self.workers.get(&ticket.worker) {
                Some(worker) => format!("run {} in {}", ticket.run, worker.name),
                None => format!("run {}, its worker was lost", ticket.run),
            },
        };
        add_holders(info, self.tickets.iter().map(holding));
        self.takers.describe_calls(info, |call, _| match self.is_stranger(call.session) {
            true => "all hosts to hear of its own".into(),
            false => "take".into(),
        });
        let waiting = |(call, id): (&CallId, &RunId)| Waiting {
            session: call.session,
            seq: call.seq,
            what: format!("run {id}"),
        };
        add_waiters(info, self.calls.iter().map(waiting));
        self.watchers.describe(info, |_| "watch".into());
        self.hosts.waiting().describe(info, |_| "orders".into());
        self.joiners.describe(info, |()| "join".into());
    }

    fn bytes(&self) -> usize {
        self.run_bytes
            + self.worker_bytes
            + tree::<RunId, Run>(self.runs.len())
            + tree::<RunId, u64>(self.nested.len())
            + tree::<CallId, RunId>(self.calls.len() + self.partial.len())
            + self.line.bytes()
            + tree::<u64, Ticket>(self.tickets.len())
            + tree::<CallId, Vec<u64>>(self.handed.len())
            + tree::<SessionId, Worker>(self.workers.len())
            + tree::<Bytes, Guarded>(self.guarded.len())
            + self.takers.bytes()
            + self.watchers.bytes()
            + self.joiners.bytes()
            + self.hosts.bytes()
            + tree::<RunId, ()>(self.held.len())
            + self.failed.bytes()
            + self.unfit.bytes()
    }
}

impl State {
    /// Nobody will say how its workers end: those that are lost already are decided now.
    fn end_guardian(&mut self, session: SessionId, turn: &mut Turn<'_>) {
        let of_guardian = |(badge, guarded): (&Bytes, &Guarded)| {
            (guarded.guardian == session).then(|| (badge.clone(), guarded.clone()))
        };
        let guarded: Vec<_> = self.guarded.iter().filter_map(of_guardian).collect();
        for (badge, guarded) in guarded {
            self.unguard(&badge, turn);
            let Some(worker) = guarded.worker else { continue };
            if self.workers.contains_key(&worker) {
                self.hosts.leave(session, worker);
            } else {
                let hands = self.hands_of(&guarded);
                self.decide((worker, hands), None, turn, |_| Fate::MayHaveRun);
            }
        }
    }

    fn end_worker(&mut self, session: SessionId, turn: &mut Turn<'_>) {
        // What it has not acknowledged may have arrived, and may have been started.
        let all = CallId { session, seq: 0 }..=CallId { session, seq: u64::MAX };
        let unseen: Vec<CallId> = self.handed.range(all).map(|(call, _)| *call).collect();
        for call in unseen {
            self.handed.remove(&call);
        }
        let hands = self.hands(session);
        let Some(worker) = self.dismiss(session) else { return };
        if self.guarded.contains_key(&worker.badge) {
            // It is lost only to the manager: it may go on until its guardian says that it is dead.
            for ticket in self.tickets.values_mut().filter(|ticket| ticket.worker == session) {
                ticket.is_orphan = true;
            }
            self.tell_watchers(&worker.badge, true, turn);
        } else {
            self.decide((session, hands), None, turn, |_| Fate::MayHaveRun);
        }
    }
}
