use std::time::Duration;

use bytes::Bytes;
use mp_manager_proto::v1::{
    self, ClientFrame, Combination, DirectoryOp, Empty, Fence, Kind, ListOp, LockOp, Mode, Open,
    Process, QueueItem, QueueOp, Reply, Request, SeqRange, SetCombine, SetOp, SetOperand, Value,
    directory_op, list_op, lock_op, queue_op, reply, request, set_op,
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
        let config = Config {
            server_id: 1,
            hash_seed: 1,
            ephemeral: false,
            totals: Totals {
                max_objects: 100,
                max_sessions: 10,
                max_memory_bytes: 1 << 20,
                max_name_bytes: 100,
            },
            objects: turn::Limits { heavy_from: 3, ..turn::Limits::default() },
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
        let engine = Engine::new(config, Box::new(StandingClock), Reservation::unrecorded(100));
        Self { engine, heavy: Vec::new() }
    }

    fn connect(&self) -> Peer {
        let attachment = self.engine.begin(Hello {
            process: Process::default(),
            peer: "test".into(),
            lease_ms: 0,
            resume_secret: Bytes::new(),
        });
        Peer { stream: attachment.unwrap().stream(), frames: 0, seq: 0 }
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
        peer.stream.say(&self.engine).map(|frame| frame.replies).unwrap_or_default()
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

    fn open(&mut self, peer: &mut Peer, name: &str, kind: Kind) -> u64 {
        let open = Open {
            name: Some(name.into()),
            kind: kind.into(),
            mode: Mode::OpenOrCreate.into(),
            parameters: None,
        };
        let op = DirectoryOp { op: Some(directory_op::Op::Open(open)) };
        let replies = self.ask(peer, vec![request_to(0, request::Op::Directory(op))]);
        match replies.into_iter().next().and_then(|reply| reply.result) {
            Some(reply::Result::Opened(opened)) => opened.r#ref.unwrap().object,
            other => panic!("{other:?}"),
        }
    }
}

fn request_to(object: u64, op: request::Op) -> Request {
    Request { object, op: Some(op), ..Request::default() }
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
        let objects = fixture.engine.objects();
        let sum: usize = objects.iter().filter_map(|cell| cell.look(Object::bytes)).sum();
        assert_eq!(fixture.engine.bytes(), sum);
    }
    assert!(fixture.engine.bytes() <= empty + 64, "{} > {empty}", fixture.engine.bytes());
}
