//! A scheduler of the manager's steps.
//!
//! The manager is the engine that ships. A real server does several things at once: while one thread starts a
//! request, another delivers what an earlier one meant for others, and a third ends a session, object by
//! object. Here each of them is a *line* of steps; between two steps of one, any other may run. Two lines that
//! need the same session's lock run one after the other, as they do there.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Wake, Waker},
    time::Duration,
};

use bytes::Bytes;
use mp_manager_core::{
    CallId, Error, ObjectId, SessionId,
    engine::{
        Attachment, Cell, Client, Clock, Config, Engine, Hello, Reservation, Started, Step, Stream,
        Totals, Want, Work,
    },
    lease::Due,
    v1::{Beat, Challenge, ClientFrame, ObjectInfo, Process, Resume},
};

use crate::{
    invariants::objects,
    network::{ConnectionId, Down},
    plan::Plan,
    world::{Micros, World},
};

/// What the manager wants to happen later.
#[derive(Debug)]
pub(crate) enum Later {
    /// The next step of a line.
    Step(LineId),
    /// A stream looks at what has arrived, and says what there is to say.
    Poll(ConnectionId),
    /// Calls may expire.
    Deadline,
    /// The clock of the leases ticks.
    Tick,
    /// This ceiling of tokens has been written down.
    Recorded(u64),
}

type LineId = u64;

/// How long after its deadline a call expires, unless the manager stands still.
const LATEST_EXPIRY: Duration = Duration::from_millis(100);

pub(crate) struct Server {
    /// Counts the starts.
    pub(crate) start: u64,
    pub(crate) engine: Engine,
    connections: BTreeMap<ConnectionId, Connection>,
    lines: BTreeMap<LineId, Box<Line>>,
    next_line: LineId,
    /// Which line has a session's lock, and who wants it next.
    locks: BTreeMap<SessionId, (LineId, VecDeque<LineId>)>,
    woken: Arc<Mutex<Vec<ConnectionId>>>,
    /// When it looks for expired calls next.
    deadline: Option<Micros>,
    is_recording: bool,
    ticks: u64,
    /// A line without a session has come to its end: an object may be back.
    is_back: bool,
    /// Sessions whose unix connection is over.
    dead: BTreeSet<SessionId>,
    /// How long a heavy step takes, at most.
    longest_heavy: Micros,
    trouble_until: Micros,
    /// It does nothing until then.
    pub(crate) stopped_until: Micros,
    pub(crate) out: Vec<(ConnectionId, Down)>,
    pub(crate) later: Vec<(Micros, Later)>,
    /// The ceiling of tokens that outlasts it.
    pub(crate) recorded: Option<u64>,
    /// What is wrong with objects and books.
    pub(crate) wrong: RefCell<Vec<String>>,
}

/// A connection whose client is in.
struct Connection {
    attachment: Attachment,
    stream: Stream,
    waker: Waker,
    arrived: VecDeque<ClientFrame>,
    /// A frame has come: the stream has been opened.
    is_used: bool,
    /// Its end has arrived.
    is_closed: bool,
    is_polled: bool,
    /// Its line goes on, or waits for the session's lock.
    is_busy: bool,
    /// It was woken meanwhile.
    is_woken: bool,
    /// Its next request needs an object that is busy.
    is_blocked: bool,
}

/// Something that begins a line, with the session's lock where it needs that.
enum Job {
    Resume(ConnectionId, Arc<Client>),
    Take(ConnectionId, Box<ClientFrame>),
    Start(ConnectionId),
    Close(ConnectionId),
    /// The end of a unix connection, which proves its client's.
    Die(Box<Connection>),
    End(ConnectionId, Error),
    LookAfter(Arc<Client>, Due, bool),
    /// What is in its work already.
    Steps,
}

struct Line {
    job: Option<Job>,
    work: Work,
    /// The session whose lock it has, or waits for.
    session: Option<SessionId>,
    connection: Option<ConnectionId>,
    /// Its stream has nothing to do until it is woken.
    is_blocked: bool,
}

struct SimulatedClock(Arc<AtomicU64>);

impl Clock for SimulatedClock {
    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }

    fn boottime(&self) -> Duration {
        self.monotonic()
    }
}

