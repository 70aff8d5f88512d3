//! Connections: made, broken, made again, and given up.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use mp_manager_proto::{
    reply::hands_over,
    v1::{Challenge, Error as Refusal, Reason, Resume, Welcome},
};

use super::{Abandoned, Established, Goodbye, Machine, loss::Cause};
use crate::protocol::{
    arrived::Counted,
    effects::Effects,
    reconnect::{Step, gave_up},
    slot::Slot,
};

/// A connection that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Connected {
    /// Whether the session of before goes on.
    pub(crate) resumed: bool,
    /// Its number.
    pub(crate) connection: u64,
}

impl<H: Counted> Machine<H> {
    /// How to ask for the session again, if there was one; and its resume secret.
    pub(crate) fn resume(&self) -> Option<(Resume, Bytes)> {
        let Established { id, ref secret, epoch, .. } = self.session;
        (id > 0).then(|| (Resume { session: id, epoch }, secret.clone()))
    }

    /// The session, if the manager may wait for it until its lease is over, and the calls that nobody waits for any
    /// more. A goodbye that was said is not known to have been sent before the manager has ended the session.
    pub(crate) fn abandoned(&self) -> Option<Abandoned> {
        let waits = self.over.is_none() && !self.policy.end_is_death && self.session.id > 0;
        let is_open = |slot: &Slot<H>| match slot {
            Slot::Waiting(waiting) => waiting.sent,
            Slot::Replied(arrived, _) => hands_over(&arrived.result),
            Slot::Failed(_) => false,
        };
        let open = self.calls.iter().filter(|(_, slot)| is_open(slot)).map(|(seq, _)| seq);
        waits.then(|| Abandoned {
            session: self.session.clone(),
            cancelled: self.outbox.cancelled().chain(open).collect(),
        })
    }

    /// Goes on with the session of another machine, and cancels its calls.
    pub(crate) fn take_over(&mut self, Abandoned { session, cancelled }: Abandoned) {
        self.session = session;
        cancelled.into_iter().for_each(|seq| _ = self.outbox.cancel(seq, true));
    }

    /// There is a connection, authenticated, with the session that was asked for at `asked`, or with a
    /// new one.
    pub(crate) fn connected(
        &mut self,
        welcome: &Welcome,
        challenge: &Challenge,
        asked: Duration,
        now: Duration,
        effects: &mut Effects<H>,
    ) -> Connected {
        let resumed = welcome.resumed && welcome.session == self.session.id;
        if !resumed {
            let is_same = challenge.epoch == self.session.epoch;
            let why = if is_same { Cause::Forgotten } else { Cause::Restart };
            self.lose_session(why, challenge.server_id, effects);
        }
        self.session = Established {
            id: welcome.session,
            secret: welcome.resume_secret.clone(),
            epoch: challenge.epoch,
            limits: welcome.limits.unwrap_or_default(),
            ephemeral: welcome.ephemeral,
        };
        self.server = challenge.server_id;
        self.lease.begin(Duration::from_millis(welcome.lease_ms), asked, now);
        self.reconnect.connected();
        self.heard_at = now;
        self.regain_lease(now, effects);
        self.is_acquainted = true;
        self.connection += 1;
        self.outbox.begin_connection();
        if self.is_leaving() {
            (self.goodbye, self.goodbye_at) = (Goodbye::Due, Some(now));
        }
        if resumed {
            self.prepare_resumption();
        }
        Connected { resumed, connection: self.connection }
    }

    /// Everything that waits is sent again, and the manager is told what that is.
    fn prepare_resumption(&mut self) {
        let mut open = Vec::new();
        let mut waiting = VecDeque::new();
        for (seq, slot) in self.calls.iter() {
            match slot {
                Slot::Waiting(_) => {
                    open.push(seq);
                    waiting.push_back(seq);
                }
                Slot::Replied(arrived, _) if hands_over(&arrived.result) => open.push(seq),
                Slot::Replied(..) | Slot::Failed(_) => {}
            }
        }
        self.outbox.resume(open, waiting);
    }

