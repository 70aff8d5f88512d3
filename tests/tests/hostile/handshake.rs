//! Getting in without the authkey, and getting in twice.

use std::time::Duration;

use bytes::Bytes;
use mp_manager::{Error, Manager};
use mp_manager_proto::{
    v1::{HandshakeRequest, Hello, Process, Proof, Reason, Welcome, handshake_request::Step},
    version,
};
use mp_manager_tests::{
    AUTHKEY, TestServer, log,
    raw::{RawConnection, hello, transcript},
    within,
};
use tonic::Code;

use crate::Innocent;

#[tokio::test]
async fn nothing_is_served_before_a_handshake() {
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    let stranger = RawConnection::open(&server.address()).await;
    let session = within(stranger.session()).await.err().unwrap();
    let beats = within(stranger.client().keep_alive(tokio_stream::empty())).await.err().unwrap();
    for refusal in [session, beats] {
        assert_eq!(refusal.code(), Code::Unauthenticated);
        assert!(refusal.message().contains("complete Handshake on it first"), "{refusal}");
    }
    innocent.is_undisturbed().await;
}

#[tokio::test]
async fn a_connection_has_one_handshake_and_one_session() {
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    let connection = RawConnection::open(&server.address()).await;
    within(connection.authenticate()).await;
    let second = within(connection.handshake(Step::Hello(hello()))).await.err().unwrap();
    assert_eq!(second.code(), Code::FailedPrecondition);

    let _session = within(connection.session()).await.unwrap();
    let second = within(connection.session()).await.err().unwrap();
    assert_eq!(second.code(), Code::FailedPrecondition);
    innocent.is_undisturbed().await;
}

