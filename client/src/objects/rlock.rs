//! A lock that its owner can take again.

use std::time::Duration;

use mp_manager_proto::v1::{Empty, Kind, RLockOp, r_lock_op::Op, request};

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
    /// An [`RLock`].
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let lock = manager.rlock("migrate").await?;
    /// let guard = lock.acquire().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "RLock")]
    pub fn rlock(&self, name: impl Into<Name>) -> Open<RLock> {
        Open::new(self, name.into(), None)
    }
}

/// A re-entrant lock for processes: its owner can take it again, and has to release it as often.
/// Python's `manager.RLock()`.
///
/// Its owner is the tokio task that acquires it; outside of a task, and the body of
/// `#[tokio::main]` is outside, it is the thread. So futures that are joined in one task do not
/// exclude each other: spawn them, or use a [`Lock`](crate::Lock). A guard may be moved to another
/// task; it remembers whose level it is.
///
/// It is fair: first come, first served. When its owner's process dies, the next in line gets it.
/// All levels of an owner have one fencing token, larger than those of all owners before.
///
/// ```
/// # use mp_manager::Manager;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mp_manager::Result<()> {
/// # let manager = Manager::start().await?;
/// let lock = manager.rlock("migrate").await?;
/// let outer = lock.acquire().await?;
/// let inner = lock.acquire().await?;
/// assert_eq!((outer.depth(), inner.depth()), (1, 2));
/// # Ok(())
/// # }
/// ```
pub struct RLock {
    object: Object,
}

proxy!(RLock);

impl sealed::Proxy for RLock {
    const KIND: Kind = Kind::Rlock;

    fn new(object: Object, _: Detail) -> Self {
        Self { object }
    }

    fn object(&self) -> &Object {
        &self.object
    }
}

impl RLock {
    /// Waits for the lock as long as it takes; not at all if the current task or thread has it.
    ///
    /// Fair: who came first gets it first. Cancel safe: dropping the future leaves the line, or
    /// gives the level back if it had been granted meanwhile.
    ///
    /// # Errors
    /// If the session is lost or the lock deleted meanwhile.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let lock = manager.rlock("migrate").await?;
    /// let guard = lock.acquire().await?;
    /// assert!(lock.is_locked().await?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__enter__")]
    pub async fn acquire(&self) -> Result<RLockGuard> {
        let owner = Owner::current();
        let acquire = op(Op::Acquire(owner.number()));
        let grant = self.object.ask("acquire", acquire).await?.grant()?;
        Ok(self.guard(grant, owner))
    }

