//! A set: elements once each, in the order of insertion.

use bytes::Bytes;
use mp_manager_proto::v1::{
    Combination, Error, ObjectInfo, Page, PageRequest, Reason, Relation, SetCombine, SetCompare,
    SetOperand, set_op::Op,
};

use crate::{
    call::{Answer, Applied, Call},
    compact::Compact,
    cost::{self, Cost, times},
    machine::{Machine, unsupported},
    ordered::OrderedMap,
    page::PageBuilder,
    turn::{Turn, check_key, check_keys},
};

/// Python's `set`. Unlike there, its order is that of insertion, and `pop` takes the newest.
#[derive(Debug, Clone)]
pub struct Set {
    elements: OrderedMap<()>,
    bytes: usize,
    seed: u64,
}

/// Which parts of two sets laid over each other a combination is made of.
#[derive(Clone, Copy)]
struct Parts {
    only_here: bool,
    common: bool,
    only_there: bool,
}

impl Set {
    /// An empty set.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { elements: OrderedMap::new(seed), bytes: 0, seed }
    }

    /// Its elements, as another set's operand.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Bytes> {
        self.elements.iter().map(|(element, ())| element.share()).collect()
    }

    fn insert(&mut self, element: Compact) -> bool {
        let bytes = element.bytes();
        let is_new = self.elements.insert(element, ()).is_none();
        if is_new {
            self.bytes += bytes;
        }
        is_new
    }

    fn discard(&mut self, element: &[u8]) -> bool {
        let was_there = self.elements.remove(element).is_some();
        if was_there {
            self.bytes -= Compact::bytes_of(element.len());
        }
        was_there
    }

    fn remove(&mut self, element: &[u8]) -> Applied {
        if self.discard(element) {
            return Answer::done().into();
        }
        let len = self.elements.len();
        Err(Error::new(
            Reason::KeyNotFound,
            format!("the element is not among the {len} of the set"),
        )
        .with_hint("use discard if it need not be there"))
    }

    fn pop(&mut self) -> Applied {
        let Some((element, ())) = self.elements.pop_last() else {
            return Err(Error::new(Reason::Empty, "the set is empty"));
        };
        self.bytes -= element.bytes();
        Answer::raw(element.share()).into()
    }

    fn page(&self, request: PageRequest, turn: &Turn<'_>) -> Answer {
        let elements = self.elements.after_cursor(request.cursor, request.reverse);
        PageBuilder::new(&request, turn.limits().page_bytes)
            .fill(elements.map(|(ordinal, element, ())| (ordinal, element)), |page, element| {
                page.push(Some(element), None)
            })
    }

    fn combine(&mut self, op: SetCombine, turn: &Turn<'_>) -> Applied {
        let parts = Parts::of(op.combination())?;
        let other = self.operand(op.other)?;
        if op.in_place {
            self.combine_in_place(&other, parts, turn)
        } else {
            self.combined(&other, parts, turn)
        }
    }

    fn combine_in_place(
        &mut self,
        other: &OrderedMap<()>,
        parts: Parts,
        turn: &Turn<'_>,
    ) -> Applied {
        // First, because it can be refused; and what is removed below must not come back.
        let added: Vec<Compact> = parts
            .added(other, &self.elements)
            .map(|element| turn.key(element.share()))
            .collect::<Result<_, _>>()?;
        self.elements.check_room(added.len())?;
        turn.afford(added.iter().map(Compact::bytes).sum())?;
        if !parts.only_here {
            for element in self.snapshot() {
                if !other.contains(&element) {
                    self.discard(&element);
                }
            }
        }
        if !parts.common {
            for (element, ()) in other.iter() {
                self.discard(element);
            }
        }
        for element in added {
            self.insert(element);
        }
        Answer::done().into()
    }

    fn combined(&self, other: &OrderedMap<()>, parts: Parts, turn: &Turn<'_>) -> Applied {
        let keys: Vec<Bytes> = parts
            .kept(&self.elements, other)
            .chain(parts.added(other, &self.elements))
            .map(Compact::share)
            .collect();
        let bytes: usize = keys.iter().map(|key| 8 + key.len()).sum();
        let max = turn.limits().max_value_bytes;
        if bytes > max {
            return Err(Error::new(
                Reason::LimitExceeded,
                format!("the resulting set has {bytes} bytes; the limit is {max}"),
            )
            .with_hint("combine a copy of the set in place, and iterate over it"));
        }
        Answer::page(Page { keys, ..Page::default() }, Vec::new()).into()
    }

    fn compare(&self, op: SetCompare) -> Applied {
        let relation = op.relation();
        let other = self.operand(op.other)?;
        let (here, there) = (self.elements.len(), other.len());
        let common = other.iter().filter(|(element, ())| self.elements.contains(element)).count();
        Answer::flag(match relation {
            Relation::Disjoint => common == 0,
            Relation::Subset => common == here,
            Relation::ProperSubset => common == here && here < there,
            Relation::Superset => common == there,
            Relation::ProperSuperset => common == there && there < here,
            Relation::Equal => common == here && here == there,
            Relation::Unspecified => return Err(unsupported()),
        })
        .into()
    }

    /// The operand's elements, once each.
    fn operand(&self, operand: Option<SetOperand>) -> Result<OrderedMap<()>, Error> {
        let operand = operand
            .ok_or_else(|| Error::new(Reason::Protocol, "the operation has no other set"))?;
        if operand.object != 0 {
            return Err(Error::new(
                Reason::Protocol,
                format!("the set {} was not replaced by its elements", operand.object),
            ));
        }
        check_keys(&operand.elements)?;
        let mut elements = OrderedMap::new(self.seed);
        for element in operand.elements {
            elements.insert(element.into(), ());
        }
        Ok(elements)
    }
}

