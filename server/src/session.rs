//! One client's session.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, Weak},
    task::Waker,
    time::Duration,
};

use bytes::Bytes;
use mp_manager_core::{
    Answer, CallId, Error, ObjectId, Outbox, Pin, Reason, Seq, SessionId,
    outbox::Settled,
    session::{self, Generation, Load, Settle},
    v1::{Process, ServerFrame},
};
use tokio::time::Instant;

use crate::{
    lock,
    store::{Cell, Store},
};

/// A session: what was read and what it has touched, under the session's lock, and what it has to
/// say, under a lock of its own that is a leaf.
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) process: Process,
    /// Who has it may resume the session.
    pub(crate) resume_secret: Bytes,
    /// The session's lock: held while a frame is processed, and while it is resumed or ends.
    pub(crate) state: Mutex<SessionState>,
    outbound: Mutex<Outbound>,
}

/// A connection's place in a session.
#[derive(Clone)]
pub(crate) struct Seat {
    pub(crate) session: Arc<Session>,
    /// Until the session is resumed elsewhere.
    pub(crate) generation: Generation,
}

pub(crate) struct SessionState {
    pub(crate) machine: session::Session,
    /// Objects that may hold something of this session; added before an operation is applied.
    touched: BTreeMap<ObjectId, Weak<Cell>>,
    tidy_touched_at: usize,
}

struct Outbound {
    outbox: Outbox<Parked>,
    /// Who it is for, to people.
    peer: Arc<str>,
    /// The current connection's `Session` stream.
    stream: Option<Waker>,
    /// The current connection's `KeepAlive` stream.
    beats: Option<Waker>,
}

/// Where a call is parked, and until when.
#[derive(Debug, Clone)]
pub(crate) struct Parked {
    pub(crate) cell: Arc<Cell>,
    pub(crate) deadline: Option<Instant>,
}

impl SessionState {
    pub(crate) fn touch(&mut self, cell: &Arc<Cell>) {
        if self.touched.contains_key(&cell.id) {
            return;
        }
        if self.touched.len() >= self.tidy_touched_at {
            self.touched.retain(|_, cell| cell.strong_count() > 0);
            self.tidy_touched_at = 64 + 2 * self.touched.len();
        }
        self.touched.insert(cell.id, Arc::downgrade(cell));
    }
}

impl Session {
    pub(crate) fn new(
        machine: session::Session,
        process: Process,
        peer: &str,
        resume_secret: Bytes,
    ) -> Self {
        let id = machine.id();
        let touched = BTreeMap::new();
        let (outbox, peer) = (Outbox::default(), peer.into());
        Self {
            id,
            process,
            resume_secret,
            state: Mutex::new(SessionState { machine, touched, tidy_touched_at: 0 }),
            outbound: Mutex::new(Outbound { outbox, peer, stream: None, beats: None }),
        }
    }

    /// Resumes it on a new connection, whose seat comes back with the session's lease: the streams
    /// of the older one end. `None` if it has ended.
    pub(crate) fn resume(self: &Arc<Self>, peer: &str, now: Duration) -> Option<(Seat, Duration)> {
        let mut state = lock(&self.state);
        let generation = state.machine.attach(now)?;
        let mut outbound = lock(&self.outbound);
        outbound.outbox.attach(generation);
        outbound.peer = peer.into();
        outbound.wake_all();
        Some((Seat { session: Arc::clone(self), generation }, state.machine.lease()))
    }

    /// Where its client is, to people.
    pub(crate) fn peer(&self) -> Arc<str> {
        Arc::clone(&lock(&self.outbound).peer)
    }

    /// Takes note of a sign of life, and says which frame was the last; `None` if it is not the
    /// current connection's.
    pub(crate) fn heard(&self, generation: Generation, now: Duration) -> Option<u64> {
        let machine = &mut lock(&self.state).machine;
        machine.heard(generation, now).then(|| machine.last_frame())
    }

    /// When its lease ends; `None` if it has ended.
    pub(crate) fn lease_end(&self) -> Option<Duration> {
        let machine = &lock(&self.state).machine;
        (!machine.has_ended()).then(|| machine.lease_end())
    }

    /// Parks a call. The object's lock is held, so that no answer can come first.
    pub(crate) fn park(&self, seq: Seq, parked: Parked) {
        lock(&self.outbound).outbox.park(seq, parked);
    }

    /// Notes a call whose object is busy and answers it soon. The object's lock is held as for
    /// [`park`](Self::park).
    pub(crate) fn set_aside(&self, seq: Seq, parked: Parked) {
        lock(&self.outbound).outbox.set_aside(seq, parked);
    }

    /// Replies to a call of the frame that is being processed: its stream looks at the outbox next.
    pub(crate) fn reply(
        &self,
        seq: Seq,
        result: Result<Answer, Error>,
        object: impl FnOnce() -> Parked,
    ) {
        let pins = lock(&self.outbound).outbox.reply(seq, result, object);
        drop(pins);
    }

    /// Replies with something that hands nothing over.
    pub(crate) fn conclude(&self, seq: Seq, result: Result<Answer, Error>) {
        let pins = lock(&self.outbound).outbox.conclude(seq, result);
        drop(pins);
    }

    /// Replies to a parked call; the deadline it had comes back.
    pub(crate) fn deliver(&self, seq: Seq, result: Result<Answer, Error>) -> Option<Instant> {
        let mut outbound = lock(&self.outbound);
        let deadline = outbound.outbox.object(seq).and_then(|parked| parked.deadline);
        let delivered = outbound.outbox.deliver(seq, result);
        if delivered.is_ok() {
            outbound.wake();
        }
        drop(outbound);
        drop(delivered);
        deadline
    }

