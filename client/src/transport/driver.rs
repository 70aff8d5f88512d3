//! The connection behind a session: opened, kept alive, and opened again when it is gone.
//!
//! A task runs it, and does what the session's state machine says ([`Session`]). When the task ends,
//! however it ends, the session ends with it: nobody waits for what nobody does.

use std::{
    future::poll_fn,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use mp_manager_proto::{
    address::Address,
    tasks::Tasks,
    tls::certificate_to_pem,
    v1::{Beat, Error as Refusal, Reason, ServerFrame, manager_client::ManagerClient},
};
#[cfg(feature = "embedded")]
use mp_manager_server::Inside;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tonic::{Status, Streaming, codegen::tokio_stream};

use super::{
    channel::{self, Channel},
    connect::{Authenticated, Target, authenticate, cannot_connect, explain},
};
use crate::{
    error::{Error, Result},
    protocol::{Abandoned, Connected, Policy, Step, closed, driver_ended},
    session::{
        call::Outgoing,
        clock::Clock,
        link::{Link, Session},
        watchdog::Watched,
    },
};

/// How often to look for calls whose timeouts have passed while there is no connection.
const LOOK: Duration = Duration::from_millis(100);

/// A packet that is lost must not cost the lease: one attempt takes no longer than this.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(3);
/// How long a goodbye on another connection may take. The end of a runtime waits as long for each of its connections.
const LONGEST_FAREWELL: Duration = Duration::from_millis(500);
/// The end of a runtime polls a connection so often to send its last frame: one poll does a bounded amount of work.
const LAST_POLLS: usize = 3;
/// The manager was not heard in time for what it must keep: looked at no more often than this.
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);

/// Opens a session, whose connection is run by a task on the current runtime.
pub(crate) async fn open(target: &Target) -> Result<(Arc<Link>, JoinHandle<()>)> {
    let policy = Policy {
        reconnect_timeout: target.reconnect_timeout,
        reopen: target.reopen,
        end_is_death: target.is_embedded() || matches!(target.address, Address::Unix(_)),
    };
    let session = Session::new(Clock::system(), policy);
    #[cfg(feature = "embedded")]
    if let Some(inside) = &target.inside {
        return open_inside(target, inside, session);
    }
    let authenticated = authenticate(target, &session).await?;
    let link = Link::new(Arc::clone(&session), target.address.to_string());
    let connection = Connection { target: target.clone(), session, link: Arc::downgrade(&link) };
    let Connected { connection: number, .. } = connection.connected(&authenticated);
    let streams = connection.open_streams(authenticated, number, target.timeout).await?;
    Ok((link, spawn(connection, streams)))
}

/// Opens a session with a manager in this process: what both say goes from one to the other as it is.
#[cfg(feature = "embedded")]
fn open_inside(
    target: &Target,
    inside: &Inside,
    session: Arc<Session>,
) -> Result<(Arc<Link>, JoinHandle<()>)> {
    use tokio_stream::StreamExt;

    use super::connect::{lease_ms, process};

    let asked = session.now();
    let begun = inside
        .begin(process(target), lease_ms(target))
        .map_err(|refusal| cannot_connect(&target.address, refusal.message))?;
    // Child processes have to prove it.
    if let Some(authkey) = target.authkeys.in_turn().into_iter().next() {
        target.authkeys.accept(authkey);
    }
    let Connected { connection: number, .. } =
        session.connected(&begun.welcome, &begun.challenge, asked);
    let outgoing = Outgoing { session: Arc::clone(&session), connection: number };
    let (beats, outbound) = mpsc::channel(2);
    let (frames, answers) = begun
        .streams(outgoing.map(mp_manager_proto::frame::EncodedFrame::into_bytes), Beats(outbound));
    let (_, tasks) = Tasks::new();
    let streams =
        Streams { number, tasks, frames: Box::pin(frames), beats, answers: Box::pin(answers) };
    let link = Link::new(Arc::clone(&session), target.address.to_string());
    let connection = Connection { target: target.clone(), session, link: Arc::downgrade(&link) };
    Ok((link, spawn(connection, streams)))
}

/// Runs a connection until its session ends.
fn spawn(connection: Connection, streams: Streams) -> JoinHandle<()> {
    let session = Arc::clone(&connection.session);
    let driver = Driver { connection, streams: Some(streams) };
    let watched = Watched::new(driver.run());
    session.watch(Arc::clone(&watched));
    watched.spawn()
}

struct Connection {
    target: Target,
    session: Arc<Session>,
    link: Weak<Link>,
}

