//! Tells the holder of a grant that it is lost.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::protocol::{Guard, GuardId, Loss};

static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// What a guard knows of its grant. The first loss counts.
#[derive(Debug)]
pub(crate) struct Watcher {
    id: GuardId,
    loss: watch::Sender<Option<Loss>>,
}

impl Watcher {
    pub(crate) fn new() -> Self {
        let id = GuardId(NUMBERS.fetch_add(1, Ordering::Relaxed));
        Self { id, loss: watch::Sender::new(None) }
    }

    pub(crate) fn id(&self) -> GuardId {
        self.id
    }

    /// As the machine notes it.
    pub(super) fn guard(&self) -> Guard {
        Guard { id: self.id, loss: self.loss() }
    }

    pub(crate) fn loss(&self) -> Option<Loss> {
        *self.loss.borrow()
    }

    pub(crate) fn lose(&self, loss: Loss) {
        self.loss.send_if_modified(|known| {
            let is_news = known.is_none();
            known.get_or_insert(loss);
            is_news
        });
    }

    /// Completes when the grant is lost.
    pub(crate) async fn lost(&self) {
        // The sender lives as long as this does.
        let _ = self.loss.subscribe().wait_for(Option::is_some).await;
    }
}
