//! A worker: takes tasks of a pool, executes them on its main thread, and reports.
//!
//! The main thread executes. Beside it one thread takes the next tickets, and one sends what is done, and gives
//! back what is not, where they would wait for a task that takes long.

use std::{
    collections::VecDeque,
    mem,
    os::fd::OwnedFd,
    process::exit,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use mp_manager_proto::v1::{PoolEnlist, PoolFailure, PoolReport, PoolTicket, Value};
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
        chunk::{Chunk, Outcomes},
        control::FrameKind,
        pool::{current::Current, submit::write_failure},
        recorder::{Note, Recorder},
        registry::{self, Entry},
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
/// How long one call for work waits. It is made again: so a worker notices a manager that is silent.
const TAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// How much later than an async task, which its runtime ends, a sync one is ended with its process.
const GRACE: Duration = Duration::from_millis(50);
/// The most tickets that a worker takes at once.
const MAX_TICKETS: u32 = 64;
/// Reports are sent so long after the first of their tasks began.
const REPORT_AFTER: Duration = Duration::from_micros(500);
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
    beside("mp-manager-take", &shared, Shared::keep_taking)?;
    beside("mp-manager-watch", &shared, Shared::keep_watching)?;
    let left = config.max_tasks.unwrap_or(u64::MAX);
    // Until it is known how long tasks take, each is noted.
    Executor { shared, recorder, left, pace: SHORT }.execute_all()
}

