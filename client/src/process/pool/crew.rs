//! The workers that a program starts for its pool: one thread for each starts it, waits for its end, says how it
//! ended, and starts the next one.

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::ExitStatusExt,
    },
    path::PathBuf,
    process::ExitStatus,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use mp_manager_proto::v1::{PoolBury, PoolDeath, PoolNote};
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, eventfd, poll},
    process::{Pid, Signal, kill_process_group, pidfd_send_signal},
};
use tokio::sync::watch;

use crate::{
    error::{Error, Result},
    objects::{Manager, pool::SharedPool},
    process::{
        bootstrap::Role,
        control::FrameKind,
        log,
        outcome::Outcome,
        pool::work::Config,
        recorder::Recorder,
        spawn::{Child, Environment, Exec, Launch, Watcher, spawn_known},
    },
    session::fork::Home,
};

/// The pause after a worker that ended before it had worked; it doubles with each, and begins anew after a
/// worker that has, or lived for [`LONG`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_secs(10);
/// After so many starts that have failed, before any has not, the program is the wrong one.
const MAX_FAILED_STARTS: u32 = 3;
/// How long the manager may take to hear of the end of a worker that nobody wants any more.
const FAREWELL: Duration = Duration::from_secs(2);
/// A badge is that long, and random.
const BADGE_LEN: usize = 16;

/// Whether the next worker is announced to the pool.
enum Announced {
    /// With this badge.
    As(Bytes),
    /// The manager does not answer, and may be back in a while.
    NotYet,
    /// The pool is over.
    Never,
}

/// How the workers of a pool are started.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recipe {
    pub(crate) name: Option<String>,
    pub(crate) initializer: Option<(String, Vec<u8>)>,
    pub(crate) max_tasks: Option<u64>,
    pub(crate) environment: Environment,
    pub(crate) current_dir: Option<PathBuf>,
    pub(crate) prefixes_output: bool,
    /// The program of the workers, if it is not this one.
    pub(crate) exec: Option<Exec>,
    /// Each leads a process group of its own, which ends with it.
    pub(crate) leads_groups: bool,
    /// It ends when the first starts have failed, instead of trying for ever.
    pub(crate) gives_up: bool,
}

/// The workers of this program.
pub(crate) struct Crew {
    home: Home,
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) pool: SharedPool,
    pool_name: String,
    manager: Manager,
    recipe: Recipe,
    state: Arc<Mutex<State>>,
    changed: Arc<Condvar>,
    /// How many threads there are.
    threads: watch::Sender<usize>,
    /// It is to drain, whatever the manager says.
    draining: watch::Sender<bool>,
    /// Nothing is started any more.
    over: watch::Sender<bool>,
}

struct State {
    /// So many workers there are to be; those with higher numbers end.
    wanted: usize,
    /// The numbers that have a thread.
    staffed: Vec<usize>,
    /// Workers whose process exists, also before they have come to work.
    running: Vec<Running>,
    /// The number of workers that have no process yet.
    starting: usize,
    /// The number of starts in a row that have failed, and why the last one has.
    failed_starts: u32,
    trouble: String,
    /// One of them has come to work.
    has_worked: bool,
    /// The session in which a host guards them; any for those of no host.
    session: Option<u64>,
    /// Nothing is started for now.
    is_paused: bool,
    is_over: bool,
}

/// A worker's process.
#[derive(Clone)]
struct Running {
    number: usize,
    badge: Bytes,
    process: Arc<OwnedFd>,
    /// It has come to `init()`, and may have tasks in hand.
    has_arrived: bool,
    /// The process group that it leads. It exists as long as the process has not been waited for.
    group: Option<Pid>,
}

