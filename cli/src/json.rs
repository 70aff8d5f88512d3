//! JSON in, JSON out: how a shell sees shared values.
//!
//! Everything in JSON is stored as it is, and read back the same. Values of other clients may hold
//! what JSON has no word for; it is printed as an object with one entry whose key begins with `$`. So is
//! what is no value at all.

use std::{
    collections::HashSet,
    fmt,
    fs::File,
    io::{self, Read},
    os::fd::AsFd,
    sync::atomic::{AtomicUsize, Ordering},
};

use mp_manager::{Kind, UNDECODED};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value, json};

use crate::error::Error;

/// The extension type of a proxy, and how its payload is made up: server, kind, object, detail.
const PROXY: i8 = 1;
const PROXY_LEN: usize = 18;

/// How arguments become values, and values text.
#[derive(Debug, clap::Args)]
pub(crate) struct Texts {
    /// Strings are plain text: an argument is taken as it is, a string is printed without quotes
    #[arg(short, long, global = true)]
    raw: bool,
}

impl Texts {
    /// A KEY: JSON if it is JSON, else a string. What would be printed as another number, such as the
    /// hash 1443e5 or the version 1.10, is a string.
    pub(crate) fn key(&self, argument: &str) -> Result<Json, Error> {
        match serde_json::from_str::<Value>(argument) {
            Ok(Value::Number(number)) if number.to_string() != argument.trim() => {
                Ok(Json(argument.into()))
            }
            Ok(_) if !self.raw => self.value(argument),
            _ => Ok(Json(argument.into())),
        }
    }

    /// A VALUE: JSON, or whatever it is if it is raw. `-` stands for what is on standard input.
    pub(crate) fn value(&self, argument: &str) -> Result<Json, Error> {
        if argument != "-" {
            return self.parse(argument);
        }
        let text = read_stdin().map_err(Error::io("cannot read the value from standard input"))?;
        self.parse(&text)
    }

    /// A value as text, on one line unless it is raw.
    pub(crate) fn text(&self, json: &Json) -> String {
        match &json.0 {
            Value::String(text) if self.raw => text.clone(),
            value => line(value),
        }
    }

    fn parse(&self, text: &str) -> Result<Json, Error> {
        if self.raw {
            return Ok(Json(text.into()));
        }
        let value = serde_json::from_str(text).map_err(|error| {
            let shown: String = text.trim_end().chars().take(80).collect();
            Error::Usage(format!(
                "the value is not JSON: {error}: {shown} (a string is '\"text\"', or use --raw)"
            ))
        })?;
        match huge_integer(text) {
            Some(number) => Err(Error::Usage(format!(
                "{number} does not fit 64 bits (as a string, '\"{number}\"', it stays exact)"
            ))),
            None => Ok(Json(value)),
        }
    }
}

/// All of standard input. The standard library's handle reads nothing, and says that it is well, from
/// one that is closed.
fn read_stdin() -> io::Result<String> {
    let mut text = String::new();
    File::from(io::stdin().as_fd().try_clone_to_owned()?).read_to_string(&mut text)?;
    Ok(text)
}

/// JSON on one line, and without what some terminals take for commands: it stands in strings only,
/// where it can be escaped as other control characters are.
pub(crate) fn line(value: &Value) -> String {
    let json = value.to_string();
    if !json.contains(char::is_control) {
        return json;
    }
    let escaped = |c: char| format!("\\u{:04x}", u32::from(c));
    json.chars().map(|c| if c.is_control() { escaped(c) } else { c.into() }).collect()
}

/// A shared value, as JSON.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Json(pub(crate) Value);

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// Whatever another client may have stored can be printed, also what is no value at all.
impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(UNDECODED, StoredVisitor).map(Self)
    }
}

/// How many values could not be decoded.
static UNDECODED_VALUES: AtomicUsize = AtomicUsize::new(0);

/// How many values could not be decoded so far, and are printed as their bytes.
pub(crate) fn undecoded_values() -> usize {
    UNDECODED_VALUES.load(Ordering::Relaxed)
}

struct StoredVisitor;

impl<'de> Visitor<'de> for StoredVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, value: D) -> Result<Value, D::Error> {
        value.deserialize_any(JsonVisitor)
    }

    fn visit_bytes<E>(self, undecoded: &[u8]) -> Result<Value, E> {
        UNDECODED_VALUES.fetch_add(1, Ordering::Relaxed);
        Ok(json!({"$undecodable": hex(undecoded)}))
    }
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A kind's name, as the CLI's commands have it.
pub(crate) fn kind_name(kind: Kind) -> String {
    kind.as_str_name().trim_start_matches("KIND_").to_lowercase()
}

