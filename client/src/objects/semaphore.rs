//! A semaphore that every process can use.

use std::{marker::PhantomData, time::Duration};

use mp_manager_proto::v1::{
    Empty, Kind, Parameters, SemaphoreOp, SemaphoreParameters, SemaphoreRelease,
    parameters::Parameters as P, request, semaphore_op::Op,
};

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
    /// A [`Semaphore`] that begins with so many permits.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let downloads = manager.semaphore("downloads", 4).await?;
    /// let permit = downloads.acquire().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "Semaphore")]
    pub fn semaphore(&self, name: impl Into<Name>, permits: usize) -> Open<Semaphore> {
        Open::new(self, name.into(), parameters(permits, false))
    }

    /// A [`BoundedSemaphore`] of so many permits.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let downloads = manager.bounded_semaphore("downloads", 4).await?;
    /// let permit = downloads.acquire().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "BoundedSemaphore")]
    pub fn bounded_semaphore(
        &self,
        name: impl Into<Name>,
        permits: usize,
    ) -> Open<BoundedSemaphore> {
        Open::new(self, name.into(), parameters(permits, true))
    }
}

fn parameters(permits: usize, bounded: bool) -> Option<Parameters> {
    let parameters = SemaphoreParameters { permits: wire(permits), bounded };
    Some(Parameters { parameters: Some(P::Semaphore(parameters)) })
}

/// A semaphore for processes, wherever they run. Python's `manager.Semaphore()`.
///
/// A [`Permit`] is given back when it is dropped or its process dies.
/// [`release`](Self::release) can also add permits that nobody had acquired, which is how one
/// process signals another; a [`BoundedSemaphore`] refuses that.
///
/// It is fair: first come, first served, also if the first wants many.
///
/// ```
/// # use mp_manager::Manager;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mp_manager::Result<()> {
/// # let manager = Manager::start().await?;
/// let downloads = manager.semaphore("downloads", 4).await?;
/// let permit = downloads.acquire().await?;
/// assert_eq!(downloads.available().await?, 3);
/// permit.release().await?;
/// # Ok(())
/// # }
/// ```
pub struct Semaphore<B = Unbounded> {
    object: Object,
    bound: PhantomData<fn() -> B>,
}

/// A [`Semaphore`] that never has more permits than it began with. Python's
/// `manager.BoundedSemaphore()`.
///
/// ```
/// # use mp_manager::{Error, Manager};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mp_manager::Result<()> {
/// # let manager = Manager::start().await?;
/// let downloads = manager.bounded_semaphore("downloads", 4).await?;
/// let permit = downloads.acquire().await?;
/// permit.release().await?;
/// assert!(matches!(downloads.release(1).await, Err(Error::BoundExceeded(_))));
/// # Ok(())
/// # }
/// ```
pub type BoundedSemaphore = Semaphore<Bounded>;

/// Releasing more than was acquired makes more permits.
#[derive(Debug)]
pub enum Unbounded {}

/// Releasing more than was acquired is an error.
#[derive(Debug)]
pub enum Bounded {}

proxy!(Semaphore, B);

impl<B: 'static> sealed::Proxy for Semaphore<B> {
    const KIND: Kind = Kind::Semaphore;

    fn new(object: Object, _: Detail) -> Self {
        Self { object, bound: PhantomData }
    }

    fn object(&self) -> &Object {
        &self.object
    }
}

impl<B> Semaphore<B> {
    /// Waits for a permit as long as it takes.
    ///
    /// Fair: who came first gets theirs first. Cancel safe: dropping the future leaves the line, or
    /// gives the permit back if it had been granted meanwhile.
    ///
    /// # Errors
    /// If the session is lost or the semaphore deleted meanwhile.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let downloads = manager.semaphore("downloads", 4).await?;
    /// let permit = downloads.acquire().await?;
    /// assert_eq!(downloads.available().await?, 3);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__enter__")]
    pub async fn acquire(&self) -> Result<Permit> {
        self.acquire_many(1).await
    }

