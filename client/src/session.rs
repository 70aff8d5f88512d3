//! A session as its client sees it: what is to be sent, what waits for a reply, what is held.
//!
//! [`Shared`] is the state machine; it does no I/O, and has the time from its [`Clock`] only. Two
//! things drive it: a stream that takes frames out ([`Outgoing`](crate::call::Outgoing)), and
//! whoever runs the connection: it puts the server's frames in, and says when there is a connection
//! and when there is none.
//!
//! ```text
//!                    ┌─────── connected ◄───────┐
//!   first connection │   (same session, resumed │
//!   ─────────────────┤    or a fresh one)       │──► over: said goodbye, or nobody there
//!                    └─► disconnected ──────────┘
//! ```
//!
//! A request stays here until its reply has arrived, so that it can be sent again on the next
//! connection of the same session. What is pending when the *session* is lost is never sent again
//! by itself: its callers are told.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::Waker,
    time::Duration,
};

use bytes::Bytes;
use mp_manager_proto::{
    encoded_len,
    frame::EncodedFrame,
    v1::{
        Challenge, ClientFrame, Empty, Error as Refusal, Fence, Limits, Reason, Reconcile, Ref,
        Request, Resume, SeqRange, ServerFrame, Welcome, reply, request,
    },
};
use tokio::sync::{Notify, watch};

use crate::{
    clock::Clock,
    grant::Loss,
    lease::Lease,
    link::{Handle, Link},
    outcome::may_last,
    reply::referenced,
};

/// A frame is closed once it is this long; a longer request has one to itself.
const FRAME_BYTES: usize = 1 << 20;
/// So many losses are remembered for callers that have not looked at their grants yet.
const EARLY_LOSSES: usize = 1024;
/// What a frame with one request has beside it, at most.
const FRAME_OVERHEAD: usize = 64;
/// And what a number takes in one, at most.
const NUMBER: usize = 10;
/// Most requests are shorter.
const SHORT: usize = 64;
/// So many acknowledgements are worth a frame of their own.
const ACKS_WORTH_A_FRAME: usize = 256;
/// Acknowledgements of replies this long in all are, too: the manager keeps them until then.
const BYTES_WORTH_A_FRAME: usize = 256 << 10;

/// Calls that cannot be sent yet, or not on a connection, have deadlines, too: how often to look.
pub(crate) const LOOK: Duration = Duration::from_millis(100);
/// To connect again rarely takes longer.
const MOMENT: Duration = Duration::from_millis(500);

pub(crate) type Seq = u64;

/// The session's state.
pub(crate) struct Shared {
    state: Mutex<State>,
    clock: Clock,
    /// The manager of the current session; every start of one has a number of its own.
    server: AtomicU64,
    max_value_bytes: AtomicUsize,
    /// True once it is all over; for those who wait for it.
    over: watch::Sender<bool>,
    /// For whoever runs the connection: there is a goodbye to be said.
    pub(crate) leaving: Notify,
}

#[derive(Default)]
pub(crate) struct State {
    session: Session,
    /// There was a connection.
    is_acquainted: bool,
    /// Counts the sessions; what belongs to one is void in the next.
    incarnation: u64,
    /// Counts the connections; frames of earlier ones are not taken in any more.
    connection: u64,
    lease: Lease,
    /// Since when there is no connection on which anything was heard.
    away_since: Option<Duration>,
    /// The lease ran out here, so what was held is lost, and nothing is handed over until the
    /// manager is known to have heard of us again.
    lease_lost: bool,
    next_seq: Seq,
    calls: BTreeMap<Seq, Slot>,
    /// Callers that wait until there are fewer open calls, in the order in which they came.
    blocked: BTreeMap<u64, Waker>,
    next_place: u64,
    /// Requests to be sent, in order.
    unsent: VecDeque<Seq>,
    acks: Vec<SeqRange>,
    /// What the replies were long that are acknowledged there, about.
    acked_bytes: usize,
    /// Acks that hand something back to others if they are late.
    acks_are_urgent: bool,
    cancels: Vec<Seq>,
    /// Cancels in frames that the manager may not have taken in, by the frame's number.
    cancels_sent: VecDeque<(u64, Seq)>,
    /// How many notices of loss were taken in, and how many the manager was told of.
    losses: u64,
    losses_said: u64,
    reconcile: Option<Reconcile>,
    frame_number: u64,
    sender: Option<Waker>,
    goodbye: Goodbye,
    /// Why it is all over.
    over: Option<Refusal>,
    /// By the object, with its manager's number.
    pub(crate) handles: HashMap<u64, (u64, Weak<Handle>)>,
    /// In an order that does not depend on a hash: all of them may be given back at once.
    grants: BTreeMap<(u64, u64), Note>,
    /// Those that went with their session, as long as their guards are there.
    lost_grants: BTreeSet<(u64, u64)>,
    /// Losses of grants whose callers have not looked yet; tokens are never used again.
    early_losses: VecDeque<(u64, u64)>,
}

/// What the manager said of the session.
#[derive(Default)]
struct Session {
    id: u64,
    secret: Bytes,
    epoch: u64,
    limits: Limits,
    ephemeral: bool,
}

#[derive(Default, PartialEq, Eq)]
enum Goodbye {
    #[default]
    No,
    Due,
    Said,
}

