//! Objects that heavy operations have taken away, and what comes for them meanwhile.

use std::time::Duration;

use mp_manager_proto::v1::{EventOp, SemaphoreOp, SetCompare, event_op, semaphore_op};

use super::*;

fn event(op: event_op::Op) -> request::Op {
    request::Op::Event(EventOp { op: Some(op) })
}

fn semaphore(permits: u64) -> request::Op {
    request::Op::Semaphore(SemaphoreOp { op: Some(semaphore_op::Op::Acquire(permits)) })
}

fn release(fence: Fence) -> Request {
    let release = lock_op::Op::Release(fence.token);
    request_to(fence.lock, request::Op::Lock(LockOp { op: Some(release) }))
}

fn acquire(lock: u64) -> Request {
    let acquire = lock_op::Op::Acquire(Empty {});
    request_to(lock, request::Op::Lock(LockOp { op: Some(acquire) }))
}

fn set(op: set_op::Op) -> request::Op {
    request::Op::Set(SetOp { op: Some(op) })
}

/// A set of so many elements.
fn filled(fixture: &mut Fixture, peer: &mut Peer, name: &str, count: u8) -> u64 {
    let id = fixture.open(peer, name, Kind::Set);
    let add = |n: u8| request_to(id, set(set_op::Op::Add(vec![n].into())));
    let replies = fixture.ask(peer, (0..count).map(add).collect());
    assert_eq!(replies.len(), usize::from(count));
    id
}

/// As many as wait for an event, each in a session's call.
fn waiting_for_an_event(fixture: &mut Fixture, peer: &mut Peer, count: usize) -> u64 {
    let id = fixture.open(peer, "event", Kind::Event);
    let wait = || request_to(id, event(event_op::Op::Wait(Empty {})));
    assert_eq!(fixture.ask(peer, (0..count).map(|_| wait()).collect()), []);
    id
}

#[test]
fn what_a_fence_guards_is_done_before_anybody_else_sees_it() {
    let mut fixture = Fixture::new();
    let (mut one, mut other) = (fixture.connect(), fixture.connect());
    let numbers = fixture.open(&mut one, "numbers", Kind::List);
    fixture.ask(&mut one, (0..3).rev().map(|n| request_to(numbers, push(n))).collect());
    let (lock, fence) = fixture.acquire(&mut one, "lock");
    let fenced = Request { fence: Some(fence), ..request_to(numbers, sort()) };
    assert_eq!(seqs(&fixture.ask(&mut one, vec![fenced, release(fence)])), [one.seq]);
    // The lock is somebody else's already, who sees the list as it will be.
    let first = request_to(numbers, list(list_op::Op::Get(0)));
    assert_eq!(fixture.ask(&mut other, vec![acquire(lock), first]).len(), 1);
    fixture.finish_heavy();
    assert_eq!(seqs(&fixture.poll(&mut one)), [one.seq - 1]);
    let first = fixture.poll(&mut other).remove(0).result;
    assert_eq!(first, Some(reply::Result::Value(value(0))));
}

#[test]
fn a_fence_waits_for_the_object_that_granted() {
    let mut fixture = Fixture::new();
    let (mut one, mut other) = (fixture.connect(), fixture.connect());
    let permits = SemaphoreParameters { permits: 4, bounded: true };
    let permits = Some(parameters::Parameters::Semaphore(permits));
    let lock = fixture.open_with(&mut one, "permits", Kind::Semaphore, permits);
    let granted = fixture.ask_one(&mut one, request_to(lock, semaphore(4)));
    let Ok(reply::Result::Grant(grant)) = granted else { panic!("{granted:?}") };
    fixture.ask(&mut one, (0..3).map(|_| request_to(lock, semaphore(1))).collect());
    let give = v1::SemaphoreRelease { count: 3, token: None };
    let give = SemaphoreOp { op: Some(semaphore_op::Op::Release(give)) };
    assert_eq!(fixture.ask(&mut one, vec![request_to(lock, request::Op::Semaphore(give))]), []);
    let numbers = fixture.open(&mut other, "numbers", Kind::List);
    // A permit is left of the grant, although nobody can look at it now.
    let fence = Some(Fence { lock, token: grant.token });
    let fenced = Request { fence, ..request_to(numbers, push(1)) };
    assert_eq!(fixture.ask(&mut other, vec![fenced]), []);
    fixture.finish_heavy();
    let replies = fixture.poll(&mut other);
    assert!(matches!(replies[0].result, Some(reply::Result::Done(_))), "{replies:?}");
}

#[test]
fn a_large_set_is_taken_away_for_the_operation_on_another() {
    let mut fixture = Fixture::new();
    let (mut one, mut other) = (fixture.connect(), fixture.connect());
    let right = filled(&mut fixture, &mut one, "right", 9);
    let left = fixture.open(&mut one, "left", Kind::Set);
    let combine = |object: u64, from: u64| {
        let from = SetOperand { object: from, ..SetOperand::default() };
        let combination = Combination::Union.into();
        let combine = SetCombine { combination, other: Some(from), in_place: true };
        request_to(object, set(set_op::Op::Combine(combine)))
    };
    let len = |object: u64| request_to(object, set(set_op::Op::Len(Empty {})));
    assert_eq!(fixture.ask(&mut one, vec![combine(left, right)]), []);
    assert_eq!(fixture.ask(&mut other, vec![len(left), len(right)]), []);
    fixture.finish_heavy();
    let lengths = fixture.poll(&mut other).into_iter().map(|reply| reply.result);
    assert_eq!(lengths.collect::<Vec<_>>(), [9, 9].map(|n| Some(reply::Result::Number(n))));
    assert_eq!(fixture.poll(&mut one).len(), 1);
    // Also when it is the same.
    let same = SetOperand { object: right, ..SetOperand::default() };
    let compare = SetCompare { relation: v1::Relation::Equal.into(), other: Some(same) };
    let compare = request_to(right, set(set_op::Op::Compare(compare)));
    assert_eq!(fixture.ask(&mut one, vec![compare]), []);
    fixture.finish_heavy();
    assert_eq!(fixture.poll(&mut one)[0].result, Some(reply::Result::Flag(true)));
}

