//! What happens to objects.

use std::{sync::Arc, time::Duration};

use mp_manager_proto::{
    operation::{self, Waits},
    v1::{Fence, Ref, SetOperand, request},
};

use super::{
    Engine,
    cell::{Asked, Cell, Event, State},
    client::{Client, Parked},
    operand::operand,
    step::{Heavy, Held, Step, Work},
};
use crate::{
    Error, Object, Reason,
    call::{Answer, Applied, Call, Outcome},
    lock::lock,
    session::Admission,
    stored::Pin,
    turn::Turn,
};

/// A request that may be executed.
pub(super) struct Admitted {
    pub(super) call: Call,
    pub(super) admission: Admission,
    pub(super) timeout: Option<Duration>,
    pub(super) op: request::Op,
    /// Another large set, to be taken away together with the request's own.
    pub(super) operand: Option<Arc<Cell>>,
}

impl Engine {
    /// Finds an object by its id.
    #[inline]
    pub(super) fn find(&self, id: crate::ObjectId) -> Option<Arc<Cell>> {
        self.objects.find(id)
    }

    /// Makes an object that lives as long as someone refers to it.
    pub(super) fn create(
        &self,
        name: Option<String>,
        open: &mut mp_manager_proto::v1::Open,
    ) -> Result<Arc<Cell>, Error> {
        let max = self.config.totals.max_objects;
        if self.objects.count() >= max {
            return Err(Error::new(
                Reason::LimitExceeded,
                format!("there are {max} objects, which is the limit"),
            )
            .with_hint("delete some, or raise the server's --max-objects"));
        }
        let resolve = |reference: &Ref| self.resolve(reference);
        let mut turn = Turn::new(&self.config.objects, self.reservation.tokens(), &resolve)
            .with_headroom(self.headroom());
        let (kind, id) = (open.kind(), self.objects.next_id());
        let seed = self.config.hash_seed ^ id;
        let object = Object::create(kind, open.parameters.take(), seed, &mut turn)?;
        if self.over_memory_budget() || object.bytes() > self.headroom() {
            return Err(self.out_of_memory());
        }
        Ok(self.objects.place(id, name, self.config.server_id, object))
    }

    /// What is left of the memory budget.
    fn headroom(&self) -> usize {
        self.config.totals.max_memory_bytes.saturating_sub(self.bytes())
    }

    pub(super) fn over_memory_budget(&self) -> bool {
        self.bytes() > self.config.totals.max_memory_bytes
    }

    /// The error for those who would need more.
    pub(super) fn out_of_memory(&self) -> Error {
        let max = self.config.totals.max_memory_bytes;
        Error::new(
            Reason::OutOfMemory,
            format!(
                "the server's memory budget of {max} bytes is used up: it holds {}",
                self.bytes()
            ),
        )
        .with_hint("delete something, or raise the server's --max-memory-bytes")
    }

    /// Applies a request of `client`. A call that is parked is noted there, with its deadline, before
    /// anyone could answer it. It comes back if an object that it needs beside its own is busy: the session is
    /// woken when that is not any more.
    pub(super) fn apply(
        &self,
        client: &Arc<Client>,
        cell: Arc<Cell>,
        request: Admitted,
        work: &mut Work,
    ) -> Option<request::Op> {
        let Admitted { call, admission, timeout, op, operand } = request;
        let mut state = lock(&cell.state);
        let applied = match &mut *state {
            State::Live(object) if operand.is_some() || self.is_long(object.cost(&op)) => {
                let object = state.take_away();
                drop(state);
                let held = match take_operand(client, &cell, operand) {
                    Ok(held) => held.into_iter().collect(),
                    Err(not_taken) => {
                        return self.not_taken(client, (cell, object), call, not_taken, op, work);
                    }
                };
                let event = self.set_aside(client, &cell, (call, admission), timeout, op, work);
                work.then(Step::Heavy(Heavy { held, ..Heavy::new(cell, object, event) }));
                return None;
            }
            State::Live(object) => {
                let applied = self.turn(&cell, object, work, |object, turn| match admission {
                    Admission::MayWait => object.apply(call, op, turn),
                    Admission::AtOnce(no_room) => object.apply_at_once(call, op, turn, no_room),
                });
                if matches!(applied, Ok(Outcome::Parked)) {
                    self.park(client, &cell, call, timeout, work);
                }
                applied
            }
            State::Busy(queue) if operand.is_some() => {
                queue.blocked.insert(client.id());
                return Some(op);
            }
            State::Busy(queue) => {
                let event = self.set_aside(client, &cell, (call, admission), timeout, op, work);
                queue.events.push(event);
                return None;
            }
            State::Deleted => Err(deleted(&cell)),
        };
        drop(state);
        if let Some(result) = answered(applied) {
            reply(client, call, result, cell, work);
        }
        None
    }

