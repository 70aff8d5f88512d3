//! Connections between programs without a manager: what arrives, and who does not get in.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixListener as StdUnixListener},
    path::Path,
    sync::Arc,
    time::Duration,
};

use mp_manager::{
    Error, Manager, Result,
    connection::{Builder, Client, Connection, Listener},
    process::Process,
    task,
};
use mp_manager_proto::{
    authkey::Authkey,
    connection::{HEADER_LEN, Header, handshake_frame, handshake_message},
    handshake::{Binding, Transcript},
    v1::{
        HandshakeRequest, HandshakeResponse, Hello, Proof, Suite, handshake_request,
        handshake_response::Step,
    },
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const KEY: &str = "a key that nobody guesses";
const LONG: usize = 8 << 20;
const FOREVER: Duration = Duration::MAX;

/// Both ends of a connection at an address.
async fn pair_at(address: &str) -> (Connection, Connection) {
    let listener = Listener::bind(address, KEY).await.expect("it is free");
    pair(&listener).await
}

async fn pair(listener: &Listener) -> (Connection, Connection) {
    let client = Client::connect(listener.address(), KEY).await.expect("it listens");
    (client, listener.accept().await.expect("somebody has connected"))
}

fn unix_in(directory: &TempDir) -> String {
    format!("unix:{}", directory.path().join("s").display())
}

/// Polls a future once and drops it.
async fn cancel<T>(future: impl Future<Output = T>) -> Option<T> {
    timeout(Duration::ZERO, future).await.ok()
}

fn has_ended<T>(received: Result<T>) -> bool {
    matches!(received, Err(Error::EndOfFile(_)))
}

/// A peer that says what it likes.
struct Raw(TcpStream);

impl Raw {
    async fn connect(listener: &Listener) -> Self {
        let address = listener.address().strip_prefix("tcp://").expect("it is TCP");
        let stream = TcpStream::connect(address).await.expect("it listens");
        stream.set_nodelay(true).expect("it is open");
        Self(stream)
    }

    async fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("it listens");
    }

    async fn hear(&mut self) -> Step {
        let mut header = [0; HEADER_LEN];
        self.0.read_exact(&mut header).await.expect("it answers");
        let header = Header::decode(header, 8 << 10).expect("it is a frame");
        let mut payload = vec![0; header.len as usize];
        self.0.read_exact(&mut payload).await.expect("it answers");
        let response: HandshakeResponse = handshake_message(&payload).expect("it is a response");
        response.step.expect("it is known")
    }

    async fn say_hello(&mut self) -> Hello {
        let hello = Hello {
            version: 1,
            suites: vec![Suite::HmacSha256.into()],
            client_nonce: vec![7; 32].into(),
            ..Hello::default()
        };
        self.step(handshake_request::Step::Hello(hello.clone())).await;
        hello
    }

    async fn step(&mut self, step: handshake_request::Step) {
        self.say(&handshake_frame(&HandshakeRequest { step: Some(step) })).await;
    }

    /// Proves the authkey, for a transcript of its own.
    async fn prove(
        &mut self,
        transcript: fn(&Hello, &mp_manager_proto::v1::Challenge, &Binding) -> Transcript,
    ) -> Step {
        let hello = self.say_hello().await;
        let Step::Challenge(challenge) = self.hear().await else { panic!("no challenge") };
        let transcript = transcript(&hello, &challenge, &Binding::None);
        let proof = transcript.client_proof(Authkey::from(KEY).secret());
        let proof = Proof { proof: proof.into(), ..Proof::default() };
        self.step(handshake_request::Step::Proof(proof)).await;
        self.hear().await
    }

    /// A peer that has got in, and the other end of it.
    async fn pair(listener: &Listener) -> (Self, Connection) {
        let mut raw = Self::connect(listener).await;
        let answer = raw.prove(Transcript::of_connection).await;
        assert!(matches!(answer, Step::Welcome(_)), "{answer:?}");
        (raw, listener.accept().await.expect("it has got in"))
    }

    async fn is_closed(&mut self) -> bool {
        self.0.read(&mut [0]).await.map_or(true, |count| count == 0)
    }
}

