//! How an engine is set up, and where it has the time from.

use std::time::Duration;

use mp_manager_proto::v1;

use crate::{session, turn};

/// How an engine is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// Names this start of the manager in references.
    pub server_id: u64,
    /// Scatters hash tables; nothing anyone can see depends on it.
    pub hash_seed: u64,
    /// Clients are told not to wait for it to come back.
    pub ephemeral: bool,
    /// What may grow how far in all.
    pub totals: Totals,
    /// What may grow how far in one object.
    pub objects: turn::Limits,
    /// What may grow how far in one session.
    pub sessions: session::Limits,
    /// What clients keep to.
    pub clients: v1::Limits,
    /// Replies that weigh more than this together go into several frames, unless the client asks for
    /// shorter ones.
    pub frame_bytes: usize,
}

/// Limits of the manager as a whole.
#[derive(Debug, Clone)]
pub struct Totals {
    /// Objects.
    pub max_objects: usize,
    /// Sessions at a time.
    pub max_sessions: usize,
    /// Memory for objects, sessions and calls; beyond it, what grows is refused.
    pub max_memory_bytes: usize,
    /// Memory of a session with its connection, when its client has nothing open.
    pub session_bytes: usize,
    /// The longest name of an object.
    pub max_name_bytes: usize,
}

/// The driver's clocks, each since a moment of its own.
pub trait Clock: Send + Sync {
    /// What timeouts are measured with.
    fn monotonic(&self) -> Duration;

    /// What leases are measured with: it runs while the machine is suspended, too.
    fn boottime(&self) -> Duration;
}