    /// Notes a call whose object comes to it later. One that may have to wait there waits from now on: its
    /// deadline is that of its arrival, and it takes up room that is for waiting.
    fn set_aside(
        &self,
        client: &Client,
        cell: &Arc<Cell>,
        (call, admission): (Call, Admission),
        timeout: Option<Duration>,
        op: request::Op,
        work: &mut Work,
    ) -> Event {
        let may_wait = call.may_wait && operation::waits(&op) != Waits::Never;
        let no_room = match admission {
            Admission::MayWait if may_wait => {
                self.park(client, cell, call, timeout, work);
                None
            }
            Admission::MayWait => {
                client.set_aside(call.id.seq, Arc::clone(cell));
                None
            }
            Admission::AtOnce(no_room) => {
                client.set_aside(call.id.seq, Arc::clone(cell));
                Some(no_room)
            }
        };
        Event::Apply(Box::new(Asked { call, op, no_room }))
    }

    /// Puts an object back from whose operation the operand could not be taken away.
    fn not_taken(
        &self,
        client: &Arc<Client>,
        (cell, object): (Arc<Cell>, Option<Box<Object>>),
        call: Call,
        not_taken: NotTaken,
        op: request::Op,
        work: &mut Work,
    ) -> Option<request::Op> {
        self.bring_back(Arc::clone(&cell), object, Vec::new().into_iter(), work);
        match not_taken {
            NotTaken::Busy => Some(op),
            NotTaken::Deleted(error) => {
                reply(client, call, Err(error), cell, work);
                None
            }
        }
    }

