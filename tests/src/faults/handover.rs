//! How long it takes until the next waiter has a lock whose holder was killed or stopped, and what
//! the stopped one finds when it is woken.

use std::{
    fmt,
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

use mp_manager::{Error, Manager};
use rustix::process::Signal;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::ChildStdout,
    sync::Semaphore,
    task::{JoinSet, LocalSet},
};

use super::{
    Result,
    children::{Position, start_daemon, start_holder},
};
use crate::{
    AUTHKEY,
    victim::{holder, waiters},
};

/// So many runs at a time: they wait most of their time, and must not wait for one another.
const AT_A_TIME: usize = 8;
/// What lies between the end of a lease and the next grant.
const MARGIN: Duration = Duration::from_millis(100);

/// What one case came to.
#[derive(Debug)]
pub struct Handover {
    case: Case,
    limit: Duration,
    /// Ascending.
    took: Vec<Duration>,
    /// What a stopped holder found wrong when it was woken.
    wrong: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Case {
    blow: Blow,
    unix: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    Kill,
    Stop,
}

/// Measures every case `runs` times.
///
/// # Errors
/// If the machine does not let it, or a lock never passes on.
pub async fn handover(program: &Path, runs: usize, lease: Duration) -> Result<Vec<Handover>> {
    let directory = tempfile::tempdir()?;
    let socket = format!("unix:{}", directory.path().join("socket").display());
    let (mut over_tcp, tcp) = start_daemon(program, "127.0.0.1:0").await?;
    let (mut over_unix, unix) = start_daemon(program, &socket).await?;
    let mut all = Vec::new();
    for blow in [Blow::Kill, Blow::Stop] {
        for (address, is_unix) in [(&tcp, false), (&unix, true)] {
            let case = Case { blow, unix: is_unix };
            let measuring = measure(program, address, case, runs, lease);
            all.push(LocalSet::new().run_until(measuring).await?);
        }
    }
    let patience = Duration::from_secs(10);
    over_tcp.finish(patience).await?;
    over_unix.finish(patience).await?;
    Ok(all)
}

async fn measure(
    program: &Path,
    address: &str,
    case: Case,
    runs: usize,
    lease: Duration,
) -> Result<Handover> {
    let places = Rc::new(Semaphore::new(AT_A_TIME));
    let mut running = JoinSet::new();
    for n in 0..runs {
        let (program, places) = (PathBuf::from(program), Rc::clone(&places));
        let lock = format!("{:?}-{n}", case.blow);
        let lease_ms = u64::try_from(lease.as_millis())?;
        let position = Position { address: address.to_owned(), lock, lease_ms };
        running.spawn_local(async move {
            let _place = places.acquire().await?;
            once(&program, &position, case.blow).await
        });
    }
    let is_proof_of_death = case.unix && case.blow == Blow::Kill;
    let limit = if is_proof_of_death { MARGIN } else { lease + MARGIN };
    let mut handover = Handover { case, limit, took: Vec::new(), wrong: Vec::new() };
    for result in running.join_all().await {
        let (took, wrong) = result?;
        handover.took.push(took);
        handover.wrong.extend(wrong);
    }
    handover.took.sort_unstable();
    Ok(handover)
}

/// How long it took, and what the holder found wrong afterwards.
async fn once(
    program: &Path,
    position: &Position,
    blow: Blow,
) -> Result<(Duration, Option<String>)> {
    let manager = Manager::connect(&position.address, AUTHKEY).await?;
    let (mut process, stdout) = start_holder(program, position)?;
    let mut said = BufReader::new(stdout).lines();
    next_line(&mut said).await?;
    let lock = manager.lock(position.lock.as_str()).await?;
    let held = holder(&manager, &position.lock).await.token;
    let waiter = tokio::spawn(async move {
        let guard = lock.acquire().await?;
        Ok::<_, Error>((guard, Instant::now()))
    });
    waiters(&manager, &position.lock, 1).await;
    let began = Instant::now();
    match blow {
        Blow::Kill => process.signal(Signal::KILL),
        Blow::Stop => process.signal(Signal::STOP),
    }
    let (guard, granted) = waiter.await??;
    let took = granted - began;
    let mut wrong = (guard.token() <= held).then(|| "the token did not rise".to_owned());
    if blow == Blow::Stop {
        // It is told to look before it is woken, so that this is the first thing it does.
        process.say("look\n").await?;
        process.signal(Signal::CONT);
        let found = next_line(&mut said).await?;
        wrong = wrong.or((found != FOUND_LOST).then_some(found));
    }
    process.kill().await?;
    Ok((took, wrong))
}

async fn next_line(said: &mut Lines<BufReader<ChildStdout>>) -> Result<String> {
    Ok(said.next_line().await?.ok_or("the holder ended")?)
}

/// What a holder says if everything is as it should be.
const FOUND_LOST: &str = "lost, and refused";

/// A process that holds a lock; told to, it says what has become of that.
pub(crate) async fn hold(position: &str) -> Result<()> {
    let position: Position = serde_json::from_str(position)?;
    let lease = Duration::from_millis(position.lease_ms);
    let builder = Manager::builder().authkey(AUTHKEY).lease(lease);
    let manager = builder.connect(&position.address).await?;
    let guard = manager.lock(position.lock.as_str()).await?.acquire().await?;
    let dict = manager.dict::<String, u64>("guarded").await?;
    let guarded = dict.fenced(&guard);
    println!("holding");
    let told = BufReader::new(tokio::io::stdin()).lines().next_line().await?;
    if told.is_none() {
        return Ok(());
    }
    let is_lost = guard.is_lost();
    let written = guarded.insert(&position.lock, &guard.token()).await;
    match (is_lost, written) {
        (true, Err(Error::Fenced(_))) => println!("{FOUND_LOST}"),
        (is_lost, written) => println!("is_lost() = {is_lost}, and its write: {written:?}"),
    }
    std::future::pending().await
}

impl Handover {
    /// Whether it was within its limit, and nothing was wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.wrong.is_empty() && self.percentile(99) <= self.limit
    }

    fn percentile(&self, percent: usize) -> Duration {
        let at = (self.took.len() * percent).div_ceil(100).saturating_sub(1);
        self.took.get(at).copied().unwrap_or_default()
    }
}

impl fmt::Display for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, limit, took, wrong } = self;
        let blow = if case.blow == Blow::Kill { "SIGKILL" } else { "SIGSTOP" };
        let over = if case.unix { "unix" } else { "TCP" };
        let ms = |percent| self.percentile(percent).as_secs_f64() * 1e3;
        let [p50, p99, longest] = [50, 99, 100].map(ms);
        write!(
            f,
            "{blow} over {over:4}: {} runs, p50 {p50:.1} ms, p99 {p99:.1} ms, longest \
             {longest:.1} ms, limit {limit:?}",
            took.len()
        )?;
        if case.blow == Blow::Stop {
            let good = took.len() - wrong.len();
            write!(f, "; woken, {good} found the guard lost and their write refused")?;
        }
        for what in wrong.iter().take(3) {
            write!(f, "\n  VIOLATION: {what}")?;
        }
        if self.is_good() { Ok(()) } else { write!(f, "\n  NOT REACHED") }
    }
}
