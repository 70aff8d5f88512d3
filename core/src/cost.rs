//! How long things take, about, in nanoseconds: what takes longer than about a millisecond is done where
//! nobody waits. A cost counts what grows with the object or the request; what every operation takes is none.
//! Being off by a factor of two does no harm; not counting something does.

use bytes::Bytes;
use mp_manager_proto::v1::Value;

/// Nanoseconds.
pub(crate) type Cost = u64;

/// Looking at an element that lies beside the one before.
pub(crate) const VISIT: Cost = 6;
/// Moving an element by a place.
pub(crate) const MOVE: Cost = 4;
/// Taking an element over: another reference to its bytes.
pub(crate) const SHARE: Cost = 30;
/// Dropping an element.
pub(crate) const DROP: Cost = 50;
/// Making an element of a value that came with a request, or the other way round.
pub(crate) const STORE: Cost = 150;
/// Finding a key, or giving it its place in a table.
pub(crate) const FIND: Cost = 80;
/// Giving an entry its place in a table that grows.
pub(crate) const REHASH: Cost = 30;
/// Comparing two small values by their order.
pub(crate) const COMPARE: Cost = 60;
/// Answering a call that waits, or giving back what a session had.
pub(crate) const ANSWER: Cost = 400;
/// Looking at a byte of a value whose encoding has to be understood.
const READ_BYTES: Cost = 8;

/// `count` times `each`.
pub(crate) fn times(count: usize, each: Cost) -> Cost {
    (count as Cost).saturating_mul(each)
}

/// Sorting `count` elements of `bytes` together.
pub(crate) fn sorting(count: usize, bytes: usize) -> Cost {
    let rounds = Cost::from(usize::BITS - count.leading_zeros());
    times(count, rounds * COMPARE).saturating_add(rounds.saturating_mul(bytes as Cost))
}

/// Comparing `value` with `count` elements of `bytes` together: by their bytes, unless it is a map or a list
/// that may have one.
pub(crate) fn equality(value: &Value, count: usize, bytes: usize) -> Cost {
    let visits = times(count, VISIT);
    if !is_nested(&value.data) {
        return visits;
    }
    let read = times(count, value.data.len() as Cost).saturating_add(bytes as Cost);
    visits.saturating_add(read.saturating_mul(READ_BYTES))
}

/// Checking keys: long ones are read through.
pub(crate) fn keys<'a>(keys: impl ExactSizeIterator<Item = &'a Bytes>) -> Cost {
    let each = times(keys.len(), FIND);
    each.saturating_add(keys.map(|key| key.len() as Cost).sum())
}

/// Whether it is a list or a map, in MessagePack.
fn is_nested(data: &[u8]) -> bool {
    matches!(data.first(), Some(0x80..=0x9f | 0xdc..=0xdf))
}
