//! The order between values, and their arithmetic: what sorting, priorities and atomic addition
//! need to see inside a value.

use std::cmp::Ordering;

use crate::{
    v1::ElementType,
    value::{CodecError, Cursor, MAX_DEPTH, Token},
};

/// Why two values have no order or no sum.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// Two kinds of value that have no order between them, as in Python.
    #[error("{0} and {1} have no order")]
    Incomparable(&'static str, &'static str),
    /// NaN is neither less than, nor equal to, nor greater than anything.
    #[error("NaN has no order")]
    Nan,
    /// Something other than a number was to be added.
    #[error("cannot add {0} to {1}: both must be numbers")]
    NotNumbers(&'static str, &'static str),
    /// The sum does not fit 64 bits.
    #[error("the sum does not fit into 64 bits")]
    Overflow,
    /// A sum does not fit its type.
    #[error("the sum, {0}, does not fit into {1}")]
    OutOfRange(i128, &'static str),
    /// A sum of floats does not fit a type of integers.
    #[error("the sum is {0}, which is no {1}")]
    NoInteger(&'static str, &'static str),
    /// The bytes are not a value.
    #[error("{0}")]
    Malformed(String),
}

impl From<CodecError> for OrderError {
    fn from(error: CodecError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// Compares two encoded values: numbers by value, strings and bytes bytewise, arrays element by
/// element.
///
/// # Errors
/// Other mixes have no order, as in Python.
pub fn compare(a: &[u8], b: &[u8]) -> Result<Ordering, OrderError> {
    compare_next(&mut Cursor { rest: a }, &mut Cursor { rest: b }, MAX_DEPTH)
}

/// Checks that a value can stand in an order at all: that it is a number, a string or bytes, or an
/// array that begins with one. What follows in an array matters only between equal beginnings.
///
/// # Errors
/// If it has no order against anything.
pub fn check(value: &[u8]) -> Result<(), OrderError> {
    let mut cursor = Cursor { rest: value };
    loop {
        match cursor.next()? {
            Token::Array(1..) => {}
            Token::Array(0) | Token::Text(_) | Token::Binary(_) => return Ok(()),
            token => return compare_numbers(&token, &token).map(drop),
        }
    }
}

/// Adds two encoded numbers: integers exactly, anything with a float as a float.
///
/// # Errors
/// If one is no number, or more than that, or the sum of integers does not fit 64 bits.
pub fn add(a: &[u8], b: &[u8]) -> Result<Vec<u8>, OrderError> {
    let [mut first, mut second] = [a, b].map(|rest| Cursor { rest });
    let (a, b) = (first.next()?, second.next()?);
    let mut out = Vec::with_capacity(9);
    let written = match (&a, &b) {
        (Token::Integer(a), Token::Integer(b)) => {
            let sum = a + b;
            if let Ok(sum) = u64::try_from(sum) {
                rmp::encode::write_uint(&mut out, sum).map(drop)
            } else {
                let sum = i64::try_from(sum).map_err(|_| OrderError::Overflow)?;
                rmp::encode::write_sint(&mut out, sum).map(drop)
            }
        }
        (Token::F32(a), Token::F32(b)) => rmp::encode::write_f32(&mut out, a + b),
        _ => match (float(&a), float(&b)) {
            (Some(a), Some(b)) => rmp::encode::write_f64(&mut out, a + b),
            _ => return Err(OrderError::NotNumbers(name(&b), name(&a))),
        },
    };
    written.map_err(|e| OrderError::Malformed(e.to_string()))?;
    // What follows a number would be dropped with it.
    match first.rest.len() + second.rest.len() {
        0 => Ok(out),
        trailing => Err(CodecError::Trailing(trailing).into()),
    }
}

/// Checks that whoever reads a sum as this type gets it: types of integers hold those of their range,
/// types of floats any number.
///
/// # Errors
/// If the type does not hold the sum.
pub fn check_sum(sum: &[u8], sum_type: ElementType) -> Result<(), OrderError> {
    let Some((name, min, max)) = integers(sum_type) else { return Ok(()) };
    match (Cursor { rest: sum }).next()? {
        Token::Integer(sum) if (min..=max).contains(&sum) => Ok(()),
        Token::Integer(sum) => Err(OrderError::OutOfRange(sum, name)),
        token => Err(OrderError::NoInteger(self::name(&token), name)),
    }
}

/// The name, the smallest and the largest number of a type of integers.
fn integers(element_type: ElementType) -> Option<(&'static str, i128, i128)> {
    Some(match element_type {
        ElementType::I8 => ("i8", i8::MIN.into(), i8::MAX.into()),
        ElementType::U8 => ("u8", 0, u8::MAX.into()),
        ElementType::I16 => ("i16", i16::MIN.into(), i16::MAX.into()),
        ElementType::U16 => ("u16", 0, u16::MAX.into()),
        ElementType::I32 => ("i32", i32::MIN.into(), i32::MAX.into()),
        ElementType::U32 => ("u32", 0, u32::MAX.into()),
        ElementType::I64 => ("i64", i64::MIN.into(), i64::MAX.into()),
        ElementType::U64 => ("u64", 0, u64::MAX.into()),
        ElementType::Unspecified | ElementType::F32 | ElementType::F64 => return None,
    })
}

fn compare_next(
    a: &mut Cursor<'_>,
    b: &mut Cursor<'_>,
    depth: usize,
) -> Result<Ordering, OrderError> {
    let (x, y) = (a.next()?, b.next()?);
    match (&x, &y) {
        (Token::Text(x), Token::Text(y)) | (Token::Binary(x), Token::Binary(y)) => Ok(x.cmp(y)),
        (Token::Array(m), Token::Array(n)) => {
            let depth = depth.checked_sub(1).ok_or(CodecError::TooDeep)?;
            for _ in 0..*m.min(n) {
                let order = compare_next(a, b, depth)?;
                if order.is_ne() {
                    return Ok(order);
                }
            }
            Ok(m.cmp(n))
        }
        _ => compare_numbers(&x, &y),
    }
}

fn compare_numbers(x: &Token<'_>, y: &Token<'_>) -> Result<Ordering, OrderError> {
    if let (Some(x), Some(y)) = (integer(x), integer(y)) {
        return Ok(x.cmp(&y));
    }
    match (integer(x), float(x), integer(y), float(y)) {
        (Some(x), _, _, Some(y)) => compare_mixed(x, y),
        (_, Some(x), Some(y), _) => compare_mixed(y, x).map(Ordering::reverse),
        (_, Some(x), _, Some(y)) => x.partial_cmp(&y).ok_or(OrderError::Nan),
        _ => Err(OrderError::Incomparable(name(x), name(y))),
    }
}

/// Exact, where rounding the integer to a float would not be.
fn compare_mixed(integer: i128, float: f64) -> Result<Ordering, OrderError> {
    if float.is_nan() {
        return Err(OrderError::Nan);
    }
    // Saturates beyond i128, which is far outside what an integer token holds.
    let whole = float.floor() as i128;
    Ok(integer.cmp(&whole).then(if float > float.floor() {
        Ordering::Less
    } else {
        Ordering::Equal
    }))
}

/// As in Python, `True` is 1 and `False` is 0.
fn integer(token: &Token<'_>) -> Option<i128> {
    match *token {
        Token::Integer(n) => Some(n),
        Token::Bool(flag) => Some(flag.into()),
        _ => None,
    }
}

fn float(token: &Token<'_>) -> Option<f64> {
    match *token {
        Token::Integer(n) => Some(n as f64),
        Token::F32(x) => Some(x.into()),
        Token::F64(x) => Some(x),
        _ => None,
    }
}

fn name(token: &Token<'_>) -> &'static str {
    match token {
        Token::Nil => "nil",
        Token::Bool(_) => "a boolean",
        Token::Integer(_) => "an integer",
        Token::F32(_) | Token::F64(_) => "a float",
        Token::Text(_) => "a string",
        Token::Binary(_) => "bytes",
        Token::Extension(..) => "an extension value",
        Token::Array(_) => "an array",
        Token::Map(_) => "a map",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::encode;

    fn order<A: serde::Serialize, B: serde::Serialize>(a: A, b: B) -> Result<Ordering, OrderError> {
        compare(&encode(&a).unwrap(), &encode(&b).unwrap())
    }

    #[test]
    fn numbers_compare_by_value_across_types() {
        assert_eq!(order(1, 1.5), Ok(Ordering::Less));
        assert_eq!(order(-1, -1.5), Ok(Ordering::Greater));
        assert_eq!(order(u64::MAX, i64::MIN), Ok(Ordering::Greater));
        assert_eq!(order(u64::MAX, u64::MAX as f64), Ok(Ordering::Less));
        assert_eq!(order(1, f64::INFINITY), Ok(Ordering::Less));
        assert_eq!(order(2.0, 2), Ok(Ordering::Equal));
        assert_eq!(order(1, f64::NAN), Err(OrderError::Nan));
    }

    #[test]
    fn arrays_compare_element_by_element() {
        assert_eq!(order((1, "a"), (1, "b")), Ok(Ordering::Less));
        assert_eq!(order((1, "a"), (1, "a", 0)), Ok(Ordering::Less));
        assert_eq!(order("a", 1), Err(OrderError::Incomparable("a string", "an integer")));
    }

    #[test]
    fn nothing_that_follows_a_number_is_dropped_with_it() {
        for (a, b) in [(&[1, 2][..], &[1][..]), (&[1], &[1, 0xc0]), (&[1, 1], &[1, 1])] {
            assert!(matches!(add(a, b), Err(OrderError::Malformed(_))), "{a:?} {b:?}");
        }
        assert_eq!(add(&[1], &[1]), Ok(vec![2]));
        assert!(matches!(add(&[0x92, 1, 2], &[1]), Err(OrderError::NotNumbers(..))));
    }

    #[test]
    fn what_begins_without_an_order_has_none() {
        let check = |bytes: Vec<u8>| check(&bytes);
        assert_eq!(check(encode(&(1, f64::NAN)).unwrap()), Ok(()));
        assert_eq!(check(encode(&((0.5, ()), 1)).unwrap()), Ok(()));
        assert_eq!(check(encode(&[0; 0]).unwrap()), Ok(()));
        assert_eq!(check(encode(&(f64::NAN, 1)).unwrap()), Err(OrderError::Nan));
        assert_eq!(check(encode(&()).unwrap()), Err(OrderError::Incomparable("nil", "nil")));
        assert!(matches!(check(vec![0x91]), Err(OrderError::Malformed(_))));
    }

    #[test]
    fn sums_are_exact_or_refused() {
        let sum = |a: i64, b: u64| add(&encode(&a).unwrap(), &encode(&b).unwrap());
        assert_eq!(sum(-1, u64::MAX).unwrap(), encode(&(u64::MAX - 1)).unwrap());
        assert_eq!(sum(1, u64::MAX), Err(OrderError::Overflow));
        assert_eq!(
            add(&encode("x").unwrap(), &encode(&1).unwrap()),
            Err(OrderError::NotNumbers("an integer", "a string"))
        );
    }

    #[test]
    fn a_sum_fits_its_type_or_is_refused() {
        let check = |sum: i64, sum_type| check_sum(&encode(&sum).unwrap(), sum_type);
        assert_eq!(check(255, ElementType::U8), Ok(()));
        assert_eq!(check(256, ElementType::U8), Err(OrderError::OutOfRange(256, "u8")));
        assert_eq!(check(-128, ElementType::I8), Ok(()));
        assert_eq!(check(-129, ElementType::I8), Err(OrderError::OutOfRange(-129, "i8")));
        assert_eq!(check(-1, ElementType::U64), Err(OrderError::OutOfRange(-1, "u64")));
        assert_eq!(check(i64::MIN, ElementType::I64), Ok(()));
        assert_eq!(check(i64::MIN, ElementType::Unspecified), Ok(()));
        assert_eq!(check(i64::MAX, ElementType::F32), Ok(()));
        let float = encode(&0.5).unwrap();
        assert_eq!(check_sum(&float, ElementType::F64), Ok(()));
        assert_eq!(
            check_sum(&float, ElementType::I64),
            Err(OrderError::NoInteger("a float", "i64"))
        );
    }

    proptest! {
        #[test]
        fn integers_and_strings_order_as_in_rust(a: i64, b: u64, x: String, y: String) {
            prop_assert_eq!(order(a, b), Ok(i128::from(a).cmp(&i128::from(b))));
            prop_assert_eq!(order(&x, &y), Ok(x.cmp(&y)));
        }

        #[test]
        fn garbage_is_refused_without_panicking(a: Vec<u8>, b: Vec<u8>) {
            let _ = compare(&a, &b);
            let _ = check(&a);
            let _ = add(&a, &b);
            let _ = check_sum(&a, ElementType::U8);
        }
    }
}
