//! A session as its client sees it: what is to be sent, what waits for a reply, what is held.
//!
//! [`Shared`] is the state machine; it does no I/O. Two things drive it: a stream that takes frames
//! out ([`Outgoing`]) and a task that puts the server's frames in. [`Link`] is what proxies hold:
//! when the last one goes, so does the session.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    future::Future,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    task::{Context, Poll, Waker},
};

use futures_core::Stream;
use mp_manager_proto::{
    encoded_len,
    v1::{
        ClientFrame, DirectoryOp, Empty, Error as Refusal, Limits, Reason, Ref, Release, Request,
        SeqRange, ServerFrame, directory_op, reply, request,
    },
};
use tokio::sync::watch;

use crate::{connect::Keeper, level::Tenure, reply::referenced};

/// A frame is closed once it is this long; a longer request has one to itself.
const FRAME_BYTES: usize = 1 << 20;
/// So many losses are remembered for callers that have not looked at their grants yet.
const EARLY_LOSSES: usize = 1024;
/// What a frame with one request has beside it, at most.
const FRAME_OVERHEAD: usize = 64;
/// So many acknowledgements are worth a frame of their own.
const ACKS_WORTH_A_FRAME: usize = 256;

type Seq = u64;

/// The user's hold on a session; dropping the last one says goodbye.
pub(crate) struct Link {
    pub(crate) shared: Arc<Shared>,
    pub(crate) address: String,
    server_id: u64,
    /// What runs the connection, and an embedded server: they end with the link.
    keeper: OnceLock<Keeper>,
}

/// The session's state.
pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) limits: Limits,
    /// True once the session is over; for those who wait for it.
    ended: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    next_seq: Seq,
    calls: BTreeMap<Seq, Slot>,
    /// Callers that wait until there are fewer open calls.
    blocked: Vec<Waker>,
    requests: VecDeque<(Request, usize)>,
    acks: Vec<SeqRange>,
    cancels: Vec<Seq>,
    /// Acks that hand something back to others if they are late.
    acks_are_urgent: bool,
    frame_number: u64,
    sender: Option<Waker>,
    goodbye: Goodbye,
    /// Why the session is over.
    ended: Option<Refusal>,
    handles: HashMap<u64, Weak<Handle>>,
    grants: HashMap<(u64, u64), Arc<watch::Sender<bool>>>,
    /// Losses of grants whose callers have not looked yet; tokens are never used again.
    early_losses: VecDeque<(u64, u64)>,
}

#[derive(Default, PartialEq, Eq)]
enum Goodbye {
    #[default]
    No,
    Due,
    Said,
}

/// ```text
///   waiting ──reply──► replied ──taken by its caller──► acknowledged
///      └──caller gone──► cancelled ◄──caller gone──┘
/// ```
enum Slot {
    Waiting(Option<Waker>),
    Replied(Box<Arrived>),
    /// Nobody waits for the reply.
    Detached,
}

/// A reply, with a hold on every object it refers to.
pub(crate) struct Arrived {
    pub(crate) result: reply::Result,
    #[expect(dead_code, reason = "kept to be dropped with the reply")]
    pub(crate) handles: Vec<Arc<Handle>>,
}

/// The client's hold on one object. The server counts the references it hands out; the last proxy
/// to go gives them all back.
pub(crate) struct Handle {
    pub(crate) link: Arc<Link>,
    pub(crate) reference: Ref,
    received: Mutex<u64>,
    /// Who holds it in this process, if it is a re-entrant lock.
    pub(crate) tenure: Mutex<Weak<Tenure>>,
}

impl Link {
    pub(crate) fn new(shared: Arc<Shared>, address: String, server_id: u64) -> Arc<Self> {
        Arc::new(Self { shared, address, server_id, keeper: OnceLock::new() })
    }

    /// Gives the link what runs it; done once, right after connecting.
    pub(crate) fn keep(&self, keeper: Keeper) {
        let _ = self.keeper.set(keeper);
    }

    pub(crate) fn keeper(&self) -> Option<&Keeper> {
        self.keeper.get()
    }

    pub(crate) fn server_id(&self) -> u64 {
        self.server_id
    }

    /// The hold on an object that some reply referred to.
    pub(crate) fn handle(self: &Arc<Self>, reference: Ref) -> Arc<Handle> {
        let mut state = self.shared.lock();
        Self::handle_locked(self, &mut state, reference)
    }

