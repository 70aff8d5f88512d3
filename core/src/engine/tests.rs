mod away;
mod measure;
mod pages;

use std::time::Duration;

use bytes::Bytes;
use mp_manager_proto::{
    operation::{self, Waits},
    v1::{
        self, ArrayParameters, BarrierParameters, ClientFrame, Combination, DictOp, DirectoryOp,
        ElementType, Empty, Fence, Kind, List, ListOp, LockOp, Mode, Open, Parameters, Process,
        QueueItem, QueueOp, QueueParameters, Release, Reply, Request, ScalarParameters,
        SemaphoreParameters, SeqRange, SetCombine, SetOp, SetOperand, Value, dict_op, directory_op,
        list_op, lock_op, parameters, queue_op, reply, request, set_op,
    },
};

use super::*;
use crate::{Object, Reason, session, turn};

/// An engine, and heavy steps that nobody has performed yet.
struct Fixture {
    engine: Engine,
    heavy: Vec<Step>,
}

struct Peer {
    stream: Stream,
    frames: u64,
    seq: u64,
}

struct StandingClock;

impl Clock for StandingClock {
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn boottime(&self) -> Duration {
        Duration::ZERO
    }
}

impl Fixture {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            server_id: 1,
            hash_seed: 1,
            ephemeral: false,
            totals: Totals {
                max_objects: 100,
                max_sessions: 10,
                max_memory_bytes: 1 << 20,
                session_bytes: 1000,
                max_name_bytes: 100,
            },
            objects: turn::Limits { heavy_from: 300, ..turn::Limits::default() },
            sessions: session::Limits {
                max_requests_per_frame: 64,
                max_open_requests: 64,
                max_parked_calls: 64,
                max_unacknowledged_bytes: 1 << 20,
                max_pending_bytes: 1 << 20,
            },
            clients: v1::Limits::default(),
            frame_bytes: 1 << 20,
        };
        change(&mut config);
        let engine = Engine::new(config, Box::new(StandingClock), Reservation::unrecorded(100));
        Self { engine, heavy: Vec::new() }
    }

    fn begin(&self) -> Attachment {
        let hello = Hello {
            process: Process::default(),
            peer: "test".into(),
            lease_ms: 0,
            resume_secret: Bytes::new(),
        };
        self.engine.begin(hello).unwrap()
    }

    fn connect(&self) -> Peer {
        Peer { stream: self.begin().stream(), frames: 0, seq: 0 }
    }

    fn perform(&mut self, work: &mut Work) {
        while let Some(step) = work.next_step() {
            if step.is_heavy() {
                self.heavy.push(step);
            } else {
                self.engine.perform(step, work);
            }
        }
        work.let_go();
    }

    /// Performs the heavy steps, with all that follow.
    fn finish_heavy(&mut self) {
        for step in std::mem::take(&mut self.heavy) {
            let mut work = Work::of(step);
            while let Some(step) = work.next_step() {
                self.engine.perform(step, &mut work);
            }
            work.let_go();
        }
    }

    /// Lets a stream do what it wants to, and takes what it says.
    fn poll(&mut self, peer: &mut Peer) -> Vec<Reply> {
        let client = Arc::clone(peer.stream.client());
        let mut work = Work::default();
        while peer.stream.want(&self.engine) == Want::Start {
            let started = peer.stream.start(&self.engine, &mut client.lock(), &mut work);
            self.perform(&mut work);
            if started == Started::Blocked {
                break;
            }
        }
        peer.stream.say().map(|frame| frame.replies).unwrap_or_default()
    }

    fn frame(&mut self, peer: &mut Peer, mut frame: ClientFrame) -> Vec<Reply> {
        peer.frames += 1;
        frame.number = peer.frames;
        let client = Arc::clone(peer.stream.client());
        let mut work = Work::default();
        let fault = peer.stream.take_in(&self.engine, &mut client.lock(), frame, &mut work);
        assert_eq!(fault, None);
        self.perform(&mut work);
        self.poll(peer)
    }

    fn ask(&mut self, peer: &mut Peer, requests: Vec<Request>) -> Vec<Reply> {
        let requests = requests.into_iter().map(|request| {
            peer.seq += 1;
            Request { seq: peer.seq, ..request }
        });
        let requests = requests.collect();
        self.frame(peer, ClientFrame { requests, ..ClientFrame::default() })
    }

    /// Asks one thing that is answered at once, and acknowledges the reply.
    fn ask_one(&mut self, peer: &mut Peer, request: Request) -> Result<reply::Result, v1::Error> {
        let replies = self.ask(peer, vec![request]);
        let acks = vec![SeqRange { first: peer.seq, last: peer.seq }];
        self.frame(peer, ClientFrame { acks, ..ClientFrame::default() });
        match replies.into_iter().next().and_then(|reply| reply.result) {
            Some(reply::Result::Error(error)) => Err(error),
            Some(result) => Ok(result),
            None => panic!("it is not answered"),
        }
    }

    fn directory(
        &mut self,
        peer: &mut Peer,
        op: directory_op::Op,
    ) -> Result<reply::Result, v1::Error> {
        self.ask_one(peer, request_to(0, directory(op)))
    }

    fn open(&mut self, peer: &mut Peer, name: &str, kind: Kind) -> u64 {
        self.open_with(peer, name, kind, None)
    }

    fn open_with(
        &mut self,
        peer: &mut Peer,
        name: &str,
        kind: Kind,
        parameters: Option<parameters::Parameters>,
    ) -> u64 {
        let parameters = parameters.map(|parameters| Parameters { parameters: Some(parameters) });
        let name = Some(name.into());
        let open = Open { name, kind: kind.into(), mode: Mode::OpenOrCreate.into(), parameters };
        match self.directory(peer, directory_op::Op::Open(open)) {
            Ok(reply::Result::Opened(opened)) => opened.r#ref.unwrap().object,
            other => panic!("{other:?}"),
        }
    }

    /// Takes a lock; its id and the fence of the grant.
    fn acquire(&mut self, peer: &mut Peer, name: &str) -> (u64, Fence) {
        let lock = self.open(peer, name, Kind::Lock);
        let acquire = request::Op::Lock(LockOp { op: Some(lock_op::Op::Acquire(Empty {})) });
        match self.ask_one(peer, request_to(lock, acquire)) {
            Ok(reply::Result::Grant(grant)) => (lock, Fence { lock, token: grant.token }),
            other => panic!("{other:?}"),
        }
    }
}

