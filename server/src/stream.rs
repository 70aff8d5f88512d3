//! A session's response stream: the hot path.
//!
//! In a single poll it takes the frames that have arrived, applies them inline, and yields one
//! frame with everything there is to say, also what other sessions' operations put there. Within a
//! frame acks come first, then cancels, then requests.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
    vec,
};

use futures_core::Stream;
use mp_manager_core::{
    Call, CallId, Error, Object, Reason,
    session::Cancelled,
    v1::{ClientFrame, Fence, Request, SeqRange, ServerFrame, request, set_op},
};
use tonic::{Status, Streaming};

use crate::{
    directory, lock,
    session::{Load, Session, SessionState},
    store::{Cell, Store},
};

/// After this many operations a poll says what it has and lets others run.
const OPERATIONS_PER_POLL: usize = 1024;
/// Replies beyond this go into the next frame.
const FRAME_BYTES: usize = 1 << 20;

/// Yields the server's frames of one session; dropping it ends the session.
pub(crate) struct SessionStream {
    store: Arc<Store>,
    session: Arc<Session>,
    inbound: Streaming<ClientFrame>,
    /// The number of the last frame processed.
    echo: u64,
    /// The requests of that frame that were not started yet.
    requests: vec::IntoIter<Request>,
    /// It said goodbye.
    goodbye: bool,
    /// Nothing more comes from the client.
    inbound_over: bool,
}

impl SessionStream {
    pub(crate) fn new(
        store: Arc<Store>,
        session: Arc<Session>,
        inbound: Streaming<ClientFrame>,
    ) -> Self {
        let requests = Vec::new().into_iter();
        Self { store, session, inbound, echo: 0, requests, goodbye: false, inbound_over: false }
    }

    /// Processes the frames that have arrived, as far as one poll goes. What it would have to say
    /// must have room: a small frame can ask for very much.
    fn take_in(&mut self, cx: &mut Context<'_>) {
        let mut operations = 0;
        while !self.inbound_over && self.session.load().unsent_bytes < FRAME_BYTES {
            if operations >= OPERATIONS_PER_POLL {
                cx.waker().wake_by_ref();
                return;
            }
            operations += 1;
            if self.goodbye || !self.requests.as_slice().is_empty() {
                operations += self.start_requests();
                continue;
            }
            match Pin::new(&mut self.inbound).poll_next(cx) {
                Poll::Pending => return,
                Poll::Ready(Some(Ok(frame))) => self.process(frame),
                Poll::Ready(Some(Err(status))) => self.broken(&status),
                Poll::Ready(None) => self.over(None),
            }
        }
    }

    fn broken(&mut self, status: &Status) {
        let why = match status.code() {
            // What could not be decoded, or is too large: the client should hear of it.
            tonic::Code::OutOfRange | tonic::Code::Internal | tonic::Code::InvalidArgument => {
                Some(protocol(format!("a frame cannot be read: {}", status.message())))
            }
            _ => None,
        };
        self.over(why);
    }

    fn over(&mut self, why: Option<Error>) {
        self.inbound_over = true;
        if let Some(why) = &why {
            let (session, peer) = (self.session.id, &self.session.peer);
            tracing::warn!(session, peer, "session ended: {}", why.message);
        }
        self.session.end(&self.store, why);
    }

    fn process(&mut self, frame: ClientFrame) {
        if let Err(error) = self.check_frame(&frame) {
            return self.over(Some(error));
        }
        let session = Arc::clone(&self.session);
        let state = lock(&session.state);
        if self.is_over(&state) {
            return;
        }
        self.settle(frame.acks, frame.cancels);
        drop(state);
        self.requests = frame.requests.into_iter();
        self.goodbye = frame.goodbye.is_some();
    }

    /// A shutdown ends one session after the other; whoever is told first may rely on it that the
    /// others are not served any longer.
    fn is_over(&self, state: &SessionState) -> bool {
        state.ended || self.store.is_shutting_down()
    }

    /// Starts requests as long as their replies have room; how many.
    fn start_requests(&mut self) -> usize {
        let session = Arc::clone(&self.session);
        let mut state = lock(&session.state);
        let (mut started, mut result) = (0, Ok(()));
        while !self.is_over(&state)
            && result.is_ok()
            && let load = session.load()
            && load.unsent_bytes < FRAME_BYTES
            && let Some(request) = self.requests.next()
        {
            result = self.request(&mut state, request, load);
            started += 1;
        }
        if self.is_over(&state) || result.is_err() {
            self.requests = Vec::new().into_iter();
        }
        drop(state);
        match result {
            Err(error) => self.over(Some(error)),
            Ok(()) if self.goodbye && self.requests.as_slice().is_empty() => self.over(None),
            Ok(()) => {}
        }
        started
    }

