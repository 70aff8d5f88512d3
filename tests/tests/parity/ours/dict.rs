//! `dict`.

use std::{any::Any, sync::Arc};

use mp_manager::{
    Unnamed,
    blocking::{Dict, Manager},
};
use serde_json::Value;

use super::{Answer, Args, Failure, Shared, dict_value, none, unknown, value};

pub(super) fn make(manager: &Manager, args: &Args<'_>) -> Result<Arc<dyn Shared>, Failure> {
    let dict = manager.dict::<Value, Value>(Unnamed).open()?;
    if args.len() > 0 {
        dict.extend(args.entries(0))?;
    }
    Ok(Arc::new(dict))
}

impl Shared for Dict<Value, Value> {
    fn call(&self, method: &str, args: &Args<'_>) -> Answer {
        let missing = || Failure::Named("KeyError");
        let key = args.at(0);
        Ok(match method {
            "__contains__" => self.contains(key)?.into(),
            "__delitem__" => none(self.remove(key)?.map(drop).ok_or_else(missing))?,
            "__getitem__" => self.get(key)?.ok_or_else(missing)?,
            "__setitem__" => none(self.insert(key, args.at(1)))?,
            "__len__" => self.len()?.into(),
            "__iter__" | "keys" => self.keys()?.into(),
            "__reversed__" => {
                let keys = self.reversed().map(|entry| entry.map(|(key, _)| key));
                keys.collect::<Result<Vec<_>, _>>()?.into()
            }
            "__or__" => dict_value(self.merge(args.entries(0))?),
            "__ior__" => none(self.extend(args.entries(0)))?,
            "update" => none(match args.object::<Self>(0, "ref") {
                Some(other) => self.extend(other.items()?),
                None => self.extend(args.entries(0)),
            })?,
            "clear" => none(self.clear())?,
            "copy" => dict_value(self.copy()?),
            "fromkeys" => {
                self.from_keys(args.elements(0), args.at(1))?;
                dict_value(self.items()?)
            }
            "get" => self.get(key)?.unwrap_or_else(|| args.at(1).clone()),
            "items" => value(self.items()?),
            "pop" if args.len() == 2 => self.pop_or(key, args.at(1).clone())?,
            "pop" => self.pop(key)?,
            "popitem" => value(self.pop_item()?.ok_or_else(missing)?),
            "setdefault" => self.get_or_insert(key, args.at(1))?,
            "values" => self.values()?.into(),
            _ => unknown(method),
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
