//! A worker: takes tasks of a pool, executes them on its main thread, and reports.
//!
//! The main thread takes and executes. Beside it a thread sends what is done, and gives back what is not, where they
//! would wait for a task that takes long.

use std::{
    any::Any,
    cell::Cell,
    collections::VecDeque,
    future, mem,
    os::fd::OwnedFd,
    process::exit,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use mp_manager_proto::v1::{PoolEnlist, PoolFailure, PoolReport, PoolTicket, Ref, Value};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    failure::TaskFailure,
    objects::{
        Manager,
        pool::{Hold, SharedPool, Work},
    },
    process::{
        arguments::Arguments,
        chunk::{ARRAY_HEADER_LEN, Chunk, Outcomes},
        control::FrameKind,
        pool::{current::Current, submit::write_failure},
        recorder::{Note, Recorder},
        registry::{self, Entry},
        task::BoxFuture,
        worker::{Worker, WorkerHook},
    },
    rpc::codec,
};

/// What a worker is told with its start.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Config {
    /// The pool's name.
    pub(super) pool: String,
    pub(super) badge: Vec<u8>,
    /// A task to run before any other, and its arguments.
    pub(super) initializer: Option<(String, Vec<u8>)>,
    /// It ends after so many tasks.
    pub(super) max_tasks: Option<u64>,
}

/// How long a task may keep those behind it waiting.
const PATIENCE: Duration = Duration::from_millis(40);
/// How often the thread beside looks whether one does.
const LOOK: Duration = Duration::from_millis(10);
/// After so many looks at a worker that executes nothing, it waits until a task begins.
const IDLE_LOOKS: u32 = 10;
/// How long one call for work waits. It is made again: so a worker notices a manager that is silent.
const TAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// How much later than an async task, which its runtime ends, a sync one is ended with its process.
const GRACE: Duration = Duration::from_millis(50);
/// The most tickets that a worker takes at once.
const MAX_TICKETS: u32 = 128;
/// Reports are sent so long after the first of their tasks began.
const REPORT_AFTER: Duration = Duration::from_micros(500);
/// A chunk of short tasks is reported in parts when they take so long: what is not reported dies with the worker.
const PAUSE_AFTER: Duration = Duration::from_millis(2);
/// And that is looked at after so many of them.
const LOOKS_AT: u64 = 16;
/// A chunk ends early when its results are so long.
const MAX_CHUNK_BYTES: usize = 1 << 20;
/// Tasks that take less are noted once for all of their chunk: noting takes half a microsecond.
const SHORT: Duration = Duration::from_micros(20);

inventory::submit! { WorkerHook { run } }

/// Lives as a worker. Returns the exit code.
fn run(worker: Worker) -> i32 {
    match work(worker) {
        Ok(()) => 0,
        // The pool is over, or nobody is there any more to work for.
        Err(Error::PoolClosed(_)) => 0,
        Err(_) => 1,
    }
}

fn work(worker: Worker) -> Result<()> {
    let config: Config = rmp_serde::from_slice(&worker.config)
        .map_err(|error| Error::Configuration(format!("a worker's configuration: {error}")))?;
    let recorder = recorder(&worker)?;
    let manager = pollster::block_on(Manager::current())?;
    let pool = pollster::block_on(manager.shared_pool(&config.pool).existing().open())?;
    let failure = config.initializer.and_then(|(name, args)| initialize(&name, &args).err());
    let failed = failure.is_some();
    let enlist = PoolEnlist {
        badge: config.badge.into(),
        name: worker.name.clone(),
        announced: true,
        failure: failure.map(|failure| PoolFailure {
            message: format!("the initializer {}", TaskText(&failure)),
            ..write_failure(0, failure)
        }),
    };
    pollster::block_on(pool.enlist(enlist))?;
    if failed {
        return Err(Error::Configuration("the initializer failed".into()));
    }
    let shared = Arc::new(Shared::new(pool));
    watch(&shared)?;
    let left = config.max_tasks.unwrap_or(u64::MAX);
    // Until it is known how long tasks take, each is noted.
    Executor { shared, recorder, left, pace: SHORT }.execute_all()
}

fn watch(shared: &Arc<Shared>) -> Result<()> {
    let (shared, thread) = (Arc::clone(shared), thread::Builder::new());
    let started = thread.name("mp-manager-watch".into()).spawn(move || shared.keep_watching());
    started
        .map(drop)
        .map_err(|error| Error::Configuration(format!("cannot start a thread: {error}")))
}

