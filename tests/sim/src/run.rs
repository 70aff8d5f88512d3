//! One simulation: processes, a manager that may start again, a network, and trouble.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    rc::Rc,
    task::{Poll, Waker},
    time::Duration,
};

use mp_manager::simulation::Attempt;
use mp_manager_core::{Error, Reason};

use crate::{
    Report,
    client::{Phase, Process},
    event::Event,
    invariants::Oracle,
    network::{ClientId, ConnectionId, Down, Network, Up},
    plan::{Plan, Trouble},
    server::Server,
    workloads::{self, Context, Staff, Times},
    world::{Micros, World},
};

/// More than ever happens in one second.
const MOST_EVENTS: u64 = 1_000_000;
const SECOND: Micros = 1_000_000;
/// When a simulation begins, in microseconds since 1970.
const UNIX_TIME: Micros = 1_000_000_000_000;
/// An attempt to connect takes no longer.
const LONGEST_ATTEMPT: Micros = 3_000_000;
/// How long calls may take to end when nobody runs their connection any more.
const ABANDONED: Micros = 5_000_000;

pub(crate) struct Run {
    world: Rc<World<Event>>,
    plan: Plan,
    server: Server,
    network: Network,
    processes: Vec<Process>,
    oracle: Rc<RefCell<Oracle>>,
    staff: Rc<Staff>,
    /// When nothing goes wrong any more.
    calm_from: Micros,
    /// Nobody reaches the manager until then.
    unreachable_until: Micros,
    /// These processes do not until then.
    isolated_until: BTreeMap<ClientId, Micros>,
    /// By how much the wall clock was set back, in all.
    set_back: Micros,
    /// Whose session was stolen, and the connection on which they have to hear of it.
    robbed: BTreeMap<ClientId, ConnectionId>,
}

/// Runs one seed.
pub(crate) fn run(seed: u64, verbose: bool) -> Report {
    let world = World::new(seed, verbose);
    let plan = Plan::draw(&world).with_pool(seed).with_hosts(seed);
    let server = Server::new(&world, &plan, 1, None, UNIX_TIME);
    let oracle = Rc::new(RefCell::new(Oracle::default()));
    oracle.borrow_mut().started(server.engine.epoch());
    let calm_from = plan.trouble_for;
    let (network, processes) = (Network::default(), Vec::new());
    let mut run = Run {
        world,
        plan,
        server,
        network,
        processes,
        oracle,
        staff: Rc::default(),
        calm_from,
        unreachable_until: 0,
        isolated_until: BTreeMap::new(),
        set_back: 0,
        robbed: BTreeMap::new(),
    };
    run.begin();
    run.go_on();
    run.report(seed)
}

impl Run {
    fn begin(&mut self) {
        for _ in 0..self.plan.processes {
            self.start_process();
        }
        self.flush_server();
        self.trouble_later();
    }

    fn start_process(&mut self) {
        let id = self.processes.len();
        let is_unix = self.world.one_in(4);
        let slowness = (self.slowness(), self.slowness());
        let mut process = Process::new(&self.world, is_unix, slowness, self.plan.reconnect_timeout);
        let settled_from = self.calm_from + self.plan.settled_after();
        let times = Times {
            calm_from: self.calm_from,
            settled_from,
            longest_pause: self.plan.longest_pause,
            lease: u64::try_from(self.plan.lease.as_micros()).unwrap_or(u64::MAX / 8),
        };
        if let Some(manager) = process.manager.clone() {
            let slack = 2 * (slowness.0 + slowness.1) + 300_000;
            let is_quick = self.plan.delay.1 <= 20_000 && self.plan.slowest <= 30_000;
            let counts = (&process.stops, &process.sessions, &process.exits, &self.staff);
            let wait = (slack, is_quick);
            let context = Context::new(&self.world, &self.oracle, manager, id, times, counts, wait);
            for task in workloads::tasks(&self.plan, &context) {
                process.spawn(task);
            }
        }
        self.processes.push(process);
        self.processes[id].is_connecting = true;
        self.world.after(self.world.between(0, 5_000), Event::Connect(id));
        self.poll_later(id);
    }

