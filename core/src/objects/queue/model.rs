//! A queue made of plain vectors, and random steps that both must take alike.

use std::collections::BTreeMap;

use mp_manager_proto::{
    v1::{QueueOrder, QueuePutMany},
    value::encode,
};
use proptest::prelude::*;

use super::{
    Phase, Want,
    tests::{Bench, Said, encoded, get, id, item, join, lease, queue, refused, shutdown},
    *,
};

#[derive(Debug, Clone)]
struct Thing {
    value: i64,
    priority: i64,
    ticket: u64,
    deliveries: u32,
}

#[derive(Debug)]
struct Out {
    call: CallId,
    leased: bool,
    acknowledged: bool,
    things: Vec<Thing>,
}

#[derive(Debug)]
struct Model {
    order: QueueOrder,
    maxsize: usize,
    phase: Phase,
    waiting: Vec<Thing>,
    out: Vec<Out>,
    puts: Vec<(CallId, Vec<Thing>)>,
    gets: Vec<(CallId, Want)>,
    joins: Vec<CallId>,
    last_ticket: u64,
    unfinished: usize,
    /// Acknowledged plain gets without their task_done.
    taken: usize,
    said: BTreeMap<CallId, Said>,
}

impl Model {
    fn new(order: QueueOrder, maxsize: usize) -> Self {
        Self {
            order,
            maxsize,
            phase: Phase::Open,
            waiting: Vec::new(),
            out: Vec::new(),
            puts: Vec::new(),
            gets: Vec::new(),
            joins: Vec::new(),
            last_ticket: 0,
            unfinished: 0,
            taken: 0,
            said: BTreeMap::new(),
        }
    }

    fn say(&mut self, call: CallId, said: Said) {
        self.said.insert(call, said);
    }

    fn fits(&self, count: usize) -> bool {
        self.maxsize == 0 || self.waiting.len() + count <= self.maxsize
    }

    fn accept(&mut self, things: Vec<Thing>) {
        for mut thing in things {
            self.last_ticket += 1;
            self.unfinished += 1;
            thing.ticket = self.last_ticket;
            self.waiting.push(thing);
        }
    }

    /// Removes the next in order.
    fn next(&mut self) -> Option<Thing> {
        let places = 0..self.waiting.len();
        let ticket = |at: &usize| self.waiting[*at].ticket;
        let at = match self.order {
            QueueOrder::Lifo => places.max_by_key(ticket),
            QueueOrder::Priority => {
                places.min_by_key(|at| (self.waiting[*at].priority, ticket(at)))
            }
            _ => places.min_by_key(ticket),
        }?;
        Some(self.waiting.remove(at))
    }

    fn put(&mut self, call: Call, things: Vec<Thing>) {
        let full = !self.puts.is_empty() || !self.fits(things.len());
        if self.phase != Phase::Open {
            self.say(call.id, refused(Reason::ShutDown));
        } else if self.maxsize > 0 && things.len() > self.maxsize {
            self.say(call.id, refused(Reason::InvalidArgument));
        } else if full && !call.may_wait {
            self.say(call.id, refused(Reason::Full));
        } else if full {
            self.puts.push((call.id, things));
            self.say(call.id, Said::Parked);
        } else {
            self.accept(things);
            self.say(call.id, Said::Done);
        }
    }

    fn get(&mut self, call: Call, want: Want) {
        if !self.waiting.is_empty() {
            self.hand_over(call.id, want);
        } else if self.phase != Phase::Open {
            self.say(call.id, refused(Reason::ShutDown));
        } else if !call.may_wait {
            self.say(call.id, Said::Absent);
        } else {
            self.gets.push((call.id, want));
            self.say(call.id, Said::Parked);
        }
    }

