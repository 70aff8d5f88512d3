//! How many files the process may have open: each connection is one.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is open besides connections, generously.
const OTHERS: u64 = 64;

/// The limit with which this process was started, once it has another.
static INHERITED: OnceLock<u64> = OnceLock::new();

/// Allows one for each connection that there may be, or as many as the system lets us have. Warns if these are too
/// few for the connections that are certain to come; `remedy` is what helps besides a higher limit.
pub(crate) fn allow(possible: usize, certain: usize, remedy: &str) {
    let files = |connections| u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(OTHERS);
    let (wanted, needed) = (files(possible), files(certain));
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let allowed = match current {
        Some(current) if current < wanted => raise(current, maximum, wanted),
        _ => return,
    };
    if allowed < needed {
        tracing::warn!(
            "the system allows {allowed} open files, which may be too few: raise its limit (ulimit -n, \
             or LimitNOFILE=) to {needed}, or {remedy}"
        );
    }
}

/// The limit for commands that this process starts, if it has raised its own: programs that use `select` fail with
/// files beyond 1023, and are told so by the limit.
#[cfg(target_os = "linux")]
pub(crate) fn inherited() -> Option<u64> {
    INHERITED.get().copied()
}

/// Gives this process a limit back that another one had.
#[cfg(target_os = "linux")]
pub(crate) fn restore(limit: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    // It is lower than the one there is, and so never refused.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(limit), maximum });
}

/// The limit as it is afterwards.
fn raise(current: u64, maximum: Option<u64>, wanted: u64) -> u64 {
    let raised = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }) {
        Ok(()) => {
            let _ = INHERITED.set(current);
            raised
        }
        Err(_) => current,
    }
}
