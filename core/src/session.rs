//! A session as its lock guards it: which stream speaks for it, and what was read and not yet started.

use std::{sync::Arc, time::Duration};

use mp_manager_proto::{
    encoded_len,
    operation::Waits,
    v1::{ClientFrame, Error, Reason, Reconcile, Request, SeqRange},
};

use crate::{
    call::{Seq, SessionId},
    pending::Pending,
    pulse::Pulse,
};

pub use crate::pulse::Generation;

/// One client's session, which outlives its streams: each new stream has the next generation, and
/// whatever older ones still bring is not listened to.
///
/// ```text
///   stream 1 ──resumed──► stream 2 ──resumed──► …        the current one's frames are taken in
///      └────────────────────┴── goodbye, a broken rule, the lease's end ──► ended
/// ```
///
/// Within a stream, what a frame says of earlier replies is [settled](Settle) when it is read. Its
/// requests queue up, and are started when there is room for their replies.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    lease: Duration,
    /// When it was heard from, and whether it has ended: that is noted without the session's lock, too.
    pulse: Arc<Pulse>,
    generation: Generation,
    stream: Stream,
    /// The highest seq that was started: those up to it are never started again.
    high: Seq,
}

/// What is known of the current stream.
#[derive(Debug, Default)]
struct Stream {
    /// The last seq that was read.
    seq: Seq,
    pending: Pending,
    goodbye: bool,
}

/// How far a session may go. Beyond it requests are refused; beyond twice the open requests the
/// session ends.
///
/// Calls that wait take up at most nine tenths of the open requests. The rest is for calls that do
/// not wait: among them is what those that wait are waiting for.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Requests in one frame.
    pub max_requests_per_frame: usize,
    /// Requests that are not acknowledged.
    pub max_open_requests: usize,
    /// Calls that wait inside objects; no more than nine tenths of the open requests in any case.
    pub max_parked_calls: usize,
    /// What replies weigh that are not acknowledged. While they weigh more, nothing is started.
    pub max_unacknowledged_bytes: usize,
    /// What requests weigh that were read and cannot be started.
    pub max_pending_bytes: usize,
}

/// How much of a session is undecided, which its limits are about.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Requests that are not acknowledged.
    pub open: usize,
    /// Those of them that wait inside objects.
    pub parked: usize,
    /// Those of them whose reply hands something over.
    pub handed_over: usize,
    /// What its replies weigh that are still to be sent, about.
    pub unsent_bytes: usize,
    /// What its replies weigh that are not acknowledged, about.
    pub unacknowledged_bytes: usize,
    /// More grants were lost than its client takes note of.
    pub too_many_losses: bool,
}

/// What a frame says of earlier requests, to be settled with the outbox in this order.
#[derive(Debug, Default, PartialEq)]
pub struct Settle {
    /// How many notices of loss were taken in, in all.
    pub losses: u64,
    /// What the client knows, in the first frame of a resumed session.
    pub reconcile: Option<Reconcile>,
    /// Replies that reached their caller.
    pub acks: Vec<SeqRange>,
    /// Calls that were started and whose caller has gone.
    pub cancels: Vec<Seq>,
    /// Requests that were started before and came again: each has to be open.
    pub again: Vec<Seq>,
}

/// What to do next.
#[derive(Debug)]
pub enum Next {
    /// Start this request.
    Start(Request),
    /// Refuse this request.
    Refuse(Seq, Error),
    /// Read on: nothing can be started before the next frame has come.
    Read,
    /// The client said goodbye, and there is nothing left to do for it.
    End,
}

/// How a call may be executed, as its session's [limits](Limits::admit) have it.
#[derive(Debug)]
pub enum Admission {
    /// It may wait, if its operation does.
    MayWait,
    /// It is refused with this error unless the object can answer it at once.
    AtOnce(Error),
}

impl Session {
    /// The generation of a session's first stream.
    pub const FIRST: Generation = 1;

    /// A session that has just begun.
    #[must_use]
    pub fn new(id: SessionId, lease: Duration, now: Duration) -> Self {
        Self {
            id,
            lease,
            pulse: Arc::new(Pulse::new(Self::FIRST, now)),
            generation: Self::FIRST,
            stream: Stream::default(),
            high: 0,
        }
    }

