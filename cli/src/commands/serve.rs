//! `mp-manager serve`

use std::{num::NonZero, path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use mp_manager_server::{Address, Identity, Limits, Pem, Server, Tls};
use rustix::process::Signal;
use tokio::{sync::oneshot, task::spawn_blocking};

use crate::{
    authkey, descriptors,
    error::{Error, signal_code},
    notify::ServiceManager,
    options::Options,
    output, parse,
    parse::Bytes,
    reload::Reload,
    signals::{Signals, heeded},
};

/// More than these would be a slip of the finger.
const MAX_THREADS: usize = 1024;

/// Serve shared objects until SIGTERM or SIGINT
///
/// Prints `listening on ADDRESS` when it is ready; port 0 picks a free port. Without an authkey it
/// listens only where no other machine can reach it.
///
/// Where other machines can reach it, it speaks TLS. It needs no certificate for that: without
/// --tls-cert it makes one when it starts, or uses the one it has made in its --state-dir, and clients
/// accept it because the manager proves the authkey with it. `mp-manager cert` prints it for clients in
/// other languages, which may have to pin it.
///
/// Under systemd it is a service of Type=notify or notify-reload: it says when it listens, reads its files again
/// and stops, and with WatchdogSec= that it serves.
///
/// SIGTERM and SIGINT (Ctrl-C) shut it down, and a second one of them ends it at once, with 128+N. So do SIGQUIT,
/// SIGUSR1 and SIGUSR2, which it does not handle.
///
/// SIGHUP makes it read its authkeys and certificates again. To replace an authkey, write a new one
/// above the old one with `mp-manager keygen FILE --add`, send SIGHUP, give the new one to the
/// clients, remove the old one, and send SIGHUP again. Sessions that are open go on.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Only clients that show a certificate of these authorities get in, a PEM file
    #[arg(long, value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
    /// Speak plain text, even where others on the way can read and change it
    #[arg(long)]
    insecure: bool,
    /// Take authkeys of less than 16 bytes, even where other machines can try to guess them
    #[arg(long)]
    allow_weak_authkey: bool,
    /// Take authkeys from a file that every user of this machine can read, even where other machines
    /// can reach the manager
    #[arg(long)]
    allow_readable_authkey: bool,
    /// How long a connection has to authenticate
    #[arg(long, value_name = "SECONDS", value_parser = parse::seconds, allow_negative_numbers = true, default_value = "5")]
    handshake_timeout: Duration,
    /// How long clients have to take note of a shutdown
    #[arg(long, value_name = "SECONDS", value_parser = parse::seconds, allow_negative_numbers = true, default_value = "2")]
    shutdown_grace: Duration,
    /// A directory that keeps fencing tokens rising across restarts, even if the clock is set back, and
    /// the manager's own certificate; without it tokens start at the clock's time, and each start makes
    /// another certificate [default: $STATE_DIRECTORY]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Serve metrics for Prometheus at http://HOST:PORT/metrics. Nobody authenticates there, and the names of queues
    /// and pools are among them: use a loopback address, or one of a private network
    #[arg(long, value_name = "HOST:PORT", value_parser = http_address)]
    metrics_address: Option<Address>,
    /// Threads that serve connections; each connection stays on one of them [default: all processors but one, 8 at most]
    #[arg(long, value_name = "N", value_parser = threads, allow_negative_numbers = true)]
    threads: Option<NonZero<usize>>,
    #[command(flatten)]
    limits: LimitOptions,
}

/// As many threads as a process can be expected to have.
fn threads(text: &str) -> Result<NonZero<usize>, String> {
    match text.parse() {
        Ok(count @ 1..=MAX_THREADS) => NonZero::new(count),
        _ => None,
    }
    .ok_or_else(|| format!("it is not a number from 1 to {MAX_THREADS}"))
}

/// An address that has no scheme: what is spoken there is HTTP.
fn http_address(text: &str) -> Result<Address, String> {
    let is_place = !text.contains("://") && !text.starts_with("unix:") && text.contains(':');
    match format!("tcp://{text}").parse() {
        Ok(address) if is_place => Ok(address),
        _ => Err("it is not HOST:PORT, such as 127.0.0.1:9117 or [::1]:0".into()),
    }
}

