//! What is counted, and what is measured.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::object::Measured;

fn count(engine: &Engine, kind: &str, op: &str) -> u64 {
    let (number, ..) =
        operation::names().find(|(_, of, name)| (*of, name.as_str()) == (kind, op)).unwrap();
    engine.tally().operations[number]
}

#[test]
fn requests_are_counted_once_and_errors_by_reason() {
    let mut fixture = Fixture::new();
    let mut peer = fixture.connect();
    let list_id = fixture.open(&mut peer, "numbers", Kind::List);
    for n in 0..3 {
        fixture.ask_one(&mut peer, request_to(list_id, push(n))).unwrap();
    }
    fixture.ask_one(&mut peer, request_to(list_id + 1, push(0))).unwrap_err();
    assert_eq!(count(&fixture.engine, "list", "push"), 4);
    assert_eq!(count(&fixture.engine, "directory", "open"), 1);
    let tally = fixture.engine.tally();
    assert_eq!(tally.operations.iter().sum::<u64>(), 5);
    assert_eq!(tally.errors[Reason::ObjectNotFound as usize], 1);
    assert_eq!(tally.errors.iter().sum::<u64>(), 1);
}

#[test]
fn a_request_that_is_started_again_counts_once() {
    let mut fixture = Fixture::new();
    let mut peer = fixture.connect();
    let numbers = fixture.open(&mut peer, "numbers", Kind::List);
    let (_, fence) = fixture.acquire(&mut peer, "lock");
    for n in 0..64 {
        fixture.ask_one(&mut peer, request_to(numbers, push(n))).unwrap();
        let acks = vec![SeqRange { first: 1, last: peer.seq }];
        fixture.frame(&mut peer, ClientFrame { acks, ..ClientFrame::default() });
    }
    fixture.ask(&mut peer, vec![request_to(numbers, sort())]);
    assert_eq!(fixture.heavy.len(), 1);
    let fenced = Request { fence: Some(fence), ..request_to(numbers, push(7)) };
    assert!(fixture.ask(&mut peer, vec![fenced]).is_empty(), "its target is busy");
    assert_eq!(count(&fixture.engine, "list", "push"), 64);
    fixture.finish_heavy();
    assert!(!fixture.poll(&mut peer).is_empty());
    assert_eq!(count(&fixture.engine, "list", "push"), 65);
}

#[test]
fn objects_are_counted_by_kind_until_they_are_gone() {
    let mut fixture = Fixture::new();
    let mut peer = fixture.connect();
    for name in ["a", "b"] {
        fixture.open(&mut peer, name, Kind::Queue);
    }
    let unnamed = Open { kind: Kind::Queue.into(), mode: Mode::Create.into(), ..Open::default() };
    fixture.directory(&mut peer, directory_op::Op::Open(unnamed)).unwrap();
    assert_eq!(fixture.engine.objects_of(Kind::Queue), 3);
    fixture.directory(&mut peer, directory_op::Op::Delete("a".into())).unwrap();
    assert_eq!(fixture.engine.objects_of(Kind::Queue), 2);
    let Peer { stream, .. } = peer;
    let (client, mut work) = (Arc::clone(stream.client()), Work::default());
    fixture.engine.end(&client, &mut client.lock(), None, &mut work);
    drop((stream, client));
    fixture.perform(&mut work);
    fixture.finish_heavy();
    assert_eq!(fixture.engine.objects_of(Kind::Queue), 1);
    assert_eq!(fixture.engine.counts().objects, 1);
}

#[test]
fn named_queues_and_pools_are_measured_page_by_page() {
    let mut fixture = Fixture::new();
    let mut peer = fixture.connect();
    for n in 0..9 {
        let kind = [Kind::Queue, Kind::Lock, Kind::Pool][n % 3];
        fixture.open(&mut peer, &format!("object {n}"), kind);
    }
    let queue_id = fixture.open(&mut peer, "jobs", Kind::Queue);
    let item = QueueItem { value: Some(value(1)), priority: None };
    fixture.ask_one(&mut peer, request_to(queue_id, queue(queue_op::Op::Put(item)))).unwrap();
    let (mut seen, mut after, mut pages) = (Vec::new(), Some(0), 0);
    while let Some(last) = after {
        let page = fixture.engine.measure_objects(last, 4);
        seen.extend(page.objects);
        (after, pages) = (page.next, pages + 1);
    }
    assert_eq!(pages, 3);
    let names: Vec<&str> = seen.iter().map(|object| object.name.as_str()).collect();
    let expected = ["object 0", "object 2", "object 3", "object 5", "object 6", "object 8", "jobs"];
    assert_eq!(names, expected);
    let Some(Measured::Queue(status)) = seen[6].measured else { panic!("{seen:?}") };
    assert_eq!((status.items, status.unfinished, status.getters), (1, 1, 0));
    assert!(matches!(seen[1].measured, Some(Measured::Pool(_))), "{seen:?}");
}

#[test]
fn what_sessions_have_open_adds_up() {
    let mut fixture = Fixture::new();
    let mut peers: Vec<Peer> = (0..5).map(|_| fixture.connect()).collect();
    let jobs = fixture.open(&mut peers[0], "jobs", Kind::Queue);
    for peer in &mut peers {
        let get = request_to(jobs, queue(queue_op::Op::Get(Empty {})));
        assert!(fixture.ask(peer, vec![get]).is_empty(), "it waits");
    }
    let (first, rest) = (fixture.engine.measure_sessions(0, 3), 3);
    assert_eq!((first.parked, first.next), (3, Some(rest)));
    let second = fixture.engine.measure_sessions(rest, 3);
    assert_eq!((second.parked, second.next), (2, None));
    assert_eq!((first.open, second.open, first.unacknowledged_bytes), (3, 2, 0));
    fixture.ask(&mut peers[3], vec![request_to(jobs, queue(queue_op::Op::Len(Empty {})))]);
    let second = fixture.engine.measure_sessions(rest, 3);
    // The reply is not acknowledged.
    assert_eq!((second.parked, second.open), (2, 3));
    assert!(second.unacknowledged_bytes > 0);
}

/// A clock that a test moves.
#[derive(Default)]
struct Hands(AtomicU64);

impl Clock for &'static Hands {
    fn monotonic(&self) -> Duration {
        self.boottime()
    }

    fn boottime(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

#[test]
fn a_session_that_is_silent_for_its_lease_counts_as_that() {
    static HANDS: Hands = Hands(AtomicU64::new(0));
    let config = Fixture::new().engine.config().clone();
    let engine = Engine::new(config, Box::new(&HANDS), Reservation::unrecorded(100));
    let mut fixture = Fixture { engine, heavy: Vec::new() };
    let (silent, closed) = (fixture.begin(), fixture.begin());
    let mut work = Work::default();
    fixture.engine.end(&closed.client, &mut closed.client.lock(), None, &mut work);
    fixture.perform(&mut work);
    for _ in 0..400 {
        HANDS.0.fetch_add(50, Ordering::Relaxed);
        let stalled = fixture.engine.tick();
        while let Some(due) = fixture.engine.next_due() {
            let Some(client) = fixture.engine.client(due.session) else { continue };
            fixture.engine.look_after(&client, &mut client.lock(), due, stalled, &mut work);
            fixture.perform(&mut work);
        }
    }
    assert!(silent.client.has_ended());
    let tally = fixture.engine.tally();
    assert_eq!((tally.sessions_begun, tally.sessions_ended), (2, [1, 1, 0, 0]));
    assert_eq!(Cause::ALL.map(Cause::label), ["client", "lease_expired", "fault", "shutdown"]);
}
