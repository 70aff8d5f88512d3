//! `list`, of values or (`list_of_dicts`) of dicts.

use std::{any::Any, ops::Bound, sync::Arc};

use mp_manager::{
    Unnamed,
    blocking::{List, Manager},
};
use serde_json::Value;

use super::{Answer, Args, Failure, Shared, none, unknown};

pub(super) fn make(manager: &Manager, args: &Args<'_>) -> Result<Arc<dyn Shared>, Failure> {
    let list = manager.list::<Value>(Unnamed).open()?;
    if args.len() > 0 {
        list.extend(args.elements(0))?;
    }
    Ok(Arc::new(list))
}

impl Shared for List<Value> {
    fn call(&self, method: &str, args: &Args<'_>) -> Answer {
        let (value, index) = (args.at(0), args.integer(0).unwrap_or_default());
        Ok(match method {
            "__add__" => self.concatenate(args.elements(0))?.into(),
            "__contains__" => self.contains(value)?.into(),
            "__delitem__" => none(match args.slice(0) {
                Some(slice) => self.delete_slice(slice),
                None => self.pop_at(index).map(drop),
            })?,
            "__getitem__" => match args.slice(0) {
                Some(slice) => self.slice(slice)?.into(),
                None => self.get(index)?,
            },
            "__setitem__" => none(match args.slice(0) {
                Some(slice) => self.set_slice(slice, args.elements(1)),
                None => self.set(index, args.at(1)),
            })?,
            "__iadd__" | "extend" => none(self.extend(args.elements(0)))?,
            "__imul__" => none(self.repeat_in_place(index))?,
            "__iter__" => self.iter().collect::<Result<Vec<_>, _>>()?.into(),
            "__len__" => self.len()?.into(),
            "__mul__" | "__rmul__" => self.repeat(index)?.into(),
            "__reversed__" => self.reversed().collect::<Result<Vec<_>, _>>()?.into(),
            "append" => none(self.push(value))?,
            "clear" => none(self.clear())?,
            "copy" => self.copy()?.into(),
            "count" => self.count(value)?.into(),
            "index" if args.len() == 1 => self.index(value)?.into(),
            "index" => {
                let start = args.integer(1).map_or(Bound::Unbounded, Bound::Included);
                let stop = args.integer(2).map_or(Bound::Unbounded, Bound::Excluded);
                self.index_in(value, (start, stop))?.into()
            }
            "insert" => none(self.insert(index, args.at(1)))?,
            "pop" if args.len() == 0 => self.pop()?.ok_or(Failure::Named("IndexError"))?,
            "pop" => self.pop_at(index)?,
            "remove" => none(self.remove(value))?,
            "reverse" => none(self.reverse())?,
            "sort" => none(match args.keyword("reverse") {
                Some(Value::Bool(true)) => self.sort_descending(),
                _ => self.sort(),
            })?,
            _ => unknown(method),
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
