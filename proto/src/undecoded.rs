//! Values that cannot be decoded, for those who show whatever is stored.

use serde::{
    Deserializer,
    de::{Error as _, Visitor, value::Error},
    forward_to_deserialize_any,
};

/// A type that is deserialised as a newtype struct of this name can be made of what cannot be decoded, too:
/// its visitor gets the bytes as they are, by `visit_bytes`. What can be decoded comes by
/// `visit_newtype_struct` as ever.
pub const UNDECODED: &str = "$mp_manager::Undecoded";

/// Bytes that could not be decoded.
pub(crate) struct Undecoded<'a>(pub(crate) &'a [u8]);

impl<'de> Deserializer<'de> for Undecoded<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("the type is not made of what cannot be decoded"))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == UNDECODED { visitor.visit_bytes(self.0) } else { self.deserialize_any(visitor) }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
