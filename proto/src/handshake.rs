//! How both sides prove that they know the authkey, without ever sending it.
//!
//! Proofs are HMAC-SHA256 over the hash of a transcript that holds everything both sides said and
//! what the connection is bound to. Client and server use different keys, derived from the authkey
//! under different labels, so that a proof cannot be reflected; both sides contribute a nonce, so
//! that it cannot be replayed.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::v1::{Binding as Offered, Challenge, Hello, Welcome};

/// How many bytes a nonce has.
pub const NONCE_LEN: usize = 32;

/// The label of the keying material that is unique to a TLS connection, by RFC 9266; its context is
/// empty and its length 32 bytes.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

const LABEL: &[u8] = b"mp-manager handshake v1";
const CONNECTION_LABEL: &[u8] = b"mp-manager connection v1";
const CLIENT_LABEL: &[u8] = b"mp-manager v1 client proof";
const SERVER_LABEL: &[u8] = b"mp-manager v1 server proof";
const RESUME_LABEL: &[u8] = b"mp-manager v1 resume proof";

/// What ties the handshake to the connection it runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Binding {
    /// Plain TCP: nothing to bind to.
    None,
    /// A unix socket.
    Unix,
    /// TLS: SHA-256 of the server's leaf certificate, and the exporter of RFC 9266.
    Tls {
        /// SHA-256 of the certificate, as the client saw it.
        certificate: [u8; 32],
        /// The `EXPORTER-Channel-Binding` keying material.
        exporter: [u8; 32],
    },
    /// TLS, for a client that cannot export: SHA-256 of the server's leaf certificate alone. Who has
    /// the certificate's private key can pass everything on; nobody else can.
    Certificate([u8; 32]),
}

impl Binding {
    /// The binding to a TLS connection, from the DER of the server's leaf certificate and what
    /// [`EXPORTER_LABEL`] exports.
    #[must_use]
    pub fn tls(certificate: &[u8], exporter: [u8; 32]) -> Self {
        Self::Tls { certificate: Sha256::digest(certificate).into(), exporter }
    }

    /// The same connection, for a client that proves only its certificate. Others stay as they are.
    #[must_use]
    pub fn without_exporter(self) -> Self {
        match self {
            Self::Tls { certificate, .. } => Self::Certificate(certificate),
            other => other,
        }
    }
}

/// What a server takes of the bindings that a client offers for TLS, if anything. The exporter comes
/// first, as it is the stronger one.
#[must_use]
pub fn chosen(offered: &[i32]) -> Option<Offered> {
    if offered.is_empty() {
        return Some(Offered::Unspecified);
    }
    let is_offered = |binding: &Offered| offered.contains(&(*binding).into());
    [Offered::TlsExporter, Offered::TlsCertificate].into_iter().find(is_offered)
}

/// Everything both sides said, hashed.
///
/// What a client of the first release does not say is not in its transcript: the fields `bindings` and
/// `max_frame_bytes` come in, each after a label of its own, where the client has set them.
#[derive(Debug, Clone)]
pub struct Transcript {
    hash: Sha256,
    /// The client has said how long the server's frames may be, and expects an answer.
    bounds_frames: bool,
}

impl Transcript {
    /// The transcript with a manager up to the client's proof.
    #[must_use]
    pub fn new(hello: &Hello, challenge: &Challenge, binding: &Binding) -> Self {
        Self::labelled(LABEL, hello, challenge, binding)
    }

    /// The transcript of a [connection](crate::connection) without a manager: a proof for one of them is none
    /// for the other.
    #[must_use]
    pub fn of_connection(hello: &Hello, challenge: &Challenge, binding: &Binding) -> Self {
        Self::labelled(CONNECTION_LABEL, hello, challenge, binding)
    }

