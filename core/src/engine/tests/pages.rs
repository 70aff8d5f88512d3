//! What is said of objects and sessions comes in pages, and weighs what it weighs.

use mp_manager_proto::v1::{EventOp, Inspect, Inspection, List, Listing, event_op};

use super::*;

fn directory(op: directory_op::Op) -> Request {
    request_to(0, request::Op::Directory(DirectoryOp { op: Some(op) }))
}

/// A manager with so many named locks, beside the peer that opened them.
fn with_locks(count: usize, change: impl FnOnce(&mut Config)) -> (Fixture, Peer) {
    let mut fixture = Fixture::with(|config| {
        config.totals.max_objects = usize::MAX;
        config.totals.max_memory_bytes = usize::MAX;
        change(config);
    });
    let mut peer = fixture.connect();
    for n in 0..count {
        fixture.open(&mut peer, &format!("{n:05}"), Kind::Lock);
        let acks = vec![SeqRange { first: 1, last: peer.seq }];
        fixture.frame(&mut peer, ClientFrame { acks, ..ClientFrame::default() });
    }
    (fixture, peer)
}

fn inspect(fixture: &mut Fixture, peer: &mut Peer, inspect: Inspect) -> Inspection {
    let replies = fixture.ask(peer, vec![directory(directory_op::Op::Inspect(inspect))]);
    match replies.into_iter().next().and_then(|reply| reply.result) {
        Some(reply::Result::Inspection(inspection)) => inspection,
        other => panic!("{other:?}"),
    }
}

#[test]
fn pages_have_every_object_and_session_once() {
    let (mut fixture, mut peer) = with_locks(25, |_| {});
    let others: Vec<_> = (0..9).map(|_| fixture.connect()).collect();
    let (mut objects, mut sessions, mut pages) = (Vec::new(), Vec::new(), 0);
    let mut wanted = Inspect { max: 7, ..Inspect::default() };
    loop {
        let page = inspect(&mut fixture, &mut peer, wanted.clone());
        assert!(page.objects.len() <= 7 && page.sessions.len() <= 7);
        assert_eq!(page.statistics.unwrap().objects, 25);
        pages += 1;
        objects.extend(page.objects.iter().map(|object| object.object));
        sessions.extend(page.sessions.iter().map(|session| session.session));
        if page.next.is_none() && page.next_session.is_none() {
            break;
        }
        wanted.after = page.next.unwrap_or(u64::MAX);
        wanted.after_session = page.next_session.unwrap_or(u64::MAX);
    }
    assert_eq!(pages, 4);
    assert_eq!((objects.len(), sessions.len()), (25, 1 + others.len()));
    assert!(objects.is_sorted_by(|a, b| a < b) && sessions.is_sorted_by(|a, b| a < b));
}

#[test]
fn one_object_is_on_the_first_page_and_all_sessions_on_those_that_follow() {
    let (mut fixture, mut peer) = with_locks(3, |_| {});
    let _others: Vec<_> = (0..4).map(|_| fixture.connect()).collect();
    let first = Inspect { name: Some("00001".into()), max: 3, ..Inspect::default() };
    let page = inspect(&mut fixture, &mut peer, first.clone());
    assert_eq!((page.objects.len(), page.next, page.sessions.len()), (1, None, 3));
    let after_session = page.next_session.unwrap();
    let page =
        inspect(&mut fixture, &mut peer, Inspect { after: u64::MAX, after_session, ..first });
    assert_eq!((page.objects.len(), page.sessions.len(), page.next_session), (0, 2, None));
}

#[test]
fn a_page_ends_where_it_is_full() {
    let (mut fixture, mut peer) = with_locks(30, |config| config.objects.page_bytes = 2000);
    let page = inspect(&mut fixture, &mut peer, Inspect::default());
    let objects = page.objects.len();
    assert!((2..20).contains(&objects), "{objects}");
    assert_eq!(page.next, page.objects.last().map(|object| object.object));
    // Nothing is left for sessions: they come when the objects are through.
    assert_eq!((page.sessions.len(), page.next_session), (0, Some(0)));

    let mut names = Vec::new();
    loop {
        let after = names.last().cloned().unwrap_or_default();
        let list = List { after, ..List::default() };
        let replies = fixture.ask(&mut peer, vec![directory(directory_op::Op::List(list))]);
        let Some(reply::Result::Listing(Listing { objects, more, .. })) = &replies[0].result else {
            panic!("{replies:?}")
        };
        assert!((2..20).contains(&objects.len()), "{}", objects.len());
        names.extend(objects.iter().map(|object| object.name.clone()));
        if !more {
            break;
        }
    }
    let all: Vec<_> = (0..30).map(|n| format!("{n:05}")).collect();
    assert_eq!(names, all);
}

/// A hundred small requests for long replies by a client that acknowledges nothing: no more of them are
/// made than may be kept, by what they take in memory.
#[test]
fn a_hundred_inspections_weigh_what_they_weigh_before_they_are_made() {
    let (mut fixture, mut peer) = with_locks(3000, |config| {
        config.sessions.max_requests_per_frame = 100;
        config.sessions.max_open_requests = 1000;
        config.sessions.max_unacknowledged_bytes = 4 << 20;
    });
    let inspects = vec![directory(directory_op::Op::Inspect(Inspect::default())); 100];
    let (mut made, mut bytes, mut last) = (0, 0, 0);
    let mut replies = fixture.ask(&mut peer, inspects);
    while !replies.is_empty() {
        for reply in &replies {
            last = reply.seq;
            let Some(reply::Result::Inspection(page)) = &reply.result else { panic!("{reply:?}") };
            assert_eq!(page.objects.len(), 1000);
            bytes += page.objects.capacity() * size_of::<v1::ObjectInfo>();
            made += 1;
        }
        replies = fixture.poll(&mut peer);
    }
    assert!(made < 100 && bytes < 10 << 20, "{made} of them, which take {bytes} bytes");
    // They are not lost: each has its turn when there is room.
    while made < 100 {
        let acks = vec![SeqRange { first: 1, last }];
        let replies = fixture.frame(&mut peer, ClientFrame { acks, ..ClientFrame::default() });
        last = replies.last().expect("there is room").seq;
        made += replies.len();
    }
}

#[test]
fn many_who_wait_are_named_up_to_a_thousand_and_counted() {
    let (mut fixture, mut peer) = with_locks(0, |config| {
        config.sessions.max_requests_per_frame = 5000;
        config.sessions.max_open_requests = 5000;
        config.sessions.max_parked_calls = 5000;
    });
    let event = fixture.open(&mut peer, "event", Kind::Event);
    let wait = request::Op::Event(EventOp { op: Some(event_op::Op::Wait(Empty {})) });
    assert_eq!(fixture.ask(&mut peer, vec![request_to(event, wait); 3000]), []);
    let mut other = fixture.connect();
    let page = inspect(&mut fixture, &mut other, Inspect::default());
    let object = &page.objects[0];
    assert_eq!((object.waiters.len(), object.more_waiters), (1000, 2000));
}
