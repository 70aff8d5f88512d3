//! A server from its beginning to its end.

use std::{
    future::Future,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use mp_manager_proto::{address::Address, tls::ALPN};
use tokio::{task::spawn_blocking, time::timeout};

use crate::{
    acceptor::Acceptor, authkeys::Authkeys, deadlines, error::ServeError, handle::Handle,
    host::Host, identity::Own, leases, listener::Listener, options::Options,
    reservation::Reservation, state_dir::StateDir, tls::Terminator,
};

/// A server that is bound to its address.
pub struct Server {
    host: Arc<Host>,
    listener: Listener,
    address: Address,
    terminator: Option<Arc<Terminator>>,
}

impl Server {
    /// Binds to an address. Clients can connect from now on; they are served by
    /// [`run`](Self::run).
    ///
    /// # Errors
    /// If the address cannot be listened on, the state directory cannot be used, there is no authkey, a limit
    /// is too low to serve anybody, or what is asked for is not safe there.
    pub async fn bind(address: &Address, mut options: Options) -> Result<Self, ServeError> {
        options.limits.check()?;
        let random = || getrandom::u64().map_err(ServeError::Random);
        let server_id = random()?;
        let authkeys = std::mem::take(&mut options.authkeys);
        let authkeys = Authkeys::new(authkeys, address, options.allow_weak_authkey, server_id)?;
        if matches!(address, Address::Tcp { .. }) && !address.is_local() {
            if !options.insecure {
                return Err(ServeError::PlainText { address: address.clone() });
            }
            tracing::warn!("plain text on {address}: others on the way can read and change it");
        }
        if !matches!(address, Address::Tls { .. }) && options.tls.is_set() {
            // Said in vain, it would be missed when it is too late.
            return Err(ServeError::NotTls { address: address.clone() });
        }
        let state = options.state_dir.as_deref().map(StateDir::open).transpose()?.map(Arc::new);
        let terminator = match address {
            Address::Tls { .. } => {
                let own = Own::new(state.as_ref());
                Some(Arc::new(Terminator::new(&options.tls, own, ALPN)?))
            }
            _ => None,
        };
        let now_us = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let now_us = u64::try_from(now_us).unwrap_or(u64::MAX / 2);
        let reserved = Reservation::new(state, now_us)?;
        let (listener, bound) = Listener::bind(address, terminator.clone())
            .await
            .map_err(|source| ServeError::Bind { address: address.clone(), source })?;
        let host = Host::new(options, authkeys, server_id, reserved, random()?);
        Ok(Self { host: Arc::new(host), listener, address: bound, terminator })
    }

    /// Where it listens; a port of 0 has become the port that was picked.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What changes it while it runs.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle {
            address: self.address.clone(),
            authkeys: Arc::clone(&self.host.authkeys),
            terminator: self.terminator.clone(),
        }
    }

    /// Serves until `shutdown` completes or a client asks for it. Clients are told, and have
    /// [`Options::shutdown_grace`] to take note.
    ///
    /// # Errors
    /// None so far: what can go wrong is noticed by [`bind`](Self::bind).
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        let Self { host, listener, .. } = self;
        tokio::spawn(deadlines::run(Arc::downgrade(&host)));
        tokio::spawn(leases::run(Arc::downgrade(&host)));
        let acceptor = Acceptor::new(listener, &host);
        tokio::select! {
            never = acceptor.accept() => match never {},
            never = host.reservation.keep(host.engine.reservation()) => match never {},
            () = shutdown => {}
            () = host.shutdown.notified() => {}
        }
        host.engine.shut_down();
        acceptor.shut_down().await;
        let ending = Arc::clone(&host);
        let _ = spawn_blocking(move || ending.shut_down()).await;
        // Whoever has not taken note by then is cut off.
        let _ = timeout(host.options.shutdown_grace, acceptor.close()).await;
        Ok(())
    }
}
