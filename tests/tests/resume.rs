//! A session outlives its connection: whoever resumes it finds everything as it was, nothing lost
//! and nothing done twice; whoever does not is gone when the lease is over.

use std::time::{Duration, Instant};

use mp_manager::Manager;
use mp_manager_proto::v1::{
    ClientFrame, DictOp, DirectoryOp, Empty, Grant, Kind, ListOp, LockOp, QueueItem, QueueOp,
    Reason, Reconcile, Release, Request, Value, dict_op, directory_op, list_op, lock_op, queue_op,
    reply, request,
};
use mp_manager_tests::{
    AUTHKEY, TestServer, log,
    raw::{RawBeats, RawConnection, RawSession, Ticket},
    victim::{until, waiters},
    within,
};
use tokio::{
    io::{copy, duplex, sink, split},
    net::UnixStream,
};
use tonic::Code;

/// No test takes as long: such a session does not end by its lease.
const LONG_MS: u64 = 300_000;
const SHORT_MS: u64 = 1000;

/// A client whose connection may break.
struct Client {
    address: String,
    ticket: Ticket,
    connection: RawConnection,
    session: RawSession,
}

impl Client {
    async fn start(server: &TestServer) -> Self {
        Self::with_lease(server, LONG_MS).await
    }

    async fn with_lease(server: &TestServer, lease_ms: u64) -> Self {
        let address = server.address();
        let connection = RawConnection::open(&address).await;
        let (welcome, ticket) = connection.begin(lease_ms).await;
        assert_eq!((welcome.lease_ms, welcome.resumed), (lease_ms, false));
        let session = connection.session().await.expect("no session");
        Self { address, ticket, connection, session }
    }

    /// Resumes the session on another connection, which has not reconciled yet; this one stays.
    async fn again(&self, last_seq: u64) -> Self {
        let connection = RawConnection::open(&self.address).await;
        let welcome = within(connection.resume(&self.ticket)).await.expect("it is refused");
        assert!(welcome.resumed);
        assert_eq!(welcome.session, self.ticket.resume.session);
        assert_eq!(welcome.resume_secret, self.ticket.secret);
        let session = within(connection.session()).await.expect("no session").after(last_seq);
        Self { address: self.address.clone(), ticket: self.ticket.clone(), connection, session }
    }

    /// The connection breaks, and the session is resumed on another.
    async fn reconnected(self, last_seq: u64) -> Self {
        let Self { address, ticket, connection, session } = self;
        drop((connection, session));
        let connection = RawConnection::open(&address).await;
        let welcome = within(connection.resume(&ticket)).await.expect("it is refused");
        assert!(welcome.resumed);
        let session = within(connection.session()).await.expect("no session").after(last_seq);
        Self { address, ticket, connection, session }
    }

    async fn beats(&self) -> RawBeats {
        within(self.connection.keep_alive()).await.expect("no beats")
    }

    /// The session ends with an error of the protocol that says so.
    async fn breaks_the_protocol(mut self, message: &str) {
        let ended = within(self.session.farewell()).await.expect("it is told why");
        assert_eq!(ended.reason(), Reason::Protocol, "{ended}");
        assert!(ended.message.contains(message), "{ended}");
    }
}

async fn observer(server: &TestServer) -> Manager {
    within(Manager::connect(&server.address(), AUTHKEY)).await.expect("it is there")
}

#[tokio::test]
async fn what_was_under_way_when_the_connection_broke_happens_once() {
    let server = TestServer::start();
    let mut client = Client::start(&server).await;
    let list = client.session.open(Some("log"), Kind::List, None).await.unwrap();
    client.session.ask(list, push(1)).await.unwrap();
    let (second, third) =
        (client.session.request(list, push(2)), client.session.request(list, push(3)));
    let seqs = [second.seq, third.seq];
    // They may be executed, or not, or be lost on their way.
    client.session.send_requests(vec![second.clone()]).await;
    client.session.send_requests(vec![third.clone()]).await;

    let mut client = client.reconnected(third.seq).await;
    let reconcile = Some(Reconcile { open: seqs.to_vec(), cancelled: vec![] });
    let requests = vec![second, third];
    client.session.send(ClientFrame { reconcile, requests, ..ClientFrame::default() }).await;
    for seq in seqs {
        within(client.session.reply(seq)).await.unwrap();
    }
    let len = within(client.session.ask(list, list_op(list_op::Op::Len(Empty {})))).await;
    assert_eq!(len, Ok(reply::Result::Number(3)));
}

