//! A lock that every process can take.

use std::time::Duration;

use mp_manager_proto::v1::{Empty, Kind, LockOp, lock_op::Op, request};

use crate::{
    error::Result,
    guards::grant::Grant,
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

impl Manager {
    /// A [`Lock`].
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let lock = manager.lock("migrate").await?;
    /// let guard = lock.acquire().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "Lock")]
    pub fn lock(&self, name: impl Into<Name>) -> Open<Lock> {
        Open::new(self, name.into(), None)
    }
}

/// A lock for processes, wherever they run. Python's `manager.Lock()`.
///
/// It is fair: first come, first served. When its holder's process dies, the next in line gets it.
/// Each grant has a *fencing token*, larger than all before it: a resource that remembers the largest
/// token it has seen can refuse a holder that has been overtaken without knowing it. Across restarts of
/// the manager tokens rise if it has a `--state-dir`, or nobody sets its clock back.
///
/// It is not re-entrant: acquiring it twice in one task waits for ever. [`RLock`](crate::RLock) is.
///
/// ```
/// # use mp_manager::Manager;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mp_manager::Result<()> {
/// # let manager = Manager::start().await?;
/// let lock = manager.lock("migrate").await?;
/// let guard = lock.acquire().await?;
/// println!("migrating, fencing token {}", guard.token());
/// guard.release().await?;
/// # Ok(())
/// # }
/// ```
pub struct Lock {
    object: Object,
}

proxy!(Lock);

impl sealed::Proxy for Lock {
    const KIND: Kind = Kind::Lock;

    fn new(object: Object, _: Detail) -> Self {
        Self { object }
    }

    fn object(&self) -> &Object {
        &self.object
    }
}

impl Lock {
    /// Waits for the lock as long as it takes.
    ///
    /// Fair: who came first gets it first. Cancel safe: dropping the future leaves the line, or
    /// gives the lock back if it had been granted meanwhile.
    ///
    /// # Errors
    /// If the session is lost or the lock deleted meanwhile.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let lock = manager.lock("migrate").await?;
    /// let guard = lock.acquire().await?;
    /// assert!(lock.is_locked().await?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__enter__")]
    pub async fn acquire(&self) -> Result<LockGuard> {
        let grant = self.object.ask("acquire", op(Op::Acquire(Empty {}))).await?.grant()?;
        Ok(self.guard(grant))
    }

    /// Takes the lock if it is free now, or `None`.
    ///
    /// # Errors
    /// If the session is lost or the lock deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let lock = manager.lock("migrate").await?;
    /// let guard = lock.try_acquire().await?;
    /// assert!(guard.is_some());
    /// assert!(lock.try_acquire().await?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_acquire(&self) -> Result<Option<LockGuard>> {
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
    /// # let lock = manager.lock("migrate").await?;
    /// let guard = lock.acquire().await?;
    /// assert!(lock.acquire_timeout(Duration::from_millis(1)).await?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn acquire_timeout(&self, timeout: Duration) -> Result<Option<LockGuard>> {
        self.acquire_waiting(Wait::For(timeout)).await
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
    /// # let lock = manager.lock("migrate").await?;
    /// assert!(!lock.is_locked().await?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "locked")]
    pub async fn is_locked(&self) -> Result<bool> {
        self.object.ask("is_locked", op(Op::IsLocked(Empty {}))).await?.flag()
    }

    /// Releases the grant with this token, whoever holds it, from any process; its guard is marked
    /// as lost.
    ///
    /// # Errors
    /// [`Error::NotHeld`](crate::Error::NotHeld) if that grant does not stand (any more).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let lock = manager.lock("migrate").await?;
    /// let guard = lock.acquire().await?;
    /// lock.release_token(guard.token()).await?;
    /// assert!(!lock.is_locked().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn release_token(&self, token: u64) -> Result<()> {
        self.object.ask("release_token", release(token)).await?.done()?;
        self.object.link().session.lose_grant((self.object.id(), token));
        Ok(())
    }

    async fn acquire_waiting(&self, wait: Wait) -> Result<Option<LockGuard>> {
        let acquire = op(Op::Acquire(Empty {}));
        let grant = self.object.ask_waiting("acquire", acquire, wait).await?.grant_or_absent()?;
        Ok(grant.map(|grant| self.guard(grant)))
    }

    fn guard(&self, granted: Granted) -> LockGuard {
        LockGuard { grant: Grant::new(self.object.clone(), granted, release), released: false }
    }
}

/// Holds a [`Lock`]. Dropping it releases the lock without waiting for the manager to confirm.
///
/// The lock can be lost while it is held: when the session ends, or somebody releases it by its
/// token. [`lost`](Self::lost) tells.
#[derive(Debug)]
#[must_use = "the lock is released when its guard is dropped"]
pub struct LockGuard {
    grant: Grant,
    released: bool,
}

impl LockGuard {
    /// The fencing token of this grant: larger than every one before it.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let lock = manager.lock("migrate").await?;
    /// let first = lock.acquire().await?.token();
    /// let second = lock.acquire().await?.token();
    /// assert!(second > first);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn token(&self) -> u64 {
        self.grant.token
    }

    /// Whether the lock is known to be lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let lock = manager.lock("migrate").await?;
    /// let guard = lock.acquire().await?;
    /// assert!(!guard.is_lost());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.grant.is_lost()
    }

    /// Completes when the lock is lost. Cancel safe.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # async fn migrate() {}
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let lock = manager.lock("migrate").await?;
    /// let guard = lock.acquire().await?;
    /// tokio::select! {
    ///     () = migrate() => guard.release().await?,
    ///     () = guard.lost() => eprintln!("lost the lock: stopping"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn lost(&self) {
        self.grant.lost().await;
    }

    /// Releases the lock and waits until the manager confirms it.
    ///
    /// # Errors
    /// If it was lost before: what it was to protect may not have been protected.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let lock = manager.lock("migrate").await?;
    /// let guard = lock.acquire().await?;
    /// guard.release().await?;
    /// assert!(!lock.is_locked().await?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__exit__")]
    pub async fn release(mut self) -> Result<()> {
        self.grant.check("release")?;
        self.released = true;
        self.grant.give_back("release", release(self.grant.token)).await?.done()
    }
}

impl From<&LockGuard> for Fence {
    fn from(guard: &LockGuard) -> Self {
        guard.grant.fence()
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        if !self.released && !self.grant.is_lost() {
            self.grant.tell(release(self.grant.token));
        }
    }
}

fn release(token: u64) -> request::Op {
    op(Op::Release(token))
}

fn op(op: Op) -> request::Op {
    request::Op::Lock(LockOp { op: Some(op) })
}
