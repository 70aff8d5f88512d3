//! The way in: connecting to a manager, or starting one.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use mp_manager_proto::{
    LEASE_RANGE_MS,
    address::Address,
    authkey::Authkey,
    tls::{Identity, Pem},
};

#[cfg(feature = "embedded")]
use crate::transport::embedded::{Embedded, random_authkey};
use crate::{
    error::{Error, Result},
    objects::manager::Manager,
    session::link::Keeper,
    transport::{
        authkeys::Authkeys,
        connect::Target,
        driver,
        io_thread::{IoThread, check_runtime},
        tls::{Connector, Tls},
    },
};

/// The environment variable with a manager's address.
pub const ADDRESS_VARIABLE: &str = "MP_MANAGER_ADDRESS";
/// The environment variable with the authkey itself.
pub const AUTHKEY_VARIABLE: &str = "MP_MANAGER_AUTHKEY";
/// The environment variable with the path of a file that has the authkey, or several, one on each
/// line.
pub const AUTHKEY_FILE_VARIABLE: &str = "MP_MANAGER_AUTHKEY_FILE";
/// The environment variable with the path of a PEM file that has the authorities to trust, see
/// [`Builder::tls_ca`].
pub const TLS_CA_VARIABLE: &str = "MP_MANAGER_TLS_CA";
/// The environment variable with the path of a PEM file that has the certificate to show, see
/// [`Builder::tls_identity`].
pub const TLS_CERT_VARIABLE: &str = "MP_MANAGER_TLS_CERT";
/// The environment variable with the path of a PEM file that has the private key of that
/// certificate.
pub const TLS_KEY_VARIABLE: &str = "MP_MANAGER_TLS_KEY";
/// The environment variable in which a command that `mp-manager lock` runs finds its lock's
/// [`Fence`](crate::Fence), as text. Nothing is fenced by it unless somebody reads it.
pub const FENCE_VARIABLE: &str = "MP_MANAGER_FENCE";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(60);

impl Manager {
    /// Connects to a manager at an address such as `10.0.0.5:7117` or `unix:/run/manager.sock`, with
    /// TLS unless it is on this machine; [`Address`](crate::Address) has the rules.
    ///
    /// # Errors
    /// [`Error::Connect`] if nobody listens there, [`Error::AuthenticationFailed`] if the authkeys
    /// differ.
    ///
    /// ```no_run
    /// # use mp_manager::Manager;
    /// # async fn example() -> mp_manager::Result<()> {
    /// let manager = Manager::connect("10.0.0.5:7117", "authkey").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(address: &str, authkey: impl Into<Authkey>) -> Result<Self> {
        Self::builder().authkey(authkey).connect(address).await
    }

    /// Connects to the manager that the environment names: `MP_MANAGER_ADDRESS`, and the authkey
    /// from the file `MP_MANAGER_AUTHKEY_FILE` or from `MP_MANAGER_AUTHKEY`. That is how a process
    /// finds the manager of the one that started it, see [`environment`](Self::environment).
    /// `MP_MANAGER_TLS_CA`, `MP_MANAGER_TLS_CERT` and `MP_MANAGER_TLS_KEY` name the files of
    /// [`Builder::tls_ca`] and [`Builder::tls_identity`].
    ///
    /// # Errors
    /// [`Error::Configuration`] if a variable is missing or empty; otherwise as [`connect`](Self::connect).
    ///
    /// ```no_run
    /// # use mp_manager::Manager;
    /// # async fn example() -> mp_manager::Result<()> {
    /// let manager = Manager::from_env().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn from_env() -> Result<Self> {
        Self::builder().connect_from_env().await
    }

    /// Starts a manager inside this process. It stops when the last handle on it goes, or with the
    /// process; other processes can use it meanwhile, see [`environment`](Self::environment).
    ///
    /// # Errors
    /// [`Error::Configuration`] if no server can be started.
    ///
    /// ```
    /// # use mp_manager::Manager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mp_manager::Result<()> {
    /// let manager = Manager::start().await?;
    /// println!("others find it at {}", manager.address());
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "embedded")]
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// Connects with options.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

/// How to connect.
///
/// ```
/// # use mp_manager::Manager;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mp_manager::Result<()> {
/// let manager = Manager::builder()
///     .background_thread()
///     .connect_timeout(Duration::from_secs(2))
///     .start()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a builder connects when it is told to"]
pub struct Builder {
    authkeys: Origin,
    tls: Tls,
    background_thread: bool,
    connect_timeout: Option<Duration>,
    process_name: Option<String>,
    lease: Option<Duration>,
    reconnect_timeout: Option<Duration>,
    session_must_last: bool,
}

