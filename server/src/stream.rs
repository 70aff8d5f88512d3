//! A session's response stream: the hot path.
//!
//! In a single poll it takes the frames that have arrived, has the engine start their requests and performs
//! what follows, and yields one frame with everything there is to say, also what other sessions' operations
//! put there.

use std::{
    error::Error as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use mp_manager_core::{
    Error, Reason,
    engine::{self, Attachment, Started, Want, Work},
    v1::{ClientFrame, ServerFrame},
};
use tonic::{Code, Status, Streaming};

use crate::{
    connection::Connection,
    decoding::{Frame, HeavyFrame},
    host::Host,
};

/// After this many operations a poll says what it has and lets others run.
const OPERATIONS_PER_POLL: usize = 1024;

/// Yields the server's frames of one session, on one of its connections.
pub(crate) struct SessionStream {
    host: Arc<Host>,
    stream: engine::Stream,
    inbound: Streaming<Bytes>,
    /// The frame that is taken in next, if it is decoded elsewhere.
    heavy: Option<HeavyFrame>,
    connection: Arc<Connection>,
    work: Work,
}

/// Why no frame comes.
enum Fault {
    Connection(Status),
    /// It cannot be read, or has too much in it.
    Frame(Error),
}

impl SessionStream {
    pub(crate) fn new(
        host: Arc<Host>,
        attachment: &Attachment,
        inbound: Streaming<Bytes>,
        connection: Arc<Connection>,
    ) -> Self {
        let (stream, work) = (attachment.stream(), Work::default());
        Self { host, stream, inbound, heavy: None, connection, work }
    }

    /// Processes the frames that have arrived, as far as one poll goes.
    fn take_in(&mut self, cx: &mut Context<'_>) {
        let mut operations = 0;
        loop {
            let want = self.stream.want(&self.host.engine);
            match want {
                Want::Nothing => return,
                Want::End(why) => return self.end(why),
                Want::Start | Want::Frame if operations >= OPERATIONS_PER_POLL => {
                    cx.waker().wake_by_ref();
                    return;
                }
                Want::Start => match self.start_requests(OPERATIONS_PER_POLL) {
                    Some(started) => operations += started,
                    None => return,
                },
                Want::Frame => match self.poll_frame(cx) {
                    Poll::Pending => return,
                    Poll::Ready(Some(Ok(frame))) => self.process(frame),
                    Poll::Ready(Some(Err(Fault::Frame(why)))) => self.end(why),
                    Poll::Ready(Some(Err(Fault::Connection(status)))) => self.broken(&status),
                    Poll::Ready(None) => self.closed(),
                },
            }
            operations += 1;
        }
    }

    /// The next frame, decoded. One that is heavy keeps those after it waiting, and nobody else.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<ClientFrame, Fault>>> {
        loop {
            if let Some(heavy) = &mut self.heavy {
                let decoded = ready!(heavy.poll(cx));
                self.heavy = None;
                return Poll::Ready(Some(decoded.map_err(Fault::Frame)));
            }
            match ready!(Pin::new(&mut self.inbound).poll_next(cx)) {
                Some(Ok(frame)) => match self.host.decoding.decode(frame) {
                    Frame::Decoded(decoded) => {
                        return Poll::Ready(Some(decoded.map_err(Fault::Frame)));
                    }
                    Frame::Heavy(heavy) => self.heavy = Some(heavy),
                },
                Some(Err(status)) => return Poll::Ready(Some(Err(Fault::Connection(status)))),
                None => return Poll::Ready(None),
            }
        }
    }

    fn process(&mut self, frame: ClientFrame) {
        let client = Arc::clone(self.stream.client());
        let mut state = client.lock();
        let fault = self.stream.take_in(&self.host.engine, &mut state, frame, &mut self.work);
        self.host.perform(&mut self.work);
        drop(state);
        self.work.let_go();
        self.ended(fault);
    }

    /// Starts requests as long as their replies have room, `max` at most; how many. `None` if the next one
    /// has to wait until the stream is woken.
    fn start_requests(&mut self, max: usize) -> Option<usize> {
        let client = Arc::clone(self.stream.client());
        let mut state = client.lock();
        let (mut started, mut is_blocked, mut fault) = (0, false, None);
        while started < max {
            match self.stream.start(&self.host.engine, &mut state, &mut self.work) {
                Started::One(_) => self.host.perform(&mut self.work),
                Started::Nothing => break,
                Started::Blocked => {
                    is_blocked = true;
                    break;
                }
                Started::Ended(why) => {
                    fault = Some(why);
                    break;
                }
            }
            started += 1;
        }
        self.host.perform(&mut self.work);
        drop(state);
        self.work.let_go();
        self.ended(fault);
        (!is_blocked).then_some(started)
    }

    fn broken(&mut self, status: &Status) {
        // A status without a cause is the decoder's own: the connection is as it was.
        let cannot_be_read = status.source().is_none()
            && matches!(status.code(), Code::OutOfRange | Code::Internal | Code::InvalidArgument);
        if cannot_be_read {
            let why = format!("a frame cannot be read: {}", status.message());
            let why = Error::new(Reason::Protocol, why);
            self.end(if status.code() == Code::OutOfRange {
                why.with_hint("the server's --max-frame-bytes raises the limit")
            } else {
                why
            });
        } else {
            self.closed();
        }
    }

    /// Nothing more comes on this stream.
    fn closed(&mut self) {
        let client = Arc::clone(self.stream.client());
        let mut state = client.lock();
        let proves_death = self.connection.proves_death();
        self.stream.closed(&self.host.engine, &mut state, proves_death, &mut self.work);
        self.host.perform(&mut self.work);
        drop(state);
        self.work.let_go();
    }

    /// Ends the session for what its client did.
    fn end(&mut self, why: Error) {
        let client = Arc::clone(self.stream.client());
        let mut state = client.lock();
        let fault = self.stream.end(&self.host.engine, &mut state, why, &mut self.work);
        self.host.perform(&mut self.work);
        drop(state);
        self.work.let_go();
        self.ended(fault);
    }

    /// The session was ended for this, if for anything.
    fn ended(&self, fault: Option<Error>) {
        let Some(why) = fault else { return };
        let client = self.stream.client();
        let (session, peer) = (client.id(), client.peer());
        tracing::warn!(session, %peer, "session ended: {}", why.message);
        self.connection.permit.failed();
    }
}

impl Stream for SessionStream {
    type Item = Result<ServerFrame, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        // First, so that what is put into the outbox from now on wakes us.
        if !this.stream.register(cx.waker()) {
            return Poll::Ready(this.stream.farewell().map(Ok));
        }
        this.take_in(cx);
        match this.stream.say() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None if this.stream.is_over() => Poll::Ready(this.stream.farewell().map(Ok)),
            None => Poll::Pending,
        }
    }
}

impl Drop for SessionStream {
    fn drop(&mut self) {
        if self.connection.proves_death() {
            self.closed();
        }
    }
}
