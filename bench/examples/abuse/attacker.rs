//! The common part of all attackers: commands to pause and go on, source addresses, a tally.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use tokio::io::{AsyncBufReadExt, BufReader, stdin};

/// A command to an attacker.
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
pub(crate) async fn obey() {
    let mut lines = BufReader::new(stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        IS_PAUSED.store(line == Word::Pause.name(), Ordering::Relaxed);
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

/// Counts events by name.
pub(crate) struct Tally {
    names: &'static [&'static str],
    counts: [AtomicU64; 8],
}

impl Tally {
    pub(crate) const fn new(names: &'static [&'static str]) -> Self {
        Self { names, counts: [const { AtomicU64::new(0) }; 8] }
    }

    pub(crate) fn count(&self, name: &str) {
        if let Some(n) = self.names.iter().position(|known| *known == name) {
            self.counts[n].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All counts with their names.
    pub(crate) fn report(&self) -> String {
        let count = |n: usize| self.counts[n].load(Ordering::Relaxed);
        let parts = self.names.iter().enumerate().map(|(n, name)| format!("{} {name}", count(n)));
        parts.collect::<Vec<_>>().join(", ")
    }
}
