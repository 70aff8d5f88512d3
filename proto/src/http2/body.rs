//! Bodies of requests and responses, for what is served and asked by tonic.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http_body::{Body, Frame};

use super::Outbound;

/// A body that comes in.
#[derive(Debug)]
pub struct Incoming {
    stream: RecvStream,
    has_data: bool,
}

impl Incoming {
    /// The body that arrives on a stream.
    #[must_use]
    pub fn new(stream: RecvStream) -> Self {
        Self { stream, has_data: true }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if self.has_data {
            if let Some(data) = ready!(poll_data(&mut self.stream, cx)) {
                return Poll::Ready(Some(data.map(Frame::data)));
            }
            self.has_data = false;
        }
        let trailers = ready!(self.stream.poll_trailers(cx)).transpose();
        Poll::Ready(trailers.map(|trailers| trailers.map(Frame::trailers)))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}

/// The next data of a stream; the other end may send as much again.
pub(super) fn poll_data(
    stream: &mut RecvStream,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, h2::Error>>> {
    Poll::Ready(match ready!(stream.poll_data(cx)) {
        Some(Ok(data)) => {
            // It fails only if more is released than was received.
            let _ = stream.flow_control().release_capacity(data.len());
            Some(Ok(data))
        }
        // Somebody who wants no more, or has nothing to say any more: as good as an end.
        Some(Err(error)) if matches!(error.reason(), Some(Reason::NO_ERROR | Reason::CANCEL)) => {
            None
        }
        other => other,
    })
}

/// Sends a body to its end; one that fails resets the stream.
///
/// # Errors
/// If the stream is reset, or its connection fails.
pub async fn send_body<B>(body: B, stream: SendStream<Bytes>) -> Result<(), h2::Error>
where
    B: Body<Data = Bytes>,
{
    let (mut body, mut outbound) = (pin!(body), Outbound::new(stream));
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(reason) = outbound.poll_reset(cx)? {
                return Poll::Ready(Err(reason.into()));
            }
            ready!(outbound.poll_ready(cx))?;
            match ready!(body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => outbound.give(data),
                    Err(frame) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            return Poll::Ready(outbound.end(Some(trailers)));
                        }
                    }
                },
                Some(Err(_)) => {
                    outbound.reset(Reason::INTERNAL_ERROR);
                    return Poll::Ready(Err(Reason::INTERNAL_ERROR.into()));
                }
                None => return Poll::Ready(outbound.end(None)),
            }
        }
    })
    .await
}
