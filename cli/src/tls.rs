//! The certificates that commands are given.

use std::path::{Path, PathBuf};

use clap::{
    Args,
    builder::{OsStringValueParser, TypedValueParser},
};
use mp_manager::Builder;

use crate::{environment::file_variable, error::Error};

/// The certificates of a command, in PEM files.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct TlsOptions {
    /// The authorities to trust, a PEM file; without it whoever proves the authkey is trusted
    /// [env: MP_MANAGER_TLS_CA]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        // Empty is as good as not given.
        value_parser = OsStringValueParser::new().map(PathBuf::from),
    )]
    tls_ca: Option<PathBuf>,
    /// The certificate to show, a PEM file: the manager's for `serve`, else the client's [env:
    /// MP_MANAGER_TLS_CERT]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        value_parser = OsStringValueParser::new().map(PathBuf::from),
    )]
    tls_cert: Option<PathBuf>,
    /// The private key of that certificate, a PEM file [env: MP_MANAGER_TLS_KEY]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        value_parser = OsStringValueParser::new().map(PathBuf::from),
    )]
    tls_key: Option<PathBuf>,
}

impl TlsOptions {
    /// Adds what the environment has and the command line has not.
    pub(crate) fn with_environment(self) -> Self {
        Self {
            tls_ca: self.tls_ca.or_else(|| file_variable(mp_manager::TLS_CA_VARIABLE)),
            tls_cert: self.tls_cert.or_else(|| file_variable(mp_manager::TLS_CERT_VARIABLE)),
            tls_key: self.tls_key.or_else(|| file_variable(mp_manager::TLS_KEY_VARIABLE)),
        }
    }

    /// Whether there are any.
    pub(crate) fn is_given(&self) -> bool {
        [&self.tls_ca, &self.tls_cert, &self.tls_key].into_iter().any(|file| given(file).is_some())
    }

    /// The authorities to trust.
    pub(crate) fn ca(&self) -> Option<&Path> {
        given(&self.tls_ca)
    }

    /// The certificate to show, and its private key.
    pub(crate) fn identity(&self) -> Result<Option<(&Path, &Path)>, Error> {
        match (given(&self.tls_cert), given(&self.tls_key)) {
            (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
            (None, None) => Ok(None),
            _ => Err(Error::Usage(
                "--tls-cert and --tls-key belong together: give both, or none".into(),
            )),
        }
    }

    /// A client that uses them.
    pub(crate) fn apply(&self, mut builder: Builder) -> Result<Builder, Error> {
        if let Some(ca) = self.ca() {
            builder = builder.tls_ca(ca);
        }
        if let Some((certificate, key)) = self.identity()? {
            builder = builder.tls_identity(certificate, key);
        }
        Ok(builder)
    }
}

fn given(file: &Option<PathBuf>) -> Option<&Path> {
    file.as_deref().filter(|file| !file.as_os_str().is_empty())
}
