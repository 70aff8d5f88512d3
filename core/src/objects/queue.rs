//! A queue: FIFO, LIFO or by priority. What it hands out comes back if whoever took it is lost.

use mp_manager_proto::{
    parts::Parts,
    v1::{Error, ObjectInfo, QueueItem, QueueOrder, QueueParameters, Reason, queue_op::Op},
};

use self::{
    deliveries::{Deliveries, Handed},
    errors::{full, never_fits, not_leased, shut_down, too_many},
    items::{Item, Items, Taken},
};
use crate::{
    call::{Answer, Applied, Call, CallId, Outcome, SessionId},
    cost::{self, Cost, times},
    machine::{Machine, deleted, differs},
    turn::{Turn, each},
    waiters::Waiters,
};

mod deliveries;
mod errors;
mod items;
#[cfg(test)]
mod model;

/// Python's `Queue`, `LifoQueue`, `PriorityQueue` and `JoinableQueue` in one, with leases.
///
/// What becomes of an item:
///
/// ```text
///   put ──► parked ──► waiting ──get──► delivered ──ack──► taken ──task_done──► finished
///                       ▲   │               │                                      ▲
///                       │   └────lease──► leased ──done────────────────────────────┘
///                       │                   │
///                       └───────────────────┘  cancel before ack, reject, end of session
/// ```
///
/// From when it enters until it is finished it counts as unfinished, whatever happens between. It
/// gets its ticket when it enters, and returns to the place the ticket gives it, also into a full
/// queue. An item taken with a plain get whose taker then dies stays unfinished, as in Python.
#[derive(Debug, Clone)]
pub struct Queue {
    items: Items,
    maxsize: u64,
    phase: Phase,
    deliveries: Deliveries,
    /// Items handed out by plain gets that no `task_done` has accounted for.
    taken: u64,
    getters: Waiters<Want>,
    putters: Waiters<Vec<Item>>,
    joiners: Waiters<()>,
    /// Who waits until there is something to get, and takes nothing.
    pollers: Waiters<()>,
    /// What the items take: parked, waiting and handed out.
    item_bytes: usize,
}

/// A queue in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueStatus {
    /// Items that wait to be taken.
    pub items: usize,
    /// Items that are leased.
    pub leased: usize,
    /// Items that are not finished.
    pub unfinished: u64,
    /// Calls that wait for an item.
    pub getters: usize,
    /// Calls that wait for room.
    pub putters: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Open,
    /// Shut down: what is there may still be taken.
    Draining,
    /// Shut down at once: what comes back is discarded.
    Discarding,
}

/// What a getter asks for.
#[derive(Debug, Clone, Copy)]
enum Want {
    One,
    Many(u64),
    Lease,
}

impl Queue {
    /// An empty queue; FIFO if the parameters do not say.
    ///
    /// # Errors
    /// If they name an order this server does not know.
    pub fn new(parameters: QueueParameters) -> Result<Self, Error> {
        let order = match known_order(&parameters)? {
            QueueOrder::Unspecified => QueueOrder::Fifo,
            order => order,
        };
        Ok(Self {
            items: Items::new(order),
            maxsize: parameters.maxsize.unwrap_or(0),
            phase: Phase::Open,
            deliveries: Deliveries::default(),
            taken: 0,
            getters: Waiters::default(),
            putters: Waiters::default(),
            joiners: Waiters::default(),
            pollers: Waiters::default(),
            item_bytes: 0,
        })
    }

    pub(crate) fn check_parameters(&self, asked: &QueueParameters) -> Result<(), Error> {
        let (there, order) = (self.items.order(), known_order(asked)?);
        if order != QueueOrder::Unspecified && order != there {
            return Err(differs("the order", order_name(there), order_name(order)));
        }
        match asked.maxsize {
            Some(maxsize) if maxsize != self.maxsize => {
                Err(differs("maxsize", self.maxsize, maxsize))
            }
            _ => Ok(()),
        }
    }

    /// Its numbers.
    pub(crate) fn status(&self) -> QueueStatus {
        QueueStatus {
            items: self.items.len(),
            leased: self.deliveries.leased(),
            unfinished: self.unfinished(),
            getters: self.getters.len(),
            putters: self.putters.len(),
        }
    }

    pub(crate) fn parameters(&self) -> QueueParameters {
        QueueParameters { order: self.items.order().into(), maxsize: Some(self.maxsize) }
    }

    /// All of them or none.
    fn put(&mut self, call: Call, items: Vec<QueueItem>, turn: &mut Turn<'_>) -> Applied {
        if self.phase != Phase::Open {
            return Err(shut_down());
        }
        if self.maxsize > 0 && items.len() as u64 > self.maxsize {
            return Err(never_fits(items.len(), self.maxsize));
        }
        let items = each(items, |item| Item::store(item, turn))?;
        self.items.check(&items)?;
        let fits = items.is_empty() || self.putters.is_empty() && self.has_room(items.len());
        if !fits && !call.may_wait {
            return Err(self.no_room(items.len()));
        }
        self.item_bytes += items.iter().map(Item::bytes).sum::<usize>();
        if fits {
            self.items.extend(items);
            self.settle(turn);
            Answer::done().into()
        } else {
            self.putters.push(call.id, items);
            Ok(Outcome::Parked)
        }
    }

    fn get(&mut self, call: Call, want: Want, turn: &mut Turn<'_>) -> Applied {
        if matches!(want, Want::Many(0)) {
            return Err(Error::new(Reason::InvalidArgument, "get_many of at most 0 items")
                .with_hint("ask for at least one"));
        }
        // Nobody can be in line while there are items.
        if !self.items.is_empty() {
            let answer = self.hand_over(call.id, want, turn);
            self.settle(turn);
            return answer.into();
        }
        if self.phase != Phase::Open {
            return Err(shut_down());
        }
        if !call.may_wait {
            return Answer::absent().into();
        }
        self.getters.push(call.id, want);
        Ok(Outcome::Parked)
    }

