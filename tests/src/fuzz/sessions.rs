//! Both halves of a session, each with another side that does what the bytes say.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use mp_manager::{Error, LockGuard, Manager, Result, simulation::Wire};
use mp_manager_core::{
    Answer, Outbox, Seq,
    session::{Generation, Limits, Next, Session},
};
use mp_manager_proto::{
    operation::Waits,
    v1::{
        Beat, Challenge, ClientFrame, Delivery, Empty, Error as Refusal, Grant, Kind,
        Limits as WireLimits, Lost, Opened, Reason, Reconcile, Ref, Reply, Request, SeqRange,
        ServerFrame, Value, Welcome, directory_op, reply, request,
    },
};
use prost::Message;

use super::generate::Source;

const LEASE: Duration = Duration::from_secs(1);

/// The server's half: a session and its outbox, whose client says anything. A request is started at
/// most once and in order, a reply goes out only for what was started and is not acknowledged, and
/// an object hears of each hand-over's end once.
pub fn server_sessions(data: &[u8]) {
    let mut server = ServerHalf::new();
    let mut source = Source(data);
    while !source.is_empty() && server.act(&mut source) {}
}

struct ServerHalf {
    session: Session,
    outbox: Outbox<Seq>,
    limits: Limits,
    now: Duration,
    frame: u64,
    /// The client's next seq.
    seq: Seq,
    started: BTreeSet<Seq>,
    parked: BTreeSet<Seq>,
    /// Handed over, and nobody heard what became of it.
    handed: BTreeSet<Seq>,
}

impl ServerHalf {
    fn new() -> Self {
        let limits = Limits {
            max_requests_per_frame: 8,
            max_open_requests: 8,
            max_parked_calls: 4,
            max_unacknowledged_bytes: 500,
            max_pending_bytes: 1000,
        };
        Self {
            session: Session::new(1, LEASE, Duration::ZERO),
            outbox: Outbox::default(),
            limits,
            now: Duration::ZERO,
            frame: 0,
            seq: 0,
            started: BTreeSet::new(),
            parked: BTreeSet::new(),
            handed: BTreeSet::new(),
        }
    }

    /// The stream that speaks, or now and then an older one.
    fn generation(&self, source: &mut Source<'_>) -> Generation {
        let current = (Session::FIRST..).find(|&generation| self.outbox.is_current(generation));
        current.unwrap_or_default() - u64::from(source.choose(16) == 1)
    }

    /// False once it has ended.
    fn act(&mut self, source: &mut Source<'_>) -> bool {
        let load = self.outbox.load();
        assert_eq!((load.parked, load.handed_over), (self.parked.len(), self.handed.len()));
        match source.choose(8) {
            0 | 1 => return self.take_in(source),
            2 | 3 => return self.start(source),
            4 => self.deliver(source),
            5 => self.say(source),
            6 => {
                self.now += Duration::from_millis(u64::from(source.byte()));
                if source.choose(4) == 1 {
                    let generation = self.session.attach(self.now).expect("it has not ended");
                    self.outbox.attach(generation);
                    self.frame = 0;
                }
            }
            _ => self.outbox.lose(u64::from(source.byte()), 7),
        }
        true
    }

    fn take_in(&mut self, source: &mut Source<'_>) -> bool {
        let generation = self.generation(source);
        let frame = self.frame(source, generation);
        let settle = match self.session.frame(generation, frame, self.now, &self.limits) {
            Ok(Some(settle)) => settle,
            Ok(None) => return true,
            Err(_) => return self.end(),
        };
        let (settled, result) = self.outbox.settle(settle);
        for (seq, handle) in settled.acknowledged {
            assert_eq!(seq, handle);
            assert!(self.handed.remove(&seq), "{seq} was not handed over, or heard of before");
        }
        for (seq, handle) in settled.cancelled {
            assert_eq!(seq, handle);
            let was_open = self.parked.remove(&seq) | self.handed.remove(&seq);
            assert!(was_open, "{seq} was not open");
        }
        if result.is_err() { self.end() } else { true }
    }

    fn frame(&mut self, source: &mut Source<'_>, generation: Generation) -> ClientFrame {
        if source.choose(16) == 1 {
            let made = source.message("ClientFrame");
            return ClientFrame::decode(&made[..]).expect("it is made to be one");
        }
        self.frame += 1;
        let mut frame = ClientFrame { number: self.frame, ..ClientFrame::default() };
        if self.frame == 1 && generation > Session::FIRST {
            let open = self.started.iter().copied().filter(|_| source.choose(4) > 0).collect();
            let cancelled = self.some_seq(source).into_iter().collect();
            frame.reconcile = Some(Reconcile { open, cancelled });
            // What was not started comes again.
            self.seq = self.started.last().copied().unwrap_or_default();
        }
        for _ in 0..source.choose(4) {
            self.seq = self.seq.saturating_add(1 + u64::from(source.byte() / 250));
            frame.requests.push(Request { seq: self.seq, object: 1, ..Request::default() });
        }
        for _ in 0..source.choose(3) {
            let first = self.some_seq(source).unwrap_or_default();
            let last = first.saturating_add(u64::from(source.byte() / 64));
            frame.acks.push(SeqRange { first, last });
        }
        frame.cancels.extend(self.some_seq(source));
        frame.losses = u64::from(source.byte() / 128);
        frame.goodbye = (source.choose(64) == 1).then_some(Empty {});
        frame
    }