/// Where a call stands.
///
/// ```text
///   waiting ──reply──► replied ──taken by its caller──► (gone)
///      │  └─session lost─► failed ──────┘
///      └──caller gone──► cancelled
/// ```
enum Slot {
    Waiting(Waiting),
    Replied(Box<Arrived>, HeldBack),
    Failed(Box<Failure>),
}

struct Waiting {
    request: Box<Request>,
    len: usize,
    scope: Scope,
    /// Some connection took it out: it may have been executed.
    sent: bool,
    /// When its caller would have had an answer of the manager's.
    deadline: Option<Duration>,
    caller: Caller,
}

/// Who waits for a reply that is there, as long as the lease may be over and nothing is handed over.
struct HeldBack {
    waker: Option<Waker>,
    deadline: Option<Duration>,
}

enum Caller {
    Waits(Option<Waker>),
    /// Nobody waits for the reply.
    Gone,
}

/// In which sessions a request means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// In every one.
    Any,
    /// As long as the manager has not started again: it is about an object of that one.
    Server(u64),
    /// In this one only: it is about something that the session holds.
    Session(u64),
}

/// Why a call came to nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    Refused(Refusal),
    /// It was never sent: the manager has started again since the object was found.
    Stale(Box<Request>),
}

/// A reply, with a hold on every object it refers to.
pub(crate) struct Arrived {
    pub(crate) result: reply::Result,
    /// The session it came in.
    pub(crate) incarnation: u64,
    handles: Vec<Arc<Handle>>,
}

/// A grant that somebody has a guard for.
struct Note {
    /// Several if an owner of a re-entrant lock came by it in several ways.
    losses: Vec<Arc<watch::Sender<Option<Loss>>>>,
    release: fn(u64) -> request::Op,
}

impl Note {
    /// Whether that was news to anybody.
    fn lose(&self, why: Loss) -> bool {
        self.losses.iter().filter(|loss| lose(loss, why)).count() > 0
    }

    fn is_lost(&self) -> bool {
        self.losses.iter().any(|loss| loss.borrow().is_some())
    }
}

/// What whoever runs the connection has to do.
#[derive(Debug)]
pub(crate) struct Tick {
    /// Say this beat.
    pub(crate) beat: Option<u64>,
    /// Give the connection up: nothing is heard on it.
    pub(crate) stale: bool,
    /// When to ask again.
    pub(crate) next: Duration,
}

