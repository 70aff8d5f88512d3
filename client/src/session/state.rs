//! What a session's client knows, and what follows from it; whoever calls has locked it, and does
//! [`Afterwards`] what must not be done under the lock.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    mem,
    sync::{Arc, Weak},
    task::Waker,
    time::Duration,
};

use bytes::Bytes;
use mp_manager_proto::{
    encoded_len,
    frame::EncodedFrame,
    reply::{Payload, class, for_each_reference, hands_over},
    v1::{
        ClientFrame, Empty, Error as Refusal, Fence, Limits, Reconcile, Ref, Request, SeqRange,
        reply, request,
    },
};

use super::{
    Arrived, Failure, Scope, Seq,
    deadline::Deadline,
    grants::Note,
    lost::{Afterwards, Lost},
    open_calls::OpenCalls,
    reconnect::{Policy, Reconnect},
    refusals::{unknown_outcome, unreachable},
    slot::{Caller, HeldBack, Open, Slot, Waiting},
    told,
};
use crate::{
    grant::Loss,
    lease::Lease,
    link::{Handle, Link},
    outcome::{Expiry, expiry, may_last},
};

/// A frame is closed once it is this long; a longer request has one to itself.
const FRAME_BYTES: usize = 1 << 20;
/// So many losses are remembered for callers that have not looked at their grants yet.
const EARLY_LOSSES: usize = 1024;
/// Of so many sessions it is remembered how they were lost, for guards that nobody looked at since.
const ENDS: usize = 64;
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
/// How often a call that may take longer than its timeout looks for a sign of life.
const OVERDUE_LOOK: Duration = Duration::from_secs(1);

/// Everything that is known of a session; [`Shared`](super::Shared) locks it.
pub(crate) struct State {
    pub(super) policy: Policy,
    pub(super) session: Session,
    /// There was a connection.
    pub(super) is_acquainted: bool,
    /// Counts the sessions; what belongs to one is void in the next.
    pub(super) incarnation: u64,
    /// How those before were lost, the last one first.
    ends: VecDeque<Loss>,
    /// Counts the connections; frames of earlier ones are not taken in any more.
    pub(super) connection: u64,
    pub(super) lease: Lease,
    pub(super) reconnect: Reconnect,
    /// Why the connection is gone.
    pub(super) gone: Refusal,
    /// When the manager was last heard.
    pub(super) heard_at: Duration,
    /// A beat is due, whatever the time is: a call waits for a sign of life.
    pub(super) beat_is_urgent: bool,
    /// The lease ran out here, so what was held is lost, and nothing is handed over until the
    /// manager is known to have heard of us again.
    pub(super) lease_lost: bool,
    pub(super) next_seq: Seq,
    pub(super) calls: OpenCalls,
    /// Counts the calls that the manager counts as open: not those whose reply is final and here.
    pub(super) open: Open,
    /// Callers that wait until there are fewer open calls, in the order in which they came, and when
    /// their timeouts have passed.
    pub(super) blocked: BTreeMap<u64, (Waker, Option<Duration>)>,
    pub(super) next_place: u64,
    /// Requests to be sent, in order.
    pub(super) unsent: VecDeque<Seq>,
    pub(super) acks: Vec<SeqRange>,
    /// What the replies were long that are acknowledged there, about.
    acked_bytes: usize,
    /// Acks that hand something back to others if they are late.
    pub(super) acks_are_urgent: bool,
    pub(super) cancels: Vec<Seq>,
    /// Cancels in frames that the manager may not have taken in, by the frame's number.
    cancels_sent: VecDeque<(u64, Seq)>,
    /// How many notices of loss were taken in, and how many the manager was told of.
    pub(super) losses: u64,
    losses_said: u64,
    pub(super) reconcile: Option<Reconcile>,
    pub(super) frame_number: u64,
    pub(super) sender: Option<Waker>,
    pub(super) goodbye: Goodbye,
    /// When it began to be said.
    pub(super) goodbye_at: Option<Duration>,
    /// Why it is all over.
    pub(super) over: Option<Refusal>,
    /// By the object, with its manager's number.
    pub(crate) handles: HashMap<u64, (u64, Weak<Handle>)>,
    /// In an order that does not depend on a hash: all of them may be given back at once.
    pub(super) grants: BTreeMap<(u64, u64), Note>,
    /// Those that went with their session, as long as their guards are there.
    pub(super) lost_grants: BTreeSet<(u64, u64)>,
    /// Losses of grants whose callers have not looked yet; tokens are never used again.
    pub(super) early_losses: VecDeque<(u64, u64)>,
}

