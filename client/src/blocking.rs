//! Everything again, for threads instead of tasks.
//!
//! The connection runs on a thread of its own, so that computing never starves it. Each type here
//! wraps the async one of the same name, and every method does what it does there.
//!
//! ```
//! use mp_manager::blocking::Manager;
//!
//! # fn main() -> mp_manager::Result<()> {
//! let manager = Manager::start()?;
//! let scores = manager.dict::<String, u64>("scores").open()?;
//! scores.insert("alice", 3)?;
//! let guard = manager.lock("migrate").open()?.acquire()?;
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "process")]
mod agent;
mod array;
mod barrier;
mod block_on;
mod condition;
pub mod connection;
mod dict;
mod event;
mod list;
mod lock;
mod manager;
mod namespace;
mod open;
mod pages;
mod pipe;
#[cfg(feature = "process")]
mod pool;
#[cfg(feature = "process")]
mod process;
mod queue;
mod rlock;
mod scalar;
mod semaphore;
mod set;
mod wait_any;

#[cfg(feature = "process")]
pub use agent::{Agent, AgentBuilder};
pub use array::Array;
pub use barrier::Barrier;
pub use condition::{Condition, ConditionGuard};
pub use dict::Dict;
pub use event::Event;
pub use list::List;
pub use lock::{Lock, LockGuard};
pub use manager::{Builder, Manager};
pub use namespace::Namespace;
pub use open::{Open, Proxy};
pub use pages::Pages;
pub use pipe::{Pipe, PipeEnd};
#[cfg(feature = "process")]
pub use pool::{AsyncResult, Imap, Pool};
#[cfg(feature = "process")]
pub use process::{Process, ProcessBuilder};
pub use queue::{Delivery, Queue};
pub use rlock::{RLock, RLockGuard};
pub use scalar::Value;
pub use semaphore::{BoundedSemaphore, Permit, Semaphore};
pub use set::Set;
pub use wait_any::{wait_any, wait_any_timeout};

use block_on::wait;

/// A blocking proxy around an async one.
macro_rules! wrapper {
    ($(#[$doc:meta])* $name:ident $(, $type:ident $(= $default:ty)?)*) => {
        $(#[$doc])*
        pub struct $name<$($type $(= $default)?),*> {
            pub(super) inner: $crate::$name<$($type),*>,
        }

        impl<$($type),*> Clone for $name<$($type),*> {
            fn clone(&self) -> Self {
                Self { inner: self.inner.clone() }
            }
        }

        impl<$($type),*> std::fmt::Debug for $name<$($type),*> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.inner.fmt(f)
            }
        }

        impl<$($type),*> PartialEq for $name<$($type),*>
        where
            $crate::$name<$($type),*>: PartialEq,
        {
            fn eq(&self, other: &Self) -> bool {
                self.inner == other.inner
            }
        }

        impl<$($type),*> Eq for $name<$($type),*> where $crate::$name<$($type),*>: Eq {}

        impl<$($type),*> serde::Serialize for $name<$($type),*>
        where
            $crate::$name<$($type),*>: serde::Serialize,
        {
            fn serialize<Z: serde::Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
                self.inner.serialize(serializer)
            }
        }

        impl<'de, $($type),*> serde::Deserialize<'de> for $name<$($type),*>
        where
            $crate::$name<$($type),*>: serde::Deserialize<'de>,
        {
            fn deserialize<Z: serde::Deserializer<'de>>(deserializer: Z) -> Result<Self, Z::Error> {
                serde::Deserialize::deserialize(deserializer).map(|inner| Self { inner })
            }
        }

        impl<$($type),*> $crate::blocking::open::sealed::Proxy for $name<$($type),*>
        where
            $crate::$name<$($type),*>: $crate::Proxy,
        {
            type Inner = $crate::$name<$($type),*>;

            fn wrap(inner: Self::Inner) -> Self {
                Self { inner }
            }

            fn inner(&self) -> &Self::Inner {
                &self.inner
            }
        }
    };
}
use wrapper;

/// What every kind that holds data can do.
macro_rules! fenced {
    ($name:ident $(, $type:ident)*) => {
        impl<$($type),*> $name<$($type),*> {
            /// The same object, but every operation through it happens only while a grant stands,
            /// and [never waits](crate::Fence#what-is-fenced-does-not-wait).
            #[must_use]
            pub fn fenced(&self, fence: impl Into<$crate::Fence>) -> Self {
                Self { inner: self.inner.fenced(fence) }
            }
        }
    };
}
use fenced;