    /// The connection is gone; what is pending waits for the next one. Where the manager takes that
    /// for this process' death, it gives to others what was held, which has to be known before.
    pub(crate) fn disconnected(&mut self, why: Refusal, now: Duration, effects: &mut Effects<H>) {
        self.connection += 1;
        self.reconnect.disconnected(now, self.patience());
        if self.policy.end_is_death {
            let message = format!("the session was lost with its connection: {}", why.message);
            let hint = "a manager that has started again has named objects anew, and empty";
            let cause = Cause::Said(Refusal::new(Reason::SessionEnded, message).with_hint(hint));
            self.lose_session(cause, self.server, effects);
        }
        self.gone = why;
        // Its stream of frames ends.
        self.wake_sender(effects);
        if self.policy.reconnect_timeout.is_zero() {
            self.give_up(effects);
        }
    }

    /// The manager has ended the session; without another one it is all over.
    pub(crate) fn farewell(&mut self, why: Refusal, now: Duration, effects: &mut Effects<H>) {
        let is_stopping = self.session.ephemeral && why.reason() == Reason::ShuttingDown;
        if self.policy.reopen && !is_stopping {
            self.session_ended(why.clone(), effects);
            self.disconnected(why, now, effects);
        } else {
            self.end(why, effects);
        }
    }

    /// The manager has ended the session, and there may be another one.
    fn session_ended(&mut self, why: Refusal, effects: &mut Effects<H>) {
        self.lose_session(Cause::Said(why), self.server, effects);
    }

    /// The next step without a connection.
    pub(crate) fn step(&self, now: Duration) -> Step {
        if self.over.is_some() { Step::Over } else { self.reconnect.step(now) }
    }

    /// How long an attempt to connect may take.
    pub(crate) fn time_left(&self, now: Duration) -> Duration {
        // Who does not wait for the manager to come back connects to one that is there.
        if self.patience().is_zero() { Duration::MAX } else { self.reconnect.time_left(now) }
    }

    /// An attempt to connect came to nothing; another one may not. `jitter` is any number from 0 to 1.
    pub(crate) fn attempt_failed(
        &mut self,
        message: String,
        jitter: f64,
        now: Duration,
        effects: &mut Effects<H>,
    ) {
        self.gone.message = message;
        let gives_up = self.reconnect.failed(now, jitter);
        self.expire_unreachable(now, effects);
        if gives_up {
            self.give_up(effects);
        }
    }

    /// The manager does not let us in, as long as nothing changes there or here.
    pub(crate) fn attempt_refused(
        &mut self,
        why: Refusal,
        now: Duration,
        effects: &mut Effects<H>,
    ) {
        if !self.policy.reopen {
            return self.end(why, effects);
        }
        self.fail_all(&why, effects);
        self.reconnect.refused(now);
    }

    /// The time to connect again is over: calls fail, and later ones begin it anew.
    fn give_up(&mut self, effects: &mut Effects<H>) {
        let why = gave_up(&self.gone, self.patience());
        if !self.policy.reopen {
            let hint = "what the session held is released; connect again for a new one";
            return self.end(why.with_hint(hint), effects);
        }
        self.fail_all(&why, effects);
        self.reconnect.give_up();
    }

    /// Has a client that does not try to connect any more try again.
    pub(super) fn want_connection(&mut self, now: Duration, effects: &mut Effects<H>) {
        if self.reconnect.is_idle() {
            self.reconnect.wanted(now, self.patience());
            effects.wants_connection = true;
        }
    }

    /// How long to try to connect again. The socket of a manager inside a program is gone when the
    /// program is.
    fn patience(&self) -> Duration {
        let is_gone_for_good = self.session.ephemeral && self.policy.end_is_death;
        if is_gone_for_good { Duration::ZERO } else { self.policy.reconnect_timeout }
    }

    /// Says goodbye: nothing can be asked any more, and nothing is handed over. What is held is lost before the
    /// manager hears of that, and may give it to others.
    pub(crate) fn say_goodbye(&mut self, now: Duration, effects: &mut Effects<H>) {
        if self.goodbye == Goodbye::No {
            self.goodbye = Goodbye::Due;
            self.goodbye_at = Some(now);
            self.grants.lose_all(&mut effects.losses);
        }
        self.wake_sender(effects);
    }

    /// Whether nobody wants the session any more.
    pub(crate) fn is_leaving(&self) -> bool {
        self.goodbye != Goodbye::No
    }
}
