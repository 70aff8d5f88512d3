//! A session's response stream: the hot path.
//!
//! In a single poll it takes the frames that have arrived, has the engine start their requests and performs
//! what follows, and yields one frame with everything there is to say, also what other sessions' operations
//! put there.

use std::{
    error::Error as _,
    mem,
    pin::Pin,
    sync::{Arc, MutexGuard},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_core::Stream;
use mp_manager_core::{
    Error, Reason,
    engine::{self, Attachment, ClientState, Started, Want, Work},
    v1::{ClientFrame, ServerFrame},
};
use mp_manager_proto::http2::Messages;
use tokio::task::{JoinHandle, spawn_blocking};
use tonic::{Code, Status};

use crate::{
    connection::Connection,
    decoding::{Frame, HeavyFrame},
    host::Host,
};

/// After this many operations a poll says what it has and lets others run: first the connection, so that the client
/// reads these replies while the next ones are made.
const OPERATIONS_PER_POLL: usize = 48;

/// It looks at the clock after so many.
const LOOKS_AT_THE_CLOCK: usize = 4;
/// After this long, too.
const TIME_PER_POLL: Duration = Duration::from_millis(1);

/// Yields the server's frames of one session, on one of its connections.
pub(crate) struct SessionStream<I> {
    /// `None` while it is away.
    speaker: Option<Box<Speaker>>,
    /// A thread that may take its time has the speaker.
    away: Option<JoinHandle<Box<Speaker>>>,
    inbound: I,
    /// The frame that is taken in next, if it is decoded elsewhere.
    heavy: Option<HeavyFrame>,
    /// The last poll did not come to its end: whoever asks again at once has to let others run.
    has_more: bool,
}

/// Takes in what comes, and says what there is to say.
struct Speaker {
    host: Arc<Host>,
    stream: engine::Stream,
    connection: Arc<Connection>,
    work: Work,
}

/// Something that is done with the session's lock held.
enum Job {
    Frame(ClientFrame),
    /// The session ends for what its client did.
    End(Error),
    /// Nothing more comes.
    Close,
}

/// Why no frame comes.
enum Fault {
    Connection(Status),
    /// It cannot be read, or has too much in it.
    Frame(Error),
}

impl<I: Stream<Item = Result<Bytes, Status>> + Unpin> SessionStream<I> {
    pub(crate) fn new(
        host: Arc<Host>,
        attachment: &Attachment,
        inbound: I,
        connection: Arc<Connection>,
    ) -> Self {
        let (stream, work) = (attachment.stream(), Work::default());
        let speaker = Some(Box::new(Speaker { host, stream, connection, work }));
        Self { speaker, away: None, inbound, heavy: None, has_more: false }
    }

    /// Processes the frames that have arrived, as far as one poll goes.
    fn take_in(&mut self, cx: &mut Context<'_>) {
        let (mut operations, until) = (0, Instant::now() + TIME_PER_POLL);
        while let Some(speaker) = &mut self.speaker {
            let has_time = || match operations {
                ..LOOKS_AT_THE_CLOCK => true,
                LOOKS_AT_THE_CLOCK..OPERATIONS_PER_POLL => Instant::now() < until,
                _ => false,
            };
            let job = match speaker.stream.want(&speaker.host.engine) {
                Want::Nothing => return,
                Want::End(why) => Job::End(why),
                Want::Start | Want::Frame if !has_time() => {
                    self.has_more = true;
                    cx.waker().wake_by_ref();
                    return;
                }
                Want::Start => match speaker.start_requests(OPERATIONS_PER_POLL, until, cx) {
                    Some(started) => {
                        operations += started + 1;
                        continue;
                    }
                    None => return,
                },
                Want::Frame => {
                    match poll_frame(&mut self.inbound, &mut self.heavy, &speaker.host, cx) {
                        Poll::Pending => return,
                        Poll::Ready(Some(Ok(frame))) => Job::Frame(frame),
                        Poll::Ready(Some(Err(Fault::Frame(why)))) => Job::End(why),
                        Poll::Ready(Some(Err(Fault::Connection(status)))) => broken(&status),
                        Poll::Ready(None) => Job::Close,
                    }
                }
            };
            operations += 1;
            if speaker.takes_long(&job) {
                self.do_elsewhere(job, cx);
            } else if let Some(job) = speaker.try_to_do(job) {
                self.do_elsewhere(job, cx);
            }
        }
    }

    /// Has something done that takes long, or waits for somebody who takes long. Nothing else is done for the
    /// session meanwhile.
    fn do_elsewhere(&mut self, job: Job, cx: &mut Context<'_>) {
        let Some(mut speaker) = self.speaker.take() else { return };
        self.away = Some(spawn_blocking(move || {
            speaker.do_it(job);
            speaker
        }));
        // The next poll waits for its end.
        cx.waker().wake_by_ref();
    }

    /// The speaker, unless it is away; `None` if it never comes back.
    fn poll_speaker(&mut self, cx: &mut Context<'_>) -> Poll<Option<&mut Box<Speaker>>> {
        if let Some(away) = &mut self.away {
            self.speaker = ready!(Pin::new(away).poll(cx)).ok();
            self.away = None;
        }
        Poll::Ready(self.speaker.as_mut())
    }
}

impl SessionStream<Messages> {
    /// Whether nothing more comes in.
    pub(crate) fn hears_nothing(&self) -> bool {
        self.inbound.are_over()
    }
}

/// The next frame, decoded. One that is heavy keeps those after it waiting, and nobody else.
fn poll_frame(
    inbound: &mut (impl Stream<Item = Result<Bytes, Status>> + Unpin),
    next: &mut Option<HeavyFrame>,
    host: &Host,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<ClientFrame, Fault>>> {
    loop {
        if let Some(heavy) = next {
            let decoded = ready!(heavy.poll(cx));
            *next = None;
            return Poll::Ready(Some(decoded.map_err(Fault::Frame)));
        }
        match ready!(Pin::new(&mut *inbound).poll_next(cx)) {
            Some(Ok(frame)) => match host.decoding.decode(frame) {
                Frame::Decoded(decoded) => {
                    return Poll::Ready(Some(decoded.map_err(Fault::Frame)));
                }
                Frame::Heavy(heavy) => *next = Some(heavy),
            },
            Some(Err(status)) => return Poll::Ready(Some(Err(Fault::Connection(status)))),
            None => return Poll::Ready(None),
        }
    }
}

/// What is to be done when the stream cannot be read.
fn broken(status: &Status) -> Job {
    // A status without a cause is the decoder's own: the connection is as it was.
    let cannot_be_read = status.source().is_none()
        && matches!(status.code(), Code::OutOfRange | Code::Internal | Code::InvalidArgument);
    if !cannot_be_read {
        return Job::Close;
    }
    let why = format!("a frame cannot be read: {}", status.message());
    let why = Error::new(Reason::Protocol, why);
    Job::End(if status.code() == Code::OutOfRange {
        why.with_hint("the server's --max-frame-bytes raises the limit")
    } else {
        why
    })
}

impl Speaker {
    fn takes_long(&self, job: &Job) -> bool {
        matches!(job, Job::Frame(frame) if self.stream.is_long(&self.host.engine, frame))
    }

    /// Does something, unless somebody else holds the session's lock: then it comes back.
    #[inline]
    fn try_to_do(&mut self, job: Job) -> Option<Job> {
        let client = Arc::clone(self.stream.client());
        match client.try_lock() {
            Some(state) => self.act(job, state),
            None => return Some(job),
        }
        None
    }

    /// Does something, once nobody else holds the session's lock.
    fn do_it(&mut self, job: Job) {
        let client = Arc::clone(self.stream.client());
        self.act(job, client.lock());
    }

    fn act(&mut self, job: Job, mut state: MutexGuard<'_, ClientState>) {
        let (engine, work) = (&self.host.engine, &mut self.work);
        let fault = match job {
            Job::Frame(frame) => self.stream.take_in(engine, &mut state, frame, work),
            Job::End(why) => self.stream.end(engine, &mut state, why, work),
            Job::Close => {
                let proves_death = self.connection.proves_death();
                self.stream.closed(engine, &mut state, proves_death, work);
                None
            }
        };
        self.finish(state, fault);
    }

    /// Performs what follows from what was done with the session's lock held.
    fn finish(&mut self, state: MutexGuard<'_, ClientState>, fault: Option<Error>) {
        self.host.perform(&mut self.work);
        drop(state);
        self.host.let_go(&mut self.work);
        self.ended(fault);
    }

    /// Starts requests as long as there is time and their replies have room, `max` at most; how many. `None` if
    /// the next one has to wait until the stream is woken.
    fn start_requests(&mut self, max: usize, until: Instant, cx: &Context<'_>) -> Option<usize> {
        let client = Arc::clone(self.stream.client());
        let Some(mut state) = client.try_lock() else {
            // Another stream's thread has it, which may take long.
            cx.waker().wake_by_ref();
            return None;
        };
        let (mut started, mut is_blocked, mut fault) = (0, false, None);
        while started < max {
            match self.stream.start(&self.host.engine, &mut state, &mut self.work) {
                Started::One(_) => self.host.perform(&mut self.work),
                Started::Nothing => break,
                Started::Blocked => {
                    is_blocked = true;
                    break;
                }
                Started::Ended(why) => {
                    fault = Some(why);
                    break;
                }
            }
            started += 1;
            if started % LOOKS_AT_THE_CLOCK == 0 && Instant::now() >= until {
                break;
            }
        }
        self.finish(state, fault);
        (!is_blocked).then_some(started)
    }

    /// The session was ended for this, if for anything.
    fn ended(&self, fault: Option<Error>) {
        let Some(why) = fault else { return };
        let client = self.stream.client();
        let (session, peer) = (client.id(), client.peer());
        tracing::warn!(session, %peer, "session ended: {}", why.message);
        self.connection.permit.failed();
    }
}

impl<I: Stream<Item = Result<Bytes, Status>> + Unpin> Stream for SessionStream<I> {
    type Item = Result<ServerFrame, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if mem::take(&mut this.has_more) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(speaker) = ready!(this.poll_speaker(cx)) else { return Poll::Ready(None) };
        // First, so that what is put into the outbox from now on wakes us.
        if !speaker.stream.register(cx.waker()) {
            return Poll::Ready(speaker.stream.farewell().map(Ok));
        }
        this.take_in(cx);
        let Some(speaker) = &mut this.speaker else { return Poll::Pending };
        match speaker.stream.say() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None if speaker.stream.is_over() => Poll::Ready(speaker.stream.farewell().map(Ok)),
            None => Poll::Pending,
        }
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        if self.connection.proves_death() {
            let attachment = self.stream.attachment().clone();
            self.host.with_session(self.stream.client(), move |engine, state, work| {
                engine.end_attached(&attachment, state, None, work);
            });
        }
    }
}
