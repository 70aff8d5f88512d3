//! Classifies calls without an answer: whether they may have changed something that lasts, and how
//! they end when their timeout has passed.

use mp_manager_proto::{
    operation::{Waits, class},
    v1::{Empty, reply, request},
};

/// Whether it matters if this was executed in a session that is over. Looking at something does
/// not, nor does taking something that went back with the session, nor giving back what did.
pub(crate) fn may_last(op: &request::Op) -> bool {
    class(op).may_last
}

/// How a call ends when its timeout has passed and no answer has come.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expiry {
    /// The operation does not wait: no timeout is its own.
    Untimed,
    /// It only takes or looks: it ends with what the manager answers when the timeout passes. What
    /// it was handed meanwhile goes back.
    Answer(reply::Result),
    /// It may have changed something that lasts.
    Outcome,
    /// It waits for a lock after its timeout has passed, for as long as that takes.
    Relock,
}

/// How `op` ends when its timeout has passed.
pub(crate) fn expiry(op: &request::Op) -> Expiry {
    let class = class(op);
    match class.waits {
        Waits::Never => Expiry::Untimed,
        _ if class.may_last => Expiry::Outcome,
        Waits::BeyondItsTimeout => Expiry::Relock,
        Waits::UntilItsTimeout if class.awaits_state => Expiry::Answer(reply::Result::Flag(false)),
        Waits::UntilItsTimeout => Expiry::Answer(reply::Result::Absent(Empty {})),
    }
}
