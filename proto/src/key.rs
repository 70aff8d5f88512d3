//! The one form of a key. Dict keys and set elements are compared by their bytes, so a key that has
//! two encodings would be two keys.

use std::fmt;

use rmp::Marker;

use crate::value::{self, CodecError, Cursor, MAX_DEPTH, Token, extension};

/// Of a key that is shown in an error, at most so many bytes.
const SHOWN: usize = 32;

/// Why bytes cannot be a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// They are no value, or one that cannot be a key.
    #[error("the key {key} cannot be one: {error}")]
    NoKey {
        /// The key, in hexadecimal.
        key: String,
        /// What is wrong with it.
        error: CodecError,
    },
    /// A string in it is not UTF-8.
    #[error("the key {key} cannot be one: a string in it is not UTF-8")]
    NotUtf8 {
        /// The key, in hexadecimal.
        key: String,
    },
    /// They are another encoding of a key.
    #[error("the key {key} is not canonical MessagePack, which is {canonical}")]
    NotCanonical {
        /// The key, in hexadecimal.
        key: String,
        /// Its one form, in hexadecimal.
        canonical: String,
    },
}

/// Checks that bytes are a key in its one form, which is what
/// [`encode_key`](value::encode_key) gives: numbers and lengths in the fewest bytes, strings in UTF-8,
/// the entries of maps sorted by their encoded keys, `-0.0` as `0.0`; NaN and proxies are in none.
///
/// # Errors
/// If they are not. The error names the key and what is wrong with it.
#[inline]
pub fn check(key: &[u8]) -> Result<(), KeyError> {
    if is_short(key) || is_canonical(key, MAX_DEPTH).is_some_and(<[u8]>::is_empty) {
        return Ok(());
    }
    Err(explain(key))
}

/// Whether it is one of the keys that most are: a short string of ASCII, or an integer. Negative integers of
/// more than two bytes take the other way.
#[inline]
fn is_short(key: &[u8]) -> bool {
    match *key {
        [0..=0x7f | 0xe0..=0xff]
        | [0xcc, 0x80..=0xff]
        | [0xcd, 1..=0xff, _]
        | [0xd0, 0x80..=0xdf] => true,
        [marker @ 0xa0..=0xbf, ref text @ ..] => {
            text.len() == usize::from(marker & 0x1f) && text.is_ascii()
        }
        [0xce, a, b, _, _] => a | b != 0,
        [0xcf, a, b, c, d, _, _, _, _] => a | b | c | d != 0,
        _ => false,
    }
}

/// What follows a value in its canonical form; `None` if it is none.
fn is_canonical(bytes: &[u8], depth: usize) -> Option<&[u8]> {
    let mut cursor = Cursor { rest: bytes };
    let token = cursor.next().ok()?;
    let is_shortest =
        bytes.first().is_some_and(|marker| is_shortest(Marker::from_u8(*marker), &token));
    if !is_shortest {
        return None;
    }
    match token {
        Token::F32(x) if x.is_nan() || x.to_bits() == (-0.0_f32).to_bits() => None,
        Token::F64(x) if x.is_nan() || x.to_bits() == (-0.0_f64).to_bits() => None,
        Token::Extension(extension::PROXY, _) => None,
        Token::Text(text) => str::from_utf8(text).ok().map(|_| cursor.rest),
        Token::Array(n) => {
            let depth = depth.checked_sub(1)?;
            (0..n).try_fold(cursor.rest, |rest, _| is_canonical(rest, depth))
        }
        Token::Map(n) => {
            let depth = depth.checked_sub(1)?;
            let (mut rest, mut last): (_, &[u8]) = (cursor.rest, &[]);
            for _ in 0..n {
                let after = is_canonical(rest, depth)?;
                let key = &rest[..rest.len() - after.len()];
                if key < last {
                    return None;
                }
                (last, rest) = (key, is_canonical(after, depth)?);
            }
            Some(rest)
        }
        Token::Nil
        | Token::Bool(_)
        | Token::Integer(_)
        | Token::F32(_)
        | Token::F64(_)
        | Token::Binary(_)
        | Token::Extension(..) => Some(cursor.rest),
    }
}

/// Whether a token stands in the fewest bytes, as its marker says.
fn is_shortest(marker: Marker, token: &Token<'_>) -> bool {
    let longer_than = |max: usize| match *token {
        Token::Text(bytes) | Token::Binary(bytes) | Token::Extension(_, bytes) => bytes.len() > max,
        Token::Array(n) | Token::Map(n) => n as usize > max,
        _ => false,
    };
    let number = |shortest: fn(i128) -> bool| matches!(*token, Token::Integer(n) if shortest(n));
    match marker {
        Marker::U8 => number(|n| n > 0x7f),
        Marker::U16 => number(|n| n > u8::MAX.into()),
        Marker::U32 => number(|n| n > u16::MAX.into()),
        Marker::U64 => number(|n| n > u32::MAX.into()),
        Marker::I8 => number(|n| n < -32),
        Marker::I16 => number(|n| n < i8::MIN.into()),
        Marker::I32 => number(|n| n < i16::MIN.into()),
        Marker::I64 => number(|n| n < i32::MIN.into()),
        Marker::Str8 => longer_than(31),
        Marker::Array16 | Marker::Map16 => longer_than(15),
        Marker::Str16 | Marker::Bin16 | Marker::Ext16 => longer_than(u8::MAX.into()),
        Marker::Str32 | Marker::Bin32 | Marker::Ext32 | Marker::Array32 | Marker::Map32 => {
            longer_than(u16::MAX.into())
        }
        // The lengths of the others that are short have markers of their own.
        Marker::Ext8 => {
            !matches!(token, Token::Extension(_, bytes) if matches!(bytes.len(), 1 | 2 | 4 | 8 | 16))
        }
        Marker::Reserved => false,
        Marker::Null
        | Marker::False
        | Marker::True
        | Marker::FixPos(_)
        | Marker::FixNeg(_)
        | Marker::F32
        | Marker::F64
        | Marker::FixStr(_)
        | Marker::Bin8
        | Marker::FixExt1
        | Marker::FixExt2
        | Marker::FixExt4
        | Marker::FixExt8
        | Marker::FixExt16
        | Marker::FixArray(_)
        | Marker::FixMap(_) => true,
    }
}

