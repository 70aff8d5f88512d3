//! How values become bytes: MessagePack, structs as maps.
//!
//! Equal keys have equal bytes (see [`encode_key`]), values are read to their last byte, and
//! nesting is bounded by [`MAX_DEPTH`].

use std::{borrow::Cow, cell::Cell};

use rmp::Marker;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    depth::{Level, Limited},
    undecoded::Undecoded,
};

/// How deep arrays and maps may nest.
pub const MAX_DEPTH: usize = 128;

/// Extension types with a meaning of ours.
pub mod extension {
    /// A reference to a shared object.
    pub const PROXY: i8 = 1;
    /// A Python tuple.
    pub const TUPLE: i8 = 2;
    /// A Python set.
    pub const SET: i8 = 3;
    /// An integer beyond 64 bits.
    pub const BIG_INTEGER: i8 = 4;
    /// An opaque Python pickle: carried, never parsed.
    pub const PICKLE: i8 = 5;
}

/// Why a value could not be encoded or decoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The type refused to be serialised.
    #[error("cannot encode the value: {0}")]
    Encode(String),
    /// The bytes are not a value of the wanted type.
    #[error("cannot decode the value: {0}")]
    Decode(String),
    /// Something follows the value.
    #[error("{0} bytes follow the end of the value")]
    Trailing(usize),
    /// The bytes are not MessagePack.
    #[error("the bytes are not MessagePack: {0}")]
    Malformed(&'static str),
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("arrays and maps are nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// NaN is not equal to itself and cannot be found again.
    #[error("NaN cannot be (part of) a key, as it is not equal to itself")]
    NanKey,
    /// A proxy has no value to compare by.
    #[error("a proxy cannot be (part of) a key")]
    ProxyKey,
}

/// Encodes a value.
///
/// # Errors
/// If the type cannot be serialised or is nested too deeply; that is found out on the way down.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::with_capacity(64);
    encode_into(value, &mut bytes)?;
    Ok(bytes)
}

/// Appends an encoded value, as [`encode`]. After an error, anything may follow what was there.
///
/// # Errors
/// As [`encode`].
pub fn encode_into<T: Serialize + ?Sized>(
    value: &T,
    bytes: &mut Vec<u8>,
) -> Result<(), CodecError> {
    let start = bytes.len();
    let mut serializer = rmp_serde::Serializer::new(&mut *bytes).with_struct_map();
    let too_deep = Cell::new(false);
    let level = Level::outermost(MAX_DEPTH, &too_deep);
    value.serialize(Limited::new(&mut serializer, level)).map_err(|error| {
        if too_deep.get() { CodecError::TooDeep } else { CodecError::Encode(error.to_string()) }
    })?;
    let encoded = &bytes[start..];
    if is_container(encoded) { check(encoded) } else { Ok(()) }
}

/// Encodes a key in its one canonical form: map entries sorted, `-0.0` as `0.0`; NaN and proxies
/// are refused.
///
/// # Errors
/// As [`encode`], and for what cannot be a key.
pub fn encode_key<T: Serialize + ?Sized>(key: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::with_capacity(64);
    encode_key_into(key, &mut bytes)?;
    Ok(bytes)
}

/// Puts an encoded key in the place of `bytes`, as [`encode_key`]. After an error they may be anything.
///
/// # Errors
/// As [`encode_key`].
pub fn encode_key_into<T: Serialize + ?Sized>(
    key: &T,
    bytes: &mut Vec<u8>,
) -> Result<(), CodecError> {
    bytes.clear();
    encode_into(key, bytes)?;
    if !has_one_form(bytes)
        && let Cow::Owned(canonical) = canonical(bytes)?
    {
        *bytes = canonical;
    }
    Ok(())
}

/// Decodes a value, to its last byte. A type that [can be made](crate::undecoded::UNDECODED) of what cannot
/// be decoded is.
///
/// # Errors
/// If the bytes are not exactly one value of this type.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    read(bytes).or_else(|error| T::deserialize(Undecoded(bytes)).map_err(|_| error))
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (value, rest) = decode_first(bytes)?;
    if rest.is_empty() { Ok(value) } else { Err(CodecError::Trailing(rest.len())) }
}

