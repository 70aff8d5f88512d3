//! Why a task has no result.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a task that a process ran has no result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum TaskFailure {
    /// It returned an error.
    #[error("{}", chain.join(": "))]
    Failed {
        /// The error, its source, the source of that, and so on.
        chain: Vec<String>,
    },
    /// It panicked.
    #[error("panicked at {location}: {message}")]
    Panicked {
        /// The message of the panic.
        message: String,
        /// File, line and column.
        location: String,
    },
    /// It ran for longer than it may.
    #[error("was still running after {after_ms} ms")]
    TimedOut {
        /// The time that it had.
        after_ms: u64,
    },
    /// Its result is longer than a result may be.
    #[error("returned {bytes} bytes, and a result has {max_bytes} at most")]
    ResultTooLarge {
        /// The length of the result.
        bytes: usize,
        /// The longest that may be.
        max_bytes: usize,
    },
    /// Its result could not be serialised.
    #[error("returned what cannot be serialised: {message}")]
    Unserialisable {
        /// The serialiser's error.
        message: String,
    },
    /// Its arguments are not of the types that it takes. It did not run.
    #[error("was given arguments of other types: {message}")]
    Undecodable {
        /// The decoder's error.
        message: String,
    },
    /// The process does not know the task. It did not run.
    #[error(
        "is not known to the process: a crate that nothing mentions is not linked in, so write \
         `use its_crate as _;` or `Registry::add(task)` before `mp_manager::init()`"
    )]
    UnknownTask,
    /// The process knows a task of this name with other types. It did not run.
    #[error(
        "has the types `{known}` in the process that was to run it, and not `{asked}`: run the same program on both sides"
    )]
    SignatureMismatch {
        /// As the process has it.
        known: String,
        /// As it was submitted.
        asked: String,
    },
    /// The process that ran it was lost, and it may have been executed.
    #[error("may have been executed, but {message}")]
    WorkerLost {
        /// How the process ended.
        message: String,
        /// The exit code of the process; the number of the signal that ended it, negative. `None` if nobody
        /// knows.
        exit_code: Option<i32>,
        /// The system had probably run out of memory.
        out_of_memory: bool,
    },
    /// Every process that ran it has ended, and it is not tried again.
    #[error("is set aside: {message}")]
    Poisonous {
        /// How often, and how the last one ended.
        message: String,
        /// The exit code of the last process; the number of the signal that ended it, negative.
        exit_code: Option<i32>,
    },
}

/// A task of a pool that has no result: which one, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskError {
    pub(crate) task: &'static str,
    pub(crate) index: usize,
    pub(crate) succeeded: usize,
    pub(crate) failure: TaskFailure,
}

impl TaskError {
    /// The task's name.
    #[must_use]
    pub fn task(&self) -> &str {
        self.task
    }

    /// The place of its input, from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// How many tasks of the same call had succeeded by then.
    #[must_use]
    pub fn succeeded(&self) -> usize {
        self.succeeded
    }

    /// Why it has no result.
    #[must_use]
    pub fn failure(&self) -> &TaskFailure {
        &self.failure
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task `{}`", self.task)?;
        if self.index > 0 || self.succeeded > 0 {
            write!(f, " (input {}, {} others succeeded)", self.index, self.succeeded)?;
        }
        match &self.failure {
            TaskFailure::Failed { .. } => write!(f, " failed: {}", self.failure),
            failure => write!(f, " {failure}"),
        }
    }
}

impl std::error::Error for TaskError {}