#[test]
fn a_call_that_comes_to_wait_keeps_the_timeout_of_its_arrival() {
    let mut fixture = Fixture::new();
    let (mut one, mut other) = (fixture.connect(), fixture.connect());
    let id = waiting_for_an_event(&mut fixture, &mut one, 2);
    assert_eq!(fixture.ask(&mut one, vec![request_to(id, event(event_op::Op::Set(Empty {})))]), []);
    let clear = request_to(id, event(event_op::Op::Clear(Empty {})));
    let wait = request_to(id, event(event_op::Op::Wait(Empty {})));
    let timely = Request { timeout_us: Some(5), ..wait };
    assert_eq!(fixture.ask(&mut other, vec![clear, timely]), []);
    assert_eq!(fixture.engine.next_deadline(), Some(Duration::from_micros(5)));
    fixture.finish_heavy();
    assert_eq!(fixture.poll(&mut one).len(), 3);
    // It waits on, now that the event was cleared.
    assert_eq!(seqs(&fixture.poll(&mut other)), [1]);
    assert_eq!(fixture.engine.next_deadline(), Some(Duration::from_micros(5)));
}

#[test]
fn whoever_opens_what_is_away_learns_its_parameters_when_it_is_back() {
    let mut fixture = Fixture::new();
    let (mut one, mut other) = (fixture.connect(), fixture.connect());
    let permits = SemaphoreParameters { permits: 3, bounded: true };
    let permits = Some(parameters::Parameters::Semaphore(permits));
    let id = fixture.open_with(&mut one, "permits", Kind::Semaphore, permits.clone());
    fixture.ask(&mut one, vec![request_to(id, semaphore(3))]);
    assert_eq!(fixture.ask(&mut one, (0..3).map(|_| request_to(id, semaphore(1))).collect()), []);
    let give = v1::SemaphoreRelease { count: 3, token: None };
    let give = SemaphoreOp { op: Some(semaphore_op::Op::Release(give)) };
    assert_eq!(
        fixture.ask(&mut one, vec![request_to(id, request::Op::Semaphore(give))]),
        [],
        "the release wakes many, and is heavy here"
    );
    let open = Open {
        name: Some("permits".into()),
        kind: Kind::Semaphore.into(),
        mode: Mode::Open.into(),
        parameters: None,
    };
    let open = request_to(0, directory(directory_op::Op::Open(open)));
    assert_eq!(fixture.ask(&mut other, vec![open]), []);
    fixture.finish_heavy();
    let replies = fixture.poll(&mut other);
    let Some(reply::Result::Opened(opened)) = &replies[0].result else { panic!("{replies:?}") };
    assert_eq!(opened.parameters.clone().unwrap().parameters, permits);
}

#[test]
fn the_end_of_a_session_with_much_in_it_is_told_elsewhere() {
    let mut fixture = Fixture::new();
    let (mut one, mut other) = (fixture.connect(), fixture.connect());
    let (lock, _) = fixture.acquire(&mut one, "lock");
    waiting_for_an_event(&mut fixture, &mut one, 2);
    assert_eq!(fixture.ask(&mut other, vec![acquire(lock)]), []);
    let client = Arc::clone(one.stream.client());
    let mut work = Work::default();
    assert!(fixture.engine.end(&client, &mut client.lock(), None, &mut work));
    fixture.perform(&mut work);
    assert_eq!(fixture.poll(&mut other), []);
    assert!(client.has_ended());
    fixture.finish_heavy();
    assert_eq!(fixture.poll(&mut other).len(), 1);
    assert!(fixture.engine.client(client.id()).is_none());
}

#[test]
fn contents_that_take_long_to_drop_are_out_of_the_books_at_once() {
    let mut fixture = Fixture::new();
    let mut one = fixture.connect();
    filled(&mut fixture, &mut one, "large", 9);
    let full = fixture.engine.bytes();
    assert!(fixture.directory(&mut one, directory_op::Op::Delete("large".into())).is_ok());
    assert!(fixture.engine.bytes() <= full - 9 * size_of::<crate::Stored>());
    assert_eq!(fixture.engine.audit(), Some(fixture.engine.bytes()));
    assert!(fixture.engine.has_buried());
    fixture.engine.drop_buried();
    assert!(!fixture.engine.has_buried());
}

#[test]
fn a_beat_is_heard_while_somebody_holds_the_sessions_lock() {
    let fixture = Fixture::new();
    let attachment = fixture.begin();
    let lock = attachment.client.lock();
    assert_eq!(fixture.engine.beat(&attachment), Some(0));
    assert!(attachment.client.try_lock().is_none());
    drop(lock);
}
