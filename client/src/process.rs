//! Functions of this program in processes of their own.

mod arguments;
mod chunk;
mod failure;
mod panics;
mod registry;
mod task;

pub use failure::TaskFailure;
pub use registry::{Entry, Registry};
pub use task::{BoxFuture, Failure, Fallible, Running, Single, Task, Transferable, transferable};
