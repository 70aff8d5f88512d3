//! Descriptions of objects and sessions: how far they go, and what they weigh.

use mp_manager_proto::v1::{Holding, ObjectInfo, SessionInfo, Waiting};

/// A description names so many holders and as many waiters, and counts the others: it must neither take
/// long nor weigh much, however many there are.
const MAX_NAMED: usize = 1000;

/// Adds those who hold something.
pub(crate) fn add_holders(info: &mut ObjectInfo, holders: impl ExactSizeIterator<Item = Holding>) {
    info.more_holders += add(&mut info.holders, holders);
}

/// Adds those who wait, in the order of the line.
pub(crate) fn add_waiters(info: &mut ObjectInfo, waiters: impl ExactSizeIterator<Item = Waiting>) {
    info.more_waiters += add(&mut info.waiters, waiters);
}

/// Adds as many as there is room for; how many are left out.
fn add<T>(named: &mut Vec<T>, all: impl ExactSizeIterator<Item = T>) -> u64 {
    let room = MAX_NAMED.saturating_sub(named.len());
    let left_out = all.len().saturating_sub(room);
    named.extend(all.take(room));
    left_out as u64
}

/// What a description weighs in memory, about.
pub(crate) fn weight(info: &ObjectInfo) -> usize {
    let holders = info.holders.iter().map(|holding| size_of::<Holding>() + holding.what.len());
    let waiters = info.waiters.iter().map(|waiting| size_of::<Waiting>() + waiting.what.len());
    let named = holders.sum::<usize>() + waiters.sum::<usize>();
    size_of::<ObjectInfo>() + info.name.len() + info.state.len() + named
}

/// What a session's description weighs in memory, about.
pub(crate) fn session_weight(info: &SessionInfo) -> usize {
    size_of::<SessionInfo>() + info.process.len() + info.host.len() + info.peer.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_there_is_room_for_are_named_and_the_others_counted() {
        let waiting = |seq: u32| Waiting { session: 1, seq: seq.into(), what: "get".into() };
        let mut info = ObjectInfo::default();
        add_waiters(&mut info, (0..600).map(waiting));
        assert_eq!((info.waiters.len(), info.more_waiters), (600, 0));
        add_waiters(&mut info, (600..1500).map(waiting));
        add_waiters(&mut info, (1500..1502).map(waiting));
        assert_eq!((info.waiters.len(), info.more_waiters), (1000, 502));
        assert!((0..1000_u64).eq(info.waiters.iter().map(|waiting| waiting.seq)));
        assert!(weight(&info) > 1000 * size_of::<Waiting>());
    }
}