fn beside(name: &str, shared: &Arc<Shared>, run: fn(&Shared)) -> Result<()> {
    let shared = Arc::clone(shared);
    let started = thread::Builder::new().name(name.into()).spawn(move || run(&shared));
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

/// What all threads know.
struct Shared {
    pool: SharedPool,
    state: Mutex<State>,
    /// Something has changed in the state.
    changed: Condvar,
    /// How far the chunk is that is being executed.
    position: Position,
    reports: Mutex<Reports>,
}

struct State {
    /// Each with a hold on what it refers to.
    waiting: VecDeque<(PoolTicket, Arc<Hold>)>,
    /// What is being executed, and since when.
    current: Option<(PoolTicket, Instant)>,
    /// Why no more tickets come.
    over: Option<Error>,
}

/// The next task of a chunk, and the one at which it stops. Two threads change it: what is given back must
/// not have been started.
struct Position(AtomicU64);

impl Position {
    fn reset(&self, limit: u32) {
        self.0.store(u64::from(limit) << 32, Ordering::Release);
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
        let state = State { waiting: VecDeque::new(), current: None, over: None };
        Self {
            pool,
            state: Mutex::new(state),
            changed: Condvar::new(),
            position: Position(AtomicU64::new(0)),
            reports: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes tickets, one batch ahead of those that are being executed.
    fn keep_taking(&self) {
        loop {
            match pollster::block_on(self.pool.take(MAX_TICKETS, TAKE_TIMEOUT)) {
                Ok(None) => {}
                Ok(Some(Work { tickets, hold })) => {
                    let mut state = self.lock();
                    let tickets = tickets.into_iter().map(|ticket| (ticket, Arc::clone(&hold)));
                    state.waiting.extend(tickets);
                    self.changed.notify_all();
                    // As long as it is busy, it takes nothing that would only go back.
                    while !state.waiting.is_empty() || state.is_busy() {
                        let waited = self.changed.wait_timeout(state, LOOK);
                        state = waited.unwrap_or_else(PoisonError::into_inner).0;
                    }
                }
                Err(error) => {
                    self.lock().over = Some(error);
                    self.changed.notify_all();
                    return;
                }
            }
        }
    }

    /// Sends what is done and gives back what waits behind a task that takes long, and ends the process for one
    /// that takes too long.
    fn keep_watching(&self) {
        let mut state = self.lock();
        loop {
            if let Some((ticket, began)) = &state.current {
                self.send_due();
                let timeout = Duration::from_micros(ticket.timeout_us);
                if ticket.timeout_us > 0 && began.elapsed() >= timeout.saturating_add(GRACE) {
                    self.end_for(ticket, timeout);
                }
                if began.elapsed() >= PATIENCE {
                    self.give_back(&mut state);
                }
                let waited = self.changed.wait_timeout(state, LOOK);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn give_back(&self, state: &mut State) {
        let mut reports = Vec::new();
        if let Some((ticket, _)) = &state.current
            && let Some(keeps) = self.position.stop()
        {
            let token = ticket.token;
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
    fn end_for(&self, ticket: &PoolTicket, timeout: Duration) -> ! {
        let after_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let failure = write_failure(ticket.start, TaskFailure::TimedOut { after_ms });
        let report = PoolReport {
            token: ticket.token,
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
    fn next(&self) -> Result<(PoolTicket, Arc<Hold>)> {
        let mut state = self.lock();
        loop {
            if let Some(next) = state.waiting.pop_front() {
                self.position.reset(next.0.count);
                let was_idle = state.current.replace((next.0.clone(), Instant::now())).is_none();
                if was_idle || state.waiting.is_empty() {
                    self.changed.notify_all();
                }
                return Ok(next);
            }
            state.current = None;
            if let Some(error) = &state.over {
                return Err(error.clone());
            }
            self.reports().send(&self.pool);
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl State {
    /// Whether it would let wait what it took.
    fn is_busy(&self) -> bool {
        self.current
            .as_ref()
            .is_some_and(|(ticket, began)| ticket.timeout_us > 0 || began.elapsed() >= PATIENCE)
    }
}

/// The exit code of a worker that ended itself for a task that took too long, as `timeout` has it.
const TIMED_OUT: i32 = 124;

/// Reports that are not sent yet.
#[derive(Default)]
struct Reports {
    waiting: Vec<PoolReport>,
    since: Option<Instant>,
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
            let (ticket, hold) = match self.shared.next() {
                Ok(next) => next,
                Err(error) => {
                    self.finish();
                    return Err(error);
                }
            };
            if self.shared.pool.is_lost(&ticket, &hold) {
                continue;
            }
            self.execute(&ticket);
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

    fn execute(&mut self, ticket: &PoolTicket) {
        let began = Instant::now();
        let report = match find(ticket) {
            Ok(entry) => self.run_chunk(&entry, ticket),
            Err(failure) => refused(ticket, failure),
        };
        self.left = self.left.saturating_sub(u64::from(report.count));
        let elapsed = began.elapsed();
        self.pace = elapsed / report.count.max(1);
        let elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        self.shared.reports().add(PoolReport { elapsed_us, ..report }, began);
        self.shared.send_due();
    }

    fn run_chunk(&mut self, entry: &Entry, ticket: &PoolTicket) -> PoolReport {
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
        let mut on_start = |index: usize| {
            if notes_each && index > start {
                note(index, true);
            }
        };
        let mut done = 0;
        let mut stop = |result_bytes: usize| {
            done += 1;
            shared.position.advance() || done >= *left || result_bytes >= MAX_CHUNK_BYTES
        };
        let mut chunk = Chunk {
            args: &args,
            skip: start,
            len: ticket.count as usize,
            on_start: &mut on_start,
            stop: &mut stop,
            max_result_bytes: link.session.max_value_bytes(),
            timeout: (ticket.timeout_us > 0).then(|| Duration::from_micros(ticket.timeout_us)),
        };
        let _current = Current::enter(shared.pool.object().reference(), ticket.token);
        let (ran, refs) = codec::on_link(&link, || entry.run_chunk(&mut chunk));
        match ran {
            Ok(outcomes) => report_of(ticket, outcomes, refs),
            Err(error) => refused(ticket, TaskFailure::Undecodable { message: error.to_string() }),
        }
    }
}

impl Shared {
    /// Gives back what is in the line. The worker ends.
    fn give_back_all(&self) {
        let mut state = self.lock();
        self.give_back(&mut state);
    }
}

impl Reports {
    /// Takes note of what came of tasks that began then.
    fn add(&mut self, report: PoolReport, began: Instant) {
        self.since.get_or_insert(began);
        self.waiting.push(report);
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

fn report_of(
    ticket: &PoolTicket,
    outcomes: Outcomes,
    refs: Vec<mp_manager_proto::v1::Ref>,
) -> PoolReport {
    let done = outcomes.done - ticket.start as usize;
    let succeeded = done - outcomes.failures.len();
    let index = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    let results = (succeeded > 0).then(|| {
        let mut data = Vec::with_capacity(outcomes.results.len() + 5);
        data.push(0xdd);
        data.extend(index(succeeded).to_be_bytes());
        data.extend(&outcomes.results);
        Value { data: Bytes::from(data), refs }
    });
    let failures =
        outcomes.failures.into_iter().map(|(at, failure)| write_failure(index(at), failure));
    PoolReport {
        token: ticket.token,
        count: index(done),
        results,
        failures: failures.collect(),
        returns_rest: index(done) < ticket.count,
        ..PoolReport::default()
    }
}
