//! Which numbers a type holds, so that the manager can refuse a sum that nobody could read.

use std::{cell::Cell, fmt};

use mp_manager_proto::v1::ElementType;
use serde::{
    Deserializer,
    de::{self, DeserializeOwned, Visitor},
    forward_to_deserialize_any,
};

/// The type of number that a `T` is read from: its own, or that inside an `Option` or a newtype.
///
/// Unspecified for what is no number, for one beyond 64 bits, and for a type that takes any kind of
/// value.
pub(crate) fn number_type<T: DeserializeOwned>() -> ElementType {
    let found = Cell::new(ElementType::Unspecified);
    // Nothing is read: the deserializer ends as soon as the type has asked for a number.
    let _ = T::deserialize(Asked { found: &found, wrappers: MAX_WRAPPERS });
    found.get()
}

/// Newtypes and `Option`s around a number. A type that consists of nothing else has no end.
const MAX_WRAPPERS: u8 = 16;

/// A deserializer that has no value, and notes which type of number it is asked for.
struct Asked<'a> {
    found: &'a Cell<ElementType>,
    wrappers: u8,
}

impl Asked<'_> {
    fn unwrapped(self) -> Result<Self, NoValue> {
        let wrappers = self.wrappers.checked_sub(1).ok_or(NoValue)?;
        Ok(Self { wrappers, ..self })
    }
}

macro_rules! numbers {
    ($($method:ident = $type:ident,)*) => {$(
        fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, NoValue> {
            self.found.set(ElementType::$type);
            Err(NoValue)
        }
    )*};
}

impl<'de> Deserializer<'de> for Asked<'_> {
    type Error = NoValue;

    numbers! {
        deserialize_i8 = I8,
        deserialize_u8 = U8,
        deserialize_i16 = I16,
        deserialize_u16 = U16,
        deserialize_i32 = I32,
        deserialize_u32 = U32,
        deserialize_i64 = I64,
        deserialize_u64 = U64,
        deserialize_f32 = F32,
        deserialize_f64 = F64,
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        visitor.visit_some(self.unwrapped()?)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, NoValue> {
        visitor.visit_newtype_struct(self.unwrapped()?)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, NoValue> {
        Err(NoValue)
    }

    forward_to_deserialize_any! {
        bool i128 u128 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map
        struct enum identifier ignored_any
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

#[derive(Debug)]
struct NoValue;

impl fmt::Display for NoValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no value")
    }
}

impl std::error::Error for NoValue {}

impl de::Error for NoValue {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashMap,
        num::{NonZeroU8, Wrapping},
    };

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Points(#[expect(dead_code, reason = "only its type matters")] u16);

    #[derive(Deserialize)]
    struct Endless(#[expect(dead_code, reason = "only its type matters")] Option<Box<Endless>>);

    #[derive(Deserialize)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "only its type matters")]
    enum Either {
        Integer(i64),
        Float(f64),
    }

    #[test]
    fn a_number_is_found_in_what_it_is_read_from() {
        assert_eq!(number_type::<i8>(), ElementType::I8);
        assert_eq!(number_type::<f32>(), ElementType::F32);
        assert_eq!(number_type::<usize>(), ElementType::U64);
        assert_eq!(number_type::<Option<Points>>(), ElementType::U16);
        assert_eq!(number_type::<NonZeroU8>(), ElementType::U8);
        assert_eq!(number_type::<Wrapping<i32>>(), ElementType::I32);
    }

    #[test]
    fn what_takes_other_values_has_no_type_of_number() {
        assert_eq!(number_type::<i128>(), ElementType::Unspecified);
        assert_eq!(number_type::<String>(), ElementType::Unspecified);
        assert_eq!(number_type::<HashMap<String, u8>>(), ElementType::Unspecified);
        assert_eq!(number_type::<Either>(), ElementType::Unspecified);
        assert_eq!(number_type::<Endless>(), ElementType::Unspecified);
        assert_eq!(number_type::<crate::List<u8>>(), ElementType::Unspecified);
    }
}
