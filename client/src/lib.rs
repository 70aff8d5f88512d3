//! Shared dicts, lists, locks, queues and more for processes on one machine or many: Python's
//! `multiprocessing` managers, done right.
//!
//! A *manager* is a server that holds shared objects; *proxies* use them from any process. Start one
//! inside your program, or connect to a daemon (`mp-manager serve`) by changing one line:
//!
//! ```
//! use mp_manager::{Manager, Result};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! let manager = Manager::start().await?; // or Manager::connect("10.0.0.5:7117", authkey)
//! let scores = manager.dict::<String, u64>("scores").await?;
//! scores.insert("alice", 3).await?;
//!
//! let lock = manager.lock("migrate").await?;
//! let guard = lock.acquire().await?;
//! println!("fencing token {}", guard.token());
//! # Ok(())
//! # }
//! ```
//!
//! # Other processes, other machines
//!
//! Whoever uses a manager proves that it knows its *authkey*, and the manager proves it as well. A
//! child process is given both address and authkey by [`Manager::environment`], and finds them with
//! [`Manager::from_env`]. For a daemon, `mp-manager keygen manager.key` writes an authkey, which
//! [`Builder::authkey_file`] reads:
//!
//! ```no_run
//! # use mp_manager::{Manager, Result};
//! # async fn example() -> Result<()> {
//! let manager = Manager::builder().authkey_file("manager.key").connect("10.0.0.5:7117").await?;
//! # Ok(())
//! # }
//! ```
//!
//! Beyond this machine that is TLS, without certificates to manage: the proof of the authkey is bound
//! to the connection. [`Builder::tls_ca`] and [`Builder::tls_identity`] are for those who have some.
//!
//! # Who dies, and what happens
//!
//! A process that ends, however it ends, leaves nothing behind: its locks and permits pass to the
//! next waiter with a higher fencing token, what it had leased from a queue comes back in its place,
//! a barrier it was waiting at breaks and says who was lost. On one machine, over a unix socket, that
//! is at once; over a network it is when the session's [lease](Builder::lease) has run out, as a
//! process that is silent may be there still.
//!
//! A connection that breaks costs nothing but time: it is made again by itself, and the session goes
//! on, with every call executed once. A guard knows when it is lost, *before* anybody else can have
//! what it guarded: `guard.is_lost()`, `guard.lost().await`. What nobody can know from outside, such
//! as what a process does that was stopped for a minute, a [`Fence`] makes harmless.
//!
//! # Async and blocking
//!
//! The types here are async and work on tokio; [`blocking`] has the same ones for threads.
//! Everything that may wait comes in three forms: `acquire()` waits as long as it takes,
//! `try_acquire()` not at all, and `acquire_timeout(d)` so long.
//!
//! A timeout holds whatever the connection does: the client's own clock ends the call, at most a
//! moment late (100 ms, and the time of two round trips). A call that only takes or looks has timed out
//! then, and what it was handed meanwhile goes back; one that may have changed something ends with
//! [`Error::OutcomeUnknown`] if it was sent (after 250 ms more, so that an answer on its way arrives).
//! A call that does not wait at all (`try_…`, a timeout of zero) fails at once with
//! [`Error::Unreachable`] while the manager is known to be down; on a connection that is there and
//! silent, after 2 s.
//!
//! # Runtimes
//!
//! The connection is run by a task on the tokio runtime that [`Manager::connect`] is awaited on. When
//! that runtime is dropped, as after each `#[tokio::test]`, the session ends with it: every call is an
//! error that says so. While a task computes without awaiting, a thread of the process sends requests,
//! releases and acknowledgements, some 10 ms later than otherwise, and has another thread of the runtime wait for
//! sockets and timers. A runtime with a single thread has no other: nothing is received meanwhile, no more is sent than
//! the socket's buffer takes, and the session is lost if that lasts for its lease. A client on such a runtime, or one in
//! a `static` that several runtimes use, wants
//! [`Builder::background_thread`], which gives the connection a thread and a runtime of its own; so does
//! a test that [pauses the clock](https://docs.rs/tokio/latest/tokio/time/fn.pause.html). The
//! [`blocking`] interface always has that thread.
//!
//! # Fork
//!
//! A connection belongs to the process that made it. In a child that was forked without `exec` every call
//! on it is an error that says so, every guard is lost, and dropping proxies and guards there does nothing to what the parent
//! holds; a call in the first milliseconds may wait without end, if the parent was calling just then. Connect again in the child, before it starts a runtime of its own, or start children as
//! programs with [`std::process::Command`] and [`Manager::environment`]. A child that goes on living has
//! the parent's sockets open: on a unix socket the manager does not notice the parent's death before the
//! child has ended as well, or the parent's lease has run out.
//!
//! # Cancel safety
//!
//! Dropping a future cancels its call. Ownership that was not taken goes back: a lock, a permit, an
//! item from a queue. Everything else is final once the manager has applied it: each method says so
//! where it matters.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(all(feature = "process", not(target_os = "linux")))]
compile_error!(
    "the feature `process` of mp-manager works on Linux only: on other systems depend on mp-manager with \
     `default-features = false, features = [\"embedded\"]`"
);

// What the attributes emit refers to `::mp_manager`, also within this crate's own tests.
#[cfg(all(test, feature = "process"))]
extern crate self as mp_manager;

#[cfg(feature = "process")]
#[doc(hidden)]
pub mod __macro;
mod api;
pub mod blocking;
pub mod connection;
mod error;
#[cfg(feature = "process")]
mod failure;
mod guards;
mod objects;
#[cfg(feature = "process")]
pub mod process;
mod protocol;
mod rpc;
mod session;
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod simulation;
mod transport;
mod wait_any;

#[cfg(all(doctest, feature = "process"))]
#[doc = include_str!("../../README.md")]
struct Readme;

pub use api::{
    ADDRESS_VARIABLE, AUTHKEY_FILE_VARIABLE, AUTHKEY_VARIABLE, Builder, FENCE_VARIABLE,
    TLS_CA_VARIABLE, TLS_CERT_VARIABLE, TLS_KEY_VARIABLE,
};
pub use error::{Context, Error, Result};
#[cfg(feature = "process")]
pub use mp_manager_macros::{main, task, test};
pub use mp_manager_proto::{
    address::Address,
    authkey::Authkey,
    tls::Pem,
    undecoded::UNDECODED,
    v1::{Holding, Inspection, Kind, ObjectInfo, SessionInfo, Statistics, Waiting},
};
pub use objects::{
    Array, Barrier, BoundedSemaphore, Condition, ConditionGuard, Delivery, Dict, Element, Event,
    List, Lock, LockGuard, Manager, Name, Namespace, Open, Pages, Permit, Pipe, PipeEnd, Proxy,
    Queue, RLock, RLockGuard, Received, Semaphore, Set, SetOperand, Slice, Unnamed, Value,
};
#[cfg(feature = "process")]
pub use process::{Pool, Process, Registry, Task, TaskFailure, init};
pub use rpc::{
    as_value::{AsEntry, AsValue},
    fence::Fence,
};
pub use wait_any::{Waitable, wait_any, wait_any_timeout};