/// What the manager said of the session.
#[derive(Clone, Default)]
pub(crate) struct Session {
    pub(super) id: u64,
    pub(super) secret: Bytes,
    pub(super) epoch: u64,
    pub(super) limits: Limits,
    pub(super) ephemeral: bool,
}

#[derive(Default, PartialEq, Eq)]
pub(super) enum Goodbye {
    #[default]
    No,
    Due,
    Said,
}

impl State {
    pub(super) fn new(policy: Policy) -> Self {
        Self {
            policy,
            session: Session::default(),
            is_acquainted: false,
            incarnation: 0,
            ends: VecDeque::new(),
            connection: 0,
            lease: Lease::default(),
            reconnect: Reconnect::default(),
            gone: Refusal::default(),
            heard_at: Duration::ZERO,
            beat_is_urgent: false,
            lease_lost: false,
            next_seq: 1,
            calls: OpenCalls::default(),
            open: Open::default(),
            blocked: BTreeMap::new(),
            next_place: 0,
            unsent: VecDeque::new(),
            acks: Vec::new(),
            acked_bytes: 0,
            acks_are_urgent: false,
            cancels: Vec::new(),
            cancels_sent: VecDeque::new(),
            losses: 0,
            losses_said: 0,
            reconcile: None,
            frame_number: 0,
            sender: None,
            goodbye: Goodbye::No,
            goodbye_at: None,
            over: None,
            handles: HashMap::new(),
            grants: BTreeMap::new(),
            lost_grants: BTreeSet::new(),
            early_losses: VecDeque::new(),
        }
    }

    /// Leaves room for what else a frame has to say.
    pub(super) fn longest_request(&self) -> usize {
        (self.session.limits.max_frame_bytes as usize).saturating_sub(FRAME_OVERHEAD)
    }

    pub(super) fn enqueue(
        &mut self,
        mut request: Box<Request>,
        len: usize,
        scope: Scope,
        deadline: Option<Deadline>,
        caller: Caller,
    ) -> Seq {
        let seq = self.next_seq;
        self.next_seq += 1;
        // The number was not counted in; it takes no more than this.
        let len = len + 11;
        request.seq = seq;
        let due =
            deadline.map(|deadline| deadline.due(request.op.as_ref(), self.lease.round_trip()));
        let (sent, asked_at, open) = (false, None, self.open.clone());
        let waiting = Waiting { request, len, scope, sent, deadline, asked_at, caller, open };
        self.calls.insert(seq, Slot::Waiting(waiting), due);
        self.unsent.push_back(seq);
        self.wake_sender();
        seq
    }

