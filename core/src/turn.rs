//! What comes into an operation from outside, and what it means for others.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use mp_manager_proto::v1::{Error, Reason, Ref, Value};

use crate::{
    call::{Answer, CallId, SessionId},
    stored::{self, Pin, Stored},
};

/// Values at least this long are kept where they were received; shorter ones are copied, so that a
/// small value does not keep a large frame in memory.
const COPY_BELOW: usize = 1 << 20;

/// Everything here that can grow has one of these limits.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The longest encoded value.
    pub max_value_bytes: usize,
    /// The longest encoded key of a dict or element of a set.
    pub max_key_bytes: usize,
    /// Where a page of a long reply ends.
    pub page_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_value_bytes: 16 << 20, max_key_bytes: 64 << 10, page_bytes: 1 << 20 }
    }
}

/// The server-wide source of fencing tokens: each is larger than all before it.
#[derive(Debug)]
pub struct Tokens(AtomicU64);

impl Tokens {
    /// Tokens larger than `last`.
    #[must_use]
    pub fn after(last: u64) -> Self {
        Self(AtomicU64::new(last))
    }

    /// The next one. Called with an object's lock held, so an object's own tokens ascend.
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// One operation's turn at an object.
pub struct Turn<'a> {
    limits: &'a Limits,
    tokens: &'a Tokens,
    resolve: &'a dyn Fn(&Ref) -> Option<Pin>,
    /// Answers to calls that were parked: deliver them.
    pub replies: Vec<(CallId, Result<Answer, Error>)>,
    /// Grants (by token) that their session no longer has, without having asked for it: tell it.
    pub lost: Vec<(SessionId, u64)>,
}

impl<'a> Turn<'a> {
    /// A turn that finds the objects values refer to with `resolve`.
    #[must_use]
    pub fn new(
        limits: &'a Limits,
        tokens: &'a Tokens,
        resolve: &'a dyn Fn(&Ref) -> Option<Pin>,
    ) -> Self {
        Self { limits, tokens, resolve, replies: Vec::new(), lost: Vec::new() }
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> &'a Limits {
        self.limits
    }

    pub(crate) fn token(&self) -> u64 {
        self.tokens.next()
    }

    pub(crate) fn reply(&mut self, call: CallId, answer: Answer) {
        self.replies.push((call, Ok(answer)));
    }

    pub(crate) fn refuse(&mut self, call: CallId, error: Error) {
        self.replies.push((call, Err(error)));
    }

    pub(crate) fn lose(&mut self, session: SessionId, token: u64) {
        self.lost.push((session, token));
    }

    /// Makes a value at rest of one from the wire.
    pub(crate) fn store(&self, value: Value) -> Result<Stored, Error> {
        let max = self.limits.max_value_bytes;
        let length = stored::length(&value.data, value.refs.len());
        if length > max {
            return Err(Error::new(
                Reason::LimitExceeded,
                format!("the value has {length} bytes; the limit is {max}"),
            )
            .with_hint("split it, or raise the server's --max-value-bytes"));
        }
        let pins = value
            .refs
            .iter()
            .map(|reference| {
                (self.resolve)(reference).ok_or_else(|| {
                    Error::new(
                        Reason::ObjectNotFound,
                        format!(
                            "the value refers to object {}, which is not on this server",
                            reference.object
                        ),
                    )
                    .with_hint("it was deleted, or belongs to another manager")
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Stored::new(copy(value.data), pins))
    }

    /// As [`store`](Self::store), for a field that the operation cannot do without.
    pub(crate) fn store_required(&self, value: Option<Value>) -> Result<Stored, Error> {
        self.store(value.ok_or_else(missing_value)?)
    }

    pub(crate) fn store_all(&self, values: Vec<Value>) -> Result<Vec<Stored>, Error> {
        values.into_iter().map(|value| self.store(value)).collect()
    }

    /// Makes a key at rest of one from the wire.
    pub(crate) fn key(&self, key: Bytes) -> Result<Bytes, Error> {
        let max = self.limits.max_key_bytes;
        if key.len() > max {
            return Err(Error::new(
                Reason::LimitExceeded,
                format!("the key has {} bytes; the limit is {max}", key.len()),
            )
            .with_hint("use a hash of it as the key, or raise the server's --max-key-bytes"));
        }
        if key.is_empty() {
            return Err(Error::new(Reason::InvalidArgument, "the key is no encoded value"));
        }
        Ok(copy(key))
    }
}

fn copy(bytes: Bytes) -> Bytes {
    if bytes.len() < COPY_BELOW { Bytes::copy_from_slice(&bytes) } else { bytes }
}

/// A message without a field that its operation cannot do without.
pub(crate) fn missing_value() -> Error {
    Error::new(Reason::Protocol, "the operation has no value")
}

/// For tests and anything else that stores no references.
#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn no_references(_: &Ref) -> Option<Pin> {
        None
    }

    /// Calls `f` with a turn of its own and returns what it answered and did to others.
    pub(crate) fn with_turn<T>(
        tokens: &Tokens,
        f: impl FnOnce(&mut Turn<'_>) -> T,
    ) -> (T, Effects) {
        let limits = Limits::default();
        let mut turn = Turn::new(&limits, tokens, &no_references);
        let result = f(&mut turn);
        (result, Effects { replies: turn.replies, lost: turn.lost })
    }

    #[derive(Debug, Default)]
    pub(crate) struct Effects {
        pub(crate) replies: Vec<(CallId, Result<Answer, Error>)>,
        pub(crate) lost: Vec<(SessionId, u64)>,
    }
}