#[tokio::test]
async fn values_and_bytes_arrive_in_their_order_over_every_transport() {
    let directory = tempfile::tempdir().unwrap();
    let unix = unix_in(&directory);
    for address in [&*unix, "127.0.0.1:0", "tls://127.0.0.1:0", "localhost:0"] {
        let (client, server) = pair_at(address).await;
        for (one, other) in [(&client, &server), (&server, &client)] {
            one.send(&("a", 1_u8, [true])).await.unwrap();
            one.send_bytes(b"").await.unwrap();
            one.send_bytes(b"raw").await.unwrap();
            one.send("last").await.unwrap();
            let first: (String, u8, Vec<bool>) = other.recv().await.unwrap();
            assert_eq!(first, ("a".into(), 1, vec![true]), "{address}");
            assert_eq!(other.recv_bytes().await.unwrap(), b"");
            assert_eq!(other.recv_bytes().await.unwrap(), b"raw");
            assert_eq!(other.recv::<String>().await.unwrap(), "last");
        }
        client.close().await.unwrap();
        assert!(has_ended(server.recv::<()>().await), "{address}");
        assert!(has_ended(server.recv::<()>().await), "{address}, again");
    }
}

#[tokio::test]
async fn beyond_this_machine_it_is_tls() {
    let listener = Listener::bind("0.0.0.0:0", KEY).await.unwrap();
    let port = listener.address().strip_prefix("tls://0.0.0.0:").unwrap();
    let client = Client::connect(&format!("tls://127.0.0.1:{port}"), KEY).await.unwrap();
    let server = listener.accept().await.unwrap();
    let bytes = vec![7; LONG];
    let (sent, received) = tokio::join!(client.send_bytes(&bytes), server.recv_bytes());
    sent.unwrap();
    assert_eq!(received.unwrap(), bytes);
    // Who speaks plain text there is told so.
    let error = Client::connect(&format!("127.0.0.1:{port}"), KEY).await.unwrap_err();
    assert!(error.to_string().contains("tls://"), "{error}");
    // And who speaks TLS where plain text is spoken as well.
    let plain = Listener::bind("127.0.0.1:0", KEY).await.unwrap();
    let tls = plain.address().replace("tcp://", "tls://");
    let error = Client::connect(&tls, KEY).await.unwrap_err();
    assert!(error.to_string().contains("tcp://"), "{error}");
}

