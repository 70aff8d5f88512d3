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
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use mp_manager_proto::v1::{PoolBury, PoolDeath, PoolNote};
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, eventfd, poll},
    process::{Signal, pidfd_send_signal},
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
        spawn::{Child, Environment, Launch, spawn},
    },
    session::fork::Home,
};

/// The pause after a worker that ended before it had worked; it doubles with each, and begins anew after a
/// worker that has, or lived for [`LONG`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_secs(10);
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
pub(super) struct Recipe {
    pub(super) name: Option<String>,
    pub(super) initializer: Option<(String, Vec<u8>)>,
    pub(super) max_tasks: Option<u64>,
    pub(super) environment: Environment,
    pub(super) current_dir: Option<PathBuf>,
    pub(super) prefixes_output: bool,
}

/// The workers of this program.
pub(super) struct Crew {
    home: Home,
    shared: Arc<Shared>,
}

struct Shared {
    pool: SharedPool,
    pool_name: String,
    manager: Manager,
    recipe: Recipe,
    state: Mutex<State>,
    changed: Condvar,
    /// How many threads there are.
    threads: watch::Sender<usize>,
}

struct State {
    /// So many workers there are to be; those with higher numbers end.
    wanted: usize,
    /// The numbers that have a thread.
    staffed: Vec<usize>,
    /// The processes that run, by their number.
    running: Vec<(usize, Arc<OwnedFd>)>,
    is_over: bool,
}

impl Crew {
    pub(super) fn start(
        manager: &Manager,
        pool: SharedPool,
        pool_name: String,
        recipe: Recipe,
        count: usize,
    ) -> Result<Self> {
        let state = State { wanted: 0, staffed: Vec::new(), running: Vec::new(), is_over: false };
        let shared = Shared {
            pool,
            pool_name,
            manager: manager.clone(),
            recipe,
            state: Mutex::new(state),
            changed: Condvar::new(),
            threads: watch::Sender::new(0),
        };
        let crew = Self { home: Home::here(), shared: Arc::new(shared) };
        crew.resize(count)?;
        Ok(crew)
    }

