//! A list: values by position.

use std::{cmp::Ordering, collections::VecDeque, ops::Range};

use mp_manager_proto::{
    order::{self, OrderError},
    v1::{
        Error, ListIndex, ListItem, ListSlice, ListSliceSet, ListSort, ObjectInfo, PageRequest,
        Reason, Slice, Value, list_op::Op,
    },
    value,
};

use crate::{
    call::{Answer, Applied, Call},
    cost::{self, Cost, times},
    machine::Machine,
    memory::row,
    page::PageBuilder,
    slice::{self, Positions},
    stored::Stored,
    turn::{Turn, missing_value},
};

/// The largest list that repeating makes: a few bytes of request must not take all the memory.
/// Every element counts with its place in the list, so this bounds their number as well.
const MAX_REPEATED_BYTES: usize = 1 << 30;

/// Python's `list`.
#[derive(Debug, Default, Clone)]
pub struct List {
    elements: VecDeque<Stored>,
    bytes: usize,
}

impl List {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn position(&self, index: i64) -> Result<usize, Error> {
        slice::position(index, self.elements.len())
    }

    fn set(&mut self, item: ListItem, turn: &Turn<'_>) -> Applied {
        let at = self.position(item.index)?;
        self.replace(at, turn.store_required(item.value)?);
        Answer::done().into()
    }

    fn insert(&mut self, item: ListItem, turn: &Turn<'_>) -> Applied {
        let value = turn.store_required(item.value)?;
        self.bytes += value.bytes();
        self.elements.insert(slice::clamped(item.index, self.elements.len()), value);
        Answer::done().into()
    }

    fn extend(&mut self, values: Vec<Value>, turn: &Turn<'_>) -> Applied {
        let values = turn.store_all(values)?;
        self.bytes += total_bytes(&values);
        self.elements.extend(values);
        Answer::done().into()
    }

    fn pop(&mut self, index: i64) -> Applied {
        let at = self.position(index)?;
        Answer::value_or_absent(self.take(at).as_ref()).into()
    }

    fn remove(&mut self, value: &Value) -> Applied {
        let at = self.find(value, 0..self.elements.len())?;
        self.take(at);
        Answer::done().into()
    }

    fn index(&self, op: ListIndex) -> Applied {
        let value = op.value.ok_or_else(missing_value)?;
        let len = self.elements.len();
        let start = op.start.map_or(0, |start| slice::clamped(start, len));
        let stop = op.stop.map_or(len, |stop| slice::clamped(stop, len));
        Answer::number(self.find(&value, start..stop)?).into()
    }

    fn find(&self, value: &Value, mut within: Range<usize>) -> Result<usize, Error> {
        let Range { start, end } = within;
        within.find(|&at| is(&self.elements[at], value)).ok_or_else(|| {
            Error::new(
                Reason::ValueNotFound,
                format!("no element from position {start} up to {end} equals the value"),
            )
            .with_hint("equal values have equal encodings: 1 and 1.0 differ")
        })
    }

    fn page(&self, request: PageRequest, turn: &Turn<'_>) -> Answer {
        let len = self.elements.len();
        let cursor = request.cursor.map(saturate);
        let page = PageBuilder::new(&request, turn.limits().page_bytes);
        let numbered = |at| (at as u64, &self.elements[at]);
        if request.reverse {
            // If the list has become shorter than the cursor, it goes on from the end.
            let end = cursor.map_or(len, |cursor| cursor.saturating_add(1).min(len));
            page.fill((0..end).rev().map(numbered), push)
        } else {
            page.fill((cursor.unwrap_or(0)..len).map(numbered), push)
        }
    }

    fn slice_get(&self, op: ListSlice, turn: &Turn<'_>) -> Applied {
        let positions = Positions::of(&op.slice.unwrap_or_default(), self.elements.len())?;
        let start = op.cursor.map_or(0, saturate);
        PageBuilder::new(&PageRequest::default(), turn.limits().page_bytes)
            .fill(
                (start..positions.count).map(|n| (n as u64, &self.elements[positions.nth(n)])),
                push,
            )
            .into()
    }

