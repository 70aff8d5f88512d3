//! What is asked of a host about a process there.

use std::{sync::Arc, thread};

use bytes::Bytes;
use mp_manager_proto::v1::PoolRun;
use serde::de::DeserializeOwned;

use crate::{
    error::{Error, Result},
    failure::TaskFailure,
    objects::pool::SharedPool,
    process::{
        hosted::{SIGNAL, Signalled, element_of, run},
        pool::submit::read_failure,
    },
};

/// What a handle needs to signal a process on another host.
pub(super) struct Remote {
    pool: SharedPool,
    id: String,
    pub(super) host: String,
}

/// The result of a run of one task.
pub(super) async fn result_of<T: DeserializeOwned>(
    pool: &SharedPool,
    run: PoolRun,
) -> std::result::Result<T, TaskFailure> {
    let lost = |error: &dyn std::fmt::Display| TaskFailure::Failed {
        chain: vec!["its manager was lost".into(), error.to_string()],
    };
    let results = pool.run_once(run).await.map_err(|error| lost(&error))?;
    let segment = results.segments.into_iter().next().unwrap_or_default();
    if let Some(failure) = segment.failures.first() {
        return Err(read_failure(failure));
    }
    let data: Bytes = segment.results.map(|results| results.data).unwrap_or_default();
    element_of(&data).map_err(|error| TaskFailure::Undecodable { message: error.to_string() })
}

impl Remote {
    pub(super) fn new(pool: SharedPool, id: String, host: String) -> Self {
        Self { pool, id, host }
    }

    /// Has the host send a signal, and does not wait for that.
    pub(super) fn send(self: &Arc<Self>, signal: Signalled) -> Result<()> {
        let run = run(SIGNAL, &(&self.id, signal))
            .map_err(|error| Error::Configuration(format!("the signal: {error}")))?;
        let this = Arc::clone(self);
        let send = move || {
            // If the manager is gone, so is the process.
            let _ = pollster::block_on(result_of::<()>(&this.pool, run));
        };
        thread::Builder::new()
            .spawn(send)
            .map(drop)
            .map_err(|error| Error::Configuration(format!("cannot start a thread: {error}")))
    }
}
