//! What the tests that cross crates share: a server on a port of its own.

pub mod before;
pub mod clock;
pub mod daemon;
pub mod fault_proxy;
pub mod faults;
pub mod fuzz;
pub mod linear;
pub mod log;
pub mod python;
pub mod raw;
pub mod resource;
pub mod rogue;
pub mod tls;
pub mod victim;
pub mod wire;

use std::{future::Future, path::Path, thread, time::Duration};

use mp_manager_server::{Address, Handle, Options, Server};
use tokio::sync::oneshot;

/// The authkey of every server here.
pub const AUTHKEY: &str = "the tests' authkey";

/// A server on threads of its own, which ends when this is dropped.
#[derive(Debug)]
pub struct TestServer {
    address: Address,
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl TestServer {
    /// A server on a loopback port with the default options.
    #[must_use]
    pub fn start() -> Self {
        Self::with(|_| {})
    }

    /// A server on a loopback port with its options changed.
    #[must_use]
    pub fn with(change: impl FnOnce(&mut Options)) -> Self {
        Self::at("127.0.0.1:0", change)
    }

    /// A server that others could reach, and thus speaks TLS, with its options changed.
    #[must_use]
    pub fn with_tls(change: impl FnOnce(&mut Options)) -> Self {
        Self::at("0.0.0.0:0", change)
    }

    /// A server on a unix socket in `directory` with the default options.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        Self::at(&format!("unix:{}", directory.join("socket").display()), |_| {})
    }

    /// A server anywhere, with its options changed.
    #[must_use]
    pub fn at(address: &str, change: impl FnOnce(&mut Options)) -> Self {
        let address = address.parse().unwrap_or_else(|error| panic!("{error}"));
        let mut options = Options::new(AUTHKEY);
        // Its clients share a thread with whoever drops it: they could not take note anyway.
        options.shutdown_grace = Duration::ZERO;
        change(&mut options);
        let (stop, stopped) = oneshot::channel();
        let (started, server) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || serve(&address, options, stopped, &started));
        let (address, handle) =
            server.recv().unwrap_or_else(|_| panic!("the server did not start"));
        Self { address, handle, stop: Some(stop), thread: Some(thread) }
    }

    /// Where clients on this machine find it: `HOST:PORT` if it speaks plain text.
    #[must_use]
    pub fn address(&self) -> String {
        let address = self.address.to_string().replace("0.0.0.0", "127.0.0.1");
        address.strip_prefix("tcp://").map_or_else(|| address.clone(), str::to_owned)
    }

    /// What changes it while it runs.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits for what is to happen by itself; a test that hangs fails.
///
/// # Panics
/// If it takes longer than anything here can take.
pub async fn within<F: Future>(future: F) -> F::Output {
    let Ok(output) = tokio::time::timeout(Duration::from_secs(100), future).await else {
        panic!("it hangs")
    };
    output
}

fn serve(
    address: &Address,
    options: Options,
    stop: oneshot::Receiver<()>,
    started: &std::sync::mpsc::Sender<(Address, Handle)>,
) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap_or_else(|error| panic!("no runtime: {error}"));
    runtime.block_on(async {
        let server = Server::bind(address, options)
            .await
            .unwrap_or_else(|error| panic!("cannot start a server: {error}"));
        let _ = started.send((server.address().clone(), server.handle()));
        let served = server.run(async { drop(stop.await) }).await;
        served.unwrap_or_else(|error| panic!("the server failed: {error}"));
    });
    runtime.shutdown_background();
}