    /// Which session it is.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// How long it may be silent.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// Its signs of life.
    pub(crate) fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    /// Whether it lives, and the stream of this generation speaks for it.
    #[must_use]
    pub fn is_current(&self, generation: Generation) -> bool {
        self.pulse.is_current(generation)
    }

    /// Resumes it with a new stream, whose generation comes back; the outbox has to hear of it
    /// under the same lock. What was read on the older one and not started is forgotten: it comes
    /// again. `None` if the session has ended.
    pub fn attach(&mut self, now: Duration) -> Option<Generation> {
        if self.has_ended() {
            return None;
        }
        self.generation += 1;
        self.pulse.attach(self.generation, now);
        self.stream = Stream::default();
        Some(self.generation)
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.pulse.has_ended()
    }

    /// Ends it; false if it had ended. The outbox and the objects it has touched have to hear of it.
    pub fn end(&mut self) -> bool {
        self.stream = Stream::default();
        self.pulse.end()
    }

    /// Ends it, unless it was heard from since `last`. As with [`end`](Self::end), the outbox and the objects have
    /// to hear of it if it ends. False if it does not.
    pub fn end_if_silent_since(&mut self, last: Duration) -> bool {
        let ends = self.pulse.end_if_silent_since(last);
        if ends {
            self.stream = Stream::default();
        }
        ends
    }

    /// Takes in a frame: its requests wait to be [started](Self::next), and what it says beside
    /// them comes back to be settled now. `None` if nobody listens to this stream any more.
    ///
    /// # Errors
    /// If it breaks the protocol: nothing of it counts, and the session has to end.
    pub fn frame(
        &mut self,
        generation: Generation,
        mut frame: ClientFrame,
        now: Duration,
        limits: &Limits,
    ) -> Result<Option<Settle>, Error> {
        if !self.pulse.heard(generation, now) || self.stream.goodbye {
            return Ok(None);
        }
        self.check(&frame, limits)?;
        // What queues up is weighed as a whole: its requests keep all of its bytes in memory.
        let bytes = (!self.stream.pending.is_empty()).then(|| encoded_len(&frame));
        let (high, stream) = (self.high, &mut self.stream);
        frame.cancels.retain(|&seq| {
            let was_started = seq <= high;
            if !was_started {
                stream.pending.cancel(seq);
            }
            was_started
        });
        self.pulse.took_in(frame.number);
        stream.seq = frame.requests.last().map_or(stream.seq, |request| request.seq);
        stream.goodbye = frame.goodbye.is_some();
        let known = frame.requests.partition_point(|request| request.seq <= high);
        let again = frame.requests.drain(..known).map(|request| request.seq).collect();
        stream.pending.push(frame.requests, bytes);
        let ClientFrame { losses, reconcile, acks, cancels, .. } = frame;
        Ok(Some(Settle { losses, reconcile, acks, cancels, again }))
    }

    fn check(&self, frame: &ClientFrame, limits: &Limits) -> Result<(), Error> {
        let (got, expected) = (frame.number, self.pulse.last_frame() + 1);
        if got != expected {
            return Err(protocol(format!("frame {got} came where {expected} was expected")));
        }
        let is_resumed = self.generation > Self::FIRST;
        match (&frame.reconcile, is_resumed && expected == 1) {
            (None, true) => {
                return Err(protocol("the first frame of a resumed session has to reconcile"));
            }
            (Some(_), false) if is_resumed => {
                return Err(protocol("only the first frame of a resumed session reconciles"));
            }
            (Some(_), false) => {
                return Err(protocol("a session that was not resumed has nothing to reconcile"));
            }
            (None, false) | (Some(_), true) => {}
        }
        let (n, max) = (frame.requests.len(), limits.max_requests_per_frame);
        if n > max {
            return Err(protocol(format!("a frame has {n} requests; the limit is {max}"))
                .with_hint("the server's --max-requests-per-frame raises the limit"));
        }
        let mut last = self.stream.seq;
        for &Request { seq, .. } in &frame.requests {
            if seq <= last {
                return Err(protocol(format!("request {seq} came after request {last}")));
            }
            last = seq;
        }
        Ok(())
    }

    /// Whether something is to be done before the next frame is read.
    #[must_use]
    pub fn has_next(&self) -> bool {
        !self.stream.pending.is_empty() || self.stream.goodbye
    }

