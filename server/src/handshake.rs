//! Letting clients in: the server's side of the handshake.

use std::sync::Arc;

use bytes::Bytes;
use mp_manager_core::{
    SessionId,
    engine::{self, Attachment},
    v1::{
        Binding as Offered, Challenge, HandshakeRequest, HandshakeResponse, Hello, Proof, Suite,
        handshake_request, handshake_response::Step,
    },
};
use mp_manager_proto::{
    error::{Error, Reason},
    handshake::{self, Binding, NONCE_LEN, Transcript},
    version,
};
use tokio::{sync::mpsc::Sender, task::spawn_blocking, time::timeout};
use tonic::{Status, Streaming};

use crate::{authkeys::Authkeys, connection::Connection, gate, host::Host};

pub(crate) type Outgoing = Sender<Result<HandshakeResponse, Status>>;

/// One handshake, on its own task.
pub(crate) struct Handshake {
    pub(crate) host: Arc<Host>,
    pub(crate) connection: Arc<Connection>,
    pub(crate) inbound: Streaming<HandshakeRequest>,
    pub(crate) outbound: Outgoing,
}

impl Handshake {
    /// Runs it to its end: the connection has a session afterwards, or never will have one.
    pub(crate) async fn run(mut self) {
        let limit = self.host.options.handshake_timeout;
        let error = match timeout(limit, self.exchange()).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => {
                if is_clients_failure(&error) {
                    self.connection.permit.failed();
                }
                error
            }
            // Not a failure to authenticate, as it may be us who are slow.
            Err(_) => Error::new(
                Reason::Unreachable,
                format!("the handshake was not complete within {limit:?}"),
            )
            .with_hint("try again; the server's --handshake-timeout gives it more time"),
        };
        self.host.refused_handshakes.count(&error);
        self.connection.permit.log_refusal(&self.connection.peer, &error.message);
        self.connection.end_handshake(None);
        self.say(Step::Refused(error)).await;
    }

    async fn exchange(&mut self) -> Result<(), Error> {
        let hello = hello(self.next().await?)?;
        let version = version::agree(&hello)?;
        let suite = suite(&self.host.authkeys, &hello)?;
        let unbound = || Error::new(Reason::Protocol, "the connection is not yet open");
        let (taken, binding) =
            bound(self.connection.binding().ok_or_else(unbound)?.clone(), &hello)?;
        let challenge = Challenge {
            suite: suite.into(),
            server_nonce: random::<NONCE_LEN>()?,
            server_id: self.host.engine.config().server_id,
            epoch: self.host.engine.epoch(),
            version,
            binding: taken.into(),
        };
        let transcript = Transcript::new(&hello, &challenge, &binding);
        self.say(Step::Challenge(challenge)).await;
        let proof = proof(self.next().await?)?;
        let authkey = self
            .host
            .authkeys
            .find(suite, |secret| transcript.verify_client(secret, &proof.proof))
            .await
            .map_err(|error| Error::new(Reason::Unspecified, format!("no proof: {error}")))?
            .ok_or_else(|| wrong_authkey(&binding))?;
        if self.host.engine.is_shutting_down() {
            return Err(engine::shutting_down());
        }
        let resumed = self.resume(&hello, &transcript, &proof).await?;
        let attachment = match resumed {
            Some(resumed) => resumed,
            None => self.begin(&hello)?,
        };
        let attachment = attachment.with_frames_of(hello.max_frame_bytes);
        let mut welcome = self.host.engine.welcome(&attachment);
        welcome.proof = transcript.server_proof(authkey.secret(), &proof.proof, &welcome).into();
        let (session, peer, resumed) = (welcome.session, &self.connection.peer, welcome.resumed);
        tracing::debug!(session, peer, resumed, "session began");
        self.connection.end_handshake(Some(attachment));
        self.say(Step::Welcome(welcome)).await;
        Ok(())
    }

    /// Continues the session that the client asks for, if there is one. From here on its older
    /// connection is not listened to any more.
    async fn resume(
        &self,
        hello: &Hello,
        transcript: &Transcript,
        proof: &Proof,
    ) -> Result<Option<Attachment>, Error> {
        let engine = &self.host.engine;
        let Some(client) = engine.asked_for(hello.resume) else { return Ok(None) };
        if !transcript.verify_resume(client.resume_secret(), &proof.resume) {
            return Err(wrong_resume_secret(client.id()));
        }
        if let Some(mut state) = client.try_lock() {
            return Ok(engine.resume(&client, &mut state, &self.connection.peer));
        }
        // Somebody goes on with it, who may take long.
        let (host, peer) = (Arc::clone(&self.host), self.connection.peer.clone());
        let resumed =
            spawn_blocking(move || host.engine.resume(&client, &mut client.lock(), &peer));
        resumed.await.map_err(|_| engine::shutting_down())
    }

    async fn next(&mut self) -> Result<Option<handshake_request::Step>, Error> {
        match self.inbound.message().await {
            Ok(request) => Ok(request.and_then(|request| request.step)),
            Err(status) => Err(Error::new(
                Reason::Protocol,
                format!(
                    "the handshake cannot be read, of which a connection may send {} bytes: {}",
                    gate::MAX_UNAUTHENTICATED_BYTES,
                    status.message()
                ),
            )),
        }
    }

    /// Begins a session.
    fn begin(&self, hello: &Hello) -> Result<Attachment, Error> {
        self.host.engine.begin(engine::Hello {
            process: hello.process.clone().unwrap_or_default(),
            peer: self.connection.peer.as_str().into(),
            lease_ms: hello.lease_ms,
            resume_secret: random::<32>()?,
        })
    }

    /// A client that has gone does not hear it, which is its own affair.
    async fn say(&self, step: Step) {
        let _ = self.outbound.send(Ok(HandshakeResponse { step: Some(step) })).await;
    }
}

