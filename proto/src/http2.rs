//! gRPC on streams of HTTP/2, without a task for each: whoever has a connection polls what is on it.

mod body;
mod messages;
mod outbound;
mod pings;

pub use body::{Incoming, send_body};
pub use messages::Messages;
pub use outbound::Outbound;
pub use pings::keep_alive;
