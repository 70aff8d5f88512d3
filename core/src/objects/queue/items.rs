//! What waits in a queue, each item in its place.

use std::{cmp::Ordering, collections::BTreeMap};

use mp_manager_proto::{
    order::{self, OrderError},
    parts::Parts,
    v1::{Delivery, Error, QueueItem, QueueOrder, Reason, Value},
};

use crate::{
    compact::Compact,
    memory::{branches, tree},
    stored::{Pin, Stored},
    turn::{Turn, one_of},
};

/// The items that wait, and the places of those that were taken out and may come back.
#[derive(Debug, Clone)]
pub(super) struct Items {
    order: QueueOrder,
    waiting: BTreeMap<Place, Item>,
    /// Only in a priority queue: what comes back must have an order against what came meanwhile.
    away: BTreeMap<Place, ()>,
    last_ticket: u64,
    /// What the keys of both take, beside their places.
    key_bytes: usize,
}

/// What was put, and how often it was handed out.
#[derive(Debug, Clone)]
pub(super) struct Item {
    value: Stored,
    priority: Option<Stored>,
    deliveries: u32,
}

/// Where an item stands. It keeps its place when it is taken, and returns there.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// What a priority queue orders by.
    key: Option<Compact>,
    ticket: u64,
}

/// An item that was taken out.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    place: Place,
    item: Item,
}

impl Items {
    pub(super) fn new(order: QueueOrder) -> Self {
        let (waiting, away) = (BTreeMap::new(), BTreeMap::new());
        Self { order, waiting, away, last_ticket: 0, key_bytes: 0 }
    }

    pub(super) fn order(&self) -> QueueOrder {
        self.order
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether these may come in: in a priority queue, every two items must have an order.
    ///
    /// Those inside have one, so those that have none against a new item stand side by side: they
    /// are equal to it, and thus to each other, up to where the comparison fails. [`Place`] takes
    /// such pairs for equal, and a new ticket is the highest, so if there is one it is directly
    /// before the new item's place.
    pub(super) fn check(&self, items: &[Item]) -> Result<(), Error> {
        if self.order != QueueOrder::Priority {
            return Ok(());
        }
        let mut batch = BTreeMap::new();
        for (at, (item, ticket)) in items.iter().zip(self.last_ticket + 1..).enumerate() {
            let no_order = |error| one_of(at, items.len(), no_order(error));
            order::check(item.key()).map_err(no_order)?;
            let place = self.place(item, ticket);
            let neighbours =
                [before(&self.waiting, &place), before(&self.away, &place), before(&batch, &place)];
            for neighbour in neighbours.into_iter().flatten() {
                place.compare_keys(neighbour).map_err(no_order)?;
            }
            batch.insert(place, ());
        }
        Ok(())
    }

    /// Takes in items that were checked, each under the next ticket.
    pub(super) fn extend(&mut self, items: Vec<Item>) {
        for item in items {
            self.last_ticket += 1;
            let place = self.place(&item, self.last_ticket);
            self.key_bytes += place.bytes();
            self.waiting.insert(place, item);
        }
    }

    /// The next in order.
    pub(super) fn first(&self) -> Option<&Item> {
        let entry = match self.order {
            QueueOrder::Lifo => self.waiting.last_key_value(),
            _ => self.waiting.first_key_value(),
        };
        entry.map(|(_, item)| item)
    }

    /// Hands out the next in order; it may come back until it is forgotten.
    pub(super) fn take(&mut self) -> Option<Taken> {
        let (place, mut item) = match self.order {
            QueueOrder::Lifo => self.waiting.pop_last(),
            _ => self.waiting.pop_first(),
        }?;
        item.deliveries = item.deliveries.saturating_add(1);
        if self.order == QueueOrder::Priority {
            self.away.insert(place.clone(), ());
        }
        Some(Taken { place, item })
    }

    /// Puts an item back in its place.
    pub(super) fn put_back(&mut self, taken: Taken) {
        if self.away.remove(&taken.place).is_none() {
            self.key_bytes += taken.place.bytes();
        }
        self.waiting.insert(taken.place, taken.item);
    }

    /// An item will not come back.
    pub(super) fn forget(&mut self, taken: &Taken) {
        if self.away.remove(&taken.place).is_some() {
            self.key_bytes -= taken.place.bytes();
        }
    }

    /// The memory it takes beside its items, about.
    pub(super) fn branches(&self) -> usize {
        branches::<Place, Item>(self.len()) + tree::<Place, ()>(self.away.len()) + self.key_bytes
    }

    /// Everything that waits leaves.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Item> + use<> {
        self.key_bytes -= self.waiting.keys().map(Place::bytes).sum::<usize>();
        std::mem::take(&mut self.waiting).into_values()
    }

    fn place(&self, item: &Item, ticket: u64) -> Place {
        let key = (self.order == QueueOrder::Priority).then(|| item.key().clone());
        Place { key, ticket }
    }
}

impl Item {
    /// Makes an item at rest of one from the wire.
    pub(super) fn store(item: QueueItem, turn: &Turn<'_>) -> Result<Self, Error> {
        let value = turn.store_required(item.value)?;
        let priority = item.priority.map(|priority| turn.store(priority)).transpose()?;
        Ok(Self { value, priority, deliveries: 0 })
    }

    pub(super) fn value(&self) -> &Stored {
        &self.value
    }

    /// The memory it takes with its place, about.
    pub(super) fn bytes(&self) -> usize {
        let priority = self.priority.as_ref().map_or(0, Stored::bytes);
        size_of::<(Place, Self)>() + self.value.bytes() + priority
    }

    fn key(&self) -> &Compact {
        self.priority.as_ref().unwrap_or(&self.value).compact()
    }
}

