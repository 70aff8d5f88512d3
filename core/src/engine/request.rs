//! How a request comes to its object.

use std::{sync::Arc, time::Duration};

use mp_manager_proto::{
    operation::{self, Waits, request_waits},
    v1::{Fence, Kind, Request, request},
};

use super::{
    Engine,
    apply::Admitted,
    cell::{Cell, State},
    client::{Client, ClientState},
    directory::Blocked,
    operand::operand,
    step::{Step, Work},
};
use crate::{
    Error, Object, ObjectId, Reason,
    call::{Call, CallId},
    lock::lock,
    object::{unsupported, wrong_kind},
    session::{Admission, Load},
};

/// Where operations on the directory are sent to.
const DIRECTORY: ObjectId = 0;

/// What an operation needs of another object.
enum Operand {
    /// It can be applied, together with another set if that is large.
    Ready(Option<Arc<Cell>>),
    /// A heavy operation has the other object; the session is woken when it does not any more.
    Busy,
}

impl Engine {
    /// Starts a request. It comes back if an object that it needs beside its own is busy: the session is
    /// woken when that is not any more.
    pub(super) fn request(
        &self,
        client: &Arc<Client>,
        state: &mut ClientState,
        request: Request,
        load: &Load,
        work: &mut Work,
    ) -> Option<Request> {
        let waits = request_waits(&request);
        let Request { seq, object, timeout_us, fence, op } = request;
        let Some(mut op) = op else {
            refuse(client, seq, unsupported(), work);
            return None;
        };
        if let request::Op::Directory(op) = op {
            let result = match check_directory(object, fence) {
                Ok(()) => match self.directory(client, op, work) {
                    Ok(result) => result,
                    Err(Blocked(op)) => {
                        let op = Some(request::Op::Directory(op));
                        return Some(Request { seq, object, timeout_us, fence, op });
                    }
                },
                Err(error) => Err(error),
            };
            work.then(Step::Reply(Arc::clone(client), seq, result, None));
            return None;
        }
        let admitted = self.admit(waits, object, &op, load).and_then(|admitted| {
            let operand = self.resolve_operand(client, &mut op, work)?;
            Ok((admitted, operand))
        });
        let (cell, admission, operand) = match admitted {
            Ok(((cell, admission), Operand::Ready(operand))) => (cell, admission, operand),
            Ok((_, Operand::Busy)) => {
                return Some(Request { seq, object, timeout_us, fence, op: Some(op) });
            }
            Err(error) => {
                refuse(client, seq, error, work);
                return None;
            }
        };
        if Object::tracks_sessions(cell.kind) {
            client.touch(state, &cell);
        }
        // A fence stands now or not at all: what it guards does not wait.
        let may_wait = timeout_us != Some(0) && fence.is_none();
        let call = Call { id: CallId { session: client.id(), seq }, may_wait };
        let timeout = timeout_us.map(Duration::from_micros);
        let waits = timeout_us != Some(0) && operation::waits(&op) != Waits::Never;
        let admitted = Admitted { call, admission, timeout, op, operand };
        let busy = match fence {
            None => self.apply(client, cell, admitted, work),
            Some(fence) => self.apply_fenced(client, cell, (admitted, waits), fence, work),
        };
        busy.map(|op| Request { seq, object, timeout_us, fence, op: Some(op) })
    }

    /// Finds the object of a request that may be executed, and how.
    fn admit(
        &self,
        waits: Waits,
        object: u64,
        op: &request::Op,
        load: &Load,
    ) -> Result<(Arc<Cell>, Admission), Error> {
        let cell = self.find(object).ok_or_else(|| not_there(object))?;
        if !Object::accepts(cell.kind, op) {
            return Err(wrong_kind(cell.kind));
        }
        if self.over_memory_budget()
            && Object::grows(op)
            && !cell.look(|object| object.replaces(op)).unwrap_or_default()
        {
            return Err(self.out_of_memory());
        }
        let admission = if Object::gives_back(op) {
            Admission::MayWait
        } else {
            self.config.sessions.admit(load, waits)?
        };
        Ok((cell, admission))
    }

    /// Replaces another shared set by a snapshot of it, unless it is large: two objects are never locked at
    /// once.
    fn resolve_operand(
        &self,
        client: &Client,
        op: &mut request::Op,
        work: &mut Work,
    ) -> Result<Operand, Error> {
        let Some(operand) = operand(op) else { return Ok(Operand::Ready(None)) };
        let id = operand.object;
        let missing = || {
            Error::new(
                Reason::ObjectNotFound,
                format!("the other set, object {id}, does not exist"),
            )
        };
        let other = self.find(id).ok_or_else(missing)?;
        let snapshot = match &mut *lock(&other.state) {
            State::Live(object) if self.is_long(object.cost_of_drop()) => None,
            State::Live(object) => Some(object.set_snapshot()),
            State::Busy(queue) => {
                queue.blocked.insert(client.id());
                return Ok(Operand::Busy);
            }
            State::Deleted => return Err(missing()),
        };
        let Some(snapshot) = snapshot else {
            if other.kind != Kind::Set {
                return Err(wrong_kind(other.kind));
            }
            return Ok(Operand::Ready(Some(other)));
        };
        operand.elements = snapshot.ok_or_else(|| wrong_kind(other.kind))?;
        operand.object = 0;
        work.drop_later(other);
        Ok(Operand::Ready(None))
    }
}

/// Whether an operation on the directory may be executed that was sent to `object`, with this fence. The
/// directory is no object whose lock could be held together with that of the grant.
fn check_directory(object: ObjectId, fence: Option<Fence>) -> Result<(), Error> {
    if object != DIRECTORY {
        let message = format!("an operation on the directory was sent to object {object}");
        return Err(Error::new(Reason::WrongKind, message).with_hint("send it to object 0"));
    }
    match fence {
        None => Ok(()),
        Some(_) => {
            Err(Error::new(Reason::Unsupported, "operations on the directory cannot be fenced")
                .with_hint(
                    "fence a write to the object instead: it fails if that is not there any more",
                ))
        }
    }
}

fn not_there(object: ObjectId) -> Error {
    if object == DIRECTORY {
        return Error::new(Reason::WrongKind, "object 0 is the directory")
            .with_hint("open an object first, and send its operations to its id");
    }
    Error::new(Reason::ObjectNotFound, format!("object {object} does not exist"))
        .with_hint("it was deleted, or nothing referred to it any more")
}

fn refuse(client: &Arc<Client>, seq: crate::Seq, error: Error, work: &mut Work) {
    work.then(Step::Reply(Arc::clone(client), seq, Err(error), None));
}