    fn slowness(&self) -> Micros {
        if self.world.one_in(2) { 50 } else { self.plan.slowest }
    }

    fn go_on(&mut self) {
        let end = self.calm_from + self.plan.end_after();
        let (mut second, mut events) = (0, 0_u64);
        while let Some(event) = self.world.next(end) {
            let now = self.world.now() / SECOND;
            events = if now == second { events + 1 } else { 1 };
            second = now;
            if events > MOST_EVENTS {
                self.oracle.borrow_mut().calls.go_round_in_circles();
            }
            self.happen(event);
            while let Some(id) = self.staff.next_condemned() {
                if self.processes[id].phase != Phase::Gone {
                    self.note(format_args!("process {id} is killed by its host, or with it"));
                    self.die(id);
                }
            }
            self.flush_server();
            let wrong = std::mem::take(&mut *self.server.wrong.borrow_mut());
            self.oracle.borrow_mut().objects.found(wrong);
            if self.oracle.borrow().has_failed() || self.is_finished() {
                return;
            }
        }
    }

    /// Everybody has come to an end, and the sessions of the dead are over.
    fn is_finished(&self) -> bool {
        self.world.now() >= self.calm_from
            && self.processes.iter().all(|process| process.phase == Phase::Gone)
            && self.server.is_quiet()
    }

    fn report(mut self, seed: u64) -> Report {
        let mut oracle = self.oracle.borrow_mut();
        if !oracle.has_failed() {
            for (id, process) in self.processes.iter().enumerate() {
                if process.phase != Phase::Gone {
                    let (unfinished, phase) = (process.unfinished(), process.phase);
                    oracle.calls.has_not_ended(id, unfinished, &format!("{phase:?}"));
                }
            }
            let wrong = self.server.leftovers();
            oracle.dead_sessions.left(wrong);
            oracle.finish();
        }
        let violations = oracle.violations();
        drop(oracle);
        self.processes.clear();
        let trace = self.world.trace.borrow();
        Report {
            seed,
            violations,
            hash: trace.hash(),
            events: trace.events(),
            time: Duration::from_micros(self.world.now()),
        }
    }