/// How a client begins.
pub(crate) fn hello(step: Option<handshake_request::Step>) -> Result<Hello, Error> {
    let Some(handshake_request::Step::Hello(hello)) = step else {
        return Err(Error::new(Reason::Protocol, "the handshake must begin with Hello"));
    };
    if hello.client_nonce.len() != NONCE_LEN {
        return Err(Error::new(
            Reason::Protocol,
            format!("the client's nonce must have {NONCE_LEN} bytes"),
        ));
    }
    Ok(hello)
}

/// What a client proves with.
pub(crate) fn proof(step: Option<handshake_request::Step>) -> Result<Proof, Error> {
    match step {
        Some(handshake_request::Step::Proof(proof)) => Ok(proof),
        _ => Err(Error::new(
            Reason::AuthenticationFailed,
            "the client did not prove that it knows the authkey",
        )),
    }
}

/// The suite for a client.
pub(crate) fn suite(authkeys: &Authkeys, hello: &Hello) -> Result<Suite, Error> {
    authkeys.suite(&hello.suites).ok_or_else(|| {
        Error::new(Reason::UnsupportedVersion, "the client offers no suite that this server knows")
            .with_hint("offer SUITE_HMAC_SHA256, or SUITE_ARGON2ID_HMAC_SHA256 for a short authkey")
    })
}

/// What the proofs are bound to: the connection has it, and for TLS the client a choice.
pub(crate) fn bound(binding: Binding, hello: &Hello) -> Result<(Offered, Binding), Error> {
    if !matches!(binding, Binding::Tls { .. }) {
        return Ok((Offered::Unspecified, binding));
    }
    let taken = handshake::chosen(&hello.bindings).ok_or_else(|| {
        Error::new(
            Reason::UnsupportedVersion,
            "the client offers no binding to TLS that this server knows",
        )
        .with_hint(
            "offer BINDING_TLS_EXPORTER, or BINDING_TLS_CERTIFICATE where the exporter of RFC 9266 \
             cannot be had",
        )
    })?;
    let is_certificate = taken == Offered::TlsCertificate;
    Ok((taken, if is_certificate { binding.without_exporter() } else { binding }))
}

/// A proof that was made for another connection looks the same.
pub(crate) fn wrong_authkey(binding: &Binding) -> Error {
    let hint = match binding {
        Binding::Tls { .. } | Binding::Certificate(_) => {
            "check that both sides use the same authkey, and that TLS ends nowhere between them"
        }
        _ => "check that both sides use the same authkey",
    };
    Error::new(
        Reason::AuthenticationFailed,
        "authentication failed: the client's authkey is not this server's",
    )
    .with_hint(hint)
}

/// Whether it was refused for what it said, and not for what it is or what the server is.
pub(crate) fn is_clients_failure(error: &Error) -> bool {
    matches!(error.reason(), Reason::AuthenticationFailed | Reason::Protocol)
}

fn wrong_resume_secret(session: SessionId) -> Error {
    Error::new(
        Reason::AuthenticationFailed,
        format!("the client did not prove that session {session} is its own"),
    )
    .with_hint("only who began a session can resume it; connect without resuming for a new one")
}

pub(crate) fn random<const N: usize>() -> Result<Bytes, Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::new(Reason::Unspecified, format!("the system gives no random numbers: {error}"))
    })?;
    Ok(Bytes::copy_from_slice(&bytes))
}
