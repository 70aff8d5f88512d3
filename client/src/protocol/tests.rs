use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Poll, Wake, Waker},
    time::Duration,
};

use mp_manager_proto::{
    encoded_len,
    v1::{
        Challenge, ClientFrame, ConditionOp, DirectoryOp, Empty, Error as Refusal, Fence, Grant,
        Limits, LockOp, QueueItem, QueueOp, Reason, Reply, Request, ServerFrame, Welcome,
        condition_op, directory_op, lock_op, queue_op, reply, request,
    },
};

use super::*;

const LEASE: u64 = 10_000;

/// Counts how often it was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A hold on an object that nobody counts.
struct Uncounted;

impl Counted for Uncounted {
    fn count(&self, _: u64) {}
}

/// What a guard of the tests knows of its grant.
#[derive(Debug, Default)]
struct Listener(OnceLock<Loss>);

impl Listener {
    fn loss(&self) -> Option<Loss> {
        self.0.get().copied()
    }
}

impl LossListener for Listener {
    fn lose(&self, loss: Loss) {
        assert_eq!(self.0.set(loss), Ok(()), "a loss is told once");
    }
}

/// A machine whose time stands still unless it is told, and whose effects are noted.
struct Fixture {
    machine: Machine<Uncounted>,
    now: Duration,
    connection: u64,
}

impl Fixture {
    fn new() -> Self {
        Self::with(Policy {
            reconnect_timeout: Duration::from_secs(60),
            reopen: true,
            end_is_death: false,
        })
    }

    fn with(policy: Policy) -> Self {
        let mut this =
            Self { machine: Machine::new(policy), now: Duration::from_millis(1), connection: 0 };
        this.connect(welcome(1, false), 1);
        this
    }

    /// One step of the machine, and its effects.
    fn effects<R>(
        &mut self,
        step: impl FnOnce(&mut Machine<Uncounted>, Duration, &mut Effects<Uncounted>) -> R,
    ) -> (R, Effects<Uncounted>) {
        let mut effects = Effects::default();
        let result = step(&mut self.machine, self.now, &mut effects);
        (result, effects)
    }

    /// One step of the machine, whose effects are performed.
    fn step<R>(
        &mut self,
        step: impl FnOnce(&mut Machine<Uncounted>, Duration, &mut Effects<Uncounted>) -> R,
    ) -> R {
        let (result, effects) = self.effects(step);
        for (guard, loss) in effects.losses {
            guard.lose(loss);
        }
        result
    }

    fn connect(&mut self, welcome: Welcome, epoch: u64) {
        let challenge = Challenge { epoch, server_id: epoch, ..Challenge::default() };
        let connected = self.step(|machine, now, effects| {
            machine.connected(&welcome, &challenge, now, now, effects)
        });
        self.connection = connected.connection;
    }

    fn incarnation(&self) -> u64 {
        self.machine.incarnation()
    }

    fn disconnect(&mut self) {
        let why = Refusal::new(Reason::SessionEnded, "the cable was cut");
        self.step(|machine, now, effects| machine.disconnected(why, now, effects));
    }

    fn fail_attempt(&mut self) {
        let message = "nobody listens".into();
        self.step(|machine, now, effects| machine.attempt_failed(message, 1.0, now, effects));
    }

    fn wait_disconnected(&mut self) {
        self.step(|machine, now, effects| machine.wait_disconnected(now, effects));
    }

    fn next_step(&self) -> Step {
        self.machine.step(self.now)
    }

    fn resume(&mut self) {
        self.disconnect();
        self.connect(welcome(1, true), 1);
    }