impl Parts {
    fn of(combination: Combination) -> Result<Self, Error> {
        let (only_here, common, only_there) = match combination {
            Combination::Union => (true, true, true),
            Combination::Intersection => (false, true, false),
            Combination::Difference => (true, false, false),
            Combination::SymmetricDifference => (true, false, true),
            Combination::Unspecified => return Err(unsupported()),
        };
        Ok(Self { only_here, common, only_there })
    }

    /// What the combination has of the set here.
    fn kept<'a>(
        self,
        here: &'a OrderedMap<()>,
        there: &'a OrderedMap<()>,
    ) -> impl Iterator<Item = &'a Compact> {
        here.iter().map(|(element, ())| element).filter(move |element| {
            if there.contains(element) { self.common } else { self.only_here }
        })
    }

    /// What the combination has from the set there alone.
    fn added<'a>(
        self,
        there: &'a OrderedMap<()>,
        here: &'a OrderedMap<()>,
    ) -> impl Iterator<Item = &'a Compact> {
        there
            .iter()
            .map(|(element, ())| element)
            .filter(move |element| self.only_there && !here.contains(element))
    }
}

impl Machine for Set {
    type Op = Op;

    fn apply(&mut self, _call: Call, op: Op, turn: &mut Turn<'_>) -> Applied {
        match op {
            Op::Add(element) => {
                self.elements.check_room(1)?;
                Answer::flag(self.insert(turn.key(element)?)).into()
            }
            Op::Remove(element) => {
                check_key(&element)?;
                self.remove(&element)
            }
            Op::Discard(element) => {
                check_key(&element)?;
                Answer::flag(self.discard(&element)).into()
            }
            Op::Pop(_) => self.pop(),
            Op::Contains(element) => {
                check_key(&element)?;
                Answer::flag(self.elements.contains(&element)).into()
            }
            Op::Len(_) => Answer::number(self.elements.len()).into(),
            Op::Clear(_) => {
                self.elements.clear();
                self.bytes = 0;
                Answer::done().into()
            }
            Op::Page(request) => self.page(request, turn).into(),
            Op::Combine(op) => self.combine(op, turn),
            Op::Compare(op) => self.compare(op),
        }
    }

