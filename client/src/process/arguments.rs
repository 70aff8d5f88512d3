//! Where a process finds the arguments of its task.

use mp_manager_proto::value;

use crate::{
    error::{Error, Result},
    failure::TaskFailure,
    objects::Manager,
    process::task::Transferable,
};

/// The arguments of one task, as a tuple.
pub(crate) enum Arguments<'a> {
    /// The bytes themselves.
    Here(&'a [u8]),
    /// There are proxies among them: a dict of the manager holds them under [`KEY`], so that what they
    /// refer to lasts until the child has taken them.
    Held {
        /// A session of this process.
        manager: &'a Manager,
        /// The name of the dict.
        name: &'a str,
        /// Called once they are taken.
        taken: &'a dyn Fn(),
    },
}

/// The only key of the dict that holds arguments.
const KEY: &str = "arguments";

impl Arguments<'_> {
    /// Decodes them, lets go of what held them.
    pub(super) fn take<A: Transferable>(&self) -> Result<A, TaskFailure> {
        let undecodable = |message: String| TaskFailure::Undecodable { message };
        match self {
            Self::Here(bytes) => value::decode(bytes).map_err(|e| undecodable(e.to_string())),
            Self::Held { manager, name, taken } => match pollster::block_on(take(manager, name)) {
                Ok(Some(args)) => {
                    taken();
                    Ok(args)
                }
                Ok(None) => Err(undecodable("they are gone".into())),
                Err(error @ Error::Decode { .. }) => Err(undecodable(error.to_string())),
                Err(error) => Err(TaskFailure::Failed {
                    chain: vec!["cannot take its arguments".into(), error.to_string()],
                }),
            },
        }
    }
}

/// Arguments that a manager holds for a child. As long as this lives, so do the originals: an end of a pipe
/// among them stays open until the child has one of its own.
pub(super) struct Held {
    manager: Manager,
    name: String,
    _args: Box<dyn Send>,
}

impl Held {
    /// What another process has put there for a child of this one. `kept` lasts as long.
    pub(super) fn for_another(manager: Manager, name: String, kept: impl Send + 'static) -> Self {
        Self { manager, name, _args: Box::new(kept) }
    }

    /// Deletes what nobody takes. Named objects outlast their manager's clients.
    pub(super) async fn discard(self) {
        let _ = self.manager.delete(&self.name).await;
    }
}

/// Puts arguments where a child finds them under that name.
pub(super) async fn hold<A: Transferable>(manager: Manager, name: String, args: A) -> Result<Held> {
    let dict = manager.dict::<String, A>(&name[..]).await?;
    let entry = dict.entry("insert", KEY, &args)?;
    dict.insert_entry(entry).await?;
    Ok(Held { manager, name, _args: Box::new(args) })
}

async fn take<A: Transferable>(manager: &Manager, name: &str) -> Result<Option<A>> {
    let args = manager.dict::<String, A>(name).await?.remove(KEY).await?;
    manager.delete(name).await?;
    Ok(args)
}