impl Shared {
    pub(crate) fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State { next_seq: 1, ..State::default() }),
            clock,
            server: AtomicU64::new(0),
            max_value_bytes: AtomicUsize::new(usize::MAX),
            over: watch::Sender::new(false),
            leaving: Notify::new(),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(crate) fn now(&self) -> Duration {
        self.clock.now()
    }

    pub(crate) fn server(&self) -> u64 {
        self.server.load(Ordering::Relaxed)
    }

    pub(crate) fn max_value_bytes(&self) -> usize {
        self.max_value_bytes.load(Ordering::Relaxed)
    }

    /// Whether the manager, if it is gone, will not come back.
    pub(crate) fn is_ephemeral(&self) -> bool {
        self.lock().session.ephemeral
    }

    /// Completes when it is all over.
    pub(crate) async fn wait_until_over(&self) {
        // The sender lives as long as this does.
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }

    /// How to ask for the session again, if there was one; and its resume secret.
    pub(crate) fn resume(&self) -> Option<(Resume, Bytes)> {
        let state = self.lock();
        let Session { id, ref secret, epoch, .. } = state.session;
        (id > 0).then(|| (Resume { session: id, epoch }, secret.clone()))
    }

    /// There is a connection, authenticated, with the session it was `asked` for, or with a new
    /// one: whether it is the same, and the connection's number.
    pub(crate) fn connected(
        &self,
        welcome: &Welcome,
        challenge: &Challenge,
        asked: Duration,
    ) -> (bool, u64) {
        let mut after = Afterwards::default();
        let mut state = self.lock();
        let resumed = welcome.resumed && welcome.session == state.session.id;
        if !resumed {
            let is_same = challenge.epoch == state.session.epoch;
            let why = if is_same { Lost::Session } else { Lost::Restart };
            after = state.lose_session(why, challenge.server_id);
        }
        state.session = Session {
            id: welcome.session,
            secret: welcome.resume_secret.clone(),
            epoch: challenge.epoch,
            limits: welcome.limits.unwrap_or_default(),
            ephemeral: welcome.ephemeral,
        };
        self.server.store(challenge.server_id, Ordering::Relaxed);
        let max_value_bytes = state.session.limits.max_value_bytes as usize;
        self.max_value_bytes.store(max_value_bytes, Ordering::Relaxed);
        state.lease.begin(Duration::from_millis(welcome.lease_ms), asked);
        after.wakers.append(&mut state.regain_lease(self.now()));
        state.is_acquainted = true;
        state.connection += 1;
        state.frame_number = 0;
        if resumed {
            state.prepare_resumption();
        }
        let connection = state.connection;
        drop(state);
        after.take_place();
        (resumed, connection)
    }

    /// The connection is gone; what is pending waits for the next one.
    pub(crate) fn disconnected(&self) {
        let now = self.now();
        let mut state = self.lock();
        state.connection += 1;
        state.away_since.get_or_insert(now);
        // Its stream of frames ends.
        state.wake_sender();
    }

    /// What the time has come for while there is no connection: nobody waits for longer than they
    /// said, and a moment.
    pub(crate) fn wait_disconnected(&self) {
        let now = self.now();
        let mut state = self.lock();
        state.look_at_lease(now);
        let mut after = state.give_up_overdue(now);
        after.wakers.append(&mut state.unblock());
        drop(state);
        after.take_place();
    }

    /// What the time has come for on a connection.
    pub(crate) fn tick(&self) -> Tick {
        let now = self.now();
        let mut state = self.lock();
        state.look_at_lease(now);
        let beat = (now >= state.lease.next_beat_at()).then(|| {
            // The manager keeps replies until they are acknowledged: not for long after the last.
            state.acks_are_urgent = !state.acks.is_empty();
            if state.acks_are_urgent {
                state.wake_sender();
            }
            state.lease.beat_sent(now)
        });
        let stale_at = state.lease.stale_at();
        let mut next = state.lease.next_beat_at().min(stale_at).min(state.lease.lost_at());
        if !state.blocked.is_empty() {
            next = next.min(now.saturating_add(LOOK));
        }
        let blocked = state.unblock();
        drop(state);
        blocked.into_iter().for_each(Waker::wake);
        Tick { beat, stale: now >= stale_at, next }
    }

    /// The manager answered a beat; it has taken in our frames up to `frames`, too.
    pub(crate) fn beat_answered(&self, connection: u64, number: u64, frames: u64) {
        let mut state = self.lock();
        if state.connection != connection {
            return;
        }
        state.away_since = None;
        state.lease.beat_echoed(number);
        state.echoed(frames);
        let wakers = state.regain_lease(self.now());
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Takes in a frame of the manager's; its farewell, if it is one.
    pub(crate) fn receive(
        &self,
        link: &Weak<Link>,
        connection: u64,
        frame: ServerFrame,
    ) -> Option<Refusal> {
        let wakers = Vec::with_capacity(frame.replies.len());
        let mut after = Afterwards { wakers, unwanted: Vec::new() };
        let mut state = self.lock();
        if state.connection != connection {
            return None;
        }
        state.away_since = None;
        state.echoed(frame.echo);
        if state.lease_lost {
            after.wakers.append(&mut state.regain_lease(self.now()));
        }
        for reply in frame.replies {
            if let Some(result) = reply.result {
                let (waker, unwanted) = state.reply(link, reply.seq, result);
                after.wakers.extend(waker);
                after.unwanted.extend(unwanted.map(|arrived| *arrived));
            }
        }
        for lost in frame.lost {
            state.losses += 1;
            state.lose(lost.object, lost.token);
        }
        if state.acks_are_worth_a_frame() {
            state.wake_sender();
        }
        after.wakers.append(&mut state.unblock());
        drop(state);
        after.take_place();
        frame.ended
    }

    /// The manager has ended the session, and there may be another one.
    pub(crate) fn session_ended(&self, why: Refusal) {
        let mut state = self.lock();
        let after = state.lose_session(Lost::Said(why), self.server());
        drop(state);
        after.take_place();
    }

    /// It is all over: whoever waits is told why, and every grant is lost.
    pub(crate) fn end(&self, why: Refusal) {
        let mut state = self.lock();
        if state.over.is_some() {
            return;
        }
        let mut after = state.lose_session(Lost::Said(why.clone()), 0);
        state.fail_the_rest(&why, &mut after);
        state.over = Some(why);
        state.connection += 1;
        after.wakers.append(&mut state.unblock());
        after.wakers.extend(state.sender.take());
        drop(state);
        self.over.send_replace(true);
        after.take_place();
    }

    /// Says goodbye: nothing can be asked any more.
    pub(crate) fn say_goodbye(&self) {
        let mut state = self.lock();
        if state.goodbye == Goodbye::No {
            state.goodbye = Goodbye::Due;
        }
        state.wake_sender();
        drop(state);
        self.leaving.notify_one();
    }

    /// Whether nobody wants the session any more.
    pub(crate) fn is_leaving(&self) -> bool {
        self.lock().goodbye != Goodbye::No
    }

    /// The next frame for this connection, if there is something to say; `None` ends its stream.
    pub(crate) fn poll_frame(
        &self,
        connection: u64,
        waker: &Waker,
    ) -> Option<Option<EncodedFrame>> {
        let mut state = self.lock();
        if state.connection != connection || state.goodbye == Goodbye::Said {
            return None;
        }
        if state.has_something_to_say() {
            let now = self.now();
            return Some(Some(state.next_frame(now)));
        }
        if !state.sender.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.sender = Some(waker.clone());
        }
        Some(None)
    }
}

/// Grants.
impl Shared {
    /// Notes a grant of session `incarnation`, so that its loss is told by `sender`; `release` gives
    /// it back by its token.
    pub(crate) fn note_grant(
        &self,
        incarnation: u64,
        (object, token): (u64, u64),
        release: fn(u64) -> request::Op,
        sender: &Arc<watch::Sender<Option<Loss>>>,
    ) {
        let now = self.now();
        let mut state = self.lock();
        // It was handed over while the lease was good, which may have ended just now.
        state.look_at_lease(now);
        let why = if state.incarnation != incarnation || state.over.is_some() {
            Loss::Session
        } else if state.early_losses.contains(&(object, token)) {
            Loss::Taken
        } else if state.lease_lost {
            state.give_back_late(object, release(token));
            Loss::Lease
        } else {
            let note = state.grants.entry((object, token));
            let note = note.or_insert_with(|| Note { losses: Vec::new(), release });
            note.losses.push(Arc::clone(sender));
            return;
        };
        lose(sender, why);
    }

