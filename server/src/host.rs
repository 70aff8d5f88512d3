//! The engine with what a server has around it, and the one loop that performs its steps.

use std::{sync::Arc, time::SystemTime};

use mp_manager_core::engine::{self, Client, ClientState, Config, Engine, Step, Totals, Work};
use tokio::sync::Notify;

use crate::{
    admission::Admission,
    authkeys::Authkeys,
    clock::ServerClock,
    decoding::Decoding,
    elsewhere::elsewhere,
    lanes::Lanes,
    options::{Limits, Options},
    reservation::Reservation,
    tally::ByReason,
};

/// Replies that weigh more than this together go into several frames. On the wire a frame is three
/// times as long at most, which gRPC libraries take by default (4 MiB).
const FRAME_BYTES: usize = 1 << 20;

/// Memory of a session with its connection when nothing is open: measured, as most of it belongs to HTTP/2.
const SESSION_BYTES: usize = 25 << 10;

/// What the connections of a server share.
pub(crate) struct Host {
    pub(crate) engine: Engine,
    pub(crate) clock: ServerClock,
    /// By the wall clock.
    pub(crate) started: SystemTime,
    pub(crate) admission: Arc<Admission>,
    pub(crate) refused_handshakes: ByReason,
    pub(crate) decoding: Decoding,
    lanes: Lanes,
    pub(crate) options: Options,
    pub(crate) authkeys: Arc<Authkeys>,
    pub(crate) reservation: Reservation,
    /// A call expires earlier than all those before.
    pub(crate) earlier_deadline: Notify,
    /// A client has asked for it.
    pub(crate) shutdown: Notify,
}

impl Host {
    pub(crate) fn new(
        options: Options,
        authkeys: Authkeys,
        server_id: u64,
        reserved: (Reservation, engine::Reservation),
        hash_seed: u64,
    ) -> Self {
        let limits = &options.limits;
        let config = Config {
            server_id,
            hash_seed,
            ephemeral: options.ephemeral,
            totals: Totals {
                max_objects: limits.max_objects,
                max_sessions: limits.max_sessions,
                max_memory_bytes: limits.max_memory_bytes,
                session_bytes: SESSION_BYTES,
                max_name_bytes: limits.max_name_bytes,
            },
            objects: limits.for_objects(),
            sessions: limits.for_sessions(),
            clients: limits.for_clients(),
            frame_bytes: FRAME_BYTES,
        };
        let (reservation, tokens) = reserved;
        let clock = ServerClock::new();
        Self {
            engine: Engine::new(config, Box::new(clock), tokens),
            clock,
            started: SystemTime::now(),
            admission: Admission::new(&options.limits),
            refused_handshakes: ByReason::default(),
            decoding: Decoding::new(&options.limits),
            lanes: Lanes::default(),
            options,
            authkeys: Arc::new(authkeys),
            reservation,
            earlier_deadline: Notify::new(),
            shutdown: Notify::new(),
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.options.limits
    }

    /// Performs the steps that are to be done. Heavy ones are done by a thread that may take its time.
    #[inline]
    pub(crate) fn perform(self: &Arc<Self>, work: &mut Work) {
        while let Some(step) = work.next_step() {
            if step.is_heavy() {
                self.perform_elsewhere(step);
            } else {
                self.perform_here(step, work);
            }
        }
        self.follow_orders(work);
    }

    /// Performs a heavy step, with all that follow from it, when it has its turn.
    fn perform_elsewhere(self: &Arc<Self>, step: Step) {
        let Some((session, step)) = self.lanes.enter(step) else { return };
        let host = Arc::clone(self);
        elsewhere(move || {
            let mut turn = Some((session, step));
            while let Some((session, step)) = turn {
                host.perform_all(Work::of(step));
                turn = host.lanes.next(session);
            }
        });
    }

    /// Performs a heavy step and all that it brings about, heavy ones included, on the current thread.
    fn perform_all(self: &Arc<Self>, mut work: Work) {
        while let Some(step) = work.next_step() {
            self.perform_here(step, &mut work);
        }
        self.follow_orders(&mut work);
        work.let_go();
        self.engine.drop_buried();
    }

    /// Drops what is not needed any more, where nobody waits if that takes long. Call it with no lock held.
    #[inline]
    pub(crate) fn let_go(self: &Arc<Self>, work: &mut Work) {
        let much = work.much_to_let_go();
        work.let_go();
        if much.is_some() || self.engine.has_buried() {
            let host = Arc::clone(self);
            elsewhere(move || {
                drop(much);
                host.engine.drop_buried();
            });
        }
    }

    /// Does something with a session's lock held, and what follows from it: here if nobody holds that, and
    /// where it may take its time otherwise.
    pub(crate) fn with_session(
        self: &Arc<Self>,
        client: &Arc<Client>,
        f: impl FnOnce(&Engine, &mut ClientState, &mut Work) + Send + 'static,
    ) {
        if let Some(mut state) = client.try_lock() {
            let mut work = Work::default();
            f(&self.engine, &mut state, &mut work);
            self.perform(&mut work);
            drop(state);
            return self.let_go(&mut work);
        }
        let (host, client) = (Arc::clone(self), Arc::clone(client));
        elsewhere(move || {
            let (mut state, mut work) = (client.lock(), Work::default());
            f(&host.engine, &mut state, &mut work);
            host.perform(&mut work);
            drop(state);
            host.let_go(&mut work);
        });
    }

    #[inline]
    fn perform_here(&self, step: Step, work: &mut Work) {
        if let Step::Forget(session) = step
            && let Some(client) = self.engine.client(session)
        {
            tracing::debug!(session, peer = %client.peer(), "session ended");
        }
        self.engine.perform(step, work);
    }

    #[inline]
    fn follow_orders(&self, work: &mut Work) {
        let orders = work.take_orders();
        if orders.deadline {
            self.earlier_deadline.notify_one();
        }
        if orders.tokens {
            self.reservation.is_low.notify_one();
        }
        if orders.shut_down {
            self.shutdown.notify_one();
        }
    }

    /// Ends all sessions, telling their clients why, and lets no new ones in. It takes long.
    pub(crate) fn shut_down(self: &Arc<Self>) {
        self.engine.shut_down();
        let mut work = Work::default();
        for client in self.engine.clients() {
            let mut state = client.lock();
            self.engine.end(&client, &mut state, Some(engine::shutting_down()), &mut work);
            self.perform(&mut work);
            drop(state);
            self.let_go(&mut work);
        }
    }
}
