//! What a daemon reads again on SIGHUP.

use std::path::PathBuf;

use mp_manager_server::{Handle, Tls};

use crate::authkey;

/// The files of a server that is running.
pub(crate) struct Reload {
    pub(crate) handle: Handle,
    pub(crate) authkey_file: Option<PathBuf>,
    /// Whether that file may be readable for every user of this machine.
    pub(crate) is_readable_allowed: bool,
    /// What is said about TLS, if that is in files.
    pub(crate) tls: Option<Tls>,
}

impl Reload {
    /// Reads them again. What cannot be used is logged, and changes nothing.
    pub(crate) fn reload(&self) {
        if self.authkey_file.is_none() && self.tls.is_none() {
            tracing::info!("there are no files to read again");
            return;
        }
        self.reload_authkeys();
        self.reload_tls();
    }

    fn reload_authkeys(&self) {
        let Some(file) = &self.authkey_file else {
            return tracing::info!("the authkeys stay as they are: they are from no file");
        };
        let kept = |error: &dyn std::fmt::Display| {
            tracing::error!("the authkeys stay as they are: {error}");
        };
        let keys = authkey::from_file(file).and_then(|keys| {
            if !self.is_readable_allowed {
                keys.refuse_if_exposed()?;
            }
            keys.warn_if_exposed();
            Ok(keys)
        });
        match keys {
            Ok(keys) => match self.handle.set_authkeys(keys.authkeys.clone()) {
                Ok(()) => tracing::info!("{keys}"),
                Err(error) => kept(&format!("{}: {error}", file.display())),
            },
            Err(error) => kept(&error),
        }
    }

    fn reload_tls(&self) {
        let Some(tls) = &self.tls else { return };
        match self.handle.set_tls(tls) {
            Ok(()) => tracing::info!("the certificates were read again"),
            Err(error) => tracing::error!("the certificates stay as they are: {error}"),
        }
    }
}
