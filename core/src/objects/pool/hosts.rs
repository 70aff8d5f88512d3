//! The hosts of a pool: sessions that keep workers, and do as they are told.

use std::collections::{BTreeMap, BTreeSet};

use mp_manager_proto::v1::{
    Error, PoolAttend, PoolHost, PoolOrders, PoolPast, PoolResize, Reason, reply,
};

use super::{State, broken, closed, invalid};
use crate::{
    call::{Answer, Applied, Call, CallId, Outcome, SessionId},
    memory::{block, tree},
    turn::Turn,
    waiters::Waiters,
};

/// The longest name of a host.
const MAX_NAME_BYTES: usize = 255;
/// The length of the reason that is kept why a host's workers do not come to work.
const MAX_TROUBLE_BYTES: usize = 1 << 10;
/// So many workers a host may be told to keep.
const MAX_WORKERS: u32 = 100_000;

/// The hosts of a pool.
#[derive(Debug, Clone, Default)]
pub(super) struct Hosts {
    by_name: BTreeMap<String, Host>,
    names: BTreeMap<SessionId, String>,
    /// Numbers the changes of which hosts hear.
    number: u64,
    /// Hosts that wait for others than those of this number.
    waiting: Waiters<u64>,
    /// Hosts of which not all others have heard: were the manager to start again now, those who come back would
    /// not know whom to wait for.
    strangers: BTreeSet<SessionId>,
    /// Of each earlier start of the manager of which a host has come back: the others that have not.
    absent: BTreeMap<u64, BTreeSet<String>>,
    /// Workers whose host's session is over before theirs, with its name. They execute what they have, and whoever
    /// was there has to know of that after a restart of the manager.
    left: BTreeMap<SessionId, String>,
    name_bytes: usize,
}

#[derive(Debug, Clone)]
struct Host {
    session: SessionId,
    capacity: u32,
    wanted: u32,
    load_milli: u32,
    is_drained: bool,
    /// Its workers that do not come to work do not break the pool.
    is_agent: bool,
    /// Why they do not.
    trouble: String,
    /// The number of the change with which it came.
    came: u64,
    /// The number of the orders that it has carried out.
    seen: u64,
}

impl Hosts {
    /// The name of a session's host.
    pub(super) fn name(&self, session: SessionId) -> Option<&str> {
        self.names.get(&session).map(String::as_str)
    }

    /// Whether workers that a session guards and that do not come to work are its concern alone.
    pub(super) fn is_agent(&self, session: SessionId) -> bool {
        let host = self.names.get(&session).and_then(|name| self.by_name.get(name));
        host.is_some_and(|host| host.is_agent)
    }

    /// Whether the workers that a session guards are handed nothing more.
    pub(super) fn is_drained(&self, session: SessionId) -> bool {
        let host = self.names.get(&session).and_then(|name| self.by_name.get(name));
        host.is_some_and(|host| host.is_drained)
    }

    /// Whether the workers that a session guards are handed nothing yet.
    pub(super) fn is_stranger(&self, session: SessionId) -> bool {
        self.strangers.contains(&session)
    }

    /// Whether workers may be handed different things.
    pub(super) fn are_equal(&self) -> bool {
        self.strangers.is_empty()
    }

    /// Whether all that were there in an earlier start of the manager have come back.
    fn have_returned(&self, server: u64) -> bool {
        self.absent.get(&server).is_some_and(BTreeSet::is_empty)
    }

    /// The name of the host of a worker, if that is lost.
    pub(super) fn left(&self, worker: SessionId) -> Option<&str> {
        self.left.get(&worker).map(String::as_str)
    }

    /// The hosts of earlier starts of the manager that have not come back.
    pub(super) fn missing(&self) -> BTreeSet<&String> {
        self.absent.values().flatten().collect()
    }

    /// Whether the host of a worker is lost.
    pub(super) fn is_left(&self, worker: SessionId) -> bool {
        self.left.contains_key(&worker)
    }

    /// A session is over that guards a worker: whether as a host.
    pub(super) fn leave(&mut self, guardian: SessionId, worker: SessionId) {
        if let Some(name) = self.names.get(&guardian) {
            self.name_bytes += block(name.len());
            self.left.insert(worker, name.clone());
        }
    }

