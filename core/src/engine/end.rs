//! How sessions end.

use std::sync::atomic::Ordering;

use super::{
    Engine,
    client::{Attachment, Client, ClientState},
    counters::Cause,
    step::{Ending, Step, Work},
};
use crate::{
    Error, Reason,
    call::CallId,
    cost::{self, Cost, times},
    lock::lock,
};

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
        let ends = state.session.end();
        if ends {
            self.ended(client, state, Cause::of(why.as_ref()), why, work);
        }
        ends
    }

    /// A session has just ended: its objects hear of it.
    pub(super) fn ended(
        &self,
        client: &Client,
        state: &mut ClientState,
        cause: Cause,
        why: Option<Error>,
        work: &mut Work,
    ) {
        self.counters.ended(cause);
        let (session, remains) = (client.id(), client.end(why));
        let touched = std::mem::take(&mut state.touched).into_values();
        let is_long = self.is_long(times(touched.len() + remains.len(), cost::ANSWER));
        work.then(Step::End(Ending { session, remains: Some(remains), touched, is_long }));
    }

    /// The next object that a session has touched hears of its end.
    pub(super) fn go_on_ending(&self, mut ending: Ending, work: &mut Work) {
        let session = ending.session;
        if let Some(remains) = ending.remains.take() {
            for (seq, parked) in remains.parked() {
                if let Some(deadline) = parked.deadline {
                    self.deadlines.remove(deadline, CallId { session, seq });
                }
            }
            work.drop_remains_later(remains);
        }
        match ending.touched.find_map(|cell| cell.upgrade()) {
            Some(cell) => {
                work.then(Step::EndSession(cell, session));
                work.then(Step::End(ending));
            }
            None => work.then(Step::Forget(session)),
        }
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

    /// Whether something is to be done where nobody waits.
    #[inline]
    pub(super) fn is_long(&self, cost: Cost) -> bool {
        cost >= self.config.objects.heavy_from
    }

    /// A session has ended, and its objects have heard.
    pub(super) fn forget(&self, session: crate::SessionId) {
        if let Some(client) = self.clients.remove(session) {
            client.close_account();
        }
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
