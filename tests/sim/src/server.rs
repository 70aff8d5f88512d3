//! A manager that drives the real objects and sessions, one small step at a time.
//!
//! A real server does several things at once: while one thread applies an operation, another
//! delivers what an earlier one meant for others, and a third ends a session, object by object. Here
//! each of them is an *activity*, a line of steps; between two steps of one, any other may run. Two
//! activities that need the same session's lock run one after the other, as they do there.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use mp_manager_core::{
    Answer, Call, CallId, Error, Limits as ObjectLimits, Object, Outbox, Outcome, Reason, Referent,
    Seq, SessionId, Tokens, Turn,
    lease::{LeaseClock, Leases},
    session::{Generation, Limits, Next, Session},
    v1::{
        Beat, Challenge, ClientFrame, DirectoryOp, Fence, Kind, Limits as WireLimits, ObjectInfo,
        Open, Opened, Ref, Request, Resume, Welcome, directory_op, reply, request,
    },
};

use crate::{
    invariants::objects,
    network::{ConnectionId, Down},
    world::{Micros, World},
};

/// What the manager wants to happen later.
#[derive(Debug)]
pub(crate) enum Later {
    /// The next step of an activity.
    Step(Activity),
    /// A stream looks at what has arrived, and says what there is to say.
    Poll(ConnectionId),
    /// A parked call's timeout has passed.
    Expire(ObjectId, CallId),
    /// The clock of the leases ticks.
    Tick,
}

type Activity = u64;
type ObjectId = u64;

/// Replies beyond this go into the next frame; small, so that there are often several.
const FRAME_BYTES: usize = 400;
const TICK: Micros = 50_000;
const DRAIN: Duration = Duration::from_millis(20);

pub(crate) struct Server {
    pub(crate) epoch: u64,
    pub(crate) sessions: BTreeMap<SessionId, Client>,
    names: BTreeMap<String, Arc<Cell>>,
    pub(crate) cells: BTreeMap<ObjectId, Arc<Cell>>,
    streams: BTreeMap<ConnectionId, Stream>,
    activities: BTreeMap<Activity, Line>,
    next_activity: Activity,
    next_session: SessionId,
    tokens: Tokens,
    clock: LeaseClock,
    leases: Leases,
    lease: Duration,
    limits: Limits,
    object_limits: ObjectLimits,
    /// It does nothing until then.
    pub(crate) stopped_until: Micros,
    pub(crate) out: Vec<(ConnectionId, Down)>,
    pub(crate) later: Vec<(Micros, Later)>,
    /// What objects should not have said of themselves.
    pub(crate) wrong: RefCell<Vec<String>>,
}

/// A session, and what is known of its client.
pub(crate) struct Client {
    pub(crate) session: Session,
    outbox: Outbox<Arc<Cell>>,
    secret: Bytes,
    touched: BTreeSet<ObjectId>,
    /// Which activity has its lock, and who wants it next.
    locked_by: Option<Activity>,
    waiting: VecDeque<Activity>,
    connection: Option<ConnectionId>,
}

/// A connection's stream of frames.
struct Stream {
    session: SessionId,
    generation: Generation,
    arrived: VecDeque<ClientFrame>,
    echo: u64,
    is_polled: bool,
}

pub(crate) struct Cell {
    id: ObjectId,
    kind: Kind,
    server: u64,
    object: Mutex<Object>,
}

/// Steps still to be done, in order.
struct Line {
    steps: VecDeque<Step>,
    /// The session whose lock it has, or waits for.
    session: Option<SessionId>,
}

#[derive(Debug)]
enum Step {
    Frame(SessionId, Generation, ClientFrame),
    Start(SessionId, Generation),
    Apply(SessionId, Request),
    Reply(SessionId, Seq, Result<Answer, Error>, ObjectId),
    Deliver(CallId, Result<Answer, Error>),
    Lose(SessionId, ObjectId, u64),
    Acknowledge(ObjectId, CallId),
    Cancel(ObjectId, CallId),
    Expire(ObjectId, CallId),
    End(SessionId, Option<Error>),
    EndObject(ObjectId, SessionId),
    Forget(SessionId),
    Drain(SessionId, bool),
}

