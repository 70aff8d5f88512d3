//! What processes say of what they do, one record after the other, through a pipe. A process may be
//! killed anywhere: a record that was begun and not ended is none.

use mp_manager_core::v1::{Empty, Reply, Request};
use prost::Message;

/// Something that happened in a process.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Record {
    /// The call that it is about, numbered within the process.
    #[prost(uint64, tag = "1")]
    pub(crate) n: u64,
    /// When, by [`now_ns`](crate::clock::now_ns).
    #[prost(uint64, tag = "2")]
    pub(crate) at_ns: u64,
    #[prost(oneof = "What", tags = "3, 4, 5, 6")]
    pub(crate) what: Option<What>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum What {
    /// A call is about to be made.
    #[prost(message, tag = "3")]
    Called(Called),
    /// It has returned.
    #[prost(message, tag = "4")]
    Returned(Returned),
    /// What it was granted was still held then.
    #[prost(message, tag = "5")]
    Held(Empty),
    /// What should not have happened.
    #[prost(string, tag = "6")]
    Problem(String),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Called {
    /// The object's name.
    #[prost(string, tag = "1")]
    pub(crate) object: String,
    /// What is asked of it.
    #[prost(message, optional, tag = "2")]
    pub(crate) request: Option<Request>,
    /// The call whose grant or lease it is about.
    #[prost(uint64, tag = "3")]
    pub(crate) about: u64,
    /// Counts the process's sessions.
    #[prost(uint64, tag = "4")]
    pub(crate) session: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Returned {
    /// What was told; absent if nobody knows.
    #[prost(message, optional, tag = "1")]
    pub(crate) reply: Option<Reply>,
    /// It was not executed, or whatever it did went with its session.
    #[prost(bool, tag = "2")]
    pub(crate) void: bool,
    /// The session it was made in stood all the time.
    #[prost(bool, tag = "3")]
    pub(crate) stands: bool,
    /// The error that the caller saw, if it saw one.
    #[prost(string, tag = "4")]
    pub(crate) error: String,
    /// What it took was handed over no earlier than this. Whoever is stopped between that and
    /// looking at the clock may have lost it by then.
    #[prost(uint64, tag = "5")]
    pub(crate) handed_over_ns: u64,
}

/// All records that were written whole.
pub(crate) fn read(mut bytes: &[u8]) -> Vec<Record> {
    std::iter::from_fn(|| Record::decode_length_delimited(&mut bytes).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_before_a_kill_is_read() {
        let record = |n| Record { n, at_ns: 7, what: Some(What::Problem("oh".into())) };
        let mut bytes = record(1).encode_length_delimited_to_vec();
        bytes.extend(record(2).encode_length_delimited_to_vec());
        assert_eq!(read(&bytes), [record(1), record(2)]);
        for cut in 0..bytes.len() {
            assert!(read(&bytes[..cut]).len() < 2);
        }
    }
}
