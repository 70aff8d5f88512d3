//! A connection between two programs without a manager: its frames, and in what its handshake is another
//! than a manager's.
//!
//! A frame is the length of its payload (four bytes, big endian), its kind (one byte), and the payload. The
//! handshake's messages and proofs are those of a manager, each message in a frame; the
//! [transcript](crate::handshake::Transcript::of_connection) has another label, and TLS another protocol
//! inside of it, so that neither can be taken for the other.

use bytes::{Buf, Bytes, BytesMut};
use prost::Message;

/// What is spoken inside of TLS.
pub const ALPN: &[u8] = b"mp-connection";

/// Length of what stands before the payload.
pub const HEADER_LEN: usize = 5;

/// Maximum length of a message of the handshake.
pub const MAX_HANDSHAKE_BYTES: u32 = 8 << 10;

/// Maximum length of a message that either end takes, unless it is told otherwise.
pub const DEFAULT_MAX_MESSAGE_BYTES: u32 = 64 << 20;

/// The kind of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// A `HandshakeRequest`, or a `HandshakeResponse`.
    Handshake = 1,
    /// A value, as MessagePack.
    Value = 2,
    /// Bytes as they are.
    Bytes = 3,
}

/// What stands before the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Length of the payload.
    pub len: u32,
    /// What the payload is.
    pub kind: FrameKind,
}

/// Bytes that are no frame, or one that is not taken. There is no way to know where the next one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The kind is not known.
    #[error("a frame of the unknown kind {0}")]
    UnknownKind(u8),
    /// The payload is too long.
    #[error("a message of {len} bytes, and {max} are taken")]
    TooLong {
        /// Its length.
        len: u32,
        /// The maximum.
        max: u32,
    },
}

impl Header {
    /// As it is on the wire.
    #[must_use]
    pub fn encode(self) -> [u8; HEADER_LEN] {
        let [a, b, c, d] = self.len.to_be_bytes();
        [a, b, c, d, self.kind as u8]
    }

    /// Reads a header of a frame whose payload has at most `max` bytes.
    ///
    /// # Errors
    /// If it is none, or the payload is longer.
    pub fn decode(bytes: [u8; HEADER_LEN], max: u32) -> Result<Self, FrameError> {
        let [a, b, c, d, kind] = bytes;
        let kind = [FrameKind::Handshake, FrameKind::Value, FrameKind::Bytes]
            .into_iter()
            .find(|known| *known as u8 == kind)
            .ok_or(FrameError::UnknownKind(kind))?;
        let len = u32::from_be_bytes([a, b, c, d]);
        if len > max { Err(FrameError::TooLong { len, max }) } else { Ok(Self { len, kind }) }
    }

    /// Reads the header that `bytes` begin with; `None` if it is not complete.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn peek(bytes: &[u8], max: u32) -> Result<Option<Self>, FrameError> {
        bytes.first_chunk().map(|header| Self::decode(*header, max)).transpose()
    }

    /// Length of the whole frame.
    #[must_use]
    pub fn frame_len(self) -> usize {
        HEADER_LEN + self.len as usize
    }

    /// Takes the frame that this is the header of, which has arrived, from the head of a buffer. Returns its
    /// payload.
    #[must_use]
    pub fn take_from(self, buffer: &mut BytesMut) -> Bytes {
        let mut frame = buffer.split_to(self.frame_len());
        frame.advance(HEADER_LEN);
        frame.freeze()
    }
}

/// A message of the handshake, in its frame.
#[must_use]
pub fn handshake_frame(message: &impl Message) -> Vec<u8> {
    // One that is too long is refused by the other end.
    let len = u32::try_from(message.encoded_len()).unwrap_or(u32::MAX);
    let mut frame = Header { len, kind: FrameKind::Handshake }.encode().to_vec();
    frame.extend(message.encode_to_vec());
    frame
}

/// The message of the handshake in the payload of a frame.
///
/// # Errors
/// What is wrong with it.
pub fn handshake_message<M: Message + Default>(payload: &[u8]) -> Result<M, String> {
    M::decode(payload).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written() {
        for kind in [FrameKind::Handshake, FrameKind::Value, FrameKind::Bytes] {
            for len in [0, 1, 0x0102_0304] {
                let header = Header { len, kind };
                assert_eq!(Header::decode(header.encode(), len), Ok(header));
            }
        }
        assert_eq!(Header { len: 0x0102_0304, kind: FrameKind::Value }.encode(), [1, 2, 3, 4, 2]);
    }

    #[test]
    fn what_is_no_header_is_refused() {
        assert_eq!(Header::decode([0, 0, 0, 0, 9], 1), Err(FrameError::UnknownKind(9)));
        assert_eq!(Header::decode(*b"PRI *", 1), Err(FrameError::UnknownKind(b'*')));
        let too_long = FrameError::TooLong { len: 2, max: 1 };
        assert_eq!(Header::decode([0, 0, 0, 2, 2], 1), Err(too_long));
    }

    #[test]
    fn a_frame_is_taken_from_the_head_of_a_buffer() {
        let mut buffer = BytesMut::new();
        for byte in [0, 0, 0, 2, 3] {
            assert_eq!(Header::peek(&buffer, 2), Ok(None));
            buffer.extend([byte]);
        }
        let header = Header::peek(&buffer, 2).unwrap().unwrap();
        buffer.extend(b"okrest");
        assert_eq!(header.take_from(&mut buffer), &b"ok"[..]);
        assert_eq!(buffer, &b"rest"[..]);
    }
}
