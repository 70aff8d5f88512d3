//! What a session owes its client, and what its client has not yet confirmed.

use std::collections::{BTreeMap, VecDeque};

use mp_manager_proto::{
    reply::{Payload, class},
    v1::{
        Delivery, Error, Lost, ObjectInfo, PoolFailure, PoolHost, PoolOrders, PoolSegment,
        PoolStatus, PoolTaskInfo, PoolTicket, Reason, Reconcile, Reply, SeqRange, ServerFrame,
        Value, reply,
    },
};

use crate::{
    call::{Answer, ObjectId, Seq},
    calls::Calls,
    description::{self, session_weight},
    losses::Losses,
    memory::{row, tree},
    pulse::Generation,
    replies::{Place, Replies},
    session::{Load, Session, Settle, protocol},
    stored::{self, Pin},
};

/// The outgoing half of a session: every call that is parked or whose reply is not acknowledged,
/// and the references its client holds.
///
/// It is a leaf: other sessions' operations put replies in, under its own lock, and nothing is
/// called from inside. `H` is how the driver names an object.
///
/// ```text
///            ┌────────► parked ─────────┐
///   request ─┤            │             ├─► replied: unsent ──► sent ──ack────► (forgotten)
///            └────────────┼─────────────┘             ▲          │   └──cancel──► taken back by
///                         └──cancel──► (forgotten)    └──resumed─┘                its object
/// ```
///
/// A reply is kept until it is acknowledged, because it may have been lost with the stream that it
/// was sent on. A reply for a call that is not open any more (it was cancelled) is dropped here,
/// whoever sent it. With its acknowledgement the client counts a reply's references as its own, and
/// so does the outbox.
#[derive(Debug)]
pub struct Outbox<H> {
    /// The stream that may send.
    generation: Generation,
    /// It has to reconcile before it is told anything.
    is_silent: bool,
    open: Calls<Open<H>>,
    /// Those of the open calls that were answered.
    replies: Replies<Kept<H>>,
    /// Those of the open calls that wait.
    parked: usize,
    /// And those whose reply hands something over.
    handed_over: usize,
    /// Replies to send, and some that were dropped meanwhile.
    unsent: VecDeque<Seq>,
    unsent_bytes: usize,
    unacknowledged_bytes: usize,
    losses: Losses,
    references: BTreeMap<ObjectId, (u64, Pin)>,
    ended: Option<Option<Error>>,
}

#[derive(Debug)]
enum Open<H> {
    Parked(H, Why),
    Replied(Place),
}

/// Why a call is parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// It waits for somebody.
    Waits,
    /// Its object is busy, and comes to it by itself.
    SetAside,
}

/// A reply that is not acknowledged.
#[derive(Debug)]
struct Kept<H> {
    result: reply::Result,
    pins: Vec<Pin>,
    bytes: usize,
    is_sent: bool,
    /// An ownership answer's object hears what became of it.
    object: Option<H>,
}

impl<H> Kept<H> {
    fn new(result: reply::Result, pins: Vec<Pin>, object: Option<H>) -> Self {
        let bytes = weight(&result);
        Self { result, pins, bytes, is_sent: false, object }
    }

    fn unsent_bytes(&self) -> usize {
        if self.is_sent { 0 } else { self.bytes }
    }
}

/// What came of [settling](Outbox::settle) a frame. What is left of it is dropped outside all locks.
#[derive(Debug)]
#[must_use = "the objects have to be told"]
pub struct Settled<H> {
    /// Tell these objects that ownership was acknowledged.
    pub acknowledged: Vec<(Seq, H)>,
    /// Tell these objects that a caller has gone.
    pub cancelled: Vec<(Seq, H)>,
    /// What dropped replies kept alive.
    pub pins: Vec<Pin>,
}

/// What an ended session had kept alive, to be dropped outside all locks.
#[derive(Debug)]
#[must_use = "drop it outside all locks"]
pub struct Remains<H> {
    open: Calls<Open<H>>,
    /// Only to be dropped.
    _replies: Replies<Kept<H>>,
    references: BTreeMap<ObjectId, (u64, Pin)>,
}

impl<H> Remains<H> {
    /// How many calls and references there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len() + self.references.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was parked.
    pub fn parked(&self) -> impl Iterator<Item = (Seq, &H)> {
        self.open.iter().filter_map(|(seq, open)| match open {
            Open::Parked(object, _) => Some((seq, object)),
            Open::Replied(_) => None,
        })
    }
}

impl<H> Default for Settled<H> {
    fn default() -> Self {
        Self { acknowledged: Vec::new(), cancelled: Vec::new(), pins: Vec::new() }
    }
}

impl<H> Default for Outbox<H> {
    fn default() -> Self {
        Self {
            generation: Session::FIRST,
            is_silent: false,
            open: Calls::default(),
            replies: Replies::default(),
            parked: 0,
            handed_over: 0,
            unsent: VecDeque::new(),
            unsent_bytes: 0,
            unacknowledged_bytes: 0,
            losses: Losses::default(),
            references: BTreeMap::new(),
            ended: None,
        }
    }
}

