//! A session as its client sees it: what is to be sent, what waits for a reply, what is held.
//!
//! Everything here is pure: no lock, no clock, no I/O, no task. [`Machine`] is what the rest is for;
//! [`session`](crate::session) drives it.

mod arrived;
mod blocked;
mod deadline;
mod effects;
mod grants;
mod lease;
mod machine;
mod open_calls;
mod outbox;
mod outcome;
mod reconnect;
mod refusals;
mod request;
mod slot;
#[cfg(test)]
mod tests;

pub(crate) use self::{
    arrived::{Arrived, Counted},
    blocked::Place,
    deadline::Deadline,
    effects::Effects,
    grants::{GrantId, Granted, Guard, Loss, LossListener},
    machine::{Abandoned, Answered, Begun, Connected, Machine, NewCall, Noted, Polled, Tick},
    outcome::{Expiry, expiry},
    reconnect::{Policy, Step},
    refusals::{closed, driver_ended},
    request::{Failure, Scope, Seq, giving_back},
};
