//! Encoded values, as we read and write them and as another implementation of MessagePack does.

use std::{collections::BTreeMap, fmt::Debug};

use mp_manager_proto::{
    key,
    value::{self, CodecError, MAX_DEPTH},
};
use rmpv::Value;
use serde::{Deserialize, Serialize, de::IgnoredAny};

/// A byte that begins nothing. The other implementation takes it for nil.
const RESERVED: u8 = 0xc1;

/// Encoded values.
pub fn values(data: &[u8]) {
    let checked = value::check(data);
    // Reading is a little more lenient about depth, see below.
    let may_be_read = matches!(checked, Ok(()) | Err(CodecError::TooDeep));
    assert!(may_be_read || value::decode::<IgnoredAny>(data).is_err());
    assert!(checked.is_ok() || !is_key(data));
    let (a, b) = data.split_at(data.len() / 2);
    assert_eq!(value::equal(a, b), value::equal(b, a));
    match (checked, other_reading(data)) {
        (Ok(()), Some(value)) => well_formed(data, value),
        (Ok(()), None) => panic!("the other implementation cannot read it"),
        (Err(CodecError::TooDeep), _) | (Err(_), None) => {}
        (Err(error), Some(_)) => assert!(data.contains(&RESERVED), "{error}"),
    }
    round_trip::<u64>(data);
    round_trip::<Option<bool>>(data);
    round_trip::<(i64, String)>(data);
    round_trip::<Vec<BTreeMap<String, Option<u32>>>>(data);
    let _ = value::decode::<f64>(data);
    nested_too_deep(data);
}

/// Whether these bytes are the one form of a key.
fn is_key(data: &[u8]) -> bool {
    key::check(data).is_ok()
}

/// Whatever is at the bottom, nobody gets there: it is refused on the way down.
fn nested_too_deep(data: &[u8]) {
    const IN_ARRAY: u8 = 0x91;
    // An extension takes a level for readers, and what is read may be wrapped once more.
    let deep = [&[IN_ARRAY; MAX_DEPTH + 3], data].concat();
    let checked = value::check(&deep);
    assert!(matches!(checked, Err(CodecError::TooDeep)), "{checked:?}");
    let read = value::decode::<IgnoredAny>(&deep);
    assert!(matches!(read, Err(CodecError::TooDeep)), "{read:?}");
}

fn other_reading(data: &[u8]) -> Option<Value> {
    let mut rest = data;
    rmpv::decode::read_value(&mut rest).ok().filter(|_| rest.is_empty())
}

fn well_formed(data: &[u8], value: Value) {
    assert!(value::decode::<IgnoredAny>(data).is_ok());
    assert!(value::equal(data, data));
    // Text that is no UTF-8 cannot come from a client of ours; the other implementation writes it
    // as bytes.
    if !is_utf8(&value) {
        return;
    }
    let encoded = value::encode(&value).expect("it is no deeper than it was");
    let mut other_encoding = Vec::new();
    rmpv::encode::write_value(&mut other_encoding, &value).expect("a vector takes everything");
    assert_eq!(encoded, other_encoding);
    let read = value::decode::<Value>(&encoded).expect("what was written can be read");
    // Compared as bytes: a NaN is not equal to itself.
    assert_eq!(value::encode(&read).ok(), Some(encoded.clone()));

    let turned = turned(&value);
    if let Some(turned) = &turned {
        assert!(value::equal(&encoded, &value::encode(turned).expect("as deep as it was")));
    }
    match value::encode_key(&value) {
        Ok(key) => {
            assert!(is_key(&key));
            assert_eq!(is_key(data), key == data);
            assert!(value::equal(&key, &encoded));
            if let Some(turned) = &turned {
                assert_eq!(value::encode_key(turned).ok(), Some(key));
            }
        }
        Err(error) => {
            assert!(matches!(error, CodecError::NanKey | CodecError::ProxyKey), "{error}");
            assert!(!is_key(data));
        }
    }
}

fn is_utf8(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_str(),
        Value::Array(elements) => elements.iter().all(is_utf8),
        Value::Map(entries) => entries.iter().all(|(key, value)| is_utf8(key) && is_utf8(value)),
        _ => true,
    }
}

/// The same value with the entries of its maps in the opposite order. `None` if a map has a key
/// twice, whose order does matter.
fn turned(value: &Value) -> Option<Value> {
    Some(match value {
        Value::Array(elements) => Value::Array(elements.iter().map(turned).collect::<Option<_>>()?),
        Value::Map(entries) => {
            let mut keys = Vec::new();
            for (key, _) in entries {
                let key = value::encode_key(key).ok()?;
                if keys.contains(&key) {
                    return None;
                }
                keys.push(key);
            }
            let entries =
                entries.iter().rev().map(|(key, value)| Some((turned(key)?, turned(value)?)));
            Value::Map(entries.collect::<Option<_>>()?)
        }
        value => value.clone(),
    })
}

/// What was decoded is the same after another round, and so is its canonical form.
fn round_trip<T: Serialize + for<'de> Deserialize<'de> + PartialEq + Debug>(data: &[u8]) {
    let Ok(decoded) = value::decode::<T>(data) else { return };
    let encoded = value::encode(&decoded).expect("what was decoded can be encoded");
    assert_eq!(value::decode::<T>(&encoded).as_ref().ok(), Some(&decoded));
    let key = value::encode_key(&decoded).expect("there is no float in it");
    assert!(is_key(&key));
    assert_eq!(value::decode::<T>(&key).as_ref().ok(), Some(&decoded));
}
