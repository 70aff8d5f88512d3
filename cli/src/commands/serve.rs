//! `mp-manager serve`

use std::{process::ExitCode, time::Duration};

use clap::Args;
use mp_manager_server::{Limits, Server};
use rustix::process::Signal;
use tokio::{runtime::Builder, sync::oneshot};

use crate::{
    authkey, descriptors,
    error::{Error, signal_code},
    options::Options,
    output, parse,
    parse::Bytes,
    signals::Signals,
};

/// Serve shared objects until SIGTERM or SIGINT
///
/// Prints `listening on ADDRESS` when it is ready; port 0 picks a free port. Without an authkey it
/// listens only where no other machine can reach it.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// How long a connection has to authenticate
    #[arg(long, value_name = "SECONDS", value_parser = parse::seconds, default_value = "5")]
    handshake_timeout: Duration,
    /// How long clients have to take note of a shutdown
    #[arg(long, value_name = "SECONDS", value_parser = parse::seconds, default_value = "2")]
    shutdown_grace: Duration,
    #[command(flatten)]
    limits: LimitOptions,
}

/// Defines an option for each limit, whose default is the limit's.
macro_rules! limit_options {
    ($($(#[doc = $doc:literal])* $limit:ident: $type:ty,)*) => {
        #[derive(Debug, Args)]
        #[command(next_help_heading = "Limits")]
        struct LimitOptions {
            $(
                $(#[doc = $doc])*
                #[arg(long, value_name = "N", default_value_t = Limits::default().$limit.into())]
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
    /// The longest frame a client may send
    max_frame_bytes: Bytes,
    /// Requests in one frame
    max_requests_per_frame: usize,
    /// Requests of one session without a reply
    max_open_requests: usize,
    /// Calls of one session that wait inside objects
    max_parked_calls: usize,
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
    /// Failed handshakes of one address in a row; one is forgiven every 100 ms
    max_failed_handshakes: usize,
    /// Memory for the contents of all objects
    max_memory_bytes: Bytes,
}

impl Serve {
    pub(crate) fn run(self, options: &Options) -> Result<ExitCode, Error> {
        let runtime =
            Builder::new_multi_thread().enable_all().build().map_err(Error::io("cannot start"))?;
        let result = runtime.block_on(self.serve(options));
        // What still runs must not keep us.
        runtime.shutdown_background();
        result
    }

    async fn serve(self, options: &Options) -> Result<ExitCode, Error> {
        let key = authkey::for_server(&options.address, options.authkey_file.as_deref())?;
        let mut server_options = mp_manager_server::Options::new(key.authkey);
        server_options.limits = self.limits.limits();
        server_options.handshake_timeout = self.handshake_timeout;
        server_options.shutdown_grace = self.shutdown_grace;
        descriptors::allow(server_options.limits.max_connections);
        let server = Server::bind(&options.address, server_options).await?;
        tracing::info!("the authkey is from {}", key.origin);
        let signals = Signals::new(&[Signal::TERM, Signal::INT])?;
        output::print_line(&format!("listening on {}", server.address()))?;
        serve_until_signal(server, signals).await
    }
}

/// The first signal stops the server, the second does not wait for that.
async fn serve_until_signal(server: Server, mut signals: Signals) -> Result<ExitCode, Error> {
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = server.run(async {
        let _ = stopped.await;
    });
    tokio::pin!(serving);
    let signal = tokio::select! {
        result = &mut serving => return finished(result),
        signal = signals.next() => signal,
    };
    tracing::info!("shutting down on signal {}", signal.as_raw());
    drop(stop);
    tokio::select! {
        result = serving => finished(result),
        signal = signals.next() => Ok(signal_code(signal.as_raw())),
    }
}

fn finished(result: Result<(), mp_manager_server::ServeError>) -> Result<ExitCode, Error> {
    result?;
    tracing::info!("shut down");
    Ok(ExitCode::SUCCESS)
}
