//! Processes on other hosts. To the pool of a host, which its agent alone works in, a process is a run of a task that
//! ends with it; signals are others.

use std::{ffi::OsString, path::PathBuf};

use bytes::Bytes;
use mp_manager_proto::{
    v1::{PoolRun, PoolTask, Value},
    value,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    failure::TaskFailure,
    process::{bootstrap::Role, outcome::Outcome, spawn::Environment},
};

/// The tasks that an agent executes itself.
pub(super) const PROCESS: &str = "mp-manager/process";
pub(super) const STARTED: &str = "mp-manager/started";
pub(super) const SIGNAL: &str = "mp-manager/signal";

/// The name of the pool that a host works in alone.
pub(super) fn pool_name(pool: &str, host: &str) -> String {
    format!("mp-manager/host/{pool}/{host}")
}

/// A process to be started on a host.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Order {
    /// Names it in the other runs; random.
    pub(super) id: String,
    pub(super) name: String,
    pub(super) daemon: bool,
    pub(super) role: Role,
    pub(super) arguments: Vec<u8>,
    pub(super) environment: Environment,
    pub(super) current_dir: Option<PathBuf>,
    pub(super) prefixes_output: bool,
}

/// A signal for a process on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Signalled {
    Interrupt,
    Terminate,
    Kill,
}

/// How a process on a host has ended.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ended {
    exit_code: i32,
    failure: Option<TaskFailure>,
}

impl From<Outcome> for Ended {
    fn from(outcome: Outcome) -> Self {
        let exit_code = outcome.exit_code();
        match outcome {
            Outcome::Failed { failure, .. } => Self { exit_code, failure: Some(failure) },
            _ => Self { exit_code, failure: None },
        }
    }
}

impl From<Ended> for Outcome {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended { exit_code, failure: Some(failure) } => Self::Failed { failure, exit_code },
            Ended { exit_code: 0, failure: None } => Self::Succeeded,
            Ended { exit_code, .. } if exit_code < 0 => Self::Killed(-exit_code),
            Ended { exit_code, .. } => Self::Exited(exit_code),
        }
    }
}

/// A run of one of these tasks.
///
/// # Errors
/// If the arguments cannot be encoded.
pub(super) fn run(task: &str, args: &impl Serialize) -> Result<PoolRun, value::CodecError> {
    let task = PoolTask { name: task.into(), ..PoolTask::default() };
    let args = Some(array_of(args)?);
    Ok(PoolRun { task: Some(task), args, count: 1, ..PoolRun::default() })
}

/// An array of one value.
pub(super) fn array_of(element: &impl Serialize) -> Result<Value, value::CodecError> {
    Ok(Value { data: Bytes::from(value::encode(&(element,))?), refs: Vec::new() })
}

/// The value in an array of one.
pub(super) fn element_of<T: DeserializeOwned>(data: &[u8]) -> Result<T, value::CodecError> {
    value::decode::<(T,)>(data).map(|(element,)| element)
}

/// What a command of somebody else would be.
pub(super) fn program_of(role: &Role) -> Option<&OsString> {
    match role {
        Role::Program { program, .. } => Some(program),
        Role::Task { .. } | Role::Worker => None,
    }
}
