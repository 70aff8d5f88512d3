//! A client's frame, as it is built and as it arrives. Its requests are written into it one by one, and
//! stay where they are until they have been answered; at the other end it is weighed before it is decoded.

mod weight;

use bytes::Bytes;
use prost::{DecodeError, Message};

pub use weight::{Limits, Weight};

use crate::{
    error::{Error, Reason},
    v1::{ClientFrame, Request, ServerFrame},
};

/// The number of the field that requests are in.
const REQUESTS: u32 = 5;

/// The length of the prefix that gRPC puts before a message: a compression flag and four bytes of length.
pub(crate) const PREFIX: usize = 5;

/// A [`ClientFrame`], encoded.
#[derive(Debug)]
pub struct EncodedFrame(Vec<u8>);

impl Default for EncodedFrame {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl EncodedFrame {
    /// A frame that is going to take about so many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        let mut message = Vec::with_capacity(PREFIX + bytes);
        message.resize(PREFIX, 0);
        Self(message)
    }

    /// Adds a request after those that are there.
    pub fn request(&mut self, request: &Request) {
        prost::encoding::message::encode(REQUESTS, request, &mut self.0);
    }

    /// Adds what a frame says; it comes after the requests, which makes no difference to those who
    /// read it.
    pub fn finish(&mut self, frame: &ClientFrame) {
        frame.encode_raw(&mut self.0);
    }

    /// The frame itself, for those that do not send it: simulations and tests.
    #[must_use]
    pub fn decoded(&self) -> ClientFrame {
        ClientFrame::decode(&self.0[PREFIX..]).unwrap_or_default()
    }

    /// The bytes, for those that do not send them.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        Bytes::from(self.0).slice(PREFIX..)
    }

    /// The message that is sent on a stream; `None` if it is too long for that.
    #[must_use]
    pub fn into_message(mut self) -> Option<Bytes> {
        let len = u32::try_from(self.0.len() - PREFIX).ok()?;
        // It is not compressed.
        self.0[1..PREFIX].copy_from_slice(&len.to_be_bytes());
        Some(self.0.into())
    }
}

/// Decodes a server's frame.
///
/// # Errors
/// If it is none.
pub fn decode_answer(frame: Bytes) -> Result<ServerFrame, Error> {
    ServerFrame::decode(frame).map_err(unreadable)
}

/// Decodes a frame that was [weighed](Limits::look).
///
/// # Errors
/// If it is none.
pub fn decode(frame: Bytes) -> Result<ClientFrame, Error> {
    ClientFrame::decode(frame).map_err(unreadable)
}

fn unreadable(error: DecodeError) -> Error {
    Error::new(Reason::Protocol, format!("a frame cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Empty, Fence, Reconcile, SeqRange};

    #[test]
    fn it_is_read_as_the_frame_it_is() {
        let request = |seq| Request {
            seq,
            object: 1 << 40,
            fence: Some(Fence { lock: 1, token: 2 }),
            ..Request::default()
        };
        let requests = vec![request(1), Request::default(), request(u64::MAX)];
        let frame = ClientFrame {
            number: 7,
            reconcile: Some(Reconcile { open: vec![1, 2], cancelled: vec![3] }),
            acks: vec![SeqRange { first: 1, last: 9 }],
            cancels: vec![4, 5],
            losses: 3,
            goodbye: Some(Empty {}),
            requests: Vec::new(),
        };
        let mut encoded = EncodedFrame::with_capacity(100);
        requests.iter().for_each(|request| encoded.request(request));
        encoded.finish(&frame);
        assert_eq!(encoded.decoded(), ClientFrame { requests, ..frame });
    }
}