    /// Starts workers, or ends those that are too many once they have nothing to do.
    pub(super) fn resize(&self, count: usize) -> Result<()> {
        if !self.home.is_here() {
            let message = "the workers belong to the process that this one is a fork of";
            return Err(Error::Configuration(message.into()));
        }
        let mut state = self.shared.lock();
        state.wanted = count;
        for number in 1..=count {
            if state.staffed.contains(&number) {
                continue;
            }
            state.staffed.push(number);
            self.shared.threads.send_modify(|count| *count += 1);
            let shared = Arc::clone(&self.shared);
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
                self.shared.threads.send_modify(|count| *count -= 1);
                let message = format!("cannot start a thread: {error}");
                return Err(Error::Start { name: self.shared.worker_name(number), message });
            }
        }
        for (_, process) in state.running.iter().filter(|(number, _)| *number > count) {
            signal(process, Signal::KILL);
        }
        self.shared.changed.notify_all();
        Ok(())
    }

    pub(super) fn count(&self) -> usize {
        self.shared.lock().wanted
    }

    /// The ids of the processes that run.
    pub(super) fn pids(&self) -> Vec<u32> {
        let pid = |process: &OwnedFd| {
            let info = std::fs::read_to_string(format!(
                "/proc/self/fdinfo/{}",
                std::os::fd::AsRawFd::as_raw_fd(process)
            ));
            let info = info.ok()?;
            let line = info.lines().find_map(|line| line.strip_prefix("Pid:"))?;
            line.trim().parse().ok()
        };
        self.shared.lock().running.iter().filter_map(|(_, process)| pid(process)).collect()
    }

    /// Kills all workers, and starts no more. Those of a fork's parent are not the fork's.
    pub(super) fn kill(&self) {
        if !self.home.is_here() {
            return;
        }
        let mut state = self.shared.lock();
        state.is_over = true;
        for (_, process) in &state.running {
            signal(process, Signal::KILL);
        }
        self.shared.changed.notify_all();
    }

    /// Waits until all workers have ended, and no more are started.
    pub(super) async fn ended(&self) {
        let _ = self.shared.threads.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        }
        leaves
    }

    /// Sees to it that there is a worker of this number as long as one is wanted: whether there may be one
    /// later.
    fn keep_staffed(&self, number: usize) -> bool {
        let mut pause = FIRST_PAUSE;
        let mut next = self.announce();
        while self.is_wanted(number) {
            let began = Instant::now();
            let is_good = match &next {
                Announced::As(badge) => {
                    let (is_good, successor) = self.employ(number, badge);
                    next = successor;
                    is_good
                }
                Announced::NotYet => {
                    next = self.announce();
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
            self.bury(PoolBury { badge, is_known: true, ..PoolBury::default() });
        }
        true
    }

    /// Tells the pool that a worker is about to come.
    fn announce(&self) -> Announced {
        let mut badge = [0; BADGE_LEN];
        if getrandom::fill(&mut badge).is_err() {
            return Announced::NotYet;
        }
        let badge = Bytes::copy_from_slice(&badge);
        match pollster::block_on(self.pool.guard(&badge)) {
            Ok(()) => Announced::As(badge),
            Err(Error::PoolClosed(_) | Error::PoolBroken(_) | Error::ObjectNotFound(_)) => {
                Announced::Never
            }
            Err(_) => Announced::NotYet,
        }
    }

    fn is_wanted(&self, number: usize) -> bool {
        let state = self.lock();
        !state.is_over && number <= state.wanted
    }

    fn rest(&self, pause: Duration) {
        let (state, deadline) = (self.lock(), Instant::now() + pause);
        let mut state = state;
        while !state.is_over {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return };
            state =
                self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// One worker from its start to its end: whether the next one may start at once, and as what.
    ///
    /// The successor of one that has worked is announced before that is buried: those who are left never look
    /// like all there are.
    fn employ(&self, number: usize, badge: &Bytes) -> (bool, Announced) {
        let recorder = Recorder::new();
        let started = recorder.map_err(|error| error.to_string()).and_then(|recorder| {
            let child = self.launch(number, badge).map_err(|error| error.to_string())?;
            let descriptors = [recorder.descriptor().as_fd()];
            // If it has gone already, its end says why.
            let _ = child.control.send_with(FrameKind::Pool, &[], &descriptors);
            Ok((recorder, child))
        });
        let (recorder, child) = match started {
            Ok(started) => started,
            Err(message) => {
                let death = Some(PoolDeath::default());
                let badge = badge.clone();
                self.bury(PoolBury {
                    badge,
                    death,
                    is_known: true,
                    message,
                    ..PoolBury::default()
                });
                return (false, self.announce());
            }
        };
        let Child { pid, pidfd, control, mut process, output } = child;
        log::started(&self.worker_name(number), pid);
        let process_fd = Arc::new(pidfd);
        let is_over = {
            let mut state = self.lock();
            state.running.push((number, Arc::clone(&process_fd)));
            state.is_over || number > state.wanted
        };
        if is_over {
            signal(&process_fd, Signal::KILL);
        }
        self.wait_for_end(badge, &process_fd);
        let status = process.wait();
        self.lock().running.retain(|(_, other)| !Arc::ptr_eq(other, &process_fd));
        drop(control);
        let note = recorder.read().ok().filter(|note| note.ticket != 0);
        let note = note.map(|note| PoolNote {
            token: note.ticket,
            index: u32::try_from(note.index >> 1).unwrap_or(u32::MAX),
            is_exact: note.index & 1 == 1,
        });
        // One that has worked did not fail to start, however it ended.
        let is_good = note.is_some() || status.as_ref().is_ok_and(ExitStatus::success);
        let next = (is_good && self.is_wanted(number)).then(|| self.announce());
        let status = status.ok();
        let exit_code = status.and_then(|status| status.code().or(status.signal().map(|n| -n)));
        if let Some(status) = status {
            log::ended(&self.worker_name(number), pid, &Outcome::of(Some(status), None));
        }
        self.bury(PoolBury {
            badge: badge.clone(),
            death: Some(PoolDeath { exit_code, out_of_memory: false }),
            started: note,
            is_known: true,
            message: String::new(),
        });
        if let Some(output) = output {
            output.finish();
        }
        // After a start that failed the pool may be broken.
        (is_good, next.unwrap_or_else(|| self.announce()))
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

    fn launch(&self, number: usize, badge: &Bytes) -> Result<Child> {
        let config = Config {
            pool: self.pool_name.clone(),
            badge: badge.to_vec(),
            initializer: self.recipe.initializer.clone(),
            max_tasks: self.recipe.max_tasks,
        };
        let name = self.worker_name(number);
        let arguments = rmp_serde::to_vec(&config)
            .map_err(|error| Error::Start { name: name.clone(), message: error.to_string() })?;
        spawn(Launch {
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

    fn bury(&self, bury: PoolBury) {
        // If the manager is gone, so is the pool.
        let _ = pollster::block_on(self.pool.bury(bury));
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
