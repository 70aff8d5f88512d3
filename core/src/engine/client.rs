//! A session and what is known of its client.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, TryLockError, Weak},
    task::Waker,
    time::Duration,
};

use bytes::Bytes;
use mp_manager_proto::v1::{Process, ServerFrame};

use super::{
    books::{Account, Books},
    cell::Cell,
};
use crate::{
    Error,
    call::{Answer, ObjectId, Seq, SessionId},
    lock::lock,
    memory::tree,
    outbox::{Outbox, Remains, Settled},
    pulse::{Generation, Pulse},
    session::{Load, Session, Settle},
    stored::Pin,
};

/// A session and its client: what was read and which objects it has touched, under the session's lock,
/// and what it has to say, under a lock of its own that is a leaf.
pub struct Client {
    id: SessionId,
    process: Process,
    resume_secret: Bytes,
    lease: Duration,
    pulse: Arc<Pulse>,
    state: Mutex<ClientState>,
    outbound: Mutex<Outbound>,
    books: Arc<Books>,
}

/// What the session's lock guards. It is held while a frame is processed or a request started, with the
/// steps that follow from it, and while the session is resumed or ends.
pub struct ClientState {
    pub(super) session: Session,
    /// Objects that may hold something of this session; added before an operation is applied.
    pub(super) touched: BTreeMap<ObjectId, Weak<Cell>>,
    tidy_touched_at: usize,
}

struct Outbound {
    outbox: Outbox<Parked>,
    /// The session's memory when nothing is open.
    own_bytes: usize,
    /// Objects that the session has touched.
    touched: usize,
    account: Account,
    /// Who it is for, to people.
    peer: Arc<str>,
    /// The current connection's `Session` stream.
    stream: Option<Waker>,
    /// The current connection's `KeepAlive` stream.
    beats: Option<Waker>,
}

/// Where a call is parked, and until when.
#[derive(Debug, Clone)]
pub(super) struct Parked {
    pub(super) cell: Arc<Cell>,
    pub(super) deadline: Option<Duration>,
}

/// A connection's place in a session.
#[derive(Debug, Clone)]
pub struct Attachment {
    /// The session.
    pub client: Arc<Client>,
    /// It speaks for the session until that is resumed elsewhere.
    pub generation: Generation,
    /// What replies in one frame may weigh together.
    pub(super) frame_bytes: usize,
}

impl ClientState {
    /// False if it was known.
    fn touch(&mut self, cell: &Arc<Cell>) -> bool {
        if self.touched.contains_key(&cell.id) {
            return false;
        }
        if self.touched.len() >= self.tidy_touched_at {
            self.touched.retain(|_, cell| cell.strong_count() > 0);
            self.tidy_touched_at = 64 + 2 * self.touched.len();
        }
        self.touched.insert(cell.id, Arc::downgrade(cell));
        true
    }
}

impl Client {
    pub(super) fn new(
        session: Session,
        process: Process,
        peer: &str,
        secret: Bytes,
        own_bytes: usize,
        books: Arc<Books>,
    ) -> Self {
        let (id, outbox, peer) = (session.id(), Outbox::default(), peer.into());
        let (lease, pulse) = (session.lease(), Arc::clone(session.pulse()));
        let state = ClientState { session, touched: BTreeMap::new(), tidy_touched_at: 0 };
        let mut account = Account::default();
        account.set(own_bytes, &books);
        Self {
            id,
            process,
            resume_secret: secret,
            lease,
            pulse,
            state: Mutex::new(state),
            outbound: Mutex::new(Outbound {
                outbox,
                own_bytes,
                touched: 0,
                account,
                peer,
                stream: None,
                beats: None,
            }),
            books,
        }
    }

    /// Which session it is.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// What the client says of its process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Whoever has it may resume the session.
    #[must_use]
    pub fn resume_secret(&self) -> &Bytes {
        &self.resume_secret
    }

    /// Where its client is, to people.
    pub fn peer(&self) -> Arc<str> {
        Arc::clone(&lock(&self.outbound).peer)
    }

