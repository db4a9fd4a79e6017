//! Which certificate a controller may have.
//!
//! Most CML servers sign their own certificate [docs/cml.md 2]. At the first contact its fingerprint is shown, and it
//! is pinned if the user accepts it. Nothing secret is sent before. From then on the server must show this one: another
//! is refused even if an authority has signed it.

use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::known::Fingerprint;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those signed by an authority that this machine knows.
    Authorities,
    /// This one, whatever authorities say.
    Pinned(Fingerprint),
    Any,
}

/// Verifies a server's certificate by its pin or by authorities, and keeps the fingerprint that it saw.
#[derive(Debug)]
pub struct PinningVerifier {
    trust: Trust,
    authorities: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<Fingerprint>>,
}

impl PinningVerifier {
    /// `ca_bundle` is a file of authorities in addition to those of this machine.
    pub fn new(trust: Trust, ca_bundle: Option<&Path>) -> Result<Arc<Self>> {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = ca_bundle {
            let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            let certificates = certificates.with_context(|| format!("CA_BUNDLE: cannot read {}", path.display()))?;
            anyhow::ensure!(!certificates.is_empty(), "CA_BUNDLE: {} contains no certificate", path.display());
            roots.add_parsable_certificates(certificates);
        }
        // Without any authority there is no verifier for them; then only a pinned certificate is accepted.
        let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
        Ok(Arc::new(Self { trust, authorities: authorities.ok(), provider, seen: Mutex::new(None) }))
    }

    /// The certificate that the server showed, if the handshake came so far.
    pub fn seen(&self) -> Option<Fingerprint> {
        self.seen.lock().ok()?.clone()
    }

    pub fn client_config(self: &Arc<Self>) -> Result<ClientConfig> {
        let builder =
            ClientConfig::builder_with_provider(Arc::clone(&self.provider)).with_safe_default_protocol_versions()?;
        let verifier = Arc::clone(self);
        Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
    }
}

impl ServerCertVerifier for PinningVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let fingerprint = Fingerprint::of(certificate);
        if let Ok(mut seen) = self.seen.lock() {
            *seen = Some(fingerprint.clone());
        }
        match &self.trust {
            Trust::Any => return Ok(ServerCertVerified::assertion()),
            Trust::Pinned(pinned) if *pinned == fingerprint => return Ok(ServerCertVerified::assertion()),
            Trust::Pinned(_) => return Err(rustls::Error::General("it is not the one that is pinned".to_owned())),
            Trust::Authorities => {}
        }
        match &self.authorities {
            Some(verifier) => verifier.verify_server_cert(certificate, intermediates, name, ocsp, now),
            None => Err(rustls::Error::General("this machine knows no certificate authority".to_owned())),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
