//! Each task of a pool has one outcome, of an attempt that there was; it is executed by one worker at a time, and
//! again only if it may be.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::{Rc, Weak},
};

use bytes::Bytes;
use mp_manager::simulation::{Standing, Ticket};
use mp_manager_core::v1::{PoolFailure, PoolFailureKind, PoolNote, PoolSegment};

use self::hosts::Stay;
use super::mutual_exclusion::Starts;

pub(crate) mod hosts;

/// How many workers an idempotent task may end that does not say.
const ATTEMPTS: u32 = 3;
/// At so many failed starts a pool may be broken.
const FAILED_STARTS: u32 = 3;

/// A process that works, as its guardian and the system know it.
#[derive(Default)]
pub(crate) struct Life {
    pub(crate) process: usize,
    /// The number of the pool that it works for.
    pub(crate) pool: Cell<u64>,
    pub(crate) badge: RefCell<Option<Bytes>>,
    /// It executes nothing any more.
    pub(crate) is_dead: Cell<bool>,
    pub(crate) has_enlisted: Cell<bool>,
    /// Tickets may be on their way to it.
    pub(crate) is_taking: Cell<bool>,
    /// What it has started last, where its guardian finds it.
    pub(crate) note: Cell<Option<PoolNote>>,
    /// Its session, as it knows it.
    pub(crate) session: RefCell<Weak<Standing>>,
    /// The session of its guardian.
    pub(crate) guardian: RefCell<Weak<Standing>>,
    /// Its guardian does not say what it had started.
    pub(crate) is_unknown: Cell<bool>,
    /// The manager knows its end from its guardian.
    pub(crate) is_buried: Cell<bool>,
    /// The process that keeps it, if that is a host.
    pub(crate) host: Cell<Option<usize>>,
    /// Its host, as long as that attends in one session.
    pub(crate) stay: RefCell<Option<Rc<Stay>>>,
    /// It is handed no token above this one: the manager has confirmed that it is to leave.
    pub(crate) retired_from: Cell<Option<u64>>,
}

impl Life {
    /// Whether the manager may have given it up.
    fn is_lost(&self) -> bool {
        self.is_dead.get() || !stands(&self.session)
    }

    fn is_guarded(&self) -> bool {
        stands(&self.guardian)
    }

    /// The last token that it may be handed, if it is to leave.
    fn handed_until(&self) -> Option<u64> {
        let stay = self.stay.borrow();
        let drained = stay.as_ref().and_then(|stay| stay.drained_from.get());
        self.retired_from.get().into_iter().chain(drained).min()
    }

    /// Whether the manager may not know how much of this ticket it had started.
    fn is_unsure(&self, token: u64) -> bool {
        let note = self.note.get().filter(|note| note.token == token);
        !self.is_guarded() || self.is_unknown.get() || note.is_some_and(|note| !note.is_exact)
    }
}

fn stands(session: &RefCell<Weak<Standing>>) -> bool {
    session.borrow().upgrade().is_some_and(|session| !session.is_lost())
}

#[derive(Default)]
pub(crate) struct Pools {
    runs: BTreeMap<u64, Submitted>,
    attempts: Vec<Attempt>,
    lives: Vec<Rc<Life>>,
    /// Somebody has closed or terminated these.
    closed: BTreeSet<u64>,
    failed_starts: BTreeMap<u64, u32>,
    starts: Starts,
    /// How often the manager has started.
    started: usize,
    pub(super) violations: Vec<String>,
}

/// A run as it is submitted.
pub(crate) struct Run {
    pub(crate) pool: u64,
    pub(crate) count: u32,
    pub(crate) is_idempotent: bool,
    pub(crate) attempts: u32,
    pub(crate) has_timeout: bool,
    /// The tasks that end their worker, mostly.
    pub(crate) deadly: BTreeSet<u32>,
}

struct Submitted {
    run: Run,
    /// The session in which it was submitted is over: the manager may have started again, and forgotten whom it had
    /// handed what.
    is_forgotten: bool,
    is_answered: bool,
    /// The start that has answered it if an outcome tells, and how many of its tasks failed.
    answered: Option<(usize, u64)>,
    tasks: BTreeMap<u32, Task>,
}

#[derive(Default)]
struct Task {
    tickets: Vec<(Rc<Life>, u64)>,
    attempts: Vec<usize>,
}

