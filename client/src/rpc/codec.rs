//! Values in and out of bytes, with the proxies inside them.
//!
//! A proxy is encoded as a reference (extension type 1). While a value is encoded, the references
//! in it are collected, so that the manager can count them without parsing; while one is decoded,
//! they become proxies on the connection it came by.

use std::{
    cell::{Cell, RefCell},
    mem,
    sync::Arc,
};

use bytes::Bytes;
use mp_manager_proto::{
    parts::Parts,
    v1::{Kind, Ref, Value},
    value::{self, CodecError, extension},
};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeOwned, SeqAccess, Visitor},
};

use crate::session::link::Link;

thread_local! {
    static ENCODING: RefCell<Option<Encoding>> = const { RefCell::new(None) };
    static DECODING: RefCell<Option<Arc<Link>>> = const { RefCell::new(None) };
    /// How many references the encoding has: asked after each of many values, and so without a look at that.
    static COLLECTED: Cell<usize> = const { Cell::new(0) };
    /// Where one of many values is encoded.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

struct Encoding {
    /// The server that the value is going to; `None` while no proxy has said which.
    server: Option<u64>,
    /// The session of the first proxy in the value.
    link: Option<Arc<Link>>,
    refs: Vec<Ref>,
}

/// Longer bytes are not copied from where they were encoded.
const COPIED: usize = 4096;

/// Encodes something: into memory of its own, or into what it shares with others that go together with it.
fn encoded(
    parts: Option<&mut Parts>,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), CodecError>,
) -> Result<Bytes, CodecError> {
    let Some(parts) = parts else {
        let mut bytes = Vec::with_capacity(64);
        return encode(&mut bytes).map(|()| bytes.into());
    };
    // A `Serialize` that encodes another value inside finds an empty buffer in its place.
    let mut buffer = BUFFER.take();
    buffer.clear();
    let bytes = encode(&mut buffer).map(|()| match buffer.len() {
        ..=COPIED => parts.copy(&buffer),
        _ => Bytes::from(mem::take(&mut buffer)),
    });
    if buffer.capacity() <= 2 * COPIED {
        BUFFER.set(buffer);
    }
    bytes
}

/// Encodes a value that is going to the server `server`; one of many that go together into their `parts`.
pub(crate) fn encode<T: Serialize + ?Sized>(
    value: &T,
    server: u64,
    parts: Option<&mut Parts>,
) -> Result<Value, CodecError> {
    let encoding = Encoding { server: Some(server), link: None, refs: Vec::new() };
    let (outer, collected) = (ENCODING.replace(Some(encoding)), COLLECTED.replace(0));
    let encoded = encoded(parts, |buffer| value::encode_into(value, buffer));
    let refs = ENCODING.replace(outer).map_or_else(Vec::new, |encoding| encoding.refs);
    COLLECTED.set(collected);
    Ok(Value { data: encoded?, refs })
}

/// Encodes a value for another process, and finds the session of the proxies in it, if there are any. They
/// are all of one manager.
#[cfg(feature = "process")]
pub(crate) fn encode_anywhere<T: Serialize + ?Sized>(
    value: &T,
) -> Result<(Vec<u8>, Option<Arc<Link>>), CodecError> {
    let encoding = Encoding { server: None, link: None, refs: Vec::new() };
    let (outer, collected) = (ENCODING.replace(Some(encoding)), COLLECTED.replace(0));
    let encoded = value::encode(value);
    let link = ENCODING.replace(outer).and_then(|encoding| encoding.link);
    COLLECTED.set(collected);
    Ok((encoded?, link))
}

/// Calls `f`, which encodes values for the server of `link` and decodes some that came by it. Returns the
/// references that it encoded.
#[cfg(feature = "process")]
pub(crate) fn on_link<T>(link: &Arc<Link>, f: impl FnOnce() -> T) -> (T, Vec<Ref>) {
    /// Puts back what was there, also if `f` panics.
    struct Outer(Option<Arc<Link>>);

    impl Drop for Outer {
        fn drop(&mut self) {
            DECODING.set(self.0.take());
        }
    }

    let _outer = Outer(DECODING.replace(Some(Arc::clone(link))));
    collecting(link.server_id(), f)
}

/// Calls `f`, which encodes values for a server. Returns the references that it encoded.
#[cfg(feature = "process")]
pub(crate) fn collecting<T>(server: u64, f: impl FnOnce() -> T) -> (T, Vec<Ref>) {
    /// Puts back what was there, also if `f` panics.
    struct Outer(Option<Encoding>, usize);

    impl Drop for Outer {
        fn drop(&mut self) {
            ENCODING.set(self.0.take());
            COLLECTED.set(self.1);
        }
    }

    let encoding = Encoding { server: Some(server), link: None, refs: Vec::new() };
    let outer = Outer(ENCODING.replace(Some(encoding)), COLLECTED.replace(0));
    let result = f();
    let refs = ENCODING.take().map_or_else(Vec::new, |encoding| encoding.refs);
    drop(outer);
    (result, refs)
}