    /// A worker executes nothing any more.
    pub(super) fn worker_ends(&mut self, worker: SessionId) {
        if let Some(name) = self.left.remove(&worker) {
            self.name_bytes -= block(name.len());
        }
    }

    /// A host is here, and the workers are dead that it had in earlier starts of the manager.
    fn returns(&mut self, name: &str, past: Vec<PoolPast>) {
        for PoolPast { server, others } in past {
            // How many there can be is bounded, as whoever says so is not known to have been there.
            if self.absent.len() == MAX_STARTS && !self.absent.contains_key(&server) {
                continue;
            }
            let room = MAX_ABSENT / MAX_STARTS;
            let absent = self.absent.entry(server).or_default();
            let room = room.saturating_sub(absent.len());
            let by_name = &self.by_name;
            absent.extend(others.into_iter().filter(|name| !by_name.contains_key(name)).take(room));
        }
        for absent in self.absent.values_mut() {
            absent.remove(name);
        }
    }

    pub(super) fn waiting(&self) -> &Waiters<u64> {
        &self.waiting
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Finds out of which hosts not all others have heard.
    fn look_for_strangers(&mut self) {
        let hosts = || self.by_name.values();
        let unheard = |host: &&Host| {
            hosts().any(|other| other.session != host.session && other.seen < host.came)
        };
        // One that all have heard of stays so.
        self.strangers = hosts().filter(unheard).map(|host| host.session).collect();
    }

    fn orders(&self, name: &str) -> PoolOrders {
        let host = self.by_name.get(name);
        PoolOrders {
            number: self.number,
            workers: host.map_or(0, |host| host.wanted),
            drain: host.is_some_and(|host| host.is_drained),
            hosts: self.names_to_tell().into_iter().cloned().collect(),
        }
    }

    /// Of whom hosts have to hear: of each other, and of those of before whose workers may execute something.
    fn names_to_tell(&self) -> BTreeSet<&String> {
        self.by_name.keys().chain(self.left.values()).collect()
    }

    /// Something has changed: all hosts hear of it.
    pub(super) fn tell(&mut self, turn: &mut Turn<'_>) {
        self.number += 1;
        for (call, _) in self.waiting.drain() {
            turn.reply(call, Answer::flag(true));
        }
    }

    fn unknown(&self, name: &str) -> Error {
        let names: Vec<&str> = self.by_name.keys().take(20).map(String::as_str).collect();
        let hint = match names[..] {
            [] => "start `mp-manager worker` on a machine to make it a host".into(),
            _ => format!("its hosts are {}", names.join(", ")),
        };
        invalid(match name {
            "" => "the pool has no hosts".into(),
            name => format!("the pool has no host \"{name}\""),
        })
        .with_hint(hint)
    }

    /// The hosts with a name, all of them if it is empty.
    fn named(&self, name: &str) -> Result<Vec<String>, Error> {
        let is_meant = |host: &&String| name.is_empty() || *host == name;
        let hosts: Vec<String> = self.by_name.keys().filter(is_meant).cloned().collect();
        if hosts.is_empty() { Err(self.unknown(name)) } else { Ok(hosts) }
    }

    /// Gives all hosts their shares, by their capacities: what is left of the division goes to those with the
    /// largest remainders.
    fn share(&mut self, workers: u32) {
        let stays = |host: &&Host| !host.is_drained;
        let staying = || self.by_name.values().filter(stays);
        let sum: u64 = staying().map(|host| u64::from(host.capacity)).sum();
        let even = sum == 0;
        let sum = if even { staying().count() as u64 } else { sum };
        let mut left = workers;
        let mut remainders = Vec::new();
        for (name, host) in self.by_name.iter_mut().filter(|(_, host)| !host.is_drained) {
            let capacity = if even { 1 } else { u64::from(host.capacity) };
            let product = u64::from(workers) * capacity;
            host.wanted = u32::try_from(product / sum.max(1)).unwrap_or(u32::MAX);
            left -= host.wanted;
            remainders.push((std::cmp::Reverse(product % sum.max(1)), name.clone()));
        }
        remainders.sort();
        for (_, name) in remainders.into_iter().take(left as usize) {
            if let Some(host) = self.by_name.get_mut(&name) {
                host.wanted += 1;
            }
        }
    }

    /// A session is over: whether it was a host.
    fn end_session(&mut self, session: SessionId, turn: &mut Turn<'_>) -> bool {
        self.waiting.remove_session(session);
        let Some(name) = self.names.remove(&session) else { return false };
        self.name_bytes -= block(name.len());
        if let Some(host) = self.by_name.remove(&name) {
            self.name_bytes -= block(name.len()) + block(host.trouble.len());
        }
        self.look_for_strangers();
        self.tell(turn);
        true
    }

    pub(super) fn delete(&mut self, why: impl Fn() -> Error, turn: &mut Turn<'_>) {
        for (call, _) in self.waiting.drain() {
            turn.refuse(call, why());
        }
    }

    /// A call does not wait any more: whether it did.
    pub(super) fn forget(&mut self, call: CallId) -> bool {
        self.waiting.remove(call).is_some()
    }

    /// The memory it takes, about.
    pub(super) fn bytes(&self) -> usize {
        self.name_bytes
            + tree::<String, Host>(self.by_name.len())
            + tree::<SessionId, String>(self.names.len())
            + tree::<SessionId, ()>(self.strangers.len())
            + tree::<SessionId, String>(self.left.len())
            + self.waiting.bytes()
    }
}

impl State {
    pub(super) fn attend(
        &mut self,
        session: SessionId,
        op: PoolAttend,
        turn: &mut Turn<'_>,
    ) -> Applied {
        if let Some(why) = &self.broken {
            return Err(broken(why));
        }
        if self.is_finished() {
            return Err(closed());
        }
        let PoolAttend { name, capacity, workers, seen, load_milli, past, .. } = op;
        let (drains, is_agent, mut trouble) = (op.drains, op.is_agent, op.trouble);
        trouble.truncate(trouble.floor_char_boundary(MAX_TROUBLE_BYTES));
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            let len = name.len();
            return Err(invalid(format!(
                "the name of a host has {len} bytes: it may have 1 to {MAX_NAME_BYTES}"
            )));
        }
        let wanted = check_workers(workers.unwrap_or(capacity))?;
        if let Some(known) = self.hosts.names.get(&session).filter(|known| **known != name) {
            return Err(invalid(format!("this session is the host \"{known}\" already")));
        }
        match self.hosts.by_name.get_mut(&name) {
            Some(host) if host.session != session => {
                return Err(Error::new(
                    Reason::AlreadyExists,
                    format!("session {} is the host \"{name}\" of this pool", host.session),
                )
                .with_hint("give each host a name of its own with --name"));
            }
            Some(host) => {
                host.seen = host.seen.max(seen.min(self.hosts.number));
                (host.load_milli, host.is_agent) = (load_milli, is_agent);
                self.hosts.name_bytes -= block(host.trouble.len());
                self.hosts.name_bytes += block(trouble.len());
                host.trouble = trouble;
                self.hosts.look_for_strangers();
            }
            None => {
                let came = self.hosts.number + 1;
                let is_drained = false;
                self.hosts.name_bytes += 2 * block(name.len()) + block(trouble.len());
                let host = Host {
                    session,
                    capacity,
                    wanted,
                    load_milli,
                    is_drained,
                    is_agent,
                    trouble,
                    came,
                    seen: came,
                };
                self.hosts.by_name.insert(name.clone(), host);
                self.hosts.names.insert(session, name.clone());
                self.hosts.tell(turn);
                self.hosts.look_for_strangers();
            }
        }
        self.hosts.returns(&name, past);
        if drains {
            self.drain_hosts(std::slice::from_ref(&name), turn);
        }
        let orders = self.hosts.orders(&name);
        self.hand_out_held(turn);
        self.serve(turn);
        Answer::new(reply::Result::PoolOrders(Box::new(orders))).into()
    }