fn request_to(object: u64, op: request::Op) -> Request {
    Request { object, op: Some(op), ..Request::default() }
}

fn directory(op: directory_op::Op) -> request::Op {
    request::Op::Directory(DirectoryOp { op: Some(op) })
}

fn queue(op: queue_op::Op) -> request::Op {
    request::Op::Queue(QueueOp { op: Some(op) })
}

fn list(op: list_op::Op) -> request::Op {
    request::Op::List(ListOp { op: Some(op) })
}

fn push(n: u8) -> request::Op {
    list(list_op::Op::Push(value(n)))
}

fn value(n: u8) -> Value {
    Value { data: vec![n].into(), refs: Vec::new() }
}

fn sort() -> request::Op {
    list(list_op::Op::Sort(v1::ListSort::default()))
}

fn seqs(replies: &[Reply]) -> Vec<u64> {
    replies.iter().map(|reply| reply.seq).collect()
}

#[test]
fn what_comes_while_a_heavy_operation_has_an_object_happens_in_order_afterwards() {
    let mut fixture = Fixture::new();
    let (mut one, mut other) = (fixture.connect(), fixture.connect());
    let id = fixture.open(&mut one, "numbers", Kind::List);
    let pushes = (0..3).map(|n| request_to(id, push(n))).collect();
    assert_eq!(fixture.ask(&mut one, pushes).len(), 3);

    assert_eq!(fixture.ask(&mut one, vec![request_to(id, sort())]), []);
    assert_eq!(fixture.ask(&mut other, vec![request_to(id, push(7))]), []);
    let len = || request_to(id, list(list_op::Op::Len(Empty {})));
    assert_eq!(fixture.ask(&mut other, vec![len()]), []);
    fixture.finish_heavy();
    let replies = fixture.poll(&mut other);
    assert_eq!(seqs(&replies), [1, 2]);
    assert_eq!(replies[1].result, Some(reply::Result::Number(4)));
    assert_eq!(seqs(&fixture.poll(&mut one)), [5]);
}

