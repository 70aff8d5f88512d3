//! The rules of admission. Pure: the time is handed in, and whoever asks acts on the answer.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use mp_manager_core::{Error, Reason};
use tokio::time::Instant;

use crate::{
    options::Limits,
    rate::{Bucket, Rate},
};

/// How often a failure is forgiven. Ten wrong keys a second cost the server less than a hundredth of
/// a core, and whoever shares an address with a client that was put right waits no longer than
/// anyone notices.
const FORGIVE_EVERY: Duration = Duration::from_millis(100);

/// How many peers are remembered for their failures alone.
const MAX_REMEMBERED: usize = 16_384;

/// Where a connection comes from, as far as the rules are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    /// This machine, through a unix socket: its permissions say who may connect, and the rules for
    /// single peers do not apply.
    Local,
    /// An address; of an IPv6 address its network, as whoever has one address there has them all.
    Remote(IpAddr),
}

/// Numbers connections in the order in which they came.
pub(crate) type Number = u64;

/// Who may connect. A connection that has not authenticated is a *stranger*.
///
/// Strangers that are too many are not refused: the oldest of the peer that has most of them has to
/// go. Who is about to authenticate needs a moment only, so one flooding peer cannot keep the others
/// out, nor even its own honest neighbours. `H` is how the driver names a connection to be closed.
///
/// ```text
///             ┌── too many strangers ──► expelled ──┐
///   admitted ─┤                                     ├──► released
///             └── proof accepted ──► authenticated ─┘
/// ```
#[derive(Debug)]
pub(crate) struct Policy<H> {
    max_connections: usize,
    max_connections_per_peer: usize,
    max_strangers: usize,
    failures: Rate,
    connections: usize,
    last: Number,
    peers: BTreeMap<Peer, Standing>,
    strangers: BTreeMap<(Peer, Number), H>,
    /// The peers that have strangers: last the one with most of them or, of several, with the
    /// oldest.
    crowds: BTreeSet<(usize, Reverse<Number>, Peer)>,
    tidy_peers_at: usize,
}

/// What is known of a peer.
#[derive(Debug, Default)]
struct Standing {
    connections: usize,
    strangers: usize,
    failures: Bucket,
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There are this many connections in all.
    Full(usize),
    /// The peer has this many connections.
    PeerFull(usize),
    /// The peer has failed to authenticate, or to keep to the rules after that, too often.
    BackOff,
}

impl<H> Policy<H> {
    pub(crate) fn new(limits: &Limits) -> Self {
        let burst = u32::try_from(limits.max_failed_handshakes).unwrap_or(u32::MAX).max(1);
        Self {
            max_connections: limits.max_connections,
            max_connections_per_peer: limits.max_connections_per_peer,
            max_strangers: limits.max_unauthenticated_connections,
            failures: Rate { burst, interval: FORGIVE_EVERY },
            connections: 0,
            last: 0,
            peers: BTreeMap::new(),
            strangers: BTreeMap::new(),
            crowds: BTreeSet::new(),
            tidy_peers_at: 0,
        }
    }

    /// Lets a connection in; perhaps another one has to be closed for it.
    pub(crate) fn admit(
        &mut self,
        peer: Peer,
        handle: H,
        now: Instant,
    ) -> Result<(Number, Option<H>), Refusal> {
        let expelled = self.make_room_for(peer, now)?;
        self.tidy_peers(now);
        self.last += 1;
        self.connections += 1;
        self.peers.entry(peer).or_default().connections += 1;
        self.change_crowd(peer, |strangers, number| strangers.insert((peer, number), handle));
        Ok((self.last, expelled))
    }

    /// How many connections there are, how many of them have not authenticated, and how many were let in.
    pub(crate) fn numbers(&self) -> (usize, usize, u64) {
        (self.connections, self.strangers.len(), self.last)
    }

