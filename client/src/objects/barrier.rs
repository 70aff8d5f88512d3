//! A barrier that processes meet at.

use std::time::Duration;

use mp_manager_proto::v1::{
    Arrival, BarrierActionDone, BarrierOp, BarrierParameters, BarrierWait, Empty, Kind, Reason,
    barrier_op::Op, parameters::Parameters, request,
};

use crate::{
    error::{Error, Result},
    objects::{
        manager::Manager,
        open::{Name, Open},
        proxy, sealed,
    },
    rpc::{
        codec::Detail,
        object::{Object, Wait},
    },
};

impl Manager {
    /// A [`Barrier`] for so many parties.
    ///
    /// One that exists for another number of them is
    /// [`Error::ParametersDiffer`](crate::Error::ParametersDiffer); 0 is
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let start = manager.barrier("start", 4).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "Barrier")]
    pub fn barrier(&self, name: impl Into<Name>, parties: usize) -> Open<Barrier> {
        let parameters = BarrierParameters { parties: parties as u64 };
        Open::new(self, name.into(), None).with(Ok(Parameters::Barrier(parameters)))
    }
}

/// Where so many parties wait for each other, wherever they run. Python's `manager.Barrier()`.
///
/// All of them pass or none: once the last has arrived, that is final. If one of them dies before,
/// gives up after its timeout, or somebody aborts, the barrier *breaks*: who waits, and whoever
/// comes until it is reset, gets [`Error::BarrierBroken`], which says why. After they have passed it
/// can be used again.
///
/// ```
/// # use mp_manager::Manager;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mp_manager::Result<()> {
/// # let manager = Manager::start().await?;
/// let start = manager.barrier("start", 2).await?;
/// let (one, other) = tokio::try_join!(start.wait(), start.wait())?;
/// assert_eq!(one + other, 1); // the indices 0 and 1
/// # Ok(())
/// # }
/// ```
pub struct Barrier {
    object: Object,
}

proxy!(Barrier);

impl sealed::Proxy for Barrier {
    const KIND: Kind = Kind::Barrier;

    fn new(object: Object, _: Detail) -> Self {
        Self { object }
    }

    fn object(&self) -> &Object {
        &self.object
    }
}

