//! Whom to believe that he is the server.
//!
//! Most CML servers have a certificate that they signed themselves [docs/cml.md 2]. Such a one is shown by
//! its fingerprint at first contact, and pinned when a person says so. Nothing secret is sent before.

use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::fingerprint::Fingerprint;

/// What makes a certificate good enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// An authority that this machine knows has signed it.
    Authorities,
    /// It is exactly this one, or an authority has signed it.
    Pinned(Fingerprint),
    /// Anything is.
    Anyone,
}

/// Judges a server's certificate, and remembers which one it was.
#[derive(Debug)]
pub struct Judge {
    trust: Trust,
    authorities: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<Fingerprint>>,
}

impl Judge {
    /// # Errors
    /// If the file of further authorities can't be read.
    pub fn new(trust: Trust, further: Option<&Path>) -> Result<Arc<Self>> {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = further {
            let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            let certificates = certificates.with_context(|| format!("CA_BUNDLE: {} can't be read", path.display()))?;
            anyhow::ensure!(!certificates.is_empty(), "CA_BUNDLE: {} holds no certificate", path.display());
            roots.add_parsable_certificates(certificates);
        }
        // Without any authority there is no verifier; then only pins can be trusted.
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
        Ok(Arc::new(Self { trust, authorities: verifier.ok(), provider, seen: Mutex::new(None) }))
    }

    /// The certificate that the server showed, if it got so far.
    pub fn seen(&self) -> Option<Fingerprint> {
        self.seen.lock().ok()?.clone()
    }

    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// # Errors
    /// Never with the provider that this program has.
    pub fn client_config(self: &Arc<Self>) -> Result<ClientConfig> {
        let builder =
            ClientConfig::builder_with_provider(Arc::clone(&self.provider)).with_safe_default_protocol_versions()?;
        let judge = Arc::clone(self);
        Ok(builder.dangerous().with_custom_certificate_verifier(judge).with_no_client_auth())
    }
}

impl ServerCertVerifier for Judge {
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
            Trust::Anyone => return Ok(ServerCertVerified::assertion()),
            Trust::Pinned(pinned) if *pinned == fingerprint => return Ok(ServerCertVerified::assertion()),
            Trust::Pinned(_) | Trust::Authorities => {}
        }
        match &self.authorities {
            Some(verifier) => verifier.verify_server_cert(certificate, intermediates, name, ocsp, now),
            None => Err(rustls::Error::General("this machine knows no authority".to_owned())),
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
