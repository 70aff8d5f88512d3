//! The connection behind a session: opened, kept alive, and opened again when it is gone.
//!
//! ```text
//!   open ──► converse ──gone──► reconnect ──in time──► converse (the session goes on)
//!               │                   │    └──later────► converse (a new session)
//!               └─────said goodbye──┴──── not at all ─► over
//! ```

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use mp_manager_proto::{
    address::Address,
    frame::FrameCodec,
    v1::{Beat, Error as Refusal, Reason, ServerFrame},
};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tonic::{
    Streaming,
    client::Grpc,
    codegen::{http::uri::PathAndQuery, tokio_stream},
};

use crate::{
    call::Outgoing,
    clock::Clock,
    connect::{Authenticated, Target, authenticate, cannot_connect, explain},
    error::{Error, Result},
    link::Link,
    session::{LOOK, Shared, closed},
};

const SESSION: &str = "/mp.manager.v1.Manager/Session";

/// The first pause between attempts to connect again; each is twice as long as the one before it.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A packet that is lost must not cost the lease: one attempt takes no longer than this.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(3);
/// The manager was not heard in time for what it must keep: looked at no more often than this.
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);

/// Opens a session, whose connection is run by a task on the current runtime.
pub(crate) async fn open(target: &Target) -> Result<Arc<Link>> {
    let shared = Shared::new(Clock::system());
    let authenticated = authenticate(target, &shared).await?;
    let link = Link::new(Arc::clone(&shared), target.address.to_string());
    let connection = Connection { target: target.clone(), shared, link: Arc::downgrade(&link) };
    let (_, number) = connection.connected(&authenticated);
    let streams = connection.open_streams(authenticated, number).await?;
    tokio::spawn(connection.run(streams));
    Ok(link)
}

struct Connection {
    target: Target,
    shared: Arc<Shared>,
    link: Weak<Link>,
}

/// What is said on one connection, both ways.
struct Streams {
    number: u64,
    frames: Streaming<ServerFrame>,
    beats: mpsc::Sender<Beat>,
    answers: Streaming<Beat>,
}

/// How a conversation ended.
enum End {
    /// The connection is gone, for this reason.
    Gone(String),
    /// The manager has ended the session.
    Farewell(Refusal),
}

impl Connection {
    fn connected(&self, authenticated: &Authenticated) -> (bool, u64) {
        let Authenticated { welcome, challenge, asked, .. } = authenticated;
        self.shared.connected(welcome, challenge, *asked)
    }

    async fn open_streams(&self, authenticated: Authenticated, number: u64) -> Result<Streams> {
        let mut client = authenticated.client;
        let failed = |status: tonic::Status| cannot_connect(&self.target.address, explain(&status));
        let outgoing = Outgoing { shared: Arc::clone(&self.shared), connection: number };
        // As the client would do it, but with frames that are encoded.
        let mut grpc = Grpc::new(authenticated.channel)
            .max_encoding_message_size(usize::MAX)
            .max_decoding_message_size(usize::MAX);
        grpc.ready()
            .await
            .map_err(|error| failed(tonic::Status::unavailable(error.to_string())))?;
        let path = PathAndQuery::from_static(SESSION);
        let frames = grpc
            .streaming(tonic::Request::new(outgoing), path, FrameCodec)
            .await
            .map_err(failed)?
            .into_inner();
        let (beats, outbound) = mpsc::channel(2);
        let outbound = Beats(outbound);
        let answers = client.keep_alive(outbound).await.map_err(failed)?.into_inner();
        Ok(Streams { number, frames, beats, answers })
    }

    /// Until it is all over.
    async fn run(self, mut streams: Streams) {
        loop {
            let end = self.converse(&mut streams).await;
            if self.shared.is_leaving() {
                return self.shared.end(closed());
            }
            self.shared.disconnected();
            let why = match end {
                End::Gone(why) => {
                    self.close(&why);
                    Refusal::new(Reason::SessionEnded, why)
                }
                End::Farewell(why) if self.may_come_back(&why) => {
                    self.shared.session_ended(why.clone());
                    why
                }
                End::Farewell(why) => return self.shared.end(why),
            };
            drop(streams);
            streams = tokio::select! {
                again = self.reconnect(why) => match again {
                    Ok(streams) => streams,
                    Err(why) => return self.shared.end(why),
                },
                () = self.leave() => return self.shared.end(closed()),
            };
        }
    }

    /// The manager takes the end of a unix socket for the end of this process, and gives to others
    /// what it held: it has to know before.
    fn close(&self, why: &str) {
        if matches!(self.target.address, Address::Unix(_)) {
            let message = format!("the session was lost with its connection: {why}");
            self.shared.session_ended(Refusal::new(Reason::SessionEnded, message));
        }
    }

    /// Whether there may be another session after one that ended like this.
    fn may_come_back(&self, why: &Refusal) -> bool {
        self.target.reopen
            && !self.shared.is_ephemeral()
            && matches!(why.reason(), Reason::ShuttingDown | Reason::SessionEnded)
    }

