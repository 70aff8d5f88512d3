//! A pool: some processes submit runs and look after workers, the others are the workers.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet, VecDeque},
    future::pending,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use mp_manager::{
    Error, Manager,
    simulation::{Pool, Standing, Ticket},
};
use mp_manager_core::v1::{
    PoolBury, PoolDeath, PoolEnlist, PoolFailure, PoolFailureKind, PoolNote, PoolReport, PoolRun,
    PoolTask, Value,
};

use super::{Context, SECOND};
use crate::{
    client::Task,
    invariants::pool::{End, Life, Run, read_number},
    network::ClientId,
    world::Micros,
};

pub(super) mod hosts;

/// What is known outside of the manager: who is a worker or wants to be one, and which pools there are.
#[derive(Default)]
pub(crate) struct Staff {
    workers: Cell<usize>,
    /// Workers that wait for a guardian.
    applicants: RefCell<VecDeque<Rc<Life>>>,
    /// Tasks that submit runs.
    submitters: Cell<usize>,
    /// The pool that runs are submitted to.
    newest: Cell<u64>,
    /// Earlier ones that may have something to do.
    older: RefCell<BTreeSet<u64>>,
    /// The pools of the runs that somebody waits for. A manager that starts again may get to know one of them
    /// only then.
    waiting: RefCell<Vec<u64>>,
    hosts: hosts::Hosts,
}

impl Staff {
    /// A process that its host has killed, or that dies with it.
    pub(crate) fn next_condemned(&self) -> Option<ClientId> {
        self.hosts.next_condemned()
    }

    /// Nobody submits anything to this pool any more.
    fn leave(&self, pool: u64) {
        if self.newest.get() == pool {
            self.newest.set(pool + 1);
            self.older.borrow_mut().insert(pool);
        }
    }

    /// Nothing is left to do in this pool.
    fn is_done(&self, pool: u64) {
        self.leave(pool);
        self.older.borrow_mut().remove(&pool);
    }

    /// The pools that may have something to do.
    fn pools(&self) -> BTreeSet<u64> {
        let (older, waiting) = (self.older.borrow(), self.waiting.borrow());
        older.iter().copied().chain(waiting.iter().copied()).chain([self.newest.get()]).collect()
    }

    fn any_pool(&self, my: &Context) -> u64 {
        let pools: Vec<u64> = self.pools().into_iter().collect();
        my.world.pick(&pools).copied().unwrap_or_default()
    }

    /// Whether nobody submits anything any more.
    fn is_over(&self, my: &Context) -> bool {
        let is_calm = my.world.now() >= my.times.calm_from;
        is_calm && self.submitters.get() == 0 && self.hosts.are_inspected()
    }
}

/// The tasks of one process. `workers` of them are workers.
pub(super) fn tasks(my: &Context, workers: usize, rounds: u64) -> Vec<Task> {
    if my.staff.workers.get() < workers {
        let living = Living::begin(my);
        // Some pools have no worker that comes without a guardian.
        let may_come_alone = rounds.is_multiple_of(2);
        return vec![Box::pin(work(my.clone(), living, may_come_alone))];
    }
    let mut tasks: Vec<Task> = vec![Box::pin(guard(my.clone()))];
    for _ in 0..=my.world.below(2) {
        let submitting = Submitting::begin(my);
        tasks.push(Box::pin(submit(my.clone(), submitting, rounds)));
    }
    tasks
}

/// Pools that were opened.
#[derive(Default)]
struct Pools(BTreeMap<u64, Rc<Pool>>);

impl Pools {
    async fn open(&mut self, my: &Context, number: u64) -> Rc<Pool> {
        if let Some(pool) = self.0.get(&number) {
            return Rc::clone(pool);
        }
        let name = format!("pool {number}");
        let open = |manager: &Manager| Pool::open(manager.clone(), name.clone());
        let pool = Rc::new(my.open(open).await);
        self.0.insert(number, Rc::clone(&pool));
        pool
    }
}

/// As long as it lives, there is something to submit.
struct Submitting(Rc<Staff>);

