//! The user's hold on a session, and on the objects in it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak, atomic::AtomicBool};

use mp_manager_proto::v1::{DirectoryOp, Ref, Release, directory_op, request};

use crate::{
    connect::Keeper,
    level::Tenure,
    session::{Scope, Shared, State, told},
};

/// What every proxy has in the end: when the last one goes, the session says goodbye.
pub(crate) struct Link {
    pub(crate) shared: Arc<Shared>,
    pub(crate) address: String,
    /// What runs the connection, and an embedded server: they end with the link.
    keeper: OnceLock<Keeper>,
    /// The manager was shut down through it.
    pub(crate) is_shut_down: AtomicBool,
}

/// The client's hold on one object. The server counts the references it hands out; the last proxy
/// to go gives them all back.
pub(crate) struct Handle {
    pub(crate) link: Arc<Link>,
    pub(crate) reference: Ref,
    /// So many references, in this session; those of an earlier one went with it.
    received: Mutex<(u64, u64)>,
    /// Who holds it in this process, if it is a re-entrant lock.
    pub(crate) tenure: Mutex<Weak<Tenure>>,
}

impl Link {
    pub(crate) fn new(shared: Arc<Shared>, address: String) -> Arc<Self> {
        let is_shut_down = AtomicBool::new(false);
        Arc::new(Self { shared, address, keeper: OnceLock::new(), is_shut_down })
    }

    /// Gives the link what runs it; done once, right after connecting.
    pub(crate) fn keep(&self, keeper: Keeper) {
        let _ = self.keeper.set(keeper);
    }

    pub(crate) fn keeper(&self) -> Option<&Keeper> {
        self.keeper.get()
    }

    /// The manager of the current session; another one after it has started again.
    pub(crate) fn server_id(&self) -> u64 {
        self.shared.server()
    }

    /// The hold on an object that some reply referred to.
    pub(crate) fn handle(self: &Arc<Self>, reference: Ref) -> Arc<Handle> {
        let mut state = self.shared.lock();
        self.handle_locked(&mut state, reference)
    }

    pub(crate) fn handle_locked(
        self: &Arc<Self>,
        state: &mut State,
        reference: Ref,
    ) -> Arc<Handle> {
        // One of an earlier manager stays untouched: it might be the last hold on it that would go
        // here, and its end locks the state.
        let known = state.handles.get(&reference.object);
        let known = known.filter(|(server, _)| *server == reference.server);
        if let Some(handle) = known.and_then(|(_, handle)| handle.upgrade()) {
            return handle;
        }
        let handle = Arc::new(Handle {
            link: Arc::clone(self),
            reference,
            received: Mutex::default(),
            tenure: Mutex::default(),
        });
        state.handles.insert(reference.object, (reference.server, Arc::downgrade(&handle)));
        handle
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.say_goodbye();
    }
}

impl Handle {
    /// The server counts one more reference to it in this session.
    pub(crate) fn count(&self, incarnation: u64) {
        let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        if received.0 != incarnation {
            *received = (incarnation, 0);
        }
        received.1 += 1;
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let received = self.received.get_mut().unwrap_or_else(PoisonError::into_inner);
        let (incarnation, count) = *received;
        let object = self.reference.object;
        let Some(mut state) = self.link.shared.lock_at_home() else { return };
        if state.handles.get(&object).is_some_and(|(_, known)| known.strong_count() == 0) {
            state.handles.remove(&object);
        }
        drop(state);
        if count > 0 {
            let op = directory_op::Op::Release(Release { object, count });
            let op = request::Op::Directory(DirectoryOp { op: Some(op) });
            self.link.shared.tell(told(0, op), Scope::Session(incarnation));
        }
    }
}