struct ConnectionWaker {
    connection: ConnectionId,
    woken: Arc<Mutex<Vec<ConnectionId>>>,
}

impl Wake for ConnectionWaker {
    fn wake(self: Arc<Self>) {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner).push(self.connection);
    }
}

impl Server {
    /// The manager starts for the `start`th time, when the Unix time is `now_us`.
    pub(crate) fn new<E>(
        world: &World<E>,
        plan: &Plan,
        start: u64,
        recorded: Option<u64>,
        now_us: u64,
    ) -> Self {
        let limits = &plan.limits;
        let clients = mp_manager_core::v1::Limits {
            max_open_requests: u32::try_from(limits.max_open_requests).unwrap_or(u32::MAX),
            max_requests_per_frame: 16,
            max_frame_bytes: 1 << 20,
            max_value_bytes: 1 << 16,
            max_key_bytes: 1 << 10,
            max_name_bytes: 1 << 8,
            ..mp_manager_core::v1::Limits::default()
        };
        let config = Config {
            server_id: start,
            hash_seed: 7,
            ephemeral: false,
            totals: Totals {
                max_objects: 10_000,
                max_sessions: 10_000,
                max_memory_bytes: plan.memory,
                session_bytes: 200,
                max_name_bytes: 1 << 8,
            },
            objects: mp_manager_core::Limits {
                heavy_from: plan.heavy_from,
                page_bytes: plan.page_bytes(),
                ..mp_manager_core::Limits::default()
            },
            sessions: limits.clone(),
            clients,
            // Small, so that there are often several frames.
            frame_bytes: 400,
        };
        // What a server without a state directory does.
        let unrecorded = || Reservation::unrecorded(now_us);
        let reservation = if plan.is_recorded {
            Reservation::recorded(recorded, now_us, plan.block).unwrap_or_else(unrecorded)
        } else {
            unrecorded()
        };
        let recorded = plan.is_recorded.then(|| reservation.ceiling());
        let clock = Box::new(SimulatedClock(world.shared_time()));
        Self {
            start,
            engine: Engine::new(config, clock, reservation),
            connections: BTreeMap::new(),
            lines: BTreeMap::new(),
            next_line: 0,
            locks: BTreeMap::new(),
            woken: Arc::default(),
            deadline: None,
            is_recording: false,
            ticks: 0,
            is_back: false,
            dead: BTreeSet::new(),
            longest_heavy: plan.longest_heavy,
            trouble_until: plan.trouble_for,
            stopped_until: 0,
            out: Vec::new(),
            later: vec![(50_000, Later::Tick)],
            recorded,
            wrong: RefCell::default(),
        }
    }

    /// A client's first words: it is in, with the session it asked for if that is here.
    pub(crate) fn hello<E>(
        &mut self,
        world: &World<E>,
        connection: ConnectionId,
        resume: Option<(Resume, Bytes)>,
        lease: Duration,
    ) {
        if let Some((resume, secret)) = resume
            && let Some(client) = self.engine.asked_for(Some(resume))
        {
            if *client.resume_secret() != secret {
                return self.out.push((connection, Down::Refused));
            }
            return self.begin(world, Some(client.id()), None, Job::Resume(connection, client));
        }
        self.begin_session(world, connection, lease);
    }

    fn begin_session<E>(&mut self, world: &World<E>, connection: ConnectionId, lease: Duration) {
        let hello = Hello {
            process: Process::default(),
            peer: "simulated".into(),
            lease_ms: u64::try_from(lease.as_millis()).unwrap_or(u64::MAX),
            resume_secret: Bytes::from(world.below(u64::MAX).to_be_bytes().to_vec()),
        };
        match self.engine.begin(hello) {
            Ok(attachment) => self.welcome(connection, attachment),
            Err(_) => self.out.push((connection, Down::Refused)),
        }
    }

