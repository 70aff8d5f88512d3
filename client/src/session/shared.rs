//! The machine of a session, as threads and tasks share it.
//!
//! [`Shared`] has what the [`Machine`] has not: the lock, the clock, what wakes tasks, and the look
//! whether this process is the one that connected. Three things drive it: a stream that takes frames
//! out ([`Outgoing`](super::call::Outgoing)); the task that runs the connection, which puts the
//! server's frames in, says when there is a connection and when there is none, and asks what to do
//! then; and a [`Timer`], which ends calls whose timeouts have passed.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Poll, Waker, ready},
    time::Duration,
};

use bytes::Bytes;
use mp_manager_proto::{
    frame::EncodedFrame,
    v1::{Challenge, Error as Refusal, Ref, Request, Resume, ServerFrame, Welcome, request},
};
use tokio::sync::{Notify, watch};

use super::{
    clock::Clock,
    fork::{Home, Look},
    timer::{Expire, Timer},
    watchdog::Watched,
    watcher::Watcher,
};
use crate::protocol::{
    Abandoned, Answered, Arrived, Begun, Connected, Counted, Effects, Failure, GrantId,
    LossListener, Machine, NewCall, Noted, Policy, Polled, Scope, Seq, Step, Tick,
};

/// A session, shared by its proxies and the task that runs its connection. `H` is a hold on an object
/// that a reply refers to.
pub(crate) struct Shared<H> {
    locked: Mutex<Locked<H>>,
    clock: Clock,
    /// The process that the connection belongs to.
    pub(crate) home: Home,
    look: Look,
    /// A simulation has none.
    timer: Option<Timer>,
    /// The task that runs the connection. A simulation has none.
    task: OnceLock<Arc<Watched>>,
    /// The machine's, for those who need nothing else of it.
    server: AtomicU64,
    max_value_bytes: AtomicUsize,
    /// True once it is all over; for those who wait for it.
    over: watch::Sender<bool>,
    /// For the task that runs the connection: there is a goodbye to be said.
    pub(crate) leaving: Notify,
    /// And this: a call needs a connection, or a sign of life.
    pub(crate) wanted: Notify,
}

struct Locked<H> {
    machine: Machine<H>,
    /// Those of the current step. They are here because most steps have none, and making and dropping
    /// them would be a good part of what such a step takes.
    effects: Effects<H>,
}

impl<H: Counted + Send + 'static> Shared<H> {
    /// A session whose calls end in time by themselves.
    pub(crate) fn new(clock: Clock, policy: Policy) -> Arc<Self> {
        Arc::new_cyclic(|shared: &Weak<Self>| {
            let timer = Timer::new(Weak::<Self>::clone(shared));
            Self { timer: Some(timer), ..Self::without_timer(clock, policy) }
        })
    }
}

impl<H: Counted> Shared<H> {
    /// A session whose calls end when [`expire_due`](Expire::expire_due) is called.
    pub(crate) fn without_timer(clock: Clock, policy: Policy) -> Self {
        let (machine, effects) = (Machine::new(policy), Effects::default());
        Self {
            locked: Mutex::new(Locked { machine, effects }),
            clock,
            home: Home::here(),
            look: Look::default(),
            timer: None,
            task: OnceLock::new(),
            server: AtomicU64::new(0),
            max_value_bytes: AtomicUsize::new(usize::MAX),
            over: watch::Sender::new(false),
            leaving: Notify::new(),
            wanted: Notify::new(),
        }
    }

