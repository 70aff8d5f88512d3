//! Where connections come in, and the task that runs each of them.

use std::{
    convert::Infallible,
    io,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::yield_now,
    time::{Instant, sleep, timeout},
};

use crate::{
    admission::Admission,
    connection::{Connection, Io, Socket},
    http::Http,
    listener::{Accepted, Listener},
    store::Store,
};

/// How long accepting pauses when the process has no file descriptors left: trying again at once
/// would spin.
const BACK_OFF: Duration = Duration::from_millis(50);

/// After so many connections the others have their turn.
const BATCH: usize = 64;

/// How long the refusal of a handshake that took too long may take to get through.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How long a client has to read what is left when its session is over.
const FAREWELL: Duration = Duration::from_secs(5);

/// How often it is logged that no connection can be accepted.
const WARN_EVERY: Duration = Duration::from_secs(1);

/// A listener, and the connections that came in through it.
pub(crate) struct Acceptor {
    listener: Listener,
    admission: Arc<Admission>,
    http: Http,
    store: Weak<Store>,
    handshake_timeout: Duration,
    /// A message closes all connections as soon as nobody uses them; its end cuts them off.
    stop: watch::Sender<()>,
}

impl Acceptor {
    pub(crate) fn new(listener: Listener, store: &Arc<Store>) -> Self {
        Self {
            listener,
            admission: Admission::new(store.limits()),
            http: Http::new(store),
            store: Arc::downgrade(store),
            handshake_timeout: store.options.handshake_timeout,
            stop: watch::Sender::new(()),
        }
    }

    /// Accepts connections until this is dropped.
    pub(crate) async fn accept(&self) -> Infallible {
        let mut warned = None;
        loop {
            for _ in 0..BATCH {
                match self.listener.accept().await {
                    Ok(accepted) => self.receive(accepted),
                    Err(error) => self.recover(&error, &mut warned).await,
                }
            }
            yield_now().await;
        }
    }

    /// Closes the listener at once, and connections as they are not used any more; those that are
    /// left when this is dropped are cut off.
    pub(crate) async fn close(self) {
        let Self { listener, stop, .. } = self;
        drop(listener);
        stop.send_replace(());
        stop.closed().await;
    }

    fn receive(&self, accepted: Accepted) {
        let Accepted { socket, peer, name, binding } = accepted;
        let (permit, refusal) = match self.admission.admit(peer) {
            Ok(permit) => (permit, None),
            // Those few who are told why get a connection, to be told on.
            Err(refusal) if self.admission.log_refusal(peer, &name, &refusal.message) => {
                (self.admission.turn_away(peer), Some(refusal))
            }
            Err(_) => return dismiss(&socket),
        };
        socket.set_nodelay();
        let store = Weak::clone(&self.store);
        let connection = Arc::new(Connection::new(name, binding, permit, refusal, store));
        let (http, stop) = (self.http.clone(), self.stop.subscribe());
        tokio::spawn(run(socket, connection, http, stop, self.handshake_timeout));
    }

    async fn recover(&self, error: &io::Error, warned: &mut Option<Instant>) {
        // What went wrong with one connection says nothing of the next one.
        if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
        {
            return;
        }
        if warned.is_none_or(|warned| warned.elapsed() >= WARN_EVERY) {
            *warned = Some(Instant::now());
            tracing::warn!(%error, "cannot accept connections");
        }
        self.admission.make_room();
        sleep(BACK_OFF).await;
    }
}

/// Turns a connection away as cheaply as possible: the system need not remember it, either.
fn dismiss(socket: &Socket) {
    if let Socket::Tcp(socket) = socket {
        let _ = socket.set_zero_linger();
    }
}

/// Runs a connection to its end. Whatever it waits for, dropping this closes it.
async fn run(
    socket: Socket,
    connection: Arc<Connection>,
    http: Http,
    stop: watch::Receiver<()>,
    handshake_timeout: Duration,
) {
    tokio::select! {
        () = serve(socket, &connection, &http, stop) => {}
        () = overstayed(&connection, handshake_timeout) => {
            tracing::debug!(peer = connection.peer, "no handshake in time");
        }
        () = connection.permit.closed() => {}
    }
}

/// Completes when the client has had its time to get in.
async fn overstayed(connection: &Connection, handshake_timeout: Duration) {
    // A handshake that takes too long is refused in words.
    sleep(handshake_timeout.saturating_add(LAST_WORDS)).await;
    if connection.is_authenticated() {
        sleep(handshake_timeout).await;
    }
    if connection.is_in_use() {
        std::future::pending().await
    }
}

async fn serve(
    socket: Socket,
    connection: &Arc<Connection>,
    http: &Http,
    mut stop: watch::Receiver<()>,
) {
    // HTTP/2 has buffers, which are for those who have something to say.
    tokio::select! {
        spoken = socket.speaks() => if spoken.is_err() { return },
        _ = stop.changed() => return,
    }
    let io = Io::new(socket, Arc::clone(connection));
    let mut serving = Box::pin(http.serve(io, Arc::clone(connection)));
    tokio::select! {
        result = &mut serving => return log_end(connection, result),
        () = connection.wait_for_end_of_session() => {
            serving.as_mut().graceful_shutdown();
            // Also a client that does not read has to go.
            let _ = timeout(FAREWELL, &mut serving).await;
            return;
        }
        told = stop.changed() => if told.is_err() { return },
    }
    serving.as_mut().graceful_shutdown();
    tokio::select! {
        result = &mut serving => log_end(connection, result),
        _ = stop.changed() => {}
    }
}

fn log_end(connection: &Connection, result: hyper::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(peer = connection.peer, %error, "connection ended");
    }
}
