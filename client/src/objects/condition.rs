//! A condition variable, with the lock it goes with.

use std::time::{Duration, Instant};

use mp_manager_proto::v1::{
    ConditionNotify, ConditionOp, Empty, Kind, Reason, condition_op::Op, request,
};

use crate::{
    error::Result,
    guards::{
        owner::Owner,
        reentrant::{Level, Operations},
    },
    objects::{
        manager::Manager,
        open::{Name, Open},
        proxy, sealed,
    },
    protocol::Granted,
    rpc::{
        codec::Detail,
        fence::Fence,
        object::{Object, Wait},
    },
};

const OPERATIONS: Operations = Operations {
    release: |owner| op(Op::Release(owner)),
    release_token: |token| op(Op::ReleaseToken(token)),
};

impl Manager {
    /// A [`Condition`].
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let ready = manager.condition("ready").await?;
    /// let guard = ready.acquire().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "Condition")]
    pub fn condition(&self, name: impl Into<Name>) -> Open<Condition> {
        Open::new(self, name.into(), None)
    }
}

/// A condition variable for processes, wherever they run. Python's `manager.Condition()`.
///
/// It contains its lock, which is re-entrant and has an owner as an [`RLock`](crate::RLock): a
/// task, or outside of a task a thread. Who holds the lock looks at what it protects; who does not
/// find it as it should be [waits](Self::wait), which lets go of the lock, and is notified by
/// somebody who has changed it. A notification that nobody received, as its receiver died or gave
/// up, goes to the next who waits.
///
/// ```
/// # use mp_manager::Manager;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mp_manager::Result<()> {
/// # let manager = Manager::start().await?;
/// let ready = manager.condition("ready").await?;
/// let jobs = manager.dict::<u64, String>("jobs").await?;
/// let guard = ready.acquire().await?;
/// let planner = tokio::spawn({
///     let (ready, jobs) = (ready.clone(), jobs.clone());
///     async move {
///         let guard = ready.acquire().await?;
///         jobs.insert(&1, "sweep").await?;
///         guard.notify_one().await
///     }
/// });
/// let guard = ready.wait_for(guard, || async { Ok(!jobs.is_empty().await?) }).await?;
/// assert_eq!(jobs.pop_item().await?, Some((1, "sweep".into())));
/// guard.release().await?;
/// planner.await.unwrap()?;
/// # Ok(())
/// # }
/// ```
pub struct Condition {
    object: Object,
}

proxy!(Condition);

impl sealed::Proxy for Condition {
    const KIND: Kind = Kind::Condition;

    fn new(object: Object, _: Detail) -> Self {
        Self { object }
    }

    fn object(&self) -> &Object {
        &self.object
    }
}

impl Condition {
    /// Waits for the lock as long as it takes; not at all if the current task or thread has it.
    ///
    /// Fair: who came first gets it first. Cancel safe: dropping the future leaves the line, or
    /// gives the level back if it had been granted meanwhile.
    ///
    /// # Errors
    /// If the session is lost or the condition deleted meanwhile.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let ready = manager.condition("ready").await?;
    /// let guard = ready.acquire().await?;
    /// assert!(ready.is_locked().await?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__enter__")]
    pub async fn acquire(&self) -> Result<ConditionGuard> {
        let owner = Owner::current();
        let acquire = op(Op::Acquire(owner.number()));
        let grant = self.object.ask("acquire", acquire).await?.grant()?;
        Ok(self.guard(grant, owner))
    }

