//! No item is lost, none is delivered twice without its count saying so, and first deliveries of
//! one producer's items keep their order.

use std::collections::{BTreeMap, BTreeSet};

/// A producer, and how many items it had put before.
pub(crate) type Item = (u64, u64);

#[derive(Default)]
pub(crate) struct Ledger {
    confirmed: BTreeSet<Item>,
    unknown: BTreeSet<Item>,
    /// Those whose producer went on without knowing.
    doubtful: BTreeSet<Item>,
    /// How often each item was received, and how often it was finished.
    received: BTreeMap<Item, Vec<u32>>,
    /// Those that need not come again: taken for good, or perhaps finished.
    settled: BTreeSet<Item>,
    finished: BTreeMap<Item, u64>,
    /// By consumer and producer.
    last: BTreeMap<(u64, u64), u64>,
    /// Somebody has found the queue empty at the end.
    is_drained: bool,
    pub(super) violations: Vec<String>,
}

impl Ledger {
    pub(crate) fn putting(&mut self, item: Item) {
        self.unknown.insert(item);
    }

    pub(crate) fn put(&mut self, item: Item) {
        self.unknown.remove(&item);
        self.confirmed.insert(item);
    }

    /// Its producer does not wait for it any more.
    pub(crate) fn doubt(&mut self, item: Item) {
        self.doubtful.insert(item);
    }

    pub(crate) fn not_put(&mut self, item: Item) {
        self.unknown.remove(&item);
        if self.received.contains_key(&item) {
            self.violations.push(format!("item {item:?} was refused and delivered"));
        }
    }

    /// A consumer received it; `deliveries` counts those before as well.
    pub(crate) fn received(&mut self, consumer: u64, item: Item, deliveries: u32) {
        if !self.confirmed.contains(&item) && !self.unknown.contains(&item) {
            self.violations.push(format!("item {item:?} was never put, and delivered"));
        }
        let before = self.received.entry(item).or_default();
        if before.iter().any(|&count| count >= deliveries) {
            self.violations.push(format!(
                "item {item:?} was delivered with count {deliveries} after {before:?}"
            ));
        }
        before.push(deliveries);
        if deliveries == 1 && !self.doubtful.contains(&item) {
            let last = self.last.insert((consumer, item.0), item.1);
            if last.is_some_and(|last| last > item.1) {
                self.violations.push(format!(
                    "item {item:?} came to consumer {consumer} after item {last:?} of the same"
                ));
            }
        }
    }

    /// It was taken for good, or its consumer said so, whether or not that was heard.
    pub(crate) fn settled(&mut self, item: Item) {
        self.settled.insert(item);
    }

    /// A leased item was confirmed to be done.
    pub(crate) fn finished(&mut self, item: Item) {
        let times = self.finished.entry(item).or_default();
        *times += 1;
        if *times > 1 {
            self.violations.push(format!("item {item:?} was finished {times} times"));
        }
    }

    /// The queue is empty, and nobody puts anything any more.
    pub(crate) fn drained(&mut self) {
        self.is_drained = true;
    }

    pub(super) fn finish(&mut self) {
        if !self.is_drained {
            return;
        }
        let lost: Vec<_> = self.confirmed.difference(&self.settled).collect();
        if !lost.is_empty() {
            self.violations.push(format!("items {lost:?} were put, and nobody has them"));
        }
    }
}