    /// A grant of this session was taken away by this session.
    pub(crate) fn lose_grant(&self, object: u64, token: u64) {
        if let Some(note) = self.lock().grants.get(&(object, token)) {
            note.lose(Loss::Taken);
        }
    }

    /// The guard of a grant is gone, but not others that are of the same grant, or of the item that
    /// it had leased, which keeps its number when it is leased again.
    pub(crate) fn forget_grant(
        &self,
        object: u64,
        token: u64,
        loss: &Arc<watch::Sender<Option<Loss>>>,
    ) {
        let mut state = self.lock();
        state.lost_grants.remove(&(object, token));
        if let Some(note) = state.grants.get_mut(&(object, token)) {
            note.losses.retain(|known| !Arc::ptr_eq(known, loss));
            if note.losses.is_empty() {
                state.grants.remove(&(object, token));
            }
        }
    }

    /// Looks whether the lease has run out: whoever asks whether something is lost must know now,
    /// not when a timer comes round to it.
    pub(crate) fn look_at_lease(&self) {
        let now = self.now();
        self.lock().look_at_lease(now);
    }
}

#[cfg(test)]
impl Shared {
    /// The lease runs out, whatever the time is. Who hears of the manager has it again.
    pub(crate) fn run_out_of_lease(&self) {
        self.lock().look_at_lease(Duration::MAX);
    }
}

/// Calls.
impl Shared {
    /// Takes a request up, to be sent.
    ///
    /// Its time and its place are those of the first attempt: `blocked` is what that came back with.
    pub(crate) fn begin(
        &self,
        request: Box<Request>,
        scope: Scope,
        blocked: Option<Box<Blocked>>,
        waker: &Waker,
    ) -> Begun {
        let timeout = request.timeout_us.map(Duration::from_micros);
        // The clock is looked at by those who need it: most do not, and it takes its time.
        let deadline = match &blocked {
            Some(blocked) => blocked.deadline,
            None => timeout
                .filter(|timeout| !timeout.is_zero())
                .map(|timeout| self.now().saturating_add(timeout)),
        };
        let mut state = self.lock();
        let mut request = match self.admit(&state, scope, request) {
            Ok(request) => request,
            Err(failure) => return Begun::Failed(failure),
        };
        // Sent in a session that is over, it would fail with less certainty.
        if let Some(fence) = request.fence
            && state.has_lost(fence, self.now())
        {
            return Begun::Failed(Failure::Refused(fenced(fence)));
        }
        // Before the first connection nobody knows how much may be sent.
        if !state.is_acquainted
            || state.calls.len() >= state.session.limits.max_open_requests.max(1) as usize
        {
            let is_over = timeout.is_some_and(|timeout| timeout.is_zero())
                || deadline.is_some_and(|deadline| deadline <= self.now());
            if is_over && state.is_acquainted {
                return Begun::Failed(Failure::Refused(too_many_calls(state.calls.len())));
            }
            let place = blocked.map_or(state.next_place, |blocked| blocked.place);
            state.next_place = state.next_place.max(place + 1);
            state.blocked.insert(place, waker.clone());
            return Begun::Later(request, Box::new(Blocked { place, deadline }));
        }
        if let Some(deadline) = deadline.filter(|_| blocked.is_some()) {
            let left = deadline.saturating_sub(self.now()).as_micros();
            request.timeout_us = Some(u64::try_from(left).unwrap_or(u64::MAX).max(1));
        }
        let len = encoded_len(&*request);
        let max = state.longest_request();
        if len > max {
            return Begun::Failed(Failure::Refused(too_long(len, max)));
        }
        let caller = Caller::Waits(Some(waker.clone()));
        Begun::Sent(state.enqueue(request, len, scope, deadline, caller))
    }

    /// Takes up a request that gives something back, here and now: as it waits for nothing, it is
    /// not held up by the many calls that may.
    pub(crate) fn give_back(&self, request: Request, scope: Scope) -> Result<Seq, Failure> {
        let mut state = self.lock();
        let request = self.admit(&state, scope, Box::new(request))?;
        let len = encoded_len(&*request);
        Ok(state.enqueue(request, len, scope, None, Caller::Waits(None)))
    }

    /// Takes up a request that gives something back, and whose reply nobody waits for.
    pub(crate) fn tell(&self, request: Request, scope: Scope) {
        let mut state = self.lock();
        if let Ok(request) = self.admit(&state, scope, Box::new(request)) {
            let len = encoded_len(&*request);
            state.enqueue(request, len, scope, None, Caller::Gone);
        }
    }

    fn admit(
        &self,
        state: &State,
        scope: Scope,
        request: Box<Request>,
    ) -> Result<Box<Request>, Failure> {
        if let Some(why) = &state.over {
            return Err(Failure::Refused(why.clone()));
        }
        if state.goodbye != Goodbye::No {
            return Err(Failure::Refused(closed()));
        }
        match scope {
            Scope::Server(server) if server != self.server() => Err(Failure::Stale(request)),
            Scope::Session(incarnation) if incarnation != state.incarnation => {
                Err(Failure::Refused(lost_session()))
            }
            _ => Ok(request),
        }
    }

