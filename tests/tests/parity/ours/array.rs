//! `Array`.

use std::{any::Any, sync::Arc};

use mp_manager::{
    Element, Unnamed,
    blocking::{Array, Manager},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Answer, Args, Failure, Shared, none, unknown, value};

pub(super) fn make(manager: &Manager, args: &Args<'_>) -> Result<Arc<dyn Shared>, Failure> {
    match args.text(0) {
        "b" => typed::<i8>(manager, args),
        "B" => typed::<u8>(manager, args),
        "h" => typed::<i16>(manager, args),
        "H" => typed::<u16>(manager, args),
        "i" => typed::<i32>(manager, args),
        "I" => typed::<u32>(manager, args),
        "q" => typed::<i64>(manager, args),
        "Q" => typed::<u64>(manager, args),
        "f" => typed::<f32>(manager, args),
        "d" => typed::<f64>(manager, args),
        code => unknown(code),
    }
}

fn typed<T: Number>(manager: &Manager, args: &Args<'_>) -> Result<Arc<dyn Shared>, Failure> {
    Ok(Arc::new(manager.array_from(Unnamed, &numbers::<T>(args.at(1))).open()?))
}

/// What an array can hold and JSON can write.
trait Number: Element + Serialize + DeserializeOwned {}

impl<T: Element + Serialize + DeserializeOwned> Number for T {}

fn number<T: Number>(value: &Value) -> T {
    serde_json::from_value(value.clone()).expect("a number of the array's type")
}

fn numbers<T: Number>(values: &Value) -> Vec<T> {
    values.as_array().expect("numbers").iter().map(number).collect()
}

impl<T: Number> Shared for Array<T> {
    fn call(&self, method: &str, args: &Args<'_>) -> Answer {
        let index = args.integer(0).unwrap_or_default();
        Ok(match method {
            "__getitem__" => match args.slice(0) {
                Some(slice) => value(self.slice(slice)?),
                None => value(self.get(index)?),
            },
            "__iter__" => value(self.iter().collect::<Result<Vec<_>, _>>()?),
            "__len__" => self.len()?.into(),
            "__setitem__" => none(match args.slice(0) {
                Some(slice) => {
                    let array = args.tagged(1, "array").expect("an array");
                    self.set_slice(slice, &numbers(&array[1]))
                }
                None => self.set(index, number(args.at(1))),
            })?,
            _ => unknown(method),
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
