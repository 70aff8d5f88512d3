//! What a session holds: each grant that somebody has a guard for is told when it is lost.

use std::sync::Arc;

use mp_manager_proto::v1::request;
use tokio::sync::watch;

use super::{Shared, lose};
use crate::grant::Loss;

/// A grant that somebody has a guard for.
pub(super) struct Note {
    /// Several if an owner of a re-entrant lock came by it in several ways.
    pub(super) losses: Vec<Arc<watch::Sender<Option<Loss>>>>,
    pub(super) release: fn(u64) -> request::Op,
}

impl Note {
    /// Whether that was news to anybody.
    pub(super) fn lose(&self, why: Loss) -> bool {
        self.losses.iter().filter(|loss| lose(loss, why)).count() > 0
    }

    pub(super) fn is_lost(&self) -> bool {
        self.losses.iter().any(|loss| loss.borrow().is_some())
    }
}

impl Shared {
    /// Notes a grant of session `incarnation`, so that its loss is told by `sender`; `release` gives
    /// it back by its token.
    pub(crate) fn note_grant(
        &self,
        incarnation: u64,
        (object, token): (u64, u64),
        release: fn(u64) -> request::Op,
        sender: &Arc<watch::Sender<Option<Loss>>>,
    ) {
        let now = self.now();
        let mut state = self.lock();
        // It was handed over while the lease was good, which may have ended just now.
        state.look_at_lease(now);
        let why = if state.incarnation != incarnation {
            state.loss_of(incarnation)
        } else if state.over.is_some() {
            Loss::Session
        } else if state.early_losses.contains(&(object, token)) {
            Loss::Taken
        } else if state.lease_lost {
            state.give_back_late(object, release(token));
            Loss::Lease
        } else {
            let note = state.grants.entry((object, token));
            let note = note.or_insert_with(|| Note { losses: Vec::new(), release });
            note.losses.push(Arc::clone(sender));
            return;
        };
        lose(sender, why);
    }

    /// A grant of this session was taken away by this session.
    pub(crate) fn lose_grant(&self, object: u64, token: u64) {
        if let Some(note) = self.lock().grants.get(&(object, token)) {
            note.lose(Loss::Taken);
        }
    }

    /// The guard of a grant is gone, but not others that are of the same grant, or of the item that
    /// it had leased, which keeps its number when it is leased again.
    pub(crate) fn forget_grant(
        &self,
        object: u64,
        token: u64,
        loss: &Arc<watch::Sender<Option<Loss>>>,
    ) {
        let Some(mut state) = self.lock_at_home() else { return };
        state.lost_grants.remove(&(object, token));
        if let Some(note) = state.grants.get_mut(&(object, token)) {
            note.losses.retain(|known| !Arc::ptr_eq(known, loss));
            if note.losses.is_empty() {
                state.grants.remove(&(object, token));
            }
        }
    }

    /// Looks whether the lease has run out: whoever asks whether something is lost must know now,
    /// not when a timer comes round to it.
    pub(crate) fn look_at_lease(&self) {
        let now = self.now();
        if let Some(mut state) = self.lock_at_home() {
            state.look_at_lease(now);
        }
    }
}