    /// Tells the client that a grant of its is gone.
    pub(crate) fn lose(&self, object: ObjectId, token: u64) {
        let mut outbound = lock(&self.outbound);
        outbound.outbox.lose(object, token);
        outbound.wake();
    }

    /// Takes note of what a frame says of earlier requests.
    pub(crate) fn settle(&self, settle: Settle) -> (Settled<Parked>, Result<(), Error>) {
        lock(&self.outbound).outbox.settle(settle)
    }

    /// What goes when the client lets go of references, to be dropped outside all locks.
    pub(crate) fn release(&self, object: ObjectId, count: u64) -> Option<Pin> {
        lock(&self.outbound).outbox.release(object, count)
    }

    /// How much of the session is undecided and unsent.
    pub(crate) fn load(&self) -> Load {
        lock(&self.outbound).outbox.load()
    }

    pub(crate) fn references(&self) -> usize {
        lock(&self.outbound).outbox.references()
    }

    /// From now on, `waker` is woken when there is something to say. False if another connection's
    /// stream speaks for the session now.
    pub(crate) fn register(&self, generation: Generation, waker: &Waker) -> bool {
        let mut outbound = lock(&self.outbound);
        let is_current = outbound.outbox.is_current(generation);
        if is_current {
            register(&mut outbound.stream, waker);
        }
        is_current
    }

    /// From now on, `waker` is woken when the session ends or is resumed elsewhere. False if it has
    /// been.
    pub(crate) fn register_beats(&self, generation: Generation, waker: &Waker) -> bool {
        let mut outbound = lock(&self.outbound);
        let outbox = &outbound.outbox;
        let is_current = outbox.is_current(generation) && !outbox.has_ended();
        if is_current {
            register(&mut outbound.beats, waker);
        }
        is_current
    }

    /// Has its streams look at what has arrived.
    pub(crate) fn wake(&self) {
        lock(&self.outbound).wake_all();
    }

    /// What the stream of this generation has to say, if anything.
    pub(crate) fn take_frame(
        &self,
        generation: Generation,
        echo: u64,
        max_bytes: usize,
    ) -> Option<ServerFrame> {
        let mut outbound = lock(&self.outbound);
        let frame = outbound.outbox.take_frame(generation, echo, max_bytes)?;
        if outbound.outbox.has_news(generation) {
            // What did not fit goes into the next frame.
            outbound.wake();
        }
        Some(frame)
    }

    /// Whether the stream of this generation has nothing more to say, ever.
    pub(crate) fn is_over(&self, generation: Generation) -> bool {
        let outbox = &lock(&self.outbound).outbox;
        outbox.has_ended() || !outbox.is_current(generation)
    }

    /// Ends the session: parked calls go, unacknowledged ownership goes back, everything held is
    /// released. `why` is said to the client, if it still listens.
    pub(crate) fn end(&self, store: &Store, why: Option<Error>) -> bool {
        self.end_when(store, |_| Some(why))
    }

    /// As [`end`](Self::end), unless it has been resumed since.
    pub(crate) fn end_current(
        &self,
        store: &Store,
        generation: Generation,
        why: Option<Error>,
    ) -> bool {
        self.end_when(store, |machine| machine.is_current(generation).then_some(why))
    }

    /// Ends the session if its lease is over.
    pub(crate) fn end_for_silence(&self, store: &Store, now: Duration) -> bool {
        self.end_when(store, |machine| {
            (machine.lease_end() <= now).then(|| {
                let (silence, lease) = (machine.silence(now), machine.lease());
                let message =
                    format!("nothing was heard for {silence:.1?}; the lease is {lease:?}");
                let (session, peer) = (self.id, self.peer());
                tracing::info!(session, %peer, "session ended: {message}");
                Some(Error::new(Reason::SessionEnded, message))
            })
        })
    }

    /// `when` says whether to, and what to say, with the session's lock held.
    fn end_when(
        &self,
        store: &Store,
        when: impl FnOnce(&session::Session) -> Option<Option<Error>>,
    ) -> bool {
        let mut state = lock(&self.state);
        if state.machine.has_ended() {
            return false;
        }
        let Some(why) = when(&state.machine) else { return false };
        state.machine.end();
        let remains = {
            let mut outbound = lock(&self.outbound);
            let remains = outbound.outbox.end(why);
            for (seq, parked) in remains.parked() {
                if let Some(deadline) = parked.deadline {
                    store.timers.remove(deadline, CallId { session: self.id, seq });
                }
            }
            outbound.wake_all();
            remains
        };
        for cell in std::mem::take(&mut state.touched).into_values() {
            if let Some(cell) = cell.upgrade() {
                store.end_session(&cell, self.id);
            }
        }
        drop(state);
        store.sessions.remove(&self.id);
        store.leases.forget(self.id);
        drop(remains);
        tracing::debug!(session = self.id, peer = %self.peer(), "session ended");
        true
    }
}

impl Outbound {
    fn wake(&mut self) {
        if let Some(waker) = self.stream.take() {
            waker.wake();
        }
    }

    fn wake_all(&mut self) {
        self.wake();
        if let Some(waker) = self.beats.take() {
            waker.wake();
        }
    }
}

fn register(known: &mut Option<Waker>, waker: &Waker) {
    if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
        *known = Some(waker.clone());
    }
}
