//! A session as its client sees it: what is to be sent, what waits for a reply, what is held.
//!
//! [`Shared`] is the state machine; it does no I/O, and has the time from its [`Clock`] only. Three
//! things drive it: a stream that takes frames out ([`Outgoing`](crate::call::Outgoing)); the task
//! that runs the connection, which puts the server's frames in, says when there is a connection and
//! when there is none, and asks what to do then ([`reconnect`]); and a [`Timer`], which ends calls
//! whose timeouts have passed.
//!
//! ```text
//!                    ┌─────── connected ◄───────┐
//!   first connection │   (same session, resumed │
//!   ─────────────────┤    or a fresh one)       │──► over: said goodbye, or no other is wanted
//!                    └─► disconnected ──────────┘
//! ```
//!
//! A request stays here until its reply has arrived, so that it can be sent again on the next
//! connection of the same session. What is pending when the *session* is lost is never sent again
//! by itself: its callers are told.

mod calls;
mod deadline;
mod grants;
mod lost;
mod open_calls;
mod reconnect;
mod refusals;
mod slot;
mod state;
#[cfg(test)]
mod tests;

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::Waker,
    time::Duration,
};

use bytes::Bytes;
use mp_manager_proto::{
    frame::EncodedFrame,
    v1::{
        Challenge, Error as Refusal, Reason, Request, Resume, ServerFrame, Welcome, reply, request,
    },
};
use tokio::sync::{Notify, watch};

pub(crate) use self::{
    calls::{Begun, Blocked},
    deadline::Deadline,
    reconnect::{Policy, Step},
    refusals::{closed, driver_ended},
    state::{Session, State},
};
use self::{
    lost::{Afterwards, Lost},
    reconnect::gave_up,
    refusals::forked,
    state::Goodbye,
};
use crate::{
    clock::Clock,
    fork::{Home, Look},
    grant::Loss,
    link::{Handle, Link},
    timer::Timer,
};

/// How often to look for calls whose timeouts have passed while there is no connection.
pub(crate) const LOOK: Duration = Duration::from_millis(100);
/// How long a goodbye may take to be heard.
const FAREWELL: Duration = Duration::from_secs(2);

pub(crate) type Seq = u64;

/// The session's state.
pub(crate) struct Shared {
    state: Mutex<State>,
    clock: Clock,
    /// The process that the connection belongs to.
    pub(crate) home: Home,
    look: Look,
    /// A simulation has none.
    timer: Option<Timer>,
    /// The manager of the current session; every start of one has a number of its own.
    server: AtomicU64,
    max_value_bytes: AtomicUsize,
    /// True once it is all over; for those who wait for it.
    over: watch::Sender<bool>,
    /// For the task that runs the connection: there is a goodbye to be said.
    pub(crate) leaving: Notify,
    /// And this: a call needs a connection, or a sign of life.
    pub(crate) wanted: Notify,
}

/// In which sessions a request means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// In every one.
    Any,
    /// As long as the manager has not started again: it is about an object of that one.
    Server(u64),
    /// In this one only: it is about something that the session holds.
    Session(u64),
}

impl Scope {
    /// Whether it means something in the next session, with the manager `server`.
    pub(super) fn fits(self, server: u64) -> bool {
        match self {
            Self::Any => true,
            Self::Server(this) => this == server,
            Self::Session(_) => false,
        }
    }
}

/// Why a call came to nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    Refused(Refusal),
    /// It was never sent: the manager has started again since the object was found.
    Stale(Box<Request>),
}

/// A reply, with a hold on every object it refers to.
pub(crate) struct Arrived {
    pub(crate) result: reply::Result,
    /// The session it came in.
    pub(crate) incarnation: u64,
    handles: Vec<Arc<Handle>>,
}

/// What whoever runs the connection has to do.
#[derive(Debug)]
pub(crate) struct Tick {
    /// Say this beat.
    pub(crate) beat: Option<u64>,
    /// Give the connection up: nothing is heard on it.
    pub(crate) stale: bool,
    /// When to ask again.
    pub(crate) next: Duration,
}