    fn note(&self, what: std::fmt::Arguments<'_>) {
        self.world.trace.borrow_mut().note(self.world.now(), what);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Up(connection, up) => self.arrive_up(connection, up),
            Event::Down(connection, down) => self.arrive_down(connection, down),
            Event::Server(start, later) => {
                if start == self.server.start {
                    if self.server.stopped_until > self.world.now() {
                        self.world.at(self.server.stopped_until, Event::Server(start, later));
                    } else {
                        self.server.happen(&self.world, later, self.plan.lease);
                    }
                }
            }
            Event::Poll(id) => self.poll(id),
            Event::Send(id) => self.send(id),
            Event::Tick(id, number) => self.tick(id, number),
            Event::Connect(id) => {
                self.processes[id].is_connecting = false;
                self.connect(id);
            }
            Event::Expire(id, at) => self.expire(id, at),
            Event::Abandoned(id) => self.abandoned(id),
            Event::Late(id, connection) => {
                if matches!(self.processes[id].phase, Phase::Greeting { connection: c, .. } if c == connection)
                {
                    self.attempt_fails(id, "no answer");
                    self.cut_by_client(connection);
                }
            }
            Event::Ring(alarm) => {
                alarm.ring();
                // Pools have many dead, whom nothing wakes; without one they are looked at, as they were when the
                // seeds got their meaning.
                let skips_gone = self.plan.has_pool();
                for id in 0..self.processes.len() {
                    let process = &self.processes[id];
                    if process.has_ready_tasks() && !(skips_gone && process.phase == Phase::Gone) {
                        self.poll_later(id);
                    }
                }
            }
            Event::Trouble => self.trouble(),
        }
    }

    /// Sends off what the server has to say, and notes what it wants to happen.
    fn flush_server(&mut self) {
        for (connection, down) in std::mem::take(&mut self.server.out) {
            self.send_down(connection, down);
        }
        for (delay, later) in std::mem::take(&mut self.server.later) {
            self.world.after(delay, Event::Server(self.server.start, later));
        }
    }

    fn delay(&self) -> Micros {
        self.world.between(self.plan.delay.0, self.plan.delay.1)
    }

    fn send_down(&mut self, connection: ConnectionId, down: Down) {
        if matches!(down, Down::End) {
            return self.cut_by_server(connection);
        }
        let (now, delay) = (self.world.now(), self.delay());
        if let Some(arrival) = self.network.send_down(connection, now, delay) {
            self.world.at(arrival, Event::Down(connection, down));
        }
    }

    fn send_up(&mut self, connection: ConnectionId, up: Up) {
        let (now, delay) = (self.world.now(), self.delay());
        if let Some(arrival) = self.network.send_up(connection, now, delay) {
            self.world.at(arrival, Event::Up(connection, up));
        }
    }

    /// The server says nothing more on it; the client gets what is under way, and then the end.
    fn cut_by_server(&mut self, connection: ConnectionId) {
        let (_, down) = self.network.close(connection, true, false);
        self.world.at(down + 1, Event::Down(connection, Down::End));
    }

    /// The client, or its death, ends the connection; the server hears of it after the rest.
    fn cut_by_client(&mut self, connection: ConnectionId) {
        let loses = self.world.one_in(2);
        let (up, _) = self.network.close(connection, loses, true);
        self.world.at(up + self.delay(), Event::Up(connection, Up::End));
    }
}

/// What arrives.
impl Run {
    fn arrive_up(&mut self, connection: ConnectionId, up: Up) {
        let Some(state) = self.network.get(connection) else { return };
        if state.server_start != self.server.start {
            return;
        }
        if self.server.stopped_until > self.world.now() {
            return self.world.at(self.server.stopped_until, Event::Up(connection, up));
        }
        let is_unix = state.is_unix;
        if matches!(up, Up::End) {
            // What came before the end is mostly read before the end is.
            if self.server.has_unread(connection) && !self.world.one_in(8) {
                return self.world.after(300, Event::Up(connection, Up::End));
            }
            self.note(format_args!("{connection} ends at the server"));
            self.server.ended(&self.world, connection, is_unix);
            return;
        }
        if !self.network.arrives_up(connection) {
            return;
        }
        match up {
            Up::Hello(resume) => {
                self.note(format_args!("{connection} says hello"));
                self.server.hello(&self.world, connection, resume, self.plan.lease);
            }
            Up::Frame(frame) => self.server.frame(&self.world, connection, frame),
            Up::Beat(beat) => self.server.beat(connection, beat),
            Up::End => {}
        }
    }