/// Decodes the first of several values, and says what follows it. Unlike [`decode`] it has no second way for
/// types that take the bytes as they are.
///
/// # Errors
/// If the bytes do not begin with a value of this type.
pub fn decode_first<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, &[u8]), CodecError> {
    let mut rest = bytes;
    let mut deserializer = rmp_serde::Deserializer::new(&mut rest);
    // Its own count leaves out the variants of enums, and so is not relied upon.
    deserializer.set_max_depth(usize::MAX);
    let too_deep = Cell::new(false);
    // An extension takes a level, and a caller may wrap a value once more.
    let level = Level::outermost(MAX_DEPTH + 2, &too_deep);
    let value = T::deserialize(Limited::new(&mut deserializer, level)).map_err(|error| {
        if too_deep.get() { CodecError::TooDeep } else { CodecError::Decode(error.to_string()) }
    })?;
    drop(deserializer);
    Ok((value, rest))
}

/// Takes the header of an array off: its length, and the bytes of its elements.
///
/// # Errors
/// If the bytes do not begin with an array.
pub fn array(bytes: &[u8]) -> Result<(usize, &[u8]), CodecError> {
    let mut cursor = Cursor { rest: bytes };
    match cursor.next()? {
        Token::Array(len) => Ok((usize::try_from(len).unwrap_or(usize::MAX), cursor.rest)),
        _ => Err(CodecError::Malformed("there is no array")),
    }
}

/// Takes one value off: its bytes, and what follows it.
///
/// # Errors
/// If the bytes do not begin with a well-formed value, nested no deeper than [`MAX_DEPTH`].
pub fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), CodecError> {
    let mut cursor = Cursor { rest: bytes };
    cursor.skip(MAX_DEPTH)?;
    Ok(bytes.split_at(bytes.len() - cursor.rest.len()))
}

/// Checks that the bytes are exactly one well-formed value, nested no deeper than [`MAX_DEPTH`].
///
/// # Errors
/// If they are not.
pub fn check(bytes: &[u8]) -> Result<(), CodecError> {
    let mut cursor = Cursor { rest: bytes };
    cursor.skip(MAX_DEPTH)?;
    if cursor.rest.is_empty() { Ok(()) } else { Err(CodecError::Trailing(cursor.rest.len())) }
}

/// The canonical form of an encoded key: what [`encode_key`] would give. Whether bytes have that form
/// already is for [`key::check`](crate::key::check) to say, which takes no memory.
///
/// # Errors
/// If the bytes are no value, or one that cannot be a key.
pub fn canonical_form(bytes: &[u8]) -> Result<Vec<u8>, CodecError> {
    canonical(bytes).map(Cow::into_owned)
}

/// Whether two encoded values are equal. Maps are equal whatever the order of their entries.
#[must_use]
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    if a == b {
        return true;
    }
    // Other values have one encoding each, and so differ; entries of maps may stand in any order,
    // and there are two zeros among the floats.
    if a.len() != b.len() || has_one_form(a) || has_one_form(b) {
        return false;
    }
    let (mut left, mut right) = (Vec::with_capacity(a.len()), Vec::with_capacity(b.len()));
    let one = Canonicalizer { keys: false }.write(&mut Cursor { rest: a }, &mut left, MAX_DEPTH);
    let two = Canonicalizer { keys: false }.write(&mut Cursor { rest: b }, &mut right, MAX_DEPTH);
    one.is_ok() && two.is_ok() && left == right
}

fn is_container(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|&first| {
        matches!(
            Marker::from_u8(first),
            Marker::FixArray(_)
                | Marker::Array16
                | Marker::Array32
                | Marker::FixMap(_)
                | Marker::Map16
                | Marker::Map32
        )
    })
}

/// Whether a value can only be encoded like this: strings, bytes, integers and the like.
fn has_one_form(bytes: &[u8]) -> bool {
    use Marker as M;
    !is_container(bytes)
        && bytes.first().is_some_and(|&first| {
            !matches!(
                M::from_u8(first),
                M::F32
                    | M::F64
                    | M::Ext8
                    | M::Ext16
                    | M::Ext32
                    | M::FixExt1
                    | M::FixExt2
                    | M::FixExt4
                    | M::FixExt8
                    | M::FixExt16
            )
        })
}

