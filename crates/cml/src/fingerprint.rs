//! The fingerprint by which a user recognises a server's certificate.

use std::fmt;

use anyhow::{Context, Result};

use digests::Digest;

/// The SHA-256 of a certificate, written as `openssl x509 -noout -fingerprint -sha256` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(Digest);

impl Fingerprint {
    pub fn of(certificate: &[u8]) -> Self {
        Self(Digest::of(certificate))
    }

    /// Reads 64 hex digits, with or without colons between them and `SHA256:` or openssl's label before them.
    pub fn parse(text: &str) -> Result<Self> {
        let digits = text.rsplit_once('=').map_or(text, |(_, digits)| digits).trim().to_ascii_lowercase();
        let digest = Digest::parse(&digits.trim_start_matches("sha256:").replace(':', ""));
        digest.map(Self).with_context(|| format!("`{text}` is not a SHA-256 fingerprint, which has 64 hex digits"))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.hex().to_ascii_uppercase();
        let pairs: Vec<&str> = (0..digits.len() / 2).filter_map(|at| digits.get(2 * at..2 * at + 2)).collect();
        f.write_str(&pairs.join(":"))
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
