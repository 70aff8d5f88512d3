//! The notices of lost grants that a client has not confirmed yet.

use std::collections::VecDeque;

use mp_manager_proto::v1::{Error, Lost, Reason};

use crate::memory::row;

/// So many may be unconfirmed.
const MAX_UNCONFIRMED: usize = 65_536;

/// Notices are numbered 1, 2, 3 … over the session's life, by their order. They are sent on each
/// stream from the first unconfirmed one on.
///
/// ```text
///   1 … confirmed │ … sent on this stream │ … not sent on this stream
///     (forgotten)   └─────────────── notices ───────────────┘
/// ```
#[derive(Debug, Default)]
pub(crate) struct Losses {
    notices: VecDeque<Lost>,
    confirmed: u64,
    /// How many went out up to now, on this stream.
    sent: u64,
    /// How many ever went out, on any.
    ever_sent: u64,
    too_many: bool,
}

impl Losses {
    pub(crate) fn push(&mut self, lost: Lost) {
        if self.notices.len() < MAX_UNCONFIRMED {
            self.notices.push_back(lost);
        } else {
            self.too_many = true;
        }
    }

    /// One got lost itself: the session cannot go on.
    pub(crate) fn are_too_many(&self) -> bool {
        self.too_many
    }

    /// The memory they take, about.
    pub(crate) fn bytes(&self) -> usize {
        row::<Lost>(self.notices.len(), self.notices.capacity())
    }

    pub(crate) fn are_unsent(&self) -> bool {
        self.index() < self.notices.len()
    }

    /// Takes note of what goes out on this stream now, `max` at most.
    pub(crate) fn send(&mut self, max: usize) -> Vec<Lost> {
        let unsent: Vec<Lost> = self.notices.range(self.index()..).take(max).copied().collect();
        self.sent += unsent.len() as u64;
        self.ever_sent = self.ever_sent.max(self.sent);
        unsent
    }

    fn index(&self) -> usize {
        usize::try_from(self.sent - self.confirmed).unwrap_or(usize::MAX)
    }

    /// The client has taken in so many in all.
    pub(crate) fn confirm(&mut self, taken_in: u64) -> Result<(), Error> {
        if taken_in > self.ever_sent {
            let sent = self.ever_sent;
            let message =
                format!("{taken_in} notices of loss were confirmed where {sent} were sent");
            return Err(Error::new(Reason::Protocol, message));
        }
        while self.confirmed < taken_in && self.notices.pop_front().is_some() {
            self.confirmed += 1;
        }
        self.sent = self.sent.max(self.confirmed);
        Ok(())
    }

    /// A new stream knows of nothing that was not confirmed.
    pub(crate) fn rewind(&mut self) {
        self.sent = self.confirmed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(lost: Vec<Lost>) -> Vec<u64> {
        lost.into_iter().map(|lost| lost.token).collect()
    }

    fn with(tokens: impl IntoIterator<Item = u64>) -> Losses {
        let mut losses = Losses::default();
        tokens.into_iter().for_each(|token| losses.push(Lost { object: 1, token }));
        losses
    }

    #[test]
    fn what_is_not_confirmed_is_sent_again_on_the_next_stream() {
        let mut losses = with([11, 12, 13]);
        assert_eq!(tokens(losses.send(usize::MAX)), [11, 12, 13]);
        assert!(!losses.are_unsent());
        losses.confirm(1).unwrap();
        assert!(!losses.are_unsent());
        losses.rewind();
        losses.push(Lost { object: 1, token: 14 });
        assert_eq!(tokens(losses.send(usize::MAX)), [12, 13, 14]);
    }

    /// It had come on the older stream, whose last frames were never confirmed.
    #[test]
    fn what_came_on_an_older_stream_may_be_confirmed_on_the_next() {
        let mut losses = with([11, 12, 13]);
        losses.send(usize::MAX);
        losses.rewind();
        losses.confirm(2).unwrap();
        assert_eq!(tokens(losses.send(usize::MAX)), [13]);
        losses.confirm(0).unwrap();
        losses.confirm(1).unwrap();
        assert!(!losses.are_unsent());
        losses.confirm(3).unwrap();
        assert!(losses.notices.is_empty());
    }

    #[test]
    fn what_was_not_sent_cannot_be_confirmed() {
        let mut losses = with([11, 12]);
        assert_eq!(losses.confirm(1).unwrap_err().reason(), Reason::Protocol);
        losses.send(usize::MAX);
        assert_eq!(losses.confirm(3).unwrap_err().reason(), Reason::Protocol);
        losses.confirm(2).unwrap();
    }

    #[test]
    fn they_have_a_limit() {
        let mut losses = with(0..MAX_UNCONFIRMED as u64);
        losses.send(usize::MAX);
        assert!(!losses.are_too_many());
        losses.push(Lost::default());
        assert!(losses.are_too_many());
        assert_eq!(losses.notices.len(), MAX_UNCONFIRMED);
    }

    #[test]
    fn a_frame_that_has_no_room_leaves_the_rest_to_the_next() {
        let mut losses = with([11, 12, 13]);
        assert_eq!(tokens(losses.send(2)), [11, 12]);
        assert!(losses.are_unsent());
        assert_eq!(losses.confirm(3).unwrap_err().reason(), Reason::Protocol);
        losses.rewind();
        // A shorter frame on the next stream: what the older one said may be confirmed all the same.
        assert_eq!(tokens(losses.send(1)), [11]);
        losses.confirm(2).unwrap();
        assert_eq!(tokens(losses.send(2)), [13]);
        assert!(!losses.are_unsent());
    }
}
