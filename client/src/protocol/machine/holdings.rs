//! What the session holds, and the lease that it holds it by.

use std::time::Duration;

use mp_manager_proto::{
    encoded_len,
    v1::{Fence, request},
};

use super::Machine;
use crate::protocol::{
    arrived::Counted,
    effects::Effects,
    grants::{GrantId, Guard, Loss, LossListener},
    request::{Scope, giving_back},
    slot::{Caller, Slot},
};

/// Whether a grant stands whose guard is noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Noted {
    /// It stands; its loss will be among the effects.
    Held,
    /// It is lost already.
    Lost(Loss),
}

impl<H: Counted> Machine<H> {
    /// Notes the guard of a grant that session `incarnation` was given; `release` gives it back by its
    /// token.
    pub(crate) fn note_grant(
        &mut self,
        incarnation: u64,
        grant: GrantId,
        guard: Guard,
        release: fn(u64) -> request::Op,
        now: Duration,
        effects: &mut Effects<H>,
    ) -> Noted {
        // It was handed over while the lease was good, which may have ended just now.
        self.look_at_lease(now, effects);
        if self.incarnation != incarnation {
            return Noted::Lost(self.grants.end_of(self.incarnation - incarnation));
        }
        if self.over.is_some() || self.is_leaving() {
            return Noted::Lost(Loss::Session);
        }
        if self.grants.is_lost_early(grant) {
            return Noted::Lost(Loss::Taken);
        }
        if self.lease_lost {
            let (object, token) = grant;
            self.give_back_late(object, release(token), effects);
            return Noted::Lost(Loss::Lease);
        }
        self.grants.note(grant, guard, release);
        Noted::Held
    }

    /// Whether a grant that has no guard is known to be lost, with its session or without. Its lease is not
    /// looked at, as it may go on.
    #[cfg(feature = "process")]
    pub(crate) fn is_lost(&self, incarnation: u64, grant: GrantId) -> bool {
        self.incarnation != incarnation || self.over.is_some() || self.grants.is_lost_early(grant)
    }

    /// A grant of this session was taken away by this session.
    pub(crate) fn lose_grant(&mut self, grant: GrantId, effects: &mut Effects<H>) {
        self.grants.lose_held(grant, &mut effects.losses);
    }

    /// The guard of a grant is gone.
    pub(crate) fn forget_grant(&mut self, grant: GrantId, guard: &dyn LossListener) {
        self.grants.forget(grant, guard);
    }

    /// Whether a guard that is still there has lost this grant.
    pub(super) fn has_lost(
        &mut self,
        fence: Fence,
        now: Duration,
        effects: &mut Effects<H>,
    ) -> bool {
        self.look_at_lease(now, effects);
        self.grants.has_lost((fence.lock, fence.token))
    }

    /// Whether nothing is handed over now, as others may have been given it.
    pub(super) fn withholds(&self) -> bool {
        self.lease_lost || self.is_leaving()
    }

    /// Loses every grant if the lease is over. The manager is asked to take them back as soon as there is
    /// a connection.
    pub(crate) fn look_at_lease(&mut self, now: Duration, effects: &mut Effects<H>) {
        if self.lease_lost || self.session.id == 0 || now < self.lease.lost_at() {
            return;
        }
        self.lease_lost = true;
        for (object, release) in self.grants.lose_lease(&mut effects.losses) {
            self.give_back_late(object, release, effects);
        }
    }

    /// Releases a grant with the next frame, if the session is still there then.
    fn give_back_late(&mut self, object: u64, release: request::Op, effects: &mut Effects<H>) {
        let release = giving_back(object, release);
        let len = encoded_len(&release);
        let scope = Scope::Session(self.incarnation);
        self.enqueue(Box::new(release), len, scope, None, Caller::Gone, effects);
    }

    /// The manager has heard of us: what arrived may be handed over again.
    pub(super) fn regain_lease(&mut self, now: Duration, effects: &mut Effects<H>) {
        if !self.lease_lost || now >= self.lease.lost_at() {
            return;
        }
        self.lease_lost = false;
        for slot in self.calls.slots_mut() {
            if let Slot::Replied(_, held) = slot {
                effects.callers.extend(held.waker.take());
            }
        }
    }
}