#[tokio::test]
async fn what_is_not_safe_beyond_this_machine_is_refused() {
    let plain = Listener::bind("tcp://0.0.0.0:0", KEY).await.unwrap_err().to_string();
    assert!(plain.contains("use tls://0.0.0.0:0"), "{plain}");
    let plain = Client::connect("tcp://192.0.2.1:1", KEY).await.unwrap_err().to_string();
    assert!(plain.contains("use tls://192.0.2.1:1"), "{plain}");
    let weak = Listener::bind("0.0.0.0:0", "short").await.unwrap_err().to_string();
    assert!(weak.contains("use a longer one"), "{weak}");
    for refused in [
        Listener::bind("127.0.0.1:0", "").await.map(drop),
        Client::connect("127.0.0.1:1", "").await.map(drop),
        Listener::bind("nonsense://x", KEY).await.map(drop),
    ] {
        assert!(matches!(refused, Err(Error::Configuration(_) | Error::Address(_))), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_task_sends_while_another_receives() {
    for address in ["127.0.0.1:0", "tls://127.0.0.1:0"] {
        let (client, server) = pair_at(address).await;
        let mut tasks = Vec::new();
        for connection in [client, server].map(Arc::new) {
            let sending = Arc::clone(&connection);
            // More than any buffer has: it would never end if one direction held up the other.
            let sender = tokio::spawn(async move {
                for n in 0..4_u8 {
                    sending.send_bytes(&vec![n; LONG]).await.unwrap();
                }
            });
            let receiver = tokio::spawn(async move {
                for n in 0..4_u8 {
                    assert_eq!(connection.recv_bytes().await.unwrap(), vec![n; LONG]);
                }
            });
            tasks.extend([sender, receiver]);
        }
        for task in tasks {
            task.await.unwrap();
        }
    }
}

#[task]
async fn play(address: String) -> Result<()> {
    let connection = Client::connect(&address, KEY).await?;
    while let Ok(number) = connection.recv::<u64>().await {
        connection.send(&(number + 1)).await?;
    }
    Ok(())
}

/// Says that it is there, and in the middle of a long message nothing more.
#[task]
async fn fall_silent(address: String) -> Result<()> {
    let connection = Client::connect(&address, KEY).await?;
    connection.send("here").await?;
    connection.send_bytes(&vec![0; 32 << 20]).await?;
    std::future::pending().await
}

#[mp_manager::test]
async fn two_processes_play_ping_pong() -> Result<()> {
    let directory = tempfile::tempdir().expect("there is room");
    let unix = unix_in(&directory);
    for address in [&*unix, "127.0.0.1:0"] {
        let listener = Listener::bind(address, KEY).await?;
        let process = Process::new(play, (listener.address().into(),)).start().await?;
        let connection = listener.accept().await?;
        for number in 0..100 {
            connection.send(&number).await?;
            assert_eq!(connection.recv::<u64>().await?, number + 1);
        }
        connection.close().await?;
        process.join().await?;
    }
    Ok(())
}

#[mp_manager::test]
async fn the_end_of_a_killed_process_is_the_end_of_its_connection() -> Result<()> {
    let directory = tempfile::tempdir().expect("there is room");
    let unix = unix_in(&directory);
    for address in [&*unix, "127.0.0.1:0", "tls://127.0.0.1:0"] {
        let listener = Listener::bind(address, KEY).await?;
        let process = Process::new(fall_silent, (listener.address().into(),)).start().await?;
        let connection = listener.accept().await?;
        assert_eq!(connection.recv::<String>().await?, "here");
        process.kill()?;
        assert!(has_ended(connection.recv_bytes().await), "{address}");
        assert!(connection.poll(Duration::ZERO).await?);
        while connection.send("anybody?").await.is_ok() {}
        assert!(has_ended(connection.send("anybody?").await), "{address}");
        assert!(process.join().await.is_err());
    }
    Ok(())
}

#[tokio::test]
async fn another_authkey_is_an_error_at_both_ends_and_the_listener_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let unix = unix_in(&directory);
    for address in [&*unix, "127.0.0.1:0", "tls://127.0.0.1:0"] {
        let listener = Listener::bind(address, KEY).await.unwrap();
        let refused = Client::connect(listener.address(), "another key of this length").await;
        assert!(matches!(refused, Err(Error::AuthenticationFailed(_))), "{refused:?}");
        let error = listener.accept().await.unwrap_err();
        assert!(matches!(error, Error::AuthenticationFailed(_)), "{error}");
        assert_eq!(listener.last_accepted(), None);
        let (client, server) = pair(&listener).await;
        client.send(&1).await.unwrap();
        assert_eq!(server.recv::<u8>().await.unwrap(), 1);
        assert_eq!(listener.last_accepted().as_deref(), Some(server.peer()));
    }
}

#[tokio::test]
async fn a_proof_for_a_manager_gets_nobody_in() {
    let listener = Listener::bind("127.0.0.1:0", KEY).await.unwrap();
    let answer = Raw::connect(&listener).await.prove(Transcript::new).await;
    assert!(matches!(answer, Step::Refused(_)), "{answer:?}");
    assert!(matches!(listener.accept().await, Err(Error::AuthenticationFailed(_))));
}

#[tokio::test]
async fn a_manager_and_a_listener_are_not_taken_for_each_other() {
    let manager = Manager::builder().authkey(KEY).start().await.unwrap();
    let error = Client::connect(manager.address(), KEY).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    let directory = tempfile::tempdir().unwrap();
    let unix = unix_in(&directory);
    for address in [&*unix, "127.0.0.1:0", "tls://127.0.0.1:0"] {
        let listener = Listener::bind(address, KEY).await.unwrap();
        let error = Manager::connect(listener.address(), KEY).await.unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "{error}");
        pair(&listener).await;
    }
}

#[tokio::test]
async fn peers_that_say_nothing_or_nonsense_hold_up_nobody() {
    let listener = Listener::bind("127.0.0.1:0", KEY).await.unwrap();
    let mut silent = Vec::new();
    for n in 0..100 {
        let mut raw = Raw::connect(&listener).await;
        match n % 3 {
            0 => {}
            1 => raw.say(&[0, 0, 0]).await,
            _ => drop(raw.say_hello().await),
        }
        silent.push(raw);
    }
    for nonsense in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[255; 64], &[0, 0, 0, 1, 1, 255], &[0; 5]] {
        Raw::connect(&listener).await.say(nonsense).await;
    }
    let (client, server) = pair(&listener).await;
    client.send(&1).await.unwrap();
    assert_eq!(server.recv::<u8>().await.unwrap(), 1);
    // They were no peers, so there is no error of theirs.
    assert!(!listener.poll(Duration::ZERO).await.unwrap());
}

