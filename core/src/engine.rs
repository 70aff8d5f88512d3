//! A whole manager but for the outside world: sessions, objects, the directory, references, leases and
//! deadlines, and every rule about them.
//!
//! A driver brings in what happens (a frame, a beat, a connection's end, a time that has come) and performs
//! what follows, one [step](Step) at a time. The server does so at once, with threads and sockets; the
//! simulator does the same with whatever it likes between two steps. Neither of them decides anything.
//!
//! ```text
//!   Stream::take_in(frame) ─┐
//!   Stream::start() ────────┤                ┌──► Engine::perform(step) ──┐
//!   Stream::closed() ───────┼──► Work::next_step ─┤      brings about others ──┴──► Work
//!   Engine::expire_due() ───┤                └──► heavy: performed where nobody waits
//!   Engine::look_after() ───┘        Work::take_orders: what only the driver can do
//! ```
//!
//! # Locks
//!
//! Session → fencing object → object → session's outbox. Only a fenced operation holds two objects: the
//! one that granted first, its target second. Targets never grant, so this cannot go round in a circle.
//! Outboxes, deadlines, leases and maps are leaves. A session's lock is the driver's to take
//! ([`Client::lock`]): it is held from [`Stream::take_in`], [`Stream::start`] or [`Engine::look_after`]
//! until the steps that follow are performed, but for the heavy ones. A beat takes none of them.

mod apply;
mod attach;
mod books;
mod cell;
mod client;
mod config;
mod counters;
mod deadlines;
mod directory;
mod end;
mod leases;
mod measure;
mod operand;
mod perform;
mod request;
mod reservation;
mod shards;
mod step;
mod stream;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};

use books::Books;
use cell::Objects;
use counters::Counters;
use deadlines::Deadlines;
use shards::Shards;

pub use attach::{Hello, SHORTEST_FRAMES};
pub use cell::Cell;
pub use client::{Attachment, Client, ClientState};
pub use config::{Clock, Config, Totals};
pub use counters::{Cause, Tally};
pub use end::shutting_down;
pub use measure::{MeasuredObject, ObjectPage, SessionPage};
pub use reservation::Reservation;
pub use step::{Ending, Heavy, LetGo, Orders, Step, Work};
pub use stream::{Started, Stream, Want};

use crate::lease::{LeaseClock, Leases};

/// See the [module](self).
pub struct Engine {
    config: Config,
    clock: Box<dyn Clock>,
    reservation: Reservation,
    counters: Counters,
    books: Arc<Books>,
    objects: Arc<Objects>,
    names: Mutex<BTreeMap<String, Arc<Cell>>>,
    clients: Shards<Arc<Client>>,
    next_session: AtomicU64,
    deadlines: Deadlines,
    lease_clock: Mutex<LeaseClock>,
    /// It has run for as long as the longest lease.
    is_settled: AtomicBool,
    leases: Mutex<Leases>,
    started: Duration,
    shutting_down: AtomicBool,
}

/// Numbers of what comes and goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Sessions.
    pub sessions: usize,
    /// Objects, with and without a name.
    pub objects: usize,
    /// Parked calls that expire.
    pub deadlines: usize,
}

impl Engine {
    /// A manager without sessions and objects.
    #[must_use]
    pub fn new(config: Config, clock: Box<dyn Clock>, reservation: Reservation) -> Self {
        let books = Arc::<Books>::default();
        Self {
            objects: Arc::new(Objects::new(config.objects.heavy_from, Arc::clone(&books))),
            names: Mutex::default(),
            clients: Shards::default(),
            next_session: AtomicU64::new(0),
            deadlines: Deadlines::new(Arc::clone(&books)),
            books,
            lease_clock: Mutex::new(LeaseClock::new(clock.boottime())),
            is_settled: AtomicBool::new(false),
            leases: Mutex::default(),
            started: clock.monotonic(),
            shutting_down: AtomicBool::new(false),
            config,
            clock,
            reservation,
            counters: Counters::default(),
        }
    }

    /// How it is set up.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Larger at each start, if tokens are recorded or nobody sets the clock back.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.reservation.start()
    }

    /// The source of its fencing tokens.
    #[must_use]
    pub fn reservation(&self) -> &Reservation {
        &self.reservation
    }

    /// Its objects, in the order they were made.
    #[must_use]
    pub fn objects(&self) -> Vec<Arc<Cell>> {
        self.objects.all()
    }

    /// An object by its id.
    #[must_use]
    pub fn object(&self, id: crate::ObjectId) -> Option<Arc<Cell>> {
        self.objects.find(id)
    }

    /// Its sessions, in the order they began.
    #[must_use]
    pub fn clients(&self) -> Vec<Arc<Client>> {
        self.clients.collect(|client| Some(Arc::clone(client)))
    }

    /// A session by its id.
    #[must_use]
    pub fn client(&self, session: crate::SessionId) -> Option<Arc<Client>> {
        self.clients.read(session, Arc::clone)
    }

    /// The memory that objects, sessions and calls take, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.books.bytes()
    }

    /// The same, asked of each of them; `None` while a heavy operation has an object.
    #[must_use]
    pub fn audit(&self) -> Option<usize> {
        let objects: Option<usize> = self.objects().iter().map(|cell| cell.bytes()).sum();
        let clients: usize = self.clients().iter().map(|client| client.booked()).sum();
        Some(objects? + clients + self.deadlines.bytes())
    }

    /// How much there is of what has to be gone when everybody is.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            sessions: self.clients.len(),
            objects: self.objects.count(),
            deadlines: self.deadlines.len(),
        }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("config", &self.config).finish_non_exhaustive()
    }
}