    /// Takes the lock if it is free now or the current task's or thread's already, or `None`.
    ///
    /// # Errors
    /// If the session is lost or the lock deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let lock = manager.rlock("migrate").await?;
    /// let guard = lock.try_acquire().await?;
    /// assert!(guard.is_some());
    /// assert!(lock.try_acquire().await?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_acquire(&self) -> Result<Option<RLockGuard>> {
        self.acquire_waiting(Wait::Never).await
    }

    /// Waits for the lock, at most so long; `None` if it could not be had.
    ///
    /// Fair and cancel safe as [`acquire`](Self::acquire).
    ///
    /// # Errors
    /// If the session is lost or the lock deleted meanwhile.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let lock = manager.rlock("migrate").await?;
    /// let guard = lock.acquire().await?;
    /// let other = tokio::spawn({
    ///     let lock = lock.clone();
    ///     async move { lock.acquire_timeout(Duration::from_millis(1)).await }
    /// });
    /// assert!(other.await.unwrap()?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn acquire_timeout(&self, timeout: Duration) -> Result<Option<RLockGuard>> {
        self.acquire_waiting(Wait::For(timeout)).await
    }

    /// Releases a level that the current task or thread holds and that has no guard: one that was
    /// [leaked](RLockGuard::leak). A guard releases its own level.
    ///
    /// Dropping the future does not take it back.
    ///
    /// # Errors
    /// [`Error::NotOwner`](crate::Error::NotOwner) if another task or thread has the lock,
    /// [`Error::NotHeld`](crate::Error::NotHeld) if nobody has.
    ///
    /// ```
    /// # use mp_manager::{Error, Manager};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let lock = manager.rlock("migrate").await?;
    /// lock.acquire().await?.leak();
    /// let other = tokio::spawn({
    ///     let lock = lock.clone();
    ///     async move { lock.release().await }
    /// });
    /// assert!(matches!(other.await.unwrap(), Err(Error::NotOwner(_))));
    /// lock.release().await?;
    /// assert!(!lock.is_locked().await?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__exit__")]
    pub async fn release(&self) -> Result<()> {
        let owner = Owner::current();
        let release = op(Op::Release(owner.number()));
        self.object.give_back("release", release).await?.done()?;
        owner.unleak();
        Ok(())
    }

    /// Releases every level of the grant with this token, whoever holds it, from any process; its
    /// guards are marked as lost.
    ///
    /// # Errors
    /// [`Error::NotHeld`](crate::Error::NotHeld) if that grant does not stand (any more).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let lock = manager.rlock("migrate").await?;
    /// let guard = lock.acquire().await?;
    /// lock.release_token(guard.token()).await?;
    /// assert!(guard.is_lost());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn release_token(&self, token: u64) -> Result<()> {
        self.object.ask("release_token", op(Op::ReleaseToken(token))).await?.done()?;
        self.object.link().session.lose_grant((self.object.id(), token));
        Ok(())
    }

    /// Whether somebody holds it. By the time you look it may have changed.
    ///
    /// # Errors
    /// If the session is lost or the lock deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let lock = manager.rlock("migrate").await?;
    /// assert!(!lock.is_locked().await?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "locked")]
    pub async fn is_locked(&self) -> Result<bool> {
        self.object.ask("is_locked", op(Op::IsLocked(Empty {}))).await?.flag()
    }

    /// How many levels the current task or thread holds.
    ///
    /// # Errors
    /// If the session is lost or the lock deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let lock = manager.rlock("migrate").await?;
    /// let guard = lock.acquire().await?;
    /// assert_eq!(lock.depth().await?, 1);
    /// let other = tokio::spawn({
    ///     let lock = lock.clone();
    ///     async move { lock.depth().await }
    /// });
    /// assert_eq!(other.await.unwrap()?, 0);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "_recursion_count")]
    pub async fn depth(&self) -> Result<usize> {
        let owner = Owner::current();
        self.object.ask("depth", op(Op::Depth(owner.number()))).await?.count()
    }

    async fn acquire_waiting(&self, wait: Wait) -> Result<Option<RLockGuard>> {
        let owner = Owner::current();
        let acquire = op(Op::Acquire(owner.number()));
        let grant = self.object.ask_waiting("acquire", acquire, wait).await?.grant_or_absent()?;
        Ok(grant.map(|grant| self.guard(grant, owner)))
    }

    fn guard(&self, grant: Granted, owner: Owner) -> RLockGuard {
        RLockGuard {
            level: Level::new(&self.object, grant, owner, OPERATIONS),
            depth: usize::try_from(grant.depth).unwrap_or(usize::MAX),
        }
    }
}

/// Holds one level of an [`RLock`]. Dropping it releases that level without waiting for the manager
/// to confirm.
///
/// The lock can be lost while it is held, at all levels: when the session ends, or somebody
/// releases it by its token. [`lost`](Self::lost) tells.
#[derive(Debug)]
#[must_use = "the level is released when its guard is dropped"]
pub struct RLockGuard {
    level: Level,
    depth: usize,
}

impl From<&RLockGuard> for Fence {
    fn from(guard: &RLockGuard) -> Self {
        guard.level.fence()
    }
}

impl RLockGuard {
    /// The fencing token, the same for all levels: larger than that of every owner before.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let lock = manager.rlock("migrate").await?;
    /// let outer = lock.acquire().await?;
    /// let inner = lock.acquire().await?;
    /// assert_eq!(outer.token(), inner.token());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn token(&self) -> u64 {
        self.level.token()
    }

    /// How many levels its owner held when it had acquired this one; 1 for the first.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let lock = manager.rlock("migrate").await?;
    /// let guard = lock.acquire().await?;
    /// assert_eq!(guard.depth(), 1);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Whether the lock is known to be lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let lock = manager.rlock("migrate").await?;
    /// let guard = lock.acquire().await?;
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
    /// # async fn migrate() {}
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let lock = manager.rlock("migrate").await?;
    /// let guard = lock.acquire().await?;
    /// tokio::select! {
    ///     () = migrate() => guard.release().await?,
    ///     () = guard.lost() => eprintln!("lost the lock: stopping"),
    /// }
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
    /// # let lock = manager.rlock("migrate").await?;
    /// let guard = lock.acquire().await?;
    /// guard.release().await?;
    /// assert!(!lock.is_locked().await?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__exit__")]
    pub async fn release(self) -> Result<()> {
        self.level.release().await
    }

    /// Keeps the level without a guard, until its owner calls [`RLock::release`] or the session
    /// ends.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let lock = manager.rlock("migrate").await?;
    /// lock.acquire().await?.leak();
    /// assert!(lock.is_locked().await?);
    /// lock.release().await?;
    /// assert!(!lock.is_locked().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn leak(self) {
        self.level.leak();
    }
}

fn op(op: Op) -> request::Op {
    request::Op::Rlock(RLockOp { op: Some(op) })
}
