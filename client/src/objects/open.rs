//! Opening an object by name, or creating one without.

use std::{fmt, future::IntoFuture, marker::PhantomData, pin::Pin};

use mp_manager_proto::v1::{
    DirectoryOp, Mode, Open as OpenOp, Parameters, directory_op, parameters, request,
};

use super::{Proxy, manager::Manager};
use crate::{error::Result, rpc::object::Object};

/// For an object without a name, which lives as long as a process or another object refers to it.
///
/// ```
/// # use mp_manager::{Dict, List, Manager, Unnamed};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mp_manager::Result<()> {
/// # let manager = Manager::start().await?;
/// let teams = manager.dict::<String, List<String>>("teams").await?;
/// let team = manager.list::<String>(Unnamed).await?;
/// team.push("alice").await?;
/// teams.insert("red", &team).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unnamed;

/// The name of an object, or [`Unnamed`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(pub(crate) Option<String>);

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        Self(Some(name.into()))
    }
}

impl From<String> for Name {
    fn from(name: String) -> Self {
        Self(Some(name))
    }
}

impl From<&String> for Name {
    fn from(name: &String) -> Self {
        Self(Some(name.clone()))
    }
}

impl From<Unnamed> for Name {
    fn from(_: Unnamed) -> Self {
        Self(None)
    }
}

/// An object about to be opened: await it for its proxy.
///
/// A name that exists already is opened, one that does not is created; whoever else opens it shares
/// the object. A name that exists as another kind, or with other parameters, is an error.
///
/// ```
/// # use mp_manager::{Error, Manager};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mp_manager::Result<()> {
/// # let manager = Manager::start().await?;
/// let missing = manager.dict::<String, u64>("scores").existing().await;
/// assert!(matches!(missing, Err(Error::ObjectNotFound(_))));
///
/// let scores = manager.dict::<String, u64>("scores").await?;
/// let again = manager.dict::<String, u64>("scores").create_new().await;
/// assert!(matches!(again, Err(Error::AlreadyExists(_))));
/// # Ok(())
/// # }
/// ```
#[must_use = "an object is opened when this is awaited"]
pub struct Open<P> {
    manager: Manager,
    name: Option<String>,
    /// Or why they cannot be sent, which is told when it is opened.
    pub(crate) parameters: Result<Option<Parameters>>,
    mode: Mode,
    proxy: PhantomData<fn() -> P>,
}

impl<P> Open<P> {
    pub(crate) fn new(manager: &Manager, name: Name, parameters: Option<Parameters>) -> Self {
        Self {
            manager: manager.clone(),
            name: name.0,
            parameters: Ok(parameters),
            mode: Mode::OpenOrCreate,
            proxy: PhantomData,
        }
    }

    /// With parameters that may have turned out not to be possible.
    pub(crate) fn with(self, parameters: Result<parameters::Parameters>) -> Self {
        let parameters =
            parameters.map(|parameters| Some(Parameters { parameters: Some(parameters) }));
        Self { parameters, ..self }
    }

    /// Only opens: a name that does not exist is [`Error::ObjectNotFound`](crate::Error), and
    /// [`Unnamed`], of which there is nothing to be opened, [`Error::InvalidArgument`](crate::Error).
    pub fn existing(self) -> Self {
        Self { mode: Mode::Open, ..self }
    }

    /// Only creates: a name that exists is [`Error::AlreadyExists`](crate::Error).
    pub fn create_new(self) -> Self {
        Self { mode: Mode::Create, ..self }
    }
}

impl<P: Proxy> Open<P> {
    /// Opens it; the same as awaiting it.
    ///
    /// # Errors
    /// If the name is taken by another kind or with other parameters, the initial value cannot be
    /// encoded, or a limit is reached.
    pub async fn open(self) -> Result<P> {
        let (object, _) = self.open_object(P::KIND).await?;
        Ok(P::new(object, P::DETAIL))
    }

    pub(crate) async fn open_object(
        self,
        kind: mp_manager_proto::v1::Kind,
    ) -> Result<(Object, Option<Parameters>)> {
        let open = OpenOp {
            name: self.name,
            kind: kind.into(),
            parameters: self.parameters?,
            mode: self.mode.into(),
        };
        let origin = open.name.is_some().then(|| again(&open));
        let name = open.name.clone();
        let op = request::Op::Directory(DirectoryOp { op: Some(directory_op::Op::Open(open)) });
        let reply = self.manager.ask("open", name.as_deref(), op).await?;
        let opened = reply.opened()?;
        let reference = opened.r#ref.ok_or_else(|| reply.unexpected())?;
        let handle = self.manager.link().handle(reference);
        Ok((Object::new(handle, origin), opened.parameters.clone()))
    }
}

/// How to open it once more, after the manager has started again: who was the first to create it
/// need not be now.
fn again(open: &OpenOp) -> OpenOp {
    let mode = match open.mode() {
        Mode::Create => Mode::OpenOrCreate,
        mode => mode,
    };
    OpenOp { mode: mode.into(), ..open.clone() }
}

impl<P: Proxy> IntoFuture for Open<P> {
    type Output = Result<P>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<P>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}

impl<P> fmt::Debug for Open<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open").field("name", &self.name).finish_non_exhaustive()
    }
}
