//! What a server can be told.

use std::{num::NonZero, path::PathBuf, time::Duration};

use mp_manager_core::session;
use mp_manager_proto::{address::Address, authkey::Authkey, v1};

use crate::{error::ServeError, threads, tls::Tls};

/// How a server is set up.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// What clients must know. Any of them will do.
    pub authkeys: Vec<Authkey>,
    /// How TLS is spoken, if the address says so.
    pub tls: Tls,
    /// Whether plain TCP may be spoken where other machines can hear it.
    pub insecure: bool,
    /// Whether authkeys of less than 16 bytes, which can be guessed, may be used where other
    /// machines can reach the server. There they are proven stretched, which makes each guess dear.
    pub allow_weak_authkey: bool,
    /// What may grow how far.
    pub limits: Limits,
    /// How long a connection has for its handshake.
    pub handshake_timeout: Duration,
    /// The server is part of a program and ends with it: clients are told not to wait for it to come
    /// back.
    pub ephemeral: bool,
    /// How long a shutdown waits for clients to take note of it.
    pub shutdown_grace: Duration,
    /// A directory for what outlasts the server: how far fencing tokens have come, and the certificate
    /// that it makes for TLS if it is given none. It is created in one that exists, and no two servers can
    /// use it at a time.
    ///
    /// Without it a certificate is made at each start, and fencing tokens start at the Unix time in microseconds. They are then larger than those
    /// of the server's former starts only as long as nobody sets the clock back.
    pub state_dir: Option<PathBuf>,
    /// Where metrics are served, in Prometheus' text format by plain HTTP at `/metrics`: an [`Address::Tcp`].
    /// Whoever can reach it can read them, the names of queues and pools included; nobody authenticates.
    pub metrics_address: Option<Address>,
    /// Threads that serve connections; each connection stays on one of them. By default all processors but one, eight
    /// at most. What takes long is done by others.
    pub threads: NonZero<usize>,
}

impl Options {
    /// The defaults, with an authkey.
    #[must_use]
    pub fn new(authkey: impl Into<Authkey>) -> Self {
        Self { authkeys: vec![authkey.into()], ..Self::default() }
    }
}

impl Default for Options {
    /// Without an authkey, which a server needs.
    fn default() -> Self {
        Self {
            authkeys: Vec::new(),
            tls: Tls::default(),
            insecure: false,
            allow_weak_authkey: false,
            limits: Limits::default(),
            handshake_timeout: Duration::from_secs(5),
            ephemeral: false,
            shutdown_grace: Duration::from_secs(2),
            state_dir: None,
            metrics_address: None,
            threads: threads::default_count(),
        }
    }
}

/// Everything that can grow, and how far. What goes beyond is refused with an error that names the
/// limit; nothing is lost and nobody else notices.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// The longest name of an object.
    pub max_name_bytes: usize,
    /// The longest encoded key of a dict, element of a set, or attribute name.
    pub max_key_bytes: usize,
    /// The longest encoded value.
    pub max_value_bytes: usize,
    /// The longest frame a client may send. What it becomes in memory may be 32 times as long, and the large
    /// ones that are being decoded, of all sessions together, 16 times as long as this.
    pub max_frame_bytes: usize,
    /// Requests in one frame.
    pub max_requests_per_frame: usize,
    /// Requests of one session that are not acknowledged. At twice as many the session ends. Calls
    /// that wait inside objects take up nine tenths at most: the rest is for those that do not.
    pub max_open_requests: usize,
    /// Calls of one session that wait inside objects, such as a `get` of an empty queue. A call
    /// beyond it is refused if it would have to wait, and any other call goes on.
    pub max_parked_calls: usize,
    /// What replies to one session weigh that are not acknowledged; beyond it, its requests wait,
    /// and are refused when too many of them do.
    pub max_unacknowledged_bytes: usize,
    /// Objects in all.
    pub max_objects: usize,
    /// Sessions at a time.
    pub max_sessions: usize,
    /// Connections at a time.
    pub max_connections: usize,
    /// Connections of one address at a time, or of one IPv6 network. Unix sockets have no such limit.
    pub max_connections_per_peer: usize,
    /// Connections at a time that have not authenticated. When there are more, the oldest of the
    /// address that has most of them is closed.
    pub max_unauthenticated_connections: usize,
    /// Handshakes of one address that failed, and sessions and connections of it that were ended
    /// because they broke the rules; one is forgiven every 100 ms. Beyond that its new connections
    /// are closed at once. Unix sockets have no such limit.
    pub max_failed_handshakes: usize,
    /// Memory for objects, sessions and calls together; beyond it, what grows is refused.
    pub max_memory_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_name_bytes: 512,
            max_key_bytes: 64 << 10,
            max_value_bytes: 16 << 20,
            max_frame_bytes: 32 << 20,
            max_requests_per_frame: 1024,
            max_open_requests: 65_536,
            max_parked_calls: 65_536,
            max_unacknowledged_bytes: 256 << 20,
            max_objects: 1_000_000,
            max_sessions: 10_000,
            max_connections: 16_384,
            max_connections_per_peer: 8_192,
            max_unauthenticated_connections: 8_192,
            max_failed_handshakes: 20,
            max_memory_bytes: 4 << 30,
        }
    }
}