impl<H> Outbox<H> {
    /// From now on the stream of this generation speaks for the session, once it has reconciled.
    /// Called with the session's lock held.
    pub fn attach(&mut self, generation: Generation) {
        self.generation = generation;
        self.is_silent = true;
        self.losses.rewind();
    }

    /// Whether the stream of this generation is the one that speaks for the session.
    #[must_use]
    pub fn is_current(&self, generation: Generation) -> bool {
        self.generation == generation
    }

    /// A call waits inside `object`. Called with the object's lock held, so that its answer cannot
    /// come first.
    pub fn park(&mut self, seq: Seq, object: H) {
        if self.ended.is_none() && self.open.open(seq, Open::Parked(object, Why::Waits)) {
            self.parked += 1;
        }
    }

    /// As [`park`](Self::park), for a call that waits for nobody: `object` is busy, and answers it
    /// soon.
    pub fn set_aside(&mut self, seq: Seq, object: H) {
        if self.ended.is_none() {
            self.open.open(seq, Open::Parked(object, Why::SetAside));
        }
    }

    /// The reply to a call that was not parked. If the session has ended, what the reply kept alive
    /// comes back.
    #[must_use = "drop it outside all locks"]
    pub fn reply(
        &mut self,
        seq: Seq,
        result: Result<Answer, Error>,
        object: impl FnOnce() -> H,
    ) -> Vec<Pin> {
        let is_owned = result.as_ref().is_ok_and(|answer| answer.ownership);
        let (result, pins) = split(result);
        self.replied(seq, result, pins, is_owned.then(object))
    }

    /// The reply to a call that hands nothing over. If the session has ended, what the reply kept
    /// alive comes back.
    #[must_use = "drop it outside all locks"]
    pub fn conclude(&mut self, seq: Seq, result: Result<Answer, Error>) -> Vec<Pin> {
        let (result, pins) = split(result);
        self.replied(seq, result, pins, None)
    }

    fn replied(
        &mut self,
        seq: Seq,
        result: reply::Result,
        pins: Vec<Pin>,
        object: Option<H>,
    ) -> Vec<Pin> {
        if self.ended.is_some() {
            return pins;
        }
        let kept = Kept::new(result, pins, object);
        let (bytes, hands_over) = (kept.bytes, kept.object.is_some());
        let reply = self.replies.insert(kept);
        if self.open.open(seq, Open::Replied(reply)) {
            self.queue(seq, bytes);
            self.handed_over += usize::from(hands_over);
            return Vec::new();
        }
        self.replies.remove(reply).map_or_else(Vec::new, |kept| kept.pins)
    }

    /// Notes a reply as one to be sent.
    fn queue(&mut self, seq: Seq, bytes: usize) {
        self.unsent_bytes += bytes;
        self.unacknowledged_bytes += bytes;
        self.unsent.push_back(seq);
    }

    /// The object of an open call that is parked, or hands something over.
    #[must_use]
    pub fn object(&self, seq: Seq) -> Option<&H> {
        match self.open.get(seq)? {
            Open::Parked(object, _) => Some(object),
            Open::Replied(reply) => self.replies.get(*reply)?.object.as_ref(),
        }
    }

    /// The reply to a parked call, from whoever's turn it was. Its object comes back, unless it has
    /// to hear of the acknowledgement.
    ///
    /// # Errors
    /// If nobody waits for it: what the reply kept alive, to be dropped outside all locks.
    pub fn deliver(
        &mut self,
        seq: Seq,
        result: Result<Answer, Error>,
    ) -> Result<Option<H>, Vec<Pin>> {
        let is_owned = result.as_ref().is_ok_and(|answer| answer.ownership);
        let (result, pins) = split(result);
        let reply = self.replies.next();
        let parked = self.open.get_mut(seq).filter(|open| matches!(open, Open::Parked(..)));
        let parked = parked.map(|open| std::mem::replace(open, Open::Replied(reply)));
        let Some(Open::Parked(object, why)) = parked else { return Err(pins) };
        self.parked -= usize::from(why == Why::Waits);
        self.handed_over += usize::from(is_owned);
        let (owner, object) = if is_owned { (Some(object), None) } else { (None, Some(object)) };
        let kept = Kept::new(result, pins, owner);
        self.queue(seq, kept.bytes);
        self.replies.insert(kept);
        Ok(object)
    }

    /// A grant is gone without its holder's doing.
    pub fn lose(&mut self, object: ObjectId, token: u64) {
        if self.ended.is_none() {
            self.losses.push(Lost { object, token });
        }
    }

    /// Takes note of what a frame says of earlier requests. Called with the session's lock held.
    /// The objects hear of what has come of it also when the second half is an error: the frame
    /// breaks the protocol then, and the session has to end.
    pub fn settle(&mut self, settle: Settle) -> (Settled<H>, Result<(), Error>) {
        let mut settled = Settled::default();
        let result = match self.ended {
            None => self.settle_into(settle, &mut settled),
            Some(_) => Ok(()),
        };
        (settled, result)
    }

