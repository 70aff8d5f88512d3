//! The typed proxies, one file per kind of object.

mod array;
mod barrier;
mod condition;
mod dict;
mod event;
mod list;
mod lock;
pub(crate) mod manager;
mod namespace;
mod number;
pub(crate) mod open;
pub(crate) mod pages;
mod pipe;
#[cfg(any(feature = "process", feature = "simulation"))]
pub(crate) mod pool;
mod queue;
mod rlock;
mod scalar;
pub(crate) mod semaphore;
mod set;
mod slice;

pub use array::{Array, Element};
pub use barrier::Barrier;
pub use condition::{Condition, ConditionGuard};
pub use dict::Dict;
pub use event::Event;
pub use list::List;
pub use lock::{Lock, LockGuard};
pub use manager::Manager;
pub use namespace::Namespace;
pub use open::{Name, Open, Unnamed};
pub use pages::Pages;
pub use pipe::{Pipe, PipeEnd};
pub use queue::{Delivery, Queue, Received};
pub use rlock::{RLock, RLockGuard};
pub use scalar::Value;
pub use semaphore::{BoundedSemaphore, Permit, Semaphore};
pub use set::{Set, SetOperand};
pub use slice::Slice;

use mp_manager_proto::v1::Kind;

use crate::rpc::{codec::Detail, object::Object};

/// A typed handle on a shared object. Cloning is cheap, and a proxy can be a value in another shared
/// object of the same manager. Two are equal if they are of one object.
///
/// This trait cannot be implemented outside this crate.
pub trait Proxy: sealed::Proxy {
    /// The name the object was opened by, if it was.
    fn name(&self) -> Option<&str> {
        sealed::Proxy::object(self).name()
    }
}

impl<P: sealed::Proxy> Proxy for P {}

pub(crate) mod sealed {
    use super::{Detail, Kind, Object};

    pub trait Proxy: Sized + Send + Sync + 'static {
        #[doc(hidden)]
        const KIND: Kind;
        /// What a reference has to say beside the object's id.
        #[doc(hidden)]
        const DETAIL: Detail = 0;
        #[doc(hidden)]
        fn new(object: Object, detail: Detail) -> Self;
        #[doc(hidden)]
        fn object(&self) -> &Object;
        /// Why a reference that says this is not one to an object of this type, if it is not.
        #[doc(hidden)]
        fn mismatch(_: Detail) -> Option<String> {
            None
        }
        #[doc(hidden)]
        fn detail(&self) -> Detail {
            Self::DETAIL
        }
    }
}

/// Implements what all proxy types share: Clone, Debug, PartialEq, and serialization inside values.
macro_rules! proxy {
    ($name:ident $(, $type:ident)*) => {
        impl<$($type),*> Clone for $name<$($type),*> {
            fn clone(&self) -> Self {
                $crate::objects::copy!(self $(, $type)*)
            }
        }

        impl<$($type),*> std::fmt::Debug for $name<$($type),*> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}", self.object)
            }
        }

        /// Proxies are equal if they are of one object, whatever is in it.
        impl<$($type),*> PartialEq for $name<$($type),*>
        where
            Self: $crate::objects::sealed::Proxy,
        {
            fn eq(&self, other: &Self) -> bool {
                use $crate::objects::sealed::Proxy;
                self.object.reference() == other.object.reference()
                    && Proxy::detail(self) == Proxy::detail(other)
            }
        }

        impl<$($type),*> Eq for $name<$($type),*> where Self: $crate::objects::sealed::Proxy {}

        /// A proxy is stored as a reference; who reads it gets a proxy of their own.
        impl<$($type),*> serde::Serialize for $name<$($type),*>
        where
            Self: $crate::objects::sealed::Proxy,
        {
            fn serialize<Z: serde::Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
                use $crate::objects::sealed::Proxy;
                let reference = self.object.reference();
                let link = self.object.link();
                let detail = Proxy::detail(self);
                $crate::rpc::codec::serialize_reference(&reference, link, detail, serializer)
            }
        }

        impl<'de, $($type),*> serde::Deserialize<'de> for $name<$($type),*>
        where
            Self: $crate::objects::sealed::Proxy,
        {
            fn deserialize<Z: serde::Deserializer<'de>>(deserializer: Z) -> Result<Self, Z::Error> {
                use $crate::objects::sealed::Proxy;
                let (link, reference, detail) =
                    $crate::rpc::codec::deserialize_reference(<Self as Proxy>::KIND, deserializer)?;
                if let Some(why) = <Self as Proxy>::mismatch(detail) {
                    return Err(serde::de::Error::custom(why));
                }
                let object = $crate::rpc::object::Object::new(link.handle(reference), None);
                Ok(<Self as Proxy>::new(object, detail))
            }
        }
    };
}
pub(crate) use proxy;

/// Another proxy on the same object. Only those with type parameters have more fields.
macro_rules! copy {
    ($self:ident) => {
        Self { object: $self.object.clone() }
    };
    ($self:ident, $($type:ident),+) => {
        Self { object: $self.object.clone(), ..*$self }
    };
}
pub(crate) use copy;
