//! The way down of an encoder.

use std::fmt::Display;

use rmp_serde::MSGPACK_EXT_STRUCT_NAME;
use serde::{
    Serialize, Serializer,
    ser::{
        Error, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
        SerializeTupleStruct, SerializeTupleVariant,
    },
};

use super::{Level, Limited, TooDeep};

/// A value within another.
struct Inner<'a, 'v, T: ?Sized> {
    value: &'v T,
    level: Level<'a>,
}

impl<T: Serialize + ?Sized> Serialize for Inner<'_, '_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Limited::new(serializer, self.level))
    }
}

fn too_deep<E: Error>(error: TooDeep) -> E {
    E::custom(error)
}

/// Scalars, which have nothing inside.
macro_rules! forward {
    ($($method:ident: $type:ty,)*) => {$(
        fn $method(self, value: $type) -> Result<S::Ok, S::Error> {
            self.inner.$method(value)
        }
    )*};
}

impl<'a, S: Serializer> Serializer for Limited<'a, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Limited<'a, S::SerializeSeq>;
    type SerializeTuple = Limited<'a, S::SerializeTuple>;
    type SerializeTupleStruct = Limited<'a, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Limited<'a, S::SerializeTupleVariant>;
    type SerializeMap = Limited<'a, S::SerializeMap>;
    type SerializeStruct = Limited<'a, S::SerializeStruct>;
    type SerializeStructVariant = Limited<'a, S::SerializeStructVariant>;

    forward! {
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_i128: i128,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_u128: u128,
        serialize_f32: f32,
        serialize_f64: f64,
        serialize_char: char,
        serialize_str: &str,
        serialize_bytes: &[u8],
        serialize_unit_struct: &'static str,
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_none()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let level = self.level.step().map_err(too_deep)?;
        self.inner.serialize_some(&Inner { value, level })
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit_variant(name, index, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        if name == MSGPACK_EXT_STRUCT_NAME {
            // A scalar that serde knows nothing of: a tuple of its type and its bytes.
            return self.inner.serialize_newtype_struct(name, value);
        }
        let level = self.level.step().map_err(too_deep)?;
        self.inner.serialize_newtype_struct(name, &Inner { value, level })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let level = self.level.container().map_err(too_deep)?;
        self.inner.serialize_newtype_variant(name, index, variant, &Inner { value, level })
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        let level = self.level.container().map_err(too_deep)?;
        Ok(Limited::new(self.inner.serialize_seq(len)?, level))
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        let level = self.level.container().map_err(too_deep)?;
        Ok(Limited::new(self.inner.serialize_tuple(len)?, level))
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        let level = self.level.container().map_err(too_deep)?;
        Ok(Limited::new(self.inner.serialize_tuple_struct(name, len)?, level))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        // A map of the variant to an array.
        let level = self.level.container().and_then(Level::container).map_err(too_deep)?;
        Ok(Limited::new(self.inner.serialize_tuple_variant(name, index, variant, len)?, level))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        let level = self.level.container().map_err(too_deep)?;
        Ok(Limited::new(self.inner.serialize_map(len)?, level))
    }

    fn serialize_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStruct, S::Error> {
        let level = self.level.container().map_err(too_deep)?;
        Ok(Limited::new(self.inner.serialize_struct(name, len)?, level))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        // A map of the variant to a map.
        let level = self.level.container().and_then(Level::container).map_err(too_deep)?;
        Ok(Limited::new(self.inner.serialize_struct_variant(name, index, variant, len)?, level))
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// Containers whose elements have no names.
macro_rules! elements {
    ($($trait:ident: $method:ident,)*) => {$(
        impl<C: $trait> $trait for Limited<'_, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
                self.inner.$method(&Inner { value, level: self.level })
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                self.inner.end()
            }
        }
    )*};
}

elements! {
    SerializeSeq: serialize_element,
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field,
}

/// Containers whose elements are fields.
macro_rules! fields {
    ($($trait:ident,)*) => {$(
        impl<C: $trait> $trait for Limited<'_, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), C::Error> {
                self.inner.serialize_field(key, &Inner { value, level: self.level })
            }

            fn skip_field(&mut self, key: &'static str) -> Result<(), C::Error> {
                self.inner.skip_field(key)
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                self.inner.end()
            }
        }
    )*};
}

fields! {
    SerializeStruct,
    SerializeStructVariant,
}

impl<C: SerializeMap> SerializeMap for Limited<'_, C> {
    type Ok = C::Ok;
    type Error = C::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), C::Error> {
        self.inner.serialize_key(&Inner { value: key, level: self.level })
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        self.inner.serialize_value(&Inner { value, level: self.level })
    }

    fn end(self) -> Result<C::Ok, C::Error> {
        self.inner.end()
    }
}
