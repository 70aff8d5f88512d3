//! Fencing tokens that are reserved before they are handed out.
//!
//! Tokens are reserved in blocks: whoever keeps what outlasts a start of the manager writes down the
//! ceiling of a block before its first token is handed out, so that the next start begins above every
//! token of this one, whatever the clock says. When half of a block is used, the next one is due.

use crate::turn::Tokens;

/// The source of a manager's fencing tokens.
#[derive(Debug)]
pub struct Reservation {
    tokens: Tokens,
    start: u64,
    /// 0 if nothing is written down.
    block: u64,
}

impl Reservation {
    /// Tokens larger than `now_us`, the Unix time in microseconds, which nobody writes down.
    #[must_use]
    pub fn unrecorded(now_us: u64) -> Self {
        Self { tokens: Tokens::after(now_us), start: now_us, block: 0 }
    }

    /// Tokens larger than `now_us` and than the ceiling that former starts wrote down. The first
    /// block's [ceiling](Self::ceiling) has to be written down before any is handed out. `None` if there
    /// is no room above.
    #[must_use]
    pub fn recorded(ceiling: Option<u64>, now_us: u64, block: u64) -> Option<Self> {
        let start = ceiling.map_or(now_us, |ceiling| ceiling.max(now_us));
        let tokens = Tokens::reserved(start, start.checked_add(block)?);
        Some(Self { tokens, start, block })
    }

    /// All tokens are larger than this.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The largest token that is reserved.
    #[must_use]
    pub fn ceiling(&self) -> u64 {
        self.tokens.ceiling()
    }

    /// Number of reserved tokens that were not handed out.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.tokens.left()
    }

    /// Whether half of the block is used, and the next one is due.
    #[must_use]
    #[inline]
    pub fn is_low(&self) -> bool {
        self.block > 0 && self.tokens.left() < self.block / 2
    }

    /// The ceiling to write down next; `None` if there are no more tokens.
    #[must_use]
    pub fn next_ceiling(&self) -> Option<u64> {
        self.tokens.ceiling().checked_add(self.block)
    }

    /// This ceiling is written down: tokens up to it may be handed out.
    pub fn reserve(&self, ceiling: u64) {
        self.tokens.reserve(ceiling);
    }

    /// The next token, larger than all before it; `None` while no more are reserved. Called with an object's
    /// lock held, so an object's own tokens ascend.
    pub fn next_token(&self) -> Option<u64> {
        self.tokens.next()
    }

    pub(super) fn tokens(&self) -> &Tokens {
        &self.tokens
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;

    const NOW_US: u64 = 1_000_000;

    #[test]
    fn tokens_rise_across_a_start_with_the_clock_set_back() {
        let (mut last, mut recorded) = (0, None);
        for now_us in [NOW_US, NOW_US - 500_000, 0, NOW_US + 10, 1] {
            let reservation = Reservation::recorded(recorded, now_us, 100).unwrap();
            recorded = Some(reservation.ceiling());
            for token in iter::from_fn(|| reservation.next_token()) {
                assert!(token > last && token > now_us && Some(token) <= recorded);
                last = token;
            }
        }
    }

    #[test]
    fn the_next_block_is_due_when_half_of_one_is_used() {
        let reservation = Reservation::recorded(None, NOW_US, 10).unwrap();
        for _ in 0..5 {
            assert!(!reservation.is_low());
            reservation.next_token();
        }
        assert!(!reservation.is_low());
        reservation.next_token();
        assert!(reservation.is_low());
        reservation.reserve(reservation.next_ceiling().unwrap());
        assert!(!reservation.is_low());
        assert_eq!((reservation.ceiling(), reservation.left()), (NOW_US + 20, 14));
    }

    #[test]
    fn what_is_not_written_down_is_never_due() {
        let reservation = Reservation::unrecorded(NOW_US);
        assert_eq!(reservation.next_token(), Some(NOW_US + 1));
        assert!(!reservation.is_low());
    }

    #[test]
    fn there_is_no_start_without_room_above_the_ceiling() {
        assert!(Reservation::recorded(Some(u64::MAX - 5), NOW_US, 10).is_none());
    }
}
