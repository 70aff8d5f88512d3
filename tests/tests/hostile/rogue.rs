//! Servers that do not know the authkey: a client tells them nothing but its name.

use std::time::Duration;

use bytes::Bytes;
use mp_manager::{Error, Manager, blocking};
use mp_manager_proto::v1::{Challenge, Hello, Proof, Welcome, handshake_response::Step};
use mp_manager_tests::{
    AUTHKEY,
    raw::transcript,
    rogue::{Rogue, challenge},
    within,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

#[tokio::test]
async fn a_server_without_the_authkey_is_refused() {
    let honest = || Some(Step::Challenge(challenge()));
    let never = |_: &Hello, _: &Challenge, _: &Proof| panic!("it got a proof");
    let rogues = [
        Rogue::new(|| None, never),
        Rogue::new(|| Some(Step::Welcome(Welcome::default())), never),
        Rogue::new(|| Some(Step::Challenge(Challenge { suite: 0, ..challenge() })), never),
        Rogue::new(
            || {
                let server_nonce = Bytes::from_static(b"short");
                Some(Step::Challenge(Challenge { server_nonce, ..challenge() }))
            },
            never,
        ),
        Rogue::new(honest, |_, _, _| None),
        Rogue::new(honest, |_, _, _| Some(Step::Challenge(challenge()))),
        Rogue::new(honest, |_, _, _| Some(Step::Welcome(Welcome::default()))),
        // The client's own proof, reflected.
        Rogue::new(honest, |_, _, proof| {
            let proof = proof.proof.clone();
            Some(Step::Welcome(Welcome { proof, ..Welcome::default() }))
        }),
        // A proof of another authkey.
        Rogue::new(honest, |hello, challenge, proof| {
            let mut welcome = Welcome { session: 1, ..Welcome::default() };
            let transcript = transcript(hello, challenge);
            welcome.proof =
                transcript.server_proof(b"another authkey", &proof.proof, &welcome).into();
            Some(Step::Welcome(welcome))
        }),
    ];
    for (n, rogue) in rogues.into_iter().enumerate() {
        let (address, heard) = rogue.serve().await;
        let error = within(Manager::connect(&address, AUTHKEY)).await.unwrap_err();
        assert!(matches!(error, Error::AuthenticationFailed(_)), "rogue {n}: {error:?}");
        assert!(error.to_string().contains("authentication failed"), "rogue {n}: {error}");
        assert!(!heard.session_opened(), "rogue {n} was trusted");
    }
}

#[tokio::test]
async fn a_server_that_speaks_a_version_that_was_not_offered_is_refused() {
    let newer = || Some(Step::Challenge(Challenge { version: 7, ..challenge() }));
    let (address, heard) = Rogue::new(newer, |_, _, _| panic!("it got a proof")).serve().await;
    let error = within(Manager::connect(&address, AUTHKEY)).await.unwrap_err();
    assert!(matches!(error, Error::Unsupported(_)), "{error:?}");
    let said = error.to_string();
    for part in ["version 7", "this client, mp-manager 0.", "version 1", "for both"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!heard.session_opened());
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let connecting = Manager::builder().authkey(AUTHKEY).connect_timeout(Duration::from_millis(50));
    let error = within(connecting.connect(&address)).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(error.to_string().contains("no answer within 50ms"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_manager_is_said_to_be_none() {
    let answers: [&[u8]; 4] =
        [b"", b"HTTP/1.1 200 OK\r\n\r\n", &[0xff; 100], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"];
    for answer in answers {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                // Reading first: closing with something unread would reset the connection.
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(answer).await;
            }
        });
        let error = within(Manager::connect(&address, AUTHKEY)).await.unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "{error:?}");
        assert!(error.to_string().contains("is it a manager"), "{error}");
        let blocking = move || blocking::Manager::connect(&address, AUTHKEY);
        let error = within(tokio::task::spawn_blocking(blocking)).await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    }
}
