//! A session's response stream: the hot path.
//!
//! In a single poll it takes the frames that have arrived, applies them inline, and yields one
//! frame with everything there is to say, also what other sessions' operations put there. Within a
//! frame acks come first, then cancels, then requests.

use std::{
    error::Error as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use mp_manager_core::{
    Call, CallId, Error, Object, Reason,
    outbox::Settled,
    session::{Admission, Generation, Load, Next},
    v1::{ClientFrame, Fence, Request, ServerFrame, request, set_op},
};
use mp_manager_proto::operation::{Waits, request_waits};
use tonic::{Code, Status, Streaming};

use crate::{
    connection::Connection,
    directory, lock,
    session::{Parked, Seat, Session, SessionState},
    store::{Cell, Store},
};

/// After this many operations a poll says what it has and lets others run.
const OPERATIONS_PER_POLL: usize = 1024;
/// Replies beyond this go into the next frame.
const FRAME_BYTES: usize = 1 << 20;

/// Yields the server's frames of one session, on one of its connections.
pub(crate) struct SessionStream {
    store: Arc<Store>,
    session: Arc<Session>,
    generation: Generation,
    inbound: Streaming<ClientFrame>,
    /// The number of the last frame that was read and settled.
    echo: u64,
    /// Something is to be done before the next frame is read.
    has_next: bool,
    /// Nothing more comes from the client.
    inbound_over: bool,
    connection: Arc<Connection>,
}

/// What is let go of while the session is locked, to be dropped afterwards.
type LetGo = Vec<mp_manager_core::Pin>;

impl SessionStream {
    pub(crate) fn new(
        store: Arc<Store>,
        seat: Seat,
        inbound: Streaming<ClientFrame>,
        connection: Arc<Connection>,
    ) -> Self {
        let Seat { session, generation } = seat;
        let (echo, has_next, inbound_over) = (0, false, false);
        Self { store, session, generation, inbound, echo, has_next, inbound_over, connection }
    }

    /// Processes the frames that have arrived, as far as one poll goes. What it would have to say
    /// must have room: a small frame can ask for very much.
    fn take_in(&mut self, cx: &mut Context<'_>) {
        let mut operations = 0;
        while self.has_next || !self.inbound_over {
            let load = self.session.load();
            if load.too_many_losses {
                return self.over(Some(too_many_losses()));
            }
            if load.unsent_bytes >= FRAME_BYTES || self.store.is_shutting_down() {
                return;
            }
            if operations >= OPERATIONS_PER_POLL {
                cx.waker().wake_by_ref();
                return;
            }
            operations += 1;
            if self.has_next {
                operations += self.start_requests(OPERATIONS_PER_POLL);
                continue;
            }
            match Pin::new(&mut self.inbound).poll_next(cx) {
                Poll::Pending => return,
                Poll::Ready(Some(Ok(frame))) => self.process(frame),
                Poll::Ready(Some(Err(status))) => self.broken(&status),
                Poll::Ready(None) => self.closed(),
            }
        }
    }

    fn broken(&mut self, status: &Status) {
        // A status without a cause is the decoder's own: the connection is as it was.
        let cannot_be_read = status.source().is_none()
            && matches!(status.code(), Code::OutOfRange | Code::Internal | Code::InvalidArgument);
        if cannot_be_read {
            let why = format!("a frame cannot be read: {}", status.message());
            self.over(Some(protocol(why)));
        } else {
            self.closed();
        }
    }

    /// Nothing more comes on this stream. That ends it, but the session only where it proves that
    /// its client has ended.
    fn closed(&mut self) {
        self.inbound_over = true;
        if self.connection.proves_death() {
            self.over(None);
        }
    }

    /// Ends the session, unless it was resumed on another stream. A reason is the client's fault.
    fn over(&mut self, why: Option<Error>) {
        self.inbound_over = true;
        self.has_next = false;
        let message = why.as_ref().map(|why| why.message.clone());
        if self.session.end_current(&self.store, self.generation, why)
            && let Some(message) = message
        {
            let (session, peer) = (self.session.id, self.session.peer());
            tracing::warn!(session, %peer, "session ended: {message}");
            self.connection.permit.failed();
        }
    }

    fn process(&mut self, frame: ClientFrame) {
        let session = Arc::clone(&self.session);
        let mut state = lock(&session.state);
        if self.store.is_shutting_down() {
            return;
        }
        let (number, now) = (frame.number, self.store.leases.now());
        let limits = &self.store.session_limits;
        let (settled, result) = match state.machine.frame(self.generation, frame, now, limits) {
            Ok(Some(settle)) => session.settle(settle),
            Ok(None) => {
                self.inbound_over = true;
                return;
            }
            Err(error) => {
                drop(state);
                return self.over(Some(error));
            }
        };
        self.tell(&settled);
        self.has_next = state.machine.has_next();
        drop(state);
        drop(settled);
        self.echo = number;
        if let Err(error) = result {
            self.over(Some(error));
        }
    }

    /// Tells the objects what became of earlier replies.
    fn tell(&self, settled: &Settled<Parked>) {
        let call = |seq| CallId { session: self.session.id, seq };
        for (seq, parked) in &settled.acknowledged {
            self.store.acknowledge(&parked.cell, call(*seq));
        }
        for (seq, parked) in &settled.cancelled {
            if let Some(deadline) = parked.deadline {
                self.store.timers.remove(deadline, call(*seq));
            }
            self.store.cancel(&parked.cell, call(*seq));
        }
    }

    /// Starts requests as long as their replies have room, so many at most; how many.
    fn start_requests(&mut self, max: usize) -> usize {
        let session = Arc::clone(&self.session);
        let mut let_go = LetGo::new();
        let mut state = lock(&session.state);
        let (mut started, mut end) = (0, None);
        // A shutdown ends one session after the other; whoever is told first may rely on it that
        // the others are not served any longer.
        while started < max
            && !self.store.is_shutting_down()
            && let load = session.load()
            && load.unsent_bytes < FRAME_BYTES
        {
            match state.machine.next(self.generation, &load, &self.store.session_limits) {
                Ok(Next::Start(request)) => self.start(&mut state, request, &load, &mut let_go),
                Ok(Next::Refuse(seq, error)) => session.conclude(seq, Err(error)),
                Ok(Next::Read) => {
                    self.has_next = false;
                    break;
                }
                Ok(Next::End) => {
                    end = Some(None);
                    break;
                }
                Err(error) => {
                    end = Some(Some(error));
                    break;
                }
            }
            started += 1;
        }
        drop(state);
        drop(let_go);
        if let Some(why) = end {
            self.over(why);
        }
        started
    }

    fn start(&self, state: &mut SessionState, request: Request, load: &Load, let_go: &mut LetGo) {
        let waits = request_waits(&request);
        let Request { seq, object, timeout_us, fence, op } = request;
        let Some(op) = op else {
            return self.session.conclude(seq, Err(mp_manager_core::object::unsupported()));
        };
        if let request::Op::Directory(op) = op {
            let result = directory::apply(&self.store, &self.session, op, let_go);
            return self.session.conclude(seq, result);
        }
        // A fence stands now or not at all: what it guards does not wait.
        let may_wait = timeout_us != Some(0) && fence.is_none();
        let call = Call { id: CallId { session: self.session.id, seq }, may_wait };
        match self.admit(waits, object, op, load) {
            Err(error) => self.session.conclude(seq, Err(error)),
            Ok((cell, op, admission)) => {
                if Object::tracks_sessions(cell.kind) {
                    state.touch(&cell);
                }
                self.apply_op(&cell, (call, admission), timeout_us, fence, op);
            }
        }
    }

    fn apply_op(
        &self,
        cell: &Arc<Cell>,
        (call, admission): (Call, Admission),
        timeout_us: Option<u64>,
        fence: Option<Fence>,
        op: request::Op,
    ) {
        match fence {
            None => {
                let timeout = timeout_us.map(Duration::from_micros);
                self.store.apply(&self.session, cell, (call, admission), timeout, op);
            }
            Some(fence) => self.store.apply_fenced(&self.session, cell, call, fence, op),
        }
    }

    /// Finds the object of a request and completes what the operation needs from outside.
    fn admit(
        &self,
        waits: Waits,
        object: u64,
        mut op: request::Op,
        load: &Load,
    ) -> Result<(Arc<Cell>, request::Op, Admission), Error> {
        let cell = self.store.find(object).ok_or_else(|| {
            Error::new(Reason::ObjectNotFound, format!("object {object} does not exist"))
                .with_hint("it was deleted, or nothing referred to it any more")
        })?;
        if !Object::accepts(cell.kind, &op) {
            return Err(mp_manager_core::object::wrong_kind(cell.kind));
        }
        if self.store.over_memory_budget() && Object::grows(&op) {
            return Err(self.store.out_of_memory());
        }
        let admission = if Object::gives_back(&op) {
            Admission::MayWait
        } else {
            self.store.session_limits.admit(load, waits)?
        };
        self.resolve_operand(&mut op)?;
        Ok((cell, op, admission))
    }

    /// Replaces another shared set by a snapshot of it: two objects are never locked at once.
    fn resolve_operand(&self, op: &mut request::Op) -> Result<(), Error> {
        let request::Op::Set(op) = op else { return Ok(()) };
        let operand = match &mut op.op {
            Some(set_op::Op::Combine(combine)) => combine.other.as_mut(),
            Some(set_op::Op::Compare(compare)) => compare.other.as_mut(),
            _ => None,
        };
        let Some(operand) = operand.filter(|operand| operand.object != 0) else { return Ok(()) };
        let id = std::mem::take(&mut operand.object);
        let missing = || {
            Error::new(
                Reason::ObjectNotFound,
                format!("the other set, object {id}, does not exist"),
            )
        };
        let other = self.store.find(id).ok_or_else(missing)?;
        let snapshot = self.store.look_settled(&other, Object::set_snapshot).ok_or_else(missing)?;
        operand.elements =
            snapshot.ok_or_else(|| mp_manager_core::object::wrong_kind(other.kind))?;
        Ok(())
    }
}

impl Stream for SessionStream {
    type Item = Result<ServerFrame, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        // First, so that what is put into the outbox from now on wakes us.
        if !this.session.register(this.generation, cx.waker()) {
            return Poll::Ready(None);
        }
        this.take_in(cx);
        if let Some(frame) = this.session.take_frame(this.generation, this.echo, FRAME_BYTES) {
            return Poll::Ready(Some(Ok(frame)));
        }
        let is_cut = this.inbound_over && !this.has_next;
        if is_cut || this.session.is_over(this.generation) {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    }
}

impl Drop for SessionStream {
    fn drop(&mut self) {
        if self.connection.proves_death() {
            self.session.end_current(&self.store, self.generation, None);
        }
    }
}

fn too_many_losses() -> Error {
    Error::new(Reason::LimitExceeded, "more grants of the session were lost than it took note of")
        .with_hint("confirm the notices of lost grants")
}

fn protocol(message: impl Into<String>) -> Error {
    Error::new(Reason::Protocol, message)
}
