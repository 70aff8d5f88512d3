//! The objects and sessions of a server, and the one way in which an operation reaches an object.
//!
//! An object is found by its id, its `Arc` is cloned and the map's guard dropped; then its mutex is
//! taken, the operation applied, the mutex released, and what the operation means for other callers
//! delivered to their sessions. A plain mutex is right: it is held for a microsecond, and never
//! across an await.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use dashmap::DashMap;
use mp_manager_core::{
    Applied, Call, CallId, Error, Object, ObjectId, Outcome, Pin, Reason, Referent, SessionId,
    Turn,
    session::Admission,
    v1::{Fence, Kind, Ref, request},
};
use tokio::time::Instant;

use crate::{
    authkeys::Authkeys,
    leases::Leases,
    lock,
    options::{Limits, Options},
    reservation::Reservation,
    session::{Parked, Session},
    timers::Timers,
};

/// Everything a server holds.
pub(crate) struct Store {
    pub(crate) server_id: u64,
    /// Larger at each start, if there is a state directory or nobody sets the clock back.
    pub(crate) epoch: u64,
    pub(crate) started: Instant,
    pub(crate) options: Options,
    pub(crate) authkeys: Arc<Authkeys>,
    pub(crate) timers: Arc<Timers>,
    pub(crate) leases: Leases,
    pub(crate) sessions: DashMap<SessionId, Arc<Session>>,
    pub(crate) names: Mutex<BTreeMap<String, Arc<Cell>>>,
    pub(crate) objects: Arc<Objects>,
    pub(crate) shutdown: tokio::sync::Notify,
    shutting_down: AtomicBool,
    object_limits: mp_manager_core::Limits,
    pub(crate) session_limits: mp_manager_core::session::Limits,
    pub(crate) reservation: Reservation,
    next_session: AtomicU64,
    hash_seed: u64,
}

/// The objects by id. Who refers to an object keeps it alive; this map does not.
#[derive(Default)]
pub(crate) struct Objects {
    cells: DashMap<ObjectId, Weak<Cell>>,
    next_id: AtomicU64,
    count: AtomicUsize,
    bytes: AtomicI64,
}

/// An object in its place.
pub(crate) struct Cell {
    pub(crate) id: ObjectId,
    pub(crate) kind: Kind,
    pub(crate) name: Option<String>,
    server_id: u64,
    state: Mutex<State>,
    no_longer_busy: Condvar,
    objects: Arc<Objects>,
}

/// ```text
///   live ──heavy operation──► busy (others queue up) ──finished──► live
///     └────────delete────────► deleted
/// ```
enum State {
    Live(Box<Object>),
    /// A heavy operation has the object; what comes meanwhile is done when it is back.
    Busy(Vec<Event>),
    Deleted,
}

/// Something that happens to an object.
enum Event {
    Apply(Call, Box<request::Op>),
    Acknowledge(CallId),
    Cancel(CallId),
    Expire(CallId),
    EndSession(SessionId),
    Delete,
}

