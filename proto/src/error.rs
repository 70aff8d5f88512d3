//! Failures, told once for programs (a [`Reason`]) and once for people (a message and a hint).

use std::fmt;

pub use crate::v1::{Error, Reason};

impl Error {
    /// A failure with its reason and what went wrong.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), message: message.into(), hint: String::new() }
    }

    /// Adds what to try.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

impl Reason {
    /// Every reason's number is below this.
    pub const NUMBERS: usize = 128;

    /// All of them, for those who count errors by their reasons.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::NUMBERS).filter_map(|n| Self::try_from(i32::try_from(n).ok()?).ok())
    }

    /// Its name for programs, in lower case.
    #[must_use]
    pub fn label(self) -> String {
        self.as_str_name().trim_start_matches("REASON_").to_lowercase()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.hint.is_empty() {
            write!(f, " ({})", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_number_below_the_limit() {
        // The last one of those that the .proto file has.
        assert_eq!(Reason::all().last(), Some(Reason::PoolDeadlock));
        assert_eq!(Reason::OutOfMemory.label(), "out_of_memory");
        assert!((128..4096).all(|n| Reason::try_from(n).is_err()));
    }
}