/// Where the authkeys come from.
#[derive(Debug, Clone, Default)]
enum Origin {
    #[default]
    Environment,
    File(PathBuf),
    Given(Vec<Authkey>),
}

impl Builder {
    /// The authkey to prove; without one the environment's is taken, as by [`Manager::from_env`].
    /// A manager that is [started](Self::start) has it as its own.
    pub fn authkey(self, authkey: impl Into<Authkey>) -> Self {
        self.authkeys([authkey])
    }

    /// Several authkeys, for the time in which one takes the place of another: if the manager
    /// refuses the first, the next is tried.
    pub fn authkeys(self, authkeys: impl IntoIterator<Item = impl Into<Authkey>>) -> Self {
        let authkeys = Origin::Given(authkeys.into_iter().map(Into::into).collect());
        Self { authkeys, ..self }
    }

    /// The authkey from a file, such as `mp-manager keygen` writes; or several, one on each line. A
    /// line that begins with `#` is a comment; an authkey that does is written as `hex:` and its bytes
    /// in hexadecimal. It is read whenever a connection is made, if it is not a pipe: a session goes on when the
    /// manager's authkey is replaced and the new one is in the file as well. Keep the old one in it
    /// until the manager has the new one. A manager that is [started](Self::start) has those that
    /// were in the file then.
    ///
    /// ```no_run
    /// # use mp_manager::Manager;
    /// # async fn example() -> mp_manager::Result<()> {
    /// let builder = Manager::builder().authkey_file("manager.key");
    /// let manager = builder.connect("10.0.0.5:7117").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn authkey_file(self, path: impl Into<PathBuf>) -> Self {
        Self { authkeys: Origin::File(path.into()), ..self }
    }

    /// The authorities to trust, in PEM: a path, or bytes that are the text itself. The manager's
    /// certificate must be signed by one of them, and be for the host of the address.
    ///
    /// Without it any certificate will do, because the manager has to prove the authkey, and the
    /// proof is bound to the certificate and to the connection: neither an impostor nor somebody in
    /// the middle can give it.
    ///
    /// ```no_run
    /// # use mp_manager::Manager;
    /// # async fn example() -> mp_manager::Result<()> {
    /// let builder = Manager::builder().authkey("authkey").tls_ca("/etc/ssl/our-ca.pem");
    /// let manager = builder.connect("manager.example.org").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn tls_ca(self, authorities: impl Into<Pem>) -> Self {
        Self { tls: Tls { ca: Some(authorities.into()), ..self.tls }, ..self }
    }

    /// A certificate and its private key, in PEM, for a manager that asks its clients for one: each
    /// a path, or bytes that are the text itself. Files are read whenever a connection is made.
    ///
    /// ```no_run
    /// # use mp_manager::Manager;
    /// # async fn example() -> mp_manager::Result<()> {
    /// let builder = Manager::builder().authkey("authkey").tls_identity("me.pem", "me.key");
    /// let manager = builder.connect("manager.example.org").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn tls_identity(self, certificate: impl Into<Pem>, key: impl Into<Pem>) -> Self {
        let identity = Identity { certificate: certificate.into(), key: key.into() };
        Self { tls: Tls { identity: Some(identity), ..self.tls }, ..self }
    }

    /// Runs the connection on a thread of its own, with a runtime of its own: computing code cannot
    /// starve it, it works without a tokio runtime, and it outlives the runtime that it was made on.
    pub fn background_thread(self) -> Self {
        Self { background_thread: true, ..self }
    }

    /// How long connecting may take; 10 s unless told otherwise. Where nobody listens, it fails at once.
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        Self { connect_timeout: Some(timeout), ..self }
    }

    /// How long the session lives without a word from this process, from 1 s to 5 min; 10 s unless
    /// told otherwise. Whoever waits for what this process holds waits so long, at most, when the
    /// process or its machine is gone.
    ///
    /// The manager hears of this process every third of it, whatever else there is to do. If it does
    /// not for 0.99 of it, everything held counts as lost here: before the manager gives it to
    /// others, as long as no two clocks run at rates that differ by more than a hundredth.
    ///
    /// With any other lease, connecting fails with [`Error::Configuration`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use mp_manager::{Error, Manager};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let refused = Manager::builder().lease(Duration::ZERO).start().await;
    /// assert!(matches!(refused, Err(Error::Configuration(_))));
    /// # }
    /// ```
    pub fn lease(self, lease: Duration) -> Self {
        Self { lease: Some(lease), ..self }
    }

    /// How long calls wait for a connection that is gone; 1 min unless told otherwise. Those with a
    /// timeout wait no longer than that. Zero does not wait at all.
    ///
    /// A connection that comes back in time goes on with the same session: nothing is lost and
    /// nothing is done twice. If it comes back later, or the manager has started again, every guard
    /// is lost and every call that was pending fails, with an error that says what is known of it
    /// ([`Error::SessionLost`], [`Error::ManagerRestarted`], [`Error::OutcomeUnknown`]).
    ///
    /// The time ends calls and not the client: the next call tries to connect again, for as long, and
    /// proxies go on in a new session.
    pub fn reconnect_timeout(self, timeout: Duration) -> Self {
        Self { reconnect_timeout: Some(timeout), ..self }
    }

    /// Opens no new session when one is lost, or when [the time to connect
    /// again](Self::reconnect_timeout) is over: everything fails from then on.
    pub fn session_must_last(self) -> Self {
        Self { session_must_last: true, ..self }
    }

    /// What `inspect` calls this process; the name of its program unless told otherwise.
    pub fn process_name(self, name: impl Into<String>) -> Self {
        Self { process_name: Some(name.into()), ..self }
    }

    /// Connects to a manager.
    ///
    /// # Errors
    /// As [`Manager::connect`].
    pub async fn connect(self, address: &str) -> Result<Manager> {
        let tls = match &self.authkeys {
            Origin::Environment => tls_from_env(&self.tls)?,
            Origin::File(_) | Origin::Given(_) => self.tls.clone(),
        };
        self.connect_with(address, tls).await
    }

    async fn connect_with(self, address: &str, tls: Tls) -> Result<Manager> {
        self.check_runtime()?;
        let address: Address = address.parse()?;
        self.check_lease()?;
        let authkeys = match &self.authkeys {
            Origin::Environment => authkeys_from_env()?,
            Origin::File(path) => Authkeys::from_file(path, "Builder::authkey_file")?,
            Origin::Given(authkeys) => Authkeys::new(authkeys.clone())?,
        };
        let target = self.target(address, authkeys, tls);
        self.establish(target, |thread, target| Running {
            thread,
            #[cfg(feature = "embedded")]
            embedded: None,
            target,
        })
        .await
    }

    /// Connects to the manager that the environment names, in the way it names; what this builder was
    /// given comes before what the environment has.
    ///
    /// # Errors
    /// As [`Manager::from_env`].
    pub async fn connect_from_env(self) -> Result<Manager> {
        let address = std::env::var(ADDRESS_VARIABLE).ok().filter(|address| !address.is_empty());
        let address = address.ok_or_else(|| {
            Error::Configuration(format!("{ADDRESS_VARIABLE} is not set: it names the manager"))
        })?;
        let tls = tls_from_env(&self.tls)?;
        self.connect_with(&address, tls).await
    }

    /// Starts a manager inside this process. Its authkey is random unless one was given.
    ///
    /// # Errors
    /// As [`Manager::start`]; [`Error::Configuration`] also if certificates were given, which it has
    /// no use for: it is reached on this machine only, without TLS.
    #[cfg(feature = "embedded")]
    pub async fn start(self) -> Result<Manager> {
        self.check_runtime()?;
        if self.tls.ca.is_some() || self.tls.identity.is_some() {
            let message = "an embedded manager is reached without TLS: give it no certificates, or \
                           connect to one that `mp-manager serve` runs";
            return Err(Error::Configuration(message.into()));
        }
        self.check_lease()?;
        let authkeys = match &self.authkeys {
            Origin::Environment => Authkeys::new(vec![random_authkey()?])?,
            Origin::File(path) => Authkeys::from_file(path, "Builder::authkey_file")?,
            Origin::Given(authkeys) => Authkeys::new(authkeys.clone())?,
        };
        let embedded = Embedded::start(authkeys.to_vec()).await?;
        // What a file says later is not what the manager has.
        let authkeys = Authkeys::new(authkeys.to_vec())?;
        let target = Target {
            inside: Some(embedded.inside.clone()),
            ..self.target(embedded.address.clone(), authkeys, Tls::default())
        };
        let embedded = Some(embedded);
        self.establish(target, |thread, target| Running { thread, embedded, target }).await
    }

    fn check_runtime(&self) -> Result<()> {
        if self.background_thread { Ok(()) } else { check_runtime() }
    }

    fn check_lease(&self) -> Result<()> {
        let range = Duration::from_millis(*LEASE_RANGE_MS.start())
            ..=Duration::from_millis(*LEASE_RANGE_MS.end());
        match self.lease {
            Some(lease) if !range.contains(&lease) => Err(Error::Configuration(format!(
                "the lease is {lease:?}, and must be from {:?} to {:?}",
                range.start(),
                range.end()
            ))),
            _ => Ok(()),
        }
    }

    fn target(&self, address: Address, authkeys: Authkeys, tls: Tls) -> Target {
        Target {
            address,
            authkeys,
            connector: Connector::new(tls),
            timeout: self.connect_timeout.unwrap_or(CONNECT_TIMEOUT),
            process_name: self.process_name.clone(),
            lease: self.lease,
            reconnect_timeout: self.reconnect_timeout.unwrap_or(RECONNECT_TIMEOUT),
            reopen: !self.session_must_last,
            #[cfg(feature = "embedded")]
            inside: None,
        }
    }

    async fn establish(
        self,
        target: Target,
        running: impl FnOnce(Option<IoThread>, Target) -> Running,
    ) -> Result<Manager> {
        let (link, thread) = if self.background_thread {
            let mut thread = IoThread::start()?;
            let target = target.clone();
            let (link, driver) = thread.run(async move { driver::open(&target).await }).await??;
            thread.wait_for(driver);
            (link, Some(thread))
        } else {
            (driver::open(&target).await?.0, None)
        };
        link.keep(running(thread, target));
        Ok(Manager::new(link))
    }
}