#[tokio::test]
async fn a_peer_that_does_not_finish_its_handshake_is_closed() {
    let builder = Builder::new().timeout(Duration::from_millis(50));
    let listener = builder.bind("127.0.0.1:0", KEY).await.unwrap();
    let mut silent = Raw::connect(&listener).await;
    assert!(silent.is_closed().await);
    let mut halfway = Raw::connect(&listener).await;
    halfway.say_hello().await;
    assert!(matches!(halfway.hear().await, Step::Challenge(_)));
    assert!(halfway.is_closed().await);
}

#[tokio::test]
async fn connecting_gives_up_when_nobody_answers() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let builder = Builder::new().timeout(Duration::from_millis(50));
    let error = builder.connect(&address, KEY).await.unwrap_err();
    assert!(error.to_string().contains("no answer within 50ms"), "{error}");
    drop(silent);
    let error = Client::connect(&address, KEY).await.unwrap_err();
    assert!(error.to_string().contains("nobody listens there"), "{error}");
}

#[tokio::test]
async fn a_message_that_is_too_long_is_refused_before_it_is_sent() {
    let small = Builder::new().max_message_bytes(100);
    let listener = small.bind("127.0.0.1:0", KEY).await.unwrap();
    let (client, server) = pair(&listener).await;
    let error = client.send_bytes(&[0; 101]).await.unwrap_err();
    assert!(matches!(error, Error::LimitExceeded(_)), "{error}");
    client.send_bytes(&[0; 100]).await.unwrap();
    assert_eq!(server.recv_bytes().await.unwrap().len(), 100);
    // The limit is that of who receives.
    server.send_bytes(&[0; 101]).await.unwrap();
    assert_eq!(client.recv_bytes().await.unwrap().len(), 101);

    let large = Listener::bind("127.0.0.1:0", KEY).await.unwrap();
    let client = small.connect(large.address(), KEY).await.unwrap();
    let server = large.accept().await.unwrap();
    let error = server.send(&"x".repeat(101)).await.unwrap_err();
    assert!(matches!(error, Error::LimitExceeded(_)), "{error}");
    server.send(&1).await.unwrap();
    assert_eq!(client.recv::<u8>().await.unwrap(), 1);
}