fn canonical(bytes: &[u8]) -> Result<Cow<'_, [u8]>, CodecError> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut cursor = Cursor { rest: bytes };
    Canonicalizer { keys: true }.write(&mut cursor, &mut out, MAX_DEPTH)?;
    if !cursor.rest.is_empty() {
        return Err(CodecError::Trailing(cursor.rest.len()));
    }
    Ok(if out == bytes { Cow::Borrowed(bytes) } else { Cow::Owned(out) })
}

/// What one MessagePack token is, with what belongs to it taken from the input.
pub(crate) enum Token<'a> {
    Nil,
    Bool(bool),
    Integer(i128),
    F32(f32),
    F64(f64),
    Text(&'a [u8]),
    Binary(&'a [u8]),
    Extension(i8, &'a [u8]),
    Array(u32),
    Map(u32),
}

/// Reads MessagePack token by token.
pub(crate) struct Cursor<'a> {
    pub(crate) rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn bytes(&mut self, n: usize) -> Result<&'a [u8], CodecError> {
        let (head, tail) =
            self.rest.split_at_checked(n).ok_or(CodecError::Malformed("it ends too early"))?;
        self.rest = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    fn u8(&mut self) -> Result<u8, CodecError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    fn u16(&mut self) -> Result<u16, CodecError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, CodecError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn extension(&mut self, n: usize) -> Result<Token<'a>, CodecError> {
        let code = i8::from_be_bytes(self.array()?);
        Ok(Token::Extension(code, self.bytes(n)?))
    }

    pub(crate) fn next(&mut self) -> Result<Token<'a>, CodecError> {
        let marker = Marker::from_u8(self.u8()?);
        Ok(match marker {
            Marker::Null => Token::Nil,
            Marker::False => Token::Bool(false),
            Marker::True => Token::Bool(true),
            Marker::FixPos(n) => Token::Integer(n.into()),
            Marker::FixNeg(n) => Token::Integer(n.into()),
            Marker::U8 => Token::Integer(self.u8()?.into()),
            Marker::U16 => Token::Integer(self.u16()?.into()),
            Marker::U32 => Token::Integer(self.u32()?.into()),
            Marker::U64 => Token::Integer(u64::from_be_bytes(self.array()?).into()),
            Marker::I8 => Token::Integer(i8::from_be_bytes(self.array()?).into()),
            Marker::I16 => Token::Integer(i16::from_be_bytes(self.array()?).into()),
            Marker::I32 => Token::Integer(i32::from_be_bytes(self.array()?).into()),
            Marker::I64 => Token::Integer(i64::from_be_bytes(self.array()?).into()),
            Marker::F32 => Token::F32(f32::from_be_bytes(self.array()?)),
            Marker::F64 => Token::F64(f64::from_be_bytes(self.array()?)),
            Marker::FixStr(n) => Token::Text(self.bytes(n.into())?),
            Marker::Str8 => Token::Text({
                let n = self.u8()?;
                self.bytes(n.into())?
            }),
            Marker::Str16 => Token::Text({
                let n = self.u16()?;
                self.bytes(n.into())?
            }),
            Marker::Str32 => Token::Text({
                let n = self.u32()?;
                self.bytes(n as usize)?
            }),
            Marker::Bin8 => Token::Binary({
                let n = self.u8()?;
                self.bytes(n.into())?
            }),
            Marker::Bin16 => Token::Binary({
                let n = self.u16()?;
                self.bytes(n.into())?
            }),
            Marker::Bin32 => Token::Binary({
                let n = self.u32()?;
                self.bytes(n as usize)?
            }),
            Marker::FixExt1 => self.extension(1)?,
            Marker::FixExt2 => self.extension(2)?,
            Marker::FixExt4 => self.extension(4)?,
            Marker::FixExt8 => self.extension(8)?,
            Marker::FixExt16 => self.extension(16)?,
            Marker::Ext8 => {
                let n = self.u8()?;
                self.extension(n.into())?
            }
            Marker::Ext16 => {
                let n = self.u16()?;
                self.extension(n.into())?
            }
            Marker::Ext32 => {
                let n = self.u32()?;
                self.extension(n as usize)?
            }
            Marker::FixArray(n) => Token::Array(n.into()),
            Marker::Array16 => Token::Array(self.u16()?.into()),
            Marker::Array32 => Token::Array(self.u32()?),
            Marker::FixMap(n) => Token::Map(n.into()),
            Marker::Map16 => Token::Map(self.u16()?.into()),
            Marker::Map32 => Token::Map(self.u32()?),
            Marker::Reserved => return Err(CodecError::Malformed("it has a reserved marker")),
        })
    }

    /// Passes over one value.
    pub(crate) fn skip(&mut self, depth: usize) -> Result<(), CodecError> {
        let elements = match self.next()? {
            Token::Array(n) => u64::from(n),
            Token::Map(n) => u64::from(n) * 2,
            _ => return Ok(()),
        };
        let depth = depth.checked_sub(1).ok_or(CodecError::TooDeep)?;
        (0..elements).try_for_each(|_| self.skip(depth))
    }
}