/// An integer in a JSON text that would silently become a float.
fn huge_integer(json: &str) -> Option<&str> {
    let is_number = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    outside_strings(json)
        .flat_map(|piece| piece.split(move |c| !is_number(c)))
        .filter(|token| token.trim_start_matches('-').chars().all(|c| c.is_ascii_digit()))
        .find(|token| {
            !token.is_empty() && token.parse::<i64>().is_err() && token.parse::<u64>().is_err()
        })
}

fn outside_strings(json: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(json);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let Some((before, string)) = text.split_once('"') else { return Some(text) };
        rest = after_string(string);
        Some(before)
    })
}

/// What follows a string that has begun.
fn after_string(text: &str) -> Option<&str> {
    let mut escaped = false;
    let end = text.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    text.get(end + 1..)
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(if value.is_finite() { value.into() } else { json!({"$float": value.to_string()}) })
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Value, E> {
        Ok(json!({"$bytes": hex(value)}))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(Json(element)) = seq.next_element()? {
            elements.push(element);
        }
        Ok(elements.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((Json(key), Json(value))) = map.next_entry()? {
            entries.push((key, value));
        }
        let names: Option<Vec<String>> = entries.iter().map(|(key, _)| name(key)).collect();
        match names.filter(|names| names.iter().collect::<HashSet<_>>().len() == names.len()) {
            Some(names) => {
                let values = entries.into_iter().map(|(_, value)| value);
                Ok(names.into_iter().zip(values).collect::<Map<_, _>>().into())
            }
            None => Ok(json!({"$map": entries})),
        }
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, extension: D) -> Result<Value, D::Error> {
        extension.deserialize_tuple(2, ExtensionVisitor)
    }
}

/// What a key is called in a JSON object. Nothing that has others in it is: quotes within quotes double
/// with each level.
fn name(key: &Value) -> Option<String> {
    match key {
        Value::String(key) => Some(key.clone()),
        Value::Array(_) | Value::Object(_) => None,
        key => Some(key.to_string()),
    }
}

/// A MessagePack extension: its type and its payload.
struct ExtensionVisitor;

impl<'de> Visitor<'de> for ExtensionVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an extension")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let incomplete = || de::Error::custom("the extension is incomplete");
        let code: i8 = seq.next_element()?.ok_or_else(incomplete)?;
        let Payload(payload) = seq.next_element()?.ok_or_else(incomplete)?;
        let reference = if code == PROXY { reference(&payload) } else { None };
        Ok(reference.unwrap_or_else(|| json!({"$extension": code, "$bytes": hex(&payload)})))
    }
}

fn reference(payload: &[u8]) -> Option<Value> {
    let payload: &[u8; PROXY_LEN] = payload.try_into().ok()?;
    let kind = Kind::try_from(i32::from(payload[8])).ok()?;
    let object = payload[9..17].iter().fold(0_u64, |id, &byte| id << 8 | u64::from(byte));
    Some(json!({"$ref": {"kind": kind_name(kind), "id": object}}))
}