/// What runs a connection, and ends with it in this order.
struct Running {
    #[expect(dead_code, reason = "kept to be dropped")]
    thread: Option<IoThread>,
    #[cfg(feature = "embedded")]
    #[expect(dead_code, reason = "kept to be dropped")]
    embedded: Option<Embedded>,
    target: Target,
}

impl Keeper for Running {
    fn environment(&self) -> Vec<(OsString, OsString)> {
        use std::os::unix::ffi::OsStringExt;
        let Target { address, authkeys, connector, .. } = &self.target;
        let authkey = authkeys.accepted().map_or_else(Vec::new, |key| key.to_text().to_vec());
        let identity = connector.tls.identity.as_ref();
        let address = match address {
            Address::Unix(path) => Address::Unix(absolute(path)),
            address => address.clone(),
        };
        // What the child inherits otherwise would win, and may be for another manager.
        vec![
            (ADDRESS_VARIABLE.into(), address.to_string().into()),
            (AUTHKEY_VARIABLE.into(), OsString::from_vec(authkey)),
            (AUTHKEY_FILE_VARIABLE.into(), OsString::new()),
            (TLS_CA_VARIABLE.into(), path_of(connector.tls.ca.as_ref())),
            (TLS_CERT_VARIABLE.into(), path_of(identity.map(|identity| &identity.certificate))),
            (TLS_KEY_VARIABLE.into(), path_of(identity.map(|identity| &identity.key))),
        ]
    }
}