impl Store {
    pub(crate) fn new(
        options: Options,
        authkeys: Authkeys,
        server_id: u64,
        reservation: Reservation,
        hash_seed: u64,
    ) -> Self {
        Self {
            server_id,
            epoch: reservation.start(),
            started: Instant::now(),
            object_limits: options.limits.for_objects(),
            session_limits: options.limits.for_sessions(),
            options,
            authkeys: Arc::new(authkeys),
            timers: Arc::default(),
            leases: Leases::new(),
            sessions: DashMap::new(),
            names: Mutex::default(),
            objects: Arc::default(),
            shutdown: tokio::sync::Notify::new(),
            shutting_down: AtomicBool::new(false),
            reservation,
            next_session: AtomicU64::new(0),
            hash_seed,
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.options.limits
    }

    pub(crate) fn next_session_id(&self) -> SessionId {
        self.next_session.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Ends all sessions, telling their clients why, and lets no new ones in.
    pub(crate) fn shut_down(&self) {
        self.shutting_down.store(true, Ordering::SeqCst);
        let sessions: Vec<_> = self.sessions.iter().map(|s| Arc::clone(s.value())).collect();
        for session in sessions {
            session.end(self, Some(Self::shutting_down()));
        }
    }

    pub(crate) fn is_shutting_down(&self) -> bool {
        self.shutting_down.load(Ordering::SeqCst)
    }

    /// What clients are told when the server stops.
    pub(crate) fn shutting_down() -> Error {
        Error::new(Reason::ShuttingDown, "the manager is shutting down")
            .with_hint("connect again once it runs again")
    }

    /// Finds an object by its id.
    pub(crate) fn find(&self, id: ObjectId) -> Option<Arc<Cell>> {
        self.objects.find(id)
    }

    pub(crate) fn over_memory_budget(&self) -> bool {
        self.objects.bytes() > self.limits().max_memory_bytes
    }

    /// What those are told who would need more.
    pub(crate) fn out_of_memory(&self) -> Error {
        let max = self.limits().max_memory_bytes;
        Error::new(
            Reason::OutOfMemory,
            format!("the server's memory budget of {max} bytes is used up"),
        )
        .with_hint("delete something, or raise the server's --max-memory-bytes")
    }

    /// Makes an object that lives as long as someone refers to it.
    pub(crate) fn create(
        &self,
        name: Option<String>,
        kind: Kind,
        parameters: Option<mp_manager_core::v1::Parameters>,
    ) -> Result<Arc<Cell>, Error> {
        let max = self.limits().max_objects;
        if self.objects.count.load(Ordering::Relaxed) >= max {
            return Err(Error::new(
                Reason::LimitExceeded,
                format!("there are {max} objects, which is the limit"),
            )
            .with_hint("delete some, or raise the server's --max-objects"));
        }
        let resolve = |reference: &Ref| self.resolve(reference);
        let mut turn = Turn::new(&self.object_limits, &self.reservation.tokens, &resolve);
        let id = self.objects.next_id.fetch_add(1, Ordering::Relaxed) + 1;
        let object = Object::create(kind, parameters, self.hash_seed ^ id, &mut turn)?;
        if self.objects.bytes().saturating_add(object.bytes()) > self.limits().max_memory_bytes {
            return Err(self.out_of_memory());
        }
        self.objects.account(object.bytes(), 0);
        let cell = Arc::new(Cell {
            id,
            kind,
            name,
            server_id: self.server_id,
            state: Mutex::new(State::Live(Box::new(object))),
            no_longer_busy: Condvar::new(),
            objects: Arc::clone(&self.objects),
        });
        self.objects.count.fetch_add(1, Ordering::Relaxed);
        self.objects.cells.insert(id, Arc::downgrade(&cell));
        Ok(cell)
    }

    /// Applies a request of `session`. A reply goes to the session's outbox; a call that is parked
    /// is noted there, with its deadline, before anyone could answer it.
    pub(crate) fn apply(
        self: &Arc<Self>,
        session: &Arc<Session>,
        cell: &Arc<Cell>,
        (call, admission): (Call, Admission),
        timeout: Option<Duration>,
        op: request::Op,
    ) {
        let mut state = lock(&cell.state);
        let applied = match &mut *state {
            State::Live(object) if object.is_heavy(&op) => {
                let object = std::mem::replace(&mut *state, State::Busy(Vec::new()));
                set_aside(session, cell, call);
                drop(state);
                return self.apply_elsewhere(cell, object, Event::Apply(call, Box::new(op)));
            }
            State::Live(object) => {
                let (applied, effects) = self.turn(object, |object, turn| match admission {
                    Admission::MayWait => object.apply(call, op, turn),
                    Admission::AtOnce(no_room) => object.apply_at_once(call, op, turn, no_room),
                });
                if matches!(applied, Ok(Outcome::Parked)) {
                    self.park(session, cell, call, timeout);
                }
                drop(state);
                self.deliver(cell, effects);
                applied
            }
            State::Busy(events) => {
                events.push(Event::Apply(call, Box::new(op)));
                return set_aside(session, cell, call);
            }
            State::Deleted => Err(deleted(cell)),
        };
        if let Some(result) = answered(applied) {
            session
                .reply(call.id.seq, result, || Parked { cell: Arc::clone(cell), deadline: None });
        }
    }

    /// Applies a request only while a grant stands, atomically: the object that granted stays
    /// locked meanwhile. It never parks, and a heavy operation is done in place.
    pub(crate) fn apply_fenced(
        &self,
        session: &Session,
        cell: &Arc<Cell>,
        call: Call,
        fence: Fence,
        op: request::Op,
    ) {
        let (applied, effects) = self.guarded(cell, fence, |object, turn| {
            object.apply(call, op, turn).and_then(|outcome| match outcome {
                Outcome::Done(answer) => Ok(answer),
                Outcome::Parked => Err(Error::new(Reason::Unsupported, "it cannot be fenced")),
            })
        });
        self.deliver(cell, effects);
        let object = || Parked { cell: Arc::clone(cell), deadline: None };
        session.reply(call.id.seq, applied, object);
    }

    fn guarded(
        &self,
        cell: &Cell,
        fence: Fence,
        f: impl FnOnce(&mut Object, &mut Turn<'_>) -> Result<mp_manager_core::Answer, Error>,
    ) -> (Result<mp_manager_core::Answer, Error>, Effects) {
        if !Object::can_be_fenced(cell.kind) {
            let kind = cell.kind.name();
            let message = format!("operations on a {kind} cannot be fenced");
            return (Err(Error::new(Reason::Unsupported, message)), Effects::default());
        }
        let guard = self.find(fence.lock).filter(|guard| !Object::can_be_fenced(guard.kind));
        let guard_state = guard.as_ref().map(|guard| lock(&guard.state));
        let stands = matches!(
            guard_state.as_deref(), Some(State::Live(object)) if object.holds(fence.token)
        );
        if !stands {
            return (Err(fenced(&fence)), Effects::default());
        }
        match &mut *cell.settled() {
            State::Live(object) => self.turn(object, f),
            State::Busy(_) | State::Deleted => (Err(deleted(cell)), Effects::default()),
        }
    }

    pub(crate) fn acknowledge(&self, cell: &Cell, call: CallId) {
        match &mut *lock(&cell.state) {
            State::Live(object) => object.acknowledge(call),
            State::Busy(events) => events.push(Event::Acknowledge(call)),
            State::Deleted => {}
        }
    }

    pub(crate) fn cancel(&self, cell: &Cell, call: CallId) {
        self.happen(cell, Event::Cancel(call));
    }

    pub(crate) fn expire(&self, cell: &Cell, call: CallId) {
        self.happen(cell, Event::Expire(call));
    }

    pub(crate) fn end_session(&self, cell: &Cell, session: SessionId) {
        self.happen(cell, Event::EndSession(session));
    }

    /// Deletes the object: what waits in it is refused, and so is whatever comes later.
    pub(crate) fn delete(&self, cell: &Cell) {
        self.happen(cell, Event::Delete);
    }

    /// Looks at an object. `None` while a heavy operation has it, or when it is deleted.
    pub(crate) fn look<T>(&self, cell: &Cell, f: impl FnOnce(&Object) -> T) -> Option<T> {
        match &*lock(&cell.state) {
            State::Live(object) => Some(f(object)),
            State::Busy(_) | State::Deleted => None,
        }
    }

    /// As [`look`](Self::look), but waits out a heavy operation: some milliseconds, rarely.
    pub(crate) fn look_settled<T>(&self, cell: &Cell, f: impl FnOnce(&Object) -> T) -> Option<T> {
        match &*cell.settled() {
            State::Live(object) => Some(f(object)),
            State::Busy(_) | State::Deleted => None,
        }
    }

    fn park(&self, session: &Session, cell: &Arc<Cell>, call: Call, timeout: Option<Duration>) {
        // A timeout of zero waits for nothing that could time out.
        let deadline = timeout
            .filter(|timeout| !timeout.is_zero())
            .and_then(|timeout| Instant::now().checked_add(timeout));
        session.park(call.id.seq, Parked { cell: Arc::clone(cell), deadline });
        if let Some(deadline) = deadline {
            self.timers.insert(deadline, call.id, cell);
        }
    }

    fn happen(&self, cell: &Cell, event: Event) {
        let mut state = lock(&cell.state);
        let (removed, effects) = match &mut *state {
            State::Live(object) => {
                let deletes = matches!(event, Event::Delete);
                let ((), effects) = self.turn(object, |object, turn| event.happen(object, turn));
                let removed = deletes.then(|| std::mem::replace(&mut *state, State::Deleted));
                (removed, effects)
            }
            State::Busy(events) => return events.push(event),
            State::Deleted => return,
        };
        drop(state);
        self.deliver(cell, effects);
        self.forget(removed);
    }

    /// Takes a deleted object's contents out of the books and drops them.
    fn forget(&self, removed: Option<State>) {
        if let Some(State::Live(object)) = &removed {
            self.objects.account(0, object.bytes());
        }
        drop(removed);
    }

    /// Gives an object its turn and keeps the books on its memory.
    fn turn<T>(
        &self,
        object: &mut Object,
        f: impl FnOnce(&mut Object, &mut Turn<'_>) -> T,
    ) -> (T, Effects) {
        let resolve = |reference: &Ref| self.resolve(reference);
        let mut turn = Turn::new(&self.object_limits, &self.reservation.tokens, &resolve);
        let before = object.bytes();
        let result = f(object, &mut turn);
        self.objects.account(object.bytes(), before);
        self.reservation.check();
        (result, Effects { replies: turn.replies, lost: turn.lost })
    }

    /// Runs a heavy operation where it keeps nobody waiting but its own object's users.
    fn apply_elsewhere(self: &Arc<Self>, cell: &Arc<Cell>, taken: State, first: Event) {
        let State::Live(mut object) = taken else { return };
        let (store, cell) = (Arc::clone(self), Arc::clone(cell));
        tokio::task::spawn_blocking(move || {
            let mut events = vec![first];
            let mut is_deleted = false;
            loop {
                for event in std::mem::take(&mut events) {
                    if is_deleted {
                        store.refuse_deleted(&cell, &event);
                        continue;
                    }
                    is_deleted = matches!(event, Event::Delete);
                    store.happen_elsewhere(&cell, &mut object, event);
                }
                let mut state = lock(&cell.state);
                match &mut *state {
                    State::Busy(queued) if !queued.is_empty() => events = std::mem::take(queued),
                    _ if is_deleted => {
                        *state = State::Deleted;
                        drop(state);
                        cell.no_longer_busy.notify_all();
                        return store.forget(Some(State::Live(object)));
                    }
                    _ => {
                        *state = State::Live(object);
                        drop(state);
                        return cell.no_longer_busy.notify_all();
                    }
                }
            }
        });
    }

    /// What happens to an object while it is away; its callers are parked already.
    fn happen_elsewhere(&self, cell: &Cell, object: &mut Object, event: Event) {
        let (applied, mut effects) = self.turn(object, |object, turn| match event {
            Event::Apply(call, op) => Some((call.id, object.apply(call, *op, turn))),
            other => {
                other.happen(object, turn);
                None
            }
        });
        if let Some((call, applied)) = applied
            && let Some(result) = answered(applied)
        {
            effects.replies.push((call, result));
        }
        self.deliver(cell, effects);
    }

    /// What came after an object was deleted: only a request still wants an answer.
    fn refuse_deleted(&self, cell: &Cell, event: &Event) {
        if let Event::Apply(call, _) = event {
            let replies = vec![(call.id, Err(deleted(cell)))];
            self.deliver(cell, Effects { replies, ..Effects::default() });
        }
    }

    fn deliver(&self, cell: &Cell, effects: Effects) {
        for (call, result) in effects.replies {
            if let Some(session) = self.session(call.session)
                && let Some(deadline) = session.deliver(call.seq, result)
            {
                self.timers.remove(deadline, call);
            }
        }
        for (session, token) in effects.lost {
            if let Some(session) = self.session(session) {
                session.lose(cell.id, token);
            }
        }
    }

    pub(crate) fn session(&self, id: SessionId) -> Option<Arc<Session>> {
        self.sessions.get(&id).map(|session| Arc::clone(&session))
    }

    fn resolve(&self, reference: &Ref) -> Option<Pin> {
        if reference.server != self.server_id {
            return None;
        }
        let cell = self.find(reference.object)?;
        (cell.kind == reference.kind()).then_some(cell as Pin)
    }
}

impl Cell {
    /// Its state once no heavy operation has the object.
    fn settled(&self) -> MutexGuard<'_, State> {
        let mut state = lock(&self.state);
        while matches!(&*state, State::Busy(_)) {
            state = self.no_longer_busy.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }
}

/// Notes a call whose object a heavy operation has. No kind that has those has any that wait, so it
/// is answered soon, and takes up no room that is for waiting.
fn set_aside(session: &Session, cell: &Arc<Cell>, call: Call) {
    session.set_aside(call.id.seq, Parked { cell: Arc::clone(cell), deadline: None });
}

/// What an operation means for others, once its object is unlocked.
#[derive(Default)]
struct Effects {
    replies: Vec<(CallId, Result<mp_manager_core::Answer, Error>)>,
    lost: Vec<(SessionId, u64)>,
}

impl Event {
    fn happen(self, object: &mut Object, turn: &mut Turn<'_>) {
        match self {
            // Answered by `happen_elsewhere`; it comes here from nowhere.
            Self::Apply(..) => {}
            Self::Acknowledge(call) => object.acknowledge(call),
            Self::Cancel(call) => object.cancel(call, turn),
            Self::Expire(call) => object.expire(call, turn),
            Self::EndSession(session) => object.end_session(session, turn),
            Self::Delete => object.delete(turn),
        }
    }
}

fn answered(applied: Applied) -> Option<Result<mp_manager_core::Answer, Error>> {
    match applied {
        Ok(Outcome::Done(answer)) => Some(Ok(answer)),
        Ok(Outcome::Parked) => None,
        Err(error) => Some(Err(error)),
    }
}

impl Objects {
    fn find(&self, id: ObjectId) -> Option<Arc<Cell>> {
        self.cells.get(&id).and_then(|cell| cell.upgrade())
    }

    /// All of them, in the order they were made.
    pub(crate) fn all(&self) -> Vec<Arc<Cell>> {
        // Collected first: dropping the last reference to a cell locks the map.
        let mut cells: Vec<_> = self.cells.iter().filter_map(|cell| cell.upgrade()).collect();
        cells.sort_by_key(|cell| cell.id);
        cells
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes(&self) -> usize {
        usize::try_from(self.bytes.load(Ordering::Relaxed)).unwrap_or(0)
    }

    fn account(&self, now: usize, before: usize) {
        let change = i64::try_from(now).unwrap_or(i64::MAX) - i64::try_from(before).unwrap_or(0);
        if change != 0 {
            self.bytes.fetch_add(change, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.name(), self.id)
    }
}

impl Referent for Cell {
    fn reference(&self) -> Ref {
        Ref { server: self.server_id, kind: self.kind.into(), object: self.id }
    }
}

/// A fenced operation whose grant does not stand any more.
fn fenced(fence: &Fence) -> Error {
    Error::new(
        Reason::Fenced,
        format!("the grant with token {} of object {} does not stand", fence.token, fence.lock),
    )
    .with_hint("it was released or lost: stop, and acquire again")
}

/// An operation on an object that was deleted.
fn deleted(cell: &Cell) -> Error {
    let message = match &cell.name {
        Some(name) => format!("the object \"{name}\" was deleted"),
        None => format!("object {} was deleted", cell.id),
    };
    Error::new(Reason::ObjectNotFound, message).with_hint("open it again to use a new one")
}

thread_local! {
    /// The contents of objects that nobody refers to any more, while one is being dropped.
    static GRAVEYARD: RefCell<Option<Vec<State>>> = const { RefCell::new(None) };
}

impl Drop for Cell {
    /// Dropping the contents may drop the last reference to another object, and so on along a chain
    /// of any length: contents wait for their turn instead of being dropped from inside each other.
    fn drop(&mut self) {
        self.objects.cells.remove(&self.id);
        self.objects.count.fetch_sub(1, Ordering::Relaxed);
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let state = std::mem::replace(state, State::Deleted);
        if let State::Live(object) = &state {
            self.objects.account(0, object.bytes());
        }
        let queued = GRAVEYARD.with_borrow_mut(|graveyard| match graveyard {
            Some(waiting) => {
                waiting.push(state);
                None
            }
            None => {
                *graveyard = Some(Vec::new());
                Some(state)
            }
        });
        let Some(first) = queued else { return };
        drop(first);
        while let Some(next) = GRAVEYARD.with_borrow_mut(|g| g.as_mut().and_then(Vec::pop)) {
            drop(next);
        }
        GRAVEYARD.with_borrow_mut(|graveyard| *graveyard = None);
    }
}
