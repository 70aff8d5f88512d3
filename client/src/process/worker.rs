//! What a pool's worker is given when it begins.

use std::sync::mpsc;

use crate::process::control::Frame;

/// A child that runs what a pool sends.
pub(crate) struct Worker {
    pub(crate) name: String,
    /// What the pool told it with its start.
    pub(crate) config: Vec<u8>,
    /// The frames of kind `Pool` that the parent sent.
    pub(crate) frames: mpsc::Receiver<Frame>,
}

/// What a worker does; returns its exit code. The pool submits one with `inventory::submit!`, which is how it
/// is known in a child before anything else has run.
pub(crate) struct WorkerHook {
    pub(crate) run: fn(Worker) -> i32,
}

inventory::collect!(WorkerHook);
