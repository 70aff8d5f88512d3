//! The mp-manager daemon as a library: gRPC, sockets and alarm clocks around the engine of the core.
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
//! there is to say. There is no task and no channel per call. What happens to sessions and objects is
//! decided in `mp_manager_core::engine`, whose documentation has the order of its locks; the locks of
//! this crate are leaves.

mod acceptor;
mod admission;
mod authkeys;
mod authority;
mod beats;
mod clock;
mod connection;
mod deadlines;
mod decoding;
mod elsewhere;
mod error;
mod gate;
mod handle;
mod handshake;
mod host;
mod http;
mod identity;
mod inside;
mod lanes;
mod leases;
mod listener;
mod lock;
mod metrics;
mod options;
mod peers;
mod rate;
mod reflection;
mod reservation;
mod server;
mod service;
mod socket_file;
mod state_dir;
mod stream;
mod tally;
mod threads;
mod tls;

pub use authkeys::MAX_AUTHKEYS;
pub use error::{ServeError, TlsError};
pub use handle::Handle;
pub use identity::{CERTIFICATE_NAME, kept_certificate};
pub use inside::{Begun, Inside};
pub use mp_manager_proto::{
    address::Address,
    authkey::Authkey,
    tls::{Identity, Pem},
};
pub use options::{Limits, Options};
pub use peers::{Duplex, Peer, PeerError, PeerListener, PeerOptions};
pub use server::Server;
pub use tls::Tls;
