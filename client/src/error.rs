//! What can go wrong, said so that it helps.

use std::fmt;

use mp_manager_proto::{address::AddressError, error::Reason, v1};

/// The result of everything that asks a manager.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Where and during what an error happened, and what to try. Printed with the error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// The operation, such as `insert`.
    pub operation: &'static str,
    /// The object, such as `dict "scores"`.
    pub object: String,
    /// The manager's address.
    pub address: String,
    /// What went wrong.
    pub message: String,
    /// What to try; may be empty.
    pub hint: String,
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.operation, self.object.as_str()) {
            ("", _) => write!(f, "{}: ", self.address)?,
            (operation, "") => write!(f, "{operation} at {}: ", self.address)?,
            (operation, object) => write!(f, "{operation} on {object} at {}: ", self.address)?,
        }
        f.write_str(&self.message)?;
        if !self.hint.is_empty() {
            write!(f, " ({})", self.hint)?;
        }
        Ok(())
    }
}

macro_rules! errors {
    ($($(#[$doc:meta])* $variant:ident = $($reason:ident)|+,)*) => {
        /// Everything that can go wrong.
        ///
        /// The message says what was being done, to which object, at which address, and what to
        /// try; [`context`](Self::context) has the parts.
        #[derive(Debug, Clone, thiserror::Error)]
        #[non_exhaustive]
        pub enum Error {
            /// No connection came about: nobody listens there, or it is no manager.
            #[error("cannot connect to {address}: {message}")]
            Connect {
                /// Where to.
                address: String,
                /// What the system said, and what to try.
                message: String,
            },
            /// The text is no address.
            #[error(transparent)]
            Address(#[from] AddressError),
            /// An option or an environment variable is missing or wrong.
            #[error("{0}")]
            Configuration(String),
            /// A process could not be started.
            #[error("cannot start {name}: {message}")]
            Start {
                /// The process's name.
                name: String,
                /// Why not, and what to try.
                message: String,
            },
            /// A process has ended otherwise than with exit code 0.
            #[error("{name} (process {pid}) {message}")]
            ProcessFailed {
                /// The process's name.
                name: String,
                /// Its id.
                pid: u32,
                /// Its exit code; of one that a signal ended, the signal's number, negative.
                exit_code: i32,
                /// How it ended: the error of its task, the message and place of its panic, the signal.
                message: String,
            },
            /// The submitter has taken the tasks back.
            #[cfg(feature = "process")]
            #[error("{0}")]
            Cancelled(String),
            /// A task of a pool has no result.
            #[cfg(feature = "process")]
            #[error("{0}")]
            TaskFailed(Box<crate::failure::TaskError>),
            /// The session is over: the manager did not hear of it for longer than its lease, or
            /// ended it; its connection was a unix socket and broke, mostly because the manager died; somebody else who has its secret resumed it; it could not be reached for [as
            /// long as calls wait](crate::Builder::reconnect_timeout); the task that ran the connection
            /// is gone, mostly with its runtime; or this process is a fork of the one that connected.
            /// Everything it held is released, and nothing that was pending has an effect that lasts. But
            /// for the last two, the next call goes on in a new session.
            #[error("{0}")]
            SessionLost(Box<Context>),
            /// A value could not be encoded; nothing was sent.
            #[error("{0}")]
            Encode(Box<Context>),
            /// A value is not of the type this proxy has. `bytes` is what was there.
            #[error("{context}")]
            Decode {
                /// What was being done.
                context: Box<Context>,
                /// The value as it is.
                bytes: bytes::Bytes,
            },
            $($(#[$doc])* #[error("{0}")] $variant(Box<Context>),)*
        }

        impl Error {
            /// The error for a refusal of the manager's.
            pub(crate) fn refused(refusal: v1::Error, context: Context) -> Self {
                let reason = refusal.reason();
                let context =
                    Context { message: refusal.message, hint: refusal.hint, ..context };
                match reason {
                    $($(Reason::$reason)|+ => Self::$variant(Box::new(context)),)*
                    Reason::SessionEnded => Self::SessionLost(Box::new(context)),
                    Reason::Unspecified => Self::Protocol(Box::new(context)),
                }
            }

            /// What was being done, where, and what to try.
            #[must_use]
            pub fn context(&self) -> Option<&Context> {
                match self {
                    #[cfg(feature = "process")]
                    Self::TaskFailed(_) | Self::Cancelled(_) => None,
                    Self::Connect { .. }
                    | Self::Address(_)
                    | Self::Configuration(_)
                    | Self::Start { .. }
                    | Self::ProcessFailed { .. } => None,
                    Self::SessionLost(context) | Self::Encode(context) => Some(context),
                    Self::Decode { context, .. } => Some(context),
                    $(Self::$variant(context) => Some(context),)*
                }
            }
        }
    };
}

errors! {
    /// The authkeys differ, or one side did not prove that it knows its.
    #[doc(alias = "AuthenticationError")]
    AuthenticationFailed = AuthenticationFailed,
    /// Client and manager are of releases that do not understand each other.
    Unsupported = UnsupportedVersion | Unsupported,
    /// The other side does not keep to the protocol.
    Protocol = Protocol,
    /// The manager is shutting down.
    ShuttingDown = ShuttingDown,
    /// The manager has started again. What it held is gone, and so is everything that was held in
    /// it; a new session is open.
    ManagerRestarted = ManagerRestarted,
    /// The session was lost, or the call's timeout passed, after it was sent and before it was answered:
    /// it may have been executed, or may yet be as long as its session goes on at the manager, or not.
    OutcomeUnknown = OutcomeUnknown,
    /// The manager cannot be reached, and the time that the call had is over, or it would not wait at
    /// all. The call has not been executed.
    Unreachable = Unreachable,
    /// There is no such object, or it was deleted while the call waited.
    ObjectNotFound = ObjectNotFound | ObjectDeleted,
    /// The object is of another kind.
    WrongKind = WrongKind,
    /// The object exists with other parameters.
    ParametersDiffer = ParametersDiffer,
    /// The object exists already.
    AlreadyExists = AlreadyExists,
    /// An argument makes no sense.
    InvalidArgument = InvalidArgument,
    /// A limit of the manager's is reached.
    LimitExceeded = LimitExceeded,
    /// The manager's memory budget is used up.
    OutOfMemory = OutOfMemory,
    /// Python's `KeyError`.
    KeyNotFound = KeyNotFound,
    /// Python's `IndexError`.
    IndexOutOfRange = IndexOutOfRange,
    /// Python's `ValueError` of `list.remove` and `list.index`.
    ValueNotFound = ValueNotFound,
    /// Python's `TypeError`: the value is not of a type the operation works on.
    TypeMismatch = TypeMismatch,
    /// A number does not fit.
    Overflow = Overflow,
    /// Two lengths that must be equal are not.
    SizeMismatch = SizeMismatch,
    /// There is nothing to take.
    Empty = Empty,
    /// The lock, permit or item is not held, or no longer.
    NotHeld = NotHeld | NotLeased,
    /// Somebody else holds it.
    NotOwner = NotOwner,
    /// More is released than was taken.
    BoundExceeded = BoundExceeded,
    /// The barrier is broken.
    #[doc(alias = "BrokenBarrierError")]
    BarrierBroken = BarrierBroken,
    /// The write was fenced by a grant that no longer stands.
    Fenced = Fenced,
    /// The queue, or the pipe, has no room.
    #[doc(alias = "Full")]
    QueueFull = Full,
    /// The queue is shut down.
    #[doc(alias = "ShutDown")]
    QueueShutDown = ShutDown,
    /// The pool is closed, or was terminated: it takes nothing any more.
    PoolClosed = PoolClosed,
    /// The pool has no workers, because they fail before they come to work.
    PoolBroken = PoolBroken,
    /// Every worker of the pool waits for tasks of the same pool, and nobody is left to execute them: the
    /// call that was the last to come is refused.
    Deadlock = PoolDeadlock,
    /// The other end of the pipe, or of the connection, is closed.
    #[doc(alias = "EOFError")]
    EndOfFile = EndOfFile,
    /// The message is longer than the caller would take; it is still there.
    BufferTooShort = BufferTooShort,
    /// This end of a one-way pipe goes the other way.
    WrongDirection = WrongDirection,
}