    /// What to do next for the stream of this generation. A request that is to be started counts
    /// as started: its caller keeps the session's lock until the outbox has it as parked or replied.
    ///
    /// # Errors
    /// If the session has to end.
    #[inline]
    pub fn next(
        &mut self,
        generation: Generation,
        load: &Load,
        limits: &Limits,
    ) -> Result<Next, Error> {
        if !self.is_current(generation) {
            return Ok(Next::Read);
        }
        let stream = &mut self.stream;
        let is_full = load.unacknowledged_bytes >= limits.max_unacknowledged_bytes;
        let queues_too_long = stream.pending.len() > limits.max_open_requests
            || stream.pending.bytes() > limits.max_pending_bytes;
        // Who has said goodbye acknowledges nothing more that would make room.
        let nothing = if stream.goodbye { Next::End } else { Next::Read };
        if is_full && !queues_too_long {
            return Ok(nothing);
        }
        let Some(request) = stream.pending.pop() else { return Ok(nothing) };
        limits.check_total(load)?;
        self.high = request.seq;
        Ok(if is_full {
            Next::Refuse(request.seq, limits.too_much_unacknowledged(load))
        } else {
            Next::Start(request)
        })
    }

    /// Puts a request back that [`next`](Self::next) gave to be started, and that could not be: it is the
    /// next one again. The session's lock was held since.
    pub fn put_back(&mut self, request: Request) {
        self.high = request.seq - 1;
        self.stream.pending.put_back(request);
    }
}

impl Limits {
    /// Whether one more request may be open, and wait. A call that waits only if it must is admitted
    /// without room to wait, to be [answered at once](Admission::AtOnce).
    ///
    /// # Errors
    /// If it must not even be tried.
    pub fn admit(&self, load: &Load, waits: Waits) -> Result<Admission, Error> {
        if load.open >= self.max_open_requests {
            return Err(self.too_many_open(load));
        }
        match (waits, self.room_to_wait(load)) {
            (Waits::Never, _) | (_, Ok(())) => Ok(Admission::MayWait),
            (Waits::UntilItsTimeout, Err(error)) => Ok(Admission::AtOnce(error)),
            (Waits::BeyondItsTimeout, Err(error)) => Err(error),
        }
    }

    /// Replies that hand something over count as well: their callers may take their time to look,
    /// and until then the calls are open.
    fn room_to_wait(&self, load: &Load) -> Result<(), Error> {
        let Load { parked, handed_over, .. } = *load;
        let for_waiting = self.max_open_requests - self.max_open_requests.div_ceil(10);
        let (message, option) = if parked >= self.max_parked_calls {
            (
                format!("the session has {parked} calls that wait, as many as it may"),
                "--max-parked-calls",
            )
        } else if parked + handed_over >= for_waiting {
            let message = format!(
                "the session has {parked} calls that wait and {handed_over} whose result nobody has \
                 taken yet, together nine tenths of the {} requests that it may have open",
                self.max_open_requests
            );
            (message, "--max-open-requests")
        } else {
            return Ok(());
        };
        Err(Error::new(Reason::LimitExceeded, message).with_hint(format!(
            "wait in fewer calls at a time, or over more connections; the server's {option} raises \
             the limit"
        )))
    }

    fn too_many_open(&self, load: &Load) -> Error {
        let Load { open, parked, .. } = load;
        let message = format!("the session has {open} open requests, {parked} of them waiting");
        Error::new(Reason::LimitExceeded, message)
            .with_hint("acknowledge replies; the server's --max-open-requests is the limit")
    }

    /// Refusals are replies as well, and kept until they are acknowledged.
    fn check_total(&self, load: &Load) -> Result<(), Error> {
        let (open, max) = (load.open, self.max_open_requests.saturating_mul(2));
        if open < max {
            return Ok(());
        }
        let message = format!(
            "the session has {open} requests that are not acknowledged, twice what is allowed"
        );
        Err(Error::new(Reason::LimitExceeded, message)
            .with_hint("acknowledge replies; the server's --max-open-requests is the limit"))
    }

    fn too_much_unacknowledged(&self, load: &Load) -> Error {
        let (bytes, max) = (load.unacknowledged_bytes, self.max_unacknowledged_bytes);
        let message = format!("replies of {bytes} bytes are not acknowledged; the limit is {max}");
        Error::new(Reason::LimitExceeded, message).with_hint(
            "take the replies of earlier calls; the server's --max-unacknowledged-bytes raises \
             the limit",
        )
    }
}

