//! What fuzzing begins with: inputs that get far, that look as if they could make a difference, or
//! that once did.

use std::path::PathBuf;

use mp_manager_proto::{
    v1::{
        Challenge, ClientFrame, Delivery, DictOp, Empty, Entry, Error, Fence, HandshakeRequest,
        HandshakeResponse, Hello, Kind, Lost, Page, Process, Proof, QueueOp, Reason, Reconcile,
        Ref, Reply, Request, Resume, SeqRange, ServerFrame, Suite, Value, Welcome, dict_op,
        handshake_request, handshake_response, queue_op, reply, request,
    },
    value,
};
use prost::Message;
use serde::Serialize;

/// A target, the seed's name, and the seed.
pub type Seed = (&'static str, &'static str, Vec<u8>);

/// Where a target's seeds are.
#[must_use]
pub fn corpus(target: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus")).join(target)
}

/// All seeds.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    [
        texts(),
        client_frames(),
        server_frames(),
        handshakes(),
        objects(),
        orders(),
        sessions(),
        values(),
        weights(),
    ]
    .concat()
}

fn texts() -> Vec<Seed> {
    [
        ("addresses", "host", "host"),
        ("addresses", "ipv4", "10.0.0.5:7117"),
        ("addresses", "ipv6", "tcp://[::1]:0"),
        ("addresses", "unclosed-bracket", "tcp://[::1"),
        ("addresses", "bracket-as-host", "[[]"),
        ("addresses", "host-named-unix", "unix"),
        ("addresses", "unix", "unix:/run/manager.sock"),
        ("addresses", "unix-url", "unix:///run/manager.sock"),
        ("addresses", "unix-many-slashes", "unix:////run/manager.sock"),
        ("authkeys", "line", "correct horse battery staple\n"),
        ("authkeys", "lines", " \tone\r\n\r\ntwo\n"),
        ("authkeys", "hexadecimal", " hex:00fF0a20\n"),
        ("authkeys", "nothing", " \n"),
        ("fences", "fence", "00000000deadbeef-3-1700000000000000"),
        ("fences", "largest", "ffffffffffffffff-18446744073709551615-18446744073709551615"),
        ("fences", "signs", "+1-+2-+3"),
        ("fences", "too-many", "1-2-3-4"),
    ]
    .map(|(target, name, text)| (target, name, text.into()))
    .into()
}

fn client_frames() -> Vec<Seed> {
    let seed = |name, frame: ClientFrame| ("client_frames", name, sent(&frame));
    let insert = dict_op::Op::Insert(entry());
    let insert = Request {
        seq: 7,
        object: 3,
        fence: Some(Fence { lock: 1, token: 2 }),
        op: Some(request::Op::Dict(DictOp { op: Some(insert) })),
        ..Request::default()
    };
    let get = Request {
        seq: 8,
        object: 4,
        timeout_us: Some(1_000_000),
        op: Some(request::Op::Queue(QueueOp { op: Some(queue_op::Op::Get(Empty {})) })),
        ..Request::default()
    };
    let reconcile = Reconcile { open: vec![2, 5], cancelled: vec![3] };
    vec![
        seed("requests", ClientFrame { requests: vec![insert, get], ..frame(1) }),
        seed(
            "acknowledges-everything",
            ClientFrame { acks: vec![SeqRange { first: 0, last: u64::MAX }], ..frame(2) },
        ),
        seed("resumes", ClientFrame { reconcile: Some(reconcile), cancels: vec![4], ..frame(3) }),
        seed("goodbye", ClientFrame { goodbye: Some(Empty {}), ..frame(4) }),
        made("client_frames"),
    ]
}

fn frame(number: u64) -> ClientFrame {
    ClientFrame { number, ..ClientFrame::default() }
}