impl Submitting {
    fn begin(my: &Context) -> Self {
        my.staff.submitters.update(|submitters| submitters + 1);
        Self(Rc::clone(&my.staff))
    }
}

impl Drop for Submitting {
    fn drop(&mut self) {
        self.0.submitters.update(|submitters| submitters - 1);
    }
}

/// As long as it lives, somebody waits for a run of this pool.
struct Waiting<'a>(&'a Staff, u64);

impl<'a> Waiting<'a> {
    fn begin(staff: &'a Staff, pool: u64) -> Self {
        staff.waiting.borrow_mut().push(pool);
        Self(staff, pool)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting.borrow_mut();
        if let Some(at) = waiting.iter().position(|pool| *pool == self.1) {
            waiting.swap_remove(at);
        }
    }
}

async fn submit(my: Context, _submitting: Submitting, rounds: u64) {
    let mut pools = Pools::default();
    for _ in 0..rounds {
        my.pause().await;
        if my.world.now() > my.times.calm_from {
            return;
        }
        let number = my.staff.newest.get();
        let pool = pools.open(&my, number).await;
        let run = draw_run(&my, number);
        let mut asked = PoolRun {
            task: Some(PoolTask {
                name: "task".into(),
                idempotent: run.is_idempotent,
                attempts: run.attempts,
                ..PoolTask::default()
            }),
            count: run.count,
            priority: i32::try_from(my.world.below(3)).unwrap_or(0) - 1,
            timeout_us: if run.has_timeout { 50_000 } else { 0 },
            ..PoolRun::default()
        };
        let id = my.oracle.borrow_mut().pools.submits(run);
        let mut data = id.to_be_bytes().to_vec();
        data.resize(8 + asked.count as usize, 0);
        asked.args = Some(Value { data: data.into(), refs: Vec::new() });
        my.note(format_args!("submits run {id} to pool {number}"));
        let waiting = Waiting::begin(&my.staff, number);
        let outcome = if my.staff.hosts.are_there() {
            let session = pool.standing(my.world.below(u64::MAX));
            let outcome = my.patiently(pool.run_across_restarts(asked)).await;
            if session.is_lost() {
                my.oracle.borrow_mut().pools.is_forgotten(id);
            }
            outcome
        } else {
            my.patiently(pool.run(asked)).await
        };
        drop(waiting);
        match outcome {
            Some(Ok(segments)) => {
                my.note(format_args!("has the outcomes of run {id}"));
                my.oracle.borrow_mut().pools.answered(id, &segments);
            }
            Some(Err(error)) if is_refused(&my, number, &error) => my.staff.leave(number),
            result => _ = result.map(|result| my.expect("run", result)),
        }
        if my.world.one_in(16) {
            let _ = my.patiently(pool.status()).await.map(|result| my.expect("status", result));
        }
        if !my.staff.hosts.are_there() && my.world.one_in(24) {
            end_pool(&my, number, &pool).await;
        }
    }
}

fn draw_run(my: &Context, pool: u64) -> Run {
    // What is executed again after a restart of the manager is soon the same task.
    let sizes = if my.staff.hosts.are_there() { [1, 1, 2, 8] } else { [1, 4, 12, 40] };
    let most = *my.world.pick(&sizes).unwrap_or(&1);
    let has_timeout = my.world.one_in(8);
    let count = if has_timeout { 1 } else { 1 + my.world.below(most) };
    let count = u32::try_from(count).unwrap_or(1);
    let is_idempotent = my.world.one_in(2);
    let attempts = if is_idempotent { my.world.below(4) } else { 0 };
    let deadly = (0..count).filter(|_| my.world.one_in(12)).collect();
    Run {
        pool,
        count,
        is_idempotent,
        attempts: u32::try_from(attempts).unwrap_or(0),
        has_timeout,
        deadly,
    }
}

/// Whether the pool takes nothing, or nothing any more.
fn is_refused(my: &Context, pool: u64, error: &Error) -> bool {
    let is_broken = match error {
        Error::PoolClosed(_) => false,
        Error::PoolBroken(_) => true,
        _ => return false,
    };
    my.oracle.borrow_mut().pools.refuses(pool, is_broken);
    true
}