#[tokio::test]
async fn a_peer_that_breaks_the_protocol_is_heard_no_more() {
    let small = Builder::new().max_message_bytes(100);
    let listener = small.bind("127.0.0.1:0", KEY).await.unwrap();
    for (frame, is_limit) in [([0, 0, 0, 101, 2], true), ([0, 0, 0, 1, 1], false), ([9; 5], false)]
    {
        let (mut raw, connection) = Raw::pair(&listener).await;
        raw.say(&[0, 0, 0, 1, 2, 7]).await;
        raw.say(&frame).await;
        assert_eq!(connection.recv::<u8>().await.unwrap(), 7);
        for _ in 0..2 {
            let error = connection.recv::<u8>().await.unwrap_err();
            assert_eq!(matches!(error, Error::LimitExceeded(_)), is_limit, "{error}");
            assert_eq!(matches!(error, Error::Protocol(_)), !is_limit, "{error}");
        }
    }
}

#[tokio::test]
async fn a_message_that_is_cut_off_is_the_end() {
    let listener = Listener::bind("127.0.0.1:0", KEY).await.unwrap();
    for part in [&[0, 0][..], &[0, 0, 0, 9, 3], &[0, 0, 0, 9, 3, 1, 2]] {
        let (mut raw, connection) = Raw::pair(&listener).await;
        raw.say(&[0, 0, 0, 1, 3, 7]).await;
        raw.say(part).await;
        drop(raw);
        assert_eq!(connection.recv_bytes().await.unwrap(), [7]);
        let error = connection.recv_bytes().await.unwrap_err();
        assert!(error.to_string().contains("in the middle of a message"), "{error}");
        assert!(has_ended::<()>(Err(error)));
    }
}

#[tokio::test]
async fn a_message_longer_than_the_buffer_stays() {
    let (client, server) = pair_at("127.0.0.1:0").await;
    client.send_bytes(b"12345").await.unwrap();
    client.send(&6).await.unwrap();
    let mut buffer = [0; 8];
    for _ in 0..2 {
        let error = server.recv_bytes_into(&mut buffer[..4]).await.unwrap_err();
        assert!(matches!(error, Error::BufferTooShort(_)), "{error}");
    }
    assert_eq!(server.recv_bytes_into(&mut buffer[..5]).await.unwrap(), 5);
    assert_eq!(&buffer[..6], b"12345\0");
    // A value is none of bytes, and what it is instead comes with the error.
    let Err(Error::Decode { bytes, .. }) = server.recv_bytes_into(&mut buffer).await else {
        panic!("a value was taken for bytes")
    };
    assert_eq!(bytes, [6][..]);
}

#[tokio::test]
async fn what_is_of_another_type_comes_with_the_error() {
    let (client, server) = pair_at("127.0.0.1:0").await;
    client.send("text").await.unwrap();
    let Err(Error::Decode { bytes, .. }) = server.recv::<u64>().await else { panic!("no error") };
    assert_eq!(bytes, b"\xa4text"[..]);
    client.send_bytes(b"raw").await.unwrap();
    let Err(Error::Decode { bytes, .. }) = server.recv::<u64>().await else { panic!("no error") };
    assert_eq!(bytes, b"raw"[..]);
    client.send(&1).await.unwrap();
    assert_eq!(server.recv::<u64>().await.unwrap(), 1);
}

#[tokio::test]
async fn a_proxy_is_not_sent() {
    let manager = Manager::start().await.unwrap();
    let scores = manager.dict::<String, u64>("scores").await.unwrap();
    let (client, server) = pair_at("127.0.0.1:0").await;
    let error = client.send(&scores).await.unwrap_err();
    assert!(matches!(error, Error::Encode(_)), "{error}");
    client.send(&1).await.unwrap();
    assert_eq!(server.recv::<u8>().await.unwrap(), 1);
}

