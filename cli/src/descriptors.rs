//! How many files the process may have open: each connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is open besides connections, generously.
const OTHERS: u64 = 64;

/// Allows as many as the system lets us have; says so if these are too few for so many connections.
pub(crate) fn allow(connections: usize) {
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(OTHERS);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let allowed = match current {
        Some(current) if current < wanted => raise(current, maximum, wanted),
        _ => return,
    };
    if allowed < wanted {
        tracing::warn!(
            "the system allows {allowed} open files, fewer than --max-connections needs: raise its \
             limit (ulimit -n, or LimitNOFILE=) above {wanted}, or lower --max-connections"
        );
    }
}

/// The limit as it is afterwards.
fn raise(current: u64, maximum: Option<u64>, wanted: u64) -> u64 {
    let raised = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }) {
        Ok(()) => raised,
        Err(_) => current,
    }
}
