//! TLS, as a client speaks it.
//!
//! Unless it is told whom to trust, a client takes any certificate: whoever is at the other end has
//! to prove the authkey, and the proof is bound to the certificate and to the connection. What it
//! always checks is that the other end has the certificate's private key.

use std::{
    fs, io,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    task::{Context, Poll, ready},
};

use mp_manager_proto::{
    connection,
    handshake::Binding,
    tls::{self, ALPN, Identity, Pem, PemError, VERSIONS},
};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, PeerIncompatible,
    SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::session::fork::HomeBound;

/// How a client speaks TLS.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tls {
    /// Whom to trust, instead of whoever proves the authkey.
    pub(crate) ca: Option<Pem>,
    /// What to show to a manager that asks for it.
    pub(crate) identity: Option<Identity>,
}

/// Speaks TLS with one manager, as often as it has to.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    pub(crate) tls: Arc<Tls>,
    /// What is spoken inside of TLS.
    inside: Inside,
    /// What was used last.
    used: Arc<Mutex<Option<Arc<ClientConfig>>>>,
}

/// What is spoken inside of TLS.
#[derive(Debug, Clone, Copy)]
enum Inside {
    /// HTTP/2, with a manager.
    Manager,
    /// Messages, with a program that listens.
    Connection,
}

impl Inside {
    fn alpn(self) -> &'static [u8] {
        match self {
            Self::Manager => ALPN,
            Self::Connection => connection::ALPN,
        }
    }

    /// The other end speaks something else.
    fn missing(self) -> TlsFailure {
        let message = match self {
            Self::Manager => "it speaks TLS, but no HTTP/2 inside of it",
            Self::Connection => {
                "it speaks TLS, but is no `connection::Listener` (a manager is connected to by `Manager::connect`)"
            }
        };
        TlsFailure::Connection(message.into())
    }
}

/// A TLS connection that came about.
pub(crate) struct Secured {
    pub(crate) stream: Watched,
    pub(crate) binding: Binding,
    /// What the other end showed, and has the private key of.
    pub(crate) certificate: CertificateDer<'static>,
}

/// Why no TLS connection came about.
#[derive(Debug)]
pub(crate) enum TlsFailure {
    /// What we were given cannot be used.
    Configuration(String),
    /// What the other end did, or the system.
    Connection(String),
}

impl From<PemError> for TlsFailure {
    fn from(error: PemError) -> Self {
        Self::Configuration(error.to_string())
    }
}

impl Connector {
    pub(crate) fn new(tls: Tls) -> Self {
        Self { tls: Arc::new(tls), inside: Inside::Manager, used: Arc::default() }
    }

    /// For programs that connect to each other without a manager.
    pub(crate) fn for_connections() -> Self {
        Self { inside: Inside::Connection, ..Self::new(Tls::default()) }
    }

    /// Agrees on TLS with whoever is at the other end of `stream`; `plain` is its address without.
    pub(crate) async fn connect(
        &self,
        host: &str,
        plain: &str,
        stream: HomeBound<TcpStream>,
    ) -> Result<Secured, TlsFailure> {
        let stream = TlsConnector::from(self.current()?)
            .connect(server_name(host)?, stream)
            .await
            .map_err(|error| match tls_error(&error) {
                Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
                    self.inside.missing()
                }
                _ => TlsFailure::Connection(explain_io(&error, host, plain)),
            })?;
        let session = stream.get_ref().1;
        if session.alpn_protocol() != Some(self.inside.alpn()) {
            return Err(self.inside.missing());
        }
        let unbound = || TlsFailure::Connection("it showed no certificate".into());
        let leaf = session.peer_certificates().and_then(<[_]>::first).ok_or_else(unbound)?;
        let binding = tls::binding(session, leaf)
            .map_err(|error| TlsFailure::Connection(error.to_string()))?;
        let certificate = leaf.clone().into_owned();
        Ok(Secured { stream: Watched::new(stream), binding, certificate })
    }

    /// What the files say now. Somebody may be about to replace them: who connects again does it
    /// with what was good before.
    fn current(&self) -> Result<Arc<ClientConfig>, TlsFailure> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        match (self.tls.config(self.inside), &*used) {
            (Ok(config), _) => Ok(Arc::clone(used.insert(Arc::new(config)))),
            (Err(_), Some(used)) => Ok(Arc::clone(used)),
            (Err(failure), None) => Err(failure),
        }
    }
}

impl Tls {
    pub(crate) fn is_set(&self) -> bool {
        self.ca.is_some() || self.identity.is_some()
    }

    fn config(&self, inside: Inside) -> Result<ClientConfig, TlsFailure> {
        let provider = tls::provider();
        let algorithms = provider.signature_verification_algorithms;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&VERSIONS)
            .map_err(|error| TlsFailure::Configuration(error.to_string()))?;
        let builder = match &self.ca {
            Some(ca) => builder.with_root_certificates(ca.load(read, tls::roots)?),
            None => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate(algorithms))),
        };
        let mut config = match &self.identity {
            Some(Identity { certificate, key }) => builder
                .with_client_auth_cert(
                    certificate.load(read, tls::certificates)?,
                    key.load(read, tls::private_key)?,
                )
                .map_err(|error| {
                    TlsFailure::Configuration(format!(
                        "{certificate} with the private key {key}: {error}"
                    ))
                })?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![inside.alpn().into()];
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path)
}