    fn settle_into(&mut self, settle: Settle, settled: &mut Settled<H>) -> Result<(), Error> {
        let Settle { losses, reconcile, acks, cancels, again } = settle;
        self.losses.confirm(losses)?;
        if let Some(reconcile) = reconcile {
            self.reconcile(reconcile, settled)?;
        }
        self.acknowledge(acks, settled);
        for seq in sorted(cancels) {
            self.cancel(seq, settled);
        }
        self.move_replies_together();
        match again.into_iter().find(|seq| self.open.get(*seq).is_none()) {
            Some(seq) => Err(protocol(format!("request {seq} came again after it was concluded"))),
            None => Ok(()),
        }
    }

    /// Replies that reached their caller.
    fn acknowledge(&mut self, mut acks: Vec<SeqRange>, settled: &mut Settled<H>) {
        // However often a seq is in them, it is looked at once.
        acks.sort_unstable_by_key(|range| range.first);
        let mut next = 0;
        for SeqRange { first, last } in acks {
            let first = first.max(next);
            if first > last {
                continue;
            }
            let replied = |open: &Open<H>| matches!(open, Open::Replied(_));
            self.open.close_if(first, last, replied, |seq, open| {
                let Open::Replied(reply) = open else { return };
                let Some(kept) = self.replies.remove(reply) else { return };
                self.unacknowledged_bytes -= kept.bytes;
                self.unsent_bytes -= kept.unsent_bytes();
                for pin in kept.pins {
                    let id = pin.reference().object;
                    self.references.entry(id).or_insert((0, pin)).0 += 1;
                }
                self.handed_over -= usize::from(kept.object.is_some());
                settled.acknowledged.extend(kept.object.map(|object| (seq, object)));
            });
            let Some(after) = last.checked_add(1) else { return };
            next = after;
        }
    }

    /// Gives memory back after many replies, although some, the newest perhaps, are still not acknowledged.
    fn move_replies_together(&mut self) {
        if !self.replies.are_sparse() {
            return;
        }
        let mut sparse = std::mem::take(&mut self.replies);
        for (_, open) in self.open.iter_mut() {
            if let Open::Replied(place) = open {
                self.replies.move_from(&mut sparse, place);
            }
        }
    }

    /// The caller of `seq` has gone.
    fn cancel(&mut self, seq: Seq, settled: &mut Settled<H>) {
        match self.open.close(seq) {
            None => {}
            Some(Open::Parked(object, why)) => {
                self.parked -= usize::from(why == Why::Waits);
                settled.cancelled.push((seq, object));
            }
            Some(Open::Replied(reply)) => {
                let Some(kept) = self.replies.remove(reply) else { return };
                self.unacknowledged_bytes -= kept.bytes;
                self.unsent_bytes -= kept.unsent_bytes();
                self.handed_over -= usize::from(kept.object.is_some());
                settled.pins.extend(kept.pins);
                settled.cancelled.extend(kept.object.map(|object| (seq, object)));
            }
        }
    }

    /// Compares with what the client knows: what it waits for is sent again, or stays parked; what
    /// it does not speak of it has.
    fn reconcile(&mut self, known: Reconcile, settled: &mut Settled<H>) -> Result<(), Error> {
        let (waits, cancelled) = (sorted(known.open), sorted(known.cancelled));
        let forgotten = self.open.iter().find(|(seq, open)| {
            matches!(open, Open::Parked(..)) && !is_in(*seq, &waits) && !is_in(*seq, &cancelled)
        });
        if let Some((seq, _)) = forgotten {
            return Err(protocol(format!("request {seq} was not answered, and is not asked for")));
        }
        for seq in cancelled {
            self.cancel(seq, settled);
        }
        let has = self.open.iter().map(|(seq, _)| seq).filter(|seq| !is_in(*seq, &waits));
        let has = has.map(|seq| SeqRange { first: seq, last: seq }).collect();
        self.acknowledge(has, settled);
        self.send_again();
        self.is_silent = false;
        Ok(())
    }

    fn send_again(&mut self) {
        self.unsent.clear();
        self.unsent_bytes = 0;
        for (seq, open) in self.open.iter() {
            if let Open::Replied(reply) = open
                && let Some(kept) = self.replies.get_mut(*reply)
            {
                kept.is_sent = false;
                self.unsent_bytes += kept.bytes;
                self.unsent.push_back(seq);
            }
        }
    }

    /// What the stream of this generation has to say, if anything: replies that weigh no more than
    /// `max_bytes`, but one at least. There may be more to say.
    pub fn take_frame(
        &mut self,
        generation: Generation,
        echo: u64,
        max_bytes: usize,
    ) -> Option<ServerFrame> {
        if !self.has_news(generation) {
            return None;
        }
        let mut frame = ServerFrame { echo, ..ServerFrame::default() };
        if !self.is_silent {
            self.take_replies(&mut frame.replies, max_bytes);
            frame.lost = self.losses.send(1 + max_bytes / 4 / LOST_BYTES);
        }
        frame.ended = self.ended.as_mut().and_then(Option::take);
        Some(frame)
    }

