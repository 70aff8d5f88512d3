//! A session that threads and tasks share: the machine under a lock, and what drives it.

pub(crate) mod call;
pub(crate) mod clock;
pub(crate) mod fork;
pub(crate) mod link;
pub(crate) mod shared;
pub(crate) mod timer;
pub(crate) mod watchdog;
pub(crate) mod watcher;