impl Limits {
    /// The limits under their names, each with the least that a server can work with. A limit of zero is right
    /// where there may be none of something.
    fn minima(&self) -> [(&'static str, usize, usize); 15] {
        [
            ("max-name-bytes", self.max_name_bytes, 1),
            ("max-key-bytes", self.max_key_bytes, 1),
            ("max-value-bytes", self.max_value_bytes, 1),
            ("max-frame-bytes", self.max_frame_bytes, 1 << 10),
            ("max-requests-per-frame", self.max_requests_per_frame, 1),
            ("max-open-requests", self.max_open_requests, 2),
            ("max-parked-calls", self.max_parked_calls, 0),
            ("max-unacknowledged-bytes", self.max_unacknowledged_bytes, 1 << 10),
            ("max-objects", self.max_objects, 1),
            ("max-sessions", self.max_sessions, 1),
            ("max-connections", self.max_connections, 1),
            ("max-connections-per-peer", self.max_connections_per_peer, 0),
            ("max-unauthenticated-connections", self.max_unauthenticated_connections, 1),
            ("max-failed-handshakes", self.max_failed_handshakes, 1),
            ("max-memory-bytes", self.max_memory_bytes, 64 << 10),
        ]
    }

    /// Refuses limits that nobody could be served with.
    pub(crate) fn check(&self) -> Result<(), ServeError> {
        match self.minima().into_iter().find(|(_, value, min)| value < min) {
            Some((name, value, min)) => Err(ServeError::Limit { name, value, min }),
            None => Ok(()),
        }
    }

    /// The part that clients keep to.
    pub(crate) fn for_clients(&self) -> v1::Limits {
        let wire = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        v1::Limits {
            max_open_requests: wire(self.max_open_requests),
            max_requests_per_frame: wire(self.max_requests_per_frame),
            max_frame_bytes: wire(self.max_frame_bytes),
            max_value_bytes: wire(self.max_value_bytes),
            max_key_bytes: wire(self.max_key_bytes),
            max_name_bytes: wire(self.max_name_bytes),
            // The engine says it of each connection.
            ..v1::Limits::default()
        }
    }

    /// The part that sessions keep to.
    pub(crate) fn for_sessions(&self) -> session::Limits {
        session::Limits {
            max_requests_per_frame: self.max_requests_per_frame,
            max_open_requests: self.max_open_requests,
            max_parked_calls: self.max_parked_calls,
            max_unacknowledged_bytes: self.max_unacknowledged_bytes,
            max_pending_bytes: self.max_frame_bytes,
        }
    }

    /// The part that objects keep to.
    pub(crate) fn for_objects(&self) -> mp_manager_core::Limits {
        mp_manager_core::Limits {
            max_value_bytes: self.max_value_bytes,
            max_key_bytes: self.max_key_bytes,
            ..mp_manager_core::Limits::default()
        }
    }
}
