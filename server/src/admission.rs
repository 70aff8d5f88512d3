//! Who may connect, and what becomes of those who may not.
//!
//! The rules are in [`policy`], what is said of the refused in [`refusals`]; here the two meet the
//! clock, the log and the connections.

mod counts;
mod policy;
mod refusals;

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

pub(crate) use counts::Cause;
use mp_manager_core::Error;
pub(crate) use policy::Peer;

use crate::{lock::lock, options::Limits};
use counts::Counts;
use policy::{Number, Policy};
use refusals::{Refusals, Treatment, WINDOW};

/// Whoever accepts connections asks it first. Its locks are leaves.
pub(crate) struct Admission {
    policy: Mutex<Policy<Arc<Notify>>>,
    refusals: Mutex<Refusals>,
    counts: Counts,
}

/// Connections in numbers.
#[derive(Debug)]
pub(crate) struct Connections {
    /// Those that are open.
    pub(crate) open: usize,
    /// Those of them that have not authenticated.
    pub(crate) strangers: usize,
    /// How many were let in since the beginning.
    pub(crate) accepted: u64,
    /// How many were turned away or closed since the beginning, for each cause.
    pub(crate) refused: Vec<(&'static str, u64)>,
}

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        let policy = Mutex::new(Policy::new(limits));
        Arc::new(Self { policy, refusals: Mutex::default(), counts: Counts::default() })
    }

    /// A place for a connection, until the permit is dropped.
    pub(crate) fn admit(self: &Arc<Self>, peer: Peer) -> Result<Permit, Error> {
        let close = Arc::new(Notify::new());
        let admitted = lock(&self.policy).admit(peer, Arc::clone(&close), Instant::now());
        let (number, expelled) = admitted.map_err(|refusal| {
            self.counts.count(refusal.into());
            Error::from(refusal)
        })?;
        if let Some(expelled) = expelled {
            self.displace(&expelled);
        }
        Ok(Permit { admission: Arc::clone(self), peer, number: Some(number), close })
    }

    /// What a connection has instead of a place while it is told that there is none.
    pub(crate) fn turn_away(self: &Arc<Self>, peer: Peer) -> Permit {
        Permit { admission: Arc::clone(self), peer, number: None, close: Arc::default() }
    }

    /// Closes a connection that has not authenticated, if there is one: its file descriptor is
    /// needed.
    pub(crate) fn make_room(&self) {
        let expelled = lock(&self.policy).expel();
        if let Some(expelled) = expelled {
            self.displace(&expelled);
        }
    }

    fn displace(&self, expelled: &Notify) {
        self.counts.count(Cause::Displaced);
        expelled.notify_one();
    }

    /// How many connections there are and were.
    pub(crate) fn connections(&self) -> Connections {
        let (open, strangers, accepted) = lock(&self.policy).numbers();
        Connections { open, strangers, accepted, refused: self.counts.read().to_vec() }
    }

    /// Logs that a client was refused, or counts it if there are too many of them; whether it was
    /// logged.
    pub(crate) fn log_refusal(
        self: &Arc<Self>,
        peer: Peer,
        name: impl fmt::Display,
        why: impl fmt::Display,
    ) -> bool {
        let treatment = lock(&self.refusals).note(peer, Instant::now());
        match treatment {
            Treatment::Aloud => tracing::warn!(peer = %name, "refused a client: {why}"),
            Treatment::Silent { summarise: true } => {
                let admission = Arc::clone(self);
                tokio::spawn(async move {
                    sleep(WINDOW).await;
                    let summary = lock(&admission.refusals).summary(Instant::now());
                    tracing::warn!("{summary}");
                });
            }
            Treatment::Silent { summarise: false } => {}
        }
        treatment == Treatment::Aloud
    }
}

/// A connection's place.
pub(crate) struct Permit {
    admission: Arc<Admission>,
    peer: Peer,
    /// None if it was turned away.
    number: Option<Number>,
    close: Arc<Notify>,
}

impl Permit {
    /// A proof was accepted.
    pub(crate) fn authenticated(&self) {
        if let Some(number) = self.number {
            lock(&self.admission.policy).authenticated(self.peer, number);
        }
    }

    /// The handshake failed, or what came after it broke the rules; too many of these, and the peer
    /// is not let in for a while.
    pub(crate) fn failed(&self) {
        lock(&self.admission.policy).failed(self.peer, Instant::now());
    }

    /// Counts that the connection is closed before it was of any use.
    pub(crate) fn count(&self, cause: Cause) {
        self.admission.counts.count(cause);
    }

    /// Logs that the client, known by this name, is refused.
    pub(crate) fn log_refusal(&self, name: &str, why: &str) {
        self.admission.log_refusal(self.peer, name, why);
    }

    /// Has the connection closed.
    pub(crate) fn close(&self) {
        self.close.notify_one();
    }

    /// Completes when the connection is to be closed.
    pub(crate) async fn closed(&self) {
        self.close.notified().await;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            lock(&self.admission.policy).release(self.peer, number, Instant::now());
        }
    }
}
