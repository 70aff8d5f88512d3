//! All rows.

use std::io;

use crate::{client, codec, core, end_to_end};

/// One kind of operation.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// How far counts of the same code lie apart, with room to spare.
    pub(crate) tolerance_percent: f64,
    /// Does so many operations.
    pub(crate) work: fn(u32) -> io::Result<()>,
}

const fn pure(name: &'static str, work: fn(u32) -> io::Result<()>) -> Row {
    Row { name, tolerance_percent: 1.0, work }
}

/// The order of polls depends on the system, and so does the number of requests in a frame.
const fn with_io(name: &'static str, work: fn(u32) -> io::Result<()>) -> Row {
    Row { name, tolerance_percent: 2.0, work }
}

pub(crate) const ROWS: &[Row] = &[
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
    with_io("end-to-end/lock", end_to_end::lock),
];
