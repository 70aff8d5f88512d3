//! Clients whose TLS exports nothing: their proof is bound to the manager's certificate alone. That keeps
//! out everybody who has not its private key, and takes nothing from those who can do better.

use mp_manager_proto::{
    authkey::Authkey,
    handshake::{Binding, Transcript},
    v1::{Binding as Offered, Challenge, Error, Hello, Proof, Reason, handshake_request::Step},
};
use mp_manager_tests::{
    AUTHKEY, TestServer, raw,
    raw::RawConnection,
    tls::{Certified, sit_between},
    within,
};

const EXPORTER: i32 = Offered::TlsExporter as i32;
const CERTIFICATE: i32 = Offered::TlsCertificate as i32;

fn offering(bindings: &[i32]) -> Hello {
    Hello { bindings: bindings.to_vec(), ..raw::hello() }
}

/// Says one hello, and proves another: what the server challenged, and whether it was convinced.
async fn prove(
    connection: &RawConnection,
    said: &Hello,
    proven: &Hello,
    binding: &Binding,
) -> (Challenge, Result<(), Error>) {
    let mut handshake = connection.handshake(Step::Hello(said.clone())).await.unwrap();
    let challenge = handshake.challenge().await;
    let transcript = Transcript::new(proven, &challenge, binding);
    let proof = transcript.client_proof(Authkey::from(AUTHKEY).secret());
    let said = Proof { proof: proof.clone().into(), ..Proof::default() };
    handshake.say(Step::Proof(said)).await;
    let outcome = handshake.outcome().await.map(|welcome| {
        let authkey = Authkey::from(AUTHKEY);
        assert!(transcript.verify_server(authkey.secret(), &proof, &welcome));
    });
    (challenge, outcome)
}

/// The same, by a client that sees only the certificate.
async fn prove_certificate(address: &str) -> Result<(), Error> {
    let connection = RawConnection::open(address).await;
    let (hello, binding) = (offering(&[CERTIFICATE]), connection.binding().clone());
    let (challenge, outcome) =
        within(prove(&connection, &hello, &hello, &binding.without_exporter())).await;
    assert_eq!(challenge.binding, CERTIFICATE);
    outcome
}

#[tokio::test]
async fn a_client_without_an_exporter_gets_in() {
    let server = TestServer::with_tls(|_| {});
    prove_certificate(&server.address()).await.unwrap();
}

#[tokio::test]
async fn somebody_in_the_middle_with_another_certificate_learns_nothing() {
    let server = TestServer::with_tls(|_| {});
    let own = Certified::self_signed().acceptor(&mp_manager_proto::tls::VERSIONS);
    let middle = sit_between(Some(own), &server.address()).await;
    let refusal = prove_certificate(&format!("tls://{middle}")).await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::AuthenticationFailed);
    assert!(refusal.hint.contains("that TLS ends nowhere between them"), "{refusal:?}");
}

/// That is what the exporter is for.
#[tokio::test]
async fn with_the_managers_private_key_he_passes_everything_on() {
    let stolen = Certified::self_signed();
    let server = TestServer::with_tls(|options| options.tls.identity = Some(stolen.identity()));
    let own = stolen.acceptor(&mp_manager_proto::tls::VERSIONS);
    let middle = sit_between(Some(own), &server.address()).await;
    prove_certificate(&format!("tls://{middle}")).await.unwrap();
}

#[tokio::test]
async fn nobody_is_talked_down_to_the_certificate() {
    let server = TestServer::with_tls(|_| {});
    let (both, none) = (offering(&[EXPORTER, CERTIFICATE]), offering(&[]));
    let certificate = offering(&[CERTIFICATE]);
    for (offered, passed_on) in
        [(&both, &certificate), (&none, &certificate), (&certificate, &none)]
    {
        for sees_exporter in [true, false] {
            let connection = RawConnection::open(&server.address()).await;
            let binding = connection.binding().clone();
            let binding = if sees_exporter { binding } else { binding.without_exporter() };
            let (_, outcome) = within(prove(&connection, passed_on, offered, &binding)).await;
            assert_eq!(outcome.unwrap_err().reason(), Reason::AuthenticationFailed);
        }
    }
}

#[tokio::test]
async fn the_exporter_is_taken_where_it_is_offered() {
    let server = TestServer::with_tls(|_| {});
    for (bindings, taken) in [
        (&[][..], Offered::Unspecified),
        (&[EXPORTER], Offered::TlsExporter),
        (&[CERTIFICATE, EXPORTER, 99], Offered::TlsExporter),
    ] {
        let connection = RawConnection::open(&server.address()).await;
        let (hello, binding) = (offering(bindings), connection.binding().clone());
        let (challenge, outcome) = within(prove(&connection, &hello, &hello, &binding)).await;
        assert_eq!(challenge.binding(), taken);
        outcome.unwrap();
    }
}

#[tokio::test]
async fn a_binding_that_nobody_knows_is_refused() {
    let server = TestServer::with_tls(|_| {});
    let connection = RawConnection::open(&server.address()).await;
    let hello = offering(&[0, 99]);
    let mut handshake = within(connection.handshake(Step::Hello(hello))).await.unwrap();
    let refusal = within(handshake.refusal()).await;
    assert_eq!(refusal.reason(), Reason::UnsupportedVersion);
    assert!(refusal.hint.contains("BINDING_TLS_CERTIFICATE"), "{refusal:?}");
}