#[tokio::test]
async fn a_reply_is_repeated_until_it_is_acknowledged() {
    let server = TestServer::start();
    let mut client = Client::start(&server).await;
    let lock = client.session.open(Some("migrate"), Kind::Lock, None).await.unwrap();
    let acquire = client.session.send_request(lock, acquire()).await;
    let grant = within(client.session.reply(acquire)).await;
    assert!(matches!(grant, Ok(reply::Result::Grant(_))));

    let mut client = client.reconnected(acquire).await;
    client.session.reconcile(&[acquire], &[]).await;
    assert_eq!(within(client.session.reply(acquire)).await, grant);
    client.session.acknowledge(acquire).await;
    // What the client does not ask for any more is not repeated.
    let mut client = client.reconnected(acquire).await;
    client.session.reconcile(&[], &[]).await;
    let ping = client.session.send_request(0, ping()).await;
    let frame = within(client.session.hear()).await.unwrap();
    assert_eq!(frame.replies.iter().map(|reply| reply.seq).collect::<Vec<_>>(), [ping]);
    assert_eq!(frame.echo, 2);
}

#[tokio::test]
async fn what_is_parked_keeps_its_place() {
    let server = TestServer::start();
    let observer = observer(&server).await;
    let held = observer.lock("migrate").await.unwrap().acquire().await.unwrap();
    let mut client = Client::start(&server).await;
    let lock = client.session.open(Some("migrate"), Kind::Lock, None).await.unwrap();
    let acquire_first = client.session.send_request(lock, acquire()).await;
    waiters(&observer, "migrate", 1).await;
    let mut other = Client::start(&server).await;
    let acquire_second = other.session.send_request(lock, acquire()).await;
    let before = waiters(&observer, "migrate", 2).await;

    let mut client = client.reconnected(acquire_first).await;
    let request =
        Request { seq: acquire_first, object: lock, op: Some(acquire()), ..Request::default() };
    client.session.reconcile(&[acquire_first], &[]).await;
    client.session.send_requests(vec![request]).await;
    within(client.session.ask(0, ping())).await.unwrap();
    assert_eq!(waiters(&observer, "migrate", 2).await, before);
    held.release().await.unwrap();
    let Ok(reply::Result::Grant(grant)) = within(client.session.reply(acquire_first)).await else {
        panic!("no grant")
    };
    within(client.session.ask(lock, release(grant.token))).await.unwrap();
    let granted = within(other.session.reply(acquire_second)).await;
    assert!(matches!(granted, Ok(reply::Result::Grant(_))));
}

#[tokio::test]
async fn what_is_parked_keeps_its_deadline() {
    let server = TestServer::start();
    let observer = observer(&server).await;
    let _held = observer.lock("migrate").await.unwrap().acquire().await.unwrap();
    let mut client = Client::start(&server).await;
    let lock = client.session.open(Some("migrate"), Kind::Lock, None).await.unwrap();
    let request = client.session.request(lock, acquire());
    let request = Request { timeout_us: Some(100_000), ..request };
    client.session.send_requests(vec![request.clone()]).await;
    let mut client = client.reconnected(request.seq).await;
    client.session.reconcile(&[request.seq], &[]).await;
    client.session.send_requests(vec![request.clone()]).await;
    let reply = within(client.session.reply(request.seq)).await;
    assert_eq!(reply, Ok(reply::Result::Absent(Empty {})));
}

#[tokio::test]
async fn what_was_cancelled_meanwhile_is_taken_back() {
    let server = TestServer::start();
    let observer = observer(&server).await;
    let mut client = Client::start(&server).await;
    let lock = client.session.open(Some("migrate"), Kind::Lock, None).await.unwrap();
    let held = client.session.send_request(lock, acquire()).await;
    within(client.session.reply(held)).await.unwrap();
    let waiting = client.session.send_request(lock, acquire()).await;
    waiters(&observer, "migrate", 1).await;

    let mut client = client.reconnected(waiting).await;
    client.session.reconcile(&[], &[held, waiting, 77]).await;
    within(client.session.ask(0, ping())).await.unwrap();
    let lock = observer.lock("migrate").await.unwrap();
    within(lock.acquire()).await.unwrap().release().await.unwrap();
}

