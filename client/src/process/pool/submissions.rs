//! What was submitted through the handles of a pool and is not done: the pool is closed behind it.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{
    error::Result,
    process::pool::{backend::Backend, threads::closed},
};

/// Maps submit their runs little by little: a pool that is closed meanwhile takes the rest of them.
pub(super) struct Submissions {
    backend: Backend,
    state: watch::Sender<State>,
}

#[derive(Debug, Default, Clone, Copy)]
struct State {
    active: usize,
    is_closing: bool,
    /// What is being submitted is refused: nobody waits for it.
    is_over: bool,
}

impl Submissions {
    pub(super) fn new(backend: Backend) -> Self {
        Self { backend, state: watch::Sender::default() }
    }

    /// Something is being submitted, as long as this lives.
    ///
    /// # Errors
    /// [`Error::PoolClosed`](crate::Error::PoolClosed).
    pub(super) fn begin(self: &Arc<Self>) -> Result<Active> {
        let mut is_open = false;
        self.state.send_modify(|state| {
            is_open = !state.is_closing;
            state.active += usize::from(is_open);
        });
        is_open.then(|| Active(Arc::clone(self))).ok_or_else(closed)
    }

    /// Nothing more begins: whether nothing is being submitted.
    pub(super) fn end(&self) -> bool {
        let mut is_idle = false;
        self.state.send_modify(|state| {
            state.is_closing = true;
            is_idle = state.active == 0;
        });
        is_idle
    }

    /// Nothing more begins, and what is being submitted comes to nothing.
    pub(super) fn give_up(&self) {
        self.state.send_modify(|state| (state.is_closing, state.is_over) = (true, true));
    }

    pub(super) fn is_closing(&self) -> bool {
        self.state.borrow().is_closing
    }

    /// Waits until nothing is being submitted, or it comes to nothing.
    pub(super) async fn ended(&self) {
        // The sender lives as long as this does.
        let _ = self.state.subscribe().wait_for(|state| state.active == 0 || state.is_over).await;
    }
}

/// Something that is being submitted.
pub(super) struct Active(Arc<Submissions>);

impl Drop for Active {
    fn drop(&mut self) {
        let Submissions { backend, state } = &*self.0;
        let mut is_last = false;
        // Closed before anybody sees that it has ended.
        state.send_modify(|state| {
            is_last = state.is_closing && !state.is_over && state.active == 1;
            if !is_last {
                state.active -= 1;
            }
        });
        if is_last {
            match backend {
                Backend::Workers(pool) => pool.close_unheard(),
                Backend::Threads(threads) => threads.close(),
            }
            state.send_modify(|state| state.active = 0);
        }
    }
}
