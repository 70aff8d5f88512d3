//! An Array: numbers of one type, packed, as many as it was created with.

use std::ops::Range;

use mp_manager_proto::v1::{
    ArrayItem, ArrayParameters, ArraySlice, ArraySliceSet, ElementType, Error, ObjectInfo, Reason,
    array_op::Op,
};

use crate::{
    call::{Answer, Applied, Call},
    cost::{self, Cost, times},
    machine::{Machine, differs},
    memory::block,
    slice::{self, Positions},
    turn::Turn,
};

/// The largest Array: a few bytes of request must not take all the memory.
const MAX_BYTES: usize = 1 << 30;

/// Python's `Array`.
#[derive(Debug, Clone)]
pub struct Array {
    element_type: ElementType,
    element_len: usize,
    /// Packed, little-endian.
    elements: Vec<u8>,
}

impl Array {
    /// An Array of zeros, or of the initial elements.
    ///
    /// # Errors
    /// If the type is not known, the initial elements are not of it, or are not `len`, or it would
    /// be too large.
    pub fn new(parameters: ArrayParameters, turn: &mut Turn<'_>) -> Result<Self, Error> {
        let element_type = ElementType::try_from(parameters.element_type).unwrap_or_default();
        let element_len = element_len(element_type).ok_or_else(|| {
            let number = parameters.element_type;
            Error::new(Reason::InvalidArgument, format!("there is no element type {number}"))
                .with_hint("use one of i8 to u64, f32 and f64")
        })?;
        let mut array = Self { element_type, element_len, elements: Vec::new() };
        array.elements = if parameters.initial.is_empty() {
            let bytes = array.bytes_of(parameters.len)?;
            turn.afford(bytes)?;
            vec![0; bytes]
        } else {
            array.check_initial(&parameters)?;
            parameters.initial.to_vec()
        };
        Ok(array)
    }

    /// Whether opening it with these parameters means this Array. What they leave open matches.
    pub(crate) fn check_parameters(&self, parameters: &ArrayParameters) -> Result<(), Error> {
        // Not by the enumeration, in which a type that is not known would be one not given.
        if parameters.element_type != 0 && parameters.element_type != self.element_type.into() {
            let asked = name(parameters.element_type());
            return Err(differs("element type", name(self.element_type), asked));
        }
        let len = match parameters.len {
            0 => (parameters.initial.len() / self.element_len) as u64,
            len => len,
        };
        if len != 0 && len != self.len() as u64 {
            return Err(differs("length", self.len(), len));
        }
        Ok(())
    }

    /// What tells its type and length.
    pub(crate) fn parameters(&self) -> ArrayParameters {
        ArrayParameters {
            element_type: self.element_type.into(),
            len: self.len() as u64,
            ..ArrayParameters::default()
        }
    }

    fn len(&self) -> usize {
        self.elements.len() / self.element_len
    }

    /// The memory so many elements take.
    fn bytes_of(&self, len: u64) -> Result<usize, Error> {
        usize::try_from(len)
            .ok()
            .and_then(|len| len.checked_mul(self.element_len))
            .filter(|&bytes| bytes <= MAX_BYTES)
            .ok_or_else(|| {
                Error::new(
                    Reason::LimitExceeded,
                    format!(
                        "an Array of {len} {} is larger than {MAX_BYTES} bytes",
                        name(self.element_type)
                    ),
                )
                .with_hint("use several Arrays, or a smaller type")
            })
    }

    fn check_initial(&self, parameters: &ArrayParameters) -> Result<(), Error> {
        let len = self.count(&parameters.initial)?;
        self.bytes_of(len as u64)?;
        if parameters.len != 0 && parameters.len != len as u64 {
            return Err(Error::new(
                Reason::SizeMismatch,
                format!("{len} initial elements for an Array of {}", parameters.len),
            )
            .with_hint("leave the length out: the initial elements have one"));
        }
        Ok(())
    }

    /// How many elements these bytes are.
    fn count(&self, elements: &[u8]) -> Result<usize, Error> {
        if elements.len().is_multiple_of(self.element_len) {
            return Ok(elements.len() / self.element_len);
        }
        Err(self.wrong_type(elements.len()))
    }