impl Server {
    pub(crate) fn new(epoch: u64, now: Duration, lease: Duration) -> Self {
        let limits = Limits {
            max_requests_per_frame: 64,
            max_open_requests: 256,
            max_parked_calls: 256,
            max_unacknowledged_bytes: 4_000,
            max_pending_bytes: 100_000,
        };
        Self {
            epoch,
            sessions: BTreeMap::new(),
            names: BTreeMap::new(),
            cells: BTreeMap::new(),
            streams: BTreeMap::new(),
            activities: BTreeMap::new(),
            next_activity: 0,
            next_session: 0,
            tokens: Tokens::after(epoch * 1_000_000),
            clock: LeaseClock::new(now),
            leases: Leases::default(),
            lease,
            limits,
            object_limits: ObjectLimits::default(),
            stopped_until: 0,
            out: Vec::new(),
            later: vec![(TICK, Later::Tick)],
            wrong: RefCell::default(),
        }
    }

    /// A client's first words: it is in, with the session it asked for if that is here.
    pub(crate) fn hello<E>(
        &mut self,
        world: &World<E>,
        connection: ConnectionId,
        resume: Option<(Resume, Bytes)>,
    ) {
        let now = self.clock.now(world.duration());
        let challenge =
            Challenge { epoch: self.epoch, server_id: self.epoch, ..Challenge::default() };
        let asked = resume.filter(|(resume, _)| resume.epoch == self.epoch);
        if let Some((resume, secret)) = asked
            && let Some(client) = self.sessions.get_mut(&resume.session)
        {
            if client.secret != secret {
                return self.out.push((connection, Down::Refused));
            }
            // An activity that has the lock would make the real one wait; its steps are few.
            if client.locked_by.is_some() {
                return self.out.push((connection, Down::Refused));
            }
            if let Some(generation) = client.session.attach(now) {
                client.outbox.attach(generation);
                client.connection = Some(connection);
                self.welcome(connection, resume.session, generation, challenge, true);
                return;
            }
        }
        self.next_session += 1;
        let id = self.next_session;
        let client = Client {
            session: Session::new(id, self.lease, now),
            outbox: Outbox::default(),
            secret: Bytes::from(world.below(u64::MAX).to_be_bytes().to_vec()),
            touched: BTreeSet::new(),
            locked_by: None,
            waiting: VecDeque::new(),
            connection: Some(connection),
        };
        self.leases.watch(id, client.session.lease_end());
        self.sessions.insert(id, client);
        self.welcome(connection, id, Session::FIRST, challenge, false);
    }