#[test]
fn a_fenced_request_whose_target_is_busy_keeps_its_place() {
    let mut fixture = Fixture::new();
    let (mut one, mut other) = (fixture.connect(), fixture.connect());
    let numbers = fixture.open(&mut one, "numbers", Kind::List);
    let lock = fixture.open(&mut one, "lock", Kind::Lock);
    let acquire = request::Op::Lock(LockOp { op: Some(lock_op::Op::Acquire(Empty {})) });
    let granted = fixture.ask(&mut other, vec![request_to(lock, acquire)]);
    let Some(reply::Result::Grant(grant)) = &granted[0].result else { panic!("{granted:?}") };
    let fence = Some(Fence { lock, token: grant.token });
    let pushes = (0..3).map(|n| request_to(numbers, push(n))).collect();
    fixture.ask(&mut one, pushes);
    fixture.ask(&mut one, vec![request_to(numbers, sort())]);

    let fenced = Request { fence, ..request_to(numbers, push(9)) };
    let release = lock_op::Op::Release(grant.token);
    let release = request::Op::Lock(LockOp { op: Some(release) });
    let replies = fixture.ask(&mut other, vec![fenced, request_to(lock, release)]);
    assert_eq!(seqs(&replies), [], "the release must not overtake");
    fixture.finish_heavy();
    let replies = fixture.poll(&mut other);
    assert_eq!(seqs(&replies), [2, 3]);
    assert!(matches!(replies[0].result, Some(reply::Result::Done(_))), "{replies:?}");
}

#[test]
fn a_request_whose_operand_is_deleted_meanwhile_is_refused() {
    let mut fixture = Fixture::new();
    let (mut one, mut other) = (fixture.connect(), fixture.connect());
    let [left, right] = ["left", "right"].map(|name| fixture.open(&mut one, name, Kind::Set));
    let add = |n: u8| {
        let add = set_op::Op::Add(vec![n].into());
        request_to(left, request::Op::Set(SetOp { op: Some(add) }))
    };
    fixture.ask(&mut one, (0..3).map(add).collect());
    let combine = |object: u64, other: SetOperand| {
        let combine = SetCombine {
            combination: Combination::Union.into(),
            other: Some(other),
            in_place: true,
        };
        request_to(object, request::Op::Set(SetOp { op: Some(set_op::Op::Combine(combine)) }))
    };
    // Heavy: the left set is away from now on.
    let elements = vec![Bytes::from_static(b"\x09")];
    fixture.ask(&mut one, vec![combine(left, SetOperand { elements, ..SetOperand::default() })]);
    let operand = SetOperand { object: left, ..SetOperand::default() };
    assert_eq!(fixture.ask(&mut other, vec![combine(right, operand)]), []);
    let delete = DirectoryOp { op: Some(directory_op::Op::Delete("left".into())) };
    fixture.ask(&mut one, vec![request_to(0, request::Op::Directory(delete))]);
    fixture.finish_heavy();
    let replies = fixture.poll(&mut other);
    let Some(reply::Result::Error(error)) = &replies[0].result else { panic!("{replies:?}") };
    assert_eq!(error.reason(), Reason::ObjectNotFound);
}

#[test]
fn acknowledging_an_item_gives_its_memory_back() {
    let mut fixture = Fixture::new();
    let mut one = fixture.connect();
    let id = fixture.open(&mut one, "queue", Kind::Queue);
    let empty = fixture.engine.bytes();
    for _ in 0..3 {
        let item = QueueItem { value: Some(value(1)), priority: None };
        let put = request::Op::Queue(QueueOp { op: Some(queue_op::Op::Put(item)) });
        let get = request::Op::Queue(QueueOp { op: Some(queue_op::Op::Get(Empty {})) });
        let replies = fixture.ask(&mut one, vec![request_to(id, put), request_to(id, get)]);
        assert_eq!(replies.len(), 2);
        let acks = vec![SeqRange { first: one.seq - 1, last: one.seq }];
        fixture.frame(&mut one, ClientFrame { acks, ..ClientFrame::default() });
        assert_eq!(fixture.engine.audit(), Some(fixture.engine.bytes()));
    }
    assert!(fixture.engine.bytes() <= empty + 64, "{} > {empty}", fixture.engine.bytes());
}

