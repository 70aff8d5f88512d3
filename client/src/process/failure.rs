//! Why a task has no result.

use serde::{Deserialize, Serialize};

use crate::process::task::Failure;

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
        /// What `panic!` said.
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
        /// What the serialiser said.
        message: String,
    },
    /// Its arguments are not of the types that it takes. It did not run.
    #[error("was given arguments of other types: {message}")]
    Undecodable {
        /// What the decoder said.
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

impl From<Failure> for TaskFailure {
    fn from(failure: Failure) -> Self {
        Self::Failed { chain: failure.chain }
    }
}
