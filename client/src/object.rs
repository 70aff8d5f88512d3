//! What every proxy is made of: a hold on an object, and a way to ask it.

use std::{
    fmt,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use bytes::Bytes;
use mp_manager_proto::{
    v1::{Reason, Ref, Request, Value, request},
    value::CodecError,
};
use serde::Serialize;

use crate::{
    codec,
    error::{Context, Error, Result},
    fence::Fence,
    level::Tenure,
    link::{Call, Handle, Link},
    reply::{Reply, Subject},
};

/// A shared object of any kind, as its proxies hold it. Cloning is cheap.
#[derive(Clone)]
pub struct Object {
    handle: Arc<Handle>,
    name: Option<Arc<str>>,
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
}

impl Object {
    pub(crate) fn new(handle: Arc<Handle>, name: Option<Arc<str>>) -> Self {
        Self { handle, name, fence: None }
    }

    /// The same, with every request fenced.
    pub(crate) fn fenced(&self, fence: Fence) -> Self {
        Self { fence: Some(fence), ..self.clone() }
    }

    /// Whether requests are fenced, and so never wait.
    pub(crate) fn is_fenced(&self) -> bool {
        self.fence.is_some()
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.handle.link
    }

    pub(crate) fn reference(&self) -> &Ref {
        &self.handle.reference
    }

    pub(crate) fn id(&self) -> u64 {
        self.handle.reference.object
    }

    /// Who holds it in this process, if it is a re-entrant lock.
    pub(crate) fn tenure(&self) -> &Mutex<Weak<Tenure>> {
        &self.handle.tenure
    }

    /// Whether both are one object of one session.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.handle, &other.handle)
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Asks something that is answered at once.
    pub(crate) async fn ask(&self, operation: &'static str, op: request::Op) -> Result<Reply> {
        self.ask_waiting(operation, op, Wait::Forever).await
    }

    /// Asks something that may wait.
    pub(crate) async fn ask_waiting(
        &self,
        operation: &'static str,
        op: request::Op,
        wait: Wait,
    ) -> Result<Reply> {
        let request = Request {
            object: self.id(),
            timeout_us: wait.timeout_us(),
            fence: self.fence.map(|fence| fence.for_server(self.link().server_id())),
            op: Some(op),
            ..Request::default()
        };
        self.reply(operation, Call::new(&self.link().shared, request)).await
    }

    /// Gives something back, here and now: whoever drops the future gives up the reply only.
    pub(crate) fn give_back(
        &self,
        operation: &'static str,
        op: request::Op,
    ) -> impl Future<Output = Result<Reply>> {
        self.reply(operation, Call::giving_back(&self.link().shared, self.id(), op))
    }

    async fn reply(&self, operation: &'static str, call: Call) -> Result<Reply> {
        match call.await {
            Ok(arrived) => Ok(Reply::new(arrived, Subject::Object(self.clone()), operation)),
            Err(refusal) => Err(Error::refused(refusal, self.context(operation))),
        }
    }

    /// Tells something whose reply nobody waits for.
    pub(crate) fn tell(&self, op: request::Op) {
        self.link().send_detached(self.id(), op);
    }

    pub(crate) fn context(&self, operation: &'static str) -> Context {
        Subject::Object(self.clone()).context(operation)
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
        encode(value, self.link(), || self.context(operation))
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
        codec::encode_key(key).map_err(|error| self.key_error(operation, &error))
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
        let kind = self.reference().kind().name();
        match &self.name {
            Some(name) => write!(f, "{kind} \"{name}\""),
            None => write!(f, "{kind} {}", self.id()),
        }
    }
}

/// Encodes a value that is to go by `link`.
pub(crate) fn encode<T: Serialize + ?Sized>(
    value: &T,
    link: &Link,
    context: impl Fn() -> Context,
) -> Result<Value> {
    let value = codec::encode(value, link.server_id()).map_err(|error| {
        Error::Encode(Box::new(Context { message: error.to_string(), ..context() }))
    })?;
    check_len(value.data.len(), link, context)?;
    Ok(value)
}

/// Refuses what is longer than a value may be.
pub(crate) fn check_len(len: usize, link: &Link, context: impl Fn() -> Context) -> Result<()> {
    let max = link.shared.limits.max_value_bytes as usize;
    if len <= max {
        return Ok(());
    }
    let message = format!("the value has {len} bytes; the limit is {max}");
    let refusal = mp_manager_proto::v1::Error::new(Reason::LimitExceeded, message)
        .with_hint("split it, or raise the server's --max-value-bytes");
    Err(Error::refused(refusal, context()))
}
