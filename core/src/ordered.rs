//! A map that remembers the order of insertion, as Python's dict does.
//!
//! CPython's own layout: a vector of entries, with tombstones, in the order they were inserted, and
//! a hash table of positions in it. Each entry has an ordinal that never changes, so a cursor stays
//! good when the vector is compacted.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use mp_manager_proto::error::{Error, Reason};

use crate::{
    compact::Compact,
    cost::{self, Cost, times},
    memory::{block, row},
};

#[derive(Debug, Clone)]
struct Slot<V> {
    ordinal: u64,
    /// `None` is a tombstone.
    entry: Option<(Compact, V)>,
}

/// Where a slot is, in half of the memory that a `usize` takes.
type Position = u32;

/// As many slots as there are positions: more entries than that take hundreds of gigabytes.
const MAX_SLOTS: usize = if cfg!(test) { 1 << 12 } else { Position::MAX as usize };

/// Insertion-ordered; the seed decides where entries sit in the table, never their order.
#[derive(Debug, Clone)]
pub(crate) struct OrderedMap<V> {
    slots: Vec<Slot<V>>,
    table: HashTable<Position>,
    hasher: FixedState,
    next_ordinal: u64,
}

impl<V> OrderedMap<V> {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            slots: Vec::new(),
            table: HashTable::new(),
            hasher: FixedState::with_seed(seed),
            next_ordinal: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&V> {
        self.slots[self.position(key)? as usize].entry.as_ref().map(|(_, value)| value)
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        self.position(key).is_some()
    }

    /// Refuses to grow by `count` more than a map can hold.
    pub(crate) fn check_room(&self, count: usize) -> Result<(), Error> {
        if self.slots.len().saturating_add(count) <= MAX_SLOTS {
            return Ok(());
        }
        let message = format!("there are {} entries, and no room for {count} more", self.len());
        Err(Error::new(Reason::LimitExceeded, message).with_hint("use several objects"))
    }

    /// Puts the value in the key's place, or at the end if it has none; returns the old one. Whoever adds entries
    /// has [checked](Self::check_room) that there is room.
    pub(crate) fn insert(&mut self, key: Compact, value: V) -> Option<V> {
        let position = self.position(&key);
        let there = position.and_then(|position| self.slots[position as usize].entry.as_mut());
        if let Some((_, old)) = there {
            return Some(std::mem::replace(old, value));
        }
        let hash = self.hasher.hash_one(&key[..]);
        let position = self.next_position();
        self.slots.push(Slot { ordinal: self.next_ordinal, entry: Some((key, value)) });
        self.next_ordinal += 1;
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.table.insert_unique(hash, position, |&position| hash_at(slots, position, hasher));
        None
    }

    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<V> {
        let hash = self.hasher.hash_one(key);
        let slots = &self.slots;
        let found = self.table.find_entry(hash, |&position| is_at(slots, position, key)).ok()?;
        let (position, _) = found.remove();
        let (_, value) = self.slots[position as usize].entry.take()?;
        self.tidy();
        Some(value)
    }

    /// Removes the entry that was inserted last.
    pub(crate) fn pop_last(&mut self) -> Option<(Compact, V)> {
        // `tidy` leaves no tombstones at the end.
        let slot = self.slots.pop()?;
        let position = self.next_position();
        let hash = slot.hash(&self.hasher);
        if let Ok(found) = self.table.find_entry(hash, |&p| p == position) {
            found.remove();
        }
        self.tidy();
        slot.entry
    }

    pub(crate) fn clear(&mut self) {
        self.slots = Vec::new();
        self.table = HashTable::new();
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&Compact, &V)> {
        self.slots.iter().filter_map(|slot| slot.entry.as_ref().map(|(key, value)| (key, value)))
    }

