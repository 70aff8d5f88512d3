//! Counts the calls that still submit runs, and closes the pool after the last of them.

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
    /// Calls that somebody drives to their end.
    calls: usize,
    /// Streams, which may never be read to their end.
    streams: usize,
    is_closing: bool,
    /// What is being submitted is refused: nobody waits for it.
    is_over: bool,
}

impl State {
    fn count(&mut self, is_stream: bool) -> &mut usize {
        if is_stream { &mut self.streams } else { &mut self.calls }
    }

    fn is_idle(self) -> bool {
        (self.calls, self.streams) == (0, 0)
    }
}

impl Submissions {
    pub(super) fn new(backend: Backend) -> Self {
        Self { backend, state: watch::Sender::default() }
    }

    /// Something is being submitted, as long as this lives.
    ///
    /// # Errors
    /// [`Error::PoolClosed`](crate::Error::PoolClosed).
    pub(super) fn begin(self: &Arc<Self>, is_stream: bool) -> Result<Active> {
        let mut is_open = false;
        self.state.send_modify(|state| {
            is_open = !state.is_closing;
            *state.count(is_stream) += usize::from(is_open);
        });
        let active = || Active { submissions: Arc::clone(self), is_stream };
        is_open.then(active).ok_or_else(closed)
    }

    /// Nothing more begins: whether nothing is being submitted.
    pub(super) fn end(&self) -> bool {
        let mut is_idle = false;
        self.state.send_modify(|state| {
            state.is_closing = true;
            is_idle = state.is_idle();
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

    /// Waits until no call is being submitted, or all come to nothing. Streams are not waited for.
    pub(super) async fn ended(&self) {
        // The sender lives as long as this does.
        let _ = self.state.subscribe().wait_for(|state| state.calls == 0 || state.is_over).await;
    }
}

/// Something that is being submitted.
pub(super) struct Active {
    submissions: Arc<Submissions>,
    is_stream: bool,
}

impl Drop for Active {
    fn drop(&mut self) {
        let Submissions { backend, state } = &*self.submissions;
        let mut is_last = false;
        // Closed before anybody sees that it has ended.
        state.send_modify(|state| {
            let left = state.calls + state.streams;
            is_last = state.is_closing && !state.is_over && left == 1;
            if !is_last {
                *state.count(self.is_stream) -= 1;
            }
        });
        if is_last {
            match backend {
                Backend::Workers(pool) => pool.close_unheard(),
                Backend::Threads(threads) => threads.close(),
            }
            state.send_modify(|state| *state.count(self.is_stream) = 0);
        }
    }
}
