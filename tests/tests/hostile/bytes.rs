//! What is no HTTP/2 at all, and no gRPC.

use std::time::Duration;

use mp_manager_proto::v1::Reason;
use mp_manager_tests::{
    TestServer,
    raw::{RawConnection, RawSession},
    within,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::Innocent;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The server closes the connection by itself, at the latest when the time for a handshake is up.
#[tokio::test]
async fn what_is_no_handshake_is_cut_off() {
    let server = TestServer::with(|options| options.handshake_timeout = Duration::from_millis(100));
    let innocent = Innocent::on(&server).await;
    let settings_and_garbage = [PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0], &[0xff; 64]].concat();
    let sent: [&[u8]; 6] = [
        b"",
        &PREFACE[..10],
        PREFACE,
        b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n",
        &[0xff; 64 << 10],
        &settings_and_garbage,
    ];
    for sent in sent {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        // It may have had enough before it has everything.
        let _ = stream.write_all(sent).await;
        let mut heard = Vec::new();
        let _ = within(stream.read_to_end(&mut heard)).await;
        innocent.is_undisturbed().await;
    }
}

#[tokio::test]
async fn a_connection_may_break_anywhere() {
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    for cut in 0..PREFACE.len() {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(&PREFACE[..cut]).await.unwrap();
    }
    innocent.is_undisturbed().await;
}

/// gRPC puts a flag and a length before each message.
#[tokio::test]
async fn a_message_that_is_none_ends_its_session() {
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    let bodies: [&[u8]; 5] = [
        // Four bytes come where a hundred were announced.
        &[0, 0, 0, 0, 100, 8, 1, 8, 1],
        // Four gigabytes are announced.
        &[0, 0xff, 0xff, 0xff, 0xff, 8, 1],
        // It is compressed, which nobody agreed on.
        &[1, 0, 0, 0, 2, 8, 1],
        // There is no such flag.
        &[77, 0, 0, 0, 2, 8, 1],
        // It ends in the middle of the length.
        &[0, 0, 0],
    ];
    for body in bodies {
        let connection = RawConnection::open(&server.address()).await;
        within(connection.authenticate()).await;
        let heard = within(connection.post(body)).await;
        let ended = heard.last().and_then(|frame| frame.ended.clone()).expect("it is told why");
        assert_eq!(ended.reason(), Reason::Protocol, "{ended}");
        assert!(ended.message.contains("a frame cannot be read"), "{ended}");
        innocent.is_undisturbed().await;
    }
}

#[tokio::test]
async fn a_message_that_is_no_frame_ends_its_session() {
    let server = TestServer::with(|options| options.limits.max_frame_bytes = 64 << 10);
    let innocent = Innocent::on(&server).await;
    let garbage = vec![0xff; 100];
    // A request of 100 bytes that has two.
    let truncated = vec![0x2a, 100, 8, 1];
    let oversized = vec![0; (64 << 10) + 1];
    for message in [garbage, truncated, oversized] {
        let mut session = RawSession::start(&server.address()).await;
        session.send_bytes(message).await;
        let ended = within(session.farewell()).await.expect("it is told why");
        assert_eq!(ended.reason(), Reason::Protocol);
        assert!(ended.message.contains("a frame cannot be read"), "{ended}");
        innocent.is_undisturbed().await;
    }
}
