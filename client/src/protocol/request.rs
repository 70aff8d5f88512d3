//! Requests: their numbers, where they mean something, and how they fail.

use mp_manager_proto::v1::{Error as Refusal, Request, request};

/// The number of a request in its session.
pub(crate) type Seq = u64;

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

/// A request that gives something back: it never waits.
pub(crate) fn giving_back(object: u64, op: request::Op) -> Request {
    Request { object, timeout_us: Some(0), op: Some(op), ..Request::default() }
}