    fn arrive_down(&mut self, connection: ConnectionId, down: Down) {
        let Some(state) = self.network.get(connection) else { return };
        let id = state.client;
        let stopped_until = self.processes[id].stopped_until;
        if stopped_until > self.world.now() {
            return self.world.at(stopped_until, Event::Down(connection, down));
        }
        if self.processes[id].connection() != Some(connection) {
            return;
        }
        if matches!(down, Down::End) {
            if self.robbed.remove(&id) == Some(connection) && self.network.arrives_down(connection)
            {
                self.oracle.borrow_mut().calls.was_robbed_without_a_word(id);
            }
            return match self.processes[id].phase {
                Phase::Greeting { .. } => self.attempt_fails(id, "nobody listens"),
                _ => self.disconnected(id),
            };
        }
        if !self.network.arrives_down(connection) {
            return;
        }
        match (down, self.processes[id].phase) {
            (Down::Welcome(welcome, challenge), Phase::Greeting { asked, at, .. }) => {
                let process = &mut self.processes[id];
                process.proven_at = process.proven_at.max(at);
                process.frames_said.clear();
                process.beats_said.clear();
                let (resumed, number) = process.wire.connected(&welcome, &challenge, asked);
                process.phase = Phase::Connected { connection, number };
                process.has_lost_lease = false;
                process.sessions.set(process.sessions.get() + u64::from(!resumed));
                self.note(format_args!("process {id} is in ({resumed})"));
                self.tick_later(id, 0);
            }
            (Down::Refused, _) => {
                self.attempt_fails(id, "refused");
                self.cut_by_client(connection);
            }
            (Down::Frame(frame), Phase::Connected { number, .. }) => {
                self.processes[id].prove(|process| &mut process.frames_said, frame.echo);
                let farewell = self.processes[id].wire.receive(number, frame);
                if let Some(why) = farewell {
                    self.robbed.remove(&id);
                    self.note(format_args!("process {id} hears the end: {}", why.message));
                    if !matches!(why.reason(), Reason::SessionEnded | Reason::ShuttingDown) {
                        self.oracle.borrow_mut().calls.broke_the_protocol(id, &why.to_string());
                    }
                    self.processes[id].wire.farewell(why);
                    self.processes[id].phase = Phase::Away;
                    self.cut_by_client(connection);
                    self.connect_later(id, 0);
                }
            }
            (Down::Beat(beat), Phase::Connected { number, .. }) => {
                self.processes[id].prove(|process| &mut process.beats_said, beat.number);
                self.processes[id].prove(|process| &mut process.frames_said, beat.echo);
                self.processes[id].wire.beat_answered(number, &beat);
            }
            _ => {}
        }
        // The connection has a task of its own.
        self.send_later(id);
        self.poll_later(id);
    }
}

/// What processes do.
impl Run {
    fn poll_later(&mut self, id: ClientId) {
        let process = &mut self.processes[id];
        if !std::mem::replace(&mut process.is_polled, true) {
            self.world.after(self.world.between(0, process.slowness.0), Event::Poll(id));
        }
    }

    fn poll(&mut self, id: ClientId) {
        let now = self.world.now();
        let process = &mut self.processes[id];
        if process.stopped_until > now {
            return self.world.at(process.stopped_until, Event::Poll(id));
        }
        process.is_polled = false;
        if process.phase == Phase::Gone {
            return;
        }
        process.poll(&self.world);
        if process.exits.get() {
            return self.die(id);
        }
        self.send_later(id);
        self.connect_later(id, 0);
        self.expire_later(id);
    }

    fn send_later(&mut self, id: ClientId) {
        let process = &mut self.processes[id];
        if !std::mem::replace(&mut process.is_sending, true) {
            self.world.after(self.world.between(0, process.slowness.1), Event::Send(id));
        }
    }

    fn send(&mut self, id: ClientId) {
        let process = &mut self.processes[id];
        if process.stopped_until > self.world.now() {
            return self.world.at(process.stopped_until, Event::Send(id));
        }
        process.is_sending = false;
        if process.wire.is_leaving() && !matches!(process.phase, Phase::Connected { .. }) {
            // It leaves without a word.
            process.kill();
            return;
        }
        let Phase::Connected { connection, number } = process.phase else { return };
        if let Poll::Ready(Some(frame)) = process.wire.poll_frame(number, Waker::noop()) {
            self.note(format_args!("process {id} sends frame {}", frame.number));
            self.processes[id].frames_said.insert(frame.number, self.world.now());
            let is_last = frame.goodbye.is_some();
            self.send_up(connection, Up::Frame(frame));
            if is_last {
                self.note(format_args!("process {id} leaves"));
                self.processes[id].kill();
                // What it said is under way; the end comes after it.
                let (up, _) = self.network.close(connection, false, true);
                self.world.at(up + 1, Event::Up(connection, Up::End));
            } else {
                self.send_later(id);
            }
        }
        if self.processes[id].has_ready_tasks() {
            self.poll_later(id);
        }
    }

