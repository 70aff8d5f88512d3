//! How sessions end.

use std::sync::atomic::Ordering;

use super::{
    Engine,
    client::{Attachment, Client, ClientState},
    step::{Step, Work},
};
use crate::{Error, Reason, call::CallId, lock::lock};

impl Engine {
    /// Ends a session: parked calls go, unacknowledged ownership goes back, everything held is released.
    /// `why` is said to the client, if it still listens. False if it had ended.
    pub fn end(
        &self,
        client: &Client,
        state: &mut ClientState,
        why: Option<Error>,
        work: &mut Work,
    ) -> bool {
        if !state.session.end() {
            return false;
        }
        let session = client.id();
        let remains = client.end(why);
        for (seq, parked) in remains.parked() {
            if let Some(deadline) = parked.deadline {
                self.deadlines.remove(deadline, CallId { session, seq });
            }
        }
        for cell in std::mem::take(&mut state.touched).into_values() {
            if let Some(cell) = cell.upgrade() {
                work.then(Step::EndSession(cell, session));
            }
        }
        work.then(Step::Forget(session));
        work.drop_remains_later(remains);
        true
    }

    /// As [`end`](Self::end), unless the session has been resumed on another connection.
    pub fn end_attached(
        &self,
        attachment: &Attachment,
        state: &mut ClientState,
        why: Option<Error>,
        work: &mut Work,
    ) -> bool {
        state.session.is_current(attachment.generation)
            && self.end(&attachment.client, state, why, work)
    }

    /// A connection is closed whose stream was never opened. On a unix socket a session that began on
    /// it has ended; one that was resumed on it goes on, as its client may have seen only this connection
    /// fail.
    pub fn closed_unused(
        &self,
        attachment: &Attachment,
        state: &mut ClientState,
        is_unix: bool,
        work: &mut Work,
    ) {
        if is_unix && attachment.is_first() {
            self.end_attached(attachment, state, None, work);
        }
    }

    /// A session has ended, and its objects have heard.
    pub(super) fn forget(&self, session: crate::SessionId) {
        self.clients.remove(session);
        lock(&self.leases).forget(session);
    }

    /// From now on nothing new begins. The sessions have to be [ended](Self::end) one after the other,
    /// with [`shutting_down`].
    pub fn shut_down(&self) {
        self.shutting_down.store(true, Ordering::SeqCst);
    }

    /// Whether it is shutting down.
    #[must_use]
    pub fn is_shutting_down(&self) -> bool {
        self.shutting_down.load(Ordering::SeqCst)
    }
}

/// What clients are told when the manager stops.
#[must_use]
pub fn shutting_down() -> Error {
    Error::new(Reason::ShuttingDown, "the manager is shutting down")
        .with_hint("once it runs again, clients that were not closed connect by themselves")
}
