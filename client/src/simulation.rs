//! For simulators: a manager whose connection and time are made by hand.
//!
//! Everything but the connection is real: the session's state machine, calls, proxies, guards. The
//! feature `simulation` is not part of the public interface.

use std::{
    sync::{Arc, Weak},
    task::Waker,
    time::Duration,
};

use bytes::Bytes;
use mp_manager_proto::v1::{
    Beat, Challenge, ClientFrame, Error as Refusal, Resume, ServerFrame, Welcome,
};

use crate::{Manager, clock::Clock, link::Link, session::Shared};

/// The wire's end of a session.
pub struct Wire {
    shared: Arc<Shared>,
    link: Weak<Link>,
}

impl Wire {
    /// A manager that is not connected yet: its calls wait. `now` is its clock.
    #[must_use]
    pub fn new(now: impl Fn() -> Duration + Send + Sync + 'static) -> (Manager, Self) {
        let shared = Shared::new(Clock::new(now));
        let link = Link::new(Arc::clone(&shared), "simulated".into());
        let wire = Self { shared, link: Arc::downgrade(&link) };
        (Manager::with_link(link), wire)
    }

    /// What to ask for when connecting, and the secret that proves it.
    #[must_use]
    pub fn resume(&self) -> Option<(Resume, Bytes)> {
        self.shared.resume()
    }

    /// There is a connection; whether the session goes on, and the connection's number.
    pub fn connected(
        &self,
        welcome: &Welcome,
        challenge: &Challenge,
        asked: Duration,
    ) -> (bool, u64) {
        self.shared.connected(welcome, challenge, asked)
    }

    /// The connection is gone.
    pub fn disconnected(&self) {
        self.shared.disconnected();
    }

    /// The next frame: `Some(None)` if there is nothing to say now, `None` if there never will be.
    pub fn poll_frame(&self, connection: u64, waker: &Waker) -> Option<Option<ClientFrame>> {
        let frame = self.shared.poll_frame(connection, waker)?;
        Some(frame.map(|frame| frame.decoded()))
    }

    /// A frame has arrived; the manager's farewell, if it is one.
    pub fn receive(&self, connection: u64, frame: ServerFrame) -> Option<Refusal> {
        self.shared.receive(&self.link, connection, frame)
    }

    /// The answer to a beat has arrived.
    pub fn beat_answered(&self, connection: u64, beat: &Beat) {
        self.shared.beat_answered(connection, beat.number, beat.echo);
    }

    /// What the time has come for on a connection: a beat to be said, whether to give the connection
    /// up, and when to ask again.
    pub fn tick(&self) -> (Option<Beat>, bool, Duration) {
        let tick = self.shared.tick();
        let beat = tick.beat.map(|number| Beat { number, ..Beat::default() });
        (beat, tick.stale, tick.next)
    }

    /// What the time has come for without a connection.
    pub fn wait_disconnected(&self) {
        self.shared.wait_disconnected();
    }

    /// The manager said farewell, and there may be another session.
    pub fn session_ended(&self, why: Refusal) {
        self.shared.session_ended(why);
    }

    /// There will be no other connection.
    pub fn end(&self, why: Refusal) {
        self.shared.end(why);
    }

    /// Whether nobody wants the session any more.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.shared.is_leaving()
    }
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a wire")
    }
}
