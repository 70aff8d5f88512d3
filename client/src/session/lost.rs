//! How a session is lost, and what has to be told to whom then.

use std::{mem, task::Waker};

use mp_manager_proto::v1::{Error as Refusal, reply};

use super::{
    Arrived, Failure,
    refusals::{lost_session, restarted},
    slot::{Caller, HeldBack, Slot, Waiting},
};
use crate::grant::Loss;

/// Why a session is lost.
pub(super) enum Lost {
    /// The manager does not have it any more.
    Session,
    /// The manager started again.
    Restart,
    /// For this reason.
    Said(Refusal),
}

impl Lost {
    pub(super) fn refusal(&self) -> Refusal {
        match self {
            Self::Session => lost_session(),
            Self::Restart => restarted(),
            Self::Said(why) => why.clone(),
        }
    }

    pub(super) fn loss(&self) -> Loss {
        match self {
            Self::Restart => Loss::Restart,
            Self::Session | Self::Said(_) => Loss::Session,
        }
    }
}

/// Work to do once the state is unlocked.
#[derive(Default)]
#[must_use]
pub(super) struct Afterwards {
    pub(super) wakers: Vec<Waker>,
    /// Replies that nobody gets. Their handles lock the state when they go.
    pub(super) unwanted: Vec<Arrived>,
}

impl Afterwards {
    /// Fails a call, whether its reply is there or not.
    pub(super) fn fail(&mut self, slot: &mut Slot, failure: Failure) {
        self.settle(slot, Slot::Failed(Box::new(failure)));
    }

    /// Answers a call from this side.
    pub(super) fn answer(&mut self, slot: &mut Slot, result: reply::Result, incarnation: u64) {
        let arrived = Box::new(Arrived { result, incarnation, handles: Vec::new() });
        self.settle(
            slot,
            Slot::Replied(arrived, HeldBack { waker: None, deadline: None, _open: None }),
        );
    }

    fn settle(&mut self, slot: &mut Slot, settled: Slot) {
        match mem::replace(slot, settled) {
            Slot::Waiting(Waiting { caller: Caller::Waits(waker), .. }) => {
                self.wakers.extend(waker)
            }
            Slot::Replied(arrived, held) => {
                self.wakers.extend(held.waker);
                self.unwanted.push(*arrived);
            }
            Slot::Waiting(_) | Slot::Failed(_) => {}
        }
    }

    pub(super) fn take_place(self) {
        drop(self.unwanted);
        self.wakers.into_iter().for_each(Waker::wake);
    }
}