    fn check_element(&self, element: &[u8]) -> Result<(), Error> {
        if element.len() == self.element_len {
            return Ok(());
        }
        Err(self.wrong_type(element.len()))
    }

    fn wrong_type(&self, len: usize) -> Error {
        let (name, element_len) = (name(self.element_type), self.element_len);
        Error::new(
            Reason::TypeMismatch,
            format!("{len} bytes were given for {name}, which has {element_len}"),
        )
        .with_hint("open the Array with the element type it was created with")
    }

    /// Where the bytes of the element with this index are.
    fn place(&self, index: i64) -> Result<Range<usize>, Error> {
        Ok(self.range(slice::position(index, self.len())?, 1))
    }

    /// Where the bytes of `count` elements are.
    fn range(&self, start: usize, count: usize) -> Range<usize> {
        start * self.element_len..(start + count) * self.element_len
    }

    fn set(&mut self, item: &ArrayItem) -> Applied {
        self.check_element(&item.element)?;
        let place = self.place(item.index)?;
        self.elements[place].copy_from_slice(&item.element);
        Answer::done().into()
    }

    fn slice_get(&self, op: ArraySlice, turn: &Turn<'_>) -> Applied {
        let positions = Positions::of(&op.slice.unwrap_or_default(), self.len())?;
        let fit = (turn.limits().page_bytes / self.element_len).max(1);
        let start = usize::try_from(op.cursor).unwrap_or(usize::MAX).min(positions.count);
        let count = fit.min(positions.count - start);
        if positions.step == 1 {
            let elements = &self.elements[self.range(positions.start + start, count)];
            return Answer::raw(elements.to_vec()).into();
        }
        let mut elements = Vec::with_capacity(count * self.element_len);
        for n in start..start + count {
            elements.extend_from_slice(&self.elements[self.range(positions.nth(n), 1)]);
        }
        Answer::raw(elements).into()
    }

    fn slice_set(&mut self, op: ArraySliceSet) -> Applied {
        let positions = Positions::of(&op.slice.unwrap_or_default(), self.len())?;
        let count = self.count(&op.elements)?;
        if count != positions.count {
            return Err(Error::new(
                Reason::SizeMismatch,
                format!("{count} elements for a slice of {}", positions.count),
            )
            .with_hint("an Array keeps its length: give as many as the slice has"));
        }
        if positions.step == 1 {
            let range = self.range(positions.start, count);
            self.elements[range].copy_from_slice(&op.elements);
            return Answer::done().into();
        }
        for (at, element) in positions.iter().zip(op.elements.chunks_exact(self.element_len)) {
            let place = self.range(at, 1);
            self.elements[place].copy_from_slice(element);
        }
        Answer::done().into()
    }

    fn fill(&mut self, element: &[u8]) -> Applied {
        self.check_element(element)?;
        for place in self.elements.chunks_exact_mut(self.element_len) {
            place.copy_from_slice(element);
        }
        Answer::done().into()
    }

    fn add(&mut self, item: &ArrayItem) -> Applied {
        self.check_element(&item.element)?;
        let place = self.place(item.index)?;
        let sum = sum(self.element_type, &self.elements[place.clone()], &item.element)?;
        self.elements[place].copy_from_slice(&sum);
        Answer::raw(sum).into()
    }
}

impl Machine for Array {
    type Op = Op;

    fn apply(&mut self, _call: Call, op: Op, turn: &mut Turn<'_>) -> Applied {
        match op {
            Op::Get(index) => Answer::raw(self.elements[self.place(index)?].to_vec()).into(),
            Op::Set(item) => self.set(&item),
            Op::Len(_) => Answer::number(self.len()).into(),
            Op::SliceGet(op) => self.slice_get(op, turn),
            Op::SliceSet(op) => self.slice_set(op),
            Op::Fill(element) => self.fill(&element),
            Op::Add(item) => self.add(&item),
        }
    }

    fn cost(&self, op: &Op) -> Cost {
        match op {
            // A page of them at most.
            Op::Get(_) | Op::Set(_) | Op::Len(_) | Op::Add(_) | Op::SliceGet(_) => 0,
            Op::SliceSet(op) => times(op.elements.len() / self.element_len, cost::VISIT),
            Op::Fill(_) => times(self.len(), cost::VISIT),
        }
    }

