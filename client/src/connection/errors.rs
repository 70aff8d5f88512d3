//! The errors of a connection, which name its peer.

use std::time::Duration;

use mp_manager_proto::{
    connection::FrameError,
    v1::{Error as Refusal, Reason},
};

use super::reader::End;
use crate::error::{Context, Error};

/// The other end, as errors name it.
pub(super) struct Peer(String);

impl Peer {
    pub(super) fn new(name: String) -> Self {
        Self(name)
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }

    pub(super) fn context(&self, operation: &'static str, message: String) -> Context {
        let (object, address) = ("connection".into(), self.0.clone());
        Context { operation, object, address, message, hint: String::new() }
    }

    /// Nothing will be received any more.
    pub(super) fn ended(&self, operation: &'static str, end: End) -> Error {
        let refusal = match end {
            End::Closed => Refusal::new(Reason::EndOfFile, "the other end is closed"),
            End::Truncated => {
                let message = "the other end was closed in the middle of a message";
                Refusal::new(Reason::EndOfFile, message)
            }
            End::Broken(problem) => return self.broken(operation, &problem),
            End::Frame(error @ FrameError::TooLong { .. }) => Refusal::new(
                Reason::LimitExceeded,
                format!("the other end sent {error}"),
            )
            .with_hint(
                "this connection is of no use any more; Builder::max_message_bytes sets the limit",
            ),
            End::Frame(error) => {
                Refusal::new(Reason::Protocol, format!("the other end sent {error}")).with_hint(
                    "this connection is of no use any more; use the same release at both ends",
                )
            }
        };
        self.refused(operation, refusal)
    }

    /// The connection broke.
    pub(super) fn broken(&self, operation: &'static str, problem: &str) -> Error {
        let message = format!("the other end is closed, or cannot be reached: {problem}");
        self.refused(operation, Refusal::new(Reason::EndOfFile, message))
    }

    pub(super) fn too_long(&self, operation: &'static str, len: usize, max: u32) -> Error {
        let message = format!("the message has {len} bytes, and the other end takes {max}");
        let refusal = Refusal::new(Reason::LimitExceeded, message)
            .with_hint("Builder::max_message_bytes at the other end sets how many it takes");
        self.refused(operation, refusal)
    }

    pub(super) fn too_short(&self, operation: &'static str, len: u32, room: usize) -> Error {
        let message = format!("the message has {len} bytes, and the buffer {room}");
        let refusal = Refusal::new(Reason::BufferTooShort, message)
            .with_hint("it is still there: receive it with a longer buffer, or with recv_bytes");
        self.refused(operation, refusal)
    }

    pub(super) fn cut_off(&self, operation: &'static str, time: Duration) -> Error {
        let message = format!("the other end did not take what was sent within {time:?}");
        self.refused(operation, Refusal::new(Reason::OutcomeUnknown, message))
    }

    fn refused(&self, operation: &'static str, refusal: Refusal) -> Error {
        Error::refused(refusal, self.context(operation, String::new()))
    }
}