    fn some_seq(&self, source: &mut Source<'_>) -> Option<Seq> {
        let back = u64::from(source.byte() % 16);
        (back < 12).then(|| self.seq.saturating_sub(back))
    }

    fn start(&mut self, source: &mut Source<'_>) -> bool {
        let generation = self.generation(source);
        let next = match self.session.next(generation, &self.outbox.load(), &self.limits) {
            Ok(next) => next,
            Err(_) => return self.end(),
        };
        match next {
            Next::Start(request) => {
                self.note_start(request.seq);
                self.carry_out(source, request.seq);
            }
            Next::Refuse(seq, error) => {
                self.note_start(seq);
                drop(self.outbox.conclude(seq, Err(error)));
            }
            Next::Read => {}
            Next::End => return self.end(),
        }
        let (open, max) = (self.outbox.load().open, 2 * self.limits.max_open_requests);
        assert!(open <= max, "{open} are open");
        true
    }

    fn note_start(&mut self, seq: Seq) {
        let last = self.started.last().copied().unwrap_or_default();
        assert!(seq > last, "{seq} was started after {last}");
        self.started.insert(seq);
    }

    fn carry_out(&mut self, source: &mut Source<'_>, seq: Seq) {
        let how = source.choose(3);
        let waits = if how == 0 { Waits::BeyondItsTimeout } else { Waits::Never };
        if self.limits.admit(&self.outbox.load(), waits).is_err() {
            let refusal = Refusal::new(Reason::LimitExceeded, "too many");
            return drop(self.outbox.conclude(seq, Err(refusal)));
        }
        match how {
            0 => {
                self.outbox.park(seq, seq);
                self.parked.insert(seq);
            }
            1 => {
                drop(self.outbox.reply(seq, Ok(grant(seq)), || seq));
                self.handed.insert(seq);
            }
            _ => drop(self.outbox.conclude(seq, Ok(Answer::done()))),
        }
    }

    fn deliver(&mut self, source: &mut Source<'_>) {
        let waiting: Vec<Seq> = self.parked.iter().copied().collect();
        let at = source.choose(waiting.len());
        let seq = waiting.get(at).copied().unwrap_or(self.seq);
        let is_grant = source.choose(2) == 0;
        let answer = if is_grant { grant(seq) } else { Answer::done() };
        let delivered = self.outbox.deliver(seq, Ok(answer));
        assert_eq!(delivered.is_ok(), self.parked.remove(&seq), "{seq}");
        if delivered.is_ok() && is_grant {
            self.handed.insert(seq);
        }
    }

    fn say(&mut self, source: &mut Source<'_>) {
        let generation = self.generation(source);
        let is_current = self.outbox.is_current(generation);
        let Some(frame) = self.outbox.take_frame(generation, self.frame, 200) else { return };
        assert!(is_current, "an older stream speaks");
        for reply in frame.replies {
            let seq = reply.seq;
            assert!(self.started.contains(&seq), "{seq} was answered and not started");
            assert!(!self.parked.contains(&seq), "{seq} was answered and waits");
        }
    }

    /// Nothing goes in or out any more.
    fn end(&mut self) -> bool {
        self.session.end();
        drop(self.outbox.end(None));
        assert!(self.session.attach(self.now).is_none());
        assert!(!self.session.has_next());
        assert_eq!(self.outbox.load().open, 0);
        drop(self.outbox.reply(self.seq, Ok(Answer::done()), || 0));
        assert!((0..4).all(|generation| self.outbox.take_frame(generation, 0, 200).is_none()));
        false
    }
}

fn grant(token: u64) -> Answer {
    let grant = reply::Result::Grant(Grant { token, depth: 1 });
    Answer { ownership: true, ..Answer::new(grant) }
}

/// The client's half: real calls on a connection on which anything arrives. Frames and requests are
/// numbered without gaps and in order, nobody holds anything when the lease is over, and in the end
/// every call has ended.
pub fn client_sessions(data: &[u8]) {
    let mut client = ClientHalf::new();
    let mut source = Source(data);
    while !source.is_empty() {
        client.act(&mut source);
    }
    client.end();
}

type Task = Pin<Box<dyn Future<Output = Result<Held>>>>;

