//! Functions of this program in processes of their own: Python's `multiprocessing.Process`.
//!
//! A [`Process`] runs a function that is marked with [`#[task]`](crate::task), or another program. The child is this
//! program again, which comes to [`init`], or to [`#[mp_manager::main]`](crate::main), and goes on from there with
//! its task.
//!
//! ```
//! use mp_manager::{Manager, Result, process::Process, task};
//!
//! #[task]
//! async fn add(n: u64) -> Result<()> {
//!     Manager::current().await?.value("sum", &0_u64).await?.add(&n).await?;
//!     Ok(())
//! }
//!
//! #[mp_manager::main]
//! async fn main() -> Result<()> {
//!     let manager = Manager::start().await?;
//!     let sum = manager.value("sum", &0_u64).await?;
//!     let mut processes = Vec::new();
//!     for n in 1..=3 {
//!         processes.push(Process::new(add, (n,)).manager(&manager).start().await?);
//!     }
//!     for process in processes {
//!         process.join().await?;
//!     }
//!     assert_eq!(sum.get().await?, 6);
//!     Ok(())
//! }
//! ```
//!
//! # What a child is
//!
//! It has the arguments and, unless told otherwise, the environment and the working directory of its parent,
//! stays in its process group, and has an empty stdin. What its task needs of a secret comes over a socket. It
//! does not outlive its parent, not even if that is killed, or if it is stopped itself. It ignores Ctrl-C and
//! leaves it to the parent.

mod agent;
mod arguments;
mod bootstrap;
mod builder;
mod children;
mod chunk;
mod control;
mod current_manager;
mod handle;
mod hosted;
mod hosting;
mod identity;
mod init;
mod log;
mod outcome;
mod output;
mod panics;
mod place;
mod pool;
mod recorder;
mod registry;
mod remote;
mod spawn;
mod start;
mod start_on;
mod task;
mod worker;

pub use crate::failure::{TaskError, TaskFailure};
pub use agent::{Agent, AgentBuilder};
pub use builder::ProcessBuilder;
pub use children::{active_children, finish};
pub use handle::{Process, Sentinel};
pub use identity::{ProcessInfo, cpu_count, current, parent};
pub use init::init;
pub(crate) use init::init_in_test;
#[cfg(feature = "tracing")]
pub use log::log_to_stderr;
pub use outcome::Outcome;
pub use pool::{
    Apply, AsyncResult, Imap, Map, MapResults, Pool, PoolBuilder, PoolHost, PoolStatus, PoolTasks,
    fence,
};
pub use registry::{Entry, Registry};
pub use task::{BoxFuture, Failure, Fallible, Running, Single, Task, Transferable};
