//! What a session holds: each grant that has a guard, and which guards have to know when it is lost.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt, mem, ptr,
    sync::Arc,
};

use mp_manager_proto::v1::request;

/// Maximum number of buffered losses of grants that have no guard yet.
const EARLY_LOSSES: usize = 1024;
/// For how many sessions the machine remembers how they were lost, for guards that nobody looked at since.
const ENDS: usize = 64;

/// An object, and the token that it was granted under.
pub(crate) type GrantId = (u64, u64);

/// What a guard has that wants to know when its grant is lost. The machine only keeps it: whoever drives the
/// machine tells it.
pub(crate) trait LossListener: fmt::Debug + Send + Sync {
    /// Takes in that the grant is lost; the first loss counts.
    fn lose(&self, loss: Loss);
}

/// Guards that have to know that their grants are lost.
pub(crate) type Losses = Vec<(Arc<dyn LossListener>, Loss)>;

/// How a grant was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Somebody else released it, or deleted its object.
    Taken,
    /// The manager was not heard for too long, and may have given it to others.
    Lease,
    /// With its session.
    Session,
    /// With its manager.
    Restart,
}

/// A grant as a reply says it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Granted {
    pub(crate) token: u64,
    pub(crate) depth: u64,
    /// The session that it was granted to.
    pub(crate) incarnation: u64,
}

/// A guard of a grant, and the loss that it knows of.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) listener: Arc<dyn LossListener>,
    pub(crate) loss: Option<Loss>,
}

/// The grants of a session, and what is known of those that it had.
#[derive(Default)]
pub(super) struct Grants {
    /// In an order that does not depend on a hash: all of them may be given back at once.
    held: BTreeMap<GrantId, Held>,
    /// Those that went with their session, as long as their guards are there.
    lost: BTreeSet<GrantId>,
    /// Losses of grants whose callers have not looked yet; tokens are never used again.
    early: VecDeque<GrantId>,
    /// How the earlier sessions were lost, the last one first.
    ends: VecDeque<Loss>,
}

/// A grant that somebody has a guard for.
struct Held {
    /// Several if an owner of a re-entrant lock came by it in several ways.
    guards: Vec<Guard>,
    release: fn(u64) -> request::Op,
}

impl Held {
    /// Whether that was news to any guard.
    fn lose(&mut self, why: Loss, losses: &mut Losses) -> bool {
        let mut is_news = false;
        for guard in self.guards.iter_mut().filter(|guard| guard.loss.is_none()) {
            guard.loss = Some(why);
            losses.push((Arc::clone(&guard.listener), why));
            is_news = true;
        }
        is_news
    }
}

impl Grants {
    pub(super) fn note(&mut self, grant: GrantId, guard: Guard, release: fn(u64) -> request::Op) {
        let held = self.held.entry(grant).or_insert_with(|| Held { guards: Vec::new(), release });
        held.guards.push(guard);
    }

    /// The guard of a grant is gone, but not others of the same grant, or of the item that it had
    /// leased, which keeps its number when it is leased again.
    pub(super) fn forget(&mut self, grant: GrantId, guard: &dyn LossListener) {
        self.lost.remove(&grant);
        if let Some(held) = self.held.get_mut(&grant) {
            held.guards.retain(|known| !ptr::addr_eq(&*known.listener, guard));
            if held.guards.is_empty() {
                self.held.remove(&grant);
            }
        }
    }

    /// The manager says that the grant is lost; its guard may not be there yet.
    pub(super) fn lose(&mut self, grant: GrantId, losses: &mut Losses) {
        if self.lose_held(grant, losses) {
            return;
        }
        if self.early.len() == EARLY_LOSSES {
            self.early.pop_front();
        }
        self.early.push_back(grant);
    }

    /// False if there is no guard of that grant.
    pub(super) fn lose_held(&mut self, grant: GrantId, losses: &mut Losses) -> bool {
        let held = self.held.get_mut(&grant);
        held.map(|held| held.lose(Loss::Taken, losses)).is_some()
    }

    /// The lease is over, and with it every grant; what gives those back that nobody knew to be lost.
    pub(super) fn lose_lease(&mut self, losses: &mut Losses) -> Vec<(u64, request::Op)> {
        let mut released = Vec::new();
        for (&(object, token), held) in &mut self.held {
            if held.lose(Loss::Lease, losses) {
                released.push((object, (held.release)(token)));
            }
        }
        released
    }

    /// The session is about to be ended, and with it every grant.
    pub(super) fn lose_all(&mut self, losses: &mut Losses) {
        self.held.values_mut().for_each(|held| _ = held.lose(Loss::Session, losses));
    }

    /// The session is over, and with it every grant.
    pub(super) fn lose_session(&mut self, why: Loss, losses: &mut Losses) {
        self.ends.truncate(ENDS - 1);
        self.ends.push_front(why);
        for (grant, mut held) in mem::take(&mut self.held) {
            held.lose(why, losses);
            self.lost.insert(grant);
        }
        if why == Loss::Restart {
            // Fences of another start stand nowhere, and objects may have other numbers now.
            self.lost.clear();
        }
        self.early.clear();
    }

    pub(super) fn is_lost_early(&self, grant: GrantId) -> bool {
        self.early.contains(&grant)
    }

    /// Whether a guard that is still there has lost this grant.
    pub(super) fn has_lost(&self, grant: GrantId) -> bool {
        let is_lost = |held: &Held| held.guards.iter().any(|guard| guard.loss.is_some());
        self.lost.contains(&grant) || self.held.get(&grant).is_some_and(is_lost)
    }

    /// How the session was lost that was `since` sessions ago; the last one is 1.
    pub(super) fn end_of(&self, since: u64) -> Loss {
        let since = usize::try_from(since).unwrap_or(usize::MAX);
        self.ends.get(since.saturating_sub(1)).copied().unwrap_or(Loss::Session)
    }
}
