//! What every kind of object does, and how it refuses.

use std::fmt::Display;

use mp_manager_proto::v1::ObjectInfo;

use crate::{
    call::{Applied, Call, CallId, SessionId},
    cost::Cost,
    turn::Turn,
    v1::{Error, Reason},
};

/// What every kind of object does. See the crate's documentation for the life of a call.
pub(crate) trait Machine {
    /// The kind's operations.
    type Op;

    /// Executes an operation. It happens completely or, with an error, not at all.
    fn apply(&mut self, call: Call, op: Self::Op, turn: &mut Turn<'_>) -> Applied;

    /// How long an operation takes, about, beyond what it takes on an object with nothing in it. Called before
    /// every operation: it has to be cheap.
    fn cost(&self, op: &Self::Op) -> Cost;

    /// Whether an operation only puts values in the place of others that are no smaller.
    fn replaces(&self, _op: &Self::Op) -> bool {
        false
    }

    /// How long it takes to settle an acknowledgement, a cancel or a timeout of a call.
    fn cost_of_settling(&self, _call: CallId) -> Cost {
        0
    }

    /// How many calls, grants and items hear of a session's end or of the object's.
    fn crowd(&self) -> usize {
        0
    }

    /// How many there are to be dropped with it.
    fn elements(&self) -> usize {
        0
    }

    /// The caller has what an ownership answer handed over.
    fn acknowledge(&mut self, _call: CallId) {}

    /// The caller has gone: it stops waiting, or an unacknowledged ownership is taken back.
    fn cancel(&mut self, _call: CallId, _turn: &mut Turn<'_>) {}

    /// A parked call's timeout passed. Ignored if it is no longer parked.
    fn expire(&mut self, _call: CallId, _turn: &mut Turn<'_>) {}

    /// The session is over: its calls leave, and what it holds or has not acknowledged goes back.
    fn end_session(&mut self, _session: SessionId, _turn: &mut Turn<'_>) {}

    /// The object is deleted: every parked call is refused, every grant lost.
    fn delete(&mut self, _turn: &mut Turn<'_>) {}

    /// Whether the grant with this token stands.
    fn holds(&self, _token: u64) -> bool {
        false
    }

    /// Fills in `len`, `state`, `holders` and `waiters`.
    fn describe(&self, info: &mut ObjectInfo);

    /// The memory it takes beside itself, about. Called after every operation: it has to be cheap.
    fn bytes(&self) -> usize;
}

/// The error of a call that was parked in an object when it was deleted.
pub(crate) fn deleted() -> Error {
    Error::new(Reason::ObjectDeleted, "the object was deleted")
        .with_hint("open it again by name to use a new one")
}

/// An operation without a variant this server knows.
#[must_use]
pub fn unsupported() -> Error {
    Error::new(Reason::Unsupported, "this server does not know the operation")
        .with_hint("the client is newer than the server: upgrade the server first")
}

/// The error for parameters that differ from those an existing object was created with.
pub(crate) fn differs(what: &str, there: impl Display, asked: impl Display) -> Error {
    Error::new(
        Reason::ParametersDiffer,
        format!("the existing object has {what} {there}, not {asked}"),
    )
    .with_hint("open it with the same parameters, or use another name")
}