/// How a failure reads after a subject.
struct TaskText<'a>(&'a TaskFailure);

impl std::fmt::Display for TaskText<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            TaskFailure::Failed { .. } => write!(f, "failed: {}", self.0),
            other => other.fmt(f),
        }
    }
}

fn recorder(worker: &Worker) -> Result<Recorder> {
    let frame = worker.frames.recv().ok().filter(|frame| frame.kind == FrameKind::Pool);
    let descriptor: Option<OwnedFd> = frame.and_then(|frame| frame.descriptors.into_iter().next());
    descriptor
        .map(Recorder::from_descriptor)
        .ok_or_else(|| Error::Configuration("a worker without a recorder".into()))
}

fn initialize(name: &str, args: &[u8]) -> Result<(), TaskFailure> {
    registry::find(name).ok_or(TaskFailure::UnknownTask)?.run_alone(&Arguments::Here(args))
}

/// A call for more work.
type Taking = BoxFuture<Result<Option<Work>>>;

/// What both threads know.
struct Shared {
    pool: SharedPool,
    state: Mutex<State>,
    /// A task has begun while nobody watched.
    begun: Condvar,
    /// How far the chunk is that is being executed.
    position: Position,
    reports: Mutex<Reports>,
}

struct State {
    /// Each with a hold on what it refers to.
    waiting: VecDeque<(PoolTicket, Arc<Hold>)>,
    /// The call for what comes after these, made before the last of them is executed.
    ahead: Option<Taking>,
    current: Option<Executing>,
    /// The thread beside looks every now and then, and need not be told that a task has begun.
    is_watched: bool,
}

/// What is being executed.
struct Executing {
    token: u64,
    start: u32,
    timeout_us: u64,
    /// `None` while what was done of its arguments is skipped: that is no time of a task.
    began: Option<Instant>,
}

/// The next task of a chunk, and the one at which it stops. Two threads change it: what is given back must
/// not have been started.
struct Position(AtomicU64);

impl Position {
    fn reset(&self, limit: u32) {
        self.0.store(u64::from(limit) << 32, Ordering::Release);
    }

    /// So many tasks are not counted any more. Nobody stops the chunk meanwhile.
    fn go_on_from(&self, count: u32) {
        let before = self.0.load(Ordering::Acquire);
        let (at, limit) = ((before as u32).wrapping_sub(count), (before >> 32) as u32);
        let limit = limit.saturating_sub(count);
        self.0.store(u64::from(limit) << 32 | u64::from(at), Ordering::Release);
    }

    /// The task is done. Whether the chunk stops before the next one.
    fn advance(&self) -> bool {
        let before = self.0.fetch_add(1, Ordering::AcqRel);
        (before as u32).wrapping_add(1) >= (before >> 32) as u32
    }

    /// Stops the chunk behind the task that is being executed: how many tasks it keeps, if that is fewer.
    fn stop(&self) -> Option<u32> {
        let before = self.0.load(Ordering::Acquire);
        let (at, limit) = (before as u32, (before >> 32) as u32);
        let keeps = at.checked_add(1).filter(|keeps| *keeps < limit)?;
        let after = u64::from(keeps) << 32 | u64::from(at);
        let stopped = self.0.compare_exchange(before, after, Ordering::AcqRel, Ordering::Acquire);
        stopped.ok().map(|_| keeps)
    }
}

