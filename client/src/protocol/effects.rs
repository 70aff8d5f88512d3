//! What others have to do after a step of the machine.

use std::{mem, task::Waker, time::Duration};

use mp_manager_proto::v1::reply;

use super::{
    arrived::Arrived,
    grants::Losses,
    request::Failure,
    slot::{Caller, HeldBack, Slot, Waiting},
};

/// The effects of one step, for whoever drives the machine to perform.
#[must_use]
pub(crate) struct Effects<H> {
    /// Guards whose grants are lost. They have to know before the machine takes another step: whoever
    /// looks at a guard must not find less than the machine has acted upon.
    pub(crate) losses: Losses,
    /// The stream of frames has something to send, or ends.
    pub(crate) sender: Option<Waker>,
    /// Callers whose calls go on.
    pub(crate) callers: Vec<Waker>,
    /// Replies whose callers are gone or have failed. Dropping their handles drives the machine again.
    pub(crate) unwanted: Vec<Arrived<H>>,
    /// A call needs a connection, or a sign of life on the one that is there.
    pub(crate) wants_connection: bool,
    /// A call may end by its own timeout at that time.
    pub(crate) due: Option<Duration>,
    /// The session is over, and there will be no other.
    pub(crate) is_over: bool,
}

impl<H> Default for Effects<H> {
    fn default() -> Self {
        Self {
            losses: Vec::new(),
            sender: None,
            callers: Vec::new(),
            unwanted: Vec::new(),
            wants_connection: false,
            due: None,
            is_over: false,
        }
    }
}

impl<H> Effects<H> {
    /// Whether there is nothing to do.
    #[inline]
    pub(crate) fn are_none(&self) -> bool {
        let Self { losses, sender, callers, unwanted, wants_connection, due, is_over } = self;
        losses.is_empty()
            && sender.is_none()
            && callers.is_empty()
            && unwanted.is_empty()
            && due.is_none()
            && !wants_connection
            && !is_over
    }

    /// Fails a call, whether its reply is there or not.
    pub(super) fn fail(&mut self, slot: &mut Slot<H>, failure: Failure) {
        self.settle(slot, Slot::Failed(Box::new(failure)));
    }

    /// Answers a call from this side.
    pub(super) fn answer(&mut self, slot: &mut Slot<H>, result: reply::Result, incarnation: u64) {
        let arrived = Box::new(Arrived { result, incarnation, handles: Vec::new() });
        let held = HeldBack { waker: None, deadline: None, _open: None };
        self.settle(slot, Slot::Replied(arrived, held));
    }

    fn settle(&mut self, slot: &mut Slot<H>, settled: Slot<H>) {
        match mem::replace(slot, settled) {
            Slot::Waiting(Waiting { caller: Caller::Waits(waker), .. }) => {
                self.callers.extend(waker);
            }
            Slot::Replied(arrived, held) => {
                self.callers.extend(held.waker);
                self.unwanted.push(*arrived);
            }
            Slot::Waiting(_) | Slot::Failed(_) => {}
        }
    }
}
