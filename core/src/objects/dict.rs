//! A dict: keys to values, in the order of insertion.

use std::{borrow::Borrow, collections::BTreeMap};

use bytes::Bytes;
use mp_manager_proto::{
    order::{self, OrderError},
    parts::Parts,
    v1::{
        DictAdd, DictAddMany, DictCompareAndSwap, DictGetMany, DictPage, ElementType, Entry, Error,
        ObjectInfo, Optional, Optionals, Reason, Value, dict_op::Op,
    },
    value,
};

use crate::{
    call::{Answer, Applied, Call},
    compact::Compact,
    cost::{self, Cost, times},
    machine::{Machine, unsupported},
    ordered::OrderedMap,
    page::PageBuilder,
    stored::Stored,
    turn::{Turn, check_key, check_keys, each},
};

/// Python's `dict`.
#[derive(Debug, Clone)]
pub struct Dict {
    entries: OrderedMap<Stored>,
    bytes: usize,
}

impl Dict {
    /// An empty dict.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { entries: OrderedMap::new(seed), bytes: 0 }
    }

    fn insert(&mut self, key: Compact, value: Stored) -> Option<Stored> {
        let (key_bytes, value_bytes) = (key.bytes(), value.bytes());
        let old = self.entries.insert(key, value);
        self.bytes += value_bytes;
        match &old {
            Some(old) => self.bytes -= old.bytes(),
            None => self.bytes += key_bytes,
        }
        old
    }

    fn remove(&mut self, key: &[u8]) -> Option<Stored> {
        let value = self.entries.remove(key)?;
        self.bytes -= Compact::bytes_of(key.len()) + value.bytes();
        Some(value)
    }

    fn pop_item(&mut self) -> Answer {
        let Some((key, value)) = self.entries.pop_last() else { return Answer::absent() };
        self.bytes -= key.bytes() + value.bytes();
        Answer::entry(key.share(), &value)
    }

    fn get_or_insert(&mut self, entry: Entry, turn: &Turn<'_>) -> Applied {
        check_key(&entry.key)?;
        if let Some(value) = self.entries.get(&entry.key) {
            return Answer::value(value).into();
        }
        let (key, value) = store_entry(entry, turn)?;
        let answer = Answer::value(&value);
        self.insert(key, value);
        answer.into()
    }

    fn extend(&mut self, entries: Vec<Entry>, turn: &Turn<'_>) -> Applied {
        // All are checked before the first goes in.
        let entries = each(entries, |entry| store_entry(entry, turn))?;
        for (key, value) in entries {
            self.insert(key, value);
        }
        Answer::done().into()
    }

    fn page(&self, request: DictPage, turn: &Turn<'_>) -> Applied {
        let page = request.page.unwrap_or_default();
        let entries = self.entries.after_cursor(page.cursor, page.reverse);
        PageBuilder::new(&page, turn.limits().page_bytes)
            .fill(
                entries.map(|(ordinal, key, value)| (ordinal, (key, value))),
                |builder, (key, value)| {
                    builder.push(request.keys.then_some(key), request.values.then_some(value));
                },
            )
            .into()
    }

    fn compare_and_swap(&mut self, op: DictCompareAndSwap, turn: &Turn<'_>) -> Applied {
        check_key(&op.key)?;
        let current = self.entries.get(&op.key);
        let same = match (current, &op.expected) {
            (Some(current), Some(expected)) => value::equal(current.data(), &expected.data),
            (None, None) => true,
            _ => false,
        };
        if !same {
            return Answer::swap(false, current).into();
        }
        let Some(replacement) = op.replacement else {
            self.remove(&op.key);
            return Answer::swap(true, None).into();
        };
        let (key, value) = (turn.key(op.key)?, turn.store(replacement)?);
        let answer = Answer::swap(true, Some(&value));
        self.insert(key, value);
        answer.into()
    }

    fn add(&mut self, op: DictAdd, turn: &Turn<'_>) -> Applied {
        let sum_type = known_type(op.sum_type)?;
        let (key, delta) = (turn.key(op.key)?, turn.store_required(op.delta)?);
        let sum = Self::sum(self.entries.get(&key), &delta, sum_type)?;
        let answer = Answer::value(&sum);
        self.insert(key, sum);
        answer.into()
    }

    fn add_many(&mut self, op: DictAddMany, turn: &Turn<'_>) -> Applied {
        let sum_type = known_type(op.sum_type)?;
        // The sums are made beside the dict, as one that cannot be made refuses all of them.
        let mut sums: BTreeMap<Vec<u8>, Stored> = BTreeMap::new();
        let mut order = Vec::with_capacity(op.entries.len());
        each(op.entries, |entry| {
            let (key, delta) = store_entry(entry, turn)?;
            let made = sums.get(&key[..]);
            let sum = Self::sum(made.or_else(|| self.entries.get(&key)), &delta, sum_type)?;
            if sums.insert(key.to_vec(), sum).is_none() {
                order.push(key);
            }
            Ok(())
        })?;
        for key in order {
            if let Some(sum) = sums.remove(&key[..]) {
                self.insert(key, sum);
            }
        }
        Answer::done().into()
    }

    /// What is there and `delta`; nothing counts as zero, so that what is no number is refused
    /// even then.
    fn sum(there: Option<&Stored>, delta: &Stored, sum_type: ElementType) -> Result<Stored, Error> {
        const ZERO: &[u8] = &[0];
        add(there.map_or(ZERO, |current| current.data()), delta.data(), sum_type)
    }

    fn get_many(&self, op: &DictGetMany, turn: &Turn<'_>) -> Applied {
        check_keys(&op.keys)?;
        let count = if op.partial {
            self.count_together(&op.keys, turn)
        } else {
            self.check_together(&op.keys, turn)?;
            op.keys.len()
        };
        let found = op.keys.iter().take(count).map(|key| self.entries.get(key));
        Self::optionals(found).into()
    }

    /// The number of keys whose values are no longer together than the longest value, one at least.
    fn count_together(&self, keys: &[Bytes], turn: &Turn<'_>) -> usize {
        let mut room = turn.limits().max_value_bytes;
        let fits = |key: &&Bytes| {
            let bytes = self.entries.get(key).map_or(0, Stored::length);
            let left = room.checked_sub(bytes);
            room = left.unwrap_or_default();
            left.is_some()
        };
        keys.iter().take_while(fits).count().max(1).min(keys.len())
    }

    /// Refuses to answer with more at once than the longest value: the same key many times in a small
    /// request would make a reply of any length.
    fn check_together(&self, keys: &[Bytes], turn: &Turn<'_>) -> Result<(), Error> {
        let max = turn.limits().max_value_bytes;
        let values = keys.iter().filter_map(|key| self.entries.get(key));
        let bytes = values.fold(0_usize, |sum, value| sum.saturating_add(value.length()));
        if keys.len() < 2 || bytes <= max {
            return Ok(());
        }
        Err(Error::new(
            Reason::LimitExceeded,
            format!("the values have {bytes} bytes together; the limit is {max}"),
        )
        .with_hint("ask for fewer keys at a time, or raise the server's --max-value-bytes"))
    }

    fn optionals<S: Borrow<Stored>>(found: impl Iterator<Item = Option<S>>) -> Answer {
        let (mut pins, mut parts) = (Vec::new(), Parts::default());
        let items = found
            .map(|value| {
                let value = value.as_ref().map(S::borrow);
                pins.extend(value.iter().flat_map(|value| value.pins().iter().cloned()));
                Optional { value: value.map(|value| value.to_wire_by(&mut parts)) }
            })
            .collect();
        Answer::optionals(Optionals { items }, pins)
    }
}

