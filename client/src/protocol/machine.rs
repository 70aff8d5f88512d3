//! The state machine of a session.

mod calls;
mod connection;
mod frames;
mod holdings;
mod loss;
mod timers;

use std::{task::Waker, time::Duration};

use bytes::Bytes;
use mp_manager_proto::v1::{Error as Refusal, Limits};

pub(crate) use self::{
    calls::{Answered, Begun, NewCall, Polled},
    connection::Connected,
    holdings::Noted,
    timers::Tick,
};
use super::{
    blocked::Blocked,
    effects::Effects,
    grants::Grants,
    lease::Lease,
    open_calls::OpenCalls,
    outbox::Outbox,
    reconnect::{Policy, Reconnect},
    request::Seq,
    slot::Open,
};

/// Everything that is known of a session, and what follows from it.
///
/// It has no lock, no clock, no I/O and no task: time is an argument, and what others have to do comes
/// out as [`Effects`]. Whoever drives it performs them, and does not lose any. `H` is its hold on an
/// object that a reply refers to.
///
/// ```text
///                    ┌─────── connected ◄───────┐
///   first connection │   (same session, resumed │
///   ─────────────────┤    or a fresh one)       │──► over: said goodbye, or no other is wanted
///                    └─► disconnected ──────────┘
/// ```
///
/// A request stays here until its reply has arrived, so that it can be sent again on the next
/// connection of the same session. What is pending when the *session* is lost is never sent again
/// by itself: its calls fail.
pub(crate) struct Machine<H> {
    policy: Policy,
    session: Established,
    /// The manager of the current session; every start of one has a number of its own.
    server: u64,
    /// There was a connection.
    is_acquainted: bool,
    /// Counts the sessions; what belongs to one is void in the next.
    incarnation: u64,
    /// Counts the connections; frames of earlier ones are not taken in any more.
    connection: u64,
    lease: Lease,
    reconnect: Reconnect,
    /// Why the connection is gone.
    gone: Refusal,
    /// When the manager was last heard.
    heard_at: Duration,
    /// A beat is due, whatever the time is: a call waits for a sign of life.
    beat_is_urgent: bool,
    /// The lease ran out here, so what was held is lost, and nothing is handed over until the
    /// manager is known to have heard of us again.
    lease_lost: bool,
    next_seq: Seq,
    calls: OpenCalls<H>,
    /// Counts the calls that the manager counts as open: not those whose reply is final and here.
    open: Open,
    blocked: Blocked,
    outbox: Outbox,
    /// The stream of frames, which waits for something to say.
    sender: Option<Waker>,
    goodbye: Goodbye,
    /// When it began to be said.
    goodbye_at: Option<Duration>,
    /// Why it is all over.
    over: Option<Refusal>,
    grants: Grants,
}

/// A session as the manager established it.
#[derive(Clone, Default)]
pub(crate) struct Established {
    id: u64,
    secret: Bytes,
    epoch: u64,
    limits: Limits,
    ephemeral: bool,
}

/// A session whose machine is about to end.
pub(crate) struct Abandoned {
    session: Established,
    /// The calls that the manager may still have open.
    cancelled: Vec<Seq>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goodbye {
    No,
    Due,
    Said,
}

impl<H> Machine<H> {
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            policy,
            session: Established::default(),
            server: 0,
            is_acquainted: false,
            incarnation: 0,
            connection: 0,
            lease: Lease::default(),
            reconnect: Reconnect::default(),
            gone: Refusal::default(),
            heard_at: Duration::ZERO,
            beat_is_urgent: false,
            lease_lost: false,
            next_seq: 1,
            calls: OpenCalls::default(),
            open: Open::default(),
            blocked: Blocked::default(),
            outbox: Outbox::default(),
            sender: None,
            goodbye: Goodbye::No,
            goodbye_at: None,
            over: None,
            grants: Grants::default(),
        }
    }

    /// The manager of the current session; another one after it has started again.
    pub(crate) fn server(&self) -> u64 {
        self.server
    }

    /// The longest value that the manager takes.
    pub(crate) fn max_value_bytes(&self) -> usize {
        self.session.limits.max_value_bytes as usize
    }

    /// Whether a request waits to be sent.
    pub(crate) fn has_unsent(&self) -> bool {
        self.outbox.has_requests()
    }

    /// How many calls have not ended.
    #[cfg(feature = "simulation")]
    pub(crate) fn open_calls(&self) -> usize {
        self.calls.len() + self.blocked.len()
    }

    /// Which session this is, of all that it has had.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Whether what is held is lost, as the manager was not heard for too long.
    #[cfg(any(feature = "process", feature = "simulation"))]
    pub(crate) fn has_lost_lease(&self) -> bool {
        self.lease_lost
    }

    fn wake_sender(&mut self, effects: &mut Effects<H>) {
        if let Some(waker) = self.sender.take() {
            effects.sender = Some(waker);
        }
    }

    fn unblock(&mut self, effects: &mut Effects<H>) {
        self.blocked.wake_all(&mut effects.callers);
    }
}
