//! What can be changed about a running server.

use std::sync::Arc;

use mp_manager_proto::{address::Address, authkey::Authkey};

use tokio::sync::{mpsc, oneshot};

use crate::{
    authkeys::Authkeys,
    error::ServeError,
    tls::{Terminator, Tls},
};

/// Changes a running server. Connections that are open go on as they are; new ones, those that
/// resume a session among them, meet what is new.
#[derive(Clone)]
pub struct Handle {
    pub(crate) address: Address,
    pub(crate) authkeys: Arc<Authkeys>,
    pub(crate) terminator: Option<Arc<Terminator>>,
    pub(crate) probes: mpsc::Sender<Probe>,
}

/// Somebody who waits for a sign of life.
pub(crate) type Probe = oneshot::Sender<()>;

impl Handle {
    /// Completes when the server has shown that it serves: the task that accepts connections has had its turn,
    /// and so have all threads that serve them, which have found no lock of the engine stuck. While it is not
    /// [run](crate::Server::run), or hangs, this waits. Cancel safe.
    ///
    /// False if the server is gone.
    pub async fn ping(&self) -> bool {
        let (probe, answered) = oneshot::channel();
        self.probes.send(probe).await.is_ok() && answered.await.is_ok()
    }

    /// Lets in who knows one of these authkeys, and nobody else any more.
    ///
    /// # Errors
    /// As [`Server::bind`](crate::Server::bind) has them for authkeys; those before stay.
    pub fn set_authkeys(&self, authkeys: Vec<Authkey>) -> Result<(), ServeError> {
        self.authkeys.replace(authkeys)
    }

    /// Shows another certificate, or asks clients for other ones; files are read again.
    ///
    /// # Errors
    /// [`ServeError::Tls`] if that cannot be used: what was before stays. [`ServeError::NotTls`] if
    /// this server does not speak TLS.
    pub fn set_tls(&self, tls: &Tls) -> Result<(), ServeError> {
        match &self.terminator {
            Some(terminator) => Ok(terminator.replace(tls)?),
            None => Err(ServeError::NotTls { address: self.address.clone() }),
        }
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}