impl Taken {
    pub(super) fn ticket(&self) -> u64 {
        self.place.ticket
    }

    pub(super) fn bytes(&self) -> usize {
        self.item.bytes() + self.place.bytes()
    }

    pub(super) fn to_wire(&self) -> Delivery {
        let priority = self.item.priority.as_ref().map(Stored::to_wire);
        self.delivery(self.item.value.to_wire(), priority)
    }

    /// As [`to_wire`](Self::to_wire), for one of many that go together.
    pub(super) fn to_wire_by(&self, parts: &mut Parts) -> Delivery {
        let priority = self.item.priority.as_ref().map(|priority| priority.to_wire_by(parts));
        self.delivery(self.item.value.to_wire_by(parts), priority)
    }

    fn delivery(&self, value: Value, priority: Option<Value>) -> Delivery {
        let deliveries = self.item.deliveries;
        Delivery { ticket: self.place.ticket, value: Some(value), deliveries, priority }
    }

    /// Holds on what the item refers to.
    pub(super) fn pins(&self) -> impl Iterator<Item = Pin> {
        let stored = [Some(&self.item.value), self.item.priority.as_ref()];
        stored.into_iter().flatten().flat_map(|stored| stored.pins().iter().cloned())
    }
}

impl Place {
    /// The memory it takes beside itself.
    fn bytes(&self) -> usize {
        self.key.as_ref().map_or(0, Compact::bytes)
    }

    fn compare_keys(&self, other: &Self) -> Result<Ordering, OrderError> {
        match (&self.key, &other.key) {
            (Some(a), Some(b)) => order::compare(a, b),
            _ => Ok(Ordering::Equal),
        }
    }
}

/// Total among the places in a queue, as [`Items::check`] lets in nothing without an order.
impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        let keys = self.compare_keys(other).unwrap_or(Ordering::Equal);
        keys.then(self.ticket.cmp(&other.ticket))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Place {}

fn before<'a, T>(places: &'a BTreeMap<Place, T>, place: &Place) -> Option<&'a Place> {
    places.range(..place).next_back().map(|(place, _)| place)
}

fn no_order(error: OrderError) -> Error {
    Error::new(Reason::TypeMismatch, format!("the priority does not fit in here: {error}"))
        .with_hint("use priorities of one kind: numbers, strings, bytes, or arrays of these")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Keys of every kind, alike enough for arrays to have long common beginnings.
    #[derive(Debug, Clone)]
    enum Key {
        Nil,
        Integer(u8),
        Float(f64),
        Text(String),
        Array(Vec<Key>),
    }

    fn key() -> impl Strategy<Value = Key> {
        let leaf = prop_oneof![
            1 => Just(Key::Nil),
            6 => (0..3_u8).prop_map(Key::Integer),
            2 => prop::sample::select(vec![0.0, 0.5, f64::NAN]).prop_map(Key::Float),
            2 => "[ab]?".prop_map(Key::Text),
        ];
        leaf.prop_recursive(2, 8, 3, |inner| {
            prop::collection::vec(inner, 0..3).prop_map(Key::Array)
        })
    }

    fn encode(key: &Key) -> Vec<u8> {
        match key {
            Key::Nil => vec![0xc0],
            Key::Integer(n) => vec![*n],
            Key::Float(x) => [&[0xcb][..], &x.to_be_bytes()].concat(),
            Key::Text(text) => [&[0xa0 + text.len() as u8], text.as_bytes()].concat(),
            Key::Array(keys) => std::iter::once(0x90 + keys.len() as u8)
                .chain(keys.iter().flat_map(encode))
                .collect(),
        }
    }

    fn item(key: &Key) -> Item {
        let value = Stored::new(encode(key).into(), Vec::new());
        Item { value, priority: None, deliveries: 0 }
    }

    proptest! {
        /// An item comes in exactly if it has an order against each of those inside.
        #[test]
        fn what_has_an_order_is_kept_in_it(keys in prop::collection::vec(key(), 0..24)) {
            let mut items = Items::new(QueueOrder::Priority);
            let mut inside: Vec<Compact> = Vec::new();
            for (n, key) in keys.iter().enumerate() {
                let item = item(key);
                let bytes = item.key().clone();
                let fits = order::check(&bytes).is_ok()
                    && inside.iter().all(|other| order::compare(&bytes, other).is_ok());
                prop_assert_eq!(items.check(std::slice::from_ref(&item)).is_ok(), fits);
                if fits {
                    items.extend(vec![item]);
                    inside.push(bytes);
                }
                // Those that are away count as well.
                if n % 3 == 0 {
                    items.take();
                }
            }
            for place in std::mem::take(&mut items.away).into_keys() {
                let item = Item {
                    value: Stored::new(place.key.as_ref().unwrap().share(), Vec::new()),
                    priority: None,
                    deliveries: 1,
                };
                items.put_back(Taken { place, item });
            }
            prop_assert_eq!(items.len(), inside.len());
            inside.sort_by(|a, b| order::compare(a, b).unwrap());
            let taken: Vec<_> =
                std::iter::from_fn(|| items.take()).map(|taken| taken.item.key().clone()).collect();
            prop_assert_eq!(taken, inside);
        }

        #[test]
        fn a_batch_is_checked_against_itself(keys in prop::collection::vec(key(), 0..6)) {
            let batch: Vec<Item> = keys.iter().map(item).collect();
            let mut fits = batch.iter().all(|item| order::check(item.key()).is_ok());
            for (n, a) in batch.iter().enumerate() {
                fits &= batch[..n].iter().all(|b| order::compare(a.key(), b.key()).is_ok());
            }
            prop_assert_eq!(Items::new(QueueOrder::Priority).check(&batch).is_ok(), fits);
        }
    }
}
