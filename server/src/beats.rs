//! A connection's `KeepAlive` stream: proof of life that does not wait behind large values.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use mp_manager_core::{engine::Attachment, v1::Beat};
use tonic::Status;

use crate::{connection::BeatsPlace, host::Host};

/// Answers each beat once its session was heard, and ends with the session, or when that is resumed
/// on another connection.
pub(crate) struct Beats<I> {
    host: Arc<Host>,
    attachment: Attachment,
    inbound: I,
    /// Its place on its connection; `None` once it is over, so that another one can be opened.
    place: Option<BeatsPlace>,
}

impl<I: Stream<Item = Result<Beat, Status>> + Unpin> Beats<I> {
    pub(crate) fn new(
        host: Arc<Host>,
        (attachment, place): (Attachment, BeatsPlace),
        inbound: I,
    ) -> Self {
        Self { host, attachment, inbound, place: Some(place) }
    }

    fn take_in(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Beat, Status>>> {
        if !self.attachment.register_beats(cx.waker()) {
            return Poll::Ready(Some(Err(not_its_session())));
        }
        Poll::Ready(match ready!(Pin::new(&mut self.inbound).poll_next(cx)) {
            Some(Ok(beat)) => {
                let heard = self.host.engine.beat(&self.attachment);
                Some(heard.map(|echo| Beat { echo, ..beat }).ok_or_else(not_its_session))
            }
            other => other,
        })
    }
}

impl<I: Stream<Item = Result<Beat, Status>> + Unpin> Stream for Beats<I> {
    type Item = Result<Beat, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.place.is_none() {
            return Poll::Ready(None);
        }
        let beat = ready!(this.take_in(cx));
        if !matches!(beat, Some(Ok(_))) {
            // Before the client hears of the end, and may open another one.
            this.place = None;
        }
        Poll::Ready(beat)
    }
}

fn not_its_session() -> Status {
    Status::failed_precondition(
        "this connection has no session any more: it has ended, or was resumed on another",
    )
}
