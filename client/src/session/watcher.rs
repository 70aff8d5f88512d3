//! Tells the holder of a grant that it is lost.

use std::sync::Arc;

use tokio::sync::watch;

use crate::protocol::{Guard, Loss, LossListener};

/// What a guard knows of its grant. The first loss counts.
#[derive(Debug)]
pub(crate) struct Watcher {
    loss: watch::Sender<Option<Loss>>,
}

impl Watcher {
    pub(crate) fn new() -> Self {
        Self { loss: watch::Sender::new(None) }
    }

    /// As the machine notes it.
    pub(super) fn guard(self: &Arc<Self>) -> Guard {
        let listener = Arc::<Self>::clone(self);
        Guard { listener, loss: self.loss() }
    }

    pub(crate) fn loss(&self) -> Option<Loss> {
        *self.loss.borrow()
    }

    /// Completes when the grant is lost.
    pub(crate) async fn lost(&self) {
        // The sender lives as long as this does.
        let _ = self.loss.subscribe().wait_for(Option::is_some).await;
    }
}

impl LossListener for Watcher {
    fn lose(&self, loss: Loss) {
        self.loss.send_if_modified(|known| {
            let is_news = known.is_none();
            known.get_or_insert(loss);
            is_news
        });
    }
}