/// What is said to those who break the protocol.
pub(crate) fn protocol(message: impl Into<String>) -> Error {
    Error::new(Reason::Protocol, message)
}

#[cfg(test)]
mod tests {
    use mp_manager_proto::v1::Empty;

    use super::*;

    const LEASE: Duration = Duration::from_secs(1);

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn limits() -> Limits {
        Limits {
            max_requests_per_frame: 4,
            max_open_requests: 4,
            max_parked_calls: 4,
            max_unacknowledged_bytes: 100,
            max_pending_bytes: 1000,
        }
    }

    fn load(open: usize, unacknowledged_bytes: usize) -> Load {
        Load {
            open,
            parked: 0,
            handed_over: 0,
            unsent_bytes: 0,
            unacknowledged_bytes,
            too_many_losses: false,
        }
    }

    fn session() -> Session {
        Session::new(7, LEASE, ms(0))
    }

    /// When it ends if nothing more is heard.
    fn lease_end(session: &Session) -> Option<Duration> {
        Some(session.pulse().last_heard()? + session.lease())
    }

    fn frame(number: u64, seqs: &[Seq]) -> ClientFrame {
        let requests =
            seqs.iter().map(|&seq| Request { seq, ..Request::default() }).collect::<Vec<_>>();
        ClientFrame { number, requests, ..ClientFrame::default() }
    }

    fn reconcile(seqs: &[Seq]) -> ClientFrame {
        ClientFrame { reconcile: Some(Reconcile::default()), ..frame(1, seqs) }
    }

    fn take(session: &mut Session, generation: Generation, frame: ClientFrame) -> Settle {
        let settle = session.frame(generation, frame, ms(0), &limits()).expect("it is in order");
        settle.expect("the stream is current")
    }

    fn refusal(session: &mut Session, generation: Generation, frame: ClientFrame) -> Error {
        session.frame(generation, frame, ms(0), &limits()).expect_err("it breaks the protocol")
    }

    /// What is started with this load, until nothing more is.
    fn started(session: &mut Session, generation: Generation, load: &Load) -> Vec<Seq> {
        let mut started = Vec::new();
        while let Next::Start(request) = session.next(generation, load, &limits()).unwrap() {
            started.push(request.seq);
        }
        started
    }

    #[test]
    fn requests_start_in_their_order() {
        let mut session = session();
        take(&mut session, 1, frame(1, &[1, 2]));
        take(&mut session, 1, frame(2, &[5]));
        assert_eq!(started(&mut session, 1, &load(0, 0)), [1, 2, 5]);
        assert!(!session.has_next());
    }

    #[test]
    fn frames_and_requests_are_numbered() {
        for (broken, message) in [
            (frame(2, &[]), "frame 2 came where 1 was expected"),
            (frame(1, &[0]), "request 0 came after request 0"),
            (frame(1, &[3, 3]), "request 3 came after request 3"),
            (frame(1, &[1, 2, 3, 4, 5]), "the limit is 4"),
            (reconcile(&[]), "has nothing to reconcile"),
        ] {
            let refusal = refusal(&mut session(), 1, broken);
            assert!(refusal.message.contains(message), "{refusal}");
        }
        let mut session = session();
        take(&mut session, 1, frame(1, &[4]));
        let refusal = refusal(&mut session, 1, frame(2, &[4]));
        assert!(refusal.message.contains("request 4 came after request 4"), "{refusal}");
    }

    #[test]
    fn what_an_older_stream_brings_is_discarded() {
        let mut session = session();
        take(&mut session, 1, frame(1, &[1, 2]));
        let Ok(Next::Start(_)) = session.next(1, &load(0, 0), &limits()) else { panic!() };
        let second = session.attach(ms(500)).unwrap();
        // Neither what was read and not started, nor what comes, nor the sign of life in it.
        assert_eq!(started(&mut session, 1, &load(0, 0)), []);
        assert_eq!(session.frame(1, frame(2, &[3]), ms(900), &limits()), Ok(None));
        assert!(!session.pulse().heard(1, ms(900)));
        assert_eq!(lease_end(&session), Some(ms(500) + LEASE));
        take(&mut session, second, reconcile(&[]));
        assert_eq!(started(&mut session, second, &load(0, 0)), []);
    }