/// Defines an option for each limit, whose default is the limit's.
macro_rules! limit_options {
    ($($(#[doc = $doc:literal])* $limit:ident: $type:ty,)*) => {
        #[derive(Debug, Args)]
        #[command(next_help_heading = "Limits")]
        struct LimitOptions {
            $(
                $(#[doc = $doc])*
                #[arg(
                    long,
                    value_name = "N",
                    allow_negative_numbers = true,
                    default_value_t = Limits::default().$limit.into(),
                )]
                $limit: $type,
            )*
        }

        impl LimitOptions {
            fn limits(&self) -> Limits {
                let mut limits = Limits::default();
                $(limits.$limit = self.$limit.into();)*
                limits
            }
        }
    };
}

limit_options! {
    /// The longest name of an object
    max_name_bytes: Bytes,
    /// The longest key of a dict, element of a set, or attribute name
    max_key_bytes: Bytes,
    /// The longest value
    max_value_bytes: Bytes,
    /// The longest frame a client may send; decoding takes no more than 16 of them
    max_frame_bytes: Bytes,
    /// Requests in one frame
    max_requests_per_frame: usize,
    /// Requests of one session that are not acknowledged; nine tenths of them may wait
    max_open_requests: usize,
    /// Calls of one session that wait inside objects
    max_parked_calls: usize,
    /// What replies to one session weigh that are not acknowledged
    max_unacknowledged_bytes: Bytes,
    /// Objects in all
    max_objects: usize,
    /// Sessions at a time
    max_sessions: usize,
    /// Connections at a time
    max_connections: usize,
    /// Connections of one address at a time
    max_connections_per_peer: usize,
    /// Connections at a time that have not authenticated
    max_unauthenticated_connections: usize,
    /// Failed handshakes and broken rules of one address; one is forgiven every 100 ms
    max_failed_handshakes: usize,
    /// Memory for objects, sessions and calls together
    max_memory_bytes: Bytes,
}

impl Serve {
    pub(crate) async fn run(self, options: &Options) -> Result<ExitCode, Error> {
        let address = options.address.to_serve(self.insecure)?;
        let keys = authkey::for_server(&address, options.authkey_file.as_deref())?;
        let is_readable_allowed = self.allow_readable_authkey || address.is_local();
        if !is_readable_allowed {
            keys.refuse_if_exposed()?;
        }
        let tls = self.tls(options)?;
        let mut server_options = mp_manager_server::Options::default();
        server_options.authkeys = keys.authkeys.clone();
        server_options.tls = tls.clone();
        server_options.insecure = self.insecure;
        server_options.allow_weak_authkey = self.allow_weak_authkey;
        server_options.limits = self.limits.limits();
        server_options.handshake_timeout = self.handshake_timeout;
        server_options.shutdown_grace = self.shutdown_grace;
        server_options.state_dir = self.state_dir.clone().or_else(default_state_dir);
        server_options.metrics_address = self.metrics_address.clone();
        server_options.threads = self.threads.unwrap_or(server_options.threads);
        let has_state_dir = server_options.state_dir.is_some();
        let connections = server_options.limits.max_connections;
        descriptors::allow(connections, connections, "lower --max-connections");
        let signals =
            Signals::new(&[&[Signal::TERM, Signal::HUP], &heeded(&[Signal::INT])[..]].concat())?;
        let server = Server::bind(&address, server_options).await?;
        #[cfg(feature = "jemalloc")]
        crate::allocator::return_unused_memory();
        tracing::info!("{keys}");
        if !has_state_dir {
            tracing::warn!(
                "fencing tokens start at the clock's time, and fall if it was set back: --state-dir \
                 DIR keeps them rising"
            );
        }
        keys.warn_if_exposed();
        let is_in_files = tls.identity.is_some() || tls.client_ca.is_some();
        let reload = Reload {
            handle: server.handle(),
            authkey_file: keys.file,
            is_readable_allowed,
            tls: is_in_files.then_some(tls),
        };
        let service_manager = ServiceManager::from_environment();
        announce(&server);
        let status = format!("listening on {}", server.address());
        service_manager.ready(&status).await;
        tokio::spawn(service_manager.clone().keep_alive(server.handle()));
        let mut daemon = Daemon { signals, reload, service_manager, status };
        daemon.serve_until_signal(server).await
    }

    fn tls(&self, options: &Options) -> Result<Tls, Error> {
        if options.tls.ca().is_some() {
            tracing::warn!("--tls-ca is for clients: --tls-client-ca says whom a manager trusts");
        }
        let mut tls = Tls::default();
        tls.identity = options.tls.identity()?.map(|(certificate, key)| Identity {
            certificate: certificate.into(),
            key: key.into(),
        });
        tls.client_ca = self.tls_client_ca.clone().map(Pem::from);
        Ok(tls)
    }
}

/// The first directory of `$STATE_DIRECTORY`, which systemd sets for a service with `StateDirectory=`.
fn default_state_dir() -> Option<PathBuf> {
    let directories = std::env::var_os("STATE_DIRECTORY")?;
    std::env::split_paths(&directories).next().filter(|path| !path.as_os_str().is_empty())
}

/// Prints where the server listens. Clients are served even if nobody can read that.
fn announce(server: &Server) {
    let mut text = format!("listening on {}", server.address());
    if let Some(url) = server.metrics_url() {
        text += &format!("\nmetrics on {url}");
    }
    spawn_blocking(move || {
        if let Err(error) = output::print_line(&text) {
            tracing::warn!("{}; {error}", text.replace('\n', ", "));
        }
    });
}

/// A server's signals, its reloads, and its service manager.
struct Daemon {
    signals: Signals,
    reload: Reload,
    service_manager: ServiceManager,
    /// The line that the service manager shows for it.
    status: String,
}

impl Daemon {
    /// The first signal stops the server, the second does not wait for that.
    async fn serve_until_signal(&mut self, server: Server) -> Result<ExitCode, Error> {
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = server.run(async {
            let _ = stopped.await;
        });
        tokio::pin!(serving);
        let signal = tokio::select! {
            result = &mut serving => {
                self.service_manager.stopping().await;
                return finished(result);
            }
            signal = self.ending() => signal,
        };
        tracing::info!("shutting down on signal {}", signal.as_raw());
        drop(stop);
        let service_manager = self.service_manager.clone();
        let ended = async { tokio::join!(serving, service_manager.stopping()).0 };
        tokio::select! {
            result = ended => finished(result),
            signal = self.ending() => Ok(signal_code(signal.as_raw()).into()),
        }
    }

    /// The next signal that is to end the server.
    async fn ending(&mut self) -> Signal {
        loop {
            match self.signals.next().await.signal {
                Signal::HUP => {
                    self.service_manager.reloading().await;
                    self.reload.reload();
                    self.service_manager.ready(&self.status).await;
                }
                signal => return signal,
            }
        }
    }
}

fn finished(result: Result<(), mp_manager_server::ServeError>) -> Result<ExitCode, Error> {
    result?;
    tracing::info!("shut down");
    Ok(ExitCode::SUCCESS)
}