struct Attempt {
    run: u64,
    index: u32,
    life: Rc<Life>,
    ticket: Weak<Ticket>,
    token: u64,
    /// The start of the manager that handed it out.
    start: usize,
    /// The only task of its ticket.
    is_alone: bool,
    end: Option<End>,
    /// The manager has confirmed that it knows the outcome.
    is_confirmed: bool,
}

/// How an attempt ended that did not end with its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Returned,
    Failed,
    TimedOut,
    /// Its ticket did not stand any more.
    GivenUp,
}

impl Pools {
    /// The manager has started, and hands out tokens above this one.
    pub(super) fn manager_started(&mut self, token: u64) {
        self.starts.begin(token);
        self.started += 1;
    }

    /// How often the manager has started.
    pub(crate) fn started(&self) -> usize {
        self.started
    }

    /// There is a worker.
    pub(crate) fn starts(&mut self, life: &Rc<Life>) {
        self.lives.push(Rc::clone(life));
    }

    /// A worker of the pool did not come to work.
    pub(crate) fn start_failed(&mut self, pool: u64) {
        *self.failed_starts.entry(pool).or_default() += 1;
    }

    pub(crate) fn closing(&mut self, pool: u64) {
        self.closed.insert(pool);
    }

    /// A pool refuses something as it is closed, or broken.
    pub(crate) fn refuses(&mut self, pool: u64, is_broken: bool) {
        let failed = self.failed_starts.get(&pool).copied().unwrap_or_default();
        if is_broken && failed < FAILED_STARTS {
            self.violations.push(format!("pool {pool} is broken after {failed} failed starts"));
        }
        if !is_broken && !self.closed.contains(&pool) {
            self.violations.push(format!("pool {pool} is closed, and nobody has closed it"));
        }
    }

    pub(crate) fn submits(&mut self, run: Run) -> u64 {
        let id = self.runs.len() as u64;
        let (is_forgotten, is_answered, tasks) = (false, false, BTreeMap::new());
        let answered = None;
        self.runs.insert(id, Submitted { run, is_forgotten, is_answered, answered, tasks });
        id
    }

    pub(crate) fn run(&self, id: u64) -> Option<&Run> {
        self.runs.get(&id).map(|submitted| &submitted.run)
    }

    /// A worker has a ticket.
    pub(crate) fn handed(&mut self, life: &Rc<Life>, ticket: &Ticket, id: u64) {
        let said = &ticket.ticket;
        let process = life.process;
        if let Some(last) = life.handed_until()
            && said.token > last
            && self.starts.of(said.token) == self.starts.of(last)
        {
            let what = format!("process {process} is to leave, and is handed tasks of run {id}");
            self.violations.push(what);
        }
        // Whoever was handed it by an earlier start may not know yet that this was lost, and the run with it.
        let is_of_last_start = self.starts.of(said.token) == self.starts.of(u64::MAX);
        let Some(Submitted { run, is_answered, tasks, .. }) = self.runs.get_mut(&id) else {
            self.violations.push(format!("process {process} has tasks of no run: {said:?}"));
            return;
        };
        if *is_answered && is_of_last_start && !ticket.is_lost() {
            let what = format!("process {process} has tasks of run {id}, which was answered");
            self.violations.push(what);
        }
        for index in said.start..said.start + said.count {
            let task = tasks.entry(index).or_default();
            if !run.is_idempotent && !task.attempts.is_empty() {
                self.violations.push(format!(
                    "task {index} of run {id} may have run, and process {process} has it"
                ));
            }
            task.tickets.push((Rc::clone(life), said.token));
        }
    }

