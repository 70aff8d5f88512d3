//! What an object says of itself after every step: nobody waits for what is there, and nobody is in it
//! who has gone.

use std::sync::Arc;

use mp_manager_core::{
    CallId, SessionId,
    engine::{Cell, Counts, Engine},
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
        Kind::Pool if info.len > 0 => first("take"),
        _ => None,
    }?;
    Some(format!("{kind:?}, {}: call {} waits ({})", info.state, waiting.seq, waiting.what))
}

/// How many it waits for: `acquire 2 permits`.
fn permits(waiting: &Waiting) -> u64 {
    waiting.what.split(' ').find_map(|word| word.parse().ok()).unwrap_or(1)
}

/// The memory that everything takes together is what its parts take one by one.
pub(crate) fn wrong_books(engine: &Engine) -> Option<String> {
    let (sum, booked) = (engine.audit()?, engine.bytes());
    let objects: usize = engine.objects().iter().filter_map(|cell| cell.bytes()).sum();
    let max = engine.config().totals.max_memory_bytes;
    // What is begun below the budget may go beyond it.
    if objects > max + 20_000 {
        return Some(format!("objects take {objects} bytes, and the budget is {max}"));
    }
    (sum != booked).then(|| format!("everything takes {sum} bytes, and {booked} are booked"))
}

/// What is left when all sessions are over: objects that nothing refers to, and deadlines of nobody.
pub(crate) fn leaked(engine: &Engine) -> Vec<String> {
    let mut wrong = Vec::new();
    let Counts { objects: count, deadlines, .. } = engine.counts();
    let objects = engine.objects();
    if count != objects.len() {
        wrong.push(format!("{count} objects are counted, and {} are there", objects.len()));
    }
    if deadlines > 0 {
        wrong.push(format!("{deadlines} calls of nobody have a deadline"));
    }
    let is_deleted = |cell: &&Arc<Cell>| !cell.is_busy() && cell.look(|_| ()).is_none();
    if let Some(cell) = objects.iter().find(is_deleted) {
        wrong.push(format!("{cell:?} is deleted, and still there"));
    }
    let referring: u64 = objects
        .iter()
        .map(|cell| cell.describe())
        .filter(|info| info.name == PARCELS)
        .map(|info| info.len)
        .sum();
    let unnamed = objects.iter().filter(|cell| cell.describe().name.is_empty()).count() as u64;
    if unnamed != referring {
        wrong.push(format!("{unnamed} objects have no name, and {referring} references are kept"));
    }
    wrong
}

/// The dict whose values refer to one object each; no other value refers to any.
pub(crate) const PARCELS: &str = "parcels";

/// What a cancelled call has left behind.
pub(crate) fn remains_of_cancelled(
    before: &ObjectInfo,
    after: &ObjectInfo,
    call: CallId,
) -> Option<String> {
    if waits(after, call) {
        return Some(format!("{call:?} was cancelled, and waits"));
    }
    let was_put = before.kind() == Kind::Queue
        && before
            .waiters
            .iter()
            .any(|waiting| is(waiting, call) && waiting.what.starts_with("put"));
    (was_put && items(after) != items(before) - 1)
        .then(|| format!("{call:?} was cancelled, and its item is in the queue"))
}

/// What is left of a call whose time is over. Whoever waited on a condition waits for its lock then.
pub(crate) fn remains_of_expired(after: &ObjectInfo, call: CallId) -> Option<String> {
    (after.kind() != Kind::Condition && waits(after, call))
        .then(|| format!("the time of {call:?} is over, and it waits"))
}

/// What is left of a session that has ended. What a guarded worker had waits for its guardian.
pub(crate) fn remains_of_ended(after: &ObjectInfo, session: SessionId) -> Option<String> {
    is_in(after, session)
        .then(|| format!("session {session} has ended, and is in object {}", after.object))
}

/// Whether a call is in line.
fn waits(info: &ObjectInfo, call: CallId) -> bool {
    info.waiters.iter().any(|waiting| is(waiting, call))
}

fn is(waiting: &Waiting, call: CallId) -> bool {
    (waiting.session, waiting.seq) == (call.session, call.seq)
}

/// Whether a session waits for something, or has something.
fn is_in(info: &ObjectInfo, session: SessionId) -> bool {
    let mut waiters = info.waiters.iter().map(|waiting| waiting.session);
    waiters.any(|waiting| waiting == session)
        || info.holders.iter().any(|holding| {
            holding.session == session && !holding.what.ends_with("its worker was lost")
        })
}

/// Items in a queue, and those that wait to be let in.
fn items(info: &ObjectInfo) -> u64 {
    let puts = info.waiters.iter().filter(|waiting| waiting.what.starts_with("put")).count();
    info.len + puts as u64
}
