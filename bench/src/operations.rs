//! Single operations, whose instructions are counted and whose time is taken.

mod client;
mod codec;
mod core;
mod end_to_end;

use std::{fmt, io};

/// One kind of operation.
#[derive(Debug)]
pub struct Row {
    /// The part that is measured, and the operation.
    pub name: &'static str,
    /// How far counts of the same code lie apart, with room to spare.
    pub tolerance_percent: f64,
    /// Does so many operations.
    pub work: fn(u32) -> io::Result<()>,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

const fn pure(name: &'static str, work: fn(u32) -> io::Result<()>) -> Row {
    Row { name, tolerance_percent: 1.0, work }
}

/// The order of polls depends on the system, and so does the number of requests in a frame.
const fn with_io(name: &'static str, work: fn(u32) -> io::Result<()>) -> Row {
    Row { name, tolerance_percent: 2.0, work }
}

/// All of them.
pub const ROWS: &[Row] = &[
    pure("core/dict-get", core::dict_get),
    pure("core/dict-insert", core::dict_insert),
    pure("core/lock", core::lock),
    pure("core/queue", core::queue),
    pure("core/session-get", core::session_get),
    pure("core/session-get-64", core::session_get_many),
    pure("core/session-lock", core::session_lock),
    pure("core/session-queue", core::session_queue),
    pure("codec/value-encode", codec::value_encode),
    pure("codec/value-decode", codec::value_decode),
    pure("codec/key-encode", codec::key_encode),
    pure("codec/requests-encode", codec::requests_encode),
    pure("codec/requests-weigh", codec::requests_weigh),
    pure("codec/requests-decode", codec::requests_decode),
    pure("codec/replies-encode", codec::replies_encode),
    pure("codec/replies-decode", codec::replies_decode),
    pure("client/get", client::get),
    pure("client/get-64", client::get_many),
    pure("client/insert", client::insert),
    pure("client/lock", client::lock),
    pure("client/queue", client::queue),
    with_io("end-to-end/dict", end_to_end::dict),
    with_io("end-to-end/dict-many", end_to_end::dict_many),
    with_io("end-to-end/list", end_to_end::list),
    with_io("end-to-end/set", end_to_end::set),
    with_io("end-to-end/value", end_to_end::value),
    with_io("end-to-end/queue", end_to_end::queue),
    with_io("end-to-end/queue-many", end_to_end::queue_many),
    with_io("end-to-end/pipe", end_to_end::pipe),
    with_io("end-to-end/lock", end_to_end::lock),
    with_io("end-to-end/rlock", end_to_end::rlock),
    with_io("end-to-end/semaphore", end_to_end::semaphore),
    with_io("end-to-end/event", end_to_end::event),
    with_io("end-to-end/barrier", end_to_end::barrier),
];