    /// The oldest stranger of the peer that has most of them: it is to be closed.
    pub(crate) fn expel(&mut self) -> Option<H> {
        let (_, Reverse(oldest), peer) = *self.crowds.last()?;
        self.remove_stranger(peer, oldest)
    }

    /// A proof was accepted on a connection. False if it was expelled first.
    pub(crate) fn authenticated(&mut self, peer: Peer, number: Number) -> bool {
        self.remove_stranger(peer, number).is_some()
    }

    /// A handshake failed, or a session was ended because it broke the rules.
    pub(crate) fn failed(&mut self, peer: Peer, now: Instant) {
        if peer != Peer::Local {
            let rate = self.failures;
            self.peers.entry(peer).or_default().failures.fill(rate, now);
        }
    }

    /// A connection is closed.
    pub(crate) fn release(&mut self, peer: Peer, number: Number, now: Instant) {
        self.remove_stranger(peer, number);
        self.connections -= 1;
        if let Some(standing) = self.peers.get_mut(&peer) {
            standing.connections -= 1;
            if standing.is_forgotten(now) {
                self.peers.remove(&peer);
            }
        }
    }

    fn make_room_for(&mut self, peer: Peer, now: Instant) -> Result<Option<H>, Refusal> {
        let standing = self.peers.get(&peer);
        if standing.is_some_and(|standing| standing.failures.is_full(self.failures, now)) {
            return Err(Refusal::BackOff);
        }
        let of_peer = standing.map_or(0, |standing| standing.connections);
        if peer != Peer::Local && of_peer >= self.max_connections_per_peer {
            let expelled = self.expel_of(peer);
            return expelled.map(Some).ok_or(Refusal::PeerFull(self.max_connections_per_peer));
        }
        if self.connections >= self.max_connections || self.strangers.len() >= self.max_strangers {
            return self.expel().map(Some).ok_or(Refusal::Full(self.max_connections));
        }
        Ok(None)
    }

    fn expel_of(&mut self, peer: Peer) -> Option<H> {
        let oldest = self.oldest_of(peer)?;
        self.remove_stranger(peer, oldest)
    }

    fn oldest_of(&self, peer: Peer) -> Option<Number> {
        let all = (peer, Number::MIN)..=(peer, Number::MAX);
        self.strangers.range(all).next().map(|((_, number), _)| *number)
    }

    fn remove_stranger(&mut self, peer: Peer, number: Number) -> Option<H> {
        self.change_crowd(peer, |strangers, _| strangers.remove(&(peer, number)))
    }

    /// Changes a peer's strangers and with them its rank. `change` is told the last number.
    fn change_crowd<T>(
        &mut self,
        peer: Peer,
        change: impl FnOnce(&mut BTreeMap<(Peer, Number), H>, Number) -> T,
    ) -> T {
        if let Some(rank) = self.rank(peer) {
            self.crowds.remove(&rank);
        }
        let before = self.strangers.len();
        let changed = change(&mut self.strangers, self.last);
        if let Some(standing) = self.peers.get_mut(&peer) {
            standing.strangers = standing.strangers + self.strangers.len() - before;
        }
        if let Some(rank) = self.rank(peer) {
            self.crowds.insert(rank);
        }
        changed
    }

    fn rank(&self, peer: Peer) -> Option<(usize, Reverse<Number>, Peer)> {
        let strangers = self.peers.get(&peer)?.strangers;
        Some((strangers, Reverse(self.oldest_of(peer)?), peer))
    }

    /// Forgets peers that have no connection and are forgiven. If their number still goes beyond all
    /// bounds, the others are forgiven as well: what a connection may do at most is limited anyway.
    fn tidy_peers(&mut self, now: Instant) {
        if self.peers.len() < self.tidy_peers_at {
            return;
        }
        self.peers.retain(|_, standing| !standing.is_forgotten(now));
        if self.peers.len() >= MAX_REMEMBERED + self.connections {
            self.peers.retain(|_, standing| standing.connections > 0);
        }
        self.tidy_peers_at = 64 + 2 * self.peers.len().min(MAX_REMEMBERED / 2 + self.connections);
    }
}