    /// A worker begins to execute a task; the number of the attempt.
    pub(crate) fn begins(
        &mut self,
        life: &Rc<Life>,
        ticket: &Rc<Ticket>,
        id: u64,
        index: u32,
    ) -> u64 {
        let number = self.attempts.len();
        let token = ticket.ticket.token;
        let start = self.starts.of(token);
        let attempt = Attempt {
            run: id,
            index,
            life: Rc::clone(life),
            ticket: Rc::downgrade(ticket),
            token,
            start,
            is_alone: ticket.ticket.count == 1,
            end: None,
            is_confirmed: false,
        };
        let Some(Submitted { run, tasks, .. }) = self.runs.get_mut(&id) else {
            return number as u64;
        };
        let allowed = run.allowed();
        let task = tasks.entry(index).or_default();
        let process = life.process;
        if !run.is_idempotent && !task.attempts.is_empty() {
            self.violations.push(format!(
                "task {index} of run {id} must not run twice, and process {process} begins it again"
            ));
        }
        let before = || task.attempts.iter().map(|&attempt| &self.attempts[attempt]);
        for other in before().filter(|other| other.goes_on()) {
            self.violations.push(format!(
                "task {index} of run {id} is executed at once by processes {} and {process}",
                other.life.process
            ));
        }
        let ended =
            before().filter(|other| other.start == start && other.has_ended_its_worker()).count();
        if run.is_idempotent && ended >= allowed {
            self.violations.push(format!(
                "task {index} of run {id} has ended {ended} workers, and process {process} begins it"
            ));
        }
        task.attempts.push(number);
        self.attempts.push(attempt);
        number as u64
    }

    pub(crate) fn ends(&mut self, attempt: u64, end: End) {
        if let Some(attempt) = self.attempt_mut(attempt) {
            attempt.end = Some(end);
        }
    }

    /// The manager has confirmed that it knows how it ended.
    pub(crate) fn confirmed(&mut self, attempt: u64) {
        if let Some(attempt) = self.attempt_mut(attempt) {
            attempt.is_confirmed = true;
        }
    }

    fn attempt_mut(&mut self, attempt: u64) -> Option<&mut Attempt> {
        self.attempts.get_mut(usize::try_from(attempt).ok()?)
    }

    /// The submitter has lost its session since it submitted a run, and has submitted it again.
    pub(crate) fn is_forgotten(&mut self, id: u64) {
        if let Some(submitted) = self.runs.get_mut(&id) {
            submitted.is_forgotten = true;
        }
    }

    /// The submitter has the outcomes of a run.
    pub(crate) fn answered(&mut self, id: u64, segments: &[PoolSegment]) {
        let Some(submitted) = self.runs.get_mut(&id) else { return };
        if std::mem::replace(&mut submitted.is_answered, true) {
            self.violations.push(format!("run {id} is answered twice"));
        }
        let wrong = self.look_at(id, segments).err();
        self.violations.extend(wrong.map(|wrong| format!("run {id}: {wrong}")));
        self.note_start(id, segments);
    }

    /// All outcomes of a run come from one start of the manager.
    fn note_start(&mut self, id: u64, segments: &[PoolSegment]) {
        let results = segments.iter().filter_map(|segment| segment.results.as_ref());
        let numbers = results.flat_map(|results| results.data.chunks(8)).map(read_number);
        let failures = || segments.iter().flat_map(|segment| &segment.failures);
        let of_failures = failures().filter_map(|failure| failure.message.parse().ok());
        let attempts = numbers.chain(of_failures);
        let starts: BTreeSet<usize> = attempts
            .filter_map(|attempt: u64| self.attempts.get(usize::try_from(attempt).ok()?))
            .map(|attempt| attempt.start)
            .collect();
        if starts.len() > 1 {
            self.violations
                .push(format!("run {id} has outcomes of the manager's starts {starts:?}"));
        }
        let failed = failures().map(|failure| u64::from(failure.count.max(1))).sum();
        if let Some(submitted) = self.runs.get_mut(&id) {
            submitted.answered = starts.last().map(|start| (*start, failed));
        }
    }

    fn look_at(&self, id: u64, segments: &[PoolSegment]) -> Result<(), String> {
        let count = self.runs[&id].run.count;
        let mut next = 0;
        for segment in segments {
            let tasks = segment.start..segment.start + segment.count;
            if segment.start != next {
                return Err(format!("the outcomes of tasks {tasks:?} come after {next} others"));
            }
            next = tasks.end;
            let results = segment.results.as_ref().map(|results| results.data.clone());
            let mut results = results.unwrap_or_default();
            let failure = |index: u32| {
                let has = |failure: &&PoolFailure| {
                    (failure.index..failure.index + failure.count.max(1)).contains(&index)
                };
                segment.failures.iter().find(has)
            };
            for index in tasks {
                match failure(index) {
                    Some(failure) => self.look_at_failure(id, index, failure)?,
                    None if results.len() < 8 => return Err(format!("task {index} has no result")),
                    None => {
                        let attempt = read_number(&results.split_to(8));
                        self.look_at_outcome(id, index, attempt, End::Returned)?;
                    }
                }
            }
            if !results.is_empty() {
                return Err(format!("{} bytes are the results of nothing", results.len()));
            }
        }
        if next == count { Ok(()) } else { Err(format!("{next} of {count} tasks")) }
    }