/// The task that runs a connection. When it is dropped or panics, the session ends, and its streams after it:
/// their end frees what the session held.
struct Driver {
    connection: Connection,
    /// `None` while there is no connection.
    streams: Option<Streams>,
}

impl Driver {
    async fn run(mut self) {
        let connection = &self.connection;
        let session = &connection.session;
        let mut is_last = false;
        while let Some(streams) = &mut self.streams {
            match connection.converse(streams).await {
                End::Gone(_) if is_last => break,
                End::Gone(why) => {
                    session.disconnected(Refusal::new(Reason::SessionEnded, why));
                }
                _ if session.is_leaving() => break,
                End::Farewell(why) => session.farewell(why),
                End::Over => {
                    let why = "the manager ended the connection";
                    session.disconnected(Refusal::new(Reason::SessionEnded, why));
                }
            }
            // On a unix socket what was held is lost before the manager can take its end for ours.
            self.streams = None;
            self.streams = connection.connect_again().await;
            is_last = session.is_leaving();
        }
        session.end(closed());
        self.streams = None;
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let Connection { target, session, .. } = &self.connection;
        // In a fork there is nothing to end, and perhaps nobody to unlock it, nor an embedded manager's.
        if !session.home.is_here() {
            return mem::forget(self.streams.take());
        }
        let has_panicked = thread::panicking();
        if let (Some(streams), false) = (&mut self.streams, has_panicked) {
            session.say_goodbye();
            streams.say_the_rest();
        }
        let abandoned = session.abandoned();
        session.end(driver_ended(has_panicked));
        if let Some(abandoned) = abandoned {
            farewell(target.clone(), abandoned);
        }
    }
}

/// Says goodbye for a session whose runtime has ended, on another connection: what it held would wait
/// for the end of its lease otherwise, as after each program that ends without closing its manager.
fn farewell(target: Target, abandoned: Abandoned) {
    let (done, wait) = std::sync::mpsc::channel();
    let thread = thread::Builder::new().name("mp-manager-farewell".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        if let Ok(runtime) = runtime {
            // Without an answer the lease has to end.
            let _ = runtime.block_on(async {
                timeout(LONGEST_FAREWELL, say_goodbye(target, abandoned)).await
            });
            runtime.shutdown_background();
        }
        let _ = done.send(());
    });
    if thread.is_ok() {
        let _ = wait.recv_timeout(LONGEST_FAREWELL);
    }
}

async fn say_goodbye(target: Target, abandoned: Abandoned) -> Result<()> {
    let policy = Policy { reconnect_timeout: Duration::ZERO, reopen: false, end_is_death: false };
    let session = Arc::new(Session::without_timer(Clock::system(), policy));
    session.take_over(abandoned);
    let authenticated = authenticate(&target, &session).await?;
    let connection = Connection { target, session, link: Weak::new() };
    let Connected { connection: number, .. } = connection.connected(&authenticated);
    connection.session.say_goodbye();
    let allowed = connection.target.timeout;
    let mut streams = connection.open_streams(authenticated, number, allowed).await?;
    // Until the manager has ended it.
    let Streams { tasks, frames, .. } = &mut streams;
    tasks.drive(async { while let Some(Ok(_)) = next(frames).await {} }).await;
    Ok(())
}

/// What is said on one connection, both ways.
struct Streams {
    number: u64,
    tasks: Tasks,
    frames: Said<ServerFrame>,
    beats: mpsc::Sender<Beat>,
    answers: Said<Beat>,
}

impl Streams {
    /// Sends the frames that are due, as far as the socket's buffer takes them: nobody waits for it to be writable.
    fn say_the_rest(&mut self) {
        let Self { tasks, frames, .. } = self;
        let mut conversation =
            pin!(tasks.drive(async { while let Some(Ok(_)) = next(frames).await {} }));
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..LAST_POLLS {
            let polled = catch_unwind(AssertUnwindSafe(|| conversation.as_mut().poll(&mut cx)));
            if !matches!(polled, Ok(Poll::Pending)) {
                return;
            }
        }
    }
}

/// What the manager says, however it comes.
type Said<T> = Pin<Box<dyn tokio_stream::Stream<Item = Result<T, Status>> + Send>>;

/// The next of it.
async fn next<T>(said: &mut Said<T>) -> Option<Result<T, Status>> {
    poll_fn(|cx| said.as_mut().poll_next(cx)).await
}

/// How a conversation ended.
enum End {
    /// The connection is gone, for this reason.
    Gone(String),
    /// The manager has ended it.
    Over,
    /// The manager has ended the session.
    Farewell(Refusal),
}

