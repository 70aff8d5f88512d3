//! What an object says of itself after every step: nobody waits for what is there, and nobody is in it
//! who has gone.

use mp_manager_core::{
    CallId, SessionId,
    v1::{Kind, ObjectInfo, Waiting},
};

#[derive(Default)]
pub(crate) struct Objects {
    pub(super) violations: Vec<String>,
}

impl Objects {
    /// What was wrong with one of them.
    pub(crate) fn found(&mut self, wrong: Vec<String>) {
        self.violations.extend(wrong);
    }
}

/// Whoever is next in line and could have what it waits for.
pub(crate) fn waits_in_vain(kind: Kind, info: &ObjectInfo) -> Option<String> {
    let first = |what: &str| info.waiters.iter().find(|waiting| waiting.what.starts_with(what));
    let waiting = match kind {
        Kind::Lock if info.len == 0 => info.waiters.first(),
        Kind::Rlock | Kind::Condition if info.holders.is_empty() => first("acquire"),
        Kind::Semaphore => first("acquire").filter(|waiting| permits(waiting) <= info.len),
        Kind::Event if info.len == 1 => info.waiters.first(),
        Kind::Queue if info.len > 0 => first("get").or_else(|| first("lease")),
        _ => None,
    }?;
    Some(format!("{kind:?}, {}: call {} waits ({})", info.state, waiting.seq, waiting.what))
}

/// How many it waits for: `acquire 2 permits`.
fn permits(waiting: &Waiting) -> u64 {
    waiting.what.split(' ').find_map(|word| word.parse().ok()).unwrap_or(1)
}

/// Whether a call is in line.
pub(crate) fn waits(info: &ObjectInfo, call: CallId) -> bool {
    info.waiters.iter().any(|waiting| (waiting.session, waiting.seq) == (call.session, call.seq))
}

/// Whether a session waits for something, or has something.
pub(crate) fn is_in(info: &ObjectInfo, session: SessionId) -> bool {
    let mut waiters = info.waiters.iter().map(|waiting| waiting.session);
    waiters.any(|waiting| waiting == session)
        || info.holders.iter().any(|holding| holding.session == session)
}

/// Items in a queue, and those that wait to be let in.
pub(crate) fn items(info: &ObjectInfo) -> u64 {
    let puts = info.waiters.iter().filter(|waiting| waiting.what.starts_with("put")).count();
    info.len + puts as u64
}
