//! The certificate that a server makes for itself, with ECDSA on P-256.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, Mutex, Weak},
};

use mp_manager_proto::tls;
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::{
    error::{ServeError, TlsError},
    lock::lock,
    state_dir::{IDENTITY, StateDir},
};

/// The name that a server's own certificate is for. Clients of this library ask for no name; others that
/// pin the certificate check one as well, and are told to expect this one.
pub const CERTIFICATE_NAME: &str = "mp-manager";

/// A server's own certificate: made when it is needed, and the same from then on.
pub(crate) struct Own {
    identity: Mutex<Option<Arc<Identity>>>,
    /// Where it outlasts the server. Whoever has a handle must not keep the directory from the next one.
    state: Weak<StateDir>,
}

/// A certificate and its private key.
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Own {
    /// One that is kept in `state`, if there is such a directory.
    pub(crate) fn new(state: Option<&Arc<StateDir>>) -> Self {
        let state = state.map(Arc::downgrade).unwrap_or_default();
        Self { identity: Mutex::default(), state }
    }

    /// The one that there is, or a new one.
    pub(crate) fn get(&self) -> Result<Arc<Identity>, TlsError> {
        let mut own = lock(&self.identity);
        if let Some(own) = &*own {
            return Ok(Arc::clone(own));
        }
        let identity = match self.state.upgrade() {
            Some(state) => Identity::kept(&state)?,
            None => Identity::made()?.0,
        };
        Ok(Arc::clone(own.insert(Arc::new(identity))))
    }
}

impl Identity {
    /// The one in the state directory; a new one is written there.
    fn kept(state: &StateDir) -> Result<Self, TlsError> {
        let file = state.path().join(IDENTITY);
        let unreadable = |problem: &str| {
            TlsError::new(format!(
                "cannot read {}: {problem}; restore it, or remove it: the next start makes another \
                 certificate, which clients that pin this one have to be given",
                file.display()
            ))
        };
        if let Some(text) = state.identity().map_err(|error| unreadable(&error.to_string()))? {
            return Self::parse(&text).map_err(|problem| unreadable(&problem));
        }
        let (made, text) = Self::made()?;
        state
            .set_identity(&text)
            .map_err(|error| TlsError::new(format!("cannot write {}: {error}", file.display())))?;
        Ok(made)
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        let certificate = tls::certificates(text)?.swap_remove(0);
        Ok(Self { certificate, key: tls::private_key(text)? })
    }

    /// A new one, and its text.
    fn made() -> Result<(Self, Zeroizing<String>), TlsError> {
        let make = || {
            let mut params = CertificateParams::new([CERTIFICATE_NAME.to_owned()])?;
            params.distinguished_name.push(DnType::CommonName, CERTIFICATE_NAME);
            let key = KeyPair::generate()?;
            let certificate = CertificateDer::from(params.self_signed(&key)?);
            let key = Zeroizing::new(key.serialize_der());
            let mut text = tls::private_key_to_pem(&key);
            text.push_str(&tls::certificate_to_pem(&certificate));
            let key = PrivatePkcs8KeyDer::from(key.to_vec()).into();
            Ok((Self { certificate, key }, text))
        };
        make().map_err(|error: rcgen::Error| {
            TlsError::new(format!("no certificate can be made: {error}"))
        })
    }
}

/// The certificate in a state directory, as PEM: what managers that use the directory show, unless they
/// are given another.
///
/// It needs no lock: the file is replaced as a whole.
///
/// # Errors
/// If there is none, or it cannot be read.
pub fn kept_certificate(state_dir: &Path) -> Result<String, ServeError> {
    let failed = |problem: String| ServeError::StateDir { path: state_dir.into(), problem };
    let file = state_dir.join(IDENTITY);
    let text = fs::read(&file).map(Zeroizing::new).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => failed(
            "there is no certificate in it: a manager that serves tls:// with it, and without \
             --tls-cert, makes one when it starts"
                .into(),
        ),
        _ => failed(format!("cannot read {}: {error}", file.display())),
    })?;
    let unreadable = |problem| failed(format!("cannot read {}: {problem}", file.display()));
    Ok(tls::certificate_to_pem(&Identity::parse(&text).map_err(unreadable)?.certificate))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn own(directory: &Path) -> Result<Arc<Identity>, TlsError> {
        let state = Arc::new(StateDir::open(directory).unwrap());
        Own::new(Some(&state)).get()
    }

    #[test]
    fn a_certificate_outlasts_its_server() {
        let directory = tempfile::tempdir().unwrap();
        let error = kept_certificate(directory.path()).unwrap_err().to_string();
        assert!(error.contains("there is no certificate in it"), "{error}");
        let first = own(directory.path()).unwrap();
        let second = own(directory.path()).unwrap();
        assert_eq!(first.certificate, second.certificate);
        assert_eq!(first.key, second.key);
        let pem = kept_certificate(directory.path()).unwrap();
        assert_eq!(
            tls::certificates(pem.as_bytes()).unwrap(),
            std::slice::from_ref(&first.certificate)
        );
        assert!(!pem.contains("PRIVATE"));
        let mode = fs::metadata(directory.path().join(IDENTITY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn without_a_directory_it_stays_as_long_as_its_server() {
        let own = Own::new(None);
        let first = own.get().unwrap();
        assert_eq!(first.certificate, own.get().unwrap().certificate);
        assert_ne!(first.certificate, Own::new(None).get().unwrap().certificate);
    }

    #[test]
    fn a_file_that_is_damaged_is_named_with_the_way_out() {
        let directory = tempfile::tempdir().unwrap();
        own(directory.path()).unwrap();
        let file = directory.path().join(IDENTITY);
        let text = fs::read_to_string(&file).unwrap();
        let (key, certificate) = text.split_at(text.find("-----BEGIN CERTIFICATE").unwrap());
        for damaged in ["", key, certificate, "-----BEGIN CERTIFICATE-----\n!\n"] {
            fs::write(&file, damaged).unwrap();
            let error = own(directory.path()).map(drop).unwrap_err().to_string();
            assert!(error.contains(IDENTITY) && error.contains("remove it"), "{error}");
        }
    }
}