enum Held {
    Guard(LockGuard),
    Nothing,
}

struct ClientHalf {
    manager: Manager,
    wire: Wire,
    now: Arc<AtomicU64>,
    /// The number of the connection, and that of its last frame.
    connection: Option<(u64, u64)>,
    session: u64,
    last_seq: Seq,
    /// What each request asked, for an answer that makes sense.
    asked: BTreeMap<Seq, Request>,
    tasks: Vec<Task>,
    guards: Vec<LockGuard>,
    /// When the manager was heard last, in milliseconds.
    heard: u64,
    beat: u64,
}

impl ClientHalf {
    fn new() -> Self {
        let now = Arc::new(AtomicU64::new(1));
        let clock = Arc::clone(&now);
        let now_is = move || Duration::from_millis(clock.load(Ordering::Relaxed));
        let (manager, wire) = Wire::new(now_is, false, Duration::from_secs(60));
        let mut client = Self {
            manager,
            wire,
            now,
            connection: None,
            session: 1,
            last_seq: 0,
            asked: BTreeMap::new(),
            tasks: Vec::new(),
            guards: Vec::new(),
            heard: 1,
            beat: 0,
        };
        client.connect(false);
        client
    }

    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    fn act(&mut self, source: &mut Source<'_>) {
        match source.choose(12) {
            0 => self.call(source),
            1 => drop(self.pick_task(source)),
            2 | 3 => self.send(),
            4 | 5 => self.answer(source),
            6 => self.made_up(source),
            7 => self.pass_time(source),
            8 => {
                self.wire.disconnected(Refusal::new(Reason::SessionEnded, "it broke"));
                self.connection = None;
                if source.choose(4) == 0 {
                    self.wire.attempt_failed("nobody listens".into(), 0.5);
                }
                if source.choose(4) > 0 {
                    self.connect(source.choose(4) > 0);
                }
            }
            9 => self.beat(source),
            10 => {
                let at = source.choose(self.guards.len());
                if at < self.guards.len() {
                    drop(self.guards.swap_remove(at));
                }
            }
            _ => self.poll(),
        }
    }

    fn connect(&mut self, resumes: bool) {
        if !resumes {
            self.session += 1;
        }
        let welcome = Welcome {
            session: self.session,
            resume_secret: Bytes::from_static(b"secret"),
            lease_ms: LEASE.as_millis() as u64,
            limits: Some(WireLimits {
                max_open_requests: 16,
                max_requests_per_frame: 4,
                max_frame_bytes: 1 << 16,
                max_value_bytes: 1 << 12,
                max_key_bytes: 1 << 8,
                max_name_bytes: 1 << 8,
                ..WireLimits::default()
            }),
            resumed: resumes,
            ..Welcome::default()
        };
        let challenge = Challenge { server_id: 1, epoch: 1, ..Challenge::default() };
        let asked = Duration::from_millis(self.now());
        let (resumed, number) = self.wire.connected(&welcome, &challenge, asked);
        if !resumed {
            self.asked.clear();
        }
        self.heard = self.now();
        self.last_seq = 0;
        self.connection = Some((number, 0));
    }

    fn call(&mut self, source: &mut Source<'_>) {
        if self.tasks.len() >= 8 {
            return;
        }
        let manager = self.manager.clone();
        let timeout = Duration::from_millis(u64::from(source.byte()));
        let task: Task = match source.choose(4) {
            0 => Box::pin(async move {
                let guard = manager.lock("lock").await?.acquire().await?;
                Ok(Held::Guard(guard))
            }),
            1 => Box::pin(async move {
                let guard = manager.lock("lock").await?.acquire_timeout(timeout).await?;
                Ok(guard.map_or(Held::Nothing, Held::Guard))
            }),
            2 => Box::pin(async move {
                manager.value("value", &0_u64).await?.add(&1).await?;
                Ok(Held::Nothing)
            }),
            _ => Box::pin(async move {
                manager.queue::<u64>("queue").await?.get_timeout(timeout).await?;
                Ok(Held::Nothing)
            }),
        };
        self.tasks.push(task);
    }

    /// One of the calls, to be given up.
    fn pick_task(&mut self, source: &mut Source<'_>) -> Option<Task> {
        let at = source.choose(self.tasks.len());
        (at < self.tasks.len()).then(|| self.tasks.swap_remove(at))
    }

    fn poll(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        let guards = &mut self.guards;
        self.tasks.retain_mut(|task| match task.as_mut().poll(&mut cx) {
            Poll::Pending => true,
            Poll::Ready(Ok(Held::Guard(guard))) => {
                guards.push(guard);
                false
            }
            Poll::Ready(_) => false,
        });
    }