    fn take_replies(&mut self, into: &mut Vec<Reply>, max_bytes: usize) {
        into.reserve(self.unsent.len().min(1 + max_bytes / ENVELOPE));
        let (mut bytes, mut near) = (0, 0);
        while let Some(&seq) = self.unsent.front() {
            if let Some(Open::Replied(reply)) = self.open.get_near(seq, &mut near)
                && let Some(kept) = self.replies.get_mut(*reply)
            {
                let with_it = bytes + kept.bytes + ENVELOPE * (into.len() + 1);
                if with_it > max_bytes && !into.is_empty() {
                    break;
                }
                kept.is_sent = true;
                bytes += kept.bytes;
                into.push(Reply { seq, result: Some(kept.result.clone()) });
            }
            self.unsent.pop_front();
        }
        self.unsent_bytes -= bytes;
    }

    /// Whether the stream of this generation has something to say.
    pub fn has_news(&mut self, generation: Generation) -> bool {
        if self.unsent_bytes == 0 {
            // Nothing but replies that were dropped.
            self.unsent.clear();
        }
        let speaks = !self.is_silent && (!self.unsent.is_empty() || self.losses.are_unsent());
        self.is_current(generation) && (speaks || matches!(self.ended, Some(Some(_))))
    }

    /// How much is undecided.
    #[must_use]
    pub fn load(&self) -> Load {
        Load {
            open: self.open.len(),
            parked: self.parked,
            handed_over: self.handed_over,
            // What cannot be sent yet does not keep the client from reconciling.
            unsent_bytes: if self.is_silent { 0 } else { self.unsent_bytes },
            unacknowledged_bytes: self.unacknowledged_bytes,
            too_many_losses: self.losses.are_too_many(),
        }
    }

    /// The memory it takes, about: what is sent is kept until it is acknowledged.
    pub(crate) fn bytes(&self) -> usize {
        self.open.bytes()
            + self.replies.bytes()
            + self.unacknowledged_bytes
            + row::<Seq>(self.unsent.len(), self.unsent.capacity())
            + self.losses.bytes()
            + tree::<ObjectId, (u64, Pin)>(self.references.len())
    }

    /// The client let go of `count` of the references it was handed; the last one's pin comes back
    /// to be dropped outside all locks.
    ///
    /// # Errors
    /// If it was handed fewer; nothing is let go of then.
    pub fn release(&mut self, object: ObjectId, count: u64) -> Result<Option<Pin>, Error> {
        let held = self.references.get_mut(&object);
        let there = held.as_ref().map_or(0, |(there, _)| *there);
        let Some(left) = there.checked_sub(count) else {
            return Err(over_released(object, count, there));
        };
        if let Some(held) = held {
            held.0 = left;
        }
        Ok(if left == 0 { self.references.remove(&object).map(|(_, pin)| pin) } else { None })
    }

    /// Objects the client refers to.
    #[must_use]
    pub fn references(&self) -> usize {
        self.references.len()
    }

    /// Ends the session: nothing goes in any more. `why` is said to the client, if it listens.
    pub fn end(&mut self, why: Option<Error>) -> Remains<H> {
        self.ended.get_or_insert(why);
        (self.parked, self.handed_over) = (0, 0);
        self.unsent.clear();
        (self.unsent_bytes, self.unacknowledged_bytes) = (0, 0);
        self.losses = Losses::default();
        Remains {
            open: std::mem::take(&mut self.open),
            _replies: std::mem::take(&mut self.replies),
            references: std::mem::take(&mut self.references),
        }
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.is_some()
    }
}

fn over_released(object: ObjectId, count: u64, there: u64) -> Error {
    let message = format!(
        "{count} references to object {object} were released, and the session has {there} of them"
    );
    Error::new(Reason::BoundExceeded, message)
        .with_hint("count the references in replies as they are acknowledged")
}

fn sorted(mut seqs: Vec<Seq>) -> Vec<Seq> {
    seqs.sort_unstable();
    seqs.dedup();
    seqs
}

fn is_in(seq: Seq, sorted: &[Seq]) -> bool {
    sorted.binary_search(&seq).is_ok()
}

fn split(result: Result<Answer, Error>) -> (reply::Result, Vec<Pin>) {
    match result {
        Ok(answer) => (answer.result, answer.pins),
        Err(error) => (reply::Result::Error(error), Vec::new()),
    }
}

/// What a reply weighs that says next to nothing.
const SMALL: usize = 16;

/// What each of many values weighs beside its bytes: in memory, several times as much as in a frame.
const IN_A_LIST: usize = size_of::<Value>() + SMALL;

/// What a reply may take in a frame beside what it weighs: its seq, lengths, tokens, parameters.
const ENVELOPE: usize = 56;

/// What the notice of a lost grant takes in a frame at most.
const LOST_BYTES: usize = 24;

