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

/// A certificate as PEM text.
#[must_use]
pub fn certificate_to_pem(certificate: &CertificateDer<'_>) -> String {
    to_pem("CERTIFICATE", certificate)
}

/// A private key as PEM text: PKCS #8, as [`private_key`] reads it.
#[must_use]
pub fn private_key_to_pem(pkcs8: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(to_pem("PRIVATE KEY", pkcs8))
}

fn to_pem(label: &str, bytes: &[u8]) -> String {
    // All at once: text that grew would leave copies of a private key behind.
    let mut text = String::with_capacity(bytes.len() / 2 * 3 + 2 * label.len() + 64);
    text.extend(["-----BEGIN ", label, "-----\n"]);
    for line in bytes.chunks(48) {
        line.chunks(3).for_each(|group| push_base64(&mut text, group));
        text.push('\n');
    }
    text.extend(["-----END ", label, "-----\n"]);
    text
}

/// Up to three bytes as four characters.
fn push_base64(text: &mut String, group: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let byte = |i: usize| u32::from(group.get(i).copied().unwrap_or_default());
    let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
    for i in 0..4 {
        let digit = DIGITS[(bits >> (18 - 6 * i)) as usize & 63];
        text.push(if i <= group.len() { char::from(digit) } else { '=' });
    }
}

fn unreadable(error: &pem::Error) -> String {
    format!("it is no PEM: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_as_pem_is_read_back() {
        for length in 0..200 {
            let bytes: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
            let text = certificate_to_pem(&CertificateDer::from(bytes.clone()));
            assert!(text.lines().all(|line| line.len() <= 64), "{text}");
            assert_eq!(certificates(text.as_bytes()).unwrap(), [CertificateDer::from(bytes)]);
        }
        assert_eq!(
            certificate_to_pem(&CertificateDer::from(b"any carnal pleas".to_vec())),
            "-----BEGIN CERTIFICATE-----\nYW55IGNhcm5hbCBwbGVhcw==\n-----END CERTIFICATE-----\n"
        );
    }

    #[test]
    fn a_private_key_and_its_certificate_share_a_file() {
        let file = format!(
            "{}{}",
            *private_key_to_pem(b"key"),
            certificate_to_pem(&CertificateDer::from(b"certificate".to_vec()))
        );
        assert_eq!(private_key(file.as_bytes()).unwrap().secret_der(), b"key");
        assert_eq!(certificates(file.as_bytes()).unwrap()[0].as_ref(), b"certificate");
    }
}