/// Has a pool take no more, or nothing at all.
async fn end_pool(my: &Context, number: u64, pool: &Pool) {
    my.oracle.borrow_mut().pools.closing(number);
    my.note(format_args!("ends pool {number}"));
    let is_gentle = !my.world.one_in(3);
    let ended = if is_gentle { pool.close().await } else { pool.terminate().await };
    let _ = my.expect("close", ended);
    my.staff.leave(number);
    if my.world.one_in(4) {
        let joined = my.patiently(pool.join()).await;
        let _ = joined.map(|result| expect_joined(my, result));
    }
}

/// The pool of a manager that has started again meanwhile is another one, and open.
fn expect_joined(my: &Context, joined: Result<(), Error>) {
    if !matches!(joined, Err(Error::InvalidArgument(_))) {
        let _ = my.expect("join", joined);
    }
}

/// Announces workers, and says how they ended.
async fn guard(my: Context) {
    let mut pools = Pools::default();
    let mut wards: Vec<(Rc<Life>, Rc<Pool>, Rc<Standing>)> = Vec::new();
    loop {
        my.sleep(500 + my.world.below(20_000)).await;
        if let Some(applicant) = Applicant::next(&my) {
            let life = &applicant.life;
            let number = my.staff.any_pool(&my);
            let pool = pools.open(&my, number).await;
            let badge = badge(&my);
            let session = Rc::new(pool.standing(my.world.below(u64::MAX)));
            match pool.guard(&badge).await {
                Ok(()) => {
                    life.pool.set(number);
                    life.badge.replace(Some(badge));
                    life.guardian.replace(Rc::downgrade(&session));
                    wards.push((Rc::clone(life), pool, session));
                }
                Err(error) if is_refused(&my, number, &error) => my.staff.is_done(number),
                result => _ = my.expect("guard", result),
            }
        }
        let (dead, alive) = wards.into_iter().partition(|(life, ..)| life.is_dead.get());
        wards = alive;
        for (life, pool, session) in dead {
            if my.world.one_in(8) {
                my.sleep(my.world.below(2 * SECOND)).await;
            }
            bury(&my, &life, &pool, &session).await;
        }
        if my.staff.is_over(&my) && wards.is_empty() {
            break;
        }
    }
    let number = my.staff.newest.get();
    let pool = pools.open(&my, number).await;
    my.oracle.borrow_mut().pools.closing(number);
    if my.expect("close", pool.close().await).is_some() {
        expect_joined(&my, pool.join().await);
    }
}

/// A worker that is about to be announced. It waits for another guardian if it is not.
struct Applicant {
    life: Rc<Life>,
    staff: Rc<Staff>,
}

impl Applicant {
    fn next(my: &Context) -> Option<Self> {
        let life = my.staff.applicants.borrow_mut().pop_front()?;
        Some(Self { life, staff: Rc::clone(&my.staff) })
    }
}

impl Drop for Applicant {
    fn drop(&mut self) {
        if self.life.badge.borrow().is_none() && !self.life.is_dead.get() {
            self.staff.applicants.borrow_mut().push_back(Rc::clone(&self.life));
        }
    }
}

async fn bury(my: &Context, life: &Life, pool: &Pool, session: &Standing) {
    let is_known = !my.world.one_in(4);
    life.is_unknown.set(!is_known);
    if !life.has_enlisted.get() {
        my.oracle.borrow_mut().pools.start_failed(life.pool.get());
    }
    let exit_code = *my.world.pick(&[None, Some(-9), Some(-11), Some(0)]).unwrap_or(&None);
    // A host's pool is not to break.
    let is_called_off = my.staff.hosts.are_there() && !life.has_enlisted.get();
    let bury = PoolBury {
        badge: life.badge.borrow().clone().unwrap_or_default(),
        death: (!is_called_off).then_some(PoolDeath { exit_code, out_of_memory: false }),
        started: life.note.get().filter(|_| is_known),
        is_known,
        message: String::new(),
    };
    my.note(format_args!("buries process {}, {is_known}", life.process));
    // Nobody else says it: its session may go on although the call fails.
    while my.expect("bury", pool.bury(bury.clone()).await).is_none() {
        my.pause().await;
    }
    life.is_buried.set(!session.is_lost());
}

