//! Values at rest.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use mp_manager_proto::v1::{Ref, Value};

use crate::memory::block;

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

/// Values of at most so many bytes are copied into replies. To share one, it would have to keep a count of those
/// who do, for good, and that takes more memory than the copy takes time.
const COPIED: usize = 512;

/// The same bytes for somebody else.
pub(crate) fn share(data: &Bytes) -> Bytes {
    if data.len() <= COPIED { Bytes::copy_from_slice(data) } else { data.clone() }
}

/// A value inside an object, with a hold on every object it refers to.
#[derive(Debug, Clone)]
pub struct Stored {
    data: Bytes,
    pins: Option<Arc<[Pin]>>,
}

impl Stored {
    /// A value with what it refers to.
    pub(crate) fn new(data: Bytes, pins: Vec<Pin>) -> Self {
        Self { data, pins: (!pins.is_empty()).then(|| pins.into()) }
    }

    /// The encoded value.
    #[must_use]
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// The objects it refers to.
    #[must_use]
    pub fn pins(&self) -> &[Pin] {
        self.pins.as_deref().unwrap_or_default()
    }

    /// How long it is on the wire, about.
    pub(crate) fn length(&self) -> usize {
        length(&self.data, self.pins().len())
    }

    /// The memory it takes beside itself, about.
    pub(crate) fn bytes(&self) -> usize {
        let pins = self.pins().len();
        let pins = if pins == 0 { 0 } else { block((pins + 1) * size_of::<Pin>()) };
        block(self.data.len()) + pins
    }

    /// Whether a value takes no more memory in its place.
    pub(crate) fn has_room_for(&self, value: &Value) -> bool {
        block(value.data.len()) <= block(self.data.len()) && value.refs.len() <= self.pins().len()
    }

    pub(crate) fn to_wire(&self) -> Value {
        Value {
            data: share(&self.data),
            refs: self.pins().iter().map(|pin| pin.reference()).collect(),
        }
    }
}