    /// Applies a request only while a grant stands, atomically: the object that granted stays locked
    /// until it is done, or its target is taken away. It never parks: a call that `waits` is refused if it would
    /// have to, with an error that says so. The request comes back while a heavy operation has one of the
    /// objects, and the session is woken when it does not any more.
    pub(super) fn apply_fenced(
        &self,
        client: &Arc<Client>,
        cell: Arc<Cell>,
        (request, waits): (Admitted, bool),
        fence: Fence,
        work: &mut Work,
    ) -> Option<request::Op> {
        let Admitted { call, op, operand, .. } = request;
        if !Object::can_be_fenced(cell.kind) {
            let kind = cell.kind.with_article();
            let message = format!("operations on {kind} cannot be fenced");
            let refused = Err(Error::new(Reason::Unsupported, message).with_hint(
                "fence writes to what holds data: a dict, a list, a queue and the like",
            ));
            reply(client, call, refused, cell, work);
            return None;
        }
        let guard = self.find(fence.lock).filter(|guard| !Object::can_be_fenced(guard.kind));
        let mut guard_state = guard.as_ref().map(|guard| lock(&guard.state));
        let stands = match guard_state.as_deref_mut() {
            Some(State::Live(object)) => object.holds(fence.token),
            Some(State::Busy(queue)) => {
                queue.blocked.insert(client.id());
                return Some(op);
            }
            Some(State::Deleted) | None => false,
        };
        let no_room = waits.then(|| does_not_wait(&op));
        let call = Call { may_wait: call.may_wait || waits, ..call };
        let mut state = lock(&cell.state);
        let applied = match &mut *state {
            _ if !stands => Err(fenced(&fence)),
            State::Live(object) if operand.is_some() || self.is_long(object.cost(&op)) => {
                let object = state.take_away();
                drop(state);
                let held = match take_operand(client, &cell, operand) {
                    Ok(held) => held,
                    Err(not_taken) => {
                        drop(guard_state);
                        guard.into_iter().for_each(|guard| work.drop_later(guard));
                        return self.not_taken(client, (cell, object), call, not_taken, op, work);
                    }
                };
                // Nobody sees the target before it is back: from here on it is as if it were done.
                drop(guard_state);
                client.set_aside(call.id.seq, Arc::clone(&cell));
                let event = Event::Apply(Box::new(Asked { call, op, no_room }));
                let held = held.into_iter().collect();
                work.then(Step::Heavy(Heavy { held, ..Heavy::new(cell, object, event) }));
                guard.into_iter().for_each(|guard| work.drop_later(guard));
                return None;
            }
            State::Live(object) => {
                let applied = self.turn(&cell, object, work, |object, turn| match no_room {
                    Some(error) => object.apply_at_once(call, op, turn, error),
                    None => object.apply(call, op, turn),
                });
                applied.and_then(|outcome| match outcome {
                    Outcome::Done(answer) => Ok(answer),
                    Outcome::Parked => Err(Error::new(Reason::Unsupported, "it cannot be fenced")),
                })
            }
            State::Busy(queue) => {
                queue.blocked.insert(client.id());
                return Some(op);
            }
            State::Deleted => Err(deleted(&cell)),
        };
        drop(state);
        drop(guard_state);
        reply(client, call, applied, cell, work);
        if let Some(guard) = guard {
            work.drop_later(guard);
        }
        None
    }

    fn park(
        &self,
        client: &Client,
        cell: &Arc<Cell>,
        call: Call,
        timeout: Option<Duration>,
        work: &mut Work,
    ) {
        // A timeout of zero waits for nothing that could time out.
        let deadline = timeout
            .filter(|timeout| !timeout.is_zero())
            .and_then(|timeout| self.clock.monotonic().checked_add(timeout));
        client.park(call.id.seq, Parked { cell: Arc::clone(cell), deadline });
        if let Some(deadline) = deadline
            && self.deadlines.insert(deadline, call.id, cell)
        {
            work.orders().deadline = true;
        }
    }

    /// Tells an object something that is not a request.
    pub(super) fn tell(&self, cell: Arc<Cell>, event: Event, work: &mut Work) {
        let mut state = lock(&cell.state);
        let removed = match &mut *state {
            State::Live(object) if self.is_long(cost(object, &event)) => {
                let object = state.take_away();
                drop(state);
                return work.then(Step::Heavy(Heavy::new(cell, object, event)));
            }
            State::Live(object) => {
                let deletes = matches!(event, Event::Delete);
                self.happen(&cell, object, event, work);
                if deletes { Some(std::mem::replace(&mut *state, State::Deleted)) } else { None }
            }
            State::Busy(queue) => {
                queue.events.push(event);
                None
            }
            State::Deleted => None,
        };
        drop(state);
        if let Some(State::Live(object)) = removed {
            self.forget_contents(object);
        }
        work.drop_later(cell);
    }

    /// Takes a deleted object's contents out of the books, and drops them.
    fn forget_contents(&self, object: Box<Object>) {
        self.objects.account(0, object.bytes());
        self.objects.deleted(object.kind());
        self.objects.bury(object);
    }