    fn hand_over(&mut self, call: CallId, want: Want) {
        let mut things = Vec::new();
        while (things.len() as u64) < want.max() {
            let Some(mut thing) = self.next() else { break };
            thing.deliveries += 1;
            things.push(thing);
        }
        let items = things.iter().map(|t| (t.ticket, t.value, t.deliveries)).collect();
        self.say(call, Said::Items(items));
        let leased = matches!(want, Want::Lease);
        self.out.push(Out { call, leased, acknowledged: false, things });
    }

    fn give_back(&mut self, things: Vec<Thing>) {
        if self.phase == Phase::Discarding {
            self.unfinished -= things.len();
        } else {
            self.waiting.extend(things);
        }
    }

    /// Takes back the deliveries that `which` picks.
    fn undo(&mut self, which: impl Fn(&Out) -> bool) {
        let (back, stay) = std::mem::take(&mut self.out).into_iter().partition(which);
        self.out = stay;
        let back: Vec<Out> = back;
        back.into_iter().for_each(|out| self.give_back(out.things));
    }

    fn acknowledge(&mut self, call: CallId) {
        for out in self.out.iter_mut().filter(|out| out.call == call) {
            out.acknowledged = true;
        }
        let gone = |out: &Out| out.call == call && !out.leased;
        self.taken += self.out.iter().filter(|out| gone(out)).flat_map(|o| &o.things).count();
        self.out.retain(|out| !gone(out));
    }

    fn leave(&mut self, which: impl Fn(CallId) -> bool) -> Vec<(CallId, Said)> {
        let puts = self.puts.extract_if(.., |(call, _)| which(*call));
        let mut left: Vec<_> = puts.map(|(call, _)| (call, refused(Reason::Full))).collect();
        let gets = self.gets.extract_if(.., |(call, _)| which(*call));
        left.extend(gets.map(|(call, _)| (call, Said::Absent)));
        let joins = self.joins.extract_if(.., |call| which(*call));
        left.extend(joins.map(|call| (call, Said::Flag(false))));
        left
    }

    fn shutdown(&mut self, immediate: bool) {
        self.phase = self.phase.max(if immediate { Phase::Discarding } else { Phase::Draining });
        if immediate {
            self.unfinished -= self.waiting.len();
            self.waiting.clear();
        }
        let puts = std::mem::take(&mut self.puts).into_iter().map(|(call, _)| call);
        let gets = std::mem::take(&mut self.gets).into_iter().map(|(call, _)| call);
        for call in puts.chain(gets) {
            self.said.insert(call, refused(Reason::ShutDown));
        }
    }

    fn settle(&mut self) {
        loop {
            if !self.puts.is_empty() && self.fits(self.puts[0].1.len()) {
                let (call, things) = self.puts.remove(0);
                self.accept(things);
                self.say(call, Said::Done);
            } else if !self.gets.is_empty() && !self.waiting.is_empty() {
                let (call, want) = self.gets.remove(0);
                self.hand_over(call, want);
            } else {
                break;
            }
        }
        if self.unfinished == 0 {
            for call in std::mem::take(&mut self.joins) {
                self.say(call, Said::Flag(true));
            }
        }
    }

    /// Every call about which something is undecided.
    fn open(&self) -> Vec<CallId> {
        let parked = self.puts.iter().map(|put| put.0).chain(self.gets.iter().map(|get| get.0));
        let out = self.out.iter().map(|out| out.call);
        parked.chain(self.joins.iter().copied()).chain(out).collect()
    }

    fn leases(&self) -> Vec<(CallId, u64)> {
        let leases = self.out.iter().filter(|out| out.leased);
        leases.map(|out| (out.call, out.things[0].ticket)).collect()
    }
}

