//! The contract between mp-manager's server and its clients: the messages on the wire, how values
//! are encoded, how both sides prove that they know the authkey, and why a request may fail.
//!
//! Nothing in here does I/O. The gRPC stubs, the tasks of a connection and its streams are behind the feature
//! `grpc`, the proofs behind `handshake` and what TLS needs behind `tls`, so that the core can use the messages alone.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod address;
#[cfg(feature = "handshake")]
pub mod authkey;
pub mod connection;
mod depth;
pub mod error;
pub mod frame;
#[cfg(feature = "handshake")]
pub mod handshake;
#[cfg(feature = "grpc")]
pub mod http2;
pub mod key;
pub mod kind;
pub mod operation;
pub mod order;
pub mod parts;
pub mod reply;
#[cfg(feature = "handshake")]
pub mod suite;
#[cfg(feature = "grpc")]
pub mod tasks;
#[cfg(feature = "tls")]
pub mod tls;
pub mod undecoded;
pub mod value;
pub mod version;

/// The generated messages of `mp.manager.v1`; with the feature `grpc` also the stubs.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used)]
#[doc(hidden)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/mp.manager.v1.rs"));
}

/// The service as the server has it: as in [`v1`], but without sessions and their beats. Their
/// [messages](http2::Messages) come as they are; frames are [weighed](frame::Limits::look) before they are
/// [decoded](frame::decode).
#[cfg(feature = "grpc")]
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used)]
#[doc(hidden)]
pub mod service {
    include!(concat!(env!("OUT_DIR"), "/mp.manager.v1.Manager.rs"));
}

/// The encoded `FileDescriptorSet` of the service, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The leases that a client may ask for, in milliseconds. 0 asks for the manager's default.
pub const LEASE_RANGE_MS: std::ops::RangeInclusive<u64> = 1_000..=300_000;

/// How many bytes a message takes on the wire.
#[must_use]
pub fn encoded_len(message: &impl prost::Message) -> usize {
    message.encoded_len()
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use crate::v1::{
        DictAdd, DictAddMany, DictGetMany, ElementType, Entries, Entry, Keys, ScalarAdd, Value,
    };

    #[test]
    fn what_older_clients_send_says_no_more_than_they_did() {
        let value = Value { data: vec![1].into(), refs: Vec::new() };
        let entry = Entry { key: vec![2].into(), value: Some(value.clone()) };
        let sum_type = ElementType::Unspecified.into();

        let add = DictAdd::decode(&entry.encode_to_vec()[..]).unwrap();
        let delta = Some(value.clone());
        assert_eq!(add, DictAdd { key: entry.key.clone(), delta, sum_type });
        let add = ScalarAdd::decode(&value.encode_to_vec()[..]).unwrap();
        assert_eq!(add, ScalarAdd { delta: value.data, sum_type });
        let entries = vec![entry];
        let many = Entries { entries: entries.clone() }.encode_to_vec();
        assert_eq!(DictAddMany::decode(&many[..]).unwrap(), DictAddMany { entries, sum_type });
        let keys = vec![vec![2].into(), vec![3].into()];
        let get = Keys { keys: keys.clone() }.encode_to_vec();
        assert_eq!(DictGetMany::decode(&get[..]).unwrap(), DictGetMany { keys, partial: false });
    }
}
