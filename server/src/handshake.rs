//! Letting clients in: the server's side of the handshake.

use std::sync::Arc;

use bytes::Bytes;
use mp_manager_core::v1::{
    Challenge, HandshakeRequest, HandshakeResponse, Hello, Suite, Welcome, handshake_request,
    handshake_response::Step,
};
use mp_manager_proto::{
    PROTOCOL_VERSION,
    error::{Error, Reason},
    handshake::{NONCE_LEN, Transcript},
};
use tokio::{sync::mpsc::Sender, time::timeout};
use tonic::{Status, Streaming};

use crate::{connection::Connection, session::Session, store::Store};

/// What a session's lease is unless the client asks for another.
const DEFAULT_LEASE_MS: u64 = 10_000;
const LEASE_RANGE_MS: std::ops::RangeInclusive<u64> = 1_000..=300_000;

pub(crate) type Outgoing = Sender<Result<HandshakeResponse, Status>>;

/// One handshake, on its own task.
pub(crate) struct Handshake {
    pub(crate) store: Arc<Store>,
    pub(crate) connection: Arc<Connection>,
    pub(crate) inbound: Streaming<HandshakeRequest>,
    pub(crate) outbound: Outgoing,
}

impl Handshake {
    /// Runs it to its end: the connection has a session afterwards, or never will have one.
    pub(crate) async fn run(mut self) {
        let limit = self.store.options.handshake_timeout;
        let error = match timeout(limit, self.exchange()).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => {
                if is_clients_failure(&error) {
                    self.connection.permit.failed();
                }
                error
            }
            // Not counted as a failure: it may be us who are slow.
            Err(_) => Error::new(
                Reason::AuthenticationFailed,
                format!("the handshake was not complete within {limit:?}"),
            ),
        };
        self.connection.permit.log_refusal(&self.connection.peer, &error.message);
        self.connection.end_handshake(None);
        self.say(Step::Refused(error)).await;
    }

    async fn exchange(&mut self) -> Result<(), Error> {
        let hello = self.hello().await?;
        let challenge = Challenge {
            suite: Suite::HmacSha256.into(),
            server_nonce: random::<NONCE_LEN>()?,
            server_id: self.store.server_id,
            epoch: self.store.epoch,
        };
        let transcript = Transcript::new(&hello, &challenge, &self.connection.binding);
        self.say(Step::Challenge(challenge)).await;
        let proof = self.proof().await?;
        let authkeys = &self.store.options.authkeys;
        let authkey = authkeys
            .iter()
            .find(|authkey| transcript.verify_client(authkey.secret(), &proof))
            .ok_or_else(wrong_authkey)?;
        let session = self.session(&hello)?;
        let mut welcome = Welcome {
            session: session.id,
            resume_secret: random::<32>()?,
            lease_ms: lease(hello.lease_ms),
            limits: Some(self.store.limits().for_clients()),
            ..Welcome::default()
        };
        welcome.proof = transcript.server_proof(authkey.secret(), &proof, &welcome).into();
        self.store.sessions.insert(session.id, Arc::clone(&session));
        tracing::debug!(session = session.id, peer = session.peer, "session began");
        self.connection.end_handshake(Some(session));
        self.say(Step::Welcome(welcome)).await;
        Ok(())
    }

    async fn hello(&mut self) -> Result<Hello, Error> {
        let Some(handshake_request::Step::Hello(hello)) = self.next().await? else {
            return Err(Error::new(Reason::Protocol, "the handshake must begin with Hello"));
        };
        if hello.version != PROTOCOL_VERSION {
            return Err(Error::new(
                Reason::UnsupportedVersion,
                format!(
                    "the client speaks protocol version {}, this server speaks {PROTOCOL_VERSION}",
                    hello.version
                ),
            )
            .with_hint("use the same release on both sides"));
        }
        if !hello.suites.contains(&Suite::HmacSha256.into()) {
            return Err(Error::new(
                Reason::UnsupportedVersion,
                "the client offers no suite that this server knows",
            )
            .with_hint("offer SUITE_HMAC_SHA256"));
        }
        if hello.client_nonce.len() != NONCE_LEN {
            return Err(Error::new(
                Reason::Protocol,
                format!("the client's nonce must have {NONCE_LEN} bytes"),
            ));
        }
        Ok(hello)
    }

    async fn proof(&mut self) -> Result<Bytes, Error> {
        match self.next().await? {
            Some(handshake_request::Step::Proof(proof)) => Ok(proof.proof),
            _ => Err(Error::new(
                Reason::AuthenticationFailed,
                "the client did not prove that it knows the authkey",
            )),
        }
    }

    async fn next(&mut self) -> Result<Option<handshake_request::Step>, Error> {
        match self.inbound.message().await {
            Ok(request) => Ok(request.and_then(|request| request.step)),
            Err(status) => Err(Error::new(
                Reason::Protocol,
                format!("the handshake cannot be read: {}", status.message()),
            )),
        }
    }

    fn session(&self, hello: &Hello) -> Result<Arc<Session>, Error> {
        let max = self.store.limits().max_sessions;
        if self.store.sessions.len() >= max {
            return Err(Error::new(
                Reason::LimitExceeded,
                format!("there are {max} sessions, which is the limit"),
            )
            .with_hint("close some clients, or raise the server's --max-sessions"));
        }
        if self.store.is_shutting_down() {
            return Err(Store::shutting_down());
        }
        let process = hello.process.clone().unwrap_or_default();
        let peer = self.connection.peer.clone();
        Ok(Arc::new(Session::new(self.store.next_session_id(), process, peer)))
    }

    /// A client that has gone does not hear it, which is its own affair.
    async fn say(&self, step: Step) {
        let _ = self.outbound.send(Ok(HandshakeResponse { step: Some(step) })).await;
    }
}

/// Whether it was refused for what it said, and not for what it is or what the server is.
fn is_clients_failure(error: &Error) -> bool {
    matches!(error.reason(), Reason::AuthenticationFailed | Reason::Protocol)
}

fn wrong_authkey() -> Error {
    Error::new(
        Reason::AuthenticationFailed,
        "authentication failed: the client's authkey is not this server's",
    )
    .with_hint("check that both sides use the same authkey")
}

fn lease(asked_ms: u64) -> u64 {
    if asked_ms == 0 {
        DEFAULT_LEASE_MS
    } else {
        asked_ms.clamp(*LEASE_RANGE_MS.start(), *LEASE_RANGE_MS.end())
    }
}

fn random<const N: usize>() -> Result<Bytes, Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::new(Reason::Unspecified, format!("the system gives no random numbers: {error}"))
    })?;
    Ok(Bytes::copy_from_slice(&bytes))
}
