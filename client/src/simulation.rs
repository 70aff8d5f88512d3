//! For simulators: a manager whose connection and time are made by hand.
//!
//! Everything but the connection is real: the session's state machine, calls, proxies, guards. The
//! feature `simulation` is not part of the public interface.

use std::{
    sync::{Arc, Weak},
    task::{Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use mp_manager_proto::v1::{
    Beat, Challenge, ClientFrame, Error as Refusal, Resume, ServerFrame, Welcome,
};

pub use self::pool::{Host, Pool, Standing, Ticket};
use crate::{
    objects::Manager,
    protocol::{Connected, Policy, Step, driver_ended},
    session::{
        clock::Clock,
        link::{Link, Session},
        timer::Expire,
    },
};

mod pool;

/// When to try to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// Now.
    Now,
    /// At that time, by the process' own clock.
    At(Duration),
    /// When a call needs a connection.
    WhenWanted,
    /// Never again.
    Never,
}

/// The wire's end of a session.
pub struct Wire {
    session: Arc<Session>,
    link: Weak<Link>,
}

impl Wire {
    /// A manager that is not connected yet: its calls wait. `now` is its clock, `end_is_death` says
    /// that the server takes the end of a connection for the end of the process.
    #[must_use]
    pub fn new(
        now: impl Fn() -> Duration + Send + Sync + 'static,
        end_is_death: bool,
        reconnect_timeout: Duration,
    ) -> (Manager, Self) {
        let policy = Policy { reconnect_timeout, reopen: true, end_is_death };
        let session = Arc::new(Session::without_timer(Clock::new(now), policy));
        let link = Link::new(Arc::clone(&session), "simulated".into());
        let wire = Self { session, link: Arc::downgrade(&link) };
        (Manager::new(link), wire)
    }

    /// What to ask for when connecting, and the secret that proves it.
    #[must_use]
    pub fn resume(&self) -> Option<(Resume, Bytes)> {
        self.session.resume()
    }

    /// There is a connection; whether the session goes on, and the connection's number.
    pub fn connected(
        &self,
        welcome: &Welcome,
        challenge: &Challenge,
        asked: Duration,
    ) -> (bool, u64) {
        let Connected { resumed, connection } = self.session.connected(welcome, challenge, asked);
        (resumed, connection)
    }

    /// The connection is gone.
    pub fn disconnected(&self, why: Refusal) {
        self.session.disconnected(why);
    }

    /// The manager said farewell, and there may be another session.
    pub fn farewell(&self, why: Refusal) {
        self.session.farewell(why);
    }

    /// The next step without a connection.
    #[must_use]
    pub fn next_attempt(&self) -> Attempt {
        match self.session.next_step() {
            Step::Connect => Attempt::Now,
            Step::Rest(until) => Attempt::At(until),
            Step::Idle => Attempt::WhenWanted,
            Step::Over => Attempt::Never,
        }
    }

    /// An attempt to connect came to nothing. `jitter` is any number from 0 to 1.
    pub fn attempt_failed(&self, message: String, jitter: f64) {
        self.session.attempt_failed(message, jitter);
    }

    /// The task that runs the connection is dropped, as with its runtime.
    pub fn driver_dropped(&self) {
        self.session.end(driver_ended(false));
    }

    /// Ends calls whose timeouts have passed; when the next one is due.
    pub fn expire_due(&self) -> Option<Duration> {
        self.session.expire_due()
    }

    /// When the next call is due, if any.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        self.session.next_due()
    }

    /// The next frame, when there is something to say; `None` if there never will be.
    pub fn poll_frame(&self, connection: u64, waker: &Waker) -> Poll<Option<ClientFrame>> {
        let frame = self.session.poll_frame(connection, waker);
        frame.map(|frame| frame.map(|frame| frame.decoded()))
    }

    /// A frame has arrived; the manager's farewell, if it is one.
    pub fn receive(&self, connection: u64, frame: ServerFrame) -> Option<Refusal> {
        self.session.receive(connection, frame, Link::holding(&self.link))
    }

    /// The answer to a beat has arrived.
    pub fn beat_answered(&self, connection: u64, beat: &Beat) {
        self.session.beat_answered(connection, beat.number, beat.echo);
    }

    /// Runs the timers that are due on a connection: a beat to be said, whether to give the
    /// connection up, and when to ask again.
    pub fn tick(&self) -> (Option<Beat>, bool, Duration) {
        let tick = self.session.tick();
        let beat = tick.beat.map(|number| Beat { number, ..Beat::default() });
        (beat, tick.stale, tick.next)
    }

    /// Ends calls whose timeouts have passed while there is no connection.
    pub fn wait_disconnected(&self) {
        self.session.wait_disconnected();
    }

    /// How many calls have not ended.
    #[must_use]
    pub fn open_calls(&self) -> usize {
        self.session.open_calls()
    }

    /// Whether what is held is lost, as the manager was not heard for too long.
    #[must_use]
    pub fn has_lost_lease(&self) -> bool {
        self.session.has_lost_lease()
    }

    /// There will be no other connection.
    pub fn end(&self, why: Refusal) {
        self.session.end(why);
    }

    /// Whether nobody wants the session any more.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.session.is_leaving()
    }
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a wire")
    }
}
