//! The kinds of attacks.

use clap::ValueEnum;

/// The kinds of attack.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Connections that say nothing.
    Silent,
    /// Connections that say that they are HTTP/2, and nothing more.
    Preface,
    /// Connections that begin a handshake, and say nothing more.
    Hello,
    /// Half of them silent, the other half with a preface.
    HalfOpen,
    /// Connections that say as much as they can, and read nothing.
    Greedy,
    /// Logins with a wrong authkey.
    Logins,
    /// Sessions that do what they should not.
    Sessions,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Preface => "preface",
            Self::Hello => "hello",
            Self::HalfOpen => "half-open",
            Self::Greedy => "greedy",
            Self::Logins => "logins",
            Self::Sessions => "sessions",
        }
    }
}