    fn slice_set(&mut self, op: ListSliceSet, turn: &Turn<'_>) -> Applied {
        let positions = Positions::of(&op.slice.unwrap_or_default(), self.elements.len())?;
        let values = turn.store_all(op.values)?;
        if positions.step == 1 {
            // An empty slice, even one whose start lies behind its stop, inserts at its start.
            self.splice(positions.start..positions.start + positions.count, values);
            return Answer::done().into();
        }
        if positions.count != values.len() {
            return Err(Error::new(
                Reason::SizeMismatch,
                format!("{} values for a slice of {}", values.len(), positions.count),
            )
            .with_hint("a slice with a step takes as many values as it has elements"));
        }
        for (at, value) in positions.iter().zip(values) {
            self.replace(at, value);
        }
        Answer::done().into()
    }

    fn slice_delete(&mut self, slice: &Slice) -> Applied {
        let positions = Positions::of(slice, self.elements.len())?;
        if positions.step == 1 {
            self.splice(positions.start..positions.start + positions.count, Vec::new());
            return Answer::done().into();
        }
        let mut ascending: Vec<usize> = positions.iter().collect();
        if positions.step < 0 {
            ascending.reverse();
        }
        let (mut doomed, mut at) = (ascending.into_iter().peekable(), 0..);
        self.elements.retain(|element| {
            let goes = at.next().is_some_and(|at| doomed.next_if_eq(&at).is_some());
            self.bytes -= if goes { element.bytes() } else { 0 };
            !goes
        });
        self.tidy();
        Answer::done().into()
    }

    fn sort(&mut self, op: ListSort) -> Applied {
        let elements = self.elements.make_contiguous();
        let order = sorted(elements, op.descending).map_err(|error| {
            Error::new(Reason::TypeMismatch, error.to_string())
                .with_hint("sort a copy by a key of your own, and store that")
        })?;
        let mut unsorted: Vec<Option<Stored>> =
            std::mem::take(&mut self.elements).into_iter().map(Some).collect();
        self.elements = order.into_iter().filter_map(|at| unsorted[at].take()).collect();
        Answer::done().into()
    }

    fn repeat(&mut self, times: i64, turn: &Turn<'_>) -> Applied {
        let times = usize::try_from(times.max(0)).unwrap_or(usize::MAX);
        let bytes = self.bytes.saturating_mul(times);
        let len = self.elements.len().saturating_mul(times);
        let repeated = row::<Stored>(len, len).saturating_add(bytes);
        if times > 1 && repeated > MAX_REPEATED_BYTES {
            return Err(too_much(self.elements.len(), times));
        }
        turn.afford(repeated.saturating_sub(self.bytes()))?;
        if times == 0 {
            self.clear();
        }
        let more = self.elements.len() * times.saturating_sub(1);
        self.elements.reserve(more);
        for at in 0..more {
            self.elements.push_back(self.elements[at].clone());
        }
        self.bytes = bytes;
        Answer::done().into()
    }

    fn clear(&mut self) {
        *self = Self::default();
    }

    fn replace(&mut self, at: usize, value: Stored) {
        self.bytes += value.bytes();
        self.bytes -= std::mem::replace(&mut self.elements[at], value).bytes();
    }

    fn take(&mut self, at: usize) -> Option<Stored> {
        let taken = self.elements.remove(at)?;
        self.bytes -= taken.bytes();
        self.tidy();
        Some(taken)
    }

    /// Puts the values in the place of a range.
    fn splice(&mut self, range: Range<usize>, values: Vec<Stored>) {
        self.bytes += total_bytes(&values);
        self.bytes -= total_bytes(self.elements.range(range.clone()));
        self.elements.drain(range.clone());
        if !values.is_empty() {
            let mut tail = self.elements.split_off(range.start);
            self.elements.extend(values);
            self.elements.append(&mut tail);
        }
        self.tidy();
    }

    /// Gives memory back once three quarters of it stand empty.
    fn tidy(&mut self) {
        if self.elements.len() < self.elements.capacity() / 4 {
            self.elements.shrink_to((2 * self.elements.len()).max(64));
        }
    }
}

impl Machine for List {
    type Op = Op;

