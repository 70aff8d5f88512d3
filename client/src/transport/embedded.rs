//! A manager inside this process.

use std::{env::temp_dir, thread};

use mp_manager_proto::{address::Address, authkey::Authkey};
use mp_manager_server::{Inside, Options, ServeError, Server};
use tokio::{sync::oneshot, task::spawn_blocking};

use crate::{
    error::{Error, Result},
    transport::private_directory::{PrivateDirectory, sweep},
};

/// A server on threads of its own, which ends when this is dropped.
pub(crate) struct Embedded {
    pub(crate) address: Address,
    /// Begins sessions of this process.
    pub(crate) inside: Inside,
    /// The server ends when this is dropped.
    #[expect(dead_code, reason = "kept to be dropped")]
    stop: oneshot::Sender<()>,
    /// Whoever drops this removes the socket, and need not wait for the server's threads.
    #[expect(dead_code, reason = "kept to be dropped")]
    directory: Option<PrivateDirectory>,
}

impl Embedded {
    /// Starts a server on a private unix socket, or on a loopback port where there are none.
    pub(crate) async fn start(authkeys: Vec<Authkey>) -> Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let (started, start) = oneshot::channel();
        let mut options = Options::default();
        options.authkeys = authkeys;
        options.ephemeral = true;
        thread::Builder::new()
            .name("mp-manager-server".into())
            .spawn(move || serve(options, stopped, started))
            .map_err(|error| cannot_start(&error))?;
        let (address, inside, directory) = start.await.map_err(|error| cannot_start(&error))??;
        Ok(Self { address, inside, stop, directory })
    }
}

type Started = oneshot::Sender<Result<(Address, Inside, Option<PrivateDirectory>)>>;

fn serve(options: Options, stopped: oneshot::Receiver<()>, started: Started) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .thread_name("mp-manager-blocking")
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = started.send(Err(cannot_start(&error)));
            return;
        }
    };
    runtime.block_on(async {
        let (server, directory) = match bind(options).await {
            Ok(bound) => bound,
            Err(error) => {
                let _ = started.send(Err(cannot_start(&error)));
                return;
            }
        };
        let _ = started.send(Ok((server.address().clone(), server.inside(), directory)));
        // Nobody waits for it.
        spawn_blocking(|| sweep(&temp_dir()));
        let serving = server.run(async {
            // Dropping the sender stops it as well.
            let _ = stopped.await;
        });
        // The transport's failures end the clients' sessions, where they are seen.
        let _ = serving.await;
    });
    runtime.shutdown_background();
}

async fn bind(options: Options) -> Result<(Server, Option<PrivateDirectory>), ServeError> {
    if let Ok(directory) = PrivateDirectory::create_in(&temp_dir()) {
        let address = Address::Unix(directory.socket());
        if let Ok(server) = Server::bind(&address, options.clone()).await {
            return Ok((server, Some(directory)));
        }
    }
    let loopback = Address::Tcp { host: "127.0.0.1".into(), port: 0 };
    Ok((Server::bind(&loopback, options).await?, None))
}

/// For a manager that nobody has to find but those who are told.
pub(crate) fn random_authkey() -> Result<Authkey> {
    let mut key = [0_u8; 32];
    getrandom::fill(&mut key).map_err(|error| cannot_start(&error))?;
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Authkey::from(hex))
}

fn cannot_start(error: &impl std::fmt::Display) -> Error {
    Error::Configuration(format!("cannot start an embedded manager: {error}"))
}
