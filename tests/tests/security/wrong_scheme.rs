//! Who speaks TLS where plain text is spoken, or the other way round, is told so.

use mp_manager::{Error, Manager, blocking};
use mp_manager_proto::v1::handshake_request::Step;
use mp_manager_server::{Options, ServeError, Server};
use mp_manager_tests::{
    AUTHKEY, TestServer,
    raw::{RawConnection, hello},
    within,
};
use tonic::Code;

use crate::{comes_in, fails_to_connect, is_told};

#[tokio::test]
async fn a_manager_that_speaks_tls_says_so() {
    let server = TestServer::with_tls(|_| {});
    let plain = server.address().replace("tls://", "tcp://");
    let parts = [plain.as_str(), "this manager speaks TLS", "tls://"];
    fails_to_connect(&plain, &parts).await;
    let blocking = plain.clone();
    let connecting = move || blocking::Manager::connect(&blocking, AUTHKEY);
    let error = within(tokio::task::spawn_blocking(connecting)).await.unwrap().unwrap_err();
    is_told(&error, &parts);
    comes_in(&server.address()).await;
}

/// Whatever it asks for, and whatever it knows.
#[tokio::test]
async fn in_plain_text_nothing_is_served_there() {
    let server = TestServer::with_tls(|_| {});
    let plain = RawConnection::open(server.address().strip_prefix("tls://").unwrap()).await;
    let handshake = within(plain.handshake(Step::Hello(hello()))).await.err().unwrap();
    let session = within(plain.session()).await.err().unwrap();
    let beats = within(plain.client().keep_alive(tokio_stream::empty())).await.err().unwrap();
    for refusal in [handshake, session, beats] {
        assert_eq!(refusal.code(), Code::FailedPrecondition);
        assert!(refusal.message().contains("this manager speaks TLS"), "{refusal}");
    }
}

#[tokio::test]
async fn a_manager_that_speaks_plain_text_is_found_out() {
    let server = TestServer::start();
    let tls = format!("tls://{}", server.address());
    let plain = format!("tcp://{}", server.address());
    fails_to_connect(&tls, &[&tls, "does not speak TLS", &plain]).await;
    comes_in(&server.address()).await;
}

/// As where nobody speaks anything.
#[tokio::test]
async fn who_hangs_up_is_said_to() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    fails_to_connect(&format!("tls://{address}"), &["broke off", &format!("tcp://{address}")])
        .await;
}

#[tokio::test]
async fn plain_text_beyond_this_machine_must_be_allowed() {
    for address in ["tcp://0.0.0.0:0", "tcp://[::]:0"] {
        let address = address.parse().unwrap();
        let error = Server::bind(&address, Options::new(AUTHKEY)).await.err().unwrap();
        assert!(matches!(error, ServeError::PlainText { .. }), "{error:?}");
        for part in [&address.to_string(), "tls://", "127.0.0.1", "unix:", "--insecure"] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}

/// Who gives certificates expects them to be used.
#[tokio::test]
async fn certificates_are_not_for_plain_text() {
    let certified = mp_manager_tests::tls::Certified::self_signed();
    let mut options = Options::new(AUTHKEY);
    options.tls.identity = Some(certified.identity());
    let error = Server::bind(&"127.0.0.1:0".parse().unwrap(), options).await.err().unwrap();
    assert!(matches!(error, ServeError::NotTls { .. }), "{error:?}");
    assert!(error.to_string().contains("tls://"), "{error}");

    let server = TestServer::at("tcp://0.0.0.0:0", |options| options.insecure = true);
    let elsewhere = server.address().replace("127.0.0.1", "tcp://0.0.0.0");
    let builder = Manager::builder().authkey(AUTHKEY).tls_ca(certified.certificate);
    let error = within(builder.connect(&elsewhere)).await.unwrap_err();
    assert!(matches!(error, Error::Configuration(_)), "{error:?}");
    is_told(&error, &[&elsewhere, "plain text", "tls://"]);
}
