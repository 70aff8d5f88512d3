//! A level of a re-entrant lock: what the guards of an `RLock` and of a `Condition` are made of.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mp_manager_proto::v1::request;

use super::{grant::Grant, owner::Owner};
use crate::{
    error::Result,
    protocol::Granted,
    rpc::{fence::Fence, object::Object},
};

/// One of the levels that an owner holds. Dropping it releases that one.
///
/// ```text
///   held ──suspend──► suspended ──resume──► held
///    │                    └──drop──► no level is held
///    └──release, leak, drop──► over
/// ```
pub(crate) struct Level {
    object: Object,
    tenure: Arc<Tenure>,
    operations: Operations,
    state: State,
}

/// How a kind of lock is told.
#[derive(Clone, Copy)]
pub(crate) struct Operations {
    /// One level of this owner is over.
    pub(crate) release: fn(u64) -> request::Op,
    /// The grant with this token is.
    pub(crate) release_token: fn(u64) -> request::Op,
}

/// What all levels of one owner have in common: they are held under one token and lost together.
pub(crate) struct Tenure {
    hold: Mutex<Hold>,
    owner: Owner,
}

struct Hold {
    grant: Grant,
    /// While the owner waits without the lock: how many levels it does not want back.
    given_up: Option<u64>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Held,
    /// Its owner waits without the lock. Whether the manager has heard of that, and whether it has
    /// given the lock back, nobody knows here.
    Suspended,
    Over,
}

impl Level {
    /// A level that `owner` was granted.
    pub(crate) fn new(
        object: &Object,
        granted: Granted,
        owner: Owner,
        operations: Operations,
    ) -> Self {
        let tenure = Tenure::find(object, granted, owner, operations);
        Self { object: object.clone(), tenure, operations, state: State::Held }
    }

    pub(crate) fn object(&self) -> &Object {
        &self.object
    }

    pub(crate) fn owner(&self) -> u64 {
        self.tenure.owner.number()
    }

    pub(crate) fn token(&self) -> u64 {
        self.tenure.hold().grant.token
    }

    pub(crate) fn fence(&self) -> Fence {
        self.tenure.hold().grant.fence()
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.tenure.hold().grant.is_lost()
    }

    pub(crate) async fn lost(&self) {
        let lost = self.tenure.hold().grant.lost();
        lost.await;
    }

    /// An error once it is lost.
    pub(crate) fn check(&self, operation: &'static str) -> Result<()> {
        self.tenure.hold().grant.check(operation)
    }

    /// Releases it, for certain: a level must be released once, not twice and not never.
    pub(crate) async fn release(mut self) -> Result<()> {
        self.check("release")?;
        self.state = State::Over;
        let released = {
            let mut hold = self.tenure.hold();
            if hold.give_up_level() {
                return Ok(());
            }
            let release = (self.operations.release)(self.tenure.owner.number());
            hold.grant.give_back("release", release)
        };
        released.await?.done()
    }

    /// Leaves it to be released without a guard.
    pub(crate) fn leak(mut self) {
        self.state = State::Over;
        self.tenure.owner.leak();
    }

    /// Its owner is about to let go of every level, to wait. Unless it is [resumed](Self::resume),
    /// dropping it makes sure that none is held. False if it waits already: it has none to let go of.
    #[must_use]
    pub(crate) fn suspend(&mut self) -> bool {
        let mut hold = self.tenure.hold();
        if hold.given_up.is_some() {
            return false;
        }
        hold.grant.suspend();
        hold.given_up = Some(0);
        self.state = State::Suspended;
        true
    }

    /// Its owner has every level back, under a new token.
    pub(crate) fn resume(&mut self, token: u64) {
        let mut hold = self.tenure.hold();
        hold.grant.renew(token);
        for _ in 0..hold.given_up.take().unwrap_or_default() {
            hold.grant.tell((self.operations.release)(self.tenure.owner.number()));
        }
        self.state = State::Held;
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        match self.state {
            State::Held if !self.is_lost() => {
                let mut hold = self.tenure.hold();
                if !hold.give_up_level() {
                    hold.grant.tell((self.operations.release)(self.tenure.owner.number()));
                }
            }
            State::Suspended => self.tenure.hold().abandon(),
            State::Held | State::Over => {}
        }
    }
}

impl fmt::Debug for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tenure.hold().grant.fmt(f)
    }
}

