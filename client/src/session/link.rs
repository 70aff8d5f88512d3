//! The user's hold on a session, and on the objects in it.

use std::{
    any::Any,
    collections::HashMap,
    ffi::OsString,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use mp_manager_proto::v1::{DirectoryOp, Ref, Release, directory_op, request};

use super::shared::Shared;
use crate::protocol::{Counted, Scope, giving_back};

/// A session whose replies come with handles.
pub(crate) type Session = Shared<Arc<Handle>>;

/// What every proxy has in the end: when the last one goes, the session says goodbye.
pub(crate) struct Link {
    pub(crate) session: Arc<Session>,
    pub(crate) address: String,
    /// Ends with the link, after the goodbye.
    keeper: OnceLock<Box<dyn Keeper>>,
    /// The objects that somebody has a hold on, with their manager's number.
    ///
    /// A leaf: nothing else is locked while this is. The machine may be.
    handles: Mutex<HashMap<u64, (u64, Weak<Handle>)>>,
    /// The manager was shut down through it.
    is_shut_down: AtomicBool,
    /// What the manager showed with TLS last, as PEM.
    certificate: Mutex<Option<String>>,
}

/// What runs a connection: a thread of its own, a server inside this process.
pub(crate) trait Keeper: Send + Sync {
    /// The environment variables by which a child process connects to the same manager.
    fn environment(&self) -> Vec<(OsString, OsString)>;
}

/// The client's hold on one object. The server counts the references it hands out; the last proxy
/// to go gives them all back.
pub(crate) struct Handle {
    pub(crate) link: Arc<Link>,
    pub(crate) reference: Ref,
    /// So many references, in this session; those of an earlier one went with it.
    received: Mutex<(u64, u64)>,
    /// What the guards of the object have in common in this process, if they have anything.
    common: Mutex<Weak<dyn Any + Send + Sync>>,
}

impl Link {
    pub(crate) fn new(session: Arc<Session>, address: String) -> Arc<Self> {
        Arc::new(Self {
            session,
            address,
            keeper: OnceLock::new(),
            handles: Mutex::default(),
            is_shut_down: AtomicBool::new(false),
            certificate: Mutex::default(),
        })
    }

    /// Gives the link what runs it; done once, right after connecting.
    pub(crate) fn keep(&self, keeper: impl Keeper + 'static) {
        let _ = self.keeper.set(Box::new(keeper));
    }

    /// What runs it; a simulated session has nothing.
    pub(crate) fn keeper(&self) -> Option<&dyn Keeper> {
        self.keeper.get().map(|keeper| &**keeper)
    }

    /// The manager of the current session; another one after it has started again.
    pub(crate) fn server_id(&self) -> u64 {
        self.session.server()
    }

    /// Whether the manager was shut down through it.
    pub(crate) fn is_shut_down(&self) -> bool {
        self.is_shut_down.load(Ordering::Relaxed)
    }

    /// What the manager showed with TLS on the newest connection, as PEM.
    pub(crate) fn certificate(&self) -> Option<String> {
        lock(&self.certificate).clone()
    }

    pub(crate) fn note_certificate(&self, pem: String) {
        *lock(&self.certificate) = Some(pem);
    }

    pub(crate) fn note_shutdown(&self) {
        self.is_shut_down.store(true, Ordering::Relaxed);
    }

    /// The hold on an object that some reply referred to.
    pub(crate) fn handle(self: &Arc<Self>, reference: Ref) -> Arc<Handle> {
        let mut handles = lock(&self.handles);
        // One of an earlier manager stays untouched: it might be the last hold on it that would go
        // here, and its end takes the lock.
        let known = handles.get(&reference.object);
        let known = known.filter(|(server, _)| *server == reference.server);
        if let Some(handle) = known.and_then(|(_, handle)| handle.upgrade()) {
            return handle;
        }
        let handle = Arc::new(Handle {
            link: Arc::clone(self),
            reference,
            received: Mutex::default(),
            common: Mutex::new(Weak::<()>::new()),
        });
        handles.insert(reference.object, (reference.server, Arc::downgrade(&handle)));
        handle
    }

    /// Takes hold of objects for as long as there is a link. The link is not held for longer than
    /// that takes: whoever takes in frames must not have it when its last user lets go of it, who would
    /// not wait for the goodbye and for an embedded manager's end.
    pub(crate) fn holding(link: &Weak<Self>) -> impl FnMut(Ref) -> Option<Arc<Handle>> {
        move |reference| link.upgrade().map(|link| link.handle(reference))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.session.say_goodbye();
    }
}

impl Handle {
    /// What the guards of the object have in common, or what `make` makes if they have nothing or
    /// `is_current` is false of it.
    pub(crate) fn common<T: Any + Send + Sync>(
        &self,
        is_current: impl FnOnce(&T) -> bool,
        make: impl FnOnce() -> T,
    ) -> Arc<T> {
        let mut common = lock(&self.common);
        let known = common.upgrade().and_then(|known| known.downcast::<T>().ok());
        if let Some(known) = known
            && is_current(&known)
        {
            return known;
        }
        let made = Arc::new(make());
        *common = Arc::downgrade(&made) as Weak<dyn Any + Send + Sync>;
        made
    }
}

impl Counted for Arc<Handle> {
    fn count(&self, incarnation: u64) {
        let mut received = lock(&self.received);
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
        let session = &self.link.session;
        let Some(mut handles) = session.home.lock(&self.link.handles) else { return };
        if handles.get(&object).is_some_and(|(_, known)| known.strong_count() == 0) {
            handles.remove(&object);
        }
        drop(handles);
        if count > 0 {
            let op = directory_op::Op::Release(Release { object, count });
            let op = request::Op::Directory(DirectoryOp { op: Some(op) });
            session.send_detached(giving_back(0, op), Scope::Session(incarnation));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Poll, Waker},
        time::Duration,
    };

    use bytes::Bytes;
    use mp_manager_proto::v1::{
        Challenge, Delivery, Error as Refusal, Limits, LockOp, Reason, Reply, Request, ServerFrame,
        Value, Welcome, lock_op, reply,
    };

    use super::*;
    use crate::{
        protocol::{Failure, Loss, Policy},
        session::{call::Call, clock::Clock, watcher::Watcher},
    };

    /// A session with a connection, and that one's number.
    fn session() -> (Arc<Session>, u64) {
        let policy = Policy {
            reconnect_timeout: Duration::from_secs(60),
            reopen: true,
            end_is_death: false,
        };
        let session = Arc::new(Session::without_timer(Clock::new(|| Duration::ZERO), policy));
        let limits = Limits { max_open_requests: 8, max_frame_bytes: 1 << 10, ..Limits::default() };
        let welcome =
            Welcome { session: 1, lease_ms: 10_000, limits: Some(limits), ..Welcome::default() };
        let challenge = Challenge { epoch: 1, server_id: 1, ..Challenge::default() };
        let connected = session.connected(&welcome, &challenge, Duration::ZERO);
        (session, connected.connection)
    }

    fn release(token: u64) -> request::Op {
        request::Op::Lock(LockOp { op: Some(lock_op::Op::Release(token)) })
    }

    #[test]
    fn a_guard_finds_the_loss_that_the_machine_has_acted_upon() {
        let (session, _) = session();
        let (held, forgotten) = (Arc::new(Watcher::new()), Arc::new(Watcher::new()));
        session.note_grant(1, (1, 7), release, &held);
        session.note_grant(1, (1, 8), release, &forgotten);
        session.forget_grant((1, 8), &forgotten);
        session.run_out_of_lease();
        assert_eq!(held.loss(), Some(Loss::Lease));
        assert_eq!(forgotten.loss(), None);
        let late = Arc::new(Watcher::new());
        session.note_grant(1, (1, 9), release, &late);
        assert_eq!(late.loss(), Some(Loss::Lease));
    }

    /// Dropping the handles of a reply takes the lock, so they must not go under it.
    #[test]
    fn a_session_may_be_lost_with_a_reply_that_nobody_has_taken() {
        let (session, connection) = session();
        let owner = Link::new(Arc::clone(&session), "the tests".into());

        let request = Box::new(Request { object: 1, ..Request::default() });
        let mut call = Call::new(&session, request, Scope::Any);
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut call).poll(cx).is_pending());
        let Poll::Ready(Some(frame)) = session.poll_frame(connection, Waker::noop()) else {
            panic!("the call is not sent")
        };
        let seq = frame.decoded().requests[0].seq;

        let reference = Ref { server: 1, kind: 1, object: 9 };
        let value = Value { data: Bytes::from_static(&[0xc0]), refs: vec![reference] };
        let delivery = Delivery { value: Some(value), ..Delivery::default() };
        let result = Some(reply::Result::Delivery(delivery));
        let frame = ServerFrame { replies: vec![Reply { seq, result }], ..ServerFrame::default() };
        let link = Arc::downgrade(&owner);
        assert!(session.receive(connection, frame, Link::holding(&link)).is_none());

        session.farewell(Refusal::new(Reason::SessionEnded, "it was long enough"));
        let Poll::Ready(Err(Failure::Refused(why))) = Pin::new(&mut call).poll(cx) else {
            panic!("the call goes on")
        };
        assert_eq!(why.reason(), Reason::SessionEnded);
    }
}