impl Shared {
    /// A session whose calls end in time by themselves.
    pub(crate) fn new(clock: Clock, policy: Policy) -> Arc<Self> {
        Arc::new_cyclic(|shared| Self {
            timer: Some(Timer::new(Weak::clone(shared))),
            ..Self::without_timer(clock, policy)
        })
    }

    /// A session whose calls end when [`expire_due`](Self::expire_due) is called.
    pub(crate) fn without_timer(clock: Clock, policy: Policy) -> Self {
        Self {
            state: Mutex::new(State::new(policy)),
            clock,
            home: Home::here(),
            look: Look::default(),
            timer: None,
            server: AtomicU64::new(0),
            max_value_bytes: AtomicUsize::new(usize::MAX),
            over: watch::Sender::new(false),
            leaving: Notify::new(),
            wanted: Notify::new(),
        }
    }

    /// For the process that the connection belongs to; another thread may not be there to unlock it
    /// in a fork.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// For callers, who may be in a fork of that process. A call that would be the first of a frame
    /// looks for certain, and others now and then.
    fn enter(&self) -> Result<MutexGuard<'_, State>, Failure> {
        let state = self.lock_at_home().ok_or_else(|| self.is_elsewhere())?;
        let is_here = if state.unsent.is_empty() {
            self.home.is_here()
        } else {
            self.look.is_here(self.home)
        };
        if is_here { Ok(state) } else { Err(self.is_elsewhere()) }
    }

    /// As [`enter`](Self::enter), but looks only now and then.
    fn enter_at_leisure(&self) -> Result<MutexGuard<'_, State>, Failure> {
        if !self.look.is_here(self.home) {
            return Err(self.is_elsewhere());
        }
        self.lock_at_home().ok_or_else(|| self.is_elsewhere())
    }

    /// The state, but for a fork in which nobody would ever unlock it.
    pub(crate) fn lock_at_home(&self) -> Option<MutexGuard<'_, State>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => self.home.is_here().then(|| self.lock()),
        }
    }

    fn is_elsewhere(&self) -> Failure {
        Failure::Refused(forked(self.home.pid()))
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
        (!self.home.is_here()).then(|| forked(self.home.pid()))
    }

    /// Completes when it is all over, which it is in a fork.
    pub(crate) async fn wait_until_over(&self) {
        if !self.home.is_here() {
            return;
        }
        // The sender lives as long as this does.
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }

    /// How to ask for the session again, if there was one; and its resume secret.
    pub(crate) fn resume(&self) -> Option<(Resume, Bytes)> {
        let state = self.lock();
        let Session { id, ref secret, epoch, .. } = state.session;
        (id > 0).then(|| (Resume { session: id, epoch }, secret.clone()))
    }

    /// The session, if the manager would wait for it until its lease is over.
    pub(crate) fn abandoned(&self) -> Option<Session> {
        let state = self.lock();
        let waits = state.over.is_none()
            && state.goodbye != Goodbye::Said
            && !state.policy.end_is_death
            && state.session.id > 0;
        waits.then(|| state.session.clone())
    }

    /// Goes on with the session of another one.
    pub(crate) fn take_over(&self, session: Session) {
        self.lock().session = session;
    }

    /// There is a connection, authenticated, with the session it was `asked` for, or with a new
    /// one: whether it is the same, and the connection's number.
    pub(crate) fn connected(
        &self,
        welcome: &Welcome,
        challenge: &Challenge,
        asked: Duration,
    ) -> (bool, u64) {
        let mut after = Afterwards::default();
        let mut state = self.lock();
        let resumed = welcome.resumed && welcome.session == state.session.id;
        if !resumed {
            let is_same = challenge.epoch == state.session.epoch;
            let why = if is_same { Lost::Session } else { Lost::Restart };
            after = state.lose_session(why, challenge.server_id);
        }
        state.session = Session {
            id: welcome.session,
            secret: welcome.resume_secret.clone(),
            epoch: challenge.epoch,
            limits: welcome.limits.unwrap_or_default(),
            ephemeral: welcome.ephemeral,
        };
        self.server.store(challenge.server_id, Ordering::Relaxed);
        let max_value_bytes = state.session.limits.max_value_bytes as usize;
        self.max_value_bytes.store(max_value_bytes, Ordering::Relaxed);
        let now = self.now();
        state.lease.begin(Duration::from_millis(welcome.lease_ms), asked, now);
        state.reconnect.connected();
        state.heard_at = now;
        after.wakers.append(&mut state.regain_lease(now));
        state.is_acquainted = true;
        state.connection += 1;
        state.frame_number = 0;
        if resumed {
            state.prepare_resumption();
        }
        let connection = state.connection;
        drop(state);
        after.take_place();
        (resumed, connection)
    }

    /// The connection is gone; what is pending waits for the next one. Where the manager takes that
    /// for this process' death, it gives to others what was held, which has to be known before.
    pub(crate) fn disconnected(&self, why: Refusal) {
        let now = self.now();
        let mut after = Afterwards::default();
        let mut state = self.lock();
        state.connection += 1;
        let patience = state.patience();
        state.reconnect.disconnected(now, patience);
        if state.policy.end_is_death {
            let message = format!("the session was lost with its connection: {}", why.message);
            let lost = Lost::Said(Refusal::new(Reason::SessionEnded, message));
            after = state.lose_session(lost, self.server());
        }
        state.gone = why;
        // Its stream of frames ends.
        state.wake_sender();
        let gives_up = state.policy.reconnect_timeout.is_zero();
        drop(state);
        after.take_place();
        if gives_up {
            self.give_up();
        }
    }

    /// The manager has ended the session; without another one it is all over.
    pub(crate) fn farewell(&self, why: Refusal) {
        let state = self.lock();
        let is_stopping = state.session.ephemeral && why.reason() == Reason::ShuttingDown;
        let may_go_on = state.policy.reopen && !is_stopping;
        drop(state);
        if may_go_on {
            self.session_ended(why.clone());
            self.disconnected(why);
        } else {
            self.end(why);
        }
    }

    /// The next step without a connection.
    pub(crate) fn step(&self) -> Step {
        // A fork would take the session away from the process that has it.
        if !self.home.is_here() {
            return Step::Over;
        }
        let state = self.lock();
        if state.over.is_some() { Step::Over } else { state.reconnect.step(self.now()) }
    }

    /// An attempt to connect came to nothing; another one may not. `jitter` is any number from 0 to 1.
    pub(crate) fn attempt_failed(&self, message: String, jitter: f64) {
        let now = self.now();
        let mut after = Afterwards::default();
        let mut state = self.lock();
        state.gone.message = message;
        let gives_up = state.reconnect.failed(now, jitter);
        state.expire_unreachable(now, &mut after);
        drop(state);
        after.take_place();
        if gives_up {
            self.give_up();
        }
    }

    /// The manager does not let us in, as long as nothing changes there or here.
    pub(crate) fn attempt_refused(&self, why: Refusal) {
        let now = self.now();
        let mut state = self.lock();
        if !state.policy.reopen {
            drop(state);
            return self.end(why);
        }
        let after = state.fail_all(&why, self.server());
        state.reconnect.refused(now);
        drop(state);
        after.take_place();
    }

    /// The time to connect again is over: calls fail, and later ones begin it anew.
    fn give_up(&self) {
        let mut state = self.lock();
        let why = gave_up(&state.gone, state.patience());
        if !state.policy.reopen {
            drop(state);
            let hint = "what the session held is released; connect again for a new one";
            return self.end(why.with_hint(hint));
        }
        let after = state.fail_all(&why, self.server());
        state.reconnect.give_up();
        drop(state);
        after.take_place();
    }

    /// Has a client that does not try to connect any more try again.
    fn want_connection(&self, state: &mut State) {
        if state.reconnect.is_idle() {
            let patience = state.patience();
            state.reconnect.wanted(self.now(), patience);
            self.wanted.notify_one();
        }
    }

    /// Has calls ended that are due at that time.
    fn wake_timer_at(&self, at: Option<Duration>) {
        if let (Some(at), Some(timer)) = (at, &self.timer) {
            timer.wake_at(at);
        }
    }

    /// Ends calls without an answer whose timeouts have passed, and says when the next one is due.
    pub(crate) fn expire_due(&self) -> Option<Duration> {
        let now = self.now();
        let mut after = Afterwards::default();
        let mut state = self.lock();
        while let Some(seq) = state.calls.pop_due(now) {
            state.expire(seq, now, &mut after);
        }
        let passed = |at: &Option<Duration>| at.is_some_and(|at| at <= now);
        let late = state.blocked.extract_if(.., |_, (_, at)| passed(at));
        after.wakers.extend(late.map(|(_, (waker, _))| waker));
        let blocked = state.blocked.values().filter_map(|(_, at)| *at).min();
        let next = [state.calls.next_due(), blocked].into_iter().flatten().min();
        let is_urgent = state.beat_is_urgent;
        drop(state);
        if is_urgent {
            self.wanted.notify_one();
        }
        after.take_place();
        next
    }

    /// When the next call ends by its own timeout, if no answer comes.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn next_due(&self) -> Option<Duration> {
        let state = self.lock();
        let blocked = state.blocked.values().filter_map(|(_, at)| *at).min();
        [state.calls.next_due(), blocked].into_iter().flatten().min()
    }

    /// How many calls have not ended.
    #[cfg(feature = "simulation")]
    pub(crate) fn open_calls(&self) -> usize {
        let state = self.lock();
        state.calls.len() + state.blocked.len()
    }

    /// Whether what is held is lost, as the manager was not heard for too long.
    #[cfg(feature = "simulation")]
    pub(crate) fn has_lost_lease(&self) -> bool {
        self.lock().lease_lost
    }

    /// Ends calls whose timeouts have passed while the manager is known not to be reachable.
    pub(crate) fn wait_disconnected(&self) {
        let now = self.now();
        let mut after = Afterwards::default();
        let mut state = self.lock();
        state.look_at_lease(now);
        state.expire_unreachable(now, &mut after);
        drop(state);
        after.take_place();
    }

    /// Runs the timers that are due on a connection.
    pub(crate) fn tick(&self) -> Tick {
        let now = self.now();
        let mut state = self.lock();
        state.look_at_lease(now);
        let is_due = now >= state.lease.next_beat_at() || mem::take(&mut state.beat_is_urgent);
        let beat = is_due.then(|| {
            // The manager keeps replies until they are acknowledged: not for long after the last.
            state.acks_are_urgent = !state.acks.is_empty();
            if state.acks_are_urgent {
                state.wake_sender();
            }
            state.lease.beat_sent(now)
        });
        let Policy { end_is_death, reconnect_timeout, .. } = state.policy;
        let stale_at = if end_is_death {
            state.lease.dead_at(reconnect_timeout)
        } else {
            state.lease.stale_at()
        };
        let farewell_at = state.goodbye_at.map(|at| at.saturating_add(FAREWELL));
        let stale_at = farewell_at.map_or(stale_at, |at| at.min(stale_at));
        let mut next = state.lease.next_beat_at().min(stale_at);
        if !state.lease_lost {
            next = next.min(state.lease.lost_at());
        }
        drop(state);
        Tick { beat, stale: now >= stale_at, next }
    }

    /// The manager answered a beat; it has taken in our frames up to `frames`, too.
    pub(crate) fn beat_answered(&self, connection: u64, number: u64, frames: u64) {
        let now = self.now();
        let mut state = self.lock();
        if state.connection != connection {
            return;
        }
        state.heard(now);
        state.lease.beat_echoed(number, now);
        state.echoed(frames);
        let wakers = state.regain_lease(now);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Takes in a frame of the manager's; its farewell, if it is one.
    pub(crate) fn receive(
        &self,
        link: &Weak<Link>,
        connection: u64,
        frame: ServerFrame,
    ) -> Option<Refusal> {
        let wakers = Vec::with_capacity(frame.replies.len());
        let mut after = Afterwards { wakers, unwanted: Vec::new() };
        let mut state = self.lock();
        if state.connection != connection {
            return None;
        }
        let now = self.now();
        state.heard(now);
        state.echoed(frame.echo);
        if state.lease_lost {
            after.wakers.append(&mut state.regain_lease(now));
        }
        for reply in frame.replies {
            if let Some(result) = reply.result {
                let (waker, unwanted) = state.reply(link, reply.seq, result);
                after.wakers.extend(waker);
                after.unwanted.extend(unwanted.map(|arrived| *arrived));
            }
        }
        for lost in frame.lost {
            state.losses += 1;
            state.lose(lost.object, lost.token);
        }
        if state.acks_are_worth_a_frame() {
            state.wake_sender();
        }
        after.wakers.append(&mut state.unblock());
        drop(state);
        after.take_place();
        frame.ended
    }

    /// The manager has ended the session, and there may be another one.
    pub(crate) fn session_ended(&self, why: Refusal) {
        let mut state = self.lock();
        let after = state.lose_session(Lost::Said(why), self.server());
        drop(state);
        after.take_place();
    }

    /// It is all over: whoever waits is told why, and every grant is lost.
    pub(crate) fn end(&self, why: Refusal) {
        let mut state = self.lock();
        if state.over.is_some() {
            return;
        }
        let mut after = state.lose_session(Lost::Said(why.clone()), 0);
        state.fail_the_rest(&why, &mut after);
        state.over = Some(why);
        state.connection += 1;
        after.wakers.append(&mut state.unblock());
        after.wakers.extend(state.sender.take());
        drop(state);
        self.over.send_replace(true);
        after.take_place();
    }

    /// Says goodbye: nothing can be asked any more.
    pub(crate) fn say_goodbye(&self) {
        let now = self.now();
        let Some(mut state) = self.lock_at_home() else { return };
        if state.goodbye == Goodbye::No {
            state.goodbye = Goodbye::Due;
            state.goodbye_at = Some(now);
        }
        state.wake_sender();
        drop(state);
        self.leaving.notify_one();
        self.wanted.notify_one();
    }

    /// Whether nobody wants the session any more.
    pub(crate) fn is_leaving(&self) -> bool {
        self.lock().goodbye != Goodbye::No
    }

    /// The next frame for this connection, if there is something to say; `None` ends its stream.
    pub(crate) fn poll_frame(
        &self,
        connection: u64,
        waker: &Waker,
    ) -> Option<Option<EncodedFrame>> {
        // A fork says nothing on the connection of the process that has it.
        if !self.home.is_here() {
            return None;
        }
        let mut state = self.lock();
        if state.connection != connection || state.goodbye == Goodbye::Said {
            return None;
        }
        if state.has_something_to_say() {
            let now = self.now();
            return Some(Some(state.next_frame(now)));
        }
        if !state.sender.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.sender = Some(waker.clone());
        }
        Some(None)
    }
}

/// Whether that was news.
pub(crate) fn lose(note: &watch::Sender<Option<Loss>>, loss: Loss) -> bool {
    note.send_if_modified(|known| {
        let is_news = known.is_none();
        known.get_or_insert(loss);
        is_news
    })
}

/// A request that gives something back: it never waits.
pub(crate) fn told(object: u64, op: request::Op) -> Request {
    Request { object, timeout_us: Some(0), op: Some(op), ..Request::default() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
