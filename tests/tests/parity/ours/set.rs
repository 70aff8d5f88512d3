//! `set`.

use std::{any::Any, sync::Arc};

use mp_manager::{
    SetOperand, Unnamed,
    blocking::{Manager, Set},
};
use serde_json::Value;

use super::{Answer, Args, Failure, Shared, none, set_value, unknown};

pub(super) fn make(manager: &Manager, args: &Args<'_>) -> Result<Arc<dyn Shared>, Failure> {
    let set = manager.set::<Value>(Unnamed).open()?;
    if args.len() > 0 {
        set.extend(args.elements(0))?;
    }
    Ok(Arc::new(set))
}

fn operand(args: &Args<'_>) -> SetOperand<Value> {
    match args.object::<Set<Value>>(0, "ref") {
        Some(set) => (&set).into(),
        None => args.elements(0).into(),
    }
}

impl Shared for Set<Value> {
    fn call(&self, method: &str, args: &Args<'_>) -> Answer {
        let element = args.at(0);
        let empty = || Failure::Named("KeyError");
        Ok(match method {
            "__contains__" => self.contains(element)?.into(),
            "__iter__" => self.iter().collect::<Result<Vec<_>, _>>()?.into(),
            "__len__" => self.len()?.into(),
            "add" => none(self.add(element))?,
            "clear" => none(self.clear())?,
            "copy" => set_value(self.copy()?),
            "discard" => none(self.discard(element))?,
            "pop" => self.pop()?.ok_or_else(empty)?,
            "remove" => none(self.remove(element))?,
            _ => return combine(self, method, operand(args)),
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn combine(set: &Set<Value>, method: &str, other: SetOperand<Value>) -> Answer {
    Ok(match method {
        "__and__" | "intersection" => set_value(set.intersection(other)?),
        "__or__" | "union" => set_value(set.union(other)?),
        "__sub__" | "difference" => set_value(set.difference(other)?),
        "__xor__" | "symmetric_difference" => set_value(set.symmetric_difference(other)?),
        "__iand__" | "intersection_update" => none(set.intersection_update(other))?,
        "__ior__" | "update" => none(set.extend(other))?,
        "__isub__" | "difference_update" => none(set.difference_update(other))?,
        "__ixor__" | "symmetric_difference_update" => none(set.symmetric_difference_update(other))?,
        _ => compare(set, method, other)?.into(),
    })
}

fn compare(set: &Set<Value>, method: &str, other: SetOperand<Value>) -> mp_manager::Result<bool> {
    match method {
        "__eq__" => set.equals(other),
        "__ne__" => set.equals(other).map(|equal| !equal),
        "__le__" | "issubset" => set.is_subset(other),
        "__lt__" => set.is_proper_subset(other),
        "__ge__" | "issuperset" => set.is_superset(other),
        "__gt__" => set.is_proper_superset(other),
        "isdisjoint" => set.is_disjoint(other),
        _ => unknown(method),
    }
}