    /// Takes the lock if it is free now or the current task's or thread's already, or `None`.
    ///
    /// # Errors
    /// If the session is lost or the condition deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let ready = manager.condition("ready").await?;
    /// let guard = ready.try_acquire().await?;
    /// assert!(guard.is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_acquire(&self) -> Result<Option<ConditionGuard>> {
        self.acquire_waiting(Wait::Never).await
    }

    /// Waits for the lock, at most so long; `None` if it could not be had.
    ///
    /// Fair and cancel safe as [`acquire`](Self::acquire).
    ///
    /// # Errors
    /// If the session is lost or the condition deleted meanwhile.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let ready = manager.condition("ready").await?;
    /// let guard = ready.acquire().await?;
    /// let other = tokio::spawn({
    ///     let ready = ready.clone();
    ///     async move { ready.acquire_timeout(Duration::from_millis(1)).await }
    /// });
    /// assert!(other.await.unwrap()?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn acquire_timeout(&self, timeout: Duration) -> Result<Option<ConditionGuard>> {
        self.acquire_waiting(Wait::For(timeout)).await
    }

    /// Lets go of the lock, waits to be notified, and takes the lock again.
    ///
    /// That goes for every level its owner holds; other guards of this owner stay good, and all
    /// have the new token. [`wait_for`](Self::wait_for) is what you want, unless any notification
    /// will do.
    ///
    /// Fair: who has waited longest is notified first, and gets in the lock's line behind those who
    /// are there. Cancel safe: dropping the future leaves the condition with the lock released at
    /// every level, so that other guards of this owner are lost; a notification that it had got
    /// goes to the next who waits.
    ///
    /// # Errors
    /// If the lock was lost before, the session is lost or the condition deleted meanwhile, the guard
    /// is another condition's, or its owner waits already. After an error the owner does not hold the
    /// lock at any level, except if the guard was another condition's, which is released.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let ready = manager.condition("ready").await?;
    /// let guard = ready.acquire().await?;
    /// let other = tokio::spawn({
    ///     let ready = ready.clone();
    ///     async move { ready.acquire().await?.notify_one().await }
    /// });
    /// let guard = ready.wait(guard).await?;
    /// assert_eq!(other.await.unwrap()?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn wait(&self, guard: ConditionGuard) -> Result<ConditionGuard> {
        let (guard, _) = self.wait_at_most(guard, Wait::Forever).await?;
        Ok(guard)
    }

    /// As [`wait`](Self::wait), but waits at most so long to be notified; false if it was not. The
    /// lock is taken again in any case, however long that takes.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let ready = manager.condition("ready").await?;
    /// let guard = ready.acquire().await?;
    /// let (guard, notified) = ready.wait_timeout(guard, Duration::from_millis(1)).await?;
    /// assert!(!notified && !guard.is_lost());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn wait_timeout(
        &self,
        guard: ConditionGuard,
        timeout: Duration,
    ) -> Result<(ConditionGuard, bool)> {
        self.wait_at_most(guard, Wait::For(timeout)).await
    }

    /// Waits until a predicate is true, which it is asked with the lock held: first at once, then
    /// each time that it has been notified.
    ///
    /// Fair and cancel safe as [`wait`](Self::wait); if it is the predicate's future that is
    /// dropped, only the guard's level is released.
    ///
    /// # Errors
    /// As [`wait`](Self::wait). An error of the predicate's is passed on, and the guard's level
    /// released.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let ready = manager.condition("ready").await?;
    /// # let jobs = manager.dict::<u64, String>("jobs").await?;
    /// # jobs.insert(&1, "sweep").await?;
    /// let guard = ready.acquire().await?;
    /// let guard = ready.wait_for(guard, || async { Ok(!jobs.is_empty().await?) }).await?;
    /// assert!(jobs.pop_item().await?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn wait_for<F: Future<Output = Result<bool>>>(
        &self,
        mut guard: ConditionGuard,
        mut predicate: impl FnMut() -> F,
    ) -> Result<ConditionGuard> {
        while !predicate().await? {
            guard = self.wait(guard).await?;
        }
        Ok(guard)
    }

    /// As [`wait_for`](Self::wait_for), but waits at most so long; false if the predicate was not
    /// true then. The lock is taken again and the predicate asked once more in any case.
    ///
    /// # Errors
    /// As [`wait_for`](Self::wait_for).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let ready = manager.condition("ready").await?;
    /// # let jobs = manager.dict::<u64, String>("jobs").await?;
    /// let guard = ready.acquire().await?;
    /// let some = || async { Ok(!jobs.is_empty().await?) };
    /// let (guard, some) = ready.wait_for_timeout(guard, some, Duration::from_millis(1)).await?;
    /// assert!(!some);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn wait_for_timeout<F: Future<Output = Result<bool>>>(
        &self,
        mut guard: ConditionGuard,
        mut predicate: impl FnMut() -> F,
        timeout: Duration,
    ) -> Result<(ConditionGuard, bool)> {
        let started = Instant::now();
        // As in Python it lets go of the lock once, even if there is no time at all.
        let mut time_is_up = false;
        while !predicate().await? {
            if time_is_up {
                return Ok((guard, false));
            }
            let left = timeout.saturating_sub(started.elapsed());
            (guard, _) = self.wait_timeout(guard, left).await?;
            time_is_up = started.elapsed() >= timeout;
        }
        Ok((guard, true))
    }

    /// Whether somebody holds the lock. By the time you look it may have changed.
    ///
    /// # Errors
    /// If the session is lost or the condition deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let ready = manager.condition("ready").await?;
    /// assert!(!ready.is_locked().await?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "locked")]
    pub async fn is_locked(&self) -> Result<bool> {
        self.object.ask("is_locked", op(Op::IsLocked(Empty {}))).await?.flag()
    }

    /// Releases every level of the lock's grant with this token, whoever holds it, from any
    /// process; its guards are marked as lost.
    ///
    /// # Errors
    /// [`Error::NotHeld`](crate::Error::NotHeld) if that grant does not stand (any more).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let ready = manager.condition("ready").await?;
    /// let guard = ready.acquire().await?;
    /// ready.release_token(guard.token()).await?;
    /// assert!(guard.is_lost());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn release_token(&self, token: u64) -> Result<()> {
        self.object.ask("release_token", op(Op::ReleaseToken(token))).await?.done()?;
        self.object.link().session.lose_grant((self.object.id(), token));
        Ok(())
    }

    async fn acquire_waiting(&self, wait: Wait) -> Result<Option<ConditionGuard>> {
        let owner = Owner::current();
        let acquire = op(Op::Acquire(owner.number()));
        let grant = self.object.ask_waiting("acquire", acquire, wait).await?.grant_or_absent()?;
        Ok(grant.map(|grant| self.guard(grant, owner)))
    }

    fn guard(&self, grant: Granted, owner: Owner) -> ConditionGuard {
        ConditionGuard { level: Level::new(&self.object, grant, owner, OPERATIONS) }
    }

    async fn wait_at_most(
        &self,
        mut guard: ConditionGuard,
        wait: Wait,
    ) -> Result<(ConditionGuard, bool)> {
        let level = &mut guard.level;
        if !level.object().is(&self.object) {
            let hint = "wait with a guard that this condition gave, in this session";
            let message = format!("the guard holds {}", level.object());
            return Err(self.object.refuse("wait", Reason::InvalidArgument, message, hint));
        }
        level.check("wait")?;
        if !level.suspend() {
            let hint = "one wait at a time; another task may wait as well";
            return Err(self.object.refuse(
                "wait",
                Reason::NotHeld,
                "its owner waits already",
                hint,
            ));
        }
        let waiting = self.object.ask_waiting("wait", op(Op::Wait(level.owner())), wait);
        let woken = waiting.await?.woken()?;
        level.resume(woken.token);
        Ok((guard, woken.notified))
    }
}