struct Payload(Vec<u8>);

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PayloadVisitor;
        impl Visitor<'_> for PayloadVisitor {
            type Value = Payload;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the bytes of an extension")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Payload, E> {
                Ok(Payload(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(PayloadVisitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const JSON: Texts = Texts { raw: false };
    const RAW: Texts = Texts { raw: true };

    #[test]
    fn json_is_stored_and_read_as_it_is() {
        for text in [
            "null",
            "18446744073709551615",
            "-9223372036854775808",
            "1.0",
            "0.1",
            "5e-324",
            r#""\u0000é""#,
            r#"{"b":[1,{}],"a":null}"#,
        ] {
            let value = JSON.value(text).unwrap();
            let stored = rmp_serde::to_vec(&value).unwrap();
            assert_eq!(rmp_serde::from_slice::<Json>(&stored).unwrap(), value, "{text}");
        }
        assert_eq!(JSON.text(&JSON.value(r#"{"b": 1, "a": 2}"#).unwrap()), r#"{"b":1,"a":2}"#);
    }

    #[test]
    fn a_value_that_is_not_json_is_refused_with_a_hint() {
        let error = JSON.value("hello").unwrap_err().to_string();
        assert!(error.contains("hello") && error.contains(r#"'"text"'"#), "{error}");
        assert_eq!(RAW.value("hello").unwrap(), Json("hello".into()));
        assert_eq!(RAW.value("1").unwrap(), Json("1".into()));
    }

    #[test]
    fn a_key_is_a_string_unless_it_is_json() {
        assert_eq!(JSON.key("alice").unwrap(), Json("alice".into()));
        assert_eq!(JSON.key("1").unwrap(), Json(1.into()));
        assert_eq!(JSON.key(r#""1""#).unwrap(), Json("1".into()));
        assert_eq!(RAW.key("1").unwrap(), Json("1".into()));
    }

    #[test]
    fn a_key_is_a_number_only_as_json_prints_it() {
        for text in ["1443e5", "1E5", "1e400", "1.10", "-0", "0.50", "99999999999999999999"] {
            assert_eq!(JSON.key(text).unwrap(), Json(text.into()), "{text}");
        }
        for number in [json!(144300000.0), json!(1.1), json!(-0.0), json!(1e300), json!(u64::MAX)] {
            assert_eq!(JSON.key(&number.to_string()).unwrap(), Json(number));
        }
        assert_eq!(JSON.key(" 1\n").unwrap(), Json(1.into()));
    }

    #[test]
    fn an_integer_that_would_be_rounded_is_refused() {
        for text in [
            "18446744073709551616",
            "[1, -9223372036854775809]",
            r#"{"\"":1e3,"a":99999999999999999999}"#,
        ] {
            assert!(JSON.value(text).is_err(), "{text}");
        }
        for text in ["1e30", r#""99999999999999999999""#, r#"["\\", "\" 99999999999999999999 "]"#] {
            assert!(JSON.value(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_json_has_no_word_for_is_printed_all_the_same() {
        let proxy = [&[0xc7, 18, 1][..], &[0; 8], &[1], &7_u64.to_be_bytes(), &[0]].concat();
        for (bytes, text) in [
            (vec![0xc4, 2, 0, 255], r#"{"$bytes":"00ff"}"#),
            (vec![0x82, 1, 0xc3, 0xc0, 2], r#"{"1":true,"null":2}"#),
            (vec![0x82, 1, 0xc3, 0x91, 0xc0, 2], r#"{"$map":[[1,true],[[null],2]]}"#),
            (vec![0x82, 1, 0xc3, 0xa1, b'1', 2], r#"{"$map":[[1,true],["1",2]]}"#),
            (vec![0xa3, 0xc2, 0x9b, 0x7f], r#""\u009b\u007f""#),
            (vec![0xd4, 5, 9], r#"{"$extension":5,"$bytes":"09"}"#),
            (vec![0xd4, 1, 9], r#"{"$extension":1,"$bytes":"09"}"#),
            (vec![0xca, 0x7f, 0xc0, 0, 0], r#"{"$float":"NaN"}"#),
            (vec![0xa1, 0xff], r#"{"$bytes":"ff"}"#),
            (proxy, r#"{"$ref":{"kind":"dict","id":7}}"#),
        ] {
            assert_eq!(JSON.text(&rmp_serde::from_slice(&bytes).unwrap()), text);
        }
    }

    #[test]
    fn keys_within_keys_take_no_more_room_than_they_are() {
        let stored = [vec![0x81; 100], vec![0xc0; 101]].concat();
        let text = JSON.text(&rmp_serde::from_slice(&stored).unwrap());
        assert!(text.len() < 100 * r#"{"$map":[[,null]]}"#.len(), "{}", text.len());
    }

    proptest! {
        #[test]
        fn whatever_is_stored_is_printed_as_json_if_at_all(bytes: Vec<u8>) {
            // Containers of what there is, as random bytes rarely are one.
            let in_an_array = [&[0xdc, 0, 4], &bytes[..]].concat();
            let in_a_map = [&[0x82], &bytes[..]].concat();
            for bytes in [bytes, in_an_array, in_a_map] {
                if let Ok(stored) = rmp_serde::from_slice::<Json>(&bytes) {
                    let text = JSON.text(&stored);
                    prop_assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
                }
            }
        }

        #[test]
        fn an_argument_keeps_its_value_or_is_refused(text in r#"[-+.0-9eE\[\]{}",:\\ a]{0,40}"#) {
            if let Ok(value) = JSON.value(&text) {
                prop_assert_eq!(&JSON.value(&JSON.text(&value)).unwrap(), &value);
            }
        }

        #[test]
        fn an_integer_is_exact_or_refused(n: i128, shift in 0_u32..128) {
            let text = (n >> shift).to_string();
            let fits = text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok();
            let value = JSON.value(&text);
            prop_assert_eq!(value.is_ok(), fits, "{}", text);
            prop_assert!(value.is_err() || JSON.text(&value.unwrap()) == text);
        }
    }
}