/// One object of each kind, with its id.
fn one_of_each(fixture: &mut Fixture, peer: &mut Peer) -> Vec<(Kind, u64)> {
    use parameters::Parameters as P;
    let kinds = (1..).map_while(|n| Kind::try_from(n).ok());
    kinds
        .map(|kind| {
            let parameters = match kind {
                Kind::Value => Some(P::Scalar(ScalarParameters { initial: Some(value(1)) })),
                Kind::Array => Some(P::Array(ArrayParameters {
                    element_type: ElementType::U8.into(),
                    len: 3,
                    ..ArrayParameters::default()
                })),
                Kind::Semaphore => {
                    Some(P::Semaphore(SemaphoreParameters { permits: 1, bounded: false }))
                }
                Kind::Barrier => Some(P::Barrier(BarrierParameters { parties: 2 })),
                _ => None,
            };
            (kind, fixture.open_with(peer, &format!("one of {kind:?}"), kind, parameters))
        })
        .collect()
}

/// Every operation of every kind, and all of those on the directory: executed while the grant stands, or
/// refused because they cannot be fenced. With a fence whose grant does not stand none is executed.
#[test]
fn a_fence_is_honoured_or_refused_by_every_operation() {
    let mut fixture = Fixture::new();
    let mut peer = fixture.connect();
    let objects = one_of_each(&mut fixture, &mut peer);
    let (_, live) = fixture.acquire(&mut peer, "the lock");
    let dead = Fence { token: live.token - 1, ..live };
    let (mut on_objects, mut on_directory) = (0, 0);
    for op in operation::every_operation() {
        let is_directory = matches!(op, request::Op::Directory(_));
        let object = objects.iter().find(|(kind, _)| Object::accepts(*kind, &op));
        let (kind, object) = object.copied().unwrap_or((Kind::Unspecified, 0));
        let request = |fence| Request { fence: Some(fence), ..request_to(object, op.clone()) };
        let before = (fixture.engine.counts(), fixture.engine.bytes());
        let refused = fixture.ask_one(&mut peer, request(dead)).expect_err("it was executed");
        let cannot_be_fenced = is_directory || !Object::can_be_fenced(kind);
        let expected = if cannot_be_fenced { Reason::Unsupported } else { Reason::Fenced };
        assert_eq!(refused.reason(), expected, "{op:?}: {refused}");
        assert!(is_directory || (fixture.engine.counts(), fixture.engine.bytes()) == before);
        let said = fixture.ask_one(&mut peer, request(live));
        let is_refused = said.is_err_and(|error| error.message.contains("cannot be fenced"));
        assert_eq!(is_refused, cannot_be_fenced, "{op:?}");
        on_directory += usize::from(is_directory);
        on_objects += usize::from(!is_directory);
    }
    assert!(on_objects >= 100 && on_directory >= 10, "{on_objects} and {on_directory}");
}

#[test]
fn nothing_is_opened_or_deleted_past_a_fence() {
    let mut fixture = Fixture::new();
    let mut peer = fixture.connect();
    fixture.open(&mut peer, "kept", Kind::List);
    let (lock, live) = fixture.acquire(&mut peer, "lock");
    let dead = Fence { lock, token: live.token - 1 };
    let open = Open { name: Some("new".into()), kind: Kind::Dict.into(), ..Open::default() };
    for op in [
        directory_op::Op::Delete("kept".into()),
        directory_op::Op::DeleteId(lock),
        directory_op::Op::Open(open),
    ] {
        for fence in [dead, live] {
            let request = Request { fence: Some(fence), ..request_to(0, directory(op.clone())) };
            let refused = fixture.ask_one(&mut peer, request).expect_err("it was executed");
            assert_eq!(refused.reason(), Reason::Unsupported);
        }
    }
    let exists = |name: &str| directory_op::Op::Exists(name.into());
    for (name, there) in [("kept", true), ("lock", true), ("new", false)] {
        let found = fixture.directory(&mut peer, exists(name));
        assert_eq!(found, Ok(reply::Result::Flag(there)), "{name}");
    }
}

