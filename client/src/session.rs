//! A session as its client sees it: what is to be sent, what waits for a reply, what is held.
//!
//! [`Shared`] is the state machine; it does no I/O, and has the time from its [`Clock`] only. Two
//! things drive it: a stream that takes frames out ([`Outgoing`](crate::call::Outgoing)), and
//! whoever runs the connection: it puts the server's frames in, and says when there is a connection
//! and when there is none.
//!
//! ```text
//!                    ┌─────── connected ◄───────┐
//!   first connection │   (same session, resumed │
//!   ─────────────────┤    or a fresh one)       │──► over: said goodbye, or nobody there
//!                    └─► disconnected ──────────┘
//! ```
//!
//! A request stays here until its reply has arrived, so that it can be sent again on the next
//! connection of the same session. What is pending when the *session* is lost is never sent again
//! by itself: its callers are told.

mod calls;
mod grants;
mod lost;
mod refusals;
mod slot;
mod state;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::Waker,
    time::Duration,
};

use bytes::Bytes;
use mp_manager_proto::{
    frame::EncodedFrame,
    v1::{Challenge, Error as Refusal, Request, Resume, ServerFrame, Welcome, reply, request},
};
use tokio::sync::{Notify, watch};

pub(crate) use self::{
    calls::{Begun, Blocked},
    refusals::closed,
    state::State,
};
use self::{
    lost::{Afterwards, Lost},
    state::{Goodbye, Session},
};
use crate::{
    clock::Clock,
    grant::Loss,
    link::{Handle, Link},
};

/// Calls that cannot be sent yet, or not on a connection, have deadlines, too: how often to look.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

pub(crate) type Seq = u64;

/// The session's state.
pub(crate) struct Shared {
    state: Mutex<State>,
    clock: Clock,
    /// The manager of the current session; every start of one has a number of its own.
    server: AtomicU64,
    max_value_bytes: AtomicUsize,
    /// True once it is all over; for those who wait for it.
    over: watch::Sender<bool>,
    /// For whoever runs the connection: there is a goodbye to be said.
    pub(crate) leaving: Notify,
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
    pub(crate) fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::new()),
            clock,
            server: AtomicU64::new(0),
            max_value_bytes: AtomicUsize::new(usize::MAX),
            over: watch::Sender::new(false),
            leaving: Notify::new(),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
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

    /// Whether the manager, if it is gone, will not come back.
    pub(crate) fn is_ephemeral(&self) -> bool {
        self.lock().session.ephemeral
    }

    /// Completes when it is all over.
    pub(crate) async fn wait_until_over(&self) {
        // The sender lives as long as this does.
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }

    /// How to ask for the session again, if there was one; and its resume secret.
    pub(crate) fn resume(&self) -> Option<(Resume, Bytes)> {
        let state = self.lock();
        let Session { id, ref secret, epoch, .. } = state.session;
        (id > 0).then(|| (Resume { session: id, epoch }, secret.clone()))
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
        state.lease.begin(Duration::from_millis(welcome.lease_ms), asked);
        after.wakers.append(&mut state.regain_lease(self.now()));
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

    /// The connection is gone; what is pending waits for the next one.
    pub(crate) fn disconnected(&self) {
        let now = self.now();
        let mut state = self.lock();
        state.connection += 1;
        state.away_since.get_or_insert(now);
        // Its stream of frames ends.
        state.wake_sender();
    }

    /// What the time has come for while there is no connection: nobody waits for longer than they
    /// said, and a moment.
    pub(crate) fn wait_disconnected(&self) {
        let now = self.now();
        let mut state = self.lock();
        state.look_at_lease(now);
        let mut after = state.give_up_overdue(now);
        after.wakers.append(&mut state.unblock());
        drop(state);
        after.take_place();
    }

    /// What the time has come for on a connection.
    pub(crate) fn tick(&self) -> Tick {
        let now = self.now();
        let mut state = self.lock();
        state.look_at_lease(now);
        let beat = (now >= state.lease.next_beat_at()).then(|| {
            // The manager keeps replies until they are acknowledged: not for long after the last.
            state.acks_are_urgent = !state.acks.is_empty();
            if state.acks_are_urgent {
                state.wake_sender();
            }
            state.lease.beat_sent(now)
        });
        let stale_at = state.lease.stale_at();
        let mut next = state.lease.next_beat_at().min(stale_at).min(state.lease.lost_at());
        if !state.blocked.is_empty() {
            next = next.min(now.saturating_add(LOOK));
        }
        let blocked = state.unblock();
        drop(state);
        blocked.into_iter().for_each(Waker::wake);
        Tick { beat, stale: now >= stale_at, next }
    }

    /// The manager answered a beat; it has taken in our frames up to `frames`, too.
    pub(crate) fn beat_answered(&self, connection: u64, number: u64, frames: u64) {
        let mut state = self.lock();
        if state.connection != connection {
            return;
        }
        state.away_since = None;
        state.lease.beat_echoed(number);
        state.echoed(frames);
        let wakers = state.regain_lease(self.now());
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
        state.away_since = None;
        state.echoed(frame.echo);
        if state.lease_lost {
            after.wakers.append(&mut state.regain_lease(self.now()));
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
        let mut state = self.lock();
        if state.goodbye == Goodbye::No {
            state.goodbye = Goodbye::Due;
        }
        state.wake_sender();
        drop(state);
        self.leaving.notify_one();
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