/// Holds one level of a [`Condition`]'s lock. Dropping it releases that level without waiting for
/// the manager to confirm.
///
/// The lock can be lost while it is held, at all levels: when the session ends, or somebody
/// releases it by its token. [`lost`](Self::lost) tells.
#[derive(Debug)]
#[must_use = "the level is released when its guard is dropped"]
pub struct ConditionGuard {
    level: Level,
}

impl From<&ConditionGuard> for Fence {
    fn from(guard: &ConditionGuard) -> Self {
        guard.level.fence()
    }
}

impl ConditionGuard {
    /// Wakes the one who has waited longest; how many there were to wake, 0 or 1. They return when
    /// they have the lock, so release it.
    ///
    /// Final once the manager has applied it: dropping the future does not take it back.
    ///
    /// # Errors
    /// If the lock was lost before.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let ready = manager.condition("ready").await?;
    /// let guard = ready.acquire().await?;
    /// assert_eq!(guard.notify_one().await?, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn notify_one(&self) -> Result<usize> {
        self.notify(1).await
    }

    /// Wakes so many of those who wait, the ones who have waited longest; how many there were to
    /// wake. They return one after the other when they have the lock, so release it.
    ///
    /// Final once the manager has applied it: dropping the future does not take it back.
    ///
    /// # Errors
    /// If the lock was lost before.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let ready = manager.condition("ready").await?;
    /// let guard = ready.acquire().await?;
    /// assert_eq!(guard.notify(2).await?, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn notify(&self, waiters: usize) -> Result<usize> {
        self.notify_at_most(Some(u64::try_from(waiters).unwrap_or(u64::MAX))).await
    }

    /// Wakes all who wait; how many there were. They return one after the other when they have the
    /// lock, so release it.
    ///
    /// Final once the manager has applied it: dropping the future does not take it back.
    ///
    /// # Errors
    /// If the lock was lost before.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let ready = manager.condition("ready").await?;
    /// let guard = ready.acquire().await?;
    /// assert_eq!(guard.notify_all().await?, 0);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "notifyAll")]
    pub async fn notify_all(&self) -> Result<usize> {
        self.notify_at_most(None).await
    }

    /// The fencing token, the same for all levels: larger than that of every owner before. There is
    /// a new one after each wait.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let ready = manager.condition("ready").await?;
    /// let guard = ready.acquire().await?;
    /// let before = guard.token();
    /// let (guard, _) = ready.wait_timeout(guard, Duration::ZERO).await?;
    /// assert!(guard.token() > before);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn token(&self) -> u64 {
        self.level.token()
    }

    /// Whether the lock is known to be lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let ready = manager.condition("ready").await?;
    /// let guard = ready.acquire().await?;
    /// assert!(!guard.is_lost());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.level.is_lost()
    }

    /// Completes when the lock is lost. Cancel safe.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let ready = manager.condition("ready").await?;
    /// let guard = ready.acquire().await?;
    /// ready.release_token(guard.token()).await?;
    /// guard.lost().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn lost(&self) {
        self.level.lost().await;
    }

    /// Releases the level and waits until the manager confirms it. Dropping the future does not
    /// take it back.
    ///
    /// # Errors
    /// If it was lost before: what it was to protect may not have been protected.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let ready = manager.condition("ready").await?;
    /// let guard = ready.acquire().await?;
    /// guard.release().await?;
    /// assert!(!ready.is_locked().await?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__exit__")]
    pub async fn release(self) -> Result<()> {
        self.level.release().await
    }

    async fn notify_at_most(&self, count: Option<u64>) -> Result<usize> {
        self.level.check("notify")?;
        let notify = op(Op::Notify(ConditionNotify { owner: self.level.owner(), count }));
        self.level.object().ask("notify", notify).await?.count()
    }
}

fn op(op: Op) -> request::Op {
    request::Op::Condition(ConditionOp { op: Some(op) })
}
