//! Authkeys that can be guessed: not without being asked for, and never in a way that makes guessing
//! cheap.

use mp_manager::{Authkey, Error, Manager};
use mp_manager_proto::{
    handshake::Transcript,
    v1::{Challenge, Hello, Proof, Reason, Suite, handshake_request::Step, handshake_response},
};
use mp_manager_server::{Options, ServeError, Server};
use mp_manager_tests::{
    AUTHKEY, TestServer, log,
    raw::{RawConnection, hello},
    rogue::{Rogue, challenge},
    within,
};

use crate::is_told;

const WEAK: &str = "123456";
const PLAIN: i32 = Suite::HmacSha256 as i32;
const STRETCHED: i32 = Suite::Argon2idHmacSha256 as i32;

/// A server with a weak authkey and a strong one, which others can reach.
fn server(address: &str) -> TestServer {
    TestServer::at(address, |options| {
        options.authkeys = vec![WEAK.into(), AUTHKEY.into()];
        options.allow_weak_authkey = true;
        options.insecure = true;
    })
}

/// The address as others would use it: not one of this machine.
fn from_elsewhere(address: &str) -> String {
    let address = address.replace("127.0.0.1", "0.0.0.0");
    if address.contains("://") { address } else { format!("tcp://{address}") }
}

async fn connect(address: &str, authkey: &str) -> mp_manager::Result<()> {
    within(Manager::connect(address, authkey)).await?.ping().await
}

#[tokio::test]
async fn where_others_can_reach_it_a_server_takes_none() {
    log::keep();
    for address in ["tls://0.0.0.0:0", "tcp://0.0.0.0:0"] {
        let mut options = Options::new("fifteen bytes!!");
        options.insecure = true;
        let error = Server::bind(&address.parse().unwrap(), options).await.err().unwrap();
        assert!(matches!(error, ServeError::WeakAuthkey { .. }), "{error:?}");
        for part in ["16 bytes", "mp-manager keygen", "--allow-weak-authkey", address] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
    let mut options = Options::new("sixteen bytes!!!");
    options.insecure = true;
    assert!(Server::bind(&"tcp://0.0.0.0:0".parse().unwrap(), options).await.is_ok());
    assert!(Server::bind(&"127.0.0.1:0".parse().unwrap(), Options::new(WEAK)).await.is_ok());
}

#[tokio::test]
async fn where_it_is_allowed_it_works() {
    for listens in ["tls://0.0.0.0:0", "tcp://0.0.0.0:0"] {
        let server = server(listens);
        let elsewhere = from_elsewhere(&server.address());
        for address in [server.address(), elsewhere] {
            for authkey in [WEAK, AUTHKEY] {
                connect(&address, authkey).await.unwrap();
            }
            for authkey in ["654321", "not the tests' authkey"] {
                let error = connect(&address, authkey).await.unwrap_err();
                assert!(matches!(error, Error::AuthenticationFailed(_)), "{error:?}");
            }
        }
    }
}

/// The next authkey may need another suite.
#[tokio::test]
async fn weak_and_strong_ones_are_tried_in_turn() {
    let server = server("tls://0.0.0.0:0");
    for authkeys in [["654321", AUTHKEY], ["not the tests' authkey", WEAK]] {
        let authkeys = authkeys.map(Authkey::from);
        let connecting = Manager::builder().authkeys(authkeys);
        within(connecting.connect(&from_elsewhere(&server.address()))).await.unwrap();
    }
}

/// What a client offers to prove, and so what a rogue server can get to guess from.
#[tokio::test]
async fn a_client_offers_what_fits_its_authkey_and_the_way() {
    for (authkey, is_elsewhere, offered) in [
        (AUTHKEY, false, &[PLAIN][..]),
        (AUTHKEY, true, &[PLAIN]),
        (WEAK, false, &[PLAIN, STRETCHED]),
        (WEAK, true, &[STRETCHED]),
    ] {
        let (address, heard) = Rogue::new(|| None, |_, _, _| None).serve().await;
        let address = if is_elsewhere { from_elsewhere(&address) } else { address };
        connect(&address, authkey).await.unwrap_err();
        assert_eq!(heard.hellos()[0].suites, offered);
    }
}

/// What an eavesdropper or a rogue server would like best: a proof to try one guess a microsecond on.
#[tokio::test]
async fn nobody_can_have_it_proven_as_it_is() {
    let plainly = || Some(handshake_response::Step::Challenge(challenge()));
    assert_eq!(challenge().suite, PLAIN);
    let (address, heard) = Rogue::new(plainly, |_, _, _| None).serve().await;
    let error = connect(&from_elsewhere(&address), WEAK).await.unwrap_err();
    assert!(matches!(error, Error::AuthenticationFailed(_)), "{error:?}");
    is_told(&error, &["a proof that was not offered", "impostor"]);
    assert!(!heard.proven());
}

/// Somebody on the way who takes the suite from the offer changes what both sides prove.
#[tokio::test]
async fn what_was_offered_is_part_of_the_proof() {
    let server = server("tls://0.0.0.0:0");
    let both = Hello { suites: vec![PLAIN, STRETCHED], ..hello() };
    for (claimed, arrived) in [
        (both.clone(), Hello { suites: vec![STRETCHED], ..hello() }),
        (Hello { suites: vec![STRETCHED], ..hello() }, both),
    ] {
        let connection = RawConnection::open(&server.address()).await;
        let mut handshake = within(connection.handshake(Step::Hello(arrived))).await.unwrap();
        let challenge = within(handshake.challenge()).await;
        assert_eq!(challenge.suite, STRETCHED);
        let refusal =
            prove(&mut handshake, connection.transcript(&claimed, &challenge), &challenge);
        assert_eq!(within(refusal).await.reason(), Reason::AuthenticationFailed);
    }
}

async fn prove(
    handshake: &mut mp_manager_tests::raw::Handshake,
    transcript: Transcript,
    challenge: &Challenge,
) -> mp_manager_proto::v1::Error {
    let secret = Authkey::from(WEAK).stretched(challenge.server_id);
    let proof = transcript.client_proof(secret.secret()).into();
    handshake.say(Step::Proof(Proof { proof, ..Proof::default() })).await;
    handshake.refusal().await
}

/// Even with the right authkey: a server that others can reach knows a weak one only stretched.
#[tokio::test]
async fn a_server_takes_no_plain_proof_of_it() {
    let server = server("tls://0.0.0.0:0");
    let plainly = Hello { suites: vec![PLAIN], ..hello() };
    let connection = RawConnection::open(&server.address()).await;
    let mut handshake = within(connection.handshake(Step::Hello(plainly.clone()))).await.unwrap();
    let challenge = within(handshake.challenge()).await;
    assert_eq!(challenge.suite, PLAIN);
    let proof = connection.transcript(&plainly, &challenge).client_proof(WEAK.as_bytes());
    handshake.say(Step::Proof(Proof { proof: proof.into(), ..Proof::default() })).await;
    let refusal = within(handshake.refusal()).await;
    assert_eq!(refusal.reason(), Reason::AuthenticationFailed);
}

/// Whether a server has weak authkeys is nobody's business.
#[tokio::test]
async fn a_server_without_weak_authkeys_gives_nothing_away() {
    let server = TestServer::with_tls(|_| {});
    let error = connect(&from_elsewhere(&server.address()), WEAK).await.unwrap_err();
    assert!(matches!(error, Error::AuthenticationFailed(_)), "{error:?}");
    is_told(&error, &["the client's authkey is not this server's"]);
}
