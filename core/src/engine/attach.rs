//! How a session begins, and goes on with another connection.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use mp_manager_proto::{
    LEASE_RANGE_MS,
    v1::{self, Process, Resume, Welcome},
};

use super::{
    Engine,
    client::{Attachment, Client, ClientState},
    stream::Stream,
};
use crate::{Error, Reason, lock::lock, session::Session};

/// What a session's lease is unless its client asks for another.
const DEFAULT_LEASE_MS: u64 = 10_000;

/// The shortest frames that a client may ask for, in bytes.
pub const SHORTEST_FRAMES: usize = 4 << 10;

/// A frame is no longer than this many times what its replies weigh: a reference is in a value and beside
/// it, and notices of loss come on top.
const FRAME_BYTES_PER_WEIGHT: usize = 3;

/// What a client says of itself when its session begins.
#[derive(Debug, Clone)]
pub struct Hello {
    /// Its process.
    pub process: Process,
    /// Where it is, to people.
    pub peer: Arc<str>,
    /// The lease it asks for; 0 if it does not mind.
    pub lease_ms: u64,
    /// Whoever has it may resume the session.
    pub resume_secret: Bytes,
}

impl Engine {
    /// The session that a client asks to resume, if there is one: it has to prove that it knows the
    /// [secret](Client::resume_secret).
    #[must_use]
    pub fn asked_for(&self, resume: Option<Resume>) -> Option<Arc<Client>> {
        let asked = resume.filter(|asked| asked.epoch == self.epoch())?;
        self.client(asked.session)
    }

    /// Continues a session on a new connection; the streams of the older one end. `None` if it has
    /// ended. From here on its older connection is not listened to any more.
    pub fn resume(
        &self,
        client: &Arc<Client>,
        state: &mut ClientState,
        peer: &str,
    ) -> Option<Attachment> {
        let generation = state.session.attach(self.lease_time())?;
        client.attach(generation, peer);
        self.counters.resumed();
        let frame_bytes = self.config.frame_bytes;
        Some(Attachment { client: Arc::clone(client), generation, frame_bytes })
    }

    /// Begins a session.
    ///
    /// # Errors
    /// If there are too many, or the manager is shutting down.
    pub fn begin(&self, hello: Hello) -> Result<Attachment, Error> {
        if self.is_shutting_down() {
            return Err(super::shutting_down());
        }
        let max = self.config.totals.max_sessions;
        if self.clients.len() >= max {
            return Err(Error::new(
                Reason::LimitExceeded,
                format!("there are {max} sessions, which is the limit"),
            )
            .with_hint("close some clients, or raise the server's --max-sessions"));
        }
        let Hello { process, peer, lease_ms, resume_secret } = hello;
        let id = self.next_session.fetch_add(1, Ordering::Relaxed) + 1;
        let (lease, now) = (lease(lease_ms), self.lease_time());
        let session = Session::new(id, lease, now);
        let (own_bytes, books) = (self.config.totals.session_bytes, Arc::clone(&self.books));
        let client =
            Arc::new(Client::new(session, process, &peer, resume_secret, own_bytes, books));
        self.clients.insert(id, Arc::clone(&client));
        lock(&self.leases).watch(id, now + lease);
        self.counters.begun();
        let frame_bytes = self.config.frame_bytes;
        Ok(Attachment { client, generation: Session::FIRST, frame_bytes })
    }

    /// What a client is told that is in, but for the proof.
    #[must_use]
    pub fn welcome(&self, attachment: &Attachment) -> Welcome {
        let Attachment { client, generation, .. } = attachment;
        Welcome {
            session: client.id(),
            resume_secret: client.resume_secret().clone(),
            lease_ms: u64::try_from(client.lease().as_millis()).unwrap_or(u64::MAX),
            limits: Some(v1::Limits {
                max_server_frame_bytes: attachment.longest_frame(),
                ..self.config.clients
            }),
            resumed: *generation > Session::FIRST,
            ephemeral: self.config.ephemeral,
            ..Welcome::default()
        }
    }
}

impl Attachment {
    /// Keeps frames on this connection to `max_bytes`, but no shorter than [`SHORTEST_FRAMES`]. 0, and
    /// what is longer than the engine's own frames, changes nothing.
    #[must_use]
    pub fn with_frames_of(mut self, max_bytes: u32) -> Self {
        if max_bytes != 0 {
            let asked = (max_bytes as usize).max(SHORTEST_FRAMES) / FRAME_BYTES_PER_WEIGHT;
            self.frame_bytes = self.frame_bytes.min(asked);
        }
        self
    }

    /// How long a frame can be on the wire, unless a single reply alone is longer.
    fn longest_frame(&self) -> u32 {
        u32::try_from(self.frame_bytes.saturating_mul(FRAME_BYTES_PER_WEIGHT)).unwrap_or(u32::MAX)
    }

    /// The stream of this connection, which speaks for the session.
    #[must_use]
    pub fn stream(&self) -> Stream {
        Stream::new(self.clone())
    }

    /// Whether it is that of the connection that the session began with.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.generation == Session::FIRST
    }
}

fn lease(asked_ms: u64) -> Duration {
    Duration::from_millis(match asked_ms {
        0 => DEFAULT_LEASE_MS,
        asked => asked.clamp(*LEASE_RANGE_MS.start(), *LEASE_RANGE_MS.end()),
    })
}