#[cold]
fn explain(key: &[u8]) -> KeyError {
    let shown = Shown(key).to_string();
    match value::canonical_form(key) {
        Err(error) => KeyError::NoKey { key: shown, error },
        Ok(canonical) if canonical == key => KeyError::NotUtf8 { key: shown },
        Ok(canonical) => {
            KeyError::NotCanonical { key: shown, canonical: Shown(&canonical).to_string() }
        }
    }
}

/// Bytes in hexadecimal; of many, the first.
struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.0.iter().take(SHOWN).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        if self.0.len() > SHOWN { write!(f, "… ({} bytes)", self.0.len()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::encode_key;

    /// What is said of a key that is refused.
    fn refusal(key: &[u8]) -> String {
        check(key).expect_err("it is no key").to_string()
    }

    #[test]
    fn a_number_or_a_length_in_more_bytes_than_it_takes_is_refused_with_its_one_form() {
        let long: [(&[u8], &str); 14] = [
            (b"\xd3\0\0\0\0\0\0\0\x01", "0x01"),
            (b"\xcf\0\0\0\0\0\0\0\x01", "0x01"),
            (b"\xcc\x7f", "0x7f"),
            (b"\xcd\0\xff", "0xccff"),
            (b"\xd0\xe0", "0xe0"),
            (b"\xd1\xff\x80", "0xd080"),
            (b"\xd2\0\0\x01\0", "0xcd0100"),
            (b"\xd9\x01a", "0xa161"),
            (b"\xc5\0\x01a", "0xc40161"),
            (b"\xdc\0\x01\x01", "0x9101"),
            (b"\xde\0\x01\x01\x01", "0x810101"),
            (b"\xc7\x01\x05a", "0xd40561"),
            (b"\x92\x01\xcc\x01", "0x920101"),
            (b"\x82\x02\xc0\x01\xc0", "0x8201c002c0"),
        ];
        for (key, canonical) in long {
            let refusal = refusal(key);
            assert!(refusal.ends_with(&format!("which is {canonical}")), "{refusal}");
        }
        assert!(refusal(b"\xcb\x80\0\0\0\0\0\0\0").ends_with("which is 0xcb0000000000000000"));
    }

    #[test]
    fn what_is_no_value_or_cannot_be_found_again_is_refused() {
        for (bytes, why) in [
            (&b""[..], "ends too early"),
            (b"\xc1", "reserved marker"),
            (b"\xa2a", "ends too early"),
            (b"\x01\x01", "1 bytes follow"),
            (b"\xcb\x7f\xf8\0\0\0\0\0\0", "NaN"),
            (b"\xd4\x01\0", "proxy"),
            (b"\xa1\xff", "not UTF-8"),
            (b"\x91\xa1\xff", "not UTF-8"),
        ] {
            let refusal = refusal(bytes);
            assert!(refusal.contains(why), "{refusal}");
        }
        let deep = [vec![0x91; MAX_DEPTH + 1], vec![0xc0]].concat();
        assert!(refusal(&deep).contains("nested deeper"));
        assert!(check(&deep[1..]).is_ok());
    }

    #[test]
    fn a_long_key_is_not_repeated_as_a_whole() {
        let key = [&b"\xc6\0\0\0\x40"[..], &[7; 0x40]].concat();
        assert!(refusal(&key).contains("… (69 bytes)"), "{}", refusal(&key));
    }

    proptest! {
        #[test]
        fn it_is_what_writing_a_key_gives(
            number: i64,
            text: String,
            float: f64,
            pairs: std::collections::HashMap<(u8, bool), Option<Vec<u32>>>,
        ) {
            prop_assert!(check(&encode_key(&number).unwrap()).is_ok());
            prop_assert!(check(&encode_key(&(text, number)).unwrap()).is_ok());
            prop_assert_eq!(encode_key(&float).is_ok_and(|key| check(&key).is_ok()), !float.is_nan());
            prop_assert!(check(&encode_key(&pairs).unwrap()).is_ok());
        }

        #[test]
        fn it_takes_what_is_its_own_canonical_form_and_nothing_else(bytes: Vec<u8>, number: u64, shift in 0..64_u32) {
            let number = (number >> shift).to_be_bytes();
            let integers = [(0xcc, 1), (0xcd, 2), (0xce, 4), (0xcf, 8), (0xd0, 1), (0xd1, 2), (0xd2, 4), (0xd3, 8)]
                .map(|(marker, length)| [&[marker], &number[8 - length..]].concat());
            let others =
                [bytes.clone(), [&[0x92], &bytes[..]].concat(), [&[0x82], &bytes[..]].concat()];
            for bytes in integers.iter().chain(&others) {
                let own = value::canonical_form(bytes).is_ok_and(|canonical| canonical == *bytes);
                let is_key = check(bytes);
                let is_text = matches!(is_key, Err(KeyError::NotUtf8 { .. }));
                prop_assert_eq!(is_key.is_ok() || is_text, own, "{:?}", bytes);
            }
        }
    }
}
