//! Operations and what they are told, as the wire has them, on objects of numbers.

use bytes::Bytes;
use mp_manager_core::{
    Reason,
    v1::{
        Delivery, DictAdd, DictOp, ElementType, Empty, Entry, Error, Grant, ListOp, LockOp,
        Parameters, QueueItem, QueueOp, ScalarAdd, ScalarOp, ScalarParameters, SemaphoreOp,
        SemaphoreParameters, SemaphoreRelease, Value, dict_op, list_op, lock_op, parameters,
        queue_op, reply, request, scalar_op, semaphore_op,
    },
};
use mp_manager_proto::value;
use serde::Serialize;

/// A number on the wire.
#[must_use]
pub fn number(n: u64) -> Value {
    Value { data: encoded(&n), refs: Vec::new() }
}

/// A dict's key on the wire.
#[must_use]
pub fn key(key: &str) -> Bytes {
    encoded(key)
}

fn encoded<T: Serialize + ?Sized>(value: &T) -> Bytes {
    value::encode(value).unwrap_or_else(|error| panic!("it is plain: {error}")).into()
}

/// An operation of a dict.
#[must_use]
pub fn dict(op: dict_op::Op) -> request::Op {
    request::Op::Dict(DictOp { op: Some(op) })
}

/// One of an entry.
#[must_use]
pub fn entry(name: &str, n: u64) -> Entry {
    Entry { key: key(name), value: Some(number(n)) }
}

/// Adds to a number of a dict of `u64`.
#[must_use]
pub fn add(name: &str, n: u64) -> request::Op {
    let Entry { key, value: delta } = entry(name, n);
    dict(dict_op::Op::Add(DictAdd { key, delta, sum_type: ElementType::U64.into() }))
}

/// Adds to a Value of `u64`.
#[must_use]
pub fn scalar_add(n: u64) -> request::Op {
    let add = ScalarAdd { delta: number(n).data, sum_type: ElementType::U64.into() };
    scalar(scalar_op::Op::Add(add))
}

/// One of a Value.
#[must_use]
pub fn scalar(op: scalar_op::Op) -> request::Op {
    request::Op::Scalar(ScalarOp { op: Some(op) })
}

/// How a Value begins.
#[must_use]
pub fn initial(n: u64) -> Parameters {
    let parameters = ScalarParameters { initial: Some(number(n)) };
    Parameters { parameters: Some(parameters::Parameters::Scalar(parameters)) }
}

/// One of a list.
#[must_use]
pub fn list(op: list_op::Op) -> request::Op {
    request::Op::List(ListOp { op: Some(op) })
}

/// One of a queue.
#[must_use]
pub fn queue(op: queue_op::Op) -> request::Op {
    request::Op::Queue(QueueOp { op: Some(op) })
}

/// A put into a queue.
#[must_use]
pub fn put(item: u64) -> request::Op {
    queue(queue_op::Op::Put(QueueItem { value: Some(number(item)), priority: None }))
}

/// One of a lock.
#[must_use]
pub fn lock(op: lock_op::Op) -> request::Op {
    request::Op::Lock(LockOp { op: Some(op) })
}

/// One of a semaphore.
#[must_use]
pub fn semaphore(op: semaphore_op::Op) -> request::Op {
    request::Op::Semaphore(SemaphoreOp { op: Some(op) })
}

/// A release of all permits of a grant, as a guard does it.
#[must_use]
pub fn release_permits(token: u64) -> request::Op {
    let release = SemaphoreRelease { count: u64::MAX, token: Some(token) };
    semaphore(semaphore_op::Op::Release(release))
}

/// How a semaphore begins.
#[must_use]
pub fn permits(permits: u64) -> Parameters {
    let parameters = SemaphoreParameters { permits, bounded: false };
    Parameters { parameters: Some(parameters::Parameters::Semaphore(parameters)) }
}

/// Told: done.
#[must_use]
pub fn done() -> reply::Result {
    reply::Result::Done(Empty {})
}

/// Told: a number, or that there is none.
#[must_use]
pub fn value_or_absent(n: Option<u64>) -> reply::Result {
    n.map_or(reply::Result::Absent(Empty {}), |n| reply::Result::Value(number(n)))
}

/// Told: a list has no such element.
#[must_use]
pub fn no_element() -> reply::Result {
    reply::Result::Error(Error::new(Reason::IndexOutOfRange, ""))
}

/// Told: an item, or that there is none. With `deliveries` 0, nobody saw how often it came.
#[must_use]
pub fn item_or_absent(item: Option<(u64, u32)>) -> reply::Result {
    item.map_or(reply::Result::Absent(Empty {}), |(item, deliveries)| {
        let value = Some(number(item));
        reply::Result::Delivery(Delivery { ticket: 0, value, deliveries, priority: None })
    })
}

/// Told: granted with this token, or not.
#[must_use]
pub fn grant_or_absent(token: Option<u64>) -> reply::Result {
    token.map_or(reply::Result::Absent(Empty {}), |token| {
        reply::Result::Grant(Grant { token, depth: 1 })
    })
}
