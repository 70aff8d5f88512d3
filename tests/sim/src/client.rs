//! A process that uses the manager: real proxies and calls, on a connection and a scheduler made by
//! hand.

use std::{
    cell::Cell,
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use mp_manager::{Manager, simulation::Wire};
use mp_manager_core::{Error, Reason};

use crate::{
    network::ConnectionId,
    world::{Micros, World},
};

/// What a process does at the same time as other things.
pub(crate) type Task = Pin<Box<dyn Future<Output = ()>>>;

/// A simulated process.
pub(crate) struct Process {
    pub(crate) wire: Wire,
    /// Dropped when every task has ended: the last one says goodbye.
    pub(crate) manager: Option<Manager>,
    tasks: Vec<Option<Task>>,
    ready: Arc<Mutex<Vec<usize>>>,
    pub(crate) phase: Phase,
    pub(crate) is_unix: bool,
    /// How long, at most, until its tasks run that can, and until what there is to say is said.
    pub(crate) slowness: (Micros, Micros),
    /// It does nothing until then.
    pub(crate) stopped_until: Micros,
    /// How often it was stopped; for its tasks.
    pub(crate) stops: Rc<Cell<u64>>,
    /// How many sessions it has had; for its tasks.
    pub(crate) sessions: Rc<Cell<u64>>,
    /// One of its tasks has ended the process.
    pub(crate) exits: Rc<Cell<bool>>,
    /// When it said the newest of what it knows the manager to have heard; and when it said what it
    /// does not know that of, frames and beats by their numbers.
    pub(crate) proven_at: Micros,
    pub(crate) frames_said: BTreeMap<u64, Micros>,
    pub(crate) beats_said: BTreeMap<u64, Micros>,
    pub(crate) has_lost_lease: bool,
    /// It will look whether to connect.
    pub(crate) is_connecting: bool,
    pub(crate) is_polled: bool,
    pub(crate) is_sending: bool,
    /// Counts what the next tick is for, so that an earlier one is not taken for it.
    pub(crate) ticks: u64,
    /// The same for calls that are due.
    pub(crate) expires_at: Option<Duration>,
    now: Box<dyn Fn() -> Duration>,
}

/// How far it has come with its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It will try to connect.
    Away,
    /// It has said hello, at that time of its own clock and of the simulation's.
    Greeting { connection: ConnectionId, asked: Duration, at: Micros },
    /// It is in.
    Connected { connection: ConnectionId, number: u64 },
    /// The task that ran its connection is gone, and it will notice.
    Abandoned,
    /// It has left, or was killed.
    Gone,
}

struct TaskWaker {
    task: usize,
    ready: Arc<Mutex<Vec<usize>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if !ready.contains(&self.task) {
            ready.push(self.task);
        }
    }
}

impl Process {
    pub(crate) fn new<E: 'static>(
        world: &World<E>,
        is_unix: bool,
        slowness: (Micros, Micros),
        reconnect_timeout: Micros,
    ) -> Self {
        let clock = Arc::new(world.clock());
        let shared = Arc::clone(&clock);
        let timeout = Duration::from_micros(reconnect_timeout);
        let (manager, wire) = Wire::new(move || shared(), is_unix, timeout);
        Self {
            wire,
            manager: Some(manager),
            tasks: Vec::new(),
            ready: Arc::default(),
            phase: Phase::Away,
            is_unix,
            slowness,
            stopped_until: 0,
            stops: Rc::default(),
            sessions: Rc::default(),
            exits: Rc::default(),
            proven_at: 0,
            frames_said: BTreeMap::new(),
            beats_said: BTreeMap::new(),
            has_lost_lease: false,
            is_connecting: false,
            is_polled: false,
            is_sending: false,
            ticks: 0,
            expires_at: None,
            now: Box::new(move || clock()),
        }
    }

    /// Its own time.
    pub(crate) fn now(&self) -> Duration {
        (self.now)()
    }

    pub(crate) fn spawn(&mut self, task: Task) {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).push(self.tasks.len());
        self.tasks.push(Some(task));
    }

    pub(crate) fn has_ready_tasks(&self) -> bool {
        !self.ready.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    pub(crate) fn unfinished(&self) -> usize {
        self.tasks.iter().flatten().count()
    }

    /// Lets every task go on that can, in any order.
    pub(crate) fn poll<E>(&mut self, world: &World<E>) {
        loop {
            let mut ready =
                std::mem::take(&mut *self.ready.lock().unwrap_or_else(PoisonError::into_inner));
            if ready.is_empty() {
                break;
            }
            while !ready.is_empty() {
                let next = usize::try_from(world.below(ready.len() as u64)).unwrap_or(0);
                self.poll_task(ready.swap_remove(next));
            }
        }
        if self.unfinished() == 0 {
            self.manager = None;
        }
    }

    fn poll_task(&mut self, task: usize) {
        let waker = Waker::from(Arc::new(TaskWaker { task, ready: Arc::clone(&self.ready) }));
        if let Some(slot) = self.tasks.get_mut(task)
            && let Some(future) = slot
            && future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
        {
            *slot = None;
        }
    }

    /// It is killed: nothing of it runs any more, not even what would be said at its end.
    pub(crate) fn kill(&mut self) {
        self.phase = Phase::Gone;
        self.tasks.clear();
        self.manager = None;
        let why = Error::new(Reason::SessionEnded, "killed");
        self.wire.end(why);
    }

    /// The manager has heard what was said at the time that `said` has under this number.
    pub(crate) fn prove(&mut self, said: fn(&mut Self) -> &mut BTreeMap<u64, Micros>, number: u64) {
        let later = said(self).split_off(&(number + 1));
        let heard = std::mem::replace(said(self), later);
        if let Some((_, at)) = heard.last_key_value() {
            self.proven_at = self.proven_at.max(*at);
        }
    }

    pub(crate) fn connection(&self) -> Option<ConnectionId> {
        match self.phase {
            Phase::Greeting { connection, .. } | Phase::Connected { connection, .. } => {
                Some(connection)
            }
            Phase::Away | Phase::Abandoned | Phase::Gone => None,
        }
    }
}

/// A moment to come; sleeping until then.
pub(crate) struct Sleep {
    alarm: Rc<Alarm>,
}

#[derive(Default)]
pub(crate) struct Alarm {
    rang: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Alarm {
    pub(crate) fn ring(&self) {
        self.rang.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Sleep {
    pub(crate) fn new(alarm: Rc<Alarm>) -> Self {
        Self { alarm }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.alarm.rang.get() {
            return Poll::Ready(());
        }
        self.alarm.waker.set(Some(cx.waker().clone()));
        Poll::Pending
    }
}