#[derive(Debug, Clone)]
enum Step {
    Put(u64, Vec<i64>, bool),
    Get(u64, bool),
    GetMany(u64, u64, bool),
    Lease(u64, bool),
    Join(u64, bool),
    Done(usize),
    Reject(usize),
    Acknowledge(usize),
    Cancel(usize),
    Expire(usize),
    TaskDone(usize),
    End(u64),
    Shutdown(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let (session, at) = (0..4_u64, 0..64_usize);
    let call = (session.clone(), any::<bool>());
    prop_oneof![
        16 => (session.clone(), prop::collection::vec(0..3_i64, 1..4), any::<bool>())
            .prop_map(|(session, priorities, wait)| Step::Put(session, priorities, wait)),
        8 => call.clone().prop_map(|(session, wait)| Step::Get(session, wait)),
        4 => (session.clone(), 1..4_u64, any::<bool>())
            .prop_map(|(session, max, wait)| Step::GetMany(session, max, wait)),
        6 => call.clone().prop_map(|(session, wait)| Step::Lease(session, wait)),
        2 => call.prop_map(|(session, wait)| Step::Join(session, wait)),
        4 => at.clone().prop_map(Step::Done),
        3 => at.clone().prop_map(Step::Reject),
        8 => at.clone().prop_map(Step::Acknowledge),
        5 => at.clone().prop_map(Step::Cancel),
        4 => at.clone().prop_map(Step::Expire),
        4 => at.prop_map(Step::TaskDone),
        1 => session.prop_map(Step::End),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let shutdown = prop::option::weighted(0.3, any::<bool>().prop_map(Step::Shutdown));
    let some = || prop::collection::vec(step(), 0..150);
    (some(), shutdown, some())
        .prop_map(|(before, shutdown, after)| [before, Vec::from_iter(shutdown), after].concat())
}

/// The real one and the model, side by side.
struct Both {
    bench: Bench,
    model: Model,
    seq: u64,
    values: i64,
    said: BTreeMap<CallId, Said>,
}

impl Both {
    /// A new call to the real one; what it says is noted.
    fn call(&mut self, session: u64, may_wait: bool, op: Op) -> Call {
        self.seq += 1;
        let call = Call { id: id(session, self.seq), may_wait };
        let said = self.bench.call(call.id, may_wait, op);
        self.said.insert(call.id, said);
        call
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Put(session, priorities, may_wait) => self.put(session, &priorities, may_wait),
            Step::Get(session, may_wait) => {
                let call = self.call(session, may_wait, get());
                self.model.get(call, Want::One);
            }
            Step::GetMany(session, max, may_wait) => {
                let call = self.call(session, may_wait, Op::GetMany(max));
                self.model.get(call, Want::Many(max));
            }
            Step::Lease(session, may_wait) => {
                let call = self.call(session, may_wait, lease());
                self.model.get(call, Want::Lease);
            }
            Step::Join(session, may_wait) => self.join(session, may_wait),
            Step::Done(at) => self.end_lease(at, true),
            Step::Reject(at) => self.end_lease(at, false),
            Step::Acknowledge(at) => {
                if let Some(call) = pick(self.model.open(), at) {
                    self.bench.queue.acknowledge(call);
                    self.model.acknowledge(call);
                }
            }
            Step::Cancel(at) => {
                if let Some(call) = pick(self.model.open(), at) {
                    self.bench.cancel(call);
                    self.model.leave(|other| other == call);
                    self.model.undo(|out| out.call == call && !out.acknowledged);
                }
            }
            Step::Expire(at) => {
                if let Some(call) = pick(self.model.open(), at) {
                    self.bench.turn(|queue, turn| queue.expire(call, turn));
                    let left = self.model.leave(|other| other == call);
                    self.model.said.extend(left);
                }
            }
            Step::TaskDone(count) => {
                let count = count % (self.model.taken + 1);
                let call = self.call(9, false, Op::TaskDone(count as u64));
                self.model.taken -= count;
                self.model.unfinished -= count;
                self.model.say(call.id, Said::Done);
            }
            Step::End(session) => {
                self.bench.end(session);
                self.model.leave(|call| call.session == session);
                self.model.undo(|out| out.call.session == session);
            }
            Step::Shutdown(immediate) => {
                let call = self.call(9, false, shutdown(immediate));
                self.model.shutdown(immediate);
                self.model.say(call.id, Said::Done);
            }
        }
        self.model.settle();
        self.said.append(&mut self.bench.heard);
    }

    fn put(&mut self, session: u64, priorities: &[i64], may_wait: bool) {
        let things: Vec<Thing> = priorities
            .iter()
            .map(|&priority| {
                self.values += 1;
                Thing { value: self.values, priority, ticket: 0, deliveries: 0 }
            })
            .collect();
        let items = things
            .iter()
            .map(|thing| item(thing.value, Some(encoded(encode(&thing.priority).unwrap()))));
        let many = Op::PutMany(QueuePutMany { items: items.collect() });
        let call = self.call(session, may_wait, many);
        self.model.put(call, things);
    }

    fn join(&mut self, session: u64, may_wait: bool) {
        let call = self.call(session, may_wait, join());
        if self.model.unfinished > 0 && may_wait {
            self.model.joins.push(call.id);
            self.model.say(call.id, Said::Parked);
        } else {
            self.model.say(call.id, Said::Flag(self.model.unfinished == 0));
        }
    }

    fn end_lease(&mut self, at: usize, done: bool) {
        let Some((lease, ticket)) = pick(self.model.leases(), at) else { return };
        let op = if done { Op::Done(ticket) } else { Op::Reject(ticket) };
        let call = self.call(lease.session, false, op);
        self.model.say(call.id, Said::Done);
        if done {
            self.model.out.retain(|out| out.call != lease);
            self.model.unfinished -= 1;
        } else {
            self.model.undo(|out| out.call == lease);
        }
    }
}

fn pick<T>(mut all: Vec<T>, at: usize) -> Option<T> {
    if all.is_empty() { None } else { Some(all.swap_remove(at % all.len())) }
}

proptest! {
    #[test]
    fn behaves_like_a_plain_vector(
        order in prop::sample::select(vec![QueueOrder::Fifo, QueueOrder::Lifo, QueueOrder::Priority]),
        maxsize in 0..5_usize,
        steps in steps(),
    ) {
        let bench = queue(order, maxsize as u64);
        let empty_bytes = bench.queue.bytes();
        let model = Model::new(order, maxsize);
        let mut both = Both { bench, model, seq: 0, values: 0, said: BTreeMap::new() };
        for step in steps {
            both.take(step);
            prop_assert_eq!(std::mem::take(&mut both.said), std::mem::take(&mut both.model.said));
            let Both { bench: Bench { queue, .. }, model, .. } = &both;
            prop_assert_eq!(queue.items.len(), model.waiting.len());
            prop_assert_eq!(queue.unfinished(), model.unfinished as u64);
            let nothing = model.waiting.is_empty() && model.open().is_empty();
            prop_assert_eq!(queue.bytes() == empty_bytes, nothing);
        }
    }

    #[test]
    fn first_deliveries_are_in_the_order_of_each_producer(
        maxsize in 0..3_u64,
        steps in prop::collection::vec((0..4_u64, 0..3_u8, any::<bool>()), 0..200),
    ) {
        let mut bench = queue(QueueOrder::Fifo, maxsize);
        let mut last = BTreeMap::new();
        for (seq, (session, what, keep)) in (0_i64..).zip(steps) {
            let call = id(session, seq.unsigned_abs());
            // The value says who put it and when.
            let op = if what < 2 { tests::put(session as i64 * 1_000 + seq) } else { get() };
            let said = bench.wait(call, op);
            let heard = std::mem::take(&mut bench.heard).into_values();
            for said in std::iter::once(said).chain(heard) {
                let Said::Items(items) = said else { continue };
                for (_, value, _) in items.into_iter().filter(|item| item.2 == 1) {
                    let before = last.insert(value / 1_000, value);
                    prop_assert!(before < Some(value));
                }
            }
            if keep { bench.queue.acknowledge(call) } else { bench.cancel(call) }
        }
    }
}
