//! What the engine does, in steps.

use std::{
    collections::btree_map,
    fmt,
    sync::{Arc, Weak},
};

use super::{
    cell::{Cell, Event},
    client::{Client, Parked},
};
use crate::{
    Error, Object,
    call::{Answer, CallId, ObjectId, Seq, SessionId},
    outbox::Remains,
    stored::Pin,
};

/// The smallest thing that happens: between two steps anything may happen that the locks do not
/// exclude. A step takes the locks it needs by itself, and brings about others.
pub enum Step {
    /// A request that was just started is answered.
    Reply(Arc<Client>, Seq, Result<Answer, Error>, Option<Arc<Cell>>),
    /// A parked call is answered.
    Deliver(CallId, Result<Answer, Error>),
    /// Parked calls are answered, each in a step: what is still to come is the next one.
    DeliverAll(std::vec::IntoIter<(CallId, Result<Answer, Error>)>),
    /// A session hears that its grant is gone.
    Lose(SessionId, ObjectId, u64),
    /// An object hears that what it handed over has arrived.
    Acknowledge(Arc<Cell>, CallId),
    /// An object hears that a caller has gone.
    Cancel(Arc<Cell>, CallId),
    /// An object hears that a call's timeout has passed.
    Expire(Arc<Cell>, CallId),
    /// An object hears that a session is over.
    EndSession(Arc<Cell>, SessionId),
    /// An object is deleted.
    Delete(Arc<Cell>),
    /// The objects that a session has touched hear of its end, one after the other.
    End(Ending),
    /// A session that is over is forgotten.
    Forget(SessionId),
    /// A session's stream looks at what has arrived.
    Wake(SessionId),
    /// The next event of an object that a heavy operation has.
    Heavy(Heavy),
}

/// An object that was taken away from its place.
pub(super) type Held = (Arc<Cell>, Box<Object>);

/// An object on its own, and what happens to it next. Performing it takes long: do it where nobody waits
/// for anything else.
pub struct Heavy {
    pub(super) cell: Arc<Cell>,
    /// `None` once it is deleted.
    pub(super) object: Option<Box<Object>>,
    pub(super) event: Event,
    /// What comes after it.
    pub(super) later: std::vec::IntoIter<Event>,
    /// Other objects that the event needs: they are away until it has happened.
    pub(super) held: Vec<Held>,
}

/// The rest of a session's end.
pub struct Ending {
    pub(super) session: SessionId,
    /// What it had open, whose deadlines are to be forgotten first.
    pub(super) remains: Option<Remains<Parked>>,
    pub(super) touched: btree_map::IntoValues<ObjectId, Weak<Cell>>,
    /// There is much of it.
    pub(super) is_long: bool,
}

impl Heavy {
    /// An object's next event, which takes long.
    pub(super) fn new(cell: Arc<Cell>, object: Option<Box<Object>>, event: Event) -> Self {
        Self { cell, object, event, later: Vec::new().into_iter(), held: Vec::new() }
    }
}

impl Step {
    /// Whether the step is better done where it keeps nobody waiting, with those that follow from it.
    #[must_use]
    #[inline]
    pub fn is_heavy(&self) -> bool {
        match self {
            Self::Heavy(_) => true,
            Self::End(ending) => ending.is_long,
            _ => false,
        }
    }