fn server_name(host: &str) -> Result<ServerName<'static>, TlsFailure> {
    // Through which interface an address is reached is not part of its name.
    let host = host.split_once('%').map_or(host, |(host, _)| host);
    ServerName::try_from(host.to_owned()).map_err(|_| {
        TlsFailure::Configuration(format!("\"{host}\" is neither an IP address nor a DNS name"))
    })
}

/// Takes any certificate of which the other end has the private key.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// What went wrong with a connection's TLS, if anything did. What uses the connection says only that
/// something has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trouble(Arc<OnceLock<rustls::Error>>);

impl Trouble {
    fn note(&self, error: &io::Error) {
        if let Some(error) = tls_error(error) {
            // The first is the cause.
            let _ = self.0.set(error.clone());
        }
    }

    /// In words, for whoever wanted to get to `host`.
    pub(crate) fn explain(&self, host: &str, plain: &str) -> Option<String> {
        self.0.get().map(|error| explain(error, host, plain))
    }
}

/// A TLS connection that notes what goes wrong.
pub(crate) struct Watched {
    stream: TlsStream<HomeBound<TcpStream>>,
    pub(crate) trouble: Trouble,
    /// Why nothing can be written any more.
    write_error: Option<io::ErrorKind>,
}

impl Watched {
    fn new(stream: TlsStream<HomeBound<TcpStream>>) -> Self {
        Self { stream, trouble: Trouble::default(), write_error: None }
    }

    /// What it watches.
    pub(crate) fn into_inner(self) -> TlsStream<HomeBound<TcpStream>> {
        self.stream
    }

    /// Writes; a failure is not told before what the other end has said last was read. A manager
    /// that refuses our certificate says so after we are done with TLS, and closes.
    fn poll_write_with<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(
            Pin<&mut TlsStream<HomeBound<TcpStream>>>,
            &mut Context<'_>,
        ) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.write_error.is_none() {
            match write(Pin::new(&mut self.stream), cx) {
                Poll::Ready(Err(error)) => self.write_error = Some(error.kind()),
                polled => return polled,
            }
        }
        loop {
            let mut rest = [0; 1024];
            let mut rest = ReadBuf::new(&mut rest);
            ready!(Pin::new(&mut *self).poll_read(cx, &mut rest))?;
            if rest.filled().is_empty() {
                return Poll::Ready(Err(self.write_error.unwrap_or(io::ErrorKind::Other).into()));
            }
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Poll::Ready(Err(error)) = &polled {
            self.trouble.note(error);
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |stream, cx| stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_with(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn explain_io(error: &io::Error, host: &str, plain: &str) -> String {
    match tls_error(error) {
        Some(error) => explain(error, host, plain),
        None => format!(
            "it broke off before TLS was agreed on: {error} (if it is a manager that speaks plain \
             text, use {plain})"
        ),
    }
}

/// What a failure of TLS means, and what to try.
fn explain(error: &rustls::Error, host: &str, plain: &str) -> String {
    use rustls::Error as E;
    match error {
        E::InvalidMessage(_) => format!(
            "it does not speak TLS (if it is a manager that speaks plain text, use {plain})"
        ),
        E::PeerIncompatible(_) | E::AlertReceived(AlertDescription::ProtocolVersion) => {
            format!("it does not speak TLS 1.3: {error}")
        }
        E::InvalidCertificate(reason) => format!(
            "its certificate is not to be trusted: {reason} ({})",
            hint_for_its_certificate(reason, host)
        ),
        E::AlertReceived(AlertDescription::CertificateRequired) => {
            "it asks for a client's certificate (give one with --tls-cert and --tls-key, or \
             `Builder::tls_identity`)"
                .into()
        }
        E::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError),
        ) => format!(
            "it does not accept our certificate: {alert:?} ({})",
            hint_for_our_certificate(*alert)
        ),
        E::NoApplicationProtocol | E::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            "it speaks TLS, but no HTTP/2 inside of it".into()
        }
        error => format!("no TLS came about: {error}"),
    }
}

fn hint_for_its_certificate(reason: &CertificateError, host: &str) -> String {
    use CertificateError as E;
    match reason {
        E::Expired | E::ExpiredContext { .. } | E::NotValidYet | E::NotValidYetContext { .. } => {
            "renew it, or check the clock of this machine".into()
        }
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            format!("give the manager a certificate for {host}, or connect to a name that its has")
        }
        E::UnknownIssuer | E::BadSignature => {
            "check that the authority that we trust is the one that signed it".into()
        }
        _ => {
            format!("check that the authority is the one that signed it, and that it is for {host}")
        }
    }
}

fn hint_for_our_certificate(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateExpired => {
            "it has expired or is not valid yet: renew it, or check the clocks of both machines"
        }
        AlertDescription::CertificateRevoked => "get another one",
        AlertDescription::UnknownCA => "an authority that the manager trusts must have signed it",
        _ => {
            "it must be for clients, and signed by an authority that the manager trusts; the \
             manager's log may say more"
        }
    }
}