impl Connection {
    fn connected(&self, authenticated: &Authenticated) -> Connected {
        let Authenticated { welcome, challenge, asked, certificate, .. } = authenticated;
        if let (Some(link), Some(certificate)) = (self.link.upgrade(), certificate) {
            link.note_certificate(certificate_to_pem(certificate));
        }
        self.session.connected(welcome, challenge, *asked)
    }

    async fn open_streams(
        &self,
        authenticated: Authenticated,
        number: u64,
        allowed: Duration,
    ) -> Result<Streams> {
        let Authenticated { client, channel, mut tasks, .. } = authenticated;
        let opening = tasks.drive(self.open_both(client, channel, number));
        let Ok(opened) = timeout(allowed, opening).await else {
            let message = format!("no answer within {allowed:?}");
            return Err(cannot_connect(&self.target.address, message));
        };
        let (frames, beats, answers) = opened?;
        let (frames, answers) = (Box::pin(frames), Box::pin(answers));
        Ok(Streams { number, tasks, frames, beats, answers })
    }

    async fn open_both(
        &self,
        mut client: ManagerClient<Channel>,
        channel: Channel,
        connection: u64,
    ) -> Result<(channel::Session, mpsc::Sender<Beat>, Streaming<Beat>)> {
        let failed = |status: Status| cannot_connect(&self.target.address, explain(&status));
        let outgoing = Outgoing { session: Arc::clone(&self.session), connection };
        let frames = channel.session(outgoing).await.map_err(failed)?;
        let (beats, outbound) = mpsc::channel(2);
        let outbound = Beats(outbound);
        let answers = client.keep_alive(outbound).await.map_err(failed)?.into_inner();
        Ok((frames, beats, answers))
    }

    /// Takes in what the manager says, until it says no more.
    async fn converse(&self, streams: &mut Streams) -> End {
        let Streams { number, tasks, frames, beats, answers } = streams;
        let hear = async {
            loop {
                match next(frames).await {
                    Some(Ok(frame)) => {
                        let hold = Link::holding(&self.link);
                        if let Some(why) = self.session.receive(*number, frame, hold) {
                            return End::Farewell(why);
                        }
                    }
                    None => return End::Over,
                    Some(Err(status)) => return End::Gone(explain(&status)),
                }
            }
        };
        let answered = async {
            loop {
                match next(answers).await {
                    Some(Ok(beat)) => {
                        self.session.beat_answered(*number, beat.number, beat.echo);
                    }
                    // Whatever it is, the other stream says it better.
                    None | Some(Err(_)) => std::future::pending().await,
                }
            }
        };
        let beat = async {
            tokio::select! {
                end = self.beat(beats) => end,
                never = answered => never,
            }
        };
        tasks.drive_both(hear, beat).await
    }

    /// Says the beats, and notices when nothing comes back.
    async fn beat(&self, beats: &mpsc::Sender<Beat>) -> End {
        loop {
            let tick = self.session.tick();
            if tick.stale {
                return End::Gone("nothing was heard of the manager".into());
            }
            if let Some(number) = tick.beat {
                // One that finds no room is as good as one that is late.
                let _ = beats.try_send(Beat { number, ..Beat::default() });
            }
            tokio::select! {
                () = sleep(tick.next.saturating_sub(self.session.now()).max(SHORTEST_SLEEP)) => {}
                () = self.session.wanted.notified() => {}
            }
        }
    }

    /// Makes the next connection; `None` when it is all over.
    async fn connect_again(&self) -> Option<Streams> {
        tokio::select! {
            biased;
            () = self.leave() => {}
            again = self.reconnect() => return again,
        }
        // Returns if there is no session left that would wait for its lease.
        self.session.abandoned()?;
        timeout(LONGEST_FAREWELL, self.attempt()).await.ok()?.ok()
    }

    /// Connects again, as the session says; `None` when it is all over.
    async fn reconnect(&self) -> Option<Streams> {
        loop {
            match self.session.next_step() {
                Step::Connect => match self.attempt().await {
                    Ok(streams) => return Some(streams),
                    Err(Attempt::Failed(message)) => {
                        self.session.attempt_failed(message, random());
                    }
                    Err(Attempt::Refused(refusal)) => self.session.attempt_refused(refusal),
                },
                Step::Rest(until) => self.rest(until).await,
                Step::Idle => self.session.wanted.notified().await,
                Step::Over => return None,
            }
        }
    }

