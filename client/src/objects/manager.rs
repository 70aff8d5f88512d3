//! A manager: its directory of objects, and the session that it is used in.

use std::{ffi::OsString, sync::Arc};

use mp_manager_proto::v1::{
    DirectoryOp, Empty, Inspect, Inspection, List, Listing, ObjectInfo, Request, Statistics,
    directory_op::Op, request,
};

use crate::{
    error::{Context, Error, Result},
    objects::pages::Pages,
    protocol::{Failure, Scope, closed},
    rpc::{reply::Reply, subject::Subject},
    session::{call::Call, link::Link},
};

/// A session with a manager. Cloning is cheap; the session ends when the last clone, proxy and guard
/// are gone, and what it holds is released.
///
/// The connection is run by a task on the current tokio runtime, and ends with it. While a task
/// computes without awaiting, a thread of the process sends what was given back or acknowledged, some 10 ms later
/// than otherwise. A session whose runtime has a single thread that computes for as long as the lease is lost
/// ([Runtimes](crate#runtimes)); [`Builder::background_thread`](crate::Builder::background_thread) gives the connection
/// a thread of its own.
///
/// When the connection breaks it is made again, and the session goes on: calls that were under way
/// wait, and are executed once. See [`Builder::lease`](crate::Builder::lease) and [`Builder::reconnect_timeout`](crate::Builder::reconnect_timeout) for what
/// that has to do with time. A process that ends without a goodbye looks like one that may come back:
/// over a network, what it held waits for its lease to run out. The goodbye is said when the last
/// handle is dropped, or when the runtime ends that runs the connection, which waits for it for half a
/// second at most. A program that exits at once (`std::process::exit`, a signal) says none;
/// [`close`](Self::close) makes sure.
///
/// ```
/// use mp_manager::Manager;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mp_manager::Result<()> {
/// let manager = Manager::start().await?;
/// let jobs = manager.dict::<u64, String>("jobs").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[doc(alias = "SyncManager")]
#[doc(alias = "BaseManager")]
pub struct Manager {
    link: Arc<Link>,
}

