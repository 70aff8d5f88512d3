//! The sending half of a stream.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::Stream;
use h2::{Reason, SendStream};
use http::HeaderMap;
use prost::Message;
use tonic::{Code, Status};

use crate::frame::PREFIX;

/// The sending half of a stream. Beyond what the other end has room for it keeps one thing that it was given.
#[derive(Debug)]
pub struct Outbound {
    stream: SendStream<Bytes>,
    next: Option<Bytes>,
}

impl Outbound {
    /// For a stream that nothing was sent on.
    #[must_use]
    pub fn new(stream: SendStream<Bytes>) -> Self {
        Self { stream, next: None }
    }

    /// Whether more can be [given](Self::give): what was given last is on its way.
    ///
    /// # Errors
    /// If the stream was reset, or its connection has failed.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        if self.next.is_none() {
            return Poll::Ready(Ok(()));
        }
        while self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(result) => result?,
                None => return Poll::Ready(Err(Reason::STREAM_CLOSED.into())),
            };
        }
        let next = self.next.take().unwrap_or_default();
        Poll::Ready(self.stream.send_data(next, false))
    }

    /// Sends something as soon as the other end has room for any of it; to be called when this
    /// [is ready](Self::poll_ready), and followed by another look.
    pub fn give(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        // Reserving room for all of it would keep other streams waiting until there is as much.
        self.stream.reserve_capacity(1);
        self.next = Some(data);
    }

    /// Sends messages as the other end has room for them; the status to [end](Self::end) with once they are over.
    ///
    /// # Errors
    /// If the stream was reset, or its connection has failed.
    pub fn poll_send_all<M: Message>(
        &mut self,
        messages: &mut (impl Stream<Item = Result<M, Status>> + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<Result<Status, h2::Error>> {
        loop {
            ready!(self.poll_ready(cx))?;
            let status = match ready!(Pin::new(&mut *messages).poll_next(cx)) {
                Some(Ok(next)) => match message(&next) {
                    Some(message) => {
                        self.give(message);
                        continue;
                    }
                    None => Status::out_of_range("a message has more than 4 GiB"),
                },
                Some(Err(status)) => status,
                None => Status::new(Code::Ok, ""),
            };
            return Poll::Ready(Ok(status));
        }
    }

    /// Says that nothing follows, with trailers if there are any.
    ///
    /// # Errors
    /// If the stream was reset, or its connection has failed.
    pub fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), h2::Error> {
        self.stream.reserve_capacity(0);
        match trailers {
            Some(trailers) => self.stream.send_trailers(trailers),
            None => self.stream.send_data(Bytes::new(), true),
        }
    }

    /// Breaks the stream off.
    pub fn reset(&mut self, why: Reason) {
        self.stream.send_reset(why);
    }

    /// Why the other end has broken the stream off, once it has.
    ///
    /// # Errors
    /// If the connection has failed.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Result<Reason, h2::Error>> {
        self.stream.poll_reset(cx)
    }
}

/// Encodes a message with what comes before it; `None` if it is too long for that.
fn message(message: &impl Message) -> Option<Bytes> {
    let len = message.encoded_len();
    let mut bytes = Vec::with_capacity(PREFIX + len);
    bytes.push(0);
    bytes.extend_from_slice(&u32::try_from(len).ok()?.to_be_bytes());
    message.encode_raw(&mut bytes);
    Some(bytes.into())
}