    async fn attempt(&self) -> Result<Streams, Attempt> {
        let timeout_of_attempt =
            self.target.timeout.min(LONGEST_ATTEMPT).min(self.session.time_left());
        let target = Target { timeout: timeout_of_attempt, ..self.target.clone() };
        let attempt = authenticate(&target, &self.session);
        tokio::pin!(attempt);
        let authenticated = loop {
            tokio::select! {
                result = &mut attempt => break result,
                () = sleep(LOOK) => self.session.wait_disconnected(),
            }
        };
        let authenticated = authenticated.map_err(Attempt::from)?;
        let Connected { resumed, connection: number } = self.connected(&authenticated);
        if !resumed && !self.target.reopen {
            let message = "the session is lost, and no other was wanted";
            return Err(Attempt::Refused(Refusal::new(Reason::SessionEnded, message)));
        }
        let opened = self.open_streams(authenticated, number, target.timeout).await;
        let result = opened.map_err(Attempt::from);
        if let Err(Attempt::Failed(why)) = &result {
            self.session.disconnected(Refusal::new(Reason::SessionEnded, why));
        }
        result
    }

    /// Waits, with an eye on calls whose timeouts pass.
    async fn rest(&self, until: Duration) {
        loop {
            self.session.wait_disconnected();
            let left = until.saturating_sub(self.session.now());
            if left.is_zero() {
                return;
            }
            sleep(left.min(LOOK)).await;
        }
    }

    /// Completes when nobody wants the session any more.
    async fn leave(&self) {
        while !self.session.is_leaving() {
            self.session.leaving.notified().await;
        }
    }
}

/// Why an attempt to connect came to nothing.
enum Attempt {
    /// Another one may succeed.
    Failed(String),
    /// No other will, as long as nothing changes.
    Refused(Refusal),
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
        let message = if context.message.is_empty() { error.to_string() } else { context.message };
        let message = format!("the session is lost: {message}");
        Self::Refused(Refusal::new(reason, message).with_hint(context.hint))
    }
}

/// From 0 to 1.
fn random() -> f64 {
    // Without random numbers all clients come at once, which is no error.
    let random = getrandom::u32().unwrap_or(u32::MAX);
    f64::from(random) / f64::from(u32::MAX)
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

#[cfg(all(test, feature = "embedded"))]
mod tests {
    use std::future::pending;

    use mp_manager_server::{Options, Server};

    use super::*;
    use crate::{
        error::Error,
        objects::{Manager, Queue},
        transport::{authkeys::Authkeys, tls::Connector},
    };

    /// Nothing here takes as long.
    const LONG: Duration = Duration::from_secs(100);

    #[expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]
    async fn target() -> Target {
        let options = Options::new("authkey");
        let server = Server::bind(&"127.0.0.1:0".parse().unwrap(), options).await.unwrap();
        let address = server.address().clone();
        tokio::spawn(server.run(pending()));
        Target {
            address,
            authkeys: Authkeys::new(vec!["authkey".into()]).unwrap(),
            connector: Connector::new(Default::default()),
            timeout: LONG,
            process_name: None,
            lease: None,
            reconnect_timeout: LONG,
            reopen: true,
            inside: None,
        }
    }

    /// Two holders of one secret would take the session from each other for ever.
    #[tokio::test]
    async fn a_session_that_somebody_else_resumed_is_lost_and_not_resumed_back() {
        let target = target().await;
        let (link, _) = open(&target).await.unwrap();
        let manager = Manager::new(Arc::clone(&link));
        let jobs: Queue<u64> = manager.queue("jobs").await.unwrap();
        let get = tokio::spawn({
            let jobs = jobs.clone();
            async move { jobs.get().await }
        });
        while manager.inspect(Some("jobs")).await.unwrap().objects[0].waiters.is_empty() {
            tokio::task::yield_now().await;
        }

        let policy = Policy { reconnect_timeout: LONG, reopen: true, end_is_death: false };
        let thief = Arc::new(Session::without_timer(Clock::system(), policy));
        thief.take_over(link.session.abandoned().unwrap());
        let authenticated = authenticate(&target, &thief).await.unwrap();
        let session = authenticated.welcome.session;
        let stolen = Connection { target, session: thief, link: Weak::new() };
        let connected = stolen.connected(&authenticated);
        assert!(connected.resumed);

        let lost = timeout(LONG, get).await.unwrap().unwrap().unwrap_err();
        let Error::SessionLost(context) = lost else { panic!("{lost:?}") };
        assert!(context.message.contains("resumed on another connection"), "{context}");
        assert!(context.message.contains("127.0.0.1"), "{context}");
        // It goes on in a session of its own, and the other one stays where it is: on a connection that says
        // nothing, as it would have to know of the call that is open.
        jobs.put(&1).await.unwrap();
        let inspection = manager.inspect(None).await.unwrap();
        assert_eq!(inspection.sessions.len(), 2);
        assert!(inspection.sessions.iter().any(|info| info.session == session));
        drop(authenticated);
    }
}
