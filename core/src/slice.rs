//! Python's rules for indices and slices.

use mp_manager_proto::v1::{Error, Reason, Slice};

/// The position an index means in a sequence of `len`, negative ones counting from the end.
pub(crate) fn position(index: i64, len: usize) -> Result<usize, Error> {
    let from_end = if index < 0 { index.unsigned_abs() } else { 0 };
    let position = if index < 0 {
        usize::try_from(from_end).ok().and_then(|back| len.checked_sub(back))
    } else {
        usize::try_from(index).ok().filter(|&position| position < len)
    };
    position.ok_or_else(|| {
        Error::new(
            Reason::IndexOutOfRange,
            format!("index {index} is out of range: there are {len} elements"),
        )
    })
}

/// As [`position`], but what lies beyond an end means that end: how `list.insert` and
/// `list.index` read theirs.
pub(crate) fn clamped(index: i64, len: usize) -> usize {
    if index < 0 {
        len.saturating_sub(usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX))
    } else {
        usize::try_from(index).unwrap_or(usize::MAX).min(len)
    }
}

/// How far an index is from the nearer end of a sequence of `len`.
pub(crate) fn from_nearer_end(index: i64, len: usize) -> usize {
    let at = clamped(index, len);
    at.min(len - at)
}

/// The positions a slice takes, in order: `start`, `start + step`, … , `count` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Positions {
    pub(crate) start: usize,
    pub(crate) step: i64,
    pub(crate) count: usize,
}

impl Positions {
    /// What `slice` means for a sequence of `len`, as CPython's `PySlice_AdjustIndices` has it.
    pub(crate) fn of(slice: &Slice, len: usize) -> Result<Self, Error> {
        let step = slice.step.unwrap_or(1);
        if step == 0 {
            return Err(Error::new(Reason::InvalidArgument, "the step of a slice cannot be 0"));
        }
        let len = len as i128;
        let (low, high) = if step < 0 { (-1, len - 1) } else { (0, len) };
        let adjust = |index: Option<i64>, absent: i128| {
            index.map_or(absent, |index| {
                let index = i128::from(index);
                (if index < 0 { index + len } else { index }).clamp(low, high)
            })
        };
        let (first, last) = if step < 0 { (high, low) } else { (low, high) };
        let start = adjust(slice.start, first);
        let stop = adjust(slice.stop, last);
        let distance = if step < 0 { start - stop } else { stop - start };
        let stride = i128::from(step.unsigned_abs());
        let count = if distance <= 0 { 0 } else { (distance - 1) / stride + 1 };
        Ok(Self {
            start: usize::try_from(start).unwrap_or(0),
            step,
            count: usize::try_from(count).unwrap_or(0),
        })
    }

    /// The n-th of them; the caller keeps to `n < count`.
    pub(crate) fn nth(&self, n: usize) -> usize {
        let offset = i128::from(self.step) * n as i128;
        usize::try_from(self.start as i128 + offset).unwrap_or(0)
    }

    pub(crate) fn iter(self) -> impl DoubleEndedIterator<Item = usize> + ExactSizeIterator {
        (0..self.count).map(move |n| self.nth(n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(
        start: Option<i64>,
        stop: Option<i64>,
        step: Option<i64>,
        len: usize,
    ) -> Vec<usize> {
        Positions::of(&Slice { start, stop, step }, len).unwrap().iter().collect()
    }

    #[test]
    fn slices_follow_python() {
        // range(len)[start:stop:step], as CPython 3.13 prints it.
        assert_eq!(positions(None, None, None, 4), [0, 1, 2, 3]);
        assert_eq!(positions(Some(-2), None, None, 4), [2, 3]);
        assert_eq!(positions(Some(1), Some(-1), None, 4), [1, 2]);
        assert_eq!(positions(None, None, Some(-1), 4), [3, 2, 1, 0]);
        assert_eq!(positions(Some(10), Some(-10), Some(-2), 5), [4, 2, 0]);
        assert_eq!(positions(None, None, Some(3), 7), [0, 3, 6]);
        assert_eq!(positions(Some(3), Some(1), None, 7), []);
        assert_eq!(positions(Some(i64::MIN), Some(i64::MAX), Some(i64::MAX), 2), [0]);
        assert_eq!(positions(None, None, Some(i64::MIN), 2), [1]);
        assert!(Positions::of(&Slice { step: Some(0), ..Slice::default() }, 3).is_err());
    }

    #[test]
    fn indices_count_from_either_end() {
        assert_eq!(position(-1, 3).unwrap(), 2);
        assert_eq!(position(-3, 3).unwrap(), 0);
        assert!(position(-4, 3).is_err());
        assert!(position(3, 3).is_err());
        assert!(position(i64::MIN, 3).is_err());
        assert_eq!(clamped(-9, 3), 0);
        assert_eq!(clamped(9, 3), 3);
    }
}