/// Frames that say the same again and again.
fn weights() -> Vec<Seed> {
    let seed =
        |name, times: u8, once: &[u8]| ("weights", name, [&[0, times, times][..], once].concat());
    vec![
        seed("empty-requests", 70, &[0x2a, 0]),
        seed("empty-acks", 70, &[0x1a, 0]),
        seed("cancels", 60, &[0x22, 4, 1, 2, 3, 4]),
        // Within one request, of a list (`extend`) and of a queue (`put_many`).
        seed("empty-values", 50, &[0x2a, 9, 0x8a, 1, 6, 0x22, 4, 0x0a, 0, 0x0a, 0]),
        seed("empty-items", 50, &[0x2a, 9, 0xe2, 1, 6, 0x12, 4, 0x0a, 0, 0x0a, 0]),
        seed("group", 2, &[0xfb, 7, 0x08, 1, 0xfc, 7]),
        made("weights"),
    ]
}

fn server_frames() -> Vec<Seed> {
    let seed = |name, frame: ServerFrame| ("server_frames", name, sent(&frame));
    let reply = |seq, result| Reply { seq, result: Some(result) };
    let page = Page { keys: vec![encoded("a").into()], values: vec![some_value()], next: Some(1) };
    let delivery =
        Delivery { value: Some(some_value()), ticket: 9, deliveries: 2, ..Delivery::default() };
    let replies = vec![
        reply(1, reply::Result::Done(Empty {})),
        reply(2, reply::Result::Value(some_value())),
        reply(3, reply::Result::Page(page)),
        reply(4, reply::Result::Delivery(delivery)),
        reply(5, reply::Result::Number(i64::MIN)),
        reply(6, reply::Result::Error(refusal())),
    ];
    vec![
        seed("replies", ServerFrame { echo: 1, replies, ..ServerFrame::default() }),
        seed(
            "ended",
            ServerFrame {
                lost: vec![Lost { object: 1, token: 2 }],
                ended: Some(refusal()),
                ..ServerFrame::default()
            },
        ),
        made("server_frames"),
    ]
}

fn handshakes() -> Vec<Seed> {
    use handshake_request::Step as Said;
    use handshake_response::Step as Answered;
    let said = |name, step| ("handshakes", name, sent(&HandshakeRequest { step: Some(step) }));
    let answered = |name, step| ("handshakes", name, sent(&HandshakeResponse { step: Some(step) }));
    let hello = Hello {
        version: 1,
        suites: vec![Suite::HmacSha256.into()],
        client_nonce: vec![7; 32].into(),
        resume: Some(Resume { session: 5, epoch: 6 }),
        lease_ms: 10_000,
        process: Some(Process { name: "worker".into(), pid: 42, host: "host".into() }),
        min_version: 1,
        ..Hello::default()
    };
    let challenge = Challenge {
        suite: Suite::HmacSha256.into(),
        server_nonce: vec![8; 32].into(),
        server_id: 1,
        epoch: 2,
        version: 1,
        ..Challenge::default()
    };
    let proof = Proof { proof: vec![9; 32].into(), resume: vec![10; 32].into() };
    let welcome = Welcome { session: 5, lease_ms: 10_000, resumed: true, ..Welcome::default() };
    vec![
        said("hello", Said::Hello(hello)),
        said("proof", Said::Proof(proof)),
        answered("challenge", Answered::Challenge(challenge)),
        answered("welcome", Answered::Welcome(welcome)),
        answered("refused", Answered::Refused(refusal())),
        made("handshakes"),
    ]
}

/// Many operations on an object of each kind.
fn objects() -> Vec<Seed> {
    const KINDS: [&str; 14] = [
        "dict",
        "list",
        "set",
        "namespace",
        "value",
        "array",
        "lock",
        "rlock",
        "semaphore",
        "condition",
        "event",
        "barrier",
        "queue",
        "pipe",
    ];
    let seed = |(kind, name): (u8, &'static str)| {
        let decisions = (0..200_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8);
        ("objects", name, [kind].into_iter().chain(decisions).collect())
    };
    (0..).zip(KINDS).map(seed).collect()
}

