//! Servers that speak TLS, and do not know the authkey.

use std::sync::Arc;

use mp_manager_proto::{
    tls::VERSIONS,
    v1::{Challenge, Hello, Proof, Suite, Welcome, handshake_response::Step},
};
use mp_manager_tests::{
    AUTHKEY, TestServer,
    raw::RawConnection,
    rogue::{Rogue, challenge},
    tls::{Certified, acceptor, sit_between},
    within,
};
use rustls::{
    ServerConfig,
    crypto::ring::sign::any_ecdsa_type,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::TLS12,
};

use crate::{fails_to_authenticate, fails_to_connect};

const IMPOSTOR: [&str; 2] = ["authentication failed", "it may be an impostor"];

/// A rogue inside of TLS, with a certificate like any manager's.
async fn with_tls(rogue: Rogue) -> (String, Arc<mp_manager_tests::rogue::Heard>) {
    let (address, heard) = rogue.serve().await;
    let certificate = Certified::self_signed().acceptor(&VERSIONS);
    let address = sit_between(Some(certificate), &format!("tcp://{address}")).await;
    (format!("tls://{address}"), heard)
}

fn honest() -> Option<Step> {
    Some(Step::Challenge(challenge()))
}

fn welcome(proof: impl Into<bytes::Bytes>) -> Option<Step> {
    Some(Step::Welcome(Welcome { proof: proof.into(), session: 1, ..Welcome::default() }))
}

#[tokio::test]
async fn who_reflects_the_proof_is_refused() {
    let reflects = |_: &Hello, _: &Challenge, proof: &Proof| welcome(proof.proof.clone());
    let (address, heard) = with_tls(Rogue::new(honest, reflects)).await;
    fails_to_authenticate(&address, &IMPOSTOR).await;
    assert!(heard.proven() && !heard.session_opened());
}

#[tokio::test]
async fn who_proves_nothing_is_refused() {
    let (address, heard) = with_tls(Rogue::new(honest, |_, _, _| welcome(vec![0; 32]))).await;
    fails_to_authenticate(&address, &IMPOSTOR).await;
    assert!(!heard.session_opened());
}

/// What the manager said to somebody else, word for word.
#[tokio::test]
async fn who_replays_a_manager_is_refused() {
    let server = TestServer::with_tls(|_| {});
    let connection = RawConnection::open(&server.address()).await;
    let (_, challenge, _, welcome) = within(connection.authenticate_aloud()).await;
    let rogue = Rogue::new(
        move || Some(Step::Challenge(challenge.clone())),
        move |_, _, _| Some(Step::Welcome(welcome.clone())),
    );
    let (address, heard) = with_tls(rogue).await;
    fails_to_authenticate(&address, &IMPOSTOR).await;
    assert!(!heard.session_opened());
}

/// No proof is made in a suite that was not offered, not even in a stronger one: what is offered
/// fits the authkey.
#[tokio::test]
async fn who_asks_for_another_suite_gets_no_proof() {
    for suite in [Suite::Unspecified, Suite::Argon2idHmacSha256] {
        let other = Challenge { suite: suite.into(), ..challenge() };
        let rogue = Rogue::new(move || Some(Step::Challenge(other.clone())), |_, _, _| None);
        let (address, heard) = with_tls(rogue).await;
        fails_to_authenticate(&address, &["a proof that was not offered", "impostor"]).await;
        assert!(!heard.proven());
    }
}

/// Even one who knows the authkey: that the connection is not bound to anything is not for him to
/// say.
#[tokio::test]
async fn who_claims_another_binding_is_refused() {
    let claims_none = |hello: &Hello, challenge: &Challenge, proof: &Proof| {
        let transcript = mp_manager_tests::raw::transcript(hello, challenge);
        let mut welcome = Welcome { session: 1, ..Welcome::default() };
        let made = transcript.server_proof(AUTHKEY.as_bytes(), &proof.proof, &welcome);
        welcome.proof = made.into();
        Some(Step::Welcome(welcome))
    };
    let (address, heard) = with_tls(Rogue::new(honest, claims_none)).await;
    fails_to_authenticate(&address, &IMPOSTOR).await;
    assert!(!heard.session_opened());
}

#[tokio::test]
async fn who_speaks_only_tls_1_2_is_refused() {
    let old = Certified::self_signed().acceptor(&[&TLS12]);
    let address = sit_between(Some(old), "tcp://127.0.0.1:1").await;
    fails_to_connect(&format!("tls://{address}"), &["does not speak TLS 1.3"]).await;
}

/// Any certificate will do, but it must be his own.
#[tokio::test]
async fn who_shows_somebody_elses_certificate_is_refused() {
    let (shown, own) = (Certified::self_signed(), Certified::self_signed());
    let key = any_ecdsa_type(&own.private_key()).unwrap();
    let mismatch = Arc::new(Mismatch(Arc::new(CertifiedKey::new(shown.chain(), key))));
    let config = ServerConfig::builder_with_provider(mp_manager_proto::tls::provider())
        .with_protocol_versions(&VERSIONS)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(mismatch);
    let address = sit_between(Some(acceptor(config)), "tcp://127.0.0.1:1").await;
    fails_to_connect(&format!("tls://{address}"), &["not to be trusted", "Signature"]).await;
}

#[derive(Debug)]
struct Mismatch(Arc<CertifiedKey>);

impl ResolvesServerCert for Mismatch {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}