    fn check_frame(&mut self, frame: &ClientFrame) -> Result<(), Error> {
        if frame.number != self.echo + 1 {
            let (got, expected) = (frame.number, self.echo + 1);
            return Err(protocol(format!("frame {got} came where {expected} was expected")));
        }
        self.echo = frame.number;
        if frame.reconcile.is_some() {
            return Err(protocol("a session that was not resumed has nothing to reconcile"));
        }
        let max = self.store.limits().max_requests_per_frame;
        if frame.requests.len() > max {
            let n = frame.requests.len();
            return Err(protocol(format!("a frame has {n} requests; the limit is {max}"))
                .with_hint("the server's --max-requests-per-frame raises the limit"));
        }
        Ok(())
    }

    /// Takes note of what became of earlier replies.
    fn settle(&self, acks: Vec<SeqRange>, cancels: Vec<u64>) {
        let id = self.session.id;
        for range in acks {
            for (seq, parked) in self.session.acknowledge(range.first, range.last) {
                self.store.acknowledge(&parked.cell, CallId { session: id, seq });
            }
        }
        for seq in cancels {
            if let Cancelled::Tell(parked) = self.session.cancel(seq) {
                let call = CallId { session: id, seq };
                if let Some(deadline) = parked.deadline {
                    self.store.timers.remove(deadline, call);
                }
                self.store.cancel(&parked.cell, call);
            }
        }
    }

    /// Starts a request. Only what breaks the protocol is an error here; a refusal is a reply.
    fn request(&self, state: &mut SessionState, request: Request, load: Load) -> Result<(), Error> {
        let Request { seq, object, timeout_us, fence, op } = request;
        if seq <= state.high {
            let high = state.high;
            return Err(protocol(format!("request {seq} came after request {high}")));
        }
        state.high = seq;
        let refuse = |error| self.session.conclude(seq, Err(error));
        let Some(op) = op else {
            refuse(mp_manager_core::object::unsupported());
            return Ok(());
        };
        if let request::Op::Directory(op) = op {
            let result = directory::apply(&self.store, &self.session, op);
            self.session.conclude(seq, result);
            return Ok(());
        }
        // A fence stands now or not at all: what it guards does not wait.
        let may_wait = timeout_us != Some(0) && fence.is_none();
        let call = Call { id: CallId { session: self.session.id, seq }, may_wait };
        match self.admit(call, object, op, load) {
            Err(error) => refuse(error),
            Ok((cell, op)) => {
                if Object::tracks_sessions(cell.kind) {
                    state.touch(&cell);
                }
                self.apply_op(&cell, call, timeout_us, fence, op);
            }
        }
        Ok(())
    }

    fn apply_op(
        &self,
        cell: &Arc<Cell>,
        call: Call,
        timeout_us: Option<u64>,
        fence: Option<Fence>,
        op: request::Op,
    ) {
        match fence {
            None => {
                let timeout = timeout_us.map(Duration::from_micros);
                self.store.apply(&self.session, cell, call, timeout, op);
            }
            Some(fence) => self.store.apply_fenced(&self.session, cell, call, fence, op),
        }
    }

    /// Finds the object of a request and completes what the operation needs from outside.
    fn admit(
        &self,
        call: Call,
        object: u64,
        mut op: request::Op,
        load: Load,
    ) -> Result<(Arc<Cell>, request::Op), Error> {
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
        let Load { open, parked, .. } = load;
        let limits = self.store.limits();
        if open >= limits.max_open_requests || (call.may_wait && parked >= limits.max_parked_calls)
        {
            return Err(Error::new(
                Reason::LimitExceeded,
                format!("the session has {open} open requests, {parked} of them waiting"),
            )
            .with_hint("the server's --max-open-requests and --max-parked-calls are the limits"));
        }
        self.resolve_operand(&mut op)?;
        Ok((cell, op))
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
        this.session.register(cx.waker());
        this.take_in(cx);
        if let Some(frame) = this.session.take_frame(this.echo, FRAME_BYTES) {
            return Poll::Ready(Some(Ok(frame)));
        }
        if this.session.has_ended() { Poll::Ready(None) } else { Poll::Pending }
    }
}

impl Drop for SessionStream {
    fn drop(&mut self) {
        self.session.end(&self.store, None);
    }
}

fn protocol(message: impl Into<String>) -> Error {
    Error::new(Reason::Protocol, message)
}
