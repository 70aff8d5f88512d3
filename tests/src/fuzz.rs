//! What the fuzz targets run on the bytes they make up, and ordinary tests on a few of their own:
//! whatever the bytes are, nothing may panic, and what is accepted must make sense.

mod generate;
mod objects;

use std::{cmp::Ordering, collections::BTreeMap, fmt::Debug};

use mp_manager_proto::{
    address::Address,
    order,
    v1::{ClientFrame, HandshakeRequest, HandshakeResponse, ServerFrame},
    value,
};
use prost::Message;
use serde::{Deserialize, Serialize};

pub use objects::objects;

/// A target's name and what it runs.
pub type Target = (&'static str, fn(&[u8]));

/// All of them; each has a file of its name in `fuzz/fuzz_targets`.
pub const TARGETS: [Target; 6] = [
    ("frames", frames),
    ("values", values),
    ("orders", orders),
    ("addresses", addresses),
    ("references", references),
    ("objects", objects),
];

/// Messages as they come from a connection.
pub fn frames(data: &[u8]) {
    reads_what_it_wrote::<ClientFrame>(data);
    reads_what_it_wrote::<ServerFrame>(data);
    reads_what_it_wrote::<HandshakeRequest>(data);
    reads_what_it_wrote::<HandshakeResponse>(data);
}

fn reads_what_it_wrote<M: Message + Default + PartialEq>(data: &[u8]) {
    if let Ok(message) = M::decode(data) {
        let written = message.encode_to_vec();
        // Compared as bytes: a NaN is not equal to itself.
        let read = M::decode(&written[..]).map(|message| message.encode_to_vec());
        assert_eq!(read.as_ref(), Ok(&written));
    }
}

/// Encoded values.
pub fn values(data: &[u8]) {
    let (a, b) = halves(data);
    assert_eq!(value::equal(a, b), value::equal(b, a));
    let well_formed = value::check(data).is_ok();
    if value::is_canonical(data) {
        assert!(well_formed);
        assert!(value::equal(data, data));
    }
    let decoded = value::decode::<serde::de::IgnoredAny>(data).is_ok();
    assert!(!decoded || well_formed, "what is no value was decoded");
    round_trip::<u64>(data);
    round_trip::<Option<bool>>(data);
    round_trip::<(i64, String)>(data);
    round_trip::<Vec<BTreeMap<String, Option<u32>>>>(data);
    let _ = value::decode::<f64>(data);
}

/// What was decoded is the same after another round, and so is its canonical form.
fn round_trip<T: Serialize + for<'de> Deserialize<'de> + PartialEq + Debug>(data: &[u8]) {
    let Ok(decoded) = value::decode::<T>(data) else { return };
    let encoded = value::encode(&decoded).expect("what was decoded can be encoded");
    assert_eq!(value::decode::<T>(&encoded).as_ref().ok(), Some(&decoded));
    let key = value::encode_key(&decoded).expect("there is no float in it");
    assert!(value::is_canonical(&key));
    assert_eq!(value::decode::<T>(&key).as_ref().ok(), Some(&decoded));
}

/// The order between values, and sums.
pub fn orders(data: &[u8]) {
    let (a, b) = halves(data);
    let there = order::compare(a, b);
    let back = order::compare(b, a).map(Ordering::reverse);
    assert_eq!(there.is_ok(), back.is_ok());
    if let (Ok(there), Ok(back)) = (there, back) {
        assert_eq!(there, back);
    }
    let _ = order::check(data);
    if let Ok(sum) = order::add(a, b) {
        assert!(value::check(&sum).is_ok());
    }
}

/// Addresses as users type them.
pub fn addresses(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(address) = text.parse::<Address>() {
        assert_eq!(address.to_string().parse().as_ref(), Ok(&address));
    }
}

/// References to shared objects, read as proxies.
pub fn references(data: &[u8]) {
    // Nothing that is read outside of a session has a connection to work on.
    assert!(value::decode::<mp_manager::Lock>(data).is_err());
    assert!(value::decode::<mp_manager::Dict<String, u64>>(data).is_err());
    if let Ok(found) = value::decode::<Vec<mp_manager::Lock>>(data) {
        assert!(found.is_empty());
    }
    let _ = value::check(data);
}

fn halves(data: &[u8]) -> (&[u8], &[u8]) {
    data.split_at(data.len() / 2)
}