#[tokio::test]
async fn a_refused_connection_stays_refused() {
    let server = TestServer::start();
    let connection = RawConnection::open(&server.address()).await;
    let mut handshake = within(connection.handshake(Step::Hello(hello()))).await.unwrap();
    within(handshake.challenge()).await;
    // Not even while the first is under way.
    let second = within(connection.handshake(Step::Hello(hello()))).await.err().unwrap();
    assert_eq!(second.code(), Code::FailedPrecondition);
    handshake.say(proof(b"no proof")).await;
    within(handshake.refusal()).await;

    let again = within(connection.handshake(Step::Hello(hello()))).await.err().unwrap();
    assert_eq!(again.code(), Code::FailedPrecondition);
    let session = within(connection.session()).await.err().unwrap();
    assert_eq!(session.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_wrong_authkey_is_refused_in_words_on_both_sides() {
    log::keep();
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    let wrong = "the wrong authkey";
    let error = within(Manager::connect(&server.address(), wrong)).await.unwrap_err();
    assert!(matches!(error, Error::AuthenticationFailed(_)), "{error:?}");
    let said = error.to_string();
    for part in ["authentication failed", "check that both sides", &server.address()] {
        assert!(said.contains(part), "{said}");
    }

    let connection = RawConnection::open(&server.address()).await;
    let mut handshake = within(connection.handshake(Step::Hello(hello()))).await.unwrap();
    let challenge = within(handshake.challenge()).await;
    let made = transcript(&hello(), &challenge).client_proof(wrong.as_bytes());
    handshake.say(proof(&made)).await;
    let refusal = within(handshake.refusal()).await;
    assert_eq!(refusal.reason(), Reason::AuthenticationFailed);
    let logged = log::lines_with(connection.peer());
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert!(logged[0].contains("refused a client: authentication failed"), "{logged:?}");
    let everything = log::text();
    assert!(!everything.contains(wrong) && !everything.contains(AUTHKEY));
    innocent.is_undisturbed().await;
}

/// What a client says instead of its proof, and what it is told.
#[tokio::test]
async fn without_the_proof_nobody_gets_in() {
    log::keep();
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    let said: [Option<HandshakeRequest>; 6] = [
        None,
        Some(HandshakeRequest::default()),
        Some(step(Step::Hello(hello()))),
        Some(step(proof(b""))),
        Some(step(proof(&[0; 32]))),
        Some(step(proof(&[0; 4000]))),
    ];
    for said in said {
        let connection = RawConnection::open(&server.address()).await;
        let mut handshake = within(connection.handshake(Step::Hello(hello()))).await.unwrap();
        within(handshake.challenge()).await;
        match said {
            Some(said) => handshake.say_as_is(said).await,
            None => handshake.fall_silent(),
        }
        let refusal = within(handshake.refusal()).await;
        assert_eq!(refusal.reason(), Reason::AuthenticationFailed, "{refusal}");
        assert_eq!(log::lines_with(connection.peer()).len(), 1);
        innocent.is_undisturbed().await;
    }
}

#[tokio::test]
async fn a_hello_the_server_cannot_follow_is_refused() {
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    let hellos = [
        (of_versions(0, 0), Reason::UnsupportedVersion, "speaks version 0"),
        (of_versions(0, 2), Reason::UnsupportedVersion, "speaks version 2"),
        (of_versions(2, 3), Reason::UnsupportedVersion, "speaks versions 2 to 3"),
        (of_versions(2, 1), Reason::UnsupportedVersion, "this server, mp-manager 0."),
        (Hello { suites: vec![], ..hello() }, Reason::UnsupportedVersion, "suite"),
        (Hello { suites: vec![0, 99], ..hello() }, Reason::UnsupportedVersion, "suite"),
        (Hello { client_nonce: Bytes::new(), ..hello() }, Reason::Protocol, "nonce"),
        (Hello { client_nonce: vec![0; 33].into(), ..hello() }, Reason::Protocol, "nonce"),
    ];
    for (hello, reason, part) in hellos {
        let refusal = refused(&server, Step::Hello(hello)).await;
        assert_eq!(refusal.reason(), reason);
        assert!(refusal.message.contains(part), "{refusal}");
    }
    let refusal = refused(&server, proof(b"too early")).await;
    assert_eq!(refusal.reason(), Reason::Protocol);
    innocent.is_undisturbed().await;
}

fn of_versions(min_version: u32, version: u32) -> Hello {
    Hello { min_version, version, ..hello() }
}

/// Nobody in between can have them agree upon an older version than both speak.
#[tokio::test]
async fn the_version_is_agreed_upon_and_proven() {
    let server = TestServer::start();
    let newer = of_versions(1, 9);
    let connection = RawConnection::open(&server.address()).await;
    let mut handshake = within(connection.handshake(Step::Hello(newer.clone()))).await.unwrap();
    let challenge = within(handshake.challenge()).await;
    assert_eq!(challenge.version, version::NEWEST);
    // What the client would prove if its words had reached the server.
    let as_said = Hello { min_version: 0, ..newer };
    let key = AUTHKEY.as_bytes();
    handshake.say(proof(&transcript(&as_said, &challenge).client_proof(key))).await;
    let refusal = within(handshake.refusal()).await;
    assert_eq!(refusal.reason(), Reason::AuthenticationFailed);
}

#[tokio::test]
async fn an_oversized_handshake_is_refused() {
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    let process = Process { name: "x".repeat(1 << 20), ..Process::default() };
    let hello = Hello { process: Some(process), ..hello() };
    let refusal = refused(&server, Step::Hello(hello)).await;
    assert_eq!(refusal.reason(), Reason::Protocol);
    assert!(refusal.message.contains("limit"), "{refusal}");
    innocent.is_undisturbed().await;
}

#[tokio::test]
async fn a_servers_proof_is_no_clients_proof() {
    let server = TestServer::start();
    let connection = RawConnection::open(&server.address()).await;
    let mut handshake = within(connection.handshake(Step::Hello(hello()))).await.unwrap();
    let challenge = within(handshake.challenge()).await;
    let transcript = transcript(&hello(), &challenge);
    let key = AUTHKEY.as_bytes();
    let own = transcript.client_proof(key);
    handshake.say(proof(&transcript.server_proof(key, &own, &Welcome::default()))).await;
    let refusal = within(handshake.refusal()).await;
    assert_eq!(refusal.reason(), Reason::AuthenticationFailed);
}

#[tokio::test]
async fn what_was_said_on_one_connection_opens_no_other() {
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    let honest = RawConnection::open(&server.address()).await;
    let (hello, proven, _) = within(honest.authenticate()).await;

    let replay = RawConnection::open(&server.address()).await;
    let mut handshake = within(replay.handshake(Step::Hello(hello))).await.unwrap();
    within(handshake.challenge()).await;
    handshake.say(Step::Proof(proven)).await;
    let refusal = within(handshake.refusal()).await;
    assert_eq!(refusal.reason(), Reason::AuthenticationFailed);
    innocent.is_undisturbed().await;
}

/// It is told why, although its connection is about to be closed.
#[tokio::test]
async fn a_handshake_that_does_not_go_on_is_refused_in_time() {
    let server = TestServer::with(|options| options.handshake_timeout = Duration::from_millis(100));
    let innocent = Innocent::on(&server).await;
    let connection = RawConnection::open(&server.address()).await;
    let mut handshake = within(connection.handshake(Step::Hello(hello()))).await.unwrap();
    within(handshake.challenge()).await;
    let refusal = within(handshake.refusal()).await;
    assert_eq!(refusal.reason(), Reason::Unreachable);
    assert!(refusal.message.contains("not complete within 100ms"), "{refusal}");
    innocent.is_undisturbed().await;
}

async fn refused(server: &TestServer, first: Step) -> mp_manager_proto::v1::Error {
    let connection = RawConnection::open(&server.address()).await;
    let mut handshake = within(connection.handshake(first)).await.unwrap();
    within(handshake.refusal()).await
}

fn step(step: Step) -> HandshakeRequest {
    HandshakeRequest { step: Some(step) }
}

fn proof(bytes: &[u8]) -> Step {
    Step::Proof(Proof { proof: Bytes::copy_from_slice(bytes), ..Proof::default() })
}
