//! Who calls, and what comes of it.

use bytes::Bytes;
use mp_manager_proto::v1::{
    Arrival, Deliveries, Delivery, Empty, Entry, Error, Grant, Optionals, Page, PipeMessage, Swap,
    Woken, reply,
};

use crate::stored::{Pin, Stored};

/// One client's session.
pub type SessionId = u64;
/// Numbers the requests of a session.
pub type Seq = u64;
/// Names an object; never reused. 0 is the directory.
pub type ObjectId = u64;

/// Names one call for as long as anything about it is undecided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId {
    /// The caller's session.
    pub session: SessionId,
    /// The request within the session.
    pub seq: Seq,
}

/// A call as an object sees it.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// Which call.
    pub id: CallId,
    /// Whether the caller would wait; one that would not is parked only in an object that says why.
    pub may_wait: bool,
}

/// What became of a call that was not refused.
#[derive(Debug)]
pub enum Outcome {
    /// Here is the answer.
    Done(Answer),
    /// It waits inside the object.
    Parked,
}

/// What an object says to a call.
pub type Applied = Result<Outcome, Error>;

/// A reply, before it has a place to go.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What goes on the wire.
    pub result: reply::Result,
    /// Keeps the objects alive that the reply refers to.
    pub pins: Vec<Pin>,
    /// The reply hands something over that cancelling takes back: the object must hear of its
    /// acknowledgement.
    pub ownership: bool,
}

impl From<Answer> for Applied {
    fn from(answer: Answer) -> Self {
        Ok(Outcome::Done(answer))
    }
}

impl Answer {
    /// An answer that refers to no object and hands nothing over.
    #[must_use]
    pub fn new(result: reply::Result) -> Self {
        Self { result, pins: Vec::new(), ownership: false }
    }

    /// Marks the answer as handing something over.
    #[must_use]
    pub(crate) fn owned(mut self) -> Self {
        self.ownership = true;
        self
    }

    /// Adds what keeps `stored`'s references alive.
    #[must_use]
    pub(crate) fn pinned(mut self, stored: &Stored) -> Self {
        self.pins.extend(stored.pins().iter().cloned());
        self
    }

    /// Done, and there is nothing to say.
    #[must_use]
    pub fn done() -> Self {
        Self::new(reply::Result::Done(Empty {}))
    }

    /// There is none.
    #[must_use]
    pub fn absent() -> Self {
        Self::new(reply::Result::Absent(Empty {}))
    }

    pub(crate) fn flag(flag: bool) -> Self {
        Self::new(reply::Result::Flag(flag))
    }

    pub(crate) fn number(n: usize) -> Self {
        Self::new(reply::Result::Number(i64::try_from(n).unwrap_or(i64::MAX)))
    }

    pub(crate) fn raw(bytes: impl Into<Bytes>) -> Self {
        Self::new(reply::Result::Raw(bytes.into()))
    }

    pub(crate) fn value(stored: &Stored) -> Self {
        Self::new(reply::Result::Value(stored.to_wire())).pinned(stored)
    }

    pub(crate) fn value_or_absent(stored: Option<&Stored>) -> Self {
        stored.map_or_else(Self::absent, Self::value)
    }

    pub(crate) fn entry(key: Bytes, stored: &Stored) -> Self {
        let entry = Entry { key, value: Some(stored.to_wire()) };
        Self::new(reply::Result::Entry(entry)).pinned(stored)
    }

    pub(crate) fn swap(swapped: bool, current: Option<&Stored>) -> Self {
        let swap = Swap { swapped, current: current.map(Stored::to_wire) };
        let answer = Self::new(reply::Result::Swap(swap));
        current.into_iter().fold(answer, Self::pinned)
    }

    pub(crate) fn page(page: Page, pins: Vec<Pin>) -> Self {
        Self { pins, ..Self::new(reply::Result::Page(page)) }
    }

    pub(crate) fn optionals(optionals: Optionals, pins: Vec<Pin>) -> Self {
        Self { pins, ..Self::new(reply::Result::Optionals(optionals)) }
    }

    pub(crate) fn grant(token: u64, depth: u64) -> Self {
        Self::new(reply::Result::Grant(Grant { token, depth })).owned()
    }

    pub(crate) fn woken(woken: Woken) -> Self {
        Self::new(reply::Result::Woken(woken)).owned()
    }

    pub(crate) fn arrival(arrival: Arrival) -> Self {
        Self::new(reply::Result::Arrival(arrival))
    }

    pub(crate) fn delivery(delivery: Delivery, pins: Vec<Pin>) -> Self {
        Self { pins, ..Self::new(reply::Result::Delivery(delivery)) }.owned()
    }

    pub(crate) fn deliveries(deliveries: Vec<Delivery>, pins: Vec<Pin>) -> Self {
        Self { pins, ..Self::new(reply::Result::Deliveries(Deliveries { deliveries })) }.owned()
    }

    pub(crate) fn message(message: PipeMessage, pins: Vec<Pin>) -> Self {
        Self { pins, ..Self::new(reply::Result::Message(message)) }.owned()
    }
}