/// What a reply weighs in a frame, about.
fn weight(result: &reply::Result) -> usize {
    let length = |value: &Value| stored::length(&value.data, value.refs.len());
    let optional = |value: &Option<Value>| value.as_ref().map_or(0, length);
    let objects = |infos: &[ObjectInfo]| infos.iter().map(description::weight).sum::<usize>();
    let priority = |result: &reply::Result| match result {
        reply::Result::Delivery(delivery) => optional(&delivery.priority),
        _ => 0,
    };
    SMALL
        + match class(result).payload {
            Payload::None | Payload::Reference(_) => 0,
            Payload::Error(error) => error.message.len() + error.hint.len(),
            Payload::Bytes(bytes) => bytes.len(),
            Payload::Value(value) => length(value) + priority(result),
            Payload::Entry(entry) => entry.key.len() + optional(&entry.value),
            Payload::Page(page) => {
                page.keys.iter().map(|key| IN_A_LIST + key.len()).sum::<usize>()
                    + page.values.iter().map(|value| IN_A_LIST + length(value)).sum::<usize>()
            }
            Payload::Optionals(all) => {
                all.items.iter().map(|item| IN_A_LIST + optional(&item.value)).sum()
            }
            Payload::Deliveries(all) => {
                let parts = |item: &Delivery| optional(&item.value) + optional(&item.priority);
                all.deliveries.iter().map(|item| 2 * IN_A_LIST + parts(item)).sum()
            }
            Payload::Status(status) => {
                let hosts = status.hosts.iter().map(|host| size_of::<PoolHost>() + host.name.len());
                size_of::<PoolStatus>() + status.broken.len() + hosts.sum::<usize>()
            }
            Payload::Orders(orders) => {
                let hosts =
                    orders.hosts.iter().map(|host| size_of::<String>() + SMALL + host.len());
                size_of::<PoolOrders>() + hosts.sum::<usize>()
            }
            Payload::Tasks(tasks) => tasks.tasks.iter().map(task_weight).sum(),
            Payload::Work(work) => work
                .tickets
                .iter()
                .map(|ticket| {
                    let task = ticket.task.as_ref();
                    let texts = task.map_or(0, |task| task.name.len() + task.signature.len());
                    size_of::<PoolTicket>() + SMALL + texts + optional(&ticket.args)
                })
                .sum(),
            Payload::Results(results) => results
                .segments
                .iter()
                .map(|segment| {
                    let failures: usize = segment.failures.iter().map(failure_weight).sum();
                    size_of::<PoolSegment>() + SMALL + optional(&segment.results) + failures
                })
                .sum(),
            // These as well.
            Payload::Listing(listing) => objects(&listing.objects),
            Payload::Inspection(inspection) => {
                let sessions = inspection.sessions.iter().map(session_weight).sum::<usize>();
                objects(&inspection.objects) + sessions
            }
        }
}

/// What the description of a task weighs.
fn task_weight(task: &PoolTaskInfo) -> usize {
    let texts = task.task.len() + task.worker.len() + task.host.len();
    size_of::<PoolTaskInfo>() + 3 * SMALL + texts + task.failure.as_ref().map_or(0, failure_weight)
}