    fn welcome(&mut self, connection: ConnectionId, attachment: Attachment) {
        let (epoch, server_id) = (self.engine.epoch(), self.start);
        let challenge = Challenge { epoch, server_id, ..Challenge::default() };
        let welcome = Box::new(self.engine.welcome(&attachment));
        let woken = Arc::clone(&self.woken);
        let state = Connection {
            stream: attachment.stream(),
            attachment,
            waker: Waker::from(Arc::new(ConnectionWaker { connection, woken })),
            arrived: VecDeque::new(),
            is_used: false,
            is_closed: false,
            is_polled: false,
            is_busy: false,
            is_woken: false,
            is_blocked: false,
        };
        self.connections.insert(connection, state);
        self.out.push((connection, Down::Welcome(welcome, challenge)));
    }

    /// A frame has arrived.
    pub(crate) fn frame<E>(
        &mut self,
        world: &World<E>,
        connection: ConnectionId,
        frame: ClientFrame,
    ) {
        if let Some(state) = self.connections.get_mut(&connection) {
            state.arrived.push_back(frame);
            state.is_used = true;
            self.wake(world, connection);
        }
    }

    /// A beat has arrived.
    pub(crate) fn beat(&mut self, connection: ConnectionId, beat: Beat) {
        let Some(state) = self.connections.get(&connection) else { return };
        if let Some(echo) = self.engine.beat(&state.attachment) {
            self.out.push((connection, Down::Beat(Beat { echo, ..beat })));
        }
    }

    /// Whether frames have arrived that nobody has looked at.
    pub(crate) fn has_unread(&self, connection: ConnectionId) -> bool {
        self.connections.get(&connection).is_some_and(|state| !state.arrived.is_empty())
    }

    /// A connection is over.
    pub(crate) fn ended<E>(&mut self, world: &World<E>, connection: ConnectionId, is_unix: bool) {
        let Some(mut state) = self.connections.remove(&connection) else { return };
        if is_unix {
            let session = state.attachment.client.id();
            return self.begin(world, Some(session), None, Job::Die(Box::new(state)));
        }
        // Its stream is dropped, or goes on with what it has read.
        if world.one_in(2) {
            state.is_closed = true;
            self.connections.insert(connection, state);
            self.wake(world, connection);
        }
    }

    fn wake<E>(&mut self, world: &World<E>, connection: ConnectionId) {
        if let Some(state) = self.connections.get_mut(&connection)
            && !std::mem::replace(&mut state.is_polled, true)
        {
            self.later.push((world.between(1, 200), Later::Poll(connection)));
        }
    }

    fn begin<E>(
        &mut self,
        world: &World<E>,
        session: Option<SessionId>,
        connection: Option<ConnectionId>,
        job: Job,
    ) {
        let (work, is_blocked) = (Work::default(), false);
        let line = Line { job: Some(job), work, session, connection, is_blocked };
        self.begin_line(world, line, 100);
    }

    /// Begins a line, within so long if it has not to wait for its session's lock.
    fn begin_line<E>(&mut self, world: &World<E>, line: Line, longest: Micros) {
        self.next_line += 1;
        let (id, session) = (self.next_line, line.session);
        self.lines.insert(id, Box::new(line));
        if let Some(session) = session {
            if let Some((_, waiting)) = self.locks.get_mut(&session) {
                return waiting.push_back(id);
            }
            self.locks.insert(session, (id, VecDeque::new()));
        }
        self.later.push((world.between(0, longest), Later::Step(id)));
    }

    pub(crate) fn happen<E>(&mut self, world: &World<E>, later: Later, lease: Duration) {
        match later {
            Later::Step(line) => self.step(world, line, lease),
            Later::Poll(connection) => self.poll(world, connection),
            Later::Deadline => self.expire(world),
            Later::Tick => self.tick(world),
            Later::Recorded(ceiling) => {
                self.recorded = Some(ceiling);
                self.is_recording = false;
                self.engine.reservation().reserve(ceiling);
                self.record(world);
            }
        }
        let woken = std::mem::take(&mut *self.woken.lock().unwrap_or_else(PoisonError::into_inner));
        for connection in woken {
            self.wake(world, connection);
        }
        // Such a line may still have somebody to wake.
        let goes_on = |line: &Line| line.session.is_none();
        if self.is_back && !self.lines.values().any(|line| goes_on(line)) {
            self.is_back = false;
            self.look_for_sleepers();
        }
    }

