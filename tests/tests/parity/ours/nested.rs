//! A `dict` whose values are lists' proxies.

use std::{any::Any, sync::Arc};

use mp_manager::{
    Unnamed,
    blocking::{Dict, List, Manager},
};
use serde_json::Value;

use super::{Answer, Args, Failure, Named, Shared, none, unknown};

type Nested = Dict<String, List<Value>>;

pub(super) fn make(manager: &Manager) -> Result<Arc<dyn Shared>, Failure> {
    Ok(Arc::new(manager.dict::<String, List<Value>>(Unnamed).open()?))
}

impl Shared for Nested {
    fn call(&self, method: &str, args: &Args<'_>) -> Answer {
        let key = args.text(0);
        Ok(match method {
            "__setitem__" => {
                let list = args.object(1, "ref").expect("a list");
                none(self.insert(key, &list))?
            }
            "__delitem__" => none(self.remove(key))?,
            _ => unknown(method),
        })
    }

    fn call_for_object(&self, _: &str, args: &Args<'_>) -> Result<Named, Failure> {
        let list = self.get(args.text(0))?.ok_or(Failure::Named("KeyError"))?;
        Ok(("list".into(), Arc::new(list)))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