fn badge(my: &Context) -> Bytes {
    let halves = [my.world.below(u64::MAX), my.world.below(u64::MAX)];
    halves.iter().flat_map(|half| half.to_be_bytes()).collect::<Vec<u8>>().into()
}

/// A process works until this is dropped.
struct Living {
    life: Rc<Life>,
    staff: Rc<Staff>,
}

impl Living {
    fn begin(my: &Context) -> Self {
        let life = Rc::new(Life { process: my.process, ..Life::default() });
        my.oracle.borrow_mut().pools.starts(&life);
        my.staff.workers.update(|workers| workers + 1);
        Self { life, staff: Rc::clone(&my.staff) }
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        self.life.is_dead.set(true);
        self.staff.workers.update(|workers| workers - 1);
    }
}

/// Works until there is nothing more to do at all. Whatever else ends it ends its process.
async fn work(my: Context, living: Living, may_come_alone: bool) {
    let Some(number) = announced(&my, &living.life, may_come_alone).await else { return };
    let pool = Pools::default().open(&my, number).await;
    let session = Rc::new(pool.standing(0));
    living.life.session.replace(Rc::downgrade(&session));
    let badge = living.life.badge.borrow().clone().unwrap_or_default();
    let announced = my.staff.hosts.are_there();
    let name = format!("worker {}", my.process);
    let mut enlist = PoolEnlist { badge, name, failure: None, announced };
    if !announced && my.world.one_in(12) {
        enlist.failure = Some(PoolFailure { message: "no luck".into(), ..PoolFailure::default() });
        my.oracle.borrow_mut().pools.start_failed(number);
    }
    let fails = enlist.failure.is_some();
    match pool.enlist(enlist).await {
        // Its host attends another start of the manager, or none.
        Err(Error::NotHeld(_)) if announced => {}
        Err(error) if is_refused(&my, number, &error) => my.staff.is_done(number),
        result => living.life.has_enlisted.set(my.expect("enlist", result).is_some()),
    }
    if fails || !living.life.has_enlisted.get() {
        return exit(&my).await;
    }
    let left = if my.world.one_in(3) { 1 + my.world.below(8) } else { u64::MAX };
    let life = &living.life;
    let (session, finished, reports) = (&session, Vec::new(), Vec::new());
    let mut worker = Worker { my, life, pool, session, left, finished, reports };
    while !worker.my.staff.is_over(&worker.my) {
        let Some(tickets) = worker.take(number).await else {
            return exit(&worker.my).await;
        };
        // Others may have more to do.
        let pools = worker.my.staff.pools();
        let is_idle = tickets.is_empty() && pools.iter().any(|pool| *pool != number);
        worker.execute_all(tickets).await;
        if is_idle && worker.my.world.one_in(4) {
            return exit(&worker.my).await;
        }
    }
}

/// Waits until a guardian has announced this worker, or goes without one: the number of its pool.
async fn announced(my: &Context, life: &Rc<Life>, may_come_alone: bool) -> Option<u64> {
    if may_come_alone && my.world.one_in(4) {
        life.badge.replace(Some(badge(my)));
        life.pool.set(my.staff.any_pool(my));
    } else {
        my.staff.applicants.borrow_mut().push_back(Rc::clone(life));
    }
    while life.badge.borrow().is_none() {
        if my.staff.is_over(my) {
            return None;
        }
        let longest = if my.staff.hosts.are_there() { hosts::patience(my) } else { 20_000 };
        my.sleep(1 + my.world.below(longest)).await;
    }
    Some(life.pool.get())
}

/// The process ends, here and now.
async fn exit(my: &Context) {
    my.note(format_args!("exits"));
    my.exits.set(true);
    pending::<()>().await;
}

