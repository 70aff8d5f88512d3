//! Counts how deep a value nests while serde walks it.
//!
//! A value that nests too deep is refused on the way down, before its levels use up the stack:
//! whoever looks at the bytes afterwards comes too late.

mod deserializer;
mod serializer;

use std::{cell::Cell, fmt};

/// Steps that serde may take for each array or map: `Some` and newtypes have no bytes of their own,
/// but take the stack all the same.
const STEPS_PER_CONTAINER: usize = 4;

/// How much deeper serde may go from here.
#[derive(Clone, Copy)]
pub(crate) struct Level<'a> {
    /// Arrays and maps within each other.
    containers: usize,
    /// Anything within something else.
    steps: usize,
    /// Set when either is used up, as an error of serde says only that there is one.
    exceeded: &'a Cell<bool>,
}

impl<'a> Level<'a> {
    /// The outside of a value that may have `containers` arrays and maps within each other.
    pub(crate) fn outermost(containers: usize, exceeded: &'a Cell<bool>) -> Self {
        Self { containers, steps: containers * STEPS_PER_CONTAINER, exceeded }
    }

    /// Inside an array or a map.
    fn container(self) -> Result<Self, TooDeep> {
        let containers = self.containers.checked_sub(1).ok_or_else(|| self.exceed())?;
        Self { containers, ..self }.step()
    }

    /// Inside something without bytes of its own.
    fn step(self) -> Result<Self, TooDeep> {
        let steps = self.steps.checked_sub(1).ok_or_else(|| self.exceed())?;
        Ok(Self { steps, ..self })
    }

    fn exceed(self) -> TooDeep {
        self.exceeded.set(true);
        TooDeep
    }
}

/// What serde is told; the caller of the codec gets `CodecError::TooDeep`.
struct TooDeep;

impl fmt::Display for TooDeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nested too deep")
    }
}

/// Any part of serde (a serializer, a deserializer, a visitor, an access, a seed), with the level that
/// it works at. What it hands out works one level deeper.
pub(crate) struct Limited<'a, T> {
    inner: T,
    level: Level<'a>,
}

impl<'a, T> Limited<'a, T> {
    pub(crate) fn new(inner: T, level: Level<'a>) -> Self {
        Self { inner, level }
    }
}
