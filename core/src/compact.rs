//! Bytes at rest, in little memory.

use std::{fmt, ops::Deref};

use bytes::Bytes;
use mp_manager_proto::parts::Parts;

use crate::memory::block;

/// So many bytes have their place in the structure itself.
const INLINE: usize = 22;
/// Bytes of at most this length are copied into replies. To share them, they would have to keep a count of those
/// who do, for good, and that takes more memory than the copy takes time.
const COPIED: usize = 512;
/// Bytes at least this long are kept where they were received; shorter ones are copied, so that a small value
/// does not keep a large frame in memory.
const COPY_BELOW: usize = 1 << 20;

/// Short bytes in place, longer ones in a block of their own, and long ones shared with the replies that have them.
///
/// It takes three words, where `Bytes` takes four and a block in any case.
#[derive(Clone)]
pub(crate) struct Compact(Kind);

#[derive(Clone)]
enum Kind {
    Inline(u8, [u8; INLINE]),
    Block(Box<[u8]>),
    Shared(Box<Bytes>),
}

impl Compact {
    /// The same bytes at rest.
    pub(crate) fn new(bytes: &[u8]) -> Self {
        if bytes.len() <= COPIED {
            Self::short(bytes)
        } else {
            Self(Kind::Shared(Box::new(Bytes::copy_from_slice(bytes))))
        }
    }

    /// The same bytes for somebody else.
    pub(crate) fn share(&self) -> Bytes {
        match &self.0 {
            Kind::Shared(bytes) => Bytes::clone(bytes),
            _ => Bytes::copy_from_slice(self),
        }
    }

    /// As [`share`](Self::share), for one of many that go together.
    pub(crate) fn share_by(&self, parts: &mut Parts) -> Bytes {
        match &self.0 {
            Kind::Shared(bytes) => Bytes::clone(bytes),
            _ => parts.copy(self),
        }
    }

    /// The memory they take beside the structure.
    pub(crate) fn bytes(&self) -> usize {
        Self::bytes_of(self.len())
    }

    /// The memory that so many bytes take.
    pub(crate) const fn bytes_of(len: usize) -> usize {
        if len <= INLINE {
            0
        } else if len <= COPIED {
            block(len)
        } else {
            block(len) + block(size_of::<Bytes>())
        }
    }

    fn short(bytes: &[u8]) -> Self {
        let mut inline = [0; INLINE];
        match (inline.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(bytes);
                Self(Kind::Inline(len, inline))
            }
            _ => Self(Kind::Block(bytes.into())),
        }
    }
}

impl From<Bytes> for Compact {
    fn from(bytes: Bytes) -> Self {
        if bytes.len() < COPY_BELOW {
            Self::new(&bytes)
        } else {
            Self(Kind::Shared(Box::new(bytes)))
        }
    }
}

impl Deref for Compact {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            // The length is never more than there is.
            Kind::Inline(len, bytes) => &bytes[..usize::from(*len)],
            Kind::Block(bytes) => bytes,
            Kind::Shared(bytes) => bytes,
        }
    }
}

impl PartialEq for Compact {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl Eq for Compact {}

impl fmt::Debug for Compact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Bytes::copy_from_slice(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_every_length_come_back_as_they_were() {
        let mut parts = Parts::default();
        for len in [0, 1, 22, 23, 512, 513, 70_000, COPY_BELOW] {
            let bytes: Vec<u8> = (0..len).map(|n| n as u8).collect();
            for compact in [Compact::new(&bytes), Compact::from(Bytes::from(bytes.clone()))] {
                assert_eq!(compact[..], bytes[..]);
                assert_eq!(compact.share(), bytes);
                assert_eq!(compact.share_by(&mut parts), bytes);
                assert_eq!(compact.clone(), compact);
            }
        }
        assert_eq!(size_of::<Option<Compact>>(), 24);
    }

    #[test]
    fn long_bytes_are_shared_and_short_ones_keep_no_frame() {
        let frame = Bytes::from(vec![7; 2 * COPY_BELOW]);
        let long = Compact::from(frame.slice(..COPY_BELOW));
        assert_eq!(long.share().as_ptr(), frame.as_ptr());
        let short = Compact::from(frame.slice(..1000));
        assert_ne!(short.as_ptr(), frame.as_ptr());
        assert_eq!(short.share().as_ptr(), short.as_ptr());
    }
}