    /// The entries from the ordinal `cursor` on, the ordinal first; `reverse` goes towards the
    /// beginning. Whatever is present throughout is met exactly once, whatever happens between.
    pub(crate) fn after_cursor(
        &self,
        cursor: Option<u64>,
        reverse: bool,
    ) -> Box<dyn Iterator<Item = (u64, &Compact, &V)> + '_> {
        let live = |slot: &'_ Slot<V>| slot.entry.is_some();
        fn entry<V>(slot: &Slot<V>) -> Option<(u64, &Compact, &V)> {
            slot.entry.as_ref().map(|(key, value)| (slot.ordinal, key, value))
        }
        if reverse {
            let end = cursor.map_or(self.slots.len(), |cursor| {
                self.slots.partition_point(|slot| slot.ordinal <= cursor)
            });
            Box::new(self.slots[..end].iter().rev().filter(move |s| live(s)).filter_map(entry))
        } else {
            let start =
                cursor.map_or(0, |cursor| self.slots.partition_point(|slot| slot.ordinal < cursor));
            Box::new(self.slots[start..].iter().filter(move |s| live(s)).filter_map(entry))
        }
    }

    /// How long it takes to make room for `count` more, beyond finding their places.
    pub(crate) fn cost_of_growing(&self, count: usize) -> Cost {
        let grows = self.table.len() + count > self.table.capacity();
        if grows { times(self.table.len(), cost::REHASH) } else { 0 }
    }

    /// How long it takes to tidy up after `count` were removed.
    pub(crate) fn cost_of_shrinking(&self, count: usize) -> Cost {
        let is_tidied = self.slots.len() >= 2 * self.len().saturating_sub(count)
            || self.stands_empty(self.slots.len().saturating_sub(count));
        if is_tidied { times(self.slots.len(), cost::VISIT + cost::REHASH) } else { 0 }
    }

    /// How long it takes to pass over what was removed.
    pub(crate) fn cost_of_gaps(&self) -> Cost {
        times(self.slots.len() - self.len(), cost::VISIT)
    }

    /// The memory it takes beside what its keys and values do.
    pub(crate) fn bytes(&self) -> usize {
        let slots = row::<Slot<V>>(self.slots.len(), self.slots.capacity());
        slots + block(self.table.allocation_size())
    }

    /// Where the next slot is going to be.
    fn next_position(&self) -> Position {
        Position::try_from(self.slots.len()).unwrap_or(Position::MAX)
    }

    fn position(&self, key: &[u8]) -> Option<Position> {
        let hash = self.hasher.hash_one(key);
        self.table.find(hash, |&position| is_at(&self.slots, position, key)).copied()
    }

    /// Drops the tombstones at the end, and all of them once they outnumber the entries; gives memory back
    /// once three quarters of it stand empty.
    fn tidy(&mut self) {
        while self.slots.last().is_some_and(|slot| slot.entry.is_none()) {
            self.slots.pop();
        }
        if self.slots.len() >= 32 && self.slots.len() >= 2 * self.len() {
            self.slots.retain(|slot| slot.entry.is_some());
            self.table.clear();
            let (slots, hasher) = (&self.slots, &self.hasher);
            for (position, slot) in (0..).zip(slots) {
                self.table.insert_unique(slot.hash(hasher), position, |&position| {
                    hash_at(slots, position, hasher)
                });
            }
        }
        if self.stands_empty(self.slots.len()) {
            let wanted = 2 * self.table.len();
            self.slots.shrink_to(wanted);
            let (slots, hasher) = (&self.slots, &self.hasher);
            self.table.shrink_to(wanted, |&position| hash_at(slots, position, hasher));
        }
    }

    /// Whether three quarters of the memory for slots are empty if it has so many.
    fn stands_empty(&self, slots: usize) -> bool {
        self.slots.capacity() >= 64 && slots < self.slots.capacity() / 4
    }
}

impl<V> Slot<V> {
    /// Made anew where it is needed, as it takes less time than memory. A tombstone is in no table.
    fn hash(&self, hasher: &FixedState) -> u64 {
        self.entry.as_ref().map_or(0, |(key, _)| hasher.hash_one(&key[..]))
    }
}

fn hash_at<V>(slots: &[Slot<V>], position: Position, hasher: &FixedState) -> u64 {
    slots[position as usize].hash(hasher)
}