    #[test]
    fn a_resumed_session_reconciles_first_and_once() {
        let mut session = session();
        let second = session.attach(ms(0)).unwrap();
        let missing = refusal(&mut session, second, frame(1, &[1]));
        assert!(missing.message.contains("has to reconcile"), "{missing}");
        take(&mut session, second, reconcile(&[1]));
        let again = refusal(&mut session, second, ClientFrame { number: 2, ..reconcile(&[]) });
        assert!(again.message.contains("only the first frame"), "{again}");
    }

    /// Whether they are open is the outbox's to say.
    #[test]
    fn what_was_started_is_not_started_again() {
        let mut session = session();
        take(&mut session, 1, frame(1, &[1, 2, 5, 7]));
        let Ok(Next::Start(_)) = session.next(1, &load(0, 0), &limits()) else { panic!() };
        let Ok(Next::Start(_)) = session.next(1, &load(0, 0), &limits()) else { panic!() };
        let second = session.attach(ms(0)).unwrap();
        let settle = take(&mut session, second, reconcile(&[1, 2]));
        assert_eq!(settle.again, [1, 2]);
        let settle = take(&mut session, second, frame(2, &[5, 7]));
        assert_eq!(settle.again, []);
        assert_eq!(started(&mut session, second, &load(0, 0)), [5, 7]);
        let third = session.attach(ms(0)).unwrap();
        assert_eq!(take(&mut session, third, reconcile(&[2, 7, 8])).again, [2, 7]);
        assert_eq!(started(&mut session, third, &load(0, 0)), [8]);
    }

    #[test]
    fn what_is_cancelled_while_it_is_pending_is_never_started() {
        let mut session = session();
        take(&mut session, 1, frame(1, &[1]));
        assert_eq!(started(&mut session, 1, &load(0, 0)), [1]);
        take(&mut session, 1, frame(2, &[2, 3, 4]));
        let cancels = vec![1, 3, 9];
        let settle = take(&mut session, 1, ClientFrame { cancels, ..frame(3, &[9]) });
        assert_eq!(settle.cancels, [1]);
        // A cancel that came before its request is in vain.
        assert_eq!(started(&mut session, 1, &load(0, 0)), [2, 4, 9]);
    }

    #[test]
    fn nothing_starts_while_too_much_is_unacknowledged() {
        let mut session = session();
        take(&mut session, 1, frame(1, &[1, 2]));
        assert_eq!(started(&mut session, 1, &load(0, 100)), []);
        take(&mut session, 1, frame(2, &[3]));
        assert_eq!(started(&mut session, 1, &load(0, 99)), [1, 2, 3]);
    }

    #[test]
    fn the_oldest_are_refused_when_too_many_are_pending() {
        let mut session = session();
        take(&mut session, 1, frame(1, &[1, 2, 3]));
        take(&mut session, 1, frame(2, &[4, 5, 6]));
        let full = load(0, 100);
        for refused in [1, 2] {
            let next = session.next(1, &full, &limits()).unwrap();
            let Next::Refuse(seq, refusal) = next else { panic!("{next:?}") };
            assert_eq!((seq, refusal.reason()), (refused, Reason::LimitExceeded));
        }
        assert!(matches!(session.next(1, &full, &limits()), Ok(Next::Read)));
        assert_eq!(started(&mut session, 1, &load(0, 0)), [3, 4, 5, 6]);
    }

    #[test]
    fn the_oldest_are_refused_when_too_much_is_pending() {
        let mut session = session();
        take(&mut session, 1, frame(1, &[1]));
        let acks = vec![SeqRange { first: 1 << 40, last: 1 << 40 }; 100];
        take(&mut session, 1, ClientFrame { acks, ..frame(2, &[2]) });
        let full = load(0, 100);
        assert!(matches!(session.next(1, &full, &limits()), Ok(Next::Refuse(1, _))));
        // Its frame is as long as before.
        assert!(matches!(session.next(1, &full, &limits()), Ok(Next::Refuse(2, _))));
        assert!(matches!(session.next(1, &full, &limits()), Ok(Next::Read)));
    }

    #[test]
    fn who_acknowledges_nothing_comes_to_an_end() {
        let mut session = session();
        take(&mut session, 1, frame(1, &[1]));
        assert!(limits().admit(&load(3, 0), Waits::Never).is_ok());
        let refusal = limits().admit(&load(4, 0), Waits::Never).unwrap_err();
        assert_eq!(refusal.reason(), Reason::LimitExceeded);
        let error = session.next(1, &load(8, 0), &limits()).unwrap_err();
        assert_eq!(error.reason(), Reason::LimitExceeded);
    }

