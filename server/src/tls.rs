//! TLS: what a server shows, and how a connection gets there.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, Mutex},
};

use mp_manager_proto::{
    handshake::Binding,
    tls::{self, Identity, Pem, VERSIONS},
};
use rustls::{
    ServerConfig,
    pki_types::CertificateDer,
    server::{NoServerSessionStorage, WebPkiClientVerifier},
};
use tokio::{
    io::{AsyncReadExt, Join, Take, join},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{error::TlsError, identity::Own, lock::lock};

/// The first byte of whoever speaks TLS: a handshake record.
const HANDSHAKE_RECORD: u8 = 0x16;

/// All that is read of a client before TLS is up: a few hundred bytes, and a few thousand if it shows
/// certificates.
const MAX_HANDSHAKE_BYTES: u64 = 16 << 10;

/// And before its client has authenticated: twice what may be in it, as records have headers.
const MAX_UNAUTHENTICATED_BYTES: u64 = 128 << 10;

/// How a server speaks TLS, if its address says so.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Tls {
    /// What it shows to clients. Without one it makes a certificate of its own for
    /// [`CERTIFICATE_NAME`](crate::CERTIFICATE_NAME), and keeps it in its [state directory](crate::Options::state_dir) if it has
    /// one: clients know the server by its proof of the authkey, which is bound to the connection.
    pub identity: Option<Identity>,
    /// Authorities, one of which must have signed a client's certificate. Without them clients need
    /// none.
    pub client_ca: Option<Pem>,
}

impl Tls {
    pub(crate) fn is_set(&self) -> bool {
        self.identity.is_some() || self.client_ca.is_some()
    }
}

/// What TLS runs on: a connection of which only so much is read before TLS is up, and then before its
/// client has authenticated.
pub(crate) type Wire = Join<Take<OwnedReadHalf>, OwnedWriteHalf>;

/// Where TLS ends: what new connections are shown.
pub(crate) struct Terminator {
    shown: Mutex<Arc<Shown>>,
    /// What it shows if it is told nothing else: the same however often it is told that.
    own: Own,
    /// What is spoken inside of TLS.
    alpn: &'static [u8],
}

struct Shown {
    config: Arc<ServerConfig>,
    leaf: CertificateDer<'static>,
}

impl Terminator {
    pub(crate) fn new(tls: &Tls, own: Own, alpn: &'static [u8]) -> Result<Self, TlsError> {
        Ok(Self { shown: Mutex::new(Arc::new(shown(tls, &own, alpn)?)), own, alpn })
    }

    /// Shows something else from now on; on an error all stays as it is.
    pub(crate) fn replace(&self, tls: &Tls) -> Result<(), TlsError> {
        let shown = Arc::new(shown(tls, &self.own, self.alpn)?);
        *lock(&self.shown) = shown;
        Ok(())
    }

    /// The server's side of TLS's handshake, and what a connection is bound to by it. If it fails,
    /// the other end has been told why, on what is returned.
    pub(crate) async fn open(
        &self,
        stream: TcpStream,
    ) -> Result<(Box<TlsStream<Wire>>, Binding), (io::Error, Option<Wire>)> {
        let shown = Arc::clone(&lock(&self.shown));
        let acceptor = TlsAcceptor::from(Arc::clone(&shown.config));
        let (read, write) = stream.into_split();
        let wire = join(read.take(MAX_HANDSHAKE_BYTES), write);
        let accepted = Box::pin(acceptor.accept(wire).into_fallible()).await;
        let mut stream = Box::new(accepted.map_err(|(error, wire)| (error, Some(wire)))?);
        let binding = tls::binding(stream.get_ref().1, &shown.leaf)
            .map_err(|error| (io::Error::other(error), None))?;
        stream.get_mut().0.reader_mut().set_limit(MAX_UNAUTHENTICATED_BYTES);
        Ok((stream, binding))
    }
}

fn shown(tls: &Tls, own: &Own, alpn: &[u8]) -> Result<Shown, TlsError> {
    let (chain, key) = match &tls.identity {
        Some(identity) => (
            identity.certificate.load(read, tls::certificates).map_err(TlsError::new)?,
            identity.key.load(read, tls::private_key).map_err(TlsError::new)?,
        ),
        None => {
            let own = own.get()?;
            (vec![own.certificate.clone()], own.key.clone_key())
        }
    };
    let leaf = chain.first().cloned().ok_or_else(|| TlsError::new("there is no certificate"))?;
    let provider = tls::provider();
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&VERSIONS)
        .map_err(TlsError::new)?;
    let config = match &tls.client_ca {
        Some(ca) => {
            let roots = ca.load(read, tls::roots).map_err(TlsError::new)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            config.with_client_cert_verifier(
                verifier.map_err(|e| TlsError::new(format!("{ca}: {e}")))?,
            )
        }
        None => config.with_no_client_auth(),
    };
    let mut config = config.with_single_cert(chain, key).map_err(|error| match &tls.identity {
        Some(Identity { certificate, key }) => {
            TlsError::new(format!("{certificate} with the private key {key}: {error}"))
        }
        None => TlsError::new(error),
    })?;
    config.alpn_protocols = vec![alpn.into()];
    // Every connection proves the authkey anew: nothing of an earlier one is taken up.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(Shown { config: Arc::new(config), leaf })
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path)
}

/// Whether the first byte is TLS's, once it has come; it stays where it is.
pub(crate) async fn speaks_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    match stream.peek(&mut first).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(first == [HANDSHAKE_RECORD]),
    }
}
