//! Python's `start:stop:step`, for everything that has positions.

use std::ops::{Bound, RangeBounds};

use mp_manager_proto::v1;

/// A part of a list or array, with Python's rules: negative positions count from the end, positions
/// beyond an end mean that end, and a step takes every n-th element, backwards if it is negative.
///
/// Every range of `i64` is one, so that only steps have to be spelled out:
///
/// ```
/// use mp_manager::Slice;
///
/// assert_eq!(Slice::from(1..3), Slice::new().start(1).stop(3)); // [1:3]
/// assert_eq!(Slice::from(-2..), Slice::new().start(-2)); // [-2:]
/// assert_eq!(Slice::from(..=-2), Slice::from(..-1)); // [:-1]
/// let backwards = Slice::new().step(-1); // [::-1]
/// # let _ = backwards;
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[doc(alias = "slice")]
pub struct Slice {
    pub(crate) start: Option<i64>,
    pub(crate) stop: Option<i64>,
    pub(crate) step: Option<i64>,
}

impl Slice {
    /// Everything, in order: `[:]`.
    ///
    /// ```
    /// # use mp_manager::Slice;
    /// assert_eq!(Slice::new(), Slice::from(..));
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From this position on. Without it, from the end that the step comes from.
    ///
    /// ```
    /// # use mp_manager::Slice;
    /// assert_eq!(Slice::new().start(2), Slice::from(2..));
    /// ```
    #[must_use]
    pub fn start(self, start: i64) -> Self {
        Self { start: Some(start), ..self }
    }

    /// Up to this position, which is not included. Without it, to the end that the step goes to.
    ///
    /// ```
    /// # use mp_manager::Slice;
    /// assert_eq!(Slice::new().stop(2), Slice::from(..2));
    /// ```
    #[must_use]
    pub fn stop(self, stop: i64) -> Self {
        Self { stop: Some(stop), ..self }
    }

    /// Every n-th element, backwards if it is negative. Whoever uses a slice with step 0 gets an
    /// error.
    ///
    /// ```
    /// # use mp_manager::Slice;
    /// let every_second = Slice::from(1..).step(2); // [1::2]
    /// assert_eq!(every_second, Slice::new().start(1).step(2));
    /// ```
    #[must_use]
    pub fn step(self, step: i64) -> Self {
        Self { step: Some(step), ..self }
    }

    /// As the manager reads it.
    pub(crate) fn to_message(self) -> v1::Slice {
        let Self { start, stop, step } = self;
        v1::Slice { start, stop, step }
    }
}

impl<R: RangeBounds<i64>> From<R> for Slice {
    fn from(range: R) -> Self {
        let start = match range.start_bound() {
            Bound::Included(&start) => Some(start),
            Bound::Excluded(&before) => Some(after(before).unwrap_or(i64::MAX)),
            Bound::Unbounded => None,
        };
        let stop = match range.end_bound() {
            Bound::Included(&last) => after(last),
            Bound::Excluded(&stop) => Some(stop),
            Bound::Unbounded => None,
        };
        Self { start, stop, step: None }
    }
}

/// The position after this one. After -1, the last one, comes none: 0 would be the first.
fn after(position: i64) -> Option<i64> {
    position.checked_add(1).filter(|&next| next != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inclusive_ranges_may_end_with_the_last_element() {
        assert_eq!(Slice::from((Bound::Included(1), Bound::Included(-1))), Slice::new().start(1));
        assert_eq!(Slice::from(0..=i64::MAX), Slice::new().start(0));
        assert_eq!(Slice::from(..=3), Slice::new().stop(4));
    }

    #[test]
    fn what_starts_after_the_last_element_is_empty() {
        let bounds = (Bound::Excluded(-1), Bound::Unbounded);
        assert_eq!(Slice::from(bounds), Slice::new().start(i64::MAX));
    }
}
