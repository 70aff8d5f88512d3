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
    #[prost(oneof = "What", tags = "3, 4, 5, 6, 7, 8")]
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
    /// Tasks are about to be submitted to a pool.
    #[prost(message, tag = "7")]
    Submitted(Submitted),
    /// Each of them has an outcome.
    #[prost(message, tag = "8")]
    Settled(Settled),
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

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Submitted {
    /// The pool's name.
    #[prost(string, tag = "1")]
    pub(crate) pool: String,
    /// They may be executed again.
    #[prost(bool, tag = "2")]
    pub(crate) is_idempotent: bool,
    /// Their numbers, which no other tasks have.
    #[prost(uint64, repeated, tag = "3")]
    pub(crate) tasks: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Settled {
    /// In the order of the tasks.
    #[prost(message, repeated, tag = "1")]
    pub(crate) outcomes: Vec<Outcome>,
}

/// What became of a task.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Outcome {
    /// The task that it says it is the outcome of; absent without a result.
    #[prost(uint64, tag = "1")]
    pub(crate) task: u64,
    /// How often that was executed by then, as it counted itself.
    #[prost(uint64, tag = "2")]
    pub(crate) executions: u64,
    /// It may have been executed, and its worker was lost.
    #[prost(bool, tag = "3")]
    pub(crate) is_lost: bool,
    /// It returned an error.
    #[prost(bool, tag = "4")]
    pub(crate) is_error: bool,
    /// Why there is no result.
    #[prost(string, tag = "5")]
    pub(crate) failure: String,
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