    /// Takes in what the manager says, until it says no more.
    async fn converse(&self, streams: &mut Streams) -> End {
        let Streams { number, frames, beats, answers } = streams;
        let hear = async {
            loop {
                match frames.message().await {
                    Ok(Some(frame)) => {
                        if let Some(why) = self.shared.receive(&self.link, *number, frame) {
                            return End::Farewell(why);
                        }
                    }
                    Ok(None) => return End::Gone("the manager ended the connection".into()),
                    Err(status) => return End::Gone(explain(&status)),
                }
            }
        };
        let answered = async {
            loop {
                match answers.message().await {
                    Ok(Some(beat)) => {
                        self.shared.beat_answered(*number, beat.number, beat.echo);
                    }
                    // Whatever it is, the other stream says it better.
                    Ok(None) | Err(_) => std::future::pending().await,
                }
            }
        };
        tokio::select! {
            end = hear => end,
            end = self.beat(beats) => end,
            never = answered => never,
        }
    }

    /// Says the beats, and notices when nothing comes back.
    async fn beat(&self, beats: &mpsc::Sender<Beat>) -> End {
        loop {
            let tick = self.shared.tick();
            if tick.stale {
                return End::Gone("nothing was heard of the manager".into());
            }
            if let Some(number) = tick.beat {
                // One that finds no room is as good as one that is late.
                let _ = beats.try_send(Beat { number, ..Beat::default() });
            }
            sleep(tick.next.saturating_sub(self.shared.now()).max(SHORTEST_SLEEP)).await;
        }
    }

    /// Tries to connect until it succeeds, or there is no sense in it any more.
    async fn reconnect(&self, why: Refusal) -> Result<Streams, Refusal> {
        let patience = self.patience();
        let deadline = self.shared.now().saturating_add(patience);
        let mut pause = FIRST_PAUSE;
        let mut last = why.message.clone();
        while !self.target.reconnect_timeout.is_zero() {
            match self.attempt().await {
                Ok(streams) => return Ok(streams),
                Err(Attempt::Hopeless(refusal)) => return Err(refusal),
                Err(Attempt::Failed(message)) => last = message,
            }
            if self.shared.now() >= deadline {
                break;
            }
            self.rest(jittered(pause)).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
        let message =
            format!("the connection is gone, and did not come back within {patience:?}: {last}");
        let hint = "what the session held is released; connect again for a new one";
        Err(Refusal::new(why.reason(), message).with_hint(hint))
    }

    /// How long trying to connect again makes sense. The socket of a manager inside a program is
    /// gone when the program is.
    fn patience(&self) -> Duration {
        let is_gone_for_good =
            self.shared.is_ephemeral() && matches!(self.target.address, Address::Unix(_));
        if is_gone_for_good { Duration::ZERO } else { self.target.reconnect_timeout }
    }

    async fn attempt(&self) -> Result<Streams, Attempt> {
        let target =
            Target { timeout: self.target.timeout.min(LONGEST_ATTEMPT), ..self.target.clone() };
        let attempt = authenticate(&target, &self.shared);
        tokio::pin!(attempt);
        let authenticated = loop {
            tokio::select! {
                result = &mut attempt => break result,
                () = sleep(LOOK) => self.shared.wait_disconnected(),
            }
        };
        let authenticated = authenticated.map_err(Attempt::from)?;
        let (resumed, number) = self.connected(&authenticated);
        if !resumed && !self.target.reopen {
            let message = "the session is lost, and no other was wanted";
            return Err(Attempt::Hopeless(Refusal::new(Reason::SessionEnded, message)));
        }
        let opened = timeout(target.timeout, self.open_streams(authenticated, number)).await;
        let result = match opened {
            Ok(result) => result.map_err(Attempt::from),
            Err(_) => Err(Attempt::Failed("no answer in time".into())),
        };
        if let Err(Attempt::Failed(why)) = &result {
            self.shared.disconnected();
            self.close(why);
        }
        result
    }

    /// Waits, with an eye on what is overdue.
    async fn rest(&self, pause: Duration) {
        let until = self.shared.now() + pause;
        loop {
            self.shared.wait_disconnected();
            let left = until.saturating_sub(self.shared.now());
            if left.is_zero() {
                return;
            }
            sleep(left.min(LOOK)).await;
        }
    }

    /// Completes when nobody wants the session any more.
    async fn leave(&self) {
        while !self.shared.is_leaving() {
            self.shared.leaving.notified().await;
        }
    }
}

/// Why an attempt to connect came to nothing.
enum Attempt {
    /// Another one may succeed.
    Failed(String),
    /// No other will.
    Hopeless(Refusal),
}

impl From<Error> for Attempt {
    fn from(error: Error) -> Self {
        let reason = match &error {
            Error::AuthenticationFailed(_) => Reason::AuthenticationFailed,
            Error::Unsupported(_) => Reason::UnsupportedVersion,
            Error::Configuration(_) | Error::Protocol(_) => Reason::Protocol,
            _ => return Self::Failed(error.to_string()),
        };
        let context = error.context().cloned().unwrap_or_default();
        let message = format!("the session is lost: {}", context.message);
        Self::Hopeless(Refusal::new(reason, message).with_hint(context.hint))
    }
}

/// From half of it to all of it, so that many clients do not come back at once.
fn jittered(pause: Duration) -> Duration {
    // Without random numbers all come at once, which is no error.
    let random = getrandom::u32().unwrap_or(u32::MAX);
    pause / 2 + pause.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0)
}

/// The beats that go out.
struct Beats(mpsc::Receiver<Beat>);

impl tokio_stream::Stream for Beats {
    type Item = Beat;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Beat>> {
        self.0.poll_recv(cx)
    }
}