    fn handle_locked(self: &Arc<Self>, state: &mut State, reference: Ref) -> Arc<Handle> {
        if let Some(handle) = state.handles.get(&reference.object).and_then(Weak::upgrade) {
            return handle;
        }
        let handle = Arc::new(Handle {
            link: Arc::clone(self),
            reference,
            received: Mutex::default(),
            tenure: Mutex::default(),
        });
        state.handles.insert(reference.object, Arc::downgrade(&handle));
        handle
    }

    /// Sends a request whose reply nobody waits for. As it does not wait itself, it is not refused
    /// for the many calls of this session that may.
    pub(crate) fn send_detached(&self, object: u64, op: request::Op) {
        let mut state = self.shared.lock();
        if state.ended.is_none() && state.goodbye == Goodbye::No {
            let seq = state.enqueue(told(object, op));
            state.calls.insert(seq, Slot::Detached);
            state.wake_sender();
        }
    }

    /// Notes a grant, so that its loss can be told.
    pub(crate) fn register_grant(&self, object: u64, token: u64) -> Arc<watch::Sender<bool>> {
        let mut state = self.shared.lock();
        let lost = state.ended.is_some() || state.early_losses.contains(&(object, token));
        let grant = Arc::new(watch::Sender::new(lost));
        if !lost {
            state.grants.insert((object, token), Arc::clone(&grant));
        }
        grant
    }

    /// A grant goes on under another token, with the guards it has.
    pub(crate) fn renew_grant(&self, object: u64, old: u64, new: u64) {
        let mut state = self.shared.lock();
        if let Some(grant) = state.grants.remove(&(object, old)) {
            if state.early_losses.contains(&(object, new)) {
                grant.send_replace(true);
            }
            state.grants.insert((object, new), grant);
        }
    }

    /// A grant of this session was taken away by this session.
    pub(crate) fn lose_grant(&self, object: u64, token: u64) {
        if let Some(grant) = self.shared.lock().grants.get(&(object, token)) {
            grant.send_replace(true);
        }
    }

    /// The guard of a grant is gone. A leased item keeps its number: when it was leased again
    /// meanwhile, the note is of the new lease, and stays.
    pub(crate) fn forget_grant(&self, object: u64, token: u64, grant: &Arc<watch::Sender<bool>>) {
        let mut state = self.shared.lock();
        if state.grants.get(&(object, token)).is_some_and(|known| Arc::ptr_eq(known, grant)) {
            state.grants.remove(&(object, token));
        }
    }

    /// Says goodbye: nothing can be asked any more.
    pub(crate) fn say_goodbye(&self) {
        let mut state = self.shared.lock();
        if state.goodbye == Goodbye::No {
            state.goodbye = Goodbye::Due;
        }
        state.wake_sender();
    }

    /// Completes when the session is over.
    pub(crate) async fn ended(&self) {
        // The sender lives as long as the link does.
        let _ = self.shared.ended.subscribe().wait_for(|ended| *ended).await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.say_goodbye();
    }
}