    /// The next event of an object that a heavy operation has.
    pub(super) fn go_on(&self, heavy: Heavy, work: &mut Work) {
        let Heavy { cell, mut object, mut event, later, held } = heavy;
        if let Some(mut present) = object.take() {
            if let Event::Apply(asked) = &mut event {
                resolve_operand(&mut asked.op, (&cell, &present), &held);
            }
            let deletes = matches!(event, Event::Delete);
            self.happen(&cell, &mut present, event, work);
            if deletes {
                self.forget_contents(present);
            } else {
                object = Some(present);
            }
        } else if let Event::Apply(asked) = event {
            // What comes after an object was deleted; only a request still wants an answer.
            work.then(Step::Deliver(asked.call.id, Err(deleted(&cell))));
        }
        for (cell, object) in held {
            self.bring_back(cell, Some(object), Vec::new().into_iter(), work);
        }
        self.bring_back(cell, object, later, work);
    }

    /// Puts an object back in its place, or goes on with what has come meanwhile.
    fn bring_back(
        &self,
        cell: Arc<Cell>,
        mut object: Option<Box<Object>>,
        mut later: std::vec::IntoIter<Event>,
        work: &mut Work,
    ) {
        let mut next = later.next();
        if next.is_none() {
            let mut state = lock(&cell.state);
            if let State::Busy(queue) = &mut *state {
                later = std::mem::take(&mut queue.events).into_iter();
                next = later.next();
                if next.is_none() {
                    let blocked = std::mem::take(&mut queue.blocked);
                    *state = object.take().map_or(State::Deleted, State::Live);
                    blocked.into_iter().for_each(|session| work.then(Step::Wake(session)));
                }
            }
        }
        match next {
            Some(event) => {
                work.then(Step::Heavy(Heavy { later, ..Heavy::new(cell, object, event) }));
            }
            None => work.drop_later(cell),
        }
    }

    /// Has something happen to an object, wherever it is. A request whose object was away is parked, so its
    /// answer is delivered.
    fn happen(&self, cell: &Cell, object: &mut Object, event: Event, work: &mut Work) {
        let is_full = self.over_memory_budget();
        let answer = self.turn(cell, object, work, |object, turn| {
            match event {
                Event::Apply(asked) => {
                    let Asked { call, op, no_room } = *asked;
                    let applied = match no_room {
                        // It was admitted, and others that were before it have used the budget up.
                        _ if is_full && Object::grows(&op) && !object.replaces(&op) => {
                            Err(self.out_of_memory())
                        }
                        None => object.apply(call, op, turn),
                        Some(error) => object.apply_at_once(call, op, turn, error),
                    };
                    return answered(applied).map(|result| (call.id, result));
                }
                Event::Acknowledge(call) => object.acknowledge(call),
                Event::Cancel(call) => object.cancel(call, turn),
                Event::Expire(call) => object.expire(call, turn),
                Event::EndSession(session) => object.end_session(session, turn),
                Event::Delete => object.delete(turn),
            }
            None
        });
        if let Some((call, result)) = answer {
            work.then(Step::Deliver(call, result));
        }
    }