impl Machine for Dict {
    type Op = Op;

    fn apply(&mut self, _call: Call, op: Op, turn: &mut Turn<'_>) -> Applied {
        self.entries.check_room(added_by(&op))?;
        match op {
            Op::Get(key) => {
                check_key(&key)?;
                Answer::value_or_absent(self.entries.get(&key)).into()
            }
            Op::Insert(entry) => {
                let (key, value) = store_entry(entry, turn)?;
                Answer::value_or_absent(self.insert(key, value).as_ref()).into()
            }
            Op::Contains(key) => {
                check_key(&key)?;
                Answer::flag(self.entries.contains(&key)).into()
            }
            Op::Remove(key) => {
                check_key(&key)?;
                Answer::value_or_absent(self.remove(&key).as_ref()).into()
            }
            Op::PopItem(_) => self.pop_item().into(),
            Op::GetOrInsert(entry) => self.get_or_insert(entry, turn),
            Op::Extend(entries) => self.extend(entries.entries, turn),
            Op::Len(_) => Answer::number(self.entries.len()).into(),
            Op::Clear(_) => {
                self.entries.clear();
                self.bytes = 0;
                Answer::done().into()
            }
            Op::Page(request) => self.page(request, turn),
            Op::CompareAndSwap(op) => self.compare_and_swap(op, turn),
            Op::GetMany(op) => self.get_many(&op, turn),
            Op::RemoveMany(keys) => {
                check_keys(&keys.keys)?;
                self.check_together(&keys.keys, turn)?;
                Self::optionals(keys.keys.iter().map(|key| self.remove(key))).into()
            }
            Op::Add(op) => self.add(op, turn),
            Op::AddMany(op) => self.add_many(op, turn),
        }
    }