impl Running {
    fn kill(&self) {
        signal(&self.process, Signal::KILL);
        if let Some(group) = self.group {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Crew {
    pub(crate) fn start(
        manager: &Manager,
        pool: SharedPool,
        pool_name: String,
        recipe: Recipe,
        session: Option<u64>,
        count: usize,
    ) -> Result<Self> {
        let state = State {
            wanted: 0,
            staffed: Vec::new(),
            running: Vec::new(),
            starting: 0,
            failed_starts: 0,
            trouble: String::new(),
            has_worked: false,
            session,
            is_paused: false,
            is_over: false,
        };
        let shared = Shared {
            pool,
            pool_name,
            manager: manager.clone(),
            recipe,
            state: Arc::new(Mutex::new(state)),
            changed: Arc::new(Condvar::new()),
            threads: watch::Sender::new(0),
            draining: watch::Sender::new(false),
            over: watch::Sender::new(false),
        };
        let crew = Self { home: Home::here(), shared: Arc::new(shared) };
        crew.resize(count)?;
        Ok(crew)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Starts workers, or kills those that are too many.
    pub(crate) fn resize(&self, count: usize) -> Result<()> {
        if !self.home.is_here() {
            let message = "the workers belong to the process that this one is a fork of";
            return Err(Error::Configuration(message.into()));
        }
        let surplus = self.shared.staff(count)?;
        surplus.iter().for_each(Running::kill);
        Ok(())
    }

    pub(crate) fn count(&self) -> usize {
        self.shared.lock().wanted
    }

    /// The ids of the processes that run.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let pid = |process: &OwnedFd| {
            let info = std::fs::read_to_string(format!(
                "/proc/self/fdinfo/{}",
                std::os::fd::AsRawFd::as_raw_fd(process)
            ));
            let info = info.ok()?;
            let line = info.lines().find_map(|line| line.strip_prefix("Pid:"))?;
            line.trim().parse().ok()
        };
        self.shared.lock().running.iter().filter_map(|worker| pid(&worker.process)).collect()
    }

    /// Kills all workers, and starts no more. Those of a fork's parent are not the fork's.
    pub(crate) fn kill(&self) {
        if !self.home.is_here() {
            return;
        }
        self.shared.end();
    }

    /// Waits until all workers have ended, and no more are started.
    pub(crate) async fn ended(&self) {
        self.shared.have_left().await;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills all workers, and starts no more.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.is_over = true;
        state.running.iter().for_each(Running::kill);
        self.changed.notify_all();
        self.over.send_replace(true);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.lock().is_over
    }

    /// Waits until nothing is started any more.
    pub(crate) async fn over(&self) {
        let _ = self.over.subscribe().wait_for(|is_over| *is_over).await;
    }

    /// Waits until nobody keeps any worker.
    pub(crate) async fn have_left(&self) {
        let _ = self.threads.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Sees to it that there are so many workers. Returns those that run and are too many: they are not replaced.
    fn staff(self: &Arc<Self>, count: usize) -> Result<Vec<Running>> {
        let mut state = self.lock();
        state.wanted = count;
        for number in 1..=count {
            if state.staffed.contains(&number) {
                continue;
            }
            state.staffed.push(number);
            self.threads.send_modify(|count| *count += 1);
            let shared = Arc::clone(self);
            let keep = move || {
                // It may be wanted again as soon as it was not.
                while shared.keep_staffed(number) && !shared.leaves(number) {}
                shared.lock().staffed.retain(|other| *other != number);
                let threads = shared.threads.clone();
                // First: whoever waits for the threads may end the program, and the manager within it ends with
                // the last hold on it.
                drop(shared);
                threads.send_modify(|count| *count -= 1);
            };
            let started = thread::Builder::new().name("mp-manager-crew".into()).spawn(keep);
            if let Err(error) = started {
                state.staffed.retain(|other| *other != number);
                self.threads.send_modify(|count| *count -= 1);
                let message = format!("cannot start a thread: {error}");
                return Err(Error::Start { name: self.worker_name(number), message });
            }
        }
        self.changed.notify_all();
        Ok(state.running.iter().filter(|worker| worker.number > count).cloned().collect())
    }

    /// Has its workers finish what they have in hand, and leave, also without orders from the manager.
    pub(crate) fn drain(self: &Arc<Self>) {
        self.draining.send_replace(true);
        self.staff_gently(0);
    }

    /// Waits until it is to drain.
    pub(crate) async fn drains(&self) {
        let _ = self.draining.subscribe().wait_for(|drains| *drains).await;
    }

    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// As many workers as this, of which those that are too many finish what they have in hand.
    pub(crate) fn staff_gently(self: &Arc<Self>, count: usize) {
        let Ok(surplus) = self.staff(count) else { return };
        let (busy, starting): (Vec<_>, Vec<_>) =
            surplus.into_iter().partition(|worker| worker.has_arrived);
        starting.iter().for_each(Running::kill);
        // If the manager is gone, so is its session, and they end with that.
        busy.iter().for_each(|worker| self.pool.retire_unheard(&worker.badge));
    }

    /// Kills all workers, waits for their ends, and starts no others until it [goes on](Self::go_on): whether it had
    /// gone on until now.
    pub(crate) fn pause(&self) -> bool {
        let mut state = self.lock();
        let was_paused = std::mem::replace(&mut state.is_paused, true);
        state.running.iter().for_each(Running::kill);
        while !state.running.is_empty() || state.starting > 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        // Threads that wait for the end of the pause look whether their worker is still wanted.
        self.changed.notify_all();
        !was_paused
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.lock().is_paused
    }

    /// Starts workers again, of a host that attends in this session.
    pub(crate) fn go_on(&self, session: u64) {
        let mut state = self.lock();
        (state.session, state.is_paused) = (Some(session), false);
        drop(state);
        self.changed.notify_all();
    }

    fn worker_name(&self, number: usize) -> String {
        format!("{}-{number}", self.recipe.name.as_deref().unwrap_or("PoolWorker"))
    }

    /// Nobody of this number is wanted, and its thread ends.
    fn leaves(&self, number: usize) -> bool {
        let mut state = self.lock();
        let leaves = state.is_over || number > state.wanted;
        if leaves {
            state.staffed.retain(|other| *other != number);
            self.changed.notify_all();
        }
        leaves
    }

    /// Sees to it that there is a worker of this number as long as one is wanted: whether there may be one
    /// later.
    fn keep_staffed(self: &Arc<Self>, number: usize) -> bool {
        let mut pause = FIRST_PAUSE;
        let mut next = self.announce(number);
        while self.is_wanted(number) {
            if self.rest_while_paused(number) {
                // What was announced was to a session that may be over.
                next = self.announce(number);
                continue;
            }
            let began = Instant::now();
            let is_good = match &next {
                Announced::As(badge) => {
                    let (is_good, successor) = self.employ(number, badge);
                    next = successor;
                    is_good
                }
                Announced::NotYet => {
                    next = self.announce(number);
                    matches!(next, Announced::As(_))
                }
                Announced::Never => return false,
            };
            if is_good || began.elapsed() >= LONG {
                pause = FIRST_PAUSE;
            }
            if is_good {
                continue;
            }
            self.rest(pause);
            pause = LONGEST_PAUSE.min(pause * 2);
        }
        if let Announced::As(badge) = next {
            self.bury(number, PoolBury { badge, is_known: true, ..PoolBury::default() });
        }
        true
    }

    /// Tells the pool that a worker of this number is about to come.
    fn announce(self: &Arc<Self>, number: usize) -> Announced {
        let mut badge = [0; BADGE_LEN];
        if getrandom::fill(&mut badge).is_err() {
            return Announced::NotYet;
        }
        let badge = Bytes::copy_from_slice(&badge);
        // One that another session guards is of no host as long as that attends nowhere.
        let session = self.lock().session;
        let guard = async {
            match session {
                Some(session) => self.pool.guard_within(&badge, session).await,
                None => self.pool.guard(&badge).await,
            }
        };
        match self.drive((number, Duration::ZERO), guard) {
            Some(Ok(())) => Announced::As(badge),
            Some(Err(Error::PoolClosed(_) | Error::PoolBroken(_) | Error::ObjectNotFound(_))) => {
                Announced::Never
            }
            Some(Err(_)) => Announced::NotYet,
            None => {
                // The manager may have heard of it.
                self.pool.bury_unheard(PoolBury { badge, is_known: true, ..PoolBury::default() });
                Announced::NotYet
            }
        }
    }

    /// Drives a future to its end, unless no worker of this number is wanted any more: then for so long at most. A
    /// manager that does not answer holds nobody up who leaves.
    fn drive<T>(
        self: &Arc<Self>,
        (number, grace): (usize, Duration),
        future: impl Future<Output = T>,
    ) -> Option<T> {
        let alarm = Arc::new(Alarm {
            state: Arc::clone(&self.state),
            changed: Arc::clone(&self.changed),
            rings: AtomicBool::new(true),
        });
        let waker = Waker::from(Arc::clone(&alarm));
        let mut future = std::pin::pin!(future);
        let mut deadline = None;
        loop {
            if alarm.rings.swap(false, Ordering::AcqRel)
                && let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker))
            {
                return Some(output);
            }
            let state = self.lock();
            if alarm.rings.load(Ordering::Acquire) {
                continue;
            }
            if !state.is_over && number <= state.wanted {
                drop(self.changed.wait(state));
                continue;
            }
            let now = Instant::now();
            let left = deadline.get_or_insert(now + grace).saturating_duration_since(now);
            if left.is_zero() {
                return None;
            }
            drop(self.changed.wait_timeout(state, left));
        }
    }

    fn is_wanted(&self, number: usize) -> bool {
        let state = self.lock();
        !state.is_over && number <= state.wanted
    }

    /// Waits for so long, unless it is over, or was to drain and has left: whether neither is so.
    pub(crate) fn rest(&self, pause: Duration) -> bool {
        let (state, deadline) = (self.lock(), Instant::now() + pause);
        let mut state = state;
        let has_left = |state: &State| self.is_draining() && state.staffed.is_empty();
        while !state.is_over && !has_left(&state) {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return true };
            state =
                self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }

    /// Waits until workers may be started, or none of this number is wanted: whether it has waited.
    fn rest_while_paused(&self, number: usize) -> bool {
        let mut state = self.lock();
        let was_paused = state.is_paused;
        while state.is_paused && !state.is_over && number <= state.wanted {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        was_paused
    }

    /// One worker from its start to its end: whether the next one may start at once, and as what.
    ///
    /// The successor of one that has worked is announced before that is buried: those who are left never look
    /// like all there are.
    fn employ(self: &Arc<Self>, number: usize, badge: &Bytes) -> (bool, Announced) {
        self.lock().starting += 1;
        let mut birth = Birth { crew: self, number, badge, is_due: true };
        let recorder = Recorder::new();
        let started = recorder.map_err(|error| error.to_string()).and_then(|recorder| {
            let launch = self.launch(number, badge).map_err(|error| error.to_string())?;
            let child = spawn_known(launch, &mut birth).map_err(|error| error.to_string())?;
            let descriptors = [recorder.descriptor().as_fd()];
            // If it has gone already, its end says why.
            let _ = child.control.send_with(FrameKind::Pool, &[], &descriptors);
            Ok((recorder, child))
        });
        let (recorder, child) = match started {
            Ok(started) => started,
            Err(message) => {
                if birth.is_due {
                    self.lock().starting -= 1;
                    self.changed.notify_all();
                }
                let was_wanted = self.wants(number);
                let mut bury =
                    PoolBury { badge: badge.clone(), is_known: true, ..PoolBury::default() };
                // Otherwise this process has ended it.
                if was_wanted {
                    log::cannot_start(&self.worker_name(number), &message);
                    self.note_failed_start(&message);
                    (bury.death, bury.message) = (Some(PoolDeath::default()), message);
                }
                self.bury(number, bury);
                return (false, self.announce(number));
            }
        };
        let Child { pid, pidfd, control, mut process, output } = child;
        log::started(&self.worker_name(number), pid);
        self.note_arrival(badge);
        self.wait_for_end(badge, &pidfd);
        let was_wanted = self.wants(number);
        self.remove(badge);
        let status = process.wait();
        drop(control);
        let note = recorder.read().ok().filter(|note| note.ticket != 0);
        let note = note.map(|note| PoolNote {
            token: note.ticket,
            index: u32::try_from(note.index >> 1).unwrap_or(u32::MAX),
            is_exact: note.index & 1 == 1,
        });
        // One that has worked did not fail to start, however it ended.
        let is_good = note.is_some() || status.as_ref().is_ok_and(ExitStatus::success);
        let next = (is_good && self.is_wanted(number)).then(|| self.announce(number));
        let status = status.ok();
        let exit_code = status.and_then(|status| status.code().or(status.signal().map(|n| -n)));
        let how = Outcome::of(status, None);
        match was_wanted {
            true => log::ended(&self.worker_name(number), pid, &how),
            false => log::left(&self.worker_name(number), pid),
        }
        if is_good {
            self.lock().trouble.clear();
        } else if was_wanted {
            self.lock().trouble = format!("a worker {how} before it had a task");
        }
        let bury = PoolBury {
            badge: badge.clone(),
            death: Some(PoolDeath { exit_code, out_of_memory: false }),
            started: note,
            is_known: true,
            message: String::new(),
        };
        self.bury(number, bury);
        if let Some(output) = output {
            output.finish();
        }
        // After a start that failed the pool may be broken.
        (is_good, next.unwrap_or_else(|| self.announce(number)))
    }

    /// A worker is there.
    fn note_arrival(&self, badge: &Bytes) {
        let mut state = self.lock();
        (state.failed_starts, state.has_worked) = (0, true);
        if let Some(worker) = state.running.iter_mut().find(|worker| worker.badge == *badge) {
            worker.has_arrived = true;
        }
    }

    /// A worker has not come to `init()`. Where none ever has, the program is not one of ours.
    fn note_failed_start(&self, why: &str) {
        let mut state = self.lock();
        state.failed_starts += 1;
        state.trouble = why.to_owned();
        let gives_up = self.recipe.gives_up && state.failed_starts >= MAX_FAILED_STARTS;
        if gives_up && !state.has_worked {
            drop(state);
            self.end();
        }
    }

    /// Whether a worker of this number is to work now.
    fn wants(&self, number: usize) -> bool {
        let state = self.lock();
        !state.is_over && !state.is_paused && number <= state.wanted
    }

    /// The process of a worker has ended, and was not waited for. What it has started ends with it, as long as its
    /// group cannot be another one.
    fn remove(&self, badge: &Bytes) {
        let mut state = self.lock();
        let own = state.running.iter().position(|worker| worker.badge == *badge);
        if let Some(own) = own {
            state.running.swap_remove(own).kill();
        }
        self.changed.notify_all();
    }

    /// Why the last worker did not come to work; empty if the last one has.
    pub(crate) fn trouble(&self) -> String {
        self.lock().trouble.clone()
    }

    /// Why there are no workers, if none has ever come.
    pub(crate) fn gave_up(&self) -> Option<String> {
        let state = self.lock();
        let gave_up = self.recipe.gives_up && state.is_over && !state.has_worked;
        (gave_up && state.failed_starts >= MAX_FAILED_STARTS).then(|| state.trouble.clone())
    }

    /// Waits until a worker has ended. One whose session is over is ended: its tasks wait for its end, and it may be
    /// stopped, or hear of that late.
    fn wait_for_end(&self, badge: &Bytes, process: &OwnedFd) {
        let watch = async {
            if let Ok(true) = self.pool.watch(badge).await {
                signal(process, Signal::KILL);
            }
        };
        // If it cannot be watched it is only waited for.
        let _ = poll_until_ready(process, watch);
    }

    fn launch(&self, number: usize, badge: &Bytes) -> Result<Launch> {
        let config = Config {
            pool: self.pool_name.clone(),
            badge: badge.to_vec(),
            initializer: self.recipe.initializer.clone(),
            max_tasks: self.recipe.max_tasks,
        };
        let name = self.worker_name(number);
        let arguments = rmp_serde::to_vec(&config)
            .map_err(|error| Error::Start { name: name.clone(), message: error.to_string() })?;
        Ok(Launch {
            exec: self.recipe.exec.clone(),
            leads_group: self.recipe.leads_groups,
            name,
            daemon: true,
            environment: self.recipe.environment.clone(),
            current_dir: self.recipe.current_dir.clone(),
            role: Role::Worker,
            arguments,
            manager: self.manager.environment(),
            prefixes_output: self.recipe.prefixes_output,
        })
    }

    fn bury(self: &Arc<Self>, number: usize, bury: PoolBury) {
        // If the manager is gone, so is the pool.
        let _ = self.drive((number, FAREWELL), self.pool.bury(bury));
    }
}

/// Wakes a thread that waits for a change of the crew.
struct Alarm {
    /// Not the crew itself: whoever wakes it is a thread of the manager's, which may end with the last hold on that.
    state: Arc<Mutex<State>>,
    changed: Arc<Condvar>,
    rings: AtomicBool,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.rings.store(true, Ordering::Release);
        // A thread that waits has read the flag before the lock was free, or reads it after.
        drop(self.state.lock());
        self.changed.notify_all();
    }
}

/// The process of a worker, from when it is there until it is waited for.
struct Birth<'a> {
    crew: &'a Shared,
    number: usize,
    badge: &'a Bytes,
    is_due: bool,
}