fn orders() -> Vec<Seed> {
    vec![
        ("orders", "integers", [encoded(&i64::MIN), encoded(&u64::MAX), encoded(&-1)].concat()),
        ("orders", "mixed", [encoded(&u64::MAX), encoded(&1.8446744073709552e19)].concat()),
        ("orders", "floats", [encoded(&1.5_f32), encoded(&1.5), encoded(&f64::NAN)].concat()),
        ("orders", "booleans", [encoded(&true), encoded(&1), encoded(&false)].concat()),
        ("orders", "texts", [encoded("a"), encoded("ab"), encoded("")].concat()),
        ("orders", "bytes", vec![0xc4, 1, b'a', 0xc4, 2, b'a', b'b', 0xa1, b'a']),
        (
            "orders",
            "arrays",
            [encoded(&(1, "a")), encoded(&(1, "b")), encoded(&(1, ("a", 0)))].concat(),
        ),
        ("orders", "no-order", [encoded(&()), encoded(&[()]), encoded(&[0; 0])].concat()),
    ]
}

/// All that may happen to a session, in an order without any.
fn sessions() -> Vec<Seed> {
    let seed = |target, name, factor: u32| {
        let decisions = (0..300_u32).map(|n| (n.wrapping_mul(factor) >> 24) as u8);
        (target, name, decisions.collect())
    };
    ["client_sessions", "server_sessions"]
        .into_iter()
        .flat_map(|target| {
            [seed(target, "one", 2_654_435_761), seed(target, "another", 2_246_822_519)]
        })
        .collect()
}

fn values() -> Vec<Seed> {
    let reference = [&[0; 8][..], &[1], &[0, 0, 0, 0, 0, 0, 0, 1], &[0]].concat();
    vec![
        ("references", "dict", reference.clone()),
        ("references", "encoded-dict", [&[0xc7, 18, 1], &reference[..]].concat()),
        ("references", "too-short", vec![0xd6, 1, 0, 0, 0, 0]),
        ("references", "in-an-array", [&[0x91, 0xc7, 18, 1], &reference[..]].concat()),
        ("values", "reference", [&[0xc7, 18, 1], &reference[..]].concat()),
        ("values", "map", encoded(&[[("b", 1), ("a", 2)]])),
        ("values", "pair", encoded(&(-1, "text"))),
        ("values", "map-in-another-order", vec![0x82, 2, 0, 1, 0]),
        ("values", "map-with-a-key-twice", vec![0x82, 1, 0, 1, 1]),
        ("values", "zeros", vec![0x92, 0xcb, 0x80, 0, 0, 0, 0, 0, 0, 0, 0xca, 0x80, 0, 0, 0]),
        ("values", "nan", vec![0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 1]),
        ("values", "longer-than-need-be", vec![0x92, 0xcd, 0, 1, 0xd9, 1, b'a']),
        ("values", "longer-text-than-need-be", vec![0x92, 0xd9, 1, b'a', 1]),
        ("values", "array-of-all-there-is", vec![0xdd, 0xff, 0xff, 0xff, 0xff]),
        ("values", "map-of-all-there-is", vec![0xdf, 0xff, 0xff, 0xff, 0xff, 1]),
        ("values", "bytes-of-all-there-is", vec![0xc6, 0xff, 0xff, 0xff, 0xff, 1]),
        ("values", "as-deep-as-may-be", [vec![0x91; 128], vec![0xc0]].concat()),
        ("values", "too-deep", [vec![0x91; 129], vec![0xc0]].concat()),
        ("values", "far-too-deep", vec![0x81; 4096]),
        ("values", "reserved", vec![0xc1]),
    ]
}

/// A message as it is.
fn sent(message: &impl Message) -> Vec<u8> {
    [&[0], &message.encode_to_vec()[..]].concat()
}

/// A message made by the contract.
fn made(target: &'static str) -> Seed {
    (target, "made", (1..100).collect())
}

fn encoded<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    value::encode(value).expect("it can be encoded")
}

fn entry() -> Entry {
    Entry { key: encoded("alice").into(), value: Some(some_value()) }
}

fn some_value() -> Value {
    let reference = Ref { server: 1, kind: Kind::Dict.into(), object: 2 };
    Value { data: encoded(&("a", 1)).into(), refs: vec![reference] }
}

fn refusal() -> Error {
    Error::new(Reason::ShuttingDown, "the manager is shutting down").with_hint("connect again")
}