    /// The reply to a call, once it is there.
    pub(crate) fn poll_reply(&self, seq: Seq, waker: &Waker) -> Option<Result<Arrived, Failure>> {
        let mut state = self.lock();
        let hands_over_now = match state.calls.get_mut(&seq) {
            Some(Slot::Waiting(Waiting { caller: Caller::Waits(place), .. })) => {
                note_waker(place, waker);
                return None;
            }
            Some(Slot::Replied(arrived, _)) => hands_over(&arrived.result),
            _ => false,
        };
        if hands_over_now {
            state.look_at_lease(self.now());
            if state.lease_lost
                && let Some(Slot::Replied(_, held)) = state.calls.get_mut(&seq)
            {
                note_waker(&mut held.waker, waker);
                return None;
            }
        }
        let result = match state.calls.remove(&seq) {
            Some(Slot::Replied(arrived, _)) => {
                if hands_over_now {
                    state.count(&arrived);
                    state.acknowledge(seq, 0);
                    state.acks_are_urgent = true;
                    state.wake_sender();
                }
                Ok(*arrived)
            }
            Some(Slot::Failed(failure)) => Err(*failure),
            _ => Err(Failure::Refused(state.over.clone().unwrap_or_else(closed))),
        };
        let unblocked = state.unblock();
        drop(state);
        unblocked.into_iter().for_each(Waker::wake);
        Some(match result {
            Ok(Arrived { result: reply::Result::Error(refusal), .. }) => {
                Err(Failure::Refused(refusal))
            }
            result => result,
        })
    }

    /// The caller of `seq` has gone.
    pub(crate) fn cancel(&self, seq: Seq) {
        let mut state = self.lock();
        let Some(slot) = state.calls.remove(&seq) else { return };
        match &slot {
            Slot::Waiting(waiting) => state.cancel(seq, waiting.sent),
            Slot::Replied(arrived, _) if hands_over(&arrived.result) => state.cancel(seq, true),
            Slot::Replied(..) | Slot::Failed(_) => {}
        }
        let unblocked = state.unblock();
        drop(state);
        unblocked.into_iter().for_each(Waker::wake);
        // A reply's handles lock the state when they go.
        drop(slot);
    }

    /// The caller of `seq` has gone, which changes nothing but that nobody waits for the reply.
    pub(crate) fn detach(&self, seq: Seq) {
        let mut state = self.lock();
        let slot = match state.calls.get_mut(&seq) {
            Some(Slot::Waiting(waiting)) => {
                waiting.caller = Caller::Gone;
                return;
            }
            _ => state.calls.remove(&seq),
        };
        drop(state);
        drop(slot);
    }
}

/// What became of the attempt to send a request.
pub(crate) enum Begun {
    Sent(Seq),
    /// There are too many open calls; the waker is woken when there are fewer, and now and then, as the
    /// call may have a deadline.
    Later(Box<Request>, Box<Blocked>),
    Failed(Failure),
}

/// A call that cannot be sent yet.
#[derive(Debug)]
pub(crate) struct Blocked {
    /// Among those who are woken, in their order.
    place: u64,
    deadline: Option<Duration>,
}

/// Why a session is lost.
enum Lost {
    /// The manager does not have it any more.
    Session,
    /// The manager started again.
    Restart,
    /// For this reason.
    Said(Refusal),
}

impl Lost {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Session => lost_session(),
            Self::Restart => restarted(),
            Self::Said(why) => why.clone(),
        }
    }

    fn loss(&self) -> Loss {
        match self {
            Self::Restart => Loss::Restart,
            Self::Session | Self::Said(_) => Loss::Session,
        }
    }
}

/// What is to be done once the state is unlocked.
#[derive(Default)]
#[must_use]
struct Afterwards {
    wakers: Vec<Waker>,
    /// Replies that nobody gets. Their handles lock the state when they go.
    unwanted: Vec<Arrived>,
}

impl Afterwards {
    /// A call fails, whether its reply is there or not.
    fn fail(&mut self, slot: &mut Slot, failure: Failure) {
        match mem::replace(slot, Slot::Failed(Box::new(failure))) {
            Slot::Waiting(Waiting { caller: Caller::Waits(waker), .. }) => {
                self.wakers.extend(waker)
            }
            Slot::Replied(arrived, held) => {
                self.wakers.extend(held.waker);
                self.unwanted.push(*arrived);
            }
            Slot::Waiting(_) | Slot::Failed(_) => {}
        }
    }

    fn take_place(self) {
        drop(self.unwanted);
        self.wakers.into_iter().for_each(Waker::wake);
    }
}

impl State {
    /// Leaves room for what else a frame has to say.
    fn longest_request(&self) -> usize {
        (self.session.limits.max_frame_bytes as usize).saturating_sub(FRAME_OVERHEAD)
    }

    fn enqueue(
        &mut self,
        mut request: Box<Request>,
        len: usize,
        scope: Scope,
        deadline: Option<Duration>,
        caller: Caller,
    ) -> Seq {
        let seq = self.next_seq;
        self.next_seq += 1;
        // The number was not counted in; it takes no more than this.
        let len = len + 11;
        request.seq = seq;
        let waiting = Waiting { request, len, scope, sent: false, deadline, caller };
        self.calls.insert(seq, Slot::Waiting(waiting));
        self.unsent.push_back(seq);
        self.wake_sender();
        seq
    }