    fn send(&mut self) {
        let Some((connection, last)) = self.connection else { return };
        let Poll::Ready(Some(frame)) = self.wire.poll_frame(connection, Waker::noop()) else {
            return;
        };
        assert_eq!(frame.number, last + 1, "frames are numbered without gaps");
        self.connection = Some((connection, frame.number));
        let frame = ClientFrame::decode(&frame.encode_to_vec()[..]).expect("it can be read");
        for request in frame.requests {
            assert!(request.seq > self.last_seq, "{} came after {}", request.seq, self.last_seq);
            self.last_seq = request.seq;
            self.asked.insert(request.seq, request);
        }
    }

    /// What a manager would say, to one request or the other.
    fn answer(&mut self, source: &mut Source<'_>) {
        let at = source.choose(self.asked.len());
        let Some((&seq, request)) = self.asked.iter().nth(at) else { return };
        let result = match (&request.op, source.choose(8)) {
            (_, 1) => reply::Result::Error(Refusal::new(Reason::Full, "it is full")),
            (_, 2) => reply::Result::Absent(Empty {}),
            (Some(request::Op::Directory(op)), _) => match &op.op {
                Some(directory_op::Op::Open(open)) => {
                    let kind = open.kind;
                    let object = Ref { server: 1, kind, object: 1 + kind.unsigned_abs() as u64 };
                    let opened = Opened { r#ref: Some(object), ..Opened::default() };
                    reply::Result::Opened(opened)
                }
                _ => reply::Result::Done(Empty {}),
            },
            (Some(request::Op::Lock(_)), _) => reply::Result::Grant(Grant { token: seq, depth: 1 }),
            (Some(request::Op::Queue(_)), _) => {
                let value = Some(Value { data: Bytes::from_static(&[7]), refs: Vec::new() });
                let delivery = Delivery { value, ticket: seq, deliveries: 1, priority: None };
                reply::Result::Delivery(delivery)
            }
            (Some(request::Op::Scalar(_)), _) => {
                let data = Bytes::from_static(&[7]);
                reply::Result::Value(Value { data, refs: Vec::new() })
            }
            _ => reply::Result::Done(Empty {}),
        };
        let replies = vec![Reply { seq, result: Some(result) }];
        let echo = self.connection.map_or(0, |(_, last)| last);
        let lost = (source.choose(8) == 1).then(|| Lost { object: object_of(request), token: seq });
        let lost = lost.into_iter().collect();
        self.receive(ServerFrame { echo, replies, lost, ..ServerFrame::default() });
    }

    fn made_up(&mut self, source: &mut Source<'_>) {
        let made = source.message("ServerFrame");
        let frame = ServerFrame::decode(&made[..]).expect("it is made to be one");
        // It may end the session by itself.
        self.receive(frame);
    }

    fn receive(&mut self, frame: ServerFrame) {
        let Some((connection, _)) = self.connection else { return };
        self.heard = self.now();
        if let Some(why) = self.wire.receive(connection, frame) {
            self.wire.farewell(why);
            self.connect(false);
        }
    }

    fn beat(&mut self, source: &mut Source<'_>) {
        let (said, is_stale, next) = self.wire.tick();
        assert!(is_stale || next > Duration::from_millis(self.now()), "it would spin");
        if let Some(beat) = said {
            self.beat = beat.number;
        }
        let Some((connection, last)) = self.connection else { return };
        if source.choose(4) > 0 {
            let echo = if source.choose(8) == 1 { last + 7 } else { last };
            let number = self.beat.wrapping_sub(u64::from(source.byte() / 128));
            self.heard = self.now();
            self.wire.beat_answered(connection, &Beat { number, echo });
        }
    }

    fn pass_time(&mut self, source: &mut Source<'_>) {
        let ms = u64::from(source.byte()) * 4;
        self.now.fetch_add(ms, Ordering::Relaxed);
        if self.connection.is_none() {
            self.wire.wait_disconnected();
        }
        if self.now() - self.heard >= LEASE.as_millis() as u64 {
            // Whoever looks sees it, without having been told.
            assert!(self.guards.iter().all(LockGuard::is_lost), "held beyond the lease");
        }
    }

    fn end(mut self) {
        self.wire.end(Refusal::new(Reason::SessionEnded, "it is over"));
        self.poll();
        assert!(self.tasks.is_empty(), "{} calls do not end", self.tasks.len());
        assert!(self.guards.iter().all(LockGuard::is_lost), "held after the end");
        let mut cx = Context::from_waker(Waker::noop());
        let after = pin!(self.manager.ping()).as_mut().poll(&mut cx);
        assert!(matches!(after, Poll::Ready(Err(Error::SessionLost(_)))), "{after:?}");
    }
}

fn object_of(request: &Request) -> u64 {
    let lock = 1 + i32::from(Kind::Lock).unsigned_abs() as u64;
    if request.object == 0 { lock } else { request.object }
}
