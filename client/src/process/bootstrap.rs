//! The first messages from a parent to its child.

use std::ffi::OsString;

use serde::{Deserialize, Serialize};

/// The environment variable that says which nonce stands at the beginning of a child's stdin. A process whose
/// stdin does not begin with it only inherited the variable.
pub(crate) const CHILD_VARIABLE: &str = "MP_MANAGER_CHILD";

/// Length of a nonce, which tells a child from a process that inherited its environment, and keeps nobody out.
pub(crate) const NONCE_LEN: usize = 32;

/// The identity of the child. It has the authkey in it, and is never printed.
#[derive(Serialize, Deserialize)]
pub(crate) struct Bootstrap {
    pub(crate) name: String,
    pub(crate) daemon: bool,
    pub(crate) parent_pid: u32,
    pub(crate) parent_name: String,
    /// The variables that `Manager::environment` has; empty if there is no manager.
    pub(crate) manager: Vec<(OsString, OsString)>,
}

/// The role of a child.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Role {
    /// To run one task.
    Task {
        /// The task's name.
        name: String,
        /// The types of its arguments, as its starter has them; empty for this same program.
        signature: String,
        /// The dict that holds its arguments, if a manager does.
        held: Option<String>,
    },
    /// To become another program.
    Program {
        /// Its path, or its name in PATH.
        program: OsString,
        /// Its arguments.
        args: Vec<OsString>,
    },
    /// To run what a pool sends.
    Worker,
}

/// A random nonce, as text.
pub(crate) fn nonce() -> Result<String, getrandom::Error> {
    let mut bytes = [0_u8; NONCE_LEN / 2];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