impl Standing {
    fn is_forgotten(&self, now: Instant) -> bool {
        self.connections == 0 && self.failures.is_empty(now)
    }
}

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = address.to_bits() & (u128::MAX << 64);
                Self::Remote(Ipv6Addr::from_bits(network).into())
            }
            address => Self::Remote(address),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("unix"),
            Self::Remote(IpAddr::V4(address)) => address.fmt(f),
            Self::Remote(IpAddr::V6(network)) => write!(f, "{network}/64"),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let (message, hint) = match refusal {
            Refusal::Full(max) => (
                format!("there are {max} connections, which is the limit"),
                "close some clients, or raise the server's --max-connections",
            ),
            Refusal::PeerFull(max) => (
                format!("there are {max} connections from this address, which is the limit"),
                "close some clients, or raise the server's --max-connections-per-peer",
            ),
            Refusal::BackOff => (
                "too many clients at this address have failed to authenticate, or broke the protocol"
                    .into(),
                "the manager's log says which; check their authkeys, and try again in a moment",
            ),
        };
        Self::new(Reason::LimitExceeded, message).with_hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(connections: usize, per_peer: usize, strangers: usize) -> Policy<&'static str> {
        Policy::new(&Limits {
            max_connections: connections,
            max_connections_per_peer: per_peer,
            max_unauthenticated_connections: strangers,
            max_failed_handshakes: 3,
            ..Limits::default()
        })
    }

    fn peer(last: u8) -> Peer {
        Peer::from(IpAddr::from([10, 0, 0, last]))
    }

    /// Admits, and says who is expelled.
    fn admit(
        policy: &mut Policy<&'static str>,
        peer: Peer,
        name: &'static str,
    ) -> Result<Option<&'static str>, Refusal> {
        policy.admit(peer, name, Instant::now()).map(|(_, expelled)| expelled)
    }

    #[test]
    fn too_many_strangers_of_one_peer_give_way_oldest_first() {
        let mut policy = policy(100, 100, 3);
        assert_eq!(admit(&mut policy, peer(1), "first"), Ok(None));
        assert_eq!(admit(&mut policy, peer(2), "lone"), Ok(None));
        assert_eq!(admit(&mut policy, peer(1), "second"), Ok(None));
        // Neither the newcomers nor the other peer.
        assert_eq!(admit(&mut policy, peer(1), "third"), Ok(Some("first")));
        assert_eq!(admit(&mut policy, peer(3), "fourth"), Ok(Some("second")));
    }

    #[test]
    fn of_peers_with_equally_many_strangers_the_oldest_gives_way() {
        let mut policy = policy(100, 100, 3);
        for (last, name) in [(9, "first"), (5, "second"), (7, "third")] {
            assert_eq!(admit(&mut policy, peer(last), name), Ok(None));
        }
        assert_eq!(admit(&mut policy, peer(6), "fourth"), Ok(Some("first")));
        assert_eq!(admit(&mut policy, peer(8), "fifth"), Ok(Some("second")));
    }

    #[test]
    fn who_has_authenticated_is_never_expelled() {
        let mut policy = policy(2, 100, 100);
        let now = Instant::now();
        let (number, _) = policy.admit(peer(1), "in", now).unwrap();
        assert!(policy.authenticated(peer(1), number));
        assert_eq!(admit(&mut policy, peer(1), "stranger"), Ok(None));
        let (newcomer, expelled) = policy.admit(peer(2), "newcomer", now).unwrap();
        assert_eq!(expelled, Some("stranger"));
        assert!(policy.authenticated(peer(2), newcomer));
        assert_eq!(admit(&mut policy, peer(3), "late"), Err(Refusal::Full(2)));
        assert_eq!(policy.expel(), None);
    }

    #[test]
    fn who_was_expelled_cannot_authenticate_any_more() {
        let mut policy = policy(100, 100, 1);
        let now = Instant::now();
        let (number, _) = policy.admit(peer(1), "slow", now).unwrap();
        assert_eq!(admit(&mut policy, peer(2), "newcomer"), Ok(Some("slow")));
        assert!(!policy.authenticated(peer(1), number));
        // Its release still counts, once.
        policy.release(peer(1), number, now);
        assert_eq!(policy.connections, 1);
        assert!(!policy.peers.contains_key(&peer(1)));
    }

    #[test]
    fn a_peer_has_its_share_and_a_slot_that_is_released_is_free() {
        let mut policy = policy(100, 2, 100);
        let now = Instant::now();
        let mut numbers = Vec::new();
        for _ in 0..2 {
            let (number, _) = policy.admit(peer(1), "in", now).unwrap();
            policy.authenticated(peer(1), number);
            numbers.push(number);
        }
        assert_eq!(admit(&mut policy, peer(1), "late"), Err(Refusal::PeerFull(2)));
        assert_eq!(admit(&mut policy, peer(2), "other"), Ok(None));
        policy.release(peer(1), numbers[0], now);
        assert_eq!(admit(&mut policy, peer(1), "again"), Ok(None));
        // Its own stranger gives way before anyone is refused.
        assert_eq!(admit(&mut policy, peer(1), "more"), Ok(Some("again")));
    }

    #[test]
    fn who_fails_too_often_is_not_let_in_for_a_while() {
        let mut policy = policy(100, 100, 100);
        let start = Instant::now();
        for _ in 0..3 {
            assert!(policy.admit(peer(1), "guess", start).is_ok());
            policy.failed(peer(1), start);
        }
        assert_eq!(policy.admit(peer(1), "guess", start), Err(Refusal::BackOff));
        assert!(policy.admit(peer(2), "other", start).is_ok());
        assert!(policy.admit(peer(1), "guess", start + FORGIVE_EVERY).is_ok());
    }

    #[test]
    fn a_unix_socket_has_no_single_peers() {
        let mut policy = policy(10, 2, 10);
        for _ in 0..5 {
            assert_eq!(admit(&mut policy, Peer::Local, "local"), Ok(None));
            policy.failed(Peer::Local, Instant::now());
        }
    }

    #[test]
    fn peers_are_forgotten_when_they_are_forgiven() {
        let mut policy = policy(100, 100, 100);
        let start = Instant::now();
        for n in 0..1000 {
            // Long before the same one comes again.
            let (peer, now) = (peer((n % 250) as u8), start + n * FORGIVE_EVERY / 4);
            let (number, _) = policy.admit(peer, "guess", now).unwrap();
            policy.failed(peer, now);
            policy.release(peer, number, now);
            assert!(policy.peers.len() < 100);
        }
        let (number, _) = policy.admit(peer(250), "honest", start).unwrap();
        assert!(policy.peers.contains_key(&peer(250)));
        policy.release(peer(250), number, start);
        assert!(!policy.peers.contains_key(&peer(250)));
    }

    #[test]
    fn no_more_peers_are_remembered_than_there_is_room_for() {
        let mut policy = policy(1000, 1000, 1000);
        let start = Instant::now();
        let (_, _) = policy.admit(peer(1), "stays", start).unwrap();
        for n in 0..40_000_u128 {
            let address = Ipv6Addr::from_bits((0xfd << 120) | (n << 64));
            let peer = Peer::from(IpAddr::from(address));
            let (number, _) = policy.admit(peer, "guess", start).unwrap();
            policy.failed(peer, start);
            policy.release(peer, number, start);
            assert!(policy.peers.len() <= 2 * MAX_REMEMBERED);
        }
        assert!(policy.peers.contains_key(&peer(1)));
    }

    #[test]
    fn addresses_of_one_network_are_one_peer() {
        let peer = |text: &str| Peer::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:1"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
        assert_eq!(peer("::ffff:10.0.0.1"), peer("10.0.0.1"));
        assert_ne!(peer("10.0.0.1"), peer("10.0.0.2"));
        assert_eq!(peer("2001:db8::1").to_string(), "2001:db8::/64");
    }

    mod model {
        use proptest::prelude::*;

        use super::*;

        /// The rules again, as slowly and as plainly as they can be written.
        #[derive(Default)]
        struct Model {
            /// Peer, number, whether it is a stranger, whether it is expelled.
            connections: Vec<(Peer, Number, bool, bool)>,
        }

        impl Model {
            fn strangers(&self, of: Option<Peer>) -> Vec<(Peer, Number)> {
                let is_counted = |c: &&(Peer, Number, bool, bool)| {
                    c.2 && !c.3 && of.is_none_or(|peer| peer == c.0)
                };
                self.connections.iter().filter(is_counted).map(|c| (c.0, c.1)).collect()
            }

            fn expel(&mut self, of: Option<Peer>) -> Option<Number> {
                let rank = |(peer, number): &(Peer, Number)| {
                    (self.strangers(Some(*peer)).len(), Reverse(*number))
                };
                let (_, number) = self.strangers(of).into_iter().max_by_key(rank)?;
                for connection in &mut self.connections {
                    connection.3 |= connection.1 == number;
                }
                Some(number)
            }
        }

        #[derive(Debug, Clone)]
        enum Step {
            Admit(u8),
            Authenticate(prop::sample::Index),
            Release(prop::sample::Index),
            Expel,
        }

        fn step() -> impl Strategy<Value = Step> {
            prop_oneof![
                4 => (0..4_u8).prop_map(Step::Admit),
                2 => any::<prop::sample::Index>().prop_map(Step::Authenticate),
                2 => any::<prop::sample::Index>().prop_map(Step::Release),
                1 => Just(Step::Expel),
            ]
        }

        proptest! {
            #[test]
            fn the_policy_is_what_the_model_says(steps in prop::collection::vec(step(), 0..200)) {
                let mut policy = Policy::<Number>::new(&Limits {
                    max_connections: 12,
                    max_connections_per_peer: 6,
                    max_unauthenticated_connections: 8,
                    ..Limits::default()
                });
                let (mut model, now) = (Model::default(), Instant::now());
                for step in steps {
                    match step {
                        Step::Admit(last) => {
                            let peer = peer(last);
                            let of_peer = model.connections.iter().filter(|c| c.0 == peer).count();
                            let room = if of_peer >= 6 {
                                model.expel(Some(peer)).map(Some).ok_or(Refusal::PeerFull(6))
                            } else if model.connections.len() >= 12
                                || model.strangers(None).len() >= 8
                            {
                                model.expel(None).map(Some).ok_or(Refusal::Full(12))
                            } else {
                                Ok(None)
                            };
                            let next = policy.last + 1;
                            let admitted = policy.admit(peer, next, now);
                            prop_assert_eq!(admitted, room.map(|expelled| (next, expelled)));
                            if admitted.is_ok() {
                                model.connections.push((peer, next, true, false));
                            }
                        }
                        Step::Authenticate(index) if !model.connections.is_empty() => {
                            let i = index.index(model.connections.len());
                            let (peer, number, is_stranger, is_expelled) = model.connections[i];
                            let accepted = policy.authenticated(peer, number);
                            prop_assert_eq!(accepted, is_stranger && !is_expelled);
                            model.connections[i].2 = is_expelled;
                        }
                        Step::Release(index) if !model.connections.is_empty() => {
                            let i = index.index(model.connections.len());
                            let (peer, number, ..) = model.connections.remove(i);
                            policy.release(peer, number, now);
                        }
                        Step::Expel => prop_assert_eq!(policy.expel(), model.expel(None)),
                        Step::Authenticate(_) | Step::Release(_) => {}
                    }
                    prop_assert_eq!(policy.connections, model.connections.len());
                    prop_assert_eq!(policy.strangers.len(), model.strangers(None).len());
                }
            }
        }
    }
}
