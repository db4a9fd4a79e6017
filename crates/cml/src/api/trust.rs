//! Which certificate a controller may have.
//!
//! Most CML servers sign their own certificate [docs/cml.md 2]. At the first contact its fingerprint is shown, and it
//! is pinned if the user accepts it. Nothing secret is sent before. From then on the server must show this one: another
//! is refused even if an authority has signed it.

use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use files::{Links, read_text};
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

/// All authorities of the web have a quarter of a megabyte.
const LARGEST_BUNDLE: u64 = 16 << 20;

fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let (text, _) = read_text(path, LARGEST_BUNDLE, Links::Follow)?
        .with_context(|| format!("cannot read {}: there is no such file", path.display()))?;
    let certificates = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.with_context(|| format!("cannot read {}", path.display()))?;
    anyhow::ensure!(!certificates.is_empty(), "{} contains no certificate", path.display());
    Ok(certificates)
}

impl PinningVerifier {
    /// `ca_bundle` is a file of authorities in addition to those of this machine.
    pub fn new(trust: Trust, ca_bundle: Option<&Path>) -> Result<Arc<Self>> {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = ca_bundle {
            roots.add_parsable_certificates(authorities(path).context("CA_BUNDLE")?);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_a_file_of_certificates() {
        assert!(format!("{:#}", authorities(Path::new("/dev/zero")).unwrap_err()).contains("cannot read /dev/zero"));
        assert!(authorities(Path::new("/nowhere")).unwrap_err().to_string().contains("there is no such file"));
        assert!(authorities(Path::new("/etc/hostname")).unwrap_err().to_string().contains("contains no certificate"));
    }
}
