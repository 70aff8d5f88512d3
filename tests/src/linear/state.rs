//! The sequential model: the object as it is in core, one operation after the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write},
    hash::{DefaultHasher, Hasher},
};

use mp_manager_core::{
    Answer, Call, CallId, Limits, Object, Outcome, Tokens, Turn,
    v1::{Delivery, queue_op, reply, request},
};

use super::{Action, History, Operation, Told};

/// An object after some of its operations.
#[derive(Debug, Clone)]
pub(super) struct State {
    object: Object,
    last_token: u64,
    /// The ticket of what each call leased.
    leases: BTreeMap<CallId, u64>,
}

impl State {
    pub(super) fn new(history: &History) -> Self {
        let create =
            |turn: &mut Turn<'_>| Object::create(history.kind, history.parameters.clone(), 0, turn);
        let object = with_turn(0, create)
            .unwrap_or_else(|error| panic!("there is no such {}: {error}", history.object));
        Self { object, last_token: 0, leases: BTreeMap::new() }
    }

    /// The state after an operation; `None` if what is known of it cannot happen here.
    pub(super) fn after(
        &self,
        operation: &Operation,
        returnable: &BTreeSet<CallId>,
    ) -> Option<Self> {
        let mut next = self.clone();
        match &operation.action {
            Action::Call { id, op, lease } => {
                let op = next.with_ticket(op, *lease);
                next.call(*id, op, operation.told(), returnable.contains(id)).then_some(next)
            }
            Action::GiveBack(call) => {
                next.leases.remove(call);
                with_turn(self.last_token, |turn| next.object.cancel(*call, turn));
                Some(next)
            }
        }
    }

    /// The operation with the ticket that its caller had; no item has 0.
    fn with_ticket(&mut self, op: &request::Op, lease: Option<CallId>) -> request::Op {
        let mut op = op.clone();
        if let (Some(lease), request::Op::Queue(op)) = (lease, &mut op)
            && let Some(queue_op::Op::Done(ticket) | queue_op::Op::Reject(ticket)) = &mut op.op
        {
            *ticket = self.leases.remove(&lease).unwrap_or(0);
        }
        op
    }

    /// Whether the call comes to what it was told.
    fn call(&mut self, id: CallId, op: request::Op, told: Option<&Told>, keeps: bool) -> bool {
        let leases = is_lease(&op);
        let before = match told {
            Some(Ok(reply::Result::Grant(grant))) if grant.token <= self.last_token => {
                return false;
            }
            Some(Ok(reply::Result::Grant(grant))) => grant.token - 1,
            _ => self.last_token,
        };
        // Who would wait does not happen yet.
        let call = Call { id, may_wait: false };
        let answer = match with_turn(before, |turn| self.object.apply(call, op, turn)) {
            Ok(Outcome::Parked) => return false,
            Ok(Outcome::Done(answer)) => answer,
            Err(error) => return told.is_none_or(|told| told.as_ref() == Err(&error.reason())),
        };
        if !told.is_none_or(|told| told.as_ref().is_ok_and(|told| agree(&answer.result, told))) {
            return false;
        }
        self.note(id, &answer, leases, keeps || told.is_none());
        true
    }

    fn note(&mut self, id: CallId, answer: &Answer, leases: bool, keeps: bool) {
        match &answer.result {
            reply::Result::Grant(grant) => self.last_token = self.last_token.max(grant.token),
            reply::Result::Delivery(delivery) if leases => {
                self.leases.insert(id, delivery.ticket);
            }
            _ => {}
        }
        if answer.ownership && !keeps {
            self.object.acknowledge(id);
        }
    }

    /// What the operation would be told here.
    pub(super) fn answer(&self, operation: &Operation) -> String {
        let Action::Call { id, op, lease } = &operation.action else { return String::new() };
        let mut next = self.clone();
        let op = next.with_ticket(op, *lease);
        let call = Call { id: *id, may_wait: false };
        match with_turn(self.last_token, |turn| next.object.apply(call, op, turn)) {
            Ok(Outcome::Parked) => "it would wait".into(),
            Ok(Outcome::Done(answer)) => format!("{:?}", answer.result),
            Err(error) => format!("{:?}", error.reason()),
        }
    }

    /// The object in a line.
    pub(super) fn describe(&self) -> String {
        format!("{}; {:?}", self.object.describe().state, self.object)
    }

    /// States that differ in anything have different ones: two independent 64-bit hashes.
    pub(super) fn digest(&self) -> u128 {
        let mut digest = Digest::default();
        // Everything there is, also what nobody can see: that costs some states that are in truth
        // the same, never one that is not.
        let _ = write!(digest, "{self:?}");
        digest.finish()
    }
}

/// Hashes what is written to it.
pub(super) struct Digest([DefaultHasher; 2]);

impl Default for Digest {
    fn default() -> Self {
        let mut digest = Self(Default::default());
        digest.0[1].write_u8(1);
        digest
    }
}

impl Digest {
    pub(super) fn word(&mut self, word: u64) {
        self.0.iter_mut().for_each(|hasher| hasher.write_u64(word));
    }

    pub(super) fn finish(&self) -> u128 {
        u128::from(self.0[0].finish()) << 64 | u128::from(self.0[1].finish())
    }
}

impl Write for Digest {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.iter_mut().for_each(|hasher| hasher.write(text.as_bytes()));
        Ok(())
    }
}

fn with_turn<T>(last_token: u64, f: impl FnOnce(&mut Turn<'_>) -> T) -> T {
    let (limits, tokens) = (Limits::default(), Tokens::after(last_token));
    f(&mut Turn::new(&limits, &tokens, &|_| None))
}

fn is_lease(op: &request::Op) -> bool {
    matches!(op, request::Op::Queue(op) if matches!(op.op, Some(queue_op::Op::Lease(_))))
}

/// Whether the model's answer is the one that was seen, as far as that was seen.
fn agree(model: &reply::Result, seen: &reply::Result) -> bool {
    use reply::Result as R;
    match (model, seen) {
        (R::Delivery(model), R::Delivery(seen)) => same_item(model, seen),
        (R::Deliveries(model), R::Deliveries(seen)) => {
            model.deliveries.len() == seen.deliveries.len()
                && model.deliveries.iter().zip(&seen.deliveries).all(|(m, s)| same_item(m, s))
        }
        (model, seen) => model == seen,
    }
}

fn same_item(model: &Delivery, seen: &Delivery) -> bool {
    model.value == seen.value
        && [0, model.ticket].contains(&seen.ticket)
        && [0, model.deliveries].contains(&seen.deliveries)
}