impl Shared {
    fn new(pool: SharedPool) -> Self {
        let waiting = VecDeque::new();
        let state = State { waiting, ahead: None, current: None, is_watched: true };
        Self {
            pool,
            state: Mutex::new(state),
            begun: Condvar::new(),
            position: Position(AtomicU64::new(0)),
            reports: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Taking {
        let pool = self.pool.clone();
        Box::pin(async move { pool.take(MAX_TICKETS, TAKE_TIMEOUT).await })
    }

    /// Sends what is done and gives back what waits behind a task that takes long, and ends the process for one
    /// that takes too long.
    fn keep_watching(&self) {
        let mut state = self.lock();
        let mut idle_looks = 0;
        loop {
            match &state.current {
                Some(current) => {
                    idle_looks = 0;
                    self.send_due();
                    let timeout = Duration::from_micros(current.timeout_us);
                    let elapsed = current.began.map_or(Duration::ZERO, |began| began.elapsed());
                    if current.timeout_us > 0 && elapsed >= timeout.saturating_add(GRACE) {
                        self.end_for(current, timeout);
                    }
                    if elapsed >= PATIENCE {
                        self.give_back(&mut state);
                    }
                }
                None => idle_looks += 1,
            }
            if idle_looks < IDLE_LOOKS {
                let waited = self.begun.wait_timeout(state, LOOK);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            } else {
                state.is_watched = false;
                state = self.begun.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.is_watched = true;
                idle_looks = 0;
            }
        }
    }

    fn give_back(&self, state: &mut State) {
        // What it may have been answered with goes back as well.
        state.ahead = None;
        let mut reports = Vec::new();
        if let Some(current) = &state.current
            && let Some(keeps) = self.position.stop()
        {
            let token = current.token;
            reports.push(PoolReport { token, keeps, returns_rest: true, ..PoolReport::default() });
        }
        let waiting = mem::take(&mut state.waiting).into_iter();
        reports.extend(waiting.map(|(PoolTicket { token, .. }, _)| PoolReport {
            token,
            returns_rest: true,
            ..PoolReport::default()
        }));
        if !reports.is_empty() {
            self.pool.report(reports);
        }
    }

    fn reports(&self) -> MutexGuard<'_, Reports> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what was done, if it has waited long enough for more.
    fn send_due(&self) {
        let mut reports = self.reports();
        if reports.is_due() {
            reports.send(&self.pool);
        }
    }

    /// Ends the process, as nothing else ends a task that runs for too long. A run with a timeout is a single
    /// task.
    fn end_for(&self, current: &Executing, timeout: Duration) -> ! {
        let after_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let failure = write_failure(current.start, TaskFailure::TimedOut { after_ms });
        let report = PoolReport {
            token: current.token,
            count: 1,
            failures: vec![failure],
            returns_rest: true,
            ..PoolReport::default()
        };
        let mut reports = self.reports().take();
        reports.push(report);
        let _ = pollster::block_on(self.pool.report_surely(reports));
        exit(TIMED_OUT)
    }

    /// The next ticket, and a hold on what it refers to. Sends what was done, and blocks, until there is one.
    /// No more than so many tasks are to be executed.
    fn next(&self, left: u64) -> Result<(PoolTicket, Arc<Hold>)> {
        loop {
            let mut state = self.lock();
            if let Some(next) = state.waiting.pop_front() {
                let PoolTicket { token, start, timeout_us, count, .. } = next.0;
                self.position.reset(count);
                let began = (start == 0).then(Instant::now);
                state.current = Some(Executing { token, start, timeout_us, began });
                if !state.is_watched {
                    self.begun.notify_one();
                }
                // Behind a task with a timeout, and behind its last one, more would only wait to go back.
                if state.waiting.is_empty() && timeout_us == 0 && u64::from(count) < left {
                    state.take_ahead(self.take());
                }
                return Ok(next);
            }
            state.current = None;
            let taking = state.ahead.take();
            drop(state);
            self.reports().send(&self.pool);
            let taken = pollster::block_on(taking.unwrap_or_else(|| self.take()))?;
            if let Some(Work { tickets, hold }) = taken {
                let tickets = tickets.into_iter().map(|ticket| (ticket, Arc::clone(&hold)));
                self.lock().waiting.extend(tickets);
            }
        }
    }
}

impl State {
    /// Sends a call for more, to be waited for later.
    fn take_ahead(&mut self, mut taking: Taking) {
        if self.ahead.is_none() {
            let first = taking.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            self.ahead = Some(match first {
                Poll::Pending => taking,
                Poll::Ready(taken) => Box::pin(future::ready(taken)),
            });
        }
    }
}

/// The exit code of a worker that ended itself for a task that took too long, as `timeout` has it.
const TIMED_OUT: i32 = 124;

/// Reports that are not sent yet.
#[derive(Default)]
struct Reports {
    waiting: Vec<PoolReport>,
    since: Option<Instant>,
    /// What they refer to: the manager hears of them before it hears that these were let go.
    kept: Vec<Box<dyn Any + Send>>,
}

/// What came of tasks.
struct Ran {
    reports: Vec<PoolReport>,
    /// What to keep until that is sent.
    kept: Vec<Box<dyn Any + Send>>,
    /// It has only paused, to be reported: where the arguments of the next task begin.
    goes_on_at: Option<usize>,
    /// When the first of the tasks began.
    began: Instant,
}

impl Ran {
    fn of(report: PoolReport) -> Self {
        Self { reports: vec![report], kept: Vec::new(), goes_on_at: None, began: Instant::now() }
    }
}

/// The main thread.
struct Executor {
    shared: Arc<Shared>,
    recorder: Recorder,
    /// So many tasks it executes before it ends.
    left: u64,
    /// How long the tasks of the last chunk took, each.
    pace: Duration,
}

impl Executor {
    fn execute_all(mut self) -> Result<()> {
        loop {
            let (ticket, hold) = match self.shared.next(self.left) {
                Ok(next) => next,
                Err(error) => {
                    self.finish();
                    return Err(error);
                }
            };
            if self.shared.pool.is_lost(&ticket, &hold) {
                continue;
            }
            self.execute(ticket);
            if self.left == 0 {
                self.shared.give_back_all();
                self.finish();
                return Ok(());
            }
        }
    }

    /// Makes sure that what was done is known before this process ends.
    fn finish(&self) {
        let reports = self.shared.reports().take();
        let _ = pollster::block_on(self.shared.pool.report_surely(reports));
    }

    fn execute(&mut self, mut ticket: PoolTicket) {
        let entry = find(&ticket);
        let mut offset = None;
        loop {
            let mut ran = match &entry {
                Ok(entry) => self.run_chunk(entry, &ticket, offset),
                Err(failure) => Ran::of(refused(&ticket, failure.clone())),
            };
            let count = ran.reports.iter().map(|report| report.count).sum::<u32>();
            self.left = self.left.saturating_sub(u64::from(count));
            let began = ran.began;
            let elapsed = began.elapsed();
            self.pace = elapsed / count.max(1);
            if let Some(report) = ran.reports.first_mut() {
                report.elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
            }
            if ran.goes_on_at.is_none() {
                self.shared.reports().add(ran.reports, ran.kept, began);
                return self.shared.send_due();
            }
            offset = ran.goes_on_at;
            (ticket.start, ticket.count) = (ticket.start + count, ticket.count - count);
            self.shared.report_part(count, ran, began);
        }
    }

    /// Executes tasks of a ticket, from an offset in its arguments if that is known.
    fn run_chunk(&mut self, entry: &Entry, ticket: &PoolTicket, offset: Option<usize>) -> Ran {
        let Self { shared, recorder, left, pace, .. } = self;
        let start = ticket.start as usize;
        let notes_each = ticket.careful || *pace >= SHORT;
        let note = |index: usize, is_exact: bool| {
            let index = (index as u64) << 1 | u64::from(is_exact);
            let _ = recorder.note(Note { ticket: ticket.token, index });
        };
        note(start, notes_each || ticket.count == 1);
        let args = ticket.args.as_ref().map(|value| value.data.clone()).unwrap_or_default();
        let link = Arc::clone(shared.pool.object().link());
        let began = Cell::new(Instant::now());
        let mut on_start = |index: usize| {
            if index == start && start > 0 && offset.is_none() {
                // What came before these took a while to skip.
                shared.begin_now();
                began.set(Instant::now());
            }
            if notes_each && index > start {
                note(index, true);
            }
        };
        let (mut done, mut pauses) = (0, false);
        let (pause_after, looks_at) =
            if notes_each { (REPORT_AFTER, 1) } else { (PAUSE_AFTER, LOOKS_AT) };
        let mut stop = |result_bytes: usize| {
            done += 1;
            let ends =
                shared.position.advance() || done >= *left || result_bytes >= MAX_CHUNK_BYTES;
            pauses = !ends && done % looks_at == 0 && began.get().elapsed() >= pause_after;
            ends || pauses
        };
        let mut chunk = Chunk {
            args: &args,
            skip: start,
            offset,
            len: ticket.count as usize,
            on_start: &mut on_start,
            stop: &mut stop,
            max_result_bytes: link.session.max_value_bytes(),
            timeout: (ticket.timeout_us > 0).then(|| Duration::from_micros(ticket.timeout_us)),
        };
        let _current = Current::enter(shared.pool.object().reference(), ticket.token);
        let (ran, refs) = codec::on_link(&link, || entry.run_chunk(&mut chunk));
        match ran {
            Ok(mut outcomes) => {
                let kept = mem::take(&mut outcomes.kept);
                let goes_on_at = pauses.then_some(outcomes.offset);
                let mut reports = reports_of(ticket, outcomes, refs);
                if pauses {
                    reports.iter_mut().for_each(|report| report.returns_rest = false);
                }
                Ran { reports, kept, goes_on_at, began: began.get() }
            }
            Err(error) => {
                let failure = TaskFailure::Undecodable { message: error.to_string() };
                Ran::of(refused(ticket, failure))
            }
        }
    }
}

impl Shared {
    /// Says what came of so many tasks of the ticket that is being executed, before anything behind them is
    /// given back.
    fn report_part(&self, count: u32, ran: Ran, began: Instant) {
        let _state = self.lock();
        self.position.go_on_from(count);
        let mut reports = self.reports();
        reports.add(ran.reports, ran.kept, began);
        reports.send(&self.pool);
    }

    /// The task that is being executed begins only now.
    fn begin_now(&self) {
        if let Some(current) = &mut self.lock().current {
            current.began = Some(Instant::now());
        }
    }

    /// Gives back what is in the line. The worker ends.
    fn give_back_all(&self) {
        let mut state = self.lock();
        self.give_back(&mut state);
    }
}

impl Reports {
    /// Takes note of what came of tasks that began then.
    fn add(&mut self, reports: Vec<PoolReport>, kept: Vec<Box<dyn Any + Send>>, began: Instant) {
        self.since.get_or_insert(began);
        self.waiting.extend(reports);
        self.kept.extend(kept);
    }

    fn is_due(&self) -> bool {
        self.waiting.len() >= MAX_TICKETS as usize
            || self.since.is_some_and(|since| since.elapsed() >= REPORT_AFTER)
    }

    fn take(&mut self) -> Vec<PoolReport> {
        self.since = None;
        mem::take(&mut self.waiting)
    }

    fn send(&mut self, pool: &SharedPool) {
        let reports = self.take();
        if !reports.is_empty() {
            pool.report(reports);
        }
        self.kept.clear();
    }
}

fn find(ticket: &PoolTicket) -> Result<Entry, TaskFailure> {
    let task = ticket.task.as_ref().ok_or(TaskFailure::UnknownTask)?;
    let entry = registry::find(&task.name).ok_or(TaskFailure::UnknownTask)?;
    if entry.signature == task.signature {
        Ok(entry)
    } else {
        let (known, asked) = (entry.signature.to_owned(), task.signature.clone());
        Err(TaskFailure::SignatureMismatch { known, asked })
    }
}

/// None of the tasks has run.
fn refused(ticket: &PoolTicket, failure: TaskFailure) -> PoolReport {
    let failure = PoolFailure { count: ticket.count, ..write_failure(ticket.start, failure) };
    PoolReport {
        token: ticket.token,
        count: ticket.count,
        failures: vec![failure],
        ..PoolReport::default()
    }
}

/// What came of the tasks of a ticket, the last of them apart if its result is too long to be with the others.
fn reports_of(ticket: &PoolTicket, mut outcomes: Outcomes, mut refs: Vec<Ref>) -> Vec<PoolReport> {
    let Some((bytes, first_ref)) = outcomes.apart.take() else {
        return vec![report_of(ticket, ticket.start, outcomes, refs)];
    };
    let mut results = vec![0; ARRAY_HEADER_LEN];
    results.extend(outcomes.results.split_off(bytes));
    let last = Outcomes { results, done: outcomes.done, ..Outcomes::default() };
    outcomes.done -= 1;
    let (between, last_refs) = (outcomes.done, refs.split_off(first_ref.min(refs.len())));
    let others = report_of(ticket, ticket.start, outcomes, refs);
    let between = u32::try_from(between).unwrap_or(u32::MAX);
    let last = report_of(ticket, between, last, last_refs);
    vec![PoolReport { returns_rest: false, ..others }, last]
}

/// What came of tasks from this one on.
fn report_of(ticket: &PoolTicket, start: u32, outcomes: Outcomes, refs: Vec<Ref>) -> PoolReport {
    let done = outcomes.done - start as usize;
    let succeeded = done - outcomes.failures.len();
    let index = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    let mut data = outcomes.results;
    let results = (succeeded > 0).then(|| {
        data[0] = 0xdd;
        data[1..ARRAY_HEADER_LEN].copy_from_slice(&index(succeeded).to_be_bytes());
        Value { data: Bytes::from(data), refs }
    });
    let end = ticket.start.saturating_add(ticket.count);
    let returns_rest = index(outcomes.done) < end;
    let failures =
        outcomes.failures.into_iter().map(|(at, failure)| write_failure(index(at), failure));
    PoolReport {
        token: ticket.token,
        count: index(done),
        results,
        failures: failures.collect(),
        returns_rest,
        ..PoolReport::default()
    }
}
