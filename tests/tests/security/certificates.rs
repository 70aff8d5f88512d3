//! Certificates of one's own: an authority, clients that need one, and new ones while it runs.

use std::fs;

use mp_manager::{Builder, Error, Manager, Pem, blocking};
use mp_manager_proto::tls::VERSIONS;
use mp_manager_server::{Identity, Options, ServeError, Server, Tls};
use mp_manager_tests::{
    AUTHKEY, TestServer,
    tls::{self, Authority, Certified},
    within,
};

use crate::{comes_in, is_told};

fn client() -> Builder {
    Manager::builder().authkey(AUTHKEY)
}

/// What a server shows whose certificate is for `name`.
fn shows(authority: &Authority, name: &str) -> TestServer {
    let identity = authority.issue(name).identity();
    TestServer::with_tls(|options| options.tls.identity = Some(identity))
}

#[tokio::test]
async fn who_trusts_an_authority_checks_the_certificate() {
    let authority = Authority::new();
    let server = shows(&authority, "127.0.0.1");
    let trusting = client().tls_ca(authority.pem());
    within(trusting.connect(&server.address())).await.unwrap().ping().await.unwrap();
    // Who does not care gets in as well, and so do threads.
    comes_in(&server.address()).await;
    let (address, ca) = (server.address(), authority.pem());
    let connecting =
        move || blocking::Manager::builder().authkey(AUTHKEY).tls_ca(ca).connect(&address)?.ping();
    within(tokio::task::spawn_blocking(connecting)).await.unwrap().unwrap();
}

#[tokio::test]
async fn who_trusts_another_authority_does_not_go_on() {
    let server = shows(&Authority::new(), "127.0.0.1");
    let self_signed = TestServer::with_tls(|_| {});
    for server in [server, self_signed] {
        let connecting = client().tls_ca(Authority::new().pem());
        let error = within(connecting.connect(&server.address())).await.unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "{error:?}");
        is_told(&error, &["its certificate is not to be trusted", "authority"]);
    }
}

#[tokio::test]
async fn a_certificate_is_for_its_host() {
    let authority = Authority::new();
    let server = shows(&authority, "manager.example.org");
    let connecting = client().tls_ca(authority.pem());
    let error = within(connecting.connect(&server.address())).await.unwrap_err();
    is_told(&error, &["its certificate is not to be trusted", "for 127.0.0.1"]);
}

#[tokio::test]
async fn a_manager_may_ask_for_certificates() {
    let authority = Authority::new();
    let ca = authority.pem();
    let server = TestServer::with_tls(|options| {
        options.tls.client_ca = Some(Pem::from(ca));
        options.limits.max_failed_handshakes = 1000;
    });
    let Certified { certificate, key } = authority.issue("a client");
    let known = client().tls_identity(certificate.clone(), key.clone());
    within(known.connect(&server.address())).await.unwrap().ping().await.unwrap();
    let address = server.address();
    let connecting = move || {
        let builder = blocking::Manager::builder().authkey(AUTHKEY);
        builder.tls_identity(certificate, key).connect(&address)?.ping()
    };
    within(tokio::task::spawn_blocking(connecting)).await.unwrap().unwrap();

    // Which of the two comes first, the reason or the end of the connection, is up to the system:
    // it must be the reason every time.
    for _ in 0..50 {
        let error = within(client().connect(&server.address())).await.unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "{error:?}");
        is_told(&error, &["asks for a client's certificate", "--tls-cert", "tls_identity"]);
    }
    let Certified { certificate, key } = Authority::new().issue("a client");
    let unknown = client().tls_identity(certificate, key);
    let error = within(unknown.connect(&server.address())).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    is_told(&error, &["does not accept our certificate", "authority"]);
}

/// A certificate does not take the place of the authkey.
#[tokio::test]
async fn a_certificate_alone_opens_nothing() {
    let authority = Authority::new();
    let ca = authority.pem();
    let server = TestServer::with_tls(|options| options.tls.client_ca = Some(Pem::from(ca)));
    let Certified { certificate, key } = authority.issue("a client");
    let builder = Manager::builder().authkey("another authkey").tls_identity(certificate, key);
    let error = within(builder.connect(&server.address())).await.unwrap_err();
    assert!(matches!(error, Error::AuthenticationFailed(_)), "{error:?}");
}

