//! Many short byte strings in few blocks of memory.

use bytes::{Bytes, BytesMut};

/// The size of the first block; each block is twice as large as the one before.
const FIRST: usize = 256;
/// No block is larger than this.
const LARGEST: usize = 16 << 10;
/// Longer strings are allocated by themselves.
const SHORT: usize = 1 << 10;

/// Copies short byte strings that come and go together into blocks that they share: an allocation for each
/// would take longer than the copy.
#[derive(Debug, Default)]
pub struct Parts {
    block: BytesMut,
    /// The size of the last block.
    size: usize,
}

impl Parts {
    /// The same bytes.
    pub fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.len() > SHORT {
            return Bytes::copy_from_slice(bytes);
        }
        if self.block.capacity() < bytes.len() {
            self.size = (2 * self.size).clamp(FIRST.max(bytes.len()), LARGEST);
            self.block = BytesMut::with_capacity(self.size);
        }
        self.block.extend_from_slice(bytes);
        self.block.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_every_length_come_back_as_they_were() {
        let mut parts = Parts::default();
        let strings: Vec<_> = (0..3000).map(|n: usize| vec![n as u8; n * 37 % 1100]).collect();
        let copies: Vec<_> = strings.iter().map(|bytes| parts.copy(bytes)).collect();
        assert!(copies.iter().zip(&strings).all(|(copy, bytes)| copy == bytes));
    }

    #[test]
    fn few_short_ones_keep_a_small_block() {
        let mut parts = Parts::default();
        let (first, second) = (parts.copy(&[1; 34]), parts.copy(&[2; 34]));
        assert_eq!(second.as_ptr() as usize - first.as_ptr() as usize, 34);
        assert!(parts.block.capacity() < FIRST);
    }
}
