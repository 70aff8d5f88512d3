//! How a session is lost, and what becomes of its calls.

use mp_manager_proto::{reply::hands_over, v1::Error as Refusal};

use super::Machine;
use crate::protocol::{
    arrived::Counted,
    effects::Effects,
    grants::Loss,
    refusals::{lost_session, restarted},
    request::Failure,
    slot::{Caller, Slot, Waiting},
};

/// Why a session is lost.
pub(super) enum Cause {
    /// The manager does not have it any more.
    Forgotten,
    /// The manager started again.
    Restart,
    /// For this reason.
    Said(Refusal),
}

impl Cause {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Forgotten => lost_session(),
            Self::Restart => restarted(),
            Self::Said(why) => why.clone(),
        }
    }

    fn loss(&self) -> Loss {
        match self {
            Self::Restart => Loss::Restart,
            Self::Forgotten | Self::Said(_) => Loss::Session,
        }
    }
}

impl<H: Counted> Machine<H> {
    /// What was pending in the session fails, what was held is lost. What was not even sent goes on
    /// to the next session, if it makes sense there: at `server`.
    pub(super) fn lose_session(&mut self, why: Cause, server: u64, effects: &mut Effects<H>) {
        self.session.id = 0;
        self.incarnation += 1;
        let refusal = why.refusal();
        self.calls.retain(|slot| match slot {
            Slot::Waiting(waiting) => {
                if !waiting.sent && waiting.scope.fits(server) {
                    return true;
                }
                let is_gone = matches!(waiting.caller, Caller::Gone);
                let failure = waiting.fail(&refusal);
                effects.fail(slot, failure);
                !is_gone
            }
            Slot::Replied(arrived, _) if hands_over(&arrived.result) => {
                effects.fail(slot, Failure::Refused(refusal.clone()));
                true
            }
            Slot::Replied(..) | Slot::Failed(_) => true,
        });
        let calls = &self.calls;
        self.outbox.retain(|seq| matches!(calls.get(seq), Some(Slot::Waiting(_))));
        self.outbox.lose_session();
        self.grants.lose_session(why.loss(), &mut effects.losses);
        self.unblock(effects);
    }

    /// There is no next session.
    fn fail_the_rest(&mut self, why: &Refusal, effects: &mut Effects<H>) {
        self.outbox.retain(|_| false);
        self.calls.retain(|slot| match slot {
            Slot::Waiting(Waiting { caller: Caller::Gone, .. }) => false,
            Slot::Waiting(_) => {
                effects.fail(slot, Failure::Refused(why.clone()));
                true
            }
            Slot::Replied(..) | Slot::Failed(_) => true,
        });
    }

    /// Loses the session and fails everything, also what was not sent.
    pub(super) fn fail_all(&mut self, why: &Refusal, effects: &mut Effects<H>) {
        self.lose_session(Cause::Said(why.clone()), self.server, effects);
        self.fail_the_rest(why, effects);
    }

    /// It is all over: every call fails with `why`, and every grant is lost.
    pub(crate) fn end(&mut self, why: Refusal, effects: &mut Effects<H>) {
        if self.over.is_some() {
            return;
        }
        self.lose_session(Cause::Said(why.clone()), 0, effects);
        self.fail_the_rest(&why, effects);
        self.over = Some(why);
        self.connection += 1;
        self.unblock(effects);
        self.wake_sender(effects);
        effects.is_over = true;
    }
}
