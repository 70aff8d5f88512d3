//! Time, chance, and what happens next.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;

use crate::trace::Trace;

/// Microseconds since the simulation began.
pub(crate) type Micros = u64;

/// What everything in a simulation shares. One seed decides all of it.
pub(crate) struct World<E> {
    now: Arc<AtomicU64>,
    rng: RefCell<Rng>,
    events: RefCell<BTreeMap<(Micros, u64), E>>,
    scheduled: Cell<u64>,
    pub(crate) trace: RefCell<Trace>,
}

impl<E> World<E> {
    pub(crate) fn new(seed: u64, verbose: bool) -> Rc<Self> {
        Rc::new(Self {
            now: Arc::default(),
            rng: RefCell::new(Rng::with_seed(seed)),
            events: RefCell::default(),
            scheduled: Cell::new(0),
            trace: RefCell::new(Trace::new(verbose)),
        })
    }

    pub(crate) fn now(&self) -> Micros {
        self.now.load(Ordering::Relaxed)
    }

    /// The time, for clocks that run with it.
    pub(crate) fn shared_time(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.now)
    }

    /// A clock that began at some other time, and runs a little faster or slower.
    pub(crate) fn clock(&self) -> impl Fn() -> Duration + Send + Sync + use<E> {
        let now = Arc::clone(&self.now);
        let (offset, rate) = (self.below(1 << 40), 9_960 + self.below(81));
        move || Duration::from_micros(offset + now.load(Ordering::Relaxed) * rate / 10_000)
    }

    /// `event` happens within `delay` of now; of those at one time the first scheduled is first.
    pub(crate) fn after(&self, delay: Micros, event: E) {
        self.at(self.now() + delay, event);
    }

    pub(crate) fn at(&self, time: Micros, event: E) {
        let number = self.scheduled.get();
        self.scheduled.set(number + 1);
        self.events.borrow_mut().insert((time.max(self.now()), number), event);
    }

    /// Goes on to the next event before `end`.
    pub(crate) fn next(&self, end: Micros) -> Option<E> {
        let mut events = self.events.borrow_mut();
        let entry = events.first_entry().filter(|entry| entry.key().0 <= end)?;
        let ((time, _), event) = entry.remove_entry();
        self.now.store(time, Ordering::Relaxed);
        Some(event)
    }

    /// A number below `n`.
    pub(crate) fn below(&self, n: u64) -> u64 {
        self.rng.borrow_mut().u64(0..n.max(1))
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Anything from `least` to `most`, mostly near `least`.
    pub(crate) fn between(&self, least: Micros, most: Micros) -> Micros {
        let span = most.saturating_sub(least) + 1;
        let long = self.one_in(8);
        least + if long { self.below(span) } else { self.below(span / 16 + 1) }
    }

    pub(crate) fn pick<'a, T>(&self, from: &'a [T]) -> Option<&'a T> {
        from.get(usize::try_from(self.below(from.len() as u64)).unwrap_or(0))
    }
}
