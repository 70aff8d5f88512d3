//! A manager inside this process.

use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use mp_manager_proto::{address::Address, authkey::Authkey};
use mp_manager_server::{Options, ServeError, Server};
use tokio::sync::oneshot;

use crate::error::{Error, Result};

/// How long dropping it waits for its socket to be gone.
const STOP_TIME: Duration = Duration::from_millis(100);

/// A server on threads of its own, which ends when this is dropped.
pub(crate) struct Embedded {
    pub(crate) address: Address,
    pub(crate) authkey: Authkey,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    stopped: Mutex<mpsc::Receiver<()>>,
}

impl Embedded {
    /// Starts a server on a private unix socket, or on a loopback port where there are none.
    pub(crate) async fn start() -> Result<Self> {
        let authkey = random_authkey()?;
        let (stop, wait) = oneshot::channel();
        let (done, stopped) = mpsc::channel();
        let (started, start) = oneshot::channel();
        let options = Options::new(&authkey);
        thread::Builder::new()
            .name("mp-manager-server".into())
            .spawn(move || serve(options, wait, started, &done))
            .map_err(|error| cannot_start(&error))?;
        let address = start.await.map_err(|error| cannot_start(&error))??;
        let (stop, stopped) = (Mutex::new(Some(stop)), Mutex::new(stopped));
        Ok(Self { address, authkey, stop, stopped })
    }

    /// Stops the server and waits, briefly, until its socket is gone.
    pub(crate) fn stop(&self) {
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        if stop.is_some() {
            drop(stop);
            let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = stopped.recv_timeout(STOP_TIME);
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.stop();
    }
}

type Started = oneshot::Sender<Result<Address>>;

fn serve(options: Options, stop: oneshot::Receiver<()>, started: Started, done: &mpsc::Sender<()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(thread::available_parallelism().map_or(2, |n| n.get().min(4)))
        .thread_name("mp-manager-server")
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
        let _ = started.send(Ok(server.address().clone()));
        let serving = server.run(async {
            // Dropping the sender stops it as well.
            let _ = stop.await;
            drop(directory);
            let _ = done.send(());
        });
        // The transport's failures end the clients' sessions, where they are seen.
        let _ = serving.await;
    });
    runtime.shutdown_background();
}

async fn bind(options: Options) -> Result<(Server, Option<PrivateDirectory>), ServeError> {
    if let Ok(directory) = PrivateDirectory::create() {
        let address = Address::Unix(directory.0.join("manager.sock"));
        if let Ok(server) = Server::bind(&address, options.clone()).await {
            return Ok((server, Some(directory)));
        }
    }
    let loopback = Address::Tcp { host: "127.0.0.1".into(), port: 0 };
    Ok((Server::bind(&loopback, options).await?, None))
}

/// A directory that only this user can enter; gone when this is dropped.
struct PrivateDirectory(PathBuf);

impl PrivateDirectory {
    fn create() -> std::io::Result<Self> {
        let unique = getrandom::u64().map_err(std::io::Error::other)?;
        let path = std::env::temp_dir().join(format!("mp-manager-{unique:016x}"));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        // Gone already if somebody tidied up: that is as well.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn random_authkey() -> Result<Authkey> {
    let mut key = [0_u8; 32];
    getrandom::fill(&mut key).map_err(|error| cannot_start(&error))?;
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Authkey::from(hex))
}

fn cannot_start(error: &impl std::fmt::Display) -> Error {
    Error::Configuration(format!("cannot start an embedded manager: {error}"))
}
