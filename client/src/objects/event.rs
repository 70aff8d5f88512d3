//! An event that every process can wait for.

use std::time::Duration;

use mp_manager_proto::v1::{Empty, EventOp, Kind, event_op::Op, request};

use crate::{
    error::Result,
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
    /// An [`Event`], which begins clear.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let ready = manager.event("ready").await?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "Event")]
    pub fn event(&self, name: impl Into<Name>) -> Open<Event> {
        Open::new(self, name.into(), None)
    }
}

/// A flag that processes wait for, wherever they run. Python's `manager.Event()`.
///
/// Setting it lets everybody pass who waits, and whoever comes until it is cleared.
///
/// ```
/// # use mp_manager::Manager;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mp_manager::Result<()> {
/// # let manager = Manager::start().await?;
/// let ready = manager.event("ready").await?;
/// ready.set().await?; // in one process
/// ready.wait().await?; // in the others
/// # Ok(())
/// # }
/// ```
pub struct Event {
    object: Object,
}

proxy!(Event);

impl sealed::Proxy for Event {
    const KIND: Kind = Kind::Event;

    fn new(object: Object, _: Detail) -> Self {
        Self { object }
    }

    fn object(&self) -> &Object {
        &self.object
    }
}

impl Event {
    /// Sets it: everybody who waits passes, even if it is cleared right after.
    ///
    /// # Errors
    /// If the session is lost or the event deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let ready = manager.event("ready").await?;
    /// ready.set().await?;
    /// assert!(ready.is_set().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn set(&self) -> Result<()> {
        self.object.ask("set", op(Op::Set(Empty {}))).await?.done()
    }

    /// Clears it: whoever comes from now on waits until it is set again.
    ///
    /// # Errors
    /// If the session is lost or the event deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let ready = manager.event("ready").await?;
    /// ready.set().await?;
    /// ready.clear().await?;
    /// assert!(!ready.is_set().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn clear(&self) -> Result<()> {
        self.object.ask("clear", op(Op::Clear(Empty {}))).await?.done()
    }

    /// Whether it is set, without waiting. By the time you look it may have changed.
    ///
    /// # Errors
    /// If the session is lost or the event deleted.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let ready = manager.event("ready").await?;
    /// assert!(!ready.is_set().await?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "try_wait")]
    pub async fn is_set(&self) -> Result<bool> {
        self.object.ask("is_set", op(Op::IsSet(Empty {}))).await?.flag()
    }

    /// Waits until it is set, as long as it takes.
    ///
    /// There is no line: setting it lets everybody pass at once. Cancel safe: waiting changes
    /// nothing.
    ///
    /// # Errors
    /// If the session is lost or the event deleted meanwhile.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let ready = manager.event("ready").await?;
    /// let setter = ready.clone();
    /// tokio::spawn(async move { setter.set().await });
    /// ready.wait().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn wait(&self) -> Result<()> {
        self.object.ask("wait", op(Op::Wait(Empty {}))).await?.flag().map(drop)
    }

    /// Waits until it is set, at most so long; whether it was. Cancel safe as [`wait`](Self::wait).
    ///
    /// # Errors
    /// If the session is lost or the event deleted meanwhile.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let ready = manager.event("ready").await?;
    /// assert!(!ready.wait_timeout(Duration::from_millis(1)).await?);
    /// ready.set().await?;
    /// assert!(ready.wait_timeout(Duration::from_secs(60)).await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn wait_timeout(&self, timeout: Duration) -> Result<bool> {
        let wait = op(Op::Wait(Empty {}));
        self.object.ask_waiting("wait_timeout", wait, Wait::For(timeout)).await?.flag()
    }
}

fn op(op: Op) -> request::Op {
    request::Op::Event(EventOp { op: Some(op) })
}
