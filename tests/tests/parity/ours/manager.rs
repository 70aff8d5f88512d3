//! The manager itself.

use std::{any::Any, sync::Arc};

use mp_manager::{AUTHKEY_VARIABLE, blocking::Manager};

use super::{Answer, Args, Failure, Named, Shared, make_one, none, unknown};

/// `Manager()`: an embedded one.
pub(super) fn start() -> Result<Named, Failure> {
    Ok(named(Manager::start()?))
}

/// `connect(manager, authkey)`: another connection, with the same key or this one.
pub(super) fn connect(args: &Args<'_>) -> Result<Named, Failure> {
    let manager: Manager = args.object(0, "ref").expect("a manager");
    let authkey = match args.at(1).as_str() {
        Some(authkey) => authkey.to_owned(),
        None => authkey_of(&manager),
    };
    Ok(named(Manager::connect(manager.address(), authkey)?))
}

fn named(manager: Manager) -> Named {
    ("Manager".into(), Arc::new(manager))
}

fn authkey_of(manager: &Manager) -> String {
    let environment = manager.environment();
    let (_, authkey) =
        environment.into_iter().find(|(name, _)| name == AUTHKEY_VARIABLE).expect("an authkey");
    authkey.into_string().expect("text")
}

impl Shared for Manager {
    fn call(&self, method: &str, _: &Args<'_>) -> Answer {
        Ok(match method {
            "_debug_info" => self.inspect(None)?.objects.len().into(),
            "_number_of_objects" => self.statistics()?.objects.into(),
            "address" => (!self.address().is_empty()).into(),
            "shutdown" => none(self.shutdown())?,
            _ => unknown(method),
        })
    }

    fn call_for_object(&self, method: &str, args: &Args<'_>) -> Result<Named, Failure> {
        make_one(self, method, args)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
