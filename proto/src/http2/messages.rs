//! Messages as they come in on a stream.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::Stream;
use h2::RecvStream;
use tonic::Status;

use super::body::poll_data;
use crate::frame::PREFIX;

/// No more room than this is made for a message before it is there.
const MAX_ROOM: usize = 1 << 20;

/// The messages that come in on a stream, each as it is; whoever reads them decodes them.
///
/// A status without a source says that something cannot be read; one with a source, that the stream or its
/// connection failed.
#[derive(Debug)]
pub struct Messages {
    stream: RecvStream,
    buffer: Buffer,
    /// The longest message that is let through.
    max: usize,
    /// The end of a response says how it went.
    is_response: bool,
    is_over: bool,
}

impl Messages {
    /// The messages of a request.
    #[must_use]
    pub fn of_request(stream: RecvStream, max: usize) -> Self {
        Self { stream, buffer: Buffer::default(), max, is_response: false, is_over: false }
    }

    /// The messages of a response, however long.
    #[must_use]
    pub fn of_response(stream: RecvStream) -> Self {
        Self { is_response: true, ..Self::of_request(stream, usize::MAX) }
    }

    /// Whether all that ever comes has come.
    #[must_use]
    pub fn are_over(&self) -> bool {
        self.is_over
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        if !self.buffer.is_empty() {
            return Poll::Ready(Err(Status::internal("the stream ended within a message")));
        }
        if !self.is_response {
            return Poll::Ready(Ok(()));
        }
        let trailers = match ready!(self.stream.poll_trailers(cx)) {
            Ok(trailers) => trailers,
            Err(error) => return Poll::Ready(Err(Status::from_error(error.into()))),
        };
        let status = trailers.as_ref().and_then(Status::from_header_map);
        Poll::Ready(match status {
            Some(status) if status.code() == tonic::Code::Ok => Ok(()),
            Some(status) => Err(status),
            None => Err(Status::unknown("the stream ended without a status")),
        })
    }
}

impl Stream for Messages {
    type Item = Result<Bytes, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        while !this.is_over {
            match this.buffer.next(this.max) {
                Ok(None) => {}
                Ok(Some(message)) => return Poll::Ready(Some(Ok(message))),
                Err(status) => {
                    this.is_over = true;
                    return Poll::Ready(Some(Err(status)));
                }
            }
            match ready!(poll_data(&mut this.stream, cx)) {
                Some(Ok(data)) => this.buffer.put(data),
                Some(Err(error)) => {
                    this.is_over = true;
                    return Poll::Ready(Some(Err(Status::from_error(error.into()))));
                }
                None => {
                    let ended = ready!(this.poll_end(cx));
                    this.is_over = true;
                    return Poll::Ready(ended.err().map(Err));
                }
            }
        }
        Poll::Ready(None)
    }
}

/// Bytes that have arrived and were not read. A message that arrives in one piece is not copied.
#[derive(Debug, Default)]
struct Buffer {
    /// The beginning of a message, if its rest has not come.
    partial: BytesMut,
    /// The bytes after it; empty as long as a message is partial.
    rest: Bytes,
}

impl Buffer {
    fn is_empty(&self) -> bool {
        self.partial.is_empty() && self.rest.is_empty()
    }

    fn put(&mut self, data: Bytes) {
        if self.is_empty() {
            self.rest = data;
            return;
        }
        self.partial.extend_from_slice(&data);
        if length(&self.partial).is_some_and(|len| self.partial.len() >= PREFIX.saturating_add(len))
        {
            self.rest = mem::take(&mut self.partial).freeze();
        }
    }

    fn next(&mut self, max: usize) -> Result<Option<Bytes>, Status> {
        let there = if self.partial.is_empty() { &self.rest[..] } else { &self.partial };
        let len = match (there.first(), length(there)) {
            (None | Some(0), Some(len)) if len > max => return Err(too_long(len, max)),
            (None | Some(0), len) => len,
            (Some(1), _) => {
                return Err(Status::internal("a message is compressed, which was not agreed"));
            }
            (Some(flag), _) => {
                return Err(Status::internal(format!("a message begins with {flag}, not with 0")));
            }
        };
        if let Some(len) = len
            && self.rest.len() >= PREFIX.saturating_add(len)
        {
            self.rest.advance(PREFIX);
            return Ok(Some(self.rest.split_to(len)));
        }
        if !self.rest.is_empty() {
            self.partial.reserve(PREFIX.saturating_add(len.unwrap_or(0)).min(MAX_ROOM));
            self.partial.extend_from_slice(&mem::take(&mut self.rest));
        }
        Ok(None)
    }
}

/// The length of the message that begins here, once it is known.
fn length(bytes: &[u8]) -> Option<usize> {
    let [_, a, b, c, d] = *bytes.first_chunk::<PREFIX>()?;
    usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()
}

fn too_long(len: usize, max: usize) -> Status {
    Status::out_of_range(format!("the message has {len} bytes; the limit is {max}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(messages: &[&[u8]]) -> Bytes {
        let mut bytes = Vec::new();
        for message in messages {
            bytes.push(0);
            bytes.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(message);
        }
        bytes.into()
    }

    fn read(pieces: impl Iterator<Item = Bytes>) -> Vec<Bytes> {
        let (mut buffer, mut messages) = (Buffer::default(), Vec::new());
        for piece in pieces {
            assert!(buffer.next(100).unwrap().is_none());
            buffer.put(piece);
            messages.extend(std::iter::from_fn(|| buffer.next(100).unwrap()));
        }
        assert!(buffer.is_empty());
        messages
    }

    #[test]
    fn messages_are_read_however_they_are_cut() {
        let messages: [&[u8]; 5] = [b"one", b"", &[7; 100], b"", b"two"];
        let all = encoded(&messages);
        for size in 1..=all.len() {
            let pieces = all.chunks(size).map(Bytes::copy_from_slice);
            assert_eq!(read(pieces), messages, "in pieces of {size}");
        }
    }

    #[test]
    fn a_message_that_comes_whole_is_not_copied() {
        let all = encoded(&[b"whole"]);
        let mut buffer = Buffer::default();
        buffer.put(all.clone());
        let message = buffer.next(100).unwrap().unwrap();
        assert_eq!(message.as_ptr(), all[PREFIX..].as_ptr());
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for (bytes, code) in [
            (&[0, 0, 0, 0, 101][..], tonic::Code::OutOfRange),
            (&[1, 0, 0, 0, 1, 7], tonic::Code::Internal),
            (&[9], tonic::Code::Internal),
        ] {
            let mut buffer = Buffer::default();
            buffer.put(Bytes::copy_from_slice(bytes));
            assert_eq!(buffer.next(100).unwrap_err().code(), code, "{bytes:?}");
        }
    }
}