fn is_at<V>(slots: &[Slot<V>], position: Position, key: &[u8]) -> bool {
    slots[position as usize].entry.as_ref().is_some_and(|(found, _)| found[..] == *key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Op {
        Insert(u8, u32),
        Remove(u8),
        PopLast,
        Clear,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            8 => (any::<u8>(), any::<u32>()).prop_map(|(key, value)| Op::Insert(key, value)),
            6 => any::<u8>().prop_map(Op::Remove),
            2 => Just(Op::PopLast),
            1 => Just(Op::Clear),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_vector_of_pairs(ops in prop::collection::vec(op(), 0..600), seed: u64) {
            let mut map = OrderedMap::new(seed);
            let mut model: Vec<(u8, u32)> = Vec::new();
            for op in ops {
                match op {
                    Op::Insert(key, value) => {
                        let old = map.insert(Compact::new(&[key]), value);
                        if let Some(entry) = model.iter_mut().find(|(k, _)| *k == key) {
                            prop_assert_eq!(old, Some(entry.1));
                            entry.1 = value;
                        } else {
                            prop_assert_eq!(old, None);
                            model.push((key, value));
                        }
                    }
                    Op::Remove(key) => {
                        let at = model.iter().position(|(k, _)| *k == key);
                        prop_assert_eq!(map.remove(&[key]), at.map(|at| model.remove(at).1));
                    }
                    Op::PopLast => {
                        let popped = map.pop_last().map(|(key, value)| (key[0], value));
                        prop_assert_eq!(popped, model.pop());
                    }
                    Op::Clear => {
                        map.clear();
                        model.clear();
                    }
                }
                prop_assert_eq!(map.len(), model.len());
                prop_assert!(map.iter().map(|(k, v)| (k[0], *v)).eq(model.iter().copied()));
                for (key, value) in &model {
                    prop_assert_eq!(map.get(&[*key]), Some(value));
                }
            }
        }

        #[test]
        fn a_full_map_takes_no_more_until_something_is_removed(more in 1_usize..10) {
            let mut map = OrderedMap::new(0);
            let key = |n: usize| Compact::new(&n.to_be_bytes());
            for n in 0..MAX_SLOTS {
                map.insert(key(n), n);
            }
            prop_assert!(map.check_room(0).is_ok());
            prop_assert_eq!(map.check_room(more).unwrap_err().reason(), Reason::LimitExceeded);
            prop_assert_eq!(map.get(&key(MAX_SLOTS - 1)), Some(&(MAX_SLOTS - 1)));
            for _ in 0..more {
                map.pop_last();
            }
            prop_assert!(map.check_room(more).is_ok());
        }

        #[test]
        fn a_map_that_is_emptied_gives_its_memory_back(count in 100_usize..2000, how in 0..3_u8) {
            let mut map = OrderedMap::new(0);
            let keys: Vec<_> = (0..count).map(|n| Compact::new(&n.to_be_bytes())).collect();
            for key in &keys {
                map.insert(key.clone(), ());
            }
            for key in &keys {
                match how {
                    0 => _ = map.remove(key),
                    1 => _ = map.pop_last(),
                    _ => map.clear(),
                }
                let room = 128 + 8 * map.len();
                prop_assert!(map.slots.capacity() <= room, "{}", map.slots.capacity());
                prop_assert!(map.table.capacity() <= 4 * room, "{}", map.table.capacity());
            }
        }

        #[test]
        fn a_cursor_meets_what_stays_exactly_once(remove: Vec<u8>, page in 1_usize..20) {
            let mut map = OrderedMap::new(0);
            for key in 0..=255_u8 {
                map.insert(Compact::new(&[key]), ());
            }
            let (mut seen, mut cursor, mut removals) = (Vec::new(), None, remove.iter());
            loop {
                let mut entries = map.after_cursor(cursor, false);
                seen.extend(entries.by_ref().take(page).map(|(_, key, ())| key[0]));
                let Some((next, ..)) = entries.next() else { break };
                drop(entries);
                cursor = Some(next);
                for key in removals.by_ref().take(9) {
                    map.remove(&[*key]);
                }
            }
            let stayed: Vec<u8> = map.iter().map(|(key, ())| key[0]).collect();
            let seen_of_stayed: Vec<u8> =
                seen.iter().copied().filter(|key| stayed.contains(key)).collect();
            prop_assert_eq!(seen_of_stayed, stayed);
        }
    }
}