    /// A reply has arrived: whom to wake, and what to drop once the state is unlocked.
    pub(super) fn reply(
        &mut self,
        link: &Weak<Link>,
        seq: Seq,
        result: reply::Result,
    ) -> (Option<Waker>, Option<Box<Arrived>>) {
        // Cancelled meanwhile (the cancel is on its way), or said twice.
        let Some(Slot::Waiting(_)) = self.calls.get(seq) else { return (None, None) };
        let handles = self.hold(link, &result);
        let arrived = Box::new(Arrived { result, incarnation: self.incarnation, handles });
        let final_bytes = (!hands_over(&arrived.result)).then(|| weight(&arrived.result));
        if let Some(bytes) = final_bytes {
            // It is final: once it is here, the manager need not keep it.
            self.count(&arrived);
            self.acknowledge(seq, bytes);
        }
        let hold_back = final_bytes.is_none() && self.lease_lost;
        let Some(slot) = self.calls.get_mut(seq) else { return (None, Some(arrived)) };
        let Slot::Waiting(Waiting { caller, deadline, open, .. }) = slot else {
            return (None, Some(arrived));
        };
        let (deadline, open) = (*deadline, final_bytes.is_none().then(|| open.clone()));
        match mem::replace(caller, Caller::Gone) {
            Caller::Gone => {
                self.calls.remove(seq);
                if final_bytes.is_none() {
                    self.acknowledge(seq, 0);
                }
                (None, Some(arrived))
            }
            Caller::Waits(waker) if hold_back => {
                *slot = Slot::Replied(arrived, HeldBack { waker, deadline, _open: open });
                (None, None)
            }
            Caller::Waits(waker) => {
                *slot = Slot::Replied(arrived, HeldBack { waker: None, deadline, _open: open });
                (waker, None)
            }
        }
    }

    /// Holds everything that a reply refers to. The link is not held for longer than that: whoever
    /// takes in frames must not have it when its last user lets go of it, who would not wait for
    /// the goodbye and for an embedded manager's end.
    pub(super) fn hold(&mut self, link: &Weak<Link>, result: &reply::Result) -> Vec<Arc<Handle>> {
        let mut handles = Vec::new();
        for_each_reference(result, |reference: &Ref| {
            if let Some(link) = link.upgrade() {
                handles.push(link.handle_locked(self, *reference));
            }
        });
        handles
    }

    /// The manager counts a reference when the reply that has it is acknowledged.
    pub(super) fn count(&self, arrived: &Arrived) {
        for handle in &arrived.handles {
            handle.count(self.incarnation);
        }
    }

    /// A request that was not sent yet never is; the manager hears of one that was.
    pub(super) fn cancel(&mut self, seq: Seq, sent: bool) {
        if let Ok(unsent) = self.unsent.binary_search(&seq) {
            self.unsent.remove(unsent);
        }
        if sent {
            self.cancels.push(seq);
            self.wake_sender();
        }
    }

    pub(super) fn acknowledge(&mut self, seq: Seq, bytes: usize) {
        self.acked_bytes += bytes;
        match self.acks.last_mut() {
            Some(range) if range.last + 1 == seq => range.last = seq,
            _ => self.acks.push(SeqRange { first: seq, last: seq }),
        }
    }

    pub(super) fn acks_are_worth_a_frame(&self) -> bool {
        self.acks.len() >= ACKS_WORTH_A_FRAME || self.acked_bytes >= BYTES_WORTH_A_FRAME
    }

    /// The manager has taken in our frames up to `number`.
    pub(super) fn echoed(&mut self, number: u64) {
        self.lease.frames_echoed(number);
        while self.cancels_sent.pop_front_if(|(frame, _)| *frame <= number).is_some() {}
    }

