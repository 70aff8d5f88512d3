//! Where connections come in, and the task that runs each of them.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::{Arc, Weak},
    time::Duration,
};

use h2::Reason;
use mp_manager_proto::handshake::Binding;
use tokio::{
    io::{AsyncWriteExt, copy, sink},
    sync::watch,
    task::yield_now,
    time::{Instant, sleep, timeout},
};

use crate::{
    admission::{Admission, Cause},
    connection::{Connection, Socket},
    host::Host,
    http::{End, Http},
    listener::{Accepted, Detached, Listener, Stream},
    threads::{Place, Threads},
    tls::{Wire, speaks_tls},
};

/// How long accepting pauses when the process has no file descriptors left: trying again at once
/// would spin.
pub(crate) const BACK_OFF: Duration = Duration::from_millis(50);

/// After so many connections the others have their turn.
const BATCH: usize = 64;

/// How long what a client is told last may take to get through.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How long a client has to read what is left when its session is over.
const FAREWELL: Duration = Duration::from_secs(5);

/// How often it is logged that no connection can be accepted.
const WARN_EVERY: Duration = Duration::from_secs(1);

/// A listener, and the connections that came in through it.
pub(crate) struct Acceptor {
    listener: Listener,
    threads: Arc<Threads>,
    admission: Arc<Admission>,
    http: Http,
    host: Weak<Host>,
    handshake_timeout: Duration,
    /// A message closes all connections as soon as nobody uses them; its end cuts them off.
    stop: watch::Sender<()>,
}

impl Acceptor {
    pub(crate) fn new(listener: Listener, threads: Arc<Threads>, host: &Arc<Host>) -> Self {
        Self {
            listener,
            threads,
            admission: Arc::clone(&host.admission),
            http: Http::new(host),
            host: Arc::downgrade(host),
            handshake_timeout: host.options.handshake_timeout,
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

    /// Has health checks say that nothing is served any more.
    pub(crate) async fn shut_down(&self) {
        self.http.shut_down().await;
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
        let Accepted { stream, peer, name } = accepted;
        let (permit, refusal) = match self.admission.admit(peer) {
            Ok(permit) => (permit, None),
            // Those few who are told why get a connection, to be told on.
            Err(refusal) if self.admission.log_refusal(peer, &name, &refusal.message) => {
                (self.admission.turn_away(peer), Some(refusal))
            }
            Err(_) => return dismiss(&stream),
        };
        let stream = match stream.detach() {
            Ok(stream) => stream,
            Err(error) => return tracing::warn!(peer = name, %error, "cannot serve a connection"),
        };
        let host = Weak::clone(&self.host);
        let connection = Arc::new(Connection::new(name, permit, refusal, host));
        let (http, stop) = (self.http.clone(), self.stop.subscribe());
        let handshake_timeout = self.handshake_timeout;
        self.threads.spawn(|place| run(stream, connection, http, stop, handshake_timeout, place));
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
pub(crate) fn dismiss(stream: &Stream) {
    if let Stream::Tcp(stream) | Stream::Tls(stream, _) = stream {
        let _ = stream.set_zero_linger();
    }
}

/// Runs a connection to its end. Whatever it waits for, dropping this closes it.
async fn run(
    stream: Detached,
    connection: Arc<Connection>,
    http: Http,
    mut stop: watch::Receiver<()>,
    handshake_timeout: Duration,
    _place: Place,
) {
    let watched = Arc::clone(&connection);
    let mut cut_off = Box::pin(async move {
        tokio::select! {
            () = overstayed(&watched, handshake_timeout) => {
                watched.permit.count(Cause::Overstayed);
                tracing::debug!(peer = watched.peer, "no handshake in time");
            }
            () = watched.permit.closed() => {}
        }
    });
    // Its room is needed for that long alone: TLS takes more than all the rest.
    let opening = Box::pin(open(stream, &connection));
    let opened = tokio::select! {
        opened = opening => opened,
        () = &mut cut_off => return,
        _ = stop.changed() => return,
    };
    let socket = match opened {
        Ok(socket) => socket,
        Err(error) => {
            tracing::debug!(peer = connection.peer, %error, "connection ended before it began");
            return;
        }
    };
    let supervision = Box::pin(supervise(Arc::clone(&connection), cut_off, stop));
    let served = http.serve(socket, Arc::clone(&connection), supervision).await;
    if let Err(error) = served {
        // Otherwise nobody would learn why, as this is below what gRPC libraries tell their callers.
        if error.is_library() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM) {
            connection.permit.log_refusal(&connection.peer, &format!("HTTP/2: {error}"));
        }
        tracing::debug!(peer = connection.peer, %error, "connection ended");
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

/// Waits until a connection that is served has to end.
async fn supervise(
    connection: Arc<Connection>,
    mut cut_off: Pin<Box<dyn Future<Output = ()> + Send>>,
    mut stop: watch::Receiver<()>,
) -> End {
    tokio::select! {
        () = &mut cut_off => End::AtOnce,
        () = connection.wait_for_end_of_session() => End::Gracefully(Box::pin(async move {
            // Also a client that does not read has to go.
            let _ = timeout(FAREWELL, cut_off).await;
        })),
        told = stop.changed() => if told.is_err() {
            End::AtOnce
        } else {
            End::Gracefully(Box::pin(async move {
                tokio::select! {
                    () = cut_off => {}
                    _ = stop.changed() => {}
                }
            }))
        },
    }
}

/// Waits until the client has said something, or nothing will come any more, and comes through to
/// what HTTP/2 is spoken on. It has buffers, and so has TLS, which are for those who have something to
/// say; who may use a unix socket is taken at his word that he will.
async fn open(stream: Detached, connection: &Connection) -> io::Result<Socket> {
    let (stream, terminator) = match stream.attach()? {
        Stream::Unix(stream) => {
            connection.bind(Binding::Unix);
            return Ok(Socket::Unix(stream));
        }
        Stream::Tcp(stream) => (stream, None),
        Stream::Tls(stream, terminator) => (stream, Some(terminator)),
    };
    // Small frames must not wait for one another.
    stream.set_nodelay(true)?;
    let speaks_tls = speaks_tls(&stream).await?;
    let Connection { permit, peer, .. } = connection;
    match terminator {
        None => connection.bind(Binding::None),
        Some(terminator) if speaks_tls => match terminator.open(stream).await {
            Ok((stream, binding)) => {
                connection.bind(binding);
                return Ok(Socket::Tls(stream));
            }
            Err((error, wire)) => {
                permit.failed();
                permit.count(Cause::Tls);
                permit.log_refusal(peer, &format!("no TLS came about: {error}"));
                if let Some(wire) = wire {
                    linger(wire).await;
                }
                return Err(error);
            }
        },
        // Without a binding it is served nothing but this reason.
        Some(_) => {
            permit.count(Cause::PlainText);
            permit.log_refusal(peer, "it speaks no TLS");
        }
    }
    Ok(Socket::Tcp(stream))
}

/// Lets what was said last get through: closing a connection with something unread in it would have
/// the system take that back.
pub(crate) async fn linger(mut wire: Wire) {
    let closed = async {
        wire.shutdown().await?;
        copy(&mut wire, &mut sink()).await
    };
    let _ = timeout(LAST_WORDS, closed).await;
}