/// How many references were encoded so far, within [`collecting`] or [`on_link`].
#[cfg(feature = "process")]
pub(crate) fn collected() -> usize {
    COLLECTED.get()
}

/// Encodes a key; one of many that go together into their `parts`.
pub(crate) fn encode_key<T: Serialize + ?Sized>(
    key: &T,
    parts: Option<&mut Parts>,
) -> Result<Bytes, CodecError> {
    encoded(parts, |buffer| value::encode_key_into(key, buffer))
}

/// Decodes a value that came by `link`, on which its proxies will work.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8], link: &Arc<Link>) -> Result<T, CodecError> {
    let outer = DECODING.replace(Some(Arc::clone(link)));
    let decoded = value::decode(bytes);
    DECODING.replace(outer);
    decoded
}

/// The part of a reference that only its kind understands: an array's element type, a pipe's end.
pub(crate) type Detail = u8;

const PAYLOAD_LEN: usize = 18;

/// Writes a reference in a proxy's place.
pub(crate) fn serialize_reference<S: Serializer>(
    reference: &Ref,
    link: &Arc<Link>,
    detail: Detail,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    ENCODING
        .with_borrow_mut(|encoding| match encoding {
            Some(encoding) if encoding.server.is_none_or(|server| server == reference.server) => {
                encoding.server = Some(reference.server);
                encoding.link.get_or_insert_with(|| Arc::clone(link));
                encoding.refs.push(*reference);
                COLLECTED.set(encoding.refs.len());
                Ok(())
            }
            Some(_) => Err("a proxy can only be stored in objects of its own manager"),
            None => Err("a proxy can only be serialised into another shared object"),
        })
        .map_err(serde::ser::Error::custom)?;
    let kind = u8::try_from(reference.kind).unwrap_or_default();
    let payload =
        [&reference.server.to_be_bytes()[..], &[kind], &reference.object.to_be_bytes(), &[detail]]
            .concat();
    serializer.serialize_newtype_struct(
        rmp_serde::MSGPACK_EXT_STRUCT_NAME,
        &(extension::PROXY, Payload(payload)),
    )
}

/// Reads a reference to an object of `kind`, and finds the connection that it is read from.
pub(crate) fn deserialize_reference<'de, D: Deserializer<'de>>(
    kind: Kind,
    deserializer: D,
) -> Result<(Arc<Link>, Ref, Detail), D::Error> {
    let (reference, detail) = deserializer
        .deserialize_newtype_struct(rmp_serde::MSGPACK_EXT_STRUCT_NAME, ReferenceVisitor)?;
    if reference.kind() != kind {
        let found = reference.kind();
        return Err(de::Error::custom(format!(
            "a proxy of {}, not of {}",
            found.with_article(),
            kind.with_article()
        )));
    }
    let link = DECODING.with_borrow(Clone::clone).ok_or_else(|| {
        de::Error::custom("a proxy can only be deserialised from another shared object")
    })?;
    if link.server_id() != reference.server {
        return Err(de::Error::custom("the proxy belongs to another manager"));
    }
    Ok((link, reference, detail))
}

struct Payload(Vec<u8>);

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PayloadVisitor;
        impl Visitor<'_> for PayloadVisitor {
            type Value = Payload;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the bytes of a reference")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Payload, E> {
                Ok(Payload(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(PayloadVisitor)
    }
}

struct ReferenceVisitor;

impl<'de> Visitor<'de> for ReferenceVisitor {
    type Value = (Ref, Detail);

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a reference to a shared object")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_tuple(2, self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let missing = || de::Error::custom("the reference is incomplete");
        let tag: i8 = seq.next_element()?.ok_or_else(missing)?;
        let Payload(bytes) = seq.next_element()?.ok_or_else(missing)?;
        if tag != extension::PROXY {
            return Err(de::Error::custom(format!("extension {tag} is no reference")));
        }
        let payload: [u8; PAYLOAD_LEN] = bytes.try_into().map_err(|_| missing())?;
        let number = |at: usize| {
            payload[at..at + 8].iter().fold(0_u64, |number, &byte| number << 8 | u64::from(byte))
        };
        let reference = Ref { server: number(0), kind: i32::from(payload[8]), object: number(9) };
        Ok((reference, payload[17]))
    }
}