impl Watcher for Birth<'_> {
    fn is_there(&mut self, pid: u32, process: &OwnedFd) {
        self.is_due = false;
        let mut state = self.crew.lock();
        state.starting -= 1;
        // Without descriptors left it is only waited for.
        if let Ok(process) = process.try_clone() {
            let leader = i32::try_from(pid).ok().and_then(Pid::from_raw);
            let worker = Running {
                number: self.number,
                badge: self.badge.clone(),
                process: Arc::new(process),
                has_arrived: false,
                group: leader.filter(|_| self.crew.recipe.leads_groups),
            };
            if state.is_over || state.is_paused || self.number > state.wanted {
                worker.kill();
            }
            state.running.push(worker);
        }
        self.crew.changed.notify_all();
    }

    fn ends(&mut self) {
        self.crew.remove(self.badge);
    }
}

/// Blocks until a descriptor is readable, and drives a future meanwhile.
fn poll_until_ready(descriptor: &OwnedFd, future: impl Future<Output = ()>) -> io::Result<()> {
    let bell = Arc::new(Bell(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?));
    let waker = Waker::from(Arc::clone(&bell));
    let mut future = Box::pin(future.fuse());
    loop {
        let _ = future.as_mut().poll(&mut Context::from_waker(&waker));
        let mut fds = [PollFd::new(descriptor, PollFlags::IN), PollFd::new(&bell.0, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
        if !fds[0].revents().is_empty() {
            return Ok(());
        }
        let _ = rustix::io::read(&bell.0, &mut [0; 8]);
    }
}

/// Wakes a thread that polls descriptors.
struct Bell(OwnedFd);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // It fails if it has rung so often that it is readable anyway.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

fn signal(process: &OwnedFd, signal: Signal) {
    // It fails if the process has ended, which is what is wanted.
    let _ = pidfd_send_signal(process, signal);
}