    fn describe(&self, info: &mut ObjectInfo) {
        info.len = self.len() as u64;
        info.state = format!("{} {}", self.len(), name(self.element_type));
    }

    fn bytes(&self) -> usize {
        block(self.elements.len())
    }
}

fn element_len(element_type: ElementType) -> Option<usize> {
    Some(match element_type {
        ElementType::Unspecified => return None,
        ElementType::I8 | ElementType::U8 => 1,
        ElementType::I16 | ElementType::U16 => 2,
        ElementType::I32 | ElementType::U32 | ElementType::F32 => 4,
        ElementType::I64 | ElementType::U64 | ElementType::F64 => 8,
    })
}

/// A type's name for people.
fn name(element_type: ElementType) -> String {
    element_type.as_str_name().trim_start_matches("ELEMENT_TYPE_").to_lowercase()
}

/// The sum of two elements, packed as they are.
fn sum(element_type: ElementType, a: &[u8], b: &[u8]) -> Result<Vec<u8>, Error> {
    match element_type {
        ElementType::F32 => {
            let number = |bytes| f32::from_le_bytes(fixed(bytes));
            Ok((number(a) + number(b)).to_le_bytes().into())
        }
        ElementType::F64 => {
            let number = |bytes| f64::from_le_bytes(fixed(bytes));
            Ok((number(a) + number(b)).to_le_bytes().into())
        }
        ElementType::I8 | ElementType::I16 | ElementType::I32 | ElementType::I64 => {
            integer_sum(element_type, a, b, true)
        }
        _ => integer_sum(element_type, a, b, false),
    }
}

fn integer_sum(
    element_type: ElementType,
    a: &[u8],
    b: &[u8],
    signed: bool,
) -> Result<Vec<u8>, Error> {
    let (x, y) = (widened(a, signed), widened(b, signed));
    let packed = (x + y).to_le_bytes()[..a.len()].to_vec();
    // It fits if nothing was cut off.
    if widened(&packed, signed) == x + y {
        return Ok(packed);
    }
    let name = name(element_type);
    Err(Error::new(Reason::Overflow, format!("{x} + {y} does not fit into {name}"))
        .with_hint("use an Array of a larger type"))
}

/// An integer of at most 64 bits in a type that holds the sum of any two.
fn widened(bytes: &[u8], signed: bool) -> i128 {
    let is_negative = signed && bytes.last().is_some_and(|&highest| highest >= 0x80);
    let mut wide = [if is_negative { 0xff } else { 0 }; 16];
    wide[..bytes.len()].copy_from_slice(bytes);
    i128::from_le_bytes(wide)
}

fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use mp_manager_proto::v1::{Empty, Slice, reply};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        object::tests::apply,
        turn::{Limits, Tokens, tests::no_references, tests::with_turn},
    };

    fn array(element_type: ElementType, len: u64, initial: &[u8]) -> Result<Array, Error> {
        let initial = initial.to_vec().into();
        let parameters = ArrayParameters { element_type: element_type.into(), len, initial };
        with_turn(&Tokens::after(0), |turn| Array::new(parameters, turn)).0
    }

    fn reason<T: std::fmt::Debug>(result: Result<T, Error>) -> Reason {
        result.unwrap_err().reason()
    }

    fn item(index: i64, element: impl Into<Vec<u8>>) -> ArrayItem {
        ArrayItem { index, element: element.into().into() }
    }

    fn raw(elements: impl Into<Vec<u8>>) -> Result<reply::Result, Error> {
        Ok(reply::Result::Raw(elements.into().into()))
    }

    #[test]
    fn what_it_cannot_be_created_with_is_refused() {
        assert_eq!(reason(array(ElementType::Unspecified, 1, &[])), Reason::InvalidArgument);
        assert_eq!(reason(array(ElementType::U8, u64::MAX, &[])), Reason::LimitExceeded);
        assert_eq!(reason(array(ElementType::F64, 1 << 61, &[])), Reason::LimitExceeded);
        assert_eq!(reason(array(ElementType::I16, 0, &[1, 2, 3])), Reason::TypeMismatch);
        assert_eq!(reason(array(ElementType::I16, 2, &[1, 0])), Reason::SizeMismatch);
    }

    #[test]
    fn opening_it_again_compares_what_was_given() {
        let array = array(ElementType::I16, 0, &[1, 0, 2, 0]).unwrap();
        let same = array.parameters();
        assert_eq!(same.len, 2);
        let other_len = ArrayParameters { len: 3, ..same.clone() };
        let other_type = ArrayParameters { element_type: ElementType::U16.into(), ..same.clone() };
        let other_initial = ArrayParameters { len: 0, initial: vec![0; 6].into(), ..same.clone() };
        assert!(array.check_parameters(&ArrayParameters::default()).is_ok());
        assert!(array.check_parameters(&same).is_ok());
        let unknown_type = ArrayParameters { element_type: 99, ..same.clone() };
        for parameters in [other_len, other_type, other_initial, unknown_type] {
            assert_eq!(reason(array.check_parameters(&parameters)), Reason::ParametersDiffer);
        }
    }

    #[test]
    fn a_sum_that_does_not_fit_leaves_the_element_as_it_was() {
        let mut bytes = array(ElementType::U8, 0, &[250]).unwrap();
        assert_eq!(reason(apply(&mut bytes, Op::Add(item(0, [6])))), Reason::Overflow);
        assert_eq!(apply(&mut bytes, Op::Add(item(0, [5]))), raw([255]));
        let mut words = array(ElementType::I64, 0, &i64::MIN.to_le_bytes()).unwrap();
        let minus_one = item(0, (-1_i64).to_le_bytes());
        assert_eq!(reason(apply(&mut words, Op::Add(minus_one))), Reason::Overflow);
        assert_eq!(apply(&mut words, Op::Get(-1)), raw(i64::MIN.to_le_bytes()));
    }

    #[test]
    fn floats_add_as_floats() {
        let mut array = array(ElementType::F32, 0, &0.5_f32.to_le_bytes()).unwrap();
        let sum = apply(&mut array, Op::Add(item(0, 0.25_f32.to_le_bytes())));
        assert_eq!(sum, raw(0.75_f32.to_le_bytes()));
        let sum = apply(&mut array, Op::Add(item(0, f32::INFINITY.to_le_bytes())));
        assert_eq!(sum, raw(f32::INFINITY.to_le_bytes()));
    }

    #[test]
    fn an_element_of_another_type_is_refused() {
        let mut array = array(ElementType::I32, 2, &[]).unwrap();
        let short = item(0, [1, 0]);
        assert_eq!(reason(apply(&mut array, Op::Set(short.clone()))), Reason::TypeMismatch);
        assert_eq!(reason(apply(&mut array, Op::Add(short.clone()))), Reason::TypeMismatch);
        assert_eq!(reason(apply(&mut array, Op::Fill(short.element))), Reason::TypeMismatch);
    }

    #[test]
    fn a_slice_comes_in_as_many_pages_as_it_takes() {
        let limits = Limits { page_bytes: 5, ..Limits::default() };
        let tokens = Tokens::after(0);
        let turn = Turn::new(&limits, &tokens, &no_references);
        let elements: Vec<u8> = (0..10).collect();
        let array = array(ElementType::U16, 0, &elements).unwrap();
        for step in [1, -1] {
            let slice = Slice { step: Some(step), ..Slice::default() };
            let page = |cursor| {
                let op = ArraySlice { slice: Some(slice), cursor };
                match array.slice_get(op, &turn) {
                    Ok(crate::Outcome::Done(answer)) => answer.result,
                    other => panic!("expected elements, got {other:?}"),
                }
            };
            let expected: [&[u8]; 2] =
                if step == 1 { [&[0, 1, 2, 3], &[8, 9]] } else { [&[8, 9, 6, 7], &[0, 1]] };
            assert_eq!(Ok(page(0)), raw(expected[0]));
            assert_eq!(Ok(page(4)), raw(expected[1]));
            assert_eq!(Ok(page(u64::MAX)), raw([]));
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Get(i64),
        Set(i64, i16),
        Add(i64, i16),
        Fill(i16),
        SliceGet(Slice),
        SliceSet(Slice, Vec<i16>),
    }

    fn step() -> impl Strategy<Value = Step> {
        let at = || -9..9_i64;
        let bound = move || prop::option::of(at());
        let steps = prop_oneof![Just(None), (1..4_i64).prop_map(Some), (-3..0_i64).prop_map(Some)];
        let slices = (bound(), bound(), steps)
            .prop_map(|(start, stop, step)| Slice { start, stop, step })
            .boxed();
        prop_oneof![
            1 => at().prop_map(Step::Get),
            3 => (at(), any::<i16>()).prop_map(|(at, n)| Step::Set(at, n)),
            3 => (at(), any::<i16>()).prop_map(|(at, n)| Step::Add(at, n)),
            1 => any::<i16>().prop_map(Step::Fill),
            2 => slices.clone().prop_map(Step::SliceGet),
            3 => (slices, prop::collection::vec(any::<i16>(), 0..6))
                .prop_map(|(slice, elements)| Step::SliceSet(slice, elements)),
        ]
    }

    fn packed(elements: &[i16]) -> Vec<u8> {
        elements.iter().flat_map(|n| n.to_le_bytes()).collect()
    }

    fn op(step: Step) -> Op {
        match step {
            Step::Get(at) => Op::Get(at),
            Step::Set(at, n) => Op::Set(item(at, n.to_le_bytes())),
            Step::Add(at, n) => Op::Add(item(at, n.to_le_bytes())),
            Step::Fill(n) => Op::Fill(packed(&[n]).into()),
            Step::SliceGet(slice) => Op::SliceGet(ArraySlice { slice: Some(slice), cursor: 0 }),
            Step::SliceSet(slice, elements) => {
                let elements = packed(&elements).into();
                Op::SliceSet(ArraySliceSet { slice: Some(slice), elements })
            }
        }
    }

    /// What the step does to a vector, and its reply; `None` where it is an error.
    fn model(vector: &mut [i16], step: Step) -> Option<reply::Result> {
        let position = |index| slice::position(index, vector.len()).ok();
        let positions = |slice| Positions::of(slice, vector.len()).unwrap().iter();
        match step {
            Step::Get(at) => return raw(packed(&[vector[position(at)?]])).ok(),
            Step::Set(at, n) => vector[position(at)?] = n,
            Step::Add(at, n) => {
                let at = position(at)?;
                vector[at] = vector[at].checked_add(n)?;
                return raw(packed(&[vector[at]])).ok();
            }
            Step::Fill(n) => vector.fill(n),
            Step::SliceGet(slice) => {
                let elements: Vec<i16> = positions(&slice).map(|at| vector[at]).collect();
                return raw(packed(&elements)).ok();
            }
            Step::SliceSet(slice, elements) => {
                let positions = positions(&slice);
                if positions.len() != elements.len() {
                    return None;
                }
                positions.zip(elements).for_each(|(at, n)| vector[at] = n);
            }
        }
        Some(reply::Result::Done(Empty {}))
    }

    proptest! {
        #[test]
        fn behaves_like_a_vector(
            mut vector in prop::collection::vec(any::<i16>(), 1..7),
            steps in prop::collection::vec(step(), 0..100),
        ) {
            let mut array = array(ElementType::I16, 0, &packed(&vector)).unwrap();
            for step in steps {
                let reply = apply(&mut array, op(step.clone()));
                prop_assert_eq!(reply.ok(), model(&mut vector, step));
                prop_assert_eq!(&array.elements, &packed(&vector));
            }
        }

        #[test]
        fn integers_add_exactly_or_not_at_all(a: i64, b: i64, x: u64, y: u64) {
            let pair = |a: [u8; 8], b: [u8; 8], element_type| sum(element_type, &a, &b).ok();
            prop_assert_eq!(
                pair(a.to_le_bytes(), b.to_le_bytes(), ElementType::I64),
                a.checked_add(b).map(|sum| sum.to_le_bytes().to_vec())
            );
            prop_assert_eq!(
                pair(x.to_le_bytes(), y.to_le_bytes(), ElementType::U64),
                x.checked_add(y).map(|sum| sum.to_le_bytes().to_vec())
            );
        }
    }
}