    /// How long it may be silent.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// Whether it has ended; what it held may still be given back.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.pulse.has_ended()
    }

    /// Its signs of life, which need no lock.
    pub(super) fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// When it ends if nothing more is heard; `None` if it has ended.
    pub(super) fn lease_end(&self) -> Option<Duration> {
        Some(self.pulse.last_heard()? + self.lease)
    }

    /// The session's lock. It may be held for long, by a thread that may take its time.
    pub fn lock(&self) -> MutexGuard<'_, ClientState> {
        lock(&self.state)
    }

    /// The session's lock, if nobody holds it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, ClientState>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The outbox speaks for a new stream from now on; the streams of the older one end. The session's
    /// lock is held.
    pub(super) fn attach(&self, generation: Generation, peer: &str) {
        let mut outbound = lock(&self.outbound);
        outbound.outbox.attach(generation);
        outbound.peer = peer.into();
        outbound.wake_all();
    }

    /// Parks a call. The object's lock is held, so that no answer can come first.
    pub(super) fn park(&self, seq: Seq, parked: Parked) {
        self.change(|outbound| outbound.outbox.park(seq, parked));
    }

    /// Notes a call whose object is busy and answers it soon: it takes up no room that is for waiting. The
    /// object's lock is held as for [`park`](Self::park).
    pub(super) fn set_aside(&self, seq: Seq, cell: Arc<Cell>) {
        self.change(|outbound| outbound.outbox.set_aside(seq, Parked { cell, deadline: None }));
    }

    /// Replies to a call of the frame that is being processed: its stream looks at the outbox next.
    #[inline]
    pub(super) fn reply(
        &self,
        seq: Seq,
        result: Result<Answer, Error>,
        cell: Option<Arc<Cell>>,
    ) -> Vec<Pin> {
        self.change(|outbound| match cell {
            Some(cell) => outbound.outbox.reply(seq, result, || Parked { cell, deadline: None }),
            None => outbound.outbox.conclude(seq, result),
        })
    }

    /// Replies to a parked call. What is to be dropped outside all locks, and the deadline it had.
    pub(super) fn deliver(
        &self,
        seq: Seq,
        result: Result<Answer, Error>,
    ) -> (Option<Duration>, Result<Option<Parked>, Vec<Pin>>) {
        self.change(|outbound| {
            let deadline = outbound.outbox.object(seq).and_then(|parked| parked.deadline);
            let delivered = outbound.outbox.deliver(seq, result);
            if delivered.is_ok() {
                outbound.wake();
            }
            (deadline, delivered)
        })
    }

    /// Tells the client that a grant of its is gone.
    pub(super) fn lose(&self, object: ObjectId, token: u64) {
        self.change(|outbound| {
            outbound.outbox.lose(object, token);
            outbound.wake();
        });
    }

    /// Takes note of what a frame says of earlier requests.
    pub(super) fn settle(&self, settle: Settle) -> (Settled<Parked>, Result<(), Error>) {
        self.change(|outbound| outbound.outbox.settle(settle))
    }

    /// What goes when the client lets go of references, to be dropped outside all locks.
    pub(super) fn release(&self, object: ObjectId, count: u64) -> Result<Option<Pin>, Error> {
        self.change(|outbound| outbound.outbox.release(object, count))
    }

    /// How much of the session is undecided and unsent.
    #[inline]
    pub fn load(&self) -> Load {
        lock(&self.outbound).outbox.load()
    }

    /// Objects the client refers to.
    pub fn references(&self) -> usize {
        lock(&self.outbound).outbox.references()
    }

    /// From now on, `waker` is woken when the stream of this generation has something to say. False if
    /// another connection's stream speaks for the session now.
    pub(super) fn register(&self, generation: Generation, waker: &Waker) -> bool {
        let mut outbound = lock(&self.outbound);
        let is_current = outbound.outbox.is_current(generation);
        if is_current {
            register(&mut outbound.stream, waker);
        }
        is_current
    }

    /// From now on, `waker` is woken when the session ends or is resumed elsewhere. False if it has
    /// been.
    pub(super) fn register_beats(&self, generation: Generation, waker: &Waker) -> bool {
        let mut outbound = lock(&self.outbound);
        let outbox = &outbound.outbox;
        let is_current = outbox.is_current(generation) && !outbox.has_ended();
        if is_current {
            register(&mut outbound.beats, waker);
        }
        is_current
    }

    /// Has its streams look at what has arrived.
    pub(super) fn wake(&self) {
        lock(&self.outbound).wake_all();
    }

    /// What the stream of this generation has to say, if anything.
    pub(super) fn take_frame(
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

    /// Where the session goes on, if it was resumed on another connection than that of this generation.
    pub(super) fn resumed_by(&self, generation: Generation) -> Option<Arc<str>> {
        let outbound = lock(&self.outbound);
        let is_current = outbound.outbox.is_current(generation);
        (!is_current).then(|| Arc::clone(&outbound.peer))
    }

    /// Whether the stream of this generation has nothing more to say, ever.
    pub(super) fn is_over(&self, generation: Generation) -> bool {
        let outbox = &lock(&self.outbound).outbox;
        outbox.has_ended() || !outbox.is_current(generation)
    }

    /// Ends the outbox. `why` is said to the client, if it still listens.
    pub(super) fn end(&self, why: Option<Error>) -> Remains<Parked> {
        let mut outbound = lock(&self.outbound);
        let remains = outbound.outbox.end(why);
        outbound.touched = 0;
        let own_bytes = outbound.own_bytes;
        outbound.account.set(own_bytes, &self.books);
        outbound.wake_all();
        remains
    }

    /// The session may leave something in an object. The session's lock is held.
    pub(super) fn touch(&self, state: &mut ClientState, cell: &Arc<Cell>) {
        if state.touch(cell) {
            self.change(|outbound| outbound.touched = state.touched.len());
        }
    }

    /// Removes the session, which is forgotten, from the books.
    pub(super) fn close_account(&self) {
        lock(&self.outbound).account.close(&self.books);
    }

    /// The memory that is booked for the session.
    pub(super) fn booked(&self) -> usize {
        lock(&self.outbound).account.booked()
    }

    /// Changes the outgoing half, and books the memory that the session takes then.
    #[inline]
    fn change<T>(&self, f: impl FnOnce(&mut Outbound) -> T) -> T {
        let mut outbound = lock(&self.outbound);
        let result = f(&mut outbound);
        // A session that has ended was booked by `end`.
        if !outbound.outbox.has_ended() {
            let bytes = outbound.bytes();
            outbound.account.set(bytes, &self.books);
        }
        result
    }
}

impl Outbound {
    fn bytes(&self) -> usize {
        let touched = tree::<ObjectId, Weak<Cell>>(self.touched);
        self.own_bytes + self.outbox.bytes() + touched
    }

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

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "session {}", self.id)
    }
}
