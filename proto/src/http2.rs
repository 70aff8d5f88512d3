//! gRPC on streams of HTTP/2, without a task for each: whoever has a connection polls what is on it.

mod body;
mod messages;
mod outbound;
mod pings;

/// The budget of h2 for small DATA frames that are not read yet: each takes 256 bytes less its own length. It allows
/// as many of the smallest requests or replies as fill a stream's window of 4 MiB, so that nobody is cut off who keeps
/// to the window, while the other end stands still.
pub const DATA_FRAME_BUDGET: usize = 40 << 20;

pub use body::{Incoming, send_body};
pub use messages::Messages;
pub use outbound::Outbound;
pub use pings::keep_alive;