    /// Gives an object its turn, keeps the books on its memory, and takes down what it means for others.
    #[inline]
    fn turn<T>(
        &self,
        cell: &Cell,
        object: &mut Object,
        work: &mut Work,
        f: impl FnOnce(&mut Object, &mut Turn<'_>) -> T,
    ) -> T {
        let resolve = |reference: &Ref| self.resolve(reference);
        let mut turn = Turn::new(&self.config.objects, self.reservation.tokens(), &resolve)
            .with_headroom(self.headroom())
            .when_settled(self.is_settled());
        let before = object.bytes();
        let result = f(object, &mut turn);
        self.objects.account(object.bytes(), before);
        if turn.replies.len() > 1 {
            work.then(Step::DeliverAll(turn.replies.into_iter()));
        } else if let Some((call, result)) = turn.replies.pop() {
            work.then(Step::Deliver(call, result));
        }
        for (session, token) in turn.lost {
            work.then(Step::Lose(session, cell.id, token));
        }
        if self.reservation.is_low() {
            work.orders().tokens = true;
        }
        result
    }

    fn resolve(&self, reference: &Ref) -> Option<Pin> {
        if reference.server != self.config.server_id {
            return None;
        }
        let cell = self.find(reference.object)?;
        (cell.kind == reference.kind()).then_some(cell as Pin)
    }
}

/// Why another set could not be taken away.
enum NotTaken {
    /// A heavy operation has it; the session is woken when it does not any more.
    Busy,
    Deleted(Error),
}

/// Takes another set away that an operation on `cell` needs, unless it is the same.
fn take_operand(
    client: &Client,
    cell: &Arc<Cell>,
    operand: Option<Arc<Cell>>,
) -> Result<Option<Held>, NotTaken> {
    let Some(operand) = operand.filter(|operand| !Arc::ptr_eq(operand, cell)) else {
        return Ok(None);
    };
    let mut state = lock(&operand.state);
    if let State::Busy(queue) = &mut *state {
        queue.blocked.insert(client.id());
        return Err(NotTaken::Busy);
    }
    let taken = state.take_away();
    drop(state);
    match taken {
        Some(object) => Ok(Some((operand, object))),
        None => Err(NotTaken::Deleted(deleted(&operand))),
    }
}

/// Replaces another set by its elements: its own object, or one that is held.
fn resolve_operand(op: &mut request::Op, (cell, object): (&Cell, &Object), held: &[Held]) {
    let Some(operand) = operand(op) else { return };
    let other = held.iter().find(|(other, _)| other.id == operand.object);
    let other = if operand.object == cell.id { Some(object) } else { other.map(|(_, o)| &**o) };
    if let Some(elements) = other.and_then(Object::set_snapshot) {
        *operand = SetOperand { object: 0, elements };
    }
}

/// How long an object takes to hear of something, about, in nanoseconds.
fn cost(object: &Object, event: &Event) -> u64 {
    match event {
        Event::Apply(asked) => object.cost(&asked.op),
        Event::Acknowledge(call) | Event::Cancel(call) | Event::Expire(call) => {
            object.cost_of_settling(*call)
        }
        Event::EndSession(_) | Event::Delete => object.cost_of_end(),
    }
}

/// Has a request that was just started answered. Its object hears of the acknowledgement if the answer
/// hands something over.
fn reply(
    client: &Arc<Client>,
    call: Call,
    result: Result<Answer, Error>,
    cell: Arc<Cell>,
    work: &mut Work,
) {
    let hands_over = result.as_ref().is_ok_and(|answer| answer.ownership);
    let owner = if hands_over {
        Some(cell)
    } else {
        work.drop_later(cell);
        None
    };
    work.then(Step::Reply(Arc::clone(client), call.id.seq, result, owner));
}

fn answered(applied: Applied) -> Option<Result<Answer, Error>> {
    match applied {
        Ok(Outcome::Done(answer)) => Some(Ok(answer)),
        Ok(Outcome::Parked) => None,
        Err(error) => Some(Err(error)),
    }
}

/// A fenced operation whose grant does not stand any more.
fn fenced(fence: &Fence) -> Error {
    Error::new(
        Reason::Fenced,
        format!("the grant with token {} of object {} does not stand", fence.token, fence.lock),
    )
    .with_hint("it was released or lost: stop, and acquire again")
}

/// A fenced operation that has to wait, asked by somebody who would.
fn does_not_wait(op: &request::Op) -> Error {
    let class = operation::class(op);
    let (reason, why) = if class.awaits_state {
        (Reason::InvalidArgument, "what is waited for has not come about")
    } else if class.grows {
        (Reason::Full, "there is no room now")
    } else {
        (Reason::Empty, "there is nothing to take now")
    };
    Error::new(reason, format!("{why}, and what is fenced does not wait"))
        .with_hint("try again, or wait without the fence")
}

/// An operation on an object that was deleted.
fn deleted(cell: &Cell) -> Error {
    let message = match &cell.name {
        Some(name) => format!("the object \"{name}\" was deleted"),
        None => format!("object {} was deleted", cell.id),
    };
    Error::new(Reason::ObjectNotFound, message).with_hint("open it again to use a new one")
}
