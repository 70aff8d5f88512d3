//! The processes that this one started.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{process::handle::Process, session::fork::Home};

/// Those that a fork finds here are its parent's.
static CHILDREN: Mutex<Vec<(Home, Process)>> = Mutex::new(Vec::new());

fn children() -> MutexGuard<'static, Vec<(Home, Process)>> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn add(process: Process) {
    children().push((Home::here(), process));
}

pub(super) fn remove(process: &Process) {
    children().retain(|(_, child)| !child.is(process));
}

/// The processes that this one started and that run still.
///
/// ```
/// assert!(mp_manager::process::active_children().is_empty());
/// ```
#[must_use]
pub fn active_children() -> Vec<Process> {
    let children = children();
    let own = children.iter().filter(|(home, child)| home.is_here() && child.is_alive());
    own.map(|(_, child)| child.clone()).collect()
}

/// How long a daemon has from SIGTERM to SIGKILL.
const DAEMON_GRACE: Duration = Duration::from_secs(2);

/// Ends the daemons among the [`active_children`] and waits for the others, as Python does when it exits. A
/// daemon gets SIGTERM, and SIGKILL two seconds later. Blocks the thread.
///
/// A `main` with [`#[mp_manager::main]`](crate::main) calls it when it returns, and so does a process whose task
/// has ended. A program that calls [`init`](crate::init) by itself calls this as well, unless its children are
/// to end with it.
///
/// ```
/// mp_manager::process::finish();
/// ```
pub fn finish() {
    let (daemons, others): (Vec<_>, Vec<_>) =
        active_children().into_iter().partition(Process::daemon);
    for daemon in &daemons {
        let _ = daemon.terminate();
    }
    for daemon in &daemons {
        if !daemon.wait_timeout(DAEMON_GRACE) {
            let _ = daemon.kill();
        }
    }
    for child in daemons.iter().chain(&others) {
        pollster::block_on(child.ended());
    }
}