/// Whoever comes last speaks for the session; the other is not listened to, and hears that.
#[tokio::test]
async fn of_two_that_resume_at_once_one_is_heard() {
    let server = TestServer::start();
    let mut client = Client::start(&server).await;
    let list = client.session.open(Some("log"), Kind::List, None).await.unwrap();
    client.session.acknowledge(1).await;
    for round in 0..20 {
        let (one, two) = tokio::join!(client.again(1 + round), client.again(1 + round));
        let heard = |mut racer: Client| async move {
            racer.session.reconcile(&[], &[]).await;
            let seq = racer.session.send_request(list, push(1)).await;
            let frame = within(racer.session.hear()).await?;
            if frame.ended.is_some() {
                return None;
            }
            assert_eq!(frame.replies.len(), 1);
            racer.session.acknowledge(seq).await;
            Some(racer)
        };
        let (one, two) = tokio::join!(heard(one), heard(two));
        let [winner] = <[Client; 1]>::try_from(one.into_iter().chain(two).collect::<Vec<_>>())
            .unwrap_or_else(|heard| panic!("{} of them were heard", heard.len()));
        let ended = within(client.session.farewell()).await.expect("it is told why");
        assert_eq!(ended.reason(), Reason::SessionEnded, "{ended}");
        client = winner;
    }
    let len = within(client.session.ask(list, list_op(list_op::Op::Len(Empty {})))).await;
    assert_eq!(len, Ok(reply::Result::Number(20)));
}

/// Whoever did not do it itself must not resume the session back.
#[tokio::test]
async fn who_loses_its_session_to_another_connection_is_told_which() {
    let server = TestServer::start();
    let mut old = Client::start(&server).await;
    within(old.session.ask(0, ping())).await.unwrap();
    let new = old.again(1).await;
    let ended = within(old.session.farewell()).await.expect("it is told why");
    assert_eq!(ended.reason(), Reason::SessionEnded, "{ended}");
    let peer = new.connection.peer();
    assert!(ended.message.contains("resumed on another connection"), "{ended}");
    assert!(ended.message.contains(peer), "{ended} does not name {peer}");

    // One that came too late to open its stream is told as well.
    let late = RawConnection::open(&server.address()).await;
    within(late.resume(&old.ticket)).await.expect("it is refused");
    let newest = old.again(1).await;
    let mut late = within(late.session()).await.expect("no session");
    let ended = within(late.farewell()).await.expect("it is told why");
    assert!(ended.message.contains(newest.connection.peer()), "{ended}");
}

#[tokio::test]
async fn only_who_has_the_secret_can_resume() {
    log::keep();
    let server = TestServer::start();
    let mut client = Client::start(&server).await;
    let thief = RawConnection::open(&server.address()).await;
    let stolen = Ticket { secret: vec![7; 32].into(), ..client.ticket.clone() };
    let refusal = within(thief.resume(&stolen)).await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::AuthenticationFailed);
    assert!(within(thief.session()).await.is_err());
    assert_eq!(log::lines_with(thief.peer()).len(), 1);
    // The session is not harmed, neither on its connection nor for its owner.
    within(client.session.ask(0, ping())).await.unwrap();
    let mut client = client.reconnected(1).await;
    client.session.reconcile(&[], &[]).await;
    within(client.session.ask(0, ping())).await.unwrap();
}

#[tokio::test]
async fn who_comes_for_a_session_that_is_not_there_gets_a_new_one() {
    let server = TestServer::start();
    let client = Client::start(&server).await;
    within(client.session.end()).await;
    let mut older = client.ticket.clone();
    older.resume.epoch -= 1;
    for ticket in [client.ticket, older] {
        let connection = RawConnection::open(&server.address()).await;
        let welcome = within(connection.resume(&ticket)).await.unwrap();
        assert!(!welcome.resumed && welcome.session != ticket.resume.session);
        let mut session = within(connection.session()).await.unwrap();
        within(session.ask(0, ping())).await.unwrap();
    }
}