fn authkeys_from_env() -> Result<Authkeys> {
    use std::os::unix::ffi::OsStringExt;
    if let Some(path) = path_from_env(AUTHKEY_FILE_VARIABLE) {
        return Authkeys::from_file(&path, AUTHKEY_FILE_VARIABLE);
    }
    let text = std::env::var_os(AUTHKEY_VARIABLE).map(OsStringExt::into_vec).unwrap_or_default();
    Authkey::check_text(&text)
        .map_err(|error| Error::Configuration(format!("{AUTHKEY_VARIABLE} {error}")))?;
    let authkeys = Authkey::list_from_text(&text);
    if authkeys.is_empty() {
        return Err(Error::Configuration(format!(
            "no authkey: set {AUTHKEY_FILE_VARIABLE} or {AUTHKEY_VARIABLE}, or give one"
        )));
    }
    Authkeys::new(authkeys)
}

/// What the environment adds to what is given.
fn tls_from_env(given: &Tls) -> Result<Tls> {
    let file = |variable| path_from_env(variable).map(Pem::File);
    let from_env = || match (file(TLS_CERT_VARIABLE), file(TLS_KEY_VARIABLE)) {
        (Some(certificate), Some(key)) => Ok(Some(Identity { certificate, key })),
        (None, None) => Ok(None),
        _ => Err(Error::Configuration(format!(
            "{TLS_CERT_VARIABLE} and {TLS_KEY_VARIABLE} belong together: set both, or none"
        ))),
    };
    let identity = match given.identity.clone() {
        Some(identity) => Some(identity),
        None => from_env()?,
    };
    Ok(Tls { ca: given.ca.clone().or_else(|| file(TLS_CA_VARIABLE)), identity })
}

/// Set but empty is as good as unset, which is what child processes are given.
fn path_from_env(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// For the environment of a process that may run in another directory; empty if it is in no file.
fn path_of(pem: Option<&Pem>) -> OsString {
    match pem {
        Some(Pem::File(path)) => absolute(path).into(),
        _ => OsString::new(),
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.into())
}
