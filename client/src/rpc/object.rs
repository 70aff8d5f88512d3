//! What every proxy is made of: a hold on an object, and a way to ask it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use mp_manager_proto::{
    parts::Parts,
    v1::{DirectoryOp, Open, Reason, Ref, Request, Value, directory_op, request},
    value::{self, CodecError},
};
use serde::Serialize;

use super::{
    as_value::{AsValue, sealed::Here},
    codec,
    fence::Fence,
    reply::Reply,
    subject::{ObjectRef, Subject},
};
use crate::{
    error::{Context, Error, Result},
    protocol::{Deadline, Expiry, Failure, Scope, expiry, giving_back},
    session::{
        call::{Call, Outcome},
        link::{Handle, Link},
    },
};

/// The number of the directory of objects.
#[cfg(feature = "process")]
const DIRECTORY: u64 = 0;

/// A shared object of any kind, as its proxies hold it. Cloning is cheap.
#[derive(Clone)]
pub struct Object {
    target: Arc<ObjectRef>,
    fence: Option<Fence>,
}

/// How long a call may wait.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wait {
    /// As long as it takes.
    Forever,
    /// Not at all.
    Never,
    /// So long. Less than a microsecond is rounded up; more than half a million years is for ever.
    For(Duration),
}

impl Wait {
    fn timeout_us(self) -> Option<u64> {
        match self {
            Self::Forever => None,
            Self::Never => Some(0),
            Self::For(timeout) if timeout.is_zero() => Some(0),
            Self::For(timeout) => u64::try_from(timeout.as_micros()).ok().map(|us| us.max(1)),
        }
    }

    /// When an operation ends that waits so long and began at `now`, if it is one with a timeout; `None` if
    /// it waits as long as it takes, or never waits.
    fn deadline(self, is_timed: bool, now: impl FnOnce() -> Duration) -> Option<Deadline> {
        let timeout_us = self.timeout_us()?;
        let timeout = Duration::from_micros(timeout_us);
        is_timed.then(|| Deadline::new(now(), timeout))
    }
}

impl Object {
    /// An object that was opened like this, or that came without a name.
    pub(crate) fn new(handle: Arc<Handle>, origin: Option<Open>) -> Self {
        Self { target: Arc::new(ObjectRef::new(handle, origin)), fence: None }
    }

    /// The same, with every request fenced.
    pub(crate) fn fenced(&self, fence: Fence) -> Self {
        Self { fence: Some(fence), ..self.clone() }
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        self.target.link()
    }

    pub(crate) fn handle(&self) -> Arc<Handle> {
        self.target.handle()
    }

    pub(crate) fn reference(&self) -> Ref {
        self.target.reference()
    }

    pub(crate) fn id(&self) -> u64 {
        self.reference().object
    }

