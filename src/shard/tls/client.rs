//! How a server is believed to be who it says: by its certificate, signed for its name by an authority, and by its
//! key, where that is pinned. And what we show it.

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use sha2::{Digest as _, Sha256};

use super::session::{Alpn, Session};
use crate::gateway::settings::{Pin, Trust};

/// See the module.
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl ClientTls {
    /// `protocol` alone is offered: a server that chooses what was not offered has failed its handshake, so what a
    /// connection speaks is never in doubt.
    pub fn new(trust: &Trust, protocol: Option<Alpn>) -> Result<Self, String> {
        let told = |error: &dyn fmt::Display| error.to_string();
        let name = ServerName::try_from(trust.name.clone()).map_err(|error| told(&error))?;
        let roots = match &trust.authorities {
            None => system_roots(),
            Some(authorities) => {
                let mut roots = RootCertStore::empty();
                for authority in authorities {
                    let authority = CertificateDer::from(authority.clone());
                    roots.add(authority).map_err(|error| told(&error))?;
                }
                Arc::new(roots)
            }
        };
        let provider = Arc::new(ring::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
        let verifier = verifier.map_err(|error| told(&error))?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| told(&error))?;
        let builder = if trust.pins.is_empty() {
            builder.with_webpki_verifier(verifier)
        } else {
            let pins = trust.pins.clone();
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Pinned { verifier, pins }))
        };
        let mut config = match &trust.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = identity.chain.iter().cloned().map(CertificateDer::from).collect();
                let key = PrivateKeyDer::try_from(identity.key.0.clone())?;
                builder.with_client_auth_cert(chain, key).map_err(|error| told(&error))?
            }
        };
        config.alpn_protocols = protocol.iter().map(|one| one.name().to_vec()).collect();
        Ok(Self { config: Arc::new(config), name })
    }

    /// The name of the server.
    pub fn name(&self) -> String {
        self.name.to_str().into_owned()
    }

    /// A session for a connection to the server.
    pub fn session(&self) -> io::Result<Session> {
        Session::client(&self.config, self.name.clone()).map_err(io::Error::other)
    }
}

/// Whom this system believes, read once in a process; `SSL_CERT_FILE` and `SSL_CERT_DIR` name others. Empty, so that
/// nobody is believed, where it has none.
fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "an authority of this system cannot be read");
        }
        roots.add_parsable_certificates(found.certs);
        Arc::new(roots)
    });
    Arc::clone(roots)
}

/// The server's key is none of those that are pinned.
#[derive(Debug)]
pub(super) struct PinMismatch;

impl fmt::Display for PinMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the key of the server is none of the pinned ones")
    }
}

impl std::error::Error for PinMismatch {}

/// The certificate must be good as for anybody, and its key one of these. Only the server's own counts: what else it
/// sends along need not be part of what was verified.
#[derive(Debug)]
struct Pinned {
    verifier: Arc<WebPkiServerVerifier>,
    pins: Vec<Pin>,
}

impl Pinned {
    /// Pins that have expired hold nobody; while one has not, a key must be pinned.
    fn judge(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
        let mut live = self.pins.iter().filter(|pin| pin.until > now.as_secs()).peekable();
        if live.peek().is_none() {
            return Ok(());
        }
        let parsed = ParsedCertificate::try_from(certificate)?;
        let digest: [u8; 32] = Sha256::digest(parsed.subject_public_key_info()).into();
        if live.any(|pin| pin.digest == digest) {
            return Ok(());
        }
        let other = OtherError(Arc::new(PinMismatch));
        Err(Error::InvalidCertificate(CertificateError::Other(other)))
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )?;
        self.judge(end_entity, now)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
