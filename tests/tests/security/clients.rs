//! Clients that would like to be in, on a connection with TLS.

use std::time::Duration;

use mp_manager_proto::{
    handshake::{Binding, Transcript},
    v1::{Challenge, Hello, Proof, Reason, handshake_request::Step},
};
use mp_manager_tests::{
    AUTHKEY, TestServer, log,
    raw::{RawConnection, hello},
    tls, within,
};
use rustls::version::TLS12;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::Code;

use crate::comes_in;

/// What a client takes for what was said.
type Said<'a> = dyn Fn(&Hello, &Challenge) -> Transcript + 'a;

#[tokio::test]
async fn who_skips_the_proof_does_not_get_in() {
    let server = TestServer::with_tls(|_| {});
    let connection = RawConnection::open(&server.address()).await;
    let refused = within(connection.session()).await.err().unwrap();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(refused.message().contains("complete Handshake on it first"), "{refused}");

    let mut handshake = within(connection.handshake(Step::Hello(hello()))).await.unwrap();
    within(handshake.challenge()).await;
    let refused = within(connection.session()).await.err().unwrap();
    assert_eq!(refused.code(), Code::Unauthenticated);
    handshake.fall_silent();
    let refusal = within(handshake.refusal()).await;
    assert_eq!(refusal.reason(), Reason::AuthenticationFailed);
    assert!(refusal.message.contains("did not prove"), "{refusal}");
    comes_in(&server.address()).await;
}

/// With the authkey, but as if on another connection.
#[tokio::test]
async fn a_proof_for_another_connection_opens_none() {
    let server = TestServer::with_tls(|_| {});
    let other = RawConnection::open(&server.address()).await;
    let bindings: [&Said<'_>; 3] = [
        &|hello, challenge| Transcript::new(hello, challenge, &Binding::None),
        &|hello, challenge| Transcript::new(hello, challenge, &Binding::Unix),
        &|hello, challenge| other.transcript(hello, challenge),
    ];
    for binding in bindings {
        let connection = RawConnection::open(&server.address()).await;
        let mut handshake = within(connection.handshake(Step::Hello(hello()))).await.unwrap();
        let challenge = within(handshake.challenge()).await;
        let proof = binding(&hello(), &challenge).client_proof(AUTHKEY.as_bytes());
        handshake.say(Step::Proof(Proof { proof: proof.into(), ..Proof::default() })).await;
        let refusal = within(handshake.refusal()).await;
        assert_eq!(refusal.reason(), Reason::AuthenticationFailed);
        assert!(refusal.hint.contains("TLS ends nowhere between them"), "{refusal}");
    }
    within(other.authenticate()).await;
}

#[tokio::test]
async fn who_speaks_only_tls_1_2_does_not_get_in() {
    log::keep();
    let server = TestServer::with_tls(|_| {});
    let address = server.address();
    let place = address.strip_prefix("tls://").unwrap();
    let error = within(tls::connect(place, &[&TLS12])).await.unwrap_err();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
    comes_in(&address).await;
    log::until_said("refused a client: no TLS came about").await;
}

/// A ClientHello may be long, and come in pieces: nobody waits for the end of it.
#[tokio::test]
async fn who_never_comes_to_an_end_is_cut_off() {
    let server = TestServer::with_tls(|options| {
        options.handshake_timeout = Duration::from_secs(600);
    });
    let address = server.address();
    let mut stream = TcpStream::connect(address.strip_prefix("tls://").unwrap()).await.unwrap();
    let mut begun = vec![0x16, 3, 1, 0x40, 0, 1, 0, 0xff, 0xf0];
    begun.resize(5 + (16 << 10), 0);
    stream.write_all(&begun).await.unwrap();
    let mut heard = Vec::new();
    let _ = within(stream.read_to_end(&mut heard)).await;
    comes_in(&address).await;
}

/// A connection that stops before TLS is up has the time of any other, and holds up nobody.
#[tokio::test]
async fn who_says_nothing_is_cut_off() {
    let server = TestServer::with_tls(|options| {
        options.handshake_timeout = Duration::from_millis(100);
    });
    let address = server.address();
    let place = address.strip_prefix("tls://").unwrap();
    // Nothing, the beginning of a record, a record that is no ClientHello, and one that is cut off.
    let said: [&[u8]; 4] = [b"", &[0x16], &[0x16, 3, 1, 0, 4, 0, 0, 0, 0], &[0x16, 3, 1, 2, 0, 1]];
    for said in said {
        let mut stream = TcpStream::connect(place).await.unwrap();
        stream.write_all(said).await.unwrap();
        comes_in(&address).await;
        let mut heard = Vec::new();
        let _ = within(stream.read_to_end(&mut heard)).await;
    }
}