    /// Whether both are one object of one manager.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.handle(), &other.handle())
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.target.name()
    }

    /// Asks something that is answered at once.
    pub(crate) fn ask(
        &self,
        operation: &'static str,
        op: request::Op,
    ) -> impl Future<Output = Result<Reply>> {
        self.ask_waiting(operation, op, Wait::Forever)
    }

    /// Asks something that may wait.
    pub(crate) fn ask_waiting(
        &self,
        operation: &'static str,
        op: request::Op,
        wait: Wait,
    ) -> impl Future<Output = Result<Reply>> {
        // Not an async function around the other one, which would copy each reply once more.
        self.ask_noting(operation, op, wait, None)
    }

    /// Asks something that may wait. Returns the manager that was asked last, too: one that starts again is
    /// another.
    #[cfg(any(feature = "process", feature = "simulation"))]
    pub(crate) async fn ask_somewhere(
        &self,
        operation: &'static str,
        op: request::Op,
        wait: Wait,
    ) -> (u64, Result<Reply>) {
        let server = AtomicU64::new(0);
        let reply = self.ask_noting(operation, op, wait, Some(&server)).await;
        (server.into_inner(), reply)
    }

    /// Asks something that may wait, and notes which manager is asked.
    fn ask_noting(
        &self,
        operation: &'static str,
        op: request::Op,
        wait: Wait,
        asked: Option<&AtomicU64>,
    ) -> impl Future<Output = Result<Reply>> {
        let is_timed = expiry(&op) != Expiry::Untimed;
        // A future keeps what it was made of until it is done, so the operation is in a box from here on,
        // and so is what hardly any call comes to.
        let mut request =
            Box::new(Request { timeout_us: wait.timeout_us(), op: Some(op), ..Request::default() });
        async move {
            // It is one for all that it takes to find the object again.
            let deadline = wait.deadline(is_timed, || self.link().session.now());
            loop {
                let Ref { object, server, .. } = self.reference();
                if let Some(asked) = asked {
                    asked.store(server, Ordering::Relaxed);
                }
                request.object = object;
                request.fence = self.fence.map(|fence| fence.for_server(server));
                let call =
                    Call::within(&self.link().session, request, Scope::Server(server), deadline);
                match call.await {
                    Err(Failure::Stale(unsent)) => {
                        Box::pin(self.find_again(operation, server, deadline)).await?;
                        request = unsent;
                    }
                    result => return self.result(operation, result),
                }
            }
        }
    }

    /// Asks something about what session `incarnation` has begun. It means nothing in another one.
    #[cfg(any(feature = "process", feature = "simulation"))]
    pub(crate) async fn ask_within(
        &self,
        operation: &'static str,
        op: request::Op,
        incarnation: u64,
    ) -> Result<Reply> {
        let object = self.reference().object;
        let request = Box::new(Request { object, op: Some(op), ..Request::default() });
        let call = Call::new(&self.link().session, request, Scope::Session(incarnation));
        self.reply(operation, call).await
    }

    /// Gives something back, here and now: whoever drops the future gives up the reply only.
    pub(crate) fn give_back(
        &self,
        operation: &'static str,
        op: request::Op,
    ) -> impl Future<Output = Result<Reply>> {
        let Ref { object, server, .. } = self.reference();
        let scope = Scope::Server(server);
        self.reply(operation, Call::giving_back(&self.link().session, object, op, scope))
    }

    pub(crate) async fn reply(&self, operation: &'static str, call: Call) -> Result<Reply> {
        self.result(operation, call.await)
    }

    fn result(&self, operation: &'static str, outcome: Outcome) -> Result<Reply> {
        match outcome {
            Ok(arrived) => Ok(Reply::new(arrived, self.subject(), operation)),
            Err(Failure::Refused(refusal)) => Err(Error::refused(refusal, self.context(operation))),
            Err(Failure::Stale(_)) => Err(self.gone(operation)),
        }
    }

    /// Tells something whose reply nobody waits for.
    pub(crate) fn tell(&self, op: request::Op) {
        let Ref { object, server, .. } = self.reference();
        self.link().session.send_detached(giving_back(object, op), Scope::Server(server));
    }

    /// Tells something about what session `incarnation` has begun, and nobody waits for the reply.
    #[cfg(any(feature = "process", feature = "simulation"))]
    pub(crate) fn tell_within(&self, op: request::Op, incarnation: u64) {
        let scope = Scope::Session(incarnation);
        self.link().session.send_detached(giving_back(self.id(), op), scope);
    }

    /// Tells the directory something whose reply nobody waits for.
    #[cfg(feature = "process")]
    pub(crate) fn tell_directory(&self, op: directory_op::Op) {
        let op = request::Op::Directory(DirectoryOp { op: Some(op) });
        let scope = Scope::Server(self.reference().server);
        self.link().session.send_detached(giving_back(DIRECTORY, op), scope);
    }

    /// The manager has started again: opens the object of the same name there.
    async fn find_again(
        &self,
        operation: &'static str,
        server: u64,
        deadline: Option<Deadline>,
    ) -> Result<()> {
        if self.reference().server != server {
            // Somebody else has done it.
            return Ok(());
        }
        let Some(open) = self.target.origin().cloned() else { return Err(self.gone(operation)) };
        let op = request::Op::Directory(DirectoryOp { op: Some(directory_op::Op::Open(open)) });
        let request = Box::new(Request { op: Some(op), ..Request::default() });
        let call = Call::within(&self.link().session, request, Scope::Any, deadline);
        let reply = self.reply(operation, call).await?;
        let reference = reply.opened()?.r#ref.ok_or_else(|| reply.unexpected())?;
        self.target.replace(self.link().handle(reference));
        Ok(())
    }

    /// It has no name to find it by.
    fn gone(&self, operation: &'static str) -> Error {
        self.refuse(
            operation,
            Reason::ManagerRestarted,
            "the manager has started again, and the object was in the old one's memory",
            "make a new one, or give what must be found again a name",
        )
    }

    pub(crate) fn context(&self, operation: &'static str) -> Context {
        self.subject().context(operation)
    }

    fn subject(&self) -> Subject {
        Subject::Object(Arc::clone(&self.target))
    }

    /// An error found on this side, before anything was sent.
    pub(crate) fn refuse(
        &self,
        operation: &'static str,
        reason: Reason,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Error {
        let refusal = mp_manager_proto::v1::Error::new(reason, message).with_hint(hint);
        Error::refused(refusal, self.context(operation))
    }

    /// Encodes a value for this object.
    pub(crate) fn encode<T: Serialize + ?Sized>(
        &self,
        operation: &'static str,
        value: &T,
    ) -> Result<Value> {
        encode(value, None, self.link(), || self.context(operation))
    }

    /// As [`encode`](Self::encode), for one of many that go together.
    pub(crate) fn encode_part<T: Serialize + ?Sized>(
        &self,
        operation: &'static str,
        value: &T,
        parts: &mut Parts,
    ) -> Result<Value> {
        encode(value, Some(parts), self.link(), || self.context(operation))
    }

    /// Encodes a value as its caller has it.
    pub(crate) fn encode_value<V>(
        &self,
        operation: &'static str,
        value: impl AsValue<V>,
    ) -> Result<Value> {
        self.encode(operation, value.encoded(Here))
    }

    /// Encodes values as their caller has them.
    pub(crate) fn encode_values<V>(
        &self,
        operation: &'static str,
        values: impl IntoIterator<Item: AsValue<V>>,
    ) -> Result<Vec<Value>> {
        let mut parts = Parts::default();
        values
            .into_iter()
            .map(|value| self.encode_part(operation, value.encoded(Here), &mut parts))
            .collect()
    }

    /// Whether what stands there is what a compare-and-swap expects, although its bytes are others: as
    /// `T` has it, or because `T` encodes both alike. The latter is for what is not equal to itself, as
    /// NaN: who swaps what they have just read must not fail for ever.
    pub(crate) fn is_expected<T: Serialize + PartialEq>(
        &self,
        current: &T,
        expected: &T,
        encoded: &Value,
    ) -> bool {
        current == expected
            || self
                .encode("compare_and_swap", current)
                .is_ok_and(|current| value::equal(&current.data, &encoded.data))
    }

    /// Whether a value of so many bytes may be sent.
    pub(crate) fn check_len(&self, operation: &'static str, len: usize) -> Result<()> {
        check_len(len, self.link(), || self.context(operation))
    }

    /// Encodes a key for this object.
    pub(crate) fn encode_key<T: Serialize + ?Sized>(
        &self,
        operation: &'static str,
        key: &T,
    ) -> Result<Bytes> {
        codec::encode_key(key, None).map_err(|error| self.key_error(operation, &error))
    }

    /// As [`encode_key`](Self::encode_key), for one of many that go together.
    pub(crate) fn encode_key_part<T: Serialize + ?Sized>(
        &self,
        operation: &'static str,
        key: &T,
        parts: &mut Parts,
    ) -> Result<Bytes> {
        codec::encode_key(key, Some(parts)).map_err(|error| self.key_error(operation, &error))
    }

    /// The error for a key that cannot be encoded.
    pub(crate) fn key_error(&self, operation: &'static str, error: &CodecError) -> Error {
        let hint = "keys are compared by their bytes".into();
        let context = Context { message: error.to_string(), hint, ..self.context(operation) };
        Error::Encode(Box::new(context))
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target.fmt(f)
    }
}

/// Encodes a value that is to go by `link`.
pub(crate) fn encode<T: Serialize + ?Sized>(
    value: &T,
    parts: Option<&mut Parts>,
    link: &Link,
    context: impl Fn() -> Context,
) -> Result<Value> {
    let value = codec::encode(value, link.server_id(), parts).map_err(|error| {
        Error::Encode(Box::new(Context { message: error.to_string(), ..context() }))
    })?;
    check_len(value.data.len(), link, context)?;
    Ok(value)
}

/// Refuses what is longer than a value may be.
pub(crate) fn check_len(len: usize, link: &Link, context: impl Fn() -> Context) -> Result<()> {
    let max = link.session.max_value_bytes();
    if len <= max {
        return Ok(());
    }
    let message = format!("the value has {len} bytes; the limit is {max}");
    let refusal = mp_manager_proto::v1::Error::new(Reason::LimitExceeded, message)
        .with_hint("split it, or raise the server's --max-value-bytes");
    Err(Error::refused(refusal, context()))
}