    fn cost(&self, op: &Op) -> Cost {
        let both = |operand: Option<&SetOperand>| {
            let other = operand.map_or(0, |operand| cost::keys(operand.elements.iter()));
            times(self.elements.len(), cost::FIND + cost::SHARE).saturating_add(times(2, other))
        };
        match op {
            Op::Contains(_) | Op::Len(_) => 0,
            Op::Add(_) => self.elements.cost_of_growing(1),
            Op::Remove(_) | Op::Discard(_) | Op::Pop(_) => self.elements.cost_of_shrinking(1),
            Op::Clear(_) => times(self.elements.len(), cost::DROP),
            Op::Page(_) => self.elements.cost_of_gaps(),
            Op::Combine(op) => both(op.other.as_ref()),
            Op::Compare(op) => both(op.other.as_ref()),
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
        self.elements.bytes() + self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mp_manager_proto::{
        v1::{Empty, reply},
        value,
    };
    use proptest::prelude::*;

    use super::*;
    use crate::{
        object::tests::apply,
        turn::{Limits, Tokens, tests::no_references},
    };

    /// Every other one is too long to have its place in the structure.
    fn key(n: u8) -> Bytes {
        let key = if n.is_multiple_of(2) {
            value::encode_key(&n)
        } else {
            value::encode_key(&format!("{n:040}"))
        };
        key.unwrap().into()
    }

    fn keys(elements: impl IntoIterator<Item = u8>) -> Vec<Bytes> {
        elements.into_iter().map(key).collect()
    }

    fn set(elements: impl IntoIterator<Item = u8>) -> Set {
        let mut set = Set::new(7);
        for n in elements {
            apply(&mut set, Op::Add(key(n))).unwrap();
        }
        set
    }

    fn operand(elements: impl IntoIterator<Item = u8>) -> Option<SetOperand> {
        Some(SetOperand { object: 0, elements: keys(elements) })
    }

    fn combine(combination: Combination, other: Option<SetOperand>, in_place: bool) -> Op {
        Op::Combine(SetCombine { combination: combination.into(), other, in_place })
    }

    fn page_of(reply: Result<reply::Result, Error>) -> Vec<Bytes> {
        match reply {
            Ok(reply::Result::Page(page)) => page.keys,
            other => panic!("expected a page, got {other:?}"),
        }
    }

    #[test]
    fn an_element_given_twice_is_still_in_one_of_the_sets_only() {
        let mut set = set([1, 2]);
        let other = operand([2, 3, 3, 2]);
        let op = combine(Combination::SymmetricDifference, other.clone(), false);
        assert_eq!(page_of(apply(&mut set, op)), keys([1, 3]));
        apply(&mut set, combine(Combination::SymmetricDifference, other, true)).unwrap();
        assert_eq!(set.snapshot(), keys([1, 3]));
    }

    #[test]
    fn a_union_has_the_order_of_this_set_and_then_of_the_other() {
        let mut set = set([3, 1]);
        let other = operand([2, 1, 0]);
        let union = page_of(apply(&mut set, combine(Combination::Union, other.clone(), false)));
        assert_eq!(union, keys([3, 1, 2, 0]));
        apply(&mut set, combine(Combination::Union, other, true)).unwrap();
        assert_eq!(set.snapshot(), union);
    }

    #[test]
    fn a_result_too_large_for_one_reply_is_refused() {
        let limits = Limits { max_value_bytes: 30, ..Limits::default() };
        let tokens = Tokens::after(0);
        let turn = Turn::new(&limits, &tokens, &no_references);
        let mut set = set([1, 2]);
        let other = set.operand(operand([3, 4])).unwrap();
        let union = Parts::of(Combination::Union).unwrap();
        let error = set.combined(&other, union, &turn).unwrap_err();
        assert_eq!(error.reason(), Reason::LimitExceeded);
        assert!(set.combine_in_place(&other, union, &turn).is_ok());
        assert_eq!(set.snapshot(), keys([1, 2, 3, 4]));
    }

    #[test]
    fn an_element_too_long_to_be_stored_refuses_the_whole_union() {
        let mut set = set([1]);
        let long = value::encode_key(&"x".repeat(100_000)).unwrap();
        let elements = vec![key(2), long.into()];
        let op = combine(Combination::Union, Some(SetOperand { object: 0, elements }), true);
        assert_eq!(apply(&mut set, op).unwrap_err().reason(), Reason::LimitExceeded);
        assert_eq!(set.snapshot(), keys([1]));
    }

    #[test]
    fn an_operand_that_is_not_resolved_is_refused() {
        let other = Some(SetOperand { object: 9, elements: Vec::new() });
        let error = apply(&mut set([1]), combine(Combination::Union, other, true)).unwrap_err();
        assert_eq!(error.reason(), Reason::Protocol);
    }

    #[test]
    fn popping_ends_with_an_error() {
        let mut set = set([1]);
        assert_eq!(apply(&mut set, Op::Pop(Empty {})), Ok(reply::Result::Raw(key(1))));
        assert_eq!(apply(&mut set, Op::Pop(Empty {})).unwrap_err().reason(), Reason::Empty);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Add(u8),
        Remove(u8),
        Discard(u8),
        Pop,
        Contains(u8),
        Combine(Combination, Vec<u8>, bool),
        Compare(Relation, Vec<u8>),
        Clear,
    }

    fn step() -> impl Strategy<Value = Step> {
        let element = || 0..12_u8;
        let elements = move || prop::collection::vec(element(), 0..12);
        let combination = (1..=4).prop_map(|n| Combination::try_from(n).unwrap());
        let relation = (1..=6).prop_map(|n| Relation::try_from(n).unwrap());
        prop_oneof![
            6 => element().prop_map(Step::Add),
            2 => element().prop_map(Step::Remove),
            2 => element().prop_map(Step::Discard),
            1 => Just(Step::Pop),
            1 => element().prop_map(Step::Contains),
            4 => (combination, elements(), any::<bool>())
                .prop_map(|(combination, other, in_place)| Step::Combine(combination, other, in_place)),
            4 => (relation, elements()).prop_map(|(relation, other)| Step::Compare(relation, other)),
            1 => Just(Step::Clear),
        ]
    }

    fn op(step: Step) -> Op {
        match step {
            Step::Add(n) => Op::Add(key(n)),
            Step::Remove(n) => Op::Remove(key(n)),
            Step::Discard(n) => Op::Discard(key(n)),
            Step::Pop => Op::Pop(Empty {}),
            Step::Contains(n) => Op::Contains(key(n)),
            Step::Combine(combination, other, in_place) => {
                combine(combination, operand(other), in_place)
            }
            Step::Compare(relation, other) => {
                Op::Compare(SetCompare { relation: relation.into(), other: operand(other) })
            }
            Step::Clear => Op::Clear(Empty {}),
        }
    }

    /// What the step does to a set without order, and its reply; `None` where it is an error, or,
    /// for `Pop`, where the order decides.
    fn model(set: &mut BTreeSet<u8>, step: Step) -> Option<reply::Result> {
        let flag = |flag| Some(reply::Result::Flag(flag));
        match step {
            Step::Add(n) => return flag(set.insert(n)),
            Step::Remove(n) => set.remove(&n).then_some(())?,
            Step::Discard(n) => return flag(set.remove(&n)),
            Step::Pop => return None,
            Step::Contains(n) => return flag(set.contains(&n)),
            Step::Combine(combination, other, _) => {
                let other = BTreeSet::from_iter(other);
                *set = match combination {
                    Combination::Union => &*set | &other,
                    Combination::Intersection => &*set & &other,
                    Combination::Difference => &*set - &other,
                    _ => &*set ^ &other,
                };
            }
            Step::Compare(relation, other) => {
                let other = BTreeSet::from_iter(other);
                return flag(match relation {
                    Relation::Disjoint => set.is_disjoint(&other),
                    Relation::Subset => set.is_subset(&other),
                    Relation::ProperSubset => set.is_subset(&other) && *set != other,
                    Relation::Superset => set.is_superset(&other),
                    Relation::ProperSuperset => set.is_superset(&other) && *set != other,
                    _ => *set == other,
                });
            }
            Step::Clear => set.clear(),
        }
        Some(reply::Result::Done(Empty {}))
    }

    proptest! {
        #[test]
        fn behaves_like_a_tree_set(steps in prop::collection::vec(step(), 0..150), max in 1..5_u32) {
            let (mut set, mut tree) = (Set::new(7), BTreeSet::new());
            for step in steps {
                let before = set.snapshot();
                let reply = apply(&mut set, op(step.clone()));
                match step {
                    Step::Pop => {
                        prop_assert_eq!(reply.is_ok(), !before.is_empty());
                        prop_assert_eq!(&set.snapshot()[..], &before[..set.elements.len()]);
                        tree.retain(|n| set.elements.contains(&key(*n)));
                    }
                    Step::Combine(.., false) => {
                        let mut result = tree.clone();
                        model(&mut result, step);
                        let elements = page_of(reply);
                        prop_assert_eq!(elements.len(), result.len());
                        prop_assert!(result.into_iter().all(|n| elements.contains(&key(n))));
                    }
                    _ => prop_assert_eq!(reply.ok(), model(&mut tree, step)),
                }
                let (mut elements, mut expected) =
                    (set.snapshot(), keys(tree.iter().copied()));
                elements.sort();
                expected.sort();
                prop_assert_eq!(elements, expected);
                let bytes = set.elements.iter().map(|(element, ())| element.bytes()).sum::<usize>();
                prop_assert_eq!(set.bytes, bytes);
            }
            let (mut elements, mut cursor) = (Vec::new(), None);
            loop {
                let request = PageRequest { cursor, reverse: false, max };
                let Ok(reply::Result::Page(page)) = apply(&mut set, Op::Page(request)) else {
                    panic!("a page");
                };
                elements.extend(page.keys);
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            prop_assert_eq!(elements, set.snapshot());
        }
    }
}
