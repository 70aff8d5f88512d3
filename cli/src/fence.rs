//! Writes that happen only while a lock is held.

use clap::Args;
use mp_manager::{Error, Fence, Manager, Open, Proxy, Unnamed};

/// The option of every command that writes data.
///
/// It is given and never inherited: a fenced command does not wait, and a fence stands on one
/// manager only. A script that does not know of its fence would behave differently under a lock.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Fenced {
    /// Write only while this grant stands: `mp-manager lock` tells its command as MP_MANAGER_FENCE.
    /// If it does not, the exit code is 73
    #[arg(long, value_name = "FENCE")]
    fence: Option<Fence>,
}

impl Fenced {
    /// Opens what is to be written to, which is created if need be; but not for whoever has lost the
    /// grant, as nothing may be written then.
    pub(crate) async fn open<P: Proxy>(
        &self,
        manager: &Manager,
        open: impl Fn(&Manager) -> Open<P>,
    ) -> mp_manager::Result<P> {
        let Some(fence) = self.fence else { return open(manager).await };
        match open(manager).existing().await {
            Err(Error::ObjectNotFound(_)) => {
                // The manager fences writes, and creating is none: one of no consequence tells.
                manager.dict::<u8, u8>(Unnamed).await?.fenced(fence).clear().await?;
                open(manager).await
            }
            opened => opened,
        }
    }

    pub(crate) fn is_given(&self) -> bool {
        self.fence.is_some()
    }

    /// The object as it is to be used, made by its `fenced` if there is a fence.
    pub(crate) fn apply<P>(&self, object: P, fenced: impl FnOnce(&P, Fence) -> P) -> P {
        match self.fence {
            Some(fence) => fenced(&object, fence),
            None => object,
        }
    }
}
