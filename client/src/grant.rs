//! Something held: a lock, a permit, a leased item. It can be lost, and whoever holds it can know.

use std::{fmt, sync::Arc};

use tokio::sync::watch;

use crate::{
    error::{Context, Error, Result},
    object::Object,
};

/// What a guard is made of. The guard decides what releasing means.
pub(crate) struct Grant {
    pub(crate) object: Object,
    pub(crate) token: u64,
    lost: Arc<watch::Sender<bool>>,
}

impl Grant {
    pub(crate) fn new(object: Object, token: u64) -> Self {
        let lost = object.link().register_grant(object.id(), token);
        Self { object, token, lost }
    }

    /// Whether it is known to be lost.
    pub(crate) fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }

    /// Completes when it is lost.
    pub(crate) fn lost(&self) -> impl Future<Output = ()> + use<> {
        // The sender goes along: it must not close while we wait.
        let lost = Arc::clone(&self.lost);
        async move {
            let _ = lost.subscribe().wait_for(|lost| *lost).await;
        }
    }

    /// It goes on under another token.
    pub(crate) fn renew(&mut self, token: u64) {
        self.object.link().renew_grant(self.object.id(), self.token, token);
        self.token = token;
    }

    /// An error once it is lost: nothing that needs it may seem to succeed.
    pub(crate) fn check(&self, operation: &'static str) -> Result<()> {
        if !self.is_lost() {
            return Ok(());
        }
        let context = self.object.context(operation);
        let lost_session = self.object.link().shared.has_ended();
        let message = if lost_session {
            format!("the grant with token {} was lost with its session", self.token)
        } else {
            format!("the grant with token {} was released by somebody else", self.token)
        };
        let hint = "stop what it protects, and acquire again".into();
        let context = Box::new(Context { message, hint, ..context });
        Err(if lost_session { Error::SessionLost(context) } else { Error::NotHeld(context) })
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token {} of {}", self.token, self.object)?;
        if self.is_lost() { f.write_str(", lost") } else { Ok(()) }
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.object.link().forget_grant(self.object.id(), self.token, &self.lost);
    }
}