    fn tick_later(&mut self, id: ClientId, delay: Micros) {
        let process = &mut self.processes[id];
        process.ticks += 1;
        self.world.after(delay, Event::Tick(id, process.ticks));
    }

    fn tick(&mut self, id: ClientId, number: u64) {
        let process = &mut self.processes[id];
        if process.stopped_until > self.world.now() {
            return self.world.at(process.stopped_until, Event::Tick(id, number));
        }
        if process.ticks != number || process.phase == Phase::Gone {
            return;
        }
        let Phase::Connected { connection, .. } = process.phase else {
            process.wire.wait_disconnected();
            self.look_at_lease(id);
            self.poll_later(id);
            return self.tick_later(id, 100_000);
        };
        let (beat, is_stale, next) = process.wire.tick();
        let delay = next.saturating_sub(process.now()).as_micros();
        let is_unix = process.is_unix;
        self.look_at_lease(id);
        if is_stale {
            self.note(format_args!("process {id} hears nothing"));
            if is_unix {
                self.gives_up_for_silence(id);
            }
            return self.give_up(id, connection);
        }
        if let Some(beat) = beat {
            let now = self.world.now();
            self.processes[id].beats_said.insert(beat.number, now);
            self.send_up(connection, Up::Beat(beat));
        }
        self.poll_later(id);
        let delay = u64::try_from(delay).unwrap_or(u64::MAX).clamp(1_000, 10_000_000);
        self.tick_later(id, delay + self.world.between(0, 2_000));
    }

    fn give_up(&mut self, id: ClientId, connection: ConnectionId) {
        self.disconnected(id);
        self.cut_by_client(connection);
    }

    /// What a process holds is lost for silence: not before there was enough of it.
    fn look_at_lease(&mut self, id: ClientId) {
        let process = &mut self.processes[id];
        let has_lost = process.wire.has_lost_lease();
        if has_lost && !std::mem::replace(&mut process.has_lost_lease, has_lost) {
            self.gives_up_for_silence(id);
        }
        self.processes[id].has_lost_lease = has_lost;
    }

    fn gives_up_for_silence(&mut self, id: ClientId) {
        let unheard = self.world.now() - self.processes[id].proven_at;
        self.oracle.borrow_mut().silence.gives_up(id, unheard, self.plan.lease);
    }

    fn disconnected(&mut self, id: ClientId) {
        self.note(format_args!("process {id} is disconnected"));
        let process = &mut self.processes[id];
        if process.phase == Phase::Gone {
            return;
        }
        process.wire.disconnected(Error::new(Reason::SessionEnded, "the connection is gone"));
        self.is_away(id);
    }

    fn attempt_fails(&mut self, id: ClientId, why: &str) {
        self.note(format_args!("process {id} cannot connect: {why}"));
        let process = &mut self.processes[id];
        if process.phase == Phase::Gone {
            return;
        }
        // Any number from 0 to 1.
        let jitter = f64::from(u32::try_from(self.world.below(1001)).unwrap_or(0)) / 1000.0;
        process.wire.attempt_failed(why.into(), jitter);
        self.is_away(id);
    }

    fn is_away(&mut self, id: ClientId) {
        self.processes[id].phase = Phase::Away;
        self.tick_later(id, 100_000);
        self.connect_later(id, 0);
        self.poll_later(id);
    }

    /// Has a process without a connection look whether to connect.
    fn connect_later(&mut self, id: ClientId, delay: Micros) {
        let process = &mut self.processes[id];
        if process.phase == Phase::Away && !std::mem::replace(&mut process.is_connecting, true) {
            self.world.after(delay, Event::Connect(id));
        }
    }

