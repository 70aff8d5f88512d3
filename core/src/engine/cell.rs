//! Where an object is, and all of them by their ids.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fmt,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use mp_manager_proto::v1::{Kind, Ref, request};

use super::{
    books::Books,
    shards::{Page, Shards},
};
use crate::{
    Error,
    call::{Call, CallId, ObjectId, SessionId},
    lock::lock,
    memory::{MANY, block, shared, tree},
    object::Object,
    stored::Referent,
};

/// Every kind's number is below this.
pub(super) const KINDS: usize = 16;

/// The objects by id. Whoever refers to an object keeps it alive; this map does not.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    cells: Shards<Weak<Cell>>,
    next_id: AtomicU64,
    /// Those of each kind that are not deleted, in the order of the kinds' numbers.
    counts: [AtomicUsize; KINDS],
    /// What takes longer to drop, in nanoseconds, is [buried](Self::bury).
    heavy_from: u64,
    books: Arc<Books>,
    /// Contents that are to be dropped where nobody waits.
    buried: Mutex<Vec<Object>>,
    has_buried: AtomicBool,
}

/// An object in its place.
pub struct Cell {
    pub(super) id: ObjectId,
    pub(super) kind: Kind,
    pub(super) name: Option<String>,
    server_id: u64,
    pub(super) state: Mutex<State>,
    objects: Arc<Objects>,
}

/// ```text
///   live ──heavy operation──► busy (others queue up) ──finished──► live
///     └────────delete────────► deleted
/// ```
pub(super) enum State {
    Live(Box<Object>),
    /// A heavy operation has the object.
    Busy(Queue),
    Deleted,
}

/// What comes while a heavy operation has the object, and is done when it is back.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) events: Vec<Event>,
    /// Sessions whose next request needs the object, too.
    pub(super) blocked: BTreeSet<SessionId>,
}

/// A request that comes to its object once that is back.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) call: Call,
    pub(super) op: request::Op,
    /// It must not wait, and is refused with this error if it would have to.
    pub(super) no_room: Option<Error>,
}

/// Something that happens to an object.
#[derive(Debug)]
pub(super) enum Event {
    Apply(Box<Asked>),
    Acknowledge(CallId),
    Cancel(CallId),
    Expire(CallId),
    EndSession(SessionId),
    Delete,
}

impl State {
    /// Takes the object away, if it is here: what comes meanwhile queues up.
    pub(super) fn take_away(&mut self) -> Option<Box<Object>> {
        match std::mem::replace(self, Self::Busy(Queue::default())) {
            Self::Live(object) => Some(object),
            other => {
                *self = other;
                None
            }
        }
    }
}

impl Event {
    /// The session that it happens for, if it is one's.
    pub(super) fn session(&self) -> Option<SessionId> {
        match self {
            Self::Apply(asked) => Some(asked.call.id.session),
            Self::Acknowledge(call) | Self::Cancel(call) | Self::Expire(call) => Some(call.session),
            Self::EndSession(session) => Some(*session),
            Self::Delete => None,
        }
    }
}

impl Cell {
    /// Which object it is.
    #[must_use]
    pub fn id(&self) -> ObjectId {
        self.id
    }

    /// What kind of object it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Looks at the object. `None` while a heavy operation has it, or when it is deleted.
    pub fn look<T>(&self, f: impl FnOnce(&Object) -> T) -> Option<T> {
        match &*lock(&self.state) {
            State::Live(object) => Some(f(object)),
            State::Busy(_) | State::Deleted => None,
        }
    }

    /// The memory it takes, about; `None` while a heavy operation has it.
    pub fn bytes(&self) -> Option<usize> {
        let contents = match &*lock(&self.state) {
            State::Live(object) => object.bytes(),
            State::Busy(_) => return None,
            State::Deleted => 0,
        };
        Some(bytes_of(self.name.as_deref()) + contents)
    }

    /// Whether it was deleted, and is there only for those who refer to it.
    pub(super) fn is_deleted(&self) -> bool {
        matches!(&*lock(&self.state), State::Deleted)
    }

    /// Whether a heavy operation has the object.
    pub fn is_busy(&self) -> bool {
        matches!(&*lock(&self.state), State::Busy(_))
    }
}

