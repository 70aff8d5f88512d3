//! The manager that a child was given by its parent.

use std::ffi::OsStr;

use mp_manager_proto::authkey::Authkey;
use tokio::sync::OnceCell;

use crate::{
    api::{
        ADDRESS_VARIABLE, AUTHKEY_VARIABLE, TLS_CA_VARIABLE, TLS_CERT_VARIABLE, TLS_KEY_VARIABLE,
    },
    error::{Error, Result},
    objects::Manager,
    process::identity,
};

static CURRENT: OnceCell<Manager> = OnceCell::const_new();

impl Manager {
    /// The manager that this process's parent gave it with
    /// [`ProcessBuilder::manager`](crate::process::ProcessBuilder::manager), or that of the proxies among the
    /// arguments of its task. The first call connects; all others return the same session, whose connection
    /// has a thread of its own, so that a task which computes for an hour does not lose it. A process without
    /// such a parent connects to the manager that the environment names.
    ///
    /// Cancelling the first call drops the connection; the next call makes another.
    ///
    /// # Errors
    /// [`Error::Configuration`] if there is neither; otherwise as [`connect`](Self::connect).
    ///
    /// ```
    /// use mp_manager::{Manager, Result, process::Process, task};
    ///
    /// #[task]
    /// async fn count() -> Result<()> {
    ///     Manager::current().await?.value("count", &0_u64).await?.add(&1).await?;
    ///     Ok(())
    /// }
    ///
    /// #[mp_manager::main]
    /// async fn main() -> Result<()> {
    ///     let manager = Manager::start().await?;
    ///     let process = Process::new(count, ()).manager(&manager).start().await?;
    ///     process.join().await?;
    ///     assert_eq!(manager.value("count", &0_u64).await?.get().await?, 1);
    ///     Ok(())
    /// }
    /// ```
    pub async fn current() -> Result<Self> {
        CURRENT.get_or_try_init(connect).await.cloned()
    }
}

async fn connect() -> Result<Manager> {
    let builder = Manager::builder().background_thread();
    let Some(variables) = identity::manager() else {
        if std::env::var_os(ADDRESS_VARIABLE).is_none_or(|address| address.is_empty()) {
            return Err(Error::Configuration(format!(
                "this process was given no manager: start it with `.manager(&manager)`, or set \
                 {ADDRESS_VARIABLE}"
            )));
        }
        return builder.connect_from_env().await;
    };
    let value = |name: &str| {
        let found = variables.iter().find(|(variable, _)| variable == name);
        found.map(|(_, value)| value.as_os_str()).filter(|value| !value.is_empty())
    };
    let authkey = value(AUTHKEY_VARIABLE).map(OsStr::as_encoded_bytes).unwrap_or_default();
    let mut builder =
        builder.authkeys(Authkey::list_from_text(authkey)).process_name(identity::current().name());
    if let Some(authorities) = value(TLS_CA_VARIABLE) {
        builder = builder.tls_ca(std::path::PathBuf::from(authorities));
    }
    if let (Some(certificate), Some(key)) = (value(TLS_CERT_VARIABLE), value(TLS_KEY_VARIABLE)) {
        let path = std::path::PathBuf::from;
        builder = builder.tls_identity(path(certificate), path(key));
    }
    let address = value(ADDRESS_VARIABLE).unwrap_or_default();
    builder.connect(&address.to_string_lossy()).await
}

/// Says goodbye, if the process has connected: over a network, what it holds would wait for its lease to run
/// out otherwise.
pub(super) async fn close() {
    if let Some(manager) = CURRENT.get() {
        let _ = manager.clone().close().await;
    }
}