/// Whoever would wait is told that it did not: `absent` and `false` are for those whose time is over.
#[test]
fn a_fenced_call_that_would_have_to_wait_says_so() {
    let mut fixture = Fixture::new();
    let mut peer = fixture.connect();
    let one = parameters::Parameters::Queue(QueueParameters {
        maxsize: Some(1),
        ..QueueParameters::default()
    });
    let id = fixture.open_with(&mut peer, "queue", Kind::Queue, Some(one));
    let (_, fence) = fixture.acquire(&mut peer, "lock");
    let put = queue_op::Op::Put(QueueItem { value: Some(value(1)), priority: None });
    let ask = |op: &queue_op::Op, timeout_us| Request {
        fence: Some(fence),
        timeout_us,
        ..request_to(id, queue(op.clone()))
    };
    let would_wait = [
        (queue_op::Op::Get(Empty {}), Reason::Empty),
        (queue_op::Op::GetMany(2), Reason::Empty),
        (queue_op::Op::Lease(Empty {}), Reason::Empty),
    ];
    for timeout in [None, Some(1), Some(u64::MAX)] {
        for (op, reason) in &would_wait {
            assert_eq!(operation::waits(&queue(op.clone())), Waits::UntilItsTimeout);
            let refused = fixture.ask_one(&mut peer, ask(op, timeout)).unwrap_err();
            assert_eq!(refused.reason(), *reason, "{refused}");
            assert!(refused.message.contains("what is fenced does not wait"), "{refused}");
            // Who would not wait is answered as without a fence.
            let absent = fixture.ask_one(&mut peer, ask(op, Some(0)));
            assert_eq!(absent, Ok(reply::Result::Absent(Empty {})));
        }
    }
    // There is room: it need not wait, whatever its timeout.
    fixture.ask_one(&mut peer, ask(&put, None)).unwrap();
    for (op, reason) in
        [(put, Reason::Full), (queue_op::Op::Join(Empty {}), Reason::InvalidArgument)]
    {
        let refused = fixture.ask_one(&mut peer, ask(&op, Some(1))).unwrap_err();
        assert_eq!(refused.reason(), reason, "{refused}");
        assert!(refused.message.contains("what is fenced does not wait"), "{refused}");
    }
    let cell = fixture.engine.object(id).unwrap();
    let info = cell.describe();
    assert_eq!((info.len, info.waiters.len()), (1, 0), "{info:?}");
}

#[test]
fn only_the_directory_executes_operations_on_the_directory() {
    let mut fixture = Fixture::new();
    let mut peer = fixture.connect();
    let id = fixture.open(&mut peer, "list", Kind::List);
    for object in [id, 77] {
        let delete = directory(directory_op::Op::Delete("list".into()));
        let refused = fixture.ask_one(&mut peer, request_to(object, delete)).unwrap_err();
        assert_eq!(refused.reason(), Reason::WrongKind, "{refused}");
    }
    let refused = fixture.ask_one(&mut peer, request_to(0, push(1))).unwrap_err();
    assert_eq!(refused.reason(), Reason::WrongKind, "{refused}");
    let there = fixture.directory(&mut peer, directory_op::Op::Exists("list".into()));
    assert_eq!(there, Ok(reply::Result::Flag(true)));
}

#[test]
fn what_a_newer_client_asks_for_is_not_taken_for_the_default() {
    let mut fixture = Fixture::new();
    let mut peer = fixture.connect();
    fixture.open(&mut peer, "list", Kind::List);
    for name in ["list", "new"] {
        let open = Open { name: Some(name.into()), kind: Kind::List.into(), ..Open::default() };
        let unknown_mode = Open { mode: 9, ..open.clone() };
        let unknown_kind = Open { kind: 99, ..open };
        for open in [unknown_mode, unknown_kind] {
            let refused = fixture.directory(&mut peer, directory_op::Op::Open(open)).unwrap_err();
            assert_eq!(refused.reason(), Reason::Unsupported, "{refused}");
        }
    }
    assert_eq!(fixture.engine.counts().objects, 1);
}

#[test]
fn without_a_name_there_is_nothing_to_open_without_creating_it() {
    let mut fixture = Fixture::new();
    let mut peer = fixture.connect();
    let open = |mode: Mode| {
        let open = Open { kind: Kind::List.into(), mode: mode.into(), ..Open::default() };
        directory_op::Op::Open(open)
    };
    let refused = fixture.directory(&mut peer, open(Mode::Open)).unwrap_err();
    assert_eq!(refused.reason(), Reason::InvalidArgument, "{refused}");
    assert_eq!(fixture.engine.counts().objects, 0);
    for (n, mode) in [Mode::OpenOrCreate, Mode::Create].into_iter().enumerate() {
        fixture.directory(&mut peer, open(mode)).unwrap();
        assert_eq!(fixture.engine.counts().objects, n + 1);
    }
}

