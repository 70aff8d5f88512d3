//! What HTTP/2 can be misused for: floods of frames that cost their sender little.

use mp_manager_proto::v1::{
    ClientFrame, DirectoryOp, Empty, Request as Asked, directory_op, request,
};
use mp_manager_tests::{
    AUTHKEY, TestServer,
    raw::RawConnection,
    wire::{self, END_HEADERS, Wire, frame, kind, path},
    within,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, client::Grpc, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;

use crate::Innocent;

/// A connection that has begun, and perhaps got in.
async fn open(server: &TestServer, is_in: bool) -> Wire {
    let mut wire = Wire::connect(server.address().parse().unwrap(), None).await.unwrap();
    if is_in {
        within(wire.authenticate(AUTHKEY)).await.unwrap();
        wire.send(&wire::call(3, path::SESSION)).await.unwrap();
    } else {
        wire.begin().await.unwrap();
    }
    wire
}

/// Sends the same again and again until the server has had enough.
async fn until_closed(wire: &mut Wire, mut next: impl FnMut() -> Vec<u8>) {
    within(async { while wire.send(&next()).await.is_ok() {} }).await;
}

/// Calls that are given up at once, on streams of their own.
fn rapid_reset(path: &'static str) -> impl FnMut() -> Vec<u8> {
    let mut stream = 3;
    move || {
        let burst = (0..50).flat_map(|_| {
            stream += 2;
            [wire::call(stream, path), wire::reset(stream)].concat()
        });
        burst.collect()
    }
}

#[tokio::test]
async fn who_gives_up_calls_all_the_time_is_sent_away() {
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    for is_in in [false, true] {
        for path in [path::SESSION, path::KEEP_ALIVE, path::HANDSHAKE, path::REFLECTION, "/x/y"] {
            let mut wire = open(&server, is_in).await;
            until_closed(&mut wire, rapid_reset(path)).await;
            innocent.is_undisturbed().await;
        }
    }
}

/// So slowly that the library below has no objection.
#[tokio::test]
async fn who_makes_too_many_calls_is_sent_away() {
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    let mut wire = open(&server, true).await;
    within(async {
        for n in 0.. {
            let stream = 5 + 2 * n;
            let call = wire::call(stream, path::HANDSHAKE);
            if wire.send(&call).await.is_err() {
                break;
            }
            // Until it is refused.
            loop {
                match wire.next().await {
                    Ok(Some(frame)) if frame.stream == stream => break,
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => return,
                }
            }
        }
    })
    .await;
    innocent.is_undisturbed().await;
}

#[tokio::test]
async fn headers_without_end_are_not_waited_for() {
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    for is_in in [false, true] {
        let mut wire = open(&server, is_in).await;
        let begun = frame(kind::HEADERS, 0, 5, &wire::header_block(path::HEALTH));
        wire.send(&begun).await.unwrap();
        until_closed(&mut wire, || frame(kind::CONTINUATION, 0, 5, &[])).await;

        let mut wire = open(&server, is_in).await;
        wire.send(&begun).await.unwrap();
        let more = wire::header("x-more", &"x".repeat(100));
        until_closed(&mut wire, || frame(kind::CONTINUATION, 0, 5, &more)).await;
        innocent.is_undisturbed().await;
    }
}

/// A few bytes that stand for many: the same long header by its index.
#[tokio::test]
async fn headers_that_unpack_to_very_many_are_refused() {
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    for is_in in [false, true] {
        let mut wire = open(&server, is_in).await;
        let mut bomb = wire::header_block(path::HEALTH);
        // Once into the table, and then the table's first entry.
        let mut long = wire::header("x-long", &"x".repeat(126 - 26));
        long[0] = 0x40;
        bomb.extend_from_slice(&long);
        bomb.extend_from_slice(&[0x80 | 62; 15_000]);
        let bomb = frame(kind::HEADERS, END_HEADERS, 5, &bomb);
        wire.send(&bomb).await.unwrap();
        within(wire.closed()).await;
        innocent.is_undisturbed().await;
    }
}

/// They cost what they cost, but only their sender waits.
#[tokio::test]
async fn floods_disturb_nobody_else() {
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    let floods = [
        frame(kind::PING, 0, 0, &[7; 8]),
        // An answer to a question that nobody has asked.
        frame(kind::PING, wire::ACK, 0, &[7; 8]),
        frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]),
        wire::window_update(0, 1),
        frame(kind::DATA, 0, 3, &[]),
        // A kind of frame that does not exist.
        frame(99, 0, 0, &[7; 100]),
    ];
    for flood in floods {
        for is_in in [false, true] {
            let mut wire = open(&server, is_in).await;
            let flood = flood.repeat(1000);
            tokio::select! {
                () = async { while wire.send(&flood).await.is_ok() {} } => {}
                () = async { for _ in 0..20 { innocent.is_undisturbed().await } } => {}
            }
        }
    }
}

