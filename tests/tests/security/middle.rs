//! Somebody between a client and its manager, who passes on all that is said: the proofs are bound
//! to the connection they were made on.

use mp_manager::{Error, Manager};
use mp_manager_proto::tls::VERSIONS;
use mp_manager_tests::{
    AUTHKEY, TestServer, log,
    tls::{Authority, Certified, sit_between},
    within,
};

use crate::{comes_in, fails_to_authenticate, fails_to_connect};

const PASSED_ON: [&str; 3] =
    ["authentication failed", "the same authkey", "that TLS ends nowhere between them"];

#[tokio::test]
async fn with_a_certificate_of_his_own_he_learns_nothing() {
    log::keep();
    let server = TestServer::with_tls(|_| {});
    let own = Certified::self_signed().acceptor(&VERSIONS);
    let middle = sit_between(Some(own), &server.address()).await;
    fails_to_authenticate(&format!("tls://{middle}"), &PASSED_ON).await;
    log::until_said("refused a client: authentication failed").await;
    assert!(!log::text().contains(AUTHKEY));
    comes_in(&server.address()).await;
}

/// Not even the certificate's private key helps: what TLS exports differs between two connections.
#[tokio::test]
async fn with_the_managers_own_certificate_he_learns_nothing() {
    let stolen = Certified::self_signed();
    let server = TestServer::with_tls(|options| options.tls.identity = Some(stolen.identity()));
    let middle = sit_between(Some(stolen.acceptor(&VERSIONS)), &server.address()).await;
    fails_to_authenticate(&format!("tls://{middle}"), &PASSED_ON).await;
    comes_in(&server.address()).await;
}

#[tokio::test]
async fn before_a_client_that_trusts_an_authority_he_has_no_certificate() {
    let authority = Authority::new();
    let certified = authority.issue("127.0.0.1");
    let server = TestServer::with_tls(|options| options.tls.identity = Some(certified.identity()));
    let own = Authority::new().issue("127.0.0.1").acceptor(&VERSIONS);
    let middle = sit_between(Some(own), &server.address()).await;
    let connecting = Manager::builder().authkey(AUTHKEY).tls_ca(authority.pem());
    let error = within(connecting.connect(&format!("tls://{middle}"))).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    crate::is_told(&error, &["not to be trusted", "127.0.0.1"]);
}

/// To the client he speaks TLS, to the manager plain text.
#[tokio::test]
async fn he_cannot_take_tls_from_the_manager() {
    let server = TestServer::at("tcp://0.0.0.0:0", |options| options.insecure = true);
    let own = Certified::self_signed().acceptor(&VERSIONS);
    let middle = sit_between(Some(own), &server.address()).await;
    fails_to_authenticate(&format!("tls://{middle}"), &["authentication failed"]).await;
    comes_in(&server.address()).await;
}

/// To the client, who was told to use it, he speaks plain text, to the manager TLS.
#[tokio::test]
async fn he_cannot_take_tls_from_a_client_that_wants_plain_text() {
    let server = TestServer::with_tls(|_| {});
    let middle = sit_between(None, &server.address()).await;
    fails_to_authenticate(&format!("tcp://{middle}"), &PASSED_ON).await;
    comes_in(&server.address()).await;
}

/// A client that wants TLS speaks nothing else.
#[tokio::test]
async fn he_cannot_take_tls_from_a_client_that_wants_it() {
    let server = TestServer::start();
    let middle = sit_between(None, &server.address()).await;
    fails_to_connect(&format!("tls://{middle}"), &["does not speak TLS", &middle]).await;
}

/// In plain text there is nothing to bind to: who passes everything on is like a wire. That is what
/// `--insecure` means.
#[tokio::test]
async fn in_plain_text_he_is_not_noticed() {
    let server = TestServer::start();
    let middle = sit_between(None, &server.address()).await;
    comes_in(&middle).await;
}