    fn peek(&self) -> Applied {
        match self.items.first() {
            None if self.phase != Phase::Open => Err(shut_down()),
            item => Answer::value_or_absent(item.map(Item::value)).into(),
        }
    }

    fn poll(&mut self, call: Call) -> Applied {
        if self.is_readable() || !call.may_wait {
            return Answer::flag(self.is_readable()).into();
        }
        self.pollers.push(call.id, ());
        Ok(Outcome::Parked)
    }

    /// Whether a get would not wait.
    fn is_readable(&self) -> bool {
        !self.items.is_empty() || self.phase != Phase::Open
    }

    fn done(&mut self, session: SessionId, ticket: u64, turn: &mut Turn<'_>) -> Applied {
        let handed =
            self.deliveries.end_lease(ticket, session).ok_or_else(|| not_leased(ticket))?;
        self.finish(&handed.items);
        self.settle(turn);
        Answer::done().into()
    }

    fn reject(&mut self, session: SessionId, ticket: u64, turn: &mut Turn<'_>) -> Applied {
        let handed =
            self.deliveries.end_lease(ticket, session).ok_or_else(|| not_leased(ticket))?;
        self.take_back(handed);
        self.settle(turn);
        Answer::done().into()
    }

    fn task_done(&mut self, count: u64, turn: &mut Turn<'_>) -> Applied {
        self.taken = self.taken.checked_sub(count).ok_or_else(|| too_many(count, self.taken))?;
        self.settle(turn);
        Answer::done().into()
    }

    fn join(&mut self, call: Call) -> Applied {
        if self.unfinished() == 0 || !call.may_wait {
            return Answer::flag(self.unfinished() == 0).into();
        }
        self.joiners.push(call.id, ());
        Ok(Outcome::Parked)
    }

    fn shutdown(&mut self, immediate: bool, turn: &mut Turn<'_>) -> Applied {
        self.phase = self.phase.max(if immediate { Phase::Discarding } else { Phase::Draining });
        if immediate {
            self.item_bytes -= self.items.drain().map(|item| item.bytes()).sum::<usize>();
        }
        self.refuse_all(shut_down, turn);
        self.settle(turn);
        Answer::done().into()
    }

    /// Lets everybody go on who can: puts for which there is room, getters for whom there is an
    /// item, pollers if one is left, and joiners once nothing is unfinished.
    fn settle(&mut self, turn: &mut Turn<'_>) {
        while self.admit_next(turn) || self.serve_next(turn) {}
        if self.is_readable() {
            for (call, ()) in self.pollers.drain() {
                turn.reply(call, Answer::flag(true));
            }
        }
        if self.unfinished() == 0 {
            for (call, ()) in self.joiners.drain() {
                turn.reply(call, Answer::flag(true));
            }
        }
    }

    fn admit_next(&mut self, turn: &mut Turn<'_>) -> bool {
        if !self.putters.front().is_some_and(|(_, items)| self.has_room(items.len())) {
            return false;
        }
        let Some((call, items)) = self.putters.pop_front() else { return false };
        // Others came in since it was parked.
        match self.items.check(&items) {
            Ok(()) => {
                self.items.extend(items);
                turn.reply(call, Answer::done());
            }
            Err(error) => {
                self.withdraw(&items);
                turn.refuse(call, error);
            }
        }
        true
    }

    fn serve_next(&mut self, turn: &mut Turn<'_>) -> bool {
        if self.items.is_empty() {
            return false;
        }
        let Some((call, want)) = self.getters.pop_front() else { return false };
        let answer = self.hand_over(call, want, turn);
        turn.reply(call, answer);
        true
    }

    /// Gives the caller what it wants of the items that are there; there must be one.
    fn hand_over(&mut self, call: CallId, want: Want, turn: &Turn<'_>) -> Answer {
        let items = self.take(want.max(), turn.limits().max_value_bytes);
        let pins = items.iter().flat_map(Taken::pins).collect();
        let answer = match (want, &items[..]) {
            (Want::One | Want::Lease, [taken]) => Answer::delivery(taken.to_wire(), pins),
            (_, items) => {
                let mut parts = Parts::default();
                let deliveries = items.iter().map(|taken| taken.to_wire_by(&mut parts));
                Answer::deliveries(deliveries.collect(), pins)
            }
        };
        let leased = matches!(want, Want::Lease);
        if !leased {
            self.taken += items.len() as u64;
        }
        self.deliveries.record(call, items, leased);
        answer
    }

    /// As many as a reply has room for, one at least.
    fn take(&mut self, max: u64, max_bytes: usize) -> Vec<Taken> {
        let (mut items, mut bytes) = (Vec::with_capacity(1), 0);
        while let Some(next) = self.items.first() {
            bytes += next.bytes();
            if !items.is_empty() && (items.len() as u64 >= max || bytes > max_bytes) {
                break;
            }
            items.extend(self.items.take());
        }
        items
    }

    /// Refuses everyone who waits to put or to get.
    fn refuse_all(&mut self, why: fn() -> Error, turn: &mut Turn<'_>) {
        for (call, items) in self.putters.drain() {
            self.withdraw(&items);
            turn.refuse(call, why());
        }
        for (call, _) in self.getters.drain() {
            turn.refuse(call, why());
        }
    }

    /// Items that were handed out return to their places, unless the queue discards them.
    fn take_back(&mut self, handed: Handed) {
        if !handed.leased {
            // A task_done may have come before the undo: what returns is unfinished again.
            self.taken = self.taken.saturating_sub(handed.items.len() as u64);
        }
        if self.phase == Phase::Discarding {
            return self.finish(&handed.items);
        }
        for taken in handed.items {
            self.items.put_back(taken);
        }
    }

    /// Items that were handed out will not return.
    fn finish(&mut self, items: &[Taken]) {
        for taken in items {
            self.items.forget(taken);
            self.item_bytes -= taken.bytes();
        }
    }

    /// A parked put will not take place.
    fn withdraw(&mut self, items: &[Item]) {
        self.item_bytes -= items.iter().map(Item::bytes).sum::<usize>();
    }

    fn has_room(&self, count: usize) -> bool {
        self.maxsize == 0 || (self.items.len() + count) as u64 <= self.maxsize
    }