    /// A reply has arrived: whom to wake, and what to drop once the state is unlocked.
    fn reply(
        &mut self,
        link: &Weak<Link>,
        seq: Seq,
        result: reply::Result,
    ) -> (Option<Waker>, Option<Box<Arrived>>) {
        // Cancelled meanwhile (the cancel is on its way), or said twice.
        let Some(Slot::Waiting(_)) = self.calls.get(&seq) else { return (None, None) };
        let handles = self.hold(link, &result);
        let arrived = Box::new(Arrived { result, incarnation: self.incarnation, handles });
        let final_bytes = (!hands_over(&arrived.result)).then(|| weight(&arrived.result));
        if let Some(bytes) = final_bytes {
            // It is final: once it is here, the manager need not keep it.
            self.count(&arrived);
            self.acknowledge(seq, bytes);
        }
        let hold_back = final_bytes.is_none() && self.lease_lost;
        let Some(slot) = self.calls.get_mut(&seq) else { return (None, Some(arrived)) };
        let Slot::Waiting(Waiting { caller, deadline, .. }) = slot else {
            return (None, Some(arrived));
        };
        let deadline = *deadline;
        match mem::replace(caller, Caller::Gone) {
            Caller::Gone => {
                self.calls.remove(&seq);
                if final_bytes.is_none() {
                    self.acknowledge(seq, 0);
                }
                (None, Some(arrived))
            }
            Caller::Waits(waker) if hold_back => {
                *slot = Slot::Replied(arrived, HeldBack { waker, deadline });
                (None, None)
            }
            Caller::Waits(waker) => {
                *slot = Slot::Replied(arrived, HeldBack { waker: None, deadline });
                (waker, None)
            }
        }
    }

    /// Holds everything that a reply refers to. The link is not held for longer than that: whoever
    /// takes in frames must not have it when its last user lets go of it, who would not wait for
    /// the goodbye and for an embedded manager's end.
    fn hold(&mut self, link: &Weak<Link>, result: &reply::Result) -> Vec<Arc<Handle>> {
        let mut handles = Vec::new();
        referenced(result, |reference: &Ref| {
            if let Some(link) = link.upgrade() {
                handles.push(link.handle_locked(self, *reference));
            }
        });
        handles
    }

    /// The manager counts a reference when the reply that has it is acknowledged.
    fn count(&self, arrived: &Arrived) {
        for handle in &arrived.handles {
            handle.count(self.incarnation);
        }
    }

    /// A request that was not sent yet never is; the manager hears of one that was.
    fn cancel(&mut self, seq: Seq, sent: bool) {
        if let Ok(unsent) = self.unsent.binary_search(&seq) {
            self.unsent.remove(unsent);
        }
        if sent {
            self.cancels.push(seq);
            self.wake_sender();
        }
    }

    fn acknowledge(&mut self, seq: Seq, bytes: usize) {
        self.acked_bytes += bytes;
        match self.acks.last_mut() {
            Some(range) if range.last + 1 == seq => range.last = seq,
            _ => self.acks.push(SeqRange { first: seq, last: seq }),
        }
    }

    fn acks_are_worth_a_frame(&self) -> bool {
        self.acks.len() >= ACKS_WORTH_A_FRAME || self.acked_bytes >= BYTES_WORTH_A_FRAME
    }

    /// The manager has taken in our frames up to `number`.
    fn echoed(&mut self, number: u64) {
        self.lease.frames_echoed(number);
        while self.cancels_sent.pop_front_if(|(frame, _)| *frame <= number).is_some() {}
    }

    /// Everything that waits is sent again, and the manager is told what that is.
    fn prepare_resumption(&mut self) {
        let cancelled = self.cancels_sent.drain(..).map(|(_, seq)| seq);
        let cancelled: Vec<_> = cancelled.chain(mem::take(&mut self.cancels)).collect();
        self.cancels_sent.extend(cancelled.iter().map(|&seq| (1, seq)));
        let mut open = Vec::new();
        self.unsent.clear();
        for (&seq, slot) in &self.calls {
            match slot {
                Slot::Waiting(_) => {
                    open.push(seq);
                    self.unsent.push_back(seq);
                }
                Slot::Replied(arrived, _) if hands_over(&arrived.result) => open.push(seq),
                Slot::Replied(..) | Slot::Failed(_) => {}
            }
        }
        self.reconcile = Some(Reconcile { open, cancelled });
        // What is not open is acknowledged by that.
        self.forget_acks();
        self.losses_said = 0;
    }

    fn forget_acks(&mut self) {
        self.acks.clear();
        self.acks_are_urgent = false;
        self.acked_bytes = 0;
    }

    /// Whether a guard that is still there has lost this grant.
    fn has_lost(&mut self, fence: Fence, now: Duration) -> bool {
        self.look_at_lease(now);
        let grant = (fence.lock, fence.token);
        self.lost_grants.contains(&grant) || self.grants.get(&grant).is_some_and(Note::is_lost)
    }

    /// Whoever holds something learns at once, and the manager when it can be told.
    fn look_at_lease(&mut self, now: Duration) {
        if self.lease_lost || self.session.id == 0 || now < self.lease.lost_at() {
            return;
        }
        self.lease_lost = true;
        let held: Vec<_> = self
            .grants
            .iter()
            .filter(|(_, note)| note.lose(Loss::Lease))
            .map(|(&(object, token), note)| (object, (note.release)(token)))
            .collect();
        for (object, release) in held {
            self.give_back_late(object, release);
        }
    }

    /// The manager is told when it can be, if the session is still there then.
    fn give_back_late(&mut self, object: u64, release: request::Op) {
        let release = told(object, release);
        let len = encoded_len(&release);
        let scope = Scope::Session(self.incarnation);
        self.enqueue(Box::new(release), len, scope, None, Caller::Gone);
    }