    /// Waits for so many permits at once, as long as it takes.
    ///
    /// Fair: nobody who came later gets any before, even if there were enough for them. Cancel safe
    /// as [`acquire`](Self::acquire).
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for none, or for more than a
    /// bounded semaphore has; if the session is lost or the semaphore deleted meanwhile.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let downloads = manager.semaphore("downloads", 4).await?;
    /// let permits = downloads.acquire_many(3).await?;
    /// assert_eq!(downloads.available().await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn acquire_many(&self, permits: usize) -> Result<Permit> {
        let acquire = op(Op::Acquire(wire(permits)));
        let grant = self.object.ask("acquire", acquire).await?.grant()?;
        Ok(self.permit(grant, permits))
    }

    /// Takes a permit if there is one now and nobody waits for it, or `None`.
    ///
    /// # Errors
    /// If the session is lost or the semaphore deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let downloads = manager.semaphore("downloads", 4).await?;
    /// let permits = downloads.acquire_many(4).await?;
    /// assert!(downloads.try_acquire().await?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_acquire(&self) -> Result<Option<Permit>> {
        self.try_acquire_many(1).await
    }

    /// Takes so many permits if there are as many now and nobody waits, or `None`.
    ///
    /// # Errors
    /// As [`acquire_many`](Self::acquire_many).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let downloads = manager.semaphore("downloads", 4).await?;
    /// assert!(downloads.try_acquire_many(5).await?.is_none());
    /// let permits = downloads.try_acquire_many(4).await?;
    /// assert!(permits.is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_acquire_many(&self, permits: usize) -> Result<Option<Permit>> {
        self.acquire_waiting(permits, Wait::Never).await
    }

    /// Waits for a permit, at most so long; `None` if none could be had.
    ///
    /// Fair and cancel safe as [`acquire`](Self::acquire).
    ///
    /// # Errors
    /// If the session is lost or the semaphore deleted meanwhile.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let downloads = manager.semaphore("downloads", 4).await?;
    /// let permits = downloads.acquire_many(4).await?;
    /// assert!(downloads.acquire_timeout(Duration::from_millis(1)).await?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn acquire_timeout(&self, timeout: Duration) -> Result<Option<Permit>> {
        self.acquire_many_timeout(1, timeout).await
    }

    /// Waits for so many permits at once, at most so long; `None` if they could not be had.
    ///
    /// Fair and cancel safe as [`acquire_many`](Self::acquire_many).
    ///
    /// # Errors
    /// As [`acquire_many`](Self::acquire_many).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let downloads = manager.semaphore("downloads", 4).await?;
    /// let millisecond = Duration::from_millis(1);
    /// assert!(downloads.acquire_many_timeout(5, millisecond).await?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn acquire_many_timeout(
        &self,
        permits: usize,
        timeout: Duration,
    ) -> Result<Option<Permit>> {
        self.acquire_waiting(permits, Wait::For(timeout)).await
    }

    /// Releases so many permits, whoever acquired them.
    ///
    /// This session's own go first, the oldest before the others: a [`Permit`] they came with no
    /// longer has them, and says so when it is [released](Permit::release). Beyond those a
    /// semaphore gets new permits; a [`BoundedSemaphore`] takes over the oldest that others hold.
    /// It is meant for signals, and for permits that were [leaked](Permit::leak) or
    /// [forgotten](Permit::forget); to give back one that you have, drop or release that.
    ///
    /// Final once the manager has applied it: dropping the future does not take it back.
    ///
    /// # Errors
    /// [`Error::BoundExceeded`](crate::Error::BoundExceeded) if a bounded semaphore would have more
    /// than it began with, [`Error::InvalidArgument`](crate::Error::InvalidArgument) for none.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let downloads = manager.semaphore("downloads", 4).await?;
    /// downloads.release(2).await?;
    /// assert_eq!(downloads.available().await?, 6);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__exit__")]
    pub async fn release(&self, permits: usize) -> Result<()> {
        let release = op(Op::Release(SemaphoreRelease { count: wire(permits), token: None }));
        self.object.give_back("release", release).await?.done()
    }

    /// Releases the permits of the grant with this token, whoever holds it, from any process; its
    /// guard is marked as lost.
    ///
    /// # Errors
    /// [`Error::NotHeld`](crate::Error::NotHeld) if that grant does not stand (any more).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let downloads = manager.semaphore("downloads", 4).await?;
    /// let permit = downloads.acquire().await?;
    /// downloads.release_token(permit.token()).await?;
    /// assert!(permit.is_lost());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn release_token(&self, token: u64) -> Result<()> {
        self.object.ask("release_token", release_grant(token)).await?.done()?;
        self.object.link().session.lose_grant((self.object.id(), token));
        Ok(())
    }

    /// How many permits nobody holds. By the time you look it may have changed.
    ///
    /// # Errors
    /// If the session is lost or the semaphore deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let downloads = manager.semaphore("downloads", 4).await?;
    /// assert_eq!(downloads.available().await?, 4);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "get_value")]
    pub async fn available(&self) -> Result<usize> {
        self.object.ask("available", op(Op::Available(Empty {}))).await?.count()
    }

    async fn acquire_waiting(&self, permits: usize, wait: Wait) -> Result<Option<Permit>> {
        let acquire = op(Op::Acquire(wire(permits)));
        let grant = self.object.ask_waiting("acquire", acquire, wait).await?.grant_or_absent()?;
        Ok(grant.map(|grant| self.permit(grant, permits)))
    }

    fn permit(&self, granted: Granted, permits: usize) -> Permit {
        let grant = Grant::new(self.object.clone(), granted, release_grant);
        Permit { grant, permits, over: false }
    }
}

