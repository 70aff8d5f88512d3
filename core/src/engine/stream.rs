//! A connection's stream of frames, as it speaks for its session.

use std::{sync::Arc, task::Waker};

use mp_manager_proto::{
    operation,
    v1::{ClientFrame, SeqRange, ServerFrame},
};

use super::{
    Engine,
    client::{Attachment, Client, ClientState},
    step::{Step, Work},
};
use crate::{
    Error, Reason,
    call::{CallId, ObjectId, SessionId},
    cost::{self, times},
    session::Next,
};

/// The stream of a connection. Frames come in as long as it wants them, requests are started as long as
/// their replies have room, and it says what there is to say. Within a frame acks come first, then
/// cancels, then requests.
#[derive(Debug)]
pub struct Stream {
    attachment: Attachment,
    /// The number of the last frame that was taken in.
    echo: u64,
    /// Something is to be done before the next frame is read.
    has_next: bool,
    /// Nothing more comes from the client.
    is_cut: bool,
    /// It has said that the session was resumed on another connection.
    has_said_farewell: bool,
}

/// What a stream wants next.
#[derive(Debug, Clone, PartialEq)]
pub enum Want {
    /// To [start](Stream::start) a request.
    Start,
    /// The next frame, to [take in](Stream::take_in).
    Frame,
    /// To be [ended](Stream::end) with this error.
    End(Error),
    /// Nothing, until it is woken.
    Nothing,
}

/// What came of starting a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Started {
    /// One for this object was started or refused.
    One(ObjectId),
    /// None can be started now.
    Nothing,
    /// The next one needs an object that is busy; the stream is woken when it is not any more.
    Blocked,
    /// The session was ended for this.
    Ended(Error),
}

impl Stream {
    pub(super) fn new(attachment: Attachment) -> Self {
        Self { attachment, echo: 0, has_next: false, is_cut: false, has_said_farewell: false }
    }

    /// The session.
    #[must_use]
    pub fn client(&self) -> &Arc<Client> {
        &self.attachment.client
    }

    /// The connection's place in it.
    #[must_use]
    pub fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    /// From now on, `waker` is woken when there is something to say or to do. False if another stream
    /// speaks for the session now: there is only its [farewell](Self::farewell) to be said.
    pub fn register(&self, waker: &Waker) -> bool {
        self.attachment.client.register(self.attachment.generation, waker)
    }

    /// What to do next.
    #[must_use]
    pub fn want(&self, engine: &Engine) -> Want {
        if self.is_cut && !self.has_next {
            return Want::Nothing;
        }
        let load = self.client().load();
        if load.too_many_losses {
            return Want::End(too_many_losses());
        }
        // What it would have to say must have room: a small frame can ask for very much.
        if load.unsent_bytes >= self.attachment.frame_bytes || engine.is_shutting_down() {
            return Want::Nothing;
        }
        if self.has_next { Want::Start } else { Want::Frame }
    }

    /// Whether taking in a frame takes long, for all that it acknowledges and cancels: do it where nobody waits.
    #[must_use]
    #[inline]
    pub fn is_long(&self, engine: &Engine, frame: &ClientFrame) -> bool {
        let acknowledged = |range: &SeqRange| range.last.saturating_sub(range.first);
        let named = (frame.acks.iter().map(acknowledged).fold(0, u64::saturating_add))
            .saturating_add((frame.acks.len() + frame.cancels.len()) as u64);
        let named = match &frame.reconcile {
            None => usize::try_from(named).unwrap_or(usize::MAX),
            // What it does not name its client has.
            Some(_) => usize::MAX,
        };
        // There may be fewer; the outbox is not asked for what most frames name.
        engine.is_long(times(named, cost::ANSWER))
            && engine.is_long(times(named.min(self.client().load().open), cost::ANSWER))
    }

    /// Takes in a frame. What it breaks, if the session was ended for it.
    pub fn take_in(
        &mut self,
        engine: &Engine,
        state: &mut ClientState,
        frame: ClientFrame,
        work: &mut Work,
    ) -> Option<Error> {
        if engine.is_shutting_down() {
            return None;
        }
        let (number, now) = (frame.number, engine.lease_time());
        let limits = &engine.config().sessions;
        let taken = state.session.frame(self.attachment.generation, frame, now, limits);
        let (settled, result) = match taken {
            Ok(Some(settle)) => self.client().settle(settle),
            Ok(None) => {
                self.is_cut = true;
                return None;
            }
            Err(error) => return self.end(engine, state, error, work),
        };
        engine.settled(self.client(), settled, work);
        self.has_next = state.session.has_next();
        self.echo = number;
        result.err().and_then(|error| self.end(engine, state, error, work))
    }

