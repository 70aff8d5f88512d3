//! One call, and the stream that takes calls out.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;
use mp_manager_proto::{
    frame::EncodedFrame,
    v1::{Request, request},
};

use crate::session::{Arrived, Begun, Blocked, Deadline, Failure, Scope, Seq, Shared, told};

/// One call: sent when it is first polled, acknowledged in the poll that returns its reply,
/// cancelled if it is dropped before. One that [gives back](Self::giving_back) is sent at once, and
/// never cancelled.
pub(crate) struct Call {
    shared: Arc<Shared>,
    scope: Scope,
    deadline: Option<Deadline>,
    phase: Phase,
}

enum Phase {
    New(Box<Request>, Option<Box<Blocked>>),
    Sent(Seq),
    GivingBack(Seq),
    Failed(Failure),
    Over,
}

impl Call {
    /// The request's seq is given to it when it is sent.
    pub(crate) fn new(shared: &Arc<Shared>, request: Request, scope: Scope) -> Self {
        Self::within(shared, request, scope, None)
    }

    /// A call that ends at its deadline, whatever its connection does.
    pub(crate) fn within(
        shared: &Arc<Shared>,
        request: Request,
        scope: Scope,
        deadline: Option<Deadline>,
    ) -> Self {
        let phase = Phase::New(Box::new(request), None);
        Self { shared: Arc::clone(shared), scope, deadline, phase }
    }

    /// A call that gives something back, once: however many calls are open, it does not wait behind
    /// those who want what it gives back, and it counts even if nobody waits for its reply.
    pub(crate) fn giving_back(
        shared: &Arc<Shared>,
        object: u64,
        op: request::Op,
        scope: Scope,
    ) -> Self {
        let phase = match shared.give_back(told(object, op), scope) {
            Ok(seq) => Phase::GivingBack(seq),
            Err(failure) => Phase::Failed(failure),
        };
        Self { shared: Arc::clone(shared), scope, deadline: None, phase }
    }
}

impl Future for Call {
    type Output = Result<Arrived, Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        match mem::replace(&mut this.phase, Phase::Over) {
            Phase::New(request, blocked) => {
                let (scope, deadline) = (this.scope, this.deadline);
                match this.shared.begin(request, scope, deadline, blocked, cx.waker()) {
                    Begun::Sent(seq) => this.phase = Phase::Sent(seq),
                    Begun::Later(request, blocked) => {
                        this.phase = Phase::New(request, Some(blocked));
                    }
                    Begun::Failed(failure) => return Poll::Ready(Err(failure)),
                }
            }
            phase @ (Phase::Sent(seq) | Phase::GivingBack(seq)) => {
                match this.shared.poll_reply(seq, cx.waker()) {
                    Some(result) => return Poll::Ready(result),
                    None => this.phase = phase,
                }
            }
            Phase::Failed(failure) => return Poll::Ready(Err(failure)),
            Phase::Over => {}
        }
        Poll::Pending
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        match self.phase {
            Phase::Sent(seq) => self.shared.cancel(seq),
            Phase::GivingBack(seq) => self.shared.detach(seq),
            Phase::New(..) | Phase::Failed(_) | Phase::Over => {}
        }
    }
}

/// The frames that go out by one connection, as many requests in each as are ready.
pub(crate) struct Outgoing {
    pub(crate) shared: Arc<Shared>,
    pub(crate) connection: u64,
}

impl Stream for Outgoing {
    type Item = EncodedFrame;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<EncodedFrame>> {
        match self.shared.poll_frame(self.connection, cx.waker()) {
            Some(Some(frame)) => Poll::Ready(Some(frame)),
            Some(None) => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}
