//! The mp-manager daemon as a library: gRPC, timers and the object store around the pure core.
//!
//! ```no_run
//! use mp_manager_server::{Options, Server};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::bind(&"127.0.0.1:0".parse()?, Options::new("authkey")).await?;
//! println!("listening on {}", server.address());
//! server.run(std::future::pending()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A session's response stream is one hand-written `Stream` (`stream.rs`): in a single
//! poll it takes the frames that have arrived, applies their operations inline, and yields what
//! there is to say. There is no task and no channel per call.
//!
//! Lock order: session → object → session's outbox, and never two objects at once. The outbox, the
//! timers, the leases, the rules of admission and the maps are leaves: nothing else is locked from
//! inside.

mod acceptor;
mod admission;
mod authkeys;
mod beats;
mod clock;
mod connection;
mod directory;
mod gate;
mod handle;
mod handshake;
mod http;
mod leases;
mod listener;
mod options;
mod rate;
mod reservation;
mod server;
mod service;
mod session;
mod socket_file;
mod state_dir;
mod store;
mod stream;
mod timers;
mod tls;

pub use authkeys::MAX_AUTHKEYS;
pub use handle::Handle;
pub use mp_manager_proto::{
    address::Address,
    authkey::Authkey,
    tls::{Identity, Pem},
};
pub use options::{Limits, Options};
pub use server::{ServeError, Server};
pub use tls::{Tls, TlsError};

/// Locks, whatever became of the last one who did: state is only ever changed by functions that do
/// not panic half-way.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