    /// The session that it is done for, if it is one's.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        match self {
            Self::Reply(client, ..) => Some(client.id()),
            Self::Deliver(call, _)
            | Self::Acknowledge(_, call)
            | Self::Cancel(_, call)
            | Self::Expire(_, call) => Some(call.session),
            Self::DeliverAll(replies) => replies.as_slice().first().map(|(call, _)| call.session),
            Self::Lose(session, ..)
            | Self::EndSession(_, session)
            | Self::Forget(session)
            | Self::Wake(session) => Some(*session),
            Self::End(ending) => Some(ending.session),
            Self::Heavy(heavy) => heavy.event.session(),
            Self::Delete(_) => None,
        }
    }

    /// Its name, with two numbers that tell it from others.
    #[must_use]
    pub fn brief(&self) -> (&'static str, u64, u64) {
        match self {
            Self::Reply(client, seq, ..) => ("reply", client.id(), *seq),
            Self::Deliver(call, _) => ("deliver", call.session, call.seq),
            Self::DeliverAll(replies) => match replies.as_slice() {
                [(call, _), ..] => ("deliver", call.session, call.seq),
                [] => ("deliver", 0, 0),
            },
            Self::Lose(session, _, token) => ("lose", *session, *token),
            Self::Acknowledge(_, call) => ("acknowledge", call.session, call.seq),
            Self::Cancel(_, call) => ("cancel", call.session, call.seq),
            Self::Expire(_, call) => ("expire", call.session, call.seq),
            Self::EndSession(cell, session) => ("end in object", *session, cell.id()),
            Self::Delete(cell) => ("delete", cell.id(), 0),
            Self::End(ending) => ("end", ending.session, ending.touched.len() as u64),
            Self::Forget(session) => ("forget", *session, 0),
            Self::Wake(session) => ("wake", *session, 0),
            Self::Heavy(heavy) => ("heavy", heavy.cell.id(), heavy.later.len() as u64),
        }
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, a, b) = self.brief();
        write!(f, "{what} {a} {b}")
    }
}

/// The steps that are to be done, in their order, and what else a driver has to do.
#[derive(Debug, Default)]
pub struct Work {
    /// The next one is the last.
    steps: Vec<Step>,
    /// Those that the current step has brought about, in their order.
    brought: Vec<Step>,
    orders: Orders,
    let_go: LetGo,
}

/// Dropping so many references takes about a millisecond.
const MUCH: usize = 2000;

/// What only the driver can do.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Orders {
    /// A call expires earlier than all those before: see [`Engine::next_deadline`](super::Engine).
    pub deadline: bool,
    /// Fencing tokens have to be reserved.
    pub tokens: bool,
    /// The manager has to shut down.
    pub shut_down: bool,
}

/// What is dropped once the session is unlocked: it may keep any number of objects alive.
#[derive(Debug, Default)]
pub struct LetGo {
    pins: Vec<Pin>,
    remains: Vec<Remains<Parked>>,
}

impl Work {
    /// Only this step is to be done.
    #[must_use]
    pub fn of(step: Step) -> Self {
        Self { steps: vec![step], ..Self::default() }
    }

    /// The next step. What it brings about comes before what was to come after it.
    #[inline]
    pub fn next_step(&mut self) -> Option<Step> {
        if self.brought.len() > 1 {
            self.steps.extend(self.brought.drain(1..).rev());
        }
        self.brought.pop().or_else(|| self.steps.pop())
    }

    /// Takes note of what the driver was asked to do.
    #[inline]
    pub fn take_orders(&mut self) -> Orders {
        std::mem::take(&mut self.orders)
    }

    /// Drops what is not needed any more. Call it with no lock held.
    #[inline]
    pub fn let_go(&mut self) {
        self.let_go.pins.clear();
        self.let_go.remains.clear();
    }

    /// What [`let_go`](Self::let_go) would drop, if that takes long: drop it where nobody waits, with no lock
    /// held.
    #[inline]
    pub fn much_to_let_go(&mut self) -> Option<LetGo> {
        let LetGo { pins, remains } = &self.let_go;
        let few = pins.len() < MUCH && remains.iter().all(|remains| remains.len() < MUCH);
        if few { None } else { Some(std::mem::take(&mut self.let_go)) }
    }

    #[inline]
    pub(super) fn then(&mut self, step: Step) {
        self.brought.push(step);
    }

    pub(super) fn orders(&mut self) -> &mut Orders {
        &mut self.orders
    }

    #[inline]
    pub(super) fn drop_later(&mut self, pin: Pin) {
        self.let_go.pins.push(pin);
    }

    #[inline]
    pub(super) fn drop_all_later(&mut self, pins: Vec<Pin>) {
        if !pins.is_empty() {
            self.let_go.pins.extend(pins);
        }
    }

    pub(super) fn drop_remains_later(&mut self, remains: Remains<Parked>) {
        self.let_go.remains.push(remains);
    }
}
