//! The books on memory: one total for objects, sessions and their calls.

use std::sync::atomic::{AtomicI64, Ordering};

/// The estimated memory of all objects, sessions and their calls.
#[derive(Debug, Default)]
pub(super) struct Books {
    bytes: AtomicI64,
}

/// One session's share of the books. It changes in steps: a session with a few calls open never touches the
/// total, which all processors share.
#[derive(Debug, Default)]
pub(super) struct Account {
    booked: usize,
}

impl Books {
    pub(super) fn bytes(&self) -> usize {
        usize::try_from(self.bytes.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Replaces `before` bytes of something by the `now` that it takes.
    #[inline]
    pub(super) fn account(&self, now: usize, before: usize) {
        let change = i64::try_from(now).unwrap_or(i64::MAX) - i64::try_from(before).unwrap_or(0);
        if change != 0 {
            self.bytes.fetch_add(change, Ordering::Relaxed);
        }
    }
}

impl Account {
    const STEP: usize = 4096;

    /// Books these bytes, unless the difference is smaller than a step.
    #[inline]
    pub(super) fn set(&mut self, bytes: usize, books: &Books) {
        if bytes > self.booked || bytes + 2 * Self::STEP < self.booked {
            self.book(bytes.next_multiple_of(Self::STEP), books);
        }
    }

    /// Removes the share from the total.
    pub(super) fn close(&mut self, books: &Books) {
        self.book(0, books);
    }

    /// The bytes that are booked.
    pub(super) fn booked(&self) -> usize {
        self.booked
    }

    #[cold]
    fn book(&mut self, bytes: usize, books: &Books) {
        books.account(bytes, self.booked);
        self.booked = bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_booked_in_steps_and_closed_exactly() {
        let (books, mut account) = (Books::default(), Account::default());
        books.account(100, 0);
        let mut booked = |bytes| {
            account.set(bytes, &books);
            books.bytes() - 100
        };
        assert_eq!([1, 4096, 0, 4097, 1, 0].map(&mut booked), [4096, 4096, 4096, 8192, 8192, 8192]);
        assert_eq!([8193, 4096, 4095].map(&mut booked), [12_288, 12_288, 4096]);
        account.close(&books);
        assert_eq!((account.booked(), books.bytes()), (0, 100));
    }
}
