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
            "add" => none(self.add(element).map(drop)?),
            "clear" => none(self.clear()?),
            "copy" => set_value(self.copy()?),
            "discard" => none(self.discard(element).map(drop)?),
            "pop" => self.pop()?.ok_or_else(empty)?,
            "remove" => none(self.remove(element)?),
            _ => {
                return combine(self, method, args)
                    .or_else(|| compare(self, method, args))
                    .unwrap_or_else(|| unknown(method));
            }
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn combine(set: &Set<Value>, method: &str, args: &Args<'_>) -> Option<Answer> {
    let other = || operand(args);
    Some(
        match method {
            "__and__" | "intersection" => set.intersection(other()).map(set_value),
            "__or__" | "union" => set.union(other()).map(set_value),
            "__sub__" | "difference" => set.difference(other()).map(set_value),
            "__xor__" | "symmetric_difference" => set.symmetric_difference(other()).map(set_value),
            "__iand__" | "intersection_update" => set.intersection_update(other()).map(none),
            "__ior__" | "update" => set.extend(other()).map(none),
            "__isub__" | "difference_update" => set.difference_update(other()).map(none),
            "__ixor__" | "symmetric_difference_update" => {
                set.symmetric_difference_update(other()).map(none)
            }
            _ => return None,
        }
        .map_err(Failure::from),
    )
}

fn compare(set: &Set<Value>, method: &str, args: &Args<'_>) -> Option<Answer> {
    let other = operand(args);
    Some(
        match method {
            "__eq__" => set.equals(other),
            "__ne__" => set.equals(other).map(|equal| !equal),
            "__le__" | "issubset" => set.is_subset(other),
            "__lt__" => set.is_proper_subset(other),
            "__ge__" | "issuperset" => set.is_superset(other),
            "__gt__" => set.is_proper_superset(other),
            "isdisjoint" => set.is_disjoint(other),
            _ => return None,
        }
        .map(Value::from)
        .map_err(Failure::from),
    )
}
