//! What comes into an operation from outside, and what it means for others.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use mp_manager_proto::{
    key::{self, KeyError},
    v1::{Error, Reason, Ref, Value},
};

use crate::{
    call::{Answer, CallId, SessionId},
    compact::Compact,
    stored::{self, Pin, Stored},
};

/// Everything here that can grow has one of these limits.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The longest encoded value.
    pub max_value_bytes: usize,
    /// The longest encoded key of a dict or element of a set.
    pub max_key_bytes: usize,
    /// Where a page of a long reply ends.
    pub page_bytes: usize,
    /// What takes longer than this, about, in nanoseconds, is done where nobody waits.
    pub heavy_from: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_value_bytes: 16 << 20,
            max_key_bytes: 64 << 10,
            page_bytes: 1 << 20,
            heavy_from: 500_000,
        }
    }
}

/// The server-wide source of fencing tokens: each is larger than all before it, and none is larger than
/// the ceiling up to which they are reserved.
#[derive(Debug)]
pub struct Tokens {
    last: AtomicU64,
    ceiling: AtomicU64,
}

impl Tokens {
    /// Tokens larger than `last`, without a ceiling.
    #[must_use]
    pub fn after(last: u64) -> Self {
        Self::reserved(last, u64::MAX)
    }

    /// Tokens larger than `last` and up to `ceiling`.
    #[must_use]
    pub fn reserved(last: u64, ceiling: u64) -> Self {
        Self { last: AtomicU64::new(last), ceiling: AtomicU64::new(ceiling) }
    }

    /// Raises the ceiling; a lower one changes nothing. Call it once the ceiling outlasts whatever the
    /// tokens have to rise across.
    pub fn reserve(&self, ceiling: u64) {
        self.ceiling.fetch_max(ceiling, Ordering::Relaxed);
    }

    /// The largest token that may be handed out.
    pub fn ceiling(&self) -> u64 {
        self.ceiling.load(Ordering::Relaxed)
    }

    /// Number of tokens up to the ceiling.
    pub fn left(&self) -> u64 {
        let last = self.last.load(Ordering::Relaxed);
        self.ceiling().saturating_sub(last)
    }

    /// The next one; `None` at the ceiling. Called with an object's lock held, so an object's own tokens
    /// ascend.
    pub fn next(&self) -> Option<u64> {
        let ceiling = self.ceiling();
        let next = |last| (last < ceiling).then(|| last + 1);
        self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok().map(|last| last + 1)
    }
}