    pub(super) fn orders(&mut self, call: Call, number: u64) -> Applied {
        if !self.hosts.names.contains_key(&call.id.session) {
            return Err(Error::new(Reason::NotHeld, "this session is no host of the pool")
                .with_hint("attend it first"));
        }
        if number != self.hosts.number || !call.may_wait {
            return Answer::flag(number != self.hosts.number).into();
        }
        self.hosts.waiting.push(call.id, number);
        Ok(Outcome::Parked)
    }

    pub(super) fn resize(&mut self, op: &PoolResize, turn: &mut Turn<'_>) -> Applied {
        let workers = check_workers(op.workers)?;
        let names = self.hosts.named(&op.host)?;
        if op.host.is_empty() {
            if self.hosts.by_name.values().all(|host| host.is_drained) {
                return Err(invalid("all hosts of the pool are drained")
                    .with_hint("start others, and resize the pool then"));
            }
            self.hosts.share(workers);
        } else {
            for name in names {
                if let Some(host) = self.hosts.by_name.get_mut(&name) {
                    host.wanted = workers;
                }
            }
        }
        self.hosts.tell(turn);
        Answer::done().into()
    }

    pub(super) fn drain(&mut self, name: &str, turn: &mut Turn<'_>) -> Applied {
        let names = self.hosts.named(name)?;
        self.drain_hosts(&names, turn);
        Answer::done().into()
    }