    fn look_at_outcome(&self, run: u64, index: u32, attempt: u64, end: End) -> Result<(), String> {
        let there = usize::try_from(attempt).ok().and_then(|attempt| self.attempts.get(attempt));
        match there {
            Some(there) if (there.run, there.index, there.end) == (run, index, Some(end)) => Ok(()),
            _ => {
                Err(format!("task {index} has the outcome of attempt {attempt}, which is not its"))
            }
        }
    }

    fn look_at_failure(&self, id: u64, index: u32, failure: &PoolFailure) -> Result<(), String> {
        let submitted = &self.runs[&id];
        let run = &submitted.run;
        let number = failure.message.parse().unwrap_or(u64::MAX);
        let lost = self.lost_with(submitted, index);
        match failure.kind() {
            PoolFailureKind::Failed => self.look_at_outcome(id, index, number, End::Failed),
            PoolFailureKind::TimedOut => self.look_at_outcome(id, index, number, End::TimedOut),
            PoolFailureKind::WorkerLost
                if !run.is_idempotent && (lost > 0 || submitted.is_forgotten) =>
            {
                Ok(())
            }
            PoolFailureKind::Poisonous if run.is_idempotent && lost >= run.allowed() => Ok(()),
            kind => Err(format!("task {index} is {kind:?}; {lost} workers were lost with it")),
        }
    }

    /// How many workers the manager may have lost that may have started this task, and have not confirmed an
    /// outcome.
    fn lost_with(&self, submitted: &Submitted, index: u32) -> usize {
        let Submitted { run, tasks, is_forgotten, .. } = submitted;
        let Some(task) = tasks.get(&index) else {
            return self.lives.iter().filter(|life| life.had_unseen(run.pool)).count();
        };
        let attempts = || task.attempts.iter().map(|&attempt| &self.attempts[attempt]);
        if !is_forgotten && attempts().any(|attempt| attempt.is_confirmed) {
            return 0;
        }
        let may_have_started = |life: &&Rc<Life>| {
            let is_its = |other: &Rc<Life>| Rc::ptr_eq(other, life);
            life.is_lost()
                && (attempts().any(|attempt| is_its(&attempt.life))
                    || life.had_unseen(run.pool)
                    || task.tickets.iter().any(|(l, token)| is_its(l) && life.is_unsure(*token)))
        };
        self.lives.iter().filter(may_have_started).count()
    }
}

impl Life {
    /// Whether the manager may have lost it with tickets that it had not seen, and cannot know that.
    fn had_unseen(&self, pool: u64) -> bool {
        let is_unsure = !self.is_guarded() || self.is_unknown.get();
        self.pool.get() == pool && self.is_lost() && self.is_taking.get() && is_unsure
    }
}

impl Run {
    /// How many workers each of its tasks may end.
    fn allowed(&self) -> usize {
        (if self.attempts == 0 { ATTEMPTS } else { self.attempts }) as usize
    }
}

impl Attempt {
    /// Whether its worker executes it, and may. One that is guarded may until it is dead.
    fn goes_on(&self) -> bool {
        let stands = || self.ticket.upgrade().is_some_and(|ticket| !ticket.is_lost());
        self.end.is_none() && !self.life.is_dead.get() && (self.life.is_guarded() || stands())
    }

    /// Whether its worker has ended with it, for certain and known to the manager.
    fn has_ended_its_worker(&self) -> bool {
        let note = self.life.note.get();
        let is_exact = note.is_some_and(|note| {
            note.is_exact && (note.token, note.index) == (self.token, self.index)
        });
        let is_known = self.life.is_buried.get() && !self.life.is_unknown.get();
        self.end.is_none() && self.life.is_dead.get() && (self.is_alone || is_exact && is_known)
    }
}

/// The number in the first eight bytes.
pub(crate) fn read_number(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(u64::MAX, |bytes| u64::from_be_bytes(*bytes))
}