    fn no_room(&self, count: usize) -> Error {
        full(count, self.items.len(), self.maxsize)
    }

    fn unfinished(&self) -> u64 {
        (self.items.len() + self.deliveries.leased()) as u64 + self.taken
    }
}

impl Machine for Queue {
    type Op = Op;

    fn apply(&mut self, call: Call, op: Op, turn: &mut Turn<'_>) -> Applied {
        let session = call.id.session;
        match op {
            Op::Put(item) => self.put(call, vec![item], turn),
            Op::PutMany(many) => self.put(call, many.items, turn),
            Op::Get(_) => self.get(call, Want::One, turn),
            Op::GetMany(max) => self.get(call, Want::Many(max), turn),
            Op::Lease(_) => self.get(call, Want::Lease, turn),
            Op::Done(ticket) => self.done(session, ticket, turn),
            Op::Reject(ticket) => self.reject(session, ticket, turn),
            Op::Peek(_) => self.peek(),
            Op::Poll(_) => self.poll(call),
            Op::Len(_) => Answer::number(self.items.len()).into(),
            Op::IsEmpty(_) => Answer::flag(self.items.is_empty()).into(),
            Op::IsFull(_) => Answer::flag(!self.has_room(1)).into(),
            Op::TaskDone(count) => self.task_done(count, turn),
            Op::Join(_) => self.join(call),
            Op::Shutdown(shutdown) => self.shutdown(shutdown.immediate, turn),
            Op::Maxsize(_) => {
                Answer::number(usize::try_from(self.maxsize).unwrap_or(usize::MAX)).into()
            }
        }
    }

    fn acknowledge(&mut self, call: CallId) {
        let items = self.deliveries.acknowledge(call);
        self.finish(&items);
    }

    fn cancel(&mut self, call: CallId, turn: &mut Turn<'_>) {
        if let Some(items) = self.putters.remove(call) {
            self.withdraw(&items);
        } else if let Some(handed) = self.deliveries.undo(call) {
            self.take_back(handed);
        } else if self.getters.remove(call).is_some()
            || self.joiners.remove(call).is_some()
            || self.pollers.remove(call).is_some()
        {
            return;
        }
        self.settle(turn);
    }

    fn expire(&mut self, call: CallId, turn: &mut Turn<'_>) {
        if self.getters.remove(call).is_some() {
            turn.reply(call, Answer::absent());
        } else if self.joiners.remove(call).is_some() || self.pollers.remove(call).is_some() {
            turn.reply(call, Answer::flag(false));
        } else if let Some(items) = self.putters.remove(call) {
            self.withdraw(&items);
            turn.refuse(call, self.no_room(items.len()));
            self.settle(turn);
        }
    }

    fn end_session(&mut self, session: SessionId, turn: &mut Turn<'_>) {
        // Its waiters first: none of them may get what it gives back.
        self.getters.remove_session(session);
        self.joiners.remove_session(session);
        self.pollers.remove_session(session);
        for (_, items) in self.putters.remove_session(session) {
            self.withdraw(&items);
        }
        for handed in self.deliveries.end_session(session) {
            self.take_back(handed);
        }
        self.settle(turn);
    }

    fn delete(&mut self, turn: &mut Turn<'_>) {
        self.refuse_all(deleted, turn);
        for (call, ()) in self.joiners.drain().chain(self.pollers.drain()) {
            turn.refuse(call, deleted());
        }
    }

    fn cost(&self, op: &Op) -> Cost {
        // The room that one makes lets in all that the next call in line has.
        let next = || self.putters.front().map_or(0, |(_, items)| times(items.len(), cost::STORE));
        match op {
            Op::Peek(_) | Op::Poll(_) | Op::Len(_) | Op::IsEmpty(_) | Op::IsFull(_) => 0,
            Op::Join(_) | Op::Maxsize(_) => 0,
            Op::Put(_) => times(self.pollers.len(), cost::ANSWER),
            Op::PutMany(many) => {
                let served = many.items.len().min(self.getters.len());
                let storing = times(many.items.len(), cost::STORE + cost::FIND);
                storing.saturating_add(times(served + self.pollers.len(), cost::ANSWER))
            }
            Op::Get(_) | Op::Lease(_) => next(),
            Op::GetMany(max) => {
                let count = usize::try_from(*max).unwrap_or(usize::MAX).min(self.items.len());
                times(count, cost::STORE + cost::FIND).saturating_add(next())
            }
            Op::Done(_) | Op::Reject(_) | Op::TaskDone(_) => {
                times(self.joiners.len(), cost::ANSWER).saturating_add(next())
            }
            Op::Shutdown(_) => times(self.items.len(), cost::DROP)
                .saturating_add(times(self.crowd(), cost::ANSWER)),
        }
    }

    fn cost_of_settling(&self, call: CallId) -> Cost {
        times(self.deliveries.items_of(call), cost::DROP + cost::FIND)
    }

    fn crowd(&self) -> usize {
        let waiting = self.getters.len() + self.putters.len() + self.joiners.len();
        waiting + self.pollers.len() + self.deliveries.items()
    }

    fn elements(&self) -> usize {
        self.items.len()
    }

    fn describe(&self, info: &mut ObjectInfo) {
        let (len, leased, unfinished) =
            (self.items.len(), self.deliveries.leased(), self.unfinished());
        info.len = len as u64;
        info.state = format!("{len} items, {leased} leased, {unfinished} unfinished");
        if self.phase != Phase::Open {
            info.state += ", shut down";
        }
        self.deliveries.describe(info);
        self.getters.describe(info, |want| want.name().into());
        self.putters.describe(info, |items| match items.len() {
            1 => "put".into(),
            count => format!("put {count} items"),
        });
        self.joiners.describe(info, |()| "join".into());
        self.pollers.describe(info, |()| "poll".into());
    }

    fn bytes(&self) -> usize {
        self.item_bytes
            + self.items.branches()
            + self.deliveries.bytes()
            + self.getters.bytes()
            + self.putters.bytes()
            + self.joiners.bytes()
            + self.pollers.bytes()
    }
}

