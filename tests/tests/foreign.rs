//! Clients that are not ours. What they do is in tests/foreign, which `.ci/foreign` runs; here is what needs
//! no other language.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

use std::{fs, path::Path};

use mp_manager_sim::planted::bugs_in;
use mp_manager_tests::{TestServer, within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// A field of a list that is not compressed.
fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [vec![0x40], text(name), text(value)].concat()
}

/// What gRPC's core says on a unix socket when it asks after the manager's health.
fn ask_after_health(authority: &str) -> Vec<u8> {
    let fields = [
        field(":method", "POST"),
        field(":scheme", "http"),
        field(":path", "/grpc.health.v1.Health/Check"),
        field(":authority", authority),
        field("te", "trailers"),
        field("content-type", "application/grpc"),
    ];
    [
        PREFACE.to_vec(),
        frame(SETTINGS, 0, 0, b""),
        frame(HEADERS, END_HEADERS, 1, &fields.concat()),
        frame(DATA, END_STREAM, 1, &[0; 5]),
    ]
    .concat()
}

/// The first frame that comes on the first stream.
async fn answer(socket: &mut UnixStream) -> u8 {
    loop {
        let mut header = [0; 9];
        socket.read_exact(&mut header).await.unwrap();
        let [long, middle, short, kind, _, _, _, _, stream] = header;
        let mut payload = vec![0; u32::from_be_bytes([0, long, middle, short]) as usize];
        socket.read_exact(&mut payload).await.unwrap();
        if stream == 1 {
            return kind;
        }
    }
}

#[tokio::test]
async fn a_unix_socket_may_be_called_by_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let server = TestServer::at(&format!("unix:{}", path.display()), |_| {});
    for authority in ["localhost", "mp-manager", "run%2Fmp-manager%2Fsocket", "%2Frun%2Fsocket"] {
        let mut socket = UnixStream::connect(&path).await.unwrap();
        socket.write_all(&ask_after_health(authority)).await.unwrap();
        let answer = within(answer(&mut socket)).await;
        assert_ne!(answer, RST_STREAM, "{authority}");
        assert_eq!(answer, HEADERS, "{authority}");
    }
    drop(server);
}

#[test]
fn every_deviation_can_still_be_planted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = fs::read_to_string(root.join("tests/foreign/planted.txt")).unwrap();
    for deviation in bugs_in(&text) {
        let text = fs::read_to_string(root.join(deviation.file)).unwrap();
        assert_ne!(deviation.plant(&text).unwrap(), text, "{}", deviation.name);
    }
    assert!(bugs_in(&text).count() >= 5);
}
