//! What happens to objects.

use std::{sync::Arc, time::Duration};

use mp_manager_proto::{
    operation,
    v1::{Fence, Ref, request},
};

use super::{
    Engine,
    cell::{Cell, Event, Queue, State},
    client::{Client, Parked},
    step::{Heavy, Step, Work},
};
use crate::{
    Error, Object, Reason,
    call::{Answer, Applied, Call, Outcome},
    lock::lock,
    session::Admission,
    stored::Pin,
    turn::Turn,
};

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
        let mut turn = Turn::new(&self.config.objects, self.reservation.tokens(), &resolve);
        let (kind, id) = (open.kind(), self.objects.next_id());
        let seed = self.config.hash_seed ^ id;
        let object = Object::create(kind, open.parameters.take(), seed, &mut turn)?;
        if self.bytes().saturating_add(object.bytes()) > self.config.totals.max_memory_bytes {
            return Err(self.out_of_memory());
        }
        Ok(self.objects.place(id, name, self.config.server_id, object))
    }

    pub(super) fn over_memory_budget(&self) -> bool {
        self.bytes() > self.config.totals.max_memory_bytes
    }

    /// The error for those who would need more.
    pub(super) fn out_of_memory(&self) -> Error {
        let max = self.config.totals.max_memory_bytes;
        Error::new(
            Reason::OutOfMemory,
            format!("the server's memory budget of {max} bytes is used up"),
        )
        .with_hint("delete something, or raise the server's --max-memory-bytes")
    }

    /// Applies a request of `client`. A call that is parked is noted there, with its deadline, before
    /// anyone could answer it.
    pub(super) fn apply(
        &self,
        client: &Arc<Client>,
        cell: Arc<Cell>,
        (call, admission): (Call, Admission),
        timeout: Option<Duration>,
        op: request::Op,
        work: &mut Work,
    ) {
        let mut state = lock(&cell.state);
        let applied = match &mut *state {
            State::Live(object) if object.is_heavy(&op, self.config.objects.heavy_from) => {
                client.set_aside(call.id.seq, Arc::clone(&cell));
                let taken = std::mem::replace(&mut *state, State::Busy(Queue::default()));
                drop(state);
                return begin_heavy(cell, taken, Event::Apply(call, Box::new(op)), work);
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
            State::Busy(queue) => {
                queue.events.push(Event::Apply(call, Box::new(op)));
                return client.set_aside(call.id.seq, Arc::clone(&cell));
            }
            State::Deleted => Err(deleted(&cell)),
        };
        drop(state);
        if let Some(result) = answered(applied) {
            reply(client, call, result, cell, work);
        }
    }

    /// Applies a request only while a grant stands, atomically: the object that granted stays locked
    /// meanwhile. It never parks: a call that `waits` is refused if it would have to, with an error that says
    /// so. A heavy operation is done in place. While a heavy operation has the target the request comes back,
    /// and the session is woken when it does not any more.
    pub(super) fn apply_fenced(
        &self,
        client: &Arc<Client>,
        cell: Arc<Cell>,
        (call, waits): (Call, bool),
        fence: Fence,
        op: request::Op,
        work: &mut Work,
    ) -> Option<request::Op> {
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
        let guard_state = guard.as_ref().map(|guard| lock(&guard.state));
        let stands = matches!(
            guard_state.as_deref(), Some(State::Live(object)) if object.holds(fence.token)
        );
        let mut state = lock(&cell.state);
        let applied = match &mut *state {
            _ if !stands => Err(fenced(&fence)),
            State::Live(object) => {
                let no_wait = waits.then(|| does_not_wait(&op));
                let applied = self.turn(&cell, object, work, |object, turn| match no_wait {
                    Some(error) => {
                        let call = Call { may_wait: true, ..call };
                        object.apply_at_once(call, op, turn, error)
                    }
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

    /// Drops a deleted object's contents and takes them out of the books.
    fn forget_contents(&self, object: Box<Object>) {
        self.objects.account(0, object.bytes());
        drop(object);
    }

    /// The next event of an object that a heavy operation has.
    pub(super) fn go_on(&self, heavy: Heavy, work: &mut Work) {
        let Heavy { cell, mut object, event, mut later } = heavy;
        if let Some(mut present) = object.take() {
            let deletes = matches!(event, Event::Delete);
            self.happen(&cell, &mut present, event, work);
            if deletes {
                self.forget_contents(present);
            } else {
                object = Some(present);
            }
        } else if let Event::Apply(call, _) = event {
            // What comes after an object was deleted; only a request still wants an answer.
            work.then(Step::Deliver(call.id, Err(deleted(&cell))));
        }
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
            Some(event) => work.then(Step::Heavy(Heavy { cell, object, event, later })),
            None => work.drop_later(cell),
        }
    }

    /// Has something happen to an object, wherever it is. A request whose object was away is parked, so its
    /// answer is delivered.
    fn happen(&self, cell: &Cell, object: &mut Object, event: Event, work: &mut Work) {
        let answer = self.turn(cell, object, work, |object, turn| {
            match event {
                Event::Apply(call, op) => {
                    return answered(object.apply(call, *op, turn)).map(|result| (call.id, result));
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
        let mut turn = Turn::new(&self.config.objects, self.reservation.tokens(), &resolve);
        let before = object.bytes();
        let result = f(object, &mut turn);
        self.objects.account(object.bytes(), before);
        for (call, result) in turn.replies {
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

fn begin_heavy(cell: Arc<Cell>, taken: State, event: Event, work: &mut Work) {
    if let State::Live(object) = taken {
        let later = Vec::new().into_iter();
        work.then(Step::Heavy(Heavy { cell, object: Some(object), event, later }));
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
