//! The kinds of shared objects.

pub use crate::v1::Kind;

impl Kind {
    /// Its name for people: as Python has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "object",
            Self::Dict => "dict",
            Self::List => "list",
            Self::Set => "set",
            Self::Namespace => "Namespace",
            Self::Value => "Value",
            Self::Array => "Array",
            Self::Lock => "Lock",
            Self::Rlock => "RLock",
            Self::Semaphore => "Semaphore",
            Self::Condition => "Condition",
            Self::Event => "Event",
            Self::Barrier => "Barrier",
            Self::Queue => "Queue",
            Self::Pipe => "Pipe",
        }
    }
}
