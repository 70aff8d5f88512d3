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
    },
}

/// The only key of the dict that holds arguments.
const KEY: &str = "arguments";

impl Arguments<'_> {
    /// Decodes them, and lets go of what held them.
    pub(super) fn take<A: Transferable>(&self) -> Result<A, TaskFailure> {
        let undecodable = |message: String| TaskFailure::Undecodable { message };
        match self {
            Self::Here(bytes) => value::decode(bytes).map_err(|e| undecodable(e.to_string())),
            Self::Held { manager, name } => match pollster::block_on(take(manager, name)) {
                Ok(Some(args)) => Ok(args),
                Ok(None) => Err(undecodable("they are gone".into())),
                Err(error @ Error::Decode { .. }) => Err(undecodable(error.to_string())),
                Err(error) => Err(TaskFailure::Failed {
                    chain: vec!["cannot take its arguments".into(), error.to_string()],
                }),
            },
        }
    }
}

/// Puts arguments where a child finds them under that name.
pub(super) async fn hold<A: Transferable>(manager: &Manager, name: &str, args: A) -> Result<()> {
    manager.dict::<String, A>(name).await?.insert(KEY, args).await?;
    Ok(())
}

async fn take<A: Transferable>(manager: &Manager, name: &str) -> Result<Option<A>> {
    let args = manager.dict::<String, A>(name).await?.remove(KEY).await?;
    manager.delete(name).await?;
    Ok(args)
}