#[tokio::test]
async fn polling_says_whether_a_whole_message_is_there() {
    let listener = Listener::bind("127.0.0.1:0", KEY).await.unwrap();
    let (mut raw, connection) = Raw::pair(&listener).await;
    for part in [&[0, 0][..], &[0, 2, 3], &[1]] {
        assert!(!connection.poll(Duration::ZERO).await.unwrap());
        raw.say(part).await;
    }
    assert!(!connection.poll(Duration::from_millis(1)).await.unwrap());
    raw.say(&[2]).await;
    assert!(connection.poll(FOREVER).await.unwrap());
    assert!(connection.poll(Duration::ZERO).await.unwrap());
    assert_eq!(connection.recv_bytes().await.unwrap(), [1, 2]);
    assert!(!connection.poll(Duration::ZERO).await.unwrap());
    drop(raw);
    assert!(connection.poll(FOREVER).await.unwrap());
    assert!(has_ended(connection.recv_bytes().await));
}

#[tokio::test]
async fn a_look_finds_what_was_sent_before() {
    let directory = tempfile::tempdir().unwrap();
    let (client, server) = pair_at(&unix_in(&directory)).await;
    for n in 0..10_u8 {
        assert!(!server.poll(Duration::ZERO).await.unwrap());
        client.send(&n).await.unwrap();
        assert!(server.poll(Duration::ZERO).await.unwrap());
        assert_eq!(server.recv::<u8>().await.unwrap(), n);
    }
}

#[tokio::test]
async fn receiving_that_is_cancelled_loses_nothing() {
    let listener = Listener::bind("127.0.0.1:0", KEY).await.unwrap();
    let (mut raw, connection) = Raw::pair(&listener).await;
    let mut received = Vec::new();
    for byte in [0, 0, 0, 3, 3, b'a', b'b', b'c', 0, 0, 0, 0, 3, 0, 0, 0, 1, 3, b'd'] {
        raw.say(&[byte]).await;
        received.extend(cancel(connection.recv_bytes()).await);
        assert!(cancel(connection.poll(FOREVER)).await.is_none_or(|polled| polled.is_ok()));
    }
    while received.len() < 3 {
        received.push(connection.recv_bytes().await);
    }
    let received: Vec<_> = received.into_iter().map(Result::unwrap).collect();
    assert_eq!(received, [&b"abc"[..], b"", b"d"]);
}

#[tokio::test]
async fn accepting_that_is_cancelled_loses_nobody() {
    let listener = Listener::bind("127.0.0.1:0", KEY).await.unwrap();
    let mut clients = Vec::new();
    let mut accepted = Vec::new();
    for n in 0..20_u8 {
        let client = Client::connect(listener.address(), KEY).await.unwrap();
        client.send(&n).await.unwrap();
        clients.push(client);
        accepted.extend(cancel(listener.accept()).await);
    }
    while accepted.len() < 20 {
        accepted.push(listener.accept().await);
    }
    for (n, connection) in (0..20).zip(accepted) {
        assert_eq!(connection.unwrap().recv::<u8>().await.unwrap(), n);
    }
}

#[tokio::test]
async fn a_message_whose_sending_is_cancelled_arrives_whole_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    for address in [&*unix_in(&directory), "tls://127.0.0.1:0"] {
        let (client, server) = pair_at(address).await;
        // Longer than all buffers together, and nobody reads: it stops midway.
        assert!(cancel(client.send_bytes(&vec![1; 2 * LONG])).await.is_none());
        // Nothing of this one is on its way.
        assert!(cancel(client.send_bytes(b"never")).await.is_none());
        let later = tokio::spawn(async move {
            client.send_bytes(b"later").await.unwrap();
            client.close().await.unwrap();
        });
        assert_eq!(server.recv_bytes().await.unwrap(), vec![1; 2 * LONG], "{address}");
        assert_eq!(server.recv_bytes().await.unwrap(), b"later", "{address}");
        assert!(has_ended(server.recv_bytes().await));
        later.await.unwrap();
    }
}