    fn wait(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    fn begin_request(
        &mut self,
        request: Request,
        scope: Scope,
        deadline: Option<Deadline>,
        place: Option<Place>,
    ) -> Begun {
        let call = NewCall { request: Box::new(request), scope, deadline, place };
        self.step(|machine, now, effects| {
            let now = machine.needs_time(&call.request, deadline).then_some(now);
            machine.begin(call, now, Waker::noop(), effects)
        })
    }

    fn begin(&mut self, op: request::Op) -> Seq {
        let request = Request { object: 1, op: Some(op), ..Request::default() };
        let scope = Scope::Server(self.machine.server());
        match self.begin_request(request, scope, None, None) {
            Begun::Sent(seq) => seq,
            _ => panic!("it cannot be sent"),
        }
    }

    fn send_detached(&mut self, request: Request, scope: Scope) {
        self.step(|machine, _, effects| machine.send_detached(request, scope, effects));
    }

    fn note_grant(&mut self, incarnation: u64, grant: GrantId) -> Arc<Listener> {
        let listener = Arc::new(Listener::default());
        self.note_guard(incarnation, grant, &listener);
        listener
    }

    fn note_guard(&mut self, incarnation: u64, grant: GrantId, listener: &Arc<Listener>) {
        let loss = listener.loss();
        let guard = Guard { listener: Arc::<Listener>::clone(listener), loss };
        let noted = self.step(|machine, now, effects| {
            machine.note_grant(incarnation, grant, guard, release, now, effects)
        });
        if let Noted::Lost(why) = noted {
            listener.0.get_or_init(|| why);
        }
    }

    fn look_at_lease(&mut self) {
        self.step(|machine, now, effects| machine.look_at_lease(now, effects));
    }

    fn deadline(&self, timeout_ms: u64) -> Deadline {
        Deadline::new(self.now, Duration::from_millis(timeout_ms))
    }

    fn begin_until(&mut self, deadline: Deadline, place: Option<Place>) -> Begun {
        self.begin_op_until(acquire(), deadline, place)
    }

    fn begin_op_until(
        &mut self,
        op: request::Op,
        deadline: Deadline,
        place: Option<Place>,
    ) -> Begun {
        let timeout_us = Some(u64::from(!deadline.is_try));
        let request = Request { object: 1, op: Some(op), timeout_us, ..Request::default() };
        self.begin_request(request, Scope::Any, Some(deadline), place)
    }

    /// A call with a timeout, which can be sent.
    fn begin_timed(&mut self, op: request::Op, timeout_ms: u64) -> Seq {
        match self.begin_op_until(op, self.deadline(timeout_ms), None) {
            Begun::Sent(seq) => seq,
            _ => panic!("it cannot be sent"),
        }
    }

    fn expire_due(&mut self) -> Option<Duration> {
        self.step(|machine, now, effects| machine.expire_due(now, effects))
    }

    /// The call is due, and ends.
    fn expire(&mut self) {
        let due = self.machine.next_due().expect("nothing is due");
        self.now = self.now.max(due);
        self.expire_due();
    }

    fn cancel(&mut self, seq: Seq) {
        self.step(|machine, _, effects| drop(machine.cancel(seq, effects)));
    }

    fn poll_frame(&mut self, connection: u64) -> Poll<Option<ClientFrame>> {
        let poll = self.machine.poll_frame(connection, Waker::noop());
        poll.map(|is_there| is_there.map(|()| self.machine.next_frame(self.now).decoded()))
    }

    fn frame(&mut self) -> ClientFrame {
        match self.poll_frame(self.connection) {
            Poll::Ready(Some(frame)) => frame,
            _ => panic!("nothing is to be said"),
        }
    }

    fn is_quiet(&mut self) -> bool {
        self.poll_frame(self.connection).is_pending()
    }

    fn sent(&mut self) -> Vec<Seq> {
        self.frame().requests.iter().map(|request| request.seq).collect()
    }

    fn receive(&mut self, connection: u64, frame: ServerFrame) -> Option<Refusal> {
        self.step(|machine, now, effects| {
            machine.receive(connection, frame, now, |_| Some(Uncounted), effects)
        })
    }

    fn hear(&mut self, echo: u64, replies: Vec<Reply>) {
        let frame = ServerFrame { echo, replies, ..ServerFrame::default() };
        assert!(self.receive(self.connection, frame).is_none());
    }

    fn tick(&mut self) -> Tick {
        self.step(|machine, now, effects| machine.tick(now, effects))
    }

    fn answer_beat(&mut self, number: u64, frames: u64) {
        let connection = self.connection;
        self.step(|machine, now, effects| {
            machine.beat_answered(connection, number, frames, now, effects);
        });
    }

    fn result(&mut self, seq: Seq) -> Option<Result<reply::Result, Reason>> {
        let poll = self.step(|machine, now, effects| {
            match machine.poll_reply(seq, Waker::noop(), effects) {
                Polled::Pending => Poll::Pending,
                Polled::HandsOver => machine.hand_over(seq, Waker::noop(), now, effects),
                Polled::Ready(result) => Poll::Ready(result),
            }
        });
        match poll.map(Answered::into_result) {
            Poll::Pending => None,
            Poll::Ready(Ok(arrived)) => Some(Ok(arrived.result)),
            Poll::Ready(Err(Failure::Refused(refusal))) => Some(Err(refusal.reason())),
            Poll::Ready(Err(Failure::Stale(_))) => Some(Err(Reason::Unspecified)),
        }
    }
}

fn welcome(session: u64, resumed: bool) -> Welcome {
    let limits = Limits {
        max_open_requests: 8,
        max_requests_per_frame: 8,
        max_frame_bytes: 1 << 10,
        ..Limits::default()
    };
    Welcome { session, resumed, lease_ms: LEASE, limits: Some(limits), ..Welcome::default() }
}

fn acquire() -> request::Op {
    request::Op::Lock(LockOp { op: Some(lock_op::Op::Acquire(Empty {})) })
}

fn release(token: u64) -> request::Op {
    request::Op::Lock(LockOp { op: Some(lock_op::Op::Release(token)) })
}

fn granted(seq: Seq) -> Reply {
    let grant = Grant { token: 7, depth: 1 };
    Reply { seq, result: Some(reply::Result::Grant(grant)) }
}

fn directory_ping() -> request::Op {
    request::Op::Directory(DirectoryOp { op: Some(directory_op::Op::Ping(Empty {})) })
}

fn done(seq: Seq) -> Reply {
    Reply { seq, result: Some(reply::Result::Done(Empty {})) }
}

fn ranges(frame: &ClientFrame) -> Vec<(Seq, Seq)> {
    frame.acks.iter().map(|range| (range.first, range.last)).collect()
}

#[test]
fn what_has_no_reply_is_sent_again() {
    let mut session = Fixture::new();
    let answered = session.begin(release(1));
    let taken = session.begin(acquire());
    let waiting = session.begin(acquire());
    assert_eq!(session.sent(), [answered, taken, waiting]);
    session.hear(1, vec![done(answered), granted(taken)]);
    let cancelled = session.begin(acquire());
    assert_eq!(session.sent(), [cancelled]);
    session.cancel(cancelled);
    session.resume();
    let frame = session.frame();
    let Some(reconcile) = &frame.reconcile else { panic!("it says what it knows") };
    assert_eq!(reconcile.open, [taken, waiting], "nobody has taken the grant yet");
    assert_eq!(reconcile.cancelled, [cancelled]);
    assert_eq!(frame.number, 1);
    assert!(frame.acks.is_empty(), "what is not open is acknowledged");
    let sent: Vec<_> = frame.requests.iter().map(|request| request.seq).collect();
    assert_eq!(sent, [waiting]);
    assert!(session.is_quiet());
    assert!(matches!(session.result(answered), Some(Ok(reply::Result::Done(_)))));
    assert!(matches!(session.result(taken), Some(Ok(reply::Result::Grant(_)))));
    assert_eq!(ranges(&session.frame()), [(taken, taken)]);
}

#[test]
fn a_cancel_is_said_until_it_was_heard() {
    let mut session = Fixture::new();
    let seq = session.begin(acquire());
    assert_eq!(session.sent(), [seq]);
    session.cancel(seq);
    assert_eq!(session.frame().cancels, [seq]);
    session.resume();
    assert_eq!(session.frame().reconcile.unwrap_or_default().cancelled, [seq]);
    session.resume();
    assert_eq!(session.frame().reconcile.unwrap_or_default().cancelled, [seq]);
    session.hear(1, vec![]);
    session.resume();
    assert!(session.frame().reconcile.unwrap_or_default().cancelled.is_empty());
}

#[test]
fn a_reply_that_is_final_is_acknowledged_when_it_arrives_and_a_grant_when_it_is_taken() {
    let mut session = Fixture::new();
    let grant = session.begin(acquire());
    let last = session.begin(release(1));
    session.frame();
    session.hear(1, vec![granted(grant), done(last)]);
    assert!(session.is_quiet(), "it is in no hurry");
    assert!(matches!(session.result(grant), Some(Ok(_))));
    assert_eq!(ranges(&session.frame()), [(last, last), (grant, grant)]);
}

#[test]
fn what_an_earlier_connection_brings_is_not_taken_in() {
    let mut session = Fixture::new();
    let seq = session.begin(acquire());
    session.frame();
    let earlier = session.connection;
    session.resume();
    let frame = ServerFrame { replies: vec![granted(seq)], ..ServerFrame::default() };
    session.receive(earlier, frame);
    assert!(session.result(seq).is_none());
    assert_eq!(session.poll_frame(earlier), Poll::Ready(None));
}

#[test]
fn a_reply_said_twice_is_taken_once() {
    let mut session = Fixture::new();
    let seq = session.begin(acquire());
    session.frame();
    session.hear(1, vec![granted(seq), granted(seq)]);
    assert!(matches!(session.result(seq), Some(Ok(_))));
    assert_eq!(ranges(&session.frame()), [(seq, seq)]);
    session.hear(2, vec![granted(seq)]);
    assert!(session.is_quiet());
}

#[test]
fn a_lost_session_says_of_each_call_what_is_known() {
    let mut session = Fixture::new();
    let looked = session.begin(acquire());
    let changed = session.begin(release(1));
    session.frame();
    session.disconnect();
    let unsent = session.begin(release(2));
    let grant = session.note_grant(1, (1, 9));
    session.connect(welcome(2, false), 1);
    assert_eq!(session.result(looked), Some(Err(Reason::SessionEnded)));
    assert_eq!(session.result(changed), Some(Err(Reason::OutcomeUnknown)));
    assert_eq!(grant.loss(), Some(Loss::Session));
    assert_eq!(session.result(unsent), None);
    let frame = session.frame();
    assert_eq!(frame.reconcile, None);
    assert_eq!(frame.requests.len(), 1, "what was never sent goes on");
}

#[test]
fn after_a_restart_nothing_reaches_another_object() {
    let mut session = Fixture::new();
    session.disconnect();
    let unsent = session.begin(release(2));
    let held = session.note_grant(1, (1, 9));
    session.connect(welcome(1, false), 2);
    assert_eq!(session.result(unsent), Some(Err(Reason::Unspecified)), "it is stale");
    assert_eq!(held.loss(), Some(Loss::Restart));
    session.send_detached(giving_back(1, release(9)), Scope::Session(1));
    session.send_detached(giving_back(1, release(9)), Scope::Server(1));
    assert!(session.is_quiet());
}

#[test]
fn what_is_held_is_lost_before_the_lease_is_over_and_given_back_if_it_was_not() {
    let mut session = Fixture::new();
    let incarnation = session.incarnation();
    let grant = session.note_grant(incarnation, (1, 7));
    session.wait(9_899);
    session.look_at_lease();
    assert_eq!(grant.loss(), None);
    session.wait(1);
    session.look_at_lease();
    assert_eq!(grant.loss(), Some(Loss::Lease));
    let frame = session.frame();
    assert_eq!(frame.requests[0].op, Some(release(7)));
}

/// Sent in a session that is over without our knowing, its outcome would be unknown.
#[test]
fn a_write_whose_fence_is_lost_is_refused_here() {
    let mut session = Fixture::new();
    let incarnation = session.incarnation();
    let grant = session.note_grant(incarnation, (1, 7));
    let write = |session: &mut Fixture| {
        let (object, op) = (2, Some(acquire()));
        let fence = Some(Fence { lock: 1, token: 7 });
        let request = Request { object, op, fence, timeout_us: Some(0), ..Request::default() };
        match session.begin_request(request, Scope::Any, None, None) {
            Begun::Failed(Failure::Refused(why)) => Some(why.reason()),
            _ => None,
        }
    };
    assert_eq!(write(&mut session), None);
    session.wait(LEASE);
    assert_eq!(write(&mut session), Some(Reason::Fenced));
    session.disconnect();
    session.connect(welcome(2, false), 1);
    assert_eq!(write(&mut session), Some(Reason::Fenced));
    // Without a guard it is up to the manager.
    session.machine.forget_grant((1, 7), &*grant);
    assert_eq!(write(&mut session), None);
}

#[test]
fn nothing_is_handed_over_while_the_lease_is_lost() {
    let mut session = Fixture::new();
    let seq = session.begin(acquire());
    session.frame();
    session.hear(0, vec![granted(seq)]);
    session.wait(LEASE);
    assert_eq!(session.result(seq), None);
    session.hear(1, vec![]);
    assert_eq!(session.result(seq), None, "that frame was sent too long ago");
    let beat = session.tick().beat.unwrap_or_default();
    session.answer_beat(beat, 1);
    assert!(matches!(session.result(seq), Some(Ok(_))));
}

fn put() -> request::Op {
    request::Op::Queue(QueueOp { op: Some(queue_op::Op::Put(QueueItem::default())) })
}

fn wait_on_condition() -> request::Op {
    request::Op::Condition(ConditionOp { op: Some(condition_op::Op::Wait(1)) })
}

fn is_absent(result: &Option<Result<reply::Result, Reason>>) -> bool {
    matches!(result, Some(Ok(reply::Result::Absent(_))))
}

#[test]
fn a_call_that_takes_something_times_out_by_the_clients_clock_and_is_revoked() {
    let mut session = Fixture::new();
    let seq = session.begin_timed(acquire(), 1_000);
    session.frame();
    session.wait(1_000);
    session.expire_due();
    assert_eq!(session.result(seq), None, "the answer may be on its way");
    session.expire();
    assert!(is_absent(&session.result(seq)));
    assert_eq!(session.frame().cancels, [seq]);
    session.hear(1, vec![granted(seq)]);
    assert_eq!(session.result(seq), Some(Err(Reason::SessionEnded)), "it is over");
}

#[test]
fn a_call_that_may_have_changed_something_says_so_when_no_answer_comes() {
    let mut session = Fixture::new();
    let sent = session.begin_timed(put(), 1_000);
    session.frame();
    let unsent = session.begin_timed(put(), 1_000);
    session.expire();
    assert_eq!(session.result(sent), Some(Err(Reason::OutcomeUnknown)));
    assert_eq!(session.result(unsent), Some(Err(Reason::Unreachable)), "it was never sent");
    let frame = session.frame();
    assert_eq!((frame.cancels, frame.requests.len()), (vec![sent], 0));
}

#[test]
fn a_wait_for_a_condition_takes_the_lock_again_as_long_as_the_manager_is_heard() {
    let mut session = Fixture::new();
    let seq = session.begin_timed(wait_on_condition(), 1_000);
    session.frame();
    for _ in 0..5 {
        session.expire();
        assert_eq!(session.result(seq), None);
        let beat = session.tick().beat.expect("it is asked for a sign of life");
        session.answer_beat(beat, 1);
    }
    session.expire();
    assert_eq!(session.result(seq), None, "it is asked once more");
    session.expire();
    assert_eq!(session.result(seq), Some(Err(Reason::Unreachable)));
}

#[test]
fn a_call_that_does_not_wait_at_all_fails_at_once_while_the_manager_is_down() {
    let mut session = Fixture::new();
    session.disconnect();
    let before = session.begin_timed(acquire(), 0);
    assert_eq!(session.result(before), None, "there may be a connection in a moment");
    session.fail_attempt();
    assert_eq!(session.result(before), Some(Err(Reason::Unreachable)));
    for op in [acquire(), put()] {
        let Begun::Failed(Failure::Refused(why)) =
            session.begin_op_until(op, session.deadline(0), None)
        else {
            panic!("it waits")
        };
        assert_eq!(why.reason(), Reason::Unreachable);
    }
    let patient = session.begin_timed(acquire(), 3_000);
    session.wait(2_999);
    session.fail_attempt();
    assert_eq!(session.result(patient), None);
    session.wait(1);
    session.wait_disconnected();
    assert_eq!(session.result(patient), Some(Err(Reason::Unreachable)));
}

#[test]
fn a_connection_that_hangs_in_being_made_holds_up_no_call_that_does_not_wait() {
    let mut session = Fixture::new();
    session.disconnect();
    session.wait(500);
    session.wait_disconnected();
    let begun = session.begin_until(session.deadline(0), None);
    assert!(
        matches!(begun, Begun::Failed(Failure::Refused(why)) if why.reason() == Reason::Unreachable)
    );
}

#[test]
fn a_call_that_does_not_wait_at_all_ends_on_a_silent_connection() {
    let mut session = Fixture::new();
    let seq = session.begin_timed(acquire(), 0);
    session.frame();
    session.wait(1_000);
    session.expire_due();
    assert_eq!(session.result(seq), None);
    session.expire();
    assert_eq!(session.result(seq), Some(Err(Reason::Unreachable)));
    assert_eq!(session.frame().cancels, [seq]);
}

#[test]
fn the_time_to_connect_again_ends_calls_and_not_the_client() {
    let mut session = Fixture::new();
    let held = session.note_grant(1, (1, 9));
    let seq = session.begin(acquire());
    session.disconnect();
    assert_eq!(session.next_step(), Step::Connect);
    session.fail_attempt();
    assert!(matches!(session.next_step(), Step::Rest(_)));
    session.wait(60_000);
    assert_eq!(session.next_step(), Step::Connect);
    session.fail_attempt();
    assert_eq!(session.result(seq), Some(Err(Reason::SessionEnded)));
    assert!(held.loss().is_some());
    assert_eq!(session.next_step(), Step::Idle);

    let later = session.begin(directory_ping());
    assert_eq!(session.next_step(), Step::Connect, "a call needs a connection");
    session.fail_attempt();
    assert_eq!(session.result(later), None, "it has a time of its own");
    session.connect(welcome(2, false), 1);
    assert_eq!(session.sent(), [later]);
    session.hear(1, vec![done(later)]);
    assert!(matches!(session.result(later), Some(Ok(_))));
}

#[test]
fn a_client_that_is_refused_tries_again_with_its_next_call() {
    let mut session = Fixture::new();
    let seq = session.begin(directory_ping());
    session.disconnect();
    let why = Refusal::new(Reason::AuthenticationFailed, "another authkey");
    session.step(|machine, now, effects| machine.attempt_refused(why, now, effects));
    assert_eq!(session.result(seq), Some(Err(Reason::AuthenticationFailed)));
    assert_eq!(session.next_step(), Step::Idle);
    session.begin(directory_ping());
    assert!(matches!(session.next_step(), Step::Rest(_)), "not in a hot loop");
    session.wait(1_000);
    assert_eq!(session.next_step(), Step::Connect);
}

/// As its forked child did it for it, or a fault of this client's.
#[test]
fn a_client_that_broke_the_protocol_opens_a_new_session() {
    let mut session = Fixture::new();
    let sent = session.begin(acquire());
    session.frame();
    let why = Refusal::new(Reason::Protocol, "frame 5 came where 6 was expected");
    session.step(|machine, now, effects| machine.farewell(why, now, effects));
    assert_eq!(session.result(sent), Some(Err(Reason::Protocol)));
    assert_eq!(session.next_step(), Step::Connect);
    let later = session.begin(directory_ping());
    session.connect(welcome(2, false), 1);
    assert_eq!(session.sent(), [later]);
}

#[test]
fn a_session_that_must_last_is_over_when_the_time_to_connect_again_is() {
    let mut session = Fixture::with(Policy {
        reconnect_timeout: Duration::from_secs(1),
        reopen: false,
        end_is_death: false,
    });
    session.disconnect();
    session.wait(1_000);
    session.fail_attempt();
    assert_eq!(session.next_step(), Step::Over);
}

#[test]
fn a_connection_that_breaks_before_anything_is_heard_is_not_made_again_at_once() {
    let mut session = Fixture::new();
    session.disconnect();
    assert_eq!(session.next_step(), Step::Connect);
    for _ in 0..3 {
        session.connect(welcome(1, true), 1);
        session.disconnect();
        let Step::Rest(until) = session.next_step() else { panic!("it is in a hot loop") };
        session.wait((until - session.now).as_millis() as u64 + 1);
    }
}

#[test]
fn a_unix_connection_is_kept_while_the_manager_pauses() {
    let policy =
        Policy { reconnect_timeout: Duration::from_secs(2), reopen: true, end_is_death: true };
    let mut session = Fixture::with(policy);
    let grant = session.note_grant(1, (1, 7));
    session.wait(6_000);
    assert!(!session.tick().stale);
    session.wait(3_800);
    assert!(!session.tick().stale);
    assert_eq!(grant.loss(), None);
    session.wait(200);
    assert!(session.tick().stale, "it is lost, and nobody is expected");
    assert_eq!(grant.loss(), Some(Loss::Lease));
}

#[test]
fn a_connection_on_which_nothing_is_heard_is_given_up_in_time() {
    let mut session = Fixture::new();
    session.wait(4_000);
    let tick = session.tick();
    assert!(tick.beat.is_some() && !tick.stale);
    session.wait(1_000);
    assert!(session.tick().stale);
}

#[test]
fn a_goodbye_is_said_again_on_the_next_connection_which_has_as_long_to_hear_it() {
    let mut session = Fixture::new();
    session.step(|machine, now, effects| machine.say_goodbye(now, effects));
    assert!(session.frame().goodbye.is_some());
    session.wait(2_000);
    assert!(session.tick().stale);
    session.resume();
    assert!(!session.tick().stale);
    assert!(session.frame().goodbye.is_some());
    assert!(matches!(session.poll_frame(session.connection), Poll::Ready(None)));
}

/// The manager may give both to others once it has heard of it.
#[test]
fn what_is_held_is_lost_and_nothing_is_handed_over_once_a_goodbye_is_to_be_said() {
    let mut session = Fixture::new();
    let grant = session.note_grant(1, (1, 7));
    let call = session.begin(acquire());
    session.frame();
    session.hear(1, vec![granted(call)]);
    session.step(|machine, now, effects| machine.say_goodbye(now, effects));
    assert_eq!(grant.loss(), Some(Loss::Session));
    assert!(session.result(call).is_none());
    // Hearing of the manager changes nothing about that.
    session.hear(1, vec![]);
    assert!(session.result(call).is_none());
}

#[test]
fn a_machine_that_takes_over_cancels_what_the_other_one_waited_for_or_was_not_handed() {
    let mut session = Fixture::new();
    let [gone, waits, arrived, taken, done_with] = [(); 5].map(|()| session.begin(acquire()));
    session.frame();
    session.begin(acquire());
    session.hear(1, vec![granted(arrived), granted(taken), done(done_with)]);
    assert!(session.result(taken).is_some());
    session.cancel(gone);
    let abandoned = session.machine.abandoned().unwrap();
    let mut other = Fixture::new();
    other.machine.take_over(abandoned);
    other.resume();
    let reconcile = other.frame().reconcile.unwrap();
    assert!(reconcile.open.is_empty());
    assert_eq!(reconcile.cancelled, [gone, waits, arrived]);
}

#[test]
fn notices_of_loss_are_counted() {
    let mut session = Fixture::new();
    let lost = vec![mp_manager_proto::v1::Lost { object: 1, token: 7 }];
    let frame = ServerFrame { echo: 0, lost, ..ServerFrame::default() };
    session.receive(session.connection, frame);
    session.begin(acquire());
    assert_eq!(session.frame().losses, 1);
    session.begin(acquire());
    assert_eq!(session.frame().losses, 0, "once");
}

#[test]
fn what_fits_no_frame_is_refused_and_not_sent() {
    let mut session = Fixture::new();
    let request = Request {
        fence: None,
        op: Some(request::Op::Directory(mp_manager_proto::v1::DirectoryOp {
            op: Some(mp_manager_proto::v1::directory_op::Op::Delete("x".repeat(1 << 10))),
        })),
        ..Request::default()
    };
    let begun = session.begin_request(request, Scope::Any, None, None);
    let Begun::Failed(Failure::Refused(refusal)) = begun else { panic!("it is too long") };
    assert_eq!(refusal.reason(), Reason::LimitExceeded);
    assert!(session.is_quiet());
}

#[test]
fn a_call_given_up_before_it_was_sent_is_never_sent() {
    let mut session = Fixture::new();
    let seq = session.begin(acquire());
    session.cancel(seq);
    assert!(session.is_quiet());
}

#[test]
fn a_call_given_up_after_it_was_sent_is_cancelled() {
    let mut session = Fixture::new();
    let seq = session.begin(acquire());
    assert_eq!(session.sent(), [seq]);
    session.cancel(seq);
    assert_eq!(session.frame().cancels, [seq]);
}

#[test]
fn what_is_given_back_waits_for_nothing_and_is_not_cancelled() {
    let mut session = Fixture::new();
    for _ in 0..8 {
        session.begin(acquire());
    }
    let request = Request { object: 1, op: Some(acquire()), ..Request::default() };
    let begun = session.begin_request(request, Scope::Any, None, None);
    assert!(matches!(begun, Begun::Blocked(..)));
    let seq = session.step(|machine, _, effects| {
        machine.give_back(giving_back(1, release(7)), Scope::Any, None, effects)
    });
    drop(session.machine.detach(seq.expect("it waits for nothing")));
    assert_eq!(session.sent().len(), 8);
    assert_eq!(session.frame().requests[0].op, Some(release(7)));
    assert!(session.is_quiet());
}

/// Whoever takes a grant just when the lease runs out must not believe that it is good.
#[test]
fn a_grant_that_is_noted_when_the_lease_is_over_is_lost_and_given_back() {
    let mut session = Fixture::new();
    let incarnation = session.incarnation();
    session.wait(LEASE);
    let guard = session.note_grant(incarnation, (1, 7));
    assert_eq!(guard.loss(), Some(Loss::Lease));
    assert_eq!(session.frame().requests[0].op, Some(release(7)));
}

#[test]
fn a_grant_that_is_noted_when_its_session_is_over_says_how_that_was_lost() {
    let mut session = Fixture::new();
    let incarnation = session.incarnation();
    session.disconnect();
    session.connect(welcome(1, false), 2);
    let guard = session.note_grant(incarnation, (1, 7));
    assert_eq!(guard.loss(), Some(Loss::Restart));
    session.disconnect();
    session.connect(welcome(2, false), 2);
    let guard = session.note_grant(incarnation + 1, (1, 8));
    assert_eq!(guard.loss(), Some(Loss::Session));
    // Whatever came after that, also if it is all over.
    session.step(|machine, _, effects| machine.end(closed(), effects));
    let guard = session.note_grant(incarnation, (1, 7));
    assert_eq!(guard.loss(), Some(Loss::Restart));
    let guard = session.note_grant(incarnation + 1, (1, 8));
    assert_eq!(guard.loss(), Some(Loss::Session));
}

#[test]
fn what_nothing_is_held_of_for_a_while_is_not_lost_meanwhile() {
    let mut session = Fixture::new();
    let incarnation = session.incarnation();
    let guard = session.note_grant(incarnation, (1, 7));
    session.machine.forget_grant((1, 7), &*guard);
    session.wait(LEASE);
    session.look_at_lease();
    session.resume();
    session.note_guard(incarnation, (1, 8), &guard);
    assert_eq!(guard.loss(), None);
    session.wait(LEASE);
    session.look_at_lease();
    assert_eq!(guard.loss(), Some(Loss::Lease));
}

#[test]
fn nobody_waits_past_a_deadline_to_begin() {
    let mut session = Fixture::new();
    let calls: Vec<_> = (0..8).map(|_| session.begin(acquire())).collect();
    let reason = |begun| match begun {
        Begun::Failed(Failure::Refused(why)) => why.reason(),
        _ => panic!("it was not refused"),
    };
    let at_once = session.begin_until(session.deadline(0), None);
    assert_eq!(reason(at_once), Reason::LimitExceeded);
    let deadline = session.deadline(5);
    let Begun::Blocked(_, blocked) = session.begin_until(deadline, None) else {
        panic!("it begins")
    };
    session.wait(4);
    let Begun::Blocked(_, blocked) = session.begin_until(deadline, Some(blocked)) else {
        panic!("it may")
    };
    assert_eq!(session.machine.next_due(), Some(deadline.at), "it is woken then");
    session.wait(1);
    assert_eq!(reason(session.begin_until(deadline, Some(blocked))), Reason::LimitExceeded);
    session.cancel(calls[0]);
    assert!(matches!(session.begin_until(session.deadline(5), None), Begun::Sent(_)));
}

/// It is there, but cannot be handed over as long as nobody knows whether it is still good.
#[test]
fn nobody_waits_past_a_deadline_for_a_reply_that_is_held_back() {
    let mut session = Fixture::new();
    let seq = session.begin_timed(acquire(), LEASE + 5_000);
    session.frame();
    session.wait(LEASE);
    session.look_at_lease();
    session.hear(0, vec![granted(seq)]);
    assert_eq!(session.result(seq), None, "the lease is over");
    session.expire();
    assert!(is_absent(&session.result(seq)));
    assert_eq!(session.frame().cancels, [seq], "it goes back");
}

#[test]
fn no_frame_is_longer_than_the_manager_takes() {
    let mut session = Fixture::new();
    let name = "x".repeat(300);
    let op = directory_op::Op::Exists(name);
    let op = request::Op::Directory(DirectoryOp { op: Some(op) });
    let calls: Vec<_> = (0..8).map(|_| session.begin(op.clone())).collect();
    let mut sent = Vec::new();
    while let Poll::Ready(Some(frame)) = session.poll_frame(session.connection) {
        assert!(encoded_len(&frame) <= 1 << 10, "{frame:?}");
        sent.extend(frame.requests.iter().map(|request| request.seq));
    }
    assert_eq!(sent, calls);
}

#[test]
fn a_step_says_whom_to_wake_and_wakes_nobody() {
    let mut session = Fixture::new();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    assert!(session.machine.poll_frame(session.connection, &waker).is_pending());
    let request = Request { object: 1, op: Some(acquire()), ..Request::default() };
    let call =
        NewCall { request: Box::new(request), scope: Scope::Any, deadline: None, place: None };
    let (begun, effects) =
        session.effects(|machine, _, effects| machine.begin(call, None, &waker, effects));
    let Begun::Sent(seq) = begun else { panic!("it cannot be sent") };
    assert!(effects.sender.is_some_and(|sender| sender.will_wake(&waker)));
    session.frame();
    let connection = session.connection;
    let frame = ServerFrame { echo: 1, replies: vec![granted(seq)], ..ServerFrame::default() };
    let (_, effects) = session.effects(|machine, now, effects| {
        machine.receive(connection, frame, now, |_| None, effects)
    });
    assert_eq!(effects.callers.len(), 1);
    assert_eq!(woken.0.load(Ordering::Relaxed), 0);
}

#[test]
fn a_reply_that_nobody_has_taken_leaves_with_its_session() {
    let mut session = Fixture::new();
    let seq = session.begin(acquire());
    session.frame();
    session.hear(1, vec![granted(seq)]);
    let ((), effects) = session.effects(|machine, _, effects| machine.end(closed(), effects));
    assert_eq!(effects.unwanted.len(), 1);
    assert!(effects.is_over);
}

#[test]
fn a_client_that_has_given_up_wants_a_connection_for_its_next_call() {
    let mut session = Fixture::new();
    session.disconnect();
    session.wait(60_000);
    session.fail_attempt();
    assert_eq!(session.next_step(), Step::Idle);
    for wants in [true, false] {
        let (given_back, effects) = session.effects(|machine, now, effects| {
            let request = giving_back(1, release(7));
            let now = machine.needs_time(&request, None).then_some(now);
            machine.give_back(request, Scope::Any, now, effects)
        });
        assert!(given_back.is_ok());
        assert_eq!(effects.wants_connection, wants);
    }
}