    fn step<E>(&mut self, world: &World<E>, id: LineId, lease: Duration) {
        let Some(mut line) = self.lines.remove(&id) else { return };
        let mut goes_on_in = world.between(0, 60);
        if let Some(step) = line.work.next_step() {
            let (what, a, b) = step.brief();
            world.trace.borrow_mut().note(world.now(), format_args!("server: {what} {a} {b}"));
            let is_heavy = step.is_heavy();
            if is_heavy && line.session.is_some() {
                // Where nobody waits, and it takes as long as it takes.
                let (work, session, connection) = (Work::of(step), None, None);
                let (job, is_blocked) = (Some(Job::Steps), false);
                let heavy = Line { job, work, session, connection, is_blocked };
                self.begin_line(world, heavy, self.longest_heavy(world));
            } else {
                self.perform(step, &mut line.work);
                if is_heavy {
                    goes_on_in = world.between(0, self.longest_heavy(world));
                }
            }
        } else if let Some(job) = line.job.take() {
            line.is_blocked = self.act(world, job, &mut line.work, lease);
        } else {
            return self.finish(world, *line);
        }
        self.follow_orders(world, &mut line.work);
        self.lines.insert(id, line);
        self.later.push((goes_on_in, Later::Step(id)));
    }

    /// How long a heavy step takes at most: as long as other things go wrong, longer.
    fn longest_heavy<E>(&self, world: &World<E>) -> Micros {
        let is_calm = world.now() >= self.trouble_until;
        if is_calm { self.longest_heavy.min(20_000) } else { self.longest_heavy }
    }

    fn follow_orders<E>(&mut self, world: &World<E>, work: &mut Work) {
        let orders = work.take_orders();
        if orders.deadline {
            self.expire_later(world);
        }
        if orders.tokens {
            self.record(world);
        }
    }

    fn finish<E>(&mut self, world: &World<E>, mut line: Line) {
        line.work.let_go();
        self.engine.drop_buried();
        self.is_back |= line.session.is_none();
        if let Some(session) = line.session
            && self.dead.remove(&session)
            && self.engine.client(session).is_some_and(|client| !client.has_ended())
        {
            let what = format!("the unix connection of session {session} is over, and it goes on");
            self.note_wrong(Some(what));
        }
        if let Some(session) = line.session
            && let Some((by, waiting)) = self.locks.get_mut(&session)
        {
            match waiting.pop_front() {
                Some(next) => {
                    *by = next;
                    self.later.push((world.between(0, 60), Later::Step(next)));
                }
                None => _ = self.locks.remove(&session),
            }
        }
        if let Some(connection) = line.connection
            && let Some(state) = self.connections.get_mut(&connection)
        {
            state.is_busy = false;
            state.is_blocked = line.is_blocked;
            if std::mem::take(&mut state.is_woken) || !line.is_blocked {
                self.wake(world, connection);
            }
        }
    }

    /// A stream's turn: the next frame or request, and what there is to say.
    fn poll<E>(&mut self, world: &World<E>, connection: ConnectionId) {
        let Some(state) = self.connections.get_mut(&connection) else { return };
        state.is_polled = false;
        state.is_blocked = false;
        if state.is_busy {
            state.is_woken = true;
            return;
        }
        if !state.stream.register(&state.waker) {
            return self.close(connection);
        }
        let session = state.attachment.client.id();
        let job = match state.stream.want(&self.engine) {
            Want::Start => Some(Job::Start(connection)),
            Want::Frame => match state.arrived.pop_front() {
                Some(frame) => Some(Job::Take(connection, Box::new(frame))),
                None => state.is_closed.then_some(Job::Close(connection)),
            },
            Want::End(why) => Some(Job::End(connection, why)),
            Want::Nothing => None,
        };
        if let Some(job) = job {
            // It says what there is to say once that is done.
            state.is_busy = true;
            return self.begin(world, Some(session), Some(connection), job);
        }
        let is_stuck = state.is_closed;
        if let Some(frame) = state.stream.say() {
            self.out.push((connection, Down::Frame(frame)));
            self.wake(world, connection);
        } else if state.stream.is_over() || is_stuck {
            self.close(connection);
        }
    }

    /// A stream has come to its end.
    fn close(&mut self, connection: ConnectionId) {
        let Some(mut state) = self.connections.remove(&connection) else { return };
        self.out.extend(state.stream.farewell().map(|frame| (connection, Down::Frame(frame))));
        self.out.push((connection, Down::End));
    }

