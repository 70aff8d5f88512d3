//! What is said of those who are refused. Pure: the time is handed in.
//!
//! Whoever attacks must not be able to fill the log, nor to make the server explain itself all day.

use std::{collections::BTreeMap, fmt, time::Duration};

use tokio::time::Instant;

use super::policy::Peer;

/// How many are told why, and logged one by one, within a second.
const MAX_ALOUD: usize = 10;
/// How many peers are told apart within a second.
const MAX_PEERS: usize = 64;
/// How many peers a summary names.
const MAX_NAMED: usize = 3;

/// What a summary is about.
pub(crate) const WINDOW: Duration = Duration::from_secs(1);

/// Counts refusals, second by second.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    since: Option<Instant>,
    aloud: usize,
    silent: Summary,
}

/// How a refusal is to be treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// It is logged, and the peer is told if it can be.
    Aloud,
    /// It is only counted. Whoever is told to summarise asks for the
    /// [`summary`](Refusals::summary) after a [`WINDOW`].
    Silent {
        /// It is the first that the next summary counts.
        summarise: bool,
    },
}

/// The refusals nothing was said of.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    count: u64,
    peers: BTreeMap<Peer, u64>,
}

impl Refusals {
    /// Counts a refusal.
    pub(crate) fn note(&mut self, peer: Peer, now: Instant) -> Treatment {
        let is_over = self.since.is_none_or(|since| now.saturating_duration_since(since) >= WINDOW);
        if is_over && self.silent.count == 0 {
            self.since = Some(now);
            self.aloud = 0;
        }
        if self.aloud < MAX_ALOUD {
            self.aloud += 1;
            return Treatment::Aloud;
        }
        self.silent.count += 1;
        if self.silent.peers.len() < MAX_PEERS || self.silent.peers.contains_key(&peer) {
            *self.silent.peers.entry(peer).or_default() += 1;
        }
        Treatment::Silent { summarise: self.silent.count == 1 }
    }

    /// What nothing was said of until now; a new second begins.
    pub(crate) fn summary(&mut self, now: Instant) -> Summary {
        self.since = Some(now);
        self.aloud = 0;
        std::mem::take(&mut self.silent)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut peers: Vec<_> = self.peers.iter().map(|(peer, count)| (*count, *peer)).collect();
        peers.sort_unstable_by(|a, b| b.cmp(a));
        peers.truncate(MAX_NAMED);
        write!(f, "refused {} more clients:", self.count)?;
        let mut rest = self.count;
        for (n, (count, peer)) in peers.into_iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(f, "{comma} {count} from {peer}")?;
            rest -= count;
        }
        if rest > 0 { write!(f, ", {rest} from others") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn peer(last: u8) -> Peer {
        Peer::from(IpAddr::from([10, 0, 0, last]))
    }

    #[test]
    fn the_first_are_said_and_the_others_are_counted() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        for _ in 0..MAX_ALOUD {
            assert_eq!(refusals.note(peer(1), start), Treatment::Aloud);
        }
        assert_eq!(refusals.note(peer(1), start), Treatment::Silent { summarise: true });
        for _ in 0..20 {
            assert_eq!(refusals.note(peer(2), start), Treatment::Silent { summarise: false });
        }
        let later = start + WINDOW;
        let summary = refusals.summary(later);
        let said = "refused 21 more clients: 20 from 10.0.0.2, 1 from 10.0.0.1";
        assert_eq!(summary.to_string(), said);
        assert_eq!(refusals.note(peer(1), later), Treatment::Aloud);
        assert_eq!(refusals.summary(later), Summary::default());
    }

    #[test]
    fn a_few_every_second_are_all_said() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        for n in 0..10 * u32::try_from(MAX_ALOUD).unwrap() {
            let now = start + n * (WINDOW / u32::try_from(MAX_ALOUD).unwrap());
            assert_eq!(refusals.note(peer(1), now), Treatment::Aloud);
        }
    }

    #[test]
    fn a_summary_is_short() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        for last in 0..=255 {
            for _ in 0..10 {
                refusals.note(peer(last), start);
            }
        }
        let summary = refusals.summary(start);
        assert!(summary.peers.len() <= MAX_PEERS);
        let said = summary.to_string();
        assert!(said.starts_with("refused 2550 more clients: 10 from 10.0.0."), "{said}");
        assert!(said.ends_with(", 2520 from others"), "{said}");
    }
}