    fn welcome(
        &mut self,
        connection: ConnectionId,
        session: SessionId,
        generation: Generation,
        challenge: Challenge,
        resumed: bool,
    ) {
        let secret = self.sessions.get(&session).map(|client| client.secret.clone());
        let limits = WireLimits {
            max_open_requests: 64,
            max_requests_per_frame: 16,
            max_frame_bytes: 1 << 20,
            max_value_bytes: 1 << 16,
            max_key_bytes: 1 << 10,
            max_name_bytes: 1 << 8,
        };
        let welcome = Welcome {
            session,
            resume_secret: secret.unwrap_or_default(),
            lease_ms: u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX),
            limits: Some(limits),
            resumed,
            ..Welcome::default()
        };
        let arrived = VecDeque::new();
        let stream = Stream { session, generation, arrived, echo: 0, is_polled: false };
        self.streams.insert(connection, stream);
        self.out.push((connection, Down::Welcome(Box::new(welcome), challenge)));
    }

    /// A frame has arrived.
    pub(crate) fn frame<E>(
        &mut self,
        world: &World<E>,
        connection: ConnectionId,
        frame: ClientFrame,
    ) {
        if let Some(stream) = self.streams.get_mut(&connection) {
            stream.arrived.push_back(frame);
            self.wake(world, connection);
        }
    }

    /// A beat has arrived.
    pub(crate) fn beat<E>(&mut self, world: &World<E>, connection: ConnectionId, beat: Beat) {
        let now = self.clock.now(world.duration());
        let Some(stream) = self.streams.get(&connection) else { return };
        let Some(client) = self.sessions.get_mut(&stream.session) else { return };
        if client.session.heard(stream.generation, now) {
            let beat = Beat { echo: client.session.last_frame(), ..beat };
            self.out.push((connection, Down::Beat(beat)));
        }
    }

    /// Whether frames have arrived that nobody has looked at.
    pub(crate) fn has_unread(&self, connection: ConnectionId) -> bool {
        self.streams.get(&connection).is_some_and(|stream| !stream.arrived.is_empty())
    }

    /// A connection is over.
    pub(crate) fn ended<E>(&mut self, world: &World<E>, connection: ConnectionId, is_unix: bool) {
        let Some(stream) = self.streams.remove(&connection) else { return };
        let is_current = self
            .sessions
            .get(&stream.session)
            .is_some_and(|client| client.session.is_current(stream.generation));
        if is_unix && is_current {
            let end = Step::End(stream.session, None);
            self.begin(world, Some(stream.session), [end]);
        }
    }

    fn wake<E>(&mut self, world: &World<E>, connection: ConnectionId) {
        if let Some(stream) = self.streams.get_mut(&connection)
            && !std::mem::replace(&mut stream.is_polled, true)
        {
            self.later.push((world.between(1, 200), Later::Poll(connection)));
        }
    }

    fn wake_session<E>(&mut self, world: &World<E>, session: SessionId) {
        let connection = self.sessions.get(&session).and_then(|client| client.connection);
        if let Some(connection) = connection {
            self.wake(world, connection);
        }
    }

    fn begin<E>(
        &mut self,
        world: &World<E>,
        session: Option<SessionId>,
        steps: impl IntoIterator<Item = Step>,
    ) {
        self.next_activity += 1;
        let activity = self.next_activity;
        self.activities.insert(activity, Line { steps: steps.into_iter().collect(), session });
        if let Some(client) = session.and_then(|session| self.sessions.get_mut(&session)) {
            if client.locked_by.is_some() {
                client.waiting.push_back(activity);
                return;
            }
            client.locked_by = Some(activity);
        }
        self.later.push((world.between(0, 100), Later::Step(activity)));
    }

    pub(crate) fn happen<E>(&mut self, world: &World<E>, later: Later) {
        match later {
            Later::Step(activity) => self.step(world, activity),
            Later::Poll(connection) => self.poll(world, connection),
            Later::Expire(object, call) => {
                self.begin(world, None, [Step::Expire(object, call)]);
            }
            Later::Tick => self.tick(world),
        }
    }

    fn step<E>(&mut self, world: &World<E>, activity: Activity) {
        let Some(line) = self.activities.get_mut(&activity) else { return };
        let Some(step) = line.steps.pop_front() else {
            return self.finish(world, activity);
        };
        let (what, a, b) = step.brief();
        world.trace.borrow_mut().note(world.now(), format_args!("server: {what} {a} {b}"));
        let next = self.act(world, step);
        if let Some(line) = self.activities.get_mut(&activity) {
            // What a step brings about comes before what was to come after it.
            for step in next.into_iter().rev() {
                line.steps.push_front(step);
            }
        }
        self.later.push((world.between(0, 60), Later::Step(activity)));
    }

    fn finish<E>(&mut self, world: &World<E>, activity: Activity) {
        let Some(line) = self.activities.remove(&activity) else { return };
        let Some(session) = line.session else { return };
        let Some(client) = self.sessions.get_mut(&session) else { return };
        client.locked_by = client.waiting.pop_front();
        if let Some(next) = client.locked_by {
            self.later.push((world.between(0, 60), Later::Step(next)));
        }
        self.wake_session(world, session);
    }

    /// A stream's turn: the next frame, or the next request of one, if there is room for its reply.
    fn poll<E>(&mut self, world: &World<E>, connection: ConnectionId) {
        let Some(stream) = self.streams.get_mut(&connection) else { return };
        stream.is_polled = false;
        let (id, generation) = (stream.session, stream.generation);
        let Some(client) = self.sessions.get_mut(&id) else {
            self.streams.remove(&connection);
            self.out.push((connection, Down::End));
            return;
        };
        if !client.session.is_current(generation) && !client.session.has_ended() {
            self.streams.remove(&connection);
            self.out.push((connection, Down::End));
            return;
        }
        if client.locked_by.is_none() && client.outbox.load().unsent_bytes < FRAME_BYTES {
            // Both may go on: what was read waits for room, and what comes may make it.
            if client.session.has_next() && (stream.arrived.is_empty() || world.one_in(2)) {
                self.begin(world, Some(id), [Step::Start(id, generation)]);
            } else if let Some(frame) = stream.arrived.pop_front() {
                self.begin(world, Some(id), [Step::Frame(id, generation, frame)]);
            }
        }
        self.say(world, connection);
    }

    fn say<E>(&mut self, world: &World<E>, connection: ConnectionId) {
        let Some(stream) = self.streams.get(&connection) else { return };
        let Some(client) = self.sessions.get_mut(&stream.session) else { return };
        if let Some(frame) = client.outbox.take_frame(stream.generation, stream.echo, FRAME_BYTES) {
            self.out.push((connection, Down::Frame(frame)));
            self.wake(world, connection);
        }
    }

    /// One step, and what has to follow it at once.
    fn act<E>(&mut self, world: &World<E>, step: Step) -> Vec<Step> {
        match step {
            Step::Frame(session, generation, frame) => {
                self.take_in(world, session, generation, frame)
            }
            Step::Start(session, generation) => self.start(session, generation),
            Step::Apply(session, request) => self.apply(world, session, request),
            Step::Reply(session, seq, result, object) => {
                let cell = self.cells.get(&object).cloned();
                if let (Some(client), Some(cell)) = (self.sessions.get_mut(&session), cell) {
                    drop(client.outbox.reply(seq, result, || cell));
                    self.wake_session(world, session);
                }
                Vec::new()
            }
            Step::Deliver(call, result) => {
                if let Some(client) = self.sessions.get_mut(&call.session) {
                    drop(client.outbox.deliver(call.seq, result));
                    self.wake_session(world, call.session);
                }
                Vec::new()
            }
            Step::Lose(session, object, token) => {
                if let Some(client) = self.sessions.get_mut(&session) {
                    client.outbox.lose(object, token);
                    self.wake_session(world, session);
                }
                Vec::new()
            }
            Step::Acknowledge(object, call) => {
                self.on(object, |object, _| object.acknowledge(call))
            }
            Step::Cancel(object, call) => {
                let before = self.describe(object);
                let steps = self.on(object, |object, turn| object.cancel(call, turn));
                let after = self.describe(object);
                self.note_wrong(objects::remains_of_cancelled(&before, &after, call));
                steps
            }
            Step::Expire(object, call) => {
                let steps = self.on(object, |object, turn| object.expire(call, turn));
                self.note_wrong(objects::remains_of_expired(&self.describe(object), call));
                steps
            }
            Step::EndObject(object, session) => {
                let steps = self.on(object, |object, turn| object.end_session(session, turn));
                self.note_wrong(objects::remains_of_ended(&self.describe(object), session));
                steps
            }
            Step::End(session, why) => self.end(world, session, why),
            Step::Forget(session) => {
                self.sessions.remove(&session);
                self.leases.forget(session);
                Vec::new()
            }
            Step::Drain(session, drained) => self.look_after(world, session, drained),
        }
    }

    fn take_in<E>(
        &mut self,
        world: &World<E>,
        id: SessionId,
        generation: Generation,
        frame: ClientFrame,
    ) -> Vec<Step> {
        let now = self.clock.now(world.duration());
        let number = frame.number;
        let Some(client) = self.sessions.get_mut(&id) else { return Vec::new() };
        let settle = match client.session.frame(generation, frame, now, &self.limits) {
            Ok(Some(settle)) => settle,
            Ok(None) => return Vec::new(),
            Err(error) => return vec![Step::End(id, Some(error))],
        };
        let (settled, result) = client.outbox.settle(settle);
        let call = |seq| CallId { session: id, seq };
        let mut steps: Vec<Step> = Vec::new();
        for (seq, cell) in settled.acknowledged {
            steps.push(Step::Acknowledge(cell.id, call(seq)));
        }
        for (seq, cell) in settled.cancelled {
            steps.push(Step::Cancel(cell.id, call(seq)));
        }
        if let Some(stream) = client.connection.and_then(|id| self.streams.get_mut(&id))
            && stream.generation == generation
        {
            stream.echo = number;
        }
        if let Err(error) = result {
            steps.push(Step::End(id, Some(error)));
        }
        steps
    }

    fn start(&mut self, id: SessionId, generation: Generation) -> Vec<Step> {
        let Some(client) = self.sessions.get_mut(&id) else { return Vec::new() };
        let load = client.outbox.load();
        match client.session.next(generation, &load, &self.limits) {
            Ok(Next::Start(request)) => vec![Step::Apply(id, request)],
            Ok(Next::Refuse(seq, error)) => vec![Step::Reply(id, seq, Err(error), 0)],
            Ok(Next::Read) => Vec::new(),
            Ok(Next::End) => vec![Step::End(id, None)],
            Err(error) => vec![Step::End(id, Some(error))],
        }
    }

    fn apply<E>(&mut self, world: &World<E>, id: SessionId, request: Request) -> Vec<Step> {
        let Request { seq, object, timeout_us, fence, op } = request;
        let Some(op) = op else { return Vec::new() };
        if let request::Op::Directory(op) = op {
            let result = self.directory(id, op);
            let Some(client) = self.sessions.get_mut(&id) else { return Vec::new() };
            drop(client.outbox.reply(seq, result, || unreachable!("it hands nothing over")));
            return Vec::new();
        }
        let Some(cell) = self.cells.get(&object).cloned() else {
            let missing = Error::new(Reason::ObjectNotFound, "there is no such object");
            return self.refuse(id, seq, missing);
        };
        let may_wait = timeout_us != Some(0) && fence.is_none();
        let call = Call { id: CallId { session: id, seq }, may_wait };
        if let Some(client) = self.sessions.get_mut(&id) {
            client.touched.insert(object);
        }
        if let Some(fence) = fence
            && !self.stands(fence)
        {
            return self.refuse(id, seq, Error::new(Reason::Fenced, "it does not stand"));
        }
        let (applied, mut steps) = self.turn(&cell, |object, turn| object.apply(call, op, turn));
        match applied {
            Ok(Outcome::Done(answer)) => steps.push(Step::Reply(id, seq, Ok(answer), object)),
            Err(error) => steps.push(Step::Reply(id, seq, Err(error), object)),
            Ok(Outcome::Parked) => {
                if let Some(client) = self.sessions.get_mut(&id) {
                    client.outbox.park(seq, cell);
                }
                if let Some(timeout) = timeout_us {
                    self.later.push((timeout, Later::Expire(object, call.id)));
                }
            }
        }
        let _ = world;
        steps
    }

    fn refuse(&mut self, id: SessionId, seq: Seq, error: Error) -> Vec<Step> {
        if let Some(client) = self.sessions.get_mut(&id) {
            drop(client.outbox.reply(seq, Err(error), || unreachable!("it hands nothing over")));
        }
        Vec::new()
    }

    fn stands(&self, fence: Fence) -> bool {
        self.cells.get(&fence.lock).is_some_and(|cell| cell.lock().holds(fence.token))
    }

    fn directory(&mut self, id: SessionId, op: DirectoryOp) -> Result<Answer, Error> {
        match op.op {
            Some(directory_op::Op::Open(open)) => self.open(open),
            Some(directory_op::Op::Release(release)) => {
                if let Some(client) = self.sessions.get_mut(&id) {
                    drop(client.outbox.release(release.object, release.count));
                }
                Ok(Answer::done())
            }
            _ => Err(mp_manager_core::object::unsupported()),
        }
    }

    fn open(&mut self, open: Open) -> Result<Answer, Error> {
        let kind = open.kind();
        let name = open.name.unwrap_or_default();
        let cell = match self.names.get(&name) {
            Some(cell) => Arc::clone(cell),
            None => {
                let resolve = |_: &Ref| None;
                let mut turn = Turn::new(&self.object_limits, &self.tokens, &resolve);
                let object = Object::create(kind, open.parameters, 7, &mut turn)?;
                let id = self.cells.len() as u64 + 1;
                let object = Mutex::new(object);
                let cell = Arc::new(Cell { id, kind, server: self.epoch, object });
                self.names.insert(name, Arc::clone(&cell));
                self.cells.insert(id, Arc::clone(&cell));
                cell
            }
        };
        let parameters = cell.lock().parameters();
        let opened = Opened { r#ref: Some(cell.reference()), created: false, parameters };
        Ok(Answer { pins: vec![cell], ..Answer::new(reply::Result::Opened(opened)) })
    }

    fn on(&self, object: ObjectId, f: impl FnOnce(&mut Object, &mut Turn<'_>)) -> Vec<Step> {
        self.cells.get(&object).map_or_else(Vec::new, |cell| self.turn(cell, f).1)
    }

    fn turn<T>(
        &self,
        cell: &Cell,
        f: impl FnOnce(&mut Object, &mut Turn<'_>) -> T,
    ) -> (T, Vec<Step>) {
        let resolve = |_: &Ref| None;
        let mut turn = Turn::new(&self.object_limits, &self.tokens, &resolve);
        let result = f(&mut cell.lock(), &mut turn);
        self.note_wrong(objects::waits_in_vain(cell.kind, &cell.lock().describe()));
        let replies = turn.replies.into_iter().map(|(call, result)| Step::Deliver(call, result));
        let lost =
            turn.lost.into_iter().map(|(session, token)| Step::Lose(session, cell.id, token));
        (result, replies.chain(lost).collect())
    }

    fn describe(&self, object: ObjectId) -> ObjectInfo {
        let describe = |cell: &Arc<Cell>| ObjectInfo {
            object: cell.id,
            kind: cell.kind.into(),
            ..cell.lock().describe()
        };
        self.cells.get(&object).map(describe).unwrap_or_default()
    }

    fn note_wrong(&self, what: Option<String>) {
        self.wrong.borrow_mut().extend(what);
    }

    fn end<E>(&mut self, world: &World<E>, id: SessionId, why: Option<Error>) -> Vec<Step> {
        let Some(client) = self.sessions.get_mut(&id) else { return Vec::new() };
        if !client.session.end() {
            return Vec::new();
        }
        drop(client.outbox.end(why));
        let touched = std::mem::take(&mut client.touched);
        self.wake_session(world, id);
        let ends = touched.into_iter().map(|object| Step::EndObject(object, id));
        ends.chain([Step::Forget(id)]).collect()
    }

    fn tick<E>(&mut self, world: &World<E>) {
        let real = world.duration();
        self.clock.tick(real);
        self.later.push((TICK, Later::Tick));
        let now = self.clock.now(real);
        while let Some(due) = self.leases.due(now) {
            let look = Step::Drain(due.session, due.drained);
            self.begin(world, Some(due.session), [look]);
        }
    }

    /// Its lease may be over: unless something was heard since, or there is something to be heard.
    fn look_after<E>(&mut self, world: &World<E>, id: SessionId, drained: bool) -> Vec<Step> {
        let now = self.clock.now(world.duration());
        let Some(client) = self.sessions.get_mut(&id) else { return Vec::new() };
        if client.session.has_ended() {
            return Vec::new();
        }
        let end = client.session.lease_end();
        if now < end {
            self.leases.watch(id, end);
        } else if drained {
            return vec![Step::End(id, Some(Error::new(Reason::SessionEnded, "not heard of")))];
        } else {
            self.leases.drain(id, now + DRAIN);
            self.wake_session(world, id);
        }
        Vec::new()
    }

    /// What is wrong once everybody who died is past their lease: `alive` are the sessions of those
    /// who did not.
    pub(crate) fn leftovers(&self, alive: &BTreeSet<SessionId>) -> Vec<String> {
        let mut wrong = Vec::new();
        for id in self.sessions.keys().filter(|id| !alive.contains(id)) {
            wrong.push(format!("session {id} of a dead client goes on"));
        }
        for cell in self.cells.values() {
            let info = cell.lock().describe();
            let holders = info.holders.iter().map(|holding| (holding.session, &holding.what));
            let waiters = info.waiters.iter().map(|waiting| (waiting.session, &waiting.what));
            for (session, what) in holders.chain(waiters) {
                if !self.sessions.contains_key(&session) {
                    wrong.push(format!("{:?} {}: {what} of session {session}", cell.kind, cell.id));
                }
            }
        }
        wrong
    }
}

impl Step {
    /// What it is, for the trace, with two numbers that tell it from others.
    fn brief(&self) -> (&'static str, u64, u64) {
        match self {
            Self::Frame(session, _, frame) => ("frame", *session, frame.number),
            Self::Start(session, generation) => ("start", *session, *generation),
            Self::Apply(session, request) => ("apply", *session, request.seq),
            Self::Reply(session, seq, ..) => ("reply", *session, *seq),
            Self::Deliver(call, _) => ("deliver", call.session, call.seq),
            Self::Lose(session, _, token) => ("lose", *session, *token),
            Self::Acknowledge(_, call) => ("acknowledge", call.session, call.seq),
            Self::Cancel(_, call) => ("cancel", call.session, call.seq),
            Self::Expire(_, call) => ("expire", call.session, call.seq),
            Self::End(session, _) => ("end", *session, 0),
            Self::EndObject(object, session) => ("end in object", *session, *object),
            Self::Forget(session) => ("forget", *session, 0),
            Self::Drain(session, drained) => ("look after", *session, u64::from(*drained)),
        }
    }
}

impl Cell {
    fn lock(&self) -> MutexGuard<'_, Object> {
        self.object.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}", self.kind, self.id)
    }
}

impl Referent for Cell {
    fn reference(&self) -> Ref {
        Ref { server: self.server, kind: self.kind.into(), object: self.id }
    }
}
