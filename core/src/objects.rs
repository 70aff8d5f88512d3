//! The kinds of shared object, one file each.

mod array;
mod barrier;
mod condition;
mod dict;
mod event;
mod list;
mod lock;
mod namespace;
mod pipe;
mod pool;
mod queue;
mod rlock;
mod scalar;
mod semaphore;
mod set;

pub use array::Array;
pub use barrier::Barrier;
pub use condition::Condition;
pub use dict::Dict;
pub use event::Event;
pub use list::List;
pub use lock::Lock;
pub use namespace::Namespace;
pub use pipe::Pipe;
pub use pool::Pool;
pub use queue::{Queue, QueueStatus};
pub use rlock::RLock;
pub use scalar::Scalar;
pub use semaphore::Semaphore;
pub use set::Set;
