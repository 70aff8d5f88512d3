//! What a process has in its environment counts, whatever it is given beside it.

use std::{
    env, fs,
    process::{Command, Stdio},
    time::Duration,
};

use mp_manager::{Error, Manager};
use mp_manager_tests::{AUTHKEY, TestServer, tls::Authority, within};

/// Not in its environment, so that the authkey of a child is given and the rest is not.
const GIVEN: &str = "GIVEN_AUTHKEY";

/// What the other tests run in a process of its own.
#[tokio::test]
#[ignore = "it is run by the others, with an environment"]
async fn child() {
    let builder = match env::var(GIVEN) {
        Ok(authkey) => Manager::builder().authkey(authkey),
        Err(_) => Manager::builder(),
    };
    match builder.connect_from_env().await {
        Ok(manager) => manager.ping().await.unwrap(),
        Err(error) => panic!("{error}"),
    }
}

/// Whether the child got in, and what it said.
async fn child_with(environment: Vec<(&'static str, String)>) -> (bool, String) {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "environment::child", "--ignored", "--nocapture"]);
    command.envs(environment).stdin(Stdio::null());
    let running = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = within(running).await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

/// Whoever names an authority wants it to be asked, wherever the authkey comes from.
#[tokio::test]
async fn an_authority_in_the_environment_counts_with_any_authkey() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let identity = authority.issue("127.0.0.1").identity();
    let server = TestServer::with_tls(|options| options.tls.identity = Some(identity));
    for (trusted, gets_in) in [(&authority, true), (&Authority::new(), false)] {
        let ca = directory.path().join("ca.pem");
        fs::write(&ca, trusted.pem()).unwrap();
        for variable in [GIVEN, "MP_MANAGER_AUTHKEY"] {
            let (got_in, said) = child_with(vec![
                ("MP_MANAGER_ADDRESS", server.address()),
                ("MP_MANAGER_TLS_CA", ca.display().to_string()),
                (variable, AUTHKEY.into()),
            ])
            .await;
            assert_eq!(got_in, gets_in, "{variable}: {said}");
            assert!(gets_in || said.contains("its certificate is not to be trusted"), "{said}");
        }
    }
}

/// As it is for the variables that name files.
#[tokio::test]
async fn an_address_that_is_empty_counts_as_unset() {
    let environment =
        vec![("MP_MANAGER_ADDRESS", String::new()), ("MP_MANAGER_AUTHKEY", AUTHKEY.into())];
    let (got_in, said) = child_with(environment).await;
    assert!(!got_in && said.contains("MP_MANAGER_ADDRESS is not set"), "{said}");
}

#[tokio::test]
async fn an_embedded_manager_has_the_authkey_it_is_given_and_tells_children() {
    for secret in [&b"correct horse battery staple"[..], b"\0 any bytes \xff\n", b"hex:00"] {
        let manager = Manager::builder().authkey(secret).start().await.unwrap();
        let environment = manager.environment().into_iter();
        let environment: Vec<_> =
            environment.map(|(name, value)| (name.into_string().unwrap(), value)).collect();
        let value = |name: &str| {
            let found = environment.iter().find(|(known, _)| known == name);
            found.unwrap().1.clone().into_string().unwrap()
        };
        let address = value("MP_MANAGER_ADDRESS");
        let authkey = value("MP_MANAGER_AUTHKEY");
        within(Manager::connect(&address, secret)).await.unwrap();
        within(Manager::connect(&address, authkey.as_str())).await.unwrap();
        let (got_in, said) =
            child_with(vec![("MP_MANAGER_ADDRESS", address), ("MP_MANAGER_AUTHKEY", authkey)])
                .await;
        assert!(got_in, "{said}");
    }
}

#[tokio::test]
async fn an_authkey_may_be_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("authkey");
    let server = TestServer::with_tls(|_| {});
    let address = server.address();
    let connecting = || Manager::builder().authkey_file(&file).connect(&address);
    for (text, problem) in [(None, "cannot read"), (Some(" \n"), "has no authkey in it")] {
        if let Some(text) = text {
            fs::write(&file, text).unwrap();
        }
        let error = within(connecting()).await.unwrap_err();
        assert!(matches!(error, Error::Configuration(_)), "{error:?}");
        assert!(error.to_string().contains(problem), "{error}");
    }
    fs::write(&file, format!("{AUTHKEY}\n")).unwrap();
    within(connecting()).await.unwrap().ping().await.unwrap();
    // As a program would that reads it itself.
    let text = fs::read_to_string(&file).unwrap();
    within(Manager::connect(&address, text)).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_used_is_refused() {
    let authority = Authority::new();
    let starting = Manager::builder().tls_ca(authority.pem()).start();
    let error = within(starting).await.unwrap_err();
    assert!(error.to_string().contains("without TLS"), "{error}");
    for authkey in ["", " \n"] {
        let error = within(Manager::builder().authkey(authkey).start()).await.unwrap_err();
        assert!(error.to_string().contains("authkey is empty"), "{error}");
    }
}

#[tokio::test]
async fn a_lease_that_no_manager_grants_is_refused() {
    let server = TestServer::with_tls(|_| {});
    for milliseconds in [0, 1, 999, 300_001, u64::MAX] {
        let lease = Duration::from_millis(milliseconds);
        let builder = Manager::builder().authkey(AUTHKEY).lease(lease);
        let connecting = within(builder.clone().connect(&server.address())).await;
        for refused in [connecting, within(builder.start()).await] {
            let error = refused.unwrap_err();
            assert!(matches!(error, Error::Configuration(_)), "{error:?}");
            assert!(error.to_string().contains("from 1s to 300s"), "{error}");
        }
    }
    for milliseconds in [1_000, 300_000] {
        let builder =
            Manager::builder().authkey(AUTHKEY).lease(Duration::from_millis(milliseconds));
        within(builder.connect(&server.address())).await.unwrap();
    }
}
