//! Whom to believe that he is the server.
//!
//! Most CML servers have a certificate that they signed themselves [docs/cml.md 2]. Such a one is shown by
//! its fingerprint at first contact, and pinned when a person says so. Nothing secret is sent before.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use digests::Digest;

/// The SHA-256 of a certificate, written as `openssl x509 -noout -fingerprint -sha256` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(Digest);

impl Fingerprint {
    pub fn of(certificate: &[u8]) -> Self {
        Self(Digest::of(certificate))
    }

    /// 64 hex digits, with or without colons between them and a name before them.
    ///
    /// # Errors
    /// If it is something else.
    pub fn parse(text: &str) -> Result<Self> {
        let digits = text.rsplit_once('=').map_or(text, |(_, digits)| digits).trim();
        let digits =
            digits.get(..7).filter(|head| head.eq_ignore_ascii_case("sha256:")).map_or(digits, |_| &digits[7..]);
        let digest = Digest::parse(&digits.replace(':', ""));
        digest.map(Self).with_context(|| format!("`{text}` is no fingerprint: it must have 64 hex digits"))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.hex().to_ascii_uppercase();
        let pairs: Vec<&str> = (0..digits.len() / 2).filter_map(|at| digits.get(2 * at..2 * at + 2)).collect();
        f.write_str(&pairs.join(":"))
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_in_every_usual_form() {
        let one = Fingerprint::of(b"certificate");
        let shown = one.to_string();
        for form in [
            shown.clone(),
            shown.replace(':', "").to_lowercase(),
            format!("sha256 Fingerprint={shown}"),
            format!("SHA256:{shown}"),
        ] {
            assert_eq!(Fingerprint::parse(&form).unwrap(), one, "{form}");
        }
        assert!(Fingerprint::parse("AB:CD").is_err() && Fingerprint::parse("").is_err());
    }
}