    fn replaces(&self, op: &Op) -> bool {
        let fits = |key: &Bytes, value: Option<&Value>| {
            let there = self.entries.get(key);
            there.zip(value).is_some_and(|(there, value)| there.has_room_for(value))
        };
        match op {
            Op::Insert(entry) => fits(&entry.key, entry.value.as_ref()),
            Op::Extend(op) => op.entries.iter().all(|entry| fits(&entry.key, entry.value.as_ref())),
            Op::CompareAndSwap(op) => {
                op.replacement.is_none() || fits(&op.key, op.replacement.as_ref())
            }
            _ => false,
        }
    }

    fn cost(&self, op: &Op) -> Cost {
        let entries = &self.entries;
        let storing = |count| times(count, cost::STORE + cost::FIND);
        match op {
            Op::Get(_) | Op::Contains(_) | Op::Len(_) => 0,
            Op::Insert(_) | Op::GetOrInsert(_) | Op::Add(_) => entries.cost_of_growing(1),
            Op::CompareAndSwap(op) => {
                let there = entries.get(&op.key).map_or(0, Stored::length);
                let equal = |value| cost::equality(value, 1, there);
                let moving = entries.cost_of_growing(1).max(entries.cost_of_shrinking(1));
                moving.saturating_add(op.expected.as_ref().map_or(0, equal))
            }
            Op::Remove(_) | Op::PopItem(_) => entries.cost_of_shrinking(1),
            Op::Extend(op) => {
                let count = op.entries.len();
                storing(count).saturating_add(entries.cost_of_growing(count))
            }
            Op::AddMany(op) => {
                let count = op.entries.len();
                times(2, storing(count)).saturating_add(entries.cost_of_growing(count))
            }
            Op::Clear(_) => times(entries.len(), 2 * cost::DROP),
            Op::Page(_) => entries.cost_of_gaps(),
            Op::GetMany(op) => {
                cost::keys(op.keys.iter()).saturating_add(times(op.keys.len(), cost::STORE))
            }
            Op::RemoveMany(op) => {
                let count = op.keys.len();
                let finding = cost::keys(op.keys.iter()).saturating_add(storing(count));
                finding.saturating_add(entries.cost_of_shrinking(count))
            }
        }
    }

    fn elements(&self) -> usize {
        self.entries.len()
    }

    fn describe(&self, info: &mut ObjectInfo) {
        info.len = self.entries.len() as u64;
        info.state = format!("{} entries", self.entries.len());
    }

    fn bytes(&self) -> usize {
        self.entries.bytes() + self.bytes
    }
}

/// How many entries an operation adds at most.
fn added_by(op: &Op) -> usize {
    match op {
        Op::Insert(_) | Op::GetOrInsert(_) | Op::CompareAndSwap(_) | Op::Add(_) => 1,
        Op::Extend(op) => op.entries.len(),
        Op::AddMany(op) => op.entries.len(),
        _ => 0,
    }
}