#[tokio::test]
async fn late_frames_of_an_older_connection_are_discarded() {
    let server = TestServer::start();
    let mut old = Client::start(&server).await;
    let list = old.session.open(Some("log"), Kind::List, None).await.unwrap();
    let mut new = old.again(1).await;
    old.session.send_request(list, push(1)).await;
    old.session.send(ClientFrame { goodbye: Some(Empty {}), ..ClientFrame::default() }).await;
    within(old.session.farewell()).await.expect("it is told why");
    new.session.reconcile(&[1], &[]).await;
    let opened = within(new.session.reply(1)).await;
    assert!(matches!(opened, Ok(reply::Result::Opened(_))));
    let len = within(new.session.ask(list, list_op(list_op::Op::Len(Empty {})))).await;
    assert_eq!(len, Ok(reply::Result::Number(0)));
}

#[tokio::test]
async fn a_resumed_session_keeps_to_the_protocol() {
    let server = TestServer::start();
    let observer = observer(&server).await;
    let resumed = async || {
        let client = Client::start(&server).await;
        client.reconnected(0).await
    };
    let mut silent = resumed().await;
    silent.session.send_request(0, ping()).await;
    silent.breaks_the_protocol("the first frame of a resumed session has to reconcile").await;

    let mut twice = resumed().await;
    twice.session.reconcile(&[], &[]).await;
    twice.session.reconcile(&[], &[]).await;
    twice.breaks_the_protocol("only the first frame").await;

    // It was acknowledged: nobody can say what it was answered.
    let mut again = Client::start(&server).await;
    again.session.ask(0, ping()).await.unwrap();
    let mut again = again.reconnected(0).await;
    again.session.reconcile(&[], &[]).await;
    again.session.send_request(0, ping()).await;
    again.breaks_the_protocol("request 1 came again after it was concluded").await;

    let _held = observer.lock("migrate").await.unwrap().acquire().await.unwrap();
    let mut forgetful = Client::start(&server).await;
    let lock = forgetful.session.open(Some("migrate"), Kind::Lock, None).await.unwrap();
    forgetful.session.send_request(lock, acquire()).await;
    waiters(&observer, "migrate", 1).await;
    let mut forgetful = forgetful.reconnected(2).await;
    forgetful.session.reconcile(&[], &[]).await;
    forgetful.breaks_the_protocol("request 2 was not answered").await;
    waiters(&observer, "migrate", 0).await;

    let mut boastful = Client::start(&server).await;
    boastful.session.send(ClientFrame { losses: 1, ..ClientFrame::default() }).await;
    boastful.breaks_the_protocol("1 notices of loss").await;
}

#[tokio::test]
async fn lost_grants_are_told_until_they_are_taken_note_of() {
    let server = TestServer::start();
    let mut client = Client::start(&server).await;
    let lock = client.session.open(Some("migrate"), Kind::Lock, None).await.unwrap();
    let mut other = Client::start(&server).await;
    for _ in 0..2 {
        let granted = within(client.session.ask(lock, acquire())).await;
        let Ok(reply::Result::Grant(Grant { token, .. })) = granted else { panic!("{granted:?}") };
        within(other.session.ask(lock, release(token))).await.unwrap();
    }
    let told = async |client: &mut Client| {
        within(client.session.ask(0, ping())).await.unwrap();
        std::mem::take(&mut client.session.lost)
    };
    let lost = told(&mut client).await;
    assert_eq!(lost.len(), 2);
    let mut client = client.reconnected(100).await;
    client.session.reconcile(&[], &[]).await;
    assert_eq!(told(&mut client).await, lost);
    let mut client = client.reconnected(200).await;
    let reconcile = Some(Reconcile::default());
    client.session.send(ClientFrame { losses: 1, reconcile, ..ClientFrame::default() }).await;
    assert_eq!(told(&mut client).await, lost[1..]);
}

