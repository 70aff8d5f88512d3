//! A map that many threads use at a time.

use std::{
    collections::BTreeSet,
    ops::Bound,
    sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::{
    lock::lock,
    memory::{MANY, tree},
};

/// Enough that threads rarely meet; a power of two.
const SHARDS: u64 = 64;

/// Values by id, in parts that are locked one at a time. Ids are handed out one after the other, so
/// neighbours are in different parts. Every lock is a leaf: nothing else is locked while one is held.
#[derive(Debug)]
pub(crate) struct Shards<V> {
    shards: Box<[RwLock<HashMap<u64, V, FixedState>>]>,
    /// The ids in their order, for those who look at all of them a page at a time. It is used when a value
    /// comes or goes, and never to find one.
    ids: Mutex<BTreeSet<u64>>,
}

/// A page of what there is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page<T> {
    /// By their ids.
    pub(crate) values: Vec<(u64, T)>,
    /// The id after which the next page begins, if there may be more.
    pub(crate) next: Option<u64>,
}

impl<V> Default for Shards<V> {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| RwLock::default()).collect(), ids: Mutex::default() }
    }
}

impl<V> Shards<V> {
    /// The memory that one of many values takes, about. Half to seven eighths of a table's places are in use.
    pub(super) const BYTES_OF_ONE: usize =
        3 * (size_of::<(u64, V)>() + 1) / 2 + tree::<u64, ()>(MANY) / MANY;

    fn shard(&self, id: u64) -> &RwLock<HashMap<u64, V, FixedState>> {
        &self.shards[usize::try_from(id % SHARDS).unwrap_or(0)]
    }

    /// What `f` makes of the value. `f` must not drop anything that comes back here.
    pub(crate) fn read<T>(&self, id: u64, f: impl FnOnce(&V) -> T) -> Option<T> {
        read(self.shard(id)).get(&id).map(f)
    }

    pub(crate) fn insert(&self, id: u64, value: V) -> Option<V> {
        let old = write(self.shard(id)).insert(id, value);
        lock(&self.ids).insert(id);
        old
    }

    pub(crate) fn remove(&self, id: u64) -> Option<V> {
        let removed = write(self.shard(id)).remove(&id);
        lock(&self.ids).remove(&id);
        removed
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| read(shard).len()).sum()
    }

    /// What `find` makes of the values after an id, in the order of their ids, `max` at most. The work is that
    /// of the page, however many values there are, and what is there throughout is in exactly one page.
    pub(crate) fn page<T>(
        &self,
        after: u64,
        max: usize,
        find: impl Fn(&V) -> Option<T>,
    ) -> Page<T> {
        let range = (Bound::Excluded(after), Bound::Unbounded);
        let mut ids: Vec<u64> = lock(&self.ids).range(range).take(max + 1).copied().collect();
        let has_more = ids.len() > max;
        ids.truncate(max);
        let next = if has_more { ids.last().copied() } else { None };
        let value = |id| Some((id, self.read(id, &find).flatten()?));
        Page { values: ids.into_iter().filter_map(value).collect(), next }
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

    #[test]
    fn pages_have_every_value_once_in_order() {
        let map = Shards::default();
        for id in [70, 3, 64, 1, 128] {
            map.insert(id, id * 10);
        }
        map.remove(64);
        let page = |after, max| map.page(after, max, |value| Some(*value));
        let values = |ids: &[u64]| ids.iter().map(|id| (*id, id * 10)).collect::<Vec<_>>();
        assert_eq!(page(0, 3), Page { values: values(&[1, 3, 70]), next: Some(70) });
        // What comes meanwhile has its place, and what goes leaves none.
        map.insert(65, 650);
        map.remove(128);
        assert_eq!(page(70, 3), Page { values: vec![], next: None });
        assert_eq!(page(0, 4), Page { values: values(&[1, 3, 65, 70]), next: None });
        let skipping = map.page(0, 2, |value| (*value != 10).then_some(*value));
        assert_eq!(skipping, Page { values: values(&[3]), next: Some(3) });
        assert_eq!(page(u64::MAX, 3), Page { values: vec![], next: None });
    }
}