    /// The manager has heard of us: what arrived may be handed over again.
    fn regain_lease(&mut self, now: Duration) -> Vec<Waker> {
        if !self.lease_lost || now >= self.lease.lost_at() {
            return Vec::new();
        }
        self.lease_lost = false;
        let mut wakers = Vec::new();
        for slot in self.calls.values_mut() {
            if let Slot::Replied(_, held) = slot {
                wakers.extend(held.waker.take());
            }
        }
        wakers
    }

    /// Nobody waits for longer than they said because there is no connection. Who was to be told
    /// just when one broke is told as soon as there is another: that is no news to anybody.
    fn give_up_overdue(&mut self, now: Duration) -> Afterwards {
        let mut after = Afterwards::default();
        if self.away_since.is_some_and(|since| now < since + MOMENT) {
            return after;
        }
        let is_over = |deadline: &Option<Duration>| deadline.is_some_and(|at| at <= now);
        let overdue: Vec<(Seq, bool)> = self
            .calls
            .iter()
            .filter_map(|(&seq, slot)| match slot {
                Slot::Waiting(waiting) => is_over(&waiting.deadline).then_some((seq, waiting.sent)),
                Slot::Replied(arrived, held) => {
                    let is_held_back = self.lease_lost && hands_over(&arrived.result);
                    (is_held_back && is_over(&held.deadline)).then_some((seq, true))
                }
                Slot::Failed(_) => None,
            })
            .collect();
        for (seq, sent) in overdue {
            self.cancel(seq, sent);
            let Some(slot) = self.calls.get_mut(&seq) else { continue };
            let failure = match slot {
                Slot::Waiting(waiting) => waiting.fail(&unreachable()),
                _ => Failure::Refused(unreachable()),
            };
            after.fail(slot, failure);
        }
        after
    }

    /// What was pending in the session fails, what was held is lost. What was not even sent goes on
    /// to the next session, if it makes sense there: at `server`.
    fn lose_session(&mut self, why: Lost, server: u64) -> Afterwards {
        self.session.id = 0;
        self.incarnation += 1;
        let refusal = why.refusal();
        let mut after = Afterwards::default();
        self.calls.retain(|_, slot| match slot {
            Slot::Waiting(waiting) => {
                if !waiting.sent && waiting.scope.fits(server) {
                    return true;
                }
                let is_gone = matches!(waiting.caller, Caller::Gone);
                let failure = waiting.fail(&refusal);
                after.fail(slot, failure);
                !is_gone
            }
            Slot::Replied(arrived, _) if hands_over(&arrived.result) => {
                after.fail(slot, Failure::Refused(refusal.clone()));
                true
            }
            Slot::Replied(..) | Slot::Failed(_) => true,
        });
        let calls = &self.calls;
        self.unsent.retain(|seq| matches!(calls.get(seq), Some(Slot::Waiting(_))));
        for (grant, note) in mem::take(&mut self.grants) {
            note.lose(why.loss());
            self.lost_grants.insert(grant);
        }
        if matches!(why, Lost::Restart) {
            // Fences of another start stand nowhere, and objects may have other numbers now.
            self.lost_grants.clear();
        }
        self.early_losses.clear();
        self.forget_acks();
        self.cancels.clear();
        self.cancels_sent.clear();
        self.reconcile = None;
        self.losses = 0;
        self.losses_said = 0;
        after.wakers.append(&mut self.unblock());
        after
    }

    /// There is no next session.
    fn fail_the_rest(&mut self, why: &Refusal, after: &mut Afterwards) {
        self.unsent.clear();
        for slot in self.calls.values_mut().filter(|slot| matches!(slot, Slot::Waiting(_))) {
            after.fail(slot, Failure::Refused(why.clone()));
        }
    }

    fn wake_sender(&mut self) {
        if let Some(waker) = self.sender.take() {
            waker.wake();
        }
    }

    fn lose(&mut self, object: u64, token: u64) {
        match self.grants.get(&(object, token)) {
            Some(note) => drop(note.lose(Loss::Taken)),
            None => {
                if self.early_losses.len() == EARLY_LOSSES {
                    self.early_losses.pop_front();
                }
                self.early_losses.push_back((object, token));
            }
        }
    }

    fn unblock(&mut self) -> Vec<Waker> {
        if self.blocked.is_empty() {
            return Vec::new();
        }
        mem::take(&mut self.blocked).into_values().collect()
    }

    fn has_something_to_say(&self) -> bool {
        !self.unsent.is_empty()
            || !self.cancels.is_empty()
            || self.acks_are_urgent
            || self.acks_are_worth_a_frame()
            || self.reconcile.is_some()
            || self.goodbye == Goodbye::Due
    }

    fn next_frame(&mut self, now: Duration) -> EncodedFrame {
        self.frame_number += 1;
        self.lease.frame_sent(self.frame_number, now);
        let mut frame = ClientFrame {
            number: self.frame_number,
            reconcile: self.reconcile.take(),
            acks: mem::take(&mut self.acks),
            cancels: mem::take(&mut self.cancels),
            ..ClientFrame::default()
        };
        self.forget_acks();
        self.cancels_sent.extend(frame.cancels.iter().map(|&seq| (self.frame_number, seq)));
        if self.losses_said != self.losses {
            self.losses_said = self.losses;
            frame.losses = self.losses;
        }
        let mut encoded = self.encode_requests(&frame);
        if self.unsent.is_empty() && self.goodbye == Goodbye::Due {
            self.goodbye = Goodbye::Said;
            frame.goodbye = Some(Empty {});
        }
        encoded.finish(&frame);
        encoded
    }

