//! What a reply is, for both sides: one table with each result once and all of its properties beside
//! it. No match has a wildcard, so a new result does not compile before it is classified.

use bytes::Bytes;

use crate::v1::{
    Deliveries, Entry, Error, Inspection, Listing, Optionals, Page, PoolOrders, PoolResults,
    PoolStatus, PoolTasks, PoolWork, Ref, Value, pipe_message, reply,
};

/// The properties of a reply.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Class<'a> {
    /// It hands over something that others wait for: a lock, permits, items, a message, the action
    /// of a barrier. Until it is acknowledged, cancelling its call takes that back.
    pub hands_over: bool,
    /// What can make it long, and refer to objects.
    pub payload: Payload<'a>,
}

/// What can make a reply long, and refer to objects.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Payload<'a> {
    /// Nothing: at most some numbers.
    None,
    /// The texts of an error.
    Error(&'a Error),
    /// Bytes that refer to nothing.
    Bytes(&'a Bytes),
    /// A value.
    Value(&'a Value),
    /// A key with its value.
    Entry(&'a Entry),
    /// Keys, values or both.
    Page(&'a Page),
    /// Values, some of which are absent.
    Optionals(&'a Optionals),
    /// Items of a queue.
    Deliveries(&'a Deliveries),
    /// Tasks for a worker.
    Work(&'a PoolWork),
    /// Results of tasks.
    Results(&'a PoolResults),
    /// How far a pool is.
    Status(&'a PoolStatus),
    /// What a host of a pool is to do.
    Orders(&'a PoolOrders),
    /// Tasks of a pool, described.
    Tasks(&'a PoolTasks),
    /// A reference to an object.
    Reference(&'a Ref),
    /// Descriptions of objects.
    Listing(&'a Listing),
    /// Descriptions of objects and sessions.
    Inspection(&'a Inspection),
}

impl<'a> Class<'a> {
    const fn returning(payload: Payload<'a>) -> Self {
        Self { hands_over: false, payload }
    }

    const fn handing_over(payload: Payload<'a>) -> Self {
        Self { hands_over: true, payload }
    }
}

/// The properties of a reply.
#[inline]
#[must_use]
pub fn class(result: &reply::Result) -> Class<'_> {
    use reply::Result as R;
    match result {
        R::Done(_) | R::Absent(_) | R::Flag(_) | R::Number(_) => Class::returning(Payload::None),
        R::Error(error) => Class::returning(Payload::Error(error)),
        R::Value(value) => Class::returning(Payload::Value(value)),
        R::Entry(entry) => Class::returning(Payload::Entry(entry)),
        R::Raw(bytes) => Class::returning(Payload::Bytes(bytes)),
        R::Page(page) => Class::returning(Payload::Page(page)),
        R::Optionals(all) => Class::returning(Payload::Optionals(all)),
        R::Swap(swap) => Class::returning(value(swap.current.as_ref())),
        R::Grant(_) | R::Woken(_) => Class::handing_over(Payload::None),
        R::Arrival(arrival) => Class { hands_over: arrival.run_action, payload: Payload::None },
        R::Delivery(delivery) => Class::handing_over(value(delivery.value.as_ref())),
        R::Deliveries(all) => Class::handing_over(Payload::Deliveries(all)),
        R::Message(message) => Class::handing_over(content(message.content.as_ref())),
        R::Opened(opened) => {
            Class::returning(opened.r#ref.as_ref().map_or(Payload::None, Payload::Reference))
        }
        R::Listing(listing) => Class::returning(Payload::Listing(listing)),
        R::Inspection(inspection) => Class::returning(Payload::Inspection(inspection)),
        R::Work(work) => Class::handing_over(Payload::Work(work)),
        // With more to come, whoever gets them has the rest of the run.
        R::Results(results) => {
            Class { hands_over: results.run != 0, payload: Payload::Results(results) }
        }
        R::PoolStatus(status) => Class::returning(Payload::Status(status)),
        R::PoolOrders(orders) => Class::returning(Payload::Orders(orders)),
        R::PoolTasks(tasks) => Class::returning(Payload::Tasks(tasks)),
    }
}

fn value(value: Option<&Value>) -> Payload<'_> {
    value.map_or(Payload::None, Payload::Value)
}

fn content(content: Option<&pipe_message::Content>) -> Payload<'_> {
    match content {
        Some(pipe_message::Content::Value(value)) => Payload::Value(value),
        Some(pipe_message::Content::Raw(bytes)) => Payload::Bytes(bytes),
        None => Payload::None,
    }
}

/// Whether a reply hands over something that others wait for.
#[inline]
#[must_use]
pub fn hands_over(result: &reply::Result) -> bool {
    class(result).hands_over
}

/// Calls `f` with every reference in a reply, in order, as often as it occurs.
pub fn for_each_reference(result: &reply::Result, mut f: impl FnMut(&Ref)) {
    let mut of_value = |value: &Value| value.refs.iter().for_each(&mut f);
    match class(result).payload {
        Payload::Value(value) => of_value(value),
        Payload::Entry(entry) => entry.value.iter().for_each(of_value),
        Payload::Page(page) => page.values.iter().for_each(of_value),
        Payload::Optionals(all) => {
            all.items.iter().filter_map(|item| item.value.as_ref()).for_each(of_value);
        }
        Payload::Deliveries(all) => {
            all.deliveries.iter().filter_map(|item| item.value.as_ref()).for_each(of_value);
        }
        Payload::Work(work) => {
            work.tickets.iter().filter_map(|ticket| ticket.args.as_ref()).for_each(of_value);
        }
        Payload::Results(results) => {
            let values = results.segments.iter().filter_map(|segment| segment.results.as_ref());
            values.for_each(of_value);
        }
        Payload::Reference(reference) => f(reference),
        Payload::None
        | Payload::Status(_)
        | Payload::Orders(_)
        | Payload::Tasks(_)
        | Payload::Error(_)
        | Payload::Bytes(_)
        | Payload::Listing(_)
        | Payload::Inspection(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{
        Arrival, Delivery, Empty, Grant, Opened, Optional, PipeMessage, Swap, reply::Result as R,
    };

    fn reference(object: u64) -> Ref {
        Ref { object, ..Ref::default() }
    }

    fn referring(objects: &[u64]) -> Value {
        Value {
            refs: objects.iter().map(|&object| reference(object)).collect(),
            ..Value::default()
        }
    }

    fn references(result: &R) -> Vec<u64> {
        let mut objects = Vec::new();
        for_each_reference(result, |reference| objects.push(reference.object));
        objects
    }

    #[test]
    fn references_are_found_wherever_a_reply_has_them() {
        let delivery =
            |objects| Delivery { value: Some(referring(objects)), ..Delivery::default() };
        let optional = |objects| Optional { value: Some(referring(objects)) };
        let message = pipe_message::Content::Value(referring(&[1, 2]));
        let both = [
            R::Value(referring(&[1, 2])),
            R::Entry(Entry { value: Some(referring(&[1, 2])), ..Entry::default() }),
            R::Page(Page { values: vec![referring(&[1]), referring(&[2])], ..Page::default() }),
            R::Optionals(Optionals {
                items: vec![optional(&[1]), Optional::default(), optional(&[2])],
            }),
            R::Swap(Swap { current: Some(referring(&[1, 2])), swapped: false }),
            R::Delivery(delivery(&[1, 2])),
            R::Deliveries(Deliveries { deliveries: vec![delivery(&[1]), delivery(&[2])] }),
            R::Message(PipeMessage { content: Some(message) }),
        ];
        for result in both {
            assert_eq!(references(&result), [1, 2], "{result:?}");
        }
        let opened = Opened { r#ref: Some(reference(3)), ..Opened::default() };
        assert_eq!(references(&R::Opened(opened)), [3]);
        assert_eq!(references(&R::Raw(Bytes::from_static(b"x"))), []);
    }

    #[test]
    fn an_arrival_hands_over_the_action_and_nothing_else() {
        let arrival = |run_action| R::Arrival(Arrival { run_action, ..Arrival::default() });
        assert!(hands_over(&arrival(true)));
        assert!(!hands_over(&arrival(false)));
    }

    #[test]
    fn what_others_wait_for_is_handed_over_and_what_was_read_is_not() {
        assert!(hands_over(&R::Grant(Grant::default())));
        assert!(hands_over(&R::Delivery(Delivery::default())));
        assert!(hands_over(&R::Message(PipeMessage::default())));
        assert!(!hands_over(&R::Absent(Empty {})));
        assert!(!hands_over(&R::Value(referring(&[1]))));
    }
}