impl Shared {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        let state = State { next_seq: 1, ..State::default() };
        Arc::new(Self { state: Mutex::new(state), limits, ended: watch::Sender::new(false) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The session is over: whoever waits is told why, and every grant is lost.
    pub(crate) fn end(&self, why: Refusal) {
        let mut state = self.lock();
        if state.ended.is_some() {
            return;
        }
        state.ended = Some(why);
        // What has arrived and is final is still good to hear.
        let (calls, arrived) =
            mem::take(&mut state.calls).into_iter().partition::<BTreeMap<_, _>, _>(
                |(_, slot)| !matches!(slot, Slot::Replied(arrived) if !hands_over(&arrived.result)),
            );
        state.calls = arrived;
        let mut wakers = mem::take(&mut state.blocked);
        wakers.extend(state.sender.take());
        let grants = mem::take(&mut state.grants);
        state.requests.clear();
        drop(state);
        for slot in calls.into_values() {
            if let Slot::Waiting(Some(waker)) = slot {
                wakers.push(waker);
            }
        }
        for grant in grants.into_values() {
            grant.send_replace(true);
        }
        self.ended.send_replace(true);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Leaves room for what else a frame has to say.
    fn longest_request(&self) -> usize {
        (self.limits.max_frame_bytes as usize).saturating_sub(FRAME_OVERHEAD)
    }

    /// Takes in a frame of the server's.
    pub(crate) fn receive(&self, link: &Weak<Link>, frame: ServerFrame) {
        let mut wakers = Vec::with_capacity(frame.replies.len());
        let mut unwanted = Vec::new();
        let mut state = self.lock();
        for reply in frame.replies {
            let Some(result) = reply.result else { continue };
            let handles = state.hold(link, &result);
            let arrived = Box::new(Arrived { result, handles });
            match state.calls.get_mut(&reply.seq) {
                Some(slot @ Slot::Waiting(_)) => {
                    if let Slot::Waiting(waker) = mem::replace(slot, Slot::Replied(arrived)) {
                        wakers.extend(waker);
                    }
                }
                Some(Slot::Detached) => {
                    state.calls.remove(&reply.seq);
                    state.acknowledge(reply.seq, false);
                    unwanted.push(arrived);
                }
                // Cancelled meanwhile: the cancel is on its way.
                Some(Slot::Replied(_)) | None => unwanted.push(arrived),
            }
        }
        for lost in frame.lost {
            state.lose(lost.object, lost.token);
        }
        wakers.append(&mut state.unblock());
        drop(state);
        drop(unwanted);
        wakers.into_iter().for_each(Waker::wake);
        if let Some(why) = frame.ended {
            self.end(why);
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }
}

impl State {
    /// Holds everything that a reply refers to. The link is not held for longer than that: whoever
    /// takes in frames must not have it when its last user lets go of it, who would not wait for
    /// the goodbye and for an embedded manager's end.
    fn hold(&mut self, link: &Weak<Link>, result: &reply::Result) -> Vec<Arc<Handle>> {
        let mut handles = Vec::new();
        referenced(result, |reference| {
            if let Some(link) = link.upgrade() {
                let handle = link.handle_locked(self, *reference);
                *lock(&handle.received) += 1;
                handles.push(handle);
            }
        });
        handles
    }

    fn enqueue(&mut self, request: Request) -> Seq {
        let seq = self.next_seq;
        self.next_seq += 1;
        let request = Request { seq, ..request };
        let len = encoded_len(&request);
        self.requests.push_back((request, len));
        seq
    }

    /// Withdraws the last request if the server would end the session for its length.
    fn refuse_too_long(&mut self, max: usize) -> Option<Refusal> {
        let (_, len) = self.requests.pop_back_if(|(_, len)| *len > max)?;
        let message = format!("the request has {len} bytes; the limit is {max}");
        let hint = "send less at once, or raise the server's --max-frame-bytes";
        Some(Refusal::new(Reason::LimitExceeded, message).with_hint(hint))
    }

    /// The caller of `seq` has gone. A cancel that came before its request would be in vain: a
    /// request that was not sent yet never is.
    fn cancel(&mut self, seq: Seq) {
        match self.requests.binary_search_by_key(&seq, |(request, _)| request.seq) {
            Ok(unsent) => drop(self.requests.remove(unsent)),
            Err(_) => {
                self.cancels.push(seq);
                self.wake_sender();
            }
        }
    }

    fn acknowledge(&mut self, seq: Seq, urgent: bool) {
        self.acks_are_urgent |= urgent;
        match self.acks.last_mut() {
            Some(range) if range.last + 1 == seq => range.last = seq,
            _ => self.acks.push(SeqRange { first: seq, last: seq }),
        }
        if urgent || self.acks.len() >= ACKS_WORTH_A_FRAME {
            self.wake_sender();
        }
    }

    fn wake_sender(&mut self) {
        if let Some(waker) = self.sender.take() {
            waker.wake();
        }
    }

    fn lose(&mut self, object: u64, token: u64) {
        match self.grants.get(&(object, token)) {
            Some(grant) => drop(grant.send_replace(true)),
            None => {
                if self.early_losses.len() == EARLY_LOSSES {
                    self.early_losses.pop_front();
                }
                self.early_losses.push_back((object, token));
            }
        }
    }

    fn why_over(&self) -> Refusal {
        self.ended.clone().unwrap_or_else(closed)
    }

    fn unblock(&mut self) -> Vec<Waker> {
        mem::take(&mut self.blocked)
    }

    fn has_something_to_say(&self) -> bool {
        !self.requests.is_empty()
            || !self.cancels.is_empty()
            || self.acks_are_urgent
            || self.acks.len() >= ACKS_WORTH_A_FRAME
            || self.goodbye == Goodbye::Due
    }

    fn next_frame(&mut self, max_requests: usize) -> ClientFrame {
        self.frame_number += 1;
        self.acks_are_urgent = false;
        let mut frame = ClientFrame {
            number: self.frame_number,
            acks: mem::take(&mut self.acks),
            cancels: mem::take(&mut self.cancels),
            ..ClientFrame::default()
        };
        // A long request goes in a frame with nothing else, which it may fill to the limit.
        let mut bytes = frame.acks.len() + frame.cancels.len();
        while frame.requests.len() < max_requests
            && let Some((_, len)) = self.requests.front()
            && (bytes == 0 || bytes + len <= FRAME_BYTES)
            && let Some((request, len)) = self.requests.pop_front()
        {
            bytes += len;
            frame.requests.push(request);
        }
        if self.requests.is_empty() && self.goodbye == Goodbye::Due {
            self.goodbye = Goodbye::Said;
            frame.goodbye = Some(Empty {});
        }
        frame
    }
}

/// The frames a session has to send, as many requests in each as are ready.
pub(crate) struct Outgoing(pub(crate) Arc<Shared>);

impl Stream for Outgoing {
    type Item = ClientFrame;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ClientFrame>> {
        let mut state = self.0.lock();
        if state.ended.is_some() || state.goodbye == Goodbye::Said {
            return Poll::Ready(None);
        }
        if state.has_something_to_say() {
            let max_requests = self.0.limits.max_requests_per_frame.max(1) as usize;
            return Poll::Ready(Some(state.next_frame(max_requests)));
        }
        if !state.sender.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            state.sender = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// One call: sent when it is first polled, acknowledged in the poll that returns its reply,
/// cancelled if it is dropped before. One that [gives back](Self::giving_back) is sent at once, and
/// never cancelled.
pub(crate) struct Call {
    shared: Arc<Shared>,
    phase: Phase,
}

enum Phase {
    New(Option<Request>),
    Sent(Seq),
    GivingBack(Seq),
    Over,
}

impl Call {
    /// The request's seq is given to it when it is sent.
    pub(crate) fn new(shared: &Arc<Shared>, request: Request) -> Self {
        Self { shared: Arc::clone(shared), phase: Phase::New(Some(request)) }
    }

    /// A call that gives something back, once: however many calls are open, it does not wait behind
    /// those who want what it gives back, and it counts even if nobody waits for its reply.
    pub(crate) fn giving_back(shared: &Arc<Shared>, object: u64, op: request::Op) -> Self {
        let mut state = shared.lock();
        let request = told(object, op);
        if state.ended.is_some() || state.goodbye != Goodbye::No {
            drop(state);
            return Self::new(shared, request);
        }
        let seq = state.enqueue(request);
        state.calls.insert(seq, Slot::Waiting(None));
        state.wake_sender();
        Self { shared: Arc::clone(shared), phase: Phase::GivingBack(seq) }
    }
}

impl Future for Call {
    type Output = Result<Arrived, Refusal>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let shared = Arc::clone(&this.shared);
        let mut state = shared.lock();
        match &mut this.phase {
            Phase::New(_) if state.ended.is_some() => {
                this.phase = Phase::Over;
                Poll::Ready(Err(state.why_over()))
            }
            Phase::New(request) => {
                if state.goodbye != Goodbye::No {
                    this.phase = Phase::Over;
                    return Poll::Ready(Err(closed()));
                }
                if state.calls.len() >= shared.limits.max_open_requests.max(1) as usize {
                    state.blocked.push(cx.waker().clone());
                    return Poll::Pending;
                }
                let Some(request) = request.take() else { return Poll::Pending };
                let seq = state.enqueue(request);
                if let Some(refusal) = state.refuse_too_long(shared.longest_request()) {
                    this.phase = Phase::Over;
                    return Poll::Ready(Err(refusal));
                }
                state.calls.insert(seq, Slot::Waiting(Some(cx.waker().clone())));
                this.phase = Phase::Sent(seq);
                state.wake_sender();
                Poll::Pending
            }
            &mut (Phase::Sent(seq) | Phase::GivingBack(seq)) => {
                if let Some(Slot::Waiting(waker)) = state.calls.get_mut(&seq) {
                    if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                        *waker = Some(cx.waker().clone());
                    }
                    return Poll::Pending;
                }
                this.phase = Phase::Over;
                let Some(Slot::Replied(arrived)) = state.calls.remove(&seq) else {
                    return Poll::Ready(Err(state.why_over()));
                };
                state.acknowledge(seq, hands_over(&arrived.result));
                let unblocked = state.unblock();
                drop(state);
                unblocked.into_iter().for_each(Waker::wake);
                match *arrived {
                    Arrived { result: reply::Result::Error(refusal), .. } => {
                        Poll::Ready(Err(refusal))
                    }
                    arrived => Poll::Ready(Ok(arrived)),
                }
            }
            Phase::Over => Poll::Pending,
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let (Phase::Sent(seq) | Phase::GivingBack(seq)) = self.phase else { return };
        let mut state = self.shared.lock();
        if matches!(self.phase, Phase::GivingBack(_))
            && let Some(slot @ Slot::Waiting(_)) = state.calls.get_mut(&seq)
        {
            *slot = Slot::Detached;
            return;
        }
        if let Some(slot) = state.calls.remove(&seq) {
            state.cancel(seq);
            let unblocked = state.unblock();
            drop(state);
            unblocked.into_iter().for_each(Waker::wake);
            // A reply's handles lock the state when they go.
            drop(slot);
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let count = *self.received.get_mut().unwrap_or_else(PoisonError::into_inner);
        let object = self.reference.object;
        let mut state = self.link.shared.lock();
        if state.handles.get(&object).is_some_and(|known| known.strong_count() == 0) {
            state.handles.remove(&object);
        }
        drop(state);
        if count > 0 {
            let op = directory_op::Op::Release(Release { object, count });
            self.link.send_detached(0, request::Op::Directory(DirectoryOp { op: Some(op) }));
        }
    }
}

/// A request that gives something back: it never waits.
fn told(object: u64, op: request::Op) -> Request {
    Request { object, timeout_us: Some(0), op: Some(op), ..Request::default() }
}

/// Whether a reply hands over something that others wait for.
fn hands_over(result: &reply::Result) -> bool {
    use reply::Result as R;
    match result {
        R::Grant(_) | R::Woken(_) | R::Delivery(_) | R::Deliveries(_) | R::Message(_) => true,
        R::Arrival(arrival) => arrival.run_action,
        _ => false,
    }
}

fn closed() -> Refusal {
    Refusal::new(Reason::SessionEnded, "this manager handle is closed")
        .with_hint("connect again for a new session")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use mp_manager_proto::v1::{LockOp, lock_op};

    use super::*;

    fn shared() -> Arc<Shared> {
        let limits = Limits { max_open_requests: 1, max_frame_bytes: 1 << 10, ..Limits::default() };
        Shared::new(limits)
    }

    fn acquire() -> request::Op {
        request::Op::Lock(LockOp { op: Some(lock_op::Op::Acquire(Empty {})) })
    }

    fn poll(call: &mut Call) -> bool {
        Pin::new(call).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    /// The requests and the cancels of the next frame.
    fn sent(shared: &Shared) -> (Vec<Seq>, Vec<Seq>) {
        let frame = shared.lock().next_frame(usize::MAX);
        (frame.requests.iter().map(|request| request.seq).collect(), frame.cancels)
    }

    fn request(object: u64, op: request::Op) -> Request {
        Request { object, op: Some(op), ..Request::default() }
    }

    #[test]
    fn what_fits_no_frame_is_refused_and_not_sent() {
        let shared = shared();
        let op = request::Op::Directory(DirectoryOp {
            op: Some(directory_op::Op::Delete("x".repeat(1 << 10))),
        });
        let mut call = pin!(Call::new(&shared, request(0, op)));
        let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Err(refusal)) = polled else { panic!("it is too long") };
        assert_eq!(refusal.reason(), Reason::LimitExceeded);
        assert_eq!(sent(&shared), (vec![], vec![]));
    }

    #[test]
    fn a_call_dropped_before_it_was_sent_is_never_sent() {
        let shared = shared();
        let mut call = Call::new(&shared, request(1, acquire()));
        assert!(!poll(&mut call));
        drop(call);
        assert_eq!(sent(&shared), (vec![], vec![]));
    }

    #[test]
    fn a_call_dropped_after_it_was_sent_is_cancelled() {
        let shared = shared();
        let mut call = Call::new(&shared, request(1, acquire()));
        assert!(!poll(&mut call));
        assert_eq!(sent(&shared), (vec![1], vec![]));
        drop(call);
        assert_eq!(sent(&shared), (vec![], vec![1]));
    }

    #[test]
    fn what_is_given_back_waits_for_nothing_and_is_not_cancelled() {
        let shared = shared();
        let mut call = Call::new(&shared, request(1, acquire()));
        assert!(!poll(&mut call));
        drop(Call::giving_back(&shared, 1, acquire()));
        assert_eq!(sent(&shared), (vec![1, 2], vec![]));
    }
}