    /// The option that an error names as the limit.
    fn option(refusal: &Error) -> &str {
        assert_eq!(refusal.reason(), Reason::LimitExceeded);
        refusal.hint.split_whitespace().find(|word| word.starts_with("--")).unwrap()
    }

    #[test]
    fn calls_that_wait_leave_room_for_those_that_do_not() {
        let limits = Limits { max_open_requests: 100, max_parked_calls: 100, ..limits() };
        let load =
            |parked, handed_over| Load { parked, handed_over, ..load(parked + handed_over, 0) };
        for waits in [Waits::UntilItsTimeout, Waits::BeyondItsTimeout] {
            let admitted = limits.admit(&load(80, 9), waits);
            assert!(matches!(admitted, Ok(Admission::MayWait)), "{admitted:?}");
        }
        for load in [load(90, 0), load(80, 10), load(0, 90), load(99, 0)] {
            let admitted = limits.admit(&load, Waits::Never);
            assert!(matches!(admitted, Ok(Admission::MayWait)), "{admitted:?}");
            let Ok(Admission::AtOnce(error)) = limits.admit(&load, Waits::UntilItsTimeout) else {
                panic!()
            };
            assert_eq!(option(&error), "--max-open-requests");
            let error = limits.admit(&load, Waits::BeyondItsTimeout).unwrap_err();
            assert_eq!(option(&error), "--max-open-requests");
        }
        assert_eq!(
            option(&limits.admit(&load(90, 10), Waits::Never).unwrap_err()),
            "--max-open-requests"
        );
    }

    #[test]
    fn who_may_not_wait_learns_which_option_binds() {
        let limits = Limits { max_open_requests: 100, max_parked_calls: 50, ..limits() };
        let load = Load { parked: 50, ..load(50, 0) };
        let Ok(Admission::AtOnce(error)) = limits.admit(&load, Waits::UntilItsTimeout) else {
            panic!()
        };
        assert_eq!(option(&error), "--max-parked-calls");
        // What was handed over does not wait.
        let load = Load { parked: 49, handed_over: 40, open: 89, ..load };
        assert!(matches!(limits.admit(&load, Waits::UntilItsTimeout), Ok(Admission::MayWait)));
    }

    #[test]
    fn goodbye_comes_after_what_was_asked_before() {
        let mut session = session();
        let goodbye = Some(Empty {});
        take(&mut session, 1, ClientFrame { goodbye, ..frame(1, &[1]) });
        assert_eq!(session.frame(1, frame(2, &[2]), ms(0), &limits()), Ok(None));
        assert!(session.has_next());
        assert!(matches!(session.next(1, &load(0, 0), &limits()), Ok(Next::Start(_))));
        assert!(matches!(session.next(1, &load(0, 0), &limits()), Ok(Next::End)));
    }

    #[test]
    fn frames_beats_and_resuming_begin_the_lease_anew() {
        let mut session = session();
        assert_eq!(lease_end(&session), Some(LEASE));
        session.frame(1, frame(1, &[]), ms(100), &limits()).unwrap();
        assert_eq!(lease_end(&session), Some(ms(1100)));
        assert_eq!(session.pulse().beat(1, ms(200)), Some(1));
        assert_eq!(lease_end(&session), Some(ms(1200)));
        session.attach(ms(300)).unwrap();
        assert_eq!(lease_end(&session), Some(ms(1300)));
        assert!(!session.end_if_silent_since(ms(200)));
        assert!(session.end_if_silent_since(ms(300)));
        assert!(session.has_ended());
    }

    #[test]
    fn an_ended_session_hears_nothing() {
        let mut session = session();
        take(&mut session, 1, frame(1, &[1]));
        assert!(session.end());
        assert!(!session.end());
        assert_eq!(session.attach(ms(0)), None);
        assert_eq!(session.pulse().beat(1, ms(0)), None);
        assert_eq!(session.frame(1, frame(2, &[2]), ms(0), &limits()), Ok(None));
        assert!(matches!(session.next(1, &load(0, 0), &limits()), Ok(Next::Read)));
    }
}
