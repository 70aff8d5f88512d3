//! The connection behind a session.

pub(crate) mod authkeys;
mod channel;
pub(crate) mod connect;
pub(crate) mod driver;
#[cfg(feature = "embedded")]
pub(crate) mod embedded;
pub(crate) mod io_thread;
#[cfg(feature = "embedded")]
mod private_directory;
pub(crate) mod tls;