    /// What begins a line. Whether the stream has nothing to do until the manager wakes it.
    fn act<E>(&mut self, world: &World<E>, job: Job, work: &mut Work, lease: Duration) -> bool {
        let engine = &self.engine;
        let now = world.now();
        let note = |what: std::fmt::Arguments<'_>| world.trace.borrow_mut().note(now, what);
        match job {
            Job::Resume(connection, client) => {
                note(format_args!("server: resume {}", client.id()));
                let attachment = engine.resume(&client, &mut client.lock(), "simulated");
                match attachment {
                    Some(attachment) => self.welcome(connection, attachment),
                    None => self.begin_session(world, connection, lease),
                }
            }
            Job::Take(connection, frame) => {
                let Some(state) = self.connections.get_mut(&connection) else { return false };
                let client = Arc::clone(&state.attachment.client);
                note(format_args!("server: frame {} {}", client.id(), frame.number));
                state.stream.take_in(engine, &mut client.lock(), *frame, work);
            }
            Job::Start(connection) => {
                let Some(state) = self.connections.get_mut(&connection) else { return false };
                let client = Arc::clone(&state.attachment.client);
                note(format_args!("server: start {}", client.id()));
                let started = state.stream.start(engine, &mut client.lock(), work);
                match started {
                    Started::One(object) => self.look_at(object),
                    Started::Blocked => return true,
                    Started::Nothing | Started::Ended(_) => {}
                }
            }
            Job::Close(connection) => {
                let Some(state) = self.connections.get_mut(&connection) else { return false };
                let client = Arc::clone(&state.attachment.client);
                state.stream.closed(engine, &mut client.lock(), false, work);
            }
            Job::Die(mut state) => {
                let client = Arc::clone(&state.attachment.client);
                note(format_args!("server: the client of {} has died", client.id()));
                let speaks = !state.stream.is_over();
                if speaks && (state.is_used || state.attachment.is_first()) {
                    self.dead.insert(client.id());
                }
                if state.is_used {
                    state.stream.closed(engine, &mut client.lock(), true, work);
                } else {
                    engine.closed_unused(&state.attachment, &mut client.lock(), true, work);
                }
            }
            Job::End(connection, why) => {
                let Some(state) = self.connections.get_mut(&connection) else { return false };
                let client = Arc::clone(&state.attachment.client);
                state.stream.end(engine, &mut client.lock(), why, work);
            }
            Job::LookAfter(client, due, stalled) => {
                note(format_args!("server: look after {}, {}", client.id(), due.drained));
                let _ = engine.look_after(&client, &mut client.lock(), due, stalled, work);
            }
            Job::Steps => {}
        }
        false
    }

    /// Performs a step, and looks at what it leaves in its object.
    fn perform(&self, step: Step, work: &mut Work) {
        type Check = fn(&ObjectInfo, &ObjectInfo, CallId) -> Option<String>;
        let check: Option<(Arc<Cell>, CallId, Check)> = match &step {
            Step::Cancel(cell, call) => {
                Some((Arc::clone(cell), *call, objects::remains_of_cancelled))
            }
            Step::Expire(cell, call) => Some((Arc::clone(cell), *call, |_, after, call| {
                objects::remains_of_expired(after, call)
            })),
            Step::EndSession(cell, session) => {
                let call = CallId { session: *session, seq: 0 };
                Some((Arc::clone(cell), call, |_, after, call| {
                    objects::remains_of_ended(after, call.session)
                }))
            }
            Step::Acknowledge(cell, call) => Some((Arc::clone(cell), *call, |_, _, _| None)),
            _ => None,
        };
        let Some((cell, call, check)) = check.filter(|(cell, ..)| !cell.is_busy()) else {
            return self.engine.perform(step, work);
        };
        let before = cell.describe();
        self.engine.perform(step, work);
        let after = cell.describe();
        self.note_wrong(check(&before, &after, call));
        self.note_wrong(objects::waits_in_vain(cell.kind(), &after));
    }