    /// The requests that there is room for in a frame. They stay here, to be sent again if need be,
    /// and are encoded in their places.
    fn encode_requests(&mut self, frame: &ClientFrame) -> EncodedFrame {
        let max_requests = self.session.limits.max_requests_per_frame.max(1) as usize;
        let max_bytes = FRAME_BYTES.min(self.longest_request());
        // A long request goes in a frame with nothing else, which it may fill to the limit.
        let reconciled = frame.reconcile.as_ref().map_or(0, |reconcile| {
            FRAME_OVERHEAD + NUMBER * (reconcile.open.len() + reconcile.cancelled.len())
        });
        let mut bytes = reconciled + NUMBER * (3 * frame.acks.len() + frame.cancels.len());
        let mut room = max_requests;
        let mut encoded =
            EncodedFrame::with_capacity(FRAME_OVERHEAD + SHORT * room.min(self.unsent.len()));
        while room > 0
            && let Some(&seq) = self.unsent.front()
        {
            if let Some(Slot::Waiting(waiting)) = self.calls.get_mut(&seq) {
                if bytes > 0 && bytes + waiting.len > max_bytes {
                    break;
                }
                bytes += waiting.len;
                room -= 1;
                waiting.sent = true;
                encoded.request(&waiting.request);
            }
            self.unsent.pop_front();
        }
        encoded
    }
}

impl Scope {
    /// Whether it means something in the next session, with the manager `server`.
    fn fits(self, server: u64) -> bool {
        match self {
            Self::Any => true,
            Self::Server(this) => this == server,
            Self::Session(_) => false,
        }
    }
}

impl Waiting {
    /// What its caller is told when the session is lost.
    fn fail(&mut self, why: &Refusal) -> Failure {
        match (&self.request.op, self.scope) {
            (Some(op), _) if self.sent && may_last(op) => {
                Failure::Refused(unknown_outcome(&why.message))
            }
            (_, Scope::Server(_)) if !self.sent && why.reason() == Reason::ManagerRestarted => {
                Failure::Stale(mem::take(&mut self.request))
            }
            _ => Failure::Refused(why.clone()),
        }
    }
}

fn note_waker(place: &mut Option<Waker>, waker: &Waker) {
    if !place.as_ref().is_some_and(|known| known.will_wake(waker)) {
        *place = Some(waker.clone());
    }
}

/// Whether that was news.
pub(crate) fn lose(note: &watch::Sender<Option<Loss>>, loss: Loss) -> bool {
    note.send_if_modified(|known| {
        let is_news = known.is_none();
        known.get_or_insert(loss);
        is_news
    })
}

/// A request that gives something back: it never waits.
pub(crate) fn told(object: u64, op: request::Op) -> Request {
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

/// How long a final reply is, about: as far as it can be long.
fn weight(result: &reply::Result) -> usize {
    use reply::Result as R;
    match result {
        R::Value(value) => value.data.len(),
        R::Raw(bytes) => bytes.len(),
        R::Entry(entry) => entry.value.as_ref().map_or(0, |value| value.data.len()),
        R::Swap(swap) => swap.current.as_ref().map_or(0, |value| value.data.len()),
        // A page or many values: worth a frame by themselves if they are long at all.
        R::Page(_) | R::Optionals(_) => BYTES_WORTH_A_FRAME / 4,
        _ => 0,
    }
}

fn too_long(len: usize, max: usize) -> Refusal {
    Refusal::new(Reason::LimitExceeded, format!("the request has {len} bytes; the limit is {max}"))
        .with_hint("send less at once, or raise the server's --max-frame-bytes")
}

fn too_many_calls(count: usize) -> Refusal {
    Refusal::new(Reason::LimitExceeded, format!("{count} calls are open, which is the limit"))
        .with_hint("wait for some of them, or raise the server's --max-open-requests")
}

pub(crate) fn closed() -> Refusal {
    Refusal::new(Reason::SessionEnded, "this manager handle is closed")
        .with_hint("connect again for a new session")
}

/// What the manager would say as well.
fn fenced(fence: Fence) -> Refusal {
    let Fence { lock, token } = fence;
    let message = format!("the grant with token {token} of object {lock} does not stand");
    Refusal::new(Reason::Fenced, message)
        .with_hint("it was released or lost: stop, and acquire again")
}

fn lost_session() -> Refusal {
    Refusal::new(
        Reason::SessionEnded,
        "the session was lost: the manager did not hear of it in time",
    )
    .with_hint("what it held is released, and its pending calls are gone; a new one is open")
}

fn restarted() -> Refusal {
    Refusal::new(Reason::ManagerRestarted, "the manager has started again since")
        .with_hint("what it held in memory is gone; named objects are made anew when they are used")
}

fn unknown_outcome(why: &str) -> Refusal {
    Refusal::new(Reason::OutcomeUnknown, format!("the call may have been executed, or not: {why}"))
        .with_hint("look whether it was before you do it again")
}

fn unreachable() -> Refusal {
    Refusal::new(Reason::Unreachable, "the manager could not be reached within the call's timeout")
        .with_hint("the call was withdrawn; the connection is still being tried")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
