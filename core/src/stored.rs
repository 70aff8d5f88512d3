//! Values at rest.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use mp_manager_proto::{
    parts::Parts,
    v1::{Ref, Value},
};

use crate::{
    compact::Compact,
    memory::{block, shared},
};

/// An object that values can refer to. As long as a [`Pin`] on it exists, it lives.
pub trait Referent: Send + Sync {
    /// How the wire names it.
    fn reference(&self) -> Ref;
}

/// Keeps an object alive.
pub type Pin = Arc<dyn Referent>;

impl fmt::Debug for dyn Referent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "object {}", self.reference().object)
    }
}

/// What a reference takes inside an encoded value.
const REFERENCE_BYTES: usize = 21;

/// How long a value is. References have their place in the bytes; those that do not take room all
/// the same.
pub(crate) fn length(data: &[u8], references: usize) -> usize {
    data.len().max(references.saturating_mul(REFERENCE_BYTES))
}

/// A value inside an object, with a hold on every object it refers to.
#[derive(Debug, Clone)]
pub struct Stored {
    data: Compact,
    /// Behind a thin pointer, as few have any.
    pins: Option<Arc<Vec<Pin>>>,
}

impl Stored {
    /// A value with what it refers to.
    pub(crate) fn new(data: Bytes, pins: Vec<Pin>) -> Self {
        let pins = (!pins.is_empty()).then(|| Arc::new(pins));
        Self { data: data.into(), pins }
    }

    /// The encoded value.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    pub(crate) fn compact(&self) -> &Compact {
        &self.data
    }

    /// The objects it refers to.
    #[must_use]
    pub fn pins(&self) -> &[Pin] {
        self.pins.as_deref().map_or(&[], Vec::as_slice)
    }

    /// How long it is on the wire, about.
    pub(crate) fn length(&self) -> usize {
        length(&self.data, self.pins().len())
    }

    /// The memory it takes beside itself, about.
    pub(crate) fn bytes(&self) -> usize {
        let pins = self.pins();
        let pins =
            if pins.is_empty() { 0 } else { shared::<Vec<Pin>>() + block(size_of_val(pins)) };
        self.data.bytes() + pins
    }

    /// Whether a value takes no more memory in its place.
    pub(crate) fn has_room_for(&self, value: &Value) -> bool {
        Compact::bytes_of(value.data.len()) <= self.data.bytes()
            && value.refs.len() <= self.pins().len()
    }

    pub(crate) fn to_wire(&self) -> Value {
        Value {
            data: self.data.share(),
            refs: self.pins().iter().map(|pin| pin.reference()).collect(),
        }
    }

    /// As [`to_wire`](Self::to_wire), for one of many that go together.
    pub(crate) fn to_wire_by(&self, parts: &mut Parts) -> Value {
        Value {
            data: self.data.share_by(parts),
            refs: self.pins().iter().map(|pin| pin.reference()).collect(),
        }
    }
}