fn store_entry(entry: Entry, turn: &Turn<'_>) -> Result<(Compact, Stored), Error> {
    Ok((turn.key(entry.key)?, turn.store_required(entry.value)?))
}

/// The sum of two encoded numbers, at rest, if it fits this type.
pub(crate) fn add(current: &[u8], delta: &[u8], sum_type: ElementType) -> Result<Stored, Error> {
    let sum = order::add(current, delta).and_then(|sum| {
        order::check_sum(&sum, sum_type)?;
        Ok(sum)
    });
    let sum = sum.map_err(|error| {
        let reason = match error {
            OrderError::Overflow | OrderError::OutOfRange(..) => Reason::Overflow,
            _ => Reason::TypeMismatch,
        };
        Error::new(reason, error.to_string()).with_hint("the value stays as it was")
    })?;
    Ok(Stored::new(sum.into(), Vec::new()))
}

/// A type that a newer client may know and this server not.
pub(crate) fn known_type(sum_type: i32) -> Result<ElementType, Error> {
    ElementType::try_from(sum_type).map_err(|_| unsupported())
}

#[cfg(test)]
mod tests {
    use mp_manager_proto::v1::{Empty, Entries, PageRequest, Value, reply};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        call::{CallId, Outcome},
        turn::{Tokens, tests::with_turn},
    };

    fn apply(dict: &mut Dict, op: Op) -> Result<reply::Result, Error> {
        let call = Call { id: CallId { session: 1, seq: 1 }, may_wait: true };
        let (applied, _) = with_turn(&Tokens::after(0), |turn| dict.apply(call, op, turn));
        match applied? {
            Outcome::Done(answer) => Ok(answer.result),
            Outcome::Parked => panic!("a dict never parks"),
        }
    }

    fn wire(n: i64) -> Value {
        Value { data: value::encode(&n).unwrap().into(), refs: Vec::new() }
    }

    /// Every other one is too long to have its place in the structure.
    fn key(n: u8) -> Bytes {
        let key = if n.is_multiple_of(2) {
            value::encode_key(&n)
        } else {
            value::encode_key(&format!("{n:040}"))
        };
        key.unwrap().into()
    }

    fn entry(k: u8, v: i64) -> Entry {
        Entry { key: key(k), value: Some(wire(v)) }
    }

    fn add(k: u8, v: i64, sum_type: ElementType) -> Op {
        let Entry { key, value: delta } = entry(k, v);
        Op::Add(DictAdd { key, delta, sum_type: sum_type.into() })
    }

    fn add_many(entries: Vec<Entry>, sum_type: ElementType) -> Op {
        Op::AddMany(DictAddMany { entries, sum_type: sum_type.into() })
    }

    const ANY: ElementType = ElementType::Unspecified;

    #[test]
    fn adding_to_what_is_no_number_changes_nothing() {
        let mut dict = Dict::new(0);
        let text = Value { data: value::encode("x").unwrap().into(), refs: Vec::new() };
        apply(&mut dict, Op::Insert(Entry { key: key(1), value: Some(text.clone()) })).unwrap();
        let error = apply(&mut dict, add(1, 1, ANY)).unwrap_err();
        assert_eq!(error.reason(), Reason::TypeMismatch);
        assert_eq!(apply(&mut dict, Op::Get(key(1))), Ok(reply::Result::Value(text)));
    }

    #[test]
    fn an_entry_that_is_too_long_refuses_the_whole_extend() {
        let mut dict = Dict::new(0);
        let long = Entry { key: vec![0; 100_000].into(), value: Some(wire(1)) };
        let op = Op::Extend(Entries { entries: vec![entry(1, 1), long] });
        assert_eq!(apply(&mut dict, op).unwrap_err().reason(), Reason::LimitExceeded);
        assert_eq!(apply(&mut dict, Op::Len(Empty {})), Ok(reply::Result::Number(0)));
    }

    #[test]
    fn an_error_says_which_of_many_entries_it_is_about() {
        let mut dict = Dict::new(0);
        let long = Entry { key: vec![0; 100_000].into(), value: Some(wire(1)) };
        let op = Op::Extend(Entries { entries: vec![entry(1, 1), long.clone(), entry(2, 2)] });
        let error = apply(&mut dict, op).unwrap_err();
        assert!(error.message.starts_with("number 2 of 3: the key has"), "{error}");
        let sums = add_many(vec![entry(1, i64::MAX), entry(1, i64::MAX), entry(1, i64::MAX)], ANY);
        let error = apply(&mut dict, sums).unwrap_err();
        assert!(error.message.starts_with("number 3 of 3: the sum"), "{error}");
        let error = apply(&mut dict, Op::Insert(long)).unwrap_err();
        assert!(error.message.starts_with("the key has"), "{error}");
    }

    #[test]
    fn many_sums_are_made_together_or_not_at_all() {
        let mut dict = Dict::new(0);
        let op = add_many(vec![entry(1, 1), entry(2, 5), entry(1, 2)], ANY);
        apply(&mut dict, op).unwrap();
        assert_eq!(apply(&mut dict, Op::Get(key(1))), Ok(reply::Result::Value(wire(3))));

        let op = add_many(vec![entry(1, 1), entry(2, i64::MIN)], ANY);
        apply(&mut dict, Op::Insert(entry(2, -1))).unwrap();
        assert_eq!(apply(&mut dict, op).unwrap_err().reason(), Reason::Overflow);
        assert_eq!(apply(&mut dict, Op::Get(key(1))), Ok(reply::Result::Value(wire(3))));
    }

    #[test]
    fn many_values_come_in_parts_if_they_are_too_long_together() {
        let mut dict = Dict::new(0);
        for k in 0..4 {
            let value = value::encode(&" ".repeat(6 << 20)).unwrap().into();
            let value = Some(Value { data: value, refs: Vec::new() });
            apply(&mut dict, Op::Insert(Entry { key: key(k), value })).unwrap();
        }
        let mut get = |keys: &[u8], partial| {
            let keys = keys.iter().copied().map(key).collect();
            match apply(&mut dict, Op::GetMany(DictGetMany { keys, partial })) {
                Ok(reply::Result::Optionals(found)) => Ok(found.items.len()),
                other => Err(other.unwrap_err().reason()),
            }
        };
        assert_eq!(get(&[0, 1, 2, 3], true), Ok(2));
        assert_eq!(get(&[9, 9, 0, 1, 9, 2], true), Ok(5));
        assert_eq!(get(&[0, 0, 0], true), Ok(2));
        assert_eq!(get(&[], true), Ok(0));
        // Older clients do not ask for the rest.
        assert_eq!(get(&[0, 1, 2], false), Err(Reason::LimitExceeded));
        assert_eq!(get(&[0, 1], false), Ok(2));
    }

    #[test]
    fn a_sum_that_does_not_fit_its_type_changes_nothing() {
        let mut dict = Dict::new(0);
        let get = |dict: &mut Dict, k| apply(dict, Op::Get(key(k)));
        assert_eq!(
            apply(&mut dict, add(1, 250, ElementType::U8)),
            Ok(reply::Result::Value(wire(250)))
        );
        let error = apply(&mut dict, add(1, 6, ElementType::U8)).unwrap_err();
        assert_eq!(error.reason(), Reason::Overflow);
        let together = vec![entry(2, 200), entry(2, 100)];
        let error = apply(&mut dict, add_many(together, ElementType::U8)).unwrap_err();
        assert_eq!(error.reason(), Reason::Overflow);
        assert_eq!(get(&mut dict, 1), Ok(reply::Result::Value(wire(250))));
        assert_eq!(get(&mut dict, 2), Ok(reply::Result::Absent(Empty {})));
        // Older clients do not say their type.
        assert_eq!(apply(&mut dict, add(1, 6, ANY)), Ok(reply::Result::Value(wire(256))));
        let newer = Op::AddMany(DictAddMany { entries: vec![entry(1, 1)], sum_type: 99 });
        assert_eq!(apply(&mut dict, newer).unwrap_err().reason(), Reason::Unsupported);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u8, i64),
        Remove(u8),
        PopItem,
        GetOrInsert(u8, i64),
        Add(u8, i64),
        Swap(u8, Option<i64>, Option<i64>),
        Clear,
    }

    fn step() -> impl Strategy<Value = Step> {
        let (k, v) = (0..16_u8, 0..4_i64);
        prop_oneof![
            6 => (k.clone(), v.clone()).prop_map(|(k, v)| Step::Insert(k, v)),
            3 => k.clone().prop_map(Step::Remove),
            1 => Just(Step::PopItem),
            2 => (k.clone(), v.clone()).prop_map(|(k, v)| Step::GetOrInsert(k, v)),
            2 => (k.clone(), v.clone()).prop_map(|(k, v)| Step::Add(k, v)),
            4 => (k, prop::option::of(v.clone()), prop::option::of(v))
                .prop_map(|(k, old, new)| Step::Swap(k, old, new)),
            1 => Just(Step::Clear),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_vector_of_pairs(steps in prop::collection::vec(step(), 0..200)) {
            let mut dict = Dict::new(7);
            let mut model: Vec<(u8, i64)> = Vec::new();
            for step in steps {
                match step {
                    Step::Insert(k, v) => {
                        apply(&mut dict, Op::Insert(entry(k, v))).unwrap();
                        upsert(&mut model, k, v);
                    }
                    Step::Remove(k) => {
                        apply(&mut dict, Op::Remove(key(k))).unwrap();
                        model.retain(|(found, _)| *found != k);
                    }
                    Step::PopItem => {
                        apply(&mut dict, Op::PopItem(Empty {})).unwrap();
                        model.pop();
                    }
                    Step::GetOrInsert(k, v) => {
                        let got = apply(&mut dict, Op::GetOrInsert(entry(k, v))).unwrap();
                        if !model.iter().any(|(found, _)| *found == k) {
                            model.push((k, v));
                        }
                        let there = model.iter().find(|(found, _)| *found == k).unwrap().1;
                        prop_assert_eq!(got, reply::Result::Value(wire(there)));
                    }
                    Step::Add(k, v) => {
                        apply(&mut dict, add(k, v, ANY)).unwrap();
                        let old = model.iter().find(|(found, _)| *found == k).map_or(0, |e| e.1);
                        upsert(&mut model, k, old + v);
                    }
                    Step::Swap(k, old, new) => {
                        let swap = DictCompareAndSwap {
                            key: key(k),
                            expected: old.map(wire),
                            replacement: new.map(wire),
                        };
                        apply(&mut dict, Op::CompareAndSwap(swap)).unwrap();
                        let there = model.iter().find(|(found, _)| *found == k).map(|e| e.1);
                        match new {
                            _ if there != old => {}
                            Some(new) => upsert(&mut model, k, new),
                            None => model.retain(|(found, _)| *found != k),
                        }
                    }
                    Step::Clear => {
                        apply(&mut dict, Op::Clear(Empty {})).unwrap();
                        model.clear();
                    }
                }
                let request = DictPage {
                    page: Some(PageRequest::default()), keys: true, values: true,
                };
                let Ok(reply::Result::Page(page)) = apply(&mut dict, Op::Page(request)) else {
                    panic!("a page");
                };
                prop_assert_eq!(page.keys, model.iter().map(|e| key(e.0)).collect::<Vec<_>>());
                prop_assert_eq!(page.values, model.iter().map(|e| wire(e.1)).collect::<Vec<_>>());
                let bytes = |(key, value): (&Compact, &Stored)| key.bytes() + value.bytes();
                prop_assert_eq!(dict.bytes, dict.entries.iter().map(bytes).sum::<usize>());
            }
        }
    }

    fn upsert(model: &mut Vec<(u8, i64)>, k: u8, v: i64) {
        match model.iter_mut().find(|(found, _)| *found == k) {
            Some(entry) => entry.1 = v,
            None => model.push((k, v)),
        }
    }
}