    fn labelled(label: &[u8], hello: &Hello, challenge: &Challenge, binding: &Binding) -> Self {
        let mut this = Self { hash: Sha256::new(), bounds_frames: hello.max_frame_bytes != 0 };
        this.part(label);
        this.number(hello.version.into());
        this.number(hello.suites.len() as u64);
        for &suite in &hello.suites {
            this.number(suite as u64);
        }
        this.part(&hello.client_nonce);
        let resume = hello.resume.unwrap_or_default();
        this.number(resume.session);
        this.number(resume.epoch);
        this.number(hello.lease_ms);
        let process = hello.process.clone().unwrap_or_default();
        this.part(process.name.as_bytes());
        this.number(process.pid.into());
        this.part(process.host.as_bytes());
        this.number(challenge.suite as u64);
        this.part(&challenge.server_nonce);
        this.number(challenge.server_id);
        this.number(challenge.epoch);
        if !hello.bindings.is_empty() {
            this.part(b"bindings");
            this.number(hello.bindings.len() as u64);
            for &binding in &hello.bindings {
                this.number(binding as u64);
            }
            this.number(challenge.binding as u64);
        }
        if this.bounds_frames {
            this.part(b"frames");
            this.number(hello.max_frame_bytes.into());
        }
        match binding {
            Binding::None => this.part(b"none"),
            Binding::Unix => this.part(b"unix"),
            Binding::Tls { certificate, exporter } => {
                this.part(b"tls");
                this.part(certificate);
                this.part(exporter);
            }
            Binding::Certificate(certificate) => {
                this.part(b"tls-server-end-point");
                this.part(certificate);
            }
        }
        // Not for those of before versions were agreed upon, who leave both out.
        if hello.min_version > 0 && challenge.version > 0 {
            this.part(b"versions");
            this.number(hello.min_version.into());
            this.number(challenge.version.into());
        }
        this
    }

    /// The proof that the client knows the authkey.
    #[must_use]
    pub fn client_proof(&self, authkey: &[u8]) -> Vec<u8> {
        self.mac(authkey, CLIENT_LABEL).finalize().into_bytes().to_vec()
    }

    /// Checks the client's proof, in constant time.
    #[must_use]
    pub fn verify_client(&self, authkey: &[u8], proof: &[u8]) -> bool {
        self.mac(authkey, CLIENT_LABEL).verify_slice(proof).is_ok()
    }

    /// The proof that the client has the secret of the session it wants to resume.
    #[must_use]
    pub fn resume_proof(&self, resume_secret: &[u8]) -> Vec<u8> {
        self.mac(resume_secret, RESUME_LABEL).finalize().into_bytes().to_vec()
    }

    /// Checks that proof, in constant time.
    #[must_use]
    pub fn verify_resume(&self, resume_secret: &[u8], proof: &[u8]) -> bool {
        self.mac(resume_secret, RESUME_LABEL).verify_slice(proof).is_ok()
    }

    /// The proof that the server knows the authkey and said this welcome (its `proof` aside).
    #[must_use]
    pub fn server_proof(&self, authkey: &[u8], client_proof: &[u8], welcome: &Welcome) -> Vec<u8> {
        let all = self.clone().with_welcome(client_proof, welcome);
        all.mac(authkey, SERVER_LABEL).finalize().into_bytes().to_vec()
    }

    /// Checks the server's proof, in constant time.
    #[must_use]
    pub fn verify_server(&self, authkey: &[u8], client_proof: &[u8], welcome: &Welcome) -> bool {
        let all = self.clone().with_welcome(client_proof, welcome);
        all.mac(authkey, SERVER_LABEL).verify_slice(&welcome.proof).is_ok()
    }

    fn with_welcome(mut self, client_proof: &[u8], welcome: &Welcome) -> Self {
        self.part(client_proof);
        self.number(welcome.session);
        self.part(&welcome.resume_secret);
        self.number(welcome.lease_ms);
        self.number(welcome.resumed.into());
        self.number(welcome.ephemeral.into());
        let limits = welcome.limits.unwrap_or_default();
        for limit in [
            limits.max_open_requests,
            limits.max_requests_per_frame,
            limits.max_frame_bytes,
            limits.max_value_bytes,
            limits.max_key_bytes,
            limits.max_name_bytes,
        ] {
            self.number(limit.into());
        }
        if self.bounds_frames {
            self.number(limits.max_server_frame_bytes.into());
        }
        self
    }