impl Manager {
    /// Where the manager listens.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// let manager = Manager::start().await?;
    /// assert!(manager.address().starts_with("unix:"));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn address(&self) -> &str {
        &self.link.address
    }

    /// The certificate that the manager showed on the newest connection, as PEM; `None` without TLS. It
    /// is the manager's: the proof of the authkey is bound to it. Clients in other languages pin it.
    ///
    /// ```no_run
    /// # use mp_manager::Manager;
    /// # async fn example() -> mp_manager::Result<()> {
    /// let manager = Manager::connect("tls://10.0.0.5:7117", "authkey").await?;
    /// if let Some(pem) = manager.certificate() {
    ///     print!("{pem}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn certificate(&self) -> Option<String> {
        self.link.certificate()
    }

    /// What a child process needs in its environment for [`from_env`](Self::from_env) to find this
    /// manager. It has the authkey in it: give it to children, do not print it. Certificates are in
    /// it if they are in files.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # use std::process::Command;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// let manager = Manager::start().await?;
    /// let mut worker = Command::new("worker");
    /// worker.envs(manager.environment());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        self.link.keeper().map(|keeper| keeper.environment()).unwrap_or_default()
    }

    /// The simplest round trip.
    ///
    /// # Errors
    /// If the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// manager.ping().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn ping(&self) -> Result<()> {
        self.directory("ping", None, Op::Ping(Empty {})).await?.done()
    }

    /// Whether an object with this name exists.
    ///
    /// # Errors
    /// If the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// assert!(!manager.exists("scores").await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn exists(&self, name: &str) -> Result<bool> {
        self.directory("exists", Some(name), Op::Exists(name.into())).await?.flag()
    }

    /// Deletes a named object. Calls that wait in it fail, and so does every later use of it; the
    /// name is free for a new object.
    ///
    /// # Errors
    /// [`Error::ObjectNotFound`] if there is none with this name.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// manager.lock("migrate").await?;
    /// manager.delete("migrate").await?;
    /// assert!(!manager.exists("migrate").await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn delete(&self, name: &str) -> Result<()> {
        self.directory("delete", Some(name), Op::Delete(name.into())).await?.done()
    }

    /// Deletes the object with this id, as [`list_unnamed`](Self::list_unnamed) or
    /// [`inspect`](Self::inspect) has it, whether it has a name or not. Calls that wait in it fail, and so does
    /// every later use of it, also by those whose values refer to it: those references stay, and what is done
    /// with them is [`Error::ObjectNotFound`]. What only the deleted object referred to goes with it, and so
    /// does a cycle of unnamed objects when one of them is deleted.
    ///
    /// An id means another object, or none, after the manager has started again.
    ///
    /// # Errors
    /// [`Error::ObjectNotFound`] if there is none with this id.
    ///
    /// ```
    /// # use mp_manager::{List, Manager, Unnamed};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let cycle = manager.list::<List<u64>>(Unnamed).await?;
    /// let id = manager.list_unnamed().await?[0].object;
    /// manager.delete_by_id(id).await?;
    /// assert!(cycle.len().await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn delete_by_id(&self, id: u64) -> Result<()> {
        self.directory("delete", None, Op::DeleteId(id)).await?.done()
    }

    /// The objects without a name, in the order in which they were made. Each lives as long as somebody
    /// refers to it: a process, or an object. Those that refer to each other in a cycle live until one of
    /// them is [deleted](Self::delete_by_id).
    ///
    /// # Errors
    /// If the session is lost.
    ///
    /// ```
    /// # use mp_manager::{Manager, Unnamed};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let numbers = manager.list::<u64>(Unnamed).await?;
    /// numbers.push(&7).await?;
    /// assert_eq!(manager.list_unnamed().await?[0].len, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn list_unnamed(&self) -> Result<Vec<ObjectInfo>> {
        self.iter_unnamed().collect().await
    }

    /// The objects without a name, in the order in which they were made, a page at a time.
    ///
    /// ```
    /// # use mp_manager::{Manager, Unnamed};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// # let numbers = manager.list::<u64>(Unnamed).await?;
    /// let mut objects = manager.iter_unnamed();
    /// while let Some(object) = objects.next().await? {
    ///     println!("{}: {}", object.object, object.state);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn iter_unnamed(&self) -> Pages<ObjectInfo> {
        let manager = self.clone();
        Pages::new(move |after| {
            let manager = manager.clone();
            let after_id = after.unwrap_or_default();
            let list = List { unnamed: true, after_id, ..List::default() };
            async move {
                let reply = manager.directory("list", None, Op::List(list)).await?;
                let Listing { objects, more, next_id } = reply.listing()?;
                Ok((objects, more.then_some(next_id)))
            }
        })
    }

    /// The named objects whose names begin with `prefix`, in the order of their names.
    ///
    /// # Errors
    /// If the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// manager.lock("migrate").await?;
    /// assert_eq!(manager.list_objects("mig").await?[0].name, "migrate");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn list_objects(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        self.iter_objects(prefix).collect().await
    }

    /// The named objects whose names begin with `prefix`, in the order of their names, a page at a time.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// manager.lock("migrate").await?;
    /// let mut objects = manager.iter_objects("mig");
    /// while let Some(object) = objects.next().await? {
    ///     println!("{}: {}", object.name, object.state);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn iter_objects(&self, prefix: &str) -> Pages<ObjectInfo> {
        let (manager, prefix) = (self.clone(), prefix.to_owned());
        Pages::by_name(move |after| {
            let manager = manager.clone();
            let list = List { prefix: prefix.clone(), after, ..List::default() };
            async move {
                let reply = manager.directory("list", None, Op::List(list)).await?;
                let Listing { objects, more, .. } = reply.listing()?;
                let last = objects.last().map(|object| object.name.clone());
                Ok((objects, last.filter(|_| more)))
            }
        })
    }

    /// How many objects and sessions there are, and how much memory they take.
    ///
    /// # Errors
    /// If the session is lost.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// assert_eq!(manager.statistics().await?.sessions, 1);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "_number_of_objects")]
    pub async fn statistics(&self) -> Result<Statistics> {
        let reply = self.directory("statistics", None, Op::Statistics(Empty {})).await?;
        Ok(reply.inspection()?.statistics.unwrap_or_default())
    }

    /// Everything: objects, who holds them and who waits for what, and sessions; or all of that for
    /// one object. Of each object the first thousand holders and waiters are named, and the others
    /// counted.
    ///
    /// The manager is asked for a page at a time: what comes or goes meanwhile may be in it or not, and what
    /// is there throughout is in it once.
    ///
    /// # Errors
    /// [`Error::ObjectNotFound`] if there is no object with this name.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// # let manager = Manager::start().await?;
    /// let lock = manager.lock("migrate").await?;
    /// let guard = lock.acquire().await?;
    /// let inspection = manager.inspect(Some("migrate")).await?;
    /// assert_eq!(inspection.objects[0].holders[0].token, guard.token());
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "_debug_info")]
    pub async fn inspect(&self, name: Option<&str>) -> Result<Inspection> {
        let mut all = Inspection::default();
        let mut wanted = Inspect { name: name.map(str::to_owned), ..Inspect::default() };
        loop {
            let reply = self.directory("inspect", name, Op::Inspect(wanted)).await?;
            let page = reply.inspection()?;
            all.objects.extend(page.objects);
            all.sessions.extend(page.sessions);
            all.statistics = page.statistics;
            if page.next.is_none() && page.next_session.is_none() {
                return Ok(all);
            }
            // After the largest number there is nothing. One object is on the first page.
            let after = page.next.unwrap_or(u64::MAX);
            let after_session = page.next_session.unwrap_or(u64::MAX);
            wanted = Inspect { after, after_session, ..Inspect::default() };
        }
    }

    /// Stops the manager, for everybody: a daemon ends, and so does an embedded one.
    ///
    /// # Errors
    /// If the request is refused, or cannot be sent: nothing was stopped then. A session that is lost
    /// after it was sent counts as stopped: nobody can tell the two apart.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// let manager = Manager::start().await?;
    /// manager.shutdown().await?;
    /// assert!(manager.ping().await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn shutdown(&self) -> Result<()> {
        if self.link.is_shut_down() {
            return Ok(());
        }
        match self.directory("shutdown", None, Op::Shutdown(Empty {})).await {
            // It may be gone before it has confirmed.
            Ok(_) | Err(Error::ShuttingDown(_) | Error::OutcomeUnknown(_)) => {}
            Err(error) => return Err(error),
        }
        self.link.note_shutdown();
        // Whoever asked for that does not wait for it to come back.
        self.link.session.say_goodbye();
        self.link.session.wait_until_over().await;
        Ok(())
    }

    /// Says goodbye and waits until the manager has taken note: what the session held is released
    /// now. Proxies and guards of this session cannot be used any more.
    ///
    /// Guards are lost as soon as this is called. If the connection breaks, the client tries for half a second to say
    /// goodbye on another one. A manager that does not answer within some five seconds in all keeps what the session
    /// held until its lease has run out.
    ///
    /// # Errors
    /// None today.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// let manager = Manager::start().await?;
    /// manager.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn close(self) -> Result<()> {
        self.link.session.say_goodbye();
        self.link.session.wait_until_over().await;
        Ok(())
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// The manager that a session is with.
    pub(crate) fn new(link: Arc<Link>) -> Self {
        Self { link }
    }

    /// Where an error with the object of that name happened.
    pub(crate) fn context(&self, operation: &'static str, name: Option<&str>) -> Context {
        self.subject(name).context(operation)
    }

    fn subject(&self, name: Option<&str>) -> Subject {
        Subject::Directory(Arc::clone(&self.link), name.map(str::to_owned))
    }

    /// Asks the directory something.
    pub(crate) async fn ask(
        &self,
        operation: &'static str,
        name: Option<&str>,
        op: request::Op,
    ) -> Result<Reply> {
        let subject = self.subject(name);
        let request = Box::new(Request { op: Some(op), ..Request::default() });
        match Call::new(&self.link.session, request, Scope::Any).await {
            Ok(arrived) => Ok(Reply::new(arrived, subject, operation)),
            Err(Failure::Refused(refusal)) => {
                Err(Error::refused(refusal, subject.context(operation)))
            }
            // It is about nothing that an earlier manager had.
            Err(Failure::Stale(_)) => Err(Error::refused(closed(), subject.context(operation))),
        }
    }

    async fn directory(
        &self,
        operation: &'static str,
        name: Option<&str>,
        op: Op,
    ) -> Result<Reply> {
        let op = request::Op::Directory(DirectoryOp { op: Some(op) });
        self.ask(operation, name, op).await
    }
}

impl std::fmt::Debug for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "manager at {}", self.link.address)
    }
}
