//! A server from its beginning to its end.

use std::{
    convert::Infallible,
    future::{Future, pending},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use mp_manager_proto::{address::Address, tls::ALPN};
use tokio::{sync::mpsc, task::spawn_blocking, time::timeout};

use crate::{
    acceptor::Acceptor,
    authkeys::Authkeys,
    deadlines,
    error::ServeError,
    handle::{Handle, Probe},
    host::Host,
    identity::Own,
    inside::Inside,
    leases,
    listener::Listener,
    metrics::Metrics,
    options::Options,
    reservation::Reservation,
    state_dir::StateDir,
    threads::Threads,
    tls::Terminator,
};

/// A server that is bound to its address.
pub struct Server {
    host: Arc<Host>,
    listener: Listener,
    threads: Arc<Threads>,
    address: Address,
    terminator: Option<Arc<Terminator>>,
    metrics: Option<Metrics>,
    probe: mpsc::Sender<Probe>,
    probes: mpsc::Receiver<Probe>,
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
        let count = options.threads;
        let threads = Threads::start(count)
            .map_err(|source| ServeError::Threads { count: count.get(), source })?;
        let now_us = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let now_us = u64::try_from(now_us).unwrap_or(u64::MAX / 2);
        let reserved = Reservation::new(state, now_us)?;
        let (listener, bound) = Listener::bind(address, terminator.clone())
            .await
            .map_err(|source| ServeError::Bind { address: address.clone(), source })?;
        let metrics = match &options.metrics_address {
            Some(address) => Some(Metrics::bind(address).await?),
            None => None,
        };
        let (probe, probes) = mpsc::channel(1);
        let host = Host::new(options, authkeys, server_id, reserved, random()?);
        let host = Arc::new(host);
        Ok(Self {
            host,
            listener,
            threads: Arc::new(threads),
            address: bound,
            terminator,
            metrics,
            probe,
            probes,
        })
    }

    /// Where it listens; a port of 0 has become the port that was picked.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Where it serves metrics, as an URL.
    #[must_use]
    pub fn metrics_url(&self) -> Option<String> {
        self.metrics.as_ref().map(Metrics::url)
    }

    /// What begins sessions of this process. It has to be called on the runtime that the server runs on.
    #[must_use]
    pub fn inside(&self) -> Inside {
        Inside::new(&self.host)
    }

    /// What changes it while it runs.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle {
            address: self.address.clone(),
            authkeys: Arc::clone(&self.host.authkeys),
            terminator: self.terminator.clone(),
            probes: self.probe.clone(),
        }
    }

    /// Serves until `shutdown` completes or a client asks for it. Clients are told, and have
    /// [`Options::shutdown_grace`] to take note.
    ///
    /// # Errors
    /// None so far: what can go wrong is noticed by [`bind`](Self::bind).
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        let Self { host, listener, threads, metrics, probe, probes, .. } = self;
        // Otherwise nobody would ever be told that it is gone.
        drop(probe);
        tokio::select! {
            never = answer(probes, &threads, &host) => match never {},
            result = serve(&host, (listener, &threads), metrics, shutdown) => result,
        }
    }
}

/// Shows whoever asks that the server serves, in the task that accepts connections and on the threads that serve
/// them.
async fn answer(
    mut probes: mpsc::Receiver<Probe>,
    threads: &Threads,
    host: &Arc<Host>,
) -> Infallible {
    while let Some(probe) = probes.recv().await {
        let looks: Vec<_> = threads.runtimes().map(|runtime| runtime.spawn(look(host))).collect();
        tokio::spawn(async move {
            for look in looks {
                if look.await.is_err() {
                    return;
                }
            }
            // Whoever asked may have given up.
            let _ = probe.send(());
        });
    }
    pending().await
}

/// Needs the locks that all share: of sessions, names, leases and deadlines.
fn look(host: &Arc<Host>) -> impl Future<Output = ()> + Send + 'static {
    let host = Arc::clone(host);
    async move {
        let engine = &host.engine;
        let _ = (engine.statistics(), engine.next_tick(), engine.next_deadline());
    }
}

/// Serves until `shutdown` completes or a client asks for it, and comes to an end.
async fn serve(
    host: &Arc<Host>,
    (listener, threads): (Listener, &Arc<Threads>),
    metrics: Option<Metrics>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let _metrics = metrics.map(|metrics| metrics.serve(host));
    tokio::spawn(deadlines::run(Arc::downgrade(host)));
    tokio::spawn(leases::run(Arc::downgrade(host)));
    let acceptor = Acceptor::new(listener, Arc::clone(threads), host);
    tokio::select! {
        never = acceptor.accept() => match never {},
        never = host.reservation.keep(host.engine.reservation()) => match never {},
        () = shutdown => {}
        () = host.shutdown.notified() => {}
    }
    host.engine.shut_down();
    acceptor.shut_down().await;
    let ending = Arc::clone(host);
    let _ = spawn_blocking(move || ending.shut_down()).await;
    // Whoever has not taken note by then is cut off.
    let _ = timeout(host.options.shutdown_grace, acceptor.close()).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use tokio::sync::oneshot;

    use super::*;

    async fn bound() -> Server {
        let address = "127.0.0.1:0".parse().unwrap();
        Server::bind(&address, Options::new("a strong authkey")).await.unwrap()
    }

    #[tokio::test]
    async fn a_server_that_serves_answers_pings_and_one_that_hangs_does_not() {
        let server = bound().await;
        let handle = server.handle();
        let (stop, stopped) = oneshot::channel::<()>();
        let mut running = Box::pin(server.run(async { drop(stopped.await) }));
        // Nothing drives it but the polls here.
        let mut ping = Box::pin(handle.ping());
        let turns = async |ping: &mut (dyn Future<Output = bool> + Unpin)| {
            for _ in 0..100 {
                if let Poll::Ready(answered) = poll_once(ping).await {
                    return Some(answered);
                }
                tokio::task::yield_now().await;
            }
            None
        };
        assert_eq!(turns(&mut ping).await, None, "it is not run");
        let answered = tokio::select! {
            _ = &mut running => None,
            answered = &mut ping => Some(answered),
        };
        assert_eq!(answered, Some(true));
        drop(stop);
        running.await.unwrap();
        assert!(!handle.ping().await, "it has ended");
    }

    async fn poll_once(future: &mut (dyn Future<Output = bool> + Unpin)) -> Poll<bool> {
        std::future::poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx))).await
    }

    #[tokio::test]
    async fn metrics_are_served_by_http_alone() {
        for address in ["tls://127.0.0.1:0", "unix:/nowhere"] {
            let mut options = Options::new("a strong authkey");
            options.metrics_address = Some(address.parse().unwrap());
            let refused = Server::bind(&"127.0.0.1:0".parse().unwrap(), options).await;
            assert!(matches!(refused, Err(ServeError::NotHttp { .. })), "{address}");
        }
    }
}
