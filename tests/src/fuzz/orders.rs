//! The order between values, and their sums.

use std::cmp::Ordering;

use mp_manager_proto::{
    order::{self, OrderError},
    value,
};
use rmpv::ValueRef;

/// Three values are one after the other in the data; if there are fewer, what is no value is the
/// next one, as the server does not look at what it stores.
pub fn orders(data: &[u8]) {
    let mut rest = data;
    let [a, b, c] = std::array::from_fn(|_| next(&mut rest));
    for value in [a, b, c] {
        check(value);
    }
    for (a, b) in [(a, b), (b, c), (a, c)] {
        is_antisymmetric(a, b);
        sum(a, b);
    }
    is_transitive([a, b, c]);
}

/// The next value of several that follow each other, or all there is.
fn next<'a>(data: &mut &'a [u8]) -> &'a [u8] {
    let mut rest = *data;
    let _ = rmpv::decode::read_value_ref(&mut rest);
    data.split_off(..data.len() - rest.len()).unwrap_or_default()
}

/// What has no order at all is not even equal to itself.
fn check(value: &[u8]) {
    let itself = order::compare(value, value);
    match order::check(value) {
        Ok(()) => assert!(matches!(itself, Ok(Ordering::Equal) | Err(_)), "{itself:?}"),
        Err(_) => assert!(itself.is_err(), "{itself:?}"),
    }
}

fn is_antisymmetric(a: &[u8], b: &[u8]) {
    match (order::compare(a, b), order::compare(b, a)) {
        (Ok(there), Ok(back)) => assert_eq!(there, back.reverse()),
        (there, back) => assert!(there.is_err() && back.is_err(), "{there:?}, {back:?}"),
    }
}

/// If each has an order against the others, they can stand in a line.
fn is_transitive(values: [&[u8]; 3]) {
    for [a, b, c] in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let compare = |i: usize, j: usize| order::compare(values[i], values[j]);
        let (Ok(first), Ok(second), Ok(both)) = (compare(a, b), compare(b, c), compare(a, c))
        else {
            return;
        };
        if first.is_le() && second.is_le() {
            assert_eq!(both, first.then(second));
        }
    }
}

/// Exact for integers, and the same from both sides.
fn sum(a: &[u8], b: &[u8]) {
    let (there, back) = (order::add(a, b), order::add(b, a));
    match (integer(a), integer(b)) {
        (Some(m), Some(n)) => match &there {
            Ok(sum) => assert_eq!(integer(sum), Some(m + n)),
            Err(error) => assert_eq!(*error == OrderError::Overflow, !fits(m + n), "{error}"),
        },
        _ => assert!(!matches!(there, Err(OrderError::Overflow))),
    }
    assert_eq!(there.is_ok(), back.is_ok());
    if let (Ok(there), Ok(back)) = (there, back) {
        assert!(value::check(&there).is_ok());
        // Of two NaNs the sum may be either.
        assert!(there == back || order::compare(&there, &back) == Err(OrderError::Nan));
    }
}

fn integer(value: &[u8]) -> Option<i128> {
    match rmpv::decode::read_value_ref(&mut &*value) {
        Ok(ValueRef::Integer(n)) => {
            n.as_u64().map(i128::from).or_else(|| n.as_i64().map(i128::from))
        }
        _ => None,
    }
}

fn fits(n: i128) -> bool {
    u64::try_from(n).is_ok() || i64::try_from(n).is_ok()
}
