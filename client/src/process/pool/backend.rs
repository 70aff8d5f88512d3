//! Where the tasks of a pool are executed.

use std::sync::Arc;

use crate::{objects::pool::SharedPool, process::pool::threads::Threads};

/// Where the tasks of a pool are executed.
#[derive(Debug, Clone)]
pub(super) enum Backend {
    Workers(SharedPool),
    Threads(Arc<Threads>),
}
