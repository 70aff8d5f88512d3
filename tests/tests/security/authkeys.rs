//! Several authkeys, for the time in which one takes the place of another.

use mp_manager::{Authkey, Error, Manager, blocking};
use mp_manager_server::{Options, ServeError, Server};
use mp_manager_tests::{AUTHKEY, TestServer, within};

use crate::comes_in;

const NEW: &str = "the tests' new authkey";

async fn connect(server: &TestServer, authkeys: &[&str]) -> mp_manager::Result<Manager> {
    let authkeys = authkeys.iter().copied().map(Authkey::from);
    within(Manager::builder().authkeys(authkeys).connect(&server.address())).await
}

fn accepts(server: &TestServer, authkeys: &[&str]) -> Result<(), ServeError> {
    server.handle().set_authkeys(authkeys.iter().copied().map(Authkey::from).collect())
}

#[tokio::test]
async fn an_authkey_is_replaced_without_anybody_noticing() {
    for server in [TestServer::start(), TestServer::with_tls(|_| {})] {
        let before = comes_in(&server.address()).await;
        accepts(&server, &[NEW, AUTHKEY]).unwrap();
        connect(&server, &[AUTHKEY]).await.unwrap();
        connect(&server, &[NEW]).await.unwrap();

        accepts(&server, &[NEW]).unwrap();
        let error = connect(&server, &[AUTHKEY]).await.unwrap_err();
        assert!(matches!(error, Error::AuthenticationFailed(_)), "{error:?}");
        connect(&server, &[NEW]).await.unwrap();
        // Who is in stays in.
        within(before.ping()).await.unwrap();
    }
}

#[tokio::test]
async fn a_client_tries_its_authkeys_in_turn() {
    let server = TestServer::start();
    let manager = connect(&server, &[NEW, AUTHKEY]).await.unwrap();
    within(manager.ping()).await.unwrap();
    // Children get the one that is good.
    let authkey = manager.environment().into_iter().find(|(name, _)| name == "MP_MANAGER_AUTHKEY");
    assert_eq!(authkey.unwrap().1, AUTHKEY);
    let error = connect(&server, &[NEW, "yet another authkey"]).await.unwrap_err();
    assert!(matches!(error, Error::AuthenticationFailed(_)), "{error:?}");
    let error = connect(&server, &[]).await.unwrap_err();
    assert!(matches!(error, Error::Configuration(_)), "{error:?}");

    let address = server.address();
    let connecting =
        move || blocking::Manager::builder().authkeys([NEW, AUTHKEY]).connect(&address)?.ping();
    within(tokio::task::spawn_blocking(connecting)).await.unwrap().unwrap();
}

/// Those before stay.
#[tokio::test]
async fn authkeys_that_cannot_be_used_change_nothing() {
    let server = TestServer::with_tls(|_| {});
    assert!(matches!(accepts(&server, &[]), Err(ServeError::NoAuthkey)));
    assert!(matches!(accepts(&server, &[NEW, "weak"]), Err(ServeError::WeakAuthkey { .. })));
    let many = accepts(&server, &[NEW; 17]).unwrap_err();
    assert!(matches!(many, ServeError::TooManyAuthkeys { count: 17, max: 16 }), "{many:?}");
    assert!(many.to_string().contains("at most 16"), "{many}");
    comes_in(&server.address()).await;

    let mut options = Options::new(AUTHKEY);
    options.authkeys.clear();
    let error = Server::bind(&"127.0.0.1:0".parse().unwrap(), options).await.err().unwrap();
    assert!(matches!(error, ServeError::NoAuthkey), "{error:?}");
}