/// Sent, but not acknowledged: kept alive, and not counted.
#[tokio::test]
async fn references_are_counted_when_they_are_acknowledged() {
    let server = TestServer::start();
    let observer = observer(&server).await;
    let objects = async || observer.statistics().await.unwrap().objects;
    let mut client = Client::start(&server).await;
    let kept = client.session.open(None, Kind::Dict, None).await.unwrap();
    client.session.open(None, Kind::Dict, None).await.unwrap();
    let early = client.session.directory(release_reference(kept)).await.unwrap_err();
    assert_eq!(early.reason(), Reason::BoundExceeded, "{early}");
    assert_eq!(objects().await, 2);

    let mut client = client.reconnected(3).await;
    client.session.reconcile(&[2], &[]).await;
    within(client.session.ask(kept, dict_op(dict_op::Op::Len(Empty {})))).await.unwrap();
    client.session.cancel(vec![2]).await;
    within(client.session.directory(release_reference(kept))).await.unwrap();
    assert_eq!(objects().await, 0);
}

#[tokio::test]
async fn a_lock_passes_on_when_its_holders_lease_is_over() {
    log::keep();
    let server = TestServer::start();
    let mut next = Client::start(&server).await;
    let mut holder = Client::with_lease(&server, SHORT_MS).await;
    let lock = holder.session.open(Some("migrate"), Kind::Lock, None).await.unwrap();
    let last_heard = Instant::now();
    let held = within(holder.session.ask(lock, acquire())).await;
    let Ok(reply::Result::Grant(held)) = held else { panic!("{held:?}") };
    let Client { ticket, connection, session, .. } = holder;
    let peer = connection.peer().to_owned();
    drop((connection, session));
    let granted = within(next.session.ask(lock, acquire())).await;
    assert!(last_heard.elapsed() >= Duration::from_millis(SHORT_MS));
    let Ok(reply::Result::Grant(granted)) = granted else { panic!("{granted:?}") };
    assert!(granted.token > held.token);
    let logged = log::lines_with(&peer);
    assert!(logged.iter().any(|line| line.contains("nothing was heard for 1.")), "{logged:?}");

    let connection = RawConnection::open(&server.address()).await;
    assert!(!within(connection.resume(&ticket)).await.unwrap().resumed);
}

