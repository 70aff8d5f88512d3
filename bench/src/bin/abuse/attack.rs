//! What an attacking process does: it says a line when it is under way, and what it has done when its
//! input ends.

use std::{io, net::SocketAddr, time::Duration};

use clap::{Args, ValueEnum};
use tokio::io::{AsyncReadExt, stdin};

use crate::{sessions, strangers};

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
    /// Sessions that do everything they should not.
    Sessions,
    /// Sessions that do nothing wrong, but much.
    Busy,
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
            Self::Busy => "busy",
        }
    }
}

impl Attack {
    pub(crate) async fn run(self) -> io::Result<()> {
        let Self { kind, target, rate } = self;
        let (mut input, mut nothing) = (stdin(), Vec::new());
        tokio::select! {
            said = attack(kind, target, rate) => said?,
            _ = input.read_to_end(&mut nothing) => {}
        }
        match kind {
            Kind::Logins => println!("{}", strangers::LOGINS.report()),
            Kind::Sessions | Kind::Busy => println!("{}", sessions::DONE.report()),
            _ => println!("{}", strangers::OPENED.report()),
        }
        Ok(())
    }
}

async fn attack(kind: Kind, target: SocketAddr, rate: u32) -> io::Result<()> {
    match kind {
        Kind::Logins => strangers::log_in(target, rate).await,
        Kind::Sessions => sessions::misbehave(target, rate).await,
        Kind::Busy => sessions::be_busy(target, rate).await,
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
