//! A Namespace: attributes by name.

use mp_manager_proto::v1::{Attribute, Error, ObjectInfo, PageRequest, Reason, namespace_op::Op};

use crate::{
    call::{Answer, Applied, Call},
    compact::Compact,
    cost::Cost,
    machine::Machine,
    ordered::OrderedMap,
    page::PageBuilder,
    stored::Stored,
    turn::Turn,
};

/// Python's `Namespace`.
#[derive(Debug, Clone)]
pub struct Namespace {
    /// Under their names in UTF-8.
    attributes: OrderedMap<Stored>,
    bytes: usize,
}

impl Namespace {
    /// A Namespace without attributes.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { attributes: OrderedMap::new(seed), bytes: 0 }
    }

    fn set(&mut self, attribute: Attribute, turn: &Turn<'_>) -> Applied {
        self.attributes.check_room(1)?;
        let name = attribute_name(attribute.name, turn)?;
        let value = turn.store_required(attribute.value)?;
        let (name_bytes, value_bytes) = (name.bytes(), value.bytes());
        self.bytes += value_bytes;
        match self.attributes.insert(name, value) {
            Some(old) => self.bytes -= old.bytes(),
            None => self.bytes += name_bytes,
        }
        Answer::done().into()
    }

    fn delete(&mut self, name: &str) -> bool {
        let Some(value) = self.attributes.remove(name.as_bytes()) else { return false };
        self.bytes -= Compact::bytes_of(name.len()) + value.bytes();
        true
    }

    fn page(&self, request: PageRequest, with_values: bool, turn: &Turn<'_>) -> Answer {
        let attributes = self.attributes.after_cursor(request.cursor, request.reverse);
        PageBuilder::new(&request, turn.limits().page_bytes).fill(
            attributes.map(|(ordinal, name, value)| (ordinal, (name, value))),
            |page, (name, value)| page.push(Some(name), with_values.then_some(value)),
        )
    }
}

impl Machine for Namespace {
    type Op = Op;

    fn apply(&mut self, _call: Call, op: Op, turn: &mut Turn<'_>) -> Applied {
        match op {
            Op::Get(name) => Answer::value_or_absent(self.attributes.get(name.as_bytes())).into(),
            Op::Set(attribute) => self.set(attribute, turn),
            Op::Delete(name) => Answer::flag(self.delete(&name)).into(),
            Op::Names(request) => self.page(request, false, turn).into(),
            Op::Snapshot(request) => self.page(request, true, turn).into(),
        }
    }

    fn replaces(&self, op: &Op) -> bool {
        let Op::Set(attribute) = op else { return false };
        let there = self.attributes.get(attribute.name.as_bytes());
        there.zip(attribute.value.as_ref()).is_some_and(|(there, value)| there.has_room_for(value))
    }

    fn cost(&self, op: &Op) -> Cost {
        match op {
            Op::Get(_) => 0,
            Op::Set(_) => self.attributes.cost_of_growing(1),
            Op::Delete(_) => self.attributes.cost_of_shrinking(1),
            Op::Names(_) | Op::Snapshot(_) => self.attributes.cost_of_gaps(),
        }
    }

    fn elements(&self) -> usize {
        self.attributes.len()
    }

    fn describe(&self, info: &mut ObjectInfo) {
        info.len = self.attributes.len() as u64;
        info.state = format!("{} attributes", self.attributes.len());
    }

    fn bytes(&self) -> usize {
        self.attributes.bytes() + self.bytes
    }
}

fn attribute_name(name: String, turn: &Turn<'_>) -> Result<Compact, Error> {
    let max = turn.limits().max_key_bytes;
    if name.len() > max {
        return Err(Error::new(
            Reason::LimitExceeded,
            format!("the attribute's name has {} bytes; the limit is {max}", name.len()),
        )
        .with_hint("use a shorter one, or raise the server's --max-key-bytes"));
    }
    if name.is_empty() {
        return Err(Error::new(Reason::InvalidArgument, "the attribute's name is empty")
            .with_hint("give it a name"));
    }
    Ok(Compact::new(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use mp_manager_proto::v1::{Empty, reply};
    use proptest::prelude::*;

    use super::*;
    use crate::object::tests::{apply, number};

    fn attribute(name: impl Into<String>, n: i64) -> Op {
        Op::Set(Attribute { name: name.into(), value: Some(number(n)) })
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        let mut namespace = Namespace::new(0);
        let empty_bytes = namespace.bytes();
        let error = apply(&mut namespace, attribute("", 1)).unwrap_err();
        assert_eq!(error.reason(), Reason::InvalidArgument);
        let error = apply(&mut namespace, attribute("x".repeat(100_000), 1)).unwrap_err();
        assert_eq!(error.reason(), Reason::LimitExceeded);
        assert_eq!(namespace.bytes(), empty_bytes);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Get(String),
        Set(String, i64),
        Delete(String),
    }

    fn step() -> impl Strategy<Value = Step> {
        let name = || "[a-dä]{1,2}|long{16}[a-d]{1,2}";
        prop_oneof![
            1 => name().prop_map(Step::Get),
            3 => (name(), 0..9_i64).prop_map(|(name, n)| Step::Set(name, n)),
            2 => name().prop_map(Step::Delete),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_vector_of_pairs(steps in prop::collection::vec(step(), 0..150)) {
            let mut namespace = Namespace::new(7);
            let mut model: Vec<(String, i64)> = Vec::new();
            for step in steps {
                match step {
                    Step::Get(name) => {
                        let found = model.iter().find(|(there, _)| *there == name);
                        let expected = found.map_or(reply::Result::Absent(Empty {}), |(_, n)| {
                            reply::Result::Value(number(*n))
                        });
                        prop_assert_eq!(apply(&mut namespace, Op::Get(name)), Ok(expected));
                    }
                    Step::Set(name, n) => {
                        apply(&mut namespace, attribute(name.clone(), n)).unwrap();
                        match model.iter_mut().find(|(there, _)| *there == name) {
                            Some(attribute) => attribute.1 = n,
                            None => model.push((name, n)),
                        }
                    }
                    Step::Delete(name) => {
                        let at = model.iter().position(|(there, _)| *there == name);
                        let flag = reply::Result::Flag(at.is_some());
                        at.map(|at| model.remove(at));
                        prop_assert_eq!(apply(&mut namespace, Op::Delete(name)), Ok(flag));
                    }
                }
                let snapshot = Op::Snapshot(PageRequest::default());
                let Ok(reply::Result::Page(page)) = apply(&mut namespace, snapshot) else {
                    panic!("a page");
                };
                let (names, values): (Vec<Bytes>, Vec<_>) =
                    model.iter().map(|(name, n)| (name.clone().into(), number(*n))).unzip();
                prop_assert_eq!(&page.keys, &names);
                prop_assert_eq!(page.values, values);
                let bytes = |(name, value): (&Compact, &Stored)| name.bytes() + value.bytes();
                prop_assert_eq!(namespace.bytes, namespace.attributes.iter().map(bytes).sum::<usize>());
            }
            let names = Op::Names(PageRequest { reverse: true, ..PageRequest::default() });
            let Ok(reply::Result::Page(page)) = apply(&mut namespace, names) else {
                panic!("a page");
            };
            let expected: Vec<Bytes> =
                model.iter().rev().map(|(name, _)| name.clone().into()).collect();
            prop_assert_eq!(page.keys, expected);
            prop_assert!(page.values.is_empty());
        }
    }
}
