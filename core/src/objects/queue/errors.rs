//! What a queue refuses.

use mp_manager_proto::v1::{Error, Reason};

pub(super) fn shut_down() -> Error {
    Error::new(Reason::ShutDown, "the queue was shut down")
        .with_hint("delete it and open it again to start afresh")
}

pub(super) fn full(count: usize, len: usize, maxsize: u64) -> Error {
    Error::new(
        Reason::Full,
        format!("the queue has no room for {count} more: it holds {len}, maxsize is {maxsize}"),
    )
    .with_hint("wait longer, or take items out faster")
}

pub(super) fn never_fits(count: usize, maxsize: u64) -> Error {
    Error::new(
        Reason::InvalidArgument,
        format!("{count} items never fit into a queue whose maxsize is {maxsize}"),
    )
    .with_hint("put them in smaller batches")
}

pub(super) fn not_leased(ticket: u64) -> Error {
    Error::new(Reason::NotLeased, format!("this session has no lease on item {ticket}"))
        .with_hint("it was finished or rejected already, or belongs to another session")
}

pub(super) fn too_many(count: u64, taken: u64) -> Error {
    Error::new(
        Reason::BoundExceeded,
        format!(
            "task_done() called too many times: {count} for {taken} items taken and not finished"
        ),
    )
    .with_hint("call it once for each item taken with get; finish a leased one with its done()")
}