    /// Starts a request, if its reply has room.
    #[inline]
    pub fn start(&mut self, engine: &Engine, state: &mut ClientState, work: &mut Work) -> Started {
        let load = self.client().load();
        // A shutdown ends one session after the other; whoever is told first may rely on it that the
        // others are not served any longer.
        if engine.is_shutting_down() || load.unsent_bytes >= self.attachment.frame_bytes {
            return Started::Nothing;
        }
        let client = &self.attachment.client;
        match state.session.next(self.attachment.generation, &load, &engine.config().sessions) {
            Ok(Next::Start(request)) => {
                let (object, number) = (request.object, operation::number(request.op.as_ref()));
                match engine.request(client, state, request, &load, work) {
                    None => {
                        // One that comes back is started again.
                        engine.counters.started(number);
                        Started::One(object)
                    }
                    Some(request) => {
                        state.session.put_back(request);
                        Started::Blocked
                    }
                }
            }
            Ok(Next::Refuse(seq, error)) => {
                work.then(Step::Reply(Arc::clone(client), seq, Err(error), None));
                Started::One(0)
            }
            Ok(Next::Read) => {
                self.has_next = false;
                Started::Nothing
            }
            Ok(Next::End) => {
                self.over(engine, state, None, work);
                Started::Nothing
            }
            Err(error) => {
                self.end(engine, state, error, work).map_or(Started::Nothing, Started::Ended)
            }
        }
    }

    /// Nothing more comes on it. That ends it, but the session only where it proves that its client has
    /// ended.
    pub fn closed(
        &mut self,
        engine: &Engine,
        state: &mut ClientState,
        proves_death: bool,
        work: &mut Work,
    ) {
        self.is_cut = true;
        if proves_death {
            self.over(engine, state, None, work);
        }
    }

    /// Ends the session for what its client did, unless it was resumed on another stream. The error, if it
    /// was.
    pub fn end(
        &mut self,
        engine: &Engine,
        state: &mut ClientState,
        why: Error,
        work: &mut Work,
    ) -> Option<Error> {
        self.over(engine, state, Some(why.clone()), work).then_some(why)
    }

    fn over(
        &mut self,
        engine: &Engine,
        state: &mut ClientState,
        why: Option<Error>,
        work: &mut Work,
    ) -> bool {
        self.is_cut = true;
        self.has_next = false;
        engine.end_attached(&self.attachment, state, why, work)
    }

    /// What there is to say, if anything.
    #[must_use]
    pub fn say(&self) -> Option<ServerFrame> {
        let Attachment { client, generation, frame_bytes } = &self.attachment;
        client.take_frame(*generation, self.echo, *frame_bytes)
    }

    /// Whether it has nothing more to say or to do, ever, but for its [farewell](Self::farewell).
    #[must_use]
    pub fn is_over(&self) -> bool {
        let Attachment { client, generation, .. } = &self.attachment;
        (self.is_cut && !self.has_next) || client.is_over(*generation)
    }

    /// The last frame of a stream that is over because the session was resumed on another connection, once.
    /// Whoever did not do that has to know, and must not resume the session back.
    pub fn farewell(&mut self) -> Option<ServerFrame> {
        let Attachment { client, generation, .. } = &self.attachment;
        let peer = client.resumed_by(*generation)?;
        if std::mem::replace(&mut self.has_said_farewell, true) {
            return None;
        }
        let ended = Some(resumed_elsewhere(client.id(), &peer));
        Some(ServerFrame { echo: self.echo, ended, ..ServerFrame::default() })
    }
}

impl Attachment {
    /// From now on, `waker` is woken when the session ends or is resumed elsewhere. False if it has
    /// been.
    pub fn register_beats(&self, waker: &Waker) -> bool {
        self.client.register_beats(self.generation, waker)
    }
}

impl Engine {
    /// Has the objects hear what became of earlier replies.
    fn settled(
        &self,
        client: &Client,
        settled: crate::outbox::Settled<super::client::Parked>,
        work: &mut Work,
    ) {
        let call = |seq| CallId { session: client.id(), seq };
        for (seq, parked) in settled.acknowledged {
            work.then(Step::Acknowledge(parked.cell, call(seq)));
        }
        for (seq, parked) in settled.cancelled {
            if let Some(deadline) = parked.deadline {
                self.deadlines.remove(deadline, call(seq));
            }
            work.then(Step::Cancel(parked.cell, call(seq)));
        }
        work.drop_all_later(settled.pins);
    }
}

/// What the older connection of a session is told.
fn resumed_elsewhere(session: SessionId, peer: &str) -> Error {
    let message = format!("session {session} was resumed on another connection, from {peer}");
    Error::new(Reason::SessionEnded, message).with_hint(
        "somebody else has its resume secret: a copy of this process, or whoever was given the secret; \
         begin a session of your own",
    )
}

fn too_many_losses() -> Error {
    Error::new(Reason::LimitExceeded, "more grants of the session were lost than it took note of")
        .with_hint("confirm the notices of lost grants")
}
