//! `Namespace`.

use std::{any::Any, sync::Arc};

use mp_manager::{
    Unnamed,
    blocking::{Manager, Namespace},
};
use serde_json::Value;

use super::{Answer, Args, Failure, Shared, none, unknown};

pub(super) fn make(manager: &Manager) -> Result<Arc<dyn Shared>, Failure> {
    Ok(Arc::new(manager.namespace(Unnamed).open()?))
}

impl Shared for Namespace {
    fn call(&self, method: &str, args: &Args<'_>) -> Answer {
        let name = args.text(0);
        let missing = Failure::Named("AttributeError");
        Ok(match method {
            "__delattr__" if self.delete(name)? => Value::Null,
            "__delattr__" => return Err(missing),
            "__getattr__" => self.get(name)?.ok_or(missing)?,
            "__setattr__" => none(self.set(name, args.at(1)))?,
            _ => unknown(method),
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