/// What the failure of a task weighs.
fn failure_weight(failure: &PoolFailure) -> usize {
    let causes = failure.causes.iter().map(|cause| size_of::<String>() + SMALL + cause.len());
    let texts = failure.message.len() + failure.location.len() + causes.sum::<usize>();
    size_of::<PoolFailure>() + SMALL + texts
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mp_manager_proto::{encoded_len, v1::Ref};

    use super::*;
    use crate::stored::Referent;

    struct Referred(ObjectId);

    impl Referent for Referred {
        fn reference(&self) -> Ref {
            Ref { object: self.0, ..Ref::default() }
        }
    }

    /// An outbox whose objects are numbers.
    type TestOutbox = Outbox<u64>;

    fn answer(outbox: &mut TestOutbox, seq: Seq, answer: Answer) {
        assert!(outbox.reply(seq, Ok(answer), || 100 + seq).is_empty());
    }

    fn deliver(outbox: &mut TestOutbox, seq: Seq, answer: Answer) -> Option<u64> {
        outbox.deliver(seq, Ok(answer)).expect("somebody waits for it")
    }

    fn grant() -> Answer {
        Answer::grant(1, 1)
    }

    /// An answer that refers to these objects.
    fn referring(pins: &[&Pin]) -> Answer {
        Answer { pins: pins.iter().map(|pin| Pin::clone(pin)).collect(), ..Answer::done() }
    }

    fn pin(object: ObjectId) -> Pin {
        Arc::new(Referred(object))
    }

    /// How many hold on to it, the test aside.
    fn holds(pin: &Pin) -> usize {
        Arc::strong_count(pin) - 1
    }

    fn sent_on(outbox: &mut TestOutbox, generation: Generation) -> Vec<Seq> {
        let frame = outbox.take_frame(generation, 0, 1 << 20).unwrap_or_default();
        frame.replies.into_iter().map(|reply| reply.seq).collect()
    }

    fn sent(outbox: &mut TestOutbox) -> Vec<Seq> {
        let generation = outbox.generation;
        sent_on(outbox, generation)
    }

    fn settle(outbox: &mut TestOutbox, settle: Settle) -> Settled<u64> {
        let (settled, result) = outbox.settle(settle);
        result.expect("it is in order");
        settled
    }

    fn ack(outbox: &mut TestOutbox, ranges: &[(Seq, Seq)]) -> Vec<(Seq, u64)> {
        let acks = ranges.iter().map(|&(first, last)| SeqRange { first, last }).collect();
        settle(outbox, Settle { acks, ..Settle::default() }).acknowledged
    }

    fn cancel(outbox: &mut TestOutbox, seq: Seq) -> Vec<(Seq, u64)> {
        settle(outbox, Settle { cancels: vec![seq], ..Settle::default() }).cancelled
    }

    fn resume(outbox: &mut TestOutbox) {
        outbox.attach(outbox.generation + 1);
    }

    fn reconcile(open: &[Seq], cancelled: &[Seq]) -> Settle {
        let reconcile = Reconcile { open: open.to_vec(), cancelled: cancelled.to_vec() };
        Settle { reconcile: Some(reconcile), ..Settle::default() }
    }

    #[test]
    fn a_reply_to_a_cancelled_call_goes_nowhere() {
        let mut outbox = Outbox::default();
        outbox.park(1, 7);
        assert_eq!(cancel(&mut outbox, 1), [(1, 7)]);
        assert!(outbox.deliver(1, Ok(grant())).is_err());
        assert_eq!(sent(&mut outbox), []);
        assert_eq!(cancel(&mut outbox, 1), []);
    }

    #[test]
    fn a_reply_that_was_cancelled_before_it_was_sent_is_not_sent() {
        let mut outbox = Outbox::default();
        let object = pin(5);
        answer(&mut outbox, 1, referring(&[&object]));
        answer(&mut outbox, 2, grant());
        answer(&mut outbox, 3, Answer::done());
        // Final as it is; only the reply is dropped, and with it what it refers to.
        assert_eq!(cancel(&mut outbox, 1), []);
        assert_eq!(holds(&object), 0);
        assert_eq!(cancel(&mut outbox, 2), [(2, 102)]);
        assert_eq!(sent(&mut outbox), [3]);
        assert_eq!((outbox.load().unsent_bytes, outbox.references()), (0, 0));
        answer(&mut outbox, 4, Answer::done());
        cancel(&mut outbox, 4);
        assert_eq!(outbox.take_frame(1, 0, 1), None);
    }

    #[test]
    fn a_call_counts_as_waiting_or_handed_over_while_it_is() {
        let mut outbox = Outbox::default();
        let counts = |outbox: &TestOutbox| {
            let load = outbox.load();
            (load.open, load.parked, load.handed_over)
        };
        (1..=3).for_each(|seq| outbox.park(seq, 7));
        outbox.set_aside(4, 7);
        answer(&mut outbox, 5, grant());
        answer(&mut outbox, 6, Answer::done());
        assert_eq!(counts(&outbox), (6, 3, 1));
        deliver(&mut outbox, 1, grant());
        deliver(&mut outbox, 2, Answer::done());
        deliver(&mut outbox, 4, Answer::done());
        assert_eq!(counts(&outbox), (6, 1, 2));
        resume(&mut outbox);
        drop(settle(&mut outbox, reconcile(&[1, 3, 5], &[])));
        assert_eq!(counts(&outbox), (3, 1, 2));
        cancel(&mut outbox, 1);
        cancel(&mut outbox, 3);
        ack(&mut outbox, &[(5, 5)]);
        assert_eq!(counts(&outbox), (0, 0, 0));
    }

    #[test]
    fn every_reply_is_kept_until_it_is_acknowledged() {
        let mut outbox = Outbox::default();
        outbox.park(1, 7);
        assert_eq!(deliver(&mut outbox, 1, grant()), None);
        answer(&mut outbox, 2, Answer::done());
        outbox.park(3, 7);
        assert_eq!(deliver(&mut outbox, 3, Answer::done()), Some(7));
        outbox.park(4, 7);
        assert_eq!(sent(&mut outbox), [1, 2, 3]);
        let load = outbox.load();
        assert_eq!((load.open, load.parked), (4, 1));
        assert!(load.unacknowledged_bytes > 0);
        // Ownership is told of; what waits has nothing to acknowledge.
        assert_eq!(ack(&mut outbox, &[(2, 4), (0, 1), (1, 3), (9, 8)]), [(1, 7)]);
        assert_eq!((outbox.load().open, outbox.load().unacknowledged_bytes), (1, 0));
        assert_eq!(ack(&mut outbox, &[(0, u64::MAX)]), []);
        assert_eq!(cancel(&mut outbox, 1), []);
        assert_eq!(cancel(&mut outbox, 4), [(4, 7)]);
    }

    #[test]
    fn references_count_when_they_are_acknowledged() {
        let mut outbox = Outbox::default();
        let (one, two) = (pin(1), pin(2));
        answer(&mut outbox, 1, referring(&[&one, &one]));
        answer(&mut outbox, 2, referring(&[&one, &two]));
        assert_eq!(sent(&mut outbox), [1, 2]);
        // Handed out, kept alive, and not counted yet.
        assert_eq!((outbox.references(), holds(&one)), (0, 3));
        assert!(outbox.release(1, 1).is_err());
        ack(&mut outbox, &[(1, 1)]);
        assert_eq!(outbox.references(), 1);
        assert_eq!(outbox.release(1, 3).unwrap_err().reason(), Reason::BoundExceeded);
        assert!(outbox.release(1, 1).unwrap().is_none());
        assert!(outbox.release(1, 1).unwrap().is_some());
        assert!(outbox.release(1, 1).is_err());
        // What is cancelled never counts.
        cancel(&mut outbox, 2);
        assert_eq!((outbox.references(), holds(&one), holds(&two)), (0, 0, 0));
    }

    #[test]
    fn a_resumed_session_is_sent_again_what_it_waits_for() {
        let mut outbox = Outbox::default();
        for seq in 1..=4 {
            answer(&mut outbox, seq, grant());
        }
        assert_eq!(sent(&mut outbox), [1, 2, 3, 4]);
        answer(&mut outbox, 5, Answer::done());
        resume(&mut outbox);
        answer(&mut outbox, 6, Answer::done());
        // The older stream is not told any more, and the new one not yet. That must not keep it
        // from reading on.
        assert_eq!(outbox.load().unsent_bytes, 0);
        assert_eq!(sent_on(&mut outbox, 1), []);
        assert_eq!(sent_on(&mut outbox, 2), []);
        let settled = settle(&mut outbox, reconcile(&[2, 3, 5, 6, 99], &[4, 98]));
        assert_eq!(settled.acknowledged, [(1, 101)]);
        assert_eq!(settled.cancelled, [(4, 104)]);
        assert_eq!(sent_on(&mut outbox, 1), []);
        assert_eq!(sent_on(&mut outbox, 2), [2, 3, 5, 6]);
        // Once for each stream.
        assert_eq!(sent_on(&mut outbox, 2), []);
        assert_eq!(ack(&mut outbox, &[(2, 6)]), [(2, 102), (3, 103)]);
        assert_eq!(outbox.load().unacknowledged_bytes, 0);
    }

    #[test]
    fn what_is_parked_stays_parked() {
        let mut outbox = Outbox::default();
        outbox.park(1, 7);
        outbox.park(2, 8);
        outbox.park(3, 9);
        resume(&mut outbox);
        assert_eq!(deliver(&mut outbox, 2, grant()), None);
        assert_eq!(sent(&mut outbox), []);
        let settled = settle(&mut outbox, reconcile(&[1, 2], &[3]));
        assert_eq!((settled.acknowledged, settled.cancelled), (vec![], vec![(3, 9)]));
        assert_eq!(outbox.object(1), Some(&7));
        assert_eq!(sent(&mut outbox), [2]);
        assert_eq!(deliver(&mut outbox, 1, grant()), None);
        assert_eq!(sent(&mut outbox), [1]);
    }

    #[test]
    fn what_is_parked_has_to_be_spoken_of() {
        let mut outbox = Outbox::default();
        outbox.park(1, 7);
        resume(&mut outbox);
        let (settled, result) = outbox.settle(reconcile(&[], &[]));
        assert_eq!(result.unwrap_err().reason(), Reason::Protocol);
        assert!(settled.acknowledged.is_empty() && settled.cancelled.is_empty());
    }

    #[test]
    fn what_comes_again_has_to_be_open() {
        let mut outbox = Outbox::default();
        outbox.park(1, 7);
        answer(&mut outbox, 2, Answer::done());
        answer(&mut outbox, 3, grant());
        resume(&mut outbox);
        let again = |again: &[Seq]| Settle { again: again.to_vec(), ..Settle::default() };
        drop(settle(&mut outbox, Settle { again: vec![1, 2], ..reconcile(&[1, 2], &[]) }));
        drop(settle(&mut outbox, again(&[1, 2])));
        for seq in [3, 9] {
            let (_, result) = outbox.settle(again(&[seq]));
            assert_eq!(result.unwrap_err().reason(), Reason::Protocol);
        }
        // Acks come first, and count even then.
        answer(&mut outbox, 4, grant());
        let acks = vec![SeqRange { first: 2, last: 4 }];
        let (settled, result) = outbox.settle(Settle { acks, ..again(&[2]) });
        assert_eq!(settled.acknowledged, [(4, 104)]);
        assert!(result.unwrap_err().message.contains("request 2 came again"));
    }

    #[test]
    fn losses_are_repeated_until_they_are_confirmed() {
        let mut outbox = Outbox::<u64>::default();
        let tokens = |outbox: &mut Outbox<u64>, generation| {
            let frame = outbox.take_frame(generation, 0, 1000).unwrap_or_default();
            frame.lost.into_iter().map(|lost| lost.token).collect::<Vec<_>>()
        };
        outbox.lose(1, 11);
        outbox.lose(1, 12);
        assert_eq!(tokens(&mut outbox, 1), [11, 12]);
        assert_eq!(tokens(&mut outbox, 1), []);
        resume(&mut outbox);
        outbox.lose(1, 13);
        assert_eq!(tokens(&mut outbox, 2), []);
        drop(settle(&mut outbox, Settle { losses: 1, ..reconcile(&[], &[]) }));
        assert_eq!(tokens(&mut outbox, 2), [12, 13]);
        let (_, result) = outbox.settle(Settle { losses: 4, ..Settle::default() });
        assert_eq!(result.unwrap_err().reason(), Reason::Protocol);
    }

    #[test]
    fn replies_are_weighed() {
        let mut outbox = Outbox::<u64>::default();
        answer(&mut outbox, 1, Answer::raw(vec![0; 1000]));
        answer(&mut outbox, 2, Answer::done());
        let both = outbox.load().unsent_bytes;
        assert!(both > 1000);
        assert_eq!(outbox.take_frame(1, 0, 1).unwrap().replies.len(), 1);
        let load = outbox.load();
        assert!((1..both - 1000).contains(&load.unsent_bytes));
        assert_eq!(load.unacknowledged_bytes, both);
        assert_eq!(outbox.take_frame(1, 0, 1).unwrap().replies.len(), 1);
        assert_eq!(outbox.load().unsent_bytes, 0);
        ack(&mut outbox, &[(1, 1)]);
        assert!((1..both - 1000).contains(&outbox.load().unacknowledged_bytes));
    }

    /// A frame is on the wire three times what it may weigh at most, and has one reply at least.
    #[test]
    fn frames_keep_to_their_length() {
        let mut outbox = TestOutbox::default();
        let texts = (0..60).map(|n| Error::new(Reason::Empty, "x".repeat(n * 20)));
        for (seq, error) in (1..).zip(texts) {
            drop(outbox.conclude(seq, Err(error)));
        }
        for seq in 61..1000 {
            answer(&mut outbox, seq, grant());
        }
        for token in 0..1000 {
            outbox.lose(u64::MAX, u64::MAX - token);
        }
        let (mut replies, mut lost, mut longest) = (0, 0, 0);
        while let Some(frame) = outbox.take_frame(Session::FIRST, u64::MAX, 1000) {
            let length = encoded_len(&frame);
            assert!(length <= 3000 || frame.replies.len() == 1, "{length}");
            assert!(!frame.replies.is_empty() || !frame.lost.is_empty());
            longest = longest.max(length);
            (replies, lost) = (replies + frame.replies.len(), lost + frame.lost.len());
        }
        assert_eq!((replies, lost), (999, 1000));
        assert!(longest > 500, "frames are not needlessly short");
    }

    #[test]
    fn a_reply_that_does_not_fit_comes_alone() {
        let mut outbox = TestOutbox::default();
        for (seq, length) in [(1, 10), (2, 5000), (3, 10), (4, 10)] {
            answer(&mut outbox, seq, Answer::raw(vec![0; length]));
        }
        let mut frame = || {
            let frame = outbox.take_frame(Session::FIRST, 0, 1000)?;
            Some(frame.replies.into_iter().map(|reply| reply.seq).collect::<Vec<_>>())
        };
        assert_eq!(
            [frame(), frame(), frame(), frame()],
            [Some(vec![1]), Some(vec![2]), Some(vec![3, 4]), None]
        );
    }

    #[test]
    fn nothing_goes_into_an_ended_session() {
        let mut outbox = Outbox::default();
        let object = pin(5);
        outbox.park(1, 7);
        answer(&mut outbox, 2, referring(&[&object]));
        let remains = outbox.end(None);
        assert_eq!(
            remains.parked().collect::<Vec<_>>(),
            [(1, &7)],
            "its deadline is to be forgotten"
        );
        assert_eq!(holds(&object), 1);
        drop(remains);
        assert_eq!(holds(&object), 0);
        assert!(outbox.deliver(1, Ok(Answer::done())).is_err());
        assert_eq!(outbox.reply(2, Ok(referring(&[&object])), || 8).len(), 1);
        outbox.park(3, 9);
        outbox.lose(1, 1);
        assert_eq!(outbox.load().open, 0);
        assert_eq!(outbox.take_frame(1, 0, 1), None);
    }

    #[test]
    fn why_it_ended_is_said_once_even_before_it_has_reconciled() {
        let mut outbox = Outbox::<u64>::default();
        answer(&mut outbox, 1, Answer::done());
        resume(&mut outbox);
        drop(outbox.end(Some(protocol("because"))));
        assert_eq!(outbox.take_frame(1, 0, 1), None);
        let frame = outbox.take_frame(2, 0, 1).unwrap();
        assert!(frame.replies.is_empty() && frame.ended.is_some());
        assert_eq!(outbox.take_frame(2, 0, 1), None);
    }
}
