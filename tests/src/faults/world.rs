//! The objects that processes work on. A few processes form a group and share a few objects; after a
//! while they go on with new ones, so that no history becomes long.

use std::{fmt, str::FromStr};

use mp_manager_core::v1::{Kind, Parameters, QueueParameters, parameters};

use crate::{clock::now_ns, linear::ops};

/// How many permits a semaphore has.
pub(crate) const PERMITS: u64 = 2;
/// How many items a queue takes.
pub(crate) const MAXSIZE: u64 = 32;

/// What an object is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Use {
    /// A dict with counters and a register.
    Counts,
    /// A Value that is a counter.
    Total,
    /// A queue of items that are unique.
    Jobs,
    /// A list, used as a stack of items that are unique.
    Stack,
    /// A lock in front of a checking resource and of `Guarded`.
    Lock,
    /// A dict that is written with fences.
    Guarded,
    /// A semaphore.
    Permits,
}

impl Use {
    pub(crate) const ALL: [Self; 7] = [
        Self::Counts,
        Self::Total,
        Self::Jobs,
        Self::Stack,
        Self::Lock,
        Self::Guarded,
        Self::Permits,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Counts => "counts",
            Self::Total => "total",
            Self::Jobs => "jobs",
            Self::Stack => "stack",
            Self::Lock => "lock",
            Self::Guarded => "guarded",
            Self::Permits => "permits",
        }
    }

    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Counts | Self::Guarded => Kind::Dict,
            Self::Total => Kind::Value,
            Self::Jobs => Kind::Queue,
            Self::Stack => Kind::List,
            Self::Lock => Kind::Lock,
            Self::Permits => Kind::Semaphore,
        }
    }

    pub(crate) fn parameters(self) -> Option<Parameters> {
        let queue = QueueParameters { maxsize: Some(MAXSIZE), ..QueueParameters::default() };
        match self {
            Self::Total => Some(ops::initial(0)),
            Self::Jobs => {
                Some(Parameters { parameters: Some(parameters::Parameters::Queue(queue)) })
            }
            Self::Permits => Some(ops::permits(PERMITS)),
            Self::Counts | Self::Stack | Self::Lock | Self::Guarded => None,
        }
    }
}

/// An object's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) used: Use,
    pub(crate) group: u64,
    /// The time in which it is used.
    pub(crate) slice: u64,
}

impl Name {
    /// A number that no other object of its use has.
    pub(crate) fn number(self) -> u64 {
        self.group << 32 | self.slice
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.used.name(), self.group, self.slice)
    }
}

impl FromStr for Name {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('-');
        let used = parts.next().and_then(|name| Use::ALL.into_iter().find(|u| u.name() == name));
        let mut number = || parts.next().and_then(|part| part.parse().ok()).ok_or(());
        let (group, slice) = (number()?, number()?);
        Ok(Self { used: used.ok_or(())?, group, slice })
    }
}

/// Which objects a process works on, and when.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(crate) struct World {
    pub(crate) group: u64,
    pub(crate) epoch_ns: u64,
    pub(crate) slice_ms: u64,
}

impl World {
    /// The object for this use, now.
    pub(crate) fn name(&self, used: Use) -> Name {
        Name { used, group: self.group, slice: self.slice() }
    }

    /// The time that it is.
    pub(crate) fn slice(&self) -> u64 {
        now_ns().saturating_sub(self.epoch_ns) / (self.slice_ms * 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_printed() {
        for used in Use::ALL {
            let name = Name { used, group: 3, slice: 17 };
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        assert!("alive".parse::<Name>().is_err());
    }
}
