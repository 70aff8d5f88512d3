//! Estimates of memory.
//!
//! The figures are those of glibc's allocator on a 64-bit machine, and of the layout of the standard
//! library's collections: close to what a process grows by, and computed without asking anybody.

/// The memory of a block of `len` bytes: the allocator adds a header and rounds up to 16 bytes.
#[inline]
pub(crate) const fn block(len: usize) -> usize {
    const HEADER: usize = 8;
    const SMALLEST: usize = 32;
    match len {
        0 => 0,
        1..=24 => SMALLEST,
        _ => (len.saturating_add(HEADER + 15)) & !15,
    }
}

/// The memory of an `Arc<T>`'s block.
#[inline]
pub(crate) const fn shared<T>() -> usize {
    block(2 * size_of::<usize>() + size_of::<T>())
}

/// The memory of a vector's elements. A large vector never touched its room beyond them, so the system gives
/// that no memory.
#[inline]
pub(crate) const fn row<T>(len: usize, capacity: usize) -> usize {
    const LARGE: usize = 4096;
    let room = capacity.saturating_mul(size_of::<T>());
    let used = len.saturating_mul(size_of::<T>());
    if room <= LARGE {
        block(room)
    } else if used < LARGE {
        LARGE
    } else {
        used
    }
}

/// The memory of a `BTreeMap` of `len` entries. Its nodes have room for 11, and have 6 where entries come in
/// ascending order, as nearly all here do.
#[inline]
pub(crate) const fn tree<K, V>(len: usize) -> usize {
    const ROOM: usize = 11;
    const FILLED: usize = 6;
    const LINKS: usize = 16;
    let entries = ROOM * (size_of::<K>() + size_of::<V>());
    let leaf = block(entries + LINKS);
    let inner = block(entries + LINKS + (ROOM + 1) * size_of::<usize>());
    match len {
        0 => 0,
        1..=ROOM => leaf,
        // An inner node has one leaf more than entries of its own.
        _ => {
            let (nodes, held) = ((FILLED + 1) * leaf + inner, FILLED * (FILLED + 2));
            len.saturating_mul(nodes / held)
        }
    }
}

/// A number of entries from which the memory of one is the quotient.
pub(crate) const MANY: usize = 1024;

/// The memory of a `BTreeMap` without its entries.
#[inline]
pub(crate) const fn branches<K, V>(len: usize) -> usize {
    tree::<K, V>(len).saturating_sub(len.saturating_mul(size_of::<K>() + size_of::<V>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_a_header_and_a_multiple_of_sixteen_bytes() {
        let all: Vec<usize> = [0, 1, 24, 25, 40, 41, 100].into_iter().map(block).collect();
        assert_eq!(all, [0, 32, 32, 48, 48, 64, 112]);
        assert!(block(usize::MAX) > 1 << 60);
    }

    #[test]
    fn a_row_takes_its_room_while_it_is_short() {
        assert_eq!(row::<u64>(0, 0), 0);
        assert_eq!(row::<u64>(1, 4), block(32));
        assert_eq!(row::<u64>(10, 4096), 4096);
        assert_eq!(row::<u64>(4000, 4096), 32_000);
    }

    #[test]
    fn a_tree_never_takes_less_for_more_entries() {
        assert_eq!(tree::<u64, u64>(0), 0);
        for len in 1..100 {
            assert!(tree::<u64, u64>(len) >= tree::<u64, u64>(len - 1));
            assert!(tree::<u64, u64>(len) >= 16 * len);
        }
    }
}
