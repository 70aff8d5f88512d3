//! Why a server cannot run.

use std::{io, path::PathBuf};

use mp_manager_proto::{address::Address, authkey::STRONG_LEN};

/// Why a server could not start, or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Where it was to listen.
        address: Address,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives no threads that could serve connections.
    #[error("cannot start {count} threads that serve connections: {source}")]
    Threads {
        /// How many there were to be.
        count: usize,
        /// What the system said.
        source: io::Error,
    },
    /// No authkey was given, or an empty one.
    #[error("a server needs an authkey, and none that is empty")]
    NoAuthkey,
    /// More authkeys were given than can be tried for each client.
    #[error("a server takes at most {max} authkeys, and these are {count}: remove old ones")]
    TooManyAuthkeys {
        /// How many they are.
        count: usize,
        /// How many they may be.
        max: usize,
    },
    /// A limit is so low that nobody could be served.
    #[error("--{name} is {value}, and has to be at least {min}")]
    Limit {
        /// The limit, as the option that sets it is called.
        name: &'static str,
        /// What it was to be.
        value: usize,
        /// What it has to be at least.
        min: usize,
    },
    /// An authkey can be guessed, and others can reach the address.
    #[error(
        "an authkey of less than {STRONG_LEN} bytes can be guessed, and other machines can reach \
         {address}: `mp-manager keygen FILE` writes a good one, or --allow-weak-authkey takes this one"
    )]
    WeakAuthkey {
        /// Where it was to listen.
        address: Address,
    },
    /// Others could listen in.
    #[error(
        "plain text on {address} could be read and changed by others on the way: use tls:// instead \
         of tcp://, an address of this machine such as 127.0.0.1 or unix:PATH, or --insecure"
    )]
    PlainText {
        /// Where it was to listen.
        address: Address,
    },
    /// Something about TLS is set, and the address does not speak it.
    #[error(
        "certificates are given, but {address} is not served with TLS: use an address that begins \
         with tls://"
    )]
    NotTls {
        /// Where it listens, or was to.
        address: Address,
    },
    /// Metrics are to be served where no HTTP is spoken.
    #[error("metrics are served by plain HTTP: {address} has to be HOST:PORT")]
    NotHttp {
        /// Where they were to be served.
        address: Address,
    },
    /// A certificate, private key or authority cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The state directory cannot be used.
    #[error("cannot use the state directory {}: {problem}", path.display())]
    StateDir {
        /// The directory.
        path: PathBuf,
        /// Why, and the way out.
        problem: String,
    },
    /// The system has no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

/// A certificate, private key or authority that cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot set up TLS: {0}")]
pub struct TlsError(String);

impl TlsError {
    pub(crate) fn new(problem: impl ToString) -> Self {
        Self(problem.to_string())
    }
}