    /// Everything that waits is sent again, and the manager is told what that is.
    pub(super) fn prepare_resumption(&mut self) {
        let cancelled = self.cancels_sent.drain(..).map(|(_, seq)| seq);
        let cancelled: Vec<_> = cancelled.chain(mem::take(&mut self.cancels)).collect();
        self.cancels_sent.extend(cancelled.iter().map(|&seq| (1, seq)));
        let mut open = Vec::new();
        self.unsent.clear();
        for (seq, slot) in self.calls.iter() {
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

    /// How what was granted in a session that is over was lost.
    pub(super) fn loss_of(&self, incarnation: u64) -> Loss {
        let since = usize::try_from(self.incarnation - incarnation).unwrap_or(usize::MAX);
        self.ends.get(since.saturating_sub(1)).copied().unwrap_or(Loss::Session)
    }

    /// Whether a guard that is still there has lost this grant.
    pub(super) fn has_lost(&mut self, fence: Fence, now: Duration) -> bool {
        self.look_at_lease(now);
        let grant = (fence.lock, fence.token);
        self.lost_grants.contains(&grant) || self.grants.get(&grant).is_some_and(Note::is_lost)
    }

    /// Whoever holds something learns at once, and the manager when it can be told.
    pub(super) fn look_at_lease(&mut self, now: Duration) {
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
    pub(super) fn give_back_late(&mut self, object: u64, release: request::Op) {
        let release = told(object, release);
        let len = encoded_len(&release);
        let scope = Scope::Session(self.incarnation);
        self.enqueue(Box::new(release), len, scope, None, Caller::Gone);
    }

    /// The manager has heard of us: what arrived may be handed over again.
    pub(super) fn regain_lease(&mut self, now: Duration) -> Vec<Waker> {
        if !self.lease_lost || now >= self.lease.lost_at() {
            return Vec::new();
        }
        self.lease_lost = false;
        let mut wakers = Vec::new();
        for slot in self.calls.slots_mut() {
            if let Slot::Replied(_, held) = slot {
                wakers.extend(held.waker.take());
            }
        }
        wakers
    }

    /// Ends the call without an answer: its timeout has passed, and so has the time that an answer
    /// may take.
    pub(super) fn expire(&mut self, seq: Seq, now: Duration, after: &mut Afterwards) {
        let is_down = self.reconnect.is_down(now);
        let grace = OVERDUE_LOOK + self.lease.round_trip();
        let heard_at = self.heard_at;
        let (lease_lost, incarnation) = (self.lease_lost, self.incarnation);
        let Some(slot) = self.calls.get_mut(seq) else { return };
        let (answer, failure, sent) = match slot {
            Slot::Waiting(waiting) => {
                let (Some(deadline), Some(op)) = (waiting.deadline, &waiting.request.op) else {
                    return;
                };
                let sent = waiting.sent;
                let expiry = expiry(op);
                if expiry == Expiry::Relock && sent && !is_down {
                    let asked_at = waiting.asked_at.replace(now);
                    if asked_at.is_none_or(|asked_at| heard_at >= asked_at) {
                        self.beat_is_urgent = true;
                        return self.calls.postpone(seq, now + grace);
                    }
                }
                let failure = if sent && may_last(op) {
                    unknown_outcome("no answer came within the call's timeout")
                } else {
                    unreachable()
                };
                let answer = match expiry {
                    Expiry::Answer(answer) if sent && !deadline.is_try && !is_down => Some(answer),
                    _ => None,
                };
                (answer, failure, sent)
            }
            Slot::Replied(arrived, held) if lease_lost && hands_over(&arrived.result) => {
                let Some(deadline) = held.deadline else { return };
                let answer = when_withheld(&arrived.result).filter(|_| !deadline.is_try);
                (answer.filter(|_| !is_down), unreachable(), true)
            }
            Slot::Replied(..) | Slot::Failed(_) => return,
        };
        match answer {
            Some(answer) => after.answer(slot, answer, incarnation),
            None => after.fail(slot, Failure::Refused(failure)),
        }
        self.cancel(seq, sent);
    }

    /// Ends every call whose timeout has passed, as no answer is to be expected.
    pub(super) fn expire_unreachable(&mut self, now: Duration, after: &mut Afterwards) {
        if !self.reconnect.is_down(now) {
            return;
        }
        let has_passed = |deadline: &Option<Deadline>| deadline.is_some_and(|d| d.has_passed(now));
        let passed: Vec<Seq> = self
            .calls
            .iter()
            .filter(|(_, slot)| match slot {
                Slot::Waiting(waiting) => has_passed(&waiting.deadline),
                Slot::Replied(_, held) => has_passed(&held.deadline),
                Slot::Failed(_) => false,
            })
            .map(|(seq, _)| seq)
            .collect();
        for seq in passed {
            self.expire(seq, now, after);
        }
    }

    /// The manager was heard on the current connection.
    pub(super) fn heard(&mut self, now: Duration) {
        self.heard_at = now;
        self.reconnect.heard();
    }

    /// Loses the session and fails everything, also what was not sent.
    pub(super) fn fail_all(&mut self, why: &Refusal, server: u64) -> Afterwards {
        let mut after = self.lose_session(Lost::Said(why.clone()), server);
        self.fail_the_rest(why, &mut after);
        after
    }

    /// How long to try to connect again. The socket of a manager inside a program is gone when the
    /// program is.
    pub(super) fn patience(&self) -> Duration {
        let is_gone_for_good = self.session.ephemeral && self.policy.end_is_death;
        if is_gone_for_good { Duration::ZERO } else { self.policy.reconnect_timeout }
    }

    /// What was pending in the session fails, what was held is lost. What was not even sent goes on
    /// to the next session, if it makes sense there: at `server`.
    pub(super) fn lose_session(&mut self, why: Lost, server: u64) -> Afterwards {
        self.session.id = 0;
        self.incarnation += 1;
        self.ends.truncate(ENDS - 1);
        self.ends.push_front(why.loss());
        let refusal = why.refusal();
        let mut after = Afterwards::default();
        self.calls.retain(|slot| match slot {
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
        self.unsent.retain(|&seq| matches!(calls.get(seq), Some(Slot::Waiting(_))));
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
    pub(super) fn fail_the_rest(&mut self, why: &Refusal, after: &mut Afterwards) {
        self.unsent.clear();
        self.calls.retain(|slot| match slot {
            Slot::Waiting(Waiting { caller: Caller::Gone, .. }) => false,
            Slot::Waiting(_) => {
                after.fail(slot, Failure::Refused(why.clone()));
                true
            }
            Slot::Replied(..) | Slot::Failed(_) => true,
        });
    }

    pub(super) fn wake_sender(&mut self) {
        if let Some(waker) = self.sender.take() {
            waker.wake();
        }
    }

    pub(super) fn lose(&mut self, object: u64, token: u64) {
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

    pub(super) fn unblock(&mut self) -> Vec<Waker> {
        if self.blocked.is_empty() {
            return Vec::new();
        }
        mem::take(&mut self.blocked).into_values().map(|(waker, _)| waker).collect()
    }

    pub(super) fn has_something_to_say(&self) -> bool {
        !self.unsent.is_empty()
            || !self.cancels.is_empty()
            || self.acks_are_urgent
            || self.acks_are_worth_a_frame()
            || self.reconcile.is_some()
            || self.goodbye == Goodbye::Due
    }

    pub(super) fn next_frame(&mut self, now: Duration) -> EncodedFrame {
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
            if let Some(Slot::Waiting(waiting)) = self.calls.get_mut(seq) {
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

/// How long a final reply is, about: as far as it can be long.
fn weight(result: &reply::Result) -> usize {
    match class(result).payload {
        Payload::Value(value) => value.data.len(),
        Payload::Bytes(bytes) => bytes.len(),
        Payload::Entry(entry) => entry.value.as_ref().map_or(0, |value| value.data.len()),
        // A page or many values: worth a frame by themselves if they are long at all.
        Payload::Page(_) | Payload::Optionals(_) => BYTES_WORTH_A_FRAME / 4,
        Payload::None
        | Payload::Error(_)
        | Payload::Deliveries(_)
        | Payload::Reference(_)
        | Payload::Listing(_)
        | Payload::Inspection(_) => 0,
    }
}

/// What a call is told that handed something over which nobody took in time.
fn when_withheld(result: &reply::Result) -> Option<reply::Result> {
    use reply::Result as R;
    match result {
        R::Grant(_) | R::Delivery(_) | R::Deliveries(_) | R::Message(_) => {
            Some(R::Absent(Empty {}))
        }
        _ => None,
    }
}