    fn look_at(&self, object: ObjectId) {
        if let Some(cell) = self.engine.object(object) {
            self.note_wrong(objects::waits_in_vain(cell.kind(), &cell.describe()));
        }
    }

    fn note_wrong(&self, what: Option<String>) {
        self.wrong.borrow_mut().extend(what);
    }

    fn expire<E>(&mut self, world: &World<E>) {
        if self.deadline.is_none_or(|at| at > world.now()) {
            return;
        }
        self.deadline = None;
        let mut work = Work::default();
        self.engine.expire_due(&mut work);
        let (job, session, connection) = (Some(Job::Steps), None, None);
        let is_blocked = false;
        self.begin_line(world, Line { job, work, session, connection, is_blocked }, 100);
        self.expire_later(world);
    }

    fn expire_later<E>(&mut self, world: &World<E>) {
        let Some(next) = self.engine.next_deadline() else { return };
        let next = u64::try_from(next.as_micros()).unwrap_or(u64::MAX / 4);
        if self.deadline.is_none_or(|at| next < at) {
            self.deadline = Some(next);
            self.later.push((next.saturating_sub(world.now()), Later::Deadline));
        }
    }

    /// Writes the next ceiling of tokens down, which takes a while.
    fn record<E>(&mut self, world: &World<E>) {
        let tokens = self.engine.reservation();
        if self.is_recording || !tokens.is_low() {
            return;
        }
        if let Some(ceiling) = tokens.next_ceiling() {
            self.is_recording = true;
            self.later.push((world.between(100, 3_000), Later::Recorded(ceiling)));
        }
    }

    fn tick<E>(&mut self, world: &World<E>) {
        let stalled = self.engine.tick();
        while let Some(due) = self.engine.next_due() {
            let Some(client) = self.engine.client(due.session) else { continue };
            if !self.engine.is_silent(&client) {
                continue;
            }
            if self.locks.contains_key(&due.session) {
                self.engine.look_again(due);
                continue;
            }
            let job = Job::LookAfter(client, due, stalled);
            self.begin(world, Some(due.session), None, job);
        }
        if let Some(deadline) = self.engine.next_deadline()
            && !stalled
            && deadline + LATEST_EXPIRY < Duration::from_micros(world.now())
        {
            let what = format!("a call that expires at {deadline:?} has not");
            self.note_wrong(Some(what));
        }
        let next = u64::try_from(self.engine.next_tick().as_micros()).unwrap_or(50_000);
        self.later.push((next.max(100), Later::Tick));
        self.ticks += 1;
        if self.ticks.is_multiple_of(16) {
            self.note_wrong(objects::wrong_books(&self.engine));
        }
    }

    /// No stream waits for a busy object when none is busy any more and nothing is to be done.
    fn look_for_sleepers(&self) {
        let sleeps = |state: &&Connection| state.is_blocked && !state.is_polled && !state.is_busy;
        let Some(state) = self.connections.values().find(sleeps) else { return };
        if self.engine.objects().iter().any(|cell| cell.is_busy()) {
            return;
        }
        let session = state.attachment.client.id();
        let what = format!("session {session} has a request to start, and nobody wakes it");
        self.note_wrong(Some(what));
    }

    /// Whether everybody is gone, and all that was begun has come to its end.
    pub(crate) fn is_quiet(&self) -> bool {
        self.lines.is_empty() && self.engine.counts().sessions == 0
    }

    /// What is wrong once everybody who died is past their lease.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let clients = self.engine.clients();
        let alive: BTreeSet<SessionId> = clients.iter().map(|client| client.id()).collect();
        let mut wrong: Vec<String> =
            alive.iter().map(|id| format!("session {id} of a dead client goes on")).collect();
        for cell in self.engine.objects() {
            let info = cell.describe();
            let holders = info.holders.iter().map(|holding| (holding.session, &holding.what));
            let waiters = info.waiters.iter().map(|waiting| (waiting.session, &waiting.what));
            for (session, what) in holders.chain(waiters) {
                if !alive.contains(&session) {
                    wrong.push(format!("{:?}: {what} of session {session}", cell));
                }
            }
        }
        if alive.is_empty() {
            wrong.extend(objects::wrong_books(&self.engine));
            wrong.extend(objects::leaked(&self.engine));
        }
        wrong
    }
}
