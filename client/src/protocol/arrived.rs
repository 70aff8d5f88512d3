//! Replies, with a hold on what they refer to.

use mp_manager_proto::v1::reply;

/// A hold on an object, by which the client counts the references that the manager counts.
pub(crate) trait Counted {
    /// The manager counts one more reference to the object in this session.
    fn count(&self, incarnation: u64);
}

/// A reply, with a hold on every object it refers to.
pub(crate) struct Arrived<H> {
    pub(crate) result: reply::Result,
    /// The session it came in.
    pub(crate) incarnation: u64,
    pub(super) handles: Vec<H>,
}

#[cfg(any(feature = "process", feature = "simulation"))]
impl<H> Arrived<H> {
    /// The reply, and the hold on what it refers to.
    pub(crate) fn take(self) -> (reply::Result, Vec<H>) {
        (self.result, self.handles)
    }
}
