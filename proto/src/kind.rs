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
            Self::Pool => "Pool",
        }
    }

    /// Its name for programs, in lower case.
    #[must_use]
    pub fn label(self) -> String {
        self.as_str_name().trim_start_matches("KIND_").to_lowercase()
    }

    /// Its [name](Self::name) with the indefinite article, as it is spoken: "an RLock".
    #[must_use]
    pub fn with_article(self) -> &'static str {
        match self {
            Self::Unspecified => "an object",
            Self::Dict => "a dict",
            Self::List => "a list",
            Self::Set => "a set",
            Self::Namespace => "a Namespace",
            Self::Value => "a Value",
            Self::Array => "an Array",
            Self::Lock => "a Lock",
            Self::Rlock => "an RLock",
            Self::Semaphore => "a Semaphore",
            Self::Condition => "a Condition",
            Self::Event => "an Event",
            Self::Barrier => "a Barrier",
            Self::Queue => "a Queue",
            Self::Pipe => "a Pipe",
            Self::Pool => "a Pool",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn the_article_precedes_the_name_as_it_is_spoken() {
        for kind in (0..).map_while(|n| Kind::try_from(n).ok()) {
            let name = kind.name();
            // "RLock" begins with the name of its first letter.
            let article = if name.starts_with(['A', 'E', 'I', 'O', 'o', 'R']) { "an" } else { "a" };
            assert_eq!(kind.with_article(), format!("{article} {name}"));
        }
    }
}
