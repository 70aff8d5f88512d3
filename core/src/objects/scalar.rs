//! A Value: one slot.

use mp_manager_proto::{
    v1::{Error, ObjectInfo, ScalarAdd, ScalarCompareAndSwap, ScalarParameters, scalar_op::Op},
    value,
};

use crate::{
    call::{Answer, Applied, Call},
    cost::{self, Cost},
    machine::Machine,
    objects::dict,
    stored::Stored,
    turn::{Turn, missing_value},
};

/// Python's `Value`, whose updates are atomic.
#[derive(Debug, Clone)]
pub struct Scalar {
    value: Stored,
}

impl Scalar {
    /// A Value that holds the initial one.
    ///
    /// # Errors
    /// If that is missing, too long, or refers to what is not there.
    pub fn new(parameters: ScalarParameters, turn: &mut Turn<'_>) -> Result<Self, Error> {
        Ok(Self { value: turn.store_required(parameters.initial)? })
    }

    fn add(&mut self, op: &ScalarAdd) -> Applied {
        let sum_type = dict::known_type(op.sum_type)?;
        self.value = dict::add(self.value.data(), &op.delta, sum_type)?;
        Answer::value(&self.value).into()
    }

    fn compare_and_swap(&mut self, op: ScalarCompareAndSwap, turn: &Turn<'_>) -> Applied {
        let expected = op.expected.ok_or_else(missing_value)?;
        let swapped = value::equal(self.value.data(), &expected.data);
        if swapped {
            self.value = turn.store_required(op.replacement)?;
        }
        Answer::swap(swapped, Some(&self.value)).into()
    }
}

impl Machine for Scalar {
    type Op = Op;

    fn apply(&mut self, _call: Call, op: Op, turn: &mut Turn<'_>) -> Applied {
        match op {
            Op::Get(_) => Answer::value(&self.value).into(),
            Op::Set(value) => {
                self.value = turn.store(value)?;
                Answer::done().into()
            }
            Op::Swap(value) => {
                let old = std::mem::replace(&mut self.value, turn.store(value)?);
                Answer::value(&old).into()
            }
            Op::Add(op) => self.add(&op),
            Op::CompareAndSwap(op) => self.compare_and_swap(op, turn),
        }
    }

    fn replaces(&self, op: &Op) -> bool {
        match op {
            Op::Set(value) | Op::Swap(value) => self.value.has_room_for(value),
            Op::CompareAndSwap(op) => {
                op.replacement.as_ref().is_some_and(|value| self.value.has_room_for(value))
            }
            Op::Get(_) | Op::Add(_) => false,
        }
    }

    fn cost(&self, op: &Op) -> Cost {
        match op {
            Op::Get(_) | Op::Set(_) | Op::Swap(_) | Op::Add(_) => 0,
            Op::CompareAndSwap(op) => {
                let equal = |value| cost::equality(value, 1, self.value.length());
                op.expected.as_ref().map_or(0, equal)
            }
        }
    }

    fn describe(&self, info: &mut ObjectInfo) {
        info.len = 1;
        info.state = format!("a value of {} bytes", self.value.data().len());
    }

    fn bytes(&self) -> usize {
        self.value.bytes()
    }
}