struct Worker<'a> {
    my: Context,
    life: &'a Rc<Life>,
    pool: Rc<Pool>,
    session: &'a Rc<Standing>,
    /// So many tasks it executes before it ends.
    left: u64,
    /// Attempts whose outcomes the manager may not know, each with its ticket.
    finished: Vec<(u64, Rc<Ticket>)>,
    /// What is not said yet.
    reports: Vec<PoolReport>,
}

/// Outcomes of a ticket that are in no report.
#[derive(Default)]
struct Outcomes {
    count: u32,
    results: Vec<u8>,
    failures: Vec<PoolFailure>,
}

impl Outcomes {
    fn report(&mut self, token: u64) -> PoolReport {
        let Self { count, results, failures } = std::mem::take(self);
        let results = (!results.is_empty()).then(|| Value { data: results.into(), refs: vec![] });
        PoolReport { token, count, results, failures, ..PoolReport::default() }
    }
}

impl Worker<'_> {
    /// Waits for work; `None` if there is none any more, or this is no worker any more.
    async fn take(&self, number: u64) -> Option<VecDeque<Rc<Ticket>>> {
        let my = &self.my;
        let timeout = Duration::from_micros(my.world.below(2 * SECOND));
        let max = u32::try_from(my.world.below(4)).unwrap_or(0);
        self.life.is_taking.set(true);
        let take = my.timed("take", timeout, self.pool.take(max, timeout));
        let tickets = match my.patiently(take).await {
            None => return Some(VecDeque::new()),
            Some(Err(Error::NotHeld(_))) if self.session.is_lost() => return None,
            // It is to leave.
            Some(Err(Error::PoolClosed(_))) if my.staff.hosts.are_there() => return None,
            Some(Err(error)) if is_refused(my, number, &error) => {
                my.staff.is_done(number);
                return None;
            }
            Some(result) => my.expect_in_time("take", result)?.unwrap_or_default(),
        };
        // Otherwise what came too late may be on its way back.
        if !tickets.is_empty() {
            self.life.is_taking.set(false);
        }
        for ticket in &tickets {
            my.note(format_args!("has {:?}", ticket));
            my.oracle.borrow_mut().pools.handed(self.life, ticket, run_of(ticket));
        }
        Some(tickets.into_iter().map(Rc::new).collect())
    }

    async fn execute_all(&mut self, mut waiting: VecDeque<Rc<Ticket>>) {
        while let Some(ticket) = waiting.pop_front() {
            self.execute(&ticket, &mut waiting).await;
            if self.left == 0 {
                self.give_back(&mut waiting);
                self.finish().await;
                exit(&self.my).await;
            }
            if self.my.world.one_in(2) {
                self.report();
            }
        }
        self.report();
    }

    async fn execute(&mut self, ticket: &Rc<Ticket>, waiting: &mut VecDeque<Rc<Ticket>>) {
        let said = &ticket.ticket;
        let (token, run, start) = (said.token, run_of(ticket), said.start);
        let mut end = start + said.count;
        let notes_each = said.careful || self.my.world.one_in(2);
        self.note(token, start, notes_each || said.count == 1);
        let (mut at, mut outcomes) = (start, Outcomes::default());
        while at < end && self.left > 0 {
            if ticket.is_lost() {
                return self.give_up().await;
            }
            if notes_each && at > start {
                self.note(token, at, true);
            }
            let attempt = self.my.oracle.borrow_mut().pools.begins(self.life, ticket, run, at);
            self.my.sleep(self.duration() / 2).await;
            if self.my.world.one_in(6) {
                // The task takes long: others may have what waits behind it.
                self.give_back(waiting);
                if at + 1 < end {
                    let report = outcomes.report(token);
                    let keeps = 1;
                    self.reports.push(PoolReport { returns_rest: true, keeps, ..report });
                    self.report();
                    end = at + 1;
                }
            }
            self.my.sleep(self.duration() / 2).await;
            if ticket.is_lost() {
                self.my.oracle.borrow_mut().pools.ends(attempt, End::GivenUp);
                return self.give_up().await;
            }
            self.end_attempt(ticket, run, at, attempt, &mut outcomes).await;
            self.finished.push((attempt, Rc::clone(ticket)));
            at += 1;
            self.left -= 1;
            if self.my.world.one_in(6) && at < end {
                self.reports.push(outcomes.report(token));
                self.report();
            }
        }
        let report = outcomes.report(token);
        self.reports.push(PoolReport { returns_rest: at < end, ..report });
    }

    fn duration(&self) -> Micros {
        if self.my.staff.hosts.are_there() {
            // Long enough for a restart of the manager.
            let lengths = [1_000, 100_000, 2 * SECOND, 10 * SECOND];
            let longest = *self.my.world.pick(&lengths).unwrap_or(&1_000);
            return self.my.world.below(longest);
        }
        let longest = *self.my.world.pick(&[10, 1_000, 1_000, 40_000]).unwrap_or(&10);
        self.my.world.below(longest.min(self.my.times.longest_pause))
    }

    /// An attempt comes to its end: with its worker, or with an outcome.
    async fn end_attempt(
        &mut self,
        ticket: &Rc<Ticket>,
        run: u64,
        index: u32,
        attempt: u64,
        outcomes: &mut Outcomes,
    ) {
        let my = self.my.clone();
        let (is_deadly, has_timeout) = my
            .oracle
            .borrow()
            .pools
            .run(run)
            .map_or((false, false), |run| (run.deadly.contains(&index), run.has_timeout));
        let failure = |kind: PoolFailureKind| PoolFailure {
            index,
            kind: kind.into(),
            message: attempt.to_string(),
            ..PoolFailure::default()
        };
        if has_timeout && my.world.one_in(3) {
            my.oracle.borrow_mut().pools.ends(attempt, End::TimedOut);
            self.finished.push((attempt, Rc::clone(ticket)));
            self.reports.push(PoolReport {
                token: ticket.ticket.token,
                count: 1,
                failures: vec![failure(PoolFailureKind::TimedOut)],
                returns_rest: true,
                ..PoolReport::default()
            });
            self.finish().await;
            exit(&my).await;
        }
        if is_deadly && my.world.now() < my.times.calm_from && !my.world.one_in(4) {
            my.note(format_args!("is ended by task {index} of run {run}"));
            exit(&my).await;
        }
        outcomes.count += 1;
        if my.world.one_in(16) {
            my.oracle.borrow_mut().pools.ends(attempt, End::Failed);
            outcomes.failures.push(failure(PoolFailureKind::Failed));
        } else {
            my.oracle.borrow_mut().pools.ends(attempt, End::Returned);
            outcomes.results.extend(attempt.to_be_bytes());
        }
    }

    fn note(&self, token: u64, index: u32, is_exact: bool) {
        self.life.note.set(Some(PoolNote { token, index, is_exact }));
    }

    /// Tickets that were not begun go to others.
    fn give_back(&mut self, waiting: &mut VecDeque<Rc<Ticket>>) {
        let returned = std::mem::take(waiting).into_iter().map(|ticket| PoolReport {
            token: ticket.ticket.token,
            returns_rest: true,
            ..PoolReport::default()
        });
        self.reports.extend(returned);
    }

    fn report(&mut self) {
        if !self.reports.is_empty() {
            self.pool.report(std::mem::take(&mut self.reports));
        }
    }

    /// Goes on without a ticket that was taken away. With a session that was lost, if only by its lease, the
    /// manager may still count upon this worker: it ends.
    async fn give_up(&self) {
        if self.session.is_lost() {
            exit(&self.my).await;
        }
    }

    /// Makes sure that what was done is known before the process ends.
    async fn finish(&mut self) {
        let reports = std::mem::take(&mut self.reports);
        let reported = self.pool.report_surely(reports).await;
        if self.my.expect("report", reported).is_some() {
            for (attempt, ticket) in self.finished.drain(..) {
                if !ticket.is_lost() {
                    self.my.oracle.borrow_mut().pools.confirmed(attempt);
                }
            }
        }
    }
}

/// The run's number is in its arguments.
fn run_of(ticket: &Ticket) -> u64 {
    let args = ticket.ticket.args.as_ref();
    args.map_or(u64::MAX, |args| read_number(&args.data))
}
