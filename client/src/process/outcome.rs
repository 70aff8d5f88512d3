//! How a process ended.

use std::{fmt, os::unix::process::ExitStatusExt, process::ExitStatus};

use crate::failure::TaskFailure;

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// With exit code 0.
    Succeeded,
    /// Its task returned an error, panicked, or could not be run.
    Failed {
        /// What happened to the task.
        failure: TaskFailure,
        /// 1, or 101 if it panicked.
        exit_code: i32,
    },
    /// With another exit code than 0.
    Exited(i32),
    /// By a signal of this number.
    Killed(i32),
}

impl Outcome {
    pub(super) fn of(status: Option<ExitStatus>, failure: Option<TaskFailure>) -> Self {
        let code = status.and_then(|status| status.code());
        match (status.and_then(|status| status.signal()), failure) {
            (Some(signal), _) => Self::Killed(signal),
            (None, Some(failure)) => Self::Failed { failure, exit_code: code.unwrap_or(LOST) },
            (None, None) if code == Some(0) => Self::Succeeded,
            (None, None) => Self::Exited(code.unwrap_or(LOST)),
        }
    }

    /// The exit code; the signal's number, negative, if one ended it; 255 if nobody knows, as of a process on a host
    /// that was lost.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Succeeded => 0,
            Self::Failed { exit_code, .. } | Self::Exited(exit_code) => *exit_code,
            Self::Killed(signal) => -signal,
        }
    }
}

/// The exit code of a process whose own somebody else waited for, as in Python.
const LOST: i32 = 255;

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Succeeded => f.write_str("succeeded"),
            Self::Failed { failure: failure @ TaskFailure::Failed { .. }, .. } => {
                write!(f, "failed: {failure}")
            }
            Self::Failed { failure, .. } => write!(f, "{failure}"),
            Self::Exited(code) => write!(f, "ended with exit code {code}"),
            Self::Killed(signal) => match signal_hook::low_level::signal_name(*signal) {
                Some(name) => write!(f, "was killed by {name}"),
                None => write!(f, "was killed by signal {signal}"),
            },
        }
    }
}