#[cfg(test)]
mod tests {
    use mp_manager_proto::v1::{ElementType, Empty, Reason, Swap, Value, reply};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        object::tests::{apply, number, text},
        turn::{Tokens, tests::with_turn},
    };

    fn scalar(initial: Option<Value>) -> Result<Scalar, Error> {
        with_turn(&Tokens::after(0), |turn| Scalar::new(ScalarParameters { initial }, turn)).0
    }

    fn add(delta: Value, sum_type: ElementType) -> Op {
        Op::Add(ScalarAdd { delta: delta.data, sum_type: sum_type.into() })
    }

    const ANY: ElementType = ElementType::Unspecified;

    #[test]
    fn it_begins_with_a_value() {
        assert_eq!(scalar(None).unwrap_err().reason(), Reason::Protocol);
    }

    #[test]
    fn a_sum_that_cannot_be_changes_nothing() {
        let mut scalar = scalar(Some(number(i64::MIN))).unwrap();
        let error = apply(&mut scalar, add(number(-1), ANY)).unwrap_err();
        assert_eq!(error.reason(), Reason::Overflow);
        let error = apply(&mut scalar, add(text("x"), ANY)).unwrap_err();
        assert_eq!(error.reason(), Reason::TypeMismatch);
        let value = apply(&mut scalar, Op::Get(Empty {}));
        assert_eq!(value, Ok(reply::Result::Value(number(i64::MIN))));
    }

    #[test]
    fn nothing_is_dropped_that_follows_a_number() {
        let trailing = Value { data: vec![1, 0xc0].into(), refs: Vec::new() };
        let mut scalar = scalar(Some(number(1))).unwrap();
        let error = apply(&mut scalar, add(trailing, ANY)).unwrap_err();
        assert_eq!(error.reason(), Reason::TypeMismatch);
        assert!(error.message.contains("1 bytes follow"), "{error}");
        assert_eq!(apply(&mut scalar, Op::Get(Empty {})), Ok(reply::Result::Value(number(1))));
    }

    #[test]
    fn a_sum_that_does_not_fit_its_type_changes_nothing() {
        let mut scalar = scalar(Some(number(-120))).unwrap();
        let error = apply(&mut scalar, add(number(-9), ElementType::I8)).unwrap_err();
        assert_eq!(error.reason(), Reason::Overflow);
        let error = apply(&mut scalar, add(number(1), ElementType::U64)).unwrap_err();
        assert_eq!(error.reason(), Reason::Overflow);
        let sum = apply(&mut scalar, add(number(-8), ElementType::I8));
        assert_eq!(sum, Ok(reply::Result::Value(number(-128))));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Get,
        Set(i64),
        Swap(i64),
        Add(i64),
        CompareAndSwap(i64, i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let n = || -2..3_i64;
        prop_oneof![
            Just(Step::Get),
            n().prop_map(Step::Set),
            n().prop_map(Step::Swap),
            n().prop_map(Step::Add),
            (n(), n()).prop_map(|(old, new)| Step::CompareAndSwap(old, new)),
        ]
    }

    fn op(step: &Step) -> Op {
        match *step {
            Step::Get => Op::Get(Empty {}),
            Step::Set(n) => Op::Set(number(n)),
            Step::Swap(n) => Op::Swap(number(n)),
            Step::Add(n) => add(number(n), ANY),
            Step::CompareAndSwap(old, new) => Op::CompareAndSwap(ScalarCompareAndSwap {
                expected: Some(number(old)),
                replacement: Some(number(new)),
            }),
        }
    }

    fn model(variable: &mut i64, step: &Step) -> reply::Result {
        match *step {
            Step::Get => {}
            Step::Set(n) => {
                *variable = n;
                return reply::Result::Done(Empty {});
            }
            Step::Swap(n) => {
                return reply::Result::Value(number(std::mem::replace(variable, n)));
            }
            Step::Add(n) => *variable += n,
            Step::CompareAndSwap(old, new) => {
                let swapped = *variable == old;
                *variable = if swapped { new } else { *variable };
                let current = Some(number(*variable));
                return reply::Result::Swap(Swap { swapped, current });
            }
        }
        reply::Result::Value(number(*variable))
    }

    proptest! {
        #[test]
        fn behaves_like_a_variable(steps in prop::collection::vec(step(), 0..100)) {
            let (mut scalar, mut variable) = (scalar(Some(number(0))).unwrap(), 0);
            for step in steps {
                let reply = apply(&mut scalar, op(&step));
                prop_assert_eq!(reply, Ok(model(&mut variable, &step)));
            }
        }
    }
}