impl Want {
    fn max(self) -> u64 {
        match self {
            Self::One | Self::Lease => 1,
            Self::Many(max) => max,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::One => "get",
            Self::Many(_) => "get_many",
            Self::Lease => "lease",
        }
    }
}

fn known_order(parameters: &QueueParameters) -> Result<QueueOrder, Error> {
    QueueOrder::try_from(parameters.order).map_err(|_| {
        let number = parameters.order;
        Error::new(Reason::Unsupported, format!("this server knows no queue order {number}"))
            .with_hint("the client is newer than the server: upgrade the server first")
    })
}

fn order_name(order: QueueOrder) -> &'static str {
    match order {
        QueueOrder::Unspecified => "unspecified",
        QueueOrder::Fifo => "FIFO",
        QueueOrder::Lifo => "LIFO",
        QueueOrder::Priority => "priority",
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use mp_manager_proto::{
        v1::{Delivery, Empty, QueuePutMany, QueueShutdown, Ref, Value, reply},
        value::{decode, encode},
    };

    use super::*;
    use crate::{
        stored::{Pin, Referent},
        turn::{Limits, Tokens, tests::with_turn},
    };

    /// What was said to a call, in short.
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
    pub(super) enum Said {
        Parked,
        Done,
        Absent,
        Flag(bool),
        Number(i64),
        Value(i64),
        /// (ticket, value, deliveries) of each item.
        Items(Vec<(u64, i64, u32)>),
        Refused(i32),
    }

    pub(super) fn refused(reason: Reason) -> Said {
        Said::Refused(reason.into())
    }

    fn number(value: Option<Value>) -> i64 {
        decode(&value.unwrap().data).unwrap()
    }

    fn said(answer: Result<Answer, Error>) -> Said {
        let item = |d: Delivery| (d.ticket, number(d.value), d.deliveries);
        match answer {
            Err(error) => Said::Refused(error.reason),
            Ok(Answer { result, ownership, .. }) => match (result, ownership) {
                (reply::Result::Done(_), false) => Said::Done,
                (reply::Result::Absent(_), false) => Said::Absent,
                (reply::Result::Flag(flag), false) => Said::Flag(flag),
                (reply::Result::Number(number), false) => Said::Number(number),
                (reply::Result::Value(value), false) => Said::Value(number(Some(value))),
                (reply::Result::Delivery(one), true) => Said::Items(vec![item(one)]),
                (reply::Result::Deliveries(many), true) => {
                    Said::Items(many.deliveries.into_iter().map(item).collect())
                }
                (other, _) => panic!("no answer of a queue: {other:?}"),
            },
        }
    }

    /// A queue and what it said to calls that were parked.
    pub(super) struct Bench {
        pub(super) queue: Queue,
        pub(super) heard: BTreeMap<CallId, Said>,
    }

    pub(super) fn queue(order: QueueOrder, maxsize: u64) -> Bench {
        let parameters = QueueParameters { order: order.into(), maxsize: Some(maxsize) };
        Bench { queue: Queue::new(parameters).unwrap(), heard: BTreeMap::new() }
    }

    fn fifo(maxsize: u64) -> Bench {
        queue(QueueOrder::Fifo, maxsize)
    }

    impl Bench {
        pub(super) fn turn<T>(&mut self, f: impl FnOnce(&mut Queue, &mut Turn<'_>) -> T) -> T {
            let (result, effects) = with_turn(&Tokens::after(0), |turn| f(&mut self.queue, turn));
            for (call, answer) in effects.replies {
                assert_eq!(self.heard.insert(call, said(answer)), None, "one answer to a call");
            }
            result
        }

        pub(super) fn call(&mut self, id: CallId, may_wait: bool, op: Op) -> Said {
            match self.turn(|queue, turn| queue.apply(Call { id, may_wait }, op, turn)) {
                Ok(Outcome::Parked) => Said::Parked,
                Ok(Outcome::Done(answer)) => said(Ok(answer)),
                Err(error) => said(Err(error)),
            }
        }

        /// A call that may wait.
        pub(super) fn wait(&mut self, id: CallId, op: Op) -> Said {
            self.call(id, true, op)
        }

        /// A call that may not, by somebody else.
        fn ask(&mut self, op: Op) -> Said {
            self.call(id(99, 1), false, op)
        }

        fn puts(&mut self, values: impl IntoIterator<Item = i64>) {
            for value in values {
                assert_eq!(self.ask(put(value)), Said::Done);
            }
        }

        /// Takes out and keeps the next item.
        fn take(&mut self) -> Said {
            let said = self.ask(get());
            self.queue.acknowledge(id(99, 1));
            said
        }

        pub(super) fn cancel(&mut self, call: CallId) {
            self.turn(|queue, turn| queue.cancel(call, turn));
        }

        pub(super) fn end(&mut self, session: SessionId) {
            self.turn(|queue, turn| queue.end_session(session, turn));
        }

        fn heard(&mut self, call: CallId) -> Option<Said> {
            self.heard.remove(&call)
        }
    }

    pub(super) fn id(session: u64, seq: u64) -> CallId {
        CallId { session, seq }
    }

    pub(super) fn encoded(data: Vec<u8>) -> Value {
        Value { data: data.into(), refs: Vec::new() }
    }

    pub(super) fn item(value: i64, priority: Option<Value>) -> QueueItem {
        QueueItem { value: Some(encoded(encode(&value).unwrap())), priority }
    }

    pub(super) fn put(value: i64) -> Op {
        Op::Put(item(value, None))
    }

    fn put_many(values: impl IntoIterator<Item = i64>) -> Op {
        let items = values.into_iter().map(|value| item(value, None)).collect();
        Op::PutMany(QueuePutMany { items })
    }

    fn put_with(value: i64, priority: Vec<u8>) -> Op {
        Op::Put(item(value, Some(encoded(priority))))
    }

    pub(super) fn get() -> Op {
        Op::Get(Empty {})
    }

    pub(super) fn lease() -> Op {
        Op::Lease(Empty {})
    }

    const POLL: Op = Op::Poll(Empty {});

    pub(super) fn join() -> Op {
        Op::Join(Empty {})
    }

    pub(super) fn shutdown(immediate: bool) -> Op {
        Op::Shutdown(QueueShutdown { immediate })
    }

    fn one(ticket: u64, value: i64, deliveries: u32) -> Said {
        Said::Items(vec![(ticket, value, deliveries)])
    }

    #[test]
    fn an_item_goes_to_the_getter_that_waited_longest() {
        let mut bench = fifo(0);
        assert_eq!(bench.wait(id(1, 1), get()), Said::Parked);
        assert_eq!(bench.wait(id(2, 1), Op::GetMany(9)), Said::Parked);
        bench.puts([7]);
        assert_eq!(bench.heard(id(1, 1)), Some(one(1, 7, 1)));
        assert_eq!(bench.ask(put_many([8, 9])), Said::Done);
        assert_eq!(bench.heard(id(2, 1)), Some(Said::Items(vec![(2, 8, 1), (3, 9, 1)])));
        assert_eq!(bench.ask(get()), Said::Absent);
    }

    #[test]
    fn an_item_whose_taker_died_goes_to_a_live_one_in_its_place() {
        let mut bench = fifo(0);
        bench.puts([1, 2, 3]);
        assert_eq!(bench.wait(id(1, 1), get()), one(1, 1, 1));
        assert_eq!(bench.wait(id(1, 2), lease()), one(2, 2, 1));
        bench.queue.acknowledge(id(1, 2));
        bench.end(1);
        assert_eq!(bench.take(), one(1, 1, 2));
        assert_eq!(bench.take(), one(2, 2, 2));
        assert_eq!(bench.take(), one(3, 3, 1));
    }

    #[test]
    fn what_a_dead_session_gives_back_does_not_go_to_its_own_waiters() {
        let mut bench = fifo(1);
        bench.puts([1]);
        assert_eq!(bench.wait(id(1, 1), lease()), one(1, 1, 1));
        assert_eq!(bench.wait(id(1, 2), get()), Said::Parked);
        assert_eq!(bench.wait(id(2, 1), get()), Said::Parked);
        bench.end(1);
        assert_eq!(bench.heard(id(2, 1)), Some(one(1, 1, 2)));
        assert_eq!(bench.heard.len(), 0);
    }

    #[test]
    fn cancelling_undoes_a_get_until_it_is_acknowledged() {
        let mut bench = fifo(0);
        bench.puts([1, 2, 3]);
        let all = Said::Items(vec![(1, 1, 1), (2, 2, 1), (3, 3, 1)]);
        assert_eq!(bench.wait(id(1, 1), Op::GetMany(5)), all);
        bench.cancel(id(1, 1));
        assert_eq!(bench.wait(id(1, 2), Op::GetMany(2)), Said::Items(vec![(1, 1, 2), (2, 2, 2)]));
        bench.queue.acknowledge(id(1, 2));
        bench.cancel(id(1, 2));
        assert_eq!(bench.take(), one(3, 3, 2));
        assert_eq!(bench.ask(get()), Said::Absent);
    }

    #[test]
    fn a_cancelled_lease_comes_back_only_if_it_was_not_acknowledged() {
        let mut bench = fifo(0);
        bench.puts([1]);
        assert_eq!(bench.wait(id(1, 1), lease()), one(1, 1, 1));
        bench.cancel(id(1, 1));
        assert_eq!(bench.wait(id(1, 2), lease()), one(1, 1, 2));
        bench.queue.acknowledge(id(1, 2));
        bench.cancel(id(1, 2));
        assert_eq!(bench.ask(get()), Said::Absent);
        assert_eq!(bench.wait(id(1, 3), Op::Done(1)), Said::Done);
    }

    #[test]
    fn only_the_holder_finishes_or_rejects_a_lease_and_only_once() {
        let mut bench = fifo(0);
        bench.puts([1, 2]);
        assert_eq!(bench.wait(id(1, 1), lease()), one(1, 1, 1));
        assert_eq!(bench.wait(id(2, 1), Op::Done(1)), refused(Reason::NotLeased));
        assert_eq!(bench.wait(id(2, 2), Op::Reject(1)), refused(Reason::NotLeased));
        assert_eq!(bench.wait(id(1, 2), Op::Reject(1)), Said::Done);
        assert_eq!(bench.wait(id(1, 3), Op::Reject(1)), refused(Reason::NotLeased));
        assert_eq!(bench.wait(id(1, 4), lease()), one(1, 1, 2));
        // Nothing is left to take back once it is done, although it was never acknowledged.
        assert_eq!(bench.wait(id(1, 5), Op::Done(1)), Said::Done);
        bench.cancel(id(1, 4));
        bench.end(1);
        assert_eq!(bench.take(), one(2, 2, 1));
        // A plain get is no lease.
        assert_eq!(bench.ask(Op::Done(2)), refused(Reason::NotLeased));
    }

    #[test]
    fn a_full_queue_lets_putters_in_as_they_came() {
        let mut bench = fifo(2);
        bench.puts([1, 2]);
        assert_eq!(bench.ask(Op::IsFull(Empty {})), Said::Flag(true));
        assert_eq!(bench.ask(put(3)), refused(Reason::Full));
        assert_eq!(bench.wait(id(1, 1), put_many([3, 4])), Said::Parked);
        assert_eq!(bench.wait(id(2, 1), put(5)), Said::Parked);
        bench.take();
        // There is room for one, but two came first.
        assert_eq!(bench.ask(put(6)), refused(Reason::Full));
        assert!(bench.heard.is_empty());
        bench.take();
        assert_eq!(bench.heard(id(1, 1)), Some(Said::Done));
        assert_eq!(bench.take(), one(3, 3, 1));
        assert_eq!(bench.heard(id(2, 1)), Some(Said::Done));
        assert_eq!(bench.take(), one(4, 4, 1));
        assert_eq!(bench.take(), one(5, 5, 1));
    }

    #[test]
    fn when_a_large_put_leaves_the_line_the_next_go_in() {
        type Leave = fn(&mut Bench);
        let leaves: [(Leave, Option<Said>); 3] = [
            (|bench| bench.cancel(id(1, 1)), None),
            (|bench| bench.end(1), None),
            (
                |bench| bench.turn(|queue, turn| queue.expire(id(1, 1), turn)),
                Some(refused(Reason::Full)),
            ),
        ];
        for (leave, heard) in leaves {
            let mut bench = fifo(2);
            bench.puts([1]);
            let bytes = bench.queue.bytes();
            assert_eq!(bench.wait(id(1, 1), put_many([2, 3])), Said::Parked);
            assert_eq!(bench.wait(id(2, 1), put(4)), Said::Parked);
            leave(&mut bench);
            assert_eq!(bench.heard(id(1, 1)), heard);
            assert_eq!(bench.heard(id(2, 1)), Some(Said::Done));
            bench.take();
            assert_eq!(bench.take(), one(2, 4, 1));
            bench.puts([5]);
            assert_eq!(bench.queue.bytes(), bytes);
        }
    }

    #[test]
    fn what_can_never_fit_is_refused_at_once() {
        let mut bench = fifo(2);
        assert_eq!(bench.wait(id(1, 1), put_many([1, 2, 3])), refused(Reason::InvalidArgument));
        assert_eq!(bench.wait(id(1, 2), Op::GetMany(0)), refused(Reason::InvalidArgument));
        bench.puts([1, 2]);
        assert_eq!(bench.ask(put_many([])), Said::Done);
    }

    #[test]
    fn returning_items_may_exceed_maxsize() {
        let mut bench = fifo(1);
        bench.puts([1]);
        assert_eq!(bench.wait(id(1, 1), get()), one(1, 1, 1));
        bench.puts([2]);
        assert_eq!(bench.wait(id(2, 1), put(3)), Said::Parked);
        bench.cancel(id(1, 1));
        assert_eq!(bench.ask(Op::Len(Empty {})), Said::Number(2));
        assert_eq!(bench.take(), one(1, 1, 2));
        assert_eq!(bench.heard(id(2, 1)), None);
        assert_eq!(bench.take(), one(2, 2, 1));
        assert_eq!(bench.heard(id(2, 1)), Some(Said::Done));
    }

    #[test]
    fn the_last_in_comes_out_first() {
        let mut bench = queue(QueueOrder::Lifo, 0);
        bench.puts([1, 2, 3]);
        assert_eq!(bench.wait(id(1, 1), get()), one(3, 3, 1));
        bench.puts([4]);
        bench.cancel(id(1, 1));
        assert_eq!(bench.ask(Op::Peek(Empty {})), Said::Value(4));
        assert_eq!(bench.take(), one(4, 4, 1));
        assert_eq!(bench.take(), one(3, 3, 2));
        assert_eq!(bench.take(), one(2, 2, 1));
    }

    #[test]
    fn priorities_order_by_key_then_ticket_and_default_to_the_value() {
        let mut bench = queue(QueueOrder::Priority, 0);
        bench.puts([5]);
        assert_eq!(bench.ask(put_with(70, encode(&1.5).unwrap())), Said::Done);
        assert_eq!(bench.ask(put_with(60, encode(&1.5).unwrap())), Said::Done);
        bench.puts([1]);
        let values: Vec<_> = (0..4).map(|_| bench.take()).collect();
        assert_eq!(values, [one(4, 1, 1), one(2, 70, 1), one(3, 60, 1), one(1, 5, 1)]);
    }

    #[test]
    fn a_priority_without_an_order_is_refused_and_changes_nothing() {
        let mut bench = queue(QueueOrder::Priority, 0);
        let text = || encode("urgent").unwrap();
        assert_eq!(
            bench.ask(put_with(1, encode(&f64::NAN).unwrap())),
            refused(Reason::TypeMismatch)
        );
        assert_eq!(bench.ask(put_with(1, encode(&()).unwrap())), refused(Reason::TypeMismatch));
        bench.puts([1]);
        let bytes = bench.queue.bytes();
        assert_eq!(bench.ask(put_with(2, text())), refused(Reason::TypeMismatch));
        let items = vec![item(2, None), item(3, Some(encoded(text())))];
        let many = Op::PutMany(QueuePutMany { items });
        assert_eq!(bench.ask(many), refused(Reason::TypeMismatch));
        assert_eq!(bench.queue.bytes(), bytes);
        // An item on lease may come back: it still counts.
        assert_eq!(bench.wait(id(1, 1), lease()), one(1, 1, 1));
        assert_eq!(bench.ask(put_with(2, text())), refused(Reason::TypeMismatch));
        assert_eq!(bench.wait(id(1, 2), Op::Done(1)), Said::Done);
        assert_eq!(bench.ask(put_with(2, text())), Said::Done);
    }

    #[test]
    fn a_parked_put_is_refused_if_it_lost_its_order_meanwhile() {
        let mut bench = queue(QueueOrder::Priority, 1);
        let pair = |second: Vec<u8>| [&[0x92, 1][..], &second].concat();
        assert_eq!(bench.ask(put_with(1, encode(&(0, 0)).unwrap())), Said::Done);
        assert_eq!(bench.wait(id(1, 1), put_with(2, pair(encode(&1).unwrap()))), Said::Parked);
        assert_eq!(bench.wait(id(2, 1), put_with(3, pair(encode("x").unwrap()))), Said::Parked);
        bench.take();
        assert_eq!(bench.heard(id(1, 1)), Some(Said::Done));
        assert_eq!(bench.wait(id(3, 1), lease()), one(2, 2, 1));
        assert_eq!(bench.heard(id(2, 1)), Some(refused(Reason::TypeMismatch)));
    }

    #[test]
    fn poll_waits_until_a_get_would_not() {
        let mut bench = fifo(0);
        assert_eq!(bench.ask(POLL), Said::Flag(false));
        assert_eq!(bench.wait(id(1, 1), POLL), Said::Parked);
        assert_eq!(bench.wait(id(1, 2), POLL), Said::Parked);
        assert_eq!(bench.wait(id(1, 3), POLL), Said::Parked);
        // A getter that waits takes it: nothing is left for the pollers.
        assert_eq!(bench.wait(id(2, 1), lease()), Said::Parked);
        bench.puts([1]);
        assert_eq!(bench.heard(id(1, 1)), None);
        bench.turn(|queue, turn| queue.expire(id(1, 2), turn));
        assert_eq!(bench.heard(id(1, 2)), Some(Said::Flag(false)));
        bench.cancel(id(1, 3));
        // What comes back is there to be taken.
        bench.end(2);
        assert_eq!(bench.heard(id(1, 1)), Some(Said::Flag(true)));
        assert_eq!(bench.heard(id(1, 3)), None);
        assert_eq!(bench.ask(POLL), Said::Flag(true));
        assert_eq!(bench.take(), one(1, 1, 2));
    }

    #[test]
    fn pollers_hear_of_a_shutdown_and_of_deletion() {
        let mut bench = fifo(0);
        assert_eq!(bench.wait(id(1, 1), POLL), Said::Parked);
        bench.turn(|queue, turn| queue.shutdown(false, turn).map(drop).unwrap());
        assert_eq!(bench.heard(id(1, 1)), Some(Said::Flag(true)));
        let mut bench = fifo(0);
        assert_eq!(bench.wait(id(1, 1), POLL), Said::Parked);
        assert_eq!(bench.wait(id(2, 1), POLL), Said::Parked);
        bench.end(2);
        bench.turn(|queue, turn| queue.delete(turn));
        assert_eq!(bench.heard(id(1, 1)), Some(refused(Reason::ObjectDeleted)));
        assert_eq!(bench.heard(id(2, 1)), None);
    }

    #[test]
    fn join_waits_until_everything_is_finished() {
        let mut bench = fifo(0);
        assert_eq!(bench.ask(join()), Said::Flag(true));
        bench.puts([1, 2]);
        assert_eq!(bench.ask(join()), Said::Flag(false));
        assert_eq!(bench.wait(id(1, 1), join()), Said::Parked);
        assert_eq!(bench.wait(id(1, 2), join()), Said::Parked);
        bench.turn(|queue, turn| queue.expire(id(1, 2), turn));
        assert_eq!(bench.heard(id(1, 2)), Some(Said::Flag(false)));
        bench.take();
        assert_eq!(bench.wait(id(2, 1), lease()), one(2, 2, 1));
        assert_eq!(bench.ask(Op::TaskDone(1)), Said::Done);
        assert!(bench.heard.is_empty());
        assert_eq!(bench.wait(id(2, 2), Op::Done(2)), Said::Done);
        assert_eq!(bench.heard(id(1, 1)), Some(Said::Flag(true)));
    }

    #[test]
    fn task_done_counts_plain_gets_only() {
        let mut bench = fifo(0);
        bench.puts([1, 2]);
        assert_eq!(bench.ask(Op::TaskDone(1)), refused(Reason::BoundExceeded));
        bench.take();
        assert_eq!(bench.wait(id(1, 1), lease()), one(2, 2, 1));
        assert_eq!(bench.ask(Op::TaskDone(2)), refused(Reason::BoundExceeded));
        assert_eq!(bench.ask(Op::TaskDone(1)), Said::Done);
        assert_eq!(bench.ask(Op::TaskDone(1)), refused(Reason::BoundExceeded));
    }

    #[test]
    fn what_returns_is_unfinished_even_if_its_task_was_called_done() {
        let mut bench = fifo(0);
        bench.puts([1]);
        assert_eq!(bench.wait(id(1, 1), get()), one(1, 1, 1));
        assert_eq!(bench.wait(id(2, 1), Op::TaskDone(1)), Said::Done);
        bench.cancel(id(1, 1));
        assert_eq!(bench.take(), one(1, 1, 2));
        assert_eq!(bench.ask(join()), Said::Flag(false));
        assert_eq!(bench.ask(Op::TaskDone(1)), Said::Done);
        assert_eq!(bench.ask(join()), Said::Flag(true));
    }

    #[test]
    fn an_item_its_taker_acknowledged_stays_unfinished_when_it_dies() {
        let mut bench = fifo(0);
        bench.puts([1]);
        assert_eq!(bench.wait(id(1, 1), get()), one(1, 1, 1));
        bench.queue.acknowledge(id(1, 1));
        bench.end(1);
        assert_eq!(bench.ask(get()), Said::Absent);
        assert_eq!(bench.ask(join()), Said::Flag(false));
    }

    #[test]
    fn a_shut_down_queue_can_be_drained() {
        let mut bench = fifo(2);
        bench.puts([1, 2]);
        assert_eq!(bench.wait(id(1, 1), lease()), one(1, 1, 1));
        bench.puts([3]);
        assert_eq!(bench.wait(id(2, 1), put(4)), Said::Parked);
        assert_eq!(bench.ask(shutdown(false)), Said::Done);
        assert_eq!(bench.heard(id(2, 1)), Some(refused(Reason::ShutDown)));
        assert_eq!(bench.wait(id(2, 2), put(4)), refused(Reason::ShutDown));
        assert_eq!(bench.take(), one(2, 2, 1));
        assert_eq!(bench.take(), one(3, 3, 1));
        assert_eq!(bench.wait(id(2, 3), get()), refused(Reason::ShutDown));
        assert_eq!(bench.ask(Op::Peek(Empty {})), refused(Reason::ShutDown));
        // What comes back later may still be taken.
        bench.end(1);
        assert_eq!(bench.ask(shutdown(false)), Said::Done);
        assert_eq!(bench.take(), one(1, 1, 2));
    }

    #[test]
    fn an_immediate_shutdown_discards_and_counts_as_done() {
        let mut bench = fifo(0);
        let empty = bench.queue.bytes();
        bench.puts([1, 2, 3, 4]);
        assert_eq!(bench.wait(id(1, 1), lease()), one(1, 1, 1));
        assert_eq!(bench.wait(id(1, 2), get()), one(2, 2, 1));
        assert_eq!(bench.ask(shutdown(false)), Said::Done);
        assert_eq!(bench.ask(shutdown(true)), Said::Done);
        assert_eq!(bench.ask(shutdown(false)), Said::Done);
        assert_eq!(bench.ask(get()), refused(Reason::ShutDown));
        assert_eq!(bench.wait(id(2, 1), join()), Said::Parked);
        assert_eq!(bench.wait(id(1, 3), Op::Reject(1)), Said::Done);
        assert_eq!(bench.heard(id(2, 1)), None);
        bench.cancel(id(1, 2));
        assert_eq!(bench.heard(id(2, 1)), Some(Said::Flag(true)));
        assert_eq!(bench.ask(get()), refused(Reason::ShutDown));
        assert_eq!(bench.queue.bytes(), empty);
    }

    #[test]
    fn waiting_getters_hear_of_a_shutdown_and_of_deletion() {
        for (shut, reason) in [(true, Reason::ShutDown), (false, Reason::ObjectDeleted)] {
            let mut bench = fifo(0);
            assert_eq!(bench.wait(id(1, 1), get()), Said::Parked);
            assert_eq!(bench.wait(id(1, 2), lease()), Said::Parked);
            bench.turn(|queue, turn| {
                if shut {
                    queue.shutdown(false, turn).map(drop).unwrap();
                } else {
                    queue.delete(turn);
                }
            });
            assert_eq!(bench.heard(id(1, 1)), Some(refused(reason)));
            assert_eq!(bench.heard(id(1, 2)), Some(refused(reason)));
        }
    }

    #[test]
    fn deleting_refuses_those_who_put_or_join() {
        let mut bench = fifo(1);
        bench.puts([1]);
        assert_eq!(bench.wait(id(1, 1), put(2)), Said::Parked);
        assert_eq!(bench.wait(id(1, 2), join()), Said::Parked);
        bench.turn(|queue, turn| queue.delete(turn));
        assert_eq!(bench.heard(id(1, 1)), Some(refused(Reason::ObjectDeleted)));
        assert_eq!(bench.heard(id(1, 2)), Some(refused(Reason::ObjectDeleted)));
    }

    #[test]
    fn get_many_ends_where_the_items_are_as_long_as_the_longest_value() {
        let mut bench = fifo(0);
        for _ in 0..3 {
            let value = Some(encoded(vec![0; 6 << 20]));
            assert_eq!(bench.ask(Op::Put(QueueItem { value, priority: None })), Said::Done);
        }
        let id = id(1, 1);
        let call = Call { id, may_wait: true };
        let answer = bench.turn(|queue, turn| queue.apply(call, Op::GetMany(3), turn));
        let Ok(Outcome::Done(answer)) = answer else { panic!("{answer:?}") };
        let reply::Result::Deliveries(got) = answer.result else { panic!("deliveries") };
        assert_eq!(got.deliveries.len(), 2);
    }

    #[derive(Debug)]
    struct Anchor;

    impl Referent for Anchor {
        fn reference(&self) -> Ref {
            Ref::default()
        }
    }

    #[test]
    fn what_an_item_refers_to_lives_as_long_as_it_may_come_back() {
        let anchor: Pin = Arc::new(Anchor);
        let (limits, tokens, find) =
            (Limits::default(), Tokens::after(0), |_: &Ref| Some(anchor.clone()));
        let mut turn = Turn::new(&limits, &tokens, &find);
        let Bench { mut queue, .. } = fifo(0);
        let value = Some(Value { data: vec![0].into(), refs: vec![Ref::default()] });
        let call = |seq| Call { id: id(1, seq), may_wait: false };
        queue.apply(call(1), Op::Put(QueueItem { value, priority: None }), &mut turn).unwrap();
        let Ok(Outcome::Done(answer)) = queue.apply(call(2), get(), &mut turn) else {
            panic!("there is an item")
        };
        // The test's own, the reply's, and the queue's until it is acknowledged.
        assert_eq!((answer.pins.len(), Arc::strong_count(&anchor)), (1, 3));
        queue.acknowledge(id(1, 2));
        assert_eq!(Arc::strong_count(&anchor), 2);
    }

    #[test]
    fn opening_with_other_parameters_is_refused() {
        let Bench { queue, .. } = queue(QueueOrder::Lifo, 3);
        let check = |order: QueueOrder, maxsize| {
            queue.check_parameters(&QueueParameters { order: order.into(), maxsize })
        };
        assert_eq!(check(QueueOrder::Unspecified, None), Ok(()));
        assert_eq!(check(QueueOrder::Lifo, Some(3)), Ok(()));
        let differs = |checked: Result<(), Error>| checked.unwrap_err().reason();
        assert_eq!(differs(check(QueueOrder::Fifo, None)), Reason::ParametersDiffer);
        assert_eq!(differs(check(QueueOrder::Lifo, Some(0))), Reason::ParametersDiffer);
        let unknown = QueueParameters { order: 77, maxsize: None };
        assert_eq!(Queue::new(unknown).unwrap_err().reason(), Reason::Unsupported);
    }

    #[test]
    fn the_description_says_who_has_what_and_who_waits() {
        let mut bench = fifo(1);
        bench.puts([1]);
        assert_eq!(bench.wait(id(1, 1), lease()), one(1, 1, 1));
        bench.puts([2]);
        assert_eq!(bench.wait(id(2, 1), put(3)), Said::Parked);
        assert_eq!(bench.wait(id(3, 1), join()), Said::Parked);
        let mut info = ObjectInfo::default();
        bench.queue.describe(&mut info);
        assert_eq!((info.len, &info.state[..]), (1, "1 items, 1 leased, 2 unfinished"));
        let holders: Vec<_> = info.holders.iter().map(|h| (h.session, &h.what[..])).collect();
        assert_eq!(holders, [(1, "item 1")]);
        let waiters: Vec<_> = info.waiters.iter().map(|w| (w.session, &w.what[..])).collect();
        assert_eq!(waiters, [(2, "put"), (3, "join")]);
    }
}
