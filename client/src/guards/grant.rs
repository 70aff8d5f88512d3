//! Something held: a lock, a permit, a leased item. It can be lost, and whoever holds it can know.

use std::{fmt, sync::Arc};

use mp_manager_proto::v1::request;

use crate::{
    error::{Context, Error, Result},
    protocol::{Granted, Loss, LossListener, Scope, giving_back},
    rpc::{fence::Fence, object::Object, reply::Reply},
    session::{call::Call, link::Session, watcher::Watcher},
};

/// What a guard is made of. The guard decides what releasing means.
pub(crate) struct Grant {
    pub(crate) object: Object,
    pub(crate) token: u64,
    /// The session that holds it.
    incarnation: u64,
    watcher: Arc<Watcher>,
    release: fn(u64) -> request::Op,
}

impl Grant {
    /// `release` is what gives a grant of this kind back, by its token.
    pub(crate) fn new(object: Object, granted: Granted, release: fn(u64) -> request::Op) -> Self {
        let Granted { token, incarnation, .. } = granted;
        let watcher = Arc::new(Watcher::new());
        let grant = Self { object, token, incarnation, watcher, release };
        grant.note();
        grant
    }

    /// The fence that stands as long as it does.
    pub(crate) fn fence(&self) -> Fence {
        Fence::new(self.object.reference(), self.token)
    }

    fn session(&self) -> &Arc<Session> {
        &self.object.link().session
    }

    /// From now on its loss is told.
    fn note(&self) {
        let grant = (self.object.id(), self.token);
        self.session().note_grant(self.incarnation, grant, self.release, &self.watcher);
    }

    fn forget(&self) {
        self.session().forget_grant((self.object.id(), self.token), &self.watcher);
    }

    /// Whether it is known to be lost.
    pub(crate) fn is_lost(&self) -> bool {
        if self.watcher.loss().is_some() || !self.session().home.is_here() {
            return true;
        }
        self.session().look_at_lease();
        self.watcher.loss().is_some()
    }

    /// Completes when it is lost.
    pub(crate) fn lost(&self) -> impl Future<Output = ()> + use<> {
        let watcher = Arc::clone(&self.watcher);
        let is_here = self.session().home.is_here();
        async move {
            if is_here {
                watcher.lost().await;
            }
        }
    }

    /// Nothing is held for a while, so nothing can be lost. It is [renewed](Self::renew) afterwards, or
    /// [abandoned](Self::abandon).
    pub(crate) fn suspend(&self) {
        self.forget();
    }

    /// It goes on under another token.
    pub(crate) fn renew(&mut self, token: u64) {
        self.token = token;
        self.note();
    }

    /// It was suspended, and is over. By the token and not level by level: if the manager has let go
    /// of it already, there is nothing to release, and nothing that is granted later may be.
    pub(crate) fn abandon(&self) {
        // Its session may have been lost meanwhile, which is another thing.
        self.note();
        self.tell((self.release)(self.token));
        self.watcher.lose(Loss::Taken);
    }

    /// Gives it back, here and now: whoever drops the future gives up the reply only.
    pub(crate) fn give_back(
        &self,
        operation: &'static str,
        op: request::Op,
    ) -> impl Future<Output = Result<Reply>> + use<> {
        let scope = Scope::Session(self.incarnation);
        let call = Call::giving_back(self.session(), self.object.id(), op, scope);
        let object = self.object.clone();
        async move { object.reply(operation, call).await }
    }

    /// Gives it back, and nobody waits for the reply.
    pub(crate) fn tell(&self, op: request::Op) {
        let scope = Scope::Session(self.incarnation);
        self.session().send_detached(giving_back(self.object.id(), op), scope);
    }

    /// An error once it is lost: nothing that needs it may seem to succeed.
    pub(crate) fn check(&self, operation: &'static str) -> Result<()> {
        if !self.is_lost() {
            return Ok(());
        }
        if let Some(elsewhere) = self.session().elsewhere() {
            return Err(Error::refused(elsewhere, self.object.context(operation)));
        }
        let token = self.token;
        let loss = self.watcher.loss().unwrap_or(Loss::Session);
        let message = match loss {
            Loss::Taken => format!("the grant with token {token} was released by somebody else"),
            Loss::Lease => format!(
                "the grant with token {token} is lost: the manager was not heard for too long"
            ),
            Loss::Session => format!("the grant with token {token} was lost with its session"),
            Loss::Restart => {
                format!("the grant with token {token} is lost: the manager has started again")
            }
        };
        let hint = "stop what it protects, and acquire again".into();
        let context = self.object.context(operation);
        let context = Box::new(Context { message, hint, ..context });
        Err(match loss {
            Loss::Taken => Error::NotHeld(context),
            Loss::Lease | Loss::Session => Error::SessionLost(context),
            Loss::Restart => Error::ManagerRestarted(context),
        })
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
        self.forget();
    }
}
