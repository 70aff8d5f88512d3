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

use super::link::{Handle, Session};
use crate::protocol::{Arrived, Begun, Deadline, Failure, NewCall, Place, Scope, Seq, giving_back};

/// The outcome of a call, with a hold on every object that its reply refers to.
pub(crate) type Outcome = Result<Arrived<Arc<Handle>>, Failure>;

/// One call: sent when it is first polled, acknowledged in the poll that returns its reply,
/// cancelled if it is dropped before. One that [gives back](Self::giving_back) is sent at once, and
/// never cancelled.
pub(crate) struct Call {
    session: Arc<Session>,
    scope: Scope,
    deadline: Option<Deadline>,
    phase: Phase,
}

enum Phase {
    New(Box<Request>, Option<Place>),
    Sent(Seq),
    GivingBack(Seq),
    Failed(Failure),
    Over,
}

impl Call {
    /// The request's seq is given to it when it is sent.
    pub(crate) fn new(session: &Arc<Session>, request: Box<Request>, scope: Scope) -> Self {
        Self::within(session, request, scope, None)
    }

    /// A call that ends at its deadline, whatever its connection does.
    pub(crate) fn within(
        session: &Arc<Session>,
        request: Box<Request>,
        scope: Scope,
        deadline: Option<Deadline>,
    ) -> Self {
        let phase = Phase::New(request, None);
        Self { session: Arc::clone(session), scope, deadline, phase }
    }

    /// A call that gives something back, once: however many calls are open, it does not wait behind
    /// those who want what it gives back, and it counts even if nobody waits for its reply.
    pub(crate) fn giving_back(
        session: &Arc<Session>,
        object: u64,
        op: request::Op,
        scope: Scope,
    ) -> Self {
        let phase = match session.give_back(giving_back(object, op), scope) {
            Ok(seq) => Phase::GivingBack(seq),
            Err(failure) => Phase::Failed(failure),
        };
        Self { session: Arc::clone(session), scope, deadline: None, phase }
    }
}

impl Future for Call {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        match mem::replace(&mut this.phase, Phase::Over) {
            Phase::New(request, place) => {
                let (scope, deadline) = (this.scope, this.deadline);
                let call = NewCall { request, scope, deadline, place };
                match this.session.begin(call, cx.waker()) {
                    Begun::Sent(seq) => this.phase = Phase::Sent(seq),
                    Begun::Blocked(request, place) => {
                        this.phase = Phase::New(request, Some(place));
                    }
                    Begun::Failed(failure) => return Poll::Ready(Err(failure)),
                }
            }
            phase @ (Phase::Sent(seq) | Phase::GivingBack(seq)) => {
                let poll = this.session.poll_reply(seq, cx.waker());
                if poll.is_pending() {
                    this.phase = phase;
                }
                return poll;
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
            Phase::Sent(seq) => self.session.cancel(seq),
            Phase::GivingBack(seq) => self.session.detach(seq),
            Phase::New(..) | Phase::Failed(_) | Phase::Over => {}
        }
    }
}

/// The frames that go out by one connection, as many requests in each as are ready.
pub(crate) struct Outgoing {
    pub(crate) session: Arc<Session>,
    pub(crate) connection: u64,
}

impl Stream for Outgoing {
    type Item = EncodedFrame;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<EncodedFrame>> {
        self.session.poll_frame(self.connection, cx.waker())
    }
}