/// It hears of it, if it still listens.
#[tokio::test]
async fn who_falls_silent_is_told_that_it_is_over() {
    let server = TestServer::start();
    let mut client = Client::with_lease(&server, SHORT_MS).await;
    let mut beats = client.beats().await;
    let ended = within(client.session.farewell()).await.expect("it is told why");
    assert_eq!(ended.reason(), Reason::SessionEnded);
    assert!(ended.message.contains("nothing was heard for 1."), "{ended}");
    let refusal = within(beats.end()).await.unwrap_err();
    assert_eq!(refusal.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_session_whose_stream_was_never_opened_ends_as_well() {
    let server = TestServer::start();
    let observer = observer(&server).await;
    let connection = RawConnection::open(&server.address()).await;
    connection.begin(SHORT_MS).await;
    drop(connection);
    assert_eq!(observer.statistics().await.unwrap().sessions, 2);
    until(async || (observer.statistics().await.unwrap().sessions == 1).then_some(())).await;
}

#[tokio::test]
async fn beats_keep_a_session_alive() {
    let server = TestServer::start();
    let mut client = Client::with_lease(&server, SHORT_MS).await;
    let mut beats = client.beats().await;
    let refusal = within(client.connection.keep_alive()).await.err().unwrap();
    assert_eq!(refusal.code(), Code::FailedPrecondition);
    within(beats.beat()).await.unwrap();
    // Somebody of the same lease who says nothing, two times over.
    for _ in 0..2 {
        let mut silent = Client::with_lease(&server, SHORT_MS).await;
        let mut silent = tokio::spawn(async move { silent.session.farewell().await });
        while tokio::time::timeout(Duration::from_millis(200), &mut silent).await.is_err() {
            within(beats.beat()).await.unwrap();
        }
    }
    within(client.session.ask(0, ping())).await.unwrap();
}

#[tokio::test]
async fn beats_of_an_older_connection_count_for_nothing() {
    let server = TestServer::start();
    let old = Client::start(&server).await;
    let mut beats = old.beats().await;
    within(beats.beat()).await.unwrap();
    let mut new = old.again(0).await;
    let refusal = within(beats.end()).await.unwrap_err();
    assert_eq!(refusal.code(), Code::FailedPrecondition);
    assert!(refusal.message().contains("resumed on another"), "{refusal}");
    new.session.reconcile(&[], &[]).await;
    within(new.beats().await.beat()).await.unwrap();
    within(new.session.ask(0, ping())).await.unwrap();
}

#[tokio::test]
async fn a_stream_of_beats_that_ended_can_be_opened_again() {
    let server = TestServer::start();
    let mut client = Client::start(&server).await;
    for _ in 0..20 {
        let mut beats = client.beats().await;
        within(beats.beat()).await.unwrap();
        let second = within(client.connection.keep_alive()).await.err().expect("there are two");
        assert_eq!(second.code(), Code::FailedPrecondition);
        within(beats.finish()).await.unwrap();
    }
    within(client.session.ask(0, ping())).await.unwrap();
}

/// A connection that breaks between Welcome and its stream.
#[tokio::test]
async fn a_connection_that_is_never_used_does_not_end_what_it_has_resumed() {
    let directory = tempfile::tempdir().unwrap();
    let server = TestServer::in_directory(directory.path());
    let mut client = Client::start(&server).await;
    let list = client.session.open(Some("log"), Kind::List, None).await.unwrap();
    let connection = RawConnection::open(&server.address()).await;
    assert!(within(connection.resume(&client.ticket)).await.unwrap().resumed);
    // The server has noticed that it is gone when it has ended what began on another.
    let unused = RawConnection::open(&server.address()).await;
    unused.begin(LONG_MS).await;
    drop((connection, unused));
    let observer = observer(&server).await;
    until(async || (observer.statistics().await.unwrap().sessions == 2).then_some(())).await;
    let mut client = client.again(1).await;
    client.session.reconcile(&[], &[]).await;
    within(client.session.ask(list, push(1))).await.unwrap();
}

#[tokio::test]
async fn on_a_unix_socket_a_session_ends_with_its_connection() {
    let directory = tempfile::tempdir().unwrap();
    let server = TestServer::in_directory(directory.path());
    let mut next = Client::start(&server).await;
    let mut holder = Client::start(&server).await;
    let lock = holder.session.open(Some("migrate"), Kind::Lock, None).await.unwrap();
    within(holder.session.ask(lock, acquire())).await.unwrap();
    // The end of an older connection proves nothing.
    let mut resumed = holder.again(2).await;
    resumed.session.reconcile(&[], &[]).await;
    drop(holder);
    within(resumed.session.ask(0, ping())).await.unwrap();
    let next_acquire = next.session.send_request(lock, acquire()).await;
    drop(resumed);
    let granted = within(next.session.reply(next_acquire)).await;
    assert!(matches!(granted, Ok(reply::Result::Grant(_))));
}

/// A client says that it closes its connection before it does: what is said is the end of HTTP/2, but
/// only the close proves that nobody is there any more.
#[tokio::test]
async fn on_a_unix_socket_the_close_may_come_long_after_the_last_word() {
    let directory = tempfile::tempdir().unwrap();
    let server = TestServer::in_directory(directory.path());
    let mut next = Client::start(&server).await;
    let path = server.address().strip_prefix("unix:").unwrap().to_owned();
    let socket = UnixStream::connect(path).await.unwrap();
    let (near, far) = duplex(1 << 16);
    // It ends when both have said all there is to say, and leaves the socket open.
    let relay = tokio::spawn(async move {
        let (mut from_server, mut to_server) = split(socket);
        let (mut from_client, mut to_client) = split(far);
        let to_server = async {
            copy(&mut from_client, &mut to_server).await.unwrap();
            to_server
        };
        let from_server = async {
            // The client does not wait for what the server says at the end.
            let _ = copy(&mut from_server, &mut to_client).await;
            copy(&mut from_server, &mut sink()).await.unwrap();
            from_server
        };
        let (to_server, from_server) = tokio::join!(to_server, from_server);
        from_server.unsplit(to_server)
    });
    let connection = RawConnection::over_unix(near).await;
    connection.begin(LONG_MS).await;
    let mut session = connection.session().await.unwrap();
    let lock = session.open(Some("migrate"), Kind::Lock, None).await.unwrap();
    within(session.ask(lock, acquire())).await.unwrap();
    let acquire = next.session.send_request(lock, acquire()).await;
    drop((session, connection));
    let socket = within(relay).await.unwrap();
    drop(socket);
    let granted = within(next.session.reply(acquire)).await;
    assert!(matches!(granted, Ok(reply::Result::Grant(_))));
}

/// Much was on its way when the connection broke: that must not be in the way of coming back.
#[tokio::test]
async fn unsent_replies_do_not_keep_a_session_from_being_resumed() {
    const ITEMS: u64 = 40;
    let server = TestServer::start();
    let mut client = Client::start(&server).await;
    let jobs = client.session.open(Some("jobs"), Kind::Queue, None).await.unwrap();
    let gets: Vec<_> = (0..ITEMS).map(|_| client.session.request(jobs, get())).collect();
    let seqs: Vec<u64> = gets.iter().map(|get| get.seq).collect();
    client.session.send_requests(gets).await;
    let observer = observer(&server).await;
    waiters(&observer, "jobs", seqs.len()).await;
    let mut client = client.reconnected(seqs[seqs.len() - 1]).await;
    let mut other = Client::start(&server).await;
    for _ in 0..ITEMS {
        within(other.session.ask(jobs, put(100_000))).await.unwrap();
    }
    client.session.reconcile(&seqs, &[]).await;
    for seq in seqs {
        let delivered = within(client.session.reply(seq)).await;
        assert!(matches!(delivered, Ok(reply::Result::Delivery(_))));
    }
}

/// A connection cut again and again under load, as an honest client sees it.
#[tokio::test]
async fn a_connection_that_breaks_all_the_time_loses_nothing() {
    const PUSHES: u64 = 200;
    let server = TestServer::start();
    let mut client = Client::start(&server).await;
    let list = client.session.open(Some("log"), Kind::List, None).await.unwrap();
    client.session.acknowledge(1).await;
    let requests: Vec<Request> =
        (0..PUSHES).map(|_| client.session.request(list, push(1))).collect();
    let mut waiting = requests.clone();
    while !waiting.is_empty() {
        let seqs: Vec<u64> = waiting.iter().map(|request| request.seq).collect();
        client = client.reconnected(1 + PUSHES).await;
        client.session.reconcile(&seqs, &[]).await;
        for requests in waiting.chunks(7) {
            client.session.send_requests(requests.to_vec()).await;
        }
        // One reply, or some that came together, and it is cut again.
        let Some(frame) = within(client.session.hear()).await else { panic!("it has ended") };
        assert_eq!(frame.ended, None);
        waiting.retain(|request| !frame.replies.iter().any(|reply| reply.seq == request.seq));
    }
    client = client.reconnected(1 + PUSHES).await;
    client.session.reconcile(&[], &[]).await;
    let len = within(client.session.ask(list, list_op(list_op::Op::Len(Empty {})))).await;
    assert_eq!(len, Ok(reply::Result::Number(i64::try_from(PUSHES).unwrap())));
}

fn dict_op(op: dict_op::Op) -> request::Op {
    request::Op::Dict(DictOp { op: Some(op) })
}

fn list_op(op: list_op::Op) -> request::Op {
    request::Op::List(ListOp { op: Some(op) })
}

fn push(n: u8) -> request::Op {
    list_op(list_op::Op::Push(Value { data: vec![n].into(), refs: Vec::new() }))
}

fn acquire() -> request::Op {
    request::Op::Lock(LockOp { op: Some(lock_op::Op::Acquire(Empty {})) })
}

fn release(token: u64) -> request::Op {
    request::Op::Lock(LockOp { op: Some(lock_op::Op::Release(token)) })
}

fn get() -> request::Op {
    request::Op::Queue(QueueOp { op: Some(queue_op::Op::Get(Empty {})) })
}

fn put(len: usize) -> request::Op {
    let value = Some(Value { data: vec![0xc1; len].into(), refs: Vec::new() });
    let item = QueueItem { value, priority: None };
    request::Op::Queue(QueueOp { op: Some(queue_op::Op::Put(item)) })
}

fn ping() -> request::Op {
    request::Op::Directory(DirectoryOp { op: Some(directory_op::Op::Ping(Empty {})) })
}

fn release_reference(object: u64) -> directory_op::Op {
    directory_op::Op::Release(Release { object, count: 1 })
}
