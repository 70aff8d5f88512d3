//! The line in front of an object: first come, first served, and anyone may leave.

use std::collections::BTreeMap;

use mp_manager_proto::v1::{ObjectInfo, Waiting};

use crate::{
    call::{CallId, SessionId},
    description::add_waiters,
    memory::tree,
};

/// Parked calls in the order they came, each with what the object needs to know of it.
///
/// Everything is logarithmic in the length of the line, also leaving from its middle.
#[derive(Debug, Clone)]
pub(crate) struct Waiters<T> {
    line: BTreeMap<u64, (CallId, T)>,
    places: BTreeMap<CallId, u64>,
    next_place: u64,
}

impl<T> Default for Waiters<T> {
    fn default() -> Self {
        Self { line: BTreeMap::new(), places: BTreeMap::new(), next_place: 0 }
    }
}

impl<T> Waiters<T> {
    pub(crate) fn len(&self) -> usize {
        self.line.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// Joins at the end.
    pub(crate) fn push(&mut self, call: CallId, with: T) {
        self.line.insert(self.next_place, (call, with));
        self.places.insert(call, self.next_place);
        self.next_place += 1;
    }

    pub(crate) fn front(&self) -> Option<(CallId, &T)> {
        self.line.first_key_value().map(|(_, (call, with))| (*call, with))
    }

    pub(crate) fn pop_front(&mut self) -> Option<(CallId, T)> {
        let (_, (call, with)) = self.line.pop_first()?;
        self.places.remove(&call);
        Some((call, with))
    }

    /// The first of whom this holds leaves the line.
    pub(crate) fn pop_first(&mut self, holds: impl Fn(CallId) -> bool) -> Option<(CallId, T)> {
        let call = self.line.values().map(|(call, _)| *call).find(|call| holds(*call))?;
        self.remove(call).map(|with| (call, with))
    }

    /// Leaves the line; `None` if the call is not in it.
    pub(crate) fn remove(&mut self, call: CallId) -> Option<T> {
        let place = self.places.remove(&call)?;
        self.line.remove(&place).map(|(_, with)| with)
    }

    pub(crate) fn find(&self, call: CallId) -> Option<&T> {
        let place = self.places.get(&call)?;
        self.line.get(place).map(|(_, with)| with)
    }

    pub(crate) fn contains(&self, call: CallId) -> bool {
        self.places.contains_key(&call)
    }

    /// The calls of which this holds, in order.
    pub(crate) fn calls(&self, holds: impl Fn(&T) -> bool) -> Vec<CallId> {
        let calls = self.line.values().filter(|(_, with)| holds(with));
        calls.map(|(call, _)| *call).collect()
    }

    /// Everyone of one session leaves; in the order they called.
    pub(crate) fn remove_session(&mut self, session: SessionId) -> Vec<(CallId, T)> {
        let all = CallId { session, seq: 0 }..=CallId { session, seq: u64::MAX };
        let calls: Vec<_> = self.places.range(all).map(|(call, _)| *call).collect();
        calls.into_iter().filter_map(|call| Some((call, self.remove(call)?))).collect()
    }

    /// Everyone leaves, in order.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (CallId, T)> + use<T> {
        self.places.clear();
        std::mem::take(&mut self.line).into_values()
    }

    /// Everyone leaves, those of one session after those of another, each in the order they called.
    pub(crate) fn drain_by_session(&mut self) -> impl Iterator<Item = CallId> + use<T> {
        self.line.clear();
        std::mem::take(&mut self.places).into_keys()
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (CallId, &T)> {
        self.line.values().map(|(call, with)| (*call, with))
    }

    /// Adds the line to an object's description.
    pub(crate) fn describe(&self, info: &mut ObjectInfo, what: impl Fn(&T) -> String) {
        self.describe_calls(info, |_, with| what(with));
    }

    /// The same, where what they wait for depends on who they are.
    pub(crate) fn describe_calls(
        &self,
        info: &mut ObjectInfo,
        what: impl Fn(CallId, &T) -> String,
    ) {
        let waiting = |(call, with): &(CallId, T)| Waiting {
            session: call.session,
            seq: call.seq,
            what: what(*call, with),
        };
        add_waiters(info, self.line.values().map(waiting));
    }

    /// The memory it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        tree::<u64, (CallId, T)>(self.line.len()) + tree::<CallId, u64>(self.places.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(session: u64, seq: u64) -> CallId {
        CallId { session, seq }
    }

    #[test]
    fn the_line_keeps_its_order_when_someone_leaves() {
        let mut line = Waiters::default();
        for seq in 0..5 {
            line.push(call(seq % 2, seq), seq);
        }
        assert_eq!(line.remove(call(1, 1)), Some(1));
        assert_eq!(line.remove(call(1, 1)), None);
        assert_eq!(line.remove_session(0).len(), 3);
        assert_eq!(line.pop_front(), Some((call(1, 3), 3)));
        assert!(line.is_empty());
    }
}