    /// For the process that the connection belongs to; another thread may not be there to unlock it
    /// in a fork.
    fn lock(&self) -> MutexGuard<'_, Locked<H>> {
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For callers, who may be in a fork of that process. A call that would be the first of a frame
    /// looks for certain, and others now and then.
    fn enter(&self) -> Result<MutexGuard<'_, Locked<H>>, Failure> {
        let locked = self.home.lock(&self.locked).ok_or_else(|| self.is_elsewhere())?;
        let is_here = if locked.machine.has_unsent() {
            self.look.is_here(self.home)
        } else {
            self.home.is_here()
        };
        if is_here { Ok(locked) } else { Err(self.is_elsewhere()) }
    }

    /// As [`enter`](Self::enter), but looks only now and then.
    fn enter_at_leisure(&self) -> Result<MutexGuard<'_, Locked<H>>, Failure> {
        if !self.look.is_here(self.home) {
            return Err(self.is_elsewhere());
        }
        self.home.lock(&self.locked).ok_or_else(|| self.is_elsewhere())
    }

    fn is_elsewhere(&self) -> Failure {
        Failure::Refused(self.home.refusal())
    }

    /// One step of the machine, with its effects.
    #[inline]
    fn step_machine<R>(
        &self,
        mut locked: MutexGuard<'_, Locked<H>>,
        step: impl FnOnce(&mut Machine<H>, &mut Effects<H>) -> R,
    ) -> R {
        let Locked { machine, effects, .. } = &mut *locked;
        let result = step(machine, effects);
        if effects.are_none() {
            return result;
        }
        // Under the lock: whoever looks at a guard next must find what the machine has acted upon.
        for (guard, loss) in &locked.effects.losses {
            guard.lose(*loss);
        }
        let effects = mem::take(&mut locked.effects);
        drop(locked);
        self.perform(effects);
        result
    }

    /// What is done without the lock: whoever is woken, or dropped, may take it.
    fn perform(&self, effects: Effects<H>) {
        let Effects { losses: _, sender, callers, unwanted, wants_connection, due, is_over } =
            effects;
        drop(unwanted);
        if wants_connection {
            self.wanted.notify_one();
        }
        if is_over {
            self.over.send_replace(true);
        }
        if let Some(waker) = sender {
            if let Some(task) = self.task.get() {
                task.note_wake();
            }
            waker.wake();
        }
        callers.into_iter().for_each(Waker::wake);
        if let (Some(at), Some(timer)) = (due, &self.timer) {
            timer.wake_at(at);
        }
    }

    /// Notes the task that runs the connection, so that the watchdog hears of each wake.
    pub(crate) fn watch(&self, task: Arc<Watched>) {
        let _ = self.task.set(task);
    }

    pub(crate) fn now(&self) -> Duration {
        self.clock.now()
    }

    pub(crate) fn server(&self) -> u64 {
        self.server.load(Ordering::Relaxed)
    }

    pub(crate) fn max_value_bytes(&self) -> usize {
        self.max_value_bytes.load(Ordering::Relaxed)
    }

    /// Why nothing can be asked here, if this is a fork of the process that connected.
    pub(crate) fn elsewhere(&self) -> Option<Refusal> {
        (!self.home.is_here()).then(|| self.home.refusal())
    }

    /// Completes when it is all over, which it is in a fork.
    pub(crate) async fn wait_until_over(&self) {
        if !self.home.is_here() {
            return;
        }
        // The sender lives as long as this does.
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }

    /// Takes a request up, to be sent.
    pub(crate) fn begin(&self, call: NewCall, waker: &Waker) -> Begun {
        // Looked at without the lock, as far as it is known that it is needed.
        let now = call.deadline.map(|_| self.now());
        let locked = match self.enter() {
            Ok(locked) => locked,
            Err(failure) => return Begun::Failed(failure),
        };
        self.step_machine(locked, |machine, effects| {
            let needs_time = machine.needs_time(&call.request, call.deadline);
            let now = now.or_else(|| needs_time.then(|| self.now()));
            machine.begin(call, now, waker, effects)
        })
    }

    /// Takes up a request that gives something back, here and now.
    pub(crate) fn give_back(&self, request: Request, scope: Scope) -> Result<Seq, Failure> {
        self.step_machine(self.enter()?, |machine, effects| {
            let now = machine.needs_time(&request, None).then(|| self.now());
            machine.give_back(request, scope, now, effects)
        })
    }

    /// Takes up a request that gives something back, and whose reply nobody waits for.
    pub(crate) fn send_detached(&self, request: Request, scope: Scope) {
        let Ok(locked) = self.enter() else { return };
        self.step_machine(locked, |machine, effects| {
            machine.send_detached(request, scope, effects);
        });
    }

    /// The reply to a call, once it is there.
    pub(crate) fn poll_reply(&self, seq: Seq, waker: &Waker) -> Poll<Result<Arrived<H>, Failure>> {
        let locked = match self.enter_at_leisure() {
            Ok(locked) => locked,
            Err(failure) => return Poll::Ready(Err(failure)),
        };
        let answered = self.step_machine(locked, |machine, effects| {
            match machine.poll_reply(seq, waker, effects) {
                Polled::Pending => Poll::Pending,
                Polled::HandsOver => machine.hand_over(seq, waker, self.now(), effects),
                Polled::Ready(answered) => Poll::Ready(answered),
            }
        });
        answered.map(Answered::into_result)
    }

    /// The caller of `seq` has gone.
    pub(crate) fn cancel(&self, seq: Seq) {
        let Ok(locked) = self.enter_at_leisure() else { return };
        // A reply's handles drive the machine when they go.
        drop(self.step_machine(locked, |machine, effects| machine.cancel(seq, effects)));
    }

    /// The caller of `seq` has gone, which changes nothing but that nobody waits for the reply.
    pub(crate) fn detach(&self, seq: Seq) {
        let Ok(locked) = self.enter_at_leisure() else { return };
        drop(self.step_machine(locked, |machine, _| machine.detach(seq)));
    }

    /// Notes a grant of session `incarnation`, so that `watcher` is told of its loss; `release` gives
    /// it back by its token.
    pub(crate) fn note_grant(
        &self,
        incarnation: u64,
        grant: GrantId,
        release: fn(u64) -> request::Op,
        watcher: &Arc<Watcher>,
    ) {
        let now = self.now();
        self.step_machine(self.lock(), |machine, effects| {
            let guard = watcher.guard();
            match machine.note_grant(incarnation, grant, guard, release, now, effects) {
                Noted::Held => {}
                Noted::Lost(why) => watcher.lose(why),
            }
        });
    }

    /// Whether a grant of session `incarnation` that has no guard is known to be lost.
    #[cfg(feature = "process")]
    pub(crate) fn is_lost(&self, incarnation: u64, grant: GrantId) -> bool {
        self.lock().machine.is_lost(incarnation, grant)
    }

    /// A grant of this session was taken away by this session.
    pub(crate) fn lose_grant(&self, grant: GrantId) {
        self.step_machine(self.lock(), |machine, effects| machine.lose_grant(grant, effects));
    }

    /// The guard of a grant is gone.
    pub(crate) fn forget_grant(&self, grant: GrantId, watcher: &Watcher) {
        if let Some(mut locked) = self.home.lock(&self.locked) {
            locked.machine.forget_grant(grant, watcher);
        }
    }

    /// Looks whether the lease has run out: whoever asks whether something is lost must know now,
    /// not when a timer comes round to it.
    pub(crate) fn look_at_lease(&self) {
        let now = self.now();
        if let Some(locked) = self.home.lock(&self.locked) {
            self.step_machine(locked, |machine, effects| machine.look_at_lease(now, effects));
        }
    }

    /// How to ask for the session again, if there was one; and its resume secret.
    pub(crate) fn resume(&self) -> Option<(Resume, Bytes)> {
        self.lock().machine.resume()
    }

    /// The session, if the manager may wait for it until its lease is over, and the calls that nobody waits for any
    /// more.
    pub(crate) fn abandoned(&self) -> Option<Abandoned> {
        self.lock().machine.abandoned()
    }

    /// Goes on with the session of another one, and cancels its calls.
    pub(crate) fn take_over(&self, abandoned: Abandoned) {
        self.lock().machine.take_over(abandoned);
    }

    /// There is a connection, authenticated, with the session that was asked for at `asked`, or with a
    /// new one.
    pub(crate) fn connected(
        &self,
        welcome: &Welcome,
        challenge: &Challenge,
        asked: Duration,
    ) -> Connected {
        self.step_machine(self.lock(), |machine, effects| {
            let connected = machine.connected(welcome, challenge, asked, self.now(), effects);
            // Under the lock, in the order in which managers come.
            self.server.store(machine.server(), Ordering::Relaxed);
            self.max_value_bytes.store(machine.max_value_bytes(), Ordering::Relaxed);
            connected
        })
    }

    /// The connection is gone; what is pending waits for the next one.
    pub(crate) fn disconnected(&self, why: Refusal) {
        let now = self.now();
        self.step_machine(self.lock(), |machine, effects| {
            machine.disconnected(why, now, effects);
        });
    }

    /// The manager has ended the session; without another one it is all over.
    pub(crate) fn farewell(&self, why: Refusal) {
        let now = self.now();
        self.step_machine(self.lock(), |machine, effects| machine.farewell(why, now, effects));
    }

    /// The next step without a connection.
    pub(crate) fn next_step(&self) -> Step {
        // A fork would take the session away from the process that has it.
        if !self.home.is_here() {
            return Step::Over;
        }
        self.lock().machine.step(self.now())
    }

    /// How long an attempt to connect may take.
    pub(crate) fn time_left(&self) -> Duration {
        self.lock().machine.time_left(self.now())
    }

    /// An attempt to connect came to nothing; another one may not. `jitter` is any number from 0 to 1.
    pub(crate) fn attempt_failed(&self, message: String, jitter: f64) {
        let now = self.now();
        self.step_machine(self.lock(), |machine, effects| {
            machine.attempt_failed(message, jitter, now, effects);
        });
    }

    /// The manager does not let us in, as long as nothing changes there or here.
    pub(crate) fn attempt_refused(&self, why: Refusal) {
        let now = self.now();
        self.step_machine(self.lock(), |machine, effects| {
            machine.attempt_refused(why, now, effects);
        });
    }

    /// Ends calls whose timeouts have passed while the manager is known not to be reachable.
    pub(crate) fn wait_disconnected(&self) {
        let now = self.now();
        self.step_machine(self.lock(), |machine, effects| {
            machine.wait_disconnected(now, effects);
        });
    }

    /// Runs the timers that are due on a connection.
    pub(crate) fn tick(&self) -> Tick {
        let now = self.now();
        let tick = self.step_machine(self.lock(), |machine, effects| machine.tick(now, effects));
        if let Some(task) = self.task.get() {
            task.note_timer(tick.next.saturating_sub(now));
        }
        tick
    }

    /// The manager answered a beat; it has taken in our frames up to `frames`, too.
    pub(crate) fn beat_answered(&self, connection: u64, number: u64, frames: u64) {
        let now = self.now();
        self.step_machine(self.lock(), |machine, effects| {
            machine.beat_answered(connection, number, frames, now, effects);
        });
    }

    /// Takes in a frame of the manager's; its farewell, if it is one. `hold` takes hold of an object
    /// that a reply refers to, under the lock.
    pub(crate) fn receive(
        &self,
        connection: u64,
        frame: ServerFrame,
        hold: impl FnMut(Ref) -> Option<H>,
    ) -> Option<Refusal> {
        self.step_machine(self.lock(), |machine, effects| {
            effects.callers.reserve(frame.replies.len());
            machine.receive(connection, frame, self.now(), hold, effects)
        })
    }

    /// It is all over: every call fails with `why`, and every grant is lost.
    pub(crate) fn end(&self, why: Refusal) {
        self.step_machine(self.lock(), |machine, effects| machine.end(why, effects));
    }

    /// Says goodbye: nothing can be asked any more.
    pub(crate) fn say_goodbye(&self) {
        let now = self.now();
        let Some(locked) = self.home.lock(&self.locked) else { return };
        self.step_machine(locked, |machine, effects| machine.say_goodbye(now, effects));
        self.leaving.notify_one();
        self.wanted.notify_one();
    }

    /// Whether nobody wants the session any more.
    pub(crate) fn is_leaving(&self) -> bool {
        self.lock().machine.is_leaving()
    }

    /// The next frame for this connection, when there is something to say; `None` ends its stream.
    pub(crate) fn poll_frame(&self, connection: u64, waker: &Waker) -> Poll<Option<EncodedFrame>> {
        let Some(mut locked) = self.home.lock(&self.locked) else { return Poll::Ready(None) };
        let is_there = ready!(locked.machine.poll_frame(connection, waker));
        // A fork says nothing on the connection of the process that has it.
        let is_there = is_there.filter(|()| self.home.is_here());
        Poll::Ready(is_there.map(|()| locked.machine.next_frame(self.now())))
    }

    /// When the next call ends by its own timeout, if no answer comes.
    #[cfg(feature = "simulation")]
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.lock().machine.next_due()
    }

    /// How many calls have not ended.
    #[cfg(feature = "simulation")]
    pub(crate) fn open_calls(&self) -> usize {
        self.lock().machine.open_calls()
    }

    /// Which session this is, of all that it has had.
    #[cfg(feature = "simulation")]
    pub(crate) fn incarnation(&self) -> u64 {
        self.lock().machine.incarnation()
    }

    /// Whether what is held is lost, as the manager was not heard for too long.
    #[cfg(any(feature = "process", feature = "simulation"))]
    pub(crate) fn has_lost_lease(&self) -> bool {
        self.lock().machine.has_lost_lease()
    }

    /// The lease runs out, whatever the time is. Who hears of the manager has it again.
    #[cfg(test)]
    pub(crate) fn run_out_of_lease(&self) {
        self.step_machine(self.lock(), |machine, effects| {
            machine.look_at_lease(Duration::MAX, effects);
        });
    }
}

impl<H: Counted + Send> Expire for Shared<H> {
    fn now(&self) -> Duration {
        self.now()
    }

    fn expire_due(&self) -> Option<Duration> {
        let now = self.now();
        self.step_machine(self.lock(), |machine, effects| machine.expire_due(now, effects))
    }
}