/// Rewrites a value in the fewest bytes, and so that equal ones have equal bytes.
struct Canonicalizer {
    /// Whether it is for a key, which NaN and proxies cannot be.
    keys: bool,
}

impl Canonicalizer {
    fn write(
        &self,
        input: &mut Cursor<'_>,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), CodecError> {
        let start = input.rest;
        let token = input.next()?;
        let read = &start[..start.len() - input.rest.len()];
        // Lengths are no longer than the 32 bits they were read from, and writing to a vector cannot
        // fail.
        match token {
            Token::F32(x) if self.keys && x.is_nan() => return Err(CodecError::NanKey),
            Token::F64(x) if self.keys && x.is_nan() => return Err(CodecError::NanKey),
            Token::F32(0.0) => {
                out.push(Marker::F32.to_u8());
                out.extend(0_f32.to_be_bytes());
            }
            Token::F64(0.0) => {
                out.push(Marker::F64.to_u8());
                out.extend(0_f64.to_be_bytes());
            }
            Token::Integer(n) => write_integer(out, n),
            Token::Text(text) => {
                let _ = rmp::encode::write_str_len(out, text.len() as u32);
                out.extend(text);
            }
            Token::Binary(bytes) => {
                let _ = rmp::encode::write_bin_len(out, bytes.len() as u32);
                out.extend(bytes);
            }
            Token::Extension(extension::PROXY, _) if self.keys => return Err(CodecError::ProxyKey),
            Token::Extension(code, bytes) => {
                let _ = rmp::encode::write_ext_meta(out, bytes.len() as u32, code);
                out.extend(bytes);
            }
            Token::Array(n) => {
                let depth = depth.checked_sub(1).ok_or(CodecError::TooDeep)?;
                let _ = rmp::encode::write_array_len(out, n);
                (0..n).try_for_each(|_| self.write(input, out, depth))?;
            }
            Token::Map(n) => {
                let depth = depth.checked_sub(1).ok_or(CodecError::TooDeep)?;
                let _ = rmp::encode::write_map_len(out, n);
                self.write_map(n, input, out, depth)?;
            }
            Token::Nil | Token::Bool(_) | Token::F32(_) | Token::F64(_) => out.extend(read),
        }
        Ok(())
    }

    fn write_map(
        &self,
        n: u32,
        input: &mut Cursor<'_>,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), CodecError> {
        // An entry takes two bytes at least: a lying length must not reserve memory.
        let mut entries = Vec::with_capacity((n as usize).min(input.rest.len() / 2));
        for _ in 0..n {
            let mut entry = Vec::new();
            self.write(input, &mut entry, depth)?;
            let key = entry.len();
            self.write(input, &mut entry, depth)?;
            entries.push((key, entry));
        }
        entries.sort_by(|(a, x), (b, y)| x[..*a].cmp(&y[..*b]));
        for (_, entry) in entries {
            out.extend(entry);
        }
        Ok(())
    }
}

