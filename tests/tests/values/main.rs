//! What a value means to those who share it: how deep it may nest, when two are equal, which numbers a
//! type holds, and how much comes back at once.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod arguments;
mod bulk;
mod depth;
mod equality;
mod sums;

use bytes::Bytes;
use mp_manager_proto::v1::{DictOp, Entry, ScalarOp, Value, dict_op, request, scalar_op};

/// `"k"`
const KEY: &[u8] = &[0xa1, b'k'];

fn insert(data: impl Into<Bytes>) -> request::Op {
    let value = Value { data: data.into(), refs: Vec::new() };
    let entry = Entry { key: KEY.into(), value: Some(value) };
    request::Op::Dict(DictOp { op: Some(dict_op::Op::Insert(entry)) })
}

fn set(data: impl Into<Bytes>) -> request::Op {
    let value = Value { data: data.into(), refs: Vec::new() };
    request::Op::Scalar(ScalarOp { op: Some(scalar_op::Op::Set(value)) })
}
