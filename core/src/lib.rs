//! The shared objects of mp-manager, and the sessions that use them, as pure state machines.
//!
//! Nothing in here awaits, reads a clock, does I/O, rolls a die, or iterates in an order that
//! depends on a hash seed. What an operation needs from outside comes in with its [`Turn`]; what it
//! means for *other* callers (the waiter that now gets the lock) goes out through it, and whoever
//! called delivers it. The same calls give the same answers, always: that is what makes a simulator
//! and a journal possible.
//!
//! ```text
//!             apply(call, op) ──►  Done(answer)   the caller has its answer
//!                                  Parked         it waits; exactly one of these ends the wait:
//!                                                   a reply in somebody's turn
//!                                                   cancel(call)   the caller went away
//!                                                   expire(call)   its timeout passed
//!                                                   end_session    its session is over
//!                                                   delete         the object is
//! ```
//!
//! An answer that hands over *ownership* (a lock, a permit, an item) stays the object's business
//! until it is acknowledged: `cancel` before that takes it back.

mod call;
mod calls;
mod compact;
mod cost;
mod description;
#[cfg(test)]
mod fixture;
mod lock;
mod losses;
mod machine;
mod memory;
mod ordered;
mod page;
mod pending;
mod pulse;
mod replies;
mod slice;
mod stored;
mod turn;
mod waiters;

pub mod engine;
pub mod lease;
pub mod object;
pub mod objects;
pub mod outbox;
pub mod session;

pub use call::{Answer, Applied, Call, CallId, ObjectId, Outcome, Seq, SessionId};
pub use mp_manager_proto::{error::Error, error::Reason, v1};
pub use object::Object;
pub use outbox::Outbox;
pub use stored::{Pin, Referent, Stored};
pub use turn::{Limits, Tokens, Turn};