#[tokio::test]
async fn calls_at_a_time_have_a_limit() {
    let server = TestServer::start();
    let innocent = Innocent::on(&server).await;
    let connection = RawConnection::open(&server.address()).await;
    connection.authenticate().await;
    let _session = connection.session().await.unwrap();
    let call = async || {
        let (sender, requests) = mpsc::channel::<Empty>(1);
        let mut client = Grpc::new(connection.channel());
        client.ready().await.unwrap();
        let requests = Request::new(ReceiverStream::new(requests));
        let path = PathAndQuery::from_static(path::REFLECTION);
        let codec = ProstCodec::<Empty, Empty>::default();
        let response = client.streaming(requests, path, codec).await?;
        Ok::<_, Status>((sender, response.into_inner()))
    };
    let mut calls = Vec::new();
    let refusal = within(async {
        loop {
            match call().await {
                Ok(call) => calls.push(call),
                Err(refusal) => return refusal,
            }
        }
    })
    .await;
    assert_eq!(refusal.code(), Code::ResourceExhausted);
    assert!(refusal.message().contains("requests at a time, which is the limit"), "{refusal}");
    // Whoever ends one can begin another.
    let (sender, mut answers) = calls.pop().unwrap();
    drop(sender);
    assert_eq!(within(answers.message()).await.unwrap(), None);
    within(async { while call().await.is_err() {} }).await;
    innocent.is_undisturbed().await;
}

/// Otherwise those who have had their session would take up the connections of others.
#[tokio::test]
async fn a_connection_ends_with_its_session() {
    let server = TestServer::start();
    let mut wire = open(&server, true).await;
    let goodbye = ClientFrame { number: 1, goodbye: Some(Empty {}), ..ClientFrame::default() };
    wire.send(&wire::message(3, &goodbye)).await.unwrap();
    within(wire.closed()).await;

    let mut wire = open(&server, true).await;
    // Frames begin with the first.
    wire.send(&wire::message(3, &ClientFrame::default())).await.unwrap();
    within(wire.closed()).await;

    let mut wire = open(&server, true).await;
    wire.send(&wire::reset(3)).await.unwrap();
    within(wire.closed()).await;
}

/// The next frame that the server sends on a stream.
async fn first_of(wire: &mut Wire, stream: u32) -> wire::Frame {
    loop {
        let frame = wire.next().await.unwrap().expect("the connection is open");
        if frame.stream == stream {
            return frame;
        }
    }
}

#[tokio::test]
async fn beats_can_be_opened_again_as_soon_as_those_before_were_given_up() {
    let server = TestServer::start();
    let mut wire = open(&server, true).await;
    for stream in (5..65).step_by(4) {
        let both = [
            wire::call(stream, path::KEEP_ALIVE),
            wire::reset(stream),
            wire::call(stream + 2, path::KEEP_ALIVE),
        ];
        wire.send(&both.concat()).await.unwrap();
        let answer = within(first_of(&mut wire, stream + 2)).await;
        assert_eq!(answer.kind, kind::HEADERS);
        assert_eq!(answer.flags & wire::END_STREAM, 0, "it is refused: {:?}", answer.payload);
        wire.send(&wire::reset(stream + 2)).await.unwrap();
    }
}

#[tokio::test]
async fn whoever_keeps_to_the_window_is_not_cut_off_while_the_server_reads_nothing() {
    const ENOUGH: u64 = 60_000;
    let server = TestServer::start();
    let mut wire = open(&server, true).await;
    let ping =
        || request::Op::Directory(DirectoryOp { op: Some(directory_op::Op::Ping(Empty {})) });
    // Replies have room for some thousands; with no more room, the server takes no more requests.
    for numbers in (1..=ENOUGH).collect::<Vec<_>>().chunks(1000) {
        let frames = numbers.iter().flat_map(|&number| {
            let requests = vec![Asked { seq: number, op: Some(ping()), ..Asked::default() }];
            wire::message(3, &ClientFrame { number, requests, ..ClientFrame::default() })
        });
        let frames: Vec<u8> = frames.collect();
        within(wire.send(&frames)).await.unwrap();
    }
    wire.send(&frame(kind::PING, 0, 0, b"all here")).await.unwrap();
    within(async {
        loop {
            let frame = wire.next().await.unwrap().expect("the connection is open");
            assert_ne!(frame.kind, kind::GO_AWAY, "{:?}", frame.payload);
            if frame.kind == kind::PING && frame.flags & wire::ACK != 0 {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_no_request_of_grpc_is_refused_by_http() {
    let server = TestServer::start();
    let stranger = RawConnection::open(&server.address()).await;
    for (method, content, status) in [
        ("POST", "application/json", 415),
        ("POST", "application/grpc-web", 415),
        ("GET", "application/grpc", 405),
        ("POST", "application/grpc+proto", 200),
    ] {
        let request = http::Request::builder()
            .method(method)
            .uri(path::HEALTH)
            .header("content-type", content)
            .body(tonic::body::Body::empty())
            .unwrap();
        let answer = tower::ServiceExt::oneshot(stranger.channel(), request);
        let answer = within(answer).await.unwrap();
        assert_eq!(answer.status(), status, "{method} {content}");
    }
}