    /// The workers of hosts are handed nothing more.
    fn drain_hosts(&mut self, names: &[String], turn: &mut Turn<'_>) {
        let mut is_new = false;
        for name in names {
            if let Some(host) = self.hosts.by_name.get_mut(name) {
                is_new |= !std::mem::replace(&mut host.is_drained, true);
            }
        }
        if is_new {
            self.hosts.tell(turn);
            self.dismiss_takers(turn);
        }
    }

    /// A session that may be a host is over.
    pub(super) fn end_host(&mut self, session: SessionId, turn: &mut Turn<'_>) {
        if self.hosts.end_session(session, turn) {
            self.dismiss_takers(turn);
            self.serve(turn);
        }
    }

    /// Whether nobody can be executing what was submitted to these earlier starts of the manager.
    pub(super) fn is_clear(&self, again: &[u64], turn: &Turn<'_>) -> bool {
        turn.is_settled || again.iter().all(|server| self.hosts.have_returned(*server))
    }

    /// How far each host is.
    pub(super) fn host_status(&self) -> Vec<PoolHost> {
        let of = |(name, host): (&String, &Host)| PoolHost {
            name: name.clone(),
            session: host.session,
            capacity: host.capacity,
            wanted: host.wanted,
            workers: 0,
            running: 0,
            load_milli: host.load_milli,
            is_drained: host.is_drained,
            trouble: host.trouble.clone(),
        };
        let mut hosts: BTreeMap<&str, PoolHost> =
            self.hosts.by_name.iter().map(|host| (host.0.as_str(), of(host))).collect();
        for worker in self.workers.keys() {
            let name = self.guardian(*worker).and_then(|guardian| self.hosts.name(guardian));
            if let Some(host) = name.and_then(|name| hosts.get_mut(name)) {
                host.workers += 1;
            }
        }
        for ticket in self.tickets.values() {
            let name = self.guardian(ticket.worker).and_then(|guardian| self.hosts.name(guardian));
            let run = self.runs.get(&ticket.run);
            let piece = run.and_then(|run| run.pieces.get(&ticket.start));
            if let (Some(host), Some(piece)) = (name.and_then(|name| hosts.get_mut(name)), piece) {
                host.running += u64::from(piece.end - ticket.start);
            }
        }
        hosts.into_values().collect()
    }
}

/// So many earlier starts of the manager are told apart.
const MAX_STARTS: usize = 16;
/// So many hosts of earlier starts are waited for.
const MAX_ABSENT: usize = 160_000;

fn check_workers(workers: u32) -> Result<u32, Error> {
    if workers > MAX_WORKERS {
        return Err(invalid(format!("{workers} workers: there may be {MAX_WORKERS} at most")));
    }
    Ok(workers)
}
