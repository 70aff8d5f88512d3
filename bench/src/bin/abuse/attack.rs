//! What an attacking process does: it says a line when it is under way, and what it has done when its
//! input ends.

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

use crate::{
    sessions::{self, Manner},
    strangers,
};

/// Attacks a daemon until its input ends.
#[derive(Args)]
pub(crate) struct Attack {
    kind: Kind,
    /// Whom.
    #[arg(long)]
    target: SocketAddr,
    /// How much: connections, logins a second, or acts of a hostile session in ten seconds.
    #[arg(long)]
    rate: u32,
    /// What hostile sessions do.
    #[arg(long, value_delimiter = ',')]
    manners: Vec<Manner>,
}

/// What it does.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Connections that say nothing.
    Silent,
    /// Connections that say that they are HTTP/2, and nothing more.
    Preface,
    /// Connections that begin a handshake, and say nothing more.
    Hello,
    /// Half of them silent, the other half with a preface.
    HalfOpen,
    /// Connections that say as much as they can, and read nothing.
    Greedy,
    /// Logins with a wrong authkey.
    Logins,
    /// Sessions that do what they should not.
    Sessions,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Preface => "preface",
            Self::Hello => "hello",
            Self::HalfOpen => "half-open",
            Self::Greedy => "greedy",
            Self::Logins => "logins",
            Self::Sessions => "sessions",
        }
    }
}

impl Attack {
    pub(crate) async fn run(self) -> io::Result<()> {
        let Self { kind, target, rate, manners } = self;
        let begin = Instant::now();
        tokio::select! {
            said = attack(kind, target, rate, &manners) => said?,
            () = obey() => {}
        }
        let done = match kind {
            Kind::Logins => strangers::LOGINS.report(),
            Kind::Sessions => sessions::DONE.report(),
            _ => strangers::OPENED.report(),
        };
        println!("{done} in {:.1} s", begin.elapsed().as_secs_f64());
        Ok(())
    }
}

/// What an attacker is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    Pause,
    GoOn,
}

impl Word {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::GoOn => "go on",
        }
    }
}

static IS_PAUSED: AtomicBool = AtomicBool::new(false);

/// Whether there is to be no attack now.
pub(crate) fn is_paused() -> bool {
    IS_PAUSED.load(Ordering::Relaxed)
}

/// Does what it is told, until the input ends.
async fn obey() {
    let mut lines = BufReader::new(stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        IS_PAUSED.store(line == Word::Pause.name(), Ordering::Relaxed);
    }
}

async fn attack(kind: Kind, target: SocketAddr, rate: u32, manners: &[Manner]) -> io::Result<()> {
    match kind {
        Kind::Logins => strangers::log_in(target, rate).await,
        Kind::Sessions => sessions::misbehave(target, rate, manners).await,
        _ => strangers::stay(kind, target, rate).await,
    }
}

/// An attacker's address: one of eight, none of which is an ordinary client's.
pub(crate) fn source(n: u32) -> SocketAddr {
    let last = u8::try_from(n % 8).unwrap_or_default();
    SocketAddr::from(([127, 0, 0, 2 + last], 0))
}

/// Says that the attack is under way.
pub(crate) fn under_way() {
    println!("under way");
}

/// Does something so many times a second.
pub(crate) async fn at_rate(rate: u32, mut act: impl FnMut(u32)) {
    const TICK: Duration = Duration::from_millis(2);
    let mut ticks = tokio::time::interval(TICK);
    let (start, mut done) = (tokio::time::Instant::now(), 0);
    loop {
        ticks.tick().await;
        let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as u32;
        // What was missed because nobody let us run is not made up for all at once.
        done = done.max(due.saturating_sub(rate / 10));
        while done < due {
            act(done);
            done += 1;
        }
    }
}

/// Counts events by name.
pub(crate) struct Tally {
    names: &'static [&'static str],
    counts: [std::sync::atomic::AtomicU64; 8],
}

impl Tally {
    pub(crate) const fn new(names: &'static [&'static str]) -> Self {
        Self { names, counts: [const { std::sync::atomic::AtomicU64::new(0) }; 8] }
    }

    pub(crate) fn count(&self, name: &str) {
        if let Some(n) = self.names.iter().position(|known| *known == name) {
            self.counts[n].fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    fn report(&self) -> String {
        let count = |n: usize| self.counts[n].load(std::sync::atomic::Ordering::Relaxed);
        let parts = self.names.iter().enumerate().map(|(n, name)| format!("{} {name}", count(n)));
        parts.collect::<Vec<_>>().join(", ")
    }
}