/// One operation's turn at an object.
pub struct Turn<'a> {
    limits: &'a Limits,
    tokens: &'a Tokens,
    resolve: &'a dyn Fn(&Ref) -> Option<Pin>,
    /// What is left of the memory budget.
    headroom: usize,
    /// The manager has run for so long that every session of an earlier start knows that it is over.
    pub(crate) is_settled: bool,
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
        let headroom = usize::MAX;
        Self {
            limits,
            tokens,
            resolve,
            headroom,
            is_settled: false,
            replies: Vec::new(),
            lost: Vec::new(),
        }
    }

    /// The same turn, in which an operation that multiplies what is there has this much memory.
    #[must_use]
    pub fn with_headroom(self, bytes: usize) -> Self {
        Self { headroom: bytes, ..self }
    }

    /// The same turn, of a manager that has run for as long as the longest lease, or has not.
    #[must_use]
    pub fn when_settled(self, is_settled: bool) -> Self {
        Self { is_settled, ..self }
    }

    /// Refuses an operation that needs more memory than there is. It is for those whose result may be much
    /// larger than their request; what a request brings along is bounded by its frame.
    pub(crate) fn afford(&self, bytes: usize) -> Result<(), Error> {
        if bytes <= self.headroom {
            return Ok(());
        }
        Err(Error::new(
            Reason::OutOfMemory,
            format!(
                "the operation needs {bytes} bytes more, and {} are left of the server's memory budget",
                self.headroom
            ),
        )
        .with_hint("delete something, or raise the server's --max-memory-bytes"))
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> &'a Limits {
        self.limits
    }

    /// A token for a grant.
    pub(crate) fn token(&self) -> Result<u64, Error> {
        self.tokens.next().ok_or_else(|| {
            Error::new(
                Reason::LimitExceeded,
                "nothing can be granted: all fencing tokens that are reserved were handed out",
            )
            .with_hint("the manager's log says why it cannot reserve more; try again once it can")
        })
    }

    pub(crate) fn reply(&mut self, call: CallId, answer: Answer) {
        self.replies.push((call, Ok(answer)));
    }

    pub(crate) fn answer(&mut self, call: CallId, answer: Result<Answer, Error>) {
        self.replies.push((call, answer));
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
        Ok(Stored::new(value.data, pins))
    }

    /// As [`store`](Self::store), for a field that the operation cannot do without.
    pub(crate) fn store_required(&self, value: Option<Value>) -> Result<Stored, Error> {
        self.store(value.ok_or_else(missing_value)?)
    }

    pub(crate) fn store_all(&self, values: Vec<Value>) -> Result<Vec<Stored>, Error> {
        each(values, |value| self.store(value))
    }

    /// Makes a key at rest of one from the wire.
    pub(crate) fn key(&self, key: Bytes) -> Result<Compact, Error> {
        let max = self.limits.max_key_bytes;
        if key.len() > max {
            return Err(Error::new(
                Reason::LimitExceeded,
                format!("the key has {} bytes; the limit is {max}", key.len()),
            )
            .with_hint("use a hash of it as the key, or raise the server's --max-key-bytes"));
        }
        check_key(&key)?;
        Ok(key.into())
    }
}

/// Refuses what is no key, or another encoding of one: it would be another key. Also where a key is
/// only looked up: "there is none" would be wrong, as it may be there in its one form.
#[inline]
pub(crate) fn check_key(key: &[u8]) -> Result<(), Error> {
    key::check(key).map_err(|error| not_a_key(&error))
}

/// As [`check_key`], for many.
pub(crate) fn check_keys(keys: &[Bytes]) -> Result<(), Error> {
    keys.iter().try_for_each(|key| check_key(key))
}

/// Does something with each of many. The error says which one it was.
pub(crate) fn each<A, B>(
    all: Vec<A>,
    mut f: impl FnMut(A) -> Result<B, Error>,
) -> Result<Vec<B>, Error> {
    let count = all.len();
    let numbered = all.into_iter().enumerate();
    numbered.map(|(at, one)| f(one).map_err(|error| one_of(at, count, error))).collect()
}

/// The error for one of several.
#[cold]
pub(crate) fn one_of(at: usize, count: usize, mut error: Error) -> Error {
    if count > 1 {
        error.message = format!("number {} of {count}: {}", at + 1, error.message);
    }
    error
}

#[cold]
fn not_a_key(error: &KeyError) -> Error {
    Error::new(Reason::InvalidArgument, error.to_string()).with_hint(
        "write numbers and lengths in the fewest bytes, strings in UTF-8, -0.0 as 0.0, and the \
         entries of maps sorted by their encoded keys",
    )
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

    #[test]
    fn tokens_rise_and_stop_at_the_ceiling() {
        let tokens = Tokens::reserved(3, 5);
        assert_eq!([tokens.next(), tokens.next(), tokens.next()], [Some(4), Some(5), None]);
        assert_eq!((tokens.next(), tokens.left()), (None, 0));
        tokens.reserve(4);
        assert_eq!(tokens.next(), None);
        tokens.reserve(7);
        assert_eq!((tokens.left(), tokens.next()), (2, Some(6)));
        assert_eq!(Tokens::reserved(u64::MAX, u64::MAX).next(), None);
    }

    #[derive(Debug, Default)]
    pub(crate) struct Effects {
        pub(crate) replies: Vec<(CallId, Result<Answer, Error>)>,
        pub(crate) lost: Vec<(SessionId, u64)>,
    }
}