/// Holds permits of a [`Semaphore`] that were acquired together. Dropping it releases them without
/// waiting for the manager to confirm.
///
/// They can be lost while they are held: when the session ends, or somebody releases them.
/// [`lost`](Self::lost) tells.
#[derive(Debug)]
#[must_use = "permits are released when they are dropped"]
pub struct Permit {
    grant: Grant,
    permits: usize,
    over: bool,
}

impl From<&Permit> for Fence {
    fn from(guard: &Permit) -> Self {
        guard.grant.fence()
    }
}

impl Permit {
    /// How many were acquired.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let downloads = manager.semaphore("downloads", 4).await?;
    /// let permits = downloads.acquire_many(3).await?;
    /// assert_eq!(permits.permits(), 3);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn permits(&self) -> usize {
        self.permits
    }

    /// The fencing token of this grant: larger than every one before it.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let downloads = manager.semaphore("downloads", 4).await?;
    /// let (first, second) = (downloads.acquire().await?, downloads.acquire().await?);
    /// assert!(second.token() > first.token());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn token(&self) -> u64 {
        self.grant.token
    }

    /// Whether all of them are known to be lost. What [`Semaphore::release`] of this session took
    /// is not noticed.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let downloads = manager.semaphore("downloads", 4).await?;
    /// let permit = downloads.acquire().await?;
    /// assert!(!permit.is_lost());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.grant.is_lost()
    }

    /// Completes when all of them are lost. Cancel safe.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let downloads = manager.semaphore("downloads", 4).await?;
    /// let permit = downloads.acquire().await?;
    /// downloads.release_token(permit.token()).await?;
    /// permit.lost().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn lost(&self) {
        self.grant.lost().await;
    }

    /// Releases them and waits until the manager confirms it.
    ///
    /// # Errors
    /// If they were lost before.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let downloads = manager.semaphore("downloads", 4).await?;
    /// let permit = downloads.acquire().await?;
    /// permit.release().await?;
    /// assert_eq!(downloads.available().await?, 4);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__exit__")]
    pub async fn release(mut self) -> Result<()> {
        self.grant.check("release")?;
        self.over = true;
        self.grant.give_back("release", release_grant(self.grant.token)).await?.done()
    }

    /// Keeps the permits without a guard, until they are [released](Semaphore::release) or this
    /// session ends.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let downloads = manager.semaphore("downloads", 4).await?;
    /// downloads.acquire().await?.leak();
    /// assert_eq!(downloads.available().await?, 3);
    /// downloads.release(1).await?;
    /// assert_eq!(downloads.available().await?, 4);
    /// # Ok(())
    /// # }
    /// ```
    pub fn leak(mut self) {
        self.over = true;
    }

    /// Uses the permits up: they stay taken when this session ends, until somebody
    /// [releases](Semaphore::release) as many.
    ///
    /// Dropping the future releases them.
    ///
    /// # Errors
    /// If they were lost before.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// // One process waits for a signal, and another gives it.
    /// let signals = manager.semaphore("signals", 0).await?;
    /// signals.release(1).await?;
    /// signals.acquire().await?.forget().await?;
    /// assert_eq!(signals.available().await?, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn forget(mut self) -> Result<()> {
        self.grant.check("forget")?;
        let forget = op(Op::Forget(self.grant.token));
        self.grant.object.ask("forget", forget).await?.done()?;
        self.over = true;
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.over && !self.is_lost() {
            self.grant.tell(release_grant(self.grant.token));
        }
    }
}

/// All that is left of a grant: part of it may have been taken over.
fn release_grant(token: u64) -> request::Op {
    op(Op::Release(SemaphoreRelease { count: u64::MAX, token: Some(token) }))
}

/// A number of permits as the manager counts them.
fn wire(permits: usize) -> u64 {
    u64::try_from(permits).unwrap_or(u64::MAX)
}

fn op(op: Op) -> request::Op {
    request::Op::Semaphore(SemaphoreOp { op: Some(op) })
}