#[tokio::test]
async fn a_message_goes_on_in_the_background_without_another_one() {
    let directory = tempfile::tempdir().unwrap();
    let (client, server) = pair_at(&unix_in(&directory)).await;
    assert!(cancel(client.send_bytes(&vec![1; 2 * LONG])).await.is_none());
    assert_eq!(server.recv_bytes().await.unwrap(), vec![1; 2 * LONG]);
    assert!(cancel(client.send_bytes(&vec![2; 2 * LONG])).await.is_none());
    // Dropping the connection cuts it off.
    drop(client);
    assert!(has_ended(server.recv_bytes().await));
}

#[tokio::test]
async fn the_file_of_a_socket_is_its_owners_and_goes_with_the_listener() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let address = format!("unix:{}", path.display());
    // Dropping the standard library's listener leaves its file.
    drop(StdUnixListener::bind(&path).unwrap());
    let listener = Listener::bind(&address, KEY).await.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(listener.address(), address);

    let error = Listener::bind(&address, KEY).await.unwrap_err();
    assert!(error.to_string().contains("another process listens"), "{error}");
    let (client, server) = pair(&listener).await;
    drop(listener);
    assert!(!path.exists());
    assert_eq!(names_in(directory.path()), Vec::<String>::new());
    // What was accepted goes on, and the address is free at once.
    client.send(&1).await.unwrap();
    assert_eq!(server.recv::<u8>().await.unwrap(), 1);
    pair(&Listener::bind(&address, KEY).await.unwrap()).await;

    fs::write(&path, "mine").unwrap();
    let error = Listener::bind(&address, KEY).await.unwrap_err();
    assert!(error.to_string().contains("not a socket"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"mine");
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("it is there");
    entries.map(|entry| entry.expect("it is there").path().display().to_string()).collect()
}

#[tokio::test]
async fn a_port_is_free_once_its_listener_is_dropped() {
    let mut listener = Listener::bind("127.0.0.1:0", KEY).await.unwrap();
    let address = listener.address().to_owned();
    for _ in 0..10 {
        let waiting = Client::connect(&address, KEY).await.unwrap();
        drop(listener);
        // Nobody will accept it.
        assert!(has_ended(waiting.recv::<()>().await));
        listener = Listener::bind(&address, KEY).await.unwrap();
    }
}

#[test]
fn accepting_ends_with_the_runtime_of_the_listener() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let listener = first.block_on(Listener::bind("127.0.0.1:0", KEY)).unwrap();
    drop(first);
    let error = runtime().block_on(listener.accept()).unwrap_err();
    assert!(matches!(error, Error::SessionLost(_)), "{error}");
}

#[test]
fn without_a_runtime_the_error_says_so() {
    let error = pollster::block_on(Listener::bind("127.0.0.1:0", KEY)).unwrap_err();
    assert!(error.to_string().contains("blocking::connection"), "{error}");
}

#[test]
fn threads_talk_to_tasks() {
    use mp_manager::blocking::connection as blocking;
    let listener = blocking::Listener::bind("127.0.0.1:0", KEY).unwrap();
    let address = listener.address().to_owned();
    let client = std::thread::spawn(move || {
        let client = blocking::Client::connect(&address, KEY).unwrap();
        let mut sum = 0;
        while let Ok(number) = client.recv::<u64>() {
            sum += number;
            client.send(&sum).unwrap();
        }
        sum
    });
    assert!(listener.poll(FOREVER).unwrap());
    let connection = listener.accept().unwrap();
    for number in 0..100 {
        connection.send(&number).unwrap();
        assert!(connection.poll(FOREVER).unwrap());
        assert_eq!(connection.recv::<u64>().unwrap(), number * (number + 1) / 2);
        assert!(!connection.poll(Duration::ZERO).unwrap());
    }
    connection.close().unwrap();
    assert_eq!(client.join().unwrap(), 4950);
}
