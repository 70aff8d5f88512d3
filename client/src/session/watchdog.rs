//! Polls the task of a connection from a thread of its own while the task's runtime does not.
//!
//! A call, or a guard that is dropped, wakes that task. tokio puts a task that was woken where the same
//! thread runs it next and no other one looks for it, so that code that computes without awaiting would
//! keep what it has just given back.
//!
//! The thread that computes may also be the one that waited for sockets and timers, and no other thread of its
//! runtime takes its place before it has something to run. Then timers do not run, and no beat is sent: the watchdog
//! spawns an empty task.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError, Weak,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, task::JoinHandle};

use super::fork::Home;

/// A task that has been woken for one to two of these is polled here.
const INTERVAL: Duration = Duration::from_millis(5);
/// With many connections, looking at them takes no more than one part in so many of a processor's time,
const LARGEST_SHARE: u32 = 20;
/// as long as they are looked at this often.
const LONGEST_INTERVAL: Duration = Duration::from_millis(100);
/// A task whose timer is so late has a runtime whose timers do not run.
const LATE: Duration = Duration::from_millis(100);
/// Timers are looked at this often, as one may be set after the last look,
const LONGEST_NAP: Duration = Duration::from_secs(1);
/// and the thread ends when there has been no connection for so long.
const LONGEST_IDLE: Duration = Duration::from_secs(10);

/// A call has woken the task, which has not run since.
const WOKEN: u8 = 1;
/// That was so at the last look.
const OVERDUE: u8 = 1 << 1;
/// A call has woken the task since the last look.
const ACTIVE: u8 = 1 << 2;
/// The watchdog looks at it.
const LISTED: u8 = 1 << 3;

/// The task that runs a connection, as its session and the watchdog know it.
pub(crate) struct Watched {
    /// `None` when it has ended.
    connection: Mutex<Option<Connection>>,
    state: AtomicU8,
    /// When the task's timer is due, in milliseconds of the watchdog's clock.
    timer: AtomicU64,
    watchdog: Arc<Watchdog>,
}

/// No timer is set.
const NEVER: u64 = u64::MAX;

struct Connection {
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// The task's, once that was polled.
    task: Waker,
    runtime: Handle,
    /// The newest task that was spawned to wake a thread of the runtime.
    nudge: Option<JoinHandle<()>>,
}

/// The task itself.
struct Task(Arc<Watched>);

impl Watched {
    /// A connection that a task on the current runtime will run.
    pub(crate) fn new(future: impl Future<Output = ()> + Send + 'static) -> Arc<Self> {
        let connection = Connection {
            future: Box::pin(future),
            task: Waker::noop().clone(),
            runtime: Handle::current(),
            nudge: None,
        };
        Arc::new(Self {
            connection: Mutex::new(Some(connection)),
            state: AtomicU8::new(0),
            timer: AtomicU64::new(NEVER),
            watchdog: Watchdog::of_this_process(),
        })
    }

    /// Spawns the task.
    pub(crate) fn spawn(self: &Arc<Self>) -> JoinHandle<()> {
        self.watchdog.watch(self);
        self.note_wake();
        tokio::spawn(Task(Arc::clone(self)))
    }

    /// Notes that the task is about to be woken, by a caller that may not let it run.
    pub(crate) fn note_wake(self: &Arc<Self>) {
        let before = self.state.fetch_or(WOKEN | ACTIVE | LISTED, Ordering::AcqRel);
        if before & LISTED == 0 {
            self.watchdog.look_at(Arc::clone(self));
        }
    }

    /// Notes that the task's timer is due after `delay`.
    pub(crate) fn note_timer(&self, delay: Duration) {
        let at = self.watchdog.now().saturating_add(delay);
        self.timer.store(millis(at), Ordering::Relaxed);
    }

    /// Wakes another thread of the runtime if the timer is late; returns when it is due otherwise.
    fn look_at_timer(&self, now: Duration) -> u64 {
        let at = self.timer.load(Ordering::Relaxed);
        if at.saturating_add(millis(LATE)) > millis(now) {
            return at;
        }
        // Unless it has been set again meanwhile.
        let _ = self.timer.compare_exchange(at, NEVER, Ordering::Relaxed, Ordering::Relaxed);
        // One that is polled has no late timers.
        if let Ok(mut connection) = self.connection.try_lock()
            && let Some(running) = &mut *connection
        {
            running.nudge();
        }
        NEVER
    }