impl Objects {
    pub(super) fn new(heavy_from: u64, books: Arc<Books>) -> Self {
        Self { heavy_from, books, ..Self::default() }
    }

    /// Drops the contents of an object that is gone, or keeps them to be dropped where nobody waits.
    pub(super) fn bury(&self, object: Box<Object>) {
        if object.cost_of_drop() >= self.heavy_from {
            lock(&self.buried).push(*object);
            self.has_buried.store(true, Ordering::Release);
        }
    }

    /// Whether there are contents to be dropped.
    #[inline]
    pub(super) fn has_buried(&self) -> bool {
        self.has_buried.load(Ordering::Acquire)
    }

    /// Drops all of them, and those of what they kept alive.
    pub(super) fn drop_buried(&self) {
        while self.has_buried.swap(false, Ordering::AcqRel) {
            let buried = std::mem::take(&mut *lock(&self.buried));
            drop(buried);
        }
    }

    /// Puts an object in its place.
    pub(super) fn place(
        self: &Arc<Self>,
        id: ObjectId,
        name: Option<String>,
        server_id: u64,
        object: Object,
    ) -> Arc<Cell> {
        self.account(bytes_of(name.as_deref()) + object.bytes(), 0);
        let cell = Arc::new(Cell {
            id,
            kind: object.kind(),
            name,
            server_id,
            state: Mutex::new(State::Live(Box::new(object))),
            objects: Arc::clone(self),
        });
        self.counts[cell.kind as usize].fetch_add(1, Ordering::Relaxed);
        self.cells.insert(id, Arc::downgrade(&cell));
        cell
    }

    pub(super) fn next_id(&self) -> ObjectId {
        self.next_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    #[inline]
    pub(super) fn find(&self, id: ObjectId) -> Option<Arc<Cell>> {
        self.cells.read(id, Weak::upgrade).flatten()
    }

    /// Those made after the one with this id, in the order they were made, `max` at most.
    pub(super) fn page(&self, after: ObjectId, max: usize) -> Page<Arc<Cell>> {
        self.cells.page(after, max, Weak::upgrade)
    }

    /// All of them, in the order they were made.
    pub(super) fn all(&self) -> Vec<Arc<Cell>> {
        self.cells.collect(Weak::upgrade)
    }

    /// One does not count any more, whoever still refers to it.
    pub(super) fn deleted(&self, kind: Kind) {
        self.counts[kind as usize].fetch_sub(1, Ordering::Relaxed);
    }

    /// Number of objects that are not deleted.
    pub(super) fn count(&self) -> usize {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Number of objects of a kind that are not deleted.
    pub(super) fn count_of(&self, kind: Kind) -> usize {
        self.counts[kind as usize].load(Ordering::Relaxed)
    }

    /// Takes note that an object's size has changed.
    #[inline]
    pub(super) fn account(&self, now: usize, before: usize) {
        self.books.account(now, before);
    }
}

/// The memory of an object without its contents: its names and its places in maps included.
fn bytes_of(name: Option<&str>) -> usize {
    let named =
        name.map_or(0, |name| tree::<String, Arc<Cell>>(MANY) / MANY + 2 * block(name.len()));
    shared::<Cell>() + block(size_of::<Object>()) + Shards::<Weak<Cell>>::BYTES_OF_ONE + named
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

thread_local! {
    /// The contents of objects that nobody refers to any more, while one is being dropped.
    static GRAVEYARD: RefCell<Option<Vec<State>>> = const { RefCell::new(None) };
}

impl Drop for Cell {
    /// Dropping the contents may drop the last reference to another object, and so on along a chain
    /// of any length: contents wait for their turn instead of being dropped from inside each other.
    fn drop(&mut self) {
        self.objects.cells.remove(self.id);
        self.objects.account(0, bytes_of(self.name.as_deref()));
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let state = std::mem::replace(state, State::Deleted);
        if !matches!(state, State::Deleted) {
            self.objects.deleted(self.kind);
        }
        if let State::Live(object) = &state {
            self.objects.account(0, object.bytes());
        }
        let state = match state {
            State::Live(object) if object.cost_of_drop() >= self.objects.heavy_from => {
                return self.objects.bury(object);
            }
            state => state,
        };
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