/// Writes an integer in the fewest bytes, as every encoder of ours does.
fn write_integer(out: &mut Vec<u8>, n: i128) {
    // Writing to a vector cannot fail, and a token's integers fit one of the two.
    let _ = match u64::try_from(n) {
        Ok(n) => rmp::encode::write_uint(out, n),
        Err(_) => rmp::encode::write_sint(out, i64::try_from(n).unwrap_or(i64::MIN)),
    };
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    #[test]
    fn equal_keys_have_equal_bytes_whatever_their_order() {
        let forwards = encode_key(&Pairs(vec![("a", 1), ("b", 2)])).unwrap();
        let backwards = encode_key(&Pairs(vec![("b", 2), ("a", 1)])).unwrap();
        assert_eq!(forwards, backwards);
        assert_eq!(encode_key(&-0.0).unwrap(), encode_key(&0.0).unwrap());
        for longer in [&b"\xd9\x01a"[..], b"\xc5\0\x01a", b"\xdc\0\x01\x01", b"\xc7\x01\x05a"] {
            assert_ne!(canonical_form(longer).unwrap(), longer);
        }
    }

    #[test]
    fn what_cannot_be_found_again_cannot_be_a_key() {
        assert!(matches!(encode_key(&f64::NAN), Err(CodecError::NanKey)));
        assert!(matches!(encode_key(&vec![f32::NAN]), Err(CodecError::NanKey)));
    }

    #[test]
    fn a_value_is_read_to_its_last_byte() {
        let mut bytes = encode(&7_u64).unwrap();
        bytes.push(0);
        assert!(matches!(decode::<u64>(&bytes), Err(CodecError::Trailing(1))));
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = [vec![0x91; MAX_DEPTH + 1], vec![0xc0]].concat();
        assert!(matches!(check(&deep), Err(CodecError::TooDeep)));
        assert!(matches!(canonical(&deep), Err(CodecError::TooDeep)));
        assert!(check(&deep[1..]).is_ok());
        // What may be written can be read.
        assert!(decode::<IgnoredAny>(&deep[1..]).is_ok());
    }

    /// What overflows the stack aborts the process: the stack of a worker thread is enough.
    fn on_a_small_stack(f: impl FnOnce() + Send + 'static) {
        std::thread::Builder::new().stack_size(2 << 20).spawn(f).unwrap().join().unwrap();
    }

    const FAR_TOO_DEEP: usize = 100_000;

    #[test]
    fn a_value_that_is_too_deep_is_refused_before_the_stack_is_used_up() {
        on_a_small_stack(|| {
            for depth in [FAR_TOO_DEEP, 1023, 900, MAX_DEPTH + 1] {
                for way in [Way::Array, Way::Map, Way::Variant, Way::Some, Way::Newtype] {
                    let encoded = encode(&Nested(way, depth));
                    let has_bytes = !matches!(way, Way::Some | Way::Newtype);
                    if has_bytes || depth > 4 * MAX_DEPTH {
                        assert!(matches!(encoded, Err(CodecError::TooDeep)), "{way:?}, {depth}");
                    }
                    assert_eq!(encode_key(&Nested(way, depth)).is_ok(), encoded.is_ok());
                }
            }
            assert!(encode(&Nested(Way::Array, MAX_DEPTH)).is_ok());
            assert!(encode(&Nested(Way::Map, MAX_DEPTH)).is_ok());
            assert!(encode(&Nested(Way::Variant, MAX_DEPTH)).is_ok());
        });
    }

    #[test]
    fn bytes_that_are_too_deep_are_refused_before_the_stack_is_used_up() {
        on_a_small_stack(|| {
            let variants = |n| [b"\x81\xa3Not".repeat(n), b"\xa4Zero".to_vec()].concat();
            for depth in [FAR_TOO_DEEP, 1023, MAX_DEPTH + 3] {
                let negated = decode::<Negated>(&variants(depth));
                assert!(matches!(negated, Err(CodecError::TooDeep)), "{depth}");
                let arrays = [vec![0x91; depth], vec![0xc0]].concat();
                assert!(matches!(decode::<IgnoredAny>(&arrays), Err(CodecError::TooDeep)));
                assert!(matches!(check(&arrays), Err(CodecError::TooDeep)));
                assert!(!equal(&arrays, &[&arrays[..depth], &[0xc2]].concat()));
                let maps = [vec![0x81; depth], vec![0xc0; depth + 1]].concat();
                assert!(matches!(decode::<IgnoredAny>(&maps), Err(CodecError::TooDeep)));
            }
            assert!(decode::<Negated>(&variants(MAX_DEPTH)).is_ok());
            // A type that has no end unless it is nil takes no bytes to nest.
            assert!(decode::<Onion>(&[0xc0]).is_ok());
            assert!(matches!(decode::<Onion>(&[1]), Err(CodecError::TooDeep)));
        });
    }

    #[test]
    fn a_reference_may_stand_at_the_deepest_level() {
        let deepest = encode(&Nested(Way::Reference, MAX_DEPTH)).unwrap();
        assert!(check(&deepest).is_ok());
        assert!(decode::<IgnoredAny>(&deepest).is_ok());
        // Also where it is read within one more, as in a snapshot of a Namespace.
        assert!(decode::<IgnoredAny>(&[&[0x91], &deepest[..]].concat()).is_ok());
    }

    #[test]
    fn the_two_zeros_are_equal() {
        assert!(equal(&encode(&0.0).unwrap(), &encode(&-0.0).unwrap()));
        assert!(!equal(&encode(&0.0).unwrap(), &encode(&1.0).unwrap()));
    }

    #[test]
    fn maps_are_equal_in_any_order() {
        let a = encode(&Pairs(vec![("a", 1), ("b", 2)])).unwrap();
        let b = encode(&Pairs(vec![("b", 2), ("a", 1)])).unwrap();
        assert_ne!(a, b);
        assert!(equal(&a, &b));
        assert!(!equal(&a, &encode(&Pairs(vec![("a", 1), ("b", 3)])).unwrap()));
    }

    proptest! {
        #[test]
        fn garbage_is_refused_without_panicking(bytes: Vec<u8>) {
            let _ = check(&bytes);
            let _ = canonical(&bytes);
            let _ = equal(&bytes, &bytes);
            let _ = decode::<BTreeMap<String, u64>>(&bytes);
        }

        #[test]
        fn what_is_written_is_read(value: Vec<(String, Option<i64>, f64)>) {
            let bytes = encode(&value).unwrap();
            prop_assert_eq!(decode::<Vec<(String, Option<i64>, f64)>>(&bytes).unwrap(), value);
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum Way {
        Array,
        Map,
        Variant,
        Some,
        Newtype,
        /// Arrays with a reference in the innermost.
        Reference,
    }

    /// A value within a value, so many times: each is made when the one around it is encoded, so that
    /// there is nothing to drop.
    struct Nested(Way, usize);

    impl Serialize for Nested {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let Self(way, depth) = *self;
            let inner = || Self(way, depth - 1);
            match way {
                Way::Reference if depth == 0 => serializer.serialize_newtype_struct(
                    rmp_serde::MSGPACK_EXT_STRUCT_NAME,
                    &(extension::PROXY, Binary),
                ),
                _ if depth == 0 => serializer.serialize_str("Zero"),
                Way::Array | Way::Reference => serializer.collect_seq([inner()]),
                Way::Map => serializer.collect_map([((), inner())]),
                Way::Variant => serializer.serialize_newtype_variant("Negated", 1, "Not", &inner()),
                Way::Some => serializer.serialize_some(&inner()),
                Way::Newtype => serializer.serialize_newtype_struct("Newtype", &inner()),
            }
        }
    }

    struct Binary;

    impl Serialize for Binary {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(&[0; 18])
        }
    }

    #[derive(serde::Deserialize)]
    #[expect(dead_code, reason = "it is decoded only")]
    enum Negated {
        Zero,
        Not(Box<Negated>),
    }

    #[derive(serde::Deserialize)]
    #[expect(dead_code, reason = "it is decoded only")]
    struct Onion(Option<Box<Onion>>);

    struct Pairs(Vec<(&'static str, u32)>);

    impl Serialize for Pairs {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.0.iter().copied())
        }
    }
}
