//! What tests need of TLS: certificates, a client that takes any, and somebody in the middle.

use std::{io, sync::Arc};

use mp_manager_proto::{
    handshake::Binding,
    tls::{self, ALPN},
};
use mp_manager_server::{Address, Identity};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme, SupportedProtocolVersion,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

/// Somebody who signs certificates.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// One that nobody knows yet.
    ///
    /// # Panics
    /// If there are no random numbers.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("there are random numbers");
        Self(CertifiedIssuer::self_signed(params, key).expect("it can be signed"))
    }

    /// What to trust, in PEM.
    #[must_use]
    pub fn pem(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }

    /// A certificate for a name or an IP address.
    ///
    /// # Panics
    /// If it is neither.
    #[must_use]
    pub fn issue(&self, name: &str) -> Certified {
        let key = KeyPair::generate().expect("there are random numbers");
        let params = CertificateParams::new([name.to_owned()]).expect("it is a name");
        let certificate = params.signed_by(&key, &self.0).expect("it can be signed");
        Certified {
            certificate: certificate.pem().into_bytes(),
            key: key.serialize_pem().into_bytes(),
        }
    }
}

/// A certificate and its private key, in PEM.
#[derive(Debug, Clone)]
pub struct Certified {
    /// The certificate.
    pub certificate: Vec<u8>,
    /// Its private key.
    pub key: Vec<u8>,
}

impl Certified {
    /// A certificate that nobody else has signed.
    ///
    /// # Panics
    /// If there are no random numbers.
    #[must_use]
    pub fn self_signed() -> Self {
        let names = ["somebody".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("there are random numbers");
        let key = made.signing_key.serialize_pem().into_bytes();
        Self { certificate: made.cert.pem().into_bytes(), key }
    }

    /// As a server or a client is given it.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let Self { certificate, key } = self.clone();
        Identity { certificate: certificate.into(), key: key.into() }
    }

    /// The certificates themselves.
    ///
    /// # Panics
    /// If it is not PEM.
    #[must_use]
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        tls::certificates(&self.certificate).expect("it is PEM")
    }

    /// The private key itself.
    ///
    /// # Panics
    /// If it is not PEM.
    #[must_use]
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        tls::private_key(&self.key).expect("it is PEM")
    }

    /// A server that shows it, with these versions of TLS.
    ///
    /// # Panics
    /// If they do not belong together.
    #[must_use]
    pub fn acceptor(&self, versions: &[&'static SupportedProtocolVersion]) -> TlsAcceptor {
        let config = ServerConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(versions)
            .expect("there are such versions")
            .with_no_client_auth()
            .with_single_cert(self.chain(), self.private_key())
            .expect("they belong together");
        acceptor(config)
    }
}

/// A server that speaks HTTP/2 inside of TLS.
#[must_use]
pub fn acceptor(mut config: ServerConfig) -> TlsAcceptor {
    config.alpn_protocols = vec![ALPN.into()];
    TlsAcceptor::from(Arc::new(config))
}

/// Agrees on one of these versions of TLS with the server at `HOST:PORT`, whatever certificate it
/// shows.
///
/// # Errors
/// If nobody listens there, or no TLS comes about.
pub async fn connect(
    address: &str,
    versions: &[&'static SupportedProtocolVersion],
) -> io::Result<TlsStream<TcpStream>> {
    let mut config = ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(versions)
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.into()];
    let name = ServerName::try_from("somebody").map_err(io::Error::other)?;
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// What a handshake on this connection is bound to.
///
/// # Panics
/// If TLS is not up.
#[must_use]
pub fn binding(stream: &TlsStream<TcpStream>) -> Binding {
    let session = stream.get_ref().1;
    let leaf = &session.peer_certificates().expect("a server has a certificate")[0];
    tls::binding(session, leaf).expect("TLS is up")
}

/// Believes everything.
#[derive(Debug)]
struct Gullible;

impl ServerCertVerifier for Gullible {
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
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Sits between clients and the server at an address, and passes on every byte that one says inside
/// of TLS, or without, to the other. It speaks to clients as `shows` has it, in plain text without,
/// and to the server as its address says.
///
/// Its `HOST:PORT`.
///
/// # Panics
/// If there is no port, or the address is none.
pub async fn sit_between(shows: Option<TlsAcceptor>, server: &str) -> String {
    let server: Address = server.parse().expect("it is an address");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
    let address = listener.local_addr().expect("it is bound").to_string();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (shows, server) = (shows.clone(), server.clone());
            // Whoever sees through it hangs up.
            tokio::spawn(async move {
                match shows {
                    Some(shows) => pass_on(shows.accept(client).await?, &server).await,
                    None => pass_on(client, &server).await,
                }
            });
        }
    });
    address
}

async fn pass_on(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    server: &Address,
) -> io::Result<(u64, u64)> {
    match server {
        Address::Tcp { host, port } => {
            let mut server = TcpStream::connect((host.as_str(), *port)).await?;
            copy_bidirectional(&mut client, &mut server).await
        }
        Address::Tls { host, port } => {
            let mut server = connect(&format!("{host}:{port}"), &tls::VERSIONS).await?;
            copy_bidirectional(&mut client, &mut server).await
        }
        other => panic!("nobody sits before {other}"),
    }
}
