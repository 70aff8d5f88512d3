//! Frames as they are weighed before they are decoded, against what the decoder makes of them.

use mp_manager_proto::{
    frame::{Limits, Weight},
    v1::{
        ClientFrame, Entry, QueueItem, Request, Value, dict_op::Op as Dict, list_op::Op as List,
        queue_op::Op as Queue, request::Op, set_op::Op as Set,
    },
};
use prost::Message;

use super::generate::Source;

/// As many as anybody could send: what is left is the proportion of memory to length.
const UNLIMITED: Limits = Limits { max_requests: usize::MAX, max_open_requests: usize::MAX };
/// What is decoded where it arrives takes no more.
const LIGHT: usize = 1 << 20;

/// Longer ones take longer and get no further.
const MAX_LEN: usize = 64 << 10;

/// A frame: the first byte says whether the rest is one or makes one, and the next two how often it is said
/// again. Each other bit of the first makes that a quarter: most inputs are short, and soon done with.
pub fn weights(data: &[u8]) {
    let mut source = Source(data);
    let first = source.byte();
    let is_made = first % 2 == 1;
    let quarters = (first >> 1).count_ones();
    let wanted = (usize::from(source.byte()) * usize::from(source.byte())) >> (2 * quarters);
    let once = if is_made { source.message("ClientFrame") } else { source.0.to_vec() };
    let times = wanted.clamp(1, (MAX_LEN / once.len().max(1)).max(1));
    let frame = once.repeat(times);
    let decoded = ClientFrame::decode(&frame[..]);
    let weighed = UNLIMITED.weigh(&frame);
    let looked = UNLIMITED.look(&frame);
    if let (Ok(_), Err(error)) = (&decoded, &weighed) {
        assert!(error.message.contains("times its length"), "{error}");
    }
    // Looking says no more than weighing does.
    assert!(looked.is_ok() || weighed.is_err());
    let Ok(decoded) = decoded else { return };
    let memory = heap(&decoded);
    if looked == Ok(Weight::Light) {
        assert!(memory <= LIGHT, "{} bytes take {memory}", frame.len());
    }
    if let Ok(weight) = weighed {
        assert!(memory <= weight, "{memory} bytes were weighed as {weight}");
    }
    for limits in
        [Limits { max_requests: 3, ..UNLIMITED }, Limits { max_open_requests: 0, ..UNLIMITED }]
    {
        let refused = limits.weigh(&frame).is_err();
        let too_many = decoded.requests.len() > limits.max_requests;
        assert!(refused || !too_many, "{} requests", decoded.requests.len());
    }
}

/// The memory that a frame has beside its own bytes.
fn heap(frame: &ClientFrame) -> usize {
    let ClientFrame { requests, acks, cancels, reconcile, .. } = frame;
    let reconciled = reconcile.iter().map(|known| room(&known.open) + room(&known.cancelled));
    let inside: usize = requests.iter().filter_map(|request| request.op.as_ref()).map(of_op).sum();
    room::<Request>(requests) + room(acks) + room(cancels) + reconciled.sum::<usize>() + inside
}

/// Operations that can have many of something, with what else is in them left out.
fn of_op(op: &Op) -> usize {
    match op {
        Op::Dict(op) => match &op.op {
            Some(Dict::Extend(entries)) => of_entries(&entries.entries),
            Some(Dict::AddMany(entries)) => of_entries(&entries.entries),
            Some(Dict::GetMany(keys)) => room(&keys.keys),
            Some(Dict::RemoveMany(keys)) => room(&keys.keys),
            Some(Dict::Insert(entry) | Dict::GetOrInsert(entry)) => of_value(entry.value.as_ref()),
            _ => 0,
        },
        Op::List(op) => match &op.op {
            Some(List::Extend(values)) => of_values(&values.values),
            Some(List::SliceSet(set)) => of_values(&set.values),
            Some(List::Push(value)) => of_value(Some(value)),
            _ => 0,
        },
        Op::Set(op) => {
            let other = match &op.op {
                Some(Set::Combine(combine)) => combine.other.as_ref(),
                Some(Set::Compare(compare)) => compare.other.as_ref(),
                _ => None,
            };
            other.map_or(0, |other| room(&other.elements))
        }
        Op::Queue(op) => match &op.op {
            Some(Queue::PutMany(many)) => {
                room(&many.items) + many.items.iter().map(of_item).sum::<usize>()
            }
            Some(Queue::Put(item)) => of_item(item),
            _ => 0,
        },
        _ => 0,
    }
}

fn room<T>(vector: &Vec<T>) -> usize {
    vector.capacity() * size_of::<T>()
}

fn of_value(value: Option<&Value>) -> usize {
    value.map_or(0, |value| room(&value.refs))
}

fn of_values(values: &Vec<Value>) -> usize {
    room(values) + values.iter().map(|value| of_value(Some(value))).sum::<usize>()
}

fn of_entries(entries: &Vec<Entry>) -> usize {
    room(entries) + entries.iter().map(|entry| of_value(entry.value.as_ref())).sum::<usize>()
}

fn of_item(item: &QueueItem) -> usize {
    of_value(item.value.as_ref()) + of_value(item.priority.as_ref())
}
