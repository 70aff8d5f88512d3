//! Who this process is.

use std::{
    ffi::OsString,
    num::NonZero,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use crate::process::bootstrap::Bootstrap;

static CHILD: OnceLock<Bootstrap> = OnceLock::new();

const MAIN_NAME: &str = "MainProcess";

/// A process, as another one knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessInfo {
    name: String,
    pid: u32,
    daemon: bool,
}

impl ProcessInfo {
    /// Its name: `MainProcess` if no [`Process`](crate::process::Process) started it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id.
    #[doc(alias = "ident")]
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it was started as a [daemon](crate::process::ProcessBuilder::daemon).
    #[must_use]
    pub fn daemon(&self) -> bool {
        self.daemon
    }
}

/// This process.
///
/// ```
/// let current = mp_manager::process::current();
/// assert_eq!(current.name(), "MainProcess");
/// assert_eq!(current.pid(), std::process::id());
/// ```
#[doc(alias = "current_process")]
#[must_use]
pub fn current() -> ProcessInfo {
    let child = CHILD.get();
    ProcessInfo {
        name: child.map_or(MAIN_NAME, |child| &child.name).into(),
        pid: std::process::id(),
        daemon: child.is_some_and(|child| child.daemon),
    }
}

/// The process that started this one as a [`Process`](crate::process::Process), or as a worker of a pool. It is
/// alive: this process would not outlive it.
///
/// ```
/// assert_eq!(mp_manager::process::parent(), None);
/// ```
#[doc(alias = "parent_process")]
#[must_use]
pub fn parent() -> Option<ProcessInfo> {
    CHILD.get().map(|child| ProcessInfo {
        name: child.parent_name.clone(),
        pid: child.parent_pid,
        daemon: false,
    })
}

/// How many threads can run at once: the processors that this process may use, after its affinity and the
/// quota of its control group; 1 if that is unknown.
///
/// ```
/// assert!(mp_manager::process::cpu_count() >= 1);
/// ```
#[doc(alias = "process_cpu_count")]
#[must_use]
pub fn cpu_count() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// This process learns who it is, once.
pub(super) fn set(bootstrap: Bootstrap) {
    let _ = CHILD.set(bootstrap);
}

/// The variables by which this process finds the manager that its parent gave it.
pub(super) fn manager() -> Option<&'static [(OsString, OsString)]> {
    CHILD.get().map(|child| &*child.manager).filter(|variables| !variables.is_empty())
}

/// The next name that nobody chose: `Process-1`, and `Process-1:2` for the second child of that.
pub(super) fn next_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    match CHILD.get() {
        Some(child) => format!("{}:{count}", child.name),
        None => format!("Process-{count}"),
    }
}