    /// Polls the connection if its task is overdue; whether to look again.
    fn look(&self) -> bool {
        let next = |state: u8| match state {
            _ if state & WOKEN != 0 => (state | OVERDUE) & !ACTIVE,
            _ if state & ACTIVE != 0 => state & !ACTIVE,
            _ => state & !LISTED,
        };
        let update = |state| Some(next(state));
        let updated = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, update);
        let (Ok(state) | Err(state)) = updated;
        if state & WOKEN != 0 && state & OVERDUE != 0 {
            return self.poll_for_task();
        }
        next(state) & LISTED != 0
    }

    /// Polls the connection on this thread, unless its task does; whether it goes on.
    fn poll_for_task(&self) -> bool {
        let mut connection = match self.connection.try_lock() {
            Ok(connection) => connection,
            Err(TryLockError::WouldBlock) => return true,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        };
        let Some(running) = &mut *connection else { return false };
        running.nudge();
        let (task, runtime) = (running.task.clone(), running.runtime.clone());
        let polled = {
            let _entered = runtime.enter();
            let cx = &mut Context::from_waker(&task);
            catch_unwind(AssertUnwindSafe(|| running.future.as_mut().poll(cx)))
        };
        // One that panicked cannot go on either.
        let goes_on = matches!(polled, Ok(Poll::Pending));
        let ended = if goes_on { None } else { connection.take() };
        drop(connection);
        drop(ended);
        // A task that was only late has nothing to do now, or finds the end.
        task.wake();
        goes_on
    }
}

impl Connection {
    /// Wakes another thread of the runtime, if there is one that waits.
    fn nudge(&mut self) {
        if self.nudge.as_ref().is_none_or(JoinHandle::is_finished) {
            self.nudge = Some(self.runtime.spawn(async {}));
        }
    }
}

impl Future for Task {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let watched = &self.0;
        // The watchdog has it for no longer than a poll takes.
        let mut connection = watched.connection.lock().unwrap_or_else(PoisonError::into_inner);
        watched.state.fetch_and(!(WOKEN | OVERDUE), Ordering::AcqRel);
        let Some(running) = &mut *connection else { return Poll::Ready(()) };
        if !running.task.will_wake(cx.waker()) {
            running.task.clone_from(cx.waker());
        }
        let polled = running.future.as_mut().poll(cx);
        if polled.is_ready() {
            *connection = None;
        }
        polled
    }
}

impl Drop for Task {
    /// The connection ends with its task, whoever else knows it.
    fn drop(&mut self) {
        let watched = &self.0;
        let Some(mut connection) = watched.watchdog.home.lock(&watched.connection) else { return };
        let ended = connection.take();
        drop(connection);
        drop(ended);
    }
}

/// The thread that looks after the connections of a process.
struct Watchdog {
    home: Home,
    began: Instant,
    new: Mutex<New>,
    changed: Condvar,
}

#[derive(Default)]
struct New {
    woken: Vec<Arc<Watched>>,
    connections: Vec<Weak<Watched>>,
    is_running: bool,
}

/// The connections that the thread looks at.
#[derive(Default)]
struct Known {
    /// Those that calls have woken and that may be overdue.
    woken: Vec<Arc<Watched>>,
    connections: Vec<Weak<Watched>>,
    /// When to look at their timers.
    next_look: Duration,
}

