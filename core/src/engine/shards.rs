//! A map that many threads use at a time.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// Enough that threads rarely meet; a power of two.
const SHARDS: u64 = 64;

/// Values by id, in parts that are locked one at a time. Ids are handed out one after the other, so
/// neighbours are in different parts. Every lock is a leaf: nothing else is locked while one is held.
#[derive(Debug)]
pub(crate) struct Shards<V> {
    shards: Box<[RwLock<HashMap<u64, V, FixedState>>]>,
}

impl<V> Default for Shards<V> {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| RwLock::default()).collect() }
    }
}

impl<V> Shards<V> {
    fn shard(&self, id: u64) -> &RwLock<HashMap<u64, V, FixedState>> {
        &self.shards[usize::try_from(id % SHARDS).unwrap_or(0)]
    }

    /// What `f` makes of the value. `f` must not drop anything that comes back here.
    pub(crate) fn read<T>(&self, id: u64, f: impl FnOnce(&V) -> T) -> Option<T> {
        read(self.shard(id)).get(&id).map(f)
    }

    pub(crate) fn insert(&self, id: u64, value: V) -> Option<V> {
        write(self.shard(id)).insert(id, value)
    }

    pub(crate) fn remove(&self, id: u64) -> Option<V> {
        write(self.shard(id)).remove(&id)
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| read(shard).len()).sum()
    }

    /// Shows each value whose id comes after this one to `f`, in any order. What `f` has no use for and
    /// must not be dropped while a part is locked comes back, and is dropped afterwards.
    pub(crate) fn look_at_each<T>(&self, after: u64, mut f: impl FnMut(u64, &V) -> Option<T>) {
        for shard in &self.shards {
            let shard = read(shard);
            let later = shard.iter().filter(|(id, _)| **id > after);
            let unused: Vec<T> = later.filter_map(|(id, value)| f(*id, value)).collect();
            drop(shard);
            drop(unused);
        }
    }

    /// What `f` makes of each value, in the order of their ids.
    pub(crate) fn collect<T>(&self, mut f: impl FnMut(&V) -> Option<T>) -> Vec<T> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let shard = read(shard);
            all.extend(shard.iter().filter_map(|(id, value)| Some((*id, f(value)?))));
        }
        all.sort_unstable_by_key(|(id, _)| *id);
        all.into_iter().map(|(_, value)| value).collect()
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_id_and_listed_in_order() {
        let map = Shards::default();
        for id in [70, 3, 64, 1, 128] {
            assert_eq!(map.insert(id, id * 10), None);
        }
        assert_eq!(map.insert(3, 31), Some(30));
        assert_eq!(map.read(3, |value| *value), Some(31));
        assert_eq!(map.remove(64), Some(640));
        assert_eq!(map.read(64, |value| *value), None);
        assert_eq!(map.len(), 4);
        assert_eq!(map.collect(|value| (*value != 31).then_some(*value)), [10, 700, 1280]);
    }
}
