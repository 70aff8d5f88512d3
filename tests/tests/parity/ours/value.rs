//! `Value`.

use std::{any::Any, sync::Arc};

use mp_manager::{
    Unnamed,
    blocking::{Manager, Value},
};

use super::{Answer, Args, Failure, Shared, none, unknown};

pub(super) fn make(manager: &Manager, args: &Args<'_>) -> Result<Arc<dyn Shared>, Failure> {
    Ok(Arc::new(manager.value(Unnamed, args.at(1)).open()?))
}

impl Shared for Value<serde_json::Value> {
    fn call(&self, method: &str, args: &Args<'_>) -> Answer {
        Ok(match method {
            "get" | "value" => self.get()?,
            "set" => none(self.set(args.at(0)))?,
            _ => unknown(method),
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
