//! What both sides of a TLS connection have in common: TLS 1.3 with ring's algorithms and nothing
//! older, HTTP/2, certificates from PEM, and what ties a handshake to the connection.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ConnectionCommon, RootCertStore, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    version::TLS13,
};
use zeroize::Zeroizing;

use crate::handshake::{Binding, EXPORTER_LABEL};

/// The one version of TLS.
pub static VERSIONS: [&SupportedProtocolVersion; 1] = [&TLS13];

/// What is spoken inside of it: HTTP/2.
pub const ALPN: &[u8] = b"h2";

/// The algorithms.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// What ties a handshake to this connection.
///
/// # Errors
/// If TLS is not yet up.
pub fn binding<S>(
    connection: &ConnectionCommon<S>,
    leaf: &CertificateDer<'_>,
) -> Result<Binding, rustls::Error> {
    let exporter = connection.export_keying_material([0; 32], EXPORTER_LABEL, Some(&[]))?;
    Ok(Binding::tls(leaf, exporter))
}

/// Certificates or a private key: the text itself, or the file that has it.
///
/// A `&str` or a path is a file; bytes are the text.
#[derive(Clone)]
pub enum Pem {
    /// A file, which is read when it is needed.
    File(PathBuf),
    /// The text itself.
    Text(Zeroizing<Vec<u8>>),
}

/// PEM that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {problem}")]
pub struct PemError {
    origin: String,
    problem: String,
}

impl Pem {
    /// What `parse` makes of it; files are read by `read`.
    ///
    /// # Errors
    /// If it cannot be read or parsed; the error names the file.
    pub fn load<T>(
        &self,
        read: impl FnOnce(&Path) -> io::Result<Vec<u8>>,
        parse: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Result<T, PemError> {
        let parsed = match self {
            Self::File(path) => match read(path).map(Zeroizing::new) {
                Ok(text) => parse(&text),
                Err(error) => Err(format!("it cannot be read: {error}")),
            },
            Self::Text(text) => parse(text),
        };
        parsed.map_err(|problem| PemError { origin: self.to_string(), problem })
    }
}

impl fmt::Display for Pem {
    /// Where it is, never what is in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Text(_) => f.write_str("the given PEM"),
        }
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Text(_) => f.write_str("Text(…)"),
        }
    }
}

impl From<&str> for Pem {
    fn from(path: &str) -> Self {
        Self::File(path.into())
    }
}

impl From<&Path> for Pem {
    fn from(path: &Path) -> Self {
        Self::File(path.into())
    }
}

impl From<PathBuf> for Pem {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<&[u8]> for Pem {
    fn from(text: &[u8]) -> Self {
        Self::Text(Zeroizing::new(text.to_vec()))
    }
}

impl From<Vec<u8>> for Pem {
    fn from(text: Vec<u8>) -> Self {
        Self::Text(Zeroizing::new(text))
    }
}

/// A certificate that one side shows, with what leads to its authority, and the private key.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate, and then those between it and its authority.
    pub certificate: Pem,
    /// Its private key.
    pub key: Pem,
}

/// The certificates of a PEM text; at least one.
///
/// # Errors
/// If there is none, or one that cannot be read.
pub fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|error| unreadable(&error))?;
    if certificates.is_empty() {
        return Err("there is no certificate in it".into());
    }
    Ok(certificates)
}

/// The private key of a PEM text.
///
/// # Errors
/// If there is none, or one that cannot be read.
pub fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        pem::Error::NoItemsFound => "there is no private key in it".into(),
        error => unreadable(&error),
    })
}

/// The certificates of a PEM text, as authorities to trust.
///
/// # Errors
/// As [`certificates`].
pub fn roots(text: &[u8]) -> Result<Arc<RootCertStore>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(text)? {
        roots.add(certificate).map_err(|error| format!("it cannot be used: {error}"))?;
    }
    Ok(Arc::new(roots))
}

fn unreadable(error: &pem::Error) -> String {
    format!("it is no PEM: {error}")
}