#[test]
fn more_references_than_were_handed_out_are_not_released() {
    let mut fixture = Fixture::new();
    let mut peer = fixture.connect();
    let open = Open { kind: Kind::List.into(), ..Open::default() };
    let opened = fixture.directory(&mut peer, directory_op::Op::Open(open)).unwrap();
    let reply::Result::Opened(opened) = opened else { panic!("{opened:?}") };
    let object = opened.r#ref.unwrap().object;
    let release = |object, count| directory_op::Op::Release(Release { object, count });
    for (object, count) in [(object, 2), (object, u64::MAX), (77, 1)] {
        let refused = fixture.directory(&mut peer, release(object, count)).unwrap_err();
        assert_eq!(refused.reason(), Reason::BoundExceeded, "{refused}");
        assert_eq!(fixture.engine.counts().objects, 1);
    }
    let released = fixture.directory(&mut peer, release(object, 1));
    assert_eq!(released, Ok(reply::Result::Done(Empty {})));
    assert_eq!(fixture.engine.counts().objects, 0);
}

#[test]
fn an_error_names_a_kind_with_its_article() {
    let mut fixture = Fixture::new();
    let mut peer = fixture.connect();
    let event = fixture.open(&mut peer, "event", Kind::Event);
    let len = request::Op::Dict(DictOp { op: Some(dict_op::Op::Len(Empty {})) });
    let refused = fixture.ask_one(&mut peer, request_to(event, len)).unwrap_err();
    assert_eq!(refused.message, "the object is an Event");
    let name = Some("event".into());
    let open = Open { name, kind: Kind::Array.into(), ..Open::default() };
    let refused = fixture.directory(&mut peer, directory_op::Op::Open(open)).unwrap_err();
    assert_eq!(refused.message, "\"event\" is an Event, not an Array");
}

#[test]
fn a_deleted_object_without_a_name_is_not_listed() {
    let mut fixture = Fixture::new();
    let mut peer = fixture.connect();
    let open = Open { kind: Kind::List.into(), ..Open::default() };
    for _ in 0..3 {
        fixture.directory(&mut peer, directory_op::Op::Open(open.clone())).unwrap();
    }
    fixture.open(&mut peer, "named", Kind::List);
    let mut listed = |after_id, max| {
        let list = List { unnamed: true, after_id, max, ..List::default() };
        let listing = fixture.directory(&mut peer, directory_op::Op::List(list)).unwrap();
        let reply::Result::Listing(listing) = listing else { panic!("{listing:?}") };
        let ids: Vec<u64> = listing.objects.iter().map(|object| object.object).collect();
        (ids, listing.more)
    };
    assert_eq!(listed(0, 0), (vec![1, 2, 3], false));
    assert_eq!(listed(0, 2), (vec![1, 2], true));
    assert_eq!(listed(2, 2), (vec![3], false));
    fixture.directory(&mut peer, directory_op::Op::DeleteId(1)).unwrap();
    let list = List { unnamed: true, max: 1, ..List::default() };
    let listing = fixture.directory(&mut peer, directory_op::Op::List(list)).unwrap();
    let reply::Result::Listing(listing) = listing else { panic!("{listing:?}") };
    assert_eq!(listing.objects.len(), 1);
    assert_eq!((listing.objects[0].object, listing.more), (2, true));
    let again = fixture.directory(&mut peer, directory_op::Op::DeleteId(1)).unwrap_err();
    assert_eq!(again.reason(), Reason::ObjectNotFound, "{again}");
}

#[test]
fn a_client_may_ask_for_shorter_frames() {
    let fixture = Fixture::new();
    for (asked, said) in [(0, 3 << 20), (6000, 6000), (1, 4095), (u32::MAX, 3 << 20)] {
        let attachment = fixture.begin().with_frames_of(asked);
        let limits = fixture.engine.welcome(&attachment).limits.unwrap();
        assert_eq!(limits.max_server_frame_bytes, said, "{asked}");
    }
}