    /// Has calls end that are due: as a thread would that sleeps until then.
    fn expire_later(&mut self, id: ClientId) {
        let process = &mut self.processes[id];
        let Some(due) = process.wire.next_due() else { return };
        if process.phase == Phase::Gone || process.expires_at.is_some_and(|at| at <= due) {
            return;
        }
        process.expires_at = Some(due);
        let left = due.saturating_sub(process.now()).as_micros();
        // Its clock may be a little slower than the simulation's.
        let left = u64::try_from(left).unwrap_or(u64::MAX / 4);
        self.world.after(left + left / 200 + 1, Event::Expire(id, due));
    }

    fn expire(&mut self, id: ClientId, at: Duration) {
        let process = &mut self.processes[id];
        if process.stopped_until > self.world.now() {
            return self.world.at(process.stopped_until, Event::Expire(id, at));
        }
        if process.expires_at != Some(at) || process.phase == Phase::Gone {
            return;
        }
        process.expires_at = None;
        let _ = process.wire.expire_due();
        self.expire_later(id);
        if let Phase::Connected { .. } = self.processes[id].phase {
            // A sign of life may be wanted.
            self.tick_later(id, 0);
        }
        self.send_later(id);
        self.poll_later(id);
    }

    fn connect(&mut self, id: ClientId) {
        let process = &mut self.processes[id];
        if process.stopped_until > self.world.now() {
            return self.world.at(process.stopped_until, Event::Connect(id));
        }
        if process.phase != Phase::Away {
            return;
        }
        if process.wire.is_leaving() {
            return process.kill();
        }
        match process.wire.next_attempt() {
            Attempt::Now => {}
            Attempt::At(at) => {
                let left = at.saturating_sub(process.now()).as_micros();
                let left = u64::try_from(left).unwrap_or(u64::MAX / 4);
                return self.connect_later(id, left + left / 200 + 1);
            }
            // Whoever wants it later has it look again.
            Attempt::WhenWanted => return,
            Attempt::Never => {
                let error = "it never connects again, and somebody wants it to";
                self.oracle.borrow_mut().calls.failed(id, "connect", error);
                return process.kill();
            }
        }
        let isolated_until = self.isolated_until.get(&id).copied().unwrap_or(0);
        let unreachable_until = self.unreachable_until.max(isolated_until);
        if !process.is_unix && unreachable_until > self.world.now() {
            return self.attempt_fails(id, "the manager cannot be reached");
        }
        let asked = process.now();
        let hello = Up::Hello(process.wire.resume());
        let connection = self.network.open(id, self.server.start, process.is_unix);
        process.phase = Phase::Greeting { connection, asked, at: self.world.now() };
        self.send_up(connection, hello);
        self.world.after(LONGEST_ATTEMPT, Event::Late(id, connection));
    }
}

/// What goes wrong.
impl Run {
    fn trouble_later(&mut self) {
        let pause = self.world.between(self.plan.trouble_every / 4, self.plan.trouble_every * 4);
        if self.world.now() + pause < self.calm_from {
            self.world.after(pause, Event::Trouble);
        }
    }

    fn trouble(&mut self) {
        match self.plan.draw_trouble(&self.world) {
            Trouble::Cut => self.cut_any(),
            Trouble::HalfOpen => self.silence_any(),
            Trouble::Stop => self.stop_any(),
            Trouble::Kill => self.kill_any(),
            Trouble::StopServer if self.server.stopped_until > self.world.now() => {}
            Trouble::StopServer => {
                let pause = self.world.between(10_000, 12_000_000);
                self.note(format_args!("the server stops for {pause}"));
                let until = (self.world.now() + pause).min(self.calm_from);
                self.server.stopped_until = until;
            }
            Trouble::Restart => self.restart(),
            Trouble::DropDriver => self.drop_any_driver(),
            Trouble::Outage => self.outage(),
            Trouble::Steal => self.steal_any(),
            Trouble::Isolate => self.isolate_any(),
        }
        self.trouble_later();
    }