    fn apply(&mut self, _call: Call, op: Op, turn: &mut Turn<'_>) -> Applied {
        match op {
            Op::Get(index) => Answer::value(&self.elements[self.position(index)?]).into(),
            Op::Set(item) => self.set(item, turn),
            Op::Push(value) => self.extend(vec![value], turn),
            Op::Extend(values) => self.extend(values.values, turn),
            Op::Insert(item) => self.insert(item, turn),
            Op::Pop(index) => self.pop(index),
            Op::Remove(value) => self.remove(&value),
            Op::Contains(value) => {
                Answer::flag(self.elements.iter().any(|element| is(element, &value))).into()
            }
            Op::Index(op) => self.index(op),
            Op::Count(value) => {
                let equal = self.elements.iter().filter(|element| is(element, &value));
                Answer::number(equal.count()).into()
            }
            Op::Len(_) => Answer::number(self.elements.len()).into(),
            Op::Clear(_) => {
                self.clear();
                Answer::done().into()
            }
            Op::Page(request) => self.page(request, turn).into(),
            Op::SliceGet(op) => self.slice_get(op, turn),
            Op::SliceSet(op) => self.slice_set(op, turn),
            Op::SliceDelete(slice) => self.slice_delete(&slice),
            Op::Reverse(_) => {
                self.elements.make_contiguous().reverse();
                Answer::done().into()
            }
            Op::Sort(op) => self.sort(op),
            Op::Repeat(times) => self.repeat(times, turn),
        }
    }

    fn replaces(&self, op: &Op) -> bool {
        let Op::Set(item) = op else { return false };
        let there = self.position(item.index).ok().map(|at| &self.elements[at]);
        there.zip(item.value.as_ref()).is_some_and(|(there, value)| there.has_room_for(value))
    }

    fn cost(&self, op: &Op) -> Cost {
        let len = self.elements.len();
        let moving = |at: i64| times(slice::from_nearer_end(at, len), cost::MOVE);
        let equality = |value| cost::equality(value, len, self.bytes());
        match op {
            Op::Get(_) | Op::Set(_) | Op::Push(_) | Op::Len(_) => 0,
            // A page of them at most.
            Op::Page(_) | Op::SliceGet(_) => 0,
            Op::Extend(values) => times(values.values.len(), cost::STORE),
            Op::Insert(item) => moving(item.index),
            Op::Pop(index) => moving(*index),
            Op::Remove(value) => equality(value).saturating_add(times(len, cost::MOVE)),
            Op::Contains(value) | Op::Count(value) => equality(value),
            Op::Index(op) => op.value.as_ref().map_or(0, equality),
            Op::Clear(_) => times(len, cost::DROP),
            Op::SliceSet(op) => times(len, cost::MOVE + cost::DROP)
                .saturating_add(times(op.values.len(), cost::STORE)),
            Op::SliceDelete(_) => times(len, cost::VISIT + cost::MOVE + cost::DROP),
            Op::Reverse(_) => times(len, cost::MOVE),
            Op::Sort(_) => cost::sorting(len, self.bytes()),
            Op::Repeat(0 | 1) => times(len, cost::DROP),
            Op::Repeat(n) => times(usize::try_from(*n).unwrap_or(0), times(len, cost::SHARE)),
        }
    }

    fn elements(&self) -> usize {
        self.elements.len()
    }

    fn describe(&self, info: &mut ObjectInfo) {
        info.len = self.elements.len() as u64;
        info.state = format!("{} elements", self.elements.len());
    }

    fn bytes(&self) -> usize {
        row::<Stored>(self.elements.len(), self.elements.capacity()) + self.bytes
    }
}

fn is(element: &Stored, value: &Value) -> bool {
    value::equal(element.data(), &value.data)
}

fn total_bytes<'a>(values: impl IntoIterator<Item = &'a Stored>) -> usize {
    values.into_iter().map(Stored::bytes).sum()
}

fn push(page: &mut PageBuilder, element: &Stored) {
    page.push(None, Some(element));
}

fn too_much(len: usize, times: usize) -> Error {
    Error::new(
        Reason::LimitExceeded,
        format!(
            "a list of {len} elements repeated {times} times is larger than \
             {MAX_REPEATED_BYTES} bytes"
        ),
    )
    .with_hint("repeat it fewer times")
}

/// A cursor no list is long enough for is as good as any other.
fn saturate(cursor: u64) -> usize {
    usize::try_from(cursor).unwrap_or(usize::MAX)
}

/// The positions of the elements in their order, equal ones as they stand.
fn sorted(elements: &[Stored], descending: bool) -> Result<Vec<usize>, OrderError> {
    let first = if descending { Ordering::Greater } else { Ordering::Less };
    let mut positions: Vec<usize> = (0..elements.len()).collect();
    merge_sort(&mut positions, &mut Vec::new(), &|a, b| {
        Ok(order::compare(elements[a].data(), elements[b].data())? == first)
    })?;
    Ok(positions)
}

