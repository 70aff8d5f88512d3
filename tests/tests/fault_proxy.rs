//! The fault proxy does what it is told, and nothing else.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

use std::{
    io::ErrorKind,
    net::SocketAddr,
    time::{Duration, Instant},
};

use mp_manager_tests::{
    fault_proxy::{Cut, Direction, Fault, FaultProxy},
    victim::until,
    within,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// A server that echoes, and says what it received in a connection and how that ended.
async fn echo() -> (SocketAddr, mpsc::UnboundedReceiver<(String, Option<ErrorKind>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ended, ends) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let ended = ended.clone();
            tokio::spawn(async move {
                let (mut received, mut piece) = (String::new(), [0; 1 << 10]);
                let why = loop {
                    match stream.read(&mut piece).await {
                        Ok(0) => break None,
                        Ok(n) => {
                            received += std::str::from_utf8(&piece[..n]).unwrap();
                            if stream.write_all(&piece[..n]).await.is_err() {
                                break None;
                            }
                        }
                        Err(error) => break Some(error.kind()),
                    }
                };
                let _ = ended.send((received, why));
            });
        }
    });
    (address, ends)
}

async fn ask(stream: &mut TcpStream, text: &str) -> String {
    within(stream.write_all(text.as_bytes())).await.unwrap();
    let mut answer = vec![0; text.len()];
    within(stream.read_exact(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn what_has_no_fault_passes_with_its_end() {
    let (server, mut ends) = echo().await;
    let proxy = FaultProxy::start(server).await.unwrap();
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    let long = "x".repeat(300_000);
    for text in ["hello", &long] {
        let (mut reader, mut writer) = client.split();
        let mut answer = vec![0; text.len()];
        let (wrote, read) = within(async {
            tokio::join!(writer.write_all(text.as_bytes()), reader.read_exact(&mut answer))
        })
        .await;
        wrote.unwrap();
        read.unwrap();
        assert!(answer == text.as_bytes());
    }
    assert_eq!(proxy.connections(), 1);
    drop(client);
    let (received, why) = within(ends.recv()).await.unwrap();
    assert_eq!((received.len(), why), (5 + long.len(), None));
    until(async || (proxy.connections() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_reset_is_felt_on_both_sides() {
    let (server, mut ends) = echo().await;
    let proxy = FaultProxy::start(server).await.unwrap();
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut client, "hello").await, "hello");
    assert_eq!(proxy.cut_all(Cut::Reset), 1);
    let error = within(client.read(&mut [0])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let end = within(ends.recv()).await.unwrap();
    assert_eq!(end, ("hello".to_owned(), Some(ErrorKind::ConnectionReset)));
    // Who comes later is served.
    let mut again = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut again, "again").await, "again");
}

#[tokio::test]
async fn a_finished_connection_ends_in_order() {
    let (server, mut ends) = echo().await;
    let proxy = FaultProxy::start(server).await.unwrap();
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut client, "hello").await, "hello");
    proxy.cut_all(Cut::Finish);
    assert_eq!(within(client.read(&mut [0])).await.unwrap(), 0);
    assert_eq!(within(ends.recv()).await.unwrap(), ("hello".to_owned(), None));
}

#[tokio::test]
async fn a_half_open_connection_stays_silent_until_it_is_cut() {
    for direction in [Direction::ToServer, Direction::ToClient, Direction::Both] {
        let (server, mut ends) = echo().await;
        let proxy = FaultProxy::start(server).await.unwrap();
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(ask(&mut client, "heard").await, "heard");
        proxy.set(Fault::Swallow(direction));
        client.write_all(b", lost").await.unwrap();
        until(async || (proxy.swallowed_bytes() == 6).then_some(())).await;
        // What is missing cannot be made good.
        proxy.set(Fault::None);
        client.write_all(b", late").await.unwrap();
        until(async || (proxy.swallowed_bytes() == 12).then_some(())).await;
        let mut other = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(ask(&mut other, "other").await, "other");

        drop(other);
        assert_eq!(within(ends.recv()).await.unwrap().0, "other");
        proxy.cut_all(Cut::Finish);
        assert_eq!(within(client.read(&mut [0; 16])).await.unwrap(), 0);
        let received = within(ends.recv()).await.unwrap().0;
        let expected = if direction == Direction::ToClient { "heard, lost, late" } else { "heard" };
        assert_eq!(received, expected);
    }
}

/// As if the client's machine had lost its power.
#[tokio::test]
async fn the_end_of_a_half_open_connection_is_not_heard_either() {
    let (server, mut ends) = echo().await;
    let proxy = FaultProxy::start(server).await.unwrap();
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut client, "hello").await, "hello");
    proxy.set(Fault::Swallow(Direction::Both));
    client.write_all(b"!").await.unwrap();
    until(async || (proxy.swallowed_bytes() == 1).then_some(())).await;
    drop(client);
    proxy.set(Fault::None);
    let mut other = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut other, "other").await, "other");
    assert_eq!(proxy.connections(), 2);
    assert!(ends.try_recv().is_err());
}

#[tokio::test]
async fn data_comes_later_or_slower() {
    let (server, _ends) = echo().await;
    let proxy = FaultProxy::start(server).await.unwrap();
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    // 50 ms each way, and 1,000 bytes at 10,000 a second each way: not earlier than that.
    for (fault, bytes) in
        [(Fault::Delay(Duration::from_millis(50)), 1), (Fault::Throttle(10_000), 1_000)]
    {
        proxy.set(fault);
        let begun = Instant::now();
        let text = "x".repeat(bytes);
        assert_eq!(ask(&mut client, &text).await, text);
        assert!(begun.elapsed() >= Duration::from_millis(100), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn who_comes_is_refused_and_who_is_there_stays() {
    let (server, _ends) = echo().await;
    let proxy = FaultProxy::start(server).await.unwrap();
    let mut there = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut there, "there").await, "there");
    proxy.set(Fault::Refuse);
    let mut refused = TcpStream::connect(proxy.address()).await.unwrap();
    let error = within(refused.read(&mut [0])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(ask(&mut there, "still").await, "still");
    proxy.set(Fault::None);
    let mut again = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut again, "again").await, "again");
}