#[tokio::test]
async fn a_certificate_is_replaced_while_the_server_runs() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
    let write = |certified: &Certified| {
        fs::write(&certificate, &certified.certificate).unwrap();
        fs::write(&key, &certified.key).unwrap();
    };
    let (old, new) = (Certified::self_signed(), Certified::self_signed());
    write(&old);
    let mut tls = Tls::default();
    tls.identity =
        Some(Identity { certificate: certificate.clone().into(), key: key.clone().into() });
    let server = TestServer::with_tls(|options| options.tls = tls.clone());
    let before = comes_in(&server.address()).await;
    assert_eq!(shown(&server).await, old.chain()[0].to_vec());

    // What cannot be used is named, and changes nothing.
    fs::write(&certificate, "no certificate").unwrap();
    let error = server.handle().set_tls(&tls).unwrap_err().to_string();
    assert!(error.contains("cert.pem: there is no certificate in it"), "{error}");
    fs::write(&certificate, &new.certificate).unwrap();
    let error = server.handle().set_tls(&tls).unwrap_err().to_string();
    assert!(error.contains("cert.pem") && error.contains("key.pem"), "{error}");
    fs::remove_file(&key).unwrap();
    let error = server.handle().set_tls(&tls).unwrap_err().to_string();
    assert!(error.contains("key.pem: it cannot be read"), "{error}");
    assert_eq!(shown(&server).await, old.chain()[0].to_vec());

    write(&new);
    server.handle().set_tls(&tls).unwrap();
    assert_eq!(shown(&server).await, new.chain()[0].to_vec());
    comes_in(&server.address()).await;
    within(before.ping()).await.unwrap();
}

#[tokio::test]
async fn a_server_without_tls_has_no_certificate_to_replace() {
    let server = TestServer::start();
    let error = server.handle().set_tls(&Tls::default()).unwrap_err();
    assert!(matches!(error, ServeError::NotTls { .. }), "{error:?}");
}

#[tokio::test]
async fn what_cannot_be_used_keeps_a_server_from_starting() {
    let mut options = Options::new(AUTHKEY);
    options.tls.client_ca = Some("/nowhere/ca.pem".into());
    let error = Server::bind(&"0.0.0.0:0".parse().unwrap(), options).await.err().unwrap();
    assert!(matches!(error, ServeError::Tls(_)), "{error:?}");
    assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
}

#[tokio::test]
async fn what_cannot_be_used_keeps_a_client_from_connecting() {
    let server = TestServer::with_tls(|_| {});
    let Certified { certificate, key } = Certified::self_signed();
    let other = Certified::self_signed().key;
    for (builder, part) in [
        (client().tls_ca("/nowhere/ca.pem"), "/nowhere/ca.pem"),
        (client().tls_ca(key.clone()), "there is no certificate in it"),
        (client().tls_identity(certificate.clone(), certificate.clone()), "no private key in it"),
        (client().tls_identity(certificate, other), "with the private key"),
    ] {
        let error = within(builder.connect(&server.address())).await.unwrap_err();
        assert!(matches!(error, Error::Configuration(_)), "{error:?}");
        is_told(&error, &[part]);
    }
}

/// A child finds the files, wherever it runs, and no others that it inherits.
#[tokio::test]
async fn children_are_told_which_certificates() {
    let authority = Authority::new();
    let server = shows(&authority, "127.0.0.1");
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    fs::write(&ca, authority.pem()).unwrap();
    let connecting = client().tls_ca(ca.as_path());
    let manager = within(connecting.connect(&server.address())).await.unwrap();
    let environment = manager.environment();
    let variable = |name: &str| {
        let found = environment.iter().find(|(variable, _)| variable == name);
        found.unwrap_or_else(|| panic!("{name} is not set")).1.clone()
    };
    assert_eq!(variable("MP_MANAGER_ADDRESS"), server.address().as_str());
    assert_eq!(variable("MP_MANAGER_TLS_CA"), ca);
    assert_eq!(variable("MP_MANAGER_TLS_CERT"), "");
    assert_eq!(variable("MP_MANAGER_TLS_KEY"), "");
}

/// The certificate that it shows now.
async fn shown(server: &TestServer) -> Vec<u8> {
    let address = server.address();
    let stream = within(tls::connect(address.strip_prefix("tls://").unwrap(), &VERSIONS)).await;
    let stream = stream.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// A client may have pinned it.
#[tokio::test]
async fn a_managers_own_certificate_stays_when_files_are_read_again() {
    let server = TestServer::with_tls(|_| {});
    let shown = async || comes_in(&server.address()).await.certificate().unwrap();
    let first = shown().await;
    let other = Certified::self_signed();
    let mut given = Tls::default();
    given.identity = Some(other.identity());
    server.handle().set_tls(&given).unwrap();
    assert_eq!(
        mp_manager_proto::tls::certificates(shown().await.as_bytes()).unwrap(),
        other.chain()
    );
    server.handle().set_tls(&Tls::default()).unwrap();
    assert_eq!(shown().await, first);
}

#[tokio::test]
async fn without_tls_there_is_no_certificate() {
    let server = TestServer::start();
    assert_eq!(comes_in(&server.address()).await.certificate(), None);
}
