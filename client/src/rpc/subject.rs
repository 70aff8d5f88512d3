//! Whom a request is for, and a reply from.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mp_manager_proto::v1::{Open, Ref};

use crate::{
    error::Context,
    session::link::{Handle, Link},
};

/// An object, as all of its proxies refer to it.
pub(crate) struct ObjectRef {
    link: Arc<Link>,
    /// The object itself; another one once the manager has started again.
    handle: Mutex<Arc<Handle>>,
    /// How it was opened, if it has a name.
    origin: Option<Open>,
}

impl ObjectRef {
    pub(crate) fn new(handle: Arc<Handle>, origin: Option<Open>) -> Self {
        Self { link: Arc::clone(&handle.link), handle: Mutex::new(handle), origin }
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    pub(crate) fn handle(&self) -> Arc<Handle> {
        Arc::clone(&self.lock())
    }

    /// The object was found again, in a manager that has started since.
    pub(crate) fn replace(&self, handle: Arc<Handle>) {
        let replaced = std::mem::replace(&mut *self.lock(), handle);
        drop(replaced);
    }

    pub(crate) fn reference(&self) -> Ref {
        self.lock().reference
    }

    /// How to open it again, if it has a name.
    pub(crate) fn origin(&self) -> Option<&Open> {
        self.origin.as_ref()
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.origin.as_ref().and_then(|open| open.name.as_deref())
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Handle>> {
        self.handle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reference = self.reference();
        let kind = reference.kind().name();
        match self.name() {
            Some(name) => write!(f, "{kind} \"{name}\""),
            None => write!(f, "{kind} {}", reference.object),
        }
    }
}

/// Whom a reply is from.
pub(crate) enum Subject {
    Object(Arc<ObjectRef>),
    /// The directory, asked about a name.
    Directory(Arc<Link>, Option<String>),
}

impl Subject {
    pub(crate) fn link(&self) -> &Arc<Link> {
        match self {
            Self::Object(object) => object.link(),
            Self::Directory(link, _) => link,
        }
    }

    pub(crate) fn context(&self, operation: &'static str) -> Context {
        let object = match self {
            Self::Object(object) => object.to_string(),
            Self::Directory(_, name) => name.iter().map(|name| format!("\"{name}\"")).collect(),
        };
        Context { operation, object, address: self.link().address.clone(), ..Context::default() }
    }
}