/// The standard library's sorts may panic if the order breaks off at two values that have none;
/// this one stops there. What is in order already takes one comparison an element.
fn merge_sort(
    positions: &mut [usize],
    left: &mut Vec<usize>,
    is_before: &impl Fn(usize, usize) -> Result<bool, OrderError>,
) -> Result<(), OrderError> {
    let middle = positions.len() / 2;
    if middle == 0 {
        return Ok(());
    }
    merge_sort(&mut positions[..middle], left, is_before)?;
    merge_sort(&mut positions[middle..], left, is_before)?;
    if !is_before(positions[middle], positions[middle - 1])? {
        return Ok(());
    }
    left.clear();
    left.extend_from_slice(&positions[..middle]);
    let (mut to, mut right) = (0, middle);
    for &from_left in left.iter() {
        while right < positions.len() && is_before(positions[right], from_left)? {
            positions[to] = positions[right];
            (to, right) = (to + 1, right + 1);
        }
        positions[to] = from_left;
        to += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use mp_manager_proto::v1::{Empty, Page, Values, reply};
    use proptest::prelude::*;

    use super::*;
    use crate::object::tests::{apply, number, text};

    fn list(values: impl IntoIterator<Item = Value>) -> List {
        let mut list = List::new();
        apply(&mut list, Op::Extend(Values { values: values.into_iter().collect() })).unwrap();
        list
    }

    fn numbers(values: impl IntoIterator<Item = i64>) -> Vec<Value> {
        values.into_iter().map(number).collect()
    }

    fn slice(start: Option<i64>, stop: Option<i64>, step: Option<i64>) -> Slice {
        Slice { start, stop, step }
    }

    fn page(list: &mut List, op: Op) -> Page {
        match apply(list, op) {
            Ok(reply::Result::Page(page)) => page,
            other => panic!("expected a page, got {other:?}"),
        }
    }

    /// The whole list, `max` elements at a time.
    fn contents(list: &mut List, reverse: bool, max: u32) -> Vec<Value> {
        let (mut values, mut cursor) = (Vec::new(), None);
        loop {
            let page = page(list, Op::Page(PageRequest { cursor, reverse, max }));
            values.extend(page.values);
            cursor = page.next;
            if cursor.is_none() {
                return values;
            }
        }
    }

    #[test]
    fn a_list_that_has_no_order_stays_as_it_was() {
        let mut list = list([number(2), number(1), text("x"), number(3)]);
        let before = contents(&mut list, false, 0);
        let error = apply(&mut list, Op::Sort(ListSort { descending: false })).unwrap_err();
        assert_eq!(error.reason(), Reason::TypeMismatch);
        assert_eq!(contents(&mut list, false, 0), before);
    }

    #[test]
    fn equal_elements_keep_their_order_even_when_sorted_downwards() {
        // 1 and 1.0 are equal in order and differ in bytes.
        let float = Value { data: value::encode(&1.0).unwrap().into(), refs: Vec::new() };
        let mut list = list([number(0), number(1), float.clone(), number(2)]);
        apply(&mut list, Op::Sort(ListSort { descending: true })).unwrap();
        let expected = [number(2), number(1), float, number(0)];
        assert_eq!(contents(&mut list, false, 0), expected);
    }

    #[test]
    fn an_empty_slice_inserts_at_its_start_even_if_that_lies_behind_its_stop() {
        // l = [0, 1, 2, 3]; l[3:1] = [9]
        let mut list = list(numbers(0..4));
        let op = ListSliceSet { slice: Some(slice(Some(3), Some(1), None)), values: numbers([9]) };
        apply(&mut list, Op::SliceSet(op)).unwrap();
        assert_eq!(contents(&mut list, false, 0), numbers([0, 1, 2, 9, 3]));
    }

    #[test]
    fn a_slice_with_a_step_keeps_its_length() {
        let mut list = list(numbers(0..4));
        let mut op =
            ListSliceSet { slice: Some(slice(None, None, Some(-2))), values: numbers([8, 9, 10]) };
        let error = apply(&mut list, Op::SliceSet(op.clone())).unwrap_err();
        assert_eq!(error.reason(), Reason::SizeMismatch);
        op.values.pop();
        apply(&mut list, Op::SliceSet(op)).unwrap();
        assert_eq!(contents(&mut list, false, 0), numbers([0, 9, 2, 8]));
    }

    #[test]
    fn a_slice_goes_on_where_its_last_page_ended() {
        let mut list = list(numbers(0..10));
        let slice = Some(slice(None, None, Some(-3)));
        let page = page(&mut list, Op::SliceGet(ListSlice { slice, cursor: Some(1) }));
        assert_eq!(page.values, numbers([6, 3, 0]));
    }

    #[test]
    fn repeating_beyond_the_limit_is_refused_before_it_takes_memory() {
        let mut list = list(numbers([1]));
        let error = apply(&mut list, Op::Repeat(i64::MAX)).unwrap_err();
        assert_eq!(error.reason(), Reason::LimitExceeded);
        assert_eq!(contents(&mut list, false, 0), numbers([1]));
        apply(&mut list, Op::Clear(Empty {})).unwrap();
        apply(&mut list, Op::Repeat(i64::MAX)).unwrap();
        assert_eq!(contents(&mut list, false, 0), []);
    }

    #[test]
    fn going_backwards_over_a_list_that_shrank_goes_on_from_its_end() {
        let mut list = list(numbers(0..3));
        let request = PageRequest { cursor: Some(7), reverse: true, max: 2 };
        assert_eq!(page(&mut list, Op::Page(request)).values, numbers([2, 1]));
        let request = PageRequest { cursor: Some(7), reverse: false, max: 2 };
        assert_eq!(page(&mut list, Op::Page(request)).values, []);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Get(i64),
        Set(i64, i64),
        Extend(Vec<i64>),
        Insert(i64, i64),
        Pop(i64),
        Remove(i64),
        Index(i64, Option<i64>, Option<i64>),
        Contains(i64),
        Count(i64),
        SliceGet(Slice),
        SliceSet(Slice, Vec<i64>),
        SliceDelete(Slice),
        Reverse,
        Sort(bool),
        Repeat(i64),
        Clear,
    }

    fn step() -> impl Strategy<Value = Step> {
        let (at, value) = (|| -12..12_i64, || 0..5_i64);
        let values = move || prop::collection::vec(value(), 0..5);
        let bound = move || prop::option::of(at());
        let steps = prop_oneof![Just(None), (1..4_i64).prop_map(Some), (-3..0_i64).prop_map(Some)];
        let slices = (bound(), bound(), steps)
            .prop_map(|(start, stop, step)| Slice { start, stop, step })
            .boxed();
        prop_oneof![
            1 => at().prop_map(Step::Get),
            2 => (at(), value()).prop_map(|(at, value)| Step::Set(at, value)),
            4 => values().prop_map(Step::Extend),
            2 => (at(), value()).prop_map(|(at, value)| Step::Insert(at, value)),
            2 => at().prop_map(Step::Pop),
            2 => value().prop_map(Step::Remove),
            2 => (value(), bound(), bound()).prop_map(|(v, a, b)| Step::Index(v, a, b)),
            1 => value().prop_map(Step::Contains),
            1 => value().prop_map(Step::Count),
            2 => slices.clone().prop_map(Step::SliceGet),
            3 => (slices.clone(), values()).prop_map(|(slice, values)| Step::SliceSet(slice, values)),
            2 => slices.prop_map(Step::SliceDelete),
            1 => Just(Step::Reverse),
            1 => any::<bool>().prop_map(Step::Sort),
            1 => (-1..3_i64).prop_map(Step::Repeat),
            1 => Just(Step::Clear),
        ]
    }

    fn op(step: Step) -> Op {
        match step {
            Step::Get(index) => Op::Get(index),
            Step::Set(index, value) => Op::Set(ListItem { index, value: Some(number(value)) }),
            Step::Extend(values) => Op::Extend(Values { values: numbers(values) }),
            Step::Insert(index, value) => {
                Op::Insert(ListItem { index, value: Some(number(value)) })
            }
            Step::Pop(index) => Op::Pop(index),
            Step::Remove(value) => Op::Remove(number(value)),
            Step::Index(value, start, stop) => {
                Op::Index(ListIndex { value: Some(number(value)), start, stop })
            }
            Step::Contains(value) => Op::Contains(number(value)),
            Step::Count(value) => Op::Count(number(value)),
            Step::SliceGet(slice) => Op::SliceGet(ListSlice { slice: Some(slice), cursor: None }),
            Step::SliceSet(slice, values) => {
                Op::SliceSet(ListSliceSet { slice: Some(slice), values: numbers(values) })
            }
            Step::SliceDelete(slice) => Op::SliceDelete(slice),
            Step::Reverse => Op::Reverse(Empty {}),
            Step::Sort(descending) => Op::Sort(ListSort { descending }),
            Step::Repeat(times) => Op::Repeat(times),
            Step::Clear => Op::Clear(Empty {}),
        }
    }

    /// What the step does to a vector, and its reply; `None` where it is an error.
    fn model(list: &mut Vec<i64>, step: Step) -> Option<reply::Result> {
        let len = list.len();
        let position = |index: i64| slice::position(index, len).ok();
        let positions = |slice: &Slice| Positions::of(slice, len).unwrap();
        match step {
            Step::Get(index) => return Some(reply::Result::Value(number(list[position(index)?]))),
            Step::Set(index, value) => list[position(index)?] = value,
            Step::Extend(values) => list.extend(values),
            Step::Insert(index, value) => list.insert(slice::clamped(index, len), value),
            Step::Pop(index) => {
                let value = list.remove(position(index)?);
                return Some(reply::Result::Value(number(value)));
            }
            Step::Remove(value) => {
                list.remove(list.iter().position(|v| *v == value)?);
            }
            Step::Index(value, start, stop) => {
                let mut range = positions(&Slice { start, stop, step: None }).iter();
                let at = range.find(|&at| list[at] == value)?;
                return Some(reply::Result::Number(at.try_into().unwrap()));
            }
            Step::Contains(value) => return Some(reply::Result::Flag(list.contains(&value))),
            Step::Count(value) => {
                let count = list.iter().filter(|v| **v == value).count();
                return Some(reply::Result::Number(count.try_into().unwrap()));
            }
            Step::SliceGet(slice) => {
                let values = positions(&slice).iter().map(|at| number(list[at]));
                let page = Page { values: values.collect(), ..Page::default() };
                return Some(reply::Result::Page(page));
            }
            Step::SliceSet(slice, values) if slice.step.unwrap_or(1) == 1 => {
                let Positions { start, count, .. } = positions(&slice);
                list.splice(start..start + count, values);
            }
            Step::SliceSet(slice, values) => {
                let positions = positions(&slice);
                if positions.count != values.len() {
                    return None;
                }
                positions.iter().zip(values).for_each(|(at, value)| list[at] = value);
            }
            Step::SliceDelete(slice) => {
                let mut doomed: Vec<usize> = positions(&slice).iter().collect();
                doomed.sort_unstable();
                for at in doomed.into_iter().rev() {
                    list.remove(at);
                }
            }
            Step::Reverse => list.reverse(),
            Step::Sort(false) => list.sort_unstable(),
            Step::Sort(true) => list.sort_unstable_by(|a, b| b.cmp(a)),
            Step::Repeat(times) => *list = list.repeat(times.max(0).try_into().unwrap()),
            Step::Clear => list.clear(),
        }
        Some(reply::Result::Done(Empty {}))
    }

    proptest! {
        #[test]
        fn behaves_like_a_vector(steps in prop::collection::vec(step(), 0..100), max in 1..9_u32) {
            let (mut list, mut vector) = (List::new(), Vec::new());
            for step in steps {
                if vector.len() > 500 && matches!(step, Step::Repeat(_)) {
                    continue;
                }
                let reply = apply(&mut list, op(step.clone()));
                prop_assert_eq!(reply.ok(), model(&mut vector, step));
                prop_assert_eq!(list.bytes, total_bytes(&list.elements));
            }
            prop_assert_eq!(contents(&mut list, false, max), numbers(vector.iter().copied()));
            vector.reverse();
            prop_assert_eq!(contents(&mut list, true, max), numbers(vector));
        }

        #[test]
        fn sorts_as_the_standard_library_does(
            values in prop::collection::vec(0..9_u8, 0..300),
            descending: bool,
        ) {
            let mut expected: Vec<usize> = (0..values.len()).collect();
            expected.sort_by(|&a, &b| {
                let order = values[a].cmp(&values[b]);
                if descending { order.reverse() } else { order }
            });
            let elements: Vec<Stored> = values
                .iter()
                .map(|value| Stored::new(value::encode(value).unwrap().into(), Vec::new()))
                .collect();
            prop_assert_eq!(sorted(&elements, descending), Ok(expected));
        }
    }
}