impl Barrier {
    /// Waits for the other parties, as long as it takes. Returns how many had arrived before: 0 for
    /// the first, `parties - 1` for the last.
    ///
    /// Fair: if more come than there are parties, who came first passes first. Cancel safe: dropping
    /// the future before the last party arrives withdraws; after that it changes nothing for the
    /// others.
    ///
    /// # Errors
    /// [`Error::BarrierBroken`] if it is broken or breaks meanwhile; or if the session is lost or
    /// the barrier deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let start = manager.barrier("start", 2).await?;
    /// let other = start.clone();
    /// tokio::spawn(async move { other.wait().await });
    /// if start.wait().await? == 0 {
    ///     println!("came first");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn wait(&self) -> Result<usize> {
        Ok(index(self.arrive("wait", Wait::Forever, false).await?))
    }

    /// Waits for the other parties, at most so long: if they have not all arrived by then, the
    /// barrier breaks, for them as well. With a timeout of zero only the last party passes.
    ///
    /// Fair and cancel safe as [`wait`](Self::wait).
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
    /// use mp_manager::Error;
    ///
    /// let start = manager.barrier("start", 2).await?;
    /// let alone = start.wait_timeout(Duration::from_millis(1)).await;
    /// assert!(matches!(alone, Err(Error::BarrierBroken(_))));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn wait_timeout(&self, timeout: Duration) -> Result<usize> {
        Ok(index(self.arrive("wait_timeout", Wait::For(timeout), false).await?))
    }

    /// Waits as [`wait`](Self::wait) does, and brings an action that is to be run when all have
    /// arrived, before any is released. Of the parties that bring one, the last to arrive runs its
    /// own.
    ///
    /// If the action fails, panics, or is dropped with this future, the barrier breaks. Nothing else
    /// limits how long it takes; whoever comes meanwhile waits for the next round.
    ///
    /// Fair and, until the action runs, cancel safe as [`wait`](Self::wait).
    ///
    /// # Errors
    /// The action's own; otherwise as [`wait`](Self::wait). Who ran the action, too, hears that the
    /// barrier was aborted or reset meanwhile.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let round = manager.value("round", &0).await?;
    /// let next = manager.barrier("next", 2).await?;
    /// let party = || next.wait_with(async || round.add(&1).await.map(drop));
    /// tokio::try_join!(party(), party())?;
    /// assert_eq!(round.get().await?, 1); // one of them ran it
    /// # Ok(())
    /// # }
    /// ```
    pub async fn wait_with<E: From<Error>>(
        &self,
        action: impl AsyncFnOnce() -> Result<(), E>,
    ) -> Result<usize, E> {
        self.wait_and_act("wait_with", Wait::Forever, action).await
    }

    /// Waits as [`wait_timeout`](Self::wait_timeout) does, with an action as
    /// [`wait_with`](Self::wait_with). The timeout is over when the last party has arrived: the
    /// action takes as long as it takes.
    ///
    /// # Errors
    /// As [`wait_with`](Self::wait_with).
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let log = manager.value("log", &String::new()).await?;
    /// let next = manager.barrier("next", 1).await?;
    /// let write = async || log.set("all are here").await;
    /// assert_eq!(next.wait_timeout_with(Duration::from_secs(60), write).await?, 0);
    /// assert_eq!(log.get().await?, "all are here");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn wait_timeout_with<E: From<Error>>(
        &self,
        timeout: Duration,
        action: impl AsyncFnOnce() -> Result<(), E>,
    ) -> Result<usize, E> {
        self.wait_and_act("wait_timeout_with", Wait::For(timeout), action).await
    }

    /// How many parties it takes.
    ///
    /// # Errors
    /// If the session is lost or the barrier deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let start = manager.barrier("start", 4).await?;
    /// assert_eq!(start.parties().await?, 4);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn parties(&self) -> Result<usize> {
        self.object.ask("parties", op(Op::Parties(Empty {}))).await?.count()
    }

    /// How many parties wait for the others now.
    ///
    /// # Errors
    /// If the session is lost or the barrier deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let start = manager.barrier("start", 2).await?;
    /// assert_eq!(start.waiting().await?, 0);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "n_waiting")]
    pub async fn waiting(&self) -> Result<usize> {
        self.object.ask("waiting", op(Op::Waiting(Empty {}))).await?.count()
    }

    /// Breaks it on purpose, also while an action runs: who waits, and whoever comes until it is
    /// reset, gets [`Error::BarrierBroken`].
    ///
    /// # Errors
    /// If the session is lost or the barrier deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let start = manager.barrier("start", 2).await?;
    /// start.abort().await?;
    /// assert!(start.is_broken().await?);
    /// assert!(start.wait().await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn abort(&self) -> Result<()> {
        self.object.ask("abort", op(Op::Abort(Empty {}))).await?.done()
    }

    /// Makes it as new: it is not broken any more. Who waits gets [`Error::BarrierBroken`], also
    /// while an action runs.
    ///
    /// # Errors
    /// If the session is lost or the barrier deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let start = manager.barrier("start", 2).await?;
    /// start.abort().await?;
    /// start.reset().await?;
    /// assert!(!start.is_broken().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn reset(&self) -> Result<()> {
        self.object.ask("reset", op(Op::Reset(Empty {}))).await?.done()
    }

    /// Whether it is broken: nobody passes until it is reset.
    ///
    /// # Errors
    /// If the session is lost or the barrier deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let start = manager.barrier("start", 2).await?;
    /// assert!(!start.is_broken().await?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "broken")]
    pub async fn is_broken(&self) -> Result<bool> {
        self.object.ask("is_broken", op(Op::IsBroken(Empty {}))).await?.flag()
    }

    async fn arrive(
        &self,
        operation: &'static str,
        wait: Wait,
        has_action: bool,
    ) -> Result<Arrival> {
        let arrive = op(Op::Wait(BarrierWait { has_action }));
        self.object.ask_waiting(operation, arrive, wait).await?.arrival()
    }

    async fn wait_and_act<E: From<Error>>(
        &self,
        operation: &'static str,
        wait: Wait,
        action: impl AsyncFnOnce() -> Result<(), E>,
    ) -> Result<usize, E> {
        let arrival = self.arrive(operation, wait, true).await?;
        if arrival.run_action {
            let turn = Turn { object: &self.object, generation: arrival.generation, over: false };
            action().await?;
            turn.succeeded(operation).await?;
        }
        Ok(index(arrival))
    }
}

/// This party's turn to run its action. Whatever ends it without success breaks the barrier: the
/// others must not wait for ever.
struct Turn<'a> {
    object: &'a Object,
    generation: u64,
    over: bool,
}

impl Turn<'_> {
    async fn succeeded(mut self, operation: &'static str) -> Result<()> {
        let told = self.object.ask(operation, self.done(true)).await;
        self.over = true;
        match told {
            // The turn is said to be over only once: there is none any more.
            Err(Error::InvalidArgument(_)) => Err(self.object.refuse(
                operation,
                Reason::BarrierBroken,
                "the barrier was reset while the action ran",
                "wait again",
            )),
            told => told?.done(),
        }
    }

    fn done(&self, ok: bool) -> request::Op {
        op(Op::ActionDone(BarrierActionDone { generation: self.generation, ok }))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.object.tell(self.done(false));
        }
    }
}

fn index(arrival: Arrival) -> usize {
    usize::try_from(arrival.index).unwrap_or(usize::MAX)
}

fn op(op: Op) -> request::Op {
    request::Op::Barrier(BarrierOp { op: Some(op) })
}