impl Watchdog {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            home: Home::here(),
            began: Instant::now(),
            new: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// In a fork each connection has its own: the thread of the parent's is not there.
    fn of_this_process() -> Arc<Self> {
        static FIRST: OnceLock<Arc<Watchdog>> = OnceLock::new();
        let first = FIRST.get_or_init(Self::new);
        if first.home.is_here() { Arc::clone(first) } else { Self::new() }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Looks after a connection from now on.
    fn watch(self: &Arc<Self>, watched: &Arc<Watched>) {
        self.tell(|new| new.connections.push(Arc::downgrade(watched)));
    }

    /// Looks at a connection soon.
    fn look_at(self: &Arc<Self>, watched: Arc<Watched>) {
        self.tell(|new| new.woken.push(watched));
    }

    fn tell(self: &Arc<Self>, news: impl FnOnce(&mut New)) {
        let Some(mut new) = self.home.lock(&self.new) else { return };
        news(&mut new);
        if !new.is_running {
            let watchdog = Arc::clone(self);
            let thread = thread::Builder::new().name("mp-manager-watchdog".into());
            // Without a thread a connection is as late as its runtime, and the next one tries again.
            new.is_running = thread.spawn(move || watchdog.run()).is_ok();
        }
        self.changed.notify_one();
    }

    fn run(&self) {
        let mut known = Known::default();
        while self.take_in(&mut known) {
            let began = self.now();
            known.woken.retain(|watched| watched.look());
            if known.next_look <= began {
                known.look_at_timers(began);
            }
            if !known.woken.is_empty() {
                let took = self.now().saturating_sub(began);
                thread::sleep((took * LARGEST_SHARE).clamp(INTERVAL, LONGEST_INTERVAL));
            }
        }
    }

    /// Takes in what is new, once there is something to do; whether there is a connection.
    fn take_in(&self, known: &mut Known) -> bool {
        let mut new = self.lock();
        if known.woken.is_empty() && new.woken.is_empty() {
            let left = known.next_look.saturating_sub(self.now());
            let longest = if known.connections.is_empty() { LONGEST_IDLE } else { left };
            let nothing = |new: &mut New| new.woken.is_empty() && new.connections.is_empty();
            let waited = self.changed.wait_timeout_while(new, longest, nothing);
            new = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        known.woken.append(&mut new.woken);
        known.connections.append(&mut new.connections);
        new.is_running = !(known.woken.is_empty() && known.connections.is_empty());
        new.is_running
    }

    fn lock(&self) -> MutexGuard<'_, New> {
        self.new.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Looks at the timers of all connections, and forgets those that are gone.
    fn look_at_timers(&mut self, now: Duration) {
        let mut next = NEVER;
        self.connections.retain(|connection| {
            let connection = connection.upgrade();
            let timer = connection.as_ref().map(|connection| connection.look_at_timer(now));
            next = next.min(timer.unwrap_or(NEVER));
            connection.is_some()
        });
        let next = Duration::from_millis(next).saturating_add(LATE);
        self.next_look = next.clamp(now + LATE, now + LONGEST_NAP);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(NEVER)
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, poll_fn},
        sync::mpsc,
    };

    use tokio::runtime::Builder;

    use super::*;

    /// Nothing here takes as long.
    const LONG: Duration = Duration::from_secs(60);

    fn spawn(
        connection: impl Future<Output = ()> + Send + 'static,
    ) -> (Arc<Watched>, JoinHandle<()>) {
        let watched = Watched::new(connection);
        let task = watched.spawn();
        (watched, task)
    }

    /// Says when it is dropped.
    struct Dropped(mpsc::Sender<()>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }

    #[test]
    fn a_connection_ends_with_its_task_whoever_watches_it() {
        let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let (ends, ended) = mpsc::channel();
        let ends = Dropped(ends);
        let connection = async move {
            let _ends = ends;
            pending().await
        };
        let watched = runtime.block_on(async { spawn(connection).0 });
        drop(runtime);
        assert_eq!(ended.try_recv(), Ok(()));
        assert!(!watched.poll_for_task());
    }

    #[test]
    fn a_connection_goes_on_while_its_runtime_does_not() {
        let runtime = Builder::new_current_thread().build().unwrap();
        let _entered = runtime.enter();
        let (polled, polls) = mpsc::channel();
        let (watched, _) = spawn(poll_fn(move |_| {
            let _ = polled.send(thread::current().name().map(String::from));
            Poll::<()>::Pending
        }));
        for _ in 0..3 {
            let thread = polls.recv_timeout(LONG).unwrap();
            assert_eq!(thread.as_deref(), Some("mp-manager-watchdog"));
        }
        assert!(watched.look());
    }

    #[test]
    fn a_connection_that_panics_while_its_runtime_does_nothing_is_dropped_and_ends_its_task() {
        let runtime = Builder::new_current_thread().build().unwrap();
        let (ends, ended) = mpsc::channel();
        let ends = Dropped(ends);
        let connection = async move {
            let _ends = ends;
            panic!("as the test wants it");
        };
        let (_, task) = runtime.block_on(async {
            let spawned = spawn(connection);
            ended.recv_timeout(LONG).unwrap();
            spawned
        });
        runtime.block_on(task).unwrap();
    }
}
