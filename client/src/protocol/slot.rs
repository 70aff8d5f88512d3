//! One call of a session.

use std::{mem, sync::Arc, task::Waker, time::Duration};

use mp_manager_proto::v1::{Error as Refusal, Reason, Request};

use super::{
    arrived::Arrived,
    deadline::Deadline,
    outcome::may_last,
    refusals::unknown_outcome,
    request::{Failure, Scope},
};

/// Where a call stands.
///
/// ```text
///   waiting ──reply──► replied ──taken by its caller──► (gone)
///      │  └─session lost─► failed ──────┘
///      └──caller gone──► cancelled
/// ```
pub(super) enum Slot<H> {
    Waiting(Waiting),
    Replied(Box<Arrived<H>>, HeldBack),
    Failed(Box<Failure>),
}

pub(super) struct Waiting {
    pub(super) request: Box<Request>,
    pub(super) len: usize,
    pub(super) scope: Scope,
    /// Some connection took it out: it may have been executed.
    pub(super) sent: bool,
    pub(super) deadline: Option<Deadline>,
    /// When the manager was last asked for a sign of life, as the call's timeout has passed.
    pub(super) asked_at: Option<Duration>,
    pub(super) caller: Caller,
    pub(super) open: Open,
}

/// The caller of a reply that is there, which is withheld while the lease is lost.
pub(super) struct HeldBack {
    pub(super) waker: Option<Waker>,
    pub(super) deadline: Option<Deadline>,
    /// Until its caller takes what the reply hands over. Any other reply is acknowledged already.
    pub(super) _open: Option<Open>,
}

/// Counts a call among the open ones, as the manager does, for as long as it exists.
#[derive(Clone, Default)]
pub(super) struct Open(Arc<()>);

impl Open {
    /// How many calls are open. `self` is the one that the others are clones of.
    pub(super) fn count(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }
}

pub(super) enum Caller {
    Waits(Option<Waker>),
    /// Nobody waits for the reply.
    Gone,
}

impl Waiting {
    /// What its caller is told when the session is lost.
    pub(super) fn fail(&mut self, why: &Refusal) -> Failure {
        match (&self.request.op, self.scope) {
            (Some(op), _) if self.sent && may_last(op) => {
                Failure::Refused(unknown_outcome(&why.message))
            }
            (_, Scope::Server(_)) if !self.sent && why.reason() == Reason::ManagerRestarted => {
                Failure::Stale(mem::take(&mut self.request))
            }
            _ => Failure::Refused(why.clone()),
        }
    }
}

pub(super) fn note_waker(place: &mut Option<Waker>, waker: &Waker) {
    if !place.as_ref().is_some_and(|known| known.will_wake(waker)) {
        *place = Some(waker.clone());
    }
}