    fn mac(&self, authkey: &[u8], label: &[u8]) -> Hmac<Sha256> {
        let mut key = [0; 32];
        // 32 bytes is a length HKDF-SHA256 can always give, and HMAC takes keys of any length.
        #[expect(clippy::expect_used, reason = "both lengths are constants")]
        let mut mac = {
            Hkdf::<Sha256>::new(None, authkey).expand(label, &mut key).expect("32 bytes");
            Hmac::<Sha256>::new_from_slice(&key).expect("any length")
        };
        mac.update(&self.hash.clone().finalize());
        mac
    }

    /// Length first, so that no two transcripts have the same bytes.
    fn part(&mut self, bytes: &[u8]) {
        self.hash.update((bytes.len() as u64).to_be_bytes());
        self.hash.update(bytes);
    }

    fn number(&mut self, n: u64) {
        self.part(&n.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::v1::Suite;

    fn hello() -> Hello {
        Hello {
            version: 1,
            suites: vec![Suite::HmacSha256.into()],
            client_nonce: Bytes::from_static(&[1; NONCE_LEN]),
            ..Hello::default()
        }
    }

    fn challenge() -> Challenge {
        Challenge {
            suite: Suite::HmacSha256.into(),
            server_nonce: Bytes::from_static(&[2; NONCE_LEN]),
            server_id: 3,
            epoch: 4,
            ..Challenge::default()
        }
    }

    #[test]
    fn a_proof_holds_for_its_key_and_transcript_only() {
        let transcript = Transcript::new(&hello(), &challenge(), &Binding::None);
        let proof = transcript.client_proof(b"key");
        assert!(transcript.verify_client(b"key", &proof));
        assert!(!transcript.verify_client(b"other", &proof));
        assert!(!transcript.verify_client(b"key", &proof[..31]));

        let mut replayed = challenge();
        replayed.server_nonce = Bytes::from_static(&[9; NONCE_LEN]);
        let replayed = Transcript::new(&hello(), &replayed, &Binding::None);
        assert!(!replayed.verify_client(b"key", &proof));
        let relayed = Transcript::new(&hello(), &challenge(), &Binding::Unix);
        assert!(!relayed.verify_client(b"key", &proof));
    }

    #[test]
    fn a_proof_for_a_manager_is_none_for_a_connection() {
        let (hello, challenge) = (hello(), challenge());
        let session = Transcript::new(&hello, &challenge, &Binding::Unix);
        let connection = Transcript::of_connection(&hello, &challenge, &Binding::Unix);
        let proof = connection.client_proof(b"key");
        assert!(connection.verify_client(b"key", &proof));
        assert!(!session.verify_client(b"key", &proof));
        let proof = session.client_proof(b"key");
        assert!(!connection.verify_client(b"key", &proof));
        let mut welcome = Welcome::default();
        welcome.proof = session.server_proof(b"key", &proof, &welcome).into();
        assert!(!connection.verify_server(b"key", &proof, &welcome));
    }

    #[test]
    fn under_tls_the_certificate_and_the_connection_are_proven_with_it() {
        let transcript = |binding| Transcript::new(&hello(), &challenge(), &binding);
        let proof = transcript(Binding::tls(b"a", [1; 32])).client_proof(b"key");
        assert!(transcript(Binding::tls(b"a", [1; 32])).verify_client(b"key", &proof));
        for other in
            [Binding::tls(b"b", [1; 32]), Binding::tls(b"a", [2; 32]), Binding::Unix, Binding::None]
        {
            assert!(!transcript(other).verify_client(b"key", &proof));
        }
    }

    #[test]
    fn versions_are_proven_by_those_who_agree_upon_them() {
        let proof = |min_version, version| {
            let hello = Hello { min_version, ..hello() };
            let challenge = Challenge { version, ..challenge() };
            Transcript::new(&hello, &challenge, &Binding::None).client_proof(b"key")
        };
        assert_ne!(proof(1, 1), proof(1, 2));
        assert_ne!(proof(1, 1), proof(2, 1));
        // As before, if one of them knows of none.
        assert_eq!(proof(0, 1), proof(0, 0));
        assert_eq!(proof(1, 0), proof(0, 0));
        assert_ne!(proof(1, 1), proof(0, 0));
    }

    #[test]
    fn without_an_exporter_the_certificate_is_proven() {
        let hello = Hello { bindings: vec![Offered::TlsCertificate.into()], ..hello() };
        let challenge = Challenge { binding: Offered::TlsCertificate.into(), ..challenge() };
        let transcript = |binding: Binding| Transcript::new(&hello, &challenge, &binding);
        let of = |certificate| Binding::tls(certificate, [1; 32]).without_exporter();
        let proof = transcript(of(b"a")).client_proof(b"key");
        assert!(transcript(of(b"a")).verify_client(b"key", &proof));
        for other in [of(b"b"), Binding::tls(b"a", [1; 32]), Binding::Unix, Binding::None] {
            assert!(!transcript(other).verify_client(b"key", &proof));
        }
    }

    #[test]
    fn nobody_is_talked_down_to_another_binding() {
        let (exporter, certificate) =
            (i32::from(Offered::TlsExporter), i32::from(Offered::TlsCertificate));
        for (offered, taken) in [
            (&[][..], Some(Offered::Unspecified)),
            (&[exporter], Some(Offered::TlsExporter)),
            (&[certificate], Some(Offered::TlsCertificate)),
            (&[certificate, exporter, 99], Some(Offered::TlsExporter)),
            (&[0, 99], None),
        ] {
            assert_eq!(chosen(offered), taken, "{offered:?}");
        }
        // What was offered and what was taken is in the transcript, whatever the connection is bound to.
        let proof = |offered: &[i32], taken| {
            let hello = Hello { bindings: offered.to_vec(), ..hello() };
            let challenge = Challenge { binding: taken, ..challenge() };
            Transcript::new(&hello, &challenge, &Binding::None).client_proof(b"key")
        };
        let both = proof(&[exporter, certificate], exporter);
        for other in [
            proof(&[], 0),
            proof(&[certificate], certificate),
            proof(&[exporter, certificate], certificate),
            proof(&[certificate, exporter], exporter),
        ] {
            assert_ne!(both, other);
        }
    }

    #[test]
    fn how_long_frames_may_be_is_proven_if_it_is_said() {
        let welcome = |max_server_frame_bytes| Welcome {
            limits: Some(crate::v1::Limits { max_server_frame_bytes, ..Default::default() }),
            ..Welcome::default()
        };
        let proof = |max_frame_bytes, said| {
            let hello = Hello { max_frame_bytes, ..hello() };
            let transcript = Transcript::new(&hello, &challenge(), &Binding::None);
            transcript.server_proof(b"key", b"proof", &welcome(said))
        };
        assert_eq!(proof(0, 1), proof(0, 2), "a client of the first release does not know of it");
        assert_ne!(proof(1, 1), proof(1, 2));
        assert_ne!(proof(1, 1), proof(2, 1));
    }

    #[test]
    fn a_clients_proof_is_no_servers_proof() {
        let transcript = Transcript::new(&hello(), &challenge(), &Binding::None);
        let proof = transcript.client_proof(b"key");
        let reflected = Welcome { proof: proof.clone().into(), ..Welcome::default() };
        assert!(!transcript.verify_server(b"key", &proof, &reflected));
        let mut welcome = Welcome { session: 7, ..Welcome::default() };
        welcome.proof = transcript.server_proof(b"key", &proof, &welcome).into();
        assert!(transcript.verify_server(b"key", &proof, &welcome));
        welcome.session = 8;
        assert!(!transcript.verify_server(b"key", &proof, &welcome));
        assert!(transcript.verify_resume(b"secret", &transcript.resume_proof(b"secret")));
        assert!(!transcript.verify_resume(b"secret", &transcript.client_proof(b"secret")));
    }
}