impl Tenure {
    /// The one that is held under this token already, or a new one.
    fn find(object: &Object, granted: Granted, owner: Owner, operations: Operations) -> Arc<Self> {
        let make = || {
            let grant = Grant::new(object.clone(), granted, operations.release_token);
            Self { hold: Mutex::new(Hold { grant, given_up: None }), owner }
        };
        object.handle().common(|tenure: &Self| tenure.is_held_under(granted.token), make)
    }

    fn is_held_under(&self, token: u64) -> bool {
        self.hold().grant.token == token
    }

    fn hold(&self) -> MutexGuard<'_, Hold> {
        self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// A level is over; whether that is done by not taking it back.
    fn give_up_level(&mut self) -> bool {
        self.given_up.as_mut().map(|count| *count += 1).is_some()
    }

    /// The owner waited, and takes nothing back.
    fn abandon(&mut self) {
        self.given_up = None;
        self.grant.abandon();
    }
}

#[cfg(test)]
#[cfg(feature = "embedded")]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use crate::{Condition, Error, Manager, RLock};

    async fn condition() -> (Manager, Condition) {
        let manager = Manager::start().await.unwrap();
        let condition = manager.condition("ready").await.unwrap();
        (manager, condition)
    }

    async fn rlock() -> (Manager, RLock) {
        let manager = Manager::start().await.unwrap();
        let lock = manager.rlock("migrate").await.unwrap();
        (manager, lock)
    }

    async fn another_session(manager: &Manager) -> Manager {
        let environment = manager.environment();
        let [(_, address), (_, authkey), ..] = &environment[..] else { panic!("it is short") };
        Manager::connect(address.to_str().unwrap(), authkey.as_encoded_bytes()).await.unwrap()
    }

    /// Lets a future begin, and drops it.
    fn give_up<T>(future: impl Future<Output = T>) {
        let begun = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(begun, Poll::Pending));
    }

    /// Notifies the only one who waits, once there is one.
    async fn notify(condition: Condition) {
        while condition.acquire().await.unwrap().notify_one().await.unwrap() == 0 {}
    }

    #[tokio::test]
    async fn dropping_one_guard_keeps_the_levels_of_the_others() {
        let (_manager, lock) = rlock().await;
        let outer = lock.acquire().await.unwrap();
        drop(lock.acquire().await.unwrap());
        assert_eq!(lock.depth().await.unwrap(), 1);
        lock.release_token(outer.token()).await.unwrap();
        assert!(outer.is_lost(), "its loss is still told");
    }

    #[tokio::test]
    async fn a_release_that_nobody_waits_for_releases_one_level() {
        let (_manager, lock) = rlock().await;
        let _outer = lock.acquire().await.unwrap();
        let inner = lock.acquire().await.unwrap();
        give_up(inner.release());
        assert_eq!(lock.depth().await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_guard_of_a_lost_grant_releases_nothing_of_the_next() {
        let (_manager, lock) = rlock().await;
        let lost = lock.acquire().await.unwrap();
        lock.release_token(lost.token()).await.unwrap();
        let held = lock.acquire().await.unwrap();
        assert!(lost.is_lost() && !held.is_lost());
        drop(lost);
        assert_eq!(lock.depth().await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_guard_releases_the_level_of_the_task_that_acquired_it() {
        let (_manager, lock) = rlock().await;
        let theirs = lock.clone();
        let guard = tokio::spawn(async move { theirs.acquire().await.unwrap() }).await.unwrap();
        assert!(matches!(lock.release().await, Err(Error::NotOwner(_))));
        guard.release().await.unwrap();
        assert!(!lock.is_locked().await.unwrap());
    }

    #[tokio::test]
    async fn all_levels_have_the_new_token_after_a_wait() {
        let (manager, condition) = condition().await;
        let outer = condition.acquire().await.unwrap();
        let inner = condition.acquire().await.unwrap();
        let before = outer.token();
        tokio::spawn(notify(condition.clone()));
        let inner = condition.wait(inner).await.unwrap();
        assert!(outer.token() > before);
        assert_eq!(outer.token(), inner.token());
        drop(inner);
        assert!(condition.is_locked().await.unwrap());

        let same = another_session(&manager).await.condition("ready").await.unwrap();
        same.release_token(outer.token()).await.unwrap();
        outer.lost().await;
    }

    /// The manager may have been stopped, and know nothing of it.
    #[tokio::test]
    async fn a_lease_that_runs_out_during_a_wait_takes_nothing_that_comes_after() {
        let (manager, condition) = condition().await;
        let lock = manager.lock("other").await.unwrap();
        let held = lock.acquire().await.unwrap();
        let wait = condition.wait(condition.acquire().await.unwrap());
        let run_out = async {
            while condition.is_locked().await.unwrap() {}
            manager.link().session.run_out_of_lease();
            assert!(held.is_lost(), "what is held meanwhile is");
            tokio::spawn(notify(condition.clone())).await.unwrap();
        };
        let (guard, ()) = tokio::join!(wait, run_out);
        let guard = guard.unwrap();
        assert!(!guard.is_lost());
        guard.release().await.unwrap();
        assert!(!condition.is_locked().await.unwrap());
    }

    #[tokio::test]
    async fn an_owner_waits_once_at_a_time() {
        let (_manager, condition) = condition().await;
        let outer = condition.acquire().await.unwrap();
        let wait = condition.wait(condition.acquire().await.unwrap());
        let wait_again = async {
            while condition.is_locked().await.unwrap() {}
            assert!(matches!(condition.wait(outer).await, Err(Error::NotHeld(_))));
            tokio::spawn(notify(condition.clone())).await.unwrap();
        };
        let (guard, ()) = tokio::join!(wait, wait_again);
        guard.unwrap().release().await.unwrap();
        assert!(!condition.is_locked().await.unwrap());
    }

    /// It may come by the lock in two ways, and everybody hears when it is lost.
    #[tokio::test]
    async fn all_guards_of_a_grant_hear_of_its_loss() {
        let (manager, condition) = condition().await;
        let wait = condition.wait(condition.acquire().await.unwrap());
        let notify = async {
            while condition.is_locked().await.unwrap() {}
            let guard = condition.acquire().await.unwrap();
            assert_eq!(guard.notify_one().await.unwrap(), 1);
            guard
        };
        let (waited, notified) = tokio::join!(wait, notify);
        let waited = waited.unwrap();
        assert_eq!(waited.token(), notified.token());
        let same = another_session(&manager).await.condition("ready").await.unwrap();
        same.release_token(waited.token()).await.unwrap();
        waited.lost().await;
        notified.lost().await;
    }

    #[tokio::test]
    async fn a_level_that_is_given_up_during_a_wait_is_not_taken_back() {
        let (_manager, condition) = condition().await;
        for released in [false, true] {
            let outer = condition.acquire().await.unwrap();
            let middle = condition.acquire().await.unwrap();
            let inner = condition.acquire().await.unwrap();
            let wait = condition.wait(inner);
            let give_up = async {
                while condition.is_locked().await.unwrap() {}
                drop(outer);
                if released {
                    middle.release().await.unwrap()
                } else {
                    drop(middle)
                }
                tokio::spawn(notify(condition.clone())).await.unwrap();
            };
            let (inner, ()) = tokio::join!(wait, give_up);
            inner.unwrap().release().await.unwrap();
            assert!(!condition.is_locked().await.unwrap());
        }
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_leaves_no_level_held() {
        let (_manager, condition) = condition().await;
        for sent in [false, true] {
            let outer = condition.acquire().await.unwrap();
            let inner = condition.acquire().await.unwrap();
            if sent {
                tokio::select! {
                    biased;
                    _ = condition.wait(inner) => unreachable!("nobody notifies"),
                    locked = condition.is_locked() => assert!(!locked.unwrap()),
                }
            } else {
                give_up(condition.wait(inner));
            }
            assert!(outer.is_lost());
            assert!(!condition.is_locked().await.unwrap());
        }
    }

    #[tokio::test]
    async fn a_wait_that_never_began_releases_one_level() {
        let (_manager, condition) = condition().await;
        let outer = condition.acquire().await.unwrap();
        drop(condition.wait(condition.acquire().await.unwrap()));
        assert!(condition.is_locked().await.unwrap() && !outer.is_lost());
    }

    #[tokio::test]
    async fn nobody_waits_with_the_guard_of_another_condition() {
        let (manager, condition) = condition().await;
        let other = manager.condition("other").await.unwrap();
        let guard = other.acquire().await.unwrap();
        assert!(matches!(condition.wait(guard).await, Err(Error::InvalidArgument(_))));
        assert!(!other.is_locked().await.unwrap());
    }

    #[tokio::test]
    async fn a_deleted_condition_loses_every_level() {
        let (manager, condition) = condition().await;
        let outer = condition.acquire().await.unwrap();
        let inner = condition.acquire().await.unwrap();
        let (waited, deleted) = tokio::join!(condition.wait(inner), manager.delete("ready"));
        deleted.unwrap();
        assert!(matches!(waited, Err(Error::ObjectNotFound(_))));
        assert!(outer.is_lost());
    }
}