    /// One that may break: a unix socket is as good as the kernel.
    fn any_connection(&self) -> Option<ConnectionId> {
        let may_break =
            |&id: &ConnectionId| self.network.get(id).is_some_and(|connection| !connection.is_unix);
        let open: Vec<_> = self.network.open_ones().into_iter().filter(may_break).collect();
        self.world.pick(&open).copied()
    }

    fn cut_any(&mut self) {
        let Some(connection) = self.any_connection() else { return };
        self.note(format_args!("{connection} is cut"));
        let (loses_up, loses_down) = (self.world.one_in(2), self.world.one_in(2));
        let (up, down) = self.network.close(connection, loses_up, loses_down);
        self.robbed.retain(|_, robbed| *robbed != connection);
        self.world.at(up + self.delay(), Event::Up(connection, Up::End));
        self.world.at(down + self.delay(), Event::Down(connection, Down::End));
    }

    /// Nothing arrives any more, and neither end is told.
    fn silence_any(&mut self) {
        let Some(connection) = self.any_connection() else { return };
        self.note(format_args!("{connection} falls silent"));
        let (loses_up, loses_down) = (self.world.one_in(2), self.world.one_in(2));
        self.network.close(connection, loses_up, loses_down);
        self.robbed.retain(|_, robbed| *robbed != connection);
    }

    fn any_process(&self) -> Option<ClientId> {
        let alive: Vec<_> = (0..self.processes.len())
            .filter(|&id| self.processes[id].phase != Phase::Gone)
            .collect();
        self.world.pick(&alive).copied()
    }

    fn stop_any(&mut self) {
        let Some(id) = self.any_process() else { return };
        if self.processes[id].stopped_until > self.world.now() {
            return;
        }
        let longest = u64::try_from(self.plan.lease.as_micros()).unwrap_or(u64::MAX) * 2;
        let pause = self.world.between(1_000, longest);
        self.note(format_args!("process {id} stops for {pause}"));
        let process = &mut self.processes[id];
        process.stopped_until = self.world.now() + pause;
        process.stops.set(process.stops.get() + 1);
    }

    /// The runtime that ran a connection is dropped: every call has to end, and its tasks find out.
    fn drop_any_driver(&mut self) {
        let Some(id) = self.any_process() else { return };
        if self.processes[id].phase == Phase::Abandoned {
            return;
        }
        self.note(format_args!("the connection's task of process {id} is dropped"));
        let connection = self.processes[id].connection();
        self.processes[id].wire.driver_dropped();
        if let Some(connection) = connection {
            self.cut_by_client(connection);
        }
        let process = &mut self.processes[id];
        process.phase = Phase::Abandoned;
        let until = self.world.now().max(process.stopped_until) + ABANDONED;
        self.world.at(until, Event::Abandoned(id));
        self.oracle.borrow_mut().wakeups.somebody_died();
        self.poll_later(id);
    }

    fn abandoned(&mut self, id: ClientId) {
        let process = &mut self.processes[id];
        if process.phase != Phase::Abandoned {
            return;
        }
        if process.stopped_until > self.world.now() {
            return self.world.at(process.stopped_until + ABANDONED, Event::Abandoned(id));
        }
        let open = process.wire.open_calls();
        process.kill();
        let mut oracle = self.oracle.borrow_mut();
        if open > 0 {
            oracle.silence.hangs(id, open);
        }
        oracle.wakeups.goes_on(id);
        oracle.wakeups.somebody_died();
        drop(oracle);
        self.start_process();
    }

