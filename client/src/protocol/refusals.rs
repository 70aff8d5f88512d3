//! What callers are told by this side.

use mp_manager_proto::v1::{Error as Refusal, Fence, Reason};

pub(super) fn too_long(len: usize, max: usize) -> Refusal {
    Refusal::new(Reason::LimitExceeded, format!("the request has {len} bytes; the limit is {max}"))
        .with_hint("send less at once, or raise the server's --max-frame-bytes")
}

pub(super) fn too_many_calls(count: usize) -> Refusal {
    Refusal::new(Reason::LimitExceeded, format!("{count} calls are open, which is the limit"))
        .with_hint("wait for some of them, or raise the server's --max-open-requests")
}

pub(crate) fn closed() -> Refusal {
    Refusal::new(Reason::SessionEnded, "this manager handle is closed")
        .with_hint("connect again for a new session")
}

/// What the manager would say as well.
pub(super) fn fenced(fence: Fence) -> Refusal {
    let Fence { lock, token } = fence;
    let message = format!("the grant with token {token} of object {lock} does not stand");
    Refusal::new(Reason::Fenced, message)
        .with_hint("it was released or lost: stop, and acquire again")
}

pub(super) fn lost_session() -> Refusal {
    Refusal::new(
        Reason::SessionEnded,
        "the session was lost: the manager did not hear of it in time",
    )
    .with_hint("what it held is released, and its pending calls are gone; a new one is open")
}

pub(super) fn restarted() -> Refusal {
    Refusal::new(Reason::ManagerRestarted, "the manager has started again since")
        .with_hint("what it held in memory is gone; named objects are made anew when they are used")
}

pub(super) fn unknown_outcome(why: &str) -> Refusal {
    Refusal::new(Reason::OutcomeUnknown, format!("the call may have been executed, or not: {why}"))
        .with_hint("look whether it was before you do it again")
}

pub(super) fn unreachable() -> Refusal {
    Refusal::new(Reason::Unreachable, "the manager could not be reached within the call's timeout")
        .with_hint("the call was withdrawn; the client goes on trying to connect")
}

/// The task that ran the connection is gone.
pub(crate) fn driver_ended(panicked: bool) -> Refusal {
    let how =
        if panicked { "has panicked" } else { "was dropped, most likely with its tokio runtime" };
    Refusal::new(Reason::SessionEnded, format!("the task that ran this connection {how}"))
        .with_hint(
            "connect again on a runtime that lives as long as the connection is used, or with \
             Builder::background_thread(), which gives the connection a thread of its own",
        )
}
