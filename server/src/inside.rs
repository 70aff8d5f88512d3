//! Sessions of the process that the server is in: without a socket, HTTP/2, or a proof of what that process knows
//! anyway.

use std::{
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::Stream;
use mp_manager_core::{
    engine::{self, Attachment},
    v1::{Beat, Challenge, Process, ServerFrame, Welcome},
};
use mp_manager_proto::error::Error;
use tokio::runtime::Handle;
use tokio_stream::StreamExt;
use tonic::Status;

use crate::{
    admission::Peer,
    beats::Beats,
    connection::{BeatsPlace, Connection},
    handshake::random,
    host::Host,
    stream::SessionStream,
};

/// What `inspect` calls the peer of such a session.
const PEER: &str = "in-process";

/// Begins sessions of the process that the server is in, as long as the server is there.
#[derive(Debug, Clone)]
pub struct Inside {
    host: Weak<Host>,
    /// The server's: what takes long is done there, and does not end with the client's.
    runtime: Handle,
}

/// A session that has begun.
pub struct Begun {
    /// As the server would say it to a client that has proven that it knows the authkey; without its proof.
    pub welcome: Welcome,
    /// As the server would challenge a client; without what proofs need.
    pub challenge: Challenge,
    host: Arc<Host>,
    runtime: Handle,
    attachment: Attachment,
    beats: BeatsPlace,
    connection: Arc<Connection>,
}

impl Inside {
    /// For a server on the current runtime.
    pub(crate) fn new(host: &Arc<Host>) -> Self {
        Self { host: Arc::downgrade(host), runtime: Handle::current() }
    }

    /// Begins a session of `process`, with the lease that it asks for in milliseconds; with 0, the server's default.
    ///
    /// # Errors
    /// If the server is shutting down, or has as many sessions as it may have.
    pub fn begin(&self, process: Process, lease_ms: u64) -> Result<Begun, Error> {
        let host = self.host.upgrade().ok_or_else(engine::shutting_down)?;
        if host.engine.is_shutting_down() {
            return Err(engine::shutting_down());
        }
        let resume_secret = random::<32>()?;
        let hello = engine::Hello { process, peer: PEER.into(), lease_ms, resume_secret };
        let attachment = host.engine.begin(hello)?;
        let welcome = host.engine.welcome(&attachment);
        let challenge = Challenge {
            server_id: host.engine.config().server_id,
            epoch: host.engine.epoch(),
            ..Challenge::default()
        };
        // It takes nobody's place, as there is no connection.
        let permit = host.admission.turn_away(Peer::Local);
        let connection = Arc::new(Connection::inside(PEER.into(), permit, Weak::clone(&self.host)));
        connection.end_handshake(Some(attachment));
        // There is no other stream that could have them.
        let (attachment, beats) = connection.open_beats().ok_or_else(engine::shutting_down)?;
        let runtime = self.runtime.clone();
        Ok(Begun { welcome, challenge, host, runtime, attachment, beats, connection })
    }
}

impl Begun {
    /// Takes in the client's frames and beats, and gives the server's back, each when it is polled.
    ///
    /// Dropping the frames ends the session: nobody else could go on with it. Whoever drops them has to know before
    /// that what the session held is lost.
    pub fn streams(
        self,
        frames: impl Stream<Item = Bytes> + Send + Unpin + 'static,
        beats: impl Stream<Item = Beat> + Send + Unpin + 'static,
    ) -> (
        impl Stream<Item = Result<ServerFrame, Status>> + Send + Unpin + 'static,
        impl Stream<Item = Result<Beat, Status>> + Send + Unpin + 'static,
    ) {
        let Self { host, runtime, attachment, beats: place, connection, .. } = self;
        let inbound = frames.map(Ok);
        let stream = SessionStream::new(Arc::clone(&host), &attachment, inbound, connection);
        let beats = Beats::new(host, (attachment, place), beats.map(Ok));
        (Entered { stream: Some(stream), runtime }, beats)
    }
}

/// A stream that is polled and dropped in a runtime, whatever else is there.
struct Entered<S> {
    /// Always there, until this is dropped.
    stream: Option<S>,
    runtime: Handle,
}

impl<S: Stream + Unpin> Stream for Entered<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { stream, runtime } = &mut *self;
        let _entered = runtime.enter();
        stream.as_mut().map_or(Poll::Ready(None), |stream| Pin::new(stream).poll_next(cx))
    }
}

impl<S> Drop for Entered<S> {
    fn drop(&mut self) {
        let _entered = self.runtime.enter();
        self.stream = None;
    }
}

impl std::fmt::Debug for Begun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Begun").field("session", &self.welcome.session).finish_non_exhaustive()
    }
}