    /// The network is gone, for all who need it and mostly for longer than they try to connect.
    fn outage(&mut self) {
        if self.unreachable_until > self.world.now() {
            return;
        }
        let pause =
            self.world.between(self.plan.reconnect_timeout, 3 * self.plan.reconnect_timeout);
        let until = (self.world.now() + pause).min(self.calm_from);
        self.note(format_args!("nobody reaches the manager until {until}"));
        self.unreachable_until = until;
        for connection in self.network.open_ones() {
            // A unix socket is as good as the kernel: its end would be a death.
            if self.network.get(connection).is_some_and(|connection| connection.is_unix) {
                continue;
            }
            let (up, down) = self.network.close(connection, self.world.one_in(2), true);
            self.robbed.retain(|_, robbed| *robbed != connection);
            self.world.at(up + self.delay(), Event::Up(connection, Up::End));
            self.world.at(down + self.delay(), Event::Down(connection, Down::End));
        }
    }

    /// A machine is cut off from the network: a host with its workers, or another process.
    fn isolate_any(&mut self) {
        let Some(id) = self.any_process() else { return };
        let machine = self.oracle.borrow().pools.machine(id);
        let lease = u64::try_from(self.plan.lease.as_micros()).unwrap_or(u64::MAX / 8);
        let until = self.world.now() + lease / 8 + self.world.below(lease * 3 / 2);
        let until = until.min(self.calm_from);
        for id in machine {
            let process = &self.processes[id];
            if process.is_unix {
                continue;
            }
            self.note(format_args!("process {id} is cut off until {until}"));
            if let Some(connection) = process.connection() {
                self.network.close(connection, true, true);
                self.robbed.retain(|_, robbed| *robbed != connection);
            }
            self.isolated_until.insert(id, until);
        }
    }

    /// Somebody else has the resume secret of a process' session, and takes it. Whatever they are told goes
    /// nowhere, as they are no process.
    fn steal_any(&mut self) {
        let Some(id) = self.any_process() else { return };
        let process = &self.processes[id];
        let Phase::Connected { connection, .. } = process.phase else { return };
        let Some(resume) = process.wire.resume() else { return };
        self.note(format_args!("the session of process {id} is stolen"));
        let is_open = self.network.open_ones().contains(&connection);
        if is_open {
            self.robbed.insert(id, connection);
        }
        self.oracle.borrow_mut().wakeups.somebody_died();
        let thief = self.network.open(id, self.server.start, false);
        self.send_up(thief, Up::Hello(Some(resume)));
    }

    fn kill_any(&mut self) {
        let Some(id) = self.any_process() else { return };
        self.note(format_args!("process {id} is killed"));
        self.die(id);
    }

    /// A process ends without a word, and another one takes its place.
    fn die(&mut self, id: ClientId) {
        let connection = self.processes[id].connection();
        self.processes[id].kill();
        let mut oracle = self.oracle.borrow_mut();
        oracle.wakeups.goes_on(id);
        oracle.wakeups.somebody_died();
        drop(oracle);
        if let Some(connection) = connection {
            if self.world.one_in(3) && !self.processes[id].is_unix {
                // Its machine has gone with it: nobody is told.
                self.network.close(connection, true, true);
            } else {
                self.cut_by_client(connection);
            }
        }
        self.start_process();
    }

    fn restart(&mut self) {
        let start = self.server.start + 1;
        self.note(format_args!("the server starts again, {start}"));
        self.robbed.clear();
        for connection in self.network.open_ones() {
            let loses = self.world.one_in(2);
            let (_, down) = self.network.close(connection, true, loses);
            self.world.at(down + self.delay(), Event::Down(connection, Down::End));
        }
        // Whoever writes nothing down relies on the clock.
        if self.plan.is_recorded && self.world.one_in(2) {
            self.set_back += self.world.below(UNIX_TIME / 2);
            self.note(format_args!("the wall clock is set back by {} in all", self.set_back));
        }
        let now_us = (UNIX_TIME + self.world.now()).saturating_sub(self.set_back);
        let recorded = self.server.recorded;
        self.server = Server::new(&self.world, &self.plan, start, recorded, now_us);
        self.oracle.borrow_mut().started(self.server.engine.epoch());
    }
}
