//! What can go wrong, and the exit code that says so.

use std::{
    ffi::OsString,
    io,
    os::unix::process::ExitStatusExt,
    process::{ExitCode, ExitStatus},
};

use mp_manager_server::ServeError;

/// The exit codes, for `--help`. Those above 63 are the ones of `sysexits.h`, which few commands
/// use: `lock` and `run` pass on the exit code of the command they run.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0      success
  1      an error that is none of the following
  2      wrong usage or configuration
  3      there is no such object, key, index or value
  65     done, but something that was printed is no MessagePack: it stands as {\"$undecodable\": HEX}
  69     cannot connect, or the session was lost (the message says whether something may be done)
  73     the grant of --fence does not stand: nothing was written
  75     the timeout passed, of connecting and waiting together
  76     lock: the lock was lost, and the command was killed (or could not be, as the message says)
  77     authentication failed
  126    lock, run, worker: the program cannot be started
  127    lock, run, worker: the program was not found
  128+N  signal N ended it; lock, run: signal N ended the command

Environment:
  MP_MANAGER_ADDRESS       the manager's address
  MP_MANAGER_AUTHKEY_FILE  a file with the authkey
  MP_MANAGER_AUTHKEY       the authkey itself, if no file is given
  MP_MANAGER_TLS_CA        a file with the authorities to trust
  MP_MANAGER_TLS_CERT      a file with the certificate to show
  MP_MANAGER_TLS_KEY       a file with its private key
  MP_MANAGER_LOG           what to log on standard error, such as `warn` or `debug` [default: info]
  NO_COLOR                 no colours if it is set
  MP_MANAGER_LOG_FORMAT    how to log it: text or json [default: text]

On this machine no authkey is needed: `serve` writes one that only you can read, and the other
commands find it.";

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const ABSENT: u8 = 3;
const UNDECODABLE: u8 = 65;
const UNAVAILABLE: u8 = 69;
const FENCED: u8 = 73;
const TIMED_OUT: u8 = 75;
const LOCK_LOST: u8 = 76;
const NOT_AUTHENTICATED: u8 = 77;
const CANNOT_START: u8 = 126;
const COMMAND_NOT_FOUND: u8 = 127;
const SIGNAL: u8 = 128;
const SIGPIPE: i32 = 13;

/// Why a command fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Client(#[from] mp_manager::Error),
    #[error("{error}; the authkey came from {origin}")]
    Authentication { error: mp_manager::Error, origin: String },
    /// The manager serves as many clients as it may.
    #[error(transparent)]
    NoRoom(mp_manager::Error),
    #[error("{0}")]
    Serve(#[from] ServeError),
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Absent(String),
    #[error("{0}")]
    TimedOut(String),
    /// Something was done or not: the manager did not say in time.
    #[error("{0}")]
    Unconfirmed(String),
    #[error("{0}")]
    LockLost(String),
    #[error("cannot run {command}: {error}")]
    Start { command: String, error: io::Error },
    #[error("{what}: {error}")]
    Io { what: String, error: io::Error },
    #[error("{0}")]
    Failed(String),
    /// It was printed as its bytes, and nothing else went wrong.
    #[error(
        "{0} of the values printed cannot be decoded: {{\"$undecodable\": …}} has their bytes in hexadecimal"
    )]
    Undecodable(usize),
    #[error("ended by signal {0}")]
    Interrupted(i32),
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |error| Self::Io { what, error }
    }

    /// The command, which begins with its program, cannot be started.
    pub(crate) fn start(command: &[OsString], error: io::Error) -> Self {
        let program =
            command.first().map_or_else(String::new, |program| program.display().to_string());
        Self::Start { command: program, error }
    }

    /// Whether there is nobody to tell: the reader of our output has gone, or who waited for us has
    /// ended us.
    pub(crate) fn is_silent(&self) -> bool {
        self.is_broken_pipe() || matches!(self, Self::Interrupted(_))
    }

    fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Io { error, .. } if error.kind() == io::ErrorKind::BrokenPipe)
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        self.code().into()
    }

    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Client(error) => client_code(error),
            Self::Authentication { .. } => NOT_AUTHENTICATED,
            Self::Serve(
                ServeError::NoAuthkey
                | ServeError::TooManyAuthkeys { .. }
                | ServeError::Limit { .. }
                | ServeError::WeakAuthkey { .. }
                | ServeError::PlainText { .. }
                | ServeError::NotTls { .. }
                | ServeError::NotHttp { .. }
                | ServeError::Tls(_),
            )
            | Self::Usage(_) => USAGE,
            Self::Absent(_) => ABSENT,
            Self::TimedOut(_) => TIMED_OUT,
            Self::Unconfirmed(_) | Self::NoRoom(_) => UNAVAILABLE,
            Self::LockLost(_) => LOCK_LOST,
            Self::Undecodable(_) => UNDECODABLE,
            Self::Start { error, .. } if error.kind() == io::ErrorKind::NotFound => {
                COMMAND_NOT_FOUND
            }
            Self::Start { .. } => CANNOT_START,
            // As the signal would have it, which Rust ignores.
            Self::Io { .. } if self.is_broken_pipe() => signal_code(SIGPIPE),
            Self::Interrupted(signal) => signal_code(*signal),
            Self::Serve(_) | Self::Io { .. } | Self::Failed(_) => FAILED,
        }
    }
}

fn client_code(error: &mp_manager::Error) -> u8 {
    use mp_manager::Error as E;
    match error {
        E::Connect { .. }
        | E::SessionLost(_)
        | E::ShuttingDown(_)
        | E::Unreachable(_)
        | E::ManagerRestarted(_)
        | E::OutcomeUnknown(_) => UNAVAILABLE,
        E::AuthenticationFailed(_) => NOT_AUTHENTICATED,
        E::Address(_) | E::Configuration(_) | E::InvalidArgument(_) => USAGE,
        E::ObjectNotFound(_)
        | E::KeyNotFound(_)
        | E::IndexOutOfRange(_)
        | E::ValueNotFound(_)
        | E::Empty(_) => ABSENT,
        E::Fenced(_) => FENCED,
        E::QueueFull(_) => TIMED_OUT,
        _ => FAILED,
    }
}

/// The exit code after a signal, as shells have it.
pub(crate) fn signal_code(signal: i32) -> u8 {
    u8::try_from(signal).unwrap_or_default().saturating_add(SIGNAL)
}

/// The exit code of a command that has ended, as shells have it.
pub(crate) fn status_code(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(u8::MAX),
        (None, signal) => signal_code(signal.unwrap_or_default()),
    }
}
