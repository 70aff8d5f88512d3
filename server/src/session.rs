//! One client's session.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, Weak},
    task::Waker,
};

use mp_manager_core::{
    Answer, Error, ObjectId, Outbox, Pin, Seq, SessionId, session::Cancelled, v1::Process,
};
use mp_manager_proto::v1::{Reply, ServerFrame};
use tokio::time::Instant;

use crate::{
    lock,
    store::{Cell, Store},
};

/// A session: what it has touched, under the session's lock, and what it has to say, under a lock
/// of its own that is a leaf.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) process: Process,
    pub(crate) peer: String,
    /// The session's lock: held while a frame is processed, and while it ends.
    pub(crate) state: Mutex<SessionState>,
    outbound: Mutex<Outbound>,
}

#[derive(Debug, Default)]
pub(crate) struct SessionState {
    pub(crate) ended: bool,
    /// The highest seq seen.
    pub(crate) high: Seq,
    /// Objects that may hold something of this session; added before an operation is applied.
    touched: BTreeMap<ObjectId, Weak<Cell>>,
    tidy_touched_at: usize,
}

#[derive(Debug, Default)]
struct Outbound {
    outbox: Outbox<Parked>,
    waker: Option<Waker>,
}

/// What a session's limits are about; looked at once for each request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Requests without a final word.
    pub(crate) open: usize,
    /// Calls that wait inside objects.
    pub(crate) parked: usize,
    /// What its replies weigh that are still to be sent, about.
    pub(crate) unsent_bytes: usize,
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
    pub(crate) fn new(id: SessionId, process: Process, peer: String) -> Self {
        Self { id, process, peer, state: Mutex::default(), outbound: Mutex::default() }
    }

    /// Parks a call. The object's lock is held, so that no answer can come first.
    pub(crate) fn park(&self, seq: Seq, parked: Parked) {
        lock(&self.outbound).outbox.park(seq, parked);
    }

    /// Replies to a call of the frame that is being processed: its stream looks at the outbox next.
    pub(crate) fn reply(
        &self,
        seq: Seq,
        result: Result<Answer, Error>,
        object: impl FnOnce() -> Parked,
    ) {
        lock(&self.outbound).outbox.reply(seq, result, object);
    }

    /// Replies with something that hands nothing over.
    pub(crate) fn conclude(&self, seq: Seq, result: Result<Answer, Error>) {
        lock(&self.outbound).outbox.conclude(seq, result);
    }

    /// Replies to a parked call; the deadline it had comes back.
    pub(crate) fn deliver(&self, seq: Seq, result: Result<Answer, Error>) -> Option<Instant> {
        let mut outbound = lock(&self.outbound);
        let deadline = outbound.outbox.object(seq).and_then(|parked| parked.deadline);
        if outbound.outbox.deliver(seq, result) {
            outbound.wake();
        }
        deadline
    }

    /// Tells the client that a grant of its is gone.
    pub(crate) fn lose(&self, object: ObjectId, token: u64) {
        let mut outbound = lock(&self.outbound);
        outbound.outbox.lose(object, token);
        outbound.wake();
    }

    pub(crate) fn acknowledge(&self, first: Seq, last: Seq) -> Vec<(Seq, Parked)> {
        lock(&self.outbound).outbox.acknowledge(first, last)
    }

    pub(crate) fn cancel(&self, seq: Seq) -> Cancelled<Parked> {
        lock(&self.outbound).outbox.cancel(seq)
    }

    pub(crate) fn release(&self, object: ObjectId, count: u64) {
        let pin = lock(&self.outbound).outbox.release(object, count);
        drop(pin);
    }

    /// How much of the session is undecided and unsent.
    pub(crate) fn load(&self) -> Load {
        let outbox = &lock(&self.outbound).outbox;
        Load { open: outbox.open(), parked: outbox.parked(), unsent_bytes: outbox.unsent_bytes() }
    }

    pub(crate) fn references(&self) -> usize {
        lock(&self.outbound).outbox.references()
    }

    /// From now on, `waker` is woken when there is something to say.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut outbound = lock(&self.outbound);
        if !outbound.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            outbound.waker = Some(waker.clone());
        }
    }

    /// What there is to say, if anything.
    pub(crate) fn take_frame(&self, echo: u64, max_bytes: usize) -> Option<ServerFrame> {
        let mut outbound = lock(&self.outbound);
        if !outbound.outbox.has_news() {
            return None;
        }
        let mut replies: Vec<Reply> = Vec::new();
        outbound.outbox.take_replies(&mut replies, max_bytes);
        if outbound.outbox.has_news() {
            // What did not fit goes into the next frame.
            outbound.wake();
        }
        let lost = outbound.outbox.take_lost();
        let ended = outbound.outbox.take_farewell();
        Some(ServerFrame { echo, replies, lost, ended })
    }

    pub(crate) fn has_ended(&self) -> bool {
        lock(&self.outbound).outbox.has_ended()
    }

    /// Ends the session: parked calls go, unacknowledged ownership goes back, everything held is
    /// released. `why` is said to the client, if it still listens.
    pub(crate) fn end(&self, store: &Store, why: Option<Error>) {
        let mut state = lock(&self.state);
        if std::mem::replace(&mut state.ended, true) {
            return;
        }
        let pins: Vec<Pin> = {
            let mut outbound = lock(&self.outbound);
            let pins = outbound.outbox.end(why);
            outbound.wake();
            pins
        };
        for cell in std::mem::take(&mut state.touched).into_values() {
            if let Some(cell) = cell.upgrade() {
                store.end_session(&cell, self.id);
            }
        }
        drop(state);
        store.sessions.remove(&self.id);
        drop(pins);
        tracing::debug!(session = self.id, peer = self.peer, "session ended");
    }
}

impl Outbound {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
